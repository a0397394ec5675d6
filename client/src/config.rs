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
use crate::release::pinned::{self, ReleasePin, ReleasePinEntry};
use crate::trust_data::TrustServerEntry;

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

impl Config {
    /// Reads both configurations and the pins.
    pub(crate) fn load(places: Places) -> Result<Self, Failure> {
        let mut remarks = Vec::new();
        let host = host_file(&places, &mut remarks)?;
        let mut pins = read_pins(&places.host_file, host.pins, PinSource::Host)?;
        let mut release_pins = pinned::read_all(&places.host_file, host.release_pins, PinSource::Host)?;
        let mut trust_servers = trust_servers(&places.host_file, host.trust_servers)?;
        let mut user = UserFile::default();
        if let Some(directory) = places.configuration() {
            let file = directory.join("config.toml");
            user = user_file(&file)?;
            pins.extend(read_pins(&file, std::mem::take(&mut user.pins), PinSource::User)?);
            pins.extend(added_pins(directory)?);
            release_pins.extend(pinned::read_all(&file, std::mem::take(&mut user.release_pins), PinSource::User)?);
            release_pins.extend(pinned::added(directory)?);
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
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;
    use crate::failure::Exit;
    use crate::trust_data::TrustRoot;

    const PEM: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    struct Home(TempDir);

    impl Home {
        fn new() -> Self {
            let home = Self(TempDir::new().unwrap());
            std::fs::create_dir(home.0.path().join("config")).unwrap();
            home
        }

        fn file(&self, name: &str, text: &str, mode: u32) {
            let path = self.0.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }

        fn load(&self) -> Result<Config, Failure> {
            Config::load(Places::below(self.0.path()))
        }
    }

    #[test]
    fn nothing_configured_is_a_whole_configuration() {
        let config = Home::new().load().unwrap();

        assert!(!config.enforce && config.pins.is_empty() && config.endpoint.is_none() && config.remarks.is_empty());
    }

    #[test]
    fn the_host_and_the_user_are_both_read() {
        let home = Home::new();
        home.file("etc.toml", "enforce = true\nserver_user = \"trustd\"\n", 0o644);
        home.file("config/config.toml", "endpoint = \"https://t.example.com\"\ncertificate = \"c.pem\"\n", 0o600);
        home.file(
            "config/pins.toml",
            &format!(
                "[[pins]]\nrepository = \"r.example.com/team/*\"\npublic_key = \"\"\"{PEM}\"\"\"\nany_tag = true\n"
            ),
            0o600,
        );

        let config = home.load().unwrap();

        assert!(config.enforce);
        assert_eq!(config.server_user.as_deref(), Some("trustd"));
        assert_eq!(config.tls.certificate, Some(home.0.path().join("config/c.pem")));
        assert_eq!(config.pins.len(), 1);
        assert!(config.pins[0].any_tag && !config.pins[0].required);
    }

    #[test]
    fn a_host_file_that_others_can_write_is_ignored_with_a_word() {
        let home = Home::new();
        home.file("etc.toml", "enforce = true\n", 0o664);

        let config = home.load().unwrap();

        assert!(!config.enforce);
        assert!(config.remarks[0].contains("etc.toml"), "{:?}", config.remarks);
    }

    #[test]
    fn a_file_of_pins_that_everybody_can_write_is_refused() {
        let home = Home::new();
        home.file("config/pins.toml", "", 0o646);

        let failure = home.load().unwrap_err();

        assert_eq!(failure.exit(), Exit::Usage);
        assert!(failure.remedy().contains("chmod"), "{failure:?}");
    }

    #[test]
    fn unknown_keys_are_refused_and_named() {
        for (file, text) in [("etc.toml", "enforced = true\n"), ("config/config.toml", "\nenforce = true\n")] {
            let home = Home::new();
            home.file(file, text, 0o600);

            let failure = home.load().unwrap_err();

            assert!(failure.what().contains("enforce") && failure.what().contains("line"), "{failure:?}");
        }
    }

    #[test]
    fn a_pin_that_cannot_be_read_is_named() {
        let home = Home::new();
        home.file("config/config.toml", "[[pins]]\nrepository = \"r.example.com/*x\"\npublic_key = \"no\"\n", 0o600);

        let failure = home.load().unwrap_err();

        assert!(failure.what().contains("r.example.com/*x"), "{failure:?}");
    }

    /// The client's part of docs/config.md.
    fn document() -> &'static str {
        include_str!("../../docs/config.md").split("\n## The client\n").nth(1).unwrap()
    }

    #[test]
    fn the_samples_of_the_document_are_read() {
        let samples: Vec<&str> =
            document().split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        let [host, user] = samples[..] else { panic!("{samples:?}") };
        let home = Home::new();
        home.file("etc.toml", host, 0o644);
        home.file("config/config.toml", user, 0o600);

        let config = home.load().unwrap();

        assert!(config.enforce && config.pins.len() == 1 && config.pins[0].required);
        assert!(config.endpoint.is_some() && config.tls.key.is_some());
        let [server] = &config.trust_servers[..] else { panic!("{:?}", config.trust_servers) };
        assert!(
            server.is_required()
                && server.root() == Some(&TrustRoot::File(home.0.path().join("config/team-root.json")))
        );
    }

    #[test]
    fn the_sample_of_content_trust_is_read() {
        let page = include_str!("../../docs/content-trust.md").split("\n## Reading without").nth(1).unwrap();
        let sample = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        let home = Home::new();
        home.file("config/config.toml", sample, 0o600);

        assert_eq!(home.load().unwrap().trust_servers.len(), 1);
    }

    #[test]
    fn a_trust_server_that_cannot_be_read_is_named() {
        for (line, word) in [("repository = \"r.example.com/*x\"", "*x"), ("repository = \"a\"\nroot = \"\"", "root")] {
            let home = Home::new();
            let text = format!("[[trust_servers]]\nurl = \"https://n.example.com\"\n{line}\n");
            home.file("config/config.toml", &text, 0o600);

            let failure = home.load().unwrap_err();

            assert!(failure.exit() == Exit::Usage && failure.what().contains(word), "{failure:?}");
        }
    }

    #[test]
    fn the_document_has_every_key() {
        fn keys<T: DeserializeOwned + std::fmt::Debug>() -> Vec<String> {
            let error = toml::from_str::<T>("no_such_key = 1").unwrap_err();
            let named = error.message().split("expected").nth(1).unwrap().split('`').map(str::to_owned);
            named.skip(1).step_by(2).collect()
        }
        let mut keys = [
            keys::<HostFile>(),
            keys::<UserFile>(),
            keys::<PinEntry>(),
            keys::<ReleasePinEntry>(),
            keys::<TrustServerEntry>(),
        ]
        .concat();
        keys.sort();
        keys.dedup();

        assert!(keys.len() >= 10, "{keys:?}");
        for key in keys {
            assert!(document().contains(&format!("| `{key}` |")), "{key}");
        }
    }
}
