//! Container engines: a docker engine of the tests' own, and podman.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::process::Running;
use crate::program::{Ran, needs_root, run, tool};

const READY_LIMIT: Duration = Duration::from_secs(60);
/// What podman needs where no init system gives it cgroups and limits.
const PODMAN_RUN: [&str; 8] =
    ["--runtime", "runc", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--network", "none"];

/// Which program moves the images.
#[derive(Debug)]
enum Kind {
    Docker { socket: PathBuf, _process: Running },
    Podman,
}

/// A container engine with storage of its own, gone when the last user drops it.
#[derive(Debug)]
pub struct Engine {
    kind: Kind,
    program: PathBuf,
    directory: TempDir,
}

/// The one docker engine of this test program: starting it takes seconds.
static DOCKER: Mutex<Weak<Engine>> = Mutex::new(Weak::new());

/// Held while an image is built or forgotten: docker's builder takes layers from its cache that whoever forgets an image
/// beside it is just taking away.
static IMAGES: Mutex<()> = Mutex::new(());

impl Engine {
    /// A docker engine, shared by the tests of this program that run at the same time.
    ///
    /// # Errors
    /// When docker is not installed, this is not root, or the engine does not start.
    pub fn docker() -> Result<Arc<Self>> {
        let mut shared = DOCKER.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = shared.upgrade() {
            return Ok(engine);
        }
        let engine = Arc::new(Self::start_docker_patiently()?);
        *shared = Arc::downgrade(&engine);
        Ok(engine)
    }

    /// dockerd gives its containerd eight seconds, which a busy machine may not have, and ends then: two more tries.
    fn start_docker_patiently() -> Result<Self> {
        for _ in 0..2 {
            match Self::start_docker() {
                Err(error) if format!("{error:#}").contains("timeout waiting for containerd") => {}
                started => return started,
            }
        }
        Self::start_docker()
    }

    /// No bridge and no packet filter: pushes go from the engine itself to the loopback, and nothing of the machine's
    /// network changes.
    fn start_docker() -> Result<Self> {
        needs_root("a docker engine")?;
        let program = tool("docker", "apt-get install docker.io")?;
        let engine = tool("dockerd", "apt-get install docker.io")?;
        let directory = TempDir::new().context("make a directory for the engine")?;
        let at = |name: &str| directory.path().join(name);
        let socket = at("docker.sock");
        let address = format!("unix://{}", socket.display());
        let mut command = Command::new(engine);
        command.args(["--bridge", "none", "--iptables=false", "--ip6tables=false", "--host", &address]);
        command.arg("--data-root").arg(at("data")).arg("--exec-root").arg(at("exec")).arg("--pidfile").arg(at("pid"));
        let mut process = Running::start(&mut command, &at("log"))?;
        process.ready(READY_LIMIT, || {
            let mut info = Command::new(&program);
            run(info.args(["--host", &address, "info"])).ok()?.ok().ok()
        })?;
        Ok(Self { kind: Kind::Docker { socket, _process: process }, program, directory })
    }

    /// podman with storage of its own.
    ///
    /// # Errors
    /// When podman is not installed or this is not root.
    pub fn podman() -> Result<Self> {
        needs_root("podman with the storage of a test")?;
        let program = tool("podman", "apt-get install podman runc fuse-overlayfs")?;
        let directory = TempDir::new().context("make a directory for podman")?;
        let configuration = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{0}/storage\"\nrunroot = \"{0}/run\"\n",
            directory.path().display()
        );
        std::fs::write(directory.path().join("storage.conf"), configuration).context("write podman's configuration")?;
        Ok(Self { kind: Kind::Podman, program, directory })
    }

    /// The variables with which `docker`, `podman`, and trustctl as their caller, find this engine.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        match &self.kind {
            Kind::Docker { socket, .. } => vec![
                ("DOCKER_HOST".to_owned(), format!("unix://{}", socket.display())),
                ("DOCKER_BUILDKIT".to_owned(), "0".to_owned()),
            ],
            Kind::Podman => {
                let file = self.directory.path().join("storage.conf");
                vec![("CONTAINERS_STORAGE_CONF".to_owned(), file.to_string_lossy().into_owned())]
            }
        }
    }

    /// `docker` or `podman`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.kind {
            Kind::Docker { .. } => "docker",
            Kind::Podman => "podman",
        }
    }

    /// What `run` needs besides, on machines without an init system.
    #[must_use]
    pub const fn run_options(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Docker { .. } => &["--network", "none"],
            Kind::Podman => &PODMAN_RUN,
        }
    }

    /// Runs the engine's own command line.
    ///
    /// # Errors
    /// When it cannot be started or is not done in time.
    pub fn cli(&self, arguments: &[&str]) -> Result<Ran> {
        let mut command = Command::new(&self.program);
        run(command.envs(self.environment()).stdin(std::process::Stdio::null()).args(arguments))
    }

    /// Builds an image from busybox that prints `greeting`, under `reference`.
    ///
    /// # Errors
    /// When busybox is not installed or the build fails.
    pub fn build(&self, reference: &str, greeting: &str) -> Result<()> {
        let busybox = tool("busybox", "apt-get install busybox-static")?;
        let context = TempDir::new_in(self.directory.path()).context("make a build context")?;
        std::fs::copy(busybox, context.path().join("busybox")).context("copy busybox")?;
        let greeting = serde_json::Value::from(greeting);
        let text = format!(
            "FROM scratch\nCOPY busybox /bin/busybox\nENTRYPOINT [\"/bin/busybox\"]\nCMD [\"echo\", {greeting}]\n"
        );
        std::fs::write(context.path().join("Dockerfile"), text).context("write the Dockerfile")?;
        let _alone = IMAGES.lock().unwrap_or_else(PoisonError::into_inner);
        self.cli(&["build", "--quiet", "--tag", reference, &path(context.path())])?.ok()?;
        Ok(())
    }

    /// True when the engine holds an image of this name.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub fn holds(&self, reference: &str) -> Result<bool> {
        Ok(self.cli(&["image", "inspect", reference])?.code == Some(0))
    }

    /// Forgets every image, so that a pull must bring it again.
    ///
    /// # Errors
    /// When the engine cannot.
    pub fn forget(&self, reference: &str) -> Result<()> {
        let _alone = IMAGES.lock().unwrap_or_else(PoisonError::into_inner);
        self.cli(&["rmi", "--force", reference])?.ok().map(|_| ())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if matches!(self.kind, Kind::Podman) {
            // podman mounts its storage over itself; a mounted directory cannot be removed. Nothing more can be done
            // in a drop than to try.
            let _ = self.cli(&["rmi", "--all", "--force"]);
            let _ = run(Command::new("umount").arg(self.directory.path().join("storage/overlay")));
        }
    }
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builds_and_runs(engine: &Engine) {
        let reference = "localhost/greeting:1";
        engine.build(reference, "hello from inside").unwrap();

        let mut arguments = vec!["run", "--rm"];
        arguments.extend(engine.run_options());
        arguments.push(reference);
        let ran = engine.cli(&arguments).unwrap().ok().unwrap();

        assert_eq!(ran.stdout.trim(), "hello from inside");
        assert!(engine.holds(reference).unwrap());
        engine.forget(reference).unwrap();
        assert!(!engine.holds(reference).unwrap());
    }

    #[test]
    fn docker_builds_and_runs_an_image() {
        builds_and_runs(&Engine::docker().unwrap());
    }

    #[test]
    fn podman_builds_and_runs_an_image() {
        builds_and_runs(&Engine::podman().unwrap());
    }
}
