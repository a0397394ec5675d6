//! Keys and published trust data as rows of a store of their own, for a backup.
//!
//! Keys are of one instant. Heads were read before them, and of a repository's other rows those come along that are not
//! younger than its head: nobody who goes on publishing gets into it by half.

use std::collections::HashMap;
use std::sync::Arc;

use trust::{KeyId, Sha256Digest};

use super::anchor::{Anchor, RowSum};
use super::index::Entry;
use super::stored::{self, StoredKey, StoredState};
use super::{LogAnchor, Open, Provenance, RecordError, layout, load};
use crate::store::{RowKey, Store};

/// Rows of a backup, made one page after the other.
pub(crate) struct Snapshot {
    open: Arc<Open>,
    store: Store,
    store_uuid: [u8; 16],
    entries: std::vec::IntoIter<Arc<Entry>>,
    key_count: usize,
    heads: std::vec::IntoIter<PlainRow>,
    /// The write that each repository's head is of.
    sequences: HashMap<[u8; 32], u64>,
    /// The kinds of published rows that are still to be read, the last one first.
    kinds: Vec<u8>,
    after: Option<RowKey>,
    /// What was read ahead.
    ahead: Vec<PlainRow>,
    is_ended: bool,
    sum: RowSum,
}

/// A row of a backup: its key and its sealed value.
pub(crate) type SnapshotRow = (RowKey, Vec<u8>);

/// A row that is not sealed yet.
type PlainRow = (RowKey, Vec<u8>);

/// The heads of all repositories, and the write that each is of.
pub(super) struct Heads {
    rows: Vec<PlainRow>,
    sequences: HashMap<[u8; 32], u64>,
}

/// Reads the heads of all repositories.
pub(super) async fn read_heads(store: &Store, open: &Open) -> Result<Heads, RecordError> {
    let mut heads = Heads { rows: Vec::new(), sequences: HashMap::new() };
    let mut after = None;
    loop {
        let page = store.scan(&[layout::HEAD], after.as_ref(), Snapshot::PAGE_ROWS).await?;
        let is_last = page.len() < Snapshot::PAGE_ROWS;
        after = page.last().map(|(key, _)| key.clone());
        for (key, row) in page {
            let read = open.keys.open(&key, row.value).zip(layout::gun_of(&key));
            let ((plain, mark), gun) = read.ok_or_else(|| altered(&key))?;
            heads.sequences.insert(gun, mark.sequence);
            heads.rows.push((key, plain.to_vec()));
        }
        if is_last {
            return Ok(heads);
        }
    }
}

impl Snapshot {
    /// A page is closed when its values have this many bytes.
    const PAGE_BYTES: usize = 512 * 1024;
    /// Rows that are read at once.
    const PAGE_ROWS: usize = 64;

    pub(super) fn new(
        open: Arc<Open>,
        store: Store,
        store_uuid: [u8; 16],
        entries: Vec<Arc<Entry>>,
        heads: Heads,
    ) -> Self {
        let key_count = entries.len();
        Self {
            open,
            store,
            store_uuid,
            entries: entries.into_iter(),
            key_count,
            heads: heads.rows.into_iter(),
            sequences: heads.sequences,
            kinds: layout::PUBLISHED.to_vec(),
            after: None,
            ahead: Vec::new(),
            is_ended: false,
            sum: RowSum::default(),
        }
    }

    /// How many keys it has.
    #[must_use]
    pub(crate) fn key_count(&self) -> usize {
        self.key_count
    }

    /// The store's uuid.
    #[must_use]
    pub(crate) fn store_uuid(&self) -> [u8; 16] {
        self.store_uuid
    }

    /// Reads what [`Snapshot::next_rows`] needs next from the store.
    ///
    /// # Errors
    /// [`RecordError::Closed`], [`RecordError::Damaged`].
    pub(crate) async fn read_ahead(&mut self) -> Result<(), RecordError> {
        while self.ahead.is_empty()
            && let Some(kind) = self.kinds.last()
        {
            let page = self.store.scan(&[*kind], self.after.as_ref(), Self::PAGE_ROWS).await?;
            self.after = page.last().map(|(key, _)| key.clone());
            if page.len() < Self::PAGE_ROWS {
                self.kinds.pop();
                self.after = None;
            }
            for (key, row) in page {
                let (plain, mark) = self.open.keys.open(&key, row.value).ok_or_else(|| altered(&key))?;
                if self.belongs(&key, &plain, mark.sequence)? {
                    self.ahead.push((key, plain.to_vec()));
                }
            }
        }
        Ok(())
    }

    /// The next rows of what was read ahead; none after the last, which are provenance, format and anchor.
    ///
    /// # Errors
    /// [`RecordError::Closed`] when the system gives no random bytes.
    pub(crate) fn next_rows(&mut self, provenance: &Provenance) -> Result<Option<Vec<SnapshotRow>>, RecordError> {
        let mut rows = Vec::new();
        let mut bytes = 0_usize;
        while bytes < Self::PAGE_BYTES {
            let before = rows.len();
            if let Some(entry) = self.entries.next() {
                self.add_key(&entry, &mut rows)?;
            } else if let Some((key, plain)) = self.heads.next().or_else(|| self.ahead.pop()) {
                self.add(key, &plain, &mut rows)?;
            } else {
                break;
            }
            let added = rows.iter().skip(before).map(|(_, value): &SnapshotRow| value.len()).sum();
            bytes = bytes.saturating_add(added);
        }
        if !rows.is_empty() || !self.kinds.is_empty() {
            return Ok(Some(rows));
        }
        if std::mem::replace(&mut self.is_ended, true) {
            return Ok(None);
        }
        let plain = stored::encode(provenance)?;
        self.add(layout::single(layout::PROVENANCE), &plain, &mut rows)?;
        rows.push((layout::single(layout::FORMAT), load::format_row(self.store_uuid)));
        // The import begins a new log: nothing of the old one is anchored.
        let anchor = Anchor { log: LogAnchor::empty(), sequence: 1, sum: self.sum };
        let key = layout::single(layout::ANCHOR);
        let (value, _) = self.open.keys.seal(&key, 1, &stored::encode(&anchor.stored())?)?;
        rows.push((key, value));
        Ok(Some(rows))
    }

    /// Whether a published row is not younger than its repository's head.
    fn belongs(&self, key: &RowKey, plain: &[u8], sequence: u64) -> Result<bool, RecordError> {
        let gun = match key.as_bytes().first() {
            Some(&layout::CHANGE) => {
                let gun = super::published::gun_of_change(plain).ok_or_else(|| altered(key))?;
                Some(layout::gun_hash(&self.open.keys, &gun))
            }
            _ => layout::gun_of(key),
        };
        Ok(gun.and_then(|gun| self.sequences.get(&gun)).is_some_and(|head| sequence <= *head))
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

fn altered(key: &RowKey) -> RecordError {
    RecordError::damaged(format!("{} does not open", layout::describe(key)))
}
