//! Custody of private keys: where they are made, sealed, opened and used.
//!
//! Blocking on purpose; it knows no format, no store and no network. Material
//! comes in by argument, sealed, and only signatures and public keys go out.
//! [`SoftwareCustodian`] holds the keys; [`worker`] puts one into a child
//! process of its own, so that a plaintext key never shares memory with a
//! socket that strangers reach. Both stand behind [`Custodian`] and [`KeyRing`].

mod cipher;
pub mod doctor;
mod error;
mod imported;
mod keyring;
mod locked;
mod offer;
mod order;
mod pin;
mod pkcs11;
mod ring;
mod sealing;
mod secret;
mod secret_file;
mod software;
mod token;
pub mod worker;
mod wrapped_root;

pub use error::{CustodyError, TokenTrouble};
pub use keyring::{KekInfo, KekState, KekVersion, KeyRing, PassphraseCost, RootChange, RootSource, Unsealed};
pub use offer::{Offer, OfferId, seal_to};
pub use order::{
    AdoptOrder, DestroyOrder, Generated, ImportOrder, Material, Removed, RewrapOrder, SealContext, SealedKey,
    SignedOrder, SigningOrder,
};
pub use pin::Pin;
pub use pkcs11::{FoundToken, Judged, Pkcs11Custodian, TokenPlace};
pub use ring::{place_in as root_place_in, root_place};
pub use secret::{Passphrase, StoreKey};
pub use software::root::make_root_file;
pub use software::{SoftwareCustodian, create_root_file, examine_root_file, init_ring};
pub use token::{
    AdoptedId, KeyClass, KeyObject, ObjectId, PinState, TokenFacts, TokenKey, TokenName, TokenObject, TokenObjects,
    TokenSelector,
};
pub use wrapped_root::{RootPlace, WrapKeyId, WrappedRoot, Wrapping};

use std::time::Duration;

use trust::KeyId;

/// Whether a custodian can serve now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed set: status and health have a word for each")]
pub enum CustodianState {
    /// Open: keys can be made and used.
    Ready,
    /// Up, but without its root key: somebody must unseal it.
    Sealed,
    /// Not up; its supervisor is bringing it back.
    Unavailable,
}

impl CustodianState {
    /// The word for it in status, logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Sealed => "sealed",
            Self::Unavailable => "unavailable",
        }
    }
}

/// A place where private keys live.
///
/// Any number of sessions may be open at once. Nothing is kept for a caller but
/// opened keys, which [`Session::forget`] and sealing drop.
pub trait Custodian: Send + Sync {
    /// Opens one worker's own way in. Cheap, and never fails because custody is sealed.
    ///
    /// # Errors
    /// [`CustodyError::Unavailable`] when every session the configuration allows is open.
    fn open(&self) -> Result<Box<dyn Session>, CustodyError>;

    /// Its name in sealing contexts, logs and status: `software`.
    fn name(&self) -> &str;

    /// Whether it can serve now. Never blocks for longer than a lock is held.
    fn state(&self) -> CustodianState;

    /// How often its process was started again since this one began; 0 in process.
    fn restarts(&self) -> u64;
}

/// One worker's own way to a custodian: one thread, no lock.
///
/// After [`CustodyError::Unavailable`] or [`CustodyError::Late`] the session is
/// good for another call: it finds its way to the restarted custodian itself.
/// Whether the failed call used the key is then unknown.
pub trait Session: Send {
    /// Makes a key of the context's algorithm, seals it under the current KEK version and
    /// proves, by one signature verified under the new public key, that it works.
    ///
    /// # Errors
    /// [`CustodyError::Sealed`], [`CustodyError::Unavailable`], [`CustodyError::Late`], or
    /// [`CustodyError::Refused`] for a context of another store or an impossible pair of purpose and algorithm.
    fn generate(&mut self, context: &SealContext) -> Result<Generated, CustodyError>;

    /// Takes a key that somebody brings, sealed to an offer of this custodian; proves it as [`Session::generate`] does.
    ///
    /// # Errors
    /// [`CustodyError::Refused`] with what is wrong: the offer, the envelope, the key (another algorithm, a weak
    /// one, one whose parts do not fit), or what the token does not take. The offer is spent all the same.
    /// Else as [`Session::generate`].
    fn import(&mut self, order: &ImportOrder) -> Result<Generated, CustodyError>;

    /// Takes a key that is in the token already, after it has signed something that nobody could know before. Nothing in
    /// the token is changed.
    ///
    /// # Errors
    /// [`CustodyError::Refused`] with what is wrong: there is none with the id, or more than one; its two halves do not
    /// belong together; it is of another algorithm, is not the one it was said to be, could leave the token, does more
    /// than to sign, or is weak. Else as [`Session::generate`].
    fn adopt(&mut self, order: &AdoptOrder) -> Result<Generated, CustodyError>;

    /// Hands out a single-use public key, to which a secret can be sealed ([`seal_to`]). Also where custody is sealed;
    /// sealing takes it back.
    ///
    /// # Errors
    /// [`CustodyError::Unavailable`] when [`Offer::OPEN_MAX`] stand, and what a worker's call may meet.
    fn offer(&mut self) -> Result<Offer, CustodyError>;

    /// Signs every input of every order; one answer per order, in order.
    ///
    /// Orders share frames of the worker protocol, so many small ones cost little
    /// more than one. `deadline` is the time left to the most impatient caller: at
    /// zero nothing is sent and every order answers [`CustodyError::Late`]; a worker's session
    /// looks again before each frame, and so before each input of a token's. A call in
    /// progress is not cut short by it, only by the custodian's own patience
    /// ([`worker::WorkerConfig::hang_after`]): otherwise callers in a hurry could
    /// have the worker killed.
    fn sign(&mut self, orders: &[SigningOrder], deadline: Duration) -> Vec<SignedOrder>;

    /// Whether the last [`Session::sign`] certainly did not use the key of the order at this place. False where that is
    /// not known; meant for orders that were answered by [`CustodyError::Unavailable`] or [`CustodyError::Late`].
    fn is_untouched(&self, _order: usize) -> bool {
        false
    }

    /// Wraps the data keys of sealed records under the current KEK version; one answer per record, in order.
    ///
    /// A record that is already under it comes back unchanged.
    fn rewrap(&mut self, orders: &[RewrapOrder]) -> Vec<Result<Material, CustodyError>>;

    /// Takes a key version's objects out of a token: those with its `CKA_ID`, and only after their public half was
    /// seen to be the registered one. What was interrupted is finished by doing it again. Software custody keeps nothing
    /// but what is open, and drops that.
    ///
    /// # Errors
    /// [`CustodyError::Unavailable`], [`CustodyError::Late`]: what was done is then unknown;
    /// [`CustodyError::Corrupt`] where an object cannot be told from another key's: it is left alone.
    fn destroy(&mut self, order: &DestroyOrder) -> Result<Removed, CustodyError>;

    /// Every private and public key in a token, whoever made it; none in software custody.
    ///
    /// # Errors
    /// [`CustodyError::Unavailable`], [`CustodyError::Late`].
    fn objects(&mut self) -> Result<TokenObjects, CustodyError>;

    /// Drops what is open of every version of a key (disable, destroy). Wiped memory, not merely freed.
    ///
    /// # Errors
    /// [`CustodyError::Unavailable`] or [`CustodyError::Late`]: the worker's process is then gone or being
    /// killed, and with it everything that was open.
    fn forget(&mut self, key: KeyId) -> Result<(), CustodyError>;
}
