//! Each algorithm in the words of PKCS#11: what a token must be able to do, what it is given to sign, what comes back.

use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use der::asn1::UintRef;
use der::{Encode as _, Sequence};
use trust::{Algorithm, Digest, Scheme, Signable, Signature};

use crate::CustodyError;

/// `DigestInfo` of a SHA-256 value up to the value itself (RFC 8017 §9.2, note 1).
const SHA256_DIGEST_INFO: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];

/// `Ecdsa-Sig-Value` of RFC 3279 §2.2.3.
#[derive(Sequence)]
struct EcdsaSignature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// The mechanism that makes a key of `algorithm`.
pub(super) fn generation(algorithm: Algorithm) -> Mechanism<'static> {
    match algorithm.scheme() {
        Scheme::EcdsaP256 | Scheme::EcdsaP384 => Mechanism::EccKeyPairGen,
        Scheme::Ed25519 => Mechanism::EccEdwardsKeyPairGen,
        Scheme::RsaPkcs1 | Scheme::RsaPss => Mechanism::RsaPkcsKeyPairGen,
    }
}

/// The mechanism that signs. It never hashes: a token hashes no faster, and a digest has to do, too.
pub(super) fn signing(algorithm: Algorithm) -> Mechanism<'static> {
    match algorithm.scheme() {
        Scheme::EcdsaP256 | Scheme::EcdsaP384 => Mechanism::Ecdsa,
        Scheme::Ed25519 => Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure)),
        Scheme::RsaPkcs1 => Mechanism::RsaPkcs,
        Scheme::RsaPss => Mechanism::RsaPkcsPss(PkcsPssParams {
            hash_alg: MechanismType::SHA256,
            mgf: PkcsMgfType::MGF1_SHA256,
            s_len: 32.into(),
        }),
    }
}

/// Refuses an algorithm for which the token lacks a mechanism, and names it.
pub(super) fn check(algorithm: Algorithm, offered: &[MechanismType]) -> Result<(), CustodyError> {
    let needed = [generation(algorithm).mechanism_type(), signing(algorithm).mechanism_type()];
    match needed.into_iter().find(|mechanism| !offered.contains(mechanism)) {
        None => Ok(()),
        Some(missing) => Err(CustodyError::refused(format!(
            "the token has no mechanism {missing}, which a key of {algorithm} needs"
        ))),
    }
}

/// The same for a key that somebody brings: the token has to sign only.
pub(super) fn check_signing(algorithm: Algorithm, offered: &[MechanismType]) -> Result<(), CustodyError> {
    let needed = signing(algorithm).mechanism_type();
    if offered.contains(&needed) {
        return Ok(());
    }
    Err(CustodyError::refused(format!("the token has no mechanism {needed}, which a key of {algorithm} needs")))
}

/// What is given to the token for `input`.
pub(super) fn preimage(algorithm: Algorithm, input: &Signable) -> Result<Vec<u8>, CustodyError> {
    if !input.fits(algorithm) {
        return Err(CustodyError::refused(format!(
            "{algorithm} takes no such input: a message, or a digest of its own hash function"
        )));
    }
    let value = match (algorithm.prehash(), input) {
        (None, Signable::Message(message)) => return Ok(message.clone()),
        (Some(function), Signable::Message(message)) => Digest::of(function, message),
        (_, Signable::Digest(value)) => *value,
    };
    match algorithm.scheme() {
        Scheme::RsaPkcs1 => Ok([&SHA256_DIGEST_INFO[..], value.as_bytes()].concat()),
        Scheme::EcdsaP256 | Scheme::EcdsaP384 | Scheme::Ed25519 | Scheme::RsaPss => Ok(value.as_bytes().to_vec()),
    }
}

/// The signature in the algorithm's own encoding; `None` for bytes that are none.
pub(super) fn signature(algorithm: Algorithm, raw: Vec<u8>) -> Option<Signature> {
    let coordinate = match algorithm.scheme() {
        Scheme::EcdsaP256 => 32,
        Scheme::EcdsaP384 => 48,
        Scheme::Ed25519 | Scheme::RsaPkcs1 | Scheme::RsaPss => return Signature::new(algorithm, raw).ok(),
    };
    let (r, s) = raw.split_at_checked(coordinate).filter(|(_, s)| s.len() == coordinate)?;
    let encoded = EcdsaSignature { r: UintRef::new(r).ok()?, s: UintRef::new(s).ok()? }.to_der().ok()?;
    Signature::new(algorithm, encoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_mechanism_is_named() {
        let offered = [MechanismType::ECC_KEY_PAIR_GEN, MechanismType::ECDSA, MechanismType::ECC_EDWARDS_KEY_PAIR_GEN];

        check(Algorithm::EcdsaP384Sha384, &offered).unwrap();
        let refused = check(Algorithm::Ed25519, &offered).unwrap_err().to_string();
        assert!(refused.contains("CKM_EDDSA"), "{refused}");
        let refused = check(Algorithm::Rsa3072PssSha256, &offered).unwrap_err().to_string();
        assert!(refused.contains("CKM_RSA_PKCS_KEY_PAIR_GEN"), "{refused}");
    }

    #[test]
    fn an_ecdsa_signature_of_another_length_is_none() {
        for length in [0, 63, 65, 96] {
            assert_eq!(signature(Algorithm::EcdsaP256Sha256, vec![1; length]), None, "{length}");
        }
        let encoded =
            signature(Algorithm::EcdsaP256Sha256, [vec![0; 31], vec![0x80], vec![0xff; 32]].concat()).unwrap();
        // r has lost its leading zeros and s has got one, so that neither is negative (X.690 §8.3).
        assert_eq!(encoded.as_bytes().get(..8).unwrap(), [0x30, 39, 2, 2, 0, 0x80, 2, 33]);
    }
}
