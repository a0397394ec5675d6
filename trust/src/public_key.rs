//! Public keys: parsed once, strictly, weak ones refused.
//!
//! One key has one encoding here: whatever is not the canonical DER of its
//! `SubjectPublicKeyInfo` is refused, so that [`PublicKey::spki_sha256`] names it.

pub(crate) mod encode;
mod ml_dsa;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, VerificationAlgorithm,
};
use der::asn1::{ObjectIdentifier, UintRef};
use der::{Decode as _, Encode as _, Sequence};
use ed25519_dalek::VerifyingKey;
use spki::SubjectPublicKeyInfoRef;

use crate::{Algorithm, Malformed, Scheme, Sha256Digest};
pub use ml_dsa::MlDsa65Key;

/// id-ecPublicKey (RFC 5480 §2.1.1).
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// secp256r1 (RFC 5480 §2.1.1.1).
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// secp384r1 (RFC 5480 §2.1.1.1).
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
/// id-Ed25519 (RFC 8410 §3).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// rsaEncryption (RFC 3279 §2.3.1).
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// The 12 bytes before the 32 of an Ed25519 key in its `SubjectPublicKeyInfo` (RFC 8410 §4).
const ED25519_SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

const SPKI: Malformed = Malformed::new("public key", "the canonical DER of a SubjectPublicKeyInfo");
const OTHER_ALGORITHM: Malformed = Malformed::new("public key", "a key of the algorithm that was asked for");
const WEAK: Malformed = Malformed::new("public key", "a point on its curve that is not of small order");

/// A public key bound to its algorithm; weak keys cannot be made into one. Cheap to clone.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

struct Inner {
    algorithm: Algorithm,
    spki_der: Vec<u8>,
    parsed: Parsed,
}

/// A key ready to verify.
pub(crate) enum Parsed {
    /// Pure Ed25519 by ed25519-dalek.
    Ed25519(VerifyingKey),
    /// ECDSA and RSA by AWS-LC.
    AwsLc(ParsedPublicKey),
}

/// `RSAPublicKey` (RFC 8017 §A.1.1).
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    public_exponent: UintRef<'a>,
}

impl PublicKey {
    /// The longest `SubjectPublicKeyInfo` that is read, in bytes; RSA-4096 has 550.
    pub const SPKI_BYTES_MAX: usize = 1024;

    /// Reads a DER `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7) as a key of `algorithm`.
    ///
    /// # Errors
    /// [`Malformed`] for another algorithm's key, another encoding than the
    /// canonical one (compressed points included), an RSA modulus of another
    /// length, a public exponent other than 65537, a point that is not on the
    /// curve or, for Ed25519, of small order or not canonically encoded.
    pub fn from_spki_der(algorithm: Algorithm, der: &[u8]) -> Result<Self, Malformed> {
        if der.len() > Self::SPKI_BYTES_MAX {
            return Err(SPKI);
        }
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| SPKI)?;
        if spki.to_der().map_err(|_| SPKI)? != der {
            return Err(SPKI);
        }
        let key = spki.subject_public_key.as_bytes().ok_or(SPKI)?;
        let parameters_oid = spki.algorithm.parameters.map(|any| any.decode_as::<ObjectIdentifier>());
        let parsed = match algorithm.scheme() {
            Scheme::Ed25519 if spki.algorithm.oid == ED25519 && spki.algorithm.parameters.is_none() => {
                Parsed::Ed25519(ed25519(key)?)
            }
            Scheme::EcdsaP256 if spki.algorithm.oid == EC_PUBLIC_KEY && parameters_oid == Some(Ok(P256)) => {
                ecdsa(algorithm, key, 65)?
            }
            Scheme::EcdsaP384 if spki.algorithm.oid == EC_PUBLIC_KEY && parameters_oid == Some(Ok(P384)) => {
                ecdsa(algorithm, key, 97)?
            }
            Scheme::RsaPkcs1 | Scheme::RsaPss
                if spki.algorithm.oid == RSA && spki.algorithm.parameters.is_some_and(|any| any.is_null()) =>
            {
                rsa(algorithm, key)?
            }
            Scheme::EcdsaP256 | Scheme::EcdsaP384 | Scheme::Ed25519 | Scheme::RsaPkcs1 | Scheme::RsaPss => {
                return Err(OTHER_ALGORITHM);
            }
        };
        Ok(Self(Arc::new(Inner { algorithm, spki_der: der.to_vec(), parsed })))
    }

    /// Takes the 32 bytes of an Ed25519 public key (RFC 8032 §5.1.5).
    ///
    /// # Errors
    /// [`Malformed`] when they are no canonical point, or one of small order.
    pub fn from_ed25519_bytes(bytes: &[u8; 32]) -> Result<Self, Malformed> {
        Self::from_spki_der(Algorithm::Ed25519, &[&ED25519_SPKI_PREFIX[..], bytes].concat())
    }

    /// Which algorithm it verifies.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.0.algorithm
    }

    /// DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki_der
    }

    /// SHA-256 of the DER `SubjectPublicKeyInfo`: a public key exists once under this name.
    #[must_use]
    pub fn spki_sha256(&self) -> Sha256Digest {
        Sha256Digest::of(&self.0.spki_der)
    }

    pub(crate) fn parsed(&self) -> &Parsed {
        &self.0.parsed
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.algorithm == other.0.algorithm && self.0.spki_der == other.0.spki_der
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {})", self.0.algorithm, self.spki_sha256())
    }
}

