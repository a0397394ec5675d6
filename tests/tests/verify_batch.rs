//! Many signatures in one request: each has its own verdict, in order, whichever key and whichever way verified it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

#[path = "verifying/signed.rs"]
#[allow(dead_code, reason = "it serves several tests")]
mod signed;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::{KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair};
use prost::bytes::Bytes;
use signed::{Signed, metric, sign, slow, verdicts};
use tonic::Code;
use tonic::transport::Channel;
use trust::Sha256Digest;
use trust_proto::v1::verification_client::VerificationClient;
use trust_proto::v1::{
    Algorithm, BatchKey, PackedMessages, PublicKey, VerifyBatchRequest, VerifyBatchResponse, VerifyFailure, batch_key,
    verify_batch_request,
};
use trust_tests::http::{free_address, http};
use trust_tests::raw::Caller;
use trust_tests::wait::soon;
use trust_tests::{Daemon, Setup};

/// Items of one key: several parts for several cores, and many more than a key needs to be prepared.
const ITEMS: usize = 3000;

/// All items of all keys, interleaved, under these keys.
fn request(signed: &[Signed], keys: Vec<BatchKey>) -> VerifyBatchRequest {
    let mut request = VerifyBatchRequest { keys, ..VerifyBatchRequest::default() };
    let (mut items, mut signatures) = (Vec::new(), Vec::new());
    for item in 0..ITEMS {
        for (key, signed) in (0_u32..).zip(signed) {
            request.key_indexes.push(key);
            let message = signed.messages[item];
            items.extend(if signed.name == "raw/p256" { *Sha256Digest::of(&message).as_bytes() } else { message });
            signatures.extend_from_slice(&signed.signatures[item]);
            request.signature_ends.push(u32::try_from(signatures.len()).unwrap());
        }
    }
    request.messages = Some(verify_batch_request::Messages::Items32(items.into()));
    request.signatures = signatures.into();
    request
}

fn kept(signed: &[Signed]) -> Vec<BatchKey> {
    signed.iter().map(|signed| BatchKey { kind: Some(batch_key::Kind::Key(signed.name.to_owned())) }).collect()
}

