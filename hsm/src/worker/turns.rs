//! Calls that are in a token's worker, some of which only wait there until a session is free.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts them.
#[derive(Default)]
pub(super) struct Turns {
    begun: AtomicU64,
    ended: AtomicU64,
    /// How often one began when as many were inside as are done at a time. Which of them waits is the worker's to know.
    crowded: AtomicU64,
}

/// One of them, until this is dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    ended: u64,
    crowded: u64,
    has_asked: bool,
}

impl Turns {
    /// Begins a call into a worker that does `at_once` calls at a time.
    pub(super) fn begin(&self, at_once: u32) -> Turn<'_> {
        let (ended, crowded) = (self.ended.load(Ordering::Acquire), self.crowded.load(Ordering::Acquire));
        let inside = self.begun.fetch_add(1, Ordering::AcqRel).saturating_sub(ended);
        if inside >= u64::from(at_once) {
            self.crowded.fetch_add(1, Ordering::AcqRel);
        }
        Turn { turns: self, ended, crowded, has_asked: false }
    }
}

impl Turn<'_> {
    /// Asked when the patience with one call is over: whether this one may have waited for another that was answered
    /// meanwhile, so that its own time may not be over. Says so once: what it waits for has no more time than that.
    pub(super) fn may_have_begun_late(&mut self) -> bool {
        let is_first = !std::mem::replace(&mut self.has_asked, true);
        let somebody_waited = self.turns.crowded.load(Ordering::Acquire) != self.crowded;
        let somebody_ended = self.turns.ended.load(Ordering::Acquire) != self.ended;
        is_first && somebody_waited && somebody_ended
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.ended.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_may_have_waited_for_another_has_its_time_anew_once_that_is_answered() {
        let turns = Turns::default();
        let first = turns.begin(1);
        let mut second = turns.begin(1);
        let mut third = turns.begin(1);

        assert!(!second.may_have_begun_late(), "nobody was answered: they hang all");
        drop(first);
        assert!(third.may_have_begun_late());
        assert!(!third.may_have_begun_late(), "once");
    }

    #[test]
    fn who_began_first_may_be_the_one_that_waits() {
        let turns = Turns::default();
        let mut first = turns.begin(1);
        drop(turns.begin(1));

        assert!(first.may_have_begun_late());
    }

    #[test]
    fn a_call_beside_which_nobody_waits_has_no_more_than_its_time() {
        let turns = Turns::default();
        let mut own = turns.begin(2);
        drop(turns.begin(2));
        drop(turns.begin(2));

        assert!(!own.may_have_begun_late());
    }
}
