//! How the root KEK is had: from a file, unwrapped by a passphrase, or unwrapped by a token.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::file;
use crate::cipher::{KEY, Key, NONCE, TAG, random};
use crate::{CustodyError, Passphrase, PassphraseCost, RootPlace, RootSource, WrappedRoot, secret_file};

/// The most that is believed from a file: more would let whoever writes it starve the machine.
const COST_CEILING: PassphraseCost = PassphraseCost { memory_kib: 1024 * 1024, passes: 16, lanes: 16 };

/// What messages call it.
const WHAT: &str = "root key file";

/// The most wraps in tokens.
const TOKENS_MAX: usize = 2;

/// What the ring says about its root key, in the clear.
#[derive(Serialize, Deserialize)]
pub(super) enum RootHeader {
    /// It is the content of a file.
    File,
    /// It is wrapped by a key from a passphrase.
    Passphrase(PassphraseWrap),
    /// It is wrapped by a key in each of these tokens, any of which opens; and by a passphrase, for the day they are lost.
    Token { wraps: Vec<WrappedRoot>, recovery: Option<PassphraseWrap> },
}

/// The root key under a key from a passphrase (Argon2id, RFC 9106).
#[derive(Serialize, Deserialize)]
pub(super) struct PassphraseWrap {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; 32],
    verifier: [u8; 32],
    nonce: [u8; NONCE],
    wrapped: [u8; KEY],
    tag: [u8; TAG],
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
            let root = Key::random()?;
            let wrap = PassphraseWrap::of(&root, passphrase, cost, store)?;
            Ok((root, RootHeader::Passphrase(wrap)))
        }
    }
}

impl RootHeader {
    /// A root key that tokens unwrap, and a passphrase, too.
    pub(super) fn in_tokens(wraps: Vec<WrappedRoot>, recovery: Option<PassphraseWrap>) -> Result<Self, CustodyError> {
        let fits = (1..=TOKENS_MAX).contains(&wraps.len()) && wraps.iter().all(WrappedRoot::is_sound);
        if fits {
            return Ok(Self::Token { wraps, recovery });
        }
        Err(CustodyError::refused("a root key is wrapped in one token or two, with at most 1,024 bytes each"))
    }

    /// The root key, with the secret that `source` names.
    pub(super) fn open(&self, source: &RootSource, store: &[u8; 16]) -> Result<Key, CustodyError> {
        match (self, source) {
            (Self::File, RootSource::File { path }) => read_file(path),
            (Self::Passphrase(wrap) | Self::Token { recovery: Some(wrap), .. }, RootSource::Passphrase(passphrase)) => {
                wrap.open(passphrase, store)
            }
            (Self::Token { wraps, recovery: None }, RootSource::Passphrase(_)) => Err(CustodyError::refused(format!(
                "this KEK ring opens with the token {}, and was given no recovery passphrase",
                names(wraps)
            ))),
            (Self::File, RootSource::Passphrase(_)) => {
                Err(CustodyError::refused("this KEK ring opens with a root key file, not with a passphrase"))
            }
            (Self::Passphrase(_), RootSource::File { .. }) => {
                Err(CustodyError::refused("this KEK ring opens with a passphrase, not with a root key file"))
            }
            (Self::Token { wraps, .. }, RootSource::File { .. }) => Err(CustodyError::refused(format!(
                "this KEK ring opens with the token {}, not with a root key file",
                names(wraps)
            ))),
        }
    }

    /// What it tells whoever asks where the root key is.
    pub(super) fn place(&self) -> RootPlace {
        match self {
            Self::File => RootPlace::File,
            Self::Passphrase(_) => RootPlace::Passphrase,
            Self::Token { wraps, recovery } => {
                RootPlace::Token { wraps: wraps.clone(), has_passphrase: recovery.is_some() }
            }
        }
    }

    /// Whether what came from a file is one that we would have written.
    pub(super) fn is_sound(&self) -> bool {
        match self {
            Self::File | Self::Passphrase(_) => true,
            Self::Token { wraps, .. } => {
                (1..=TOKENS_MAX).contains(&wraps.len()) && wraps.iter().all(WrappedRoot::is_sound)
            }
        }
    }
}

fn names(wraps: &[WrappedRoot]) -> String {
    wraps.iter().map(|wrap| wrap.token.as_str()).collect::<Vec<_>>().join(" or ")
}

impl PassphraseWrap {
    /// Wraps `root` under a new salt.
    pub(super) fn of(
        root: &Key,
        passphrase: &Passphrase,
        cost: PassphraseCost,
        store: &[u8; 16],
    ) -> Result<Self, CustodyError> {
        check(cost)?;
        let (mut salt, mut nonce) = ([0; 32], [0; NONCE]);
        random(&mut salt)?;
        random(&mut nonce)?;
        let (wrapping, verifier) = stretch(passphrase, cost, &salt)?;
        let mut wrapped = Zeroizing::new(*root.expose());
        let tag = wrapping.lock(&nonce, &aad(store, cost, &salt), &mut *wrapped)?;
        let PassphraseCost { memory_kib, passes, lanes } = cost;
        let (verifier, wrapped) = (*verifier, *wrapped);
        Ok(Self { memory_kib, passes, lanes, salt, verifier, nonce, wrapped, tag })
    }

    fn open(&self, passphrase: &Passphrase, store: &[u8; 16]) -> Result<Key, CustodyError> {
        let cost = PassphraseCost { memory_kib: self.memory_kib, passes: self.passes, lanes: self.lanes };
        check(cost).map_err(|_| CustodyError::corrupt("the KEK ring: its Argon2id cost is out of bounds"))?;
        let (wrapping, stretched) = stretch(passphrase, cost, &self.salt)?;
        if !bool::from(stretched.ct_eq(&self.verifier)) {
            return Err(CustodyError::refused("wrong passphrase"));
        }
        let mut root = Zeroizing::new(self.wrapped);
        let opened = wrapping.unlock(&self.nonce, &aad(store, cost, &self.salt), &mut *root, &self.tag);
        opened.ok_or_else(|| CustodyError::corrupt("the KEK ring: its wrapped root key"))?;
        Key::copy(&root)
    }
}

/// Makes a root key file: 32 random bytes, mode 0600.
pub(crate) fn create_file(path: &Path) -> Result<(), CustodyError> {
    write_file(path, &Key::random()?)
}

/// Makes a root key file of this key, mode 0600.
pub(crate) fn write_file(path: &Path, root: &Key) -> Result<(), CustodyError> {
    file::create(path, root.expose())
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
