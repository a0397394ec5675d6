//! One key and what it signed, made by aws-lc-rs, in every shape that some library wants.

use anyhow::{Context as _, Result, anyhow, bail};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use trust::{Algorithm, Sha256Digest};

/// A key and what it signed.
pub(crate) struct Signed {
    pub(crate) algorithm: Algorithm,
    /// The private key in PKCS#8.
    pub(crate) pkcs8: Vec<u8>,
    /// The private key of Ed25519, which others do not have.
    pub(crate) seed: [u8; 32],
    /// The public key as `SubjectPublicKeyInfo`.
    pub(crate) spki: Vec<u8>,
    /// The public key as its scheme writes it: 32 bytes, a point, an `RSAPublicKey`.
    pub(crate) raw: Vec<u8>,
    /// Messages of 32 bytes with their signatures.
    pub(crate) items: Vec<([u8; 32], Vec<u8>)>,
    /// The key, to sign more.
    key: Key,
}

enum Key {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Signed {
    /// A new key, and `count` messages with signatures.
    ///
    /// # Errors
    /// When the algorithm is not one of those that the suite `libraries` measures.
    pub(crate) fn new(algorithm: Algorithm, count: usize) -> Result<Self> {
        let seed = *Sha256Digest::of(b"a key of a measurement").as_bytes();
        let (key, pkcs8, spki, raw) = make(algorithm, &seed)?;
        let mut signed = Self { algorithm, pkcs8, seed, spki, raw, items: Vec::with_capacity(count), key };
        for number in 0..count {
            let message = *Sha256Digest::of(&number.to_be_bytes()).as_bytes();
            let signature = signed.sign(&message)?;
            signed.items.push((message, signature));
        }
        Ok(signed)
    }

    /// One signature more, by aws-lc-rs.
    ///
    /// # Errors
    /// When the library fails.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let random = SystemRandom::new();
        let failed = |_| anyhow!("aws-lc-rs does not sign");
        match &self.key {
            Key::Ecdsa(key) => key.sign(&random, message).map(|signature| signature.as_ref().to_vec()).map_err(failed),
            Key::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

type Made = (Key, Vec<u8>, Vec<u8>, Vec<u8>);

fn make(algorithm: Algorithm, seed: &[u8; 32]) -> Result<Made> {
    match algorithm {
        Algorithm::Ed25519 => {
            let key = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|error| anyhow!("an Ed25519 key: {error}"))?;
            let (pkcs8, spki) = (private(&key)?, public(key.public_key())?);
            let raw = key.public_key().as_ref().to_vec();
            Ok((Key::Ed25519(key), pkcs8, spki, raw))
        }
        Algorithm::EcdsaP256Sha256 | Algorithm::EcdsaP384Sha384 => {
            let curve = if algorithm == Algorithm::EcdsaP256Sha256 {
                &ECDSA_P256_SHA256_ASN1_SIGNING
            } else {
                &ECDSA_P384_SHA384_ASN1_SIGNING
            };
            let key = EcdsaKeyPair::generate(curve).ok().context("an ECDSA key")?;
            let pkcs8 = key.to_pkcs8v1().ok().context("an ECDSA key in PKCS#8")?.as_ref().to_vec();
            let (spki, raw) = (public(key.public_key())?, key.public_key().as_ref().to_vec());
            Ok((Key::Ecdsa(key), pkcs8, spki, raw))
        }
        Algorithm::Rsa3072Pkcs1Sha256 | Algorithm::Rsa4096Pkcs1Sha256 => {
            let size = if algorithm == Algorithm::Rsa3072Pkcs1Sha256 { KeySize::Rsa3072 } else { KeySize::Rsa4096 };
            let key = RsaKeyPair::generate(size).ok().context("an RSA key")?;
            let (pkcs8, spki) = (private(&key)?, public(key.public_key())?);
            let raw = key.public_key().as_ref().to_vec();
            Ok((Key::Rsa(key), pkcs8, spki, raw))
        }
        other => bail!("no case measures {other}"),
    }
}

fn private(key: &impl AsDer<Pkcs8V1Der<'static>>) -> Result<Vec<u8>> {
    Ok(key.as_der().ok().context("a private key in PKCS#8")?.as_ref().to_vec())
}

fn public(key: &impl AsDer<PublicKeyX509Der<'static>>) -> Result<Vec<u8>> {
    Ok(key.as_der().ok().context("a public key in SubjectPublicKeyInfo")?.as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use trust::{PublicKey, Signable, verify};

    use super::*;

    #[test]
    fn what_is_measured_verifies_with_our_own_code() {
        for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP256Sha256, Algorithm::EcdsaP384Sha384] {
            let signed = Signed::new(algorithm, 2).unwrap();
            let key = PublicKey::from_spki_der(algorithm, &signed.spki).unwrap();

            for (message, signature) in &signed.items {
                verify::one(&key, &Signable::Message(message.to_vec()), signature).unwrap();
            }
        }
    }
}
