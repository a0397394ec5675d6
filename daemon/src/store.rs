//! Rows that are durable when a write returns.
//!
//! Five verbs: [`Store::fetch`], [`Store::scan`] and, in [`Store::write`], create, replace and remove.
//! Values arrive sealed: a store knows neither keys nor formats, and it alone may cache. [`Memory`] is for
//! tests, [`SledStore`] is the embedded default. One contract test runs over both.

mod lock;
mod memory;
mod sled;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) use self::lock::DirectoryLock;
pub(crate) use self::memory::Memory;
pub(crate) use self::sled::{SledOptions, SledStore};

/// The name of a row: 1 to 256 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RowKey(Vec<u8>);

impl RowKey {
    /// The longest row key, in bytes.
    pub(crate) const BYTES_MAX: usize = 256;

    /// Takes the bytes of a key.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] when there are none, or more than [`RowKey::BYTES_MAX`].
    pub(crate) fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, StoreError> {
        let bytes = bytes.into();
        if bytes.is_empty() || bytes.len() > Self::BYTES_MAX {
            return Err(StoreError::TooLarge { what: "row key", bytes: bytes.len(), bytes_max: Self::BYTES_MAX });
        }
        Ok(Self(bytes))
    }

    /// A key of a kind and bytes whose number is known to fit.
    #[must_use]
    pub(crate) fn of_kind<const N: usize>(kind: u8, rest: [u8; N]) -> Self {
        const { assert!(N < Self::BYTES_MAX, "a kind and the rest are at most 256 bytes") };
        Self([&[kind], rest.as_slice()].concat())
    }

    /// The bytes.
    #[must_use]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Hexadecimal: row keys are not text.
impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which write a row is from: grows with every write to the store, so that a row that was removed and made
/// again is told from the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Revision(u64);

impl Revision {
    /// The revision of this number, which a store gave out earlier.
    pub(crate) const fn of(number: u64) -> Self {
        Self(number)
    }

    /// The number, 1 or more.
    #[must_use]
    pub(crate) const fn number(self) -> u64 {
        self.0
    }
}

/// A value and the write it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// At most [`Store::VALUE_BYTES_MAX`] bytes.
    pub(crate) value: Vec<u8>,
    /// The write it is from.
    pub(crate) revision: Revision,
}

/// One change of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Adds a row; fails with [`StoreError::Taken`] when there is one.
    Create {
        /// Which row.
        key: RowKey,
        /// At most [`Store::VALUE_BYTES_MAX`] bytes.
        value: Vec<u8>,
    },
    /// Puts another value into a row; fails with [`StoreError::Moved`] when it is not of `expected`.
    Replace {
        /// Which row.
        key: RowKey,
        /// The revision that was read.
        expected: Revision,
        /// At most [`Store::VALUE_BYTES_MAX`] bytes.
        value: Vec<u8>,
    },
    /// Takes a row away; fails with [`StoreError::Moved`] when it is not of `expected`.
    Remove {
        /// Which row.
        key: RowKey,
        /// The revision that was read.
        expected: Revision,
    },
}

impl Change {
    /// Which row it changes.
    #[must_use]
    pub(crate) const fn key(&self) -> &RowKey {
        match self {
            Self::Create { key, .. } | Self::Replace { key, .. } | Self::Remove { key, .. } => key,
        }
    }

    /// The value it writes; none for a removal.
    #[must_use]
    pub(crate) fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Create { value, .. } | Self::Replace { value, .. } => Some(value),
            Self::Remove { .. } => None,
        }
    }

    /// Whether it may be applied to a row that is now of `present`.
    fn check(&self, present: Option<Revision>) -> Result<(), StoreError> {
        match (self, present) {
            (Self::Create { .. }, None) => Ok(()),
            (Self::Create { key, .. }, Some(_)) => Err(StoreError::Taken { key: key.clone() }),
            (Self::Replace { expected, .. } | Self::Remove { expected, .. }, Some(present)) if *expected == present => {
                Ok(())
            }
            (Self::Replace { key, .. } | Self::Remove { key, .. }, _) => Err(StoreError::Moved { key: key.clone() }),
        }
    }
}

/// Why a verb did nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// There is a row of that key: choose another.
    #[error("row {key} is taken")]
    Taken {
        /// Which row.
        key: RowKey,
    },
    /// The row is gone or of another revision: read it again.
    #[error("row {key} has moved")]
    Moved {
        /// Which row.
        key: RowKey,
    },
    /// A key, value or write is beyond its bound: make it smaller.
    #[error("{what} has {bytes} bytes, at most {bytes_max} are allowed")]
    TooLarge {
        /// `row key`, `row value` or `write`.
        what: &'static str,
        /// How many there were.
        bytes: usize,
        /// How many there may be.
        bytes_max: usize,
    },
    /// The disk is full: nothing was written, and the next write tries again.
    #[error("the disk of the store is full")]
    Full,
    /// Stays so until the process starts again: a write or a flush failed, and what is on disk is not known.
    #[error("the store is closed: {reason}")]
    Closed {
        /// What happened first.
        reason: Arc<str>,
    },
    /// A part of the store does not read back.
    #[error("the store is damaged: {reason}")]
    Damaged {
        /// What does not read, and where.
        reason: Arc<str>,
    },
}

/// What keeps a store from being written now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreTrouble {
    /// A write or a flush failed: nothing is written until the process starts again.
    Closed,
    /// The disk is full; freeing space is enough.
    Full,
}

