//! The two questions about a key: may it sign, and do its signatures count.

use std::fmt;
use std::str::FromStr;

use crate::Malformed;

/// May it sign? Only [`Use::Active`] says yes.
///
/// `Active ⇄ Disabled → Retired → DestroyScheduled (cancel → Retired) → Destroyed`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed set")]
pub enum Use {
    /// It signs.
    Active,
    /// It does not sign, and may again.
    Disabled,
    /// It will never sign again; its material is still there.
    Retired,
    /// Its material goes at the given time.
    DestroyScheduled {
        /// Seconds since the Unix epoch.
        at_unix_seconds: u64,
    },
    /// Its material is gone; the row and the public key stay for ever.
    Destroyed,
}

/// A verb that changes [`Use`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed set")]
pub enum UseChange {
    /// `DestroyScheduled` back to `Retired`.
    CancelDestroy,
    /// `Retired` to `DestroyScheduled`.
    Destroy {
        /// When the material goes: seconds since the Unix epoch.
        at_unix_seconds: u64,
    },
    /// `Active` to `Disabled`.
    Disable,
    /// `Disabled` to `Active`.
    Enable,
    /// `DestroyScheduled` to `Destroyed`: the time has come.
    FinishDestroy,
    /// `Active` or `Disabled` to `Retired`.
    Retire,
}

/// A change of state that the state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key that is {from} cannot be {verb}")]
pub struct ImpossibleChange {
    /// The state the key is in.
    pub from: Use,
    /// What was asked of it.
    pub verb: UseChange,
}

impl Use {
    /// The state after `change`.
    ///
    /// # Errors
    /// [`ImpossibleChange`] when this state does not allow it; a repeated
    /// change is impossible too, so that nobody believes to have done what
    /// somebody else did.
    pub fn after(self, change: UseChange) -> Result<Self, ImpossibleChange> {
        match (self, change) {
            (Self::Active, UseChange::Disable) => Ok(Self::Disabled),
            (Self::Disabled, UseChange::Enable) => Ok(Self::Active),
            (Self::Active | Self::Disabled, UseChange::Retire) => Ok(Self::Retired),
            (Self::Retired, UseChange::Destroy { at_unix_seconds }) => Ok(Self::DestroyScheduled { at_unix_seconds }),
            (Self::DestroyScheduled { .. }, UseChange::CancelDestroy) => Ok(Self::Retired),
            (Self::DestroyScheduled { .. }, UseChange::FinishDestroy) => Ok(Self::Destroyed),
            (from, verb) => Err(ImpossibleChange { from, verb }),
        }
    }

    /// True when the key may sign.
    #[must_use]
    pub const fn may_sign(self) -> bool {
        matches!(self, Self::Active)
    }

    /// The word for this state in leaves, on the wire and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Retired => "retired",
            Self::DestroyScheduled { .. } => "destroy-scheduled",
            Self::Destroyed => "destroyed",
        }
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl UseChange {
    /// The verb's past participle, for messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CancelDestroy => "kept from destruction",
            Self::Destroy { .. } => "scheduled for destruction",
            Self::Disable => "disabled",
            Self::Enable => "enabled",
            Self::FinishDestroy => "destroyed",
            Self::Retire => "retired",
        }
    }
}

impl fmt::Display for UseChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Do its signatures count? Distrust is one way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed set")]
pub enum Trust {
    /// Its signatures count.
    Trusted,
    /// Signatures whose intent leaf is not before `since_leaf` do not count; without a leaf, none does.
    Distrusted {
        /// Why.
        reason: DistrustReason,
        /// Index of the first log leaf that does not count any more.
        since_leaf: u64,
    },
}

/// Why a key is distrusted (a subset of RFC 5280 §5.3.1 that fits a bare key).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed set")]
pub enum DistrustReason {
    /// Its custodian cannot be believed any more.
    CustodyCompromise,
    /// The private key is, or may be, in other hands.
    KeyCompromise,
    /// The key does no longer do what it was made for.
    Superseded,
    /// No reason is given.
    Unspecified,
}

impl DistrustReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::CustodyCompromise, Self::KeyCompromise, Self::Superseded, Self::Unspecified];

    /// The word for it in leaves, on the wire and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CustodyCompromise => "custody-compromise",
            Self::KeyCompromise => "key-compromise",
            Self::Superseded => "superseded",
            Self::Unspecified => "unspecified",
        }
    }
}

impl FromStr for DistrustReason {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::ALL.into_iter().find(|reason| reason.name() == text).ok_or(Malformed::new(
            "reason of distrust",
            "one of custody-compromise, key-compromise, superseded, unspecified",
        ))
    }
}
