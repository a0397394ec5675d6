//! One page of rows, opened: what needs only the keys and the rows themselves.

use trust::{KeyId, KeyRef, KeyVersion, Sha256Digest};
use zeroize::Zeroizing;

use super::super::anchor::RowSum;
use super::super::crypto::Keys;
use super::super::published::{HeadSlot, read_slot};
use super::super::replay::Slot;
use super::super::stored::{self, Held, StoredKey, StoredLogKey, StoredState, Version};
use super::super::{KeyRecord, KeyState, LogKey, Provenance, layout};
use super::FAULTS_MAX;
use crate::store::{Row, RowKey};

/// The keyed hash of a key's name.
pub(super) type NameHash = [u8; 32];
/// The keyed hash of a public key.
pub(super) type PublicHash = [u8; 32];

/// What the rows of a page say.
pub(in super::super) struct Page {
    pub(in super::super) sum: RowSum,
    pub(super) contents: Vec<Content>,
    pub(in super::super) faults: Vec<String>,
}

/// What one row says.
pub(super) enum Content {
    Change(u64),
    Head([u8; 32], HeadSlot),
    Key(KeyId, KeyRecord, NameHash),
    LogKey(LogKey, Held),
    Name(NameHash, KeyId),
    /// A row that is read when it is wanted.
    Nothing,
    Provenance(Provenance),
    PublicKey(PublicHash, KeyRef),
    Replay([u8; 32], Slot, Held),
    State(KeyId, KeyState, Held),
    Version(KeyId, FoundVersion),
}

/// A version and where its public key has to stand.
pub(super) struct FoundVersion {
    pub(super) number: KeyVersion,
    pub(super) version: Version,
    pub(super) held: Held,
    pub(super) public: PublicHash,
}

impl Page {
    /// Opens every row.
    pub(in super::super) fn open(keys: &Keys, rows: Vec<(RowKey, Row)>) -> Self {
        let mut page = Self { sum: RowSum::default(), contents: Vec::with_capacity(rows.len()), faults: Vec::new() };
        for (key, row) in rows {
            page.take(keys, &key, row);
        }
        page
    }

    fn take(&mut self, keys: &Keys, key: &RowKey, row: Row) {
        let mut value = Zeroizing::new(row.value);
        let (kind, rest) = key.as_bytes().split_first().unwrap_or((&0, &[]));
        if matches!(*kind, layout::ANCHOR | layout::FORMAT) && rest.is_empty() {
            return;
        }
        let Some((plain, mark)) = keys.open_in_place(key, &mut value) else {
            return self.fault(format!("{} does not open: it was altered or moved", layout::describe(key)));
        };
        self.sum.add(keys, key, &mark);
        match read(keys, *kind, rest, plain, Held { revision: row.revision, mark }) {
            Some(content) => self.contents.push(content),
            None => self.fault(format!("{} does not read", layout::describe(key))),
        }
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }
}

fn read(keys: &Keys, kind: u8, rest: &[u8], plain: &[u8], held: Held) -> Option<Content> {
    Some(match kind {
        layout::CHANGE => Content::Change(u64::from_be_bytes(rest.try_into().ok()?)),
        layout::CHUNK | layout::FILE | layout::FILE_HASH | layout::GUN_CHANGE => Content::Nothing,
        layout::HEAD => Content::Head(rest.try_into().ok()?, read_slot(plain, held)?),
        layout::KEY => {
            let id = layout::read_key_id(rest)?;
            let record = StoredKey::decode(plain, id)?;
            let name = layout::name_hash(keys, &record.name);
            Content::Key(id, record, name)
        }
        layout::LOG => Content::LogKey(stored::decode::<StoredLogKey>(plain)?.read()?, held),
        layout::NAME => Content::Name(rest.try_into().ok()?, layout::read_key_id(plain)?),
        layout::PROVENANCE => Content::Provenance(stored::decode(plain)?),
        layout::PUBLIC => Content::PublicKey(rest.try_into().ok()?, layout::read_key_ref(plain)?),
        layout::REPLAY => Content::Replay(rest.try_into().ok()?, Slot::decode(plain)?, held),
        layout::STATE => {
            let state = stored::decode::<StoredState>(plain)?.read()?;
            Content::State(layout::read_key_id(rest)?, state, held)
        }
        layout::VERSION => {
            let key = layout::read_key_ref(rest)?;
            let version = Version::decode(plain)?;
            let public = layout::public_hash(keys, Sha256Digest::of(&version.spki_der));
            Content::Version(key.id, FoundVersion { number: key.version, version, held, public })
        }
        _ => return None,
    })
}
