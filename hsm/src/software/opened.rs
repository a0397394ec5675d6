//! The opened keys that are kept, a bounded number, the least recently used dropped first.

use std::collections::HashMap;
use std::sync::Arc;

use trust::{KeyId, KeyRef};

use super::key::PrivateKey;
use crate::SealedKey;

/// Opened keys by key and version.
pub(super) struct OpenedKeys {
    keys: HashMap<KeyRef, Opened>,
    keys_max: usize,
    /// Counts uses; the least recently used key has the smallest.
    uses: u64,
}

struct Opened {
    /// What it was opened from: another context or record is another key.
    binding: Vec<u8>,
    sealed: SealedKey,
    key: Arc<PrivateKey>,
    last_use: u64,
}

impl OpenedKeys {
    pub(super) fn new(keys_max: usize) -> Self {
        Self { keys: HashMap::new(), keys_max, uses: 0 }
    }

    /// The key, if it was opened from exactly this record under exactly this context.
    pub(super) fn find(&mut self, key: KeyRef, binding: &[u8], sealed: &SealedKey) -> Option<Arc<PrivateKey>> {
        self.uses = self.uses.wrapping_add(1);
        let opened = self.keys.get_mut(&key)?;
        if opened.binding != binding || opened.sealed != *sealed {
            return None;
        }
        opened.last_use = self.uses;
        Some(Arc::clone(&opened.key))
    }

    /// Keeps a key, dropping the least recently used when there are too many.
    pub(super) fn keep(&mut self, key: KeyRef, binding: Vec<u8>, sealed: SealedKey, opened: Arc<PrivateKey>) {
        if self.keys_max == 0 {
            return;
        }
        if self.keys.len() >= self.keys_max && !self.keys.contains_key(&key) {
            let oldest = self.keys.iter().min_by_key(|(_, opened)| opened.last_use).map(|(key, _)| *key);
            oldest.and_then(|oldest| self.keys.remove(&oldest));
        }
        self.keys.insert(key, Opened { binding, sealed, key: opened, last_use: self.uses });
    }

    /// Drops every version of a key.
    pub(super) fn forget(&mut self, id: KeyId) {
        self.keys.retain(|key, _| key.id != id);
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.keys = HashMap::new();
    }
}
