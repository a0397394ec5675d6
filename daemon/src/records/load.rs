//! Reading every row at unseal, and noticing those that are not as they were left.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use tokio::task::JoinHandle;
use trust::{KeyId, KeyRef, KeyVersion, Sha256Digest};

use super::anchor::{Anchor, RowSum, xor};
use super::crypto::{Keys, RowMark};
use super::index::{Entry, Index};
use super::replay::Slot;
use super::stored::{self, Held, StoredAnchor, StoredKey, StoredLogKey, StoredState, Version};
use super::{KeyRecord, KeyState, LogAnchor, Provenance, Records, UnsealError, layout};
use crate::store::{Change, Row, RowKey, Store, StoreError};

/// How many faults are named.
const FAULTS_MAX: usize = 16;
const FORMAT_WORD: &[u8] = b"trustd records ";

/// The format row: a word, the format (4 bytes, big-endian), the store's uuid. In clear: it is read while sealed.
pub(super) fn format_row(store_uuid: [u8; 16]) -> Vec<u8> {
    [FORMAT_WORD, Records::FORMAT.to_be_bytes().as_slice(), &store_uuid].concat()
}

/// Reads the store's uuid. That it is the right one shows at unseal: every key is derived from it.
pub(super) async fn read_format(store: &Store) -> Result<[u8; 16], UnsealError> {
    let row = store.fetch(&layout::single(layout::FORMAT)).await?.ok_or(UnsealError::Missing)?;
    let rest = row.value.strip_prefix(FORMAT_WORD).ok_or(UnsealError::Missing)?;
    let (format, uuid) = rest.split_first_chunk::<4>().ok_or(UnsealError::Missing)?;
    match u32::from_be_bytes(*format) {
        Records::FORMAT => uuid.try_into().map_err(|_| UnsealError::Missing),
        found if found > Records::FORMAT => Err(UnsealError::TooNew { found, known: Records::FORMAT }),
        _ => Err(UnsealError::Missing),
    }
}

/// Writes the first rows.
pub(super) async fn create(store: &Store, store_uuid: [u8; 16], keys: &Keys) -> Result<(), UnsealError> {
    if !store.scan(&[], None, 1).await?.is_empty() {
        return Err(UnsealError::NotEmpty);
    }
    let anchor = Anchor { log: LogAnchor::empty(), sequence: 1, sum: RowSum::default() };
    let key = layout::single(layout::ANCHOR);
    let sealed = stored::encode(&anchor.stored()).and_then(|plain| keys.seal(&key, anchor.sequence, &plain));
    let (value, _) = sealed.map_err(|error| UnsealError::Tampered { faults: vec![error.to_string()] })?;
    let format = Change::Create { key: layout::single(layout::FORMAT), value: format_row(store_uuid) };
    store.write(vec![format, Change::Create { key, value }]).await?;
    Ok(())
}

/// Reads and checks everything.
pub(super) async fn load(store: &Store, keys: &Keys) -> Result<Index, UnsealError> {
    let anchor_key = layout::single(layout::ANCHOR);
    let row = store.fetch(&anchor_key).await?.ok_or_else(|| tampered("the anchor row is missing".to_owned()))?;
    let (plain, _) = keys.open(&anchor_key, &row.value).ok_or(UnsealError::WrongKey)?;
    let stored: StoredAnchor = stored::decode(&plain).ok_or(UnsealError::WrongKey)?;
    let mut found = Found::new(Index::new(Anchor::read(&stored), row.revision));
    let mut reading = Some(read_page(store, None));
    while let Some(page) = reading.take() {
        let page = page.await.map_err(|_| ending())??;
        // The next page is read while this one is opened: a large store keeps two cores busy.
        if page.len() == Store::SCAN_ROWS_MAX {
            reading = page.last().map(|(key, _)| read_page(store, Some(key.clone())));
        }
        tokio::task::yield_now().await;
        for (key, row) in &page {
            found.take(keys, key, row);
        }
    }
    if found.sum != found.index.anchor.sum {
        let named = name_exchanged(store, keys, found.index.anchor.sum, found.sum).await?;
        found.fault(named);
    }
    found.settle(keys)
}

