//! The item list of a batch: a file named by the root over its items (D13).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use trust::Sha256Digest;
use trust::tlog::{Frontier, leaf_hash};

use super::error::{FramesError, io_error};
use super::files::{Durability, replace_file, sync_directory};
use super::leaf::BatchBody;

/// The RFC 6962 root over `items`.
pub(crate) fn batch_root<'a>(items: impl IntoIterator<Item = &'a [u8]>) -> Sha256Digest {
    let mut tree = Frontier::new();
    for item in items {
        tree.append(leaf_hash(item), |_, _| {});
    }
    tree.root()
}

/// How many lists are written at a time; equal ones never are, for whoever comes second would spoil the first one's file.
const TURNS: usize = 16;

/// The directory of all lists.
pub(super) struct Batches {
    directory: PathBuf,
    turns: [Mutex<()>; TURNS],
}

impl Batches {
    pub(super) fn at(directory: PathBuf) -> Self {
        Self { directory, turns: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Makes the list durable: each item with its length before it (u32, big endian). Blocks.
    pub(super) fn keep(&self, items: &[Vec<u8>]) -> Result<BatchBody, FramesError> {
        let root = batch_root(items.iter().map(Vec::as_slice));
        let mut bytes = Vec::with_capacity(items.iter().map(|item| item.len() + 4).sum());
        for item in items {
            bytes.extend_from_slice(&u32::try_from(item.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(item);
        }
        let turn = root.as_bytes().first().and_then(|byte| self.turns.get(usize::from(*byte) % TURNS));
        let _alone = turn.map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
        let root = root.to_hex();
        write(&self.directory, &root, &bytes)?;
        Ok(BatchBody { count: u64::try_from(items.len()).unwrap_or(u64::MAX), root })
    }
}

fn write(directory: &Path, root: &str, bytes: &[u8]) -> Result<(), FramesError> {
    let path = directory.join(root);
    // A list of that name should be this one; one that is not was altered, and would be evidence of something else.
    let is_there = std::fs::metadata(&path).is_ok_and(|there| usize::try_from(there.len()) == Ok(bytes.len()))
        && std::fs::read(&path).is_ok_and(|there| there == bytes);
    if !is_there {
        return replace_file(&path, bytes, Durability::Flushed);
    }
    // Whoever wrote it may have been killed before its name was durable.
    File::open(&path).and_then(|file| file.sync_all()).map_err(|source| io_error("flush", &path, source))?;
    sync_directory(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_was_altered_or_cut_is_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let batches = Batches::at(directory.path().to_owned());
        let items = [b"first".to_vec(), b"second".to_vec()];
        let body = batches.keep(&items).unwrap();
        let path = directory.path().join(&body.root);
        let whole = std::fs::read(&path).unwrap();
        let altered: Vec<u8> = whole.iter().map(|byte| byte ^ 1).collect();

        for wrong in [&altered, &whole[..7], &[]] {
            std::fs::write(&path, wrong).unwrap();
            assert_eq!(batches.keep(&items).unwrap().root, body.root);
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn equal_lists_at_once_are_all_kept() {
        let directory = tempfile::tempdir().unwrap();
        let batches = Batches::at(directory.path().to_owned());

        for round in 0..50_u8 {
            let items = vec![vec![round; 4096]; 16];
            std::thread::scope(|threads| {
                let each: Vec<_> = (0..8).map(|_| threads.spawn(|| batches.keep(&items))).collect();
                let roots: Vec<_> = each.into_iter().map(|one| one.join().unwrap().unwrap().root).collect();
                assert!(roots.iter().all(|root| *root == roots[0]));
            });
        }
        let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(names.len(), 50);
        assert!(names.iter().all(|name| name.extension().is_none()), "{names:?}");
    }
}
