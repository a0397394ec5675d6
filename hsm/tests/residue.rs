//! What is left of a secret in the worker's memory, in ours, and in every file.
//!
//! A scan that never finds anything proves nothing: the same scan must find what
//! is there (`a_scan_finds_what_is_there`), and in a build with `test-leak` the
//! test about the private key must find it, too.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, reason = "tests fail by panicking")]

mod house;

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
    let pieces: Vec<&[u8]> = secret.windows(16).step_by(8).collect();
    let mut hits = 0;
    scan(pid, |bytes| hits += pieces.iter().filter(|piece| contains(bytes, piece)).count());
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

    use sha2::Digest as _;
    use trust::{Algorithm, Purpose, Signable};
    use trust_hsm::SigningOrder;

    use super::*;
    use house::{context, order};

    /// Everything that holds the key: the seed, and the two halves of its hash.
    fn forms(seed: &[u8; 32]) -> [Vec<u8>; 3] {
        let hash = sha2::Sha512::digest(seed);
        [seed.to_vec(), hash[..32].to_vec(), hash[32..].to_vec()]
    }

    #[test]
    fn a_known_key_is_nowhere_after_it_was_forgotten() {
        let house = House::open(Mount::Worker);
        let mut seed = [0; 32];
        for (byte, number) in seed.iter_mut().zip(1_u8..) {
            *byte = number.wrapping_mul(37) ^ 0x5a;
        }
        fs::write(house.ring_path.with_file_name("import.key"), seed).unwrap();
        let context = context(Algorithm::Ed25519, Purpose::Image);
        let mut session = house.custodian.open().unwrap();
        let key = session.generate(&context).unwrap();
        let order = order(&context, &key, vec![Signable::Message(b"m".to_vec()); 100]);
        for _ in 0..20 {
            sign(&mut *session, &order);
        }

        session.forget(context.key.id).unwrap();

        let hits: usize = forms(&seed).iter().map(|form| found(pid(&house), form)).sum();
        if cfg!(feature = "test-leak") {
            assert!(hits > 0, "the scan does not find what was leaked: it would find nothing else either");
        } else {
            assert_eq!(hits, 0);
        }
        assert!(forms(&seed).iter().all(|form| !files_contain(house.directory.path(), form)));
    }

    fn sign(session: &mut dyn trust_hsm::Session, order: &SigningOrder) {
        assert!(session.sign(std::slice::from_ref(order), Duration::from_secs(60))[0].is_ok());
    }
}
