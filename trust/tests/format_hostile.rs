//! Whatever the bytes: every reader answers, none panics, and what it takes it writes and takes again.
#![cfg(feature = "formats")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use std::sync::LazyLock;

use proptest::prelude::*;
use trust::format::bundle::{Bundle, Referrer};
use trust::format::cosign::{SignatureManifest, read_simple_signing, read_statement};
use trust::format::oci::{self, Descriptor, Referrers};
use trust::format::release::manifest::Manifest;
use trust::format::release::minisig::Minisig;
use trust::format::release::sshsig::Sshsig;
use trust::format::release::sums;
use trust::format::{blob, json};
use trust::{Algorithm, PublicKey, Signable};

const SAMPLES: [&[u8]; 8] = [
    include_bytes!("samples/cosign/tagged-payload.json"),
    include_bytes!("samples/cosign/cosign-2.6.5-sig-manifest.json"),
    include_bytes!("samples/cosign/cosign-3.1.3-image-bundle.json"),
    include_bytes!("samples/cosign/cosign-3.1.3-artifact.txt.sigstore.json"),
    include_bytes!("samples/cosign/cosign-3.1.3-referrer-manifest.json"),
    include_bytes!("samples/cosign/cosign-3.1.3-fallback-index.json"),
    include_bytes!("samples/cosign/blob-with-tlog.sigstore.json"),
    br#"{"_type":"https://in-toto.io/Statement/v1","predicate":{},"predicateType":"https://sigstore.dev/cosign/sign/v1","subject":[{"digest":{"sha256":"c9444a23b50f216d0418f87eb37a905cd7601fc8728e8878252ebedc5a371452"},"name":"r.example.com/a:1"}]}"#,
];

/// Samples that are not JSON.
const TEXTS: [&[u8]; 3] = [
    include_bytes!("samples/release/f.minisig"),
    include_bytes!("samples/release/f.ed25519.sshsig"),
    b"3c4f9b6d0a6f8d0c1f62ae6f2b3f0f4e2f6f9f0e1d2c3b4a5968778695a4b3c2  app.tar\n",
];

static KEY: LazyLock<PublicKey> =
    LazyLock::new(|| PublicKey::from_pem(include_str!("samples/cosign/cosign.pub")).unwrap());

/// Puts the bytes before every reader.
fn read_all(bytes: &[u8]) {
    if let Ok(manifest) = oci::parse(bytes) {
        // Its descriptors can stand in a list of ours.
        let mut list = Referrers::empty();
        list.append(&manifest.listed()).unwrap();
        assert_eq!(Referrers::parse(&list.to_bytes()).unwrap().entries(), [manifest.listed()]);
    }
    if let Ok(mut list) = Referrers::parse(bytes) {
        let mut entries = list.entries();
        let added = Descriptor::of(oci::MediaType::OciManifest.as_str(), b"one more");
        list.append(&added).unwrap();
        entries.push(added);
        assert_eq!(Referrers::parse(&list.to_bytes()).unwrap().entries(), entries);
    }
    if let Ok(mut manifest) = SignatureManifest::parse(bytes) {
        let mut layers = manifest.layers();
        manifest.put(&KEY, b"payload", b"not valid").unwrap();
        let written = SignatureManifest::parse(&manifest.to_bytes()).unwrap().layers();
        assert_eq!(written.len(), layers.len() + 1);
        layers.push(written.last().unwrap().clone());
        assert_eq!(written, layers);
    }
    if let Ok(bundle) = Bundle::read(bytes) {
        assert_eq!(Bundle::read(&bundle.to_bytes()).unwrap(), bundle);
    }
    let claims = read_statement(bytes).unwrap_or_default().into_iter().chain(read_simple_signing(bytes));
    for claim in claims {
        assert!(!claim.written.chars().any(char::is_control));
    }
    if let Ok(manifest) = Manifest::read(bytes) {
        assert_eq!(manifest.to_bytes(), bytes);
    }
    if let Ok(signature) = Minisig::read(bytes) {
        assert_eq!(Minisig::read(signature.to_text().as_bytes()).unwrap(), signature);
    }
    if let Ok(lines) = sums::read(bytes) {
        let text: String = lines.iter().map(|(name, digest)| format!("{}  {name}\n", digest.to_hex())).collect();
        assert_eq!(text.as_bytes(), bytes);
    }
    let _ = Sshsig::read(bytes);
    let _ = Bundle::read_release(bytes);
    let _ = Referrer::read(bytes);
    let _ = blob::verify_sig(&KEY, &Signable::Message(Vec::new()), bytes);
    let _ = blob::verify_bundle(&KEY, &Signable::Message(Vec::new()), bytes);
}

