//! The signature inside of OpenSSH's form, in each algorithm's own encoding (RFC 4253 §6.6, RFC 5656 §3.1.2,
//! RFC 8332 §3, RFC 8709 §6).

use der::asn1::UintRef;
use der::{Decode as _, Encode as _, Sequence};

use super::string;
use crate::public_key::encode::{mpint, ssh_string};
use crate::{Algorithm, Scheme};

/// `Ecdsa-Sig-Value` of RFC 3279 §2.2.3.
#[derive(Sequence)]
struct EcdsaSignature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// The name of the signature's type; `None` where OpenSSH has none for the algorithm's hash function.
pub(super) const fn kind(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::EcdsaP256Sha256 => Some("ecdsa-sha2-nistp256"),
        Algorithm::EcdsaP384Sha384 => Some("ecdsa-sha2-nistp384"),
        Algorithm::Ed25519 => Some("ssh-ed25519"),
        Algorithm::Rsa3072Pkcs1Sha256 | Algorithm::Rsa4096Pkcs1Sha256 => Some("rsa-sha2-256"),
        Algorithm::EcdsaP384Sha256 | Algorithm::Rsa3072PssSha256 | Algorithm::Rsa4096PssSha256 => None,
    }
}

/// The bytes of a signature as they stand in the form; `None` for an ECDSA signature that is no DER.
pub(super) fn encode(algorithm: Algorithm, signature: &[u8]) -> Option<Vec<u8>> {
    if !is_ecdsa(algorithm) {
        return Some(signature.to_vec());
    }
    let EcdsaSignature { r, s } = EcdsaSignature::from_der(signature).ok()?;
    let numbers = [r, s].map(|number| mpint(number.as_bytes().to_vec()));
    Some(numbers.iter().flat_map(|number| ssh_string(number)).collect())
}

/// The signature that stands in the form as `bytes`; `None` for ECDSA numbers in any but their one encoding.
pub(super) fn decode(algorithm: Algorithm, bytes: &[u8]) -> Option<Vec<u8>> {
    if !is_ecdsa(algorithm) {
        return Some(bytes.to_vec());
    }
    let (r, rest) = string(bytes).ok()?;
    let (s, rest) = string(rest).ok()?;
    let signature = EcdsaSignature { r: UintRef::new(r).ok()?, s: UintRef::new(s).ok()? }.to_der().ok()?;
    // A number may have more zeros before it, or a sign: then it is another text of the same signature.
    (rest.is_empty() && encode(algorithm, &signature)? == bytes).then_some(signature)
}

const fn is_ecdsa(algorithm: Algorithm) -> bool {
    matches!(algorithm.scheme(), Scheme::EcdsaP256 | Scheme::EcdsaP384)
}

#[cfg(test)]
mod tests {
    use super::*;

    const P256: Algorithm = Algorithm::EcdsaP256Sha256;

    #[test]
    fn ecdsa_numbers_have_one_encoding_each_way() {
        // r has its top bit set, s is short.
        let der = [&[0x30, 38, 2, 33, 0, 0x80][..], &[7; 31], &[2, 1, 5]].concat();
        let ssh = [&[0, 0, 0, 33, 0, 0x80][..], &[7; 31], &[0, 0, 0, 1, 5]].concat();

        assert_eq!(encode(P256, &der), Some(ssh.clone()));
        assert_eq!(decode(P256, &ssh), Some(der));
        for (sin, bytes) in [
            ("nothing", vec![]),
            ("a zero too many", [&[0, 0, 0, 2, 0, 5][..], &[0, 0, 0, 1, 5]].concat()),
            ("a negative number", [&[0, 0, 0, 1, 0x85][..], &[0, 0, 0, 1, 5]].concat()),
            ("no number", [&[0, 0, 0, 0][..], &[0, 0, 0, 1, 5]].concat()),
            ("one number", vec![0, 0, 0, 1, 5]),
            ("a byte too many", [&ssh[..], &[0]].concat()),
            ("the DER itself", [0x30, 6, 2, 1, 5, 2, 1, 5].to_vec()),
        ] {
            assert_eq!(decode(P256, &bytes), None, "{sin}");
        }
        assert_eq!(encode(P256, &[0x30, 0]), None);
    }
}
