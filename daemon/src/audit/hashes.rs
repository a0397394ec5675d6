//! The hashes of the durable tree: the right edge in memory, full tiles in files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use trust::Sha256Digest;
use trust::tlog::{Frontier, Node, TILE_HEIGHT, TILE_WIDTH, Tile, leaf_hash, node_hash};

use super::error::{FramesError, io_error};
use super::files::{Durability, replace_file};

/// Full tiles that may wait for their file, while the log is read at the start.
const PENDING_MAX: usize = 1024;
/// Bytes of a full tile.
const TILE_BYTES: usize = 256 * 32;

/// All hashes of the log.
#[derive(Debug)]
pub(crate) struct Hashes {
    directory: PathBuf,
    frontier: Frontier,
    levels: Vec<Level>,
    /// Full tiles without a file, by level and index.
    pending: BTreeMap<(u8, u64), Vec<Sha256Digest>>,
}

/// The right edge of one level of tiles.
#[derive(Debug, Default)]
struct Level {
    full: u64,
    edge: Vec<Sha256Digest>,
}

impl Hashes {
    /// The tree without a leaf, whose tiles go below `directory`.
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            frontier: Frontier::new(),
            levels: Vec::new(),
            pending: BTreeMap::new(),
        }
    }

    /// Adds an entry.
    pub(crate) fn append(&mut self, entry: &[u8]) {
        let Self { frontier, levels, pending, .. } = self;
        frontier.append(leaf_hash(entry), |node, hash| {
            if !node.level.is_multiple_of(TILE_HEIGHT) {
                return;
            }
            let number = usize::from(node.level / TILE_HEIGHT);
            if levels.len() <= number {
                levels.push(Level::default());
            }
            let Some(level) = levels.get_mut(number) else { return };
            level.edge.push(hash);
            if u64::try_from(level.edge.len()) == Ok(TILE_WIDTH) {
                pending.insert((node.level / TILE_HEIGHT, level.full), std::mem::take(&mut level.edge));
                level.full = level.full.saturating_add(1);
            }
        });
    }

    /// While the log is read: writes the tiles that wait, once they are many.
    pub(crate) fn settle(&mut self) -> Result<(), FramesError> {
        if self.pending.len() >= PENDING_MAX {
            for (place, hashes) in &self.pending {
                write_tile(&self.directory, *place, hashes)?;
            }
            self.pending.clear();
        }
        Ok(())
    }

    /// How many leaves.
    pub(crate) const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root over all of them.
    pub(crate) fn root(&self) -> Sha256Digest {
        self.frontier.root()
    }

    /// The hash of a perfect subtree; `None` when it is not complete, or its tile does not read.
    pub(crate) fn read(&self, node: Node) -> Option<Sha256Digest> {
        let (level, height) = (node.level / TILE_HEIGHT, node.level % TILE_HEIGHT);
        let first = node.index.checked_shl(height.into())?;
        let offset = usize::try_from(first % TILE_WIDTH).ok()?;
        let tile = self.tile(level, first / TILE_WIDTH)?;
        let mut row = tile.get(offset..offset.checked_add(1 << height)?)?.to_vec();
        while row.len() > 1 {
            let (pairs, _) = row.as_chunks::<2>();
            row = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
        }
        row.first().copied()
    }

    /// Full tiles that have no file yet.
    pub(crate) fn unwritten(&self) -> Vec<((u8, u64), Vec<Sha256Digest>)> {
        self.pending.iter().map(|(place, hashes)| (*place, hashes.clone())).collect()
    }

    /// Says that these tiles have their file now.
    pub(crate) fn written(&mut self, places: &[(u8, u64)]) {
        for place in places {
            self.pending.remove(place);
        }
    }

    /// The partial tiles of the tree as it is.
    pub(crate) fn partial(&self) -> Vec<(Tile, Vec<u8>)> {
        (0_u8..)
            .zip(&self.levels)
            .filter(|(_, level)| !level.edge.is_empty())
            .map(|(number, level)| {
                let width = u64::try_from(level.edge.len()).unwrap_or(TILE_WIDTH);
                (Tile { level: Some(number), index: level.full, width }, bytes_of(&level.edge))
            })
            .collect()
    }

    fn tile(&self, level: u8, index: u64) -> Option<Vec<Sha256Digest>> {
        let edge = self.levels.get(usize::from(level))?;
        if index == edge.full {
            return Some(edge.edge.clone());
        }
        if let Some(hashes) = self.pending.get(&(level, index)) {
            return Some(hashes.clone());
        }
        let path = Tile { level: Some(level), index, width: TILE_WIDTH }.path();
        let bytes = std::fs::read(self.directory.join(path)).ok().filter(|bytes| bytes.len() == TILE_BYTES)?;
        let (hashes, _) = bytes.as_chunks::<32>();
        Some(hashes.iter().map(|hash| Sha256Digest::from_bytes(*hash)).collect())
    }
}

