//! Log lines on stderr: for people or for programs, never with a secret (those do not print).

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LoggingConfig};

/// Starts logging. `TRUSTD_LOG` overrides the configured level with a `tracing` filter.
pub(crate) fn start(config: &LoggingConfig) {
    let filter = EnvFilter::try_from_env("TRUSTD_LOG").unwrap_or_else(|_| EnvFilter::new(&config.level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    match config.format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => builder.with_target(false).init(),
    }
}
