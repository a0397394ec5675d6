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
    #[arg(long, required = true, value_name = "FILE")]
    pub(crate) public_key: Vec<PathBuf>,
    /// The public key of FILE.sig and FILE.sigstore.json, PEM; every file then has to have one.
    #[arg(long, value_name = "FILE")]
    pub(crate) blob_public_key: Vec<PathBuf>,
    /// Only this version: an older release is signed, too.
    #[arg(long = "version", id = "release_version", value_name = "VERSION")]
    pub(crate) version: Option<String>,
    /// The directory.
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}
