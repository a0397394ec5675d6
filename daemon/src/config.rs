//! The configuration: read whole, or refused with every fault it has at once.
//!
//! Documented key by key in `docs/config.md`, whose sample a test loads.

mod bounds;
mod fault;
mod notary;
mod reader;
mod sections;
mod token;

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use bounds::Limits;
pub(crate) use fault::ConfigFault;
pub(crate) use fault::Reading;
use notary::notary;
pub(crate) use notary::{BearerConfig, NotaryAuth, NotaryConfig};
use reader::Section;
use sections::{custody, keys, limits, logging, metrics, root_kek, tls, unix};
pub(crate) use token::TokenConfig;
use token::tokens;
use trust_hsm::TokenName;

/// The longest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Everything the daemon is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Store, log and KEK ring, each below it; 0700.
    pub(crate) data_directory: PathBuf,
    /// The log's name: a bare host name that stays.
    pub(crate) log_origin: String,
    /// Where the root key comes from.
    pub(crate) root_kek: RootConfig,
    /// The Unix socket.
    pub(crate) unix: UnixConfig,
    /// `[tls]`
    pub(crate) tls: Option<TlsConfig>,
    /// `[notary]`
    pub(crate) notary: Option<NotaryConfig>,
    /// Who may do what.
    pub(crate) policy: PolicyConfig,
    /// A loopback address.
    pub(crate) metrics: Option<SocketAddr>,
    /// Whether a notary-server elsewhere may ask for signatures, too.
    pub(crate) notary_signer: bool,
    /// age recipients, one a line.
    pub(crate) backup_recipients: Option<PathBuf>,
    /// `[keys]`
    pub(crate) keys: KeysConfig,
    /// `[custody]`
    pub(crate) custody: CustodyConfig,
    /// `[[token]]`
    pub(crate) tokens: Vec<TokenConfig>,
    /// `[limits]`
    pub(crate) limits: Limits,
    /// `[logging]`
    pub(crate) logging: LoggingConfig,
}

/// How the custody worker is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CustodyConfig {
    /// Session threads.
    pub(crate) sessions: usize,
    /// Opened keys the worker keeps.
    pub(crate) opened_keys_max: usize,
    /// When a silent worker is replaced.
    pub(crate) hang_after: Duration,
}

/// The root key's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RootConfig {
    /// A file of 32 bytes, mode 0600 or stricter.
    File(PathBuf),
    /// A person: the daemon starts sealed.
    Passphrase,
    /// A token that has it wrapped.
    Token(TokenName),
}

/// The Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnixConfig {
    /// Its path.
    pub(crate) path: PathBuf,
    /// Its mode.
    pub(crate) mode: u32,
    /// The group that owns it.
    pub(crate) group: Option<String>,
}

/// The TLS listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsConfig {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// PEM chain of the server.
    pub(crate) certificate: PathBuf,
    /// PEM key of the server, mode 0600 or stricter.
    pub(crate) key: PathBuf,
    /// Who vouches for clients.
    pub(crate) client_cas: Vec<ClientCaConfig>,
}

/// One authority for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientCaConfig {
    /// The one SPIFFE trust domain it speaks for.
    pub(crate) trust_domain: String,
    /// PEM certificates.
    pub(crate) certificate: PathBuf,
    /// PEM or DER revocation list; stale means nobody comes in.
    pub(crate) crl: Option<PathBuf>,
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PolicyConfig {
    /// Root administers, whoever may open a door verifies.
    Default,
    /// The default, in which this uid administers, too.
    DefaultFor(u32),
    /// A Cedar file; it replaces the default.
    File(PathBuf),
}

/// Rules about keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeysConfig {
    /// Between `destroy` and destruction.
    pub(crate) destroy_after: Duration,
    /// How old a key of trust data becomes that was made for a repository and never used; `None`: as old as it likes.
    pub(crate) unused_trust_keys_after: Option<Duration>,
}

/// What goes to stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoggingConfig {
    /// For people or for programs.
    pub(crate) format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub(crate) level: String,
}

/// The shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// One object a line.
    Json,
    /// One sentence a line.
    Text,
}

impl Config {
    /// Reads the file at `path` as far as it can be read.
    pub(crate) fn read(path: &Path) -> Reading {
        match text_of(path) {
            Ok(text) => Self::read_text(&text),
            Err(what) => ConfigFault { place: path.display().to_string(), what }.into(),
        }
    }

    /// Reads the text of a configuration.
    ///
    /// # Errors
    /// Every fault it has.
    #[cfg(test)]
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<ConfigFault>> {
        Self::read_text(text).whole()
    }

