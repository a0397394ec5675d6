//! A user's shell: where the commands of a page are run as they stand.
//!
//! It has `trustctl` and `trustd`.

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::program::{Ran, ours, run};
use crate::{Trustctl, peer};

/// The generations of cosign.
pub const COSIGN: [&str; 2] = ["cosign3", "cosign2"];

/// A user in a shell that has `trustctl` and, under the name `cosign`, one generation of it.
#[derive(Debug)]
pub struct Shell {
    /// Whose shell it is.
    pub user: Trustctl,
    programs: TempDir,
}

impl Shell {
    /// The shell of `user`.
    ///
    /// # Errors
    /// When one of our programs or a cosign is not built; with the remedy.
    pub fn of(user: Trustctl) -> Result<Self> {
        let programs = TempDir::new().context("make a directory of programs")?;
        for name in ["trustctl", "trustd"] {
            symlink(ours(name)?, programs.path().join(name)).with_context(|| format!("link {name}"))?;
        }
        for name in COSIGN {
            let directory = programs.path().join(name);
            std::fs::create_dir(&directory).context("make a directory of programs")?;
            symlink(peer::path(name)?, directory.join("cosign")).with_context(|| format!("link {name}"))?;
        }
        Ok(Self { user, programs })
    }

    /// Runs `script` in the user's directory, with this generation of cosign; any failing command ends it.
    ///
    /// # Errors
    /// When the shell does not start or does not end in time.
    pub fn run(&self, cosign: &str, script: &str) -> Result<Ran> {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", script]).env_clear().stdin(Stdio::null());
        let as_user = self.user.command::<&str>(&[]);
        command.envs(as_user.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let programs = self.programs.path().display();
        command.env("PATH", format!("{programs}:{programs}/{cosign}:/usr/bin:/bin"));
        run(command.current_dir(self.user.file("")))
    }
}
