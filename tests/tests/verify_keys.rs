//! Which keys signatures are verified under: the versions of a kept key, and what is no key at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use prost::bytes::Bytes;
use tonic::Code;
use trust_proto::v1::verification_client::VerificationClient;
use trust_proto::v1::{VerifyRequest, verify_request};
use trust_tests::raw::Caller;
use trust_tests::{Daemon, Setup};

/// One signature takes a thread of its own where its message is long, or its key has several versions.
#[tokio::test(flavor = "multi_thread")]
async fn one_signature_of_a_long_message_or_an_older_version_has_its_verdict() {
    let daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let caller = Caller::new(daemon.channel().await.unwrap());
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
