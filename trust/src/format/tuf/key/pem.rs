//! Keys that somebody brings in PEM: bare, or in a certificate, which then stays around the key.

use der::pem::LineEnding;
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;

use super::{Key, KeyKind, PUBLIC_BYTES_MAX, ec_point, rsa_numbers};
use crate::{Algorithm, Malformed, PublicKey};

/// What a file of a key holds.
const EXPECTED: Malformed =
    Malformed::new("public key", "one public key or certificate in PEM, of ECDSA, Ed25519 or RSA from 2048 bits");

impl Key {
    /// Reads the key of somebody who is to sign for a delegation, as docker and notary take it: `PUBLIC KEY` or
    /// `CERTIFICATE`, with docker's lines for the role before the body (RFC 1421 §4.4). Whether a certificate's time is over counts no more than for them when they verify: not at all.
    ///
    /// # Errors
    /// [`Malformed`] for anything else, a private key, and more than one block.
    pub fn read_pem(text: &[u8]) -> Result<Self, Malformed> {
        if text.len() > PUBLIC_BYTES_MAX {
            return Err(EXPECTED);
        }
        // No line of a body has a colon.
        let lines = std::str::from_utf8(text).map_err(|_| EXPECTED)?.lines().filter(|line| !line.contains(':'));
        let text = lines.collect::<Vec<_>>().join("\n");
        let mut blocks = Pem::iter_from_buffer(text.as_bytes());
        let block = blocks.next().and_then(Result::ok).ok_or(EXPECTED)?;
        if blocks.next().is_some() {
            return Err(EXPECTED);
        }
        match block.label.as_str() {
            "PUBLIC KEY" => bare(&block.contents),
            "CERTIFICATE" => certified(&block.contents),
            _ => Err(EXPECTED),
        }
    }
}

fn bare(spki: &[u8]) -> Result<Key, Malformed> {
    if ec_point(spki).is_some() {
        return Key::new(KeyKind::Ecdsa, spki.to_vec());
    }
    if rsa_numbers(spki).is_some() {
        return Key::new(KeyKind::Rsa, spki.to_vec());
    }
    Key::of(&PublicKey::from_spki_der(Algorithm::Ed25519, spki).map_err(|_| EXPECTED)?)
}

/// The certificate is written as Go writes it, so that it has the id that docker would give it.
fn certified(certificate: &[u8]) -> Result<Key, Malformed> {
    let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|_| EXPECTED)?;
    let spki = parsed.public_key().raw;
    let kind = match (ec_point(spki), rsa_numbers(spki)) {
        (Some(_), _) => KeyKind::EcdsaX509,
        (_, Some(_)) => KeyKind::RsaX509,
        _ => return Err(EXPECTED),
    };
    if !rest.is_empty() {
        return Err(EXPECTED);
    }
    let pem = der::pem::encode_string("CERTIFICATE", LineEnding::LF, certificate).map_err(|_| EXPECTED)?;
    Key::new(kind, pem.into_bytes())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

    use super::*;

    #[test]
    fn a_key_is_read_bare_and_in_its_certificate_as_one_key() {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = CertificateParams::default().self_signed(&pair).unwrap().pem();

        let bare = Key::read_pem(pair.public_key_pem().as_bytes()).unwrap();
        // Words around it, and lines of another length, are the file's and not the key's.
        let read = Key::read_pem(format!("of alice\r\n{}", certificate.replace('\n', "\r\n")).as_bytes()).unwrap();

        assert_eq!((bare.kind(), read.kind()), (Some(KeyKind::Ecdsa), Some(KeyKind::EcdsaX509)));
        assert_eq!(bare.canonical_id(), read.canonical_id());
        assert_eq!(read.public(), certificate.replace("\r\n", "\n").as_bytes());
        let with_role = pair.public_key_pem().replacen("KEY-----\n", "KEY-----\nrole: alice\n\n", 1);
        assert_eq!(Key::read_pem(with_role.as_bytes()).unwrap(), bare);
        let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        assert_eq!(Key::read_pem(ed25519.public_key_pem().as_bytes()).unwrap().kind(), Some(KeyKind::Ed25519));
    }

    #[test]
    fn a_private_key_two_keys_and_no_key_are_refused() {
        let pair = KeyPair::generate().unwrap();
        let twice = pair.public_key_pem() + &pair.public_key_pem();

        for text in [pair.serialize_pem(), twice, String::new(), "-----BEGIN PUBLIC KEY-----\nAA==\n".to_owned()] {
            assert_eq!(Key::read_pem(text.as_bytes()).unwrap_err(), EXPECTED, "{text}");
        }
        assert_eq!(Key::read_pem(&vec![b'a'; PUBLIC_BYTES_MAX + 1]).unwrap_err(), EXPECTED);
    }
}
