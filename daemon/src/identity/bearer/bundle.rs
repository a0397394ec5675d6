//! The issuer's certificates: which keys of tokens are believed.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use thiserror::Error;
use trust::Sha256Digest;
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, anchor_from_trusted_cert};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION,
};
use x509_parser::prelude::FromDer as _;

use crate::config::ConfigFault;
use crate::tls;

/// The most certificates of the file.
const CERTIFICATES_MAX: usize = 64;
/// The longest chain of a token.
const CHAIN_MAX: usize = 8;
/// The letters of base32 (RFC 4648 §6).
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// A key's name has so many bytes of its hash, in groups of so many letters.
const NAME_BYTES: usize = 30;
const NAME_GROUP: usize = 4;

/// Why a key is not believed.
#[derive(Debug, Error)]
pub(crate) enum KeyRefusal {
    /// Neither `x5c` nor `kid`.
    #[error("it does not name its key")]
    Unnamed,
    /// No key of ours has that name.
    #[error("no certificate of the bundle has the key that it names")]
    Unknown,
    /// The chain cannot be read.
    #[error("its chain of certificates cannot be read")]
    Unreadable,
    /// The chain leads nowhere, or something in it has ended.
    #[error("its chain leads to no certificate of the bundle: {0}")]
    Chain(String),
    /// A kind of key that signs no tokens.
    #[error("its key is of a kind that is not accepted")]
    Kind,
}

/// Which signatures a key makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyFamily {
    P256,
    P384,
    P521,
    Rsa,
}

/// A key that is believed.
#[derive(Debug, Clone)]
pub(super) struct TokenKey {
    pub(super) family: KeyFamily,
    /// The point, or RSA's numbers: what stands in the `SubjectPublicKeyInfo`.
    pub(super) bytes: Vec<u8>,
}

/// Which file it was: another one in its place has another of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// The certificates of one reading.
#[derive(Debug, Clone)]
pub(super) struct Bundle {
    stamp: Option<Stamp>,
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    /// Which certificate has the key of this name.
    by_name: HashMap<String, usize>,
}

/// Tokens are signed by certificates for whatever use.
struct AnyUse;

impl ExtendedKeyUsageValidator for AnyUse {
    fn validate(&self, _uses: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

impl Bundle {
    /// Reads the file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigFault> {
        let bad = |what: String| ConfigFault { place: path.display().to_string(), what };
        // Taken before it is read: a change in between is then seen as one.
        let stamp = stamp(path);
        let certificates = tls::certificates(path).map_err(bad)?;
        if certificates.len() > CERTIFICATES_MAX {
            return Err(bad(format!("{} certificates, expected at most {CERTIFICATES_MAX}", certificates.len())));
        }
        let (mut anchors, mut by_name) = (Vec::new(), HashMap::new());
        for (index, der) in certificates.iter().enumerate() {
            let certificate = read(der).map_err(|_| bad("a certificate in it cannot be read".to_owned()))?;
            if key_of(&certificate).is_err() {
                return Err(bad(format!("the key of {} is neither RSA nor NIST's", certificate.subject())));
            }
            by_name.insert(name_of(certificate.public_key().raw), index);
            let anchor = anchor_from_trusted_cert(der).map_err(|error| bad(error.to_string()))?;
            anchors.push(anchor.to_owned());
        }
        Ok(Self { stamp, certificates, anchors, by_name })
    }

    /// Whether the file is the one it was read from.
    pub(super) fn is_of(&self, path: &Path) -> bool {
        self.stamp == stamp(path)
    }

    /// The same certificates, kept although the file is another one now.
    pub(super) fn as_of(&self, path: &Path) -> Self {
        Self { stamp: stamp(path), ..self.clone() }
    }

    /// The key that a certificate of the bundle has under this name.
    pub(super) fn by_name(&self, name: &str, now_unix_seconds: u64) -> Result<TokenKey, KeyRefusal> {
        let certificate = self.by_name.get(name).and_then(|index| self.certificates.get(*index));
        let certificate = read(certificate.ok_or(KeyRefusal::Unknown)?)?;
        in_time(&certificate, now_unix_seconds)?;
        key_of(&certificate)
    }

    /// The key of the first certificate of a chain: it is in the bundle itself, or the chain leads there.
    pub(super) fn by_chain(&self, chain: &[String], now_unix_seconds: u64) -> Result<TokenKey, KeyRefusal> {
        if chain.len() > CHAIN_MAX {
            return Err(KeyRefusal::Unreadable);
        }
        let decode = |text: &String| STANDARD.decode(text).map(CertificateDer::from);
        let chain = chain.iter().map(decode).collect::<Result<Vec<_>, _>>().map_err(|_| KeyRefusal::Unreadable)?;
        let (leaf, above) = chain.split_first().ok_or(KeyRefusal::Unreadable)?;
        let certificate = read(leaf)?;
        if self.certificates.contains(leaf) {
            in_time(&certificate, now_unix_seconds)?;
            return key_of(&certificate);
        }
        tls::one_way(above).map_err(KeyRefusal::Chain)?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now_unix_seconds));
        let refused = |error: webpki::Error| KeyRefusal::Chain(error.to_string());
        let end = EndEntityCert::try_from(leaf).map_err(refused)?;
        end.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &self.anchors, above, now, AnyUse, None, None)
            .map_err(refused)?;
        key_of(&certificate)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Stamp { inode: metadata.ino(), bytes: metadata.len(), changed: (metadata.ctime(), metadata.ctime_nsec()) })
}

