//! What the log tells a daemon that starts: whose it is, what was begun and never ended, what was completed.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use trust::KeyId;

/// An intent without an outcome (D12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenIntent {
    /// Its index.
    pub(crate) leaf: u64,
    /// `sign`, `create`, …
    pub(crate) operation: String,
    /// The key it was about.
    pub(crate) key: Option<KeyId>,
    /// The version it was about.
    pub(crate) version: Option<u32>,
    /// The key's epoch it was permitted under.
    pub(crate) epoch: Option<u64>,
}

/// The last completed operation on a key (D17).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Completed {
    /// Its newest version after it.
    pub(crate) version: u32,
    /// Its epoch after it.
    pub(crate) epoch: u64,
    /// The outcome leaf.
    pub(crate) leaf: u64,
}

/// What was read from the log.
#[derive(Debug, Default)]
pub(crate) struct History {
    first: Option<(String, String)>,
    open: BTreeMap<u64, OpenIntent>,
    completed: HashMap<KeyId, Completed>,
}

#[derive(Deserialize)]
struct Peek<'a> {
    kind: &'a str,
    intent: Option<u64>,
    operation: Option<&'a str>,
    key: Option<&'a str>,
    version: Option<serde_json::Value>,
    epoch: Option<u64>,
    result: Option<&'a str>,
    store: Option<&'a str>,
    origin: Option<&'a str>,
}

impl History {
    /// Takes in entry `index`. An entry of a kind it does not know says nothing to it.
    pub(super) fn read(&mut self, index: u64, entry: &[u8]) {
        let Ok(peek) = serde_json::from_slice::<Peek<'_>>(entry) else { return };
        let version = peek.version.as_ref().and_then(serde_json::Value::as_u64).and_then(|v| u32::try_from(v).ok());
        let key = peek.key.and_then(|text| text.parse().ok());
        match peek.kind {
            "init" if index == 0 => {
                self.first = peek.store.zip(peek.origin).map(|(store, origin)| (store.to_owned(), origin.to_owned()));
            }
            "intent" => {
                let operation = peek.operation.unwrap_or_default().to_owned();
                self.open.insert(index, OpenIntent { leaf: index, operation, key, version, epoch: peek.epoch });
            }
            "outcome" => {
                if let Some(intent) = peek.intent {
                    self.open.remove(&intent);
                }
                if let (Some("done"), Some(key), Some(version), Some(epoch)) = (peek.result, key, version, peek.epoch) {
                    self.completed.insert(key, Completed { version, epoch, leaf: index });
                }
            }
            _ => {}
        }
    }

    /// Whether the first leaf names this store and this origin.
    pub(super) fn belongs_to(&self, store: &[u8; 16], origin: &str) -> bool {
        self.first.as_ref().is_some_and(|(named, log)| *named == hex::encode(store) && log == origin)
    }

    /// Intents without an outcome, oldest first.
    pub(crate) fn open(&self) -> impl Iterator<Item = &OpenIntent> {
        self.open.values()
    }

    /// The last completed operation on each key.
    pub(crate) fn completed(&self) -> impl Iterator<Item = (KeyId, Completed)> + '_ {
        self.completed.iter().map(|(key, completed)| (*key, *completed))
    }
}
