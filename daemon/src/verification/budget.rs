//! How many items of one principal are at work at once, in all its batches and streams together.
//!
//! Places on the cores are given in turn to whoever comes, so what one principal may bring before it waits is what
//! another may have to wait for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use trust::{Fault, Principal};

/// The budgets of those who have items at work.
#[derive(Debug)]
pub(super) struct Budgets {
    /// Of one principal; at least as many as the largest batch has.
    items_max: usize,
    by_principal: Mutex<HashMap<Principal, Weak<Semaphore>>>,
    /// Items of all; counted here, because whoever waits has taken a part of what it waits for.
    at_work: Arc<AtomicUsize>,
}

/// Items that are at work, until it is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct AtWork {
    items: OwnedSemaphorePermit,
    of_all: Arc<AtomicUsize>,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.of_all.fetch_sub(self.items.num_permits(), Ordering::Relaxed);
    }
}

impl Budgets {
    pub(super) fn new(items_max: usize) -> Self {
        Self { items_max, by_principal: Mutex::default(), at_work: Arc::default() }
    }

    /// Waits until the principal may have so many more at work; in the order in which it asked.
    pub(super) async fn take(&self, principal: &Principal, items: usize) -> Result<AtWork, Fault> {
        let budget = self.of(principal);
        // More than there ever are would wait for ever; the door has bounded the batch.
        let items = u32::try_from(items.min(self.items_max)).map_err(Fault::internal)?;
        let items = budget.acquire_many_owned(items).await.map_err(Fault::internal)?;
        self.at_work.fetch_add(items.num_permits(), Ordering::Relaxed);
        Ok(AtWork { items, of_all: Arc::clone(&self.at_work) })
    }

    /// How many items of all are at work now.
    pub(super) fn at_work(&self) -> usize {
        self.at_work.load(Ordering::Relaxed)
    }

    fn of(&self, principal: &Principal) -> Arc<Semaphore> {
        let mut budgets = self.by_principal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = budgets.get(principal).and_then(Weak::upgrade) {
            return budget;
        }
        budgets.retain(|_, budget| budget.strong_count() > 0);
        let budget = Arc::new(Semaphore::new(self.items_max));
        budgets.insert(principal.clone(), Arc::downgrade(&budget));
        budget
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

    async fn is_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }
}
