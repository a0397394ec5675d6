//! Measuring a token in a worker process of its own, beside the one that serves.
//!
//! The program, its sandbox and its first message are the serving worker's; what differs is that nobody's keys are used
//! in it and that nobody waits for it. A module that falls over the measurement takes only this process along.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::MutexGuard;
use std::time::Duration;

use super::exchange::limit;
use super::frame;
use super::message::{Control, ControlAnswer};
use super::start::{introduce, launch, show};
use super::supervisor::{Keeps, Shared, lock};
use super::token::TokenWorker;
use crate::doctor::{Plan, Progress, Report};
use crate::{CustodyError, Pin, TokenTrouble};

/// How long one step may take besides the patience with any call: the primes of an RSA key are a matter of luck.
const STEP_PATIENCE: Duration = Duration::from_secs(70);

/// The place of the one measuring process.
#[derive(Debug, Default)]
pub(super) enum Place {
    #[default]
    Free,
    Taken {
        pid: Option<u32>,
    },
}

/// A measuring process; it ends with this, and the place is free again.
struct Measuring<'a> {
    worker: &'a TokenWorker,
    child: Child,
}

impl TokenWorker {
    /// Measures the token; blocks until it is done. `tell` hears of each step, and ends the measurement by saying false.
    ///
    /// The measuring process gets the PIN that has opened the token for the serving one; no other is tried (D23). Call
    /// it on a thread that lives as long: the kernel ends the process with the thread that started it.
    ///
    /// # Errors
    /// [`CustodyError::Refused`] while another measurement runs and where no PIN has opened the token yet;
    /// [`CustodyError::Unavailable`] when the token cannot be opened a second time or goes away;
    /// [`CustodyError::Late`] when it hangs. What was made by then the next measurement deletes.
    pub fn examine(&self, plan: &Plan, tell: &mut dyn FnMut(Progress) -> bool) -> Result<Report, CustodyError> {
        self.take_place()?;
        let examined = self.examine_alone(plan, tell);
        *self.place() = Place::Free;
        examined
    }

    fn examine_alone(&self, plan: &Plan, tell: &mut dyn FnMut(Progress) -> bool) -> Result<Report, CustodyError> {
        let shared = self.shared();
        let pin = proven_pin(shared)?;
        // It makes RSA keys beside the worker that serves, whose callers are told why the token is silent meanwhile.
        let _made = shared.making.begin();
        let (child, mut control) = launch(&shared.launch, shared.name())
            .map_err(|error| CustodyError::unavailable(format!("start a measuring worker: {error}")))?;
        *self.place() = Place::Taken { pid: Some(child.id()) };
        let mut measuring = Measuring { worker: self, child };
        measuring.mount(&mut control, &pin)?;
        drop(pin);
        measuring.ask(&mut control, plan, tell)
    }

    /// The process that measures now; the doors refuse it as they do the one that serves.
    pub(super) fn measuring_pid(&self) -> Option<u32> {
        match &*self.place() {
            Place::Taken { pid } => *pid,
            Place::Free => None,
        }
    }

    fn take_place(&self) -> Result<(), CustodyError> {
        let mut place = self.place();
        if matches!(*place, Place::Taken { .. }) {
            return Err(CustodyError::refused("the token is being measured already"));
        }
        *place = Place::Taken { pid: None };
        Ok(())
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        lock(self.measuring())
    }
}

impl Measuring<'_> {
    /// Has the process load the module and log in.
    fn mount(&mut self, control: &mut UnixStream, pin: &Pin) -> Result<(), CustodyError> {
        let shared = self.worker.shared();
        let found = introduce(shared, control).map_err(|error| self.judge(&error))?;
        let mounted = match found {
            // It has opened the token before: whatever that has counted since, it is no guess (D23).
            Ok(_counted) => {
                show(control, pin, shared.launch.hang_after()).map_err(|error| self.judge(&error))?.map(drop)
            }
            Err(trouble) => Err(trouble),
        };
        let Err(trouble) = mounted else { return Ok(()) };
        if let (Keeps::Token { pin, .. }, TokenTrouble::PinWrong) = (&shared.keeps, &trouble) {
            // It was changed in the token meanwhile: this was the one try that it has (D23).
            lock(pin).refused();
        }
        Err(CustodyError::unavailable(format!(
            "the token cannot be opened a second time, beside the worker that serves it: {trouble}"
        )))
    }

    fn ask(
        &mut self,
        control: &mut UnixStream,
        plan: &Plan,
        tell: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Report, CustodyError> {
        let patience = STEP_PATIENCE.saturating_add(self.worker.shared().launch.hang_after());
        let mut buffer = Vec::new();
        let begun = limit(control, patience)
            .and_then(|()| frame::encode(&Control::Examine(*plan), &mut buffer))
            .and_then(|()| frame::write(control, &buffer));
        begun.map_err(|error| self.judge(&error))?;
        loop {
            match frame::read(control, &mut buffer) {
                Ok(true) => {}
                Ok(false) => return Err(self.judge(&io::ErrorKind::UnexpectedEof.into())),
                Err(error) => return Err(self.judge(&error)),
            }
            let progress = match postcard::from_bytes::<ControlAnswer<'_>>(&buffer) {
                Ok(ControlAnswer::Examining(progress)) => progress,
                Ok(ControlAnswer::Examined(report)) => return Ok(*report),
                Ok(ControlAnswer::Failed(error)) => return Err(error),
                Ok(_) | Err(_) => return Err(self.judge(&io::ErrorKind::InvalidData.into())),
            };
            let went_on = if tell(progress) {
                frame::encode(&Control::GoOn, &mut buffer).and_then(|()| frame::write(control, &buffer))
            } else {
                // It deletes what it made, and answers that it was ended.
                control.shutdown(Shutdown::Write)
            };
            went_on.map_err(|error| self.judge(&error))?;
        }
    }

    fn judge(&self, error: &io::Error) -> CustodyError {
        let pid = self.child.id();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                tracing::error!(custodian = self.worker.shared().name(), pid, "a measuring worker hangs: killed");
                CustodyError::Late
            }
            _ => CustodyError::unavailable(format!("the measuring worker is gone: {error}")),
        }
    }
}

impl Drop for Measuring<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}

/// The PIN that has opened the token for the worker that serves.
fn proven_pin(shared: &Shared) -> Result<Pin, CustodyError> {
    let Keeps::Token { pin, .. } = &shared.keeps else {
        return Err(CustodyError::refused("only a token can be measured"));
    };
    let proven = lock(pin).proven()?;
    proven.ok_or_else(|| CustodyError::refused("its PIN has not opened the token yet, and is not tried for this"))
}

/// Measures what this process has mounted, and leaves the last answer's frame in `outgoing`.
pub(super) fn answer(
    custodian: &crate::Pkcs11Custodian,
    plan: &Plan,
    stream: &mut UnixStream,
    outgoing: &mut Vec<u8>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    // Each step waits for the daemon's word: one that has gone is noticed, and what was made is deleted.
    let mut tell = |progress: Progress| {
        let heard = frame::encode(&ControlAnswer::Examining(progress), &mut buffer)
            .and_then(|()| frame::write(stream, &buffer))
            .and_then(|()| frame::read(stream, &mut buffer));
        matches!(heard, Ok(true)) && matches!(postcard::from_bytes(&buffer), Ok(Control::GoOn))
    };
    let answer = match custodian.examine(plan, &mut tell) {
        Ok(report) => ControlAnswer::Examined(Box::new(report)),
        Err(error) => ControlAnswer::Failed(error),
    };
    frame::encode(&answer, outgoing)
}
