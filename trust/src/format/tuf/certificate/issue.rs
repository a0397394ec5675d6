//! A certificate of a root key, as docker makes its own: signed by the key that it is about (SPEC §3.3).
//!
//! Notary's clients read the repository's name and the dates of it, and nobody follows it to an authority. It is written here and not
//! by a library, because the bytes that are signed have to be there before somebody else signs them, and because they
//! are some forty lines of DER (X.690) that never change.

use der::pem::LineEnding;

use crate::format::calendar::rfc3339;
use crate::format::tuf::{Gun, Key, KeyKind};
use crate::{Algorithm, Malformed, PublicKey, Signature};

/// DER's tags that stand in a certificate (X.690 §8).
const BIT_STRING: u8 = 0x03;
const GENERALIZED_TIME: u8 = 0x18;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const UTC_TIME: u8 = 0x17;
const UTF8_STRING: u8 = 0x0c;
/// Context tags of version and extensions (RFC 5280 §4.1).
const EXTENSIONS: u8 = 0xa3;
const VERSION: u8 = 0xa0;

/// v3 (RFC 5280 §4.1.2.1).
const V3: &[u8] = &[0x02, 0x01, 0x02];
/// id-at-commonName (RFC 5280 appendix A.1).
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
/// ecdsa-with-SHA256, without parameters (RFC 5758 §3.2).
const ECDSA_SHA256: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// id-RSASSA-PSS with SHA-256, MGF1 with SHA-256, and a salt of 32 bytes (RFC 4055 §3.1).
const RSA_PSS_SHA256: &[u8] = &[
    0x30, 0x41, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x34, 0xa0, 0x0f, 0x30, 0x0d,
    0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09,
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03,
    0x04, 0x02, 0x01, 0x05, 0x00, 0xa2, 0x03, 0x02, 0x01, 0x20,
];
/// id-ce-keyUsage, critical: digitalSignature and keyEncipherment, as docker's (RFC 5280 §4.2.1.3).
const KEY_USAGE: &[u8] =
    &[0x30, 0x0e, 0x06, 0x03, 0x55, 0x1d, 0x0f, 0x01, 0x01, 0xff, 0x04, 0x04, 0x03, 0x02, 0x05, 0xa0];
/// id-ce-extKeyUsage: codeSigning (RFC 5280 §4.2.1.12).
const EXTENDED_KEY_USAGE: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x25];
const CODE_SIGNING: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];
/// id-ce-basicConstraints, critical: no authority (RFC 5280 §4.2.1.9).
const BASIC_CONSTRAINTS: &[u8] = &[0x30, 0x0c, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, 0x02, 0x30, 0x00];

/// A certificate that its own key has still to sign.
#[derive(Debug, Clone)]
#[must_use]
pub struct UnsignedCertificate {
    kind: KeyKind,
    signed: Vec<u8>,
    algorithm: &'static [u8],
}

impl UnsignedCertificate {
    /// Writes the certificate of a root key of this repository; times are seconds of Unix time, and `serial` is drawn at
    /// random by the caller.
    ///
    /// # Errors
    /// [`Malformed`] for a key of an algorithm that root does not have, and for times outside of the years 0 to 9999.
    pub fn new(
        key: &PublicKey,
        gun: &Gun,
        serial: [u8; 16],
        [begins_unix_seconds, ends_unix_seconds]: [i64; 2],
    ) -> Result<Self, Malformed> {
        let (kind, algorithm) = match key.algorithm() {
            Algorithm::EcdsaP256Sha256 | Algorithm::EcdsaP384Sha256 => (KeyKind::EcdsaX509, ECDSA_SHA256),
            Algorithm::Rsa3072PssSha256 | Algorithm::Rsa4096PssSha256 => (KeyKind::RsaX509, RSA_PSS_SHA256),
            _ => return Err(Malformed::new("root key", "one of ECDSA or RSA-PSS with SHA-256")),
        };
        let name = name(gun);
        let validity = sequence(&[&time(begins_unix_seconds)?, &time(ends_unix_seconds)?]);
        let code_signing = element(OCTET_STRING, &sequence(&[CODE_SIGNING]));
        let extended = sequence(&[EXTENDED_KEY_USAGE, &code_signing]);
        let extensions = element(EXTENSIONS, &sequence(&[KEY_USAGE, &extended, BASIC_CONSTRAINTS]));
        let (version, serial) = (element(VERSION, V3), element(INTEGER, &positive(serial)));
        let signed = sequence(&[&version, &serial, algorithm, &name, &validity, &name, key.spki_der(), &extensions]);
        Ok(Self { kind, signed, algorithm })
    }

    /// What the key has to sign: `tbsCertificate` (RFC 5280 §4.1.1.1).
    #[must_use]
    pub fn signed_bytes(&self) -> &[u8] {
        &self.signed
    }

    /// The key as root lists it: in its certificate. Nothing is verified here.
    ///
    /// # Errors
    /// [`Malformed`] never for a key that [`UnsignedCertificate::new`] took.
    pub fn certified(&self, signature: &Signature) -> Result<Key, Malformed> {
        let bits: Vec<u8> = [&[0], signature.as_bytes()].concat();
        let certificate = sequence(&[&self.signed, self.algorithm, &element(BIT_STRING, &bits)]);
        let pem = der::pem::encode_string("CERTIFICATE", LineEnding::LF, &certificate);
        Key::new(self.kind, pem.map_err(|_| Malformed::new("certificate", "one that fits into PEM"))?.into_bytes())
    }
}

/// Issuer and subject: the repository, and nothing else.
fn name(gun: &Gun) -> Vec<u8> {
    let attribute = sequence(&[COMMON_NAME, &element(UTF8_STRING, gun.as_str().as_bytes())]);
    sequence(&[&element(SET, &attribute)])
}

/// UTCTime through the year 2049, GeneralizedTime from 2050 on (RFC 5280 §4.1.2.5).
fn time(unix_seconds: i64) -> Result<Vec<u8>, Malformed> {
    let text = rfc3339(unix_seconds).ok_or(Malformed::new("time", "one of the years 0 to 9999"))?;
    let text: String = text.chars().filter(|c| !matches!(c, '-' | ':' | 'T')).collect();
    let short = text.get(2..).filter(|_| ("1950".."2050").contains(&text.get(..4).unwrap_or_default()));
    Ok(short.map_or_else(|| element(GENERALIZED_TIME, text.as_bytes()), |short| element(UTC_TIME, short.as_bytes())))
}

/// A positive number of exactly 16 bytes (RFC 5280 §4.1.2.2), of 126 random bits.
fn positive(mut serial: [u8; 16]) -> [u8; 16] {
    let [first, ..] = &mut serial;
    *first = (*first & 0x7f) | 0x40;
    serial
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, &parts.concat())
}

/// Tag, length in the fewest bytes (X.690 §10.1), content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let start = length.iter().position(|byte| *byte != 0).unwrap_or(length.len());
    let digits = length.get(start..).unwrap_or_default();
    let mut bytes = vec![tag];
    match digits {
        [] => bytes.push(0),
        [short] if *short < 0x80 => bytes.push(*short),
        // A length has at most 8 bytes.
        _ => {
            bytes.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
            bytes.extend_from_slice(digits);
        }
    }
    bytes.extend_from_slice(content);
    bytes
}
