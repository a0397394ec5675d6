//! Public keys as metadata lists them, and what their signatures verify with.

mod pem;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P521_SHA256_ASN1, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, VerificationAlgorithm,
};
use der::asn1::{ObjectIdentifier, UintRef};
use der::{Decode as _, Encode as _, Sequence};
use spki::SubjectPublicKeyInfoRef;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::canonical;
use super::fields::{self, Fields};
use super::part::SignatureLine;
use crate::format::base64;
use crate::format::json::{self, Value};
use crate::{Malformed, PublicKey, Scheme, Sha256Digest, Signable, verify};

/// id-ecPublicKey (RFC 5480 §2.1.1).
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// secp256r1, secp384r1, secp521r1 (RFC 5480 §2.1.1.1).
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
/// rsaEncryption (RFC 3279 §2.3.1).
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// The longest public part that is read, in bytes: a chain of certificates.
const PUBLIC_BYTES_MAX: usize = 64 * 1024;
/// The longest entry of a key that a server sends, in bytes.
const SERVED_BYTES_MAX: usize = 256 * 1024;
/// The longest word for a kind of key, in bytes.
const KIND_BYTES_MAX: usize = 64;

/// The kinds of keys that Notary has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed set: SPEC §3.3")]
pub enum KeyKind {
    /// `ecdsa`: a DER `SubjectPublicKeyInfo`.
    Ecdsa,
    /// `ecdsa-x509`: PEM, certificates, the key's own first.
    EcdsaX509,
    /// `ed25519`: 32 bytes.
    Ed25519,
    /// `rsa`: a DER `SubjectPublicKeyInfo`.
    Rsa,
    /// `rsa-x509`: PEM, certificates, the key's own first.
    RsaX509,
}

impl KeyKind {
    const ALL: [Self; 5] = [Self::Ecdsa, Self::EcdsaX509, Self::Ed25519, Self::Rsa, Self::RsaX509];

    /// The word of `keytype`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ecdsa => "ecdsa",
            Self::EcdsaX509 => "ecdsa-x509",
            Self::Ed25519 => "ed25519",
            Self::Rsa => "rsa",
            Self::RsaX509 => "rsa-x509",
        }
    }

    /// The kind of the bare key: what a certificate certifies.
    const fn bare(self) -> Self {
        match self {
            Self::Ecdsa | Self::EcdsaX509 => Self::Ecdsa,
            Self::Ed25519 => Self::Ed25519,
            Self::Rsa | Self::RsaX509 => Self::Rsa,
        }
    }
}

/// A key of metadata. Cheap to clone.
#[derive(Clone)]
pub struct Key(Arc<Inner>);

struct Inner {
    id: Sha256Digest,
    kind: Option<KeyKind>,
    public: Vec<u8>,
    /// `None` for a key whose signatures never count: of an unknown kind, on another curve, or no key at all. RSA below 2048
    /// bits has one, which never verifies.
    usable: Option<Usable>,
}

/// What a key is, whatever it is called.
struct Usable {
    /// DER `SubjectPublicKeyInfo` of ECDSA and RSA, the 32 bytes of Ed25519.
    bare: Vec<u8>,
    verifier: Verifier,
}

enum Verifier {
    Ecdsa { coordinate_bytes: usize, key: ParsedPublicKey },
    Ed25519(PublicKey),
    Rsa { pss: ParsedPublicKey, pkcs1: ParsedPublicKey },
}

/// The curves of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    const fn coordinate_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// `RSAPublicKey` of RFC 3279 §2.3.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

/// `Ecdsa-Sig-Value` of RFC 3279 §2.2.3.
#[derive(Sequence)]
struct EcdsaSignature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

impl Key {
    /// Reads an entry of `keys`, whose name has to be its hash.
    ///
    /// Of a kind that is unknown, or material that is no key of its kind, a key is made all the same; its signatures
    /// never count. The original lists such keys, too.
    pub(super) fn read(id: &str, value: &Value) -> Result<Self, Malformed> {
        let key = Self::read_entry(value)?;
        if Sha256Digest::from_hex(id)? != key.id() {
            return Err(Malformed::new("metadata", "keys whose names are their own hashes"));
        }
        Ok(key)
    }

