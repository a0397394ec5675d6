//! TUF metadata in the dialect of Notary v1: what docker's content trust reads and writes.
//!
//! Read strictly, kept as it came: [`Document::read`] keeps the bytes of the file, which are what is stored and
//! hashed, and makes the canonical form of their signed part, which is what signatures cover
//! ([`Document::signed_bytes`]). Members that nobody knows are covered by both and never dropped. What is a
//! JSON reader's own choice is refused: a key twice, a key that differs from a known one in its case only (Go reads it
//! as the known one), a number that is no exact integer.
//!
//! What a server asks of an update is in [`publish`], what comes next in [`plan`], what a client asks of a server in
//! [`client`]. [`standard`] reads TUF 1.0, which others publish.
//!
//! Pure: times are compared with the time that the caller states, and nothing is signed here.
//! Not read: PyCrypto's and PyNaCl's signatures, of which one method is a name of its own; they do not count.

mod canonical;
mod certificate;
pub mod client;
mod expires;
mod fields;
mod key;
mod part;
pub mod plan;
pub mod publish;
mod repository;
mod role;
mod root;
mod snapshot;
pub mod standard;
mod targets;
mod verify;
mod whole;

use std::sync::{Arc, OnceLock};

use crate::format::json;
use crate::{Malformed, Sha256Digest};

pub use self::canonical::canonical;
pub use self::certificate::UnsignedCertificate;
pub use self::expires::Expires;
pub use self::key::{Key, KeyKind};
pub use self::part::Part;
pub use self::repository::Repository;
pub use self::role::RoleName;
pub use self::root::Root;
pub use self::snapshot::{Digester, FileMeta, Hashes, Snapshot, Timestamp};
pub use self::targets::{Delegation, Target, Targets};
pub use self::verify::{Authority, NotMet, WRONG_SIGNATURES_MAX};
pub use self::whole::NotWhole;
pub use crate::Gun;
use part::SignatureLine;

/// The longest metadata file that is read, in bytes.
pub const BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most signatures of one file.
pub const SIGNATURES_MAX: usize = 128;

/// A file of metadata that does not say what its role's files say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "closed set: Notary's wire has a word for each")]
pub enum Unsound {
    /// It is no JSON of metadata at all.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It is metadata, and breaks a rule of its role; in the words that Notary's clients know.
    #[error("{role} type metadata invalid: {why}")]
    Structure {
        /// The role whose file it should be.
        role: RoleName,
        /// Which rule; at most some hundred bytes, without control characters.
        why: String,
    },
}

/// A file whose time is over; in the words that Notary's clients know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{role} expired at {}", at.unix_date())]
#[expect(clippy::exhaustive_structs, reason = "all there is to say")]
pub struct Expired {
    /// Whose file it is.
    pub role: RoleName,
    /// Until when it counted.
    pub at: Expires,
}

/// A file of metadata: as it came, and what it says. Nobody has verified it yet. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Document(Arc<Content>);

/// What a [`Document`] is made of.
#[derive(Debug)]
struct Content {
    role: RoleName,
    raw: Vec<u8>,
    sha256: OnceLock<Sha256Digest>,
    signed: Vec<u8>,
    signatures: Vec<SignatureLine>,
    version: Version,
    expires: Expires,
    body: Body,
}

/// What a role's file says.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "closed set: TUF's four types")]
pub enum Body {
    /// Keys and thresholds of the four top roles.
    Root(Root),
    /// Which versions belong together.
    Snapshot(Snapshot),
    /// What is signed, and who else may sign; of `targets` and of delegations.
    Targets(Targets),
    /// Which snapshot is the current one.
    Timestamp(Timestamp),
}

/// The version of a metadata file: 1 to 2³¹−2.
///
/// Databases of the field hold 31 bits. The last number is never used: whoever gets there can never publish again,
/// so an attacker who held a key once could lock its owner out with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u32);

impl Version {
    /// The first one.
    pub const FIRST: Self = Self(1);
    /// The last one.
    pub const LAST: Self = Self(0x7fff_fffe);

    /// Takes a number; `None` outside of the range.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        let number = u32::try_from(number).ok()?;
        (Self::FIRST.0..=Self::LAST.0).contains(&number).then_some(Self(number))
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The next one; `None` after the last.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Self::new(u64::from(self.0).saturating_add(1))
    }
}

impl Document {
    /// Reads the file of `role` from all of `bytes`; white space behind it is taken, nothing else.
    ///
    /// # Errors
    /// [`Unsound::Malformed`] for what is no JSON of metadata: more than [`BYTES_MAX`] or [`SIGNATURES_MAX`], a member
    /// of another type, a date that is none, a key whose name is not its own hash. [`Unsound::Structure`] for
    /// metadata that breaks a rule of its role.
    pub fn read(role: &RoleName, bytes: &[u8]) -> Result<Self, Unsound> {
        Part::read(role, bytes)?.document()
    }

    /// Reads what a signer is asked to sign for a role: the canonical form of a signed part, and nothing else. It becomes
    /// a file without signatures.
    ///
    /// # Errors
    /// [`Unsound::Malformed`] for another form of the same, besides the errors of [`Document::read`].
    pub fn read_content(role: &RoleName, content: &[u8]) -> Result<Self, Unsound> {
        let value = json::read("metadata", content, BYTES_MAX)?;
        if canonical(&value) != content {
            return Err(Malformed::new("metadata", "the canonical form of what is signed").into());
        }
        Self::read(role, &canonical::file(&value, &[]))
    }

    /// Whose file it is.
    #[must_use]
    pub fn role(&self) -> &RoleName {
        &self.0.role
    }

    /// The file's bytes as they came: what is stored, served and hashed.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.0.raw
    }

    /// SHA-256 of [`Document::raw`]: what other files and a store know it by. It is taken once.
    #[must_use]
    pub fn sha256(&self) -> Sha256Digest {
        *self.0.sha256.get_or_init(|| Sha256Digest::of(self.raw()))
    }

    /// The canonical form of its signed part: what signatures cover.
    #[must_use]
    pub fn signed_bytes(&self) -> &[u8] {
        &self.0.signed
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// Until when it counts.
    #[must_use]
    pub fn expires(&self) -> &Expires {
        &self.0.expires
    }

    /// What it says.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.0.body
    }

    /// Whether it has expired at `now`, in seconds of Unix time.
    ///
    /// # Errors
    /// [`Expired`] when it has.
    pub fn counts_at(&self, now_unix_seconds: i64) -> Result<(), Expired> {
        if self.0.expires.has_passed(now_unix_seconds) {
            return Err(Expired { role: self.0.role.clone(), at: self.0.expires.clone() });
        }
        Ok(())
    }

    /// Counts the keys of `authority` that have signed it.
    ///
    /// A key counts once, whatever it is called and however often it signed; what does not verify counts for nothing.
    ///
    /// # Errors
    /// [`NotMet`] when they are fewer than its threshold.
    pub fn verify(&self, authority: &Authority<'_>) -> Result<(), NotMet> {
        verify::verify(self, authority)
    }
}
