//! Who is alone with something: a repository, or an idempotency key.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A lock for each thing that somebody is alone with, or waits to be; there only as long as there is one.
#[derive(Debug)]
pub(crate) struct Turns<K>(Mutex<HashMap<K, Weak<tokio::sync::Mutex<()>>>>);

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone> Turns<K> {
    /// The lock of a thing; `None` where `taken_max` have it already, whoever holds it among them.
    pub(crate) fn lock_of(&self, thing: &K, taken_max: usize) -> Option<Arc<tokio::sync::Mutex<()>>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(thing).and_then(Weak::upgrade) {
            // Ours is one of them.
            return (Arc::strong_count(&lock) <= taken_max).then_some(lock);
        }
        // What nobody holds or waits for any more.
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        locks.insert(thing.clone(), Arc::downgrade(&lock));
        Some(lock)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_may_have_one_thing_and_others_are_not_counted() {
        let turns = Turns::default();
        let both = [turns.lock_of(&"a", 2).unwrap(), turns.lock_of(&"a", 2).unwrap()];

        assert!(turns.lock_of(&"a", 2).is_none() && turns.lock_of(&"b", 2).is_some());
        assert!(Arc::ptr_eq(&both[0], &both[1]));
        drop(both);
        assert!(turns.lock_of(&"a", 2).is_some());
    }
}
