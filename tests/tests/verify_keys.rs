//! Which keys signatures are verified under: the versions of a kept key, and what is no key at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

#[path = "verifying/signed.rs"]
#[allow(dead_code, reason = "it serves several tests")]
mod signed;

use prost::bytes::Bytes;
use signed::{sign, verdicts};
use tonic::Code;
use trust::Sha256Digest;
use trust_proto::v1::verification_client::VerificationClient;
use trust_proto::v1::{
    Algorithm, BatchKey, PublicKey, VerifyBatchRequest, VerifyFailure, VerifyRequest, VersionOfKey, batch_key,
    verify_batch_request, verify_request,
};
use trust_tests::raw::Caller;
use trust_tests::{Daemon, Setup};

/// One signature takes a thread of its own where its message is long, or its key has several versions.
#[tokio::test(flavor = "multi_thread")]
async fn one_signature_of_a_long_message_or_an_older_version_has_its_verdict() {
    let daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let caller = daemon.caller().await.unwrap();
    let mut client = VerificationClient::new(daemon.channel().await.unwrap());
    caller.create("raw/one").await.unwrap();
    let long = vec![7; 60 * 1024];
    let mut signed = Vec::new();
    for message in [&b"short"[..], &long] {
        signed.push((message, caller.sign("raw/one", message).await.unwrap()));
    }
    for version in 1..=3 {
        for (message, answer) in &signed {
            let ask = |message: &[u8], version| VerifyRequest {
                key: "raw/one".to_owned(),
                version,
                input: Some(verify_request::Input::Message(Bytes::copy_from_slice(message))),
                signature: answer.signatures[0].signature.clone(),
            };
            // The first version signed it.
            for (asked, is_valid) in [(0, true), (1, true), (version, version == 1)] {
                let verdict = client.verify(ask(message, asked)).await.unwrap().into_inner();
                let found = (verdict.valid, verdict.version);
                assert_eq!(found, (is_valid, u32::from(is_valid)), "{asked} of {version}: {}", verdict.reason);
            }
            let changed = client.verify(ask(&message[1..], 0)).await.unwrap().into_inner();
            assert!(!changed.valid);
            let missing = client.verify(ask(message, version + 1)).await.unwrap_err();
            assert_eq!(missing.code(), Code::NotFound);
        }
        caller.rotate("raw/one").await.unwrap();
    }
    caller.distrust("raw/one").await.unwrap();
    let ask = VerifyRequest {
        key: "raw/one".to_owned(),
        input: Some(verify_request::Input::Message(long.into())),
        signature: vec![7; 64].into(),
        ..VerifyRequest::default()
    };
    let verdict = client.verify(ask).await.unwrap().into_inner();
    assert_eq!((verdict.valid, verdict.reason.as_str()), (false, "the key is distrusted"));
}

/// Items, in turn under each of the keys of a batch.
fn in_turn(keys: Vec<BatchKey>, messages: &[[u8; 32]], signatures: &[Bytes]) -> VerifyBatchRequest {
    let count = u32::try_from(keys.len()).unwrap();
    VerifyBatchRequest {
        keys,
        key_indexes: (0..u32::try_from(messages.len()).unwrap()).map(|item| item % count).collect(),
        messages: Some(verify_batch_request::Messages::Items32(messages.concat().into())),
        signatures: signatures.concat().into(),
        ..VerifyBatchRequest::default()
    }
}

fn version(key: &str, version: u32) -> BatchKey {
    BatchKey { kind: Some(batch_key::Kind::VersionOfKey(VersionOfKey { key: key.to_owned(), version })) }
}

