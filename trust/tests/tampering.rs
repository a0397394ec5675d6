//! Signatures that openssl made, for every algorithm: valid as they are, and refused once anything is changed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use trust::verify::batch::{self, Input, Item, Key};
use trust::{Algorithm, Digest, PublicKey, Scheme, Signable, verify};

const MESSAGE: &[u8] = b"sign on push, verify on pull";

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        // Tests run side by side in one process.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("trust-{name}-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left over is in the temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn openssl(directory: &Path, arguments: &str) {
    let command = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output();
    let output = command.expect("openssl is missing: apt-get install openssl");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A new key of an algorithm and its signature over [`MESSAGE`].
fn signed(algorithm: Algorithm) -> (PublicKey, Vec<u8>) {
    let directory = Directory::new(algorithm.name());
    let at = directory.0.as_path();
    std::fs::write(at.join("message"), MESSAGE).unwrap();
    let kind = match algorithm.scheme() {
        Scheme::EcdsaP256 => "EC -pkeyopt ec_paramgen_curve:P-256".to_owned(),
        Scheme::EcdsaP384 => "EC -pkeyopt ec_paramgen_curve:P-384".to_owned(),
        Scheme::Ed25519 => "ED25519".to_owned(),
        Scheme::RsaPkcs1 | Scheme::RsaPss => {
            format!("RSA -pkeyopt rsa_keygen_bits:{}", algorithm.rsa_modulus_bits().unwrap())
        }
    };
    openssl(at, &format!("genpkey -algorithm {kind} -out private"));
    openssl(at, "pkey -in private -pubout -out public");
    let hash = if algorithm == Algorithm::EcdsaP384Sha384 { "sha384" } else { "sha256" };
    openssl(
        at,
        &match algorithm.scheme() {
            Scheme::Ed25519 => "pkeyutl -sign -inkey private -rawin -in message -out signature".to_owned(),
            Scheme::RsaPss => {
                "dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -sign private -out signature message"
                    .to_owned()
            }
            _ => format!("dgst -{hash} -sign private -out signature message"),
        },
    );
    let pem = std::fs::read_to_string(at.join("public")).unwrap();
    (PublicKey::from_pem_as(algorithm, &pem).unwrap(), std::fs::read(at.join("signature")).unwrap())
}

/// A key of every algorithm and its signature, made once: RSA keys take a while.
static SIGNED: LazyLock<Vec<(PublicKey, Vec<u8>)>> = LazyLock::new(|| Algorithm::ALL.map(signed).into());

/// The one verdict of all ways to verify: alone, in a batch, and over the finished digest.
fn accepted(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    let input = Signable::Message(message.to_vec());
    let alone = verify::one(key, &input, signature).is_ok();
    let item = Item { key: Key::Plain(key), input: Input::from(&input), signature };
    assert_eq!(batch::chunk(&[item])[0].is_ok(), alone);
    if let Some(function) = key.algorithm().prehash() {
        let digest = Signable::Digest(Digest::of(function, message));
        assert_eq!(verify::one(key, &digest, signature).is_ok(), alone);
    }
    alone
}

#[test]
fn a_signature_of_openssl_is_valid_and_every_change_of_it_is_not() {
    for (key, signature) in SIGNED.iter() {
        let algorithm = key.algorithm();
        assert!(accepted(key, MESSAGE, signature), "{algorithm}");

        for bit in 0..signature.len() * 8 {
            let mut flipped = signature.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!accepted(key, MESSAGE, &flipped), "{algorithm}: bit {bit}");
        }
        for length in 0..signature.len() {
            assert!(!accepted(key, MESSAGE, &signature[..length]), "{algorithm}: {length} bytes");
            assert!(
                !accepted(key, MESSAGE, &signature[signature.len() - length..]),
                "{algorithm}: last {length} bytes"
            );
        }
        for (sin, longer) in [
            ("a byte behind", [&signature[..], &[0]].concat()),
            ("a byte before", [&[0], &signature[..]].concat()),
            ("twice", [&signature[..], signature].concat()),
            ("huge", vec![0x30; 1 << 20]),
        ] {
            assert!(!accepted(key, MESSAGE, &longer), "{algorithm}: {sin}");
        }
    }
}

#[test]
fn a_signature_is_of_its_message_only() {
    for (key, signature) in SIGNED.iter() {
        let algorithm = key.algorithm();

        for bit in 0..MESSAGE.len() * 8 {
            let mut flipped = MESSAGE.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!accepted(key, &flipped, signature), "{algorithm}: bit {bit}");
        }
        for message in [&[][..], &MESSAGE[1..], &[MESSAGE, b"\0"].concat(), &[MESSAGE, MESSAGE].concat()] {
            assert!(!accepted(key, message, signature), "{algorithm}: {message:?}");
        }
    }
}

#[test]
fn a_signature_is_of_its_key_and_its_algorithm_only() {
    for (key, signature) in SIGNED.iter() {
        let algorithm = key.algorithm();
        // Keys of its kind: those of algorithms with another padding or hash, and where there is none, a new one.
        let of_kind = |(key, _): &(PublicKey, Vec<u8>)| PublicKey::from_spki_der(algorithm, key.spki_der()).ok();
        let mut others: Vec<_> = SIGNED.iter().filter_map(of_kind).filter(|other| other != key).collect();
        if others.is_empty() {
            others.push(signed(algorithm).0);
        }
        for other in others {
            assert!(!accepted(&other, MESSAGE, signature), "{algorithm}");
        }
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            if let Ok(same_key) = PublicKey::from_spki_der(other, key.spki_der()) {
                assert!(!accepted(&same_key, MESSAGE, signature), "{algorithm} taken for {other}");
            }
        }
    }
}
