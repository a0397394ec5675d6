//! The thread that writes, and how rows lie in sled.
//!
//! One tree. Our own rows start with 0, callers' with 1. A value is its revision (8 bytes, big-endian) and the
//! caller's bytes.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use sled::{Batch, Db, IVec, Mode};
use tokio::sync::mpsc;

use super::ballast;
use super::barrier::{Barrier, sync_directory};
use super::conf::{self, Conf};
use super::{Shared, SledOptions, SledStore, Waiting};
use crate::disk;
use crate::store::{Change, OpenError, Revision, Row, RowKey, Store, StoreError, check_all};

const FORMAT_ROW: &[u8] = b"\0format";
const REVISION_ROW: &[u8] = b"\0revision";
const CALLER: u8 = 1;

/// The one writer.
pub(super) struct Engine {
    shared: Arc<Shared>,
    barrier: Barrier,
    directory: PathBuf,
    free_bytes_min: u64,
    last: u64,
}

/// Why a read did not answer.
#[derive(Debug)]
pub(super) enum ReadError {
    Engine(sled::Error),
    Short { key: Vec<u8> },
}

impl From<sled::Error> for ReadError {
    fn from(error: sled::Error) -> Self {
        Self::Engine(error)
    }
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> Self {
        let reason = match error {
            ReadError::Engine(error) => error.to_string(),
            ReadError::Short { key } => format!("row {} is shorter than its revision", hex::encode(key)),
        };
        Self::Damaged { reason: reason.into() }
    }
}

/// Where a row of a caller lies.
pub(super) fn tree_key(key: &RowKey) -> Vec<u8> {
    tree_prefix(key.as_bytes())
}

/// Where rows of a caller's prefix lie.
pub(super) fn tree_prefix(prefix: &[u8]) -> Vec<u8> {
    [&[CALLER], prefix].concat()
}

/// Splits a stored value.
pub(super) fn read_row(tree_key: &[u8], stored: &IVec) -> Result<Row, ReadError> {
    let (revision, value) = stored.split_first_chunk::<8>().ok_or(ReadError::Short { key: tree_key.to_vec() })?;
    Ok(Row { value: value.to_vec(), revision: Revision(u64::from_be_bytes(*revision)) })
}

/// Reads a page of rows.
pub(super) fn scan(
    tree: &Db,
    prefix: &[u8],
    after: Option<Vec<u8>>,
    limit: usize,
) -> Result<Vec<(RowKey, Row)>, ReadError> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let from = match after {
        Some(after) if after.as_slice() >= prefix => Excluded(after),
        _ => Included(prefix.to_vec()),
    };
    let mut rows = Vec::new();
    for item in tree.range::<Vec<u8>, _>((from, Unbounded)).take(limit) {
        let (key, value) = item?;
        if !key.starts_with(prefix) {
            break;
        }
        let row = read_row(&key, &value)?;
        let short = || ReadError::Short { key: key.to_vec() };
        let name = key.get(1..).and_then(|name| RowKey::new(name).ok()).ok_or_else(short)?;
        rows.push((name, row));
    }
    Ok(rows)
}

/// Makes an empty store.
pub(super) fn create(directory: &Path, options: SledOptions) -> Result<Engine, OpenError> {
    let system = |step, source| OpenError::System { step, path: directory.to_owned(), source };
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {
            let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
            sync_directory(parent.unwrap_or(Path::new("."))).map_err(|source| system("sync the parent of", source))?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mut entries = std::fs::read_dir(directory).map_err(|source| system("read", source))?;
            if entries.next().is_some() {
                return Err(OpenError::NotEmpty { path: directory.to_owned() });
            }
        }
        Err(source) => return Err(system("create", source)),
    }
    let tree = start_sled(directory, options)?;
    let mut batch = Batch::default();
    batch.insert(FORMAT_ROW, &SledStore::FORMAT.to_be_bytes());
    batch.insert(REVISION_ROW, &0_u64.to_be_bytes());
    apply(&tree, batch).map_err(|reason| OpenError::Damaged { path: directory.to_owned(), reason })?;
    conf::copy(directory).map_err(|source| system("copy conf in", source))?;
    ballast::lay(directory);
    let barrier = Barrier::open(directory).map_err(|source| system("sync", source))?;
    Ok(Engine::new(tree, barrier, directory, options, 0))
}

