//! The closed list of signature algorithms.

use std::fmt;
use std::str::FromStr;

use crate::Malformed;

/// Scheme, hash and parameters in one word (FIPS 186-5, RFC 8032, RFC 8017).
///
/// It belongs to the key record, never to a message or a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "closed set: a new algorithm must be answered for everywhere")]
pub enum Algorithm {
    /// ECDSA on P-256 over SHA-256, signature as ASN.1 DER.
    EcdsaP256Sha256,
    /// ECDSA on P-384 over SHA-256, DER: what cosign and Notary verify for P-384 keys.
    EcdsaP384Sha256,
    /// ECDSA on P-384 over SHA-384, DER.
    EcdsaP384Sha384,
    /// Pure Ed25519 over the whole message, signature of 64 bytes (RFC 8032).
    Ed25519,
    /// RSA-3072, PKCS#1 v1.5, SHA-256; signature of 384 bytes.
    Rsa3072Pkcs1Sha256,
    /// RSA-3072, PSS, SHA-256, MGF1-SHA-256, salt of 32 bytes; signature of 384 bytes.
    Rsa3072PssSha256,
    /// RSA-4096, PKCS#1 v1.5, SHA-256; signature of 512 bytes.
    Rsa4096Pkcs1Sha256,
    /// RSA-4096, PSS, SHA-256, MGF1-SHA-256, salt of 32 bytes; signature of 512 bytes.
    Rsa4096PssSha256,
}

/// The family of a signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed set")]
pub enum Scheme {
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// Pure Ed25519.
    Ed25519,
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1,
    /// RSASSA-PSS.
    RsaPss,
}

/// A hash function that a scheme applies before it signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed set")]
pub enum HashFunction {
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
}

impl HashFunction {
    /// Length of the hash value in bytes.
    #[must_use]
    pub const fn length_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }
}

impl Algorithm {
    /// Every algorithm, in the order of the enum.
    pub const ALL: [Self; 8] = [
        Self::EcdsaP256Sha256,
        Self::EcdsaP384Sha256,
        Self::EcdsaP384Sha384,
        Self::Ed25519,
        Self::Rsa3072Pkcs1Sha256,
        Self::Rsa3072PssSha256,
        Self::Rsa4096Pkcs1Sha256,
        Self::Rsa4096PssSha256,
    ];

    /// The name used on the command line, in policy, logs and leaves.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::EcdsaP384Sha256 => "ecdsa-p384-sha256",
            Self::EcdsaP384Sha384 => "ecdsa-p384-sha384",
            Self::Ed25519 => "ed25519",
            Self::Rsa3072Pkcs1Sha256 => "rsa3072-pkcs1-sha256",
            Self::Rsa3072PssSha256 => "rsa3072-pss-sha256",
            Self::Rsa4096Pkcs1Sha256 => "rsa4096-pkcs1-sha256",
            Self::Rsa4096PssSha256 => "rsa4096-pss-sha256",
        }
    }

    /// The family this algorithm belongs to.
    #[must_use]
    pub const fn scheme(self) -> Scheme {
        match self {
            Self::EcdsaP256Sha256 => Scheme::EcdsaP256,
            Self::EcdsaP384Sha256 | Self::EcdsaP384Sha384 => Scheme::EcdsaP384,
            Self::Ed25519 => Scheme::Ed25519,
            Self::Rsa3072Pkcs1Sha256 | Self::Rsa4096Pkcs1Sha256 => Scheme::RsaPkcs1,
            Self::Rsa3072PssSha256 | Self::Rsa4096PssSha256 => Scheme::RsaPss,
        }
    }

    /// The hash applied to the message first; `None` for pure Ed25519, which takes the message itself.
    #[must_use]
    pub const fn prehash(self) -> Option<HashFunction> {
        match self {
            Self::Ed25519 => None,
            Self::EcdsaP384Sha384 => Some(HashFunction::Sha384),
            Self::EcdsaP256Sha256
            | Self::EcdsaP384Sha256
            | Self::Rsa3072Pkcs1Sha256
            | Self::Rsa3072PssSha256
            | Self::Rsa4096Pkcs1Sha256
            | Self::Rsa4096PssSha256 => Some(HashFunction::Sha256),
        }
    }

    /// Length of the RSA modulus in bits; `None` for other schemes.
    #[must_use]
    pub const fn rsa_modulus_bits(self) -> Option<u32> {
        match self {
            Self::Rsa3072Pkcs1Sha256 | Self::Rsa3072PssSha256 => Some(3072),
            Self::Rsa4096Pkcs1Sha256 | Self::Rsa4096PssSha256 => Some(4096),
            Self::EcdsaP256Sha256 | Self::EcdsaP384Sha256 | Self::EcdsaP384Sha384 | Self::Ed25519 => None,
        }
    }

    /// The longest signature of this algorithm in bytes.
    #[must_use]
    pub const fn signature_bytes_max(self) -> usize {
        match self {
            Self::EcdsaP256Sha256 => 72,
            Self::EcdsaP384Sha256 | Self::EcdsaP384Sha384 => 104,
            Self::Ed25519 => 64,
            Self::Rsa3072Pkcs1Sha256 | Self::Rsa3072PssSha256 => 384,
            Self::Rsa4096Pkcs1Sha256 | Self::Rsa4096PssSha256 => 512,
        }
    }

    /// The length of every signature of this algorithm in bytes; `None` where lengths differ, as those of DER do.
    #[must_use]
    pub const fn signature_bytes(self) -> Option<usize> {
        match self {
            Self::EcdsaP256Sha256 | Self::EcdsaP384Sha256 | Self::EcdsaP384Sha384 => None,
            Self::Ed25519
            | Self::Rsa3072Pkcs1Sha256
            | Self::Rsa3072PssSha256
            | Self::Rsa4096Pkcs1Sha256
            | Self::Rsa4096PssSha256 => Some(self.signature_bytes_max()),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == text).ok_or(Malformed::new(
            "algorithm",
            "one of ecdsa-p256-sha256, ecdsa-p384-sha256, ecdsa-p384-sha384, ed25519, rsa3072-pkcs1-sha256, \
             rsa3072-pss-sha256, rsa4096-pkcs1-sha256, rsa4096-pss-sha256",
        ))
    }
}
