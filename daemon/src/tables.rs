//! Prepared keys: those under which much is verified, a bounded number of them. They may be callers' keys, in batches, and
//! our own, after signing.
//!
//! A key earns its table by use. A stranger may name any key, so what is remembered of those without a table is bounded,
//! too, and a table is made on the thread, and at the cost, of the batch that earned it. One that made room may still be
//! in use, by a batch of more keys than there are tables: there are as many of these as of the others, and then no more
//! are made.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use trust::verify::batch::Table;
use trust::{Algorithm, PublicKey, Sha256Digest};

use crate::clock::Clock;

/// Items after which a key gets a table: it is made in the time that so many take without one.
const EARNED_AT: usize = 64;
/// How many keys without a table are counted for each that may have one.
const CANDIDATES: usize = 4;

/// The tables of a daemon.
pub(crate) struct Tables {
    /// How many; each takes [`Table::BYTES`].
    max: usize,
    clock: Clock,
    known: Mutex<Known>,
}

/// Prepared keys and candidates, by the hash of the key.
#[derive(Default)]
struct Known {
    keys: HashMap<Sha256Digest, Use>,
    /// Those of them without a table and those with one, each by when it was used last: who waits for a signature waits
    /// for this lock, too, so nobody looks for the oldest one.
    candidates: BTreeMap<u64, Sha256Digest>,
    prepared: BTreeMap<u64, Sha256Digest>,
    /// Tables that made room for others, while somebody uses them.
    outgoing: Vec<Weak<Table>>,
    /// How many keys are turned down before it is looked again whether those are still in use.
    until_look: usize,
    /// Counts uses: each key has the number of its last one.
    turn: u64,
    /// How many tables were made, and how long that took.
    made: u64,
    making: Duration,
}

/// What is known of one key.
struct Use {
    items: usize,
    last: u64,
    table: Option<Arc<Table>>,
}

/// How much is prepared, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prepared {
    /// Keys with a table.
    pub(crate) keys: usize,
    /// What their tables take in memory, in bytes.
    pub(crate) bytes: usize,
    /// Tables made since the start.
    pub(crate) made: u64,
    /// How long that took, together.
    pub(crate) making: Duration,
}

impl Tables {
    /// At most `max` tables.
    pub(crate) fn new(max: usize, clock: Clock) -> Self {
        Self { max, clock, known: Mutex::default() }
    }

    /// Whether a key has or earns its table by so many items alone, if it may have one.
    pub(crate) const fn prepares_at_once(&self, items: usize) -> bool {
        self.max > 0 && items >= EARNED_AT
    }

    /// The table of a key under which so many items are to be verified now, if it has one or earns it; made here, if it
    /// has to be, which takes a millisecond or two.
    pub(crate) fn earn(&self, key: &PublicKey, items: usize) -> Option<Arc<Table>> {
        match self.note(key, items) {
            Noted::Has(table) => Some(table),
            Noted::Candidate => None,
            Noted::Earned => self.make(key),
        }
    }

    /// Remembers that so many items are to be verified under a key now, and says what it has or earns by them.
    pub(crate) fn note(&self, key: &PublicKey, items: usize) -> Noted {
        if self.max == 0 || key.algorithm() != Algorithm::Ed25519 {
            return Noted::Candidate;
        }
        self.known().note(key.spki_sha256(), items, self.max)
    }

    /// Makes the table that a key has earned, which takes a millisecond or two.
    pub(crate) fn make(&self, key: &PublicKey) -> Option<Arc<Table>> {
        let begun = self.clock.monotonic();
        let table = Arc::new(Table::new(key)?);
        let took = self.clock.monotonic().saturating_sub(begun);
        Some(self.known().keep(key.spki_sha256(), table, took, self.max))
    }

