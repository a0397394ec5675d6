//! `trust …` as it is called.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use trust::{Gun, Malformed, Repository};

/// `trust …`
#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// Begins a repository's trust data, with root and targets keys that the daemon holds.
    Init(TrustInit),
    /// Signs a tag that is in the registry: docker with content trust pulls it from now on.
    Sign(TrustSign),
    /// Signs a tag no more: docker with content trust refuses it from now on.
    Revoke(TrustSign),
    /// Shows what is signed in a repository, or in one tag of it (REPOSITORY:TAG), and whose keys may sign.
    Inspect(TrustInspect),
    /// Lets others sign, as `docker trust signer` does, with keys of the daemon or of their own.
    #[command(subcommand)]
    Delegate(DelegateCommand),
    /// Puts another key in the place of one: whoever knows the old one follows.
    Rotate(TrustRotate),
    /// Signs roles' files anew that say what they said before: after keys were changed, or before they expire.
    Witness(TrustWitness),
    /// Signs further what others began and what takes several holders' keys; the last signature publishes it.
    Approve(TrustApprove),
    /// Takes back what waits for signatures.
    Withdraw(TrustProposed),
}

/// `trust delegate …`
#[derive(Debug, Subcommand)]
pub(crate) enum DelegateCommand {
    /// Lets somebody sign; where he may already, with more keys, for more names.
    Add(DelegateAdd),
    /// Lets somebody, or keys of his, sign no more.
    Remove(DelegateRemove),
    /// Shows who may sign besides the repository's owner.
    List(DelegateList),
}

/// `trust delegate add`
#[derive(Debug, Args)]
pub(crate) struct DelegateAdd {
    #[command(flatten)]
    pub(crate) repository: TrustName,
    /// A signer's name: his keys sign targets/NAME and targets/releases. With targets/ before it that role alone.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// A key of the daemon of purpose delegation, by name or id; may be given again. Without any key one is made.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Vec<String>,
    /// A public key or certificate (PEM) of a key that is kept elsewhere; may be given again.
    #[arg(long, value_name = "FILE")]
    pub(crate) public_key: Vec<PathBuf>,
    /// How the tags begin that the role targets/NAME may sign; may be given again. Without it every tag.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) path: Vec<String>,
    /// How many keys of the role targets/NAME have to sign together.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) threshold: Option<u32>,
    /// The daemon's token that a new key is made in; without it the daemon's own custody.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["key", "public_key"])]
    pub(crate) token: Option<String>,
}

/// `trust delegate remove`
#[derive(Debug, Args)]
pub(crate) struct DelegateRemove {
    #[command(flatten)]
    pub(crate) repository: TrustName,
    /// A signer's name, or a role: targets/NAME.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Only this key, by its id as `trust delegate list` shows it, or its name in the daemon; may be given again.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Vec<String>,
}

/// `trust delegate list`
#[derive(Debug, Args)]
pub(crate) struct DelegateList {
    #[command(flatten)]
    pub(crate) repository: TrustName,
}

/// The name of a repository's trust data, which may be no image's.
#[derive(Debug, Args)]
pub(crate) struct TrustName {
    /// The repository: registry/repository.
    #[arg(value_name = "REPOSITORY")]
    pub(crate) typed: String,
    /// Take REPOSITORY as it stands, for a name that is no image's: demo/files, and not docker.io/demo/files.
    #[arg(long)]
    pub(crate) exact: bool,
}

impl TrustName {
    /// The name.
    ///
    /// # Errors
    /// Of what is none.
    pub(crate) fn gun(&self) -> Result<Gun, Malformed> {
        gun(&self.typed, self.exact)
    }

    /// The words by which another command takes it.
    pub(crate) fn words(&self) -> String {
        if self.exact { format!("--exact {}", self.typed) } else { self.typed.clone() }
    }
}

/// A name of trust data as it was typed: as docker reads names of images, or exactly as it stands.
///
/// # Errors
/// Of what is none.
pub(crate) fn gun(typed: &str, exact: bool) -> Result<Gun, Malformed> {
    if exact { typed.parse() } else { Repository::normalise(typed)?.as_str().parse() }
}

/// `trust rotate`
#[derive(Debug, Args)]
pub(crate) struct TrustRotate {
    #[command(flatten)]
    pub(crate) repository: TrustName,
    /// root, targets, snapshot, timestamp, or targets/NAME.
    #[arg(value_name = "ROLE")]
    pub(crate) role: String,
    /// The daemon's key that comes in, by name or id; without it the oldest that the repository has not used, else a new
    /// one.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// The key that goes, by its id as `trust inspect` shows it, or its name in the daemon; where the role has several.
    #[arg(long, value_name = "KEY")]
    pub(crate) old_key: Option<String>,
    /// The daemon's token that a new key is made in; without it the daemon's own custody.
    #[arg(long, value_name = "NAME")]
    pub(crate) token: Option<String>,
}

/// `trust witness`
#[derive(Debug, Args)]
pub(crate) struct TrustWitness {
    #[command(flatten)]
    pub(crate) repository: TrustName,
    /// root, targets, or targets/NAME. Look at what they say first: `trust inspect`.
    #[arg(required = true, value_name = "ROLE")]
    pub(crate) role: Vec<String>,
}

/// `trust approve`
#[derive(Debug, Args)]
pub(crate) struct TrustApprove {
    /// Which one.
    #[command(flatten)]
    pub(crate) proposed: TrustProposed,
    /// Your own key, which the daemon does not hold: a file with PKCS#8, Ed25519 or P-256, or one of docker's
    /// (~/.docker/trust/private). It signs here, and stays here.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// A file with the passphrase of an encrypted key; without it, it is asked for.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// `trust approve`, `trust withdraw`
#[derive(Debug, Args)]
pub(crate) struct TrustProposed {
    #[command(flatten)]
    pub(crate) repository: TrustName,
    /// Which proposal, by its digest: `trust inspect` shows what it changes, and this. Another one is not signed.
    #[arg(value_name = "DIGEST")]
    pub(crate) digest: String,
}

/// `trust init`
#[derive(Debug, Args)]
pub(crate) struct TrustInit {
    #[command(flatten)]
    pub(crate) repository: TrustName,
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

/// `trust inspect`: a repository, or one tag of it.
#[derive(Debug, Args)]
pub(crate) struct TrustInspect {
    #[command(flatten)]
    pub(crate) repository: TrustName,
}
