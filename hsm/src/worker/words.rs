//! What a worker writes to its standard error: read, cleaned and bounded, into the daemon's log.
//!
//! A vendor's module is in that process. Had it the daemon's own standard error, it could make that non-blocking, cut
//! the file behind it off, fill it, or write what a terminal obeys.

use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStderr};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tracing::warn;

use crate::error::clean;

/// The most bytes of a line that are logged.
const LINE_BYTES_MAX: usize = 512;
/// The most lines of one process that are logged: a panic with its backtrace.
const LINES_MAX: usize = 256;

/// Reads what `child` says until it has ended, in a thread of its own.
///
/// # Errors
/// When the thread cannot be started.
pub(super) fn relay(child: &mut Child, custodian: String) -> io::Result<()> {
    let Some(stderr) = child.stderr.take() else { return Ok(()) };
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let lines = Lines { custodian, pid: child.id(), line: Vec::new(), logged: 0 };
    std::thread::Builder::new().name("custody-words".to_owned()).spawn(move || read(stderr, &process, lines)).map(drop)
}

/// Until the end of the process, and not of the pipe: a process that a module started may have that for ever.
fn read(mut stderr: ChildStderr, process: &OwnedFd, mut lines: Lines) {
    let mut chunk = [0; 4096];
    loop {
        let mut ready = [PollFd::new(&stderr, PollFlags::IN), PollFd::new(process, PollFlags::IN)];
        if poll(&mut ready, None).is_err_and(|error| error != rustix::io::Errno::INTR) {
            return;
        }
        let [words, end] = ready.map(|ready| ready.revents());
        if !words.is_empty() {
            match stderr.read(&mut chunk) {
                Ok(length @ 1..) => lines.take(chunk.get(..length).unwrap_or_default()),
                Ok(0) | Err(_) => return lines.end(),
            }
        } else if !end.is_empty() {
            return lines.end();
        }
    }
}

/// Lines on their way into the log.
struct Lines {
    custodian: String,
    pid: u32,
    line: Vec<u8>,
    logged: usize,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                self.end();
            } else if self.line.len() < LINE_BYTES_MAX {
                self.line.push(*byte);
            }
        }
    }

    /// Logs the line so far. What is too much is read and forgotten: a worker never waits for its reader.
    fn end(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() || self.logged > LINES_MAX {
            return;
        }
        let (custodian, pid) = (self.custodian.as_str(), self.pid);
        if self.logged == LINES_MAX {
            warn!(custodian, pid, "the worker says more than {LINES_MAX} lines: the rest is not logged");
        } else {
            warn!(custodian, pid, "the worker says: {}", clean(&String::from_utf8_lossy(&line), LINE_BYTES_MAX));
        }
        self.logged = self.logged.saturating_add(1);
    }
}