type Page = Result<Vec<(RowKey, Row)>, StoreError>;

fn read_page(store: &Store, after: Option<RowKey>) -> JoinHandle<Page> {
    let store = store.clone();
    tokio::spawn(async move { store.scan(&[], after.as_ref(), Store::SCAN_ROWS_MAX).await })
}

fn ending() -> StoreError {
    StoreError::Closed { reason: "the process is ending".into() }
}

fn tampered(fault: String) -> UnsealError {
    UnsealError::Tampered { faults: vec![fault] }
}

/// The rows read so far.
struct Found {
    index: Index,
    sum: RowSum,
    records: HashMap<KeyId, KeyRecord>,
    states: HashMap<KeyId, (KeyState, Held)>,
    versions: HashMap<KeyId, Vec<(KeyVersion, Version, Held)>>,
    names: HashMap<[u8; 32], KeyId>,
    public_keys: HashMap<[u8; 32], KeyRef>,
    faults: Vec<String>,
}

impl Found {
    fn new(index: Index) -> Self {
        Self {
            index,
            sum: RowSum::default(),
            records: HashMap::new(),
            states: HashMap::new(),
            versions: HashMap::new(),
            names: HashMap::new(),
            public_keys: HashMap::new(),
            faults: Vec::new(),
        }
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }

    fn take(&mut self, keys: &Keys, key: &RowKey, row: &Row) {
        let (kind, rest) = key.as_bytes().split_first().unwrap_or((&0, &[]));
        if matches!(*kind, layout::ANCHOR | layout::FORMAT) && rest.is_empty() {
            return;
        }
        let Some((plain, mark)) = keys.open(key, &row.value) else {
            return self.fault(format!("{} does not open: it was altered or moved", layout::describe(key)));
        };
        self.sum.add(keys, key, &mark);
        let held = Held { revision: row.revision, mark };
        if self.sort_in(*kind, rest, &plain, held).is_none() {
            self.fault(format!("{} does not read", layout::describe(key)));
        }
    }

    fn sort_in(&mut self, kind: u8, rest: &[u8], plain: &[u8], held: Held) -> Option<()> {
        match kind {
            layout::KEY => {
                let id = layout::read_key_id(rest)?;
                self.records.insert(id, stored::decode::<StoredKey>(plain)?.read(id)?);
            }
            layout::STATE => {
                let state = stored::decode::<StoredState>(plain)?.read()?;
                self.states.insert(layout::read_key_id(rest)?, (state, held));
            }
            layout::VERSION => {
                let key = layout::read_key_ref(rest)?;
                self.versions.entry(key.id).or_default().push((key.version, Version::decode(plain)?, held));
            }
            layout::NAME => {
                self.names.insert(rest.try_into().ok()?, layout::read_key_id(plain)?);
            }
            layout::PUBLIC => {
                self.public_keys.insert(rest.try_into().ok()?, layout::read_key_ref(plain)?);
            }
            layout::LOG => self.index.log_key = Some((stored::decode::<StoredLogKey>(plain)?.read()?, held)),
            layout::PROVENANCE => self.index.provenance = Some(stored::decode::<Provenance>(plain)?),
            layout::REPLAY => self.index.replays.put(rest.try_into().ok()?, Slot::decode(plain)?, held),
            _ => return None,
        }
        Some(())
    }

