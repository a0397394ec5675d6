//! Derives what the world may see: tiles, entry bundles and signed checkpoints.
//!
//! Everything here is of the durable tree and off the sign path; a failure
//! delays a checkpoint and never a signature.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tracing::warn;
use trust::Sha256Digest;
use trust::tlog::{Checkpoint, SignedCheckpoint, TILE_WIDTH, Tile, VerifierKey};

use super::error::FramesError;
use super::files::{Durability, replace_file};
use super::hashes::{write_derived, write_tile};
use super::writer::Shared;

/// The least time between two checkpoints.
const INTERVAL: Duration = Duration::from_secs(1);

/// Where the newest signed checkpoint stands, below the log's directory.
const CHECKPOINT: &str = "checkpoint";
/// The longest checkpoint file that is read, in bytes.
const CHECKPOINT_BYTES_MAX: u64 = 64 * 1024;

/// What the log promised last, as its own file says: a log that does not begin with that lost leaves. `None` where
/// nothing was published yet, or the file does not read: it derives from the log, and is written anew.
pub(super) fn last_promise(directory: &Path) -> Option<Checkpoint> {
    let mut note = String::new();
    let file = std::fs::File::open(directory.join(CHECKPOINT)).ok()?;
    file.take(CHECKPOINT_BYTES_MAX).read_to_string(&mut note).ok()?;
    Checkpoint::claimed(&note).ok()
}

/// Signs the text of a checkpoint with the log's key.
pub(crate) type SignText = Box<dyn Fn(&[u8]) -> Result<[u8; 64], String> + Send + Sync>;

/// The log's key at work. It sees checkpoints of the durable tree and nothing else (D16).
pub(crate) struct LogSigner {
    pub(crate) key: VerifierKey,
    pub(crate) sign: SignText,
}

/// What the publisher shares with the readers.
pub(super) struct Published {
    directory: PathBuf,
    origin: String,
    signer: Mutex<Option<Arc<LogSigner>>>,
    /// Whether there is one.
    pub(super) signs: watch::Sender<bool>,
    /// The newest signed checkpoint.
    pub(super) newest: watch::Sender<Option<Arc<SignedCheckpoint>>>,
    /// Leaves up to here are wanted in a checkpoint now.
    pub(super) wanted: watch::Sender<u64>,
    /// How often nothing could be published, for the disk was full.
    pub(super) kept_out: watch::Sender<u64>,
    bundles: Mutex<Bundles>,
}

/// Up to which leaf there are entry bundles.
#[derive(Debug, Clone, Copy)]
struct Bundles {
    /// Derived in this run, or in an earlier one before it signed a checkpoint.
    written: u64,
    /// Of an earlier run: looked at once, for they were not flushed. Not before a checkpoint is signed, so that a
    /// start does not wait for the whole log to be read a second time.
    unseen: u64,
}

impl Published {
    /// `promised` leaves are in the checkpoint that an earlier run signed.
    pub(super) fn new(directory: &Path, origin: &str, promised: u64) -> Self {
        Self {
            directory: directory.to_owned(),
            origin: origin.to_owned(),
            signer: Mutex::new(None),
            signs: watch::Sender::new(false),
            newest: watch::Sender::new(None),
            wanted: watch::Sender::new(0),
            kept_out: watch::Sender::new(0),
            bundles: Mutex::new(Bundles { written: promised, unseen: promised }),
        }
    }

    /// Gives the log's key, or takes it away while the daemon is sealed.
    pub(super) fn set_signer(&self, signer: Option<LogSigner>) {
        let signs = signer.is_some();
        *self.signer.lock().unwrap_or_else(PoisonError::into_inner) = signer.map(Arc::new);
        self.signs.send_replace(signs);
        self.wanted.send_modify(|_| {});
    }

