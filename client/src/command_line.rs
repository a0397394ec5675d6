//! `trustctl` as it is called.

pub(crate) mod hsm;
pub(crate) mod image;
pub(crate) mod key;
pub(crate) mod migrate;
pub(crate) mod pin;
pub(crate) mod release;
pub(crate) mod trust;
pub(crate) mod tuf_client;

use std::path::PathBuf;

use clap::builder::{BoolishValueParser, PossibleValuesParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use self::trust::TrustCommand;
use crate::output::Format;
use hsm::HsmCommand;
use image::{ImageCommand, InspectArguments, PullArguments, PushArguments, RunArguments};
use key::KeyCommand;
use migrate::MigrateCommand;
use pin::PinCommand;
use release::ReleaseCommand;
use tuf_client::TufClientArguments;

const AFTER: &str = "Exit codes:
  0    done, verified
  1    refused, or not verified
  2    the call or a configuration is wrong
  3    nobody answers, or not now: trying again later may help
  4    anything else
  5    signed as far as you can: nothing is published before others sign, too
  run ends with the container's own code, and with 125 when it started none.

Environment:
  TRUSTD_ADDR           the daemon: unix:///path or https://host:port
  DOCKER_CONTENT_TRUST  0, f, F, false, False or FALSE: images are not verified
  NO_COLOR              no colours";

/// Signs with keys that stay in trustd; verifies here.
#[derive(Debug, Parser)]
#[command(name = "trustctl", version, after_long_help = AFTER, max_term_width = 100, infer_subcommands = false)]
pub(crate) struct CommandLine {
    /// The daemon: unix:///path or https://host:port. It signs; whom you believe is not changed by it.
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) endpoint: Option<String>,
    /// How results are written.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
    /// The container engine; without it the one that is there, docker first.
    #[arg(long, global = true, value_name = "ENGINE")]
    pub(crate) engine: Option<EngineName>,
    /// Speak to registries without TLS (to localhost without asking).
    #[arg(long, global = true)]
    pub(crate) plain_http: bool,
    /// Pull and run without verification, and say so.
    #[arg(
        long,
        global = true,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    pub(crate) disable_content_trust: Option<bool>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A container engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    /// docker
    Docker,
    /// podman
    Podman,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes keys and leads them through their life.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Signs files: FILE.sig and FILE.sigstore.json beside each.
    Sign(SignArguments),
    /// Verifies files, here and without a daemon, or under a key by its name.
    Verify(VerifyArguments),
    /// Signs and verifies releases: files by their names, their list, their manifest.
    #[command(subcommand)]
    Release(ReleaseCommand),
    /// Lets the engine push an image, and signs what was pushed.
    Push(PushArguments),
    /// Verifies an image, then pulls it by digest.
    Pull(PullArguments),
    /// Verifies an image, then runs it by digest; options of `run` come after it, those of trustctl before.
    Run(RunArguments),
    /// Shows what is in the registry for an image: digest, signatures, keys.
    Inspect(InspectArguments),
    /// Signs and verifies images in a registry, without an engine.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Keeps docker's content trust with keys that stay in the daemon.
    #[command(subcommand)]
    Trust(TrustCommand),
    /// Moves from one way of signing images to another, with what is signed.
    #[command(subcommand)]
    Migrate(MigrateCommand),
    /// Says which keys are believed for which repositories.
    #[command(subcommand)]
    Pin(PinCommand),
    /// Believes the keys that a daemon on TCP reports as trusted.
    Enroll(EnrollArguments),
    /// Reads and verifies the log of everything that was decided and signed.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Shows how the daemon is.
    Status,
    /// Makes the daemon forget its root key; nothing is signed until `unseal`.
    Seal,
    /// Gives the daemon the passphrase of its root key, from the terminal or from standard input.
    Unseal {
        /// Without a passphrase: by the token that has the root key wrapped.
        #[arg(long)]
        by_token: bool,
    },
    /// Shows and rotates the keys that seal all others.
    #[command(subcommand)]
    Kek(KekCommand),
    /// Looks after the daemon's PKCS#11 tokens.
    #[command(subcommand)]
    Hsm(HsmCommand),
    /// Writes an encrypted backup of the daemon.
    Backup(BackupArguments),
    /// Reads a repository of TUF 1.0: needs no daemon, and ends with 0 or 1.
    TufClient(TufClientArguments),
    /// Prints the trusted root that cosign 2.6 needs for bundles.
    TrustedRoot,
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
}

