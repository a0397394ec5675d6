//! The one login that all sessions of the process share.

use std::sync::{MutexGuard, PoisonError};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;

use super::fault::Fault;
use super::{Inner, trouble_of};
use crate::{Pin, TokenTrouble};

/// The login, and the session that keeps it: a token logs out when the last session of a process is closed.
pub(super) struct Login {
    keeper: Session,
    pin: Kept,
    /// Counts logins; whatever was opened under an older one is stale.
    generation: u64,
}

/// What the process may log in with again.
enum Kept {
    Proven(Pin),
    /// The token had us inside already and did not look at the PIN: a process that would try it must first have
    /// noted so.
    Unjudged,
    /// The token has refused it: it is not tried again.
    Refused,
}

/// What a login says about the PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "closed set: the token looked at it or not")]
pub enum Judged {
    /// The token has taken it.
    Right,
    /// The token had this process inside already, and did not look at it.
    Not,
}

impl Login {
    /// Logs in for the first time, over a session that is open already.
    pub(super) fn begin(keeper: Session, pin: Pin) -> Result<(Self, Judged), TokenTrouble> {
        let (pin, judged) = match enter(&keeper, &pin) {
            Ok(Judged::Right) => (Kept::Proven(pin), Judged::Right),
            Ok(Judged::Not) => (Kept::Unjudged, Judged::Not),
            Err(error) if leaves_open(&error) => return Err(TokenTrouble::PinUnanswered),
            Err(error) => return Err(trouble_of(&Fault::of("log in", &error))),
        };
        Ok((Self { keeper, pin, generation: 1 }, judged))
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether the token still knows our session, and that it is logged in.
    pub(super) fn probe(&self) -> Result<(), Fault> {
        if is_inside(&self.keeper)? { Ok(()) } else { Err(Fault::Login("nobody is logged in".to_owned())) }
    }

    /// Another session in the keeper's place: the login outlives a session that died alone.
    pub(super) fn keep_with(&mut self, keeper: Session) {
        self.keeper = keeper;
    }

    fn renew(&mut self, inner: &Inner) -> Result<(), Fault> {
        let pin = match &self.pin {
            Kept::Proven(pin) => pin,
            Kept::Unjudged => return Err(Fault::Login("the token has not judged the PIN yet".to_owned())),
            Kept::Refused => return Err(Fault::Child(TokenTrouble::PinWrong)),
        };
        inner.recognise()?;
        let fresh = match open(&inner.context, inner.slot) {
            Ok(session) => Some(session),
            // The token has no more: the one that kept the old login may do.
            Err(Fault::Crowded(_)) => None,
            Err(fault) => return Err(fault),
        };
        let keeper = fresh.as_ref().unwrap_or(&self.keeper);
        // Whoever believes to be inside may not be: leaving first makes both agree. An error says that we were not.
        let _ = keeper.logout();
        let entered = enter(keeper, pin).map_err(|error| Fault::of("log in", &error));
        // Only a refusal makes a PIN wrong: a token that is away for a moment says nothing about it.
        if matches!(entered, Err(Fault::Child(TokenTrouble::PinWrong))) {
            self.pin = Kept::Refused;
        }
        entered?;
        if let Some(fresh) = fresh {
            self.keeper = fresh;
        }
        self.generation = self.generation.wrapping_add(1);
        Ok(())
    }
}

impl Inner {
    pub(super) fn login(&self) -> MutexGuard<'_, Login> {
        self.login.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs in anew, unless another thread has done so since `seen`; says whether it did.
    pub(super) fn renew_login(&self, seen: u64) -> Result<bool, Fault> {
        let _no_handle = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        let mut login = self.login();
        if login.generation != seen {
            return Ok(false);
        }
        login.renew(self).map(|()| true)
    }
}

/// True when the session is a user's.
pub(super) fn is_inside(session: &Session) -> Result<bool, Fault> {
    let info = session.get_session_info().map_err(|error| Fault::of("look at a session", &error))?;
    Ok(matches!(info.session_state(), SessionState::RoUser | SessionState::RwUser))
}

pub(super) fn open(context: &Pkcs11, slot: Slot) -> Result<Session, Fault> {
    context.open_ro_session(slot).map_err(|error| Fault::of("open a session", &error))
}

fn enter(keeper: &Session, pin: &Pin) -> Result<Judged, Error> {
    match keeper.login_with_raw(UserType::User, &pin.to_raw()) {
        Ok(()) => Ok(Judged::Right),
        Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(Judged::Not),
        Err(error) => Err(error),
    }
}

/// Whether a login that failed so may have counted as a wrong PIN: the code says neither that the PIN is wrong nor
/// that nobody looked at it.
const fn leaves_open(error: &Error) -> bool {
    use RvError as Ckr;
    let Error::Pkcs11(code, _) = error else { return false };
    !matches!(
        code,
        Ckr::PinIncorrect
            | Ckr::PinInvalid
            | Ckr::PinLenRange
            | Ckr::PinLocked
            | Ckr::PinExpired
            | Ckr::UserPinNotInitialized
            | Ckr::ArgumentsBad
            | Ckr::CryptokiNotInitialized
            | Ckr::FunctionNotSupported
            | Ckr::OperationActive
            | Ckr::SessionClosed
            | Ckr::SessionHandleInvalid
            | Ckr::SessionReadOnlyExists
            | Ckr::SlotIdInvalid
            | Ckr::TokenNotPresent
            | Ckr::TokenNotRecognized
            | Ckr::UserAnotherAlreadyLoggedIn
            | Ckr::UserTooManyTypes
            | Ckr::UserTypeInvalid
    )
}
