//! One opened private key and the signature schemes.
//!
//! Ed25519 by ed25519-dalek, deterministic (RFC 8032); ECDSA and RSA by AWS-LC,
//! whose nonces and blinding are fresh. The RSA crates of pure Rust leak timing
//! (RUSTSEC-2023-0071) and stay out.

use aws_lc_rs::digest::{self, SHA256, SHA384};
use aws_lc_rs::encoding::{AsBigEndian, AsDer, EcPrivateKeyBin, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
};
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use ed25519_dalek::{SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha512};
use trust::{Algorithm, Digest, PublicKey, Scheme, Signable, Signature};
use zeroize::Zeroizing;

use crate::CustodyError;
use crate::locked::Slot;

/// A private key ready to sign. No `Debug`, no `Clone`; each kind wipes itself when dropped.
pub(crate) enum PrivateKey {
    /// SHA-512 of the seed, which a signature starts from, in locked memory.
    Ed25519(Slot, VerifyingKey),
    Ecdsa(Algorithm, EcdsaKeyPair),
    Rsa(&'static dyn RsaEncoding, Algorithm, RsaKeyPair),
}

/// The bytes that are sealed: the seed; scalar and uncompressed point; PKCS#8.
pub(crate) type Plain = Zeroizing<Vec<u8>>;

impl PrivateKey {
    /// Makes a key and the bytes to seal it as.
    pub(crate) fn generate(algorithm: Algorithm) -> Result<(Self, Plain), CustodyError> {
        let failed = |_| CustodyError::failed(format!("make a key of {algorithm}"));
        match algorithm.scheme() {
            Scheme::Ed25519 => {
                let mut seed = Zeroizing::new(vec![0; 32]);
                crate::cipher::random(&mut seed)?;
                Ok((Self::parse(algorithm, &seed)?, seed))
            }
            Scheme::EcdsaP256 | Scheme::EcdsaP384 => {
                let pair = EcdsaKeyPair::generate(curve(algorithm)?).map_err(failed)?;
                let scalar: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().map_err(failed)?;
                let plain = Zeroizing::new([scalar.as_ref(), pair.public_key().as_ref()].concat());
                Ok((Self::Ecdsa(algorithm, pair), plain))
            }
            Scheme::RsaPkcs1 | Scheme::RsaPss => {
                let size = if algorithm.rsa_modulus_bits() == Some(3072) { KeySize::Rsa3072 } else { KeySize::Rsa4096 };
                let pair = RsaKeyPair::generate(size).map_err(failed)?;
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                let plain = Zeroizing::new(der.as_ref().to_vec());
                Ok((Self::Rsa(padding(algorithm), algorithm, pair), plain))
            }
        }
    }

    /// Reads the bytes that were sealed. Their form is checked, and that the halves fit.
    pub(crate) fn parse(algorithm: Algorithm, plain: &[u8]) -> Result<Self, CustodyError> {
        #[cfg(feature = "test-leak")]
        std::hint::black_box(Box::leak(plain.to_vec().into_boxed_slice()));
        let rejected = || CustodyError::corrupt(format!("a sealed key: its content is no private key of {algorithm}"));
        match algorithm.scheme() {
            Scheme::Ed25519 => {
                let seed: &[u8; 32] = plain.try_into().map_err(|_| rejected())?;
                let verifying = SigningKey::from_bytes(seed).verifying_key();
                let mut expanded = Slot::take()?;
                Sha512::new_with_prefix(seed).finalize_into(expanded.bytes_mut().into());
                Ok(Self::Ed25519(expanded, verifying))
            }
            Scheme::EcdsaP256 | Scheme::EcdsaP384 => {
                let scalar_length = if algorithm.scheme() == Scheme::EcdsaP256 { 32 } else { 48 };
                let (scalar, point) = plain.split_at_checked(scalar_length).ok_or_else(rejected)?;
                let pair = EcdsaKeyPair::from_private_key_and_public_key(curve(algorithm)?, scalar, point);
                Ok(Self::Ecdsa(algorithm, pair.map_err(|_| rejected())?))
            }
            Scheme::RsaPkcs1 | Scheme::RsaPss => {
                let pair = RsaKeyPair::from_pkcs8(plain).map_err(|_| rejected())?;
                Ok(Self::Rsa(padding(algorithm), algorithm, pair))
            }
        }
    }

    /// The key of a curve's scalar, and the bytes to seal it as; its point is derived. AWS-LC refuses a scalar that is
    /// not in the range of the order.
    pub(crate) fn of_scalar(algorithm: Algorithm, scalar: &[u8]) -> Result<(Self, Plain), CustodyError> {
        let der = crate::imported::bare_ec_private_key(scalar)?;
        let pair = EcdsaKeyPair::from_private_key_der(curve(algorithm)?, &der)
            .map_err(|_| CustodyError::refused(format!("no private key of {algorithm}")))?;
        let plain = Zeroizing::new([scalar, pair.public_key().as_ref()].concat());
        Ok((Self::Ecdsa(algorithm, pair), plain))
    }