/// Writes the file of a full tile, unless it is there with these very bytes.
pub(crate) fn write_tile(
    directory: &Path,
    (level, index): (u8, u64),
    hashes: &[Sha256Digest],
) -> Result<(), FramesError> {
    let path = directory.join(Tile { level: Some(level), index, width: TILE_WIDTH }.path());
    write_derived(&path, &bytes_of(hashes))
}

/// Writes a file that can be derived again, unless it is there with these very bytes.
pub(crate) fn write_derived(path: &Path, bytes: &[u8]) -> Result<(), FramesError> {
    if std::fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|source| io_error("make", parent, source))?;
    }
    replace_file(path, bytes, Durability::Derived)
}

fn bytes_of(hashes: &[Sha256Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use trust::tlog::{consistency_proof, inclusion_proof, root_at, verify_consistency, verify_inclusion};

    use super::*;

    fn entry(index: u64) -> Vec<u8> {
        index.to_le_bytes().to_vec()
    }

    #[test]
    fn every_subtree_reads_the_same_from_memory_and_from_tiles() {
        let directory = tempfile::tempdir().unwrap();
        let mut hashes = Hashes::new(directory.path());
        for index in 0..70_000 {
            hashes.append(&entry(index));
        }
        let (size, root) = (hashes.size(), hashes.root());
        assert_eq!(root_at(size, |node| hashes.read(node)), Ok(root));

        let waiting = hashes.unwritten();
        for (place, tile) in &waiting {
            write_tile(directory.path(), *place, tile).unwrap();
        }
        hashes.written(&waiting.iter().map(|(place, _)| *place).collect::<Vec<_>>());

        assert_eq!(root_at(size, |node| hashes.read(node)), Ok(root));
        for leaf in [0, 1, 255, 256, 65_535, 65_536, 69_999] {
            let proof = inclusion_proof(leaf, size, |node| hashes.read(node)).unwrap();
            assert_eq!(verify_inclusion(leaf, &leaf_hash(&entry(leaf)), size, &root, &proof), Ok(()));
        }
        for old in [1, 255, 256, 257, 65_536, 69_999] {
            let old_root = root_at(old, |node| hashes.read(node)).unwrap();
            let proof = consistency_proof(old, size, |node| hashes.read(node)).unwrap();
            assert_eq!(verify_consistency(old, &old_root, size, &root, &proof), Ok(()));
        }
    }

    #[test]
    fn an_incomplete_subtree_and_a_damaged_tile_are_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let mut hashes = Hashes::new(directory.path());
        for index in 0..257 {
            hashes.append(&entry(index));
        }
        assert_eq!(hashes.read(Node { level: 1, index: 128 }), None);
        assert_eq!(hashes.read(Node { level: 9, index: 0 }), None);
        assert_eq!(hashes.read(Node { level: 63, index: 1 }), None);

        hashes.written(&[(0, 0)]);

        assert_eq!(hashes.read(Node { level: 0, index: 3 }), None);
    }
}
