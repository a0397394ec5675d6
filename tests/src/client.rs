//! `trustctl`, run as a user runs it, in an environment that holds nothing but what the test gives.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::engine::Engine;
use crate::program::{Ran, ours, run, run_with_input};
use crate::wait::{SOON, until};

/// One user of `trustctl`: a home directory, an environment, a working directory.
#[derive(Debug)]
pub struct Trustctl {
    program: PathBuf,
    home: TempDir,
    environment: Vec<(String, String)>,
}

impl Trustctl {
    /// A user with an empty home and no daemon.
    ///
    /// # Errors
    /// When `trustctl` is not built.
    pub fn new() -> Result<Self> {
        let home = TempDir::new().context("make a home")?;
        std::fs::create_dir(home.path().join("work")).context("make a working directory")?;
        let environment = vec![
            ("HOME".to_owned(), home.path().to_string_lossy().into_owned()),
            ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".to_owned()),
            ("XDG_RUNTIME_DIR".to_owned(), home.path().join("run").to_string_lossy().into_owned()),
        ];
        Ok(Self { program: ours("trustctl")?, home, environment })
    }

    /// The same user with one more variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same user with the daemon at `address` (`unix:///…` or `https://…`).
    #[must_use]
    pub fn at(self, address: &str) -> Self {
        self.with("TRUSTD_ADDR", address)
    }

    /// The same user with this container engine.
    #[must_use]
    pub fn using(self, engine: &Engine) -> Self {
        engine.environment().iter().fold(self, |user, (name, value)| user.with(name, value))
    }

    /// The user's home directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Has this in the user's configuration, in the place of what was there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, text: &str) -> Result<()> {
        let directory = self.home.path().join(".config/trustctl");
        std::fs::create_dir_all(&directory).with_context(|| format!("make {directory:?}"))?;
        std::fs::write(directory.join("config.toml"), text).with_context(|| format!("write into {directory:?}"))
    }

    /// A file in the user's working directory, where every command runs.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.home.path().join("work").join(name)
    }

    /// Writes a file there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.file(name);
        std::fs::write(&path, bytes).with_context(|| format!("write {path:?}"))?;
        Ok(path)
    }

    /// Writes a file there that nobody else may read; its path as an argument.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_secret(&self, name: &str, bytes: &[u8]) -> Result<String> {
        let path = self.write(name, bytes)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
            .with_context(|| format!("close {path:?}"))?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Reads a file there.
    ///
    /// # Errors
    /// When it is not there.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.file(name);
        std::fs::read(&path).with_context(|| format!("read {path:?}"))
    }

    /// The command, ready for what a test wants to change.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(arguments).current_dir(self.home.path().join("work")).stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be started or is not done in time; its exit code is the test's to judge.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Ran> {
        run(&mut self.command(arguments))
    }

    /// Runs it to its end with `input` on standard input.
    ///
    /// # Errors
    /// As [`Trustctl::run`].
    pub fn run_with_input<A: AsRef<OsStr>>(&self, arguments: &[A], input: &[u8]) -> Result<Ran> {
        run_with_input(&mut self.command(arguments), input)
    }

    /// What `trustctl status` says.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn status(&self) -> Result<String> {
        Ok(self.run(&["status"])?.ok()?.stdout)
    }

    /// What `trustctl trust inspect` says of a repository or a tag.
    ///
    /// # Errors
    /// When there is no trust data.
    pub fn trust_data(&self, reference: &str) -> Result<Value> {
        self.run(&["--output", "json", "trust", "inspect", reference])?.ok()?.json()
    }

    /// Makes a key that signs blobs.
    ///
    /// # Errors
    /// When it is refused.
    pub fn create(&self, name: &str, more: &[&str]) -> Result<()> {
        let arguments = [&["key", "create", name, "--purpose", "release-blob"], more].concat();
        self.run(&arguments)?.ok().map(drop)
    }

    /// Whether the key signs a blob now.
    ///
    /// # Errors
    /// When the command cannot be run; what it says is the answer.
    pub fn signs(&self, key: &str) -> Result<bool> {
        self.write("app.tar", b"a release\n")?;
        Ok(self.run(&["sign", "--key", key, "--force", "app.tar"])?.code == Some(0))
    }

    /// Waits for the token `hsm`: a start on a busy machine may go on before it is mounted.
    ///
    /// # Errors
    /// When it does not serve in time.
    pub fn until_the_token_serves(&self) -> Result<()> {
        let serves = || Ok(self.run(&["status"])?.stdout.contains("hsm: ready").then_some(()));
        until("the token serves", SOON, serves)
    }
}
