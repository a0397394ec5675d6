//! What the host's administrator and the user have written down.
//!
//! `/etc/trustctl/config.toml` counts only when root owns it and nobody else can write it: it may switch verification
//! on for good. The user's own file says where the daemon is and how to get through TLS. Unknown keys are refused.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::files;
use crate::pin::{Pin, PinEntry, PinSource};
use crate::places::Places;
use crate::release_pin::{self, ReleasePin, ReleasePinEntry};
use crate::trust_server::TrustServerEntry;

/// No configuration is longer.
const BYTES_MAX: u64 = 1024 * 1024;

/// Everything that was configured.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Verification cannot be switched off on this host.
    pub(crate) enforce: bool,
    /// Whose daemon at the default socket is believed, besides root's and the user's own.
    pub(crate) server_user: Option<String>,
    /// Where the daemon is, unless the call or the environment says so.
    pub(crate) endpoint: Option<String>,
    /// How to get through TLS.
    pub(crate) tls: TlsFiles,
    /// Whom to believe, the host's pins first.
    pub(crate) pins: Vec<Pin>,
    /// Whose releases to believe, the host's pins first.
    pub(crate) release_pins: Vec<ReleasePin>,
    /// Where trust data is, the host's entries first.
    pub(crate) trust_servers: Vec<TrustServerEntry>,
    /// Where all of it was looked for.
    pub(crate) places: Places,
    /// What was left out, and why.
    pub(crate) remarks: Vec<String>,
}

/// Files for a daemon on TCP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The client's certificate, PEM, with intermediates.
    pub(crate) certificate: Option<PathBuf>,
    /// Its private key, PEM, 0600 or stricter.
    pub(crate) key: Option<PathBuf>,
    /// The CA of the daemon's certificate, PEM.
    pub(crate) ca: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostFile {
    #[serde(default)]
    enforce: bool,
    server_user: Option<String>,
    #[serde(default)]
    pins: Vec<PinEntry>,
    #[serde(default)]
    release_pins: Vec<ReleasePinEntry>,
    #[serde(default)]
    trust_servers: Vec<TrustServerEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserFile {
    endpoint: Option<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    ca: Option<PathBuf>,
    #[serde(default)]
    pins: Vec<PinEntry>,
    #[serde(default)]
    release_pins: Vec<ReleasePinEntry>,
    #[serde(default)]
    trust_servers: Vec<TrustServerEntry>,
}

/// The pins that `pin add` wrote; a file of its own, so that the user's comments in the other stay.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PinFile {
    #[serde(default)]
    pins: Vec<PinEntry>,
}

/// The pins that `release pin add` wrote.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleasePinFile {
    #[serde(default)]
    release_pins: Vec<ReleasePinEntry>,
}

impl Config {
    /// Reads both configurations and the pins.
    pub(crate) fn load(places: Places) -> Result<Self, Failure> {
        let mut remarks = Vec::new();
        let host = host_file(&places, &mut remarks)?;
        let mut pins = read_pins(&places.host_file, host.pins, PinSource::Host)?;
        let mut release_pins = release_pin::read_all(&places.host_file, host.release_pins, PinSource::Host)?;
        let mut trust_servers = trust_servers(&places.host_file, host.trust_servers)?;
        let mut user = UserFile::default();
        if let Some(directory) = places.configuration() {
            let file = directory.join("config.toml");
            user = user_file(&file)?;
            pins.extend(read_pins(&file, std::mem::take(&mut user.pins), PinSource::User)?);
            pins.extend(added_pins(directory)?);
            release_pins.extend(release_pin::read_all(&file, std::mem::take(&mut user.release_pins), PinSource::User)?);
            release_pins.extend(added_release_pins(directory)?);
            trust_servers.extend(self::trust_servers(&file, std::mem::take(&mut user.trust_servers))?);
        }
        // `certificate = "client.pem"` lies beside the file that says so.
        let beside = |path: Option<PathBuf>| match (path, places.configuration()) {
            (Some(path), Some(directory)) => Some(directory.join(path)),
            (path, _) => path,
        };
        Ok(Self {
            enforce: host.enforce,
            server_user: host.server_user,
            endpoint: user.endpoint,
            tls: TlsFiles { certificate: beside(user.certificate), key: beside(user.key), ca: beside(user.ca) },
            pins,
            release_pins,
            trust_servers,
            places,
            remarks,
        })
    }
}

