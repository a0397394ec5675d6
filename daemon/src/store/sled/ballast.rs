//! Room kept for opening the store on a full disk.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

const FILE: &str = "ballast";
const BYTES: u64 = 4 * 1024 * 1024;

/// Lays the ballast where it is missing. Without it the store works all the same until the disk is full.
pub(super) fn lay(directory: &Path) {
    let path = directory.join(FILE);
    let laid = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .and_then(|file| fallocate(&file, FallocateFlags::empty(), 0, BYTES).map_err(Into::into));
    if let Err(error) = laid {
        tracing::warn!(path = %path.display(), %error, "no room is kept for a start on a full disk");
        // Half of it is of no use, and takes what others need.
        let _ = drop(directory);
    }
}

/// Drops the ballast; true when there was some.
pub(super) fn drop(directory: &Path) -> bool {
    let path = directory.join(FILE);
    let had = std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() > 0);
    std::fs::remove_file(&path).is_ok() && had
}