/// Opens what is there.
pub(super) fn open(directory: &Path, options: SledOptions) -> Result<Engine, OpenError> {
    let system = |step, source| OpenError::System { step, path: directory.to_owned(), source };
    let foreign = |reason| OpenError::Foreign { path: directory.to_owned(), reason };
    let is_empty = match std::fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(source) => return Err(system("read", source)),
    };
    if is_empty {
        return Err(OpenError::Missing { path: directory.to_owned() });
    }
    match std::fs::metadata(directory.join("db")) {
        Ok(metadata) if metadata.len() > 0 => {}
        Ok(_) => return Err(foreign("its file db is empty")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(foreign("it has no file db")),
        Err(source) => return Err(system("read db in", source)),
    }
    let conf = conf::check(directory).map_err(|source| system("check conf in", source))?;
    match conf {
        Conf::Whole | Conf::Uncopied => {}
        Conf::Restored => tracing::warn!(directory = %directory.display(), "conf was damaged and is restored"),
        Conf::Missing => return Err(foreign("it has no file conf, and no copy of it")),
    }
    let tree = start_sled_with_room(directory, options)?;
    let last = read_own_rows(&tree, directory)?;
    if conf == Conf::Uncopied {
        conf::copy(directory).map_err(|source| system("copy conf in", source))?;
    }
    ballast::lay(directory);
    let barrier = Barrier::open(directory).map_err(|source| system("sync", source))?;
    Ok(Engine::new(tree, barrier, directory, options, last))
}

/// Checks the format and reads the last revision.
fn read_own_rows(tree: &Db, directory: &Path) -> Result<u64, OpenError> {
    let path = || directory.to_owned();
    let read = |key: &[u8]| match catch_unwind(AssertUnwindSafe(|| tree.get(key))) {
        Ok(answer) => answer.map_err(|error| OpenError::Damaged { path: path(), reason: error.to_string() }),
        Err(_) => Err(OpenError::Damaged { path: path(), reason: "sled panicked".to_owned() }),
    };
    let unmade = OpenError::Foreign { path: path(), reason: "it was not made to its end; remove it and make it again" };
    let format = read(FORMAT_ROW)?.and_then(|value| value.as_ref().try_into().ok().map(u32::from_be_bytes));
    match format {
        Some(SledStore::FORMAT) => {}
        Some(found) if found > SledStore::FORMAT => {
            return Err(OpenError::TooNew { path: path(), found, known: SledStore::FORMAT });
        }
        Some(_) | None => return Err(unmade),
    }
    read(REVISION_ROW)?.and_then(|value| value.as_ref().try_into().ok().map(u64::from_be_bytes)).ok_or(unmade)
}

/// sled writes when it opens, which a full disk refuses: then the ballast goes and there is room.
fn start_sled_with_room(directory: &Path, options: SledOptions) -> Result<Db, OpenError> {
    match start_sled(directory, options) {
        Err(OpenError::System { source, .. })
            if source.kind() == io::ErrorKind::StorageFull && ballast::drop(directory) =>
        {
            start_sled(directory, options)
        }
        answer => answer,
    }
}

fn start_sled(directory: &Path, options: SledOptions) -> Result<Db, OpenError> {
    remove_unfinished_snapshots(directory).map_err(|source| OpenError::System {
        step: "remove an unfinished snapshot in",
        path: directory.to_owned(),
        source,
    })?;
    let config = sled::Config::default()
        .path(directory)
        .cache_capacity(options.cache_bytes_max)
        .mode(Mode::LowSpace)
        .flush_every_ms(None);
    let path = || directory.to_owned();
    let mut opened = catch_unwind(AssertUnwindSafe(|| config.open()));
    // sled's own threads can keep the lock a moment longer than the last handle.
    for _ in 0..LOCK_TRIES {
        if !matches!(&opened, Ok(Err(error)) if is_locked(error)) {
            break;
        }
        std::thread::sleep(LOCK_PAUSE);
        opened = catch_unwind(AssertUnwindSafe(|| config.open()));
    }
    match opened {
        Ok(Ok(tree)) => Ok(tree),
        Ok(Err(error)) if is_locked(&error) => Err(OpenError::Locked { path: directory.join("db") }),
        Ok(Err(sled::Error::Io(source))) => Err(OpenError::System { step: "open the store at", path: path(), source }),
        Ok(Err(error)) => Err(OpenError::Damaged { path: path(), reason: error.to_string() }),
        Err(_) => Err(OpenError::Damaged { path: path(), reason: "sled panicked".to_owned() }),
    }
}

/// What a kill or a full disk left of a snapshot that sled was writing: it would take it for the newest one and
/// call the database corrupt. The one before it, or the log itself, has everything.
fn remove_unfinished_snapshots(directory: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Hands a batch to sled and its files; not yet durable. A panic is an error.
fn apply(tree: &Db, batch: Batch) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(|| tree.apply_batch(batch).and_then(|()| tree.flush()))) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("sled panicked in a write".to_owned()),
    }
}

