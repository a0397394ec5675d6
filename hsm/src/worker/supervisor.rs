//! What a custodian, its sessions and its watching thread share: the worker that lives now, and why none does.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zeroize::Zeroizing;

use super::breaker::Breaker;
use super::launch::{Launch, milliseconds};
use super::live::Live;
use super::making::Making;
use super::message::Control;
use super::pin::PinKeeper;
use super::turns::Turns;
use super::{TokenConfig, WorkerConfig};
use crate::{CustodianState, CustodyError, TokenFacts, TokenTrouble};

/// How long a session waits for a worker that is being started.
pub(super) const START_PATIENCE: Duration = Duration::from_secs(3);

/// What the worker keeps.
pub(super) enum Keeps {
    Ring { ring: PathBuf, root_file: Option<PathBuf>, opened_keys_max: usize },
    Token { config: Box<TokenConfig>, pin: Box<Mutex<PinKeeper>> },
}

/// What the custodian, its sessions and the watching thread share.
pub(super) struct Shared {
    pub(super) launch: Launch,
    pub(super) keeps: Keeps,
    pub(super) callers: AtomicUsize,
    /// What is in the worker, so that what only waits there for its turn does not count as hung.
    pub(super) turns: Turns,
    /// What costs the token's workers, and what keeps them busy.
    pub(super) breaker: Breaker,
    pub(super) making: Making,
    /// Workers that have served.
    started: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    live: Option<Arc<Live>>,
    /// The root key file that a new worker opens the ring with by itself. Never a passphrase.
    reopen: Option<PathBuf>,
    open: bool,
    stopping: bool,
    /// Workers in a row that died without having answered anybody.
    useless: u32,
    /// Why the last worker of a token did not serve.
    trouble: Option<TokenTrouble>,
    /// What the token said of itself when it last served.
    facts: Option<TokenFacts>,
    /// The next start does not wait for its pause: somebody has logged in.
    hurry: bool,
}

