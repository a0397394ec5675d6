//! A token's custodian on the daemon's side: its module runs in a worker process of its own.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::doctor::Place;
use super::message::{Control, ControlAnswer, Tune};
use super::session::WorkerSession;
use super::supervisor::Shared;
use super::watch::Watched;
use super::{Supervisor, pin, reach};
use crate::{Custodian, CustodianState, CustodyError, Pin, PinState, Session, TokenFacts, TokenPlace, TokenTrouble};

/// Why a login is refused.
const SERVES: &str = "the token serves already, it needs no login";

/// How a token's worker is run.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "the caller states every part of it")]
pub struct TokenConfig {
    /// The program to start: `trustd` itself. Absolute.
    pub program: PathBuf,
    /// Its arguments: `custody-worker`. Never a secret.
    pub arguments: Vec<OsString>,
    /// The module, the token in it, and whose keys it keeps.
    pub place: TokenPlace,
    /// The user PIN: a file that nobody else may read, with or without a line feed behind it. `None`: the token waits
    /// for [`TokenWorker::login`].
    pub pin_file: Option<PathBuf>,
    /// Where a PIN that the token refused is remembered; its directory is there and ours alone.
    pub pin_mark: PathBuf,
    /// The module's environment, all of it: names and values. An absolute path is a file or directory of the module's
    /// own configuration, which it may read.
    pub environment: Vec<(String, OsString)>,
    /// Files and directories that the module may read, besides libraries.
    pub readable: Vec<PathBuf>,
    /// Files and directories in which the module may change everything.
    pub writable: Vec<PathBuf>,
    /// Where the module may connect to with TCP; nowhere, if empty. The kernel holds it to the ports, from Linux 6.7
    /// on, and never to the addresses.
    pub connect: Vec<SocketAddr>,
    /// The Unix sockets it is for. Where one is listed it may connect to any whose mode lets it: the kernel does not
    /// hold it to a path.
    pub sockets: Vec<PathBuf>,
    /// Device files, and directories of them, that the module may read, write and control.
    pub devices: Vec<PathBuf>,
    /// The most callers at once, [`TokenWorker::callers_for`] the sessions in any case.
    pub callers_max: usize,
    /// After this long without an answer to one call the worker counts as hung and is killed; RSA key
    /// generation gets a minute more.
    pub hang_after: Duration,
}

impl Supervisor {
    /// Starts the worker of a token and waits for its answer. A token that is not there, or does not take
    /// its PIN, is mounted all the same: its custodian is [`CustodianState::Unavailable`], says why, and tries again.
    ///
    /// # Errors
    /// [`CustodyError::Refused`] for a PIN file that is loose or no PIN and a module that is no file;
    /// [`CustodyError::Unavailable`] for a module that does not load.
    pub fn mount(config: TokenConfig) -> Result<Arc<TokenWorker>, CustodyError> {
        examine_token(&config)?;
        for what in reach::not_held(&config) {
            tracing::warn!(token = %config.place.name, what, "the kernel does not hold the module to its list");
        }
        let watched = Watched::start(Shared::of_token(config))?;
        Ok(Arc::new(TokenWorker { watched, measuring: Mutex::default() }))
    }
}

/// Says what is wrong with a token's files, without loading the module.
///
/// # Errors
/// [`CustodyError::Refused`] for what [`Supervisor::mount`] would refuse, too.
pub fn examine_token(config: &TokenConfig) -> Result<(), CustodyError> {
    let module = &config.place.module;
    let place = module.display();
    match std::fs::metadata(module) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(CustodyError::refused(format!("the module {place} is not a file"))),
        Err(error) => return Err(CustodyError::refused(format!("the module {place}: {error}"))),
    }
    config.pin_file.as_deref().map_or(Ok(()), pin::examine)
}

/// The custodian of a token whose module is in a child process.
///
/// Dropping it ends the child; sessions that are still open then answer [`CustodyError::Unavailable`].
pub struct TokenWorker {
    watched: Watched,
    measuring: Mutex<Place>,
}

