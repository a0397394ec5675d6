//! The life of keys: each change is permitted, written down, done, and its outcome written down.
//!
//! Creation and rotation run the same stages as a signature, with `generate` in
//! custody's place. A change of state is committed first and acknowledged only
//! when no session that began under the older state still runs (D10).

mod adopt;
mod change;
mod create;
mod import;
mod lookup;
mod remove;

use std::fmt;

use trust::state::DistrustReason;
use trust::{Algorithm, Fault, Form, KeyId, KeyName, Malformed, Principal, Purpose, Scope};
use trust_hsm::TokenName;

use crate::custody;
use crate::idempotency::IdempotencyKey;
use crate::records::KeyView;

pub(crate) use adopt::Sought;
pub(crate) use import::Envelope;
pub(crate) use lookup::Sight;

/// How often work that met another state or policy than it was permitted under is authorized afresh.
const ATTEMPTS_MAX: usize = 3;

/// Tries again, from authorization on, what was not done because the key or the policy changed meanwhile.
pub(crate) async fn afresh<T, F: Future<Output = Result<T, Fault>>>(
    mut attempt: impl FnMut() -> F,
) -> Result<T, Fault> {
    for _ in 1..ATTEMPTS_MAX {
        match attempt().await {
            Err(fault) if custody::is_stale(&fault) => {}
            ended => return ended,
        }
    }
    attempt().await
}

/// How a caller names a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum KeySelector {
    /// By its random id.
    Id(KeyId),
    /// By its name.
    Name(KeyName),
}

impl KeySelector {
    /// Reads a name or an id. No name looks like an id: those are refused at creation.
    ///
    /// # Errors
    /// [`Malformed`] when it is neither.
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        text.parse().map(Self::Name)
    }
}

impl fmt::Display for KeySelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// A key to be made: everything that is fixed for its life.
#[derive(Debug, Clone)]
pub(crate) struct NewKey {
    /// Its name.
    pub(crate) name: KeyName,
    /// What it is for.
    pub(crate) purpose: Purpose,
    /// Scheme, hash and parameters.
    pub(crate) algorithm: Algorithm,
    /// Which repositories.
    pub(crate) scope: Scope,
    /// What it may leave behind.
    pub(crate) forms: Vec<Form>,
    /// The token that it is made in; `None` for software custody.
    pub(crate) token: Option<TokenName>,
}

/// A verb of key life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Back to `Retired`.
    CancelDestroy,
    /// The material goes after the configured wait.
    Destroy,
    /// It stops signing, and may again.
    Disable,
    /// Its signatures stop counting, for good.
    Distrust {
        /// Why.
        reason: DistrustReason,
        /// The first leaf that does not count.
        since_leaf: u64,
    },
    /// It signs again.
    Enable,
    /// The wait is over: the material goes now.
    FinishDestroy,
    /// It never signs again.
    Retire,
}

/// A change, as a door read it.
#[derive(Debug, Clone)]
pub(crate) struct ChangeRequest {
    /// Who asks.
    pub(crate) principal: Principal,
    /// Which key.
    pub(crate) key: KeySelector,
    /// Which verb.
    pub(crate) change: Change,
    /// For retries.
    pub(crate) idempotency: Option<IdempotencyKey>,
    /// When it is too late, in time of the clock's `monotonic`.
    pub(crate) deadline: std::time::Duration,
}

/// What a key operation leaves.
#[derive(Debug, Clone)]
pub(crate) struct KeyReceipt {
    /// The key as it is now.
    pub(crate) view: KeyView,
    /// Its intent leaf.
    pub(crate) leaf: u64,
}

/// A page of keys.
#[derive(Debug)]
pub(crate) struct Page {
    /// By name.
    pub(crate) keys: Vec<KeyView>,
    /// Where the next page begins; `None` on the last.
    pub(crate) next: Option<KeyName>,
}

impl Change {
    /// The word for it in leaves.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CancelDestroy => "cancel-destroy",
            Self::Destroy => "destroy",
            Self::Disable => "disable",
            Self::Distrust { .. } => "distrust",
            Self::Enable => "enable",
            Self::FinishDestroy => "finish-destroy",
            Self::Retire => "retire",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_two_hexadecimal_digits_are_an_id_and_nothing_else_is() {
        assert!(matches!(KeySelector::parse(&"0".repeat(32)), Ok(KeySelector::Id(_))));
        assert!(matches!(KeySelector::parse("acme/release"), Ok(KeySelector::Name(_))));
        assert!(KeySelector::parse("").is_err());
        assert!(KeySelector::parse("Ä").is_err());
    }
}
