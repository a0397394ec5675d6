//! The item list of a batch: a file named by the root over its items (D13).

use std::path::Path;

use trust::Sha256Digest;
use trust::tlog::{Frontier, leaf_hash};

use super::error::FramesError;
use super::files::{Durability, replace_file};
use super::leaf::BatchBody;

/// The RFC 6962 root over `items`.
pub(crate) fn batch_root<'a>(items: impl IntoIterator<Item = &'a [u8]>) -> Sha256Digest {
    let mut tree = Frontier::new();
    for item in items {
        tree.append(leaf_hash(item), |_, _| {});
    }
    tree.root()
}

/// Makes the list durable: each item with its length before it (u32, big endian).
pub(super) fn keep(directory: &Path, items: &[Vec<u8>]) -> Result<BatchBody, FramesError> {
    let root = batch_root(items.iter().map(Vec::as_slice)).to_hex();
    let mut bytes = Vec::with_capacity(items.iter().map(|item| item.len() + 4).sum());
    for item in items {
        bytes.extend_from_slice(&u32::try_from(item.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(item);
    }
    let path = directory.join(&root);
    // A list of that name should be this one; one that is not was altered, and would be evidence of something else.
    let is_there = std::fs::metadata(&path).is_ok_and(|there| usize::try_from(there.len()) == Ok(bytes.len()))
        && std::fs::read(&path).is_ok_and(|there| there == bytes);
    if !is_there {
        replace_file(&path, &bytes, Durability::Flushed)?;
    }
    Ok(BatchBody { count: u64::try_from(items.len()).unwrap_or(u64::MAX), root })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_was_altered_or_cut_is_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let items = [b"first".to_vec(), b"second".to_vec()];
        let body = keep(directory.path(), &items).unwrap();
        let path = directory.path().join(&body.root);
        let whole = std::fs::read(&path).unwrap();
        let altered: Vec<u8> = whole.iter().map(|byte| byte ^ 1).collect();

        for wrong in [&altered, &whole[..7], &[]] {
            std::fs::write(&path, wrong).unwrap();
            assert_eq!(keep(directory.path(), &items).unwrap().root, body.root);
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
    }
}
