//! Hash values whose length is in their type.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::{HashFunction, Malformed};

/// A SHA-256 value: 32 bytes (FIPS 180-4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256Digest([u8; 32]);

impl Sha256Digest {
    /// Hashes `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Takes a value that is already a hash.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the value.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 lower-case hexadecimal digits, without a prefix.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// Reads 64 lower-case hexadecimal digits, without a prefix.
    ///
    /// # Errors
    /// [`Malformed`] for any other text, upper case included.
    pub fn from_hex(text: &str) -> Result<Self, Malformed> {
        const EXPECTED: Malformed = Malformed::new("SHA-256 digest", "64 lower-case hexadecimal digits");
        if text.len() != 64 || text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(EXPECTED);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| EXPECTED)?;
        Ok(Self(bytes))
    }
}

/// The OCI form `sha256:<64 hex>` (OCI image-spec, descriptor digests).
impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.to_hex())
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads the OCI form `sha256:<64 hex>`; everything else is refused, so that a
/// digest can never be a path (CVE-2024-3727).
impl FromStr for Sha256Digest {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let hex = text
            .strip_prefix("sha256:")
            .ok_or(Malformed::new("digest", "sha256: and 64 lower-case hexadecimal digits"))?;
        Self::from_hex(hex)
    }
}

/// A hash value that a scheme can sign without hashing again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed set, follows HashFunction")]
pub enum Digest {
    /// SHA-256.
    Sha256([u8; 32]),
    /// SHA-384.
    Sha384([u8; 48]),
}

impl Digest {
    /// Hashes `bytes` with `function`.
    #[must_use]
    pub fn of(function: HashFunction, bytes: &[u8]) -> Self {
        match function {
            HashFunction::Sha256 => Self::Sha256(Sha256::digest(bytes).into()),
            HashFunction::Sha384 => Self::Sha384(sha2::Sha384::digest(bytes).into()),
        }
    }

    /// Takes a value that is already a hash of `function`.
    ///
    /// # Errors
    /// [`Malformed`] when `bytes` has another length than the function's.
    pub fn from_bytes(function: HashFunction, bytes: &[u8]) -> Result<Self, Malformed> {
        let wrong = |_| {
            Malformed::new("digest", "as many bytes as the key's hash function has: 32 for SHA-256, 48 for SHA-384")
        };
        match function {
            HashFunction::Sha256 => bytes.try_into().map(Self::Sha256).map_err(wrong),
            HashFunction::Sha384 => bytes.try_into().map(Self::Sha384).map_err(wrong),
        }
    }

    /// Which function made it.
    #[must_use]
    pub const fn function(&self) -> HashFunction {
        match self {
            Self::Sha256(_) => HashFunction::Sha256,
            Self::Sha384(_) => HashFunction::Sha384,
        }
    }

    /// The bytes of the value: 32 or 48.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(bytes) => bytes,
            Self::Sha384(bytes) => bytes,
        }
    }
}
