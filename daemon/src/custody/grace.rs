//! When it is safe to say "done": no session still runs that began under the older state (D10).
//!
//! A session takes a [`Ticket`] *before* it rechecks the state and keeps it
//! until the custodian answered. A state change is committed first and then
//! waits for every older ticket. So a session either sees the new state, or is
//! waited for.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The sessions that run now. Cheap to clone; clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grace(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    running: Mutex<Running>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Running {
    next: u64,
    serials: BTreeSet<u64>,
}

/// One running session; it ends when this is dropped.
#[derive(Debug)]
#[must_use = "a session without a ticket is not waited for"]
pub(crate) struct Ticket {
    grace: Grace,
    serial: u64,
}

impl Grace {
    /// Counts a session in.
    pub(crate) fn enter(&self) -> Ticket {
        let mut running = self.running();
        let serial = running.next;
        running.next = serial.saturating_add(1);
        running.serials.insert(serial);
        Ticket { grace: self.clone(), serial }
    }

    /// Waits until every session that runs now has ended; later ones do not matter.
    pub(crate) async fn wait(&self) {
        let horizon = self.running().next;
        loop {
            let left = self.0.left.notified();
            tokio::pin!(left);
            // Registered before the check, so that a session that ends in between is not missed.
            left.as_mut().enable();
            if self.running().serials.first().is_none_or(|oldest| *oldest >= horizon) {
                return;
            }
            left.await;
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        // A set of numbers is whole after every single step, also after a panic beside it.
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.grace.running().serials.remove(&self.serial);
        self.grace.0.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn is_done(future: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        matches!(future.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()))
    }

    #[test]
    fn nothing_is_waited_for_when_nothing_runs() {
        let grace = Grace::default();

        assert!(is_done(pin!(grace.wait())));
    }

    #[test]
    fn an_older_session_is_waited_for_and_a_younger_one_is_not() {
        let grace = Grace::default();
        let older = grace.enter();
        let mut wait = pin!(grace.wait());
        assert!(!is_done(wait.as_mut()));
        let younger = grace.enter();

        drop(older);

        assert!(is_done(wait.as_mut()));
        drop(younger);
    }

    #[test]
    fn one_of_two_older_sessions_is_not_enough() {
        let grace = Grace::default();
        let (first, second) = (grace.enter(), grace.enter());
        let mut wait = pin!(grace.wait());
        assert!(!is_done(wait.as_mut()));

        drop(second);
        assert!(!is_done(wait.as_mut()));
        drop(first);

        assert!(is_done(wait.as_mut()));
    }
}
