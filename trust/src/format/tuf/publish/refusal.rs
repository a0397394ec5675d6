//! Why a server does not take an update, in the codes and words of Notary's.

use std::fmt;

use crate::Malformed;
use crate::format::tuf::fields::shown;
use crate::format::tuf::{Part, RoleName};

/// Why an update is not taken. Its text is at most some 500 bytes and has no control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed set: SPEC §2.4")]
pub enum Refusal {
    /// A part has no role for a name.
    NoFileName,
    /// A part is of a role that there is not: its name, shortened.
    InvalidRole(String),
    /// A part is no file of metadata at all.
    Malformed(Malformed),
    /// Another version of the role is there already, or was sent with it.
    Outdated(RoleName),
    /// The update as a whole is not whole.
    Validation(String),
    /// A role is missing that nobody here can sign.
    BadHierarchy {
        /// The role.
        missing: RoleName,
    },
    /// Root breaks a rule.
    BadRoot(String),
    /// Targets, or a delegation, breaks a rule.
    BadTargets(String),
    /// The snapshot breaks a rule.
    BadSnapshot(String),
}

impl Refusal {
    /// Reads a part of an upload: its role is the file's name, with or without `.json`. All parts together may hold
    /// `values_left` values ([`Part::read_one_of_several`]).
    ///
    /// # Errors
    /// [`Refusal::NoFileName`], [`Refusal::InvalidRole`], [`Refusal::Malformed`].
    pub fn read_part(file_name: &str, bytes: &[u8], values_left: &mut u32) -> Result<Part, Self> {
        let name = file_name.strip_suffix(".json").unwrap_or(file_name);
        if name.is_empty() {
            return Err(Self::NoFileName);
        }
        let role = name.parse::<RoleName>().map_err(|_| Self::InvalidRole(shown(name)))?;
        Part::read_one_of_several(&role, bytes, values_left).map_err(Self::Malformed)
    }

    /// The error for a role whose keys the server does not hold, or too few of them.
    #[must_use]
    pub fn no_key_for(role: &RoleName) -> Self {
        match role {
            RoleName::Snapshot => Self::BadHierarchy { missing: RoleName::Snapshot },
            // Two blanks, as the original has them.
            role => Self::BadRoot(format!("no  {role} keys exist on the server")),
        }
    }

    /// The code of the answer.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoFileName => "NO_FILENAME",
            Self::InvalidRole(_) => "INVALID_ROLE",
            Self::Malformed(_) => "MALFORMED_JSON",
            Self::Outdated(_) => "VERSION",
            Self::Validation(_)
            | Self::BadHierarchy { .. }
            | Self::BadRoot(_)
            | Self::BadTargets(_)
            | Self::BadSnapshot(_) => "INVALID_UPDATE",
        }
    }

    /// The type in the answer's detail, of which docker prints the text; `None` where the detail has none.
    #[must_use]
    pub const fn type_name(&self) -> Option<&'static str> {
        match self {
            Self::NoFileName | Self::InvalidRole(_) | Self::Malformed(_) | Self::Outdated(_) => None,
            Self::Validation(_) => Some("ErrValidation"),
            Self::BadHierarchy { .. } => Some("ErrBadHierarchy"),
            Self::BadRoot(_) => Some("ErrBadRoot"),
            Self::BadTargets(_) => Some("ErrBadTargets"),
            Self::BadSnapshot(_) => Some("ErrBadSnapshot"),
        }
    }

    /// The refusal of a role's file.
    pub(super) fn of(role: &RoleName, why: String) -> Self {
        match role {
            RoleName::Root => Self::BadRoot(why),
            RoleName::Targets | RoleName::Delegation(_) => Self::BadTargets(why),
            RoleName::Snapshot => Self::BadSnapshot(why),
            RoleName::Timestamp => Self::Validation(why),
        }
    }

    pub(super) fn root(why: impl fmt::Display) -> Self {
        Self::BadRoot(why.to_string())
    }

    pub(super) fn targets(why: impl fmt::Display) -> Self {
        Self::BadTargets(why.to_string())
    }

    pub(super) fn snapshot(why: impl fmt::Display) -> Self {
        Self::BadSnapshot(why.to_string())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFileName => f.write_str("No file/role name provided."),
            Self::InvalidRole(_) => f.write_str("The role you are attempting to operate on is invalid."),
            Self::Malformed(_) => f.write_str("JSON sent by the client could not be parsed by the server"),
            Self::Outdated(_) => f.write_str("A newer version of metadata is already available."),
            Self::BadHierarchy { missing } => write!(
                f,
                "no {missing} was included in update and server does not hold current {missing} key for repository"
            ),
            Self::Validation(why) | Self::BadRoot(why) | Self::BadTargets(why) | Self::BadSnapshot(why) => {
                f.write_str(why)
            }
        }
    }
}

impl std::error::Error for Refusal {}
