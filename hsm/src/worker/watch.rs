//! The thread that starts a custodian's workers, waits for the end of each and starts the next.
//!
//! It lives as long as the custodian does, which the worker relies on: the kernel
//! kills it when the *thread* that started it ends (`PR_SET_PDEATHSIG`).

use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::live::Live;
use super::start::{NoStart, start};
use super::supervisor::Shared;
use crate::{CustodyError, TokenTrouble};

/// The longest pause before a worker that dies at once is started again.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A custodian's workers, one after the other. Dropping it ends the living one, and the thread.
pub(super) struct Watched {
    pub(super) shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Watched {
    /// Starts the first worker and waits until it serves, or is known not to for now.
    ///
    /// # Errors
    /// [`CustodyError`] where another try would be no better.
    pub(super) fn start(shared: Shared) -> Result<Self, CustodyError> {
        let shared = Arc::new(shared);
        let watched = Arc::clone(&shared);
        let (first, started) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("custody-watch".to_owned())
            .spawn(move || watch(&watched, &first))
            .map_err(|error| CustodyError::unavailable(format!("watch a custody worker: {error}")))?;
        let ended = || Err(CustodyError::unavailable("the custody worker's watch ended at once"));
        started.recv().unwrap_or_else(|_| ended())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Of a worker that a test stands for, and that nobody replaces.
    #[cfg(test)]
    pub(super) const fn alone(shared: Arc<Shared>) -> Self {
        Self { shared, thread: None }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it cannot have anything to say any more
        }
    }
}

/// Starts a worker, waits for its end, starts the next.
///
/// `first` hears how the first start went; where another try would be no better, that is the end.
fn watch(shared: &Shared, first: &SyncSender<Result<(), CustodyError>>) {
    match start(shared) {
        Ok((child, live)) => {
            let heard = first.send(Ok(()));
            if heard.is_ok() {
                serve(shared, child, live);
            }
        }
        Err(error) => {
            let stays = failed(shared, &error);
            // Whoever asked has gone: nobody to tell.
            let _ = first.send(if stays { Ok(()) } else { Err(error.into()) });
            if !stays {
                return;
            }
        }
    }
    while shared.pause(pause_after) {
        match start(shared) {
            Ok((child, live)) => serve(shared, child, live),
            Err(error) => {
                failed(shared, &error);
            }
        }
    }
}

/// Notes a start that failed. True where the next one may succeed.
fn failed(shared: &Shared, error: &NoStart) -> bool {
    let trouble = match error {
        NoStart::Program(error) => {
            tracing::error!(custodian = shared.name(), %error, "custody worker does not start");
            shared.is_token().then(|| TokenTrouble::Failed { what: error.to_string() })
        }
        NoStart::Token(trouble) => Some(trouble.clone()),
    };
    if let (Some(mut pin), Some(trouble)) = (shared.pin(), &trouble) {
        pin.not_proven(trouble);
    }
    shared.not_started(trouble);
    shared.is_token() && !matches!(error, NoStart::Token(TokenTrouble::Module { .. }))
}

/// Waits for the worker's end.
fn serve(shared: &Shared, mut child: Child, live: Arc<Live>) {
    let status = child.wait();
    if shared.ended(&live) {
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        tracing::error!(custodian = shared.name(), pid = live.pid, status, "custody worker ended");
    }
}

/// None after a worker that was of use or the first that was not; then 100 ms, doubling.
fn pause_after(useless: u32) -> Duration {
    match useless {
        0 | 1 => Duration::ZERO,
        more => Duration::from_millis(50).saturating_mul(2_u32.saturating_pow(more - 1)).min(PAUSE_MAX),
    }
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
