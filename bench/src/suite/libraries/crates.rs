//! Libraries that nothing of ours uses: ring and ed25519-zebra, behind the feature `peers` of this crate alone.

use anyhow::{Context as _, Result, anyhow, ensure};
use ed25519_zebra::{Signature, SigningKey, VerificationKey};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING,
    ED25519, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
    VerificationAlgorithm,
};
use trust::Algorithm;

use crate::contest::Entrant;
use crate::report::Whose;
use crate::signed::Signed;

/// Who verifies. ring has no key that was read before; it reads its 32 bytes, its point or its modulus each time.
pub(super) fn verifiers(signed: &Signed) -> Result<Vec<Entrant<'_>>> {
    let algorithm: &'static dyn VerificationAlgorithm = match signed.algorithm {
        Algorithm::Ed25519 => &ED25519,
        Algorithm::EcdsaP256Sha256 => &ECDSA_P256_SHA256_ASN1,
        Algorithm::EcdsaP384Sha384 => &ECDSA_P384_SHA384_ASN1,
        _ => &RSA_PKCS1_2048_8192_SHA256,
    };
    let key = UnparsedPublicKey::new(algorithm, &signed.raw);
    let mut items = signed.items.iter().cycle();
    let mut entrants = vec![Entrant::here("ring", Whose::Peers, move || {
        let (message, signature) = items.next().context("no item")?;
        ensure!(key.verify(message, signature).is_ok(), "a good signature counts as bad");
        Ok(1)
    })];
    if signed.algorithm == Algorithm::Ed25519 {
        let key = VerificationKey::try_from(signed.raw.as_slice()).map_err(|error| anyhow!("a key: {error}"))?;
        let mut items = signed.items.iter().cycle();
        entrants.push(Entrant::here("ed25519-zebra", Whose::Peers, move || {
            let (message, signature) = items.next().context("no item")?;
            let signature = Signature::from_slice(signature).map_err(|error| anyhow!("a signature: {error}"))?;
            ensure!(key.verify(&signature, message).is_ok(), "a good signature counts as bad");
            Ok(1)
        }));
    }
    Ok(entrants)
}

/// Who signs.
pub(super) fn signers(signed: &Signed) -> Result<Vec<Entrant<'_>>> {
    let mut messages = signed.items.iter().map(|(message, _)| message).cycle();
    let sign = ring_signer(signed)?;
    let mut entrants = vec![Entrant::here("ring", Whose::Peers, move || {
        sign(messages.next().context("no message")?)?;
        Ok(1)
    })];
    if signed.algorithm == Algorithm::Ed25519 {
        let key = SigningKey::from(signed.seed);
        let mut messages = signed.items.iter().map(|(message, _)| message).cycle();
        entrants.push(Entrant::here("ed25519-zebra", Whose::Peers, move || {
            std::hint::black_box(key.sign(messages.next().context("no message")?));
            Ok(1)
        }));
    }
    Ok(entrants)
}

type Sign = Box<dyn Fn(&[u8; 32]) -> Result<()>>;

fn ring_signer(signed: &Signed) -> Result<Sign> {
    let random = SystemRandom::new();
    Ok(match signed.algorithm {
        Algorithm::Ed25519 => {
            let key = Ed25519KeyPair::from_seed_unchecked(&signed.seed).map_err(|error| anyhow!("a key: {error}"))?;
            Box::new(move |message| {
                std::hint::black_box(key.sign(message));
                Ok(())
            })
        }
        Algorithm::EcdsaP256Sha256 | Algorithm::EcdsaP384Sha384 => {
            let curve = if signed.algorithm == Algorithm::EcdsaP256Sha256 {
                &ECDSA_P256_SHA256_ASN1_SIGNING
            } else {
                &ECDSA_P384_SHA384_ASN1_SIGNING
            };
            let key = EcdsaKeyPair::from_pkcs8(curve, &signed.pkcs8, &random);
            let key = key.map_err(|error| anyhow!("a key: {error}"))?;
            Box::new(move |message| key.sign(&random, message).map(drop).map_err(|_| anyhow!("it does not sign")))
        }
        _ => {
            let key = RsaKeyPair::from_pkcs8(&signed.pkcs8).map_err(|error| anyhow!("a key: {error}"))?;
            Box::new(move |message| {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(|_| anyhow!("it does not sign"))
            })
        }
    })
}
