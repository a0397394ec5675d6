//! `trustd` as it is called.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Key-custody daemon: signs only what it understood, after writing down that it will.
#[derive(Debug, Parser)]
#[command(name = "trustd", version, max_term_width = 100)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes a new data directory: key ring, store, log and the log's key.
    Init(Place),
    /// Opens what `init` made and serves until SIGTERM.
    Serve(Place),
    /// Names every fault of a configuration and its files at once.
    Check(Place),
    /// Brings store and log together again when one of them was put back: does again what restricts, names what is lost.
    Recover(Place),
    /// Works on the store while the daemon does not run.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Prints shell completions.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Writes manual pages.
    #[command(hide = true)]
    Man {
        /// Into which directory.
        directory: PathBuf,
    },
    /// Holds the keys; started by `serve`.
    #[command(hide = true)]
    CustodyWorker,
}

/// Which daemon.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The configuration; without one, a directory of the user's own.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Work on the store.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Makes a new data directory from a backup; it starts sealed or with its old root key.
    Import {
        /// Which daemon.
        #[command(flatten)]
        place: Place,
        /// The file of age identities that opens the backup, mode 0600.
        #[arg(long, value_name = "FILE")]
        identity: PathBuf,
        /// The backup.
        backup: PathBuf,
    },
}
