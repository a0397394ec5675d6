//! A public key, from the attributes of a token's object to the form that verification reads.

use cryptoki::object::{Attribute, AttributeType};
use der::asn1::{BitStringRef, OctetStringRef, UintRef};
use der::{Decode as _, Encode as _, Sequence};
use trust::{Algorithm, PublicKey, Scheme};

/// `SubjectPublicKeyInfo` of a P-256 key up to its point (RFC 5480 §2).
const P256_SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The same of a P-384 key.
const P384_SPKI: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00,
];
/// `AlgorithmIdentifier` of an RSA key (RFC 3279 §2.3.1).
const RSA_ALGORITHM: [u8; 15] =
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// `RSAPublicKey` of RFC 8017 §A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

/// The curve's object identifier as `CKA_EC_PARAMS` takes it, and the name that older modules take instead.
pub(super) fn curve(algorithm: Algorithm) -> &'static [&'static [u8]] {
    match algorithm.scheme() {
        Scheme::EcdsaP256 => &[&[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]],
        Scheme::EcdsaP384 => &[&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22]],
        // id-Ed25519 (RFC 8410 §3); before PKCS#11 3.1 a PrintableString "edwards25519".
        Scheme::Ed25519 => &[
            &[0x06, 0x03, 0x2b, 0x65, 0x70],
            &[0x13, 0x0c, b'e', b'd', b'w', b'a', b'r', b'd', b's', b'2', b'5', b'5', b'1', b'9'],
        ],
        Scheme::RsaPkcs1 | Scheme::RsaPss => &[],
    }
}

/// The attributes that a public key of `algorithm` is made of.
pub(super) fn attributes(algorithm: Algorithm) -> &'static [AttributeType] {
    match algorithm.scheme() {
        Scheme::EcdsaP256 | Scheme::EcdsaP384 | Scheme::Ed25519 => &[AttributeType::EcParams, AttributeType::EcPoint],
        Scheme::RsaPkcs1 | Scheme::RsaPss => &[AttributeType::Modulus, AttributeType::PublicExponent],
    }
}

/// The public key that the attributes describe; `None` when they are none of `algorithm`.
pub(super) fn read(algorithm: Algorithm, attributes: &[Attribute]) -> Option<PublicKey> {
    let (mut first, mut second) = (None, None);
    for attribute in attributes {
        match attribute {
            Attribute::EcParams(bytes) | Attribute::Modulus(bytes) => first = Some(bytes.as_slice()),
            Attribute::EcPoint(bytes) | Attribute::PublicExponent(bytes) => second = Some(bytes.as_slice()),
            _ => {}
        }
    }
    let (first, second) = (first?, second?);
    match algorithm.scheme() {
        Scheme::EcdsaP256 | Scheme::EcdsaP384 | Scheme::Ed25519 if !curve(algorithm).contains(&first) => None,
        Scheme::EcdsaP256 => PublicKey::from_spki_der(algorithm, &[&P256_SPKI[..], point(second, 65)?].concat()).ok(),
        Scheme::EcdsaP384 => PublicKey::from_spki_der(algorithm, &[&P384_SPKI[..], point(second, 97)?].concat()).ok(),
        Scheme::Ed25519 => PublicKey::from_ed25519_bytes(point(second, 32)?.first_chunk()?).ok(),
        Scheme::RsaPkcs1 | Scheme::RsaPss => rsa(algorithm, first, second),
    }
}

/// The point of `length` bytes: bare, as some modules have it, or in an OCTET STRING, as PKCS#11 2.40 §2.3.3 says.
fn point(bytes: &[u8], length: usize) -> Option<&[u8]> {
    if bytes.len() == length {
        return Some(bytes);
    }
    let wrapped = <&OctetStringRef>::from_der(bytes).ok()?.as_bytes();
    (wrapped.len() == length).then_some(wrapped)
}

fn rsa(algorithm: Algorithm, modulus: &[u8], exponent: &[u8]) -> Option<PublicKey> {
    let key = RsaPublicKey { modulus: UintRef::new(modulus).ok()?, exponent: UintRef::new(exponent).ok()? };
    let encoded = key.to_der().ok()?;
    let bits = BitStringRef::from_bytes(&encoded).ok()?.to_der().ok()?;
    let length = u16::try_from(RSA_ALGORITHM.len().checked_add(bits.len())?).ok().filter(|length| *length >= 0x100)?;
    let head = [[0x30, 0x82].as_slice(), &length.to_be_bytes()].concat();
    PublicKey::from_spki_der(algorithm, &[&head, &RSA_ALGORITHM[..], &bits].concat()).ok()
}
