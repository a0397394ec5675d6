//! Why a client does not believe.

use crate::format::tuf::{Expired, NotMet, RoleName, Unsound};

/// Why metadata is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "closed set: the attacks of TUF, and what is not metadata")]
pub enum Distrust {
    /// A file says what was signed, but not in the way that servers write it: it was changed on its way.
    #[error("the file of {0} was changed around what is signed in it")]
    Altered(RoleName),
    /// A file is another one than was named: swapped, changed, or of another generation.
    #[error("the file of {role} is not the one that {by} names")]
    Differs {
        /// The role that names it.
        by: RoleName,
        /// Whose file it is.
        role: RoleName,
    },
    /// A file is longer than any.
    #[error("the file of {0} does not end where it should")]
    Endless(RoleName),
    /// A file has expired: nobody answers for it any more, or a newer one is held back.
    #[error(transparent)]
    Expired(#[from] Expired),
    /// A version has been seen with other bytes.
    #[error("there are two files of {role} of version {version}")]
    Forked {
        /// Whose file it is.
        role: RoleName,
        /// The version.
        version: u32,
    },
    /// A file that was there is named no more, though its role may still sign.
    #[error("the file of {0} is not named any more")]
    Hidden(RoleName),
    /// No certificate in root is good for the repository.
    #[error("no certificate of root is good for this repository")]
    NoCertificate,
    /// Nobody delegates to the role.
    #[error("nobody speaks for {0}")]
    NotDelegated(RoleName),
    /// A file is not signed by enough of those who may.
    #[error(transparent)]
    NotMet(#[from] NotMet),
    /// A root is not the one that follows.
    #[error("root of version {found} does not follow that of version {held}")]
    NotNext {
        /// The version that is believed.
        held: u32,
        /// The version that was sent.
        found: u32,
    },
    /// The root is not signed with the keys that were pinned.
    #[error("root is not signed with the pinned keys")]
    NotPinned,
    /// The caller asks for a file before those that say which one it is.
    #[error("{0} comes at another time")]
    OutOfOrder(RoleName),
    /// A file is older than one that was seen.
    #[error("version {found} of {role} is older than version {held}, which was seen")]
    Rollback {
        /// Whose file it is.
        role: RoleName,
        /// The version that was sent.
        found: u32,
        /// The version that was seen.
        held: u32,
    },
    /// It is no file of its role.
    #[error(transparent)]
    Unsound(#[from] Unsound),
}
