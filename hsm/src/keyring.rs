//! The KEK ring as its operator sees it.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;

use crate::{CustodyError, Offer, OfferId, Passphrase, StoreKey, WrappedRoot};

/// A version of the key-encryption key: 1, 2, 3…; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KekVersion(NonZeroU32);

impl KekVersion {
    /// The version a ring is made with.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The version with this number; `None` for 0.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number, 1 or more.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for KekVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kek {}", self.0)
    }
}

/// What a KEK version still does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed set")]
pub enum KekState {
    /// Seals new records and opens old ones.
    Current,
    /// Opens old ones, until the rotation is finished.
    Readable,
    /// Overwritten; what only it had wrapped can never be opened again.
    Destroyed,
}

/// One line of `trustctl kek list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a line to print")]
pub struct KekInfo {
    /// Which version.
    pub version: KekVersion,
    /// What it still does.
    pub state: KekState,
}

/// Where the root key comes from.
#[derive(Debug)]
#[non_exhaustive]
pub enum RootSource {
    /// A file of exactly 32 bytes, mode 0600 or stricter, owned by us or by root.
    File {
        /// Its path, absolute.
        path: PathBuf,
    },
    /// A passphrase; it opens the root key that the ring file carries wrapped.
    Passphrase(Passphrase),
}

/// What Argon2id (RFC 9106) costs for a passphrase; written into the ring when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the parameters of RFC 9106")]
pub struct PassphraseCost {
    /// Memory in KiB, 65,536 (64 MiB) to 1,048,576 (1 GiB).
    pub memory_kib: u32,
    /// Passes, 3 to 16.
    pub passes: u32,
    /// Lanes, 1 to 16.
    pub lanes: u32,
}

impl PassphraseCost {
    /// The least that is accepted (RFC 9106 §4, second choice): 64 MiB, three passes, four lanes.
    pub const FLOOR: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };
}

impl Default for PassphraseCost {
    /// 256 MiB, three passes, four lanes.
    fn default() -> Self {
        Self { memory_kib: 256 * 1024, passes: 3, lanes: 4 }
    }
}

/// Where another root key is to be.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "closed set: what a ring's header can say")]
pub enum RootChange {
    /// In a file that [`crate::make_root_file`] has made.
    File {
        /// The file, absolute: a worker that dies opens itself again from it.
        path: PathBuf,
        /// The offer that the file's content is sealed to.
        offer: OfferId,
        /// The content, sealed.
        sealed: Vec<u8>,
    },
    /// Under a passphrase.
    Passphrase(Passphrase),
    /// In one token or two, which have wrapped the key that [`KeyRing::draw_root`] drew last.
    Token {
        /// What the tokens made of it.
        wraps: Vec<WrappedRoot>,
        /// Opens, too, for the day the tokens are lost.
        recovery: Option<Passphrase>,
    },
}

/// What an unseal hands to the daemon.
#[derive(Debug)]
#[must_use]
#[expect(clippy::exhaustive_structs, reason = "read by the caller")]
pub struct Unsealed {
    /// Authenticates and seals the store's rows.
    pub store_key: StoreKey,
    /// The store's uuid as the ring has it.
    pub store: [u8; 16],
}

/// Control of the software custodian's key-encryption keys, over a connection of its own.
///
/// Every call blocks: unsealing by passphrase for as long as Argon2id takes, rotations for a few fsyncs.
pub trait KeyRing: Send + Sync {
    /// Opens the ring with the root key. Where it is open already, the secret is checked and the answer the same.
    ///
    /// # Errors
    /// [`CustodyError::Refused`] for a wrong secret (the same work as for the right one) or a file with a
    /// loose mode; [`CustodyError::Corrupt`] for a ring that the right secret does not open.
    fn unseal(&self, source: RootSource) -> Result<Unsealed, CustodyError>;

    /// Hands out a single-use public key, to which a root key can be sealed. Sealing takes it back.
    ///
    /// # Errors
    /// [`CustodyError::Unavailable`] when [`Offer::OPEN_MAX`] stand, and what a worker's call may meet.
    fn offer(&self) -> Result<Offer, CustodyError>;

    /// Opens the ring with the root key that a token has unwrapped and sealed to `offer`. A worker that dies afterwards
    /// comes back sealed.
    ///
    /// # Errors
    /// As [`KeyRing::unseal`], and [`CustodyError::Refused`] for an offer that does not stand.
    fn unseal_offered(&self, offer: OfferId, sealed: &[u8]) -> Result<Unsealed, CustodyError>;

    /// Draws another root key, keeps it for [`KeyRing::change_root`], and seals it to the offer of each token.
    ///
    /// # Errors
    /// [`CustodyError::Sealed`], and [`CustodyError::Refused`] for an offer that is none.
    fn draw_root(&self, receivers: &[Offer]) -> Result<Vec<Vec<u8>>, CustodyError>;

    /// Puts the ring under another root key, durably. At every instant one of the two opens it; on return the newer,
    /// and the file under the older is overwritten. The store key stays.
    ///
    /// # Errors
    /// [`CustodyError::Sealed`]; [`CustodyError::Refused`] for a token's wraps without a key drawn before;
    /// [`CustodyError::Failed`] when the ring file cannot be replaced. Where the call fails the older root still opens,
    /// unless only the overwriting failed.
    fn change_root(&self, change: RootChange) -> Result<(), CustodyError>;

    /// Drops the root key, the ring and every opened key. A worker that dies afterwards comes back sealed.
    ///
    /// # Errors
    /// [`CustodyError::Unavailable`] or [`CustodyError::Late`] where the worker does not answer; it is then killed, which seals too.
    fn seal(&self) -> Result<(), CustodyError>;

    /// Every version, oldest first.
    ///
    /// # Errors
    /// [`CustodyError::Sealed`] and what a worker's call may meet.
    fn list(&self) -> Result<Vec<KekInfo>, CustodyError>;

    /// Makes a new current version, durably; the older ones stay readable. A rotation that was begun and
    /// not finished is resumed: its version is answered and none is made.
    ///
    /// # Errors
    /// [`CustodyError::Sealed`]; [`CustodyError::Failed`] when the ring file cannot be replaced: the old one then still holds.
    fn begin_rotation(&self) -> Result<KekVersion, CustodyError>;

    /// Destroys every version but the current one: their bytes leave the ring, the older file is overwritten
    /// and fsynced. The caller has rewrapped every record it wants to keep.
    ///
    /// # Errors
    /// As [`KeyRing::begin_rotation`].
    fn finish_rotation(&self) -> Result<(), CustodyError>;
}
