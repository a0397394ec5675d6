//! A custodian in a child process: supervisor on the daemon's side, entry on the child's.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::CustodyError;

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
    /// The root key file it may read; `None` where a passphrase unseals.
    pub root_file: Option<PathBuf>,
    /// The most sessions open at once.
    pub sessions_max: usize,
    /// The most opened keys the worker keeps.
    pub opened_keys_max: usize,
    /// After this long without an answer the worker counts as hung and is killed (more for RSA batches, key generation, unseal).
    pub hang_after: Duration,
}

/// Starts custody workers and starts them again.
#[derive(Debug)]
pub struct Supervisor;

impl Supervisor {
    /// Starts the worker, which comes up sealed: call [`crate::KeyRing::unseal`] next.
    ///
    /// After an unseal from a file a worker that died opens itself again from that file; after a passphrase
    /// nothing is kept, and it comes back sealed.
    ///
    /// # Errors
    /// [`CustodyError::Unavailable`] when it cannot be started or does not speak our protocol version.
    pub fn spawn(config: WorkerConfig) -> Result<Arc<WorkerCustodian>, CustodyError> {
        let _ = config;
        Err(CustodyError::unavailable("the worker is not built yet"))
    }
}

/// The custodian whose keys live in a child process.
///
/// Implements [`crate::Custodian`] and [`crate::KeyRing`]; dropping the last handle and session ends the child.
#[derive(Debug)]
pub struct WorkerCustodian(());

impl WorkerCustodian {
    /// The process id of the living worker; the doors refuse a peer that has one of these.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        Vec::new()
    }

    /// Kills the worker, which is then started again: whatever session hangs in it ends with
    /// [`CustodyError::Unavailable`], and every opened key is gone.
    pub fn restart(&self) {}
}
