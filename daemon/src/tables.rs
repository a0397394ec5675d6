//! Prepared keys: those under which much is verified, a bounded number of them. They may be callers' keys, in batches, and
//! our own, after signing.
//!
//! A key earns its table by use. A stranger may name any key, so what is remembered of those without a table is bounded,
//! too, and a table is made on the thread, and at the cost, of the batch that earned it. One that made room may still be
//! in use, by a batch of more keys than there are tables: there are as many of these as of the others, and then no more
//! are made.

use std::collections::HashMap;
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
    /// Tables that made room for others, while somebody uses them.
    outgoing: Vec<Weak<Table>>,
    /// Counts batches: what is used has the number of the last one.
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

    /// The table of a key under which so many items are to be verified now, if it has one or earns it; made here, if it
    /// has to be, which takes a millisecond or two.
    pub(crate) fn earn(&self, key: &PublicKey, items: usize) -> Option<Arc<Table>> {
        if self.max == 0 || key.algorithm() != Algorithm::Ed25519 {
            return None;
        }
        let name = key.spki_sha256();
        let table = self.known().note(name, items, self.max);
        match table {
            Noted::Has(table) => Some(table),
            Noted::Candidate => None,
            Noted::Earned => {
                let begun = self.clock.monotonic();
                let table = Arc::new(Table::new(key)?);
                let took = self.clock.monotonic().saturating_sub(begun);
                Some(self.known().keep(name, table, took, self.max))
            }
        }
    }

    /// How much is prepared now.
    pub(crate) fn prepared(&self) -> Prepared {
        let known = self.known();
        let keys = known.keys.values().filter(|key| key.table.is_some()).count();
        Prepared { keys, bytes: keys * Table::BYTES, made: known.made, making: known.making }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a batch finds of its key.
enum Noted {
    Candidate,
    Earned,
    Has(Arc<Table>),
}

impl Known {
    fn note(&mut self, name: Sha256Digest, items: usize, max: usize) -> Noted {
        self.turn += 1;
        let key = self.keys.entry(name).or_insert(Use { items: 0, last: 0, table: None });
        let is_new = key.last == 0;
        key.last = self.turn;
        key.items = key.items.saturating_add(items);
        if let Some(table) = &key.table {
            return Noted::Has(Arc::clone(table));
        }
        let items = key.items;
        if is_new {
            self.shrink(CANDIDATES.saturating_mul(max), |key| key.table.is_none());
        }
        // Those that made room for others and are in use yet.
        self.outgoing.retain(|table| table.strong_count() > 0);
        if items >= EARNED_AT && self.outgoing.len() < max { Noted::Earned } else { Noted::Candidate }
    }

    /// Keeps a table that was made, and gives the one that is used: where two parts of a batch made the same one at once
    /// that is the first one's, because nobody counts two tables of one key.
    fn keep(&mut self, name: Sha256Digest, table: Arc<Table>, took: Duration, max: usize) -> Arc<Table> {
        self.made += 1;
        self.making = self.making.saturating_add(took);
        let turn = self.turn;
        let key = self.keys.entry(name).or_insert(Use { items: EARNED_AT, last: turn, table: None });
        if let Some(table) = &key.table {
            return Arc::clone(table);
        }
        key.table = Some(Arc::clone(&table));
        self.shrink(max, |key| key.table.is_some());
        table
    }

    /// Forgets the ones of a kind that were used longest ago until at most `max` are left.
    fn shrink(&mut self, max: usize, is_kind: impl Fn(&Use) -> bool) {
        let mut of_kind: Vec<(u64, Sha256Digest)> =
            self.keys.iter().filter(|(_, key)| is_kind(key)).map(|(name, key)| (key.last, *name)).collect();
        let excess = of_kind.len().saturating_sub(max);
        if excess > 0 {
            of_kind.sort_unstable_by_key(|(last, _)| *last);
            for (_, name) in of_kind.into_iter().take(excess) {
                let table = self.keys.remove(&name).and_then(|key| key.table);
                self.outgoing.extend(table.as_ref().map(Arc::downgrade));
            }
        }
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
