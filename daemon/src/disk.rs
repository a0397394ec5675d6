//! How much room a disk has.

use std::path::Path;

/// Free bytes on the disk of a directory, for whoever is not root.
///
/// # Errors
/// What `statvfs` says (POSIX): no such directory, or a disk that does not answer.
pub(crate) fn free_bytes(directory: &Path) -> rustix::io::Result<u64> {
    rustix::fs::statvfs(directory).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}
