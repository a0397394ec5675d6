//! The life of worker processes: start, watch, replace.
//!
//! One thread starts every worker and waits for its end. It lives as long as the
//! custodian does, which the worker relies on: the kernel kills it when the
//! *thread* that started it ends (`PR_SET_PDEATHSIG`).

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use zeroize::Zeroizing;

use super::message::{Bytes, Control, ControlAnswer, Hello, PROTOCOL};
use super::session::{exchange, limit};
use super::{WorkerConfig, descriptor, frame};
use crate::{CustodianState, CustodyError};

/// How long a session waits for a worker that is being started.
const START_PATIENCE: Duration = Duration::from_secs(3);
/// Room for any control message, so that a passphrase is written into memory that does not move.
const CONTROL_BYTES: usize = 64 * 1024;
/// The longest pause before a worker that dies at once is started again.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What the custodian, its sessions and the watching thread share.
pub(super) struct Shared {
    pub(super) config: WorkerConfig,
    pub(super) restarts: AtomicU64,
    pub(super) sessions: AtomicUsize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    live: Option<Arc<Live>>,
    /// The root key file that a new worker opens the ring with by itself. Never a passphrase.
    reopen: Option<PathBuf>,
    open: bool,
    stopping: bool,
    /// Workers in a row that died without having answered a session.
    useless: u32,
}

/// One running worker.
pub(super) struct Live {
    pub(super) pid: u32,
    handle: OwnedFd,
    control: Mutex<UnixStream>,
    useful: AtomicBool,
}

impl Live {
    /// Notes that it answered a session: when it dies, it did not die at once.
    pub(super) fn proved_useful(&self) {
        self.useful.store(true, Ordering::Relaxed);
    }

    fn kill(&self) {
        // It may have ended already; then there is nothing to kill.
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
    }
}

impl Shared {
    pub(super) fn new(config: WorkerConfig) -> Self {
        let state = State { live: None, reopen: None, open: false, stopping: false, useless: 0 };
        Self {
            config,
            restarts: AtomicU64::new(0),
            sessions: AtomicUsize::new(0),
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Takes a process of a test for the running worker.
    #[cfg(test)]
    pub(super) fn adopt(&self, pid: u32, control: UnixStream) {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
        let handle = pidfd_open(raw, PidfdFlags::empty()).unwrap();
        self.state().live =
            Some(Arc::new(Live { pid, handle, control: Mutex::new(control), useful: AtomicBool::new(false) }));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn custodian_state(&self) -> CustodianState {
        let state = self.state();
        match (&state.live, state.open) {
            (Some(_), true) => CustodianState::Ready,
            (Some(_), false) => CustodianState::Sealed,
            (None, _) => CustodianState::Unavailable,
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.state().live.as_ref().map(|live| live.pid)
    }

    pub(super) fn is_current(&self, live: &Arc<Live>) -> bool {
        self.state().live.as_ref().is_some_and(|current| Arc::ptr_eq(current, live))
    }

    pub(super) fn kill(&self) {
        if let Some(live) = &self.state().live {
            live.kill();
        }
    }

    /// Ends the worker for good.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.stopping = true;
        if let Some(live) = &state.live {
            live.kill();
        }
        drop(state);
        self.changed.notify_all();
    }

    /// The running worker, waiting a little for one that is being started.
    fn live(&self) -> Result<Arc<Live>, CustodyError> {
        let starting = |state: &mut State| state.live.is_none() && !state.stopping;
        let waited = self.changed.wait_timeout_while(self.state(), START_PATIENCE, starting);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.live.clone().ok_or_else(|| CustodyError::unavailable("the custody worker is being restarted"))
    }

    /// A new session's stream into the running worker.
    pub(super) fn attach(&self) -> Result<(Arc<Live>, UnixStream), CustodyError> {
        let live = self.live()?;
        let failed =
            |error: io::Error| CustodyError::failed(format!("open a session with the custody worker: {error}"));
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let mut request = Vec::new();
        frame::encode(&Control::Attach, &mut request).map_err(failed)?;
        let mut answer = Vec::new();
        let control = live.control.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = self.config.hang_after;
        let attached = descriptor::send(&control, &request, theirs.as_fd())
            .and_then(|()| control.set_read_timeout(Some(patience)))
            .and_then(|()| frame::read(&mut &*control, &mut answer));
        drop(control);
        match attached {
            Ok(_) if matches!(postcard::from_bytes(&answer), Ok(ControlAnswer::Done)) => Ok((live, ours)),
            Ok(_) => Err(self.judge(&live, &io::ErrorKind::InvalidData.into())),
            Err(error) => Err(self.judge(&live, &error)),
        }
    }

    /// Asks over the control connection; the answer's frame comes back in memory that will be wiped.
    pub(super) fn control(
        &self,
        request: &Control<'_>,
        patience: Duration,
    ) -> Result<(Arc<Live>, Zeroizing<Vec<u8>>), CustodyError> {
        let live = self.live()?;
        let mut control = live.control.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = converse(&mut control, request, patience);
        drop(control);
        match answer {
            Ok(answer) => Ok((live, answer)),
            Err(error) => Err(self.judge(&live, &error)),
        }
    }

    /// What a failed exchange means. A worker that hangs or talks nonsense is killed, and the watching thread replaces it.
    pub(super) fn judge(&self, live: &Arc<Live>, error: &io::Error) -> CustodyError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                tracing::error!(pid = live.pid, "custody worker hangs: killed");
                live.kill();
                CustodyError::Late
            }
            io::ErrorKind::InvalidData => {
                tracing::error!(pid = live.pid, "custody worker answers out of protocol: killed");
                live.kill();
                CustodyError::unavailable("the custody worker answered out of protocol")
            }
            _ => CustodyError::unavailable(format!("the custody worker is gone: {error}")),
        }
    }

