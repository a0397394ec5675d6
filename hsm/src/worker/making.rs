//! RSA keys that are being made in a token, which may answer nothing else meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What making an RSA key may take beyond the patience with any call: its primes are a matter of luck.
pub(super) const MAKING_PATIENCE: Duration = Duration::from_secs(60);

/// Counts them.
#[derive(Default)]
pub(super) struct Making {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// One that is being made, until this is dropped.
pub(super) struct Made<'a>(&'a Making);

impl Making {
    pub(super) fn begin(&self) -> Made<'_> {
        self.begun.fetch_add(1, Ordering::AcqRel);
        Made(self)
    }

    /// Whether one is being made now.
    pub(super) fn goes_on(&self) -> bool {
        self.ended.load(Ordering::Acquire) != self.begun.load(Ordering::Acquire)
    }

    /// Whoever waits for another call meanwhile: asked each time that `patience` is over, it says whether a key
    /// was being made in that time, so that silence means nothing. It ends where the makers' own patience does.
    pub(super) fn excuses(&self, patience: Duration) -> impl FnMut() -> bool + '_ {
        let mut left = MAKING_PATIENCE;
        let mut ended = self.ended.load(Ordering::Acquire);
        move || {
            let before = std::mem::replace(&mut ended, self.ended.load(Ordering::Acquire));
            let excused = self.begun.load(Ordering::Acquire) != before && !left.is_zero();
            left = left.saturating_sub(patience.max(Duration::from_millis(1)));
            excused
        }
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn silence_is_excused_while_a_key_is_made_and_once_after() {
        let making = Making::default();
        let mut excuses = making.excuses(PATIENCE);
        assert!(!excuses());

        let made = making.begin();
        assert!(making.goes_on() && excuses() && excuses());
        drop(made);

        assert!(!making.goes_on());
        assert!(excuses(), "it was made in the time that is over");
        assert!(!excuses());
    }

    #[test]
    fn no_excuse_holds_longer_than_a_maker_may_take() {
        let making = Making::default();
        let _made = making.begin();
        let mut excuses = making.excuses(PATIENCE);

        assert_eq!((0..100).filter(|_| excuses()).count(), 6);
    }
}
