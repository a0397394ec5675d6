//! What all may have in use at once, and what one of them may: no identity can take everything.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use trust::Principal;

/// Three bounds that are counted together.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) connections: Arc<Semaphore>,
    pub(super) requests: Arc<Semaphore>,
    /// Bytes of requests that were received and are not answered yet.
    pub(super) bytes: Arc<Semaphore>,
}

/// How much a [`Share`] holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) connections: usize,
    pub(super) requests: usize,
    pub(super) bytes: usize,
}

impl Bounds {
    /// What one identity may have of it: three quarters, so that another still comes in.
    const fn of_one(self) -> Self {
        Self {
            connections: three_quarters(self.connections),
            requests: three_quarters(self.requests),
            bytes: three_quarters(self.bytes),
        }
    }
}

const fn three_quarters(whole: usize) -> usize {
    whole - whole / 4
}

impl Share {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(bounds.connections)),
            requests: Arc::new(Semaphore::new(bounds.requests)),
            bytes: Arc::new(Semaphore::new(bounds.bytes)),
        }
    }
}

/// The share of each identity that is connected now.
#[derive(Debug)]
pub(super) struct Shares {
    each: Bounds,
    by_principal: Mutex<HashMap<Principal, Weak<Share>>>,
}

impl Shares {
    pub(super) fn of(whole: Bounds) -> Self {
        Self { each: whole.of_one(), by_principal: Mutex::new(HashMap::new()) }
    }

    /// The share of `principal`: the same for all its connections.
    pub(super) fn get(&self, principal: &Principal) -> Arc<Share> {
        let mut shares = self.by_principal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(principal).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Share::new(self.each));
        shares.insert(principal.clone(), Arc::downgrade(&share));
        share
    }
}

/// One of two: of what all have, and of what this one has.
#[derive(Debug)]
#[must_use]
pub(super) struct Taken {
    _of_all: OwnedSemaphorePermit,
    _of_one: OwnedSemaphorePermit,
}

/// Takes one of both, or neither.
pub(super) fn take(of_all: &Arc<Semaphore>, of_one: &Arc<Semaphore>) -> Option<Taken> {
    let of_one = Arc::clone(of_one).try_acquire_owned().ok()?;
    let of_all = Arc::clone(of_all).try_acquire_owned().ok()?;
    Some(Taken { _of_all: of_all, _of_one: of_one })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_identity_cannot_take_what_another_needs() {
        let bounds = Bounds { connections: 4, requests: 4, bytes: 4 };
        let (all, shares) = (Share::new(bounds), Shares::of(bounds));
        let greedy = shares.get(&Principal::LocalUid(1));

        let taken: Vec<_> = (0..4).map_while(|_| take(&all.requests, &greedy.requests)).collect();

        assert_eq!(taken.len(), 3);
        let other = shares.get(&Principal::LocalUid(2));
        assert!(take(&all.requests, &other.requests).is_some());
    }

    #[test]
    fn an_identity_has_one_share_and_loses_it_when_it_is_gone() {
        let shares = Shares::of(Bounds { connections: 1, requests: 1, bytes: 1 });
        let first = shares.get(&Principal::LocalUid(1));
        assert!(Arc::ptr_eq(&first, &shares.get(&Principal::LocalUid(1))));

        drop(first);
        let _other = shares.get(&Principal::LocalUid(2));

        assert_eq!(shares.by_principal.lock().unwrap().len(), 1);
    }

    #[test]
    fn the_smallest_bound_still_lets_one_in() {
        let bounds = Bounds { connections: 1, requests: 1, bytes: 1 };
        let (all, one) = (Share::new(bounds), Shares::of(bounds).get(&Principal::LocalUid(1)));

        assert!(take(&all.connections, &one.connections).is_some());
    }
}
