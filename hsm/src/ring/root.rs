//! How the root KEK is had: from a file, or unwrapped by a passphrase.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::file;
use crate::cipher::{KEY, Key, NONCE, TAG, random};
use crate::{CustodyError, Passphrase, PassphraseCost, RootSource, secret_file};

/// The most that is believed from a file: more would let whoever writes it starve the machine.
const COST_CEILING: PassphraseCost = PassphraseCost { memory_kib: 1024 * 1024, passes: 16, lanes: 16 };

/// What messages call it.
const WHAT: &str = "root key file";

/// What the ring says about its root key, in the clear.
#[derive(Serialize, Deserialize)]
pub(super) enum RootHeader {
    /// It is the content of a file.
    File,
    /// It is wrapped by a key from a passphrase (Argon2id, RFC 9106).
    Passphrase {
        memory_kib: u32,
        passes: u32,
        lanes: u32,
        salt: [u8; 32],
        verifier: [u8; 32],
        nonce: [u8; NONCE],
        wrapped: [u8; KEY],
        tag: [u8; TAG],
    },
}

/// Takes or makes the root key of a new ring.
pub(super) fn establish(
    source: &RootSource,
    cost: PassphraseCost,
    store: &[u8; 16],
) -> Result<(Key, RootHeader), CustodyError> {
    match source {
        RootSource::File { path } => Ok((read_file(path)?, RootHeader::File)),
        RootSource::Passphrase(passphrase) => {
            check(cost)?;
            let root = Key::random()?;
            let (mut salt, mut nonce) = ([0; 32], [0; NONCE]);
            random(&mut salt)?;
            random(&mut nonce)?;
            let (wrapping, verifier) = stretch(passphrase, cost, &salt)?;
            let mut wrapped = Zeroizing::new(*root.expose());
            let tag = wrapping.lock(&nonce, &aad(store, cost, &salt), &mut *wrapped)?;
            let PassphraseCost { memory_kib, passes, lanes } = cost;
            let (verifier, wrapped) = (*verifier, *wrapped);
            Ok((root, RootHeader::Passphrase { memory_kib, passes, lanes, salt, verifier, nonce, wrapped, tag }))
        }
    }
}

impl RootHeader {
    /// The root key, with the secret that `source` names.
    pub(super) fn open(&self, source: &RootSource, store: &[u8; 16]) -> Result<Key, CustodyError> {
        match (self, source) {
            (Self::File, RootSource::File { path }) => read_file(path),
            (
                Self::Passphrase { memory_kib, passes, lanes, salt, verifier, nonce, wrapped, tag },
                RootSource::Passphrase(passphrase),
            ) => {
                let cost = PassphraseCost { memory_kib: *memory_kib, passes: *passes, lanes: *lanes };
                check(cost).map_err(|_| CustodyError::corrupt("the KEK ring: its Argon2id cost is out of bounds"))?;
                let (wrapping, stretched) = stretch(passphrase, cost, salt)?;
                if !bool::from(stretched.ct_eq(verifier)) {
                    return Err(CustodyError::refused("wrong passphrase"));
                }
                let mut root = Zeroizing::new(*wrapped);
                let opened = wrapping.unlock(nonce, &aad(store, cost, salt), &mut *root, tag);
                opened.ok_or_else(|| CustodyError::corrupt("the KEK ring: its wrapped root key"))?;
                Key::copy(&root)
            }
            (Self::File, RootSource::Passphrase(_)) => {
                Err(CustodyError::refused("this KEK ring opens with a root key file, not with a passphrase"))
            }
            (Self::Passphrase { .. }, RootSource::File { .. }) => {
                Err(CustodyError::refused("this KEK ring opens with a passphrase, not with a root key file"))
            }
        }
    }
}

/// Makes a root key file: 32 random bytes, mode 0600.
pub(crate) fn create_file(path: &Path) -> Result<(), CustodyError> {
    file::create(path, Key::random()?.expose())
}

/// Reads a root key file.
fn read_file(path: &Path) -> Result<Key, CustodyError> {
    let mut file = open_file(path)?;
    Key::fill(|key| file.read_exact(key).map_err(|error| unreadable(path, &error)))
}

/// Says what is wrong with a root key file, without reading the key.
pub(crate) fn examine_file(path: &Path) -> Result<(), CustodyError> {
    open_file(path).map(drop)
}

/// Opens a root key file of exactly 32 bytes.
fn open_file(path: &Path) -> Result<File, CustodyError> {
    let file = secret_file::open(WHAT, path)?;
    let length = file.metadata().map_err(|error| unreadable(path, &error))?.len();
    if length == 32 {
        return Ok(file);
    }
    let place = path.display();
    Err(CustodyError::refused(format!("the {WHAT} {place} has {length} bytes, not exactly 32")))
}

fn unreadable(path: &Path, error: &std::io::Error) -> CustodyError {
    secret_file::unreadable(WHAT, path, error)
}

fn check(cost: PassphraseCost) -> Result<(), CustodyError> {
    let (floor, ceiling) = (PassphraseCost::FLOOR, COST_CEILING);
    let fits = (floor.memory_kib..=ceiling.memory_kib).contains(&cost.memory_kib)
        && (floor.passes..=ceiling.passes).contains(&cost.passes)
        && (1..=ceiling.lanes).contains(&cost.lanes);
    if fits {
        return Ok(());
    }
    Err(CustodyError::refused("Argon2id takes 64 MiB to 1 GiB of memory, 3 to 16 passes and 1 to 16 lanes here"))
}

/// Argon2id to 64 bytes: a wrapping key, and a verifier that tells a wrong passphrase from a damaged ring.
fn stretch(
    passphrase: &Passphrase,
    cost: PassphraseCost,
    salt: &[u8; 32],
) -> Result<(Key, Zeroizing<[u8; 32]>), CustodyError> {
    let failed = |error| CustodyError::failed(format!("stretch the passphrase: {error}"));
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(2 * KEY)).map_err(failed)?;
    let mut output = Zeroizing::new([[0; KEY]; 2]);
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into(passphrase.expose(), salt, output.as_flattened_mut()).map_err(failed)?;
    let [wrapping, verifier] = &*output;
    Ok((Key::copy(wrapping)?, Zeroizing::new(*verifier)))
}

fn aad(store: &[u8; 16], cost: PassphraseCost, salt: &[u8; 32]) -> Vec<u8> {
    let mut aad = b"trustd/root-kek/v1".to_vec();
    aad.extend_from_slice(store);
    for number in [cost.memory_kib, cost.passes, cost.lanes] {
        aad.extend_from_slice(&number.to_be_bytes());
    }
    aad.extend_from_slice(salt);
    aad
}