/// Whatever panicked with it in hand: each of these is whole between any two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(config: WorkerConfig) -> Self {
        let WorkerConfig { program, arguments, ring, root_file, sessions_max, opened_keys_max, hang_after } = config;
        let hang_after_ms = AtomicU64::new(milliseconds(hang_after));
        let (environment, tune) = (Vec::new(), Mutex::default());
        let launch = Launch { program, arguments, environment, callers_max: sessions_max, hang_after_ms, tune };
        Self::keeping(launch, Keeps::Ring { ring, root_file, opened_keys_max })
    }

    pub(super) fn of_token(config: TokenConfig) -> Self {
        let launch = Launch {
            program: config.program.clone(),
            arguments: config.arguments.clone(),
            environment: config.environment.clone(),
            callers_max: config.callers_max,
            hang_after_ms: AtomicU64::new(milliseconds(config.hang_after)),
            tune: Mutex::default(),
        };
        let name = config.place.name.clone();
        let pin = Mutex::new(PinKeeper::new(name, config.pin_file.clone(), config.pin_mark.clone()));
        Self::keeping(launch, Keeps::Token { config: Box::new(config), pin: Box::new(pin) })
    }

    fn keeping(launch: Launch, keeps: Keeps) -> Self {
        let state = State {
            live: None,
            reopen: None,
            open: false,
            stopping: false,
            useless: 0,
            trouble: None,
            facts: None,
            hurry: false,
        };
        Self {
            launch,
            keeps,
            callers: AtomicUsize::new(0),
            turns: Turns::default(),
            breaker: Breaker::default(),
            making: Making::default(),
            started: AtomicU64::new(0),
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Takes a process of a test for the running worker.
    #[cfg(test)]
    pub(super) fn adopt(&self, pid: u32, control: UnixStream) {
        use rustix::process::{Pid, PidfdFlags, pidfd_open};
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
        let handle = pidfd_open(raw, PidfdFlags::empty()).unwrap();
        self.state().live = Some(Arc::new(Live::new(pid, handle, control)));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn custodian_state(&self) -> CustodianState {
        let state = self.state();
        match (&state.live, state.open) {
            (Some(_), true) => CustodianState::Ready,
            (Some(_), false) => CustodianState::Sealed,
            (None, _) => CustodianState::Unavailable,
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.state().live.as_ref().map(|live| live.pid)
    }

    pub(super) fn is_token(&self) -> bool {
        matches!(self.keeps, Keeps::Token { .. })
    }

    /// The custodian's name.
    pub(super) fn name(&self) -> &str {
        match &self.keeps {
            Keeps::Ring { .. } => crate::software::NAME,
            Keeps::Token { config, .. } => config.place.name.as_str(),
        }
    }

    /// How often a worker has taken the place of another.
    pub(super) fn restarts(&self) -> u64 {
        self.started.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// Why the token does not serve, where that is known.
    pub(super) fn trouble(&self) -> Option<TokenTrouble> {
        self.state().trouble.clone()
    }

    /// What the token said of itself when it last served.
    pub(super) fn facts(&self) -> Option<TokenFacts> {
        self.state().facts.clone()
    }

    /// The keeper of the token's PIN. The lock of the state may be held, and is never taken after this.
    pub(super) fn pin(&self) -> Option<MutexGuard<'_, PinKeeper>> {
        match &self.keeps {
            Keeps::Ring { .. } => None,
            Keeps::Token { pin, .. } => Some(lock(pin)),
        }
    }

    /// Has a worker started without the pause, and waits until it serves or `is_refused`: as long as the start that
    /// is under way and one more may take.
    pub(super) fn start_now(&self, is_refused: &dyn Fn() -> bool) {
        let patience = START_PATIENCE.saturating_add(self.launch.hang_after()).saturating_mul(2);
        let mut state = self.state();
        state.hurry = true;
        self.changed.notify_all();
        let is_over = |state: &State| state.stopping || state.live.is_some() && state.open;
        let waits = |state: &mut State| !is_over(state) && !is_refused();
        drop(self.changed.wait_timeout_while(state, patience, waits));
    }

    /// Ends a worker that asks for it, and says why nothing was done.
    pub(super) fn replace(&self, live: &Arc<Live>, trouble: TokenTrouble) -> CustodyError {
        let mut state = self.state();
        if state.live.as_ref().is_some_and(|current| Arc::ptr_eq(current, live)) {
            tracing::error!(custodian = self.name(), pid = live.pid, %trouble, "custody worker asks to be replaced");
            if let (Keeps::Token { pin, .. }, TokenTrouble::PinWrong) = (&self.keeps, &trouble) {
                lock(pin).refused();
            }
            state.trouble = Some(trouble.clone());
            state.open = false;
            state.live = None; // nobody attaches to it any more
        }
        drop(state);
        live.kill();
        trouble.into()
    }

    /// Notes what the token says of itself.
    pub(super) fn say(&self, facts: TokenFacts) {
        self.state().facts = Some(facts);
    }

    pub(super) fn is_current(&self, live: &Arc<Live>) -> bool {
        self.state().live.as_ref().is_some_and(|current| Arc::ptr_eq(current, live))
    }

    pub(super) fn kill(&self) {
        if let Some(live) = &self.state().live {
            live.kill();
        }
    }

    /// Ends the worker for good.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.stopping = true;
        if let Some(live) = &state.live {
            live.kill();
        }
        drop(state);
        self.changed.notify_all();
    }

    /// The running worker, waiting a little for one that is being started.
    ///
    /// After two in a row that were of no use nobody waits: the watching thread goes on trying, and whoever asks
    /// meanwhile hears at once that there is none.
    fn live(&self) -> Result<Arc<Live>, CustodyError> {
        let starting = |state: &mut State| state.live.is_none() && !state.stopping && state.useless < 2;
        let waited = self.changed.wait_timeout_while(self.state(), START_PATIENCE, starting);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.live.clone().ok_or_else(|| match &state.trouble {
            Some(trouble) => trouble.clone().into(),
            None => CustodyError::unavailable("the custody worker is being restarted"),
        })
    }

    /// A new session's stream into the running worker.
    pub(super) fn attach(&self) -> Result<(Arc<Live>, UnixStream), CustodyError> {
        let live = self.live()?;
        let patience = self.launch.hang_after();
        match live.attach(patience, self.making.excuses(patience)) {
            Ok(stream) => Ok((live, stream)),
            Err(error) => Err(self.judge(&live, &error)),
        }
    }

    /// Asks over the control connection; the answer's frame comes back in memory that will be wiped.
    pub(super) fn control(
        &self,
        request: &Control<'_>,
        patience: Duration,
    ) -> Result<(Arc<Live>, Zeroizing<Vec<u8>>), CustodyError> {
        let live = self.live()?;
        match live.ask(request, patience, self.making.excuses(patience)) {
            Ok(answer) => Ok((live, answer)),
            Err(error) => Err(self.judge(&live, &error)),
        }
    }

    /// What a failed exchange means. A worker that hangs or talks nonsense is killed, and the watching thread replaces it.
    pub(super) fn judge(&self, live: &Arc<Live>, error: &io::Error) -> CustodyError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                tracing::error!(custodian = self.name(), pid = live.pid, "custody worker hangs: killed");
                live.kill();
                CustodyError::Late
            }
            io::ErrorKind::InvalidData => {
                tracing::error!(
                    custodian = self.name(),
                    pid = live.pid,
                    "custody worker answers out of protocol: killed"
                );
                live.kill();
                CustodyError::unavailable("the custody worker answered out of protocol")
            }
            _ => CustodyError::unavailable(format!("the custody worker is gone: {error}")),
        }
    }

    /// Makes a worker that has been greeted the current one; `reopened` says whether it opened its ring by itself.
    pub(super) fn enter(&self, live: Live, reopened: Option<Result<(), CustodyError>>) -> Arc<Live> {
        let live = Arc::new(live);
        self.started.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        state.open = match reopened {
            Some(Ok(())) => state.reopen.is_some(), // sealed meanwhile: the seal finds the new worker and reaches it
            Some(Err(error)) => {
                tracing::error!(custodian = self.name(), %error, "the new custody worker comes up sealed");
                false
            }
            None => self.is_token(), // it has logged in before it was greeted
        };
        state.trouble = None;
        state.live = Some(Arc::clone(&live));
        if state.stopping {
            live.kill();
        }
        drop(state);
        self.changed.notify_all();
        live
    }

    /// The root key file that a new worker is to open its ring with.
    pub(super) fn reopen(&self) -> Option<PathBuf> {
        self.state().reopen.clone()
    }

    /// Notes whether the ring is open in `live`; refuses when another worker has taken its place.
    pub(super) fn opened(&self, live: &Arc<Live>, reopen: Option<PathBuf>) -> Result<(), CustodyError> {
        let mut state = self.state();
        if !state.live.as_ref().is_some_and(|current| Arc::ptr_eq(current, live)) {
            return Err(CustodyError::unavailable("the custody worker died after it was unsealed"));
        }
        state.open = true;
        state.reopen = reopen;
        Ok(())
    }

    /// From which root key file a new worker opens the ring by itself.
    pub(super) fn reopen_from(&self, file: Option<PathBuf>) {
        self.state().reopen = file;
    }

    /// No worker opens the ring by itself from here on.
    pub(super) fn closing(&self) {
        let mut state = self.state();
        state.reopen = None;
        state.open = false;
    }

    /// Notes that no worker could be started, and says so once for each trouble.
    pub(super) fn not_started(&self, trouble: Option<TokenTrouble>) {
        let mut state = self.state();
        if trouble != state.trouble
            && let Some(trouble) = &trouble
        {
            tracing::error!(custodian = self.name(), %trouble, "a token does not serve");
        }
        state.useless = state.useless.saturating_add(1);
        state.trouble = trouble;
        drop(state);
        self.changed.notify_all();
    }

    /// Notes that the worker has ended. True where nobody meant it to.
    pub(super) fn ended(&self, live: &Live) -> bool {
        let mut state = self.state();
        state.live = None;
        state.open = false;
        state.useless = if live.was_useful() { 0 } else { state.useless.saturating_add(1) };
        !state.stopping
    }

    /// Waits before the next start, by the number of workers in a row that were of no use. False when it is time to stop.
    pub(super) fn pause(&self, after: impl FnOnce(u32) -> Duration) -> bool {
        let state = self.state();
        let pause = after(state.useless);
        let waited = self.changed.wait_timeout_while(state, pause, |state| !state.stopping && !state.hurry);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.hurry = false;
        !state.stopping
    }
}
