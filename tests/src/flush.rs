//! Flushes that lie or fail, and ends at a chosen step, below a daemon that runs: `strace` answers in the kernel's place.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::process::Running;
use crate::program::tool;
use crate::wait::until;

const ATTACH_LIMIT: Duration = Duration::from_secs(20);

/// What a flush does instead of flushing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// It says that it failed (EIO).
    Fails,
    /// It says that it succeeded.
    Lies,
}

impl Flush {
    const fn answer(self) -> &'static str {
        match self {
            Self::Fails => "error=EIO",
            Self::Lies => "retval=0",
        }
    }
}

/// Bends every fsync and fdatasync of the process `pid` until the answer is dropped or the process ends.
///
/// # Errors
/// When strace is absent or may not attach.
pub fn bend(pid: u32, flush: Flush, log: &Path) -> Result<Running> {
    attach(pid, "fsync,fdatasync", flush.answer(), None, log)
}

/// Bends flushes as [`bend`] does, of one file alone.
///
/// # Errors
/// As [`bend`].
pub fn bend_of(pid: u32, flush: Flush, file: &Path, log: &Path) -> Result<Running> {
    attach(pid, "fsync,fdatasync", flush.answer(), Some(file), log)
}

/// Kills the process `pid` at one of its calls on a file, before the call does anything: at the `nth` of those that
/// have this name for strace (`write`; `/^rename` for all that begin so).
///
/// # Errors
/// As [`bend`].
pub fn kill_at(pid: u32, call: &str, nth: u32, file: &Path, log: &Path) -> Result<Running> {
    attach(pid, call, &format!("signal=SIGKILL:when={nth}"), Some(file), log)
}

fn attach(pid: u32, calls: &str, answer: &str, file: Option<&Path>, log: &Path) -> Result<Running> {
    let mut command = Command::new(tool("strace", "apt-get install strace")?);
    command.args(["-f", "-qq", "-o", "/dev/null"]);
    if let Some(file) = file {
        command.arg("-P").arg(file);
    }
    let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:{answer}"));
    command.args(["-e", &trace, "-e", &inject, "-p", &pid.to_string()]);
    let mut tracer = Running::start(&mut command, log)?;
    tracer.ready(ATTACH_LIMIT, || is_traced(pid).then_some(()))?;
    Ok(tracer)
}

/// Takes `tracer` away again and waits until the process is on its own.
///
/// # Errors
/// When strace does not let go.
pub fn straighten(pid: u32, mut tracer: Running) -> Result<()> {
    tracer.stop()?;
    until("strace has let go", ATTACH_LIMIT, || Ok((!is_traced(pid)).then_some(())))
}

fn is_traced(pid: u32) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    tasks.flatten().all(|task| {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
    })
}
