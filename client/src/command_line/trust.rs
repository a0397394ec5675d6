//! `trust …` as it is called.

use clap::{Args, Subcommand};

/// `trust …`
#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// Begins a repository's trust data, with root and targets keys that the daemon holds.
    Init(TrustInit),
    /// Signs a tag that is in the registry: docker with content trust pulls it from now on.
    Sign(TrustSign),
    /// Signs a tag no more: docker with content trust refuses it from now on.
    Revoke(TrustSign),
    /// Shows what is signed in a repository, and whose keys may sign.
    Inspect(TrustInspect),
}

/// `trust init`
#[derive(Debug, Args)]
pub(crate) struct TrustInit {
    /// The repository: registry/repository.
    #[arg(value_name = "REPOSITORY")]
    pub(crate) repository: String,
    /// A root key of the daemon, by name or id; without it the oldest that the repository has not used, else a new one.
    #[arg(long, value_name = "KEY")]
    pub(crate) root_key: Option<String>,
    /// A targets key of the daemon, in the same way.
    #[arg(long, value_name = "KEY")]
    pub(crate) targets_key: Option<String>,
    /// The daemon's token for the keys that are not named; without it new ones are made in the daemon's own custody.
    #[arg(long, value_name = "NAME")]
    pub(crate) token: Option<String>,
}

/// `trust sign`, `trust revoke`
#[derive(Debug, Args)]
pub(crate) struct TrustSign {
    /// The image: registry/repository:tag; to sign nothing else than that, with @sha256:….
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    /// The role that signs it (targets, targets/NAME), may be given again; without it those whose keys you may use.
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Vec<String>,
}

/// `trust inspect`
#[derive(Debug, Args)]
pub(crate) struct TrustInspect {
    /// The repository, or one tag of it: registry/repository or registry/repository:tag.
    #[arg(value_name = "REPOSITORY")]
    pub(crate) repository: String,
}
