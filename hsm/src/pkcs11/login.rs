//! The one login that all sessions of the process share.

use std::sync::{MutexGuard, PoisonError};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;

use super::Inner;
use super::fault::Fault;
use crate::{Pin, TokenTrouble};

/// The login, and the session that keeps it: a token logs out when the last session of a process is closed.
pub(super) struct Login {
    keeper: Session,
    /// `None` after the token has refused it: it is not tried again.
    pin: Option<Pin>,
    /// Counts logins; whatever was opened under an older one is stale.
    generation: u64,
}

impl Login {
    /// Logs in for the first time.
    pub(super) fn begin(context: &Pkcs11, slot: Slot, pin: Pin) -> Result<Self, Fault> {
        let keeper = open(context, slot)?;
        enter(&keeper, &pin)?;
        Ok(Self { keeper, pin: Some(pin), generation: 1 })
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether the token still knows our session, and that it is logged in.
    pub(super) fn probe(&self) -> Result<(), Fault> {
        if is_inside(&self.keeper)? { Ok(()) } else { Err(Fault::Login("nobody is logged in".to_owned())) }
    }

    fn renew(&mut self, context: &Pkcs11, slot: Slot) -> Result<(), Fault> {
        let pin = self.pin.as_ref().ok_or(Fault::Child(TokenTrouble::PinWrong))?;
        let keeper = open(context, slot)?;
        // Whoever believes to be inside may not be: leaving first makes both agree. An error says that we were not.
        let _ = keeper.logout();
        let entered = enter(&keeper, pin);
        // Only a refusal makes a PIN wrong: a token that is away for a moment says nothing about it.
        if matches!(entered, Err(Fault::Child(TokenTrouble::PinWrong))) {
            self.pin = None;
        }
        entered?;
        self.keeper = keeper;
        self.generation = self.generation.wrapping_add(1);
        Ok(())
    }
}

impl Inner {
    pub(super) fn login(&self) -> MutexGuard<'_, Login> {
        self.login.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs in anew, unless another thread has done so since `seen`.
    pub(super) fn renew_login(&self, seen: u64) -> Result<(), Fault> {
        let mut login = self.login();
        if login.generation != seen { Ok(()) } else { login.renew(&self.context, self.slot) }
    }
}

/// True when the session is a user's.
pub(super) fn is_inside(session: &Session) -> Result<bool, Fault> {
    let info = session.get_session_info().map_err(|error| Fault::of("look at a session", &error))?;
    Ok(matches!(info.session_state(), SessionState::RoUser | SessionState::RwUser))
}

fn open(context: &Pkcs11, slot: Slot) -> Result<Session, Fault> {
    context.open_ro_session(slot).map_err(|error| Fault::of("open a session", &error))
}

fn enter(keeper: &Session, pin: &Pin) -> Result<(), Fault> {
    match keeper.login_with_raw(UserType::User, &pin.to_raw()) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(error) => Err(Fault::of("log in", &error)),
    }
}
