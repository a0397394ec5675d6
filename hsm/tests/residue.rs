//! What is left of a secret in the worker's memory, in ours, and in every file.
//!
//! A scan that never finds anything proves nothing: the same scan must find what
//! is there (`a_scan_finds_what_is_there`), and in a build with `test-leak` the
//! test about the private key must find it, too.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, reason = "tests fail by panicking")]

mod house;

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use house::{House, Mount, contains};
use tempfile::TempDir;
use trust_hsm::{Passphrase, RootSource};

/// Every readable mapping of a process, one after the other. Needs root, as the worker cannot be dumped.
fn scan(pid: u32, mut look: impl FnMut(&[u8])) {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).expect("only root may read the worker's memory");
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, mode) = (words.next().unwrap(), words.next().unwrap());
        if !mode.starts_with('r') || line.ends_with("[vvar]") || line.ends_with("[vsyscall]") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let (start, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        // Secret pages and guard pages cannot be read: that is the point of them.
        if memory.read_exact_at(&mut bytes, start).is_ok() {
            look(&bytes);
        }
    }
}

/// How often any 16 bytes of `secret` on an 8-byte step stand in a process' memory.
fn found(pid: u32, secret: &[u8]) -> usize {
    let pieces: HashSet<&[u8]> = secret.windows(16).step_by(8).collect();
    let begins: HashSet<[u8; 2]> = pieces.iter().map(|piece| [piece[0], piece[1]]).collect();
    let mut maybe = vec![false; 1 << 16];
    begins.iter().for_each(|begin| maybe[usize::from(u16::from_le_bytes(*begin))] = true);
    let mut hits = 0;
    scan(pid, |bytes| {
        for window in bytes.windows(16) {
            if maybe[usize::from(u16::from_le_bytes([window[0], window[1]]))] && pieces.contains(window) {
                hits += 1;
            }
        }
    });
    hits
}

fn files_contain(directory: &Path, secret: &[u8]) -> bool {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() { files_contain(&path, secret) } else { contains(&fs::read(&path).unwrap(), &secret[..16]) }
    })
}

fn pid(house: &House) -> u32 {
    house.worker.as_ref().unwrap().pids()[0]
}

#[test]
fn a_scan_finds_what_is_there() {
    let house = House::open(Mount::Worker);

    assert!(found(pid(&house), house.ring_path.to_str().unwrap().as_bytes()) > 0);
}

#[test]
fn the_root_key_is_in_no_memory_and_no_other_file() {
    let house = House::open(Mount::Worker);
    let root = fs::read(&house.root_file).unwrap();

    assert_eq!(found(pid(&house), &root), 0);
    assert!(!files_contain(house.ring_path.parent().unwrap(), &root));
    house.ring.seal().unwrap();
    assert_eq!(found(pid(&house), &root), 0);
}

#[test]
fn the_store_key_leaves_no_copy_in_the_worker() {
    let house = House::open(Mount::Worker);
    let unsealed = house.unseal().unwrap();

    assert_eq!(found(pid(&house), unsealed.store_key.expose()), 0);
}

#[test]
fn a_passphrase_leaves_no_copy_in_the_worker() {
    let text = b"a passphrase of forty bytes, or about so";
    let take = || RootSource::Passphrase(Passphrase::take(&mut text.to_vec()).unwrap());
    let house = House::with(TempDir::new().unwrap(), Mount::Worker, &take());

    let _ = house.ring.unseal(take()).unwrap();

    assert_eq!(found(pid(&house), text), 0);
}

#[cfg(feature = "test-import")]
mod known_key {
    use std::time::Duration;

    use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _, EcPrivateKeyBin, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
    use sha2::Digest as _;
    use trust::{Algorithm, Purpose, Signable};

    use super::*;
    use house::{context, order};

    /// A key in the form that is imported, and every form of its secret part to look for.
    struct Known {
        algorithm: Algorithm,
        plain: Vec<u8>,
        secrets: Vec<Vec<u8>>,
    }

    fn reversed(bytes: &[u8]) -> Vec<u8> {
        bytes.iter().rev().copied().collect()
    }

    /// The seed and its hash, from which every signature starts.
    fn ed25519() -> Known {
        let mut seed = vec![0; 32];
        getrandom::fill(&mut seed).unwrap();
        let hash = sha2::Sha512::digest(&seed).to_vec();
        Known { algorithm: Algorithm::Ed25519, plain: seed.clone(), secrets: vec![seed, hash] }
    }

    /// The scalar in both byte orders.
    fn ecdsa() -> Known {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let scalar: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().unwrap();
        let scalar = scalar.as_ref().to_vec();
        let plain = [&scalar, pair.public_key().as_ref()].concat();
        Known { algorithm: Algorithm::EcdsaP256Sha256, plain, secrets: vec![reversed(&scalar), scalar] }
    }

    /// Everything behind modulus and public exponent (RFC 8017 §A.1.2: d, p, q, dP, dQ, qInv), in both byte orders.
    fn rsa() -> Known {
        let pair = RsaKeyPair::generate(KeySize::Rsa3072).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let plain = der.as_ref().to_vec();
        let secret = plain[plain.len() - (384 + 5 * 192)..].to_vec();
        Known { algorithm: Algorithm::Rsa3072Pkcs1Sha256, plain, secrets: vec![reversed(&secret), secret] }
    }

    #[test]
    fn a_known_key_is_nowhere_after_it_was_forgotten() {
        for known in [ed25519(), ecdsa(), rsa()] {
            let house = House::open(Mount::Worker);
            fs::write(house.ring_path.with_file_name("import.key"), &known.plain).unwrap();
            let context = context(known.algorithm, Purpose::Image);
            let mut session = house.custodian.open().unwrap();
            let key = session.generate(&context).unwrap();
            let order = order(&context, &key, vec![Signable::Message(b"m".to_vec()); 100]);
            for _ in 0..3 {
                assert!(session.sign(std::slice::from_ref(&order), Duration::from_secs(60))[0].is_ok());
            }

            session.forget(context.key.id).unwrap();

            let hits: usize = known.secrets.iter().map(|secret| found(pid(&house), secret)).sum();
            if cfg!(feature = "test-leak") {
                assert!(hits > 0, "{}: the scan does not find what was leaked", known.algorithm);
            } else {
                assert_eq!(hits, 0, "{}", known.algorithm);
            }
            let in_files = known.secrets.iter().any(|secret| files_contain(house.directory.path(), secret));
            assert!(!in_files, "{}", known.algorithm);
        }
    }
}
