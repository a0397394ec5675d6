//! How a token is used, decided when it is mounted and again when its profile or the token is another.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::{error, info, warn};
use trust_hsm::worker::TokenWorker;
use trust_hsm::{Custodian as _, TokenFacts};

use super::Custody;
use super::profile::{Profile, Standing, Tuning};
use crate::config::TokenConfig;

/// What says how a token is used, and what it comes to.
pub(crate) struct Usage {
    config: TokenConfig,
    profile: PathBuf,
    /// Whoever decides anew holds it from reading to doing. Not the lock of what was decided: a token may take its time.
    deciding: Mutex<()>,
    tuned: Mutex<Tuned>,
}

/// How a token is used, and which one it was when that was decided.
struct Tuned {
    tuning: Tuning,
    there: Option<TokenFacts>,
}

impl Usage {
    /// Decides for a token that is mounted and has no sessions yet. Reads the profile; blocks.
    pub(crate) fn decide(config: TokenConfig, profile: PathBuf, worker: &TokenWorker) -> Self {
        let there = worker.facts();
        let tuning = Tuning::of(&config, Profile::read(&profile), there.as_ref());
        announce(worker.name(), &tuning);
        tell(worker, &tuning);
        Self { config, profile, deciding: Mutex::default(), tuned: Mutex::new(Tuned { tuning, there }) }
    }

    /// What was decided last.
    pub(crate) fn tuning(&self) -> Tuning {
        self.tuned().tuning.clone()
    }

    /// Reads the profile anew and uses the token as it says. Blocks.
    pub(super) fn decide_anew(&self, custody: &Custody, worker: &TokenWorker) {
        let _turn = self.deciding.lock().unwrap_or_else(PoisonError::into_inner);
        let there = worker.facts();
        let tuning = Tuning::of(&self.config, Profile::read(&self.profile), there.as_ref());
        tell(worker, &tuning);
        if let Err(error) = custody.resize(TokenWorker::callers_for(tuning.sessions.0)) {
            error!(token = worker.name(), %error, "a token has not as many sessions as it should");
        }
        if self.tuned().tuning != tuning {
            announce(worker.name(), &tuning);
        }
        *self.tuned() = Tuned { tuning, there };
    }

    /// The same where another token is there than when it was done last: one that was absent, or was exchanged.
    pub(super) fn follow(&self, custody: &Custody, worker: &TokenWorker) {
        let there = worker.facts();
        if there.is_some() && there != self.tuned().there {
            self.decide_anew(custody, worker);
        }
    }

    fn tuned(&self) -> MutexGuard<'_, Tuned> {
        self.tuned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(worker: &TokenWorker, tuning: &Tuning) {
    worker.set_hang_after(tuning.hang_after.0);
    worker.use_sessions(tuning.sessions.0, tuning.session_idle_max());
}

/// Says in the log how a token is used.
fn announce(token: &str, tuning: &Tuning) {
    let (sessions, by) = tuning.sessions;
    let hang_after_ms = tuning.hang_after.0.as_millis();
    let (sessions_by, hang_after_by) = (by.name(), tuning.hang_after.1.name());
    if let Standing::Foreign(_) | Standing::Unreadable(_) = &tuning.profile {
        warn!(token, profile = %tuning.profile, "a token's profile is not used");
    }
    info!(token, sessions, sessions_by, hang_after_ms, hang_after_by, "how a token is used");
}
