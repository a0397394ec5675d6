//! One running worker process, as its custodian sees it.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};
use zeroize::Zeroizing;

use super::message::{Control, ControlAnswer};
use super::{descriptor, exchange, frame};

/// One running worker.
pub(super) struct Live {
    pub(super) pid: u32,
    handle: OwnedFd,
    control: Mutex<UnixStream>,
    useful: AtomicBool,
    killed: AtomicBool,
}

impl Live {
    pub(super) fn new(pid: u32, handle: OwnedFd, control: UnixStream) -> Self {
        let (useful, killed) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { pid, handle, control: Mutex::new(control), useful, killed }
    }

    /// Notes that it answered somebody: when it dies, it did not die at once.
    pub(super) fn proved_useful(&self) {
        self.useful.store(true, Ordering::Relaxed);
    }

    pub(super) fn was_useful(&self) -> bool {
        self.useful.load(Ordering::Relaxed)
    }

    pub(super) fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        // It may have ended already; then there is nothing to kill.
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
    }

    /// Whether we have ended it: what was lost with it is not to blame.
    pub(super) fn was_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// A new session's stream into it. `waits_on` as in [`exchange::exchange`].
    pub(super) fn attach(&self, patience: Duration, waits_on: impl FnMut() -> bool) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut request = Vec::new();
        frame::encode(&Control::Attach, &mut request)?;
        let mut answer = Vec::new();
        let mut control = self.control();
        exchange::limit(&control, patience)?;
        descriptor::send(&control, &request, theirs.as_fd())?;
        exchange::answer(&mut control, &mut answer, waits_on)?;
        match postcard::from_bytes(&answer) {
            Ok(ControlAnswer::Done) => Ok(ours),
            Ok(_) | Err(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Asks over the control connection; the answer's frame comes back in memory that will be wiped.
    pub(super) fn ask(
        &self,
        request: &Control<'_>,
        patience: Duration,
        waits_on: impl FnMut() -> bool,
    ) -> io::Result<Zeroizing<Vec<u8>>> {
        exchange::converse(&mut self.control(), request, patience, waits_on)
    }

    fn control(&self) -> MutexGuard<'_, UnixStream> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
