//! The embedded store: sled 0.34.7 with a barrier that holds.
//!
//! sled's `flush` only calls `sync_file_range`, which forces neither file size nor extents: a power cut lost
//! acknowledged rows or the whole database. So every group of writes ends in [`Barrier::pass`], and one thread
//! makes all groups. sled's own background flusher is off: nothing touches the files but this thread.

mod ballast;
mod barrier;
mod conf;
mod engine;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use self::engine::Engine;
use super::{Change, OpenError, Revision, Row, RowKey, StoreError, StoreTrouble};
use crate::disk;

/// How a sled store is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SledOptions {
    /// The most bytes sled's page cache may have. The records have their own index, so little is enough.
    pub(crate) cache_bytes_max: u64,
    /// Writes are refused with [`StoreError::Full`] while the disk has fewer free bytes than this, so that sled
    /// never meets the end of the disk itself and what is there can always be opened again.
    pub(crate) free_bytes_min: u64,
    /// The most writes that wait; more wait for a place in the queue.
    pub(crate) queue_writes_max: usize,
}

impl Default for SledOptions {
    fn default() -> Self {
        Self { cache_bytes_max: 16 * 1024 * 1024, free_bytes_min: 8 * 1024 * 1024, queue_writes_max: 1024 }
    }
}

/// A store in a directory.
#[derive(Debug)]
pub(crate) struct SledStore {
    directory: PathBuf,
    shared: Arc<Shared>,
    inbox: Option<mpsc::Sender<Waiting>>,
    writer: Option<JoinHandle<()>>,
}

/// A write and who waits for it.
struct Waiting {
    changes: Vec<Change>,
    answer: oneshot::Sender<Result<Revision, StoreError>>,
}

/// What readers and the writer share.
#[derive(Debug)]
struct Shared {
    tree: ::sled::Db,
    closed: RwLock<Option<Arc<str>>>,
    /// How many free bytes the last write wanted and did not find; 0 where it did.
    wanted_bytes: AtomicU64,
}

impl Shared {
    fn check_open(&self) -> Result<(), StoreError> {
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        closed.as_ref().map_or(Ok(()), |reason| Err(StoreError::Closed { reason: Arc::clone(reason) }))
    }

    /// Closes for good; the first reason stays.
    fn close(&self, reason: &str) -> StoreError {
        let mut closed = self.closed.write().unwrap_or_else(PoisonError::into_inner);
        let reason = closed.get_or_insert_with(|| {
            tracing::error!(reason, "store closed: nothing is written until trustd starts again");
            reason.into()
        });
        StoreError::Closed { reason: Arc::clone(reason) }
    }
}

impl SledStore {
    /// The newest store format this version reads; it writes this one.
    pub(crate) const FORMAT: u32 = 1;
    /// The most writes that share one barrier.
    const GROUP_WRITES_MAX: usize = 256;

    /// Makes an empty store in `directory`, which must be empty or not there yet (its parent must be).
    ///
    /// # Errors
    /// [`OpenError::NotEmpty`] when something is there; else [`OpenError::System`].
    pub(crate) fn create(directory: &Path, options: SledOptions) -> Result<Self, OpenError> {
        Self::start(directory, engine::create(directory, options)?, options)
    }

    /// Opens the store in `directory`. Never makes one.
    ///
    /// A damaged or missing `conf` of sled is restored from our copy, with a warning in the log.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is repaired and nothing else changes.
    pub(crate) fn open(directory: &Path, options: SledOptions) -> Result<Self, OpenError> {
        Self::start(directory, engine::open(directory, options)?, options)
    }

    pub(super) fn trouble(&self) -> Option<StoreTrouble> {
        if self.shared.check_open().is_err() {
            return Some(StoreTrouble::Closed);
        }
        match self.shared.wanted_bytes.load(Ordering::Relaxed) {
            0 => None,
            // Somebody may have made room since.
            wanted => disk::free_bytes(&self.directory).is_ok_and(|free| free < wanted).then_some(StoreTrouble::Full),
        }
    }

    fn start(directory: &Path, engine: Engine, options: SledOptions) -> Result<Self, OpenError> {
        let shared = engine.shared();
        let (inbox, outbox) = mpsc::channel(options.queue_writes_max.max(1));
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || engine.run(outbox))
            .map_err(|source| OpenError::System { step: "start the writer of", path: directory.to_owned(), source })?;
        Ok(Self { directory: directory.to_owned(), shared, inbox: Some(inbox), writer: Some(writer) })
    }

    pub(super) async fn fetch(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        let key = engine::tree_key(key);
        self.read(move |tree| tree.get(&key)?.map(|value| engine::read_row(&key, &value)).transpose()).await
    }

    pub(super) async fn scan(
        &self,
        prefix: &[u8],
        after: Option<&RowKey>,
        limit: usize,
    ) -> Result<Vec<(RowKey, Row)>, StoreError> {
        let (prefix, after) = (engine::tree_prefix(prefix), after.map(engine::tree_key));
        self.read(move |tree| engine::scan(tree, &prefix, after, limit)).await
    }

    pub(super) async fn write(&self, changes: Vec<Change>) -> Result<Revision, StoreError> {
        self.shared.check_open()?;
        let (answer, answered) = oneshot::channel();
        let gone = || self.shared.close("its writer is gone");
        let inbox = self.inbox.as_ref().ok_or_else(gone)?;
        inbox.send(Waiting { changes, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Runs a read off the async threads; a panic of sled closes the store.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&::sled::Db) -> Result<T, engine::ReadError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.shared.check_open()?;
        let shared = Arc::clone(&self.shared);
        match tokio::task::spawn_blocking(move || read(&shared.tree)).await {
            Ok(answer) => answer.map_err(StoreError::from),
            Err(panicked) if panicked.is_panic() => Err(self.shared.close("sled panicked in a read")),
            Err(_) => Err(StoreError::Closed { reason: "the process is ending".into() }),
        }
    }
}

impl Drop for SledStore {
    /// Waits for the writes that are under way, so that the directory is free on return.
    fn drop(&mut self) {
        drop(self.inbox.take());
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing more to say: every waiting write was answered when it ended.
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests;
