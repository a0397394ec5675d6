//! `hsm …` as it is called.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `hsm …`
#[derive(Debug, Subcommand)]
pub(crate) enum HsmCommand {
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
