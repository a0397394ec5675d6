//! TUF 1.0 in its standard dialect, for reading: what other repositories than Notary's publish.
//!
//! What it has in common with Notary's dialect is the canonical form and the ideas. Keys have schemes, signatures and
//! hashes are hexadecimal, files are named by versions, delegations have patterns, and any text may be a role. A key's
//! name is whatever the repository calls it (the standard only recommends its hash), so what counts towards a
//! threshold is the key itself.
//!
//! Nothing is written in this dialect.

mod body;
mod client;
mod delegation;
mod key;

use super::{BYTES_MAX, Expires, SIGNATURES_MAX, Version, canonical};
use crate::Malformed;
use crate::format::json::{self, Value};

pub use self::body::{FileMeta, Root, Snapshot, Target, Targets, Timestamp};
pub use self::client::{Client, Distrust, Finding};
pub use self::delegation::{Delegation, Delegations};
pub use self::key::Key;
use body::Speakers;

/// The longest name of a role or a key, and the longest path of a target, in bytes.
const NAME_BYTES_MAX: usize = 1024;
/// The longest signature, in bytes: RSA-8192.
const SIGNATURE_BYTES_MAX: usize = 1024;
const WRONG: Malformed = Malformed::new("metadata", "the members of TUF 1.0, each of its type");

/// The four types of metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed set: TUF's four types")]
pub enum Kind {
    /// `root`
    Root,
    /// `snapshot`
    Snapshot,
    /// `targets`, of the top role and of every delegation.
    Targets,
    /// `timestamp`
    Timestamp,
}

/// A file of metadata, as it came, and what it says. Nobody has verified it yet.
#[derive(Debug, Clone)]
pub struct Metadata {
    raw: Vec<u8>,
    signed: Vec<u8>,
    signatures: Vec<(String, Vec<u8>)>,
    version: Version,
    expires: Expires,
    body: Body,
}

/// What a file says.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "closed set: TUF's four types")]
pub enum Body {
    /// Keys and thresholds of the four top roles.
    Root(Root),
    /// Which versions belong together.
    Snapshot(Snapshot),
    /// What is signed, and who else may sign.
    Targets(Targets),
    /// Which snapshot is the current one.
    Timestamp(Timestamp),
}

impl Metadata {
    /// Reads a file of this type.
    ///
    /// # Errors
    /// [`Malformed`] for what is none: another type, another major version of the standard, two signatures of one
    /// key's name, a version outside of 1 to 2³¹−2, more than [`BYTES_MAX`].
    pub fn read(kind: Kind, bytes: &[u8]) -> Result<Self, Malformed> {
        let value = json::read("metadata", bytes, BYTES_MAX)?;
        let signed = value.member("signed").ok_or(WRONG)?;
        let signatures = signatures(value.member("signatures").ok_or(WRONG)?)?;
        let spec = text(signed, "spec_version")?;
        if text(signed, "_type")? != kind.name() || !(spec == "1" || spec.starts_with("1.")) {
            return Err(Malformed::new("metadata", "its type in the words of TUF 1"));
        }
        let version = version(signed)?;
        let expires = text(signed, "expires")?.parse()?;
        let body = match kind {
            Kind::Root => Body::Root(Root::read(signed)?),
            Kind::Snapshot => Body::Snapshot(Snapshot::read(signed)?),
            Kind::Targets => Body::Targets(Targets::read(signed)?),
            Kind::Timestamp => Body::Timestamp(Timestamp::read(signed)?),
        };
        Ok(Self { raw: bytes.to_vec(), signed: canonical(signed), signatures, version, expires, body })
    }

    /// The file's bytes as they came.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Its version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Until when it counts.
    #[must_use]
    pub const fn expires(&self) -> &Expires {
        &self.expires
    }

    /// What it says.
    #[must_use]
    pub const fn body(&self) -> &Body {
        &self.body
    }

    /// Whether enough of those who may have signed it: each key counts once, whatever it is called.
    fn is_signed_by(&self, speakers: &Speakers<'_>) -> bool {
        speakers.are_enough(|name, key| {
            self.signatures.iter().any(|(signer, bytes)| signer == name && key.has_signed(&self.signed, bytes))
        })
    }
}

impl Kind {
    /// The word of `_type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
            Self::Timestamp => "timestamp",
        }
    }
}

/// The name of a role as a part of a file's name: what is no letter, digit or one of `-._~` is `%` and hexadecimal, so
/// that no name leads anywhere else.
#[must_use]
pub fn file_name(role: &str) -> String {
    let mut name = String::new();
    for byte in role.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => name.push(char::from(byte)),
            byte => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name
}

fn signatures(value: &Value) -> Result<Vec<(String, Vec<u8>)>, Malformed> {
    let lines = value.as_array().filter(|lines| lines.len() <= SIGNATURES_MAX).ok_or(WRONG)?;
    let mut signatures: Vec<(String, Vec<u8>)> = Vec::new();
    for line in lines {
        let name = text(line, "keyid")?;
        let bytes = unhex(text(line, "sig")?).filter(|bytes| bytes.len() <= SIGNATURE_BYTES_MAX).ok_or(WRONG)?;
        if signatures.iter().any(|(known, _)| known == name) {
            return Err(Malformed::new("metadata", "one signature of each key"));
        }
        signatures.push((name.to_owned(), bytes));
    }
    Ok(signatures)
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, Malformed> {
    value.member(name).and_then(Value::as_str).ok_or(WRONG)
}

fn version(value: &Value) -> Result<Version, Malformed> {
    let number = value.member("version").and_then(Value::as_u64).ok_or(WRONG)?;
    Version::new(number).ok_or(Malformed::new("version", "a number from 1 to 2^31-2"))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    hex::decode(text).ok()
}

/// A name of a role, a key or a target.
fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
}
