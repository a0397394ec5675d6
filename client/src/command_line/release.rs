//! `release …` as it is called.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `release …`
#[derive(Debug, Subcommand)]
pub(crate) enum ReleaseCommand {
    /// Signs a directory of files, or some of its files; signatures, list and manifest go beside them.
    Sign(ReleaseSign),
    /// Verifies a signed directory, here and without a daemon; a file that is missing, altered or too many is named.
    Verify(ReleaseVerify),
    /// Says whose releases are believed, by a name of yours for each project.
    #[command(subcommand)]
    Pin(ReleasePinCommand),
}

/// `release pin …`
#[derive(Debug, Subcommand)]
pub(crate) enum ReleasePinCommand {
    /// Believes these keys, and no others, for the releases of a project; replaces what was added for it.
    Add(ReleasePinAdd),
    /// Lists the pins, those of the host too.
    List,
    /// Removes a pin that `release pin add` made.
    Remove {
        /// The project, as `release pin list` shows it.
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// `release pin add`
#[derive(Debug, Args)]
pub(crate) struct ReleasePinAdd {
    /// What you call the project: segments of a-z 0-9 . _ - joined by /.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The public key of its statements, PEM; more than one, where the key was rotated.
    #[arg(long, required = true, value_name = "FILE")]
    pub(crate) public_key: Vec<PathBuf>,
    /// The public key of FILE.sig and FILE.sigstore.json, PEM; every file then has to have one.
    #[arg(long, value_name = "FILE")]
    pub(crate) blob_public_key: Vec<PathBuf>,
}

/// `release sign`
#[derive(Debug, Args)]
pub(crate) struct ReleaseSign {
    /// The key of purpose release-statement, by name or id.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: String,
    /// A key of purpose release-blob, for FILE.sig and FILE.sigstore.json beside each file.
    #[arg(long, value_name = "KEY")]
    pub(crate) blob_key: Option<String>,
    /// What the release is called; it stands in the manifest.
    #[arg(long = "version", id = "release_version", value_name = "VERSION")]
    pub(crate) version: Option<String>,
    /// The revision of its source; it stands in the manifest.
    #[arg(long, value_name = "REVISION")]
    pub(crate) source_revision: Option<String>,
    /// Replace the signatures that are there, and remove those that are not made anew.
    #[arg(long)]
    pub(crate) force: bool,
    /// One directory, or files of one directory.
    #[arg(required = true, value_name = "DIR|FILE")]
    pub(crate) paths: Vec<PathBuf>,
}

/// `release verify`
#[derive(Debug, Args)]
pub(crate) struct ReleaseVerify {
    /// The public key of the release's statements, PEM; more than one, where the key was rotated.
    #[arg(long, required_unless_present = "of", value_name = "FILE")]
    pub(crate) public_key: Vec<PathBuf>,
    /// The public key of FILE.sig and FILE.sigstore.json, PEM; every file then has to have one.
    #[arg(long, value_name = "FILE")]
    pub(crate) blob_public_key: Vec<PathBuf>,
    /// The keys that are pinned for this project, in place of keys in files.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["public_key", "blob_public_key"])]
    pub(crate) of: Option<String>,
    /// Only this version: an older release is signed, too.
    #[arg(long = "version", id = "release_version", value_name = "VERSION")]
    pub(crate) version: Option<String>,
    /// The directory.
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}
