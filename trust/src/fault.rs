//! What went wrong, by what the caller can do about it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// What the caller can do. The one table that maps it to gRPC and HTTP is `trust-proto::fault`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed set: the status table answers for each")]
pub enum FaultKind {
    /// The request cannot be read: mend it.
    Malformed,
    /// Nobody knows who asks: bring an identity.
    Unauthenticated,
    /// Not for this principal, or not there: the words do not tell which.
    Forbidden,
    /// Not there, said to one who may know.
    Missing,
    /// The name is taken.
    Taken,
    /// Somebody else was faster, or an idempotency key came back with other content: read again.
    Conflict,
    /// Understood and allowed, but the state of things forbids it: a disabled key, a scope.
    Refused,
    /// A bound is reached: come back after `retry_after`.
    Busy,
    /// A part is not there now (sealed, custodian gone, disk full): come back later.
    Unavailable,
    /// The deadline passed before the effect.
    Late,
    /// A bug, or damage: the log has the cause under the request id.
    Internal,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Missing,
        Self::Taken,
        Self::Conflict,
        Self::Refused,
        Self::Busy,
        Self::Unavailable,
        Self::Late,
        Self::Internal,
    ];

    /// The word for it in leaves, metrics and JSON output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Missing => "missing",
            Self::Taken => "taken",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Late => "late",
            Self::Internal => "internal",
        }
    }
}

/// A fault: text for the caller, cause for the log. The two never mix.
pub struct Fault {
    kind: FaultKind,
    public: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
    retry_after: Option<Duration>,
}

impl Fault {
    /// A fault that the caller reads as `public`: lower case, no full stop, no secret.
    #[must_use]
    pub fn new(kind: FaultKind, public: impl Into<String>) -> Self {
        Self { kind, public: public.into(), cause: None, retry_after: None }
    }

    /// The one fault for whoever may not know whether the thing is there (the words are the same to the byte).
    #[must_use]
    pub fn forbidden() -> Self {
        Self::new(FaultKind::Forbidden, "not allowed, or no such key")
    }

    /// A bug or damage; the caller reads only that there was one.
    #[must_use]
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(FaultKind::Internal, "internal error").because(cause)
    }

    /// Adds what only the log may see.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds when to come back.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// What the caller can do.
    #[must_use]
    pub const fn kind(&self) -> FaultKind {
        self.kind
    }

    /// What the caller reads.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }

    /// What the log reads.
    #[must_use]
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.cause.as_deref()
    }

    /// When to come back, for [`FaultKind::Busy`] and [`FaultKind::Unavailable`].
    #[must_use]
    pub const fn comes_back_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public)
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("kind", &self.kind)
            .field("public", &self.public)
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| {
            let cause: &(dyn Error + 'static) = cause;
            cause
        })
    }
}

impl From<crate::Malformed> for Fault {
    fn from(malformed: crate::Malformed) -> Self {
        Self::new(FaultKind::Malformed, malformed.to_string())
    }
}
