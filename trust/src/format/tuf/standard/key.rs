//! Keys of the standard dialect.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, VerificationAlgorithm,
};

use super::{WRONG, text, unhex};
use crate::format::json::Value;
use crate::format::tuf::key::{Curve, ec_point, rsa_numbers};
use crate::{Malformed, PublicKey, Signable, verify};

/// DER of a `SubjectPublicKeyInfo` of P-256, up to its point of 65 bytes.
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7, 3,
    0x42, 0,
];

/// A public key. Of a scheme that is unknown its signatures never count.
#[derive(Debug, Clone)]
pub struct Key(Option<Usable>);

#[derive(Debug, Clone)]
struct Usable {
    /// The key itself, whatever it is called: DER, or the 32 bytes of Ed25519.
    bare: Vec<u8>,
    verifier: Verifier,
}

#[derive(Debug, Clone)]
enum Verifier {
    Ed25519(PublicKey),
    Parsed(ParsedPublicKey),
}

impl Key {
    pub(super) fn read(value: &Value) -> Result<Self, Malformed> {
        let (kind, scheme) = (text(value, "keytype")?, text(value, "scheme")?);
        let public = text(value.member("keyval").ok_or(WRONG)?, "public")?;
        Ok(Self(usable(kind, scheme, public)))
    }

    /// The key itself, for counting; `None` for one that never counts.
    pub(super) fn bare(&self) -> Option<&[u8]> {
        self.0.as_ref().map(|usable| usable.bare.as_slice())
    }

    pub(super) fn has_signed(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self.0.as_ref().map(|usable| &usable.verifier) {
            Some(Verifier::Ed25519(key)) => verify::one(key, &Signable::Message(signed.to_vec()), signature).is_ok(),
            Some(Verifier::Parsed(key)) => key.verify_sig(signed, signature).is_ok(),
            None => false,
        }
    }
}

fn usable(kind: &str, scheme: &str, public: &str) -> Option<Usable> {
    let parsed = |algorithm: &'static dyn VerificationAlgorithm, bare: Vec<u8>, key: &[u8]| {
        let verifier = Verifier::Parsed(ParsedPublicKey::new(algorithm, key).ok()?);
        Some(Usable { bare, verifier })
    };
    match (kind, scheme) {
        ("ed25519", "ed25519") => {
            let bare = unhex(public)?;
            let key = PublicKey::from_ed25519_bytes(bare.as_slice().try_into().ok()?).ok()?;
            Some(Usable { bare, verifier: Verifier::Ed25519(key) })
        }
        ("rsa", "rsassa-pss-sha256" | "rsa-pkcs1v15-sha256") => {
            let der = pem(public)?;
            let numbers = rsa_numbers(&der)?.to_vec();
            let algorithm: &'static dyn VerificationAlgorithm =
                if scheme == "rsassa-pss-sha256" { &RSA_PSS_2048_8192_SHA256 } else { &RSA_PKCS1_2048_8192_SHA256 };
            parsed(algorithm, der, &numbers)
        }
        ("ecdsa" | "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384", _) => {
            // sigstore's first roots have the bare point in hexadecimal.
            let der = pem(public).or_else(|| Some([&P256_PREFIX[..], &unhex(public)?].concat()))?;
            let (curve, point) = ec_point(&der)?;
            let point = point.to_vec();
            match (curve, scheme) {
                (Curve::P256, "ecdsa-sha2-nistp256") => parsed(&ECDSA_P256_SHA256_ASN1, der, &point),
                (Curve::P384, "ecdsa-sha2-nistp384") => parsed(&ECDSA_P384_SHA384_ASN1, der, &point),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The DER in a PEM block of a public key.
fn pem(text: &str) -> Option<Vec<u8>> {
    let (block, _) = x509_parser::pem::Pem::read(std::io::Cursor::new(text.as_bytes())).ok()?;
    (block.label == "PUBLIC KEY").then_some(block.contents)
}
