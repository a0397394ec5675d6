//! How published trust data is written into rows.

use serde::{Deserialize, Serialize};
use trust::format::tuf::{Gun, RoleName, Version};
use trust::{KeyId, Sha256Digest};

use super::super::RecordError;
use super::super::stored::{decode, encode};
use super::feed::{Change, ChangeKind};
use super::{FileRef, Head, HeadSlot, OwnMarks};

#[derive(Serialize, Deserialize)]
struct StoredRef {
    version: u32,
    sha256: [u8; 32],
    length_bytes: u64,
    stored_at_unix_seconds: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredHead {
    gun: String,
    life: u32,
    serial: u64,
    files: Vec<(String, StoredRef)>,
    marks: Vec<(String, u32)>,
    buried: Option<StoredRef>,
    signers: Vec<[u8; 16]>,
    changes: u64,
    timestamp_ends_at_unix_seconds: i64,
}

/// A file; without bytes where they lie in chunks, for no file is empty.
#[derive(Serialize, Deserialize)]
struct StoredFile<'a> {
    sha256: [u8; 32],
    length_bytes: u64,
    stored_at_unix_seconds: u64,
    body: &'a [u8],
}

#[derive(Serialize, Deserialize)]
enum StoredKind {
    Update { version: u32, sha256: [u8; 32] },
    Deletion,
}

#[derive(Serialize, Deserialize)]
struct StoredChange {
    gun: String,
    made_at_unix_ms: u64,
    kind: StoredKind,
}

impl StoredRef {
    const fn of(place: &FileRef) -> Self {
        Self {
            version: place.version.number(),
            sha256: *place.sha256.as_bytes(),
            length_bytes: place.length_bytes,
            stored_at_unix_seconds: place.stored_at_unix_seconds,
        }
    }

    fn read(&self) -> Option<FileRef> {
        Some(FileRef {
            version: Version::new(u64::from(self.version))?,
            sha256: Sha256Digest::from_bytes(self.sha256),
            length_bytes: self.length_bytes,
            stored_at_unix_seconds: self.stored_at_unix_seconds,
        })
    }
}

/// The row of a head.
pub(super) fn write_head(gun: &Gun, head: &Head) -> Result<Vec<u8>, RecordError> {
    encode(&StoredHead {
        gun: gun.to_string(),
        life: head.life,
        serial: head.serial,
        files: head.files.iter().map(|(role, place)| (role.to_string(), StoredRef::of(place))).collect(),
        marks: head.marks.iter().map(|(role, version)| (role.to_string(), version.number())).collect(),
        buried: head.buried.as_ref().map(StoredRef::of),
        signers: head.signers.iter().map(|id| *id.as_bytes()).collect(),
        changes: head.changes,
        timestamp_ends_at_unix_seconds: head.timestamp_ends_at_unix_seconds,
    })
}

pub(super) fn read_head(plain: &[u8]) -> Option<(Gun, Head)> {
    let stored: StoredHead = decode(plain)?;
    let files = stored.files.iter().map(|(role, place)| Some((role.parse().ok()?, place.read()?)));
    let marks = stored.marks.iter().map(|(role, version)| {
        let version = Version::new(u64::from(*version))?;
        Some((role.parse().ok()?, version))
    });
    let head = Head {
        life: stored.life,
        serial: stored.serial,
        files: files.collect::<Option<_>>()?,
        marks: marks.collect::<Option<_>>()?,
        buried: match &stored.buried {
            Some(place) => Some(place.read()?),
            None => None,
        },
        signers: stored.signers.into_iter().map(KeyId::from_bytes).collect(),
        changes: stored.changes,
        timestamp_ends_at_unix_seconds: stored.timestamp_ends_at_unix_seconds,
    };
    Some((stored.gun.parse().ok()?, head))
}

/// What the index keeps of a head's row.
pub(in super::super) fn read_slot(plain: &[u8], held: super::Held) -> Option<HeadSlot> {
    let (_, head) = read_head(plain)?;
    Some(head.slot(held))
}

impl Head {
    /// What the index keeps of it.
    pub(in super::super) fn slot(&self, held: super::Held) -> HeadSlot {
        let stored_at = self.files.get(&RoleName::Timestamp);
        let timestamp = stored_at.map(|place| (place.stored_at_unix_seconds, self.timestamp_ends_at_unix_seconds));
        let mark = |role| self.marks.get(&role).copied();
        let marks = OwnMarks {
            snapshot: mark(RoleName::Snapshot),
            timestamp: mark(RoleName::Timestamp),
            is_alive: self.is_alive(),
        };
        HeadSlot { held, serial: self.serial, timestamp, marks }
    }
}

pub(super) fn write_file(place: &FileRef, body: &[u8]) -> Result<Vec<u8>, RecordError> {
    encode(&StoredFile {
        sha256: *place.sha256.as_bytes(),
        length_bytes: place.length_bytes,
        stored_at_unix_seconds: place.stored_at_unix_seconds,
        body,
    })
}

/// The file, with its bytes unless they lie in chunks.
pub(super) fn read_file(plain: &[u8], version: Version) -> Option<(FileRef, Option<Vec<u8>>)> {
    let stored: StoredFile<'_> = decode(plain)?;
    let place = FileRef {
        version,
        sha256: Sha256Digest::from_bytes(stored.sha256),
        length_bytes: stored.length_bytes,
        stored_at_unix_seconds: stored.stored_at_unix_seconds,
    };
    Some((place, (!stored.body.is_empty()).then(|| stored.body.to_vec())))
}

pub(super) fn write_version(version: Version) -> Result<Vec<u8>, RecordError> {
    encode(&version.number())
}

pub(super) fn read_version(plain: &[u8]) -> Option<Version> {
    Version::new(u64::from(decode::<u32>(plain)?))
}

pub(super) fn write_change(gun: &Gun, made_at_unix_ms: u64, kind: ChangeKind) -> Result<Vec<u8>, RecordError> {
    let kind = match kind {
        ChangeKind::Update { version, sha256 } => {
            StoredKind::Update { version: version.number(), sha256: *sha256.as_bytes() }
        }
        ChangeKind::Deletion => StoredKind::Deletion,
    };
    encode(&StoredChange { gun: gun.to_string(), made_at_unix_ms, kind })
}

/// Whose change it is.
pub(in super::super) fn gun_of_change(plain: &[u8]) -> Option<Gun> {
    decode::<StoredChange>(plain)?.gun.parse().ok()
}

pub(super) fn read_change(id: u64, plain: &[u8]) -> Option<Change> {
    let stored: StoredChange = decode(plain)?;
    let kind = match stored.kind {
        StoredKind::Update { version, sha256 } => {
            ChangeKind::Update { version: Version::new(u64::from(version))?, sha256: Sha256Digest::from_bytes(sha256) }
        }
        StoredKind::Deletion => ChangeKind::Deletion,
    };
    Some(Change { id, made_at_unix_ms: stored.made_at_unix_ms, gun: stored.gun.parse().ok()?, kind })
}