impl TokenWorker {
    /// The process ids of the living worker and of one that measures; the doors refuse a peer that has one of these.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.watched.shared.pid().into_iter().chain(self.measuring_pid()).collect()
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.watched.shared
    }

    pub(super) const fn measuring(&self) -> &Mutex<Place> {
        &self.measuring
    }

    /// Sets after how long without an answer to one call a worker counts as hung, from the next call on.
    pub fn set_hang_after(&self, patience: Duration) {
        self.shared().launch.set_hang_after(patience);
    }

    /// How many callers keep so many sessions of the token at work: while what one has signed is verified and answered,
    /// another has the session.
    #[must_use]
    pub const fn callers_for(sessions: usize) -> usize {
        sessions.saturating_mul(2)
    }

    /// Has at most so many sessions of the token open for callers, in this worker and those to come, and one opened anew
    /// that was idle for longer than `idle_max`; `None`: never. Without a bound before this was called.
    pub fn use_sessions(&self, sessions_max: usize, idle_max: Option<Duration>) {
        let tune = Tune {
            sessions_max: u32::try_from(sessions_max).unwrap_or(u32::MAX),
            idle_max_ms: idle_max.and_then(|time| u64::try_from(time.as_millis()).ok()),
        };
        let launch = &self.shared().launch;
        if launch.set_tune(tune) != tune && self.state() == CustodianState::Ready {
            // A worker that cannot be told is replaced, and the next one is told when it starts.
            let _ = self.shared().control(&Control::Tune(tune), launch.hang_after());
        }
    }

    /// Ends the worker for good, also one whose module hangs: whoever waits for its answer hears
    /// [`CustodyError::Unavailable`], and so does everybody later. Does not wait for the process's end.
    pub fn stop(&self) {
        self.shared().stop();
    }

    /// Why the token does not serve; `None` while it does.
    #[must_use]
    pub fn trouble(&self) -> Option<TokenTrouble> {
        self.watched.shared.trouble()
    }

    /// What the token said of itself when it last served.
    #[must_use]
    pub fn facts(&self) -> Option<TokenFacts> {
        self.watched.shared.facts()
    }

    /// What is known about its PIN.
    #[must_use]
    pub fn pin_state(&self) -> PinState {
        self.watched.shared.pin().map_or(PinState::Missing, |pin| pin.state())
    }

    /// Logs in with a PIN that an operator gave: it is tried once, at once, also where an older one was refused (D23), and
    /// kept for later workers when the token takes it. Nothing is left of it otherwise. Blocks until the token has answered.
    ///
    /// # Errors
    /// [`CustodyError::Refused`] when the token serves already, or refuses the PIN; [`CustodyError::Unavailable`] when
    /// it cannot serve for another reason, or another login is under way; [`CustodyError::Late`] without an answer in time.
    pub fn login(&self, given: Pin) -> Result<(), CustodyError> {
        if self.state() == CustodianState::Ready {
            return Err(CustodyError::refused(SERVES));
        }
        let pin = || self.watched.shared.pin().ok_or(CustodyError::failed("find the keeper of a token's PIN"));
        pin()?.give(given)?;
        let is_decided = || pin().is_ok_and(|pin| pin.has_refusal());
        self.watched.shared.start_now(&is_decided);
        match pin()?.end_login() {
            Some(Ok(())) => Ok(()),
            Some(Err(TokenTrouble::PinWrong)) => Err(CustodyError::refused("the token refuses this PIN")),
            Some(Err(trouble)) => Err(trouble.into()),
            None if self.state() == CustodianState::Ready => Err(CustodyError::refused(SERVES)),
            None => Err(CustodyError::Late),
        }
    }

    /// Has the worker look whether the token is still there; one for which only a new worker can help gets one.
    /// Blocks until the answer is there, at most as long as a call may take.
    pub fn probe(&self) {
        let shared = self.shared();
        // Where no worker runs, one is being tried already; and a token that makes an RSA key may answer nothing else.
        if self.state() != CustodianState::Ready || shared.making.goes_on() {
            return;
        }
        let Ok((live, frame)) = shared.control(&Control::Probe, shared.launch.hang_after()) else { return };
        match postcard::from_bytes(&frame) {
            // One that dies later did not die at once: the next one is started without a pause.
            Ok(ControlAnswer::Probed(Ok(()))) => live.proved_useful(),
            Ok(ControlAnswer::Probed(Err(trouble))) => drop(shared.replace(&live, trouble)),
            Ok(_) | Err(_) => drop(shared.judge(&live, &std::io::ErrorKind::InvalidData.into())),
        }
    }
}

impl fmt::Debug for TokenWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenWorker({}, {}, pids {:?})", self.name(), self.state().name(), self.pids())
    }
}

impl Custodian for TokenWorker {
    fn open(&self) -> Result<Box<dyn Session>, CustodyError> {
        Ok(Box::new(WorkerSession::open(Arc::clone(&self.watched.shared))?))
    }

    fn name(&self) -> &str {
        self.watched.shared.name()
    }

    fn state(&self) -> CustodianState {
        self.watched.shared.custodian_state()
    }

    fn restarts(&self) -> u64 {
        self.watched.shared.restarts()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use super::super::{WorkerConfig, frame};
    use super::*;

    #[test]
    fn a_worker_that_answered_a_probe_is_no_useless_one_when_it_dies() {
        let mut process = Command::new("sleep").arg("600").spawn().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let config = WorkerConfig {
            program: "/bin/false".into(),
            arguments: Vec::new(),
            ring: "/nowhere/kek.ring".into(),
            root_file: None,
            sessions_max: 1,
            opened_keys_max: 1,
            hang_after: Duration::from_secs(60),
        };
        let shared = Arc::new(Shared::new(config));
        shared.adopt(process.id(), ours);
        let answers = std::thread::spawn(move || {
            let mut buffer = Vec::new();
            for _ in 0..2 {
                assert!(frame::read(&mut theirs, &mut buffer).unwrap());
                frame::encode(&ControlAnswer::Probed(Ok(())), &mut buffer).unwrap();
                frame::write(&mut theirs, &buffer).unwrap();
            }
        });
        let worker = TokenWorker { watched: Watched::alone(Arc::clone(&shared)), measuring: Mutex::default() };
        let (live, _) = shared.control(&Control::Probe, Duration::from_secs(60)).unwrap();
        shared.opened(&live, None).unwrap();
        assert!(!live.was_useful());

        worker.probe();

        assert!(live.was_useful());
        answers.join().unwrap();
        drop(worker);
        process.wait().unwrap();
    }
}