    /// How much is prepared now.
    pub(crate) fn prepared(&self) -> Prepared {
        let known = self.known();
        let keys = known.prepared.len();
        Prepared { keys, bytes: keys * Table::BYTES, made: known.made, making: known.making }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a batch finds of its key.
pub(crate) enum Noted {
    /// It has no table, and is not worth one.
    Candidate,
    /// It has none yet.
    Earned,
    /// It has one.
    Has(Arc<Table>),
}

impl Known {
    fn note(&mut self, name: Sha256Digest, items: usize, max: usize) -> Noted {
        self.turn += 1;
        let key = self.keys.entry(name).or_insert(Use { items: 0, last: self.turn, table: None });
        let before = std::mem::replace(&mut key.last, self.turn);
        key.items = key.items.saturating_add(items);
        if let Some(table) = &key.table {
            self.prepared.remove(&before);
            self.prepared.insert(self.turn, name);
            return Noted::Has(Arc::clone(table));
        }
        self.candidates.remove(&before);
        self.candidates.insert(self.turn, name);
        let has_earned = key.items >= EARNED_AT;
        while self.candidates.len() > CANDIDATES.saturating_mul(max) {
            let Some((_, oldest)) = self.candidates.pop_first() else { break };
            self.keys.remove(&oldest);
        }
        if has_earned && self.has_room(max) { Noted::Earned } else { Noted::Candidate }
    }

    /// Whether few enough of those that made room for others are in use yet.
    fn has_room(&mut self, max: usize) -> bool {
        if self.outgoing.len() >= max {
            if let Some(less) = self.until_look.checked_sub(1) {
                self.until_look = less;
                return false;
            }
            self.outgoing.retain(|table| table.strong_count() > 0);
            // Looking at all of them has the price of some sixty keys.
            self.until_look = self.outgoing.len() / 64;
        }
        self.outgoing.len() < max
    }

    /// Keeps a table that was made, and gives the one that is used: where two parts of a batch made the same one at once
    /// that is the first one's, because nobody counts two tables of one key.
    fn keep(&mut self, name: Sha256Digest, table: Arc<Table>, took: Duration, max: usize) -> Arc<Table> {
        self.made += 1;
        self.making = self.making.saturating_add(took);
        self.turn += 1;
        let key = self.keys.entry(name).or_insert(Use { items: EARNED_AT, last: self.turn, table: None });
        if let Some(table) = &key.table {
            return Arc::clone(table);
        }
        key.table = Some(Arc::clone(&table));
        let before = std::mem::replace(&mut key.last, self.turn);
        self.candidates.remove(&before);
        self.prepared.insert(self.turn, name);
        while self.prepared.len() > max {
            let oldest = self.prepared.pop_first().and_then(|(_, oldest)| self.keys.remove(&oldest));
            let in_use = oldest.and_then(|oldest| oldest.table).filter(|table| Arc::strong_count(table) > 1);
            self.outgoing.extend(in_use.as_ref().map(Arc::downgrade));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    fn key(number: u8) -> PublicKey {
        let key = SigningKey::from_bytes(&[number; 32]).verifying_key();
        PublicKey::from_ed25519_bytes(key.as_bytes()).unwrap()
    }

    /// Whether there is a table, and whether it was made for this.
    fn earn(tables: &Tables, number: u8, items: usize) -> (bool, bool) {
        let before = tables.prepared().made;
        let table = tables.earn(&key(number), items);
        if let Some(table) = &table {
            assert_eq!(table.key(), &key(number));
        }
        (table.is_some(), tables.prepared().made > before)
    }

    fn at_most(max: usize) -> Tables {
        Tables::new(max, Clock::manual(0))
    }

    #[test]
    fn a_key_earns_its_table_by_use_and_keeps_it() {
        let tables = at_most(2);

        assert_eq!(earn(&tables, 1, EARNED_AT - 1), (false, false));
        assert_eq!(earn(&tables, 1, 1), (true, true));
        assert_eq!(earn(&tables, 1, 1), (true, false));
        assert_eq!(earn(&tables, 2, 1000), (true, true));
        let expected = Prepared { keys: 2, bytes: 2 * Table::BYTES, made: 2, making: Duration::ZERO };
        assert_eq!(tables.prepared(), expected);
    }

    #[test]
    fn the_table_that_was_used_longest_ago_makes_room() {
        let tables = at_most(2);
        earn(&tables, 1, EARNED_AT);
        earn(&tables, 2, EARNED_AT);
        earn(&tables, 1, 1);

        earn(&tables, 3, EARNED_AT);

        assert_eq!(tables.prepared().keys, 2);
        assert_eq!(earn(&tables, 1, 1), (true, false));
        assert_eq!(earn(&tables, 3, 1), (true, false));
        assert_eq!(earn(&tables, 2, 1), (false, false), "it begins again");
    }

    #[test]
    fn keys_of_strangers_are_not_remembered_without_bound() {
        let tables = at_most(2);
        for number in 0..200 {
            earn(&tables, number, 1);
        }

        assert_eq!(tables.known().keys.len(), 2 * CANDIDATES);
        for number in 0..200 {
            earn(&tables, number, EARNED_AT);
        }
        assert!(tables.known().keys.len() <= 2 * CANDIDATES + 2);
        assert_eq!(tables.prepared().keys, 2);
    }

    #[test]
    fn very_many_keys_of_strangers_are_noted_and_forgotten_in_order() {
        // Sorted for each of them, this takes minutes.
        let (mut known, max) = (Known::default(), 10_000);
        let name = |number: usize| Sha256Digest::of(&number.to_be_bytes());
        for number in 0..100_000 {
            known.note(name(number), 1, max);
            // The first one is in use all the time.
            known.note(name(0), 0, max);
        }

        assert_eq!((known.keys.len(), known.candidates.len()), (CANDIDATES * max, CANDIDATES * max));
        assert!(known.keys.contains_key(&name(0)) && !known.keys.contains_key(&name(1)));
        let oldest = 100_000 - (CANDIDATES * max - 1);
        assert!(known.keys.contains_key(&name(oldest)) && !known.keys.contains_key(&name(oldest - 1)));
        for (last, name) in &known.candidates {
            assert_eq!(known.keys[name].last, *last);
        }
    }

    #[test]
    fn one_batch_of_many_keys_holds_a_bounded_number_of_tables() {
        let tables = at_most(2);
        let mut in_use: Vec<_> = (0..20).map(|number| tables.earn(&key(number), 1000)).collect();

        assert_eq!(in_use.iter().flatten().count(), 4);
        assert_eq!(tables.prepared().keys, 2);

        in_use.clear();
        assert_eq!(earn(&tables, 21, 1000), (true, true));
        assert!(tables.known().outgoing.len() <= 2);
    }

    #[test]
    fn two_who_make_the_same_table_at_once_use_one() {
        let (tables, both) = (at_most(20), std::sync::Barrier::new(2));
        let earn_all = || -> Vec<_> {
            let earn = |number| {
                both.wait();
                tables.earn(&key(number), EARNED_AT).unwrap()
            };
            (0..20).map(earn).collect()
        };

        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(earn_all);
            (earn_all(), other.join().unwrap())
        });

        for (one, other) in one.iter().zip(&other) {
            assert!(Arc::ptr_eq(one, other));
        }
        assert_eq!(tables.prepared().keys, 20);
    }

    #[test]
    fn a_table_that_comes_second_is_not_kept() {
        let tables = at_most(2);
        let table = || Arc::new(Table::new(&key(1)).unwrap());
        let name = key(1).spki_sha256();
        for _ in 0..2 {
            assert!(matches!(tables.known().note(name, EARNED_AT, 2), Noted::Earned));
        }
        let (first, second) = (table(), table());

        let kept = tables.known().keep(name, Arc::clone(&first), Duration::ZERO, 2);
        let not_kept = tables.known().keep(name, Arc::clone(&second), Duration::ZERO, 2);

        assert!(Arc::ptr_eq(&kept, &first) && Arc::ptr_eq(&not_kept, &first));
        assert_eq!(Arc::strong_count(&second), 1);
    }

    #[test]
    fn nothing_is_prepared_where_that_is_configured() {
        let tables = at_most(0);

        assert_eq!(earn(&tables, 1, 1_000_000), (false, false));
        assert_eq!(tables.known().keys.len(), 0);
    }
}
