//! Programs: finding them, saying how to get them, running them to their end.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::wait::until;

/// No program of a test may take longer.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// What a program that ran to its end left.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The command line, for messages.
    pub command: String,
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
}

impl Ran {
    /// Itself, if the program exited with `code`.
    ///
    /// # Errors
    /// With everything the program printed, for any other end.
    pub fn exited(self, code: i32) -> Result<Self> {
        ensure!(self.code == Some(code), "expected exit code {code}: {self}");
        Ok(self)
    }

    /// Itself, if the program exited with 0.
    ///
    /// # Errors
    /// With everything the program printed, for any other end.
    pub fn ok(self) -> Result<Self> {
        self.exited(0)
    }

    /// Standard output as JSON.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("standard output is not JSON: {self}"))
    }

    /// Both outputs, one after the other.
    #[must_use]
    pub fn words(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "`{}` ended with {:?}", self.command, self.code)?;
        writeln!(f, "--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr)
    }
}

/// Runs a command to its end, at most two minutes, with nothing on standard input unless the command says otherwise.
///
/// # Errors
/// When it cannot be started, or is not done in time (it is then killed).
pub fn run(command: &mut Command) -> Result<Ran> {
    let line = shown(command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("start `{line}`"))?;
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let status = until(&line, RUN_LIMIT, || Ok(child.try_wait()?));
    if status.is_err() {
        let _ = child.kill(); // it may have ended in between
        let _ = child.wait(); // the error below says more
    }
    let (stdout, stderr) = (collected(stdout)?, collected(stderr)?);
    let status = status.map_err(|error| anyhow!("{error}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"))?;
    Ok(Ran { command: line, code: status.code(), stdout, stderr })
}

/// Runs a command with `input` on its standard input.
///
/// # Errors
/// As [`run`]; and when the input cannot be kept in a file.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Result<Ran> {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile().context("make a file for standard input")?;
    file.write_all(input).context("write standard input")?;
    file.rewind().context("rewind standard input")?;
    run(command.stdin(Stdio::from(file)))
}

/// The command line as a person would read it.
#[must_use]
pub fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}

type Drain = Option<std::thread::JoinHandle<std::io::Result<Vec<u8>>>>;

fn drain(pipe: Option<impl Read + Send + 'static>) -> Drain {
    let mut pipe = pipe?;
    Some(std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).map(|_| bytes)
    }))
}

fn collected(drain: Drain) -> Result<String> {
    let Some(thread) = drain else { return Ok(String::new()) };
    let bytes = thread.join().map_err(|_| anyhow!("a reader of output panicked"))?.context("read output")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A foreign program on `PATH`, in the administrator's directories too.
///
/// # Errors
/// Names `remedy`, a command that installs it.
pub fn tool(name: &str, remedy: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| anyhow!("missing: {name}. Install it: {remedy}"))
}

/// The openssl of the machine.
///
/// # Errors
/// As [`tool`].
pub fn openssl() -> Result<Command> {
    tool("openssl", "apt-get install openssl").map(Command::new)
}

/// One of our own programs, built in the same profile as this test.
///
/// # Errors
/// Says how to build it where it is absent.
pub fn ours(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the running test")?;
    // target/debug/deps/test-0123 or target/release/trust-bench
    let found = own.ancestors().skip(1).take(2).map(|directory| directory.join(name)).find(|path| path.is_file());
    let profile =
        if own.components().any(|part| part.as_os_str() == OsStr::new("release")) { " --release" } else { "" };
    found.ok_or_else(|| anyhow!("missing: {name} beside {}. Build it: cargo build --locked{profile}", own.display()))
}

/// Copies a file or a directory as it is, with modes, times and links.
///
/// # Errors
/// When `cp` says so.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").arg("-a").arg(from).arg(to))?.ok().map(drop)
}

/// The root of the checkout.
#[must_use]
pub fn checkout() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_path_buf()
}

/// An error that says that only root can do `what`.
///
/// # Errors
/// When this process is not root.
pub fn needs_root(what: &str) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("{what} needs root: sudo -E env \"PATH=$PATH\" make test");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_program_is_an_error_that_names_the_remedy() {
        let error = tool("no-such-program-here", "apt-get install it").unwrap_err().to_string();

        assert_eq!(error, "missing: no-such-program-here. Install it: apt-get install it");
    }

    #[test]
    fn another_exit_code_is_an_error_with_everything_that_was_printed() {
        let error =
            run(Command::new("sh").args(["-c", "echo seen; echo heard >&2; exit 3"])).unwrap().ok().unwrap_err();

        let text = error.to_string();
        assert!(text.contains("Some(3)") && text.contains("seen") && text.contains("heard"), "{text}");
    }

    #[test]
    fn output_beyond_a_pipes_size_does_not_block() {
        let ran = run(Command::new("head").args(["-c", "1000000", "/dev/zero"])).unwrap().ok().unwrap();

        assert_eq!(ran.stdout.len(), 1_000_000);
    }
}
