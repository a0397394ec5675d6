//! The real `trustd` in a directory of its own.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::client::Trustctl;
use crate::process::Running;
use crate::program::{Ran, ours, run, run_with_input};
use crate::raw::Caller;
use crate::wait::until;

/// Argon2id with its real parameters and an unoptimised build need a moment.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// The kernel stops a process as soon as each of its threads runs again.
const STOPPED_LIMIT: Duration = Duration::from_secs(10);

/// How a daemon is set up before `trustd init`.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// TOML that is appended to the configuration, tables and all.
    pub more: String,
    /// The whole policy (Cedar); the default one where empty.
    pub policy: String,
    /// Variables of the daemon's environment; it gets no other but `PATH`.
    pub environment: Vec<(String, String)>,
    /// The parent of the daemon's directory; the temporary directory where none is given.
    pub below: Option<PathBuf>,
    /// Another build of `trustd`; the real one where empty.
    pub program: String,
    /// The passphrase of the root KEK: the daemon starts sealed. A file where none is given.
    pub passphrase: Option<String>,
}

impl Setup {
    /// Everybody who can open the socket may do everything.
    pub const ALLOW_ALL: &str = "permit(principal, action, resource);\n";

    /// A daemon that lets raw keys sign.
    #[must_use]
    pub fn allowing_raw() -> Self {
        Self { policy: Self::ALLOW_ALL.to_owned(), ..Self::default() }
    }
}

/// A daemon that runs, or can be started again, on one directory.
#[derive(Debug)]
pub struct Daemon {
    // Dropped first: the process ends before its directory goes.
    process: Option<Running>,
    environment: Vec<(String, String)>,
    program: PathBuf,
    directory: TempDir,
}

impl Daemon {
    /// A new daemon with a random KEK in a file and the default policy, ready to answer.
    ///
    /// # Errors
    /// When `trustd` is not built, or does not start; with its log.
    pub fn start() -> Result<Self> {
        Self::with(&Setup::default())
    }

