//! The audit log: what was decided and signed, in a Merkle tree that cannot be
//! rewritten unnoticed. No durable leaf, no signature.
//!
//! Durable is the framed file ([`frames`]); hashes, tiles and checkpoints derive
//! from it. Audit is evidence, not logging.

mod batch;
mod error;
mod files;
mod frames;
mod hashes;
mod leaf;
mod publisher;
mod recovery;
mod refusals;
mod trust_data;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use trust::Sha256Digest;
use trust::tlog::{ENTRY_BYTES_MAX, SignedCheckpoint, VerifierKey, consistency_proof, inclusion_proof, root_at};

use crate::clock::Clock;
use crate::disk;

pub(crate) use batch::batch_root;
pub(crate) use error::{AuditError, OpenError};
pub(crate) use leaf::{
    BatchBody, DistrustBody, Ended, InitLeaf, IntentLeaf, Leaf, OutcomeLeaf, PolicyLeaf, RecoveryLeaf, RefusalLeaf,
    StartLeaf, SubjectBody,
};
pub(crate) use publisher::LogSigner;
pub(crate) use recovery::{History, KeyOperation, KeyOperations, OpenIntent};
pub(crate) use trust_data::{Highest, Said, Testimony, Versions};

use batch::Batches;
use error::{FramesError, closed, full_or_damaged, outside};
use frames::Frames;
use hashes::Hashes;
use publisher::Published;
use refusals::Refusals;
use writer::Shared;

/// With so many free bytes a disk that was full is so no longer.
const FULL_BYTES: u64 = 1024 * 1024;

/// Index of a leaf, from 0.
pub(crate) type LeafIndex = u64;

/// Where the framed entries stand, below the log's directory.
const ENTRIES: &str = "entries";
/// Where the item lists of batches stand.
const BATCHES: &str = "batches";

/// How the log is opened.
#[derive(Debug, Clone)]
pub(crate) struct AuditConfig {
    /// The log's directory, 0700.
    pub(crate) directory: PathBuf,
    /// The log's name: a bare host name.
    pub(crate) origin: String,
    /// Entries that may wait for the writer.
    pub(crate) waiting_max: usize,
    /// Below so many free bytes no refusal is written any more (D15).
    pub(crate) free_bytes_min: u64,
}

/// The open log. Cheap to share behind an `Arc`; dropping it writes what waits.
pub(crate) struct Audit {
    shared: Arc<Shared>,
    published: Arc<Published>,
    refusals: Refusals,
    batches: Arc<Batches>,
    config: AuditConfig,
    clock: Clock,
    writer: Mutex<Option<JoinHandle<()>>>,
    intents: AtomicU64,
}

/// A log that has been read and belongs to nobody yet.
pub(crate) struct ReadLog {
    config: AuditConfig,
    frames: Frames,
    hashes: Hashes,
    history: History,
}

/// A leaf's proof in the tree of a signed checkpoint.
#[derive(Debug, Clone)]
pub(crate) struct InclusionProof {
    /// The leaf's bytes.
    pub(crate) entry: Vec<u8>,
    /// From the leaf to the root.
    pub(crate) hashes: Vec<Sha256Digest>,
    /// The checkpoint whose tree holds it.
    pub(crate) checkpoint: Arc<SignedCheckpoint>,
}

impl Audit {
    /// Makes a log in an existing empty directory, with its first leaf durable.
    pub(crate) fn create(directory: &Path, first: InitLeaf) -> Result<(), OpenError> {
        let entries = directory.join(ENTRIES);
        for made in [&entries, &directory.join(BATCHES)] {
            make_private(made)?;
        }
        let mut frames = Frames::create(&entries)?;
        let bytes = Leaf::Init(first).to_bytes().unwrap_or_default();
        frames.append(&[bytes])?;
        frames.flush()?;
        files::sync_directory(directory)?;
        Ok(())
    }