async fn verify(channel: &Channel, request: VerifyBatchRequest) -> VerifyBatchResponse {
    VerificationClient::new(channel.clone()).verify_batch(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_nine_thousand_items_under_three_keys_has_its_own_verdict() {
    let address = free_address().unwrap();
    let daemon = Daemon::with(&Setup { more: format!("metrics = \"{address}\"\n"), ..Setup::allowing_raw() }).unwrap();
    let channel = daemon.channel().await.unwrap();
    let mut signed = [
        sign(&channel, "raw/one", Algorithm::Ed25519, ITEMS).await,
        sign(&channel, "raw/p256", Algorithm::EcdsaP256Sha256, ITEMS).await,
        sign(&channel, "raw/two", Algorithm::Ed25519, ITEMS).await,
    ];
    let items = ITEMS * signed.len();

    let sound = verify(&channel, request(&signed, kept(&signed))).await;

    assert_eq!(verdicts(&sound, items), vec![None; items]);
    assert_eq!(metric(address, "trustd_prepared_keys"), "2");
    assert_eq!(metric(address, "trustd_prepared_bytes"), (2 * trust::verify::batch::Table::BYTES).to_string());

    // Broken here and there: the first, the last, at the edges of parts and in between.
    let broken = [0, 1, 63, 64, 127, 128, 1023, 1024, 1500, ITEMS - 1];
    for key in &mut signed {
        for item in broken {
            let mut bytes = key.signatures[item].to_vec();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            key.signatures[item] = bytes.into();
        }
        let short = key.signatures[200].slice(..10);
        key.signatures[200] = short;
    }
    let expected: Vec<_> = (0..ITEMS)
        .flat_map(|item| (0..3).map(move |key| (item, key)))
        .map(|(item, key)| match item {
            200 if key != 1 => Some(VerifyFailure::Encoding),
            200 => Some(VerifyFailure::Wrong),
            _ => broken.contains(&item).then_some(VerifyFailure::Wrong),
        })
        .collect();

    let mixed = verify(&channel, request(&signed, kept(&signed))).await;

    assert_eq!(verdicts(&mixed, items), expected);

    // The same public keys, from somebody who has no names for them.
    let given = [Algorithm::Ed25519, Algorithm::EcdsaP256Sha256, Algorithm::Ed25519];
    let given = given.into_iter().zip(&signed).map(|(algorithm, signed)| {
        let key = PublicKey { algorithm: algorithm.into(), spki_der: signed.spki_der.clone() };
        BatchKey { kind: Some(batch_key::Kind::PublicKey(key)) }
    });
    let given = verify(&channel, request(&signed, given.collect())).await;
    assert_eq!(verdicts(&given, items), expected);

    // A prepared key counts no longer than its trust.
    Caller::new(channel.clone()).distrust("raw/two").await.unwrap();
    let distrusted = verify(&channel, request(&signed, kept(&signed))).await;
    for (index, (now, before)) in verdicts(&distrusted, items).into_iter().zip(expected).enumerate() {
        assert_eq!(now, if index % 3 == 2 { Some(VerifyFailure::Distrusted) } else { before }, "item {index}");
    }
}

/// 96 bytes that end there.
fn packed(ends: &[u32]) -> verify_batch_request::Messages {
    verify_batch_request::Messages::Packed(PackedMessages { bytes: vec![0; 96].into(), ends: ends.to_vec() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_ragged_or_empty_is_refused_whole() {
    let daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let channel = daemon.channel().await.unwrap();
    let signed = [sign(&channel, "raw/one", Algorithm::Ed25519, ITEMS).await];
    let good = request(&signed, kept(&signed));
    type Change = fn(&mut VerifyBatchRequest);
    let changes: [(&str, Change); 11] = [
        ("no items", |bad| bad.messages = Some(verify_batch_request::Messages::Items32(Bytes::new()))),
        ("no messages", |bad| bad.messages = None),
        ("an item of 31 bytes", |bad| bad.messages = Some(verify_batch_request::Messages::Items32(vec![0; 31].into()))),
        ("an end too few", |bad| bad.signature_ends.truncate(1)),
        ("an end that falls", |bad| bad.signature_ends[1] = 0),
        ("an end too many", |bad| bad.signature_ends.push(u32::try_from(bad.signatures.len()).unwrap())),
        ("ends of messages that fall", |bad| bad.messages = Some(packed(&[64, 32, 96]))),
        ("ends of messages that stop short", |bad| bad.messages = Some(packed(&[32, 64]))),
        ("a key that is not there", |bad| bad.key_indexes[7] = 1),
        ("keys for another number of items", |bad| bad.key_indexes.truncate(ITEMS - 1)),
        ("no key", |bad| bad.keys.clear()),
    ];
    for (what, change) in changes {
        let mut bad = good.clone();
        change(&mut bad);

        let refused = VerificationClient::new(channel.clone()).verify_batch(bad).await.unwrap_err();

        assert_eq!(refused.code(), Code::InvalidArgument, "{what}: {refused}");
    }
    assert_eq!(verdicts(&verify(&channel, good).await, ITEMS), vec![None; ITEMS]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_signature_gives_no_item_a_verdict() {
    let daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let channel = daemon.channel().await.unwrap();
    let signed = sign(&channel, "raw/one", Algorithm::Ed25519, 64).await;
    sign(&channel, "raw/p256", Algorithm::EcdsaP256Sha256, 1).await;
    let given = PublicKey { algorithm: Algorithm::Ed25519.into(), spki_der: signed.spki_der.clone() };
    let given = BatchKey { kind: Some(batch_key::Kind::PublicKey(given)) };
    let without_ends = |key: &BatchKey, items: usize, signatures: usize| VerifyBatchRequest {
        keys: vec![key.clone()],
        messages: Some(verify_batch_request::Messages::Items32(signed.messages[..items].concat().into())),
        signatures: signed.signatures[..signatures].concat().into(),
        ..VerifyBatchRequest::default()
    };
    // Each count divides what is left evenly.
    for items in [64, 2, 32] {
        for key in [&kept(std::slice::from_ref(&signed))[0], &given] {
            let refused = without_ends(key, items, items - 1);
            let refused = VerificationClient::new(channel.clone()).verify_batch(refused).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{items}: {refused}");
            let whole = verify(&channel, without_ends(key, items, items)).await;
            assert_eq!(verdicts(&whole, items), vec![None; items]);
        }
    }
    // What fixes no length needs ends, whatever the length is; also where it does not count any more.
    let ecdsa = BatchKey { kind: Some(batch_key::Kind::Key("raw/p256".to_owned())) };
    for is_distrusted in [false, true] {
        if is_distrusted {
            Caller::new(channel.clone()).distrust("raw/p256").await.unwrap();
        }
        let refused = without_ends(&ecdsa, 2, 2);
        let refused = VerificationClient::new(channel.clone()).verify_batch(refused).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains("an end for each"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_key_while_a_batch_waits_counts_for_it() {
    // Half a minute of one core.
    const SLOW: usize = 180_000;
    let address = free_address().unwrap();
    let limits = format!("verify_items_max = {SLOW}\nverify_items_at_work_max = {SLOW}\n");
    let more = format!("metrics = \"{address}\"\n[limits]\n{limits}");
    let daemon = Daemon::with(&Setup { more, ..Setup::allowing_raw() }).unwrap();
    let channel = daemon.channel().await.unwrap();
    let signed = [sign(&channel, "raw/one", Algorithm::Ed25519, ITEMS).await];
    let p384 = sign(&channel, "raw/p384", Algorithm::EcdsaP384Sha256, 1).await;
    let number = |name: &str| metric(address, name).parse::<usize>().unwrap();
    let ask = |request: VerifyBatchRequest| {
        let channel = channel.clone();
        tokio::spawn(async move { verify(&channel, request).await })
    };
    let busy = ask(slow(p384.name, SLOW));
    soon("the whole budget is at work", || number("trustd_verify_items_at_work ") == SLOW).unwrap();
    let waits = ask(request(&signed, kept(&signed)));
    soon("the other batch waits for it", || number("trustd_calls_in_flight ") == 2).unwrap();

    Caller::new(channel.clone()).distrust("raw/one").await.unwrap();

    assert_eq!(number("trustd_verify_items_at_work "), SLOW, "it does not wait any more");
    // The caller of the first one hangs up, so that the second one's turn comes soon.
    busy.abort();
    assert_eq!(verdicts(&waits.await.unwrap(), ITEMS), vec![Some(VerifyFailure::Distrusted); ITEMS]);
    // What nobody waited for has no verdicts, and nothing of it is at work.
    let failed = "trustd_verified_items_total{verdict=\"wrong\"}";
    assert!(!http(address, "GET /metrics HTTP/1.1").unwrap().contains(failed) || number(failed) == 0);
    soon("nothing is at work", || number("trustd_verify_items_at_work ") == 0).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_strangers_are_read_in_turn_and_only_for_those_who_may_verify() {
    // Half a minute of one core.
    const SLOW: usize = 180_000;
    let address = free_address().unwrap();
    let limits = format!("verify_items_max = {SLOW}\nverify_items_at_work_max = {SLOW}\n");
    let more = format!("metrics = \"{address}\"\n[limits]\n{limits}");
    let mut daemon = Daemon::with(&Setup { more, ..Setup::allowing_raw() }).unwrap();
    let channel = daemon.channel().await.unwrap();
    let p384 = sign(&channel, "raw/p384", Algorithm::EcdsaP384Sha256, 1).await;
    let number = |name: &str| metric(address, name).parse::<usize>().unwrap();
    // Keys that are none, as anybody sees who reads them.
    let none = PublicKey { algorithm: Algorithm::EcdsaP384Sha384.into(), spki_der: vec![7; 120].into() };
    let none = BatchKey { kind: Some(batch_key::Kind::PublicKey(none)) };
    let strangers = VerifyBatchRequest { keys: vec![none; 4096], ..of_one_key("raw/p384", 1) };
    let ask = |request: VerifyBatchRequest| {
        let mut client = VerificationClient::new(channel.clone());
        tokio::spawn(async move { client.verify_batch(request).await.map(|_| ()).map_err(|status| status.code()) })
    };
    assert_eq!(ask(strangers.clone()).await.unwrap(), Err(Code::InvalidArgument));
    let busy = ask(slow(p384.name, SLOW));
    soon("the whole budget is at work", || number("trustd_verify_items_at_work ") == SLOW).unwrap();

    let waits = ask(strangers.clone());

    // It stays there, as a batch of signatures does.
    soon("the keys wait", || number("trustd_calls_in_flight ") == 2).unwrap();
    for _ in 0..20 {
        assert_eq!(number("trustd_verify_items_at_work "), SLOW);
    }
    assert!(!waits.is_finished());
    busy.abort();
    assert_eq!(waits.await.unwrap(), Err(Code::InvalidArgument));

    std::fs::write(
        daemon.directory().join("policy.cedar"),
        "permit (principal, action == Action::\"read-status\", resource);",
    )
    .unwrap();
    daemon.process().unwrap().signal(rustix::process::Signal::HUP);
    let handle = tokio::runtime::Handle::current();
    let denied = |request: &VerifyBatchRequest| {
        let asked = ask(request.clone());
        tokio::task::block_in_place(|| handle.block_on(asked)).unwrap() == Err(Code::PermissionDenied)
    };
    soon("the policy counts", || denied(&of_one_key("raw/p384", 1))).unwrap();
    assert!(denied(&strangers));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_key_while_a_batch_is_at_work_counts_for_all_of_it() {
    // Ten seconds of one core.
    const SLOW: usize = 60_000;
    let address = free_address().unwrap();
    let daemon = Daemon::with(&Setup { more: format!("metrics = \"{address}\"\n"), ..Setup::allowing_raw() }).unwrap();
    let channel = daemon.channel().await.unwrap();
    let p384 = sign(&channel, "raw/p384", Algorithm::EcdsaP384Sha256, 1).await;
    let batch = {
        let channel = channel.clone();
        tokio::spawn(async move { verify(&channel, slow(p384.name, SLOW)).await })
    };
    let at_work = || metric(address, "trustd_verify_items_at_work ").parse::<usize>().unwrap();
    soon("all of it is at work", || at_work() == SLOW).unwrap();

    Caller::new(channel.clone()).distrust("raw/p384").await.unwrap();

    // Those whose arithmetic was done before, too: the answer comes after the distrust.
    assert_eq!(verdicts(&batch.await.unwrap(), SLOW), vec![Some(VerifyFailure::Distrusted); SLOW]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_named_very_often_is_one_key() {
    let daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let channel = daemon.channel().await.unwrap();
    let signed = [
        sign(&channel, "raw/one", Algorithm::Ed25519, ITEMS).await,
        sign(&channel, "raw/two", Algorithm::Ed25519, ITEMS).await,
    ];
    // Each item has the key of its number, in turn the first and the second one.
    let mut all = request(&signed, kept(&signed).into_iter().cycle().take(4096).collect());
    all.key_indexes = (0..u32::try_from(2 * ITEMS).unwrap()).map(|item| item % 4096).collect();

    assert_eq!(verdicts(&verify(&channel, all.clone()).await, 2 * ITEMS), vec![None; 2 * ITEMS]);

    all.keys.push(all.keys[0].clone());
    let refused = VerificationClient::new(channel.clone()).verify_batch(all).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "keys: 1 to 4096"));
}

/// So many items of one key, all with the same signature of nothing.
fn of_one_key(key: &str, items: usize) -> VerifyBatchRequest {
    VerifyBatchRequest {
        keys: vec![BatchKey { kind: Some(batch_key::Kind::Key(key.to_owned())) }],
        messages: Some(verify_batch_request::Messages::Items32(vec![7; items * 32].into())),
        signatures: vec![7; items * 64].into(),
        ..VerifyBatchRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn items_without_end_and_keys_that_are_not_there_are_refused_and_nothing_else_suffers() {
    let daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let channel = daemon.channel().await.unwrap();
    let signed = [sign(&channel, "raw/one", Algorithm::Ed25519, ITEMS).await];
    let mut one_is_not_there = request(&signed, kept(&signed));
    one_is_not_there.keys.push(BatchKey { kind: Some(batch_key::Kind::Key("raw/none".to_owned())) });
    for (what, code, bad) in [
        ("one more than the daemon takes", Code::InvalidArgument, of_one_key("raw/one", 65_537)),
        ("a million", Code::InvalidArgument, of_one_key("raw/one", 1_000_000)),
        ("a key that is not there", Code::NotFound, of_one_key("raw/none", 1)),
        ("a key that is not there, of no item", Code::NotFound, one_is_not_there),
    ] {
        let refused = VerificationClient::new(channel.clone()).verify_batch(bad).await.unwrap_err();

        assert_eq!(refused.code(), code, "{what}: {refused}");
    }
    let most = verify(&channel, of_one_key("raw/one", 65_536)).await;
    assert_eq!(verdicts(&most, 65_536), vec![Some(VerifyFailure::Wrong); 65_536]);
    assert_eq!(verdicts(&verify(&channel, request(&signed, kept(&signed))).await, ITEMS), vec![None; ITEMS]);
}

#[tokio::test(flavor = "multi_thread")]
async fn items_of_ml_dsa_65_stand_among_others_and_such_a_key_is_given() {
    let daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let channel = daemon.channel().await.unwrap();
    let signed = [sign(&channel, "raw/one", Algorithm::Ed25519, ITEMS).await];
    let pair = PqdsaKeyPair::generate(&ML_DSA_65_SIGNING).unwrap();
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let given = |der: &[u8]| BatchKey { kind: Some(batch_key::Kind::MlDsa65SpkiDer(Bytes::copy_from_slice(der))) };
    // The other key signs every hundredth item; of every thousandth the batch says that the first one did.
    let mut all = request(&signed, kept(&signed));
    all.keys.push(given(spki.as_ref()));
    let (mut signatures, mut ends) = (Vec::new(), Vec::new());
    for (item, (message, of_ed25519)) in signed[0].messages.iter().zip(&signed[0].signatures).enumerate() {
        if item % 100 == 0 {
            let mut signature = vec![0; ML_DSA_65_SIGNING.signature_len()];
            pair.sign(message, &mut signature).unwrap();
            signatures.extend(signature);
            all.key_indexes[item] = u32::from(item % 1000 != 0);
        } else {
            signatures.extend_from_slice(of_ed25519);
        }
        ends.push(u32::try_from(signatures.len()).unwrap());
    }
    (all.signatures, all.signature_ends) = (signatures.into(), ends);
    let expected: Vec<_> = (0..ITEMS).map(|item| (item % 1000 == 0).then_some(VerifyFailure::Encoding)).collect();

    assert_eq!(verdicts(&verify(&channel, all.clone()).await, ITEMS), expected);

    // What is signed differs in one bit, and its verdict alone does.
    let Some(verify_batch_request::Messages::Items32(items)) = &mut all.messages else { panic!("not packed") };
    let mut changed = items.to_vec();
    changed[100 * 32] ^= 1;
    *items = changed.into();
    let changed = verdicts(&verify(&channel, all).await, ITEMS);
    assert_eq!(changed[100], Some(VerifyFailure::Wrong));
    assert_eq!((&changed[..100], &changed[101..]), (&expected[..100], &expected[101..]));

    // Keys of other lengths and algorithms are none.
    for other in [&spki.as_ref()[1..], &signed[0].spki_der[..], b""] {
        let bad = VerifyBatchRequest { keys: vec![given(other)], ..of_one_key("raw/one", 1) };
        let refused = VerificationClient::new(channel.clone()).verify_batch(bad).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
}