    /// Makes keys of the rows, naming each row that should be there and is not.
    fn settle(mut self, keys: &Keys) -> Result<Index, UnsealError> {
        let records = std::mem::take(&mut self.records);
        for (id, record) in records {
            if let Some(entry) = self.entry(keys, id, record) {
                self.index.put(Arc::new(entry));
            }
        }
        let strays: HashSet<KeyId> =
            self.states.keys().chain(self.versions.keys()).chain(self.names.values()).copied().collect();
        for id in strays {
            self.fault(format!("{} is missing", layout::describe(&layout::key(id))));
        }
        let strays: Vec<_> = self.public_keys.keys().map(|hash| RowKey::of_kind(layout::PUBLIC, *hash)).collect();
        for row in strays {
            self.fault(format!("{} belongs to no key version", layout::describe(&row)));
        }
        if self.faults.is_empty() { Ok(self.index) } else { Err(UnsealError::Tampered { faults: self.faults }) }
    }

    fn entry(&mut self, keys: &Keys, id: KeyId, record: KeyRecord) -> Option<Entry> {
        let name = layout::name_hash(keys, &record.name);
        if self.names.remove(&name) != Some(id) {
            self.fault(format!("the name row of key {id} is missing or another's"));
        }
        let mut versions = self.versions.remove(&id).unwrap_or_default();
        versions.sort_by_key(|(number, ..)| *number);
        let Some((state, state_row)) = self.states.remove(&id) else {
            self.fault(format!("{} is missing", layout::describe(&layout::state(id))));
            return None;
        };
        let numbers = std::iter::successors(Some(KeyVersion::FIRST), |version| version.next());
        for (expected, (number, version, _)) in numbers.zip(&versions) {
            let key = KeyRef { id, version: *number };
            if expected != *number {
                self.fault(format!("a version of key {id} before {number} is missing"));
                break;
            }
            let public = layout::public_hash(keys, Sha256Digest::of(&version.spki_der));
            if self.public_keys.remove(&public) != Some(key) {
                self.fault(format!("the public key row of {key} is missing or another's"));
            }
        }
        if versions.last().map(|(number, ..)| *number) != Some(state.newest) {
            let key = KeyRef { id, version: state.newest };
            self.fault(format!("{} is not the newest there is", layout::describe(&layout::version(key))));
        }
        let versions = versions.into_iter().map(|(_, version, held)| (version, held)).collect();
        Some(Entry { record: Arc::new(record), state, state_row, versions, parsed: OnceLock::new() })
    }
}

/// Tells which single row was put in or exchanged, where the difference of the sums tells.
async fn name_exchanged(store: &Store, keys: &Keys, left: RowSum, found: RowSum) -> Result<String, UnsealError> {
    let nonces = xor(left.nonces, found.nonces);
    let tags = xor(left.tags, found.tags);
    let is_extra = found.rows == left.rows.wrapping_add(1);
    let is_exchanged =
        |key: &RowKey, mark: &RowMark| xor(keys.tag(key, &mark.nonce), keys.tag(key, &xor(mark.nonce, nonces))) == tags;
    let is_added = |key: &RowKey, mark: &RowMark| mark.nonce == nonces && keys.tag(key, &mark.nonce) == tags;
    let mut after = None;
    let mut is_last = found.rows != left.rows && !is_extra;
    while !is_last {
        let page = store.scan(&[], after.as_ref(), Store::SCAN_ROWS_MAX).await?;
        for (key, row) in &page {
            let Some((_, mark)) = keys.open(key, &row.value) else { continue };
            if is_extra && is_added(key, &mark) {
                return Ok(format!("{} was put back", layout::describe(key)));
            }
            if !is_extra && is_exchanged(key, &mark) {
                let sequence = mark.sequence;
                return Ok(format!("{} is an older one, of write {sequence}", layout::describe(key)));
            }
        }
        is_last = page.len() < Store::SCAN_ROWS_MAX;
        after = page.into_iter().next_back().map(|(key, _)| key);
    }
    Ok(match (left.rows.checked_sub(found.rows), found.rows.checked_sub(left.rows)) {
        (Some(0), _) => "several rows are not the ones that were written last".to_owned(),
        (Some(missing), _) => format!("{missing} rows are missing"),
        (None, extra) => format!("{} rows were put back", extra.unwrap_or_default()),
    })
}