fn newest(key: &str) -> BatchKey {
    BatchKey { kind: Some(batch_key::Kind::Key(key.to_owned())) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_signed_before_a_rotation_verifies_under_its_version() {
    let daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let channel = daemon.channel().await.unwrap();
    let (caller, mut client) = (Caller::new(channel.clone()), VerificationClient::new(channel.clone()));
    let signed = sign(&channel, "raw/one", Algorithm::Ed25519, 9).await;
    let id = caller.get("raw/one").await.unwrap().id;
    let ask = |keys| in_turn(keys, &signed.messages, &signed.signatures);
    caller.rotate("raw/one").await.unwrap();

    let keys = vec![newest("raw/one"), version("raw/one", 1), version(&id, 1)];
    let answer = client.verify_batch(ask(keys)).await.unwrap().into_inner();

    let expected: Vec<_> = (0..9).map(|item| (item % 3 == 0).then_some(VerifyFailure::Wrong)).collect();
    assert_eq!(verdicts(&answer, 9), expected);
    let answer = client.verify_batch(ask(vec![version("raw/one", 2)])).await.unwrap().into_inner();
    assert_eq!(verdicts(&answer, 9), vec![Some(VerifyFailure::Wrong); 9]);
    for (number, code) in [(3, Code::NotFound), (0, Code::InvalidArgument)] {
        let refused = client.verify_batch(ask(vec![version("raw/one", number)])).await.unwrap_err();
        assert_eq!(refused.code(), code, "version {number}: {refused}");
    }
    caller.distrust("raw/one").await.unwrap();
    let answer = client.verify_batch(ask(vec![version("raw/one", 1)])).await.unwrap().into_inner();
    assert_eq!(verdicts(&answer, 9), vec![Some(VerifyFailure::Distrusted); 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_key_is_refused_in_a_batch_and_in_a_stream() {
    let daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let channel = daemon.channel().await.unwrap();
    let mut client = VerificationClient::new(channel.clone());
    let signed = sign(&channel, "raw/one", Algorithm::Ed25519, 9).await;
    let given = |algorithm: Algorithm, spki_der: &[u8]| {
        let spki_der = Bytes::copy_from_slice(spki_der);
        BatchKey { kind: Some(batch_key::Kind::PublicKey(PublicKey { algorithm: algorithm.into(), spki_der })) }
    };
    let spki = &signed.spki_der[..];
    let good = in_turn(vec![given(Algorithm::Ed25519, spki)], &signed.messages, &signed.signatures);
    for (what, key) in [
        ("no kind", BatchKey::default()),
        ("no name", newest("")),
        ("what no name may be", newest("no name")),
        ("a version of what no name may be", version("no name", 1)),
        ("another algorithm's", given(Algorithm::EcdsaP256Sha256, spki)),
        ("no algorithm's", given(Algorithm::Unspecified, spki)),
        ("a byte too few", given(Algorithm::Ed25519, &spki[1..])),
        ("nothing", given(Algorithm::Ed25519, b"")),
    ] {
        let mut bad = good.clone();
        // Also where no item is under it.
        bad.keys.push(key);

        let refused = client.verify_batch(bad.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{what}: {refused}");

        let mut stream = client.verify_stream(tokio_stream::iter([good.clone(), bad])).await.unwrap().into_inner();
        let answer = stream.message().await.unwrap().unwrap();
        assert_eq!(verdicts(&answer, 9), vec![None; 9], "{what}");
        assert_eq!(stream.message().await.unwrap_err().code(), Code::InvalidArgument, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rsa_signature_of_another_length_is_none_and_sha384_takes_no_digest_of_sha256() {
    let daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let channel = daemon.channel().await.unwrap();
    let mut client = VerificationClient::new(channel.clone());
    let rsa = sign(&channel, "raw/rsa", Algorithm::Rsa3072PssSha256, 3).await;
    let digests: Vec<[u8; 32]> = rsa.messages.iter().map(|message| *Sha256Digest::of(message).as_bytes()).collect();
    let mut ask = in_turn(vec![newest("raw/rsa")], &digests, &rsa.signatures);

    let sound = client.verify_batch(ask.clone()).await.unwrap().into_inner();

    assert_eq!(verdicts(&sound, 3), vec![None; 3]);
    // One without ends is missing; and with ends one is short, and another one the longer for it.
    let one_lost = VerifyBatchRequest { signatures: ask.signatures.slice(..2 * 384), ..ask.clone() };
    assert_eq!(client.verify_batch(one_lost).await.unwrap_err().code(), Code::InvalidArgument);
    ask.signature_ends = vec![383, 768, 1152];
    let ragged = client.verify_batch(ask).await.unwrap().into_inner();
    let encoding = Some(VerifyFailure::Encoding);
    assert_eq!(verdicts(&ragged, 3), [encoding, encoding, None]);

    let p384 = sign(&channel, "raw/p384", Algorithm::EcdsaP384Sha384, 1).await;
    let digest = *Sha256Digest::of(&p384.messages[0]).as_bytes();
    let mut ask = in_turn(vec![newest("raw/p384")], &[digest], &p384.signatures);
    ask.signature_ends = vec![u32::try_from(p384.signatures[0].len()).unwrap()];
    let answer = client.verify_batch(ask).await.unwrap().into_inner();
    assert_eq!(verdicts(&answer, 1), [Some(VerifyFailure::Input)]);
}
