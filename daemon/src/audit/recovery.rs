//! What the log tells a daemon that starts: whose it is, what was begun and never ended, what was completed.
//!
//! [`History`] is gathered while the log is opened and is small. [`KeyOperations`] tells every completed change of
//! a key once more, for `trustd recover` alone.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr as _;

use serde::Deserialize;
use trust::format::tuf::{Gun, Version};
use trust::state::DistrustReason;
use trust::{KeyId, Sha256Digest};

use super::trust_data::{Highest, Publications, Testimony};

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
    first: Option<First>,
    open: BTreeMap<u64, OpenIntent>,
    completed: HashMap<KeyId, Completed>,
    publications: Publications,
    recovered: Option<u64>,
}

/// What leaf 0 says.
#[derive(Debug)]
struct First {
    store: String,
    origin: String,
    cites: Option<String>,
}

/// A completed change of a key, with what is needed to do it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyOperation {
    /// The intent leaf.
    pub(crate) intent: u64,
    /// `create`, `rotate`, `disable`, …
    pub(crate) operation: String,
    /// Which key.
    pub(crate) key: KeyId,
    /// Its newest version afterwards.
    pub(crate) version: u32,
    /// Its epoch afterwards.
    pub(crate) epoch: u64,
    /// When the material was to go, of a `destroy`.
    pub(crate) destroy_at: Option<u64>,
    /// Why, and from which leaf on, of a `distrust`.
    pub(crate) distrust: Option<(DistrustReason, u64)>,
}

/// Reads the whole log for completed changes of keys, in the order they were completed in.
#[derive(Debug, Default)]
pub(crate) struct KeyOperations {
    begun: HashMap<u64, Begun>,
    completed: Vec<KeyOperation>,
    recoveries: Vec<u64>,
}

/// What an intent leaf says of a change that may be completed later.
#[derive(Debug)]
struct Begun {
    operation: String,
    destroy_at: Option<u64>,
    distrust: Option<(DistrustReason, u64)>,
}

#[derive(Deserialize)]
struct Peek<'a> {
    kind: &'a str,
    intent: Option<u64>,
    operation: Option<&'a str>,
    key: Option<&'a str>,
    version: Option<serde_json::Value>,
    epoch: Option<u64>,
    purpose: Option<&'a str>,
    result: Option<&'a str>,
    store: Option<&'a str>,
    origin: Option<&'a str>,
    #[serde(default)]
    cites: Option<String>,
    destroy_at: Option<u64>,
    distrust: Option<PeekDistrust<'a>>,
}

#[derive(Deserialize)]
struct PeekDistrust<'a> {
    reason: &'a str,
    since_leaf: u64,
}

impl Peek<'_> {
    /// A policy leaf's or a start leaf's version is no number.
    fn version(&self) -> Option<u32> {
        self.version.as_ref().and_then(serde_json::Value::as_u64).and_then(|version| u32::try_from(version).ok())
    }

    fn key(&self) -> Option<KeyId> {
        self.key.and_then(|text| text.parse().ok())
    }
}

impl History {
    /// Takes in entry `index`. An entry of a kind it does not know says nothing to it.
    pub(super) fn read(&mut self, index: u64, entry: &[u8]) {
        let Ok(peek) = serde_json::from_slice::<Peek<'_>>(entry) else { return };
        let (key, version) = (peek.key(), peek.version());
        match peek.kind {
            "init" if index == 0 => {
                self.first = peek.store.zip(peek.origin).map(|(store, origin)| First {
                    store: store.to_owned(),
                    origin: origin.to_owned(),
                    cites: peek.cites,
                });
            }
            "intent" => {
                let operation = peek.operation.unwrap_or_default().to_owned();
                self.publications.begin(index, &operation, peek.purpose, entry);
                self.open.insert(index, OpenIntent { leaf: index, operation, key, version, epoch: peek.epoch });
            }
            "outcome" => {
                if let Some(intent) = peek.intent {
                    self.open.remove(&intent);
                    self.publications.end(intent, peek.result == Some("done"));
                }
                if let (Some("done"), Some(key), Some(version), Some(epoch)) = (peek.result, key, version, peek.epoch) {
                    let newest = Completed { version, epoch, leaf: index };
                    // Two changes of one key may have their outcomes written in the other order.
                    let known = self.completed.entry(key).or_insert(newest);
                    if known.epoch < epoch {
                        *known = newest;
                    }
                }
            }
            // What was completed before it was compared with the store, and what could be was done again.
            "recovery" => {
                self.completed.clear();
                self.recovered = Some(index);
            }
            _ => {}
        }
    }

    /// Whether the first leaf names this store and this origin.
    pub(super) fn belongs_to(&self, store: &[u8; 16], origin: &str) -> bool {
        self.first.as_ref().is_some_and(|first| first.store == hex::encode(store) && first.origin == origin)
    }

    /// The checkpoint of an older log that the first leaf cites (D18).
    pub(crate) fn cites(&self) -> Option<&str> {
        self.first.as_ref()?.cites.as_deref()
    }

    /// The last `recovery` leaf: the store must know of it.
    pub(crate) const fn recovered(&self) -> Option<u64> {
        self.recovered
    }

    /// Intents without an outcome, oldest first.
    pub(crate) fn open(&self) -> impl Iterator<Item = &OpenIntent> {
        self.open.values()
    }

