//! Push, pull and run with real container engines.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use trust_tests::{Daemon, Engine, Registry, Trustctl};

/// What a newcomer does, with either engine.
struct Scene<'a> {
    engine: &'a Engine,
    registry: Registry,
    user: Trustctl,
    _daemon: Daemon,
}

impl<'a> Scene<'a> {
    fn with(engine: &'a Engine) -> Self {
        let daemon = Daemon::start().unwrap();
        let registry = Registry::debian().unwrap();
        let user = daemon.user().unwrap().using(engine);
        let scope = registry.reference("team/app");
        user.run(&["key", "create", "app", "--purpose", "image", "--scope", &scope]).unwrap().ok().unwrap();
        let pem = user.run(&["key", "public", "app"]).unwrap().ok().unwrap().stdout;
        let key = user.write("app.pub", pem.as_bytes()).unwrap();
        user.run(&["pin", "add", &scope, "--public-key", key.to_str().unwrap()]).unwrap().ok().unwrap();
        Self { engine, registry, user, _daemon: daemon }
    }

    fn built(&self, tag: &str, greeting: &str) -> String {
        let reference = self.registry.reference(&format!("team/app:{tag}"));
        self.engine.build(&reference, greeting).unwrap();
        reference
    }

    /// The engine alone, as somebody without a key would.
    fn pushed_unsigned(&self, tag: &str) -> String {
        let reference = self.built(tag, "hello from nobody");
        let mut arguments = vec!["push"];
        if self.engine.name() == "podman" {
            arguments.push("--tls-verify=false");
        }
        arguments.push(&reference);
        self.engine.cli(&arguments).unwrap().ok().unwrap();
        self.engine.forget(&reference).unwrap();
        reference
    }

    fn run_arguments<'r>(&self, reference: &'r str) -> Vec<&'r str> {
        let mut arguments = vec!["--engine", self.engine.name(), "run", "--rm"];
        arguments.extend(self.engine.run_options());
        arguments.push(reference);
        arguments
    }

    fn trustctl(&self, arguments: &[&str]) -> trust_tests::Ran {
        let mut all = vec!["--engine", self.engine.name()];
        all.extend(arguments);
        self.user.run(&all).unwrap()
    }
}

fn what_was_pushed_and_signed_is_pulled_and_runs(engine: &Engine) {
    let scene = Scene::with(engine);
    let reference = scene.built("1.0", "hello from a signed image");

    scene.trustctl(&["push", &reference]).ok().unwrap();
    engine.forget(&reference).unwrap();
    scene.trustctl(&["pull", &reference]).ok().unwrap();

    assert!(engine.holds(&reference).unwrap());
    let ran = scene.user.run(&scene.run_arguments(&reference)).unwrap().ok().unwrap();
    assert!(ran.stdout.contains("hello from a signed image"), "{ran}");
    engine.forget(&reference).unwrap();
}

fn an_unsigned_image_is_neither_pulled_nor_tagged_nor_run(engine: &Engine) {
    let scene = Scene::with(engine);
    let reference = scene.pushed_unsigned("2.0");

    scene.trustctl(&["pull", &reference]).exited(1).unwrap();
    assert!(!engine.holds(&reference).unwrap());

    let ran = scene.user.run(&scene.run_arguments(&reference)).unwrap().exited(125).unwrap();
    assert!(!ran.stdout.contains("hello from nobody"), "{ran}");
    assert!(!engine.holds(&reference).unwrap());
}

fn content_trust_switched_off_pulls_it_and_says_so(engine: &Engine) {
    let scene = Scene::with(engine);
    let reference = scene.pushed_unsigned("2.0");
    let mut command = scene.user.command(&["--engine", engine.name(), "pull", &reference]);
    command.env("DOCKER_CONTENT_TRUST", "0");

    let ran = trust_tests::program::run(&mut command).unwrap().ok().unwrap();

    assert!(ran.stderr.to_lowercase().contains("verif"), "{ran}");
    assert!(engine.holds(&reference).unwrap());
    engine.forget(&reference).unwrap();
}

#[test]
fn docker_pulls_and_runs_what_was_pushed_and_signed() {
    what_was_pushed_and_signed_is_pulled_and_runs(&Engine::docker().unwrap());
}

#[test]
fn docker_gets_no_unsigned_image() {
    an_unsigned_image_is_neither_pulled_nor_tagged_nor_run(&Engine::docker().unwrap());
}

#[test]
fn docker_gets_an_unsigned_image_with_content_trust_off() {
    content_trust_switched_off_pulls_it_and_says_so(&Engine::docker().unwrap());
}

#[test]
fn podman_pulls_and_runs_what_was_pushed_and_signed() {
    what_was_pushed_and_signed_is_pulled_and_runs(&Engine::podman().unwrap());
}

#[test]
fn podman_gets_no_unsigned_image() {
    an_unsigned_image_is_neither_pulled_nor_tagged_nor_run(&Engine::podman().unwrap());
}

#[test]
fn podman_gets_an_unsigned_image_with_content_trust_off() {
    content_trust_switched_off_pulls_it_and_says_so(&Engine::podman().unwrap());
}

/// D5: the environment decides where we sign, never whom we believe.
#[test]
fn a_foreign_daemon_named_by_the_environment_is_not_believed() {
    let engine = Engine::docker().unwrap();
    let scene = Scene::with(&engine);
    let foreign = Daemon::start().unwrap();
    let attacker = foreign.user().unwrap().using(&engine);
    let scope = scene.registry.reference("team/app");
    attacker.run(&["key", "create", "app", "--purpose", "image", "--scope", &scope]).unwrap().ok().unwrap();
    let reference = scene.built("3.0", "hello from the attacker");
    attacker.run(&["--engine", "docker", "push", &reference]).unwrap().ok().unwrap();
    engine.forget(&reference).unwrap();

    // The pin decides; and a user without any pin believes nobody at a socket that a variable names.
    let mut command = scene.user.command(&["--engine", "docker", "pull", &reference]);
    command.env("TRUSTD_ADDR", foreign.address());
    trust_tests::program::run(&mut command).unwrap().exited(1).unwrap();
    attacker.run(&["--engine", "docker", "pull", &reference]).unwrap().exited(1).unwrap();

    assert!(!engine.holds(&reference).unwrap());
}
