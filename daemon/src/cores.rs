//! The cores, for whoever verifies: places on them, and how many items of one principal are at work at once, in all its
//! batches and streams together.
//!
//! Places are given in turn to whoever comes, and of one principal only one part of a batch waits for one at
//! a time: they go round among principals, however many batches each of them has brought.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use trust::{Fault, Principal};

/// The cores, and who has them.
#[derive(Debug)]
pub(crate) struct Cores {
    /// One for each.
    places: Arc<Semaphore>,
    count: usize,
    budgets: Budgets,
}

/// A place on a core, and the item that has it.
pub(crate) type Place = (AtWork, OwnedSemaphorePermit);

/// The budgets of those who have items at work.
#[derive(Debug)]
struct Budgets {
    /// Of one principal; at least as many as the largest batch has.
    items_max: usize,
    by_principal: Mutex<HashMap<Principal, Weak<Share>>>,
    /// Items of all; counted here, because whoever waits has taken a part of what it waits for.
    at_work: Arc<AtomicUsize>,
}

/// What one principal has.
#[derive(Debug)]
struct Share {
    items: Arc<Semaphore>,
    /// One: whoever has it may wait for a place.
    turn: Semaphore,
}

/// Items that are at work, until it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct AtWork {
    items: OwnedSemaphorePermit,
    share: Arc<Share>,
    of_all: Arc<AtomicUsize>,
}

impl Cores {
    /// Of this machine, with so many items of one principal at work at most.
    pub(crate) fn new(items_max: usize) -> Self {
        let count = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { places: Arc::new(Semaphore::new(count)), count, budgets: Budgets::new(items_max) }
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// How many items of all are at work now.
    pub(crate) fn at_work(&self) -> usize {
        self.budgets.at_work()
    }

    /// Waits until the principal may have so many more at work; in the order in which it asked.
    pub(crate) async fn take(&self, principal: &Principal, items: usize) -> Result<AtWork, Fault> {
        self.budgets.take(principal, items).await
    }

    /// Waits for a place for some of these items, behind the others of this principal and then in turn with other
    /// principals.
    pub(crate) async fn place(&self, at_work: &AtWork) -> Result<OwnedSemaphorePermit, Fault> {
        at_work.place(&self.places).await
    }

    /// Waits for a place for one signature, or for some keys that are read, with the others of this principal.
    pub(crate) async fn place_of_one(&self, principal: &Principal) -> Result<Place, Fault> {
        let at_work = self.take(principal, 1).await?;
        let place = self.place(&at_work).await?;
        Ok((at_work, place))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.of_all.fetch_sub(self.items.num_permits(), Ordering::Relaxed);
    }
}

impl AtWork {
    async fn place(&self, places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Fault> {
        let _turn = self.share.turn.acquire().await.map_err(Fault::internal)?;
        Arc::clone(places).acquire_owned().await.map_err(Fault::internal)
    }
}

impl Budgets {
    fn new(items_max: usize) -> Self {
        Self { items_max, by_principal: Mutex::default(), at_work: Arc::default() }
    }

    async fn take(&self, principal: &Principal, items: usize) -> Result<AtWork, Fault> {
        let share = self.of(principal);
        // More than there ever are would wait for ever; the door has bounded the batch.
        let items = u32::try_from(items.min(self.items_max)).map_err(Fault::internal)?;
        let items = Arc::clone(&share.items).acquire_many_owned(items).await.map_err(Fault::internal)?;
        self.at_work.fetch_add(items.num_permits(), Ordering::Relaxed);
        Ok(AtWork { items, share, of_all: Arc::clone(&self.at_work) })
    }

    fn at_work(&self) -> usize {
        self.at_work.load(Ordering::Relaxed)
    }

    fn of(&self, principal: &Principal) -> Arc<Share> {
        let mut shares = self.by_principal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(principal).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Share { items: Arc::new(Semaphore::new(self.items_max)), turn: Semaphore::new(1) });
        shares.insert(principal.clone(), Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_has_much_at_work_waits_and_nobody_else_does() {
        let budgets = Budgets::new(100);
        let (one, other) = (Principal::LocalUid(1), Principal::LocalUid(2));
        let first = budgets.take(&one, 70).await.unwrap();

        let mut waiting = std::pin::pin!(budgets.take(&one, 31));
        assert!(is_pending(waiting.as_mut()).await);
        let _others = budgets.take(&other, 100).await.unwrap();
        assert_eq!(budgets.at_work(), 170);

        drop(first);
        let _second = waiting.await.unwrap();
        assert_eq!(budgets.at_work(), 131);
    }

    #[tokio::test]
    async fn a_budget_is_forgotten_with_its_last_item() {
        let budgets = Budgets::new(100);
        drop(budgets.take(&Principal::LocalUid(1), 100).await.unwrap());
        let _items = budgets.take(&Principal::LocalUid(2), 1000).await.unwrap();

        assert_eq!(budgets.by_principal.lock().unwrap().len(), 1);
        assert_eq!(budgets.at_work(), 100);
    }

    #[tokio::test]
    async fn places_go_round_among_principals_and_not_among_their_batches() {
        let (budgets, places) = (Budgets::new(100), Arc::new(Semaphore::new(1)));
        let one = budgets.take(&Principal::LocalUid(1), 10).await.unwrap();
        let ones_other = budgets.take(&Principal::LocalUid(1), 10).await.unwrap();
        let other = budgets.take(&Principal::LocalUid(2), 10).await.unwrap();
        let busy = one.place(&places).await.unwrap();
        let mut first = std::pin::pin!(one.place(&places));
        let mut second = std::pin::pin!(ones_other.place(&places));
        let mut third = std::pin::pin!(other.place(&places));
        for waiting in [first.as_mut(), second.as_mut()] {
            assert!(is_pending(waiting).await);
        }
        assert!(is_pending(third.as_mut()).await);

        drop(busy);
        let of_first = first.await.unwrap();
        assert!(is_pending(second.as_mut()).await);
        drop(of_first);
        // It came after the second one.
        let of_third = third.await.unwrap();
        assert!(is_pending(second.as_mut()).await);
        drop(of_third);
        let _of_second = second.await.unwrap();
    }

    async fn is_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }
}
