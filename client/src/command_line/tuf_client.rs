//! `trustctl tuf-client …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `tuf-client`: its options come before the verb, as TUF's conformance suite calls a client.
#[derive(Debug, Args)]
pub(crate) struct TufClientArguments {
    /// Where the metadata that is believed is kept.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) metadata_dir: PathBuf,
    /// Where the repository's metadata is.
    #[arg(long, value_name = "URL")]
    pub(crate) metadata_url: Option<String>,
    /// A target that is wanted; may be given more than once.
    #[arg(long, value_name = "PATH")]
    pub(crate) target_name: Vec<String>,
    /// Where the repository's targets are.
    #[arg(long, value_name = "URL")]
    pub(crate) target_base_url: Option<String>,
    /// Where targets are put, each under its path in one name: `/` is written `%2F`.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) target_dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) verb: TufClientVerb,
}

/// What the client is to do.
#[derive(Debug, Subcommand)]
pub(crate) enum TufClientVerb {
    /// Begins with a root that is trusted from elsewhere; asks nobody.
    Init {
        /// The root's metadata.
        root: PathBuf,
    },
    /// Brings the metadata up to date, and keeps what is believed of it.
    Refresh,
    /// Brings the metadata up to date, and downloads targets that it vouches for.
    Download,
}
