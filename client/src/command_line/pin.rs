//! `pin …` as it is called.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `pin …`
#[derive(Debug, Subcommand)]
pub(crate) enum PinCommand {
    /// Believes a key for a repository, and there no key without a pin.
    Add(PinAdd),
    /// Lists the pins, those of the host too.
    List,
    /// Removes pins that `pin add` made.
    Remove(PinRemove),
}

/// `pin add`
#[derive(Debug, Args)]
pub(crate) struct PinAdd {
    /// A repository, or a prefix followed by /*.
    #[arg(value_name = "REPOSITORY")]
    pub(crate) repository: String,
    /// The public key, PEM.
    #[arg(long, value_name = "FILE")]
    pub(crate) public_key: PathBuf,
    /// Signatures that name no repository or tag count, too (those that cosign itself makes): a registry can then move
    /// tags from one signed image to another.
    #[arg(long)]
    pub(crate) any_tag: bool,
    /// Content trust cannot be switched off here.
    #[arg(long)]
    pub(crate) required: bool,
}

/// `pin remove`
#[derive(Debug, Args)]
pub(crate) struct PinRemove {
    /// The repository or prefix, as `pin list` shows it.
    #[arg(value_name = "REPOSITORY")]
    pub(crate) repository: String,
    /// Only the pin of this key.
    #[arg(long, value_name = "FILE")]
    pub(crate) public_key: Option<PathBuf>,
}
