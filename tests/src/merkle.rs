//! Merkle proofs of RFC 6962, checked by code that shares nothing with the daemon's: a second opinion.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use trust::Sha256Digest;

/// Size and root of a tree, as a checkpoint states them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeHead {
    /// Number of leaves.
    pub size: u64,
    /// Root hash.
    pub root: Sha256Digest,
}

impl TreeHead {
    /// Reads the body of a checkpoint (C2SP tlog-checkpoint): origin, size, root in base64, one a line. Its
    /// signature is not looked at.
    ///
    /// # Errors
    /// When the text is no checkpoint.
    pub fn of_checkpoint(text: &str) -> Result<Self> {
        let mut lines = text.lines().skip(1);
        let size = lines.next().context("a checkpoint without a size")?.parse().context("the size of a checkpoint")?;
        let root = STANDARD.decode(lines.next().context("a checkpoint without a root")?).context("the root")?;
        let root: [u8; 32] = root.try_into().ok().context("a root of 32 bytes")?;
        Ok(Self { size, root: Sha256Digest::from_bytes(root) })
    }
}

fn node(left: Sha256Digest, right: Sha256Digest) -> Sha256Digest {
    let mut bytes = vec![1];
    bytes.extend(left.as_bytes());
    bytes.extend(right.as_bytes());
    Sha256Digest::of(&bytes)
}

/// The hash of a leaf (RFC 6962 §2.1).
fn leaf_hash(entry: &[u8]) -> Sha256Digest {
    let mut bytes = vec![0];
    bytes.extend(entry);
    Sha256Digest::of(&bytes)
}

/// Checks that `entry` is leaf `index` of a tree (RFC 9162 §2.1.3.2).
///
/// # Errors
/// When the proof does not show it.
pub fn includes(head: TreeHead, index: u64, entry: &[u8], proof: &[Sha256Digest]) -> Result<()> {
    ensure!(index < head.size, "leaf {index} of a tree of {}", head.size);
    let (mut here, mut last) = (index, head.size - 1);
    let mut hash = leaf_hash(entry);
    for sibling in proof {
        ensure!(last > 0, "the inclusion proof is too long");
        if here & 1 == 1 || here == last {
            hash = node(*sibling, hash);
            while here & 1 == 0 && here != 0 {
                here >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(hash, *sibling);
        }
        here >>= 1;
        last >>= 1;
    }
    ensure!(last == 0, "the inclusion proof is too short");
    ensure!(hash == head.root, "the inclusion proof leads to another root");
    Ok(())
}

/// Checks that the tree `old` is a prefix of the tree `new` (RFC 9162 §2.1.4.2).
///
/// # Errors
/// When the proof does not show it.
pub fn extends(old: TreeHead, new: TreeHead, proof: &[Sha256Digest]) -> Result<()> {
    ensure!(old.size <= new.size, "the tree shrank from {} to {}", old.size, new.size);
    if old.size == new.size {
        ensure!(old.root == new.root && proof.is_empty(), "two trees of {} leaves differ", old.size);
        return Ok(());
    }
    if old.size == 0 {
        return Ok(());
    }
    let mut path = proof.iter().copied();
    let first =
        if old.size.is_power_of_two() { old.root } else { path.next().context("an empty consistency proof")? };
    let (mut here, mut last) = (old.size - 1, new.size - 1);
    while here & 1 == 1 {
        here >>= 1;
        last >>= 1;
    }
    let (mut was, mut is) = (first, first);
    for sibling in path {
        ensure!(last > 0, "the consistency proof is too long");
        if here & 1 == 1 || here == last {
            was = node(sibling, was);
            is = node(sibling, is);
            while here & 1 == 0 && here != 0 {
                here >>= 1;
                last >>= 1;
            }
        } else {
            is = node(is, sibling);
        }
        here >>= 1;
        last >>= 1;
    }
    ensure!(last == 0, "the consistency proof is too short");
    ensure!(was == old.root, "the consistency proof does not lead to the old root");
    ensure!(is == new.root, "the consistency proof does not lead to the new root");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(leaves: &[Vec<u8>]) -> Sha256Digest {
        match leaves.len() {
            0 => Sha256Digest::of(&[]),
            1 => leaf_hash(&leaves[0]),
            count => {
                let split = count.next_power_of_two() / 2;
                node(root(&leaves[..split]), root(&leaves[split..]))
            }
        }
    }

    /// RFC 6962 §2.1.1.
    fn path(index: usize, leaves: &[Vec<u8>]) -> Vec<Sha256Digest> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let split = leaves.len().next_power_of_two() / 2;
        let (mut proof, sibling) = if index < split {
            (path(index, &leaves[..split]), root(&leaves[split..]))
        } else {
            (path(index - split, &leaves[split..]), root(&leaves[..split]))
        };
        proof.push(sibling);
        proof
    }

    /// RFC 6962 §2.1.2.
    fn subproof(size: usize, leaves: &[Vec<u8>], whole: bool) -> Vec<Sha256Digest> {
        if size == leaves.len() {
            return if whole { Vec::new() } else { vec![root(leaves)] };
        }
        let split = leaves.len().next_power_of_two() / 2;
        let (mut proof, sibling) = if size <= split {
            (subproof(size, &leaves[..split], whole), root(&leaves[split..]))
        } else {
            (subproof(size - split, &leaves[split..], false), root(&leaves[..split]))
        };
        proof.push(sibling);
        proof
    }

    fn leaves(count: u8) -> Vec<Vec<u8>> {
        (0..count).map(|number| vec![number; 3]).collect()
    }

    fn head(leaves: &[Vec<u8>]) -> TreeHead {
        TreeHead { size: u64::try_from(leaves.len()).unwrap(), root: root(leaves) }
    }

    #[test]
    fn every_true_proof_up_to_20_leaves_is_accepted_and_every_changed_one_refused() {
        for count in 1..20 {
            let all = leaves(count);
            for size in 1..=all.len() {
                let (old, new) = (head(&all[..size]), head(&all));
                let proof = subproof(size, &all, true);
                extends(old, new, &proof).unwrap();
                let other = TreeHead { root: Sha256Digest::of(b"another"), ..old };
                assert!(extends(other, new, &proof).is_err());
                assert!(extends(old, new, &[proof.clone(), vec![new.root]].concat()).is_err());

                let index = u64::try_from(size - 1).unwrap();
                let proof = path(size - 1, &all);
                includes(new, index, &all[size - 1], &proof).unwrap();
                assert!(includes(new, index, b"another", &proof).is_err());
            }
        }
    }

    #[test]
    fn a_checkpoint_is_read() {
        let text = "log.example.com\n3\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n— log.example.com AAAA\n";

        let head = TreeHead::of_checkpoint(text).unwrap();

        assert_eq!(head.size, 3);
        assert_eq!(head.root.as_bytes()[31], 31);
    }
}