fn ed25519(key: &[u8]) -> Result<VerifyingKey, Malformed> {
    let bytes: &[u8; 32] = key.try_into().map_err(|_| SPKI)?;
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| WEAK)?;
    // dalek takes y ≥ p; the canonical bytes are those of the decompressed point.
    let canonical = key.to_edwards().compress().to_bytes() == *bytes;
    if key.is_weak() || !canonical {
        return Err(WEAK);
    }
    Ok(key)
}

/// An uncompressed point of `length_bytes` (SEC 1 §2.3.3); AWS-LC checks that it is on the curve.
fn ecdsa(algorithm: Algorithm, key: &[u8], length_bytes: usize) -> Result<Parsed, Malformed> {
    if key.len() != length_bytes || key.first() != Some(&4) {
        return Err(SPKI);
    }
    aws_lc(algorithm, key).map_err(|_| WEAK)
}

fn rsa(algorithm: Algorithm, key: &[u8]) -> Result<Parsed, Malformed> {
    let decoded = RsaPublicKey::from_der(key).map_err(|_| SPKI)?;
    let modulus = decoded.modulus.as_bytes();
    let bits = modulus.first().map_or(0, |first| modulus.len().saturating_mul(8).saturating_sub(leading_zeros(*first)));
    let wanted_bits = algorithm.rsa_modulus_bits().and_then(|bits| usize::try_from(bits).ok());
    if Some(bits) != wanted_bits || decoded.public_exponent.as_bytes() != [1, 0, 1] {
        return Err(Malformed::new("RSA public key", "a modulus of the algorithm's length and the exponent 65537"));
    }
    aws_lc(algorithm, key).map_err(|_| SPKI)
}

fn leading_zeros(byte: u8) -> usize {
    usize::try_from(byte.leading_zeros()).unwrap_or(8)
}

fn aws_lc(algorithm: Algorithm, key: &[u8]) -> Result<Parsed, Malformed> {
    let verification: &'static dyn VerificationAlgorithm = match algorithm {
        Algorithm::EcdsaP256Sha256 => &ECDSA_P256_SHA256_ASN1,
        Algorithm::EcdsaP384Sha256 => &ECDSA_P384_SHA256_ASN1,
        Algorithm::EcdsaP384Sha384 => &ECDSA_P384_SHA384_ASN1,
        Algorithm::Rsa3072Pkcs1Sha256 | Algorithm::Rsa4096Pkcs1Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rsa3072PssSha256 | Algorithm::Rsa4096PssSha256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::Ed25519 => return Err(OTHER_ALGORITHM),
    };
    ParsedPublicKey::new(verification, key).map(Parsed::AwsLc).map_err(|_| SPKI)
}
