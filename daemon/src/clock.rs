//! Time, from one place, so that a test can advance it instead of sleeping.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Wall clock and monotonic clock. Cheap to clone; clones of a manual clock move together.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { started: Instant },
    Manual { elapsed_ms: Arc<AtomicU64>, start_unix_ms: u64 },
}

impl Clock {
    /// The clock of the machine.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    pub(crate) fn system() -> Self {
        Self(Source::System { started: Instant::now() })
    }

    /// A clock that stands still at `start_unix_ms` (milliseconds since the Unix epoch) until it is advanced.
    #[cfg_attr(not(test), expect(dead_code, reason = "a clock for tests"))]
    #[must_use]
    pub(crate) fn manual(start_unix_ms: u64) -> Self {
        Self(Source::Manual { elapsed_ms: Arc::new(AtomicU64::new(0)), start_unix_ms })
    }

    /// Moves a manual clock on; the machine's clock does not listen.
    #[cfg(test)]
    pub(crate) fn advance(&self, by: Duration) {
        if let Source::Manual { elapsed_ms, .. } = &self.0 {
            elapsed_ms.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
        }
    }

    /// Milliseconds since the Unix epoch; 0 for a machine whose clock stands before it.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    pub(crate) fn now_unix_ms(&self) -> u64 {
        match &self.0 {
            Source::System { .. } => SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            Source::Manual { elapsed_ms, start_unix_ms } => {
                start_unix_ms.saturating_add(elapsed_ms.load(Ordering::SeqCst))
            }
        }
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub(crate) fn now_unix_seconds(&self) -> u64 {
        self.now_unix_ms() / 1000
    }

    /// Time since this clock was made; never goes back.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    pub(crate) fn monotonic(&self) -> Duration {
        match &self.0 {
            Source::System { started } => Instant::now().saturating_duration_since(*started),
            Source::Manual { elapsed_ms, .. } => Duration::from_millis(elapsed_ms.load(Ordering::SeqCst)),
        }
    }
}
