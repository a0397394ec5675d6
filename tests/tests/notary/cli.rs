//! The docker command line of somebody with an empty home, unmodified, with content trust.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;
use trust_tests::notary::PASSPHRASE;
use trust_tests::program::{run, tool};
use trust_tests::{Engine, Ran, Registry};

/// Somebody with a docker, a registry and a server of trust data.
pub struct Cli {
    pub engine: Arc<Engine>,
    pub registry: Arc<Registry>,
    pub home: TempDir,
    program: PathBuf,
    server: String,
    is_newest: bool,
}

impl Cli {
    /// Somebody new at the server with this URL, `https://…`.
    pub fn at(server: String, registry: Registry) -> Self {
        let program = tool("docker", "apt-get install docker.io").unwrap();
        let version = run(Command::new(&program).arg("--version")).unwrap().ok().unwrap().stdout;
        let is_newest = version.contains(" 28.");
        assert!(is_newest || version.contains(" 20.10."), "a docker CLI with content trust: {version}");
        let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(is_newest || !is_ci, "docker CLI 28 belongs on PATH where CI=true: {version}");
        let (engine, registry, home) = (Engine::docker().unwrap(), Arc::new(registry), TempDir::new().unwrap());
        Self { engine, registry, home, program, server, is_newest }
    }

    /// Somebody else with the same engine, registry and server, and nothing of the first one's.
    pub fn stranger(&self) -> Self {
        Self {
            engine: Arc::clone(&self.engine),
            registry: Arc::clone(&self.registry),
            home: TempDir::new().unwrap(),
            program: self.program.clone(),
            server: self.server.clone(),
            is_newest: self.is_newest,
        }
    }

    /// Runs docker with content trust switched on (`1`) or off (`0`).
    pub fn run(&self, trust: &str, arguments: &[&str]) -> Ran {
        let mut command = Command::new(&self.program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.home.path()).envs(self.engine.environment());
        command.env("DOCKER_CONFIG", self.home.path().join(".docker")).env("DOCKER_CONTENT_TRUST", trust);
        command.env("DOCKER_CONTENT_TRUST_SERVER", &self.server);
        command.env("DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE", PASSPHRASE);
        command.env("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", PASSPHRASE);
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

    /// The image is gone, and comes with content trust, or does not.
    pub fn pulls_afresh(&self, reference: &str) -> Ran {
        self.engine.forget(reference).unwrap();
        self.run("1", &["pull", reference])
    }

    /// Where keys and what was believed lie.
    pub fn trust_directory(&self) -> PathBuf {
        self.home.path().join(".docker/trust")
    }

    /// How many private keys somebody has.
    pub fn private_keys(&self) -> usize {
        let entries = std::fs::read_dir(self.trust_directory().join("private")).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "key")).count()
    }
}
