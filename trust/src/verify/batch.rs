//! Many signatures at once: the one seam for anything that is faster than one by one.
//!
//! Whatever stands behind it, each verdict equals that of [`super::one`]: the usual randomised batch
//! equation is not used here, because it says nothing about small-order components and a stranger
//! chooses these signatures. No threads: the caller splits a slice and runs [`chunk`] where it may block.
//!
//! Fast is what is prepared: a [`Table`] holds multiples of an Ed25519 key. Which keys are worth one,
//! and how many are kept, is the caller's to say.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod both;
mod ed25519;
mod field;
mod fivefold;
#[cfg(target_arch = "x86_64")]
mod ifma;
mod lanes;
mod point;
mod sha512;
mod short;
mod table;
mod tenfold;
mod unprepared;
mod windows;

use crate::public_key::Parsed;
use crate::{Digest, MlDsa65Key, PublicKey, Signable};

use super::{NotValid, borrowed, ml_dsa_65};
use ed25519::{Ed25519Item, Ed25519Key};
pub use table::Table;

/// What was signed, borrowed from wherever the door read it to.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_enums, reason = "closed set: a scheme takes a message or a digest")]
pub enum Input<'a> {
    /// The message itself; the scheme hashes it.
    Message(&'a [u8]),
    /// A finished hash value, for schemes with a [`crate::Algorithm::prehash`] only.
    Digest(Digest),
}

impl<'a> From<&'a Signable> for Input<'a> {
    fn from(signable: &'a Signable) -> Self {
        match signable {
            Signable::Message(message) => Self::Message(message),
            Signable::Digest(digest) => Self::Digest(*digest),
        }
    }
}

/// Under which key a signature is verified.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_enums, reason = "closed set: a key is prepared or it is not, or it never signs here")]
pub enum Key<'a> {
    /// One that is used now and then.
    Plain(&'a PublicKey),
    /// One that is prepared.
    Known(&'a Table),
    /// One of an algorithm that is verified and never made here.
    MlDsa65(&'a MlDsa65Key),
}

/// One signature of many.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_structs, reason = "the three arguments of a verification")]
pub struct Item<'a> {
    /// Under which key.
    pub key: Key<'a>,
    /// Over what.
    pub input: Input<'a>,
    /// The signature's bytes, of any length.
    pub signature: &'a [u8],
}

/// How the arithmetic of Ed25519 is done. The verdicts are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Path {
    /// Eight at a time, with AVX-512 IFMA.
    Ifma,
    /// Four at a time, with AVX2.
    Avx2,
    /// One at a time, on any processor.
    Portable,
}

impl Path {
    /// All of them, the fastest first.
    pub const ALL: [Self; 3] = [Self::Ifma, Self::Avx2, Self::Portable];

    /// The fastest one that this processor has.
    #[must_use]
    pub fn best() -> Self {
        Self::ALL.into_iter().find(|path| path.is_here()).unwrap_or(Self::Portable)
    }

    /// Whether this processor has it.
    #[must_use]
    pub fn is_here(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Ifma => ifma::is_here(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::is_here(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Ifma | Self::Avx2 => false,
            Self::Portable => true,
        }
    }
}

/// Verifies each item by the fastest path; one verdict per item, in order, each that of [`super::one`]; and of FIPS 204's
/// `ML-DSA.Verify` with an empty context for a key of that.
///
/// Of one core it takes some 30 µs (Ed25519) to 150 µs (P-384) for each, a fraction of it where an Ed25519 key is
/// prepared, or where there is AVX2 or AVX-512 IFMA (suite `kernels` of `trust-bench`), and never blocks otherwise.
#[must_use]
pub fn chunk(items: &[Item<'_>]) -> Vec<Result<(), NotValid>> {
    chunk_on(Path::best(), items)
}

/// [`chunk`] by one path, for tests and measurement; by the portable one where this processor has not that.
#[must_use]
pub fn chunk_on(path: Path, items: &[Item<'_>]) -> Vec<Result<(), NotValid>> {
    let path = if path.is_here() { path } else { Path::Portable };
    let mut of_ed25519 = Vec::new();
    let mut places = Vec::new();
    let mut verdicts: Vec<_> = items
        .iter()
        .enumerate()
        .map(|(place, item)| match Ed25519Item::new(item) {
            Some(item) => {
                of_ed25519.push(item);
                places.push(place);
                Err(NotValid::Wrong) // and its own verdict below
            }
            None => match item.key {
                Key::Plain(key) => borrowed(key, item.input, item.signature),
                Key::Known(table) => borrowed(table.key(), item.input, item.signature),
                Key::MlDsa65(key) => ml_dsa_65(key, item.input, item.signature),
            },
        })
        .collect();
    for (place, verdict) in places.into_iter().zip(ed25519::verdicts(path, &of_ed25519)) {
        if let Some(old) = verdicts.get_mut(place) {
            *old = verdict;
        }
    }
    verdicts
}

impl<'a> Ed25519Item<'a> {
    /// `None` for another algorithm's key, and for a digest or a signature that Ed25519 does not have.
    fn new(item: &Item<'a>) -> Option<Self> {
        let key = match item.key {
            Key::Known(table) => Ed25519Key::Known(table),
            Key::Plain(key) => match key.parsed() {
                Parsed::Ed25519(key) => Ed25519Key::Plain(key),
                Parsed::AwsLc(_) => return None,
            },
            Key::MlDsa65(_) => return None,
        };
        match item.input {
            Input::Message(message) => Some(Self { key, message, signature: item.signature.as_array()? }),
            Input::Digest(_) => None,
        }
    }
}
