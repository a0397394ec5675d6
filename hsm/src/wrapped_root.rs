//! The root KEK as a token has wrapped it: safe to store, useless without that token.

use serde::{Deserialize, Serialize};
use trust::Sha256Digest;

use crate::{CustodyError, TokenName};

/// Random bytes of a [`WrapKeyId`].
const BIRTH_BYTES: usize = 16;

/// The `CKA_ID` of a key that wraps a root KEK: 16 random bytes and 16 of a SHA-256 over them, the store and the token.
///
/// A wrap that was brought to another store does not fit its own key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WrapKeyId([u8; 32]);

impl WrapKeyId {
    /// A new id.
    ///
    /// # Errors
    /// [`CustodyError`] when the system gives no random bytes.
    pub fn new(store: &[u8; 16], token: &TokenName) -> Result<Self, CustodyError> {
        let mut birth = [0; BIRTH_BYTES];
        crate::cipher::random(&mut birth)?;
        Ok(Self::of(birth, store, token))
    }

    /// Whether it is an id of this store in this token.
    #[must_use]
    pub fn fits(&self, store: &[u8; 16], token: &TokenName) -> bool {
        self.0.first_chunk().is_some_and(|birth| Self::of(*birth, store, token) == *self)
    }

    fn of(birth: [u8; BIRTH_BYTES], store: &[u8; 16], token: &TokenName) -> Self {
        let mut bytes = Vec::with_capacity(128);
        for field in [b"trustd/token-root-kek".as_slice(), &[1], &birth, store, token.as_str().as_bytes()] {
            crate::sealing::push(&mut bytes, field);
        }
        let mut id = *Sha256Digest::of(&bytes).as_bytes();
        let (first, _) = id.split_at_mut(BIRTH_BYTES);
        first.copy_from_slice(&birth);
        Self(id)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Display for WrapKeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// How a token wraps 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "closed set: each has its place in the PKCS#11 side")]
pub enum Wrapping {
    /// AES-256-GCM with a nonce of 12 bytes; the store and the key's id are authenticated (NIST SP 800-38D).
    AesGcm([u8; 12]),
    /// RSA-3072 OAEP with SHA-256 (RFC 8017 §7.1).
    RsaOaepSha256,
    /// RSA-3072 OAEP with SHA-1, where a token knows no other: OAEP asks nothing of SHA-1 that it lacks.
    RsaOaepSha1,
}

/// A root KEK under a key in a token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "stored and read back part by part")]
pub struct WrappedRoot {
    /// The token, by its name in the configuration.
    pub token: TokenName,
    /// The key in it.
    pub key: WrapKeyId,
    /// How it was wrapped.
    pub how: Wrapping,
    /// What the token made of it, at most [`WrappedRoot::BYTES_MAX`] bytes.
    pub bytes: Vec<u8>,
}

impl WrappedRoot {
    /// The longest wrap, in bytes: an RSA-8192 block.
    pub const BYTES_MAX: usize = 1024;

    pub(crate) fn is_sound(&self) -> bool {
        (1..=Self::BYTES_MAX).contains(&self.bytes.len())
    }
}

/// Where a ring's root KEK is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed set: the daemon opens each in its own way")]
pub enum RootPlace {
    /// It is a file's content.
    File,
    /// A passphrase unwraps it.
    Passphrase,
    /// Any of these tokens unwraps it.
    Token {
        /// One or two, the first one first.
        wraps: Vec<WrappedRoot>,
        /// Whether a passphrase unwraps it, too.
        has_passphrase: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrap_keys_id_fits_its_store_and_token_only() {
        let (hsm, other): (TokenName, TokenName) = ("hsm".parse().unwrap(), "hsm-2".parse().unwrap());
        let id = WrapKeyId::new(&[1; 16], &hsm).unwrap();

        assert!(id.fits(&[1; 16], &hsm));
        assert_ne!(id, WrapKeyId::new(&[1; 16], &hsm).unwrap());
        assert!(!id.fits(&[2; 16], &hsm) && !id.fits(&[1; 16], &other));
        for byte in 0..32 {
            let mut bytes = id.0;
            bytes[byte] ^= 1;
            assert!(!WrapKeyId(bytes).fits(&[1; 16], &hsm), "byte {byte}");
        }
        // What tokens hold already must be found for ever.
        let fixed = WrapKeyId::of([5; BIRTH_BYTES], &[1; 16], &hsm);
        assert_eq!(fixed.to_string(), "05050505050505050505050505050505c0dcf2cbc8e703ea14b94d09ac393615");
    }
}
