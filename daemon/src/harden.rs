//! What the daemon gives up before it reads a secret or opens a door.
//!
//! The custody worker does more (`trust_hsm::worker`): it holds the keys. Here are
//! the caller's requests, the store key and a passphrase on its way through.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result};
use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Open files that connections and the store may need together; more is not asked for.
const OPEN_FILES: u64 = 65_536;
/// The running program, whatever became of its path.
const OWN: &str = "/proc/self/exe";
/// Says that this process was started again by itself.
const AGAIN: &str = "TRUSTD_STARTED_AGAIN";
/// The variables that mean something to the daemon; all others are left behind.
const KEPT: [&str; 10] = [
    AGAIN,
    "CREDENTIALS_DIRECTORY",
    "HOME",
    "NOTIFY_SOCKET",
    "RUST_BACKTRACE",
    "TRUSTD_LOG",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
];

/// Makes this process hard to look into, and starts it again once without what it inherited.
///
/// The second start is what empties `/proc/PID/environ`: a variable that is only removed stays readable there.
///
/// # Errors
/// A step that the kernel refuses; then nothing may start.
pub(crate) fn process() -> Result<()> {
    // First: from here on the same user can neither attach nor read our memory, and a crash leaves no core.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).context("forbid memory dumps")?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none).context("forbid core files")?;
    rustix::thread::set_no_new_privs(true).context("give up new privileges")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    raise_open_files();
    if std::env::var_os(AGAIN).is_some() {
        return Ok(());
    }
    leave_descriptors_behind().context("leave inherited descriptors behind")?;
    Err(again()).context("start this program again without its environment")
}

/// Becomes the same program with the same arguments; returns only when that is impossible.
fn again() -> io::Error {
    // A program that was replaced meanwhile has no path any more; the kernel still knows it, if under another name.
    let program = std::env::current_exe().ok().filter(|program| program.exists()).unwrap_or_else(|| OWN.into());
    let kept = std::env::vars_os().filter(|(name, _)| is_kept(name));
    Command::new(program).args(std::env::args_os().skip(1)).env_clear().envs(kept).env(AGAIN, "1").exec()
}

fn is_kept(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| KEPT.contains(&name))
}

/// Marks every descriptor but the standard three to be closed when the program starts again.
#[expect(unsafe_code, reason = "no safe call reaches descriptors that nobody here owns")]
fn leave_descriptors_behind() -> io::Result<()> {
    let flags = libc::c_int::try_from(libc::CLOSE_RANGE_CLOEXEC).unwrap_or(0);
    // SAFETY: nothing is closed here; the mark takes effect when this program, with every owner in it, is replaced.
    let outcome = unsafe { libc::close_range(3, libc::c_uint::MAX, flags) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// As far as the limit above us allows; with fewer, `accept` says so later.
fn raise_open_files() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES));
    if limit.current.is_some_and(|current| current < most) {
        let raised = Rlimit { current: Some(most), maximum: limit.maximum };
        let _ = rustix::process::setrlimit(Resource::Nofile, raised);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_that_mean_something_are_kept() {
        for name in ["NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "HOME"] {
            assert!(is_kept(OsStr::new(name)), "{name}");
        }
        for name in ["LD_PRELOAD", "SSLKEYLOGFILE", "AWS_SECRET_ACCESS_KEY", "HOME2", ""] {
            assert!(!is_kept(OsStr::new(name)), "{name}");
        }
    }
}
