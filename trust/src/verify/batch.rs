//! Many signatures at once: the one seam for anything that is faster than one by one.
//!
//! Whatever stands behind it, each verdict equals that of [`super::one`]: the usual randomised batch
//! equation is not used here, because it says nothing about small-order components and a stranger
//! chooses these signatures. No threads: the caller splits a slice and runs [`chunk`] where it may block.

use crate::{Digest, PublicKey, Signable};

use super::{NotValid, borrowed};

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

/// One signature of many.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_structs, reason = "the three arguments of a verification")]
pub struct Item<'a> {
    /// Under which key.
    pub key: &'a PublicKey,
    /// Over what.
    pub input: Input<'a>,
    /// The signature's bytes, of any length.
    pub signature: &'a [u8],
}

/// Verifies each item; one verdict per item, in order, each that of [`super::one`].
///
/// Takes about 30 µs (Ed25519) to 150 µs (P-384) of one core per item and never blocks otherwise.
#[must_use]
pub fn chunk(items: &[Item<'_>]) -> Vec<Result<(), NotValid>> {
    items.iter().map(|item| borrowed(item.key, item.input, item.signature)).collect()
}
