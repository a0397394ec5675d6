//! The encodings of a public key that other programs read.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use der::Decode as _;
use der::pem::LineEnding;
use spki::SubjectPublicKeyInfoRef;

use super::{EC_PUBLIC_KEY, ED25519, P256, P384, PublicKey, RSA, RsaPublicKey};
use crate::{Algorithm, Malformed, Scheme, Sha256Digest};

const PEM_LABEL: &str = "PUBLIC KEY";
const PEM: Malformed = Malformed::new(
    "public key",
    "one PEM block PUBLIC KEY of at most 16 KiB with an Ed25519, P-256, P-384, RSA-3072 or RSA-4096 key",
);

/// The longest PEM text that is read, in bytes.
const PEM_BYTES_MAX: usize = 16 * 1024;

impl PublicKey {
    /// Reads one PEM block `PUBLIC KEY` (RFC 7468 §13), at most 16 KiB.
    ///
    /// A bare key does not tell its whole algorithm: P-384 is taken with
    /// SHA-256 and RSA as PKCS#1 v1.5, which is what cosign makes of them;
    /// [`PublicKey::from_pem_as`] takes it otherwise.
    ///
    /// # Errors
    /// [`Malformed`] for anything else, weak keys included.
    pub fn from_pem(text: &str) -> Result<Self, Malformed> {
        let der = decode_pem(text)?;
        let spki = SubjectPublicKeyInfoRef::from_der(&der).map_err(|_| PEM)?;
        let candidates: &[Algorithm] = match spki.algorithm.oid {
            ED25519 => &[Algorithm::Ed25519],
            EC_PUBLIC_KEY => match spki.algorithm.parameters_oid() {
                Ok(P256) => &[Algorithm::EcdsaP256Sha256],
                Ok(P384) => &[Algorithm::EcdsaP384Sha256],
                _ => &[],
            },
            RSA => &[Algorithm::Rsa3072Pkcs1Sha256, Algorithm::Rsa4096Pkcs1Sha256],
            _ => &[],
        };
        candidates.iter().find_map(|algorithm| Self::from_spki_der(*algorithm, &der).ok()).ok_or(PEM)
    }

    /// Reads one PEM block `PUBLIC KEY` as a key of `algorithm`.
    ///
    /// # Errors
    /// [`Malformed`] as [`PublicKey::from_spki_der`], and for anything that is not one such block.
    pub fn from_pem_as(algorithm: Algorithm, text: &str) -> Result<Self, Malformed> {
        Self::from_spki_der(algorithm, &decode_pem(text)?)
    }

    /// PEM block `PUBLIC KEY` (RFC 7468 §13), ending in a line feed.
    #[must_use]
    pub fn to_pem(&self) -> String {
        // A DER of at most 1 KiB always fits; an empty text would be refused by every reader.
        der::pem::encode_string(PEM_LABEL, LineEnding::LF, self.spki_der()).unwrap_or_default()
    }

    /// JSON Web Key (RFC 7517, RFC 7518 §6, RFC 8037 §2) with its RFC 7638 thumbprint as `kid`.
    #[must_use]
    pub fn to_jwk(&self) -> String {
        let members = self.required_jwk_members();
        // RFC 7638 §3: the required members alone, in lexicographic order.
        let thumbprint = Sha256Digest::of(json_object(&members).as_bytes());
        let mut all = members;
        all.push(("alg", jose_algorithm(self.algorithm()).to_owned()));
        all.push(("kid", URL_SAFE_NO_PAD.encode(thumbprint.as_bytes())));
        all.push(("use", "sig".to_owned()));
        json_object(&all)
    }

    /// One line of an `authorized_keys` file without comment (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4).
    #[must_use]
    pub fn to_openssh(&self) -> String {
        let (name, blob) = self.ssh_blob();
        format!("{name} {}", STANDARD.encode(blob))
    }

