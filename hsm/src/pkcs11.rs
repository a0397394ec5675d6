//! Private keys in a PKCS#11 token (2.40 or 3.x), which they never leave.
//!
//! In production only a worker process of its own mounts a module: whatever the
//! vendor's library does, it does it there. One process has one module and one
//! login; each session has one user at a time. What fails climbs a ladder (D24):
//! a new session, a new login, and then a new process, for a sick module is never
//! finalised. Handles are kept, but never across a reset: behind one the number
//! may mean another key, so the key is found again by its `CKA_ID` and its public
//! half compared with the registered one. Every signature is verified here
//! already, because only here a key can be looked for anew; the daemon verifies
//! it again, as it does for every custodian.

mod adopt;
mod doctor;
mod fault;
mod found;
mod generate;
mod import;
mod lamented;
mod listing;
mod login;
mod mechanism;
mod object;
mod pool;
mod public;
mod remove;
mod session;
mod wrapping;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::MechanismType;
use cryptoki::slot::Slot;

use crate::doctor::{Plan, Progress, Report};
use crate::offer::Offers;
use crate::{
    Custodian, CustodianState, CustodyError, Pin, SealContext, Session, TokenFacts, TokenKey, TokenName, TokenSelector,
    TokenTrouble,
};
use fault::Fault;
use lamented::Lamented;
use login::Login;
use pool::Pool;
use session::TokenSession;

pub use found::FoundToken;
pub use login::Judged;

/// Stack of a thread in which a vendor's code runs, in bytes: what such code is tested with.
pub(crate) const MODULE_STACK_BYTES: usize = 8 * 1024 * 1024;
/// Which token, in which module, for which store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the caller states every part of it")]
pub struct TokenPlace {
    /// What the operator calls it.
    pub name: TokenName,
    /// The store's uuid, 16 bytes: keys of another store are refused.
    pub store: [u8; 16],
    /// The module's shared library, absolute.
    pub module: PathBuf,
    /// The token in it.
    pub token: TokenSelector,
}

/// The custodian whose keys are in one token. Cheap to clone; clones are the same custodian.
///
/// At most one per process and module: a module has one state for the whole process.
#[derive(Clone)]
pub struct Pkcs11Custodian(Arc<Inner>);

struct Inner {
    name: TokenName,
    store: [u8; 16],
    context: Pkcs11,
    slot: Slot,
    facts: TokenFacts,
    login: Mutex<Login>,
    /// Held for reading while keys are made or deleted, for writing while the process logs out and in: to log out gives
    /// a handle's number to another key.
    handles: RwLock<()>,
    sessions: Pool,
    /// Keys for which a new login was no help.
    lamented: Lamented,
    /// What only a new process can heal; never taken back, and replaced by a wrong PIN only.
    trouble: Mutex<Option<TokenTrouble>>,
    /// A session that was idle for longer is opened anew, in milliseconds; `u64::MAX` where none is.
    session_idle_max_ms: AtomicU64,
    offers: Offers,
}

impl Pkcs11Custodian {
    /// Loads the module, finds the token and logs in, once.
    ///
    /// # Errors
    /// [`TokenTrouble`]; after [`TokenTrouble::PinWrong`] the PIN must not be tried again.
    pub fn mount(place: &TokenPlace, pin: Pin) -> Result<Self, TokenTrouble> {
        FoundToken::find(place)?.log_in(pin).map(|(custodian, _)| custodian)
    }

    /// What the token said of itself when it was mounted.
    #[must_use]
    pub fn facts(&self) -> &TokenFacts {
        &self.0.facts
    }

    /// Asks the token whether it is there and takes our login.
    ///
    /// # Errors
    /// The trouble that only a new process can heal.
    pub fn probe(&self) -> Result<(), TokenTrouble> {
        let probed = match self.trouble() {
            Some(trouble) => return Err(trouble),
            None => self.0.probe(),
        };
        match probed {
            // It is there, and others have its sessions.
            Ok(()) | Err(Fault::Crowded(_)) => Ok(()),
            Err(fault) => Err(self.0.give_up(&fault)),
        }
    }

    /// Has a session that was idle for longer opened anew before it is used, with its handles; `None`: none is.
    pub fn set_session_idle_max(&self, idle_max: Option<Duration>) {
        let idle_max_ms = idle_max.and_then(|time| u64::try_from(time.as_millis()).ok()).unwrap_or(u64::MAX);
        self.0.session_idle_max_ms.store(idle_max_ms, Ordering::Relaxed);
    }

    /// Has at most so many sessions open for callers, at least 1; callers beyond that wait for each other. Without a
    /// bound from the start.
    pub fn set_sessions_max(&self, sessions_max: usize) {
        self.0.sessions.set_max(sessions_max);
    }

