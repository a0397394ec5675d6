//! The peers from the Go world: cosign in two generations, and the registry with the referrers API.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::program::{Ran, checkout, run};

/// Where a peer of `tests/peers/NAME` stands, ready to run.
///
/// # Errors
/// When it is not built; says how.
pub fn path(name: &str) -> Result<PathBuf> {
    let script = checkout().join("scripts/build_peers.sh");
    let ran = run(Command::new(script).args(["path", name]))?.ok()?;
    let path = PathBuf::from(ran.stdout.trim());
    ensure!(
        path.is_file(),
        "missing: the peer program {name}. Build it: scripts/build_peers.sh (needs Go 1.26 or newer)"
    );
    Ok(path)
}

/// A cosign of a test's own: empty home, no network but the loopback.
#[derive(Debug)]
pub struct Cosign {
    program: PathBuf,
    home: tempfile::TempDir,
}

impl Cosign {
    /// cosign 3.1.
    ///
    /// # Errors
    /// When it is not built.
    pub fn three() -> Result<Self> {
        Self::of("cosign3")
    }

    /// cosign 2.6.
    ///
    /// # Errors
    /// When it is not built.
    pub fn two() -> Result<Self> {
        Self::of("cosign2")
    }

    fn of(name: &str) -> Result<Self> {
        let home = tempfile::TempDir::new().context("make a home for cosign")?;
        Ok(Self { program: path(name)?, home })
    }

    /// Runs it.
    ///
    /// # Errors
    /// When it cannot be started or is not done in time.
    pub fn run(&self, arguments: &[&str]) -> Result<Ran> {
        let mut command = Command::new(&self.program);
        command.env_clear().env("HOME", self.home.path()).env("PATH", "/usr/bin:/bin").args(arguments);
        run(command.current_dir(self.home.path()).stdin(std::process::Stdio::null()))
    }

    /// `cosign verify --key KEY --insecure-ignore-tlog=true [more] IMAGE`.
    ///
    /// # Errors
    /// As [`Cosign::run`].
    pub fn verify(&self, key: &Path, image: &str, more: &[&str]) -> Result<Ran> {
        let key = key.to_string_lossy();
        let mut arguments = vec!["verify", "--key", &key, "--insecure-ignore-tlog=true"];
        arguments.extend(more);
        arguments.push(image);
        self.run(&arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_generations_of_cosign_say_the_versions_we_pinned() {
        // A program built from a pinned module does not know its own version; the module file does.
        for (name, line) in
            [("cosign2", "github.com/sigstore/cosign/v2 v2.6.5"), ("cosign3", "github.com/sigstore/cosign/v3 v3.1.3")]
        {
            let module = std::fs::read_to_string(checkout().join("tests/peers").join(name).join("go.mod")).unwrap();
            assert!(module.contains(line), "{name}");
        }
        Cosign::two().unwrap().run(&["version"]).unwrap().ok().unwrap();
        Cosign::three().unwrap().run(&["version"]).unwrap().ok().unwrap();
    }
}
