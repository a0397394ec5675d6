//! The `notary` command of somebody with an empty home.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::program::{Ran, run_with_input, tool};

/// What protects every key.
pub const PASSPHRASE: &str = "a passphrase for tests";

/// Somebody with the command, keys of their own, and a trust server.
#[derive(Debug)]
pub struct Notary {
    program: PathBuf,
    home: TempDir,
    trust: PathBuf,
    server: String,
    authority: Option<PathBuf>,
    account: Option<String>,
}

impl Notary {
    /// Somebody new at the server with this URL, who believes the authority in a file.
    ///
    /// # Errors
    /// When `notary` is not installed.
    pub fn at(server: String, authority: Option<PathBuf>) -> Result<Self> {
        let home = TempDir::new().context("make a home")?;
        let trust = home.path().join("trust");
        Ok(Self { program: tool("notary", "apt-get install notary")?, home, trust, server, authority, account: None })
    }

    /// With keys and what was believed in another directory, such as docker's, whose keys have the same [`PASSPHRASE`].
    #[must_use]
    pub fn with_trust_in(mut self, directory: PathBuf) -> Self {
        self.trust = directory;
        self
    }

    /// The same somebody, with everything there is at home, at another server.
    #[must_use]
    pub fn moved_to(self, server: String, authority: Option<PathBuf>) -> Self {
        Self { server, authority, ..self }
    }

    /// The same somebody with an account of the registry, whose password it is.
    #[must_use]
    pub fn logged_in(mut self, account: &str, password: &str) -> Self {
        self.account = Some(STANDARD.encode(format!("{account}:{password}")));
        self
    }

    /// Runs it to its end; asked before it rotates a root key, it is told yes.
    ///
    /// # Errors
    /// When it cannot be started or is not done in time; its exit code is the test's to judge.
    pub fn run(&self, arguments: &[&str]) -> Result<Ran> {
        let mut command = Command::new(&self.program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.home()).current_dir(self.home());
        for role in ["ROOT", "TARGETS", "SNAPSHOT", "DELEGATION"] {
            command.env(format!("NOTARY_{role}_PASSPHRASE"), PASSPHRASE);
        }
        command.envs(self.account.as_ref().map(|account| ("NOTARY_AUTH", account)));
        command.arg("--server").arg(&self.server);
        if let Some(authority) = &self.authority {
            command.arg("--tlscacert").arg(authority);
        }
        command.arg("--trustDir").arg(&self.trust).args(arguments);
        run_with_input(&mut command, b"yes\n")
    }

    /// The home directory, with the keys in `trust/private` unless they lie elsewhere.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes a file there, and says where it is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn file(&self, name: &str, content: &str) -> Result<String> {
        let path = self.home().join(name);
        std::fs::write(&path, content).with_context(|| format!("write {name}"))?;
        path.into_os_string().into_string().map_err(|path| anyhow::anyhow!("{path:?} is no text"))
    }
}