    /// The key of an `RSAPrivateKey` (RFC 8017 §A.1.2), and the bytes to seal it as.
    pub(crate) fn of_rsa(algorithm: Algorithm, der: &[u8]) -> Result<(Self, Plain), CustodyError> {
        let refused = || CustodyError::refused(format!("no private key of {algorithm}"));
        let pair = RsaKeyPair::from_der(der).map_err(|_| refused())?;
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| refused())?;
        let plain = Zeroizing::new(pkcs8.as_ref().to_vec());
        Ok((Self::Rsa(padding(algorithm), algorithm, pair), plain))
    }

    /// The public half, through the strict parser that verification uses.
    pub(crate) fn public_key(&self) -> Result<PublicKey, CustodyError> {
        let failed = |_| CustodyError::failed("encode a public key");
        let (algorithm, der): (Algorithm, PublicKeyX509Der<'_>) = match self {
            Self::Ed25519(_, verifying) => {
                return PublicKey::from_ed25519_bytes(verifying.as_bytes())
                    .map_err(|error| CustodyError::failed(format!("read back a new public key: {error}")));
            }
            Self::Ecdsa(algorithm, pair) => (*algorithm, pair.public_key().as_der().map_err(failed)?),
            Self::Rsa(_, algorithm, pair) => (*algorithm, pair.public_key().as_der().map_err(failed)?),
        };
        PublicKey::from_spki_der(algorithm, der.as_ref())
            .map_err(|error| CustodyError::failed(format!("read back a new public key: {error}")))
    }

    /// Signs one input.
    pub(crate) fn sign(&self, input: &Signable) -> Result<Signature, CustodyError> {
        match self {
            Self::Ed25519(expanded, verifying) => match input {
                Signable::Message(message) => {
                    let expanded = ExpandedSecretKey::from_bytes(expanded.bytes());
                    let signature = raw_sign::<Sha512>(&expanded, message, verifying);
                    finish(Algorithm::Ed25519, signature.to_bytes().to_vec())
                }
                Signable::Digest(_) => Err(unfit(Algorithm::Ed25519)),
            },
            Self::Ecdsa(algorithm, pair) => {
                let signature = pair.sign_digest(&prehash(*algorithm, input)?);
                finish(*algorithm, signature.map_err(|_| failed_to_sign(*algorithm))?.as_ref().to_vec())
            }
            Self::Rsa(encoding, algorithm, pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let outcome = pair.sign_digest(*encoding, &prehash(*algorithm, input)?, &mut signature);
                outcome.map_err(|_| failed_to_sign(*algorithm))?;
                finish(*algorithm, signature)
            }
        }
    }
}

fn finish(algorithm: Algorithm, bytes: Vec<u8>) -> Result<Signature, CustodyError> {
    Signature::new(algorithm, bytes).map_err(|_| failed_to_sign(algorithm))
}

fn failed_to_sign(algorithm: Algorithm) -> CustodyError {
    CustodyError::failed(format!("sign with {algorithm}"))
}

fn unfit(algorithm: Algorithm) -> CustodyError {
    CustodyError::refused(format!("{algorithm} takes no such input: a message, or a digest of its own hash function"))
}

/// The hash value that the scheme signs, as AWS-LC takes it.
///
/// AWS-LC ties P-384 to SHA-384. ECDSA reads a hash that is shorter than the
/// group order as the integer it is (FIPS 186-5 §6.4.1), so a SHA-256 value
/// with 16 zero bytes before it signs the same number.
fn prehash(algorithm: Algorithm, input: &Signable) -> Result<digest::Digest, CustodyError> {
    let function = algorithm.prehash().ok_or_else(|| unfit(algorithm))?;
    let value = match input {
        Signable::Message(message) => Digest::of(function, message),
        Signable::Digest(digest) if digest.function() == function => *digest,
        Signable::Digest(_) => return Err(unfit(algorithm)),
    };
    let imported = match value {
        Digest::Sha256(value) if algorithm.scheme() == Scheme::EcdsaP384 => {
            let mut wide = [0; 48];
            let (_, low) = wide.split_at_mut(16);
            low.copy_from_slice(&value);
            digest::Digest::import_less_safe(&wide, &SHA384)
        }
        Digest::Sha256(value) => digest::Digest::import_less_safe(&value, &SHA256),
        Digest::Sha384(value) => digest::Digest::import_less_safe(&value, &SHA384),
    };
    imported.map_err(|_| failed_to_sign(algorithm))
}

fn curve(algorithm: Algorithm) -> Result<&'static EcdsaSigningAlgorithm, CustodyError> {
    match algorithm.scheme() {
        Scheme::EcdsaP256 => Ok(&ECDSA_P256_SHA256_ASN1_SIGNING),
        Scheme::EcdsaP384 => Ok(&ECDSA_P384_SHA384_ASN1_SIGNING),
        Scheme::Ed25519 | Scheme::RsaPkcs1 | Scheme::RsaPss => Err(unfit(algorithm)),
    }
}

fn padding(algorithm: Algorithm) -> &'static dyn RsaEncoding {
    if algorithm.scheme() == Scheme::RsaPss { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 }
}
