//! The open sessions of a token: as many as it is to serve at once, each lent to one caller at a time.
//!
//! There are more callers than sessions on purpose: what a caller does before and after the token's own work, the
//! verification above all, happens while another has the session.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use trust::KeyId;

use super::doctor::now;
use super::session::Link;

/// For so long a token that gave no session is not asked for one more: somebody else may have had them for a moment.
const BELIEVED_FOR: Duration = Duration::from_secs(10);

/// The sessions that are open, and how many of them are lent.
pub(super) struct Pool {
    state: Mutex<State>,
    given_back: Condvar,
}

struct State {
    idle: Vec<Link>,
    lent: usize,
    max: usize,
    /// What the token itself lets be open, found out at that time.
    found_out: Option<(usize, Instant)>,
    /// Counts how often all sessions were distrusted; one that was opened in an earlier era is not lent again.
    era: u64,
}

/// The place of one session, with the session that was open there. Given back when it is dropped.
pub(super) struct Lent<'a> {
    pool: &'a Pool,
    /// Nothing where a session is yet to be opened, or was closed.
    pub(super) link: Option<Link>,
    era: u64,
}

impl Pool {
    /// A pool without a bound, for who opens no more sessions than the token serves.
    pub(super) fn new() -> Self {
        let state = State { idle: Vec::new(), lent: 0, max: usize::MAX, found_out: None, era: 0 };
        Self { state: Mutex::new(state), given_back: Condvar::new() }
    }

    /// Lends at most so many sessions at once from now on, and at least one; those that are lent already end by
    /// themselves.
    pub(super) fn set_max(&self, max: usize) {
        let mut state = self.state();
        state.max = max.max(1);
        let open_max = state.max.saturating_sub(state.lent).min(state.idle.len());
        let closed = state.idle.split_off(open_max);
        drop(state);
        drop(closed);
        self.given_back.notify_all();
    }

    /// Waits until a session may be used. How long, is what whoever holds one takes: the daemon ends a worker that
    /// takes too long.
    pub(super) fn borrow(&self) -> Lent<'_> {
        let is_full = |state: &mut State| state.lent >= state.max_now();
        let mut state = self.given_back.wait_while(self.state(), is_full).unwrap_or_else(PoisonError::into_inner);
        state.lent = state.lent.saturating_add(1);
        Lent { pool: self, link: state.idle.pop(), era: state.era }
    }

    /// Closes every session that was open in this era, the lent ones when they are given back: one of them has signed
    /// with another key's handle, and what is wrong with one may be wrong with all.
    pub(super) fn distrust(&self, era: u64) {
        let mut state = self.state();
        if state.era == era {
            state.era = state.era.wrapping_add(1);
            let closed = std::mem::take(&mut state.idle);
            drop(state);
            drop(closed);
        }
    }

    /// Drops the handles of this key that no caller has in hand.
    pub(super) fn forget(&self, key: KeyId) {
        self.state().idle.iter_mut().for_each(|link| link.forget(key));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every part is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn max_now(&self) -> usize {
        match self.found_out {
            Some((most, at)) if now().saturating_duration_since(at) < BELIEVED_FOR => most.min(self.max),
            Some(_) | None => self.max,
        }
    }
}

impl Lent<'_> {
    /// Notes that the token gives no session here, and closes those that nobody uses. False where no other is open: then
    /// none is given back either.
    pub(super) fn wait_for_others(&self) -> bool {
        let mut state = self.pool.state();
        let idle = std::mem::take(&mut state.idle);
        let others = state.lent.saturating_sub(1);
        if idle.is_empty() && others > 0 {
            state.found_out = Some((others, now()));
        }
        drop(state);
        !idle.is_empty() || others > 0
    }

    /// What [`Pool::distrust`] takes.
    pub(super) const fn era(&self) -> u64 {
        self.era
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let link = self.link.take();
        let mut state = self.pool.state();
        state.lent = state.lent.saturating_sub(1);
        let has_room = state.lent.saturating_add(state.idle.len()) < state.max_now();
        let refused = if has_room && state.era == self.era {
            state.idle.extend(link);
            None
        } else {
            link
        };
        drop(state);
        // Closing one is a call into the module: nobody waits for it but who has caused it.
        drop(refused);
        self.pool.given_back.notify_one();
    }
}
