//! Reading every row at unseal, and noticing those that are not as they were left.

mod page;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc::{self, Sender};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use trust::{KeyId, KeyRef, KeyVersion};
use trust_hsm::Material;

use super::anchor::{Anchor, RowSum, xor};
use super::crypto::{Keys, RowMark};
use super::index::{Entry, Index};
use super::stored::{self, Held, StoredAnchor, Version};
use super::{KeyRecord, KeyState, LogAnchor, Records, UnsealError, layout};
use crate::store::{Change, Revision, RowKey, Store, StoreError};

pub(super) use page::Page;

use page::{Content, FoundVersion, NameHash, PublicHash};

/// How many faults are named.
const FAULTS_MAX: usize = 16;
/// Pages that wait to be sorted in, or are being opened.
const PAGES_MAX: usize = 8;
/// Rows of a page. A value has up to 512 KiB, so the longest page has 256 MiB, and a common one some 100 KiB.
const PAGE_ROWS: usize = 512;
const FORMAT_WORD: &[u8] = b"trustd records ";

/// The format row: a word, the format (4 bytes, big-endian), the store's uuid. In clear: it is read while sealed.
pub(super) fn format_row(store_uuid: [u8; 16]) -> Vec<u8> {
    [FORMAT_WORD, Records::FORMAT.to_be_bytes().as_slice(), &store_uuid].concat()
}

/// Whether the format row is of an older format; the row then, and which write it is from.
pub(super) async fn older_format(store: &Store) -> Result<Option<Revision>, StoreError> {
    let row = store.fetch(&layout::single(layout::FORMAT)).await?;
    let format = |row: &[u8]| row.strip_prefix(FORMAT_WORD)?.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes));
    Ok(row.filter(|row| format(&row.value).is_some_and(|format| format < Records::FORMAT)).map(|row| row.revision))
}

