//! `migrate …` as it is called.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use super::image::SigningChoice;
use super::trust::TrustName;
use crate::trust_server::TrustRoot;

/// `migrate …`
#[derive(Debug, Subcommand)]
pub(crate) enum MigrateCommand {
    /// From docker's content trust (Notary), and to it.
    #[command(subcommand)]
    Notary(NotaryCommand),
}

/// `migrate notary …`
#[derive(Debug, Subcommand)]
pub(crate) enum NotaryCommand {
    /// Signs anew, in another form, what content trust has signed: the same digests, tag by tag. May be interrupted and
    /// run again.
    Export(NotaryExport),
    /// Takes over what content trust has: keys, and trust data.
    #[command(subcommand)]
    Import(NotaryImport),
}

/// `migrate notary export`
#[derive(Debug, Args)]
pub(crate) struct NotaryExport {
    /// For whom: cosign.
    #[arg(long, required = true, value_name = "WHOM", value_delimiter = ',', value_parser = PossibleValuesParser::new(["cosign"]))]
    pub(crate) to: Vec<String>,
    #[command(flatten)]
    pub(crate) how: SigningChoice,
    /// The root of the repository's trust data that is believed: a file, or the name of its key as `docker trust
    /// inspect` shows it. Without it the configured one, else the first that is seen.
    #[arg(long, value_name = "FILE|KEY", conflicts_with = "all")]
    pub(crate) trust_root: Option<TrustRoot>,
    /// Every repository that `[[trust_servers]]` names.
    #[arg(long)]
    pub(crate) all: bool,
    /// The repositories: registry/repository.
    #[arg(value_name = "REPOSITORY", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) repositories: Vec<String>,
}

/// `migrate notary import …`
#[derive(Debug, Subcommand)]
pub(crate) enum NotaryImport {
    /// Brings the private keys of a docker trust directory into custody; only custody can open what is sent.
    Keys(ImportKeys),
    /// Takes over the trust data of a repository from a notary-server that runs: verified, and with its versions.
    Repository(ImportRepository),
    /// Brings the keys of a notary-signer into custody, out of a dump of its database.
    SignerKeys(ImportSigner),
}

/// `migrate notary import keys`
#[derive(Debug, Args)]
pub(crate) struct ImportKeys {
    /// The directory: ~/.docker/trust, or what --trustDir of notary names.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) from: PathBuf,
    /// A file with a passphrase, which is tried for each key; may be given again. Without it, it is asked for.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Vec<PathBuf>,
    /// A repository that root and delegation keys are for, beside those that the directory's metadata lists them for;
    /// may be given again.
    #[arg(long, value_name = "REPOSITORY")]
    pub(crate) repository: Vec<String>,
    /// Take these as they stand, for names that are no images': demo/files, and not docker.io/demo/files.
    #[arg(long, requires = "repository")]
    pub(crate) exact: bool,
    /// The daemon's token that they go into; the daemon's own custody where none is given.
    #[arg(long, value_name = "NAME")]
    pub(crate) token: Option<String>,
}

/// `migrate notary import repository`
#[derive(Debug, Args)]
pub(crate) struct ImportRepository {
    #[command(flatten)]
    pub(crate) repository: TrustName,
    /// The server that has its trust data: https://HOST, or with a port https://HOST:PORT. Without it the one that `[[trust_servers]]` names.
    #[arg(long, value_name = "URL")]
    pub(crate) from: Option<String>,
    /// Certificates in PEM that count for that server beside the system's.
    #[arg(long, value_name = "FILE", requires = "from")]
    pub(crate) ca: Option<PathBuf>,
    /// The root that is believed: a file, or the name of its key as `docker trust inspect` shows it. Without it the
    /// configured one, else the first that is seen.
    #[arg(long, value_name = "FILE|KEY")]
    pub(crate) trust_root: Option<TrustRoot>,
}

/// `migrate notary import signer-keys`
#[derive(Debug, Args)]
pub(crate) struct ImportSigner {
    /// The dump, by mysqldump DATABASE private_keys or pg_dump --table private_keys DATABASE; nobody else may read the file.
    #[arg(long, value_name = "FILE")]
    pub(crate) dump: PathBuf,
    /// A file with a passphrase of the signer, which is tried for each key; may be given again. Without it, it is asked
    /// for.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Vec<PathBuf>,
    /// The daemon's token that they go into; the daemon's own custody where none is given.
    #[arg(long, value_name = "NAME")]
    pub(crate) token: Option<String>,
}
