//! Work that costs its worker again and again is kept out for a while: one sick key must not take the others along.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use trust::{Algorithm, KeyRef};

use crate::CustodyError;

/// After so many workers in a row that it has cost, it is kept out.
const COSTS_MAX: u32 = 3;
/// The first pause, which doubles with every worker more.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The most that is remembered. When there is more, all of it is forgotten: it was not one sick key then.
const REMEMBERED_MAX: usize = 1024;

/// What may be sick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Work {
    /// Making keys of an algorithm.
    Make(Algorithm),
    /// A key that signs.
    Use(KeyRef),
}

/// What has cost its worker last, and how often in a row.
#[derive(Default)]
pub(super) struct Breaker(Mutex<HashMap<Work, Costs>>);

#[derive(Clone, Copy)]
struct Costs {
    workers: u32,
    last: Instant,
}

impl Breaker {
    /// Lets work in, or says at once that it is kept out. After each pause one is let in to see how it is now.
    pub(super) fn admit(&self, work: Work) -> Result<(), CustodyError> {
        self.admit_at(work, now())
    }

    /// Notes that it was answered: whatever it has cost before is forgiven.
    pub(super) fn answered(&self, work: Work) {
        self.costs().remove(&work);
    }

    /// Notes that a worker died of it, hung in it, or gave up at it.
    pub(super) fn cost_a_worker(&self, work: Work) {
        self.cost_a_worker_at(work, now());
    }

    fn admit_at(&self, work: Work, now: Instant) -> Result<(), CustodyError> {
        let mut costs = self.costs();
        let Some(known) = costs.get_mut(&work).filter(|known| known.workers >= COSTS_MAX) else { return Ok(()) };
        if now.saturating_duration_since(known.last) < pause_after(known.workers) {
            let workers = known.workers;
            return Err(CustodyError::unavailable(format!(
                "{workers} workers in a row were lost to it: it is tried again in a while"
            )));
        }
        known.last = now; // one is let in; the others wait for what becomes of it
        Ok(())
    }

    fn cost_a_worker_at(&self, work: Work, now: Instant) {
        let mut costs = self.costs();
        if costs.len() >= REMEMBERED_MAX && !costs.contains_key(&work) {
            costs.clear();
        }
        let known = costs.entry(work).or_insert(Costs { workers: 0, last: now });
        *known = Costs { workers: known.workers.saturating_add(1), last: now };
    }

    fn costs(&self) -> MutexGuard<'_, HashMap<Work, Costs>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pause_after(workers: u32) -> Duration {
    let doublings = workers.saturating_sub(COSTS_MAX).min(16);
    PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(PAUSE_MAX)
}

#[expect(clippy::disallowed_methods, reason = "a pause among our own processes; custody knows no Clock")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use trust::{KeyId, KeyVersion};

    use super::*;

    fn key(number: u8) -> Work {
        Work::Use(KeyRef { id: KeyId::from_bytes([number; 16]), version: KeyVersion::FIRST })
    }

    #[test]
    fn a_key_that_cost_three_workers_in_a_row_is_kept_out_ever_longer_and_others_are_not() {
        let (breaker, begun) = (Breaker::default(), now());
        let after = |seconds| begun + Duration::from_secs(seconds);
        for _ in 0..2 {
            breaker.cost_a_worker_at(key(1), begun);
        }
        breaker.admit_at(key(1), begun).unwrap();
        breaker.cost_a_worker_at(key(1), begun);

        let refused = breaker.admit_at(key(1), begun).unwrap_err();
        assert!(matches!(refused, CustodyError::Unavailable { .. }), "{refused}");
        breaker.admit_at(key(2), begun).unwrap();
        breaker.admit_at(Work::Make(Algorithm::Ed25519), begun).unwrap();

        // One is let in after the pause, and only one.
        breaker.admit_at(key(1), after(1)).unwrap();
        breaker.admit_at(key(1), after(1)).unwrap_err();
        breaker.cost_a_worker_at(key(1), after(1));
        breaker.admit_at(key(1), after(2)).unwrap_err();
        breaker.admit_at(key(1), after(3)).unwrap();
        breaker.answered(key(1));
        breaker.admit_at(key(1), after(3)).unwrap();
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let breaker = Breaker::default();
        for number in 0..=u16::try_from(REMEMBERED_MAX).unwrap() {
            let mut id = [0; 16];
            id[..2].copy_from_slice(&number.to_le_bytes());
            breaker.cost_a_worker(Work::Use(KeyRef { id: KeyId::from_bytes(id), version: KeyVersion::FIRST }));
        }

        assert_eq!(breaker.costs().len(), 1);
        assert_eq!(pause_after(u32::MAX), PAUSE_MAX);
    }
}
