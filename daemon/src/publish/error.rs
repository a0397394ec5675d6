//! Why something about trust data was not done, by what a door answers.

use trust::format::tuf::plan::NoPlan;
use trust::format::tuf::publish::Refusal;
use trust::{Fault, FaultKind};

use crate::house::Undone;
use crate::records::{RecordError, record_fault};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// The rules refuse it, in words that docker prints.
    #[error("{0}")]
    Refused(Refusal),
    /// The policy refuses it.
    #[error("the policy does not allow it")]
    Denied {
        /// What the policy says to whoever is refused, if it says something: at most 300 bytes, no control characters.
        words: Option<String>,
    },
    /// There is no such file, or the caller may not know of it.
    #[error("there is none")]
    NotFound,
    /// Sealed, custody is away, a disk is full or it took too long: it may be done later.
    #[error("not now")]
    Unavailable(#[source] Fault),
    /// A bound is reached: come back soon.
    #[error("too much at once")]
    Busy,
    /// A fault of ours; the cause is for the log.
    #[error("a fault of the daemon")]
    Internal(#[source] Fault),
}

impl PublishError {
    /// The word for it in metrics.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Refused(Refusal::Outdated(_)) => "outdated",
            Self::Refused(_) => "refused",
            Self::Denied { .. } => "denied",
            Self::NotFound => "not-found",
            Self::Unavailable(_) => "unavailable",
            Self::Busy => "busy",
            Self::Internal(_) => "internal",
        }
    }

    /// What the log says of what it ended.
    pub(super) fn undone(&self) -> Undone {
        match self {
            Self::Unavailable(fault) | Self::Internal(fault) => Undone::named(fault, self.name()),
            Self::Refused(_) | Self::Denied { .. } | Self::NotFound | Self::Busy => Undone::Failed(self.name()),
        }
    }
}

impl From<Refusal> for PublishError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<NoPlan> for PublishError {
    fn from(none: NoPlan) -> Self {
        Self::Refused(Refusal::Validation(none.to_string()))
    }
}

impl From<Fault> for PublishError {
    fn from(fault: Fault) -> Self {
        match fault.kind() {
            FaultKind::Forbidden | FaultKind::Unauthenticated => Self::Denied { words: None },
            FaultKind::Busy | FaultKind::Conflict | FaultKind::Taken => Self::Busy,
            FaultKind::Late | FaultKind::Unavailable => Self::Unavailable(fault),
            FaultKind::Internal | FaultKind::Malformed | FaultKind::Missing | FaultKind::Refused => {
                Self::Internal(fault)
            }
        }
    }
}

/// What a caller of `trust.v1` reads; the words that clients of Notary know are words of ours, too.
impl From<PublishError> for Fault {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Refused(Refusal::Outdated(role)) => {
                Self::new(FaultKind::Conflict, format!("another version of {role} was published meanwhile"))
            }
            PublishError::Refused(refusal) => Self::new(FaultKind::Refused, refusal.to_string()),
            PublishError::Denied { words } => {
                Self::new(FaultKind::Forbidden, words.unwrap_or_else(|| "the policy does not allow it".to_owned()))
            }
            PublishError::NotFound => Self::new(FaultKind::Missing, "there is no trust data of that name"),
            PublishError::Unavailable(fault) | PublishError::Internal(fault) => fault,
            PublishError::Busy => Self::new(FaultKind::Busy, "too much at once"),
        }
    }
}

impl From<RecordError> for PublishError {
    fn from(error: RecordError) -> Self {
        match error {
            // Whoever read the head before it moved was not in turn: a process beside this one.
            RecordError::Moved => Self::Busy,
            RecordError::TooLarge => {
                Self::Refused(Refusal::Validation("the trust data is too large to be stored".to_owned()))
            }
            error => record_fault(error).into(),
        }
    }
}