/// Puts the bytes before the readers of keys.
fn read_as_key(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = PublicKey::from_pem(&text);
    for algorithm in Algorithm::ALL {
        let _ = PublicKey::from_spki_der(algorithm, bytes);
    }
}

/// How many values a sample has.
fn places(value: &json::Value) -> usize {
    match value {
        json::Value::Array(items) => 1 + items.iter().map(places).sum::<usize>(),
        json::Value::Object(members) => 1 + members.values().map(places).sum::<usize>(),
        _ => 1,
    }
}

/// The value with what stands at a place replaced; counts places down.
fn with(value: &json::Value, place: &mut usize, new: &json::Value) -> json::Value {
    if *place == 0 {
        *place = usize::MAX;
        return new.clone();
    }
    *place -= 1;
    match value {
        json::Value::Array(items) => items.iter().map(|item| with(item, place, new)).collect::<Vec<_>>().into(),
        json::Value::Object(members) => members
            .iter()
            .map(|(name, member)| (name.clone(), with(member, place, new)))
            .collect::<json::Object>()
            .into(),
        scalar => scalar.clone(),
    }
}

fn anything() -> impl Strategy<Value = json::Value> {
    prop_oneof![
        Just(json::Value::Null),
        Just(json::Value::Array(Vec::new())),
        Just(json::Value::object([])),
        any::<bool>().prop_map(json::Value::from),
        any::<u32>().prop_map(json::Value::from),
        (-9_007_199_254_740_991_i64..0).prop_map(|number| json::Integer::new(number).unwrap().into()),
        any::<String>().prop_map(json::Value::from),
        "[A-Za-z0-9+/=\\-_:@.\\n\\x00]{0,100}".prop_map(json::Value::from),
        (0..SAMPLES.len()).prop_filter_map("JSON", |sample| json::read("test", SAMPLES[sample], 1 << 20).ok()),
    ]
}

#[test]
fn every_key_with_one_bit_flipped_is_answered() {
    let pem = include_str!("samples/cosign/cosign.pub");
    for bytes in [pem.as_bytes(), KEY.spki_der()] {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            read_as_key(&flipped);
        }
    }
}

#[test]
fn every_sample_cut_anywhere_is_answered() {
    for sample in SAMPLES.into_iter().chain(TEXTS) {
        for end in 0..=sample.len() {
            read_all(&sample[..end]);
        }
    }
}

#[test]
fn every_sample_with_one_bit_flipped_is_answered() {
    for sample in SAMPLES.into_iter().chain(TEXTS) {
        for position in 0..sample.len() {
            // Another digit or letter, the other case, no longer UTF-8.
            for bit in [0x01, 0x20, 0x80] {
                let mut flipped = sample.to_vec();
                flipped[position] ^= bit;
                read_all(&flipped);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..1024)) {
        read_all(&bytes);
        read_as_key(&bytes);
    }

    #[test]
    fn samples_with_one_value_replaced_are_answered(
        sample in 0..SAMPLES.len(), place in any::<prop::sample::Index>(), new in anything(),
    ) {
        let value = json::read("test", SAMPLES[sample], 1 << 20).unwrap();
        let mut place = place.index(places(&value));

        read_all(&json::canonical(&with(&value, &mut place, &new)));
    }

    #[test]
    fn samples_with_two_values_replaced_are_answered(
        sample in 0..SAMPLES.len(), places_of in any::<[prop::sample::Index; 2]>(), new in [anything(), anything()],
    ) {
        let mut value = json::read("test", SAMPLES[sample], 1 << 20).unwrap();
        for (place, new) in places_of.iter().zip(new) {
            let mut place = place.index(places(&value));
            value = with(&value, &mut place, &new);
        }

        read_all(&json::canonical(&value));
    }
}
