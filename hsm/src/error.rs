//! What goes wrong in custody, by what the caller can do about it.

use serde::{Deserialize, Serialize};

/// Why custody did not do what was asked. Texts never carry a secret; they are for the log, not for the caller of the API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "closed set: the daemon maps each to a fault")]
pub enum CustodyError {
    /// The root key is not there: unseal first.
    #[error("custody is sealed")]
    Sealed,
    /// Custody is not up; try again in a moment.
    #[error("custody is unavailable: {why}")]
    Unavailable {
        /// What is missing.
        why: String,
    },
    /// The answer did not come in time; the worker is being replaced.
    #[error("custody did not answer in time")]
    Late,
    /// It will never be done this way: a wrong secret, another store's context, an impossible input.
    #[error("custody refuses: {why}")]
    Refused {
        /// What was expected.
        why: String,
    },
    /// A sealed record or the KEK ring does not open: tampered with, damaged, or from elsewhere.
    #[error("sealed data does not open: {what}")]
    Corrupt {
        /// Which thing, and the place.
        what: String,
    },
    /// A step failed that should not: look at the log.
    #[error("custody failed: {what}")]
    Failed {
        /// Which step, and the error it met.
        what: String,
    },
}

impl CustodyError {
    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable { why: why.into() }
    }

    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Refused { why: why.into() }
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::Failed { what: what.into() }
    }
}

/// Why a token cannot serve. Texts never carry a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "closed set: the supervisor answers for each")]
pub enum TokenTrouble {
    /// Its module cannot be loaded.
    #[error("its module cannot be loaded: {what}")]
    Module {
        /// The step, and what it met.
        what: String,
    },
    /// The module has no such token now.
    #[error("the token is not there: {what}")]
    Absent {
        /// What was looked for, and what is there.
        what: String,
    },
    /// No PIN is at hand: none is configured, and nobody has logged in since the daemon started.
    #[error("it needs `trustctl hsm login {token}`")]
    PinMissing {
        /// The token's name in the configuration.
        token: String,
    },
    /// The token has refused the PIN, once: it is not tried again until its source changes (D23).
    #[error("the token has refused its PIN, which is not tried again")]
    PinWrong,
    /// The token takes no PIN at all.
    #[error("the token's PIN is locked or not set: {what}")]
    PinLocked {
        /// How that showed.
        what: String,
    },
    /// The module fails in a way that only a new process may heal.
    #[error("the token fails: {what}")]
    Failed {
        /// The step, and what it met.
        what: String,
    },
}

impl From<TokenTrouble> for CustodyError {
    fn from(trouble: TokenTrouble) -> Self {
        Self::unavailable(trouble.to_string())
    }
}
