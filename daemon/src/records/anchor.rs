//! The anchor: how far the log was, and a keyed sum of every other row.
//!
//! The sum is the XOR of a keyed tag per row (MSet-XOR-Hash, Clarke et al. 2003) with the number of rows. Rows
//! have distinct keys, tags are never stored, so whoever lacks the keys finds no other set with the same sum. The
//! XOR of the nonces beside it does not protect: it tells *which* row was exchanged.

use super::LogAnchor;
use super::crypto::{Keys, RowMark};
use super::stored::StoredAnchor;
use crate::store::RowKey;

/// The keyed sum of a set of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RowSum {
    pub(super) rows: u64,
    pub(super) tags: [u8; 32],
    pub(super) nonces: [u8; 24],
}

impl RowSum {
    pub(super) fn add(&mut self, keys: &Keys, key: &RowKey, mark: &RowMark) {
        self.rows = self.rows.wrapping_add(1);
        self.mix(keys, key, mark);
    }

    pub(super) fn subtract(&mut self, keys: &Keys, key: &RowKey, mark: &RowMark) {
        self.rows = self.rows.wrapping_sub(1);
        self.mix(keys, key, mark);
    }

    /// Adds the rows of another sum; none may be in both.
    pub(super) fn join(&mut self, other: &Self) {
        self.rows = self.rows.wrapping_add(other.rows);
        self.tags = xor(self.tags, other.tags);
        self.nonces = xor(self.nonces, other.nonces);
    }

    fn mix(&mut self, keys: &Keys, key: &RowKey, mark: &RowMark) {
        self.tags = xor(self.tags, keys.tag(key, &mark.nonce));
        self.nonces = xor(self.nonces, mark.nonce);
    }
}

/// The XOR of two arrays.
pub(super) fn xor<const N: usize>(mut left: [u8; N], right: [u8; N]) -> [u8; N] {
    left.iter_mut().zip(right).for_each(|(left, right)| *left ^= right);
    left
}

/// The anchor as the index keeps it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anchor {
    pub(super) log: LogAnchor,
    pub(super) sequence: u64,
    pub(super) sum: RowSum,
}

impl Anchor {
    pub(super) fn stored(&self) -> StoredAnchor {
        StoredAnchor {
            sequence: self.sequence,
            log_size: self.log.size,
            log_root: *self.log.root.as_bytes(),
            rows: self.sum.rows,
            tags: self.sum.tags,
            nonces: self.sum.nonces,
        }
    }

    pub(super) fn read(stored: &StoredAnchor) -> Self {
        let sum = RowSum { rows: stored.rows, tags: stored.tags, nonces: stored.nonces };
        Self { log: stored.log(), sequence: stored.sequence, sum }
    }

    /// Writes that are merged come from trees of different sizes: the largest contains the others.
    pub(super) fn reach(&mut self, log: LogAnchor) {
        if log.size >= self.log.size {
            self.log = log;
        }
    }
}

impl LogAnchor {
    /// The empty tree: its root is the SHA-256 of nothing (RFC 6962 §2.1).
    #[must_use]
    pub(crate) fn empty() -> Self {
        Self { size: 0, root: trust::Sha256Digest::of(b"") }
    }
}
