//! What goes wrong in custody, by what the caller can do about it.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};

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
        #[serde(deserialize_with = "told")]
        why: String,
    },
    /// The answer did not come in time; the worker is being replaced.
    #[error("custody did not answer in time")]
    Late,
    /// It will never be done this way: a wrong secret, another store's context, an impossible input.
    #[error("custody refuses: {why}")]
    Refused {
        /// What was expected.
        #[serde(deserialize_with = "told")]
        why: String,
    },
    /// The token has no room for another object; it goes on with those it has.
    #[error("the token is full: {what}")]
    Full {
        /// Which step, and the token's code.
        #[serde(deserialize_with = "told")]
        what: String,
    },
    /// A sealed record or the KEK ring does not open: tampered with, damaged, or from elsewhere.
    #[error("sealed data does not open: {what}")]
    Corrupt {
        /// Which thing, and the place.
        #[serde(deserialize_with = "told")]
        what: String,
    },
    /// A step failed that should not: look at the log.
    #[error("custody failed: {what}")]
    Failed {
        /// Which step, and the error it met.
        #[serde(deserialize_with = "told")]
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
        #[serde(deserialize_with = "told")]
        what: String,
    },
    /// The module has no such token now.
    #[error("the token is not there: {what}")]
    Absent {
        /// What was looked for, and what is there.
        #[serde(deserialize_with = "told")]
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
    /// The token was shown the PIN, and its answer was lost: it may have counted as wrong.
    #[error("the token has not said whether its PIN is right, which is not tried again")]
    PinUnanswered,
    /// The token takes no PIN at all.
    #[error("the token's PIN is locked or not set: {what}")]
    PinLocked {
        /// How that showed.
        #[serde(deserialize_with = "told")]
        what: String,
    },
    /// The module fails in a way that only a new process may heal.
    #[error("the token fails: {what}")]
    Failed {
        /// The step, and what it met.
        #[serde(deserialize_with = "told")]
        what: String,
    },
}

/// The longest text that a worker may tell, in bytes.
const TOLD_BYTES_MAX: usize = 512;

/// A text from a worker.
fn told<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(clean(&Cow::<'de, str>::deserialize(deserializer)?, TOLD_BYTES_MAX))
}

/// A text in which a vendor's code may have written: cut, and without what moves a terminal's cursor or turns its
/// direction of writing.
pub(crate) fn clean(text: &str, bytes_max: usize) -> String {
    let is_sly = |c: char| {
        c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut cut = String::new();
    for letter in text.chars().map(|c| if is_sly(c) { ' ' } else { c }) {
        if cut.len().saturating_add(letter.len_utf8()) > bytes_max {
            break;
        }
        cut.push(letter);
    }
    cut
}

impl From<TokenTrouble> for CustodyError {
    fn from(trouble: TokenTrouble) -> Self {
        Self::unavailable(trouble.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received<T: Serialize + for<'de> Deserialize<'de>>(sent: &T) -> T {
        postcard::from_bytes(&postcard::to_allocvec(sent).unwrap()).unwrap()
    }

    #[test]
    fn a_text_from_a_worker_is_cut_and_moves_no_cursor() {
        let sly = format!("a\u{1b}[2J\r\nb\u{202e}c {}", "é".repeat(1000));

        for text in [
            received(&CustodyError::unavailable(sly.clone())).to_string(),
            received(&CustodyError::refused(sly.clone())).to_string(),
            received(&CustodyError::corrupt(sly.clone())).to_string(),
            received(&CustodyError::failed(sly.clone())).to_string(),
            received(&TokenTrouble::Absent { what: sly.clone() }).to_string(),
            received(&TokenTrouble::Failed { what: sly.clone() }).to_string(),
            received(&TokenTrouble::Module { what: sly.clone() }).to_string(),
            received(&TokenTrouble::PinLocked { what: sly.clone() }).to_string(),
        ] {
            assert!(text.contains("a [2J  b c é") && text.len() <= 512 + 64, "{text}");
        }
        let own = CustodyError::refused("as it is");
        assert_eq!(received(&own), own);
    }
}