    /// A new daemon set up as asked, ready to answer.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn with(setup: &Setup) -> Result<Self> {
        let mut daemon = Self::prepared(setup)?;
        let passphrase = setup.passphrase.clone().unwrap_or_default();
        daemon.trustd_with_input(&["init"], passphrase.as_bytes())?.ok()?;
        daemon.launch()?;
        Ok(daemon)
    }

    /// A directory with a configuration and nothing else: `init` was not run.
    ///
    /// # Errors
    /// When `trustd` is not built or the directory cannot be made.
    pub fn prepared(setup: &Setup) -> Result<Self> {
        let directory = match &setup.below {
            Some(parent) => TempDir::new_in(parent),
            None => TempDir::new(),
        };
        let directory = directory.context("make a directory for the daemon")?;
        let program = ours(if setup.program.is_empty() { "trustd" } else { &setup.program })?;
        let daemon = Self { process: None, environment: setup.environment.clone(), program, directory };
        std::fs::set_permissions(daemon.directory(), PermissionsExt::from_mode(0o700))
            .context("close the directory")?;
        std::fs::DirBuilder::new().mode(0o700).create(daemon.directory().join("run")).context("make run")?;
        let root_kek = match &setup.passphrase {
            Some(_) => "{ passphrase = true }".to_owned(),
            None => format!("{{ file = \"{}\" }}", daemon.root_kek().display()),
        };
        let mut text = format!(
            "data_directory = \"{0}/data\"\nsocket = \"{0}/run/trustd.sock\"\n\
             log_origin = \"log.test.example\"\nroot_kek = {root_kek}\n",
            daemon.directory().display()
        );
        if !setup.policy.is_empty() {
            let policy = daemon.directory().join("policy.cedar");
            std::fs::write(&policy, &setup.policy).context("write the policy")?;
            text.push_str(&format!("policy = \"{}\"\n", policy.display()));
        }
        text.push_str(&setup.more);
        std::fs::write(daemon.configuration(), text).context("write the configuration")?;
        Ok(daemon)
    }

    /// Runs `trustd ARGUMENTS --config FILE` to its end, in the daemon's environment.
    ///
    /// # Errors
    /// When it cannot be started or is not done in time.
    pub fn trustd(&self, arguments: &[&str]) -> Result<Ran> {
        run(self.command().args(arguments).arg("--config").arg(self.configuration()))
    }

    /// The same with `input` on standard input, where a passphrase is read.
    ///
    /// # Errors
    /// As [`Daemon::trustd`].
    pub fn trustd_with_input(&self, arguments: &[&str], input: &[u8]) -> Result<Ran> {
        run_with_input(self.command().args(arguments).arg("--config").arg(self.configuration()), input)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("RUST_BACKTRACE", "1");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts `trustd serve` and waits until its socket takes a connection.
    ///
    /// # Errors
    /// When it ends before that, or runs already; with its log.
    pub fn launch(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("the daemon runs already");
        }
        let mut command = self.command();
        command.arg("serve").arg("--config").arg(self.configuration());
        let mut process = Running::start(&mut command, &self.directory().join("log"))?;
        let socket = self.socket();
        process.ready(READY_LIMIT, || UnixStream::connect(&socket).ok().map(|_| ()))?;
        self.process = Some(process);
        Ok(())
    }

    /// SIGKILL: no chance to tidy up.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the daemon does not run")?.kill()
    }

    /// SIGTERM and its graceful end.
    ///
    /// # Errors
    /// When it does not run or does not end within 20 s.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.process.take().context("the daemon does not run")?.stop()
    }

    /// SIGTERM, then started again on the same directory.
    ///
    /// # Errors
    /// As the two.
    pub fn restart(&mut self) -> Result<()> {
        self.terminate()?;
        self.launch()
    }

    /// The process, for signals and waiting.
    ///
    /// # Errors
    /// When it does not run.
    pub fn process(&mut self) -> Result<&mut Running> {
        self.process.as_mut().context("the daemon does not run")
    }

    /// The daemon's process id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn id(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("the daemon does not run")?.id())
    }

    /// The process ids of its custody workers, found as descendants whose command line says so.
    ///
    /// # Errors
    /// When it does not run or `/proc` cannot be read.
    pub fn workers(&self) -> Result<Vec<u32>> {
        let mut found = Vec::new();
        let mut waiting = vec![self.id()?];
        while let Some(parent) = waiting.pop() {
            for child in children(parent)? {
                waiting.push(child);
                let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
                if String::from_utf8_lossy(&line).contains("custody-worker") {
                    found.push(child);
                }
            }
        }
        Ok(found)
    }

    /// Stops its custody workers, and waits until every thread of theirs has really stopped: until then one may still
    /// answer.
    ///
    /// # Errors
    /// When it does not run, or a worker does not stop.
    pub fn stop_workers(&self) -> Result<()> {
        self.signal_workers(Signal::STOP)?;
        for worker in self.workers()? {
            until("a worker has stopped", STOPPED_LIMIT, || {
                let threads = std::fs::read_dir(format!("/proc/{worker}/task"))?;
                let has_stopped = threads.into_iter().all(|thread| {
                    let stat = thread.and_then(|thread| std::fs::read_to_string(thread.path().join("stat")));
                    stat.is_ok_and(|stat| {
                        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
                    })
                });
                Ok(has_stopped.then_some(()))
            })?;
        }
        Ok(())
    }

    /// Lets its custody workers go on that were stopped.
    ///
    /// # Errors
    /// When it does not run.
    pub fn continue_workers(&self) -> Result<()> {
        self.signal_workers(Signal::CONT)
    }

    fn signal_workers(&self, signal: Signal) -> Result<()> {
        for worker in self.workers()? {
            let pid = i32::try_from(worker).ok().and_then(Pid::from_raw).context("the process id of a worker")?;
            kill_process(pid, signal).context("signal a worker")?;
        }
        Ok(())
    }

    /// Everything it printed in all its runs.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(self.directory().join("log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The directory that holds configuration, data, socket and log.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where store, log and keys are.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory().join("data")
    }

    /// The file with the root KEK.
    #[must_use]
    pub fn root_kek(&self) -> PathBuf {
        self.directory().join("root.kek")
    }

    /// The configuration file.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        self.directory().join("trustd.toml")
    }

    /// Says in the configuration where the root KEK is from the next start on.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn set_root_kek(&self, place: &str) -> Result<()> {
        let text = std::fs::read_to_string(self.configuration()).context("read the configuration")?;
        let line = |line: &str| {
            if line.starts_with("root_kek") { format!("root_kek = {place}\n") } else { format!("{line}\n") }
        };
        let text: String = text.lines().map(line).collect();
        std::fs::write(self.configuration(), text).context("write the configuration")
    }

    /// The Unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory().join("run/trustd.sock")
    }

    /// The socket as trustctl takes it: `unix:///…`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A user of this daemon with an empty home.
    ///
    /// # Errors
    /// When `trustctl` is not built.
    pub fn user(&self) -> Result<Trustctl> {
        Ok(Trustctl::new()?.at(&self.address()))
    }

    /// A gRPC connection over the socket.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn channel(&self) -> Result<Channel> {
        connect(self.socket()).await
    }

    /// Somebody who is connected over the socket.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn caller(&self) -> Result<Caller> {
        self.channel().await.map(Caller::new)
    }
}

/// A gRPC connection over a Unix socket.
///
/// # Errors
/// When nobody listens.
pub async fn connect(socket: PathBuf) -> Result<Channel> {
    // The address is never resolved: the connector below always opens the socket.
    let endpoint = Endpoint::from_static("http://socket.invalid");
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    endpoint.connect_with_connector(connector).await.context("connect to the daemon's socket")
}

fn children(parent: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).with_context(|| format!("read /proc/{parent}"))?;
    for task in tasks {
        let path = task.with_context(|| format!("read /proc/{parent}/task"))?.path().join("children");
        let text = std::fs::read_to_string(path).unwrap_or_default(); // the thread may have ended
        found.extend(text.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
    }
    Ok(found)
}
