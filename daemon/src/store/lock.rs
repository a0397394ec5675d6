//! One process per data directory.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::OpenError;

/// Held while this process owns a data directory, with the store and the log in it. Dropping it lets go.
#[derive(Debug)]
#[must_use = "the directory is free again when this is dropped"]
pub(crate) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// The lock file's name in the directory.
    pub(crate) const FILE: &str = "lock";

    /// Takes the directory, which must exist; does not wait.
    ///
    /// # Errors
    /// [`OpenError::Locked`] when another process has it, [`OpenError::Missing`] when there is no such directory,
    /// else [`OpenError::System`].
    pub(crate) fn take(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(Self::FILE);
        let file =
            OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(&path).map_err(|source| {
                match source.kind() {
                    std::io::ErrorKind::NotFound => OpenError::Missing { path: directory.to_owned() },
                    _ => OpenError::System { step: "open", path: path.clone(), source },
                }
            })?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(Errno::WOULDBLOCK) => Err(OpenError::Locked { path }),
            Err(errno) => Err(OpenError::System { step: "lock", path, source: errno.into() }),
        }
    }
}