    /// The last completed operation on each key.
    pub(crate) fn completed(&self) -> impl Iterator<Item = (KeyId, Completed)> + '_ {
        self.completed.iter().map(|(key, completed)| (*key, *completed))
    }

    /// What was to be signed for each repository of trust data in the whole log: after a recovery the store knows of
    /// that, too.
    pub(crate) fn trust_data(&self) -> impl Iterator<Item = (&Gun, &Testimony)> {
        self.publications.all()
    }

    /// The same of owners' files, of those that were to be signed since the last timestamp of their repository.
    pub(crate) fn owners_trust_data(&self) -> impl Iterator<Item = (&Gun, &Highest)> {
        self.publications.owners()
    }

    /// What was to be signed, and deleted, for a recovery, which does again what restricts: a deletion without an outcome counts.
    pub(crate) fn strictest_trust_data(&self) -> BTreeMap<Gun, Testimony> {
        self.publications.strictest()
    }

    /// What an open intent deletes, and the highest version that the timestamp had by then.
    pub(crate) fn deletion(&self, intent: u64) -> Option<(&Gun, Version)> {
        self.publications.deleting(intent)
    }

    /// Which proposal an open intent takes away.
    pub(crate) fn proposal_that_goes(&self, intent: u64) -> Option<(&Gun, Sha256Digest)> {
        self.publications.going(intent)
    }
}

impl KeyOperations {
    /// Takes in entry `index`.
    pub(crate) fn read(&mut self, index: u64, entry: &[u8]) {
        let Ok(peek) = serde_json::from_slice::<Peek<'_>>(entry) else { return };
        match peek.kind {
            "intent" if peek.operation != Some("sign") => {
                let distrust = peek.distrust.as_ref();
                let begun = Begun {
                    operation: peek.operation.unwrap_or_default().to_owned(),
                    destroy_at: peek.destroy_at,
                    distrust: distrust
                        .and_then(|said| Some((DistrustReason::from_str(said.reason).ok()?, said.since_leaf))),
                };
                self.begun.insert(index, begun);
            }
            "outcome" => {
                let begun = peek.intent.and_then(|intent| Some((intent, self.begun.remove(&intent)?)));
                let done =
                    (peek.result == Some("done")).then(|| peek.key().zip(peek.version()).zip(peek.epoch)).flatten();
                if let (Some((intent, begun)), Some(((key, version), epoch))) = (begun, done) {
                    let Begun { operation, destroy_at, distrust } = begun;
                    self.completed.push(KeyOperation { intent, operation, key, version, epoch, destroy_at, distrust });
                }
            }
            "recovery" => self.recoveries.push(index),
            _ => {}
        }
    }

    /// The changes that a store anchored to a log of `size` leaves may not know: those since the last recovery it
    /// does know of.
    pub(crate) fn since(&self, size: u64) -> impl Iterator<Item = &KeyOperation> {
        let settled = self.recoveries.iter().rev().find(|leaf| **leaf < size).copied();
        self.completed.iter().filter(move |operation| settled.is_none_or(|leaf| operation.intent > leaf))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "00112233445566778899aabbccddeeff";

    fn log(leaves: &[String]) -> (History, KeyOperations) {
        let (mut history, mut operations) = (History::default(), KeyOperations::default());
        for (index, leaf) in (0..).zip(leaves) {
            history.read(index, leaf.as_bytes());
            operations.read(index, leaf.as_bytes());
        }
        (history, operations)
    }

    fn intent(operation: &str, more: &str) -> String {
        format!("{{\"key\":\"{KEY}\",\"kind\":\"intent\",\"operation\":\"{operation}\",\"version\":1{more}}}")
    }

    fn done(intent: u64, epoch: u64) -> String {
        format!(
            "{{\"epoch\":{epoch},\"intent\":{intent},\"key\":\"{KEY}\",\"kind\":\"outcome\",\"result\":\"done\",\"version\":1}}"
        )
    }

    #[test]
    fn outcomes_in_the_other_order_leave_the_later_epoch() {
        let (history, _) = log(&[intent("disable", ""), intent("distrust", ""), done(1, 3), done(0, 2)]);

        let completed: Vec<_> = history.completed().map(|(_, completed)| (completed.epoch, completed.leaf)).collect();
        assert_eq!(completed, [(3, 2)]);
        assert_eq!(history.open().count(), 0);
    }

    #[test]
    fn an_intent_without_an_outcome_is_open() {
        let (history, _) = log(&[intent("disable", ",\"epoch\":1"), intent("sign", "")]);

        let open: Vec<_> =
            history.open().map(|intent| (intent.leaf, intent.operation.as_str(), intent.epoch)).collect();
        assert_eq!(open, [(0, "disable", Some(1)), (1, "sign", None)]);
    }

    #[test]
    fn a_recovery_settles_what_was_completed_before_for_a_store_that_knows_of_it() {
        let recovery = "{\"kind\":\"recovery\"}".to_owned();
        let (history, operations) =
            log(&[intent("create", ""), done(0, 1), recovery, intent("disable", ""), done(3, 2)]);

        assert_eq!(history.recovered(), Some(2));
        assert_eq!(history.completed().map(|(_, completed)| completed.leaf).collect::<Vec<_>>(), [4]);
        assert_eq!(operations.since(5).map(|operation| operation.intent).collect::<Vec<_>>(), [3]);
        assert_eq!(operations.since(2).map(|operation| operation.intent).collect::<Vec<_>>(), [0, 3]);
    }

    #[test]
    fn a_change_carries_what_is_needed_to_do_it_again() {
        let distrust = ",\"distrust\":{\"reason\":\"key-compromise\",\"since_leaf\":7}";
        let (_, operations) =
            log(&[intent("distrust", distrust), done(0, 2), intent("destroy", ",\"destroy_at\":99"), done(2, 3)]);

        let all: Vec<_> = operations.since(0).collect();
        assert_eq!(all.first().unwrap().distrust, Some((DistrustReason::KeyCompromise, 7)));
        assert_eq!(all.last().unwrap().destroy_at, Some(99));
    }
}
