//! A docker command line, unmodified, with an engine, a registry, and a daemon for its content trust.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;
use trust_tests::program::{run, tool};
use trust_tests::{Engine, Ran, Registry, Setup};

use crate::scene::{Plan, Scene};

/// A docker command line of somebody with an empty home, a registry and a trust server.
pub struct Docker {
    pub engine: Arc<Engine>,
    pub registry: Registry,
    pub home: TempDir,
    program: PathBuf,
    pub scene: Scene,
    is_newest: bool,
}

impl Docker {
    /// Whoever comes may do everything.
    pub fn new() -> Self {
        Self::with("", Setup::ALLOW_ALL)
    }

    /// With tables behind the daemon's `[notary]`, and a policy.
    pub fn with(tables: &str, policy: &str) -> Self {
        let engine = Engine::docker().unwrap();
        let registry = Registry::debian().unwrap();
        let prefix = registry.reference("");
        let scene = Scene::started(&Plan {
            notary: format!("auth = \"none\"\ngun_prefixes = [\"{prefix}\"]\n"),
            tables: tables.to_owned(),
            policy: policy.to_owned(),
        });
        let program = tool("docker", "apt-get install docker.io").unwrap();
        let version = run(Command::new(&program).arg("--version")).unwrap().ok().unwrap().stdout;
        let is_newest = version.contains(" 28.");
        assert!(is_newest || version.contains(" 20.10."), "a docker CLI with content trust: {version}");
        let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(is_newest || !is_ci, "docker CLI 28 belongs on PATH where CI=true: {version}");
        Self { engine, registry, home: TempDir::new().unwrap(), program, scene, is_newest }
    }

    /// Runs docker with content trust switched on or off.
    pub fn run(&self, trust: &str, arguments: &[&str]) -> Ran {
        let mut command = Command::new(&self.program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.home.path()).envs(self.engine.environment());
        command.env("DOCKER_CONFIG", self.home.path().join(".docker")).env("DOCKER_CONTENT_TRUST", trust);
        command.env("DOCKER_CONTENT_TRUST_SERVER", format!("https://localhost:{}", self.scene.address.port()));
        command.env("DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE", "a root passphrase for tests");
        command.env("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", "another one for tests");
        run(command.stdin(Stdio::null()).args(arguments)).unwrap()
    }

    /// What is said, where the command line is one whose words are known.
    pub fn says(&self, ran: &Ran, words: &str) {
        assert!(!self.is_newest || ran.words().contains(words), "expected {words:?}: {ran}");
    }

    /// Builds an image that says this when it runs, and gives its reference.
    pub fn built(&self, tag: &str, greeting: &str) -> String {
        let reference = self.registry.reference(&format!("team/app:{tag}"));
        self.engine.build(&reference, greeting).unwrap();
        reference
    }
}