    /// Notes whether the ring is open in `live`; refuses when another worker has taken its place.
    pub(super) fn opened(&self, live: &Arc<Live>, reopen: Option<PathBuf>) -> Result<(), CustodyError> {
        let mut state = self.state();
        if !state.live.as_ref().is_some_and(|current| Arc::ptr_eq(current, live)) {
            return Err(CustodyError::unavailable("the custody worker died after it was unsealed"));
        }
        state.open = true;
        state.reopen = reopen;
        Ok(())
    }

    /// No worker opens the ring by itself from here on.
    pub(super) fn closing(&self) {
        let mut state = self.state();
        state.reopen = None;
        state.open = false;
    }
}

/// The watching thread: starts a worker, waits for its end, starts the next.
///
/// `first` hears how the first start went; when that failed, the thread ends.
pub(super) fn watch(shared: &Shared, first: &SyncSender<Result<(), CustodyError>>) {
    match start(shared) {
        Ok((child, live)) => {
            let heard = first.send(Ok(()));
            if heard.is_ok() {
                serve(shared, child, live);
            }
        }
        Err(error) => {
            let _ = first.send(Err(error)); // whoever asked has gone: nobody to tell
            return;
        }
    }
    while pause(shared) {
        shared.restarts.fetch_add(1, Ordering::Relaxed);
        match start(shared) {
            Ok((child, live)) => serve(shared, child, live),
            Err(error) => {
                tracing::error!(%error, "custody worker does not start");
                let mut state = shared.state();
                state.useless = state.useless.saturating_add(1);
            }
        }
    }
}

/// Waits for the worker's end.
fn serve(shared: &Shared, mut child: Child, live: Arc<Live>) {
    let status = child.wait();
    let mut state = shared.state();
    state.live = None;
    state.open = false;
    state.useless = if live.useful.load(Ordering::Relaxed) { 0 } else { state.useless.saturating_add(1) };
    if !state.stopping {
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        tracing::error!(pid = live.pid, status, "custody worker ended");
    }
}

/// Waits before the next start, longer each time a worker was of no use. False when it is time to stop.
fn pause(shared: &Shared) -> bool {
    let state = shared.state();
    let pause = pause_after(state.useless);
    let waited = shared.changed.wait_timeout_while(state, pause, |state| !state.stopping);
    let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
    !state.stopping
}

