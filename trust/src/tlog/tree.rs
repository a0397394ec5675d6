//! Hashes of leaves and nodes, and the right edge of a growing tree.

use sha2::{Digest as _, Sha256};

use crate::Sha256Digest;

/// A perfect subtree: `index` counts subtrees of `1 << level` leaves from the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_structs, reason = "two coordinates")]
pub struct Node {
    /// 0 for a leaf, at most 63.
    pub level: u8,
    /// Which one, from 0.
    pub index: u64,
}

/// The root of the tree without a leaf: SHA-256 of nothing (RFC 6962 §2.1).
#[must_use]
pub fn empty_root() -> Sha256Digest {
    Sha256Digest::of(&[])
}

/// The hash of a leaf: SHA-256 over `00` and its bytes (RFC 6962 §2.1).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Sha256Digest {
    let mut hash = Sha256::new();
    hash.update([0]);
    hash.update(entry);
    Sha256Digest::from_bytes(hash.finalize().into())
}

/// The hash of a node: SHA-256 over `01` and its two children (RFC 6962 §2.1).
#[must_use]
pub fn node_hash(left: &Sha256Digest, right: &Sha256Digest) -> Sha256Digest {
    let mut hash = Sha256::new();
    hash.update([1]);
    hash.update(left.as_bytes());
    hash.update(right.as_bytes());
    Sha256Digest::from_bytes(hash.finalize().into())
}

/// The right edge of a tree: all that is needed to append. At most 64 hashes, cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Hashes of the perfect subtrees that the size's bits name, largest first.
    edge: Vec<Sha256Digest>,
}

impl Frontier {
    /// The tree without a leaf.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree of `size` leaves whose perfect subtrees `read` knows; `None` where one is missing.
    pub fn restore(size: u64, mut read: impl FnMut(Node) -> Option<Sha256Digest>) -> Option<Self> {
        let mut edge = Vec::new();
        let mut start = 0;
        for level in (0..64_u8).rev() {
            if size >> level & 1 == 1 {
                edge.push(read(Node { level, index: start >> level })?);
                start += 1 << level;
            }
        }
        Some(Self { size, edge })
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash; `made` hears of every perfect subtree that this completes, the leaf first.
    ///
    /// A tree of `u64::MAX` leaves takes no more.
    pub fn append(&mut self, leaf: Sha256Digest, mut made: impl FnMut(Node, Sha256Digest)) {
        let Some(size) = self.size.checked_add(1) else { return };
        let mut node = Node { level: 0, index: self.size };
        let mut hash = leaf;
        made(node, hash);
        // Each trailing one bit of the old size is a subtree on the left that this one completes.
        while node.index & 1 == 1 {
            let Some(left) = self.edge.pop() else { break };
            hash = node_hash(&left, &hash);
            node = Node { level: node.level + 1, index: node.index >> 1 };
            made(node, hash);
        }
        self.edge.push(hash);
        self.size = size;
    }

    /// The root of the tree as it is.
    #[must_use]
    pub fn root(&self) -> Sha256Digest {
        let mut hashes = self.edge.iter().rev();
        let Some(last) = hashes.next() else { return empty_root() };
        hashes.fold(*last, |right, left| node_hash(left, &right))
    }
}
