//! How long an unmodified docker takes to push and sign, and to pull and verify, by whose server it is.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use trust_tests::program::{run as run_program, tool};
use trust_tests::{Engine, Ran, Registry};

use super::{SUITE, whose};
use crate::load::now;
use crate::report::{Report, Row};
use crate::suite::Plan;

/// Somebody with docker and a server.
struct User {
    name: &'static str,
    server: String,
    home: TempDir,
    times: [Vec<f64>; 2],
}

/// Each server in turn, round by round.
///
/// # Errors
/// When docker is not there, or refuses.
pub(super) fn run(
    plan: &Plan,
    registry: &Registry,
    servers: &[(&'static str, u16)],
    report: &mut Report,
) -> Result<()> {
    const CASES: [&str; 2] = ["docker push and sign", "docker pull and verify"];
    if !CASES.iter().any(|case| case.contains(&plan.case)) {
        return Ok(());
    }
    let engine = Engine::docker()?;
    let mut users = Vec::new();
    for (name, port) in servers {
        let home = TempDir::new().context("make a home")?;
        let mut user =
            User { name, server: format!("https://localhost:{port}"), home, times: [const { Vec::new() }; 2] };
        // The first push begins the repository, and makes keys.
        user.once(&engine, &registry.reference(&format!("{}:first", repository(users.len()))), "the first")?;
        user.times = [const { Vec::new() }; 2];
        users.push(user);
    }
    for round in 0..plan.rounds {
        for place in Plan::order(round, users.len()) {
            let Some(user) = users.get_mut(place) else { continue };
            let reference = registry.reference(&format!("{}:{round}", repository(place)));
            user.once(&engine, &reference, &round.to_string())?;
        }
    }
    for user in users {
        for (case, samples) in CASES.iter().zip(user.times) {
            let row = Row::new(SUITE, (*case).to_owned(), user.name.to_owned(), "s", samples);
            report.add(row.of(whose(user.name)));
        }
    }
    Ok(())
}

/// Each server's own: docker keeps one memory of a repository, whoever serves it.
fn repository(place: usize) -> String {
    format!("bench/app{place}")
}

impl User {
    fn once(&mut self, engine: &Engine, reference: &str, round: &str) -> Result<()> {
        engine.build(reference, &format!("hello {round} from {}", self.name))?;
        let push = self.timed(engine, &["push", reference])?;
        engine.forget(reference)?;
        let pull = self.timed(engine, &["pull", reference])?;
        ensure!(engine.holds(reference)?, "{reference} was not pulled");
        engine.forget(reference)?;
        for (times, seconds) in self.times.iter_mut().zip([push, pull]) {
            times.push(seconds);
        }
        Ok(())
    }

    fn timed(&self, engine: &Engine, arguments: &[&str]) -> Result<f64> {
        let begun = now();
        self.docker(engine, arguments)?.ok().with_context(|| self.name.to_owned())?;
        Ok((now() - begun).as_secs_f64())
    }

    fn docker(&self, engine: &Engine, arguments: &[&str]) -> Result<Ran> {
        let mut command = Command::new(tool("docker", "apt-get install docker.io")?);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.home.path()).envs(engine.environment());
        command.env("DOCKER_CONFIG", self.home.path().join(".docker")).env("DOCKER_CONTENT_TRUST", "1");
        command.env("DOCKER_CONTENT_TRUST_SERVER", &self.server);
        for role in ["ROOT", "REPOSITORY"] {
            command.env(format!("DOCKER_CONTENT_TRUST_{role}_PASSPHRASE"), "a passphrase for this run only");
        }
        run_program(command.stdin(Stdio::null()).args(arguments))
    }
}
