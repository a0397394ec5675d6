//! `push`, `pull`, `run`, `inspect`, `image …` as they are called.

use std::ffi::OsString;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use crate::trust_server::TrustRoot;

/// How an image is signed.
#[derive(Debug, Args)]
pub(crate) struct SigningChoice {
    /// The key, by name or id; without it the one image key whose scope covers REF.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Which signatures: sig, bundle; both without it.
    #[arg(long, value_name = "FORMS", value_delimiter = ',', value_parser = PossibleValuesParser::new(["sig", "bundle"]))]
    pub(crate) forms: Vec<String>,
}

/// `push`
#[derive(Debug, Args)]
pub(crate) struct PushArguments {
    /// The image: registry/repository:tag.
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    #[command(flatten)]
    pub(crate) how: SigningChoice,
    /// Leave docker's content trust alone: without it the tag is signed there, too, where the daemon has the
    /// repository's trust data.
    #[arg(long)]
    pub(crate) no_trust_data: bool,
}

/// What signatures are held to.
#[derive(Debug, Args)]
pub(crate) struct Belief {
    /// The name that signatures have to give, where the image is a mirror of it.
    #[arg(long = "as", value_name = "REF")]
    pub(crate) named_as: Option<String>,
    /// The root of the repository's trust data that is believed: a file, or the name of its key as `docker trust
    /// inspect` shows it. Without it the configured one, else the first that is seen.
    #[arg(long, value_name = "FILE|KEY")]
    pub(crate) trust_root: Option<TrustRoot>,
}

/// `pull`, `image verify`
#[derive(Debug, Args)]
pub(crate) struct PullArguments {
    /// The image: registry/repository:tag, or registry/repository@sha256:…
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    #[command(flatten)]
    pub(crate) belief: Belief,
}

/// `run`
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) belief: Belief,
    /// Options of the engine's run, the image, and its command.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "RUN ARGUMENTS")]
    pub(crate) arguments: Vec<OsString>,
}

/// `inspect`
#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// The image: registry/repository:tag, or registry/repository@sha256:…
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
}

/// `image …`
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Signs an image that is in the registry.
    Sign(SignArguments),
    /// Verifies an image in the registry; nothing is pulled.
    Verify(PullArguments),
}

/// `image sign`
#[derive(Debug, Args)]
pub(crate) struct SignArguments {
    /// The image: registry/repository:tag, with @sha256:… to sign nothing else than that.
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    #[command(flatten)]
    pub(crate) how: SigningChoice,
}
