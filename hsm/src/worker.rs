//! A custodian in a child process: supervisor on the daemon's side, entry on the child's.
//!
//! The two halves are one program. [`Supervisor::spawn`] starts it again with the
//! hidden subcommand that calls [`run`]; the control connection is the child's
//! standard input, and each session's socket is handed over that connection. Each
//! session is one thread in the child, so requests need no ids: one frame asks,
//! one frame answers, and a frame carries many orders.
//!
//! A child that hangs longer than its patience, dies, or talks nonsense is
//! replaced within a second; sessions find the new one by themselves. To see a
//! hang in a test, send `SIGSTOP` to one of [`WorkerCustodian::pids`] and wait until
//! every `/proc/PID/task/*/stat` says `T`: until then a thread may still answer.

mod breaker;
mod child;
mod descriptor;
mod doctor;
mod exchange;
mod frame;
#[cfg(test)]
mod hostile;
mod launch;
mod live;
mod making;
mod message;
mod pin;
mod pin_mark;
mod reach;
mod root;
mod sandbox;
mod session;
mod start;
mod supervisor;
mod syscalls;
mod token;
mod turns;
mod watch;
mod words;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    Custodian, CustodianState, CustodyError, KekInfo, KekState, KekVersion, KeyRing, Offer, OfferId, RootChange,
    RootSource, Session, StoreKey, Unsealed,
};
use live::Live;
use message::{Bytes, Control, ControlAnswer};
use session::WorkerSession;
use supervisor::Shared;
use watch::Watched;

pub use child::run;
pub use root::{draw_and_wrap, unseal_through};
pub use token::{TokenConfig, TokenWorker, examine_token};

/// How long Argon2id may take on a machine that is busy with other things.
const UNSEAL_PATIENCE: Duration = Duration::from_secs(120);

/// How a custody worker is run.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "the caller states every part of it")]
pub struct WorkerConfig {
    /// The program to start: `trustd` itself. Absolute.
    pub program: PathBuf,
    /// Its arguments: `custody-worker`. Never a secret.
    pub arguments: Vec<OsString>,
    /// The KEK ring file, absolute; the worker may write in its directory.
    pub ring: PathBuf,
    /// The root key file it may read, absolute; `None` where a passphrase unseals.
    pub root_file: Option<PathBuf>,
    /// The most sessions open at once.
    pub sessions_max: usize,
    /// The most opened keys the worker keeps.
    pub opened_keys_max: usize,
    /// After this long without an answer the worker counts as hung and is killed. RSA batches, key
    /// generation and unsealing get more, by what they cost.
    pub hang_after: Duration,
}

/// Starts custody workers and starts them again.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a name for one function")]
pub struct Supervisor;

impl Supervisor {
    /// Starts the worker, which comes up sealed: call [`KeyRing::unseal`] next. Blocks until it has answered.
    ///
    /// After an unseal from a file, a worker that died opens itself again from that file; after a passphrase
    /// nothing is kept, and it comes back sealed.
    ///
    /// # Errors
    /// [`CustodyError::Unavailable`] when it cannot be started or does not speak our protocol version.
    pub fn spawn(config: WorkerConfig) -> Result<Arc<WorkerCustodian>, CustodyError> {
        let watched = Watched::start(Shared::new(config))?;
        Ok(Arc::new(WorkerCustodian { watched, ring_change: Mutex::new(()) }))
    }
}

/// The custodian whose keys live in a child process.
///
/// Dropping it ends the child; sessions that are still open then answer [`CustodyError::Unavailable`].
pub struct WorkerCustodian {
    watched: Watched,
    /// Unseal and seal one after the other, so that what a new worker does by itself follows the last of them.
    ring_change: Mutex<()>,
}

impl WorkerCustodian {
    /// The process id of the living worker; the doors refuse a peer that has one of these.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.watched.shared.pid().into_iter().collect()
    }

    /// Kills the worker, which is then started again: whatever session hangs in it ends with
    /// [`CustodyError::Unavailable`], and every opened key is gone.
    pub fn restart(&self) {
        self.watched.shared.kill();
    }

    fn ask<T>(
        &self,
        request: &Control<'_>,
        patience: Duration,
        read: impl FnOnce(&Arc<Live>, ControlAnswer<'_>) -> Option<Result<T, CustodyError>>,
    ) -> Result<T, CustodyError> {
        root::ask(&self.watched.shared, request, patience, read)
    }

    /// Opens the ring; a worker that dies afterwards opens it again from the file `reopen`.
    fn open_up(&self, request: &Control<'_>, reopen: Option<PathBuf>) -> Result<Unsealed, CustodyError> {
        let _one_at_a_time = self.ring_change.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = UNSEAL_PATIENCE.saturating_add(self.patience());
        let (live, unsealed) = self.ask(request, patience, |live, answer| {
            let ControlAnswer::Unsealed { store_key, store } = answer else { return None };
            let mut bytes = Zeroizing::new([0; 32]);
            bytes.copy_from_slice(store_key.0.first_chunk::<32>()?);
            let store_key = StoreKey::take(&mut bytes);
            bytes.zeroize();
            Some(Ok((Arc::clone(live), Unsealed { store_key, store })))
        })?;
        self.watched.shared.opened(&live, reopen)?;
        Ok(unsealed)
    }

    fn patience(&self) -> Duration {
        self.watched.shared.launch.hang_after()
    }
}

