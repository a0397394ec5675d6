//! The log as a client sees it: receipts lead to leaves, leaves to checkpoints, checkpoints to each other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use serde_json::Value;
use tonic::Code;
use tonic::transport::Channel;
use trust::Sha256Digest;
use trust_proto::v1::audit_client::AuditClient;
use trust_proto::v1::keys_client::KeysClient;
use trust_proto::v1::raw_statement::Input;
use trust_proto::v1::signing_client::SigningClient;
use trust_proto::v1::statement::Kind;
use trust_proto::v1::{
    Algorithm, CreateKeyRequest, GetCheckpointRequest, GetConsistencyProofRequest, InclusionProof, ListEntriesRequest,
    Purpose, RawStatement, Receipt, SignRequest, Statement,
};
use trust_tests::merkle::{TreeHead, extends, includes};
use trust_tests::wait::until;
use trust_tests::{Daemon, Setup};

const MESSAGE: &[u8] = b"to be remembered";

async fn signed(channel: &Channel, turn: u32) -> Receipt {
    signed_with_signature(channel, turn).await.0
}

async fn signed_with_signature(channel: &Channel, turn: u32) -> (Receipt, Vec<u8>) {
    let statement = RawStatement { input: Some(Input::Message([MESSAGE, &turn.to_be_bytes()].concat().into())) };
    let request = SignRequest {
        key: "raw/one".to_owned(),
        statement: Some(Statement { kind: Some(Kind::Raw(statement)) }),
        with_proof: true,
        ..SignRequest::default()
    };
    let answer = SigningClient::new(channel.clone()).sign(request).await.unwrap().into_inner();
    (answer.receipt.unwrap(), answer.signatures[0].signature.to_vec())
}

async fn scene() -> (Daemon, Channel) {
    let daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let channel = daemon.channel().await.unwrap();
    let request = CreateKeyRequest {
        name: "raw/one".to_owned(),
        purpose: Purpose::Raw.into(),
        algorithm: Algorithm::Ed25519.into(),
        ..CreateKeyRequest::default()
    };
    KeysClient::new(channel.clone()).create_key(request).await.unwrap();
    (daemon, channel)
}

fn hashes(list: &[impl AsRef<[u8]>]) -> Vec<Sha256Digest> {
    list.iter().map(|hash| Sha256Digest::from_bytes(hash.as_ref().try_into().unwrap())).collect()
}

fn proven(proof: &InclusionProof) -> TreeHead {
    let head = TreeHead::of_checkpoint(&proof.checkpoint).unwrap();
    includes(head, proof.leaf, &proof.entry, &hashes(&proof.hashes)).unwrap();
    head
}

async fn entries(channel: &Channel, first_leaf: u64) -> Vec<Value> {
    let request = ListEntriesRequest { first_leaf, count: 1000 };
    let page = AuditClient::new(channel.clone()).list_entries(request).await.unwrap().into_inner();
    page.entries.iter().map(|entry| serde_json::from_slice(entry).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receipt_of_each_signature_is_proven_in_a_checkpoint_that_extends_the_one_before() {
    let (_daemon, channel) = scene().await;
    let mut before: Option<TreeHead> = None;
    for turn in 0..20 {
        let receipt = signed(&channel, turn).await;
        let proof = receipt.proof.unwrap();
        assert_eq!(proof.leaf, receipt.leaf);
        assert_eq!(receipt.log_origin, "log.test.example");
        assert_eq!(proof.checkpoint.lines().next(), Some("log.test.example"));
        let preimage = Sha256Digest::of(&[MESSAGE, &turn.to_be_bytes()].concat()).to_hex();
        assert!(String::from_utf8_lossy(&proof.entry).contains(&preimage), "{:?}", proof.entry);

        let now = proven(&proof);

        if let Some(old) = before {
            let request = GetConsistencyProofRequest { from_size: old.size, to_size: now.size };
            let answer = AuditClient::new(channel.clone()).get_consistency_proof(request).await.unwrap().into_inner();
            extends(old, now, &hashes(&answer.hashes)).unwrap();
        }
        before = Some(now);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_signature_leaves_an_intent_and_an_outcome() {
    let (_daemon, channel) = scene().await;
    let (receipt, signature) = signed_with_signature(&channel, 0).await;

    let runtime = tokio::runtime::Handle::current();
    let leaves = until("the outcome leaf", std::time::Duration::from_secs(5), || {
        let leaves = tokio::task::block_in_place(|| runtime.block_on(entries(&channel, receipt.leaf)));
        Ok((leaves.len() >= 2).then_some(leaves))
    });

    let leaves = leaves.unwrap();
    assert_eq!(leaves[0]["kind"], "intent", "{leaves:#?}");
    assert_eq!(leaves[0]["key"], receipt.key_id.as_str(), "{leaves:#?}");
    let outcome = |leaf: &Value| leaf["kind"] == "outcome" && leaf["intent"] == receipt.leaf;
    let outcome = leaves.iter().find(|leaf| outcome(leaf)).unwrap_or_else(|| panic!("no outcome: {leaves:#?}"));
    assert_eq!(outcome["result"], "signed", "{outcome}");
    assert_eq!(outcome["signatures"][0], Sha256Digest::of(&signature).to_hex(), "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_name_stands_in_no_leaf() {
    let (_daemon, channel) = scene().await;
    signed(&channel, 0).await;

    let leaves = entries(&channel, 0).await;

    assert!(leaves.len() >= 3, "{leaves:?}");
    assert!(leaves.iter().all(|leaf| !leaf.to_string().contains("raw/one")), "{leaves:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_of_leaves_and_sizes_that_are_not_there_are_refused() {
    let (_daemon, channel) = scene().await;
    let mut audit = AuditClient::new(channel);
    let size =
        TreeHead::of_checkpoint(&audit.get_checkpoint(GetCheckpointRequest {}).await.unwrap().into_inner().checkpoint);
    let beyond = size.unwrap().size + 1_000_000;

    let leaf = audit.get_inclusion_proof(trust_proto::v1::GetInclusionProofRequest { leaf: beyond }).await.unwrap_err();
    let request = GetConsistencyProofRequest { from_size: beyond, to_size: beyond + 1 };
    let sizes = audit.get_consistency_proof(request).await.unwrap_err();

    for status in [leaf, sizes] {
        assert!(matches!(status.code(), Code::InvalidArgument | Code::NotFound), "{status:?}");
    }
}
