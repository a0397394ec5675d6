//! The certificates of root keys: docker's rules take them, and they say what they should.
#![cfg(feature = "formats")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the workshop serves several tests")]

#[path = "tuf/workshop.rs"]
mod workshop;

use std::collections::BTreeSet;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _,
};
use trust::format::tuf::plan::{ROOT_SECONDS, Speakers, TARGETS_SECONDS};
use trust::format::tuf::publish::check;
use trust::format::tuf::{Expires, Gun, Key, KeyKind, Repository, RoleName, UnsignedCertificate};
use trust::{Algorithm, PublicKey, Signature};
use workshop::*;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A key pair, and its public half as the daemon has it.
fn pair(algorithm: Algorithm, signing: &'static EcdsaSigningAlgorithm) -> (EcdsaKeyPair, PublicKey) {
    use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
    let pair = EcdsaKeyPair::generate(signing).unwrap();
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let key = PublicKey::from_spki_der(algorithm, der.as_ref()).unwrap();
    (pair, key)
}

fn unsigned(key: &PublicKey, gun: &str, ends: i64) -> UnsignedCertificate {
    UnsignedCertificate::new(key, &gun.parse::<Gun>().unwrap(), [0xff; 16], [NOW, ends]).unwrap()
}

fn certified(pair: &EcdsaKeyPair, key: &PublicKey, gun: &str, ends: i64) -> Key {
    let unsigned = unsigned(key, gun, ends);
    let der = pair.sign(&SystemRandom::new(), unsigned.signed_bytes()).unwrap();
    unsigned.certified(&Signature::new(key.algorithm(), der.as_ref().to_vec()).unwrap()).unwrap()
}

#[test]
fn a_certificate_says_the_repository_its_dates_and_that_it_is_no_authority() {
    let (pair, key) = pair(Algorithm::EcdsaP256Sha256, &ECDSA_P256_SHA256_ASN1_SIGNING);

    // The second ends in 2056, which UTCTime cannot say.
    for ends in [NOW + ROOT_SECONDS, NOW + 3 * ROOT_SECONDS] {
        let certified = certified(&pair, &key, GUN, ends);

        assert_eq!(certified.kind(), Some(KeyKind::EcdsaX509));
        assert_eq!(certified.canonical_id(), Key::of(&key).unwrap().canonical_id());
        let (_, pem) = x509_parser::pem::parse_x509_pem(certified.public()).unwrap();
        let (rest, read) = X509Certificate::from_der(&pem.contents).unwrap();
        assert!(rest.is_empty());
        assert_eq!(read.subject().iter_common_name().next().unwrap().as_str().unwrap(), GUN);
        assert_eq!(read.issuer(), read.subject());
        assert_eq!([read.validity().not_before.timestamp(), read.validity().not_after.timestamp()], [NOW, ends]);
        let usage = read.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.digital_signature() && usage.value.key_encipherment());
        assert!(!usage.value.key_cert_sign() && read.extended_key_usage().unwrap().unwrap().value.code_signing);
        let constraints = read.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && !constraints.value.ca);
        assert_eq!(read.raw_serial().len(), 16);
        assert_eq!(read.raw_serial()[0] & 0x80, 0, "a serial is positive");
        assert_eq!(read.public_key().raw, key.spki_der());
        // docker's names are long: a length takes two bytes then.
        let long = format!("registry.example.com/{}", "a".repeat(200));
        let certificate = unsigned(&key, &long, ends);
        assert!(certificate.signed_bytes().windows(long.len()).any(|bytes| bytes == long.as_bytes()));
    }
}

#[test]
fn a_server_takes_a_first_root_under_it_and_none_under_another_repositorys() {
    let house = House::new();
    let (pair, key) = pair(Algorithm::EcdsaP256Sha256, &ECDSA_P256_SHA256_ASN1_SIGNING);
    let until = |seconds| Expires::at(NOW + seconds).unwrap();

    for (gun, is_taken) in [(GUN, true), ("registry.example.com/team/other", false)] {
        let root_key = certified(&pair, &key, gun, NOW + ROOT_SECONDS);
        let speakers = [
            (RoleName::Root, Speakers::one(root_key.clone())),
            (RoleName::Targets, Speakers::one(house.targets.key())),
            (RoleName::Snapshot, Speakers::one(house.snapshot.key())),
            (RoleName::Timestamp, Speakers::one(house.timestamp.key())),
        ];
        let root = Repository::default().next_root(&speakers, &until(ROOT_SECONDS)).unwrap();
        let der = pair.sign(&SystemRandom::new(), root.document().signed_bytes()).unwrap();
        let signature = Signature::new(Algorithm::EcdsaP256Sha256, der.as_ref().to_vec()).unwrap();
        let root = root.signed(&[root_key.stamp(&signature).unwrap()]).unwrap();
        let begun = Repository::default().with(root.clone());
        let targets = begun.next_targets(&RoleName::Targets, &[], &until(TARGETS_SECONDS)).unwrap();
        let targets = targets.signed(&[house.targets.stamp(targets.document())]).unwrap();
        let parts = vec![part("root", root.raw()), part("targets", targets.raw())];

        let taken = check(&GUN.parse().unwrap(), &Repository::default(), parts, &BTreeSet::new(), NOW);

        assert_eq!(taken.is_ok(), is_taken, "{gun}: {:?}", taken.err());
    }
}

#[test]
fn only_keys_that_root_may_have_are_certified() {
    let (_, p384) = pair(Algorithm::EcdsaP384Sha256, &ECDSA_P384_SHA384_ASN1_SIGNING);
    // RFC 8032 §7.1, test 1.
    let ed25519 = hex::decode("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap();
    let ed25519 = PublicKey::from_ed25519_bytes(&ed25519.try_into().unwrap()).unwrap();

    assert!(unsigned(&p384, GUN, NOW).signed_bytes().len() > 200);
    assert!(UnsignedCertificate::new(&ed25519, &GUN.parse().unwrap(), [1; 16], [NOW, NOW]).is_err());
    assert!(UnsignedCertificate::new(&p384, &GUN.parse().unwrap(), [1; 16], [NOW, i64::MAX]).is_err());
}