/// Why a store was not made or opened; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// There is none: make one with `trustd init`, or mount what is missing.
    #[error("no store at {path}: make one with `trustd init`, or mount or restore what should be there")]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Something is there already, so none is made over it.
    #[error("{path} is not empty: a store is only made in an empty or new directory")]
    NotEmpty {
        /// Where it should have been made.
        path: PathBuf,
    },
    /// What is there was not made by trustd, or not to its end.
    #[error("{path} holds no complete trustd store: {reason}")]
    Foreign {
        /// Where.
        path: PathBuf,
        /// What is missing or strange.
        reason: &'static str,
    },
    /// Another process has it.
    #[error("{path} is in use by another process: stop it first")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// It was written by a newer trustd.
    #[error("{path} has store format {found}; this trustd reads up to {known}: start a newer trustd")]
    TooNew {
        /// Where.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format this version reads.
        known: u32,
    },
    /// It does not open: restore it from a backup.
    #[error("the store at {path} is damaged ({reason}): restore it from a backup with `trustd store import`")]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What the engine said.
        reason: String,
    },
    /// The operating system refused a step.
    #[error("{step} {path}")]
    System {
        /// `open`, `read`, `write`, `sync`, …
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A store. Cheap to clone; clones are the same store.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    /// In memory: nothing outlives it.
    Memory(Arc<Memory>),
    /// In a directory, by sled.
    Sled(Arc<SledStore>),
}

impl Store {
    /// The longest value, in bytes.
    pub(crate) const VALUE_BYTES_MAX: usize = 512 * 1024;
    /// The most bytes the values of one write may have together.
    pub(crate) const WRITE_BYTES_MAX: usize = 8 * 1024 * 1024;
    /// The most rows a scan answers at once; a larger limit is cut to this.
    pub(crate) const SCAN_ROWS_MAX: usize = 4096;

    /// What keeps it from being written now, as far as the last write has shown.
    pub(crate) fn trouble(&self) -> Option<StoreTrouble> {
        match self {
            Self::Memory(_) => None,
            Self::Sled(sled) => sled.trouble(),
        }
    }

    /// An empty store in memory.
    #[cfg_attr(not(test), expect(dead_code, reason = "a store for tests"))]
    #[must_use]
    pub(crate) fn memory() -> Self {
        Self::Memory(Arc::new(Memory::default()))
    }

    /// Reads one row.
    ///
    /// It sees every write that has returned.
    ///
    /// # Errors
    /// [`StoreError::Closed`] or [`StoreError::Damaged`].
    pub(crate) async fn fetch(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.fetch(key)),
            Self::Sled(sled) => sled.fetch(key).await,
        }
    }

    /// Reads the rows whose key starts with `prefix` and comes after `after`, in the order of their keys, at most
    /// `limit` of them.
    ///
    /// Fewer rows than `limit` (and than [`Store::SCAN_ROWS_MAX`]) mean that there are no more. Each row is as of
    /// some instant of the scan, not all of the same one.
    ///
    /// # Errors
    /// [`StoreError::Closed`] or [`StoreError::Damaged`].
    pub(crate) async fn scan(
        &self,
        prefix: &[u8],
        after: Option<&RowKey>,
        limit: usize,
    ) -> Result<Vec<(RowKey, Row)>, StoreError> {
        let limit = limit.min(Self::SCAN_ROWS_MAX);
        match self {
            Self::Memory(memory) => Ok(memory.scan(prefix, after, limit)),
            Self::Sled(sled) => sled.scan(prefix, after, limit).await,
        }
    }

    /// Applies all changes or none; on return they are durable. Every changed row is then of the revision
    /// that is answered.
    ///
    /// Writes that wait at the same time share one barrier. If the caller goes away the write may still happen.
    ///
    /// # Errors
    /// [`StoreError`]; after each but [`StoreError::Closed`] nothing has changed. After that one it is not known
    /// until the store is opened again.
    pub(crate) async fn write(&self, changes: Vec<Change>) -> Result<Revision, StoreError> {
        check_sizes(&changes)?;
        match self {
            Self::Memory(memory) => memory.write(changes),
            Self::Sled(sled) => sled.write(changes).await,
        }
    }
}

fn check_sizes(changes: &[Change]) -> Result<(), StoreError> {
    let mut bytes: usize = 0;
    for value in changes.iter().filter_map(Change::value) {
        if value.len() > Store::VALUE_BYTES_MAX {
            let (bytes, bytes_max) = (value.len(), Store::VALUE_BYTES_MAX);
            return Err(StoreError::TooLarge { what: "row value", bytes, bytes_max });
        }
        bytes = bytes.saturating_add(value.len());
    }
    if bytes > Store::WRITE_BYTES_MAX {
        return Err(StoreError::TooLarge { what: "write", bytes, bytes_max: Store::WRITE_BYTES_MAX });
    }
    Ok(())
}

/// Checks every change of one write against the rows as they are, and as the write's own earlier changes leave them.
fn check_all(
    changes: &[Change],
    revision: Revision,
    present: impl Fn(&RowKey) -> Result<Option<Revision>, StoreError>,
) -> Result<(), StoreError> {
    let mut within: HashMap<&RowKey, Option<Revision>> = HashMap::with_capacity(changes.len());
    for change in changes {
        let now = match within.get(change.key()) {
            Some(now) => *now,
            None => present(change.key())?,
        };
        change.check(now)?;
        within.insert(change.key(), change.value().map(|_| revision));
    }
    Ok(())
}

#[cfg(test)]
mod contract_tests;
