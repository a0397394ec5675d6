//! What the chunks of the file say: postcard, in the words of [`super::super::stored`].

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use trust::KeyId;
use trust::format::tuf::Version;
use zeroize::Zeroizing;

use super::super::anchor::Anchor;
use super::super::crypto::{ChunkPlace, Keys, RowMark};
use super::super::index::{Entry, Index};
use super::super::published::{HeadSlot, OwnMarks};
use super::super::replay::Slot;
use super::super::stored::{self, Held, StoredAnchor, StoredKey, StoredLogKey, StoredState, StoredVersion};
use super::super::{Provenance, RecordError};
use super::{Opened, Taken};
use crate::store::Revision;

/// One chunk.
#[derive(Serialize, Deserialize)]
pub(super) enum Chunk<'a> {
    Head(Box<Head>),
    #[serde(borrow)]
    Keys(Vec<SavedKey<'a>>),
    Replays(Vec<SavedReplay>),
    Heads(Vec<SavedSlot>),
}

/// The first chunk: of which rows the index was taken, and how much follows.
#[derive(Serialize, Deserialize)]
pub(super) struct Head {
    anchor: StoredAnchor,
    anchor_revision: u64,
    pub(super) keys: usize,
    pub(super) replays: usize,
    pub(super) heads: usize,
    last_change: u64,
    log_key: Option<(StoredLogKey, SavedHeld)>,
    provenance: Option<Provenance>,
}

/// Where a row lies.
#[derive(Serialize, Deserialize)]
pub(super) struct SavedHeld {
    revision: u64,
    nonce: [u8; 24],
    sequence: u64,
}

/// One key.
#[derive(Serialize, Deserialize)]
pub(super) struct SavedKey<'a> {
    id: [u8; 16],
    #[serde(borrow)]
    record: StoredKey<'a>,
    custodian: &'a str,
    state: StoredState,
    state_row: SavedHeld,
    #[serde(borrow)]
    versions: Vec<(StoredVersion<'a>, &'a str, SavedHeld)>,
}

/// One answer to an earlier request.
#[derive(Serialize, Deserialize)]
pub(super) struct SavedReplay {
    tag: [u8; 32],
    slot: Slot,
    held: SavedHeld,
}

/// One head.
#[derive(Serialize, Deserialize)]
pub(super) struct SavedSlot {
    hash: [u8; 32],
    serial: u64,
    timestamp: Option<(u64, i64)>,
    /// Of snapshot and timestamp; 0 without one.
    marks: [u32; 2],
    is_alive: bool,
    held: SavedHeld,
}

impl SavedSlot {
    pub(super) fn of((hash, slot): &([u8; 32], HeadSlot)) -> Self {
        let HeadSlot { held, serial, timestamp, marks } = slot;
        let number = |mark: Option<Version>| mark.map_or(0, Version::number);
        Self {
            hash: *hash,
            serial: *serial,
            timestamp: *timestamp,
            marks: [number(marks.snapshot), number(marks.timestamp)],
            is_alive: marks.is_alive,
            held: SavedHeld::of(held),
        }
    }

    fn read(&self) -> ([u8; 32], HeadSlot) {
        let [snapshot, timestamp] = self.marks.map(|number| Version::new(u64::from(number)));
        let marks = OwnMarks { snapshot, timestamp, is_alive: self.is_alive };
        (self.hash, HeadSlot { held: self.held.read(), serial: self.serial, timestamp: self.timestamp, marks })
    }
}

impl Head {
    pub(super) fn of(taken: &Taken) -> Result<Self, RecordError> {
        let log_key = taken.log_key.as_ref();
        let log_key = log_key.map(|(key, held)| StoredLogKey::of(key).map(|key| (key, SavedHeld::of(held))));
        Ok(Self {
            anchor: taken.anchor.stored(),
            anchor_revision: taken.anchor_revision.number(),
            keys: taken.entries.len(),
            replays: taken.replays.len(),
            heads: taken.heads.len(),
            last_change: taken.last_change,
            log_key: log_key.transpose()?,
            provenance: taken.provenance.clone(),
        })
    }

    /// Whether the index was taken of the rows that this anchor vouches for.
    pub(super) fn is_of(&self, anchor: &Anchor, revision: Revision) -> bool {
        self.anchor == anchor.stored() && self.anchor_revision == revision.number()
    }

    pub(super) fn put(self, index: &mut Index) -> Option<()> {
        index.log_key = match self.log_key {
            Some((key, held)) => Some((key.read()?, held.read())),
            None => None,
        };
        index.provenance = self.provenance;
        index.published.last_change = self.last_change;
        Some(())
    }
}

impl SavedHeld {
    fn of(held: &Held) -> Self {
        let RowMark { nonce, sequence } = held.mark;
        Self { revision: held.revision.number(), nonce, sequence }
    }

    fn read(&self) -> Held {
        let mark = RowMark { nonce: self.nonce, sequence: self.sequence };
        Held { revision: Revision::of(self.revision), mark }
    }
}

impl<'a> SavedKey<'a> {
    pub(super) fn of(entry: &'a Entry) -> Result<Self, RecordError> {
        let versions = entry.versions.iter();
        Ok(Self {
            id: *entry.record.id.as_bytes(),
            record: StoredKey::of(&entry.record),
            custodian: entry.record.custodian(),
            state: StoredState::of(&entry.state),
            state_row: SavedHeld::of(&entry.state_row),
            versions: versions
                .map(|(version, held)| {
                    StoredVersion::of(version).map(|stored| (stored, version.origin.name(), SavedHeld::of(held)))
                })
                .collect::<Result<_, _>>()?,
        })
    }

    /// About what it takes in a chunk: a scope has its bound, versions have none.
    pub(super) fn about_bytes(&self) -> usize {
        self.versions
            .iter()
            .map(|(version, ..)| version.about_bytes().saturating_add(64))
            .sum::<usize>()
            .saturating_add(256)
    }

    fn read(self) -> Option<Entry> {
        let record = self.record.read(KeyId::from_bytes(self.id), self.custodian)?;
        let versions = self.versions.into_iter();
        let versions = versions.map(|(version, origin, held)| Some((version.read(origin.parse().ok()?)?, held.read())));
        Some(Entry {
            record: Arc::new(record),
            state: self.state.read()?,
            state_row: self.state_row.read(),
            versions: versions.collect::<Option<_>>()?,
            parsed: OnceLock::new(),
        })
    }
}

impl SavedReplay {
    pub(super) fn of((tag, slot, held): &([u8; 32], Slot, Held)) -> Self {
        Self { tag: *tag, slot: *slot, held: SavedHeld::of(held) }
    }
}

/// Opens a chunk; none when it is not what was written there.
pub(super) fn open(keys: &Keys, place: &ChunkPlace, sealed: Vec<u8>) -> Option<Opened> {
    let mut sealed = Zeroizing::new(sealed);
    let chunk: Chunk<'_> = stored::decode(keys.open_chunk(place, &mut sealed)?)?;
    Some(match chunk {
        Chunk::Head(head) => Opened::Head(head),
        Chunk::Keys(saved) => Opened::Keys(saved.into_iter().map(SavedKey::read).collect::<Option<_>>()?),
        Chunk::Heads(saved) => Opened::Heads(saved.iter().map(SavedSlot::read).collect()),
        Chunk::Replays(saved) => {
            Opened::Replays(saved.into_iter().map(|saved| (saved.tag, saved.slot, saved.held.read())).collect())
        }
    })
}
