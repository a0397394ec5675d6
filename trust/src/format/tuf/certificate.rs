//! The certificates of root's keys: whose repository they name, and whether they may still be begun with.
//!
//! Notary's roots are signed under certificates. Nobody certified them (the client signs its own), so what is held
//! against them is what they say: the repository's name, dates, and that they are not made with broken things.

mod issue;

use der::asn1::ObjectIdentifier;
use der::pem::LineEnding;
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;

pub use self::issue::UnsignedCertificate;
use super::{Authority, Gun, Key, KeyKind, RoleName, Root};

/// How much later than now a certificate's time may begin, in seconds: clocks differ.
const EARLY_SECONDS: i64 = 24 * 60 * 60;
/// The most certificates of one key.
const CHAIN_MAX: usize = 16;
/// Signatures over MD2, MD5 and SHA-1, with RSA, DSA and ECDSA (RFC 3279 §2.2, and OIW's name of the same).
const BROKEN: [ObjectIdentifier; 6] = [
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.2"),
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4"),
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"),
    ObjectIdentifier::new_unwrap("1.3.14.3.2.29"),
    ObjectIdentifier::new_unwrap("1.2.840.10040.4.3"),
    ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"),
];

/// Whether the end of a certificate's time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It may have ended: the root it stands in was taken when it had not.
    Counts,
    /// It may not have ended.
    Refused,
}

/// Those who speak for root of this repository: of its keys those whose certificates are good for it. `None` if there
/// are none.
pub(super) fn root_authority<'a>(
    root: &'a Root,
    gun: &Gun,
    now_unix_seconds: i64,
    ended: Ended,
) -> Option<Authority<'a>> {
    let authority = root.authority(&RoleName::Root)?.only(|key| is_good(key, gun, now_unix_seconds, ended));
    // Those that are good, and have another name for docker, sign in vain.
    (!authority.keys().is_empty()).then(|| authority.only(|key| is_found_by_go(key.public(), now_unix_seconds, ended)))
}

/// Whether docker and `notary` find signatures of this chain. They look for them under the name of what Go writes of it,
/// without the authorities that have ended: in other PEM, or behind those, it has another name.
fn is_found_by_go(pem: &[u8], now_unix_seconds: i64, ended: Ended) -> bool {
    let mut written = String::new();
    for (index, block) in Pem::iter_from_buffer(pem).enumerate() {
        let Ok(block) = block else { return false };
        let Ok((_, certificate)) = X509Certificate::from_der(&block.contents) else { return false };
        let has_ended = certificate.validity().not_after.timestamp() < now_unix_seconds;
        if index > 0 && has_ended && ended == Ended::Refused {
            return false;
        }
        let Ok(text) = der::pem::encode_string("CERTIFICATE", LineEnding::LF, &block.contents) else { return false };
        written.push_str(&text);
    }
    written.as_bytes() == pem
}

/// Whether a key is one of Notary's root keys of this repository.
fn is_good(key: &Key, gun: &Gun, now_unix_seconds: i64, ended: Ended) -> bool {
    matches!(key.kind(), Some(KeyKind::EcdsaX509 | KeyKind::RsaX509))
        && key.counts()
        && chain_is_good(key.public(), gun, now_unix_seconds, ended) == Some(true)
}

/// One leaf, which comes first, and whatever authorities behind it.
fn chain_is_good(pem: &[u8], gun: &Gun, now_unix_seconds: i64, ended: Ended) -> Option<bool> {
    let mut leaf = None;
    for (index, block) in Pem::iter_from_buffer(pem).enumerate() {
        let block = block.ok().filter(|block| block.label == "CERTIFICATE" && index < CHAIN_MAX)?;
        let (rest, certificate) = X509Certificate::from_der(&block.contents).ok()?;
        if !rest.is_empty() || certificate.is_ca() == (index == 0) {
            return None;
        }
        if index == 0 {
            leaf = Some(leaf_is_good(&certificate, gun, now_unix_seconds, ended)?);
        }
    }
    leaf
}

fn leaf_is_good(leaf: &X509Certificate<'_>, gun: &Gun, now_unix_seconds: i64, ended: Ended) -> Option<bool> {
    let mut names = leaf.subject().iter_common_name();
    let name = names.next()?.as_str().ok().filter(|_| names.next().is_none())?;
    let algorithm = leaf.signature_algorithm.algorithm.to_id_string();
    let begin = leaf.validity().not_before.timestamp();
    let end = leaf.validity().not_after.timestamp();
    let in_time = begin <= end
        && begin <= now_unix_seconds.saturating_add(EARLY_SECONDS)
        && (ended == Ended::Counts || end >= now_unix_seconds);
    Some(in_time && names_repository(name, gun) && !BROKEN.iter().any(|broken| broken.to_string() == algorithm))
}

/// The repository itself, or the beginning of its name and a star behind it.
fn names_repository(name: &str, gun: &Gun) -> bool {
    match name.strip_suffix('*') {
        Some(prefix) => gun.as_str().starts_with(prefix),
        None => name == gun.as_str(),
    }
}
