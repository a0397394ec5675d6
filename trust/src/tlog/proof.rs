//! Proofs that a leaf is in a tree, and that a tree is the beginning of another.

use crate::Sha256Digest;

use super::tree::{Node, empty_root, node_hash};

/// Why there is no proof, or why one does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "closed set, by what the caller can do")]
pub enum ProofError {
    /// The leaf or the size lies outside the tree.
    #[error("outside the tree")]
    Outside,
    /// A hash of the tree is missing.
    #[error("a hash of the tree is missing")]
    HashMissing,
    /// The proof does not lead to the root.
    #[error("the proof does not hold")]
    Wrong,
}

/// The root of the first `size` leaves.
///
/// # Errors
/// [`ProofError::HashMissing`] when `read` does not know a perfect subtree it is asked for.
pub fn root_at(size: u64, mut read: impl FnMut(Node) -> Option<Sha256Digest>) -> Result<Sha256Digest, ProofError> {
    if size == 0 { Ok(empty_root()) } else { subtree(0, size, &mut read) }
}

/// Proves that leaf `leaf` is in the tree of `size` leaves: sibling hashes from the leaf to the root (RFC 6962 §2.1.1).
///
/// # Errors
/// [`ProofError::Outside`] unless `leaf < size`; [`ProofError::HashMissing`] as [`root_at`].
pub fn inclusion_proof(
    leaf: u64,
    size: u64,
    mut read: impl FnMut(Node) -> Option<Sha256Digest>,
) -> Result<Vec<Sha256Digest>, ProofError> {
    if leaf >= size {
        return Err(ProofError::Outside);
    }
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if leaf < middle {
            path.push(subtree(middle, end, &mut read)?);
            end = middle;
        } else {
            path.push(subtree(start, middle, &mut read)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// Proves that the tree of `from` leaves is the beginning of the tree of `to` leaves (RFC 6962 §2.1.2). Empty when they are one.
///
/// # Errors
/// [`ProofError::Outside`] unless `1 <= from <= to`; [`ProofError::HashMissing`] as [`root_at`].
pub fn consistency_proof(
    from: u64,
    to: u64,
    mut read: impl FnMut(Node) -> Option<Sha256Digest>,
) -> Result<Vec<Sha256Digest>, ProofError> {
    if from == 0 || from > to {
        return Err(ProofError::Outside);
    }
    let (mut start, mut end) = (0, to);
    let mut path = Vec::new();
    // SUBPROOF of the RFC: the old tree is whole where its end meets the end of a subtree.
    while end != from {
        let middle = start + split(end - start);
        if from <= middle {
            path.push(subtree(middle, end, &mut read)?);
            end = middle;
        } else {
            path.push(subtree(start, middle, &mut read)?);
            start = middle;
        }
    }
    if start != 0 {
        path.push(subtree(start, end, &mut read)?);
    }
    path.reverse();
    Ok(path)
}

/// Checks an inclusion proof (RFC 9162 §2.1.3.2).
///
/// # Errors
/// [`ProofError::Outside`] or [`ProofError::Wrong`].
pub fn verify_inclusion(
    leaf: u64,
    leaf_hash: &Sha256Digest,
    size: u64,
    root: &Sha256Digest,
    proof: &[Sha256Digest],
) -> Result<(), ProofError> {
    if leaf >= size {
        return Err(ProofError::Outside);
    }
    let (mut place, mut last) = (leaf, size - 1);
    let mut hash = *leaf_hash;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Wrong);
        }
        if place & 1 == 1 || place == last {
            hash = node_hash(sibling, &hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    if last == 0 && hash == *root { Ok(()) } else { Err(ProofError::Wrong) }
}

/// Checks a consistency proof (RFC 9162 §2.1.4.2).
///
/// # Errors
/// [`ProofError::Outside`] unless `from <= to`; [`ProofError::Wrong`] when it does not hold. The empty tree
/// is the beginning of every tree, with an empty proof.
pub fn verify_consistency(
    from: u64,
    from_root: &Sha256Digest,
    to: u64,
    to_root: &Sha256Digest,
    proof: &[Sha256Digest],
) -> Result<(), ProofError> {
    if from > to {
        return Err(ProofError::Outside);
    }
    if from == 0 || from == to {
        let expected = if from == 0 { empty_root() } else { *to_root };
        return if proof.is_empty() && *from_root == expected { Ok(()) } else { Err(ProofError::Wrong) };
    }
    let mut hashes = proof.iter();
    // A whole left subtree is its own first hash and is not sent.
    let first = if from.is_power_of_two() { from_root } else { hashes.next().ok_or(ProofError::Wrong)? };
    let (mut place, mut last) = (from - 1, to - 1);
    while place & 1 == 1 {
        place >>= 1;
        last >>= 1;
    }
    let (mut old, mut new) = (*first, *first);
    for hash in hashes {
        if last == 0 {
            return Err(ProofError::Wrong);
        }
        if place & 1 == 1 || place == last {
            old = node_hash(hash, &old);
            new = node_hash(hash, &new);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, hash);
        }
        place >>= 1;
        last >>= 1;
    }
    if last == 0 && old == *from_root && new == *to_root { Ok(()) } else { Err(ProofError::Wrong) }
}

/// The hash over leaves `start..end`; `start` is a multiple of the largest power of two in the range.
fn subtree(
    start: u64,
    end: u64,
    read: &mut impl FnMut(Node) -> Option<Sha256Digest>,
) -> Result<Sha256Digest, ProofError> {
    // Perfect subtrees from the left, then folded from the right.
    let mut hashes = Vec::new();
    let mut start = start;
    while start < end {
        let level = u8::try_from((end - start).ilog2()).map_err(|_| ProofError::HashMissing)?;
        hashes.push(read(Node { level, index: start >> level }).ok_or(ProofError::HashMissing)?);
        start += 1 << level;
    }
    let mut hashes = hashes.into_iter().rev();
    let last = hashes.next().ok_or(ProofError::Outside)?;
    Ok(hashes.fold(last, |right, left| node_hash(&left, &right)))
}

/// The largest power of two below `count`, which is at least 2.
const fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}