/// `sign`
#[derive(Debug, Args)]
pub(crate) struct SignArguments {
    /// The key, by name or id.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: String,
    /// Which signatures: sig, bundle.
    #[arg(long, value_name = "FORMS", value_delimiter = ',', value_parser = PossibleValuesParser::new(["sig", "bundle"]))]
    pub(crate) forms: Vec<String>,
    /// Overwrite signatures that are there.
    #[arg(long)]
    pub(crate) force: bool,
    /// The files.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// `verify`
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    #[command(flatten)]
    pub(crate) by: VerifyBy,
    /// The signature, where it is not beside the file: FILE.sig or FILE.sigstore.json.
    #[arg(long, value_name = "FILE", conflicts_with = "bundle")]
    pub(crate) signature: Option<PathBuf>,
    /// The bundle, where it is not beside the file.
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<PathBuf>,
    /// Many signatures in one file, or on standard input (-): a line of JSON for each, or packed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bundle", "files", "signature"])]
    pub(crate) batch: Option<PathBuf>,
    /// The files.
    #[arg(required_unless_present = "batch", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// Under which key.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct VerifyBy {
    /// A public key in PEM; no daemon is asked.
    #[arg(long, value_name = "FILE")]
    pub(crate) public_key: Option<PathBuf>,
    /// A key of the daemon, by name or id.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
}

/// `enroll`
#[derive(Debug, Args)]
pub(crate) struct EnrollArguments {
    /// The daemon: https://host:port.
    pub(crate) url: String,
    /// The CA of its certificate, PEM.
    #[arg(long, value_name = "FILE", required_unless_present = "remove")]
    pub(crate) ca: Option<PathBuf>,
    /// Believe it no more.
    #[arg(long, conflicts_with = "ca")]
    pub(crate) remove: bool,
}

/// `audit …`
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Prints the newest signed checkpoint, held against the last one seen here.
    Checkpoint,
    /// Prints leaves of the log.
    Log {
        /// The first leaf; without it, the last ones are shown.
        #[arg(long, value_name = "LEAF")]
        from: Option<u64>,
        /// How many.
        #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
        count: u64,
    },
    /// Recomputes the whole log from its leaves, and holds it against the checkpoint and the last one seen here.
    Verify,
    /// Proves that a leaf is in the log.
    Prove {
        /// Which leaf.
        leaf: u64,
        /// Keep the proof as a file: leaf, hashes, checkpoint.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// `kek …`
#[derive(Debug, Subcommand)]
pub(crate) enum KekCommand {
    /// Lists the versions of the ring.
    List,
    /// Adds a version and seals every key anew under it; may be interrupted and run again.
    Rotate(RotateArguments),
}

/// `kek rotate`
#[derive(Debug, Args)]
pub(crate) struct RotateArguments {
    /// Another root key, too, and where it is to be: `token NAME`, `file PATH` or `passphrase`. The old one opens
    /// nothing afterwards.
    #[arg(long, num_args = 1..=2, value_names = ["PLACE", "NAME"])]
    pub(crate) to: Option<Vec<String>>,
    /// What opens when the token is lost: `passphrase` (asked on the terminal, or read from standard input) or
    /// `token NAME`.
    #[arg(long, num_args = 1..=2, value_names = ["PLACE", "NAME"], requires = "to")]
    pub(crate) recovery: Option<Vec<String>>,
    /// Nothing opens when the token is lost: then every key is lost with it.
    #[arg(long, requires = "to", conflicts_with = "recovery")]
    pub(crate) no_recovery: bool,
}

/// `backup`
#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    /// The file to write; must not be there.
    pub(crate) file: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn content_trust_is_disabled_as_docker_has_it() {
        let parsed = |arguments: &[&str]| {
            CommandLine::try_parse_from([&["trustctl"], arguments].concat()).unwrap().disable_content_trust
        };

        assert_eq!(parsed(&["pull", "a"]), None);
        assert_eq!(parsed(&["pull", "--disable-content-trust", "a"]), Some(true));
        assert_eq!(parsed(&["--disable-content-trust=false", "pull", "a"]), Some(false));
    }

    #[test]
    fn what_follows_run_is_the_engines() {
        let line = CommandLine::try_parse_from([
            "trustctl", "--engine", "podman", "run", "--rm", "-e", "A=1", "app:1", "--output",
        ]);

        let Command::Run(run) = line.unwrap().command else { panic!("not run") };
        assert_eq!(run.arguments, ["--rm", "-e", "A=1", "app:1", "--output"]);
    }

    #[test]
    fn verify_needs_one_key() {
        for arguments in [&["verify", "a"][..], &["verify", "--key", "k", "--public-key", "f", "a"]] {
            assert!(CommandLine::try_parse_from([&["trustctl"], arguments].concat()).is_err());
        }
    }
}