    /// Measures the token; `tell` hears of each step, and ends the measurement by saying false.
    ///
    /// Deletes every object that it made. Takes minutes where a token is slow: bounded by the plan and the token.
    ///
    /// # Errors
    /// [`CustodyError::Unavailable`] when it was ended or the token goes away; what was made is deleted all the same,
    /// or by the next measurement.
    pub fn examine(&self, plan: &Plan, tell: &mut dyn FnMut(Progress) -> bool) -> Result<Report, CustodyError> {
        doctor::examine(&self.0, plan, tell)
    }

    fn inner(&self) -> Arc<Inner> {
        Arc::clone(&self.0)
    }

    /// What only a new process can heal.
    #[must_use]
    pub fn trouble(&self) -> Option<TokenTrouble> {
        self.0.trouble()
    }
}

impl fmt::Debug for Pkcs11Custodian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pkcs11Custodian({}, {})", self.0.name, self.state().name())
    }
}

impl Custodian for Pkcs11Custodian {
    fn open(&self) -> Result<Box<dyn Session>, CustodyError> {
        Ok(Box::new(TokenSession::new(Arc::clone(&self.0))))
    }

    fn name(&self) -> &str {
        self.0.name.as_str()
    }

    fn state(&self) -> CustodianState {
        if self.trouble().is_none() { CustodianState::Ready } else { CustodianState::Unavailable }
    }

    fn restarts(&self) -> u64 {
        0
    }
}

impl Inner {
    fn trouble(&self) -> Option<TokenTrouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that this process has come to the end of the ladder.
    fn give_up(&self, fault: &Fault) -> TokenTrouble {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let met = trouble_of(fault);
        // The first trouble is the cause of those that follow; but a PIN that is wrong must be known for it in any case.
        if met == TokenTrouble::PinWrong {
            *trouble = Some(met.clone());
        }
        trouble.get_or_insert(met).clone()
    }

    /// Whether a session that was used then has been idle for too long.
    fn is_idle_too_long(&self, used: Instant) -> bool {
        let idle_max_ms = self.session_idle_max_ms.load(Ordering::Relaxed);
        idle_max_ms != u64::MAX && doctor::since(used) / 1000 > idle_max_ms
    }

    /// Looks, and climbs the ladder's first rungs before it says that only a new process can help.
    fn probe(&self) -> Result<(), Fault> {
        let seen = self.login().generation();
        let looked = match self.look() {
            // A session that died alone took no login along.
            Err(Fault::Session(_)) => {
                let keeper = login::open(&self.context, self.slot)?;
                self.login().keep_with(keeper);
                self.look()
            }
            looked => looked,
        };
        match looked {
            Err(Fault::Session(_) | Fault::Login(_)) => {
                self.renew_login(seen)?;
                self.look()
            }
            looked => looked,
        }
    }

    fn look(&self) -> Result<(), Fault> {
        self.recognise()?;
        self.login().probe()
    }

    /// Refuses another token in the place of the one that was mounted: it is not to see this one's PIN.
    fn recognise(&self) -> Result<(), Fault> {
        let info = self.context.get_token_info(self.slot).map_err(|error| Fault::of("look at the token", &error))?;
        if !info.token_initialized() {
            return Err(Fault::Child(absent("it is not initialised")));
        }
        if self.facts.is_of(info.label(), info.serial_number()) {
            return Ok(());
        }
        let (label, serial) = (info.label(), info.serial_number());
        Err(Fault::Child(absent(&format!("another token is in its place: label {label:?} serial {serial:?}"))))
    }

    /// What the token says it can do.
    fn mechanisms(&self) -> Result<Vec<MechanismType>, Fault> {
        self.context.get_mechanism_list(self.slot).map_err(|error| Fault::of("list the token's mechanisms", &error))
    }

    /// Refuses a context of another store, and an object that is not the one of the context.
    fn check(&self, context: &SealContext, key: &TokenKey) -> Result<(), CustodyError> {
        self.refuse_foreign(context)?;
        if key.token != self.name {
            return Err(CustodyError::refused(format!("the key is in the token {}, not in {}", key.token, self.name)));
        }
        if !key.object.fits(context, &self.name) {
            return Err(CustodyError::corrupt("a token's key: tampered with, or of another row"));
        }
        Ok(())
    }

    fn refuse_foreign(&self, context: &SealContext) -> Result<(), CustodyError> {
        if context.store == self.store {
            return Ok(());
        }
        Err(CustodyError::refused("the key is another store's"))
    }
}

/// What is left of a fault when there is no rung any more.
fn trouble_of(fault: &Fault) -> TokenTrouble {
    match fault {
        Fault::Child(trouble) => trouble.clone(),
        Fault::Session(what) | Fault::Login(what) | Fault::Crowded(what) => TokenTrouble::Failed { what: what.clone() },
        Fault::Unsound => TokenTrouble::Failed { what: "a signature does not verify".to_owned() },
        Fault::Missing(error) | Fault::Final(error) => TokenTrouble::Failed { what: error.to_string() },
    }
}

fn absent(what: &str) -> TokenTrouble {
    TokenTrouble::Absent { what: what.to_owned() }
}
