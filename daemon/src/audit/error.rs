//! What can go wrong with the log, by what the caller can do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trust::tlog::{ENTRY_BYTES_MAX, ProofError};

/// Why its files do not open, or take no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FramesError {
    /// A step on a file failed.
    #[error("{step} {path}")]
    Io {
        step: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A frame that is not the last does not read.
    #[error("the log is damaged at byte {offset} of {path}: restore it from a copy")]
    Damaged { path: PathBuf, offset: u64 },
    /// Entries that were durable are gone while the log is open.
    #[error("the log was cut: {path} ends before entries that were flushed. Restore it from a copy")]
    Cut { path: PathBuf },
    /// A segment is missing.
    #[error("the log misses the entries before {path}: restore the missing file")]
    Gap { path: PathBuf },
}

impl FramesError {
    /// Whether the disk, or what may be had of it, is full.
    pub(super) fn is_full(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), FileTooLarge | QuotaExceeded | StorageFull))
    }
}

/// Why the log did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditError {
    /// The disk is full; it is tried again with the next entry.
    #[error("the disk of the log is full")]
    Full,
    /// Stays so until the process starts again: a flush failed, or the daemon is stopping.
    #[error("the log is closed: {reason}")]
    Closed {
        /// What happened first.
        reason: Arc<str>,
    },
    /// The entry does not fit into the log.
    #[error("a leaf of {bytes} bytes, at most {ENTRY_BYTES_MAX} are allowed")]
    TooLarge {
        /// How long it is.
        bytes: usize,
    },
    /// The leaf or size asked for is not in the tree.
    #[error("outside the log")]
    Outside,
    /// The checkpoint that was asked for is not signed yet: the daemon is sealed.
    #[error("no signed checkpoint yet")]
    NoCheckpoint,
    /// A file of the log does not read.
    #[error("the log does not read")]
    Damaged(#[source] FramesError),
}

/// Why a log is not made or opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// Its files.
    #[error(transparent)]
    Frames(#[from] FramesError),
    /// It belongs to another store.
    #[error("the log at {path} does not begin as the log of this store: one of the two was replaced")]
    Foreign {
        /// Where it is.
        path: PathBuf,
    },
    /// It does not begin with the tree that its own checkpoint promised.
    #[error(
        "the log at {path} has {leaves} leaves and does not begin with the {promised} that its signed checkpoint \
         promises: leaves were lost, or one of the two was put back. Bring back the newer entries"
    )]
    Shortened {
        /// Where it is.
        path: PathBuf,
        /// How many leaves it has.
        leaves: u64,
        /// How many it promised.
        promised: u64,
    },
    /// The writer could not be started.
    #[error("start the log's writer")]
    Thread(#[source] io::Error),
}

/// A step on one of its files that failed.
pub(super) fn io_error(step: &'static str, path: &Path, source: io::Error) -> FramesError {
    FramesError::Io { step, path: path.to_owned(), source }
}

/// The log takes nothing any more, for its writer has ended.
pub(super) fn closed() -> AuditError {
    AuditError::Closed { reason: "its writer ended".into() }
}

/// A proof could not be made.
pub(super) fn outside(error: ProofError) -> AuditError {
    match error {
        ProofError::Outside | ProofError::Wrong => AuditError::Outside,
        ProofError::HashMissing => AuditError::Closed { reason: "a tile of the log is missing".into() },
    }
}

/// A file of the log takes no more, or does not read.
pub(super) fn full_or_damaged(error: FramesError) -> AuditError {
    if error.is_full() { AuditError::Full } else { AuditError::Damaged(error) }
}
