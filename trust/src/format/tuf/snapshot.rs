//! Snapshot and timestamp: which files belong together, by their hashes and lengths.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256, Sha512};

use super::fields::{self, Fields};
use super::{RoleName, Unsound};
use crate::format::base64;
use crate::format::json::{Integer, Object, Value};
use crate::{Malformed, Sha256Digest};

/// Hashes of a file: at least one of the two that are known. Others are kept in the file and compared with nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashes {
    sha256: Option<Sha256Digest>,
    sha512: Option<[u8; 64]>,
}

/// The length and the hashes of a file that comes in parts.
#[derive(Debug, Clone, Default)]
pub struct Digester {
    length_bytes: u64,
    sha256: Sha256,
    sha512: Sha512,
}

/// Hashes and length of a metadata file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMeta {
    sha256: Sha256Digest,
    hashes: Hashes,
    length_bytes: u64,
}

/// What a snapshot says: the files that belong together.
#[derive(Debug, Clone)]
pub struct Snapshot {
    files: BTreeMap<RoleName, FileMeta>,
}

/// What a timestamp says: which snapshot is the current one.
#[derive(Debug, Clone)]
pub struct Timestamp {
    snapshot: FileMeta,
}

impl Hashes {
    pub(super) fn read(value: &Value) -> Result<Self, Malformed> {
        let fields = Fields::of(value, &["sha256", "sha512"])?;
        // Go reads those of other functions, too: where one is no base64, docker and notary read nothing of the file.
        fields.are_bytes()?;
        let sha256 = hash::<32>(&fields, "sha256")?.map(Sha256Digest::from_bytes);
        let sha512 = hash::<64>(&fields, "sha512")?;
        Self::new(sha256, sha512)
    }

    pub(super) fn new(sha256: Option<Sha256Digest>, sha512: Option<[u8; 64]>) -> Result<Self, Malformed> {
        if sha256.is_none() && sha512.is_none() {
            return Err(Malformed::new("metadata", "a hash sha256 or sha512 for each file"));
        }
        Ok(Self { sha256, sha512 })
    }

    /// SHA-256, if it is there.
    #[must_use]
    pub const fn sha256(&self) -> Option<Sha256Digest> {
        self.sha256
    }

    /// SHA-512, if it is there.
    #[must_use]
    pub const fn sha512(&self) -> Option<&[u8; 64]> {
        self.sha512.as_ref()
    }

    /// Whether each of them is that of the file that came in parts.
    pub(crate) fn are_those(&self, file: Digester) -> bool {
        self.sha256.is_none_or(|hash| *hash.as_bytes() == <[u8; 32]>::from(file.sha256.finalize()))
            && self.sha512.is_none_or(|hash| hash == <[u8; 64]>::from(file.sha512.finalize()))
    }

    /// Whether each of them is that of `bytes`.
    pub(crate) fn are_of(&self, bytes: &[u8]) -> bool {
        self.sha256.is_none_or(|hash| hash == Sha256Digest::of(bytes))
            && self.sha512.is_none_or(|hash| hash == <[u8; 64]>::from(Sha512::digest(bytes)))
    }
}

impl Digester {
    /// The next part.
    pub fn take(&mut self, part: &[u8]) {
        self.length_bytes = self.length_bytes.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
        self.sha256.update(part);
        self.sha512.update(part);
    }

    /// How many bytes came.
    #[must_use]
    pub const fn length_bytes(&self) -> u64 {
        self.length_bytes
    }
}

fn hash<const N: usize>(fields: &Fields<'_>, name: &str) -> Result<Option<[u8; N]>, Malformed> {
    let Some(text) = fields.text(name)? else { return Ok(None) };
    let bytes = base64::decode("metadata", text)?;
    bytes.try_into().map(Some).map_err(|_| Malformed::new("metadata", "hashes of their functions' lengths"))
}

impl FileMeta {
    /// `None` where the SHA-256, which every entry must have, is missing.
    fn read(value: &Value) -> Result<Option<Self>, Malformed> {
        let fields = Fields::of(value, &["hashes", "length"])?;
        let hashes = Hashes::read(fields.member("hashes").ok_or(fields::WRONG)?)?;
        let length_bytes = fields.number("length")?.ok_or(fields::WRONG)?;
        Ok(hashes.sha256.map(|sha256| Self { sha256, hashes, length_bytes }))
    }

    /// Hashes and length of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let sha256 = Sha256Digest::of(bytes);
        let hashes = Hashes { sha256: Some(sha256), sha512: Some(Sha512::digest(bytes).into()) };
        Self { sha256, hashes, length_bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX) }
    }

    /// The entry of a snapshot or a timestamp.
    pub(super) fn to_value(&self) -> Value {
        let text = |bytes: &[u8]| Value::from(base64::encode(bytes));
        let mut hashes = Object::from([("sha256".to_owned(), text(self.sha256.as_bytes()))]);
        hashes.extend(self.hashes.sha512.map(|hash| ("sha512".to_owned(), text(&hash))));
        let length = Integer::try_from(self.length_bytes).unwrap_or(Integer::MAX);
        Value::object([("hashes", hashes.into()), ("length", length.into())])
    }

    /// The file's SHA-256, under which it is fetched.
    #[must_use]
    pub const fn sha256(&self) -> Sha256Digest {
        self.sha256
    }

    /// The file's length in bytes: whoever fetches it reads no more.
    #[must_use]
    pub const fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    /// Whether this is the file: its length and each of its hashes.
    #[must_use]
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        u64::try_from(bytes.len()).is_ok_and(|length| length == self.length_bytes) && self.hashes.are_of(bytes)
    }
}

impl Snapshot {
    pub(super) fn read(signed: &Value) -> Result<Self, Unsound> {
        let meta = Fields::of(signed, &["meta"])?.object("meta")?.ok_or(fields::WRONG)?;
        let mut files = BTreeMap::new();
        for (name, value) in meta {
            let role = name.parse::<RoleName>()?;
            if matches!(role, RoleName::Snapshot | RoleName::Timestamp) {
                return Err(RoleName::Snapshot.breaks(format!("{role} is not among the files that it is of")));
            }
            let file = FileMeta::read(value)?.ok_or_else(|| missing(&RoleName::Snapshot, &role))?;
            files.insert(role, file);
        }
        for role in [RoleName::Root, RoleName::Targets] {
            if !files.contains_key(&role) {
                return Err(missing(&RoleName::Snapshot, &role));
            }
        }
        Ok(Self { files })
    }

    /// The files that belong together, by role.
    #[must_use]
    pub const fn files(&self) -> &BTreeMap<RoleName, FileMeta> {
        &self.files
    }
}

impl Timestamp {
    pub(super) fn read(signed: &Value) -> Result<Self, Unsound> {
        let meta = Fields::of(signed, &["meta"])?.member("meta").ok_or(fields::WRONG)?;
        let snapshot = Fields::of(meta, &["snapshot"])?.member("snapshot").map(FileMeta::read).transpose()?;
        let snapshot = snapshot.flatten().ok_or_else(|| missing(&RoleName::Timestamp, &RoleName::Snapshot))?;
        Ok(Self { snapshot })
    }

    /// The current snapshot.
    #[must_use]
    pub const fn snapshot(&self) -> &FileMeta {
        &self.snapshot
    }
}

fn missing(file: &RoleName, role: &RoleName) -> Unsound {
    file.breaks(format!("missing {role} sha256 checksum information"))
}
