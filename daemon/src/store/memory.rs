//! A store in memory, for tests: nothing outlives it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Change, Revision, Row, RowKey, StoreError};

/// Rows in a map under one lock.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    rows: BTreeMap<RowKey, Row>,
    last: u64,
}

impl Memory {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        // A panic cannot leave a write half done: changes are checked first, then applied without a call that fails.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fetch(&self, key: &RowKey) -> Option<Row> {
        self.rows().rows.get(key).cloned()
    }

    pub(super) fn scan(&self, prefix: &[u8], after: Option<&RowKey>, limit: usize) -> Vec<(RowKey, Row)> {
        let from = match after {
            Some(after) if after.as_bytes() >= prefix => Bound::Excluded(after.as_bytes()),
            _ => Bound::Included(prefix),
        };
        let rows = self.rows();
        let found = rows.rows.range::<[u8], _>((from, Bound::Unbounded));
        found
            .take_while(|(key, _)| key.as_bytes().starts_with(prefix))
            .take(limit)
            .map(|(key, row)| (key.clone(), row.clone()))
            .collect()
    }

    pub(super) fn write(&self, changes: Vec<Change>) -> Result<Revision, StoreError> {
        let mut guard = self.rows();
        let rows = &mut *guard;
        let revision = Revision(rows.last.saturating_add(1));
        super::check_all(&changes, revision, |key| Ok(rows.rows.get(key).map(|row| row.revision)))?;
        rows.last = revision.0;
        for change in changes {
            match change {
                Change::Create { key, value } | Change::Replace { key, value, .. } => {
                    rows.rows.insert(key, Row { value, revision });
                }
                Change::Remove { key, .. } => {
                    rows.rows.remove(&key);
                }
            }
        }
        Ok(revision)
    }
}

/// Lets the map be searched by bytes; the order of [`RowKey`] is the order of its bytes.
impl std::borrow::Borrow<[u8]> for RowKey {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}
