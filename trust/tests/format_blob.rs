//! Signatures beside files: cosign's verify, and whatever was changed does not.
#![cfg(feature = "formats")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use trust::format::blob::{NotVerified, SIG_BYTES_MAX, sig_text, verify_bundle, verify_sig};
use trust::format::trusted_root;
use trust::verify::NotValid;
use trust::{Algorithm, Digest, HashFunction, PublicKey, Signable, Signature};

const FILE: &[u8] = include_bytes!("samples/cosign/artifact.txt");
const SIG: &str = include_str!("samples/cosign/cosign-2.6.5-artifact.txt.sig");
const BUNDLE: &str = include_str!("samples/cosign/cosign-3.1.3-artifact.txt.sigstore.json");

fn key() -> PublicKey {
    PublicKey::from_pem(include_str!("samples/cosign/cosign.pub")).unwrap()
}

fn file() -> Signable {
    Signable::Digest(Digest::of(HashFunction::Sha256, FILE))
}

#[test]
fn the_sig_file_of_cosign_2_verifies_and_is_written_as_it_was() {
    for text in [SIG.to_owned(), format!("{SIG}\n"), format!("{}\r\n{}\n", &SIG[..40], &SIG[40..])] {
        verify_sig(&key(), &file(), text.as_bytes()).unwrap();
    }
    verify_sig(&key(), &Signable::Message(FILE.to_vec()), SIG.as_bytes()).unwrap();
    let signature = Signature::new(Algorithm::EcdsaP256Sha256, STANDARD.decode(SIG).unwrap()).unwrap();
    assert_eq!(sig_text(&signature), SIG);
}

#[test]
fn a_flipped_bit_anywhere_in_the_signature_is_noticed() {
    let signature = STANDARD.decode(SIG).unwrap();
    for bit in 0..signature.len() * 8 {
        let mut flipped = signature.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);

        assert!(verify_sig(&key(), &file(), STANDARD.encode(flipped).as_bytes()).is_err(), "bit {bit}");
    }
    for length in 0..signature.len() {
        assert!(
            verify_sig(&key(), &file(), STANDARD.encode(&signature[..length]).as_bytes()).is_err(),
            "{length} bytes"
        );
    }
}

#[test]
fn a_flipped_bit_anywhere_in_the_bundle_never_verifies_another_file() {
    let other = Signable::Message(b"another release\n".to_vec());
    for bit in 0..BUNDLE.len() * 8 {
        let mut flipped = BUNDLE.as_bytes().to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);

        assert!(verify_bundle(&key(), &other, &flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn hostile_sig_files_are_refused_by_their_sin() {
    for (sin, text) in [
        ("nothing", Vec::new()),
        ("base64url", SIG.replace('+', "-").replace('/', "_").into_bytes()),
        ("no padding", SIG.trim_end_matches('=').replace('A', "").into_bytes()),
        ("white space", format!(" {SIG}").into_bytes()),
        ("raw bytes", STANDARD.decode(SIG).unwrap()),
        ("a bundle", BUNDLE.as_bytes().to_vec()),
        ("too many bytes", format!("{SIG}{}", "\n".repeat(SIG_BYTES_MAX)).into_bytes()),
        ("two signatures", format!("{SIG}\n{SIG}").into_bytes()),
        ("no text", vec![0xff; 96]),
    ] {
        assert!(verify_sig(&key(), &file(), &text).is_err(), "{sin}");
    }
}

#[test]
fn a_signature_of_another_file_is_told_from_a_changed_one() {
    let other = Signable::Digest(Digest::of(HashFunction::Sha256, b"another"));
    let changed = BUNDLE.replace(r#""signature":"MEQCIBb"#, r#""signature":"MEQCIBc"#);
    assert_ne!(changed, BUNDLE);

    assert_eq!(verify_sig(&key(), &other, SIG.as_bytes()), Err(NotVerified::NotValid(NotValid::Wrong)));
    assert_eq!(verify_bundle(&key(), &other, BUNDLE.as_bytes()), Err(NotVerified::OtherFile));
    assert_eq!(verify_bundle(&key(), &file(), changed.as_bytes()), Err(NotVerified::NotValid(NotValid::Wrong)));
}

#[test]
fn a_digest_of_another_function_is_no_input_for_the_key() {
    let sha384 = Signable::Digest(Digest::of(HashFunction::Sha384, FILE));

    assert_eq!(verify_sig(&key(), &sha384, SIG.as_bytes()), Err(NotVerified::NotValid(NotValid::Input)));
    assert_eq!(verify_bundle(&key(), &sha384, BUNDLE.as_bytes()), Err(NotVerified::OtherFile));
}

#[test]
fn the_trusted_root_names_nobody() {
    let root: serde_json::Value = serde_json::from_str(trusted_root::JSON).unwrap();

    assert_eq!(root.as_object().unwrap().len(), 1);
    assert_eq!(root["mediaType"], "application/vnd.dev.sigstore.trustedroot+json;version=0.1");
}