impl fmt::Debug for WorkerCustodian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkerCustodian({}, pids {:?})", self.state().name(), self.pids())
    }
}

impl Custodian for WorkerCustodian {
    fn open(&self) -> Result<Box<dyn Session>, CustodyError> {
        Ok(Box::new(WorkerSession::open(Arc::clone(&self.watched.shared))?))
    }

    fn name(&self) -> &str {
        crate::software::NAME
    }

    fn state(&self) -> CustodianState {
        self.watched.shared.custodian_state()
    }

    fn restarts(&self) -> u64 {
        self.watched.shared.restarts()
    }
}

impl KeyRing for WorkerCustodian {
    fn unseal(&self, source: RootSource) -> Result<Unsealed, CustodyError> {
        match source {
            RootSource::File { path } => self.open_up(&Control::UnsealFile(message::bytes(&path)), Some(path.clone())),
            RootSource::Passphrase(passphrase) => {
                self.open_up(&Control::UnsealPassphrase(Bytes(passphrase.expose())), None)
            }
        }
    }

    fn offer(&self) -> Result<Offer, CustodyError> {
        self.ask(&Control::Offer, self.patience(), |_, answer| root::read_offer(answer).map(Ok))
    }

    fn unseal_offered(&self, offer: OfferId, sealed: &[u8]) -> Result<Unsealed, CustodyError> {
        self.open_up(&Control::UnsealOffered { offer: *offer.as_bytes(), sealed: Bytes(sealed) }, None)
    }

    fn draw_root(&self, receivers: &[Offer]) -> Result<Vec<Vec<u8>>, CustodyError> {
        let request = Control::DrawRoot(receivers.iter().map(|offer| offer.public_key).collect());
        self.ask(&request, self.patience(), |_, answer| match answer {
            ControlAnswer::Drawn(sealed) if sealed.len() == receivers.len() => {
                Some(Ok(sealed.iter().map(|sealed| sealed.0.to_vec()).collect()))
            }
            _ => None,
        })
    }

    fn change_root(&self, change: RootChange) -> Result<(), CustodyError> {
        let _one_at_a_time = self.ring_change.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = UNSEAL_PATIENCE.saturating_add(self.patience());
        // Where this fails the file of before stays the one to reopen from: if it is not the root's any more, it is refused.
        self.ask(&Control::ChangeRoot((&change).into()), patience, done)?;
        self.watched.shared.reopen_from(match change {
            RootChange::File { path, .. } => Some(path),
            RootChange::Passphrase(_) | RootChange::Token { .. } => None,
        });
        Ok(())
    }

    fn seal(&self) -> Result<(), CustodyError> {
        let _one_at_a_time = self.ring_change.lock().unwrap_or_else(PoisonError::into_inner);
        // First what a new worker would do, then the worker: one that dies between comes back sealed.
        self.watched.shared.closing();
        let sealed = self.ask(&Control::Seal, self.patience(), done);
        if sealed.is_err() {
            self.watched.shared.kill();
        }
        sealed
    }

    fn list(&self) -> Result<Vec<KekInfo>, CustodyError> {
        self.ask(&Control::List, self.patience(), |_, answer| match answer {
            ControlAnswer::List(lines) => lines.into_iter().map(read_line).collect::<Option<_>>().map(Ok),
            _ => None,
        })
    }

    fn begin_rotation(&self) -> Result<KekVersion, CustodyError> {
        self.ask(&Control::BeginRotation, self.patience(), |_, answer| match answer {
            ControlAnswer::Version(number) => KekVersion::new(number).map(Ok),
            _ => None,
        })
    }

    fn finish_rotation(&self) -> Result<(), CustodyError> {
        self.ask(&Control::FinishRotation, self.patience(), done)
    }
}

fn done(_: &Arc<Live>, answer: ControlAnswer<'_>) -> Option<Result<(), CustodyError>> {
    matches!(answer, ControlAnswer::Done).then_some(Ok(()))
}

fn read_line((number, state): (u32, u8)) -> Option<KekInfo> {
    let state = match state {
        0 => KekState::Current,
        1 => KekState::Readable,
        2 => KekState::Destroyed,
        _ => return None,
    };
    Some(KekInfo { version: KekVersion::new(number)?, state })
}
