//! What the four types of file say.

use std::collections::{BTreeMap, BTreeSet};

use super::delegation::Delegations;
use super::{Key, Kind, WRONG, is_name, unhex, version};
use crate::format::json::{Object, Value};
use crate::format::tuf::{Digester, Hashes, Version};
use crate::{Malformed, Sha256Digest};

/// The most keys of one file.
const KEYS_MAX: usize = 1024;

/// What a root says.
#[derive(Debug, Clone)]
pub struct Root {
    consistent_snapshot: bool,
    keys: BTreeMap<String, Key>,
    roles: BTreeMap<Kind, Threshold>,
}

/// Names of keys, and how many of those keys are needed.
#[derive(Debug, Clone)]
pub(super) struct Threshold {
    keys: BTreeSet<String>,
    number: u64,
}

/// Who speaks for a role: keys by their names, and how many of them are needed.
pub(super) struct Speakers<'a> {
    threshold: &'a Threshold,
    keys: &'a BTreeMap<String, Key>,
}

/// What a timestamp says.
#[derive(Debug, Clone)]
pub struct Timestamp {
    snapshot: FileMeta,
}

/// What a snapshot says: versions of files by the names of their roles.
#[derive(Debug, Clone)]
pub struct Snapshot {
    files: BTreeMap<String, FileMeta>,
}

/// What a targets file says.
#[derive(Debug, Clone)]
pub struct Targets {
    targets: BTreeMap<String, Target>,
    delegations: Delegations,
}

/// Which version of a file is the current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMeta {
    version: Version,
    length_bytes: Option<u64>,
    hashes: Option<Hashes>,
}

/// A thing that is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    length_bytes: u64,
    hashes: Hashes,
}

impl Root {
    pub(super) fn read(signed: &Value) -> Result<Self, Malformed> {
        let consistent_snapshot = match signed.present("consistent_snapshot") {
            None => false,
            Some(Value::Bool(truth)) => *truth,
            Some(_) => return Err(WRONG),
        };
        let keys = read_keys(signed.member("keys").ok_or(WRONG)?)?;
        let listed = signed.member("roles").ok_or(WRONG)?;
        let mut roles = BTreeMap::new();
        for kind in [Kind::Root, Kind::Snapshot, Kind::Targets, Kind::Timestamp] {
            roles.insert(kind, Threshold::read(listed.member(kind.name()).ok_or(WRONG)?)?);
        }
        Ok(Self { consistent_snapshot, keys, roles })
    }

    /// Whether files are named by versions, and targets by hashes.
    #[must_use]
    pub const fn consistent_snapshot(&self) -> bool {
        self.consistent_snapshot
    }

    pub(super) fn speakers(&self, kind: Kind) -> Option<Speakers<'_>> {
        Some(self.roles.get(&kind)?.of(&self.keys))
    }
}

impl Threshold {
    pub(super) fn read(role: &Value) -> Result<Self, Malformed> {
        let mut keys = BTreeSet::new();
        for name in role.member("keyids").and_then(Value::as_array).ok_or(WRONG)? {
            if !keys.insert(name.as_str().filter(|name| is_name(name)).ok_or(WRONG)?.to_owned()) {
                return Err(Malformed::new("metadata", "each key of a role once"));
            }
        }
        let number = role.member("threshold").and_then(Value::as_u64).filter(|number| *number > 0).ok_or(WRONG)?;
        Ok(Self { keys, number })
    }

    pub(super) const fn of<'a>(&'a self, keys: &'a BTreeMap<String, Key>) -> Speakers<'a> {
        Speakers { threshold: self, keys }
    }
}

impl Speakers<'_> {
    /// Whether those of them of whom `signed` says yes are enough.
    pub(super) fn are_enough(&self, signed: impl Fn(&str, &Key) -> bool) -> bool {
        let mut counted: BTreeSet<&[u8]> = BTreeSet::new();
        for name in &self.threshold.keys {
            let Some(key) = self.keys.get(name) else { continue };
            let Some(bare) = key.bare() else { continue };
            if !counted.contains(bare) && signed(name, key) {
                counted.insert(bare);
            }
        }
        u64::try_from(counted.len()).is_ok_and(|number| number >= self.threshold.number)
    }
}