    fn read_entry(value: &Value) -> Result<Self, Malformed> {
        let key = Fields::of(value, &["keytype", "keyval"])?;
        let kind = key.text("keytype")?.filter(|kind| kind.len() <= KIND_BYTES_MAX).ok_or(fields::WRONG)?;
        fields::writable(kind)?;
        let values = Fields::of(key.member("keyval").ok_or(fields::WRONG)?, &["private", "public"])?;
        if values.member("private").is_some() {
            return Err(Malformed::new("metadata", "no private key"));
        }
        let public = values.bytes("public")?;
        if public.len() > PUBLIC_BYTES_MAX {
            return Err(Malformed::new("metadata", "public keys of at most 64 KiB"));
        }
        let id = id_of(kind, &public);
        let kind = KeyKind::ALL.into_iter().find(|known| known.name() == kind);
        let usable = kind.and_then(|kind| usable(kind, &public));
        Ok(Self(Arc::new(Inner { id, kind, public, usable })))
    }

    /// Takes a key whose signatures count: its public part as its kind has it in metadata.
    ///
    /// # Errors
    /// [`Malformed`] for what is no key of this kind.
    pub fn new(kind: KeyKind, public: Vec<u8>) -> Result<Self, Malformed> {
        if public.len() > PUBLIC_BYTES_MAX {
            return Err(Malformed::new("metadata", "public keys of at most 64 KiB"));
        }
        let usable = usable(kind, &public).ok_or(Malformed::new("public key", "a key of its kind"))?;
        Ok(Self(Arc::new(Inner { id: id_of(kind.name(), &public), kind: Some(kind), public, usable: Some(usable) })))
    }

    /// The bare key.
    ///
    /// # Errors
    /// [`Malformed`] for none that is known today: every key of ours has a kind in metadata.
    pub fn of(key: &PublicKey) -> Result<Self, Malformed> {
        let der = key.spki_der();
        match key.algorithm().scheme() {
            Scheme::EcdsaP256 | Scheme::EcdsaP384 => Self::new(KeyKind::Ecdsa, der.to_vec()),
            // The point is the end of its 44 bytes (RFC 8410 §4).
            Scheme::Ed25519 => {
                Self::new(KeyKind::Ed25519, der.last_chunk::<32>().map_or_else(Vec::new, |k| k.to_vec()))
            }
            Scheme::RsaPkcs1 | Scheme::RsaPss => Self::new(KeyKind::Rsa, der.to_vec()),
        }
    }

    /// Reads what a server says of a key of its own.
    ///
    /// # Errors
    /// [`Malformed`] for what is no entry of a key.
    pub fn read_served(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::read_entry(&json::read("key", bytes, SERVED_BYTES_MAX)?)
    }

    /// What a server says of it: the entry of a key, in the order of members that Notary has there.
    #[must_use]
    pub fn served(&self) -> Vec<u8> {
        let public = base64::encode(&self.0.public);
        let kind = self.0.kind.map_or("", KeyKind::name);
        format!(r#"{{"keytype":"{kind}","keyval":{{"public":"{public}","private":null}}}}"#).into_bytes()
    }

    /// Its name in this metadata: SHA-256 of its canonical form.
    #[must_use]
    pub fn id(&self) -> Sha256Digest {
        self.0.id
    }

    /// Its kind; `None` for an unknown one.
    #[must_use]
    pub fn kind(&self) -> Option<KeyKind> {
        self.0.kind
    }

    /// Whether its signatures can count at all.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.0.usable.is_some()
    }