/// Reads the store's uuid. That it is the right one shows at unseal: every key is derived from it.
pub(super) async fn read_format(store: &Store) -> Result<[u8; 16], UnsealError> {
    let row = store.fetch(&layout::single(layout::FORMAT)).await?.ok_or(UnsealError::Missing)?;
    let rest = row.value.strip_prefix(FORMAT_WORD).ok_or(UnsealError::Missing)?;
    let (format, uuid) = rest.split_first_chunk::<4>().ok_or(UnsealError::Missing)?;
    match u32::from_be_bytes(*format) {
        1..=Records::FORMAT => uuid.try_into().map_err(|_| UnsealError::Missing),
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

/// Reads the anchor row, and which write it is from.
pub(super) async fn read_anchor(store: &Store, keys: &Keys) -> Result<(Anchor, Revision), UnsealError> {
    let key = layout::single(layout::ANCHOR);
    let row = store.fetch(&key).await?.ok_or_else(|| tampered("the anchor row is missing".to_owned()))?;
    let (plain, _) = keys.open(&key, row.value).ok_or(UnsealError::WrongKey)?;
    let stored: StoredAnchor = stored::decode(&plain).ok_or(UnsealError::WrongKey)?;
    Ok((Anchor::read(&stored), row.revision))
}

/// Reads and checks everything, on all processors: reading, opening and sorting in go on at the same time.
pub(super) async fn load(store: &Store, keys: &Arc<Keys>) -> Result<Index, UnsealError> {
    let (anchor, anchor_revision) = read_anchor(store, keys).await?;
    let mut found = Found::new(Index::new(anchor, anchor_revision));
    let (pages, mut opening) = mpsc::channel(PAGES_MAX);
    let mut readers = JoinSet::new();
    for part in Part::all() {
        readers.spawn(part.read(store.clone(), Arc::clone(keys), pages.clone()));
    }
    drop(pages);
    loop {
        tokio::select! {
            Some(ended) = readers.join_next() => ended.map_err(|error| broken(&error))??,
            Some(page) = opening.recv() => found.take(page.await.map_err(|error| broken(&error))?),
            else => break,
        }
    }
    if found.sum != found.index.anchor.sum {
        let named = name_exchanged(store, keys, found.index.anchor.sum, found.sum).await?;
        found.fault(named);
    }
    found.settle()
}

/// A part of the store that is read by itself: rows after one key and up to another, which is in it. The parts
/// together are the whole store, whatever is in it.
struct Part {
    after: Option<RowKey>,
    last: Option<RowKey>,
}

impl Part {
    /// The kinds of which there are many rows, each about in a part of its own.
    fn all() -> Vec<Self> {
        let edges = [layout::FILE_HASH, layout::FILE, layout::NAME, layout::PUBLIC, layout::STATE, layout::VERSION]
            .map(layout::single);
        let after = std::iter::once(None).chain(edges.iter().cloned().map(Some));
        let last = edges.iter().cloned().map(Some).chain(std::iter::once(None));
        after.zip(last).map(|(after, last)| Self { after, last }).collect()
    }

    /// Reads page after page and has each opened, while the next is read.
    async fn read(mut self, store: Store, keys: Arc<Keys>, pages: Sender<JoinHandle<Page>>) -> Result<(), StoreError> {
        loop {
            let mut rows = store.scan(&[], self.after.as_ref(), PAGE_ROWS).await?;
            let mut is_last = rows.len() < PAGE_ROWS;
            if let Some(last) = &self.last {
                let inside = rows.partition_point(|(key, _)| key <= last);
                is_last |= inside < rows.len();
                rows.truncate(inside);
            }
            self.after = rows.last().map(|(key, _)| key.clone());
            let keys = Arc::clone(&keys);
            let page = tokio::task::spawn_blocking(move || Page::open(&keys, rows));
            if pages.send(page).await.is_err() || is_last {
                // Whoever read the pages met a fault, or all is read.
                return Ok(());
            }
        }
    }
}

/// Why a task of the loading gave nothing.
fn broken(error: &JoinError) -> StoreError {
    let reason = if error.is_panic() {
        "its rows could not be read: this is a fault of trustd"
    } else {
        "the process is ending"
    };
    StoreError::Closed { reason: reason.into() }
}

fn tampered(fault: String) -> UnsealError {
    UnsealError::Tampered { faults: vec![fault] }
}

/// The rows read so far.
struct Found {
    index: Index,
    sum: RowSum,
    records: HashMap<KeyId, (KeyRecord, NameHash)>,
    states: HashMap<KeyId, (KeyState, Held)>,
    versions: HashMap<KeyId, Vec<FoundVersion>>,
    names: HashMap<NameHash, KeyId>,
    public_keys: HashMap<PublicHash, KeyRef>,
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

    /// Sorts a page in.
    fn take(&mut self, page: Page) {
        self.sum.join(&page.sum);
        for fault in page.faults {
            self.fault(fault);
        }
        for content in page.contents {
            match content {
                Content::Change(id) => {
                    let last = &mut self.index.published.last_change;
                    *last = id.max(*last);
                }
                Content::Head(hash, slot) => drop(self.index.published.heads.insert(hash, slot)),
                Content::Key(id, record, name) => drop(self.records.insert(id, (record, name))),
                Content::LogKey(log_key, held) => self.index.log_key = Some((log_key, held)),
                Content::Name(name, id) => drop(self.names.insert(name, id)),
                Content::Nothing => {}
                Content::Provenance(provenance) => self.index.provenance = Some(provenance),
                Content::PublicKey(public, key) => drop(self.public_keys.insert(public, key)),
                Content::Replay(tag, slot, held) => self.index.replays.put(tag, slot, held),
                Content::State(id, state, held) => drop(self.states.insert(id, (state, held))),
                Content::Version(id, version) => self.versions.entry(id).or_default().push(version),
            }
        }
    }

    /// Makes keys of the rows, naming each row that should be there and is not.
    fn settle(mut self) -> Result<Index, UnsealError> {
        let mut records: Vec<_> = std::mem::take(&mut self.records).into_iter().collect();
        // In their order the index takes them several times faster.
        records.sort_unstable_by_key(|(id, _)| *id);
        for (id, (record, name)) in records {
            if let Some(entry) = self.entry(id, record, name) {
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

    fn entry(&mut self, id: KeyId, record: KeyRecord, name: NameHash) -> Option<Entry> {
        if self.names.remove(&name) != Some(id) {
            self.fault(format!("the name row of key {id} is missing or another's"));
        }
        let mut versions = self.versions.remove(&id).unwrap_or_default();
        versions.sort_by_key(|version| version.number);
        let Some((state, state_row)) = self.states.remove(&id) else {
            self.fault(format!("{} is missing", layout::describe(&layout::state(id))));
            return None;
        };
        let numbers = std::iter::successors(Some(KeyVersion::FIRST), |version| version.next());
        for (expected, version) in numbers.zip(&versions) {
            let key = KeyRef { id, version: version.number };
            if expected != version.number {
                self.fault(format!("a version of key {id} before {} is missing", version.number));
                break;
            }
            if self.public_keys.remove(&version.public) != Some(key) {
                self.fault(format!("the public key row of {key} is missing or another's"));
            }
        }
        if versions.last().map(|version| version.number) != Some(state.newest) {
            let key = KeyRef { id, version: state.newest };
            self.fault(format!("{} is not the newest there is", layout::describe(&layout::version(key))));
        }
        let versions: Vec<_> = versions.into_iter().map(|found| (found.version, found.held)).collect();
        let record = placed(record, &versions);
        Some(Entry { record: Arc::new(record), state, state_row, versions, parsed: OnceLock::new() })
    }
}

/// Rows of before there were other custodians do not say where a key is; its versions do.
fn placed(record: KeyRecord, versions: &[(Version, Held)]) -> KeyRecord {
    let of = |material: &Material| match material {
        Material::Token(key) => Some(key.token.clone()),
        _ => None,
    };
    let token =
        record.token.clone().or_else(|| versions.iter().flat_map(|(version, _)| &version.materials).find_map(of));
    KeyRecord { token, ..record }
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
        is_last = page.len() < Store::SCAN_ROWS_MAX;
        after = page.last().map(|(key, _)| key.clone());
        for (key, row) in page {
            let Some((_, mark)) = keys.open(&key, row.value) else { continue };
            if is_extra && is_added(&key, &mark) {
                return Ok(format!("{} was put back", layout::describe(&key)));
            }
            if !is_extra && is_exchanged(&key, &mark) {
                let sequence = mark.sequence;
                return Ok(format!("{} is an older one, of write {sequence}", layout::describe(&key)));
            }
        }
    }
    Ok(match (left.rows.checked_sub(found.rows), found.rows.checked_sub(left.rows)) {
        (Some(0), _) => "several rows are not the ones that were written last".to_owned(),
        (Some(missing), _) => format!("{missing} rows are missing"),
        (None, extra) => format!("{} rows were put back", extra.unwrap_or_default()),
    })
}
