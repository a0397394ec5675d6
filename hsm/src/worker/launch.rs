//! How a worker is started, and how long anybody waits for it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::message::Tune;
use super::supervisor::lock;

/// How a worker is started, and how long it is waited for.
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(String, OsString)>,
    /// The most callers at once.
    pub(super) callers_max: usize,
    pub(super) hang_after_ms: AtomicU64,
    /// How a token's sessions are used.
    pub(super) tune: Mutex<Tune>,
}

impl Launch {
    /// After this long without an answer to one call a worker counts as hung.
    pub(super) fn hang_after(&self) -> Duration {
        Duration::from_millis(self.hang_after_ms.load(Ordering::Relaxed))
    }

    /// How a token's sessions are used.
    pub(super) fn tune(&self) -> Tune {
        *lock(&self.tune)
    }

    /// Has them used so from now on; comes back with how they were used before.
    pub(super) fn set_tune(&self, tune: Tune) -> Tune {
        std::mem::replace(&mut *lock(&self.tune), tune)
    }

    /// The same for calls that come.
    pub(super) fn set_hang_after(&self, patience: Duration) {
        self.hang_after_ms.store(milliseconds(patience), Ordering::Relaxed);
    }
}

pub(super) fn milliseconds(patience: Duration) -> u64 {
    u64::try_from(patience.as_millis()).unwrap_or(u64::MAX)
}
