//! Who we are at a registry: docker's and podman's credential files, and credential helpers.
//!
//! Ours and not a crate's: helpers get a time limit and a bound on their output, and what they print never becomes part
//! of a message; "none there" and "cannot be read" are different answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

use super::address::Address;
use super::error::RegistryError;

/// A credential file is not larger.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// A helper prints no more.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// A helper may ask its user something.
const HELPER_LIMIT: Duration = Duration::from_secs(60);

/// A secret text: wiped when dropped, never printed.
#[derive(Default)]
pub(super) struct Secret(Zeroizing<String>);

impl Secret {
    /// The text, for one expression.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    pub(super) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    fn again(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::new)
    }
}

/// A name and a secret. Never printed.
pub(super) enum Credential {
    /// An OAuth2 refresh token, to be exchanged at the token realm.
    IdentityToken(Secret),
    /// For Basic, here or at the token realm.
    Password {
        /// Who.
        user: String,
        /// The secret.
        password: Secret,
    },
}

/// The files that may hold credentials, in the order in which they are asked.
#[derive(Debug, Clone)]
pub(crate) struct CredentialFiles(Vec<PathBuf>);

impl CredentialFiles {
    /// `$REGISTRY_AUTH_FILE`, docker's `config.json`, podman's `auth.json`.
    pub(crate) fn from_environment() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = variable("HOME");
        let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let files = [
            variable("REGISTRY_AUTH_FILE"),
            variable("DOCKER_CONFIG").or_else(|| below_home(".docker")).map(|directory| directory.join("config.json")),
            variable("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json")),
            below_home(".config/containers/auth.json"),
        ];
        Self(files.into_iter().flatten().collect())
    }

    #[cfg(test)]
    pub(crate) const fn of(files: Vec<PathBuf>) -> Self {
        Self(files)
    }

    /// The first credential for `repository` (`host/path`) at `address`, if any file has one.
    ///
    /// # Errors
    /// When a file that exists cannot be read, or a helper that it names does not work.
    pub(super) async fn find(&self, address: &Address, repository: &str) -> Result<Option<Credential>, RegistryError> {
        let broken = |why: String| RegistryError::Credentials { registry: address.registry().to_owned(), why };
        for file in &self.0 {
            let Some(config) = read(file).map_err(|why| broken(format!("{}: {why}", file.display())))? else {
                continue;
            };
            if let Some(found) = config.find(address, repository).await.map_err(broken)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// Reads a file; a file that is not there is `None`.
fn read(path: &Path) -> Result<Option<Config>, String> {
    use std::io::Read;
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| error.to_string())?,
    };
    let mut text = Zeroizing::new(Vec::new());
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(|error| error.to_string())?;
    // podman makes empty files.
    if text.is_empty() {
        return Ok(None);
    }
    // The parser's own words could quote the file.
    serde_json::from_slice(&text).map(Some).map_err(|error| format!("no credential file: line {}", error.line()))
}

/// What counts in `config.json` and `auth.json`.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Secret,
    #[serde(default, rename = "identitytoken")]
    identity_token: Secret,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: Secret,
}

impl Config {
    async fn find(&self, address: &Address, repository: &str) -> Result<Option<Credential>, String> {
        let key = address.credential_key();
        if let Some(name) = self.helpers.get(address.registry()).or_else(|| self.helpers.get(key)) {
            return helper(name, key).await;
        }
        if let Some(entry) = self.entry(address, repository) {
            // With a store, docker leaves `"host": {}` behind.
            if let Some(found) = entry.credential()? {
                return Ok(Some(found));
            }
        }
        if self.store.is_empty() { Ok(None) } else { helper(&self.store, key).await }
    }

    /// The entry with the longest matching prefix of `repository` (podman), or for the host in any spelling (docker).
    fn entry(&self, address: &Address, repository: &str) -> Option<&Entry> {
        let mut prefix = repository;
        loop {
            if let Some(entry) = self.auths.get(prefix) {
                return Some(entry);
            }
            let Some((shorter, _)) = prefix.rsplit_once('/') else { break };
            prefix = shorter;
        }
        let key = address.credential_key();
        let by_host = || self.auths.iter().find(|(known, _)| host_of(known) == host_of(key)).map(|(_, entry)| entry);
        self.auths.get(key).or_else(by_host)
    }
}

/// `https://host/v1/` → `host`.
fn host_of(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    rest.split('/').next().unwrap_or(rest)
}