impl Engine {
    fn new(tree: Db, barrier: Barrier, directory: &Path, options: SledOptions, last: u64) -> Self {
        let shared = Arc::new(Shared { tree, closed: RwLock::new(None), wanted_bytes: AtomicU64::new(0) });
        Self { shared, barrier, directory: directory.to_owned(), free_bytes_min: options.free_bytes_min, last }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Commits groups until nobody can send any more.
    pub(super) fn run(mut self, mut inbox: mpsc::Receiver<Waiting>) {
        while let Some(first) = inbox.blocking_recv() {
            let mut bytes = bytes_of(&first);
            let mut group = vec![first];
            while group.len() < SledStore::GROUP_WRITES_MAX && bytes < Store::WRITE_BYTES_MAX {
                let Ok(next) = inbox.try_recv() else { break };
                bytes = bytes.saturating_add(bytes_of(&next));
                group.push(next);
            }
            self.commit(group, bytes);
        }
    }

    fn commit(&mut self, group: Vec<Waiting>, bytes: usize) {
        let mut batch = Batch::default();
        let mut pending = HashMap::new();
        let mut last = self.last;
        let mut answers = Vec::with_capacity(group.len());
        let admitted = self.shared.check_open().and_then(|()| self.check_space(bytes));
        for waiting in group {
            let next = Revision(last.saturating_add(1));
            let checked =
                admitted.clone().and_then(|()| check_all(&waiting.changes, next, |key| self.present(&pending, key)));
            let answer = checked.map(|()| {
                add(waiting.changes, next, &mut batch, &mut pending);
                last = next.number();
                next
            });
            answers.push((waiting.answer, answer));
        }
        // A conflict may rest on a change that is not durable yet, so nobody is answered before the barrier.
        let durable = if last > self.last { self.force(batch, last) } else { Ok(()) };
        for (waiting, answer) in answers {
            // Who has gone away does not hear; the write stands.
            let _ = waiting.send(durable.clone().and(answer));
        }
    }

    fn force(&mut self, mut batch: Batch, last: u64) -> Result<(), StoreError> {
        batch.insert(REVISION_ROW, &last.to_be_bytes());
        apply(&self.shared.tree, batch)
            .and_then(|()| self.barrier.pass().map_err(|error| error.to_string()))
            .map_err(|reason| self.shared.close(&reason))?;
        self.last = last;
        Ok(())
    }

    /// The revision a row is of now, or as the group's earlier writes leave it.
    fn present(
        &self,
        pending: &HashMap<RowKey, Option<Revision>>,
        key: &RowKey,
    ) -> Result<Option<Revision>, StoreError> {
        if let Some(pending) = pending.get(key) {
            return Ok(*pending);
        }
        let key = tree_key(key);
        match catch_unwind(AssertUnwindSafe(|| self.shared.tree.get(&key))) {
            Ok(Ok(None)) => Ok(None),
            Ok(Ok(Some(value))) => Ok(Some(read_row(&key, &value)?.revision)),
            Ok(Err(error)) => Err(ReadError::from(error).into()),
            Err(_) => Err(self.shared.close("sled panicked in a read")),
        }
    }

    /// sled does not survive the end of the disk in the middle of a write, so it is kept away from it.
    fn check_space(&self, bytes: usize) -> Result<(), StoreError> {
        let free = match disk::free_bytes(&self.directory) {
            Ok(free) => free,
            Err(errno) => return Err(self.shared.close(&format!("ask for the free space: {errno}"))),
        };
        // Twice: sled may write a page that a row is in again.
        let wanted = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(self.free_bytes_min);
        let is_full = free < wanted;
        self.shared.wanted_bytes.store(if is_full { wanted } else { 0 }, Ordering::Relaxed);
        if is_full { Err(StoreError::Full) } else { Ok(()) }
    }
}

fn bytes_of(waiting: &Waiting) -> usize {
    waiting.changes.iter().filter_map(Change::value).map(<[u8]>::len).sum()
}

fn add(changes: Vec<Change>, revision: Revision, batch: &mut Batch, pending: &mut HashMap<RowKey, Option<Revision>>) {
    for change in changes {
        match change {
            Change::Create { key, value } | Change::Replace { key, value, .. } => {
                batch.insert(tree_key(&key), [&revision.number().to_be_bytes(), value.as_slice()].concat());
                pending.insert(key, Some(revision));
            }
            Change::Remove { key, .. } => {
                batch.remove(tree_key(&key));
                pending.insert(key, None);
            }
        }
    }
}

/// How often a locked store is tried again: half a second in all.
const LOCK_TRIES: u32 = 50;
/// The pause between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}