    /// Its public part as metadata has it: DER, PEM or 32 bytes, as its kind says.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        &self.0.public
    }

    /// The name of the bare key, whether or not a certificate is around it: what docker shows and what key files are
    /// called; [`Key::id`] for a key whose signatures never count.
    #[must_use]
    pub fn canonical_id(&self) -> Sha256Digest {
        match (self.0.kind, &self.0.usable) {
            (Some(kind), Some(usable)) => id_of(kind.bare().name(), &usable.bare),
            _ => self.0.id,
        }
    }

    /// Its entry in `keys`.
    pub(super) fn to_value(&self) -> Value {
        entry(self.0.kind.map_or("", KeyKind::name), &self.0.public)
    }

    /// Method and bytes of a file's line for a signature as the key's algorithm makes it.
    pub(super) fn line_of(&self, signature: &[u8]) -> Result<(&'static str, Vec<u8>), Malformed> {
        const OTHER: Malformed = Malformed::new("signature", "one of this key's algorithm");
        let usable = self.0.usable.as_ref().ok_or(OTHER)?;
        Ok(match &usable.verifier {
            Verifier::Ecdsa { coordinate_bytes, .. } => ("ecdsa", raw_of(signature, *coordinate_bytes).ok_or(OTHER)?),
            Verifier::Ed25519(_) => ("eddsa", signature.to_vec()),
            Verifier::Rsa { .. } => ("rsapss", signature.to_vec()),
        })
    }

    /// Whether the line names this key and is a signature of it over `signed`, what the line's file signs. It is computed
    /// once for each line: root is asked at every publication, and what was just signed by whoever looks after it.
    pub(super) fn has_signed(&self, signed: &[u8], line: &SignatureLine) -> bool {
        line.key == Some(self.id()) && *line.verifies.get_or_init(|| self.verifies(signed, line))
    }

    fn verifies(&self, signed: &[u8], line: &SignatureLine) -> bool {
        let Some(usable) = &self.0.usable else { return false };
        match (&usable.verifier, line.method.as_str()) {
            (Verifier::Ecdsa { coordinate_bytes, key }, "ecdsa") => {
                der_of(&line.bytes, *coordinate_bytes).is_some_and(|der| key.verify_sig(signed, &der).is_ok())
            }
            (Verifier::Ed25519(key), "eddsa") => {
                verify::one(key, &Signable::Message(signed.to_vec()), &line.bytes).is_ok()
            }
            (Verifier::Rsa { pss, .. }, "rsapss") => pss.verify_sig(signed, &line.bytes).is_ok(),
            (Verifier::Rsa { pkcs1, .. }, "rsapkcs1v15") => pkcs1.verify_sig(signed, &line.bytes).is_ok(),
            _ => false,
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, {})", self.0.kind.map_or("unknown", KeyKind::name), self.0.id.to_hex())
    }
}

/// SHA-256 over the canonical form of a key, its private part `null` (SPEC §3.3).
fn id_of(kind: &str, public: &[u8]) -> Sha256Digest {
    Sha256Digest::of(&canonical(&entry(kind, public)))
}

fn entry(kind: &str, public: &[u8]) -> Value {
    let values = Value::object([("private", Value::Null), ("public", base64::encode(public).into())]);
    Value::object([("keytype", kind.into()), ("keyval", values)])
}

fn usable(kind: KeyKind, public: &[u8]) -> Option<Usable> {
    let bare = match kind {
        KeyKind::Ecdsa | KeyKind::Rsa | KeyKind::Ed25519 => public.to_vec(),
        KeyKind::EcdsaX509 | KeyKind::RsaX509 => certified(public)?,
    };
    let verifier = match kind.bare() {
        KeyKind::Ed25519 => Verifier::Ed25519(PublicKey::from_ed25519_bytes(bare.first_chunk()?).ok()?),
        KeyKind::Rsa | KeyKind::RsaX509 => rsa(&bare)?,
        KeyKind::Ecdsa | KeyKind::EcdsaX509 => ecdsa(&bare)?,
    };
    (kind != KeyKind::Ed25519 || bare.len() == 32).then_some(Usable { bare, verifier })
}

