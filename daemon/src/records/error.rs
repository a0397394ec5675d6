//! What can go wrong with records, by what the caller can do.

use std::sync::Arc;

use trust::{Fault, FaultKind, KeyRef};

use crate::store::StoreError;

/// Why a record was not read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    /// Somebody must unseal the store.
    #[error("the store is sealed")]
    Sealed,
    /// There is a key of that name: choose another.
    #[error("the name is taken")]
    NameTaken,
    /// That public key belongs to a key already.
    #[error("the public key belongs to {key} already")]
    PublicKeyTaken {
        /// The key that has it.
        key: KeyRef,
    },
    /// An answer is kept under that idempotency key: read it with [`super::Records::find_replay`].
    #[error("the idempotency key is in use")]
    ReplayTaken,
    /// Too many answers are kept, of this principal or in all: come back when some have expired.
    #[error("too many idempotency keys are kept")]
    ReplaysFull,
    /// No such key.
    #[error("no such key")]
    Missing,
    /// Somebody else was faster: read again.
    #[error("the key has changed meanwhile")]
    Moved,
    /// The life of a key does not go that way.
    #[error("{why}")]
    Refused {
        /// What stands in the way.
        why: &'static str,
    },
    /// More than a page, or a value beyond its bound.
    #[error("too much for one change")]
    TooLarge,
    /// The disk is full: nothing was written, and the next change tries again.
    #[error("the disk of the store is full")]
    Full,
    /// Stays so until the process starts again.
    #[error("the store is closed: {reason}")]
    Closed {
        /// What happened first.
        reason: Arc<str>,
    },
    /// A row does not read back, or is not what was written.
    #[error("the store is damaged: {reason}")]
    Damaged {
        /// What, and where.
        reason: Arc<str>,
    },
}

impl RecordError {
    pub(super) fn damaged(reason: impl Into<Arc<str>>) -> Self {
        Self::Damaged { reason: reason.into() }
    }

    /// Whether nothing of the change was written, for certain.
    pub(crate) const fn has_left_nothing(&self) -> bool {
        match self {
            Self::Sealed
            | Self::NameTaken
            | Self::PublicKeyTaken { .. }
            | Self::ReplayTaken
            | Self::ReplaysFull
            | Self::Missing
            | Self::Moved
            | Self::Refused { .. }
            | Self::TooLarge
            | Self::Full => true,
            Self::Closed { .. } | Self::Damaged { .. } => false,
        }
    }
}

impl From<StoreError> for RecordError {
    fn from(error: StoreError) -> Self {
        match error {
            // The writer is the only one that writes: a row that moved under it was moved by somebody else.
            StoreError::Taken { key } | StoreError::Moved { key } => {
                Self::damaged(format!("row {key} was changed by somebody else"))
            }
            StoreError::TooLarge { .. } => Self::TooLarge,
            StoreError::Full => Self::Full,
            StoreError::Closed { reason } => Self::Closed { reason },
            StoreError::Damaged { reason } => Self::Damaged { reason },
        }
    }
}

/// Whether the change that this fault ended has left nothing in the store, for certain.
pub(crate) fn has_left_nothing(fault: &Fault) -> bool {
    let cause = fault.cause().and_then(|cause| cause.downcast_ref::<RecordError>());
    cause.is_none_or(RecordError::has_left_nothing)
}

/// What the caller reads of a record error; the error itself is for the log.
pub(crate) fn record_fault(error: RecordError) -> Fault {
    match error {
        RecordError::Sealed => Fault::new(FaultKind::Unavailable, "the daemon is sealed"),
        RecordError::NameTaken => Fault::new(FaultKind::Taken, "a key of that name is there already"),
        RecordError::PublicKeyTaken { .. } => {
            Fault::new(FaultKind::Taken, "that public key belongs to another key").because(error)
        }
        RecordError::ReplayTaken => Fault::new(FaultKind::Conflict, "a request with that idempotency key is at work"),
        RecordError::ReplaysFull => Fault::new(FaultKind::Busy, "too many idempotency keys are kept"),
        RecordError::Missing => Fault::new(FaultKind::Missing, "no such key"),
        RecordError::Moved => Fault::new(FaultKind::Conflict, "the key changed meanwhile"),
        RecordError::Refused { why } => Fault::new(FaultKind::Refused, why),
        RecordError::Full => Fault::new(FaultKind::Unavailable, "the disk is full").because(error),
        RecordError::Closed { .. } => {
            Fault::new(FaultKind::Unavailable, "the store is closed until trustd is started again").because(error)
        }
        RecordError::TooLarge | RecordError::Damaged { .. } => Fault::internal(error),
    }
}

/// Why records were not made, found or unsealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnsealError {
    /// There are none in this store.
    #[error("the store holds no records: it was not made to its end, or is not trustd's")]
    Missing,
    /// There are records already, and none are made over them.
    #[error("the store holds records already")]
    NotEmpty,
    /// A newer trustd made them.
    #[error("the records have format {found}; this trustd reads up to {known}: start a newer trustd")]
    TooNew {
        /// Their format.
        found: u32,
        /// The newest format this version reads.
        known: u32,
    },
    /// The key is another store's, or the anchor row is damaged.
    #[error("the store does not open under this root key: it belongs to another store, or its anchor row is damaged")]
    WrongKey,
    /// Rows are not as they were left: altered, replayed, removed or put back.
    #[error("the store was tampered with, or a part of it was restored: {}", .faults.join("; "))]
    Tampered {
        /// One sentence for each fault that could be told apart, at most 16.
        faults: Vec<String>,
    },
    /// The store did not answer.
    #[error("read the store")]
    Store(#[source] StoreError),
}

impl From<StoreError> for UnsealError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