    fn read_text(text: &str) -> Reading {
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                let what = error.to_string().trim_end().replace('\n', " ");
                return ConfigFault { place: "syntax".to_owned(), what }.into();
            }
        };
        let mut root = Section::root(table);
        let mut config = Self {
            data_directory: root.path("data_directory"),
            log_origin: root.text(
                "log_origin",
                "a bare host name in lower case, with a dot: log.example.org",
                origin_ok,
            ),
            root_kek: root_kek(root.section("root_kek")),
            unix: unix(&mut root),
            tls: root.has("tls").then(|| tls(root.section("tls"))),
            notary: root.has("notary").then(|| notary(root.section("notary"))),
            policy: root.optional_path("policy").map_or(PolicyConfig::Default, PolicyConfig::File),
            metrics: metrics(&mut root),
            notary_signer: root.flag("notary_signer", false),
            backup_recipients: root.optional_path("backup_recipients"),
            keys: keys(root.section("keys")),
            custody: custody(root.section("custody")),
            tokens: tokens(&mut root),
            limits: limits(root.section("limits")),
            logging: logging(root.section("logging")),
        };
        if let RootConfig::Token(name) = &config.root_kek
            && config.tokens.iter().all(|token| token.name != *name)
        {
            root.fault("root_kek.token", "the name of a [[token]]");
            config.root_kek = RootConfig::Passphrase;
        }
        Reading { config: Some(config), faults: root.finish() }
    }

    /// The configuration of a daemon that was given none: everything below `directory`, a socket at `socket`,
    /// `uid` administers.
    #[must_use]
    pub(crate) fn without_file(directory: &Path, socket: &Path, uid: u32) -> Self {
        Self {
            data_directory: directory.to_owned(),
            log_origin: default_origin(),
            root_kek: RootConfig::File(directory.join("root.kek")),
            unix: UnixConfig { path: socket.to_owned(), mode: 0o600, group: None },
            tls: None,
            notary: None,
            policy: PolicyConfig::DefaultFor(uid),
            metrics: None,
            notary_signer: false,
            backup_recipients: None,
            keys: KeysConfig { destroy_after: DESTROY_AFTER, unused_trust_keys_after: sections::days(UNUSED_DAYS) },
            custody: CustodyConfig { sessions: SESSIONS, opened_keys_max: OPENED_KEYS_MAX, hang_after: HANG_AFTER },
            tokens: Vec::new(),
            limits: Limits::default(),
            logging: LoggingConfig { format: LogFormat::Text, level: "info".to_owned() },
        }
    }

    /// Where keys and their states are.
    #[must_use]
    pub(crate) fn store_directory(&self) -> PathBuf {
        self.data_directory.join("store")
    }

    /// The file of the index, with which a start is quick. Derived from the store: without it a start takes longer.
    #[must_use]
    pub(crate) fn index_file(&self) -> PathBuf {
        self.data_directory.join("index")
    }

    /// Where the evidence is.
    #[must_use]
    pub(crate) fn log_directory(&self) -> PathBuf {
        self.data_directory.join("log")
    }

    /// The KEK ring's file, in a directory of its own: the custody worker may write there and nowhere else.
    #[must_use]
    pub(crate) fn ring(&self) -> PathBuf {
        self.data_directory.join("kek").join("ring")
    }

    /// The profile of the token with this name.
    #[must_use]
    pub(crate) fn token_profile(&self, name: &TokenName) -> PathBuf {
        self.token_marks().join(format!("{name}.profile"))
    }

    /// Where PINs that a token refused are remembered.
    #[must_use]
    pub(crate) fn token_marks(&self) -> PathBuf {
        self.data_directory.join("tokens")
    }
}

/// The text of a regular file, of which no more is read than a configuration may have.
fn text_of(path: &Path) -> Result<String, String> {
    // Asked before it is opened: a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(|error| error.to_string())?.is_file() {
        return Err("expected a regular file".to_owned());
    }
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let length = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if u64::try_from(length).is_ok_and(|length| length <= FILE_BYTES_MAX) {
        Ok(text)
    } else {
        Err("at most 256 KiB".to_owned())
    }
}

const SESSIONS: usize = 4;
const OPENED_KEYS_MAX: usize = 4096;
const HANG_AFTER: Duration = Duration::from_secs(10);
const DESTROY_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);
const UNUSED_DAYS: u64 = 30;

/// A name that is this machine's and a bare host name; a public log gets a better one from its operator.
fn default_origin() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let sound: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '-' }).collect();
    let origin = format!("{}.trustd.internal", sound.trim_matches(['.', '-']));
    if origin_ok(&origin) { origin } else { "localhost.trustd.internal".to_owned() }
}

/// A bare host name (RFC 1123 §2.1), lower case, with a dot.
fn origin_ok(text: &str) -> bool {
    text.len() <= 253
        && text.contains('.')
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "config/document_tests.rs"]
mod document_tests;
