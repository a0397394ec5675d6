//! A second copy of sled's `conf`.
//!
//! sled keeps its segment size in a file of some 60 bytes; one flipped bit in it and the whole database does not
//! open. The copy ends in its own SHA-256, so that a damaged copy never replaces a good original.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use trust::Sha256Digest;

use super::barrier::sync_directory;

const ORIGINAL: &str = "conf";
const COPY: &str = "conf.copy";
const BYTES_MAX: u64 = 4096;

/// What was done about `conf` before sled may read it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Conf {
    /// Original and copy agree.
    Whole,
    /// There is no good copy; the original is all there is.
    Uncopied,
    /// The original was missing or differed and has been put back.
    Restored,
    /// Neither is there.
    Missing,
}

/// Compares original and copy, and puts the original back where it differs from a good copy.
pub(super) fn check(directory: &Path) -> io::Result<Conf> {
    let original = read(&directory.join(ORIGINAL))?;
    let copy = read(&directory.join(COPY))?.and_then(strip_digest);
    match (original, copy) {
        (Some(original), Some(copy)) if original == copy => Ok(Conf::Whole),
        (_, Some(copy)) => {
            replace(directory, ORIGINAL, &copy)?;
            Ok(Conf::Restored)
        }
        (Some(_), None) => Ok(Conf::Uncopied),
        (None, None) => Ok(Conf::Missing),
    }
}

/// Writes the copy; only after sled has opened with the original.
pub(super) fn copy(directory: &Path) -> io::Result<()> {
    let original = read(&directory.join(ORIGINAL))?.ok_or(io::ErrorKind::NotFound)?;
    let digest = Sha256Digest::of(&original);
    replace(directory, COPY, &[original.as_slice(), digest.as_bytes()].concat())
}

fn strip_digest(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let digest = bytes.split_off(bytes.len().checked_sub(32)?);
    (Sha256Digest::of(&bytes).as_bytes().as_slice() == digest).then_some(bytes)
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::metadata(path) {
        // Longer is not ours: as good as damaged.
        Ok(metadata) if metadata.len() > BYTES_MAX => Ok(Some(Vec::new())),
        Ok(_) => std::fs::read(path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a file as a whole: a power cut leaves the old one or the new one.
fn replace(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = directory.join(format!("{name}.new"));
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, directory.join(name))?;
    sync_directory(directory)
}
