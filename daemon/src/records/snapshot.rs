//! The keys at one instant as rows of a store of their own, for a backup.

use std::sync::Arc;

use trust::{KeyId, Sha256Digest};

use super::anchor::{Anchor, RowSum};
use super::index::Entry;
use super::stored::{self, StoredKey, StoredState};
use super::{LogAnchor, Open, Provenance, RecordError, layout, load};
use crate::store::RowKey;

/// Rows of a backup, made one page after the other.
pub struct Snapshot {
    open: Arc<Open>,
    store_uuid: [u8; 16],
    entries: std::vec::IntoIter<Arc<Entry>>,
    key_count: usize,
    provenance: Option<Provenance>,
    sum: RowSum,
}

/// A row of a backup: its key and its sealed value.
pub type SnapshotRow = (RowKey, Vec<u8>);

impl Snapshot {
    /// A page is closed when its values have this many bytes.
    const PAGE_BYTES: usize = 512 * 1024;

    pub(super) fn new(open: Arc<Open>, store_uuid: [u8; 16], entries: Vec<Arc<Entry>>, provenance: Provenance) -> Self {
        let key_count = entries.len();
        let (entries, provenance) = (entries.into_iter(), Some(provenance));
        Self { open, store_uuid, entries, key_count, provenance, sum: RowSum::default() }
    }

    /// How many keys it has.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.key_count
    }

    /// The store's uuid.
    #[must_use]
    pub fn store_uuid(&self) -> [u8; 16] {
        self.store_uuid
    }

    /// The next rows; none after the last, which are provenance, format and anchor.
    ///
    /// # Errors
    /// [`RecordError::Closed`] when the system gives no random bytes.
    pub fn next_rows(&mut self) -> Result<Option<Vec<SnapshotRow>>, RecordError> {
        let mut rows = Vec::new();
        let mut bytes = 0_usize;
        while bytes < Self::PAGE_BYTES
            && let Some(entry) = self.entries.next()
        {
            let before = rows.len();
            self.add_key(&entry, &mut rows)?;
            let added = rows.iter().skip(before).map(|(_, value): &SnapshotRow| value.len()).sum();
            bytes = bytes.saturating_add(added);
        }
        if !rows.is_empty() {
            return Ok(Some(rows));
        }
        let Some(provenance) = self.provenance.take() else { return Ok(None) };
        let plain = stored::encode(&provenance)?;
        self.add(layout::single(layout::PROVENANCE), &plain, &mut rows)?;
        rows.push((layout::single(layout::FORMAT), load::format_row(self.store_uuid)));
        // The import begins a new log: nothing of the old one is anchored.
        let anchor = Anchor { log: LogAnchor::empty(), sequence: 1, sum: self.sum };
        let key = layout::single(layout::ANCHOR);
        let (value, _) = self.open.keys.seal(&key, 1, &stored::encode(&anchor.stored())?)?;
        rows.push((key, value));
        Ok(Some(rows))
    }

    fn add_key(&mut self, entry: &Entry, rows: &mut Vec<SnapshotRow>) -> Result<(), RecordError> {
        let id: KeyId = entry.record.id;
        let name = layout::name(&self.open.keys, &entry.record.name);
        self.add(name, id.as_bytes(), rows)?;
        self.add(layout::key(id), &StoredKey::encode(&entry.record)?, rows)?;
        self.add(layout::state(id), &stored::encode(&StoredState::of(&entry.state))?, rows)?;
        for (key, version, _) in entry.numbered() {
            let public = layout::public(&self.open.keys, Sha256Digest::of(&version.spki_der));
            self.add(public, &layout::key_ref_bytes(key), rows)?;
            self.add(layout::version(key), &version.encode()?, rows)?;
        }
        Ok(())
    }

    fn add(&mut self, key: RowKey, plain: &[u8], rows: &mut Vec<SnapshotRow>) -> Result<(), RecordError> {
        let (value, mark) = self.open.keys.seal(&key, 1, plain)?;
        self.sum.add(&self.open.keys, &key, &mark);
        rows.push((key, value));
        Ok(())
    }
}