    /// Reads the whole log. Blocks; nobody needs to know yet whose it is.
    pub(crate) fn read(config: AuditConfig) -> Result<ReadLog, OpenError> {
        let mut history = History::default();
        let mut hashes = Hashes::new(&config.directory);
        let mut failed = None;
        let frames = Frames::open(&config.directory.join(ENTRIES), |index, entry| {
            hashes.append(entry);
            history.read(index, entry);
            if let Err(error) = hashes.settle() {
                failed.get_or_insert(error);
            }
        })?;
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(ReadLog { config, frames, hashes, history }),
        }
    }

    /// Opens the log of the store `store` that has been read, and starts its writer.
    /// The history says what was open and what was completed.
    pub(crate) fn open(read: ReadLog, store: &[u8; 16], clock: Clock) -> Result<(Self, History), OpenError> {
        let ReadLog { config, frames, hashes, history } = read;
        if !history.belongs_to(store, &config.origin) {
            return Err(OpenError::Foreign { path: config.directory });
        }
        let promised = publisher::last_promise(&config.directory);
        if let Some(promised) = &promised
            && root_at(promised.size, |node| hashes.read(node)).ok() != Some(promised.root)
        {
            return Err(OpenError::Shortened {
                path: config.directory,
                leaves: hashes.size(),
                promised: promised.size,
            });
        }
        let published =
            Arc::new(Published::new(&config.directory, &config.origin, promised.map_or(0, |promised| promised.size)));
        let shared = Arc::new(Shared::new(frames, hashes, config.waiting_max));
        let writer = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("audit".to_owned())
                .spawn(move || writer::run(&shared))
                .map_err(OpenError::Thread)?
        };
        let audit = Self {
            shared,
            published,
            refusals: Refusals::default(),
            batches: Arc::new(Batches::at(config.directory.join(BATCHES))),
            config,
            clock,
            intents: AtomicU64::new(0),
            writer: Mutex::new(Some(writer)),
        };
        Ok((audit, history))
    }

    /// Derives tiles and checkpoints as the log grows, and writes refusals down by the minute. Never returns by itself.
    pub(crate) async fn publish(self: Arc<Self>) {
        let publisher = publisher::run(Arc::clone(&self.shared), Arc::clone(&self.published));
        let refusals = async {
            loop {
                tokio::time::sleep(std::time::Duration::from_secs(5)).await;
                self.write_refusals(self.clock.now_unix_ms());
            }
        };
        tokio::join!(publisher, refusals);
    }

    /// Appends a leaf; when this returns, it is on disk.
    pub(crate) async fn append(&self, leaf: Leaf) -> Result<LeafIndex, AuditError> {
        let is_intent = matches!(leaf, Leaf::Intent(_));
        let bytes = bytes_of(&leaf)?;
        let place = self.place().await?;
        let (answer, index) = oneshot::channel();
        self.shared.push(bytes, Some(answer), Some(place))?;
        let index = index.await.map_err(|_| closed())??;
        if is_intent {
            self.intents.fetch_add(1, Ordering::Relaxed);
        }
        Ok(index)
    }

    /// Appends a leaf that is flushed with the next group, a few milliseconds later at most. Waits only for a place.
    pub(crate) async fn append_soon(&self, leaf: Leaf) -> Result<(), AuditError> {
        let bytes = bytes_of(&leaf)?;
        let place = self.place().await?;
        self.shared.push(bytes, None, Some(place))
    }

    /// Notes a refusal; never waits, and is bounded (D15).
    pub(crate) fn refuse(&self, refusal: RefusalLeaf) {
        if let Some(first) = self.refusals.count(refusal) {
            self.write_refusal(first);
        }
    }

    /// Makes the item list of a batch durable under its root, before the leaf that names it (D13).
    pub(crate) async fn keep_batch(&self, items: Vec<Vec<u8>>) -> Result<BatchBody, AuditError> {
        let batches = Arc::clone(&self.batches);
        tokio::task::spawn_blocking(move || batches.keep(&items)).await.map_err(|_| closed())?.map_err(full_or_damaged)
    }

    /// Size and root of the durable tree.
    pub(crate) fn durable(&self) -> (u64, Sha256Digest) {
        let hashes = self.shared.hashes.read().unwrap_or_else(PoisonError::into_inner);
        (hashes.size(), hashes.root())
    }

    /// The root the tree had at `size`.
    pub(crate) fn root_at(&self, size: u64) -> Result<Sha256Digest, AuditError> {
        let hashes = self.shared.hashes.read().unwrap_or_else(PoisonError::into_inner);
        if size > hashes.size() {
            return Err(AuditError::Outside);
        }
        root_at(size, |node| hashes.read(node)).map_err(|_| AuditError::Outside)
    }

    /// Gives the log's key, or takes it away while the daemon is sealed.
    pub(crate) fn set_signer(&self, signer: Option<LogSigner>) {
        self.published.set_signer(signer);
    }

    /// The newest signed checkpoint and the key it is signed with: of everything that is durable now, or none. Where the
    /// disk has no room for it, that is said at once.
    pub(crate) async fn checkpoint(&self) -> Result<(Arc<SignedCheckpoint>, VerifierKey), AuditError> {
        let key = self.published.verifier_key().ok_or(AuditError::NoCheckpoint)?;
        let size = *self.shared.durable.borrow();
        Ok((self.checkpoint_of(size).await?, key))
    }

    /// Proves `leaf` in the tree of a checkpoint that holds it; waits for one to be signed.
    pub(crate) async fn inclusion(&self, leaf: LeafIndex) -> Result<InclusionProof, AuditError> {
        if leaf >= *self.shared.durable.borrow() {
            return Err(AuditError::Outside);
        }
        let checkpoint = self.checkpoint_of(leaf.saturating_add(1)).await?;
        let mut entries = self.entries(leaf, 1, usize::MAX).await?;
        let entry = entries.pop().ok_or(AuditError::Outside)?;
        let hashes = self.shared.hashes.read().unwrap_or_else(PoisonError::into_inner);
        let proof = inclusion_proof(leaf, checkpoint.checkpoint().size, |node| hashes.read(node));
        Ok(InclusionProof { entry, hashes: proof.map_err(outside)?, checkpoint })
    }

    /// Proves that the tree of `from` leaves is the beginning of the tree of `to` leaves.
    pub(crate) fn consistency(&self, from: u64, to: u64) -> Result<Vec<Sha256Digest>, AuditError> {
        let hashes = self.shared.hashes.read().unwrap_or_else(PoisonError::into_inner);
        if to > hashes.size() {
            return Err(AuditError::Outside);
        }
        consistency_proof(from, to, |node| hashes.read(node)).map_err(outside)
    }

    /// Up to `count` leaves from `first` on, at most `bytes_max` bytes of them (one in any case).
    pub(crate) async fn entries(
        &self,
        first: LeafIndex,
        count: u64,
        bytes_max: usize,
    ) -> Result<Vec<Vec<u8>>, AuditError> {
        let size = *self.shared.durable.borrow();
        let count = count.min(size.saturating_sub(first));
        if count == 0 {
            return Ok(Vec::new());
        }
        let window = self.shared.frames.lock().unwrap_or_else(PoisonError::into_inner).window(first);
        tokio::task::spawn_blocking(move || window.read(count, bytes_max))
            .await
            .map_err(|_| closed())?
            .map_err(AuditError::Damaged)
    }

    /// How many leaves wait for the writer.
    pub(crate) fn waiting(&self) -> usize {
        self.config.waiting_max.saturating_sub(self.shared.places.available_permits())
    }

    /// How many groups were flushed since the start.
    pub(crate) fn groups(&self) -> u64 {
        self.shared.groups.load(Ordering::Relaxed)
    }

    /// How many intents are on disk since the start.
    pub(crate) fn intents(&self) -> u64 {
        self.intents.load(Ordering::Relaxed)
    }

    /// Free bytes on the log's disk; 0 where it does not say.
    pub(crate) fn free_bytes(&self) -> u64 {
        disk::free_bytes(&self.config.directory).unwrap_or(0)
    }

    /// The last write met a full disk, and there still is no room; or a quota, which the free bytes do not show, as long as
    /// something waits for it.
    pub(crate) fn is_full(&self) -> bool {
        self.shared.full.load(Ordering::Relaxed) && (self.free_bytes() < FULL_BYTES || self.waiting() > 0)
    }

    /// A flush failed: the log takes nothing until the daemon starts again.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.is_broken()
    }

    /// A signed checkpoint of at least `size` leaves.
    async fn checkpoint_of(&self, size: u64) -> Result<Arc<SignedCheckpoint>, AuditError> {
        if self.published.verifier_key().is_none() {
            return Err(AuditError::NoCheckpoint);
        }
        let (mut newest, mut signs) = (self.published.newest.subscribe(), self.published.signs.subscribe());
        let mut kept_out = self.published.kept_out.subscribe();
        self.published.wanted.send_modify(|wanted| *wanted = size.max(*wanted));
        let holds = |signed: &Arc<SignedCheckpoint>| signed.checkpoint().size >= size;
        let signed = async {
            let found = newest.wait_for(|found| found.as_ref().is_some_and(holds)).await.map_err(|_| closed())?;
            found.clone().ok_or(AuditError::NoCheckpoint)
        };
        tokio::select! {
            biased;
            signed = signed => signed,
            // Sealed meanwhile: nobody knows when the next one is signed.
            _ = signs.wait_for(|signs| !signs) => Err(AuditError::NoCheckpoint),
            // An older checkpoint would leave out what was acknowledged.
            _ = kept_out.changed() => Err(AuditError::Full),
        }
    }

    async fn place(&self) -> Result<tokio::sync::OwnedSemaphorePermit, AuditError> {
        Arc::clone(&self.shared.places).acquire_owned().await.map_err(|_| closed())
    }

    fn write_refusals(&self, now: u64) {
        for refusal in self.refusals.due(now) {
            self.write_refusal(refusal);
        }
    }

    fn write_refusal(&self, refusal: RefusalLeaf) {
        if self.free_bytes() < self.config.free_bytes_min {
            return;
        }
        // Without a place the refusal is only counted in the metrics: permitted work goes first.
        if let (Ok(place), Ok(bytes)) =
            (Arc::clone(&self.shared.places).try_acquire_owned(), bytes_of(&Leaf::Refusal(refusal)))
        {
            let _ = self.shared.push(bytes, None, Some(place));
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.write_refusals(u64::MAX);
        self.shared.close();
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A writer that panicked has said so on stderr.
            let _ = writer.join();
        }
    }
}

fn bytes_of(leaf: &Leaf) -> Result<Vec<u8>, AuditError> {
    let bytes = leaf.to_bytes().map_err(|error| AuditError::Closed { reason: error.to_string().into() })?;
    if bytes.len() > ENTRY_BYTES_MAX {
        return Err(AuditError::TooLarge { bytes: bytes.len() });
    }
    Ok(bytes)
}

fn make_private(directory: &Path) -> Result<(), FramesError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| error::io_error("make", directory, source))
}

#[cfg(test)]
#[path = "audit/tests.rs"]
mod tests;
