//! Published trust data: per repository one head, and the files that it and its predecessors name.
//!
//! Only the head is ever replaced, in one write with the files that are new, so that a reader sees one publication or
//! the next. A file's rows are written once: by version with its bytes, and by hash with its version. What is beyond
//! [`INLINE_BYTES_MAX`] lies in chunks, written before. The index knows of a head which row it is and when its
//! timestamp ends; everything else is read when it is wanted (decision 16).

mod body;
mod feed;
mod plan;
mod proposal;
mod stamped;
mod stored;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use trust::format::tuf::{Document, Gun, RoleName, Version};
use trust::{KeyId, Sha256Digest};

use super::crypto::Keys;
use super::mutation::Mutation;
use super::stored::Held;
use super::{LogAnchor, Open, RecordError, Records, layout};

pub(crate) use self::feed::{Change, ChangeKind, Window};
pub(crate) use self::proposal::{Proposal, ProposalSigner, ProposedFile};

pub(super) use self::plan::{HeadDraft, Publishing};
pub(super) use self::stored::{gun_of_change, read_slot};

/// The longest file that lies in its own row, in bytes.
const INLINE_BYTES_MAX: usize = 64 * 1024;
/// The most bytes of files in the rows of one publication; what is beyond lies in chunks.
const INLINE_TOTAL_BYTES_MAX: usize = 1024 * 1024;

/// What is published of one repository, and what outlives it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Which of its lives, part of the name of each file's rows: one more with each beginning, for the first time or after a
    /// deletion.
    pub(crate) life: u32,
    /// One more with each change, from 1; 0 for one that was never written.
    pub(crate) serial: u64,
    /// The current file of each role; none after a deletion.
    pub(crate) files: BTreeMap<RoleName, FileRef>,
    /// The highest version that each role ever had, or that was reserved for it.
    pub(crate) marks: BTreeMap<RoleName, Version>,
    /// The last root of a repository that was deleted.
    pub(crate) buried: Option<FileRef>,
    /// Keys of the daemon that have been used for it, or are about to be.
    pub(crate) signers: BTreeSet<KeyId>,
    /// How many changes its feed has.
    pub(crate) changes: u64,
    /// Until when its timestamp counts, in seconds of Unix time; 0 without one.
    pub(crate) timestamp_ends_at_unix_seconds: i64,
    /// What waits for more signatures; at most one.
    pub(crate) proposal: Option<Box<Proposal>>,
}

/// A file that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileRef {
    /// Its version.
    pub(crate) version: Version,
    /// Of its bytes.
    pub(crate) sha256: Sha256Digest,
    /// How many bytes it has.
    pub(crate) length_bytes: u64,
    /// When it was stored: seconds since the Unix epoch.
    pub(crate) stored_at_unix_seconds: u64,
}

/// A file with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredFile {
    /// Which one.
    pub(crate) place: FileRef,
    /// As it was published.
    pub(crate) bytes: Vec<u8>,
}

/// What the index keeps of a head.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadSlot {
    pub(super) held: Held,
    pub(super) serial: u64,
    /// When the timestamp was stored, and until when it counts; none without one.
    pub(super) timestamp: Option<(u64, i64)>,
    pub(super) marks: OwnMarks,
}

/// The highest versions that those files ever had, or were reserved for them, that the daemon makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OwnMarks {
    /// Of the snapshot.
    pub(crate) snapshot: Option<Version>,
    /// Of the timestamp.
    pub(crate) timestamp: Option<Version>,
    /// Whether there is trust data now.
    pub(crate) is_alive: bool,
}

impl OwnMarks {
    /// Whether there is still what had a timestamp of this version at most: nothing has been deleted, or published, since.
    pub(crate) fn is_no_later_than(&self, timestamp: Version) -> bool {
        self.is_alive && self.timestamp <= Some(timestamp)
    }
}

/// Every head, by the keyed hash of its repository's name, and the last change of all.
#[derive(Debug, Default)]
pub(super) struct Published {
    pub(super) heads: HashMap<[u8; 32], HeadSlot>,
    pub(super) last_change: u64,
}

impl Published {
    pub(super) fn all(&self) -> Vec<([u8; 32], HeadSlot)> {
        self.heads.iter().map(|(hash, slot)| (*hash, *slot)).collect()
    }
}

