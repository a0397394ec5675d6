//! Signatures of every algorithm through the real daemon, with openssl as a second opinion.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tonic::Code;
use tonic::transport::Channel;
use trust_proto::v1::keys_client::KeysClient;
use trust_proto::v1::raw_statement::Input;
use trust_proto::v1::signing_client::SigningClient;
use trust_proto::v1::statement::Kind;
use trust_proto::v1::verification_client::VerificationClient;
use trust_proto::v1::{
    Algorithm, CreateKeyRequest, Key, Purpose, RawStatement, SignRequest, SignResponse, Statement, VerifyRequest,
    verify_request,
};
use trust_tests::program::{self, Ran, run};
use trust_tests::{Daemon, Setup};

const MESSAGE: &[u8] = b"what the caller wants signed\n";

/// openssl's arguments for each algorithm, after the public key and before the signature's name.
const ALGORITHMS: [(Algorithm, &[&str]); 8] = [
    (Algorithm::EcdsaP256Sha256, &["dgst", "-sha256"]),
    (Algorithm::EcdsaP384Sha256, &["dgst", "-sha256"]),
    (Algorithm::EcdsaP384Sha384, &["dgst", "-sha384"]),
    (Algorithm::Ed25519, &["pkeyutl"]),
    (Algorithm::Rsa3072Pkcs1Sha256, &["dgst", "-sha256"]),
    (Algorithm::Rsa3072PssSha256, &["dgst", "-sha256", "pss"]),
    (Algorithm::Rsa4096Pkcs1Sha256, &["dgst", "-sha256"]),
    (Algorithm::Rsa4096PssSha256, &["dgst", "-sha256", "pss"]),
];

fn daemon() -> Daemon {
    Daemon::with(&Setup::allowing_raw()).unwrap()
}

async fn create(channel: &Channel, name: &str, algorithm: Algorithm) -> Key {
    let request = CreateKeyRequest {
        name: name.to_owned(),
        purpose: Purpose::Raw.into(),
        algorithm: algorithm.into(),
        ..CreateKeyRequest::default()
    };
    KeysClient::new(channel.clone()).create_key(request).await.unwrap().into_inner().key.unwrap()
}

fn raw(key: &str, message: &'static [u8]) -> SignRequest {
    let statement = RawStatement { input: Some(Input::Message(message.into())) };
    SignRequest {
        key: key.to_owned(),
        statement: Some(Statement { kind: Some(Kind::Raw(statement)) }),
        ..SignRequest::default()
    }
}

async fn sign(channel: &Channel, key: &str) -> SignResponse {
    SigningClient::new(channel.clone()).sign(raw(key, MESSAGE)).await.unwrap().into_inner()
}

/// openssl's verdict on `message` under the public key as openssl itself reads it.
fn openssl(options: &[&str], spki: &[u8], message: &[u8], signature: &[u8]) -> Ran {
    let directory = TempDir::new().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let (der, message, signature) = (file("key.der", spki), file("message", message), file("signature", signature));
    let pem = directory.path().join("key.pem");
    run(program::openssl().unwrap().args(["pkey", "-pubin", "-inform", "DER", "-in"]).arg(der).arg("-out").arg(&pem))
        .unwrap()
        .ok()
        .unwrap();
    let mut command = program::openssl().unwrap();
    match options {
        ["pkeyutl"] => one_shot(&mut command, &pem, &signature).arg(message),
        [dgst, hash, rest @ ..] => {
            command.args([dgst, hash]).arg("-verify").arg(pem).arg("-signature").arg(signature);
            if rest == ["pss"] {
                let padding = "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -sigopt rsa_mgf1_md:sha256";
                command.args(padding.split(' '));
            }
            command.arg(message)
        }
        _ => unreachable!("no such row"),
    };
    run(&mut command).unwrap()
}