fn read<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, KeyRefusal> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(KeyRefusal::Unreadable),
    }
}

fn in_time(certificate: &X509Certificate<'_>, now_unix_seconds: u64) -> Result<(), KeyRefusal> {
    let now = i64::try_from(now_unix_seconds).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    if (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now) {
        return Ok(());
    }
    Err(KeyRefusal::Chain("the certificate has ended or not begun".to_owned()))
}

fn key_of(certificate: &X509Certificate<'_>) -> Result<TokenKey, KeyRefusal> {
    let info = certificate.public_key();
    let curve = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    let family = if info.algorithm.algorithm == OID_PKCS1_RSAENCRYPTION {
        KeyFamily::Rsa
    } else if info.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        match curve {
            Some(curve) if curve == OID_EC_P256 => KeyFamily::P256,
            Some(curve) if curve == OID_NIST_EC_P384 => KeyFamily::P384,
            Some(curve) if curve == OID_NIST_EC_P521 => KeyFamily::P521,
            _ => return Err(KeyRefusal::Kind),
        }
    } else {
        return Err(KeyRefusal::Kind);
    };
    Ok(TokenKey { family, bytes: info.subject_public_key.data.to_vec() })
}

/// The name of a key as libtrust has it: 240 bits of the hash of its `SubjectPublicKeyInfo` in base32, in groups of four
/// letters between colons.
pub(super) fn name_of(spki_der: &[u8]) -> String {
    let digest = Sha256Digest::of(spki_der);
    let mut letters = Vec::new();
    for five in digest.as_bytes().iter().take(NAME_BYTES).copied().collect::<Vec<u8>>().chunks(5) {
        let bits = five.iter().fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
        letters.extend((0..8).rev().filter_map(|place| {
            let index = usize::try_from((bits >> (place * 5)) & 31).ok()?;
            BASE32.get(index).copied().map(char::from)
        }));
    }
    let groups: Vec<String> = letters.chunks(NAME_GROUP).map(|group| group.iter().collect()).collect();
    groups.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_name_is_twelve_groups_of_four_letters() {
        let name = name_of(b"");

        // SHA-256 of nothing: e3b0c442 98fc1c14 9afbf4c8 …, of which base32 begins 4OYMIQUY7QOBJGX3.
        assert!(name.starts_with("4OYM:IQUY:7QOB:JGX3:"), "{name}");
        assert_eq!(name.split(':').map(str::len).collect::<Vec<_>>(), [4; 12]);
    }
}
