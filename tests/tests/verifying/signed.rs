//! Signatures of the daemon's own keys, and what it says of them: for the tests of verification.

use std::net::SocketAddr;

use prost::bytes::Bytes;
use tonic::transport::Channel;
use trust::Sha256Digest;
use trust_proto::v1::keys_client::KeysClient;
use trust_proto::v1::signing_client::SigningClient;
use trust_proto::v1::{
    Algorithm, BatchKey, SignBatchRequest, VerifyBatchRequest, VerifyBatchResponse, VerifyFailure, batch_key,
    sign_batch_request, sign_batch_response, verify_batch_request,
};
use trust_tests::http::http;
use trust_tests::raw::create_request;

/// What one key signed.
pub(crate) struct Signed {
    pub(crate) name: &'static str,
    pub(crate) spki_der: Bytes,
    pub(crate) messages: Vec<[u8; 32]>,
    pub(crate) signatures: Vec<Bytes>,
}

/// Makes a raw key, and has it sign so many messages of 32 bytes.
pub(crate) async fn sign(channel: &Channel, name: &'static str, algorithm: Algorithm, items: usize) -> Signed {
    let request = trust_proto::v1::CreateKeyRequest { algorithm: algorithm.into(), ..create_request(name) };
    KeysClient::new(channel.clone()).create_key(request).await.unwrap();
    let messages: Vec<[u8; 32]> =
        (0..items).map(|item| *Sha256Digest::of(format!("{name} {item}").as_bytes()).as_bytes()).collect();
    let request = SignBatchRequest {
        key: name.to_owned(),
        items: Some(sign_batch_request::Items::RawMessages32(messages.concat().into())),
        ..SignBatchRequest::default()
    };
    let answer = SigningClient::new(channel.clone()).sign_batch(request).await.unwrap().into_inner();
    let Some(sign_batch_response::Items::Packed(packed)) = answer.items else { panic!("not packed") };
    let ends: Vec<usize> = if packed.ends.is_empty() {
        (1..=items).map(|item| item * (packed.signatures.len() / items)).collect()
    } else {
        packed.ends.iter().map(|end| usize::try_from(*end).unwrap()).collect()
    };
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let signatures = starts.zip(&ends).map(|(start, end)| packed.signatures.slice(start..*end)).collect();
    Signed { name, spki_der: answer.spki_der, messages, signatures }
}

/// So many items under a P-384 key, none of them valid, and each found so by the whole of the slowest arithmetic: a signature
/// of r = s = 1.
pub(crate) fn slow(key: &str, items: usize) -> VerifyBatchRequest {
    let signature: [u8; 8] = [0x30, 6, 2, 1, 1, 2, 1, 1];
    VerifyBatchRequest {
        keys: vec![BatchKey { kind: Some(batch_key::Kind::Key(key.to_owned())) }],
        messages: Some(verify_batch_request::Messages::Items32(vec![7; items * 32].into())),
        signatures: signature.repeat(items).into(),
        signature_ends: (1..=u32::try_from(items).unwrap()).map(|item| item * 8).collect(),
        ..VerifyBatchRequest::default()
    }
}

/// The verdict of each item, `None` where it is valid.
pub(crate) fn verdicts(answer: &VerifyBatchResponse, items: usize) -> Vec<Option<VerifyFailure>> {
    let mut verdicts: Vec<Option<VerifyFailure>> = vec![None; items];
    for failure in &answer.failures {
        verdicts[usize::try_from(failure.index).unwrap()] = Some(failure.reason());
    }
    for (index, verdict) in verdicts.iter().enumerate() {
        assert_eq!(answer.valid[index / 8] >> (index % 8) & 1 == 1, verdict.is_none(), "item {index}");
    }
    verdicts
}

/// One number of the metrics page.
pub(crate) fn metric(address: SocketAddr, name: &str) -> String {
    let page = http(address, "GET /metrics HTTP/1.1").unwrap();
    page.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
}

/// The key, the item of 32 bytes and its signature of docs/verify.md.
pub(crate) const SAMPLE_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA2AgilYwyQawm9rSeHtQxD23G6gWlTiVTrZxO3O0CUMU=\n-----END PUBLIC KEY-----\n";
pub(crate) const SAMPLE_ITEM: &str = "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e";
pub(crate) const SAMPLE_SIGNATURE: &str = "978d812a37d18558a3b8e65359d381cd8f6a40baec0803231713d572e08723198f15887a2d25e85a98d2f77d72f692f7e35e5fbe4416ebdc934a149475d29a0f";