fn one_shot<'a>(command: &'a mut Command, pem: &Path, signature: &Path) -> &'a mut Command {
    command.args(["pkeyutl", "-verify", "-pubin", "-inkey"]).arg(pem).arg("-sigfile").arg(signature);
    command.args(["-rawin", "-in"])
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_accepts_a_raw_signature_of_every_algorithm_and_of_this_message_only() {
    let daemon = daemon();
    let channel = daemon.channel().await.unwrap();
    for (algorithm, options) in ALGORITHMS {
        let name = format!("raw/{}", algorithm.as_str_name().to_lowercase().replace('_', "-"));
        let key = create(&channel, &name, algorithm).await;

        let signed = sign(&channel, &name).await;

        let signature = &signed.signatures[0].signature;
        assert_eq!(signed.spki_der, key.versions[0].spki_der, "{name}");
        openssl(options, &signed.spki_der, MESSAGE, signature).ok().unwrap();
        let other = openssl(options, &signed.spki_der, b"another message", signature);
        assert_ne!(other.code, Some(0), "{name}: {other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_verifies_what_it_signed_and_refuses_it_changed() {
    let daemon = daemon();
    let channel = daemon.channel().await.unwrap();
    create(&channel, "raw/one", Algorithm::Ed25519).await;
    let signature = sign(&channel, "raw/one").await.signatures[0].signature.clone();
    let mut changed = signature.to_vec();
    changed[10] ^= 1;
    let mut verify = VerificationClient::new(channel);
    let asked = |signature: Vec<u8>| VerifyRequest {
        key: "raw/one".to_owned(),
        input: Some(verify_request::Input::Message(MESSAGE.into())),
        signature: signature.into(),
        ..VerifyRequest::default()
    };

    let good = verify.verify(asked(signature.to_vec())).await.unwrap().into_inner();
    let bad = verify.verify(asked(changed)).await.unwrap().into_inner();

    assert!(good.valid && good.version == 1, "{good:?}");
    assert!(!bad.valid && !bad.reason.is_empty(), "{bad:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_signatures_are_refused_by_the_default_policy() {
    let daemon = Daemon::start().unwrap();
    let channel = daemon.channel().await.unwrap();
    let request = CreateKeyRequest {
        name: "raw/one".to_owned(),
        purpose: Purpose::Raw.into(),
        algorithm: Algorithm::Ed25519.into(),
        ..CreateKeyRequest::default()
    };

    let refused = KeysClient::new(channel).create_key(request).await.unwrap_err();

    assert!(matches!(refused.code(), Code::PermissionDenied | Code::FailedPrecondition), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_signatures_outlive_a_kill_and_a_restart() {
    let mut daemon = daemon();
    let channel = daemon.channel().await.unwrap();
    create(&channel, "raw/one", Algorithm::EcdsaP256Sha256).await;
    let before = sign(&channel, "raw/one").await;

    daemon.kill().unwrap();
    daemon.launch().unwrap();

    let channel = daemon.channel().await.unwrap();
    let after = sign(&channel, "raw/one").await;
    assert_eq!(before.spki_der, after.spki_der);
    assert!(after.receipt.unwrap().leaf > before.receipt.unwrap().leaf);
    openssl(&["dgst", "-sha256"], &after.spki_der, MESSAGE, &after.signatures[0].signature).ok().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_key_signs_nothing_and_its_signatures_still_count() {
    use trust_proto::v1::{ChangeUseRequest, UseChange};
    let daemon = daemon();
    let channel = daemon.channel().await.unwrap();
    create(&channel, "raw/one", Algorithm::Ed25519).await;
    let signature = sign(&channel, "raw/one").await.signatures[0].signature.clone();
    let disable = ChangeUseRequest {
        key: "raw/one".to_owned(),
        change: UseChange::Disable.into(),
        ..ChangeUseRequest::default()
    };
    KeysClient::new(channel.clone()).change_use(disable).await.unwrap();

    let refused = SigningClient::new(channel.clone()).sign(raw("raw/one", MESSAGE)).await.unwrap_err();

    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    let asked = VerifyRequest {
        key: "raw/one".to_owned(),
        input: Some(verify_request::Input::Message(MESSAGE.into())),
        signature,
        ..VerifyRequest::default()
    };
    assert!(VerificationClient::new(channel).verify(asked).await.unwrap().into_inner().valid);
}
