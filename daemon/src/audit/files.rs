//! Files that are written whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::error::{FramesError, io_error};

/// Whether a file must outlive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// It can be derived again.
    Derived,
    /// It must be there when the call returns.
    Flushed,
}

/// Writes a derived or content-named file whole or not at all; durable when `durable`. One call at a time for each path.
pub(super) fn replace_file(path: &Path, bytes: &[u8], durable: Durability) -> Result<(), FramesError> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(|source| io_error("make", &temporary, source))?;
    file.write_all(bytes).map_err(|source| io_error("write", &temporary, source))?;
    if durable == Durability::Flushed {
        file.sync_all().map_err(|source| io_error("flush", &temporary, source))?;
    }
    std::fs::rename(&temporary, path).map_err(|source| io_error("rename to", path, source))?;
    match path.parent() {
        Some(parent) if durable == Durability::Flushed => sync_directory(parent),
        _ => Ok(()),
    }
}

/// Makes new names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), FramesError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(|source| io_error("flush", directory, source))
}
