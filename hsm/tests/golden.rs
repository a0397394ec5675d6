//! What was sealed by an older version opens in every newer one.
//!
//! Each file in `golden/` was written once, by the first version that had its
//! format; it is never made anew. A change that breaks this test locks people
//! out of their keys: it needs a new format beside the old one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

mod house;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use house::{STORE, context};
use tempfile::TempDir;
use trust::{Algorithm, PublicKey, Purpose, Sha256Digest, Signable};
use trust_hsm::{
    Custodian as _, KeyRing as _, Material, Passphrase, RootPlace, RootSource, SealedKey, SigningOrder,
    SoftwareCustodian, Wrapping, root_place,
};

fn golden(text: &'static str) -> BTreeMap<&'static str, Vec<u8>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap()).map(|(name, value)| (name, unhex(value))).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |place: usize| u8::from_str_radix(&text[place..place + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

#[test]
fn ring_store_key_and_records_of_format_1_open() {
    let golden = golden(include_str!("golden/format-1.txt"));
    let directory = TempDir::new().unwrap();
    let (root, ring) = (directory.path().join("root.key"), directory.path().join("kek.ring"));
    fs::write(&root, &golden["root"]).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&ring, &golden["ring"]).unwrap();
    let custodian = SoftwareCustodian::new(&ring, 8);

    let unsealed = custodian.unseal(RootSource::File { path: root }).unwrap();

    assert_eq!(unsealed.store, STORE);
    assert_eq!(unsealed.store_key.expose().as_slice(), golden["store-key"]);
    let mut session = custodian.open().unwrap();
    for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP256Sha256, Algorithm::Rsa3072Pkcs1Sha256] {
        let spki = &golden[format!("{algorithm}.spki").as_str()];
        let public_key = PublicKey::from_spki_der(algorithm, spki).unwrap();
        let sealed = SealedKey::from_bytes(&golden[format!("{algorithm}.sealed").as_str()]).unwrap();
        let input = Signable::Message(b"m".to_vec());
        let order = SigningOrder {
            context: Arc::new(context(algorithm, Purpose::Image)),
            spki_sha256: public_key.spki_sha256(),
            material: Material::Sealed(sealed),
            inputs: vec![input.clone()],
        };

        let signed = session.sign(&[order], Duration::from_secs(60)).remove(0).unwrap().remove(0).unwrap();

        trust::verify::one(&public_key, &input, signed.as_bytes()).unwrap();
    }
}

#[test]
fn a_ring_of_format_2_opens_with_its_file_and_under_a_token_with_its_passphrase() {
    let golden = golden(include_str!("golden/format-2.txt"));
    let directory = TempDir::new().unwrap();
    let (root, ring) = (directory.path().join("root.key"), directory.path().join("kek.ring"));
    fs::write(&root, &golden["root"]).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o600)).unwrap();
    let words = Passphrase::take(&mut b"five words drawn by lot".to_vec()).unwrap();
    let order = SigningOrder {
        context: Arc::new(context(Algorithm::Ed25519, Purpose::Image)),
        spki_sha256: Sha256Digest::from_bytes(*golden["ed25519.spki-sha256"].first_chunk().unwrap()),
        material: Material::Sealed(SealedKey::from_bytes(&golden["ed25519.sealed"]).unwrap()),
        inputs: vec![Signable::Message(b"m".to_vec())],
    };
    for (name, source) in [("ring", RootSource::File { path: root }), ("token-ring", RootSource::Passphrase(words))] {
        fs::write(&ring, &golden[name]).unwrap();
        let custodian = SoftwareCustodian::new(&ring, 8);

        let unsealed = custodian.unseal(source).unwrap();

        assert_eq!((unsealed.store, unsealed.store_key.expose().as_slice()), (STORE, &*golden["store-key"]));
        let order = std::slice::from_ref(&order);
        custodian.open().unwrap().sign(order, Duration::from_secs(60)).remove(0).unwrap().remove(0).unwrap();
    }
    let (store, place) = root_place(&ring).unwrap();
    let RootPlace::Token { wraps, has_passphrase } = place else { panic!("{place:?}") };
    assert!(store == STORE && has_passphrase && wraps.len() == 1);
    assert_eq!((wraps[0].token.as_str(), wraps[0].key.as_bytes().as_slice()), ("test", &*golden["token-wrap.key"]));
    assert_eq!(wraps[0].how, Wrapping::AesGcm(*golden["token-wrap.nonce"].first_chunk().unwrap()));
    assert_eq!(wraps[0].bytes, golden["token-wrap.bytes"]);
}
