//! A program that keeps running: its output in a file, stopped by its own id.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::program::shown;
use crate::wait::until;

/// Twice what the daemon allows itself for a graceful end.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A running child. Dropped, it gets SIGTERM, and SIGKILL when it does not obey.
#[derive(Debug)]
pub struct Running {
    child: Child,
    line: String,
    log: PathBuf,
}

impl Running {
    /// Starts `command` in a process group of its own, so that a Ctrl-C reaches the test first. Both outputs are
    /// appended to the file `log`.
    ///
    /// # Errors
    /// When the log cannot be opened or the program not started.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let line = shown(command);
        let file = File::options().create(true).append(true).open(log).with_context(|| format!("open {log:?}"))?;
        let both = file.try_clone().context("share the log file")?;
        command.stdin(Stdio::null()).stdout(file).stderr(both).process_group(0);
        let child = command.spawn().with_context(|| format!("start `{line}`"))?;
        Ok(Self { child, line, log: log.to_path_buf() })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it printed so far.
    #[must_use]
    pub fn printed(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until `probe` gives something; fails at once, with the log, when the program ends before.
    ///
    /// # Errors
    /// When the program ended, or after `limit`.
    pub fn ready<T>(&mut self, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
        let (line, log) = (self.line.clone(), self.log.clone());
        let child = &mut self.child;
        let outcome = until(&format!("`{line}` is ready"), limit, || {
            if let Some(status) = child.try_wait()? {
                anyhow::bail!("`{line}` ended with {status} before it was ready");
            }
            Ok(probe())
        });
        outcome.with_context(|| format!("its output:\n{}", std::fs::read_to_string(&log).unwrap_or_default()))
    }

    /// Sends a signal. A program that has ended meanwhile is no error.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal); // ESRCH: it has ended
        }
    }

    /// Its end, if it has come.
    ///
    /// # Errors
    /// When the kernel does not know the child.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("look after `{}`", self.line))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end within `limit`.
    pub fn end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let line = self.line.clone();
        until(&format!("`{line}` ends"), limit, || self.ended())
    }

    /// SIGKILL, as a power cut of this one process; waits until it is gone.
    ///
    /// # Errors
    /// When it does not go.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL);
        self.end(STOP_LIMIT).map(|_| ())
    }

    /// SIGTERM and waiting for its end.
    ///
    /// # Errors
    /// When it does not end within 20 s.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM);
        self.end(STOP_LIMIT)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.ended(), Ok(Some(_))) {
            return;
        }
        if self.stop().is_err() {
            let _ = self.kill(); // nothing more can be done in a drop
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_too_early_is_reported_with_its_output() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no store here; exit 9"]);
        let mut running = Running::start(&mut command, &directory.path().join("log")).unwrap();

        let error = running.ready(Duration::from_secs(10), || None::<()>).unwrap_err();

        let text = format!("{error:#}");
        assert!(text.contains("no store here") && text.contains("exit status: 9"), "{text}");
    }

    #[test]
    fn a_dropped_guard_leaves_no_process() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        command.arg("60");
        let running = Running::start(&mut command, &directory.path().join("log")).unwrap();
        let pid = Pid::from_raw(i32::try_from(running.id()).unwrap()).unwrap();

        drop(running);

        assert!(rustix::process::test_kill_process(pid).is_err());
    }
}
