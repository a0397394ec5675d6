//! Small files of a user: read with a bound, written whole or not at all.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::failure::Failure;

/// Who owns a file, and who else may write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ownership {
    /// The owner's user id.
    pub(crate) uid: u32,
    /// The group's id.
    pub(crate) gid: u32,
    /// The permission bits.
    pub(crate) mode: u32,
}

impl Ownership {
    /// True when nobody but the owner, and whoever is alone in this process' own group, can write.
    pub(crate) fn writable_by_owner_only(self) -> bool {
        let group_is_own = self.gid == rustix::process::getegid().as_raw();
        self.mode & 0o002 == 0 && (self.mode & 0o020 == 0 || group_is_own)
    }
}

/// A file's bytes and ownership, of one and the same open file; `None` where there is none.
///
/// Fails for what is no regular file and for more than `bytes_max` bytes.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<Option<(Vec<u8>, Ownership)>> {
    // Without O_NONBLOCK a pipe put in the file's place would hold us here for ever.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = match OpenOptions::new().read(true).custom_flags(nonblocking).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {bytes_max} bytes")));
    }
    let ownership = Ownership { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & 0o7777 };
    Ok(Some((bytes, ownership)))
}

/// The bytes of a file the user named; it has to be there.
pub(crate) fn read_named(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    match read(path, bytes_max) {
        Ok(Some((bytes, _))) => Ok(bytes),
        Ok(None) => Err(Failure::usage(format!("there is no file {}", path.display()), "is the name right?")),
        Err(error) => {
            Err(Failure::other(format!("read {}", path.display()), "may you read it, and is it what you meant?")
                .because(error))
        }
    }
}

/// Whether writing may take the place of what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Fails where there is a file.
    Keep,
    /// Takes its place.
    Replace,
}

/// Writes a file whole and durably, or leaves what was there.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32, existing: Existing) -> io::Result<()> {
    let mut draft = Draft::of(path, mode)?;
    draft.append(bytes)?;
    draft.keep(existing)
}

/// A file that is being written, under another name beside its place; gone unless it is kept.
#[derive(Debug)]
pub(crate) struct Draft {
    file: File,
    temporary: Temporary,
    path: PathBuf,
}

impl Draft {
    /// Begins a file that is to be at `path`.
    pub(crate) fn of(path: &Path, mode: u32) -> io::Result<Self> {
        let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        name.push(format!(".{}.new", hex::encode(random)));
        let temporary = Temporary(parent(path).join(name));
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary.0)?;
        Ok(Self { file, temporary, path: path.to_path_buf() })
    }

    /// Writes more of it.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Puts it in its place, durably.
    pub(crate) fn keep(self, existing: Existing) -> io::Result<()> {
        self.file.sync_all()?;
        match existing {
            Existing::Replace => std::fs::rename(&self.temporary.0, &self.path)?,
            // A link, unlike a rename, fails where the name is taken.
            Existing::Keep => std::fs::hard_link(&self.temporary.0, &self.path)?,
        }
        File::open(parent(&self.path))?.sync_all()
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A file that goes when this does, whatever happened in between.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename it is not there any more.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Makes a directory of the user's own, 0700, with its parents.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Holds others of our kind off a directory until it is dropped: read, change and write belong together.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "closing it gives the lock back")] File);

impl Lock {
    /// Waits for the lock of a directory, which is made if it is not there.
    pub(crate) fn of(directory: &Path) -> io::Result<Self> {
        private_directory(directory)?;
        let file = File::open(directory)?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(Self(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_kept_or_replaced_as_asked_and_nothing_else_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sig");

        write(&path, b"one", 0o600, Existing::Keep).unwrap();
        assert!(write(&path, b"two", 0o600, Existing::Keep).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        write(&path, b"two", 0o600, Existing::Replace).unwrap();

        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_too_large_or_no_file_is_an_error_and_what_is_absent_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        std::fs::write(&path, b"12345").unwrap();

        assert!(read(&path, 4).is_err());
        assert_eq!(read(&path, 5).unwrap().unwrap().0, b"12345");
        assert!(read(directory.path(), 5).is_err());
        assert!(read(&directory.path().join("b"), 5).unwrap().is_none());
    }
}
