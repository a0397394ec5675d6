//! `hsm …` as it is called.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `hsm …`
#[derive(Debug, Subcommand)]
pub(crate) enum HsmCommand {
    /// Measures a token: what really works, how fast, and what becomes of sessions and handles.
    Doctor(HsmDoctor),
    /// Lists the tokens of the daemon's configuration, and how each is.
    List,
    /// Gives the daemon a token's PIN, from the terminal, a file or standard input; tried once.
    Login(HsmLogin),
    /// Lists the keys in the tokens that are no key of the daemon's; nothing is done with them.
    Orphans {
        /// One token, by its name in the daemon's configuration; without it, all.
        #[arg(value_name = "TOKEN")]
        token: Option<String>,
    },
}

/// `hsm doctor`
#[derive(Debug, Args)]
pub(crate) struct HsmDoctor {
    /// The token, by its name in the daemon's configuration.
    #[arg(value_name = "TOKEN")]
    pub(crate) token: String,
    /// The most sessions that are tried.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) sessions_max: u16,
    /// How long a session is left alone.
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(0..=3600))]
    pub(crate) idle: u16,
    /// Has the daemon keep what is found, and use it from its next start or reload on.
    #[arg(long)]
    pub(crate) write_profile: bool,
}

/// `hsm login`
#[derive(Debug, Args)]
pub(crate) struct HsmLogin {
    /// The token, by its name in the daemon's configuration.
    #[arg(value_name = "TOKEN")]
    pub(crate) token: String,
    /// The file with the PIN, for you alone; without it, the terminal or standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) pin_file: Option<PathBuf>,
}