    /// OpenSSH's name of the key's type, and the bytes that a line of `authorized_keys` has in base64.
    pub(crate) fn ssh_blob(&self) -> (&'static str, Vec<u8>) {
        let point = self.key_bytes();
        let (name, fields): (&'static str, Vec<Vec<u8>>) = match self.algorithm().scheme() {
            Scheme::Ed25519 => ("ssh-ed25519", vec![point]),
            Scheme::EcdsaP256 => ("ecdsa-sha2-nistp256", vec![b"nistp256".to_vec(), point]),
            Scheme::EcdsaP384 => ("ecdsa-sha2-nistp384", vec![b"nistp384".to_vec(), point]),
            Scheme::RsaPkcs1 | Scheme::RsaPss => {
                let (modulus, exponent) = self.rsa_parts();
                ("ssh-rsa", vec![mpint(exponent), mpint(modulus)])
            }
        };
        let blob: Vec<u8> =
            std::iter::once(name.as_bytes()).chain(fields.iter().map(Vec::as_slice)).flat_map(ssh_string).collect();
        (name, blob)
    }

    /// The members of RFC 7638 §3.2, in lexicographic order.
    fn required_jwk_members(&self) -> Vec<(&'static str, String)> {
        let base64url = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let key = self.key_bytes();
        let coordinates = |curve: &str| {
            // Uncompressed point: 04, then two coordinates of the same length.
            let (x, y) = key.get(1..).map_or((&[][..], &[][..]), |xy| xy.split_at(xy.len() / 2));
            vec![("crv", curve.to_owned()), ("kty", "EC".to_owned()), ("x", base64url(x)), ("y", base64url(y))]
        };
        match self.algorithm().scheme() {
            Scheme::Ed25519 => {
                vec![("crv", "Ed25519".to_owned()), ("kty", "OKP".to_owned()), ("x", base64url(&key))]
            }
            Scheme::EcdsaP256 => coordinates("P-256"),
            Scheme::EcdsaP384 => coordinates("P-384"),
            Scheme::RsaPkcs1 | Scheme::RsaPss => {
                let (modulus, exponent) = self.rsa_parts();
                vec![("e", base64url(&exponent)), ("kty", "RSA".to_owned()), ("n", base64url(&modulus))]
            }
        }
    }

    /// What stands in the BIT STRING of the `SubjectPublicKeyInfo`.
    pub(crate) fn key_bytes(&self) -> Vec<u8> {
        SubjectPublicKeyInfoRef::from_der(self.spki_der())
            .ok()
            .and_then(|spki| spki.subject_public_key.as_bytes().map(<[u8]>::to_vec))
            .unwrap_or_default()
    }

    /// Modulus and public exponent, big endian, without leading zeros.
    fn rsa_parts(&self) -> (Vec<u8>, Vec<u8>) {
        let key = self.key_bytes();
        RsaPublicKey::from_der(&key).map_or((Vec::new(), Vec::new()), |decoded| {
            (decoded.modulus.as_bytes().to_vec(), decoded.public_exponent.as_bytes().to_vec())
        })
    }
}

pub(super) fn decode_pem(text: &str) -> Result<Vec<u8>, Malformed> {
    if text.len() > PEM_BYTES_MAX {
        return Err(PEM);
    }
    match der::pem::decode_vec(text.trim_ascii().as_bytes()) {
        Ok((PEM_LABEL, der)) => Ok(der),
        _ => Err(PEM),
    }
}

/// RFC 7518 §3.1, RFC 8037 §3.1; P-384 with SHA-256 has no name there and is called by its curve's own.
const fn jose_algorithm(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::EcdsaP256Sha256 => "ES256",
        Algorithm::EcdsaP384Sha256 | Algorithm::EcdsaP384Sha384 => "ES384",
        Algorithm::Ed25519 => "EdDSA",
        Algorithm::Rsa3072Pkcs1Sha256 | Algorithm::Rsa4096Pkcs1Sha256 => "RS256",
        Algorithm::Rsa3072PssSha256 | Algorithm::Rsa4096PssSha256 => "PS256",
    }
}

/// Values are base64url or fixed words, so nothing needs an escape.
fn json_object(members: &[(&str, String)]) -> String {
    let body: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
    format!("{{{}}}", body.join(","))
}

/// `string` of RFC 4251 §5: length as u32, then the bytes.
pub(crate) fn ssh_string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}

/// The bytes of a positive `mpint` of RFC 4251 §5: a zero before a set top bit.
pub(crate) fn mpint(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        bytes.insert(0, 0);
    }
    bytes
}