impl FileRef {
    /// Of a file that is stored at `now`.
    #[must_use]
    pub(crate) fn of(file: &Document, now_unix_seconds: u64) -> Self {
        Self {
            version: file.version(),
            sha256: file.sha256(),
            length_bytes: u64::try_from(file.raw().len()).unwrap_or(u64::MAX),
            stored_at_unix_seconds: now_unix_seconds,
        }
    }
}

impl Head {
    /// Whether there is trust data now.
    #[must_use]
    pub(crate) fn is_alive(&self) -> bool {
        self.files.contains_key(&RoleName::Root)
    }

    /// Says that a role has, or is about to have, this version.
    pub(crate) fn raise(&mut self, role: &RoleName, version: Version) {
        let mark = self.marks.entry(role.clone()).or_insert(version);
        *mark = version.max(*mark);
    }

    /// Takes all files away, and what waits for signatures; versions go on behind their marks, and the last root with its
    /// owner.
    pub(crate) fn bury(&mut self) {
        self.buried = self.files.get(&RoleName::Root).copied();
        self.files.clear();
        self.proposal = None;
        self.timestamp_ends_at_unix_seconds = 0;
    }
}

impl Records {
    /// The head of a repository; one that was never written is empty, of serial 0.
    ///
    /// # Errors
    /// [`RecordError::Sealed`], [`RecordError::Closed`], [`RecordError::Damaged`].
    pub(crate) async fn head(&self, gun: &Gun) -> Result<Head, RecordError> {
        let open = self.opened()?;
        let hash = layout::gun_hash(&open.keys, gun);
        if let Some(head) = self.head_once(&open, gun, hash).await? {
            return Ok(head);
        }
        // Replaced between the looks at index and store: a row is there before the index knows of it, for as long as the
        // disk takes. Behind the gate nobody writes.
        let _gate = self.0.gate.lock().await;
        self.head_once(&open, gun, hash).await?.ok_or_else(|| not_as_left("the head of a repository"))
    }

    /// None where the row is of another write than the index says.
    async fn head_once(&self, open: &Open, gun: &Gun, hash: [u8; 32]) -> Result<Option<Head>, RecordError> {
        let Some(slot) = self.read(|index| index.published.heads.get(&hash).copied())? else {
            return Ok(Some(Head::default()));
        };
        let row = self.0.store.fetch(&layout::head(hash)).await?;
        if row.as_ref().is_some_and(|row| row.revision != slot.held.revision) {
            return Ok(None);
        }
        let read = row.and_then(|row| open.keys.open(&layout::head(hash), row.value));
        let read = read.filter(|(_, mark)| *mark == slot.held.mark);
        let head = read.and_then(|(plain, _)| stored::read_head(&plain)).filter(|(named, _)| named == gun);
        head.map(|(_, head)| Some(head)).ok_or_else(|| not_as_left("the head of a repository"))
    }

    /// The serial of a repository's head, 0 for none: another one than that of a head that was read means that it has
    /// changed since. Never blocks on a disk.
    ///
    /// # Errors
    /// [`RecordError::Sealed`].
    pub(crate) fn head_serial(&self, gun: &Gun) -> Result<u64, RecordError> {
        let open = self.opened()?;
        let hash = layout::gun_hash(&open.keys, gun);
        self.read(|index| index.published.heads.get(&hash).map_or(0, |slot| slot.serial))
    }

    /// The marks of the files that the daemon makes for a repository; none where nothing was ever published. Never
    /// blocks on a disk.
    ///
    /// # Errors
    /// [`RecordError::Sealed`].
    pub(crate) fn own_marks(&self, gun: &Gun) -> Result<OwnMarks, RecordError> {
        let open = self.opened()?;
        let hash = layout::gun_hash(&open.keys, gun);
        self.read(|index| index.published.heads.get(&hash).map(|slot| slot.marks).unwrap_or_default())
    }

