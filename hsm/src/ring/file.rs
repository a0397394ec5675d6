//! The ring's file: replaced whole, and the older one overwritten.
//!
//! Overwriting in place reaches the medium on file systems that do not copy on
//! write; flash and snapshots may keep older blocks all the same.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::CustodyError;

/// The longest ring file, in bytes.
const BYTES_MAX: u64 = 1024 * 1024;

/// Reads the whole file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, CustodyError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => CustodyError::refused(format!("there is no KEK ring at {}", path.display())),
        _ => CustodyError::failed(format!("read the KEK ring {}: {error}", path.display())),
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= BYTES_MAX) {
        Ok(bytes)
    } else {
        Err(CustodyError::corrupt(format!("the KEK ring {}: longer than any ring", path.display())))
    }
}

/// A ring is never made over something else.
pub(super) fn refuse_existing(path: &Path) -> Result<(), CustodyError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) => Err(CustodyError::refused(format!("{} exists already", path.display()))),
        Err(error) => Err(CustodyError::failed(format!("look at {}: {error}", path.display()))),
    }
}

/// Makes a file, mode 0600, durable on return.
pub(super) fn create(path: &Path, bytes: &[u8]) -> Result<(), CustodyError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => CustodyError::refused(format!("{} exists already", path.display())),
        _ => CustodyError::failed(format!("make {}: {error}", path.display())),
    };
    let written = write_and_sync(create_new(path).map_err(failed)?, bytes).and_then(|()| sync_directory(path));
    written.map_err(|error| {
        let _ = fs::remove_file(path); // half a file would look like a ring to the next start
        failed(error)
    })
}

/// Replaces the ring: at every instant `path` is the older or the newer one, whole; on return the newer
/// one is durable and the older one's bytes are overwritten.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), CustodyError> {
    let failed = |step: &'static str| {
        move |error: io::Error| CustodyError::failed(format!("{step} the KEK ring {}: {error}", path.display()))
    };
    shred_leftovers(path)?;
    let (new, old) = (beside(path, "new"), beside(path, "old"));
    create_new(&new).and_then(|file| write_and_sync(file, bytes)).map_err(failed("write"))?;
    // The older file keeps a name until it is overwritten: after a power cut it is found and overwritten then.
    fs::hard_link(path, &old).map_err(failed("keep"))?;
    sync_directory(path).map_err(failed("keep"))?;
    fs::rename(&new, path).map_err(failed("replace"))?;
    sync_directory(path).map_err(failed("replace"))?;
    shred(&old).and_then(|()| sync_directory(path)).map_err(failed("overwrite the older copy of"))
}

/// Overwrites and removes what an interrupted replacement left.
pub(super) fn shred_leftovers(path: &Path) -> Result<(), CustodyError> {
    let (new, old) = (beside(path, "new"), beside(path, "old"));
    let clean = || -> io::Result<()> {
        if exists(&old)? {
            if same_file(&old, path)? {
                // The replacement stopped before the rename: the other name is the ring itself.
                fs::remove_file(&old)?;
            } else {
                shred(&old)?;
            }
        }
        if exists(&new)? {
            shred(&new)?;
        }
        sync_directory(path)
    };
    clean().map_err(|error| CustodyError::failed(format!("clean up beside the KEK ring {}: {error}", path.display())))
}

/// Overwrites a file with zeros, makes that durable, removes it.
fn shred(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let length = file.metadata()?.len();
    file.rewind()?;
    io::copy(&mut io::repeat(0).take(length), &mut file)?;
    file.sync_all()?;
    fs::remove_file(path)
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

fn exists(path: &Path) -> io::Result<bool> {
    fs::exists(path)
}

fn same_file(a: &Path, b: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let (a, b) = (fs::symlink_metadata(a)?, fs::symlink_metadata(b)?);
    Ok(a.dev() == b.dev() && a.ino() == b.ino())
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn write_and_sync(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}
