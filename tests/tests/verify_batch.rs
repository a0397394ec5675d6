//! Many signatures in one request: each has its own verdict, in order, whichever key and whichever way verified it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

#[path = "verifying/signed.rs"]
#[allow(dead_code, reason = "it serves several tests")]
mod signed;

use prost::bytes::Bytes;
use signed::{Signed, metric, sign, verdicts};
use tonic::Code;
use tonic::transport::Channel;
use trust::Sha256Digest;
use trust_proto::v1::verification_client::VerificationClient;
use trust_proto::v1::{
    Algorithm, BatchKey, PublicKey, VerifyBatchRequest, VerifyBatchResponse, VerifyFailure, batch_key,
    verify_batch_request,
};
use trust_tests::http::free_address;
use trust_tests::raw::Caller;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_ragged_or_empty_is_refused_whole() {
    let daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let channel = daemon.channel().await.unwrap();
    let signed = [sign(&channel, "raw/one", Algorithm::Ed25519, ITEMS).await];
    let good = request(&signed, kept(&signed));
    type Change = fn(&mut VerifyBatchRequest);
    let changes: [(&str, Change); 7] = [
        ("no items", |bad| bad.messages = Some(verify_batch_request::Messages::Items32(Bytes::new()))),
        ("no messages", |bad| bad.messages = None),
        ("an item of 31 bytes", |bad| bad.messages = Some(verify_batch_request::Messages::Items32(vec![0; 31].into()))),
        ("an end too few", |bad| bad.signature_ends.truncate(1)),
        ("an end that falls", |bad| bad.signature_ends[1] = 0),
        ("a key that is not there", |bad| bad.key_indexes[7] = 1),
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