/// None after a worker that was of use or the first that was not; then 100 ms, doubling.
fn pause_after(useless: u32) -> Duration {
    match useless {
        0 | 1 => Duration::ZERO,
        more => Duration::from_millis(50).saturating_mul(2_u32.saturating_pow(more - 1)).min(PAUSE_MAX),
    }
}

/// Starts a worker, greets it and makes it the current one.
fn start(shared: &Shared) -> Result<(Child, Arc<Live>), CustodyError> {
    let config = &shared.config;
    let place = config.program.display();
    let failed = |error: io::Error| CustodyError::unavailable(format!("start the custody worker {place}: {error}"));
    let (mut ours, theirs) = UnixStream::pair().map_err(failed)?;
    // The control connection is the worker's standard input, sessions come over it as descriptors:
    // nothing else is inherited, and no descriptor is ever open for another child to catch.
    let mut child = Command::new(&config.program)
        .args(&config.arguments)
        .env_clear()
        .current_dir("/")
        // What is sent to the daemon's whole group (Ctrl-C) is for the daemon: it still needs the worker to drain.
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let greeted = greet(shared, &mut ours, &child);
    let (handle, reopened) = match greeted {
        Ok(greeted) => greeted,
        Err(error) => {
            let _ = child.kill(); // it may have ended already
            let _ = child.wait();
            return Err(failed(error));
        }
    };
    let live = Arc::new(Live { pid: child.id(), handle, control: Mutex::new(ours), useful: AtomicBool::new(false) });
    let mut state = shared.state();
    state.open = match reopened {
        Some(Ok(())) => state.reopen.is_some(), // sealed meanwhile: the seal finds the new worker and reaches it
        Some(Err(error)) => {
            tracing::error!(%error, "the new custody worker comes up sealed");
            false
        }
        None => false,
    };
    state.live = Some(Arc::clone(&live));
    if state.stopping {
        live.kill();
    }
    drop(state);
    shared.changed.notify_all();
    tracing::info!(pid = live.pid, "custody worker started");
    Ok((child, live))
}

/// A handle on the process, and whether it opened the ring by itself.
type Greeting = (OwnedFd, Option<Result<(), CustodyError>>);

fn greet(shared: &Shared, control: &mut UnixStream, child: &Child) -> io::Result<Greeting> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    let reopen = shared.state().reopen.clone();
    let config = &shared.config;
    let hello = Control::Hello(Hello {
        protocol: PROTOCOL,
        parent: i32::try_from(std::process::id()).unwrap_or(0),
        ring: bytes(&config.ring),
        root_file: config.root_file.as_deref().map(bytes),
        reopen: reopen.as_deref().map(bytes),
        opened_keys_max: u32::try_from(config.opened_keys_max).unwrap_or(u32::MAX),
    });
    let answer = converse(control, &hello, START_PATIENCE.saturating_add(config.hang_after))?;
    match postcard::from_bytes(&answer) {
        Ok(ControlAnswer::Welcome { protocol: PROTOCOL, reopened }) => Ok((handle, reopened)),
        Ok(ControlAnswer::Failed(error)) => Err(io::Error::other(error)),
        Ok(_) | Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak our protocol version")),
    }
}

fn converse(control: &mut UnixStream, request: &Control<'_>, patience: Duration) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut outgoing = Zeroizing::new(Vec::with_capacity(CONTROL_BYTES));
    let mut incoming = Zeroizing::new(Vec::with_capacity(CONTROL_BYTES));
    frame::encode(request, &mut outgoing)?;
    limit(control, patience)?;
    exchange(control, &outgoing, &mut incoming)?;
    Ok(incoming)
}

pub(super) fn bytes(path: &Path) -> Bytes<'_> {
    Bytes(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_dies_at_once_is_started_again_ever_more_slowly() {
        let pauses: Vec<u128> = (0..10).map(|useless| pause_after(useless).as_millis()).collect();

        assert_eq!(pauses, [0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(pause_after(u32::MAX), PAUSE_MAX);
    }
}
