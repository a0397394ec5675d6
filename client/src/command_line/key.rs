//! `key …` as it is called.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};

/// `key …`
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Makes a key; its private half never leaves the daemon.
    Create(KeyCreate),
    /// Brings an existing private key (PKCS#8) into custody; only custody can open what is sent.
    Import(KeyImport),
    /// Makes a key that is in a token already a key of the daemon; nothing in the token is changed.
    Adopt(KeyAdopt),
    /// Lists the keys you may see.
    List,
    /// Shows one key: purpose, scope, state, versions.
    Show(KeyName),
    /// Prints the public key.
    Public(KeyPublic),
    /// Adds a version that signs from now on; signatures of the old ones stay good.
    Rotate(KeyName),
    /// Lets a disabled key sign again.
    Enable(KeyName),
    /// Keeps the key from signing until it is enabled.
    Disable(KeyName),
    /// Keeps the key from signing for good; its signatures stay good.
    Retire(KeyName),
    /// Destroys the private half of a retired key, after a time to think; final.
    Destroy(KeyFinal),
    /// Takes a destruction back that has not happened yet.
    CancelDestroy(KeyName),
    /// Says that the key's signatures count no more; final.
    Distrust(KeyDistrust),
}

/// A key.
#[derive(Debug, Args)]
pub(crate) struct KeyName {
    /// Its name or id.
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
}

/// What a new key is to be.
#[derive(Debug, Args)]
pub(crate) struct NewKey {
    /// Its name: segments of a-z 0-9 . _ - joined by /.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The one thing it is for.
    #[arg(long, value_parser = PossibleValuesParser::new([
        "image", "root", "targets", "delegation", "release-blob", "release-statement", "raw",
    ]))]
    pub(crate) purpose: String,
    /// A repository it signs for, or for image keys a prefix followed by /*; for image and root keys, may be given again.
    #[arg(long, value_name = "REPOSITORY")]
    pub(crate) scope: Vec<String>,
    /// The signatures it may leave behind; all that its purpose and algorithm have where none is given.
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(["sig", "bundle", "manifest", "minisig", "sshsig", "tuf", "raw"]))]
    pub(crate) forms: Vec<String>,
}

/// `key create`
#[derive(Debug, Args)]
pub(crate) struct KeyCreate {
    #[command(flatten)]
    pub(crate) key: NewKey,
    /// Scheme and hash; where none is given, ed25519 for release-statement and ecdsa-p256-sha256 for the others.
    #[arg(long, value_parser = PossibleValuesParser::new(trust::Algorithm::ALL.map(trust::Algorithm::name)))]
    pub(crate) algorithm: Option<String>,
    /// The daemon's token that it is made in and never leaves; in the daemon's own custody where none is given.
    #[arg(long, value_name = "NAME")]
    pub(crate) token: Option<String>,
}

/// `key import`
#[derive(Debug, Args)]
pub(crate) struct KeyImport {
    #[command(flatten)]
    pub(crate) key: NewKey,
    /// The private key: PKCS#8, PEM or DER, encrypted or not; nobody else may read the file.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: std::path::PathBuf,
    /// Scheme and hash; where none is given, the first that key and purpose have in common.
    #[arg(long, value_parser = PossibleValuesParser::new(trust::Algorithm::ALL.map(trust::Algorithm::name)))]
    pub(crate) algorithm: Option<String>,
    /// The daemon's token that it goes into; the daemon's own custody where none is given.
    #[arg(long, value_name = "NAME")]
    pub(crate) token: Option<String>,
    /// A file with the passphrase of an encrypted key; without it, it is asked for.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<std::path::PathBuf>,
}

/// `key adopt`
#[derive(Debug, Args)]
pub(crate) struct KeyAdopt {
    #[command(flatten)]
    pub(crate) key: NewKey,
    /// The daemon's token that has it.
    #[arg(long, value_name = "NAME")]
    pub(crate) token: String,
    /// Its CKA_ID, hexadecimal, as `trustctl hsm orphans` lists it.
    #[arg(long, value_name = "HEX")]
    pub(crate) id: String,
    /// Scheme and hash; where none is given, ed25519 for release-statement and ecdsa-p256-sha256 for the others.
    #[arg(long, value_parser = PossibleValuesParser::new(trust::Algorithm::ALL.map(trust::Algorithm::name)))]
    pub(crate) algorithm: Option<String>,
    /// Its public half in PEM: a key with another one is refused.
    #[arg(long, value_name = "FILE")]
    pub(crate) public_key: Option<std::path::PathBuf>,
    /// Take it although the token lets it do more than sign: decrypt, unwrap keys, derive secrets.
    #[arg(long)]
    pub(crate) allow_other_uses: bool,
}

/// `key public`
#[derive(Debug, Args)]
pub(crate) struct KeyPublic {
    /// Its name or id.
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
    /// The encoding.
    #[arg(long, value_name = "FORMAT", default_value = "pem")]
    pub(crate) format: Encoding,
    /// Which version; without it, the one that signs.
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) version: Option<u32>,
}

/// How a public key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Encoding {
    /// SubjectPublicKeyInfo in DER, to a file or pipe.
    Der,
    /// JSON Web Key.
    Jwk,
    /// A public key file of minisign; Ed25519 keys only.
    Minisign,
    /// One line of authorized_keys or allowed_signers.
    Openssh,
    /// SubjectPublicKeyInfo in PEM.
    Pem,
}

/// A key, and that it is meant.
#[derive(Debug, Args)]
pub(crate) struct KeyFinal {
    /// Its name or id.
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `key distrust`
#[derive(Debug, Args)]
pub(crate) struct KeyDistrust {
    /// Its name or id.
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
    /// Why.
    #[arg(long, value_name = "REASON", value_parser = PossibleValuesParser::new(["custody-compromise", "key-compromise", "superseded", "unspecified"]), default_value = "unspecified")]
    pub(crate) reason: String,
    /// Signatures before this leaf of the log still count; without it, none does.
    #[arg(long, value_name = "LEAF")]
    pub(crate) since_leaf: Option<u64>,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}
