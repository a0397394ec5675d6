//! An unmodified docker, and a daemon for its content trust.

use std::ops::Deref;

use trust_tests::{Registry, Setup, Trustctl};

use crate::cli::Cli;
use crate::scene::{Plan, Scene};

/// The first docker of a test, and the daemon that serves its trust data.
pub struct Docker {
    cli: Cli,
    pub scene: Scene,
}

impl Deref for Docker {
    type Target = Cli;

    fn deref(&self) -> &Cli {
        &self.cli
    }
}

impl Docker {
    /// Whoever comes may do everything.
    pub fn new() -> Self {
        Self::with("", Setup::ALLOW_ALL)
    }

    /// With tables behind the daemon's `[notary]`, and a policy.
    pub fn with(tables: &str, policy: &str) -> Self {
        let registry = Registry::debian().unwrap();
        let scene = Scene::started(&Plan {
            notary: format!("auth = \"none\"\ngun_prefixes = [\"{}\"]\n", registry.reference("")),
            tables: tables.to_owned(),
            policy: policy.to_owned(),
        });
        Self { cli: Cli::at(scene.url(), registry), scene }
    }

    /// A user of the daemon, with the same engine.
    pub fn user(&self) -> Trustctl {
        self.scene.daemon.user().unwrap().using(&self.engine)
    }

    /// An image in the registry, pushed with content trust off.
    pub fn pushed(&self, tag: &str) -> String {
        let reference = self.built(tag, &format!("hello from {tag}"));
        self.run("0", &["push", &reference]).ok().unwrap();
        self.engine.forget(&reference).unwrap();
        reference
    }

    /// It takes what is signed: by its name, from the registry.
    pub fn pulls(&self, reference: &str) {
        let pulled = self.run("1", &["pull", reference]).ok().unwrap();
        self.says(&pulled, "@sha256:");
        self.engine.forget(reference).unwrap();
    }

    pub fn refuses(&self, reference: &str) {
        let refused = self.run("1", &["pull", reference]).exited(1).unwrap();
        self.says(&refused, "No valid trust data for");
    }
}