/// The file `pin add` writes, in the user's configuration directory.
pub(crate) fn pin_file(directory: &Path) -> PathBuf {
    directory.join("pins.toml")
}

/// The pins in it.
pub(crate) fn added_pins(directory: &Path) -> Result<Vec<Pin>, Failure> {
    let path = pin_file(directory);
    let file: PinFile = user_file(&path)?;
    read_pins(&path, file.pins, PinSource::Added)
}

/// The file `release pin add` writes, in the user's configuration directory.
pub(crate) fn release_pin_file(directory: &Path) -> PathBuf {
    directory.join("release-pins.toml")
}

/// The pins in it.
pub(crate) fn added_release_pins(directory: &Path) -> Result<Vec<ReleasePin>, Failure> {
    let path = release_pin_file(directory);
    let file: ReleasePinFile = user_file(&path)?;
    release_pin::read_all(&path, file.release_pins, PinSource::Added)
}

fn host_file(places: &Places, remarks: &mut Vec<String>) -> Result<HostFile, Failure> {
    let path = &places.host_file;
    // A file that is there and cannot be read may say `enforce`: going on without it would switch that off.
    let Some((bytes, ownership)) = files::read(path, BYTES_MAX).map_err(|error| unreadable(path, error))? else {
        return Ok(HostFile::default());
    };
    if ownership.uid != places.host_owner || ownership.mode & 0o022 != 0 {
        remarks.push(format!("{} is ignored: only root may own and write it (chown root, chmod go-w)", path.display()));
        return Ok(HostFile::default());
    }
    parse(path, &bytes)
}

/// Reads a file of the user's; the default where there is none.
pub(crate) fn user_file<T: DeserializeOwned + Default>(path: &Path) -> Result<T, Failure> {
    let Some((bytes, ownership)) = files::read(path, BYTES_MAX).map_err(|error| unreadable(path, error))? else {
        return Ok(T::default());
    };
    // Who can write this file decides whom we believe.
    let own = ownership.uid == rustix::process::geteuid().as_raw() || ownership.uid == 0;
    if !own || !ownership.writable_by_owner_only() {
        return Err(Failure::usage(
            format!("somebody else can write {}", path.display()),
            format!("look at what it says, then: chown $USER {0} && chmod go-w {0}", path.display()),
        ));
    }
    parse(path, &bytes)
}

fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, Failure> {
    let not_read = |error: Box<dyn std::error::Error + Send + Sync>| {
        Failure::usage(format!("{} cannot be read", path.display()), "mend the file; docs/config.md explains every key")
            .because(error)
    };
    let text = std::str::from_utf8(bytes).map_err(|error| not_read(error.into()))?;
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or_default().lines().count().max(1));
        not_read(format!("line {line}: {}", error.message()).into())
    })
}

fn read_pins(path: &Path, entries: Vec<PinEntry>, source: PinSource) -> Result<Vec<Pin>, Failure> {
    entries
        .into_iter()
        .map(|entry| {
            let repository = entry.repository.clone();
            Pin::read(entry, source).map_err(|malformed| {
                Failure::usage(
                    format!("the pin for {repository:?} in {} cannot be read", path.display()),
                    "mend it, or remove it and use `trustctl pin add`",
                )
                .because(malformed)
            })
        })
        .collect()
}

/// Paths in them lie beside the file that names them.
fn trust_servers(path: &Path, entries: Vec<TrustServerEntry>) -> Result<Vec<TrustServerEntry>, Failure> {
    let directory = path.parent().unwrap_or(path);
    let read = |entry: TrustServerEntry| {
        let of = entry.repository.clone();
        entry.beside(directory).map_err(|malformed| {
            Failure::usage(format!("the trust server for {of:?} in {} cannot be read", path.display()), "mend it")
                .because(malformed)
        })
    };
    entries.into_iter().map(read).collect()
}

fn unreadable(path: &Path, error: std::io::Error) -> Failure {
    Failure::usage(format!("{} cannot be read", path.display()), "who may read it? it has to be readable for you")
        .because(error)
}

#[cfg(test)]
mod tests;
