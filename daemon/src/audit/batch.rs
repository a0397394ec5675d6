//! The item list of a batch: a file named by the root over its items (D13).

use std::path::Path;

use trust::Sha256Digest;
use trust::tlog::{Frontier, leaf_hash};

use super::frames::{Durability, FramesError, replace_file};
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
    // The name says what is inside, so a list that is there already is this one.
    if !path.exists() {
        replace_file(&path, &bytes, Durability::Flushed)?;
    }
    Ok(BatchBody { count: u64::try_from(items.len()).unwrap_or(u64::MAX), root })
}
