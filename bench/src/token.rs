//! A SoftHSM token of a run's own, bare or behind the module that makes every signature wait.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use trust::Algorithm;
use trust_tests::program::{run, tool};

use crate::bare::{self, Bare};
use crate::load::Load;

const PIN: &str = "736451";
const LABEL: &str = "trustd-bench";
/// Where Debian has it.
const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// How a token answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As fast as this machine computes.
    Bare,
    /// As an HSM does: each signature takes this much longer, and nobody computes meanwhile.
    Waiting(Duration),
}

/// One token, in a directory of its own.
#[derive(Debug)]
pub(crate) struct Token {
    directory: PathBuf,
    pace: Pace,
}

impl Token {
    /// A new one in `directory`, which is not there yet.
    ///
    /// # Errors
    /// When SoftHSM or the module that waits is not there.
    pub(crate) fn make(directory: &Path, pace: Pace) -> Result<Self> {
        let token = Self { directory: directory.to_owned(), pace };
        for part in ["", "tokens", "fault"] {
            std::fs::create_dir(directory.join(part)).context("make a token's directory")?;
        }
        let place = directory.join("tokens");
        let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", place.display());
        std::fs::write(token.conf(), text).context("write softhsm2.conf")?;
        std::fs::write(token.pin(), PIN).context("write a PIN")?;
        std::fs::set_permissions(token.pin(), PermissionsExt::from_mode(0o600)).context("close a PIN file")?;
        if let Pace::Waiting(time) = pace {
            let command = format!("C_Sign * delay {}\n", time.as_millis());
            std::fs::write(directory.join("fault/commands"), command).context("write the delay")?;
        }
        ensure!(token.module()?.exists(), "{} is not there: apt-get install softhsm2", token.module()?.display());
        let mut command = Command::new(tool("softhsm2-util", "apt-get install softhsm2")?);
        command.env("SOFTHSM2_CONF", token.conf());
        command.args(["--init-token", "--free", "--label", LABEL, "--so-pin", "12345678", "--pin", PIN]);
        run(&mut command)?.ok()?;
        Ok(token)
    }

    /// The `[[token]]` that means it, under this name and with so many sessions.
    ///
    /// # Errors
    /// When the module that waits was not built.
    pub(crate) fn configuration(&self, name: &str, sessions: usize) -> Result<String> {
        let environment: Vec<String> =
            self.environment()?.iter().map(|(name, path)| format!("{name}={path}")).collect();
        Ok(format!(
            "\n[[token]]\nname = \"{name}\"\nmodule = \"{}\"\nlabel = \"{LABEL}\"\npin_file = \"{}\"\n\
             sessions = {sessions}\nenvironment = {environment:?}\nwritable = [\"{}\"]\n",
            self.module()?.display(),
            self.pin().display(),
            self.directory.display(),
        ))
    }

    /// Signs in a bare loop over the module, in a process of its own with so many sessions.
    ///
    /// # Errors
    /// When a signature fails.
    pub(crate) fn bare(&self, algorithm: Algorithm, sessions: usize, load: Load) -> Result<Bare> {
        let mut command = Command::new(std::env::current_exe().context("find this program")?);
        command.arg(bare::WORD).arg(self.module()?).args([LABEL, algorithm.name(), &sessions.to_string()]);
        command.args([load.warm_up.as_millis().to_string(), load.length.as_millis().to_string()]);
        command.env_clear().envs(self.environment()?).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("start the bare loop")?;
        child.stdin.take().context("speak to the bare loop")?.write_all(PIN.as_bytes()).context("tell the PIN")?;
        let output = child.wait_with_output().context("wait for the bare loop")?;
        ensure!(output.status.success(), "the bare loop over {LABEL} failed");
        Bare::read(&String::from_utf8_lossy(&output.stdout))
    }

    fn environment(&self) -> Result<Vec<(String, String)>> {
        let text = |path: PathBuf| path.to_str().map(str::to_owned).context("a path that is no text");
        let mut all = vec![("SOFTHSM2_CONF".to_owned(), text(self.conf())?)];
        if self.pace != Pace::Bare {
            all.push(("FAULT_REAL".to_owned(), SOFTHSM.to_owned()));
            all.push(("FAULT_DIRECTORY".to_owned(), text(self.directory.join("fault"))?));
        }
        Ok(all)
    }

    fn module(&self) -> Result<PathBuf> {
        match self.pace {
            Pace::Bare => Ok(PathBuf::from(SOFTHSM)),
            // cargo builds it beside this program, of which it is a dependency.
            Pace::Waiting(_) => {
                let program = std::env::current_exe().context("find this program")?;
                Ok(program.with_file_name("deps").join("libtrust_hsm_fault.so"))
            }
        }
    }

    fn conf(&self) -> PathBuf {
        self.directory.join("softhsm2.conf")
    }

    fn pin(&self) -> PathBuf {
        self.directory.join("pin")
    }
}
