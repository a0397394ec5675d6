//! Backup and import (D18).
//!
//! A backup is an age file (x25519) that holds the keys' rows as a snapshot seals them, the KEK ring's file and the
//! log's last checkpoint; never the log key, never a root key. Its manifest is sealed twice over: the anchor row
//! counts every row, and the provenance row, one of them, names ring and checkpoint. An import is written into an
//! empty store and starts sealed; the first unseal checks all of it.
//!
//! ```text
//! "trustd-backup 1\n" | head | rows … | ring | end        each frame: kind, u32 length (big-endian), body
//! ```

mod export;
mod frame;
mod import;

use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

pub(crate) use self::export::Export;
pub(crate) use self::import::{Imported, import, write_ring};

use crate::records::RecordError;
use crate::store::StoreError;

/// The newest backup format this version reads; it writes this one.
pub(crate) const FORMAT: u32 = 1;
/// The longest KEK ring file a backup holds, in bytes.
pub(crate) const RING_BYTES_MAX: usize = 1024 * 1024;
/// The longest checkpoint a backup holds, in bytes.
pub(crate) const CHECKPOINT_BYTES_MAX: usize = 64 * 1024;
/// The most recipients or identities in a file.
const KEYS_MAX: usize = 64;
/// The longest file of recipients or identities, in bytes.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Why a backup was not made or read, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// The file of recipients or identities is not what it must be.
    #[error("{path}: {expected}")]
    KeyFile {
        /// Which file.
        path: PathBuf,
        /// What it must hold, or how it must be kept.
        expected: &'static str,
    },
    /// A newer trustd made the backup.
    #[error("the backup has format {found}; this trustd reads up to {known}: use a newer trustd")]
    TooNew {
        /// Its format.
        found: u32,
        /// The newest format this version reads.
        known: u32,
    },
    /// None of the identities opens it.
    #[error("none of the identities opens the backup")]
    WrongIdentity,
    /// It is cut off, altered, or no backup at all.
    #[error("the backup is damaged: {what}")]
    Damaged {
        /// What does not hold.
        what: &'static str,
    },
    /// Ring or checkpoint are too long.
    #[error("{what} is too long for a backup")]
    TooLarge {
        /// `the KEK ring` or `the checkpoint`.
        what: &'static str,
    },
    /// The records could not be read.
    #[error("read the records")]
    Records(#[source] RecordError),
    /// The store could not be written.
    #[error("write the store")]
    Store(#[source] StoreError),
    /// The operating system refused a step.
    #[error("{step}")]
    System {
        /// `read the backup`, …
        step: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Whom backups are encrypted to: never the KEK, so that who makes backups cannot read them.
#[derive(Clone, Debug)]
pub(crate) struct Recipients(Vec<age::x25519::Recipient>);

impl Recipients {
    /// Reads a file with one `age1…` recipient a line; empty lines and lines that start with `#` do not count.
    ///
    /// # Errors
    /// [`BackupError::KeyFile`] for anything else, and for a file without recipients.
    pub(crate) fn read(path: &Path) -> Result<Self, BackupError> {
        const EXPECTED: &str = "one age recipient (age1…) a line, at least one, at most 64";
        let (text, _) = read_key_file(path)?;
        parse_lines(&text, path, EXPECTED).map(Self)
    }
}

/// Who can read a backup.
pub(crate) struct Identities(Vec<age::x25519::Identity>);

impl Identities {
    /// Reads a file with one `AGE-SECRET-KEY-1…` identity a line, as `age-keygen` writes it. Only its owner may be
    /// able to read it.
    ///
    /// # Errors
    /// [`BackupError::KeyFile`] for anything else.
    pub(crate) fn read(path: &Path) -> Result<Self, BackupError> {
        const EXPECTED: &str = "one age identity (AGE-SECRET-KEY-1…) a line, at least one, at most 64";
        let (text, mode) = read_key_file(path)?;
        if mode & 0o077 != 0 {
            return Err(BackupError::KeyFile { path: path.to_owned(), expected: "mode 0600 or stricter" });
        }
        parse_lines(&text, path, EXPECTED).map(Self)
    }
}

fn read_key_file(path: &Path) -> Result<(zeroize::Zeroizing<String>, u32), BackupError> {
    let system = |source| BackupError::System { step: "read the file of age keys", source };
    let metadata = std::fs::metadata(path).map_err(system)?;
    let unfit = || BackupError::KeyFile { path: path.to_owned(), expected: "a file of at most 64 KiB" };
    // Asked before it is opened: a pipe would wait for its writer.
    if !metadata.is_file() || metadata.len() > KEY_FILE_BYTES_MAX {
        return Err(unfit());
    }
    let file = std::fs::File::open(path).map_err(system)?;
    let mode = file.metadata().map_err(system)?.permissions().mode();
    let mut text = zeroize::Zeroizing::new(String::new());
    let length = file.take(KEY_FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(system)?;
    if u64::try_from(length).is_ok_and(|length| length <= KEY_FILE_BYTES_MAX) { Ok((text, mode)) } else { Err(unfit()) }
}

fn parse_lines<T: std::str::FromStr>(text: &str, path: &Path, expected: &'static str) -> Result<Vec<T>, BackupError> {
    let wrong = || BackupError::KeyFile { path: path.to_owned(), expected };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys = lines.map(|line| line.parse().map_err(|_| wrong())).collect::<Result<Vec<T>, _>>()?;
    if (1..=KEYS_MAX).contains(&keys.len()) { Ok(keys) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests;
