//! The ground of trustd: the words every floor uses, verification, the Merkle
//! log and the content-trust formats.
//!
//! Pure: it reads no clock, no file, no random number and holds no private key.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | [`KeyId`] | random, opaque name of a key; never reused |
//! | [`KeyName`] | what people call a key: `acme/release` |
//! | [`KeyVersion`] | 1, 2, 3…; rotation adds one, nothing edits one |
//! | [`KeyRef`] | key id and version |
//! | [`Use`] | may the key sign: active, disabled, retired, destroy scheduled, destroyed |
//! | [`Trust`] | do its signatures count: trusted, or distrusted since a log leaf |
//! | [`Scope`] | the repositories a key is for, fixed for life |
//! | [`Algorithm`] | scheme, hash and parameters in one word; it belongs to the key, never to a message |
//! | [`Digest`] | a hash value whose length is in its type |
//! | [`Signable`] | what goes into a signature scheme: a message, or a digest where the scheme hashes first |
//! | [`Purpose`] | the one thing a key is for, fixed for life |
//! | [`Form`] | one shape of signature a key may leave behind (`.sig` tag, bundle, …) |
//! | Release | files by names, sizes and digests, signed one by one and as a whole (`format::release`) |
//! | Metadata | the signed file of a TUF role, kept as it came (`format::tuf`) |
//! | Plan | the next file of a TUF role, to be signed elsewhere (`format::tuf`) |
//! | Authority | who speaks for a TUF role: its keys, and how many of them it takes (`format::tuf`) |
//! | [`Principal`] | who asks, from a verified identity only |
//! | [`Reference`] | canonical `registry/repository:tag`; every image signature names one |
//! | [`Fault`] | what went wrong, by what the caller can do about it |
//! | [`Origin`] | how a private key came to its custodian: generated there, adopted, or imported |
//! | [`Gun`] | a repository of trust data (TUF) by the name that its clients use |
//! | Head | which files of a repository of trust data are current, and which versions were ever used (daemon) |
//! | Permit | proof of authorization, spent once (daemon) |
//! | Intent | the durable audit leaf written before a key is used (daemon) |
//! | Receipt | what leaves: signature, key version, log origin, index of the intent leaf (daemon) |
//! | Custodian | a place where private keys live (`trust-hsm`) |
//! | Offer | a single-use public key of a custodian, to which a secret is sealed so that it passes everybody else unread ([`envelope`], `trust-hsm`) |
//! | Session | one worker's own way to a custodian: one thread, no lock (`trust-hsm`) |

pub mod algorithm;
pub mod digest;
pub mod envelope;
pub mod fault;
#[cfg(feature = "formats")]
pub mod format;
pub mod gun;
pub mod import;
pub mod key;
pub mod origin;
pub mod principal;
pub mod public_key;
pub mod purpose;
pub mod reference;
pub mod scope;
pub mod signature;
pub mod state;
pub mod tlog;
pub mod verify;

pub use algorithm::{Algorithm, HashFunction, Scheme};
pub use digest::{Digest, Sha256Digest};
pub use fault::{Fault, FaultKind};
pub use gun::Gun;
pub use key::{KeyId, KeyName, KeyRef, KeyVersion};
pub use origin::Origin;
pub use principal::Principal;
pub use public_key::{MlDsa65Key, PublicKey};
pub use purpose::{Form, Purpose};
pub use reference::{Reference, Repository, Tag};
pub use scope::Scope;
pub use signature::{Signable, Signature};
pub use state::{Trust, Use, UseChange};

/// A text or byte string that does not have the form it must have.
///
/// Says what was expected; `input` is never echoed, so that it may be hostile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {expected}")]
pub struct Malformed {
    /// Which thing was read, as a person would call it: `key name`.
    pub what: &'static str,
    /// What it must look like.
    pub expected: &'static str,
}

impl Malformed {
    /// Names the thing and its required form.
    #[must_use]
    pub const fn new(what: &'static str, expected: &'static str) -> Self {
        Self { what, expected }
    }
}
