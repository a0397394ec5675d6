//! Keys that are missing, or sign wrongly, on every session: who asks for one again does not have the whole process log
//! out and in each time, for that takes the login from under every other key.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use trust::KeyRef;

/// For so long no new login is tried for the same key.
const FOR: Duration = Duration::from_secs(10);
/// The most keys that are remembered; when there are more, it begins anew.
const KEYS_MAX: usize = 1024;

/// When it was seen last, by key.
#[derive(Default)]
pub(super) struct Lamented(Mutex<HashMap<KeyRef, Instant>>);

impl Lamented {
    /// Whether a new login was lately no help for this key.
    pub(super) fn has(&self, key: KeyRef, now: Instant) -> bool {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(&key).is_some_and(|last| now.saturating_duration_since(*last) < FOR)
    }

    /// Notes that a new login, which the token has taken, was no help for this key.
    pub(super) fn note(&self, key: KeyRef, now: Instant) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= KEYS_MAX {
            keys.clear();
        }
        keys.insert(key, now);
    }

    /// Forgets a key that signed.
    pub(super) fn signed(&self, key: KeyRef) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !keys.is_empty() {
            keys.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use trust::{KeyId, KeyVersion};

    use super::*;
    use crate::pkcs11::doctor::now;

    #[test]
    fn a_key_for_which_a_login_was_no_help_is_known_for_a_while() {
        let key = |number| KeyRef { id: KeyId::from_bytes([number; 16]), version: KeyVersion::FIRST };
        let (lamented, begun) = (Lamented::default(), now());

        assert!(!lamented.has(key(1), begun));
        lamented.note(key(1), begun);
        assert!(lamented.has(key(1), begun + FOR / 2));
        assert!(!lamented.has(key(2), begun + FOR / 2), "another");
        assert!(!lamented.has(key(1), begun + FOR));
        lamented.signed(key(1));
        assert!(!lamented.has(key(1), begun), "it was there in between");
    }
}
