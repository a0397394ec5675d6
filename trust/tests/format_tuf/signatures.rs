//! Signatures of a delegation's file: which count, and for how many keys.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use trust::format::tuf::{Document, NotMet};

use super::workshop::{TestKey, base64, canonical_of, entry, id_of, read, role};
use super::{delegating, targets_of};

fn delegated() -> Value {
    json!({"_type": "Targets", "version": 1, "expires": "2030-01-01T00:00:00Z", "targets": {}, "delegations": {}})
}

fn verify(delegating: &Document, signatures: Vec<Value>) -> Result<(), NotMet> {
    let bytes = serde_json::to_vec(&json!({"signed": delegated(), "signatures": signatures})).unwrap();
    let name = role("targets/a");
    read("targets/a", &bytes).verify(&targets_of(delegating).authority(&name).unwrap())
}

#[test]
fn a_threshold_is_met_by_so_many_keys_and_not_by_one_that_signs_twice() {
    let (one, two, stranger) = (TestKey::ed25519(1), TestKey::ed25519(2), TestKey::ed25519(3));
    let parent = delegating(&[(one.id.clone(), one.entry.clone()), (two.id.clone(), two.entry.clone())], 2);
    let (first, second, strange) = (one.sign(&delegated()), two.sign(&delegated()), stranger.sign(&delegated()));
    let wrong = one.sign(&json!({"_type": "Targets"}));
    let few = Err(NotMet::TooFew(role("targets/a")));

    assert_eq!(verify(&parent, vec![first.clone(), second.clone()]), Ok(()));
    assert_eq!(verify(&parent, vec![strange.clone(), wrong.clone(), second.clone(), first.clone()]), Ok(()));
    assert_eq!(verify(&parent, vec![]), Err(NotMet::NoSignatures));
    for signatures in [
        vec![first.clone()],
        vec![first.clone(), first.clone()],
        vec![first.clone(), wrong],
        vec![first.clone(), strange],
        vec![first.clone(), json!({"keyid": two.id, "method": "eddsa", "sig": first["sig"]})],
        vec![first.clone(), json!({"keyid": two.id, "method": "ecdsa", "sig": second["sig"]})],
        vec![first, json!({"keyid": two.id, "method": "none", "sig": ""})],
    ] {
        assert_eq!(verify(&parent, signatures.clone()), few, "{signatures:?}");
    }
}

#[test]
fn one_key_under_two_names_counts_once() {
    let pair = rcgen::KeyPair::generate().unwrap();
    let certificate = |name: &str| {
        rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&pair).unwrap().pem().into_bytes()
    };
    let bare = entry("ecdsa", &rcgen::PublicKeyData::subject_public_key_info(&pair));
    let (one, other) = (entry("ecdsa-x509", &certificate("a")), entry("ecdsa-x509", &certificate("b")));
    let named = [&bare, &one, &other].map(|entry| (id_of(entry), entry.clone()));
    let signing = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pair.serialized_der()).unwrap();
    let signatures: Vec<Value> = named
        .iter()
        .map(|(id, _)| {
            let bytes = signing.sign(&SystemRandom::new(), &canonical_of(&delegated())).unwrap();
            json!({"keyid": id, "method": "ECDSA", "sig": base64(bytes.as_ref())})
        })
        .collect();

    assert_eq!(verify(&delegating(&named, 1), signatures.clone()), Ok(()));
    assert_eq!(verify(&delegating(&named, 2), signatures), Err(NotMet::TooFew(role("targets/a"))));
}

/// DER of a `SubjectPublicKeyInfo` of P-256 with these bytes in the place of the point.
fn p256_spki(point: &[u8]) -> Vec<u8> {
    let algorithm = [0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let length = |length: usize| u8::try_from(length).unwrap();
    let bits = [&[3, length(point.len() + 1), 0], point].concat();
    let body = [&algorithm[..], &bits].concat();
    let header: &[u8] = if body.len() < 128 { &[0x30] } else { &[0x30, 0x81] };
    [header, &[length(body.len())], &body].concat()
}

#[test]
fn one_key_in_another_encoding_counts_for_nothing() {
    let pair = rcgen::KeyPair::generate().unwrap();
    let point = rcgen::PublicKeyData::der_bytes(&pair);
    let spki = p256_spki(point);
    assert_eq!(spki, rcgen::PublicKeyData::subject_public_key_info(&pair));
    let compressed = [&[2 + (point[64] & 1)], &point[1..33]].concat();
    let forms = [spki.clone(), p256_spki(&compressed), p256_spki(&spki), [&spki[..], &[0]].concat()];
    let named = forms.map(|form| entry("ecdsa", &form)).map(|entry| (id_of(&entry), entry));
    let signing = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pair.serialized_der()).unwrap();
    let line = |id: &str| {
        let bytes = signing.sign(&SystemRandom::new(), &canonical_of(&delegated())).unwrap();
        json!({"keyid": id, "method": "ecdsa", "sig": base64(bytes.as_ref())})
    };
    let few = Err(NotMet::TooFew(role("targets/a")));

    assert_eq!(verify(&delegating(&named[..1], 1), vec![line(&named[0].0)]), Ok(()));
    assert_eq!(verify(&delegating(&named, 2), named.iter().map(|(id, _)| line(id)).collect()), few);
    for (id, entry) in &named[1..] {
        assert_eq!(verify(&delegating(&[(id.clone(), entry.clone())], 1), vec![line(id)]), few, "{id}");
    }
}

#[test]
fn signatures_of_strangers_are_passed_over_whatever_they_are_called() {
    let key = TestKey::ed25519(1);
    let parent = delegating(&[(key.id.clone(), key.entry.clone())], 1);
    let strange = ["", "me", &"0".repeat(64), &key.id.to_uppercase()]
        .map(|name| json!({"keyid": name, "method": "eddsa", "sig": ""}));

    let mut signatures = strange.to_vec();
    assert_eq!(verify(&parent, signatures.clone()), Err(NotMet::TooFew(role("targets/a"))));

    signatures.push(key.sign(&delegated()));
    assert_eq!(verify(&parent, signatures), Ok(()));
}
