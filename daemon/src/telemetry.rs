//! Log lines on stderr: for people or for programs, never with a secret (those do not print).
//!
//! Every call has a request id. It is the name under which an internal error is found: the caller reads the id,
//! the log has the id and the cause. Spans (the call, and one for each stage) are made at level `debug`.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LoggingConfig};

tokio::task_local! {
    static REQUEST: RequestId;
}

/// Names one call in the log. It is no secret and proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId(u64);

impl RequestId {
    /// An id that no other call of this process has.
    pub(crate) fn new() -> Self {
        // Begins anywhere, so that ids of two runs do not meet in one log.
        static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(RandomState::new().hash_one(0)));
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The id of the call that runs now; a new one for work that no call waits for.
    pub(crate) fn current() -> Self {
        REQUEST.try_with(|id| *id).unwrap_or_else(|_| Self::new())
    }

    /// Runs `call` under this id.
    pub(crate) async fn scope<T>(self, call: impl Future<Output = T>) -> T {
        REQUEST.scope(self, call).await
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Starts logging. `TRUSTD_LOG` overrides the configured level with a `tracing` filter.
pub(crate) fn start(config: &LoggingConfig) {
    let filter = EnvFilter::try_from_env("TRUSTD_LOG").unwrap_or_else(|_| EnvFilter::new(directives(&config.level)));
    // A line that cannot be written is lost: saying so on the same stderr would panic, as on a full disk.
    let builder = tracing_subscriber::fmt().log_internal_errors(false);
    let builder = builder.with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    match config.format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => builder.with_target(false).init(),
    }
}

/// Libraries below us speak up when something is wrong; what they do meanwhile is noise, and not ours to vouch for.
fn directives(level: &str) -> String {
    // h2 warns of each stream that a flood of resets loses: strangers must not fill the log (the doors count them).
    format!("warn,h2=error,trustd={level},trust_hsm={level}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_keeps_its_id_and_other_work_gets_one_of_its_own() {
        let id = RequestId::new();

        assert_eq!(id.scope(async { RequestId::current() }).await, id);
        assert_ne!(RequestId::current(), id);
        assert_eq!(id.to_string().len(), 16);
    }

    #[test]
    fn every_configured_level_is_a_filter() {
        for level in ["error", "warn", "info", "debug", "trace"] {
            assert!(EnvFilter::try_new(directives(level)).is_ok(), "{level}");
        }
    }
}