impl Entry {
    fn credential(&self) -> Result<Option<Credential>, String> {
        if !self.identity_token.expose().is_empty() {
            return Ok(Some(Credential::IdentityToken(self.identity_token.again())));
        }
        if self.auth.expose().is_empty() {
            let known = !self.username.is_empty();
            let password = || Credential::Password { user: self.username.clone(), password: self.password.again() };
            return Ok(known.then(password));
        }
        let expected = || "an auth entry that is not base64 of user:password".to_owned();
        let decoded = STANDARD.decode(self.auth.expose()).map_err(|_| expected())?;
        let decoded = Zeroizing::new(decoded);
        let text = std::str::from_utf8(&decoded).map_err(|_| expected())?;
        let (user, password) = text.split_once(':').ok_or_else(expected)?;
        // docker pads with NUL.
        let password = Secret::new(password.trim_end_matches('\0').to_owned());
        Ok(Some(Credential::Password { user: user.to_owned(), password }))
    }
}

#[derive(Deserialize)]
struct HelperAnswer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: Secret,
}

/// Asks `docker-credential-NAME get` for the credentials of `server`.
async fn helper(name: &str, server: &str) -> Result<Option<Credential>, String> {
    let program = format!("docker-credential-{name}");
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err("a credential helper's name must consist of letters, digits, - _ and .".to_owned());
    }
    let (done, output) = tokio::time::timeout(HELPER_LIMIT, run(&program, server))
        .await
        .map_err(|_| format!("{program} does not answer"))?
        .map_err(|error| format!("{program}: {error}"))?;
    if !done {
        // The protocol's word for "none" stands on standard output; nothing else of it is shown.
        let text = String::from_utf8_lossy(&output).to_lowercase();
        let none = text.contains("credentials not found");
        return if none { Ok(None) } else { Err(format!("{program} gives an error")) };
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&output).map_err(|_| format!("{program} gives an answer that is not its protocol's"))?;
    Ok(Some(match answer.username.as_str() {
        "<token>" => Credential::IdentityToken(answer.secret),
        _ => Credential::Password { user: answer.username, password: answer.secret },
    }))
}

/// Runs the helper; whether it succeeded, and what it printed.
async fn run(program: &str, server: &str) -> std::io::Result<(bool, Zeroizing<Vec<u8>>)> {
    let mut child = tokio::process::Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(server.as_bytes()).await?;
    }
    let mut output = Zeroizing::new(Vec::new());
    if let Some(stdout) = child.stdout.take() {
        stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut output).await?;
    }
    Ok((child.wait().await?.success(), output))
}

#[cfg(test)]
mod tests {
    use super::super::address::PlainHttp;
    use super::*;

    async fn found(config: &str, repository: &str) -> Result<Option<(String, String)>, RegistryError> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        std::fs::write(&file, config).unwrap();
        let registry = repository.split('/').next().unwrap();
        let address = Address::of(registry, PlainHttp::LoopbackOnly).unwrap();
        let credential = CredentialFiles::of(vec![file]).find(&address, repository).await?;
        Ok(credential.map(|credential| match credential {
            Credential::IdentityToken(token) => ("<token>".to_owned(), token.expose().to_owned()),
            Credential::Password { user, password } => (user, password.expose().to_owned()),
        }))
    }

    fn pair(user: &str, password: &str) -> Option<(String, String)> {
        Some((user.to_owned(), password.to_owned()))
    }

    #[tokio::test]
    async fn the_longest_prefix_decides() {
        // a:1 and b:2
        let config = r#"{"auths": {"r.example.com": {"auth": "YTox"}, "r.example.com/team": {"auth": "Yjoy"}}}"#;

        assert_eq!(found(config, "r.example.com/team/app").await.unwrap(), pair("b", "2"));
        assert_eq!(found(config, "r.example.com/other").await.unwrap(), pair("a", "1"));
        assert_eq!(found(config, "s.example.com/team/app").await.unwrap(), None);
    }

    #[tokio::test]
    async fn docker_hub_and_identity_tokens_are_found() {
        let config = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "YTox"},
            "https://r.example.com/v2/": {"identitytoken": "refresh", "auth": "YTox"}}}"#;

        assert_eq!(found(config, "docker.io/library/busybox").await.unwrap(), pair("a", "1"));
        assert_eq!(found(config, "r.example.com/app").await.unwrap(), pair("<token>", "refresh"));
    }

    #[tokio::test]
    async fn a_broken_file_is_an_error_that_does_not_quote_it() {
        for config in [r#"{"auths": {"r.example.com": {"auth": "hunter2!"}}}"#, r#"{"auths": "hunter2!"}"#, "hunter2!"]
        {
            let error = found(config, "r.example.com/app").await.err().unwrap().to_string();

            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_helper_that_is_a_path_or_absent_is_an_error() {
        for name in ["../evil", "a/b", "no-such-helper-here"] {
            let config = format!(r#"{{"credHelpers": {{"r.example.com": "{name}"}}}}"#);

            assert!(found(&config, "r.example.com/app").await.is_err(), "{name}");
        }
    }
}
