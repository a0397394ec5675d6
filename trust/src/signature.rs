//! What goes into a signature scheme and what comes out.

use std::fmt;

use crate::{Algorithm, Digest, Malformed};

/// What goes into a signature scheme.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed set: a scheme takes a message or a digest")]
pub enum Signable {
    /// The message itself; the scheme hashes it.
    Message(Vec<u8>),
    /// A finished hash value, for schemes with a [`Algorithm::prehash`] only.
    Digest(Digest),
}

impl Signable {
    /// True when `algorithm` can take this input: a message always, a digest only of its own prehash.
    #[must_use]
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Message(_) => true,
            Self::Digest(digest) => algorithm.prehash() == Some(digest.function()),
        }
    }
}

impl fmt::Debug for Signable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(bytes) => write!(f, "Message({} bytes)", bytes.len()),
            Self::Digest(digest) => write!(f, "Digest({:?})", digest.function()),
        }
    }
}

/// A signature in its algorithm's own encoding: 64 raw bytes for Ed25519, ASN.1
/// DER for ECDSA, the modulus' length for RSA.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Signature(Vec<u8>);

impl Signature {
    /// The longest signature of any algorithm, in bytes.
    pub const BYTES_MAX: usize = 512;

    /// Takes the bytes of a signature of `algorithm`.
    ///
    /// # Errors
    /// [`Malformed`] when they are empty or more than the algorithm can make.
    pub fn new(algorithm: Algorithm, bytes: Vec<u8>) -> Result<Self, Malformed> {
        if bytes.is_empty() || bytes.len() > algorithm.signature_bytes_max() {
            return Err(Malformed::new("signature", "not longer than the key's algorithm makes them, and not empty"));
        }
        Ok(Self(bytes))
    }

    /// The bytes of the signature.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