/// The key of the first certificate: whether that is valid, root's rules say; a delegation's need not be.
fn certified(pem: &[u8]) -> Option<Vec<u8>> {
    let (block, _) = x509_parser::pem::Pem::read(std::io::Cursor::new(pem)).ok()?;
    if block.label != "CERTIFICATE" {
        return None;
    }
    let (_, certificate) = X509Certificate::from_der(&block.contents).ok()?;
    Some(certificate.public_key().raw.to_vec())
}

fn ecdsa(bare: &[u8]) -> Option<Verifier> {
    let (curve, point) = ec_point(bare)?;
    let algorithm: &'static dyn VerificationAlgorithm = match curve {
        Curve::P256 => &ECDSA_P256_SHA256_ASN1,
        Curve::P384 => &ECDSA_P384_SHA256_ASN1,
        Curve::P521 => &ECDSA_P521_SHA256_ASN1,
    };
    let key = ParsedPublicKey::new(algorithm, point).ok()?;
    Some(Verifier::Ecdsa { coordinate_bytes: curve.coordinate_bytes(), key })
}

/// Curve and point of a `SubjectPublicKeyInfo`.
///
/// A key has one encoding, so that one key is not counted as two: the library would also take a compressed point, and
/// a whole `SubjectPublicKeyInfo` in the place of the point.
pub(super) fn ec_point(bare: &[u8]) -> Option<(Curve, &[u8])> {
    let spki = SubjectPublicKeyInfoRef::from_der(bare).ok()?;
    let curve = match spki.algorithm.parameters.and_then(|any| any.decode_as::<ObjectIdentifier>().ok())? {
        P256 => Curve::P256,
        P384 => Curve::P384,
        P521 => Curve::P521,
        _ => return None,
    };
    let point = spki.subject_public_key.as_bytes().filter(|_| spki.algorithm.oid == EC_PUBLIC_KEY)?;
    let (form, coordinates) = point.split_first()?;
    let whole = *form == 4 && coordinates.len() == curve.coordinate_bytes().checked_mul(2)?;
    whole.then_some((curve, point))
}

fn rsa(bare: &[u8]) -> Option<Verifier> {
    let key = rsa_numbers(bare)?;
    // Neither takes a signature by a modulus below 2048 bits.
    Some(Verifier::Rsa {
        pss: ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key).ok()?,
        pkcs1: ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).ok()?,
    })
}

/// The `RSAPublicKey` in a `SubjectPublicKeyInfo`: in one encoding, with parameters NULL, as Go wants them.
pub(super) fn rsa_numbers(bare: &[u8]) -> Option<&[u8]> {
    let spki = SubjectPublicKeyInfoRef::from_der(bare).ok()?;
    let key = spki.subject_public_key.as_bytes().filter(|_| spki.algorithm.oid == RSA)?;
    spki.algorithm.parameters?.decode_as::<der::asn1::Null>().ok()?;
    let numbers = RsaPublicKey::from_der(key).ok()?;
    (numbers.to_der().ok()? == key).then_some(key)
}

/// `r‖s`, each of the curve's length, as the DER that the library takes.
fn der_of(raw: &[u8], coordinate_bytes: usize) -> Option<Vec<u8>> {
    let (r, s) = raw.split_at_checked(coordinate_bytes).filter(|(_, s)| s.len() == coordinate_bytes)?;
    EcdsaSignature { r: UintRef::new(r).ok()?, s: UintRef::new(s).ok()? }.to_der().ok()
}

/// The other way.
fn raw_of(der: &[u8], coordinate_bytes: usize) -> Option<Vec<u8>> {
    let signature = EcdsaSignature::from_der(der).ok()?;
    let mut raw = Vec::new();
    for number in [signature.r, signature.s] {
        let padding = coordinate_bytes.checked_sub(number.as_bytes().len())?;
        raw.resize(raw.len().checked_add(padding)?, 0);
        raw.extend_from_slice(number.as_bytes());
    }
    Some(raw)
}