    pub(super) fn verifier_key(&self) -> Option<VerifierKey> {
        self.signer.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|signer| signer.key.clone())
    }

    /// Publishes the durable tree as it is now.
    pub(super) fn publish(&self, shared: &Shared) -> Result<(), FramesError> {
        let Bundles { written, unseen } = *self.bundles();
        let (size, root, full, partial) = {
            let hashes = shared.hashes.read().unwrap_or_else(PoisonError::into_inner);
            (hashes.size(), hashes.root(), hashes.unwritten(), hashes.partial())
        };
        for (place, tile) in &full {
            write_tile(&self.directory, *place, tile)?;
        }
        let places: Vec<_> = full.into_iter().map(|(place, _)| place).collect();
        shared.hashes.write().unwrap_or_else(PoisonError::into_inner).written(&places);
        for (tile, bytes) in partial {
            write_derived(&self.directory.join(tile.path()), &bytes)?;
        }
        self.publish_entries(shared, written, size)?;
        self.bundles().written = size;
        self.sign(size, root)?;
        if unseen > 0 && self.newest.borrow().is_some() {
            self.publish_entries(shared, 0, unseen)?;
            self.bundles().unseen = 0;
        }
        Ok(())
    }

    fn bundles(&self) -> MutexGuard<'_, Bundles> {
        self.bundles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish_entries(&self, shared: &Shared, had: u64, size: u64) -> Result<(), FramesError> {
        for bundle in Tile::grown(None, had, size) {
            let first = bundle.index * TILE_WIDTH;
            let window = shared.frames.lock().unwrap_or_else(PoisonError::into_inner).window(first);
            let entries = window.read(bundle.width, usize::MAX)?;
            let mut bytes = Vec::new();
            for entry in &entries {
                bytes.extend_from_slice(&u16::try_from(entry.len()).unwrap_or(u16::MAX).to_be_bytes());
                bytes.extend_from_slice(entry);
            }
            write_derived(&self.directory.join(bundle.path()), &bytes)?;
        }
        Ok(())
    }

    fn sign(&self, size: u64, root: Sha256Digest) -> Result<(), FramesError> {
        let signer = self.signer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(signer) = signer else { return Ok(()) };
        let checkpoint = Checkpoint { origin: self.origin.clone(), size, root };
        let signed = (signer.sign)(checkpoint.text().as_bytes()).and_then(|signature| {
            SignedCheckpoint::assemble(checkpoint, &signature, &signer.key).map_err(|error| error.to_string())
        });
        match signed {
            Ok(signed) => {
                replace_file(&self.directory.join(CHECKPOINT), signed.note().as_bytes(), Durability::Flushed)?;
                self.newest.send_replace(Some(Arc::new(signed)));
            }
            Err(cause) => warn!(stage = "audit", %cause, "the checkpoint could not be signed"),
        }
        Ok(())
    }
}

/// Publishes whenever the log grew, until the log is closed.
pub(super) async fn run(shared: Arc<Shared>, published: Arc<Published>) {
    let mut durable = shared.durable.subscribe();
    let mut wanted = published.wanted.subscribe();
    durable.mark_changed();
    loop {
        // Either the log grew, or somebody wants a proof now, or the signer changed.
        let grew = tokio::select! {
            changed = durable.changed() => changed,
            changed = wanted.changed() => changed,
        };
        if grew.is_err() {
            return;
        }
        durable.mark_unchanged();
        wanted.mark_unchanged();
        let (shared, worker) = (Arc::clone(&shared), Arc::clone(&published));
        let done = tokio::task::spawn_blocking(move || worker.publish(&shared)).await;
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(stage = "audit", %error, "the log could not be published");
                if error.is_full() {
                    published.kept_out.send_modify(|times| *times = times.wrapping_add(1));
                }
            }
            Err(error) => warn!(stage = "audit", %error, "the publisher ended early"),
        }
        // Whoever waits for a proof does not wait for the interval. Seen by a copy: it is to be seen above, too, where
        // the log may not have grown since.
        let mut sooner = wanted.clone();
        let _ = tokio::time::timeout(INTERVAL, sooner.changed()).await;
    }
}