    /// Puts a head in the place of the one of serial `head.serial`, with the files that are new, as one write. The
    /// change, if there is one, is added to the feeds.
    ///
    /// # Errors
    /// [`RecordError::Moved`] when the head is of another serial; [`RecordError::TooLarge`] for a head with too many
    /// roles; as [`Records::create_key`].
    pub(crate) async fn publish(
        &self,
        gun: &Gun,
        head: Head,
        files: &[Document],
        change: Option<ChangeKind>,
        anchor: LogAnchor,
    ) -> Result<Head, RecordError> {
        self.raise_format().await?;
        let open = self.opened()?;
        let place = Place::of(&open.keys, gun, head.life);
        let now_unix_ms = self.0.clock.now_unix_ms();
        let mut rows = Vec::new();
        let mut inline_bytes = 0_usize;
        for file in files {
            let fits = inline_bytes.saturating_add(file.raw().len()) <= INLINE_TOTAL_BYTES_MAX;
            let is_inline = fits && file.raw().len() <= INLINE_BYTES_MAX;
            if is_inline {
                inline_bytes = inline_bytes.saturating_add(file.raw().len());
            } else {
                self.keep_chunks(&open.keys, &place, file).await?;
            }
            rows.extend(place.rows_of(&open.keys, file, now_unix_ms / 1000, is_inline)?);
        }
        let mut next = head;
        let expected = next.serial;
        next.serial = expected.saturating_add(1);
        next.changes = next.changes.saturating_add(u64::from(change.is_some()));
        let change = change.map(|kind| (kind, now_unix_ms));
        let publishing = Publishing { hash: place.gun, gun: gun.clone(), expected, head: next.clone(), rows, change };
        self.change(Mutation::Publish(Box::new(publishing)), Some(anchor), None).await?;
        Ok(next)
    }

    /// A file of a repository by its version.
    ///
    /// # Errors
    /// As [`Records::head`].
    pub(crate) async fn file(
        &self,
        gun: &Gun,
        life: u32,
        role: &RoleName,
        version: Version,
    ) -> Result<Option<StoredFile>, RecordError> {
        let open = self.opened()?;
        let place = Place::of(&open.keys, gun, life);
        let key = layout::file(&place.gun, life, &layout::role_hash(&open.keys, role), version.number());
        let Some(row) = self.0.store.fetch(&key).await? else { return Ok(None) };
        let damaged = || not_as_left(&layout::describe(&key));
        let (plain, _) = open.keys.open(&key, row.value).ok_or_else(damaged)?;
        let (place_in, body) = stored::read_file(&plain, version).ok_or_else(damaged)?;
        let bytes = match body {
            Some(bytes) => bytes,
            None => self.chunks(&open.keys, &place, role, &place_in).await?,
        };
        if Sha256Digest::of(&bytes) != place_in.sha256 {
            return Err(damaged());
        }
        Ok(Some(StoredFile { place: place_in, bytes }))
    }

    /// The version of the file of a repository's role that has this hash.
    ///
    /// # Errors
    /// As [`Records::head`].
    pub(crate) async fn version_of(
        &self,
        gun: &Gun,
        life: u32,
        role: &RoleName,
        sha256: Sha256Digest,
    ) -> Result<Option<Version>, RecordError> {
        let open = self.opened()?;
        let place = Place::of(&open.keys, gun, life);
        let key = layout::file_hash(&place.gun, life, &layout::role_hash(&open.keys, role), &sha256);
        let Some(row) = self.0.store.fetch(&key).await? else { return Ok(None) };
        let damaged = || not_as_left(&layout::describe(&key));
        let (plain, _) = open.keys.open(&key, row.value).ok_or_else(damaged)?;
        stored::read_version(&plain).map(Some).ok_or_else(damaged)
    }
}

/// Where the rows of one life of a repository lie.
#[derive(Debug, Clone, Copy)]
struct Place {
    gun: [u8; 32],
    life: u32,
}

impl Place {
    fn of(keys: &Arc<Keys>, gun: &Gun, life: u32) -> Self {
        Self { gun: layout::gun_hash(keys, gun), life }
    }

    /// The two rows of a file.
    fn rows_of(
        &self,
        keys: &Keys,
        file: &Document,
        now_unix_seconds: u64,
        is_inline: bool,
    ) -> Result<Vec<(crate::store::RowKey, Vec<u8>)>, RecordError> {
        let place = FileRef::of(file, now_unix_seconds);
        let role = layout::role_hash(keys, file.role());
        let body = if is_inline { file.raw() } else { &[] };
        Ok(vec![
            (layout::file(&self.gun, self.life, &role, place.version.number()), stored::write_file(&place, body)?),
            (layout::file_hash(&self.gun, self.life, &role, &place.sha256), stored::write_version(place.version)?),
        ])
    }
}

fn not_as_left(what: &str) -> RecordError {
    RecordError::damaged(format!("{what} is not as it was left"))
}