pub(super) fn read_keys(value: &Value) -> Result<BTreeMap<String, Key>, Malformed> {
    let listed = value.as_object().filter(|listed| listed.len() <= KEYS_MAX).ok_or(WRONG)?;
    listed.iter().map(|(name, value)| Ok((name.clone(), Key::read(value)?))).collect()
}

impl Timestamp {
    pub(super) fn read(signed: &Value) -> Result<Self, Malformed> {
        let meta = signed.member("meta").and_then(|meta| meta.member("snapshot.json")).ok_or(WRONG)?;
        Ok(Self { snapshot: FileMeta::read(meta)? })
    }

    /// The current snapshot.
    #[must_use]
    pub const fn snapshot(&self) -> &FileMeta {
        &self.snapshot
    }
}

impl Snapshot {
    pub(super) fn read(signed: &Value) -> Result<Self, Malformed> {
        let mut files = BTreeMap::new();
        for (name, value) in signed.member("meta").and_then(Value::as_object).ok_or(WRONG)? {
            let role = name.strip_suffix(".json").filter(|role| is_name(role)).ok_or(WRONG)?;
            files.insert(role.to_owned(), FileMeta::read(value)?);
        }
        Ok(Self { files })
    }

    /// The files that belong together, by role.
    #[must_use]
    pub const fn files(&self) -> &BTreeMap<String, FileMeta> {
        &self.files
    }
}

impl Targets {
    pub(super) fn read(signed: &Value) -> Result<Self, Malformed> {
        let mut targets = BTreeMap::new();
        for (path, value) in signed.member("targets").and_then(Value::as_object).ok_or(WRONG)? {
            if !is_name(path) {
                return Err(WRONG);
            }
            let length_bytes = value.member("length").and_then(Value::as_u64).ok_or(WRONG)?;
            let hashes = hashes(value.member("hashes").and_then(Value::as_object).ok_or(WRONG)?)?;
            targets.insert(path.clone(), Target { length_bytes, hashes });
        }
        Ok(Self { targets, delegations: Delegations::read(signed.present("delegations"))? })
    }

    /// What is signed, by path.
    #[must_use]
    pub const fn targets(&self) -> &BTreeMap<String, Target> {
        &self.targets
    }

    /// Whom it lets sign.
    #[must_use]
    pub const fn delegations(&self) -> &Delegations {
        &self.delegations
    }
}

impl FileMeta {
    fn read(value: &Value) -> Result<Self, Malformed> {
        let length_bytes = value.present("length").map(|length| length.as_u64().ok_or(WRONG)).transpose()?;
        let hashes = value.present("hashes").map(|value| hashes(value.as_object().ok_or(WRONG)?)).transpose()?;
        Ok(Self { version: version(value)?, length_bytes, hashes })
    }

    /// The file's version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The file's length in bytes, if it is said: no more is read.
    #[must_use]
    pub const fn length_bytes(&self) -> Option<u64> {
        self.length_bytes
    }

    /// Whether these bytes have the length and the hashes that are said; the version is in the file.
    #[must_use]
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        self.length_bytes.is_none_or(|length| u64::try_from(bytes.len()).is_ok_and(|found| found == length))
            && self.hashes.as_ref().is_none_or(|hashes| hashes.are_of(bytes))
    }
}

impl Target {
    /// Its length in bytes.
    #[must_use]
    pub const fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    /// Its hashes.
    #[must_use]
    pub const fn hashes(&self) -> &Hashes {
        &self.hashes
    }

    /// Whether the thing that came in parts is this one.
    #[must_use]
    pub fn is_that(&self, thing: Digester) -> bool {
        thing.length_bytes() == self.length_bytes && self.hashes.are_those(thing)
    }

    /// Whether this is the thing: its length and each of its hashes.
    #[must_use]
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        u64::try_from(bytes.len()).is_ok_and(|length| length == self.length_bytes) && self.hashes.are_of(bytes)
    }
}

/// Of the hashes at least one that is known.
fn hashes(listed: &Object) -> Result<Hashes, Malformed> {
    let read = |name: &str| listed.get(name).map(|hash| hash.as_str().and_then(unhex).ok_or(WRONG)).transpose();
    let sha256 = read("sha256")?.map(|bytes| bytes.try_into().map_err(|_| WRONG)).transpose()?;
    let sha512 = read("sha512")?.map(|bytes| bytes.try_into().map_err(|_| WRONG)).transpose()?;
    Hashes::new(sha256.map(Sha256Digest::from_bytes), sha512)
}
