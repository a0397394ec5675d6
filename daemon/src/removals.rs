//! Objects of destroyed keys that are in their token still, or may be: when each is looked for again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use trust::KeyRef;

/// When objects are looked for again that are in their token still, or may be; no more than wait to be removed.
#[derive(Debug, Default)]
pub(crate) struct Removals(Mutex<HashMap<KeyRef, Later>>);

/// When one is looked for again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Later {
    /// In time of the clock's `monotonic`.
    pub(crate) at: Duration,
    /// The token has shown none, and has served since.
    pub(crate) was_absent: bool,
}

impl Removals {
    /// At once, where nothing else was said.
    pub(crate) fn of(&self, key: KeyRef) -> Later {
        let none = Later { at: Duration::ZERO, was_absent: false };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied().unwrap_or(none)
    }

    /// Not before then.
    pub(crate) fn set(&self, key: KeyRef, later: Later) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, later);
    }

    /// It is gone, or nobody can look for it.
    pub(crate) fn clear(&self, key: KeyRef) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
}
