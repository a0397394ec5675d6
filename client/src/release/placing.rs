//! Puts all signatures of a release into its directory, or none.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use trust::format::release::manifest;

use super::answer::Files;
use crate::failure::Failure;
use crate::files::Existing;

/// Permissions of signatures: they are public.
const MODE: u32 = 0o644;

/// How the names of directories begin in which signatures are made ready.
pub(super) const STAGING: &str = ".trustctl-";

/// A directory that goes with all that is in it, whatever happened in between.
///
/// It lies in the release's own, so that a file can move from one to the other; one that a killed process left is no
/// file, so neither `release sign` nor `release verify` overlooks it.
#[derive(Debug)]
struct Staging {
    path: PathBuf,
    is_needed: bool,
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.is_needed {
            // Nobody is left to tell; the next run names it.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

impl Staging {
    fn in_directory(directory: &Path) -> io::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let path = directory.join(format!("{STAGING}{}", hex::encode(random)));
        let own = |path: &Path| DirBuilder::new().mode(0o700).create(path);
        own(&path)?;
        let staging = Self { path, is_needed: false };
        own(&staging.old(""))?;
        Ok(staging)
    }

    /// Where a file of before lies until all of the new ones are in their places.
    fn old(&self, name: &str) -> PathBuf {
        self.path.join("old").join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(self.path.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Moves a file to where no file is.
    fn place(&self, name: &str, at: &Path) -> io::Result<()> {
        let from = self.path.join(name);
        match renameat_with(CWD, &from, CWD, at, RenameFlags::NOREPLACE) {
            // Not every file system can; where this one has links, a link fails where the name is taken.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::hard_link(from, at),
            done => Ok(done?),
        }
    }
}

/// What one run has changed in the directory.
#[derive(Debug, Default)]
struct Changes<'a> {
    /// Moved away, in this order.
    old: Vec<&'a str>,
    placed: Vec<PathBuf>,
}

/// Writes everything elsewhere first, then puts it in its place. The manifest goes first and comes last: without it,
/// nothing verifies, so a mixture of old and new signatures does not verify as the old release either.
pub(super) fn write(directory: &Path, output: &Files, existing: Existing) -> Result<(), Failure> {
    let mut staging = Staging::in_directory(directory).map_err(|error| unwritable(directory, error))?;
    for (name, bytes) in output {
        staging.write(name, bytes).map_err(|error| unwritable(&directory.join(name), error))?;
    }
    let mut changes = Changes::default();
    if let Err(failure) = exchange(directory, output, existing, &staging, &mut changes) {
        return Err(match take_back(directory, &staging, &changes) {
            Ok(()) => failure,
            Err(error) => {
                staging.is_needed = true;
                let what = format!("put the signatures of before back from {}", staging.path.display());
                Failure::other(what, "move the files in its directory `old` back, or sign again").because(error)
            }
        });
    }
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| unwritable(directory, error))
}

fn exchange<'a>(
    directory: &Path,
    output: &'a Files,
    existing: Existing,
    staging: &Staging,
    changes: &mut Changes<'a>,
) -> Result<(), Failure> {
    let (manifest, rest): (Vec<&str>, Vec<&str>) =
        output.keys().map(String::as_str).partition(|name| *name == manifest::NAME);
    if existing == Existing::Replace {
        for name in manifest.iter().chain(&rest) {
            let at = directory.join(name);
            match move_away(&at, &staging.old(name)) {
                Ok(()) => changes.old.push(name),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unwritable(&at, error)),
            }
        }
    }
    for name in rest.into_iter().chain(manifest) {
        let at = directory.join(name);
        staging.place(name, &at).map_err(|error| unwritable(&at, error))?;
        changes.placed.push(at);
    }
    Ok(())
}

/// Moves a file, and nothing but a file.
fn move_away(from: &Path, to: &Path) -> io::Result<()> {
    if from.symlink_metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    fs::rename(from, to)
}

/// What was placed before one could not be goes again, and what was there before comes back, the manifest last.
fn take_back(directory: &Path, staging: &Staging, changes: &Changes<'_>) -> io::Result<()> {
    for path in &changes.placed {
        fs::remove_file(path)?;
    }
    for name in changes.old.iter().rev() {
        fs::rename(staging.old(name), directory.join(name))?;
    }
    Ok(())
}

fn unwritable(path: &Path, error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::AlreadyExists {
        return Failure::usage(
            format!("{} was put there while the release was signed; nothing was written", path.display()),
            "move it away, or add --force",
        );
    }
    Failure::other(format!("write {}", path.display()), "is there space, and may you write there?").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn output() -> Files {
        ["a.sig", "z.sig", manifest::NAME].map(|name| (name.to_owned(), b"new".to_vec())).into()
    }

    #[test]
    fn everything_is_written_and_nothing_else_stays() {
        let directory = tempfile::tempdir().unwrap();

        write(directory.path(), &output(), Existing::Keep).unwrap();

        assert_eq!(names(directory.path()), [manifest::NAME, "a.sig", "z.sig"]);
        assert_eq!(fs::read(directory.path().join("z.sig")).unwrap(), b"new");
    }

    #[test]
    fn a_name_that_was_taken_meanwhile_takes_everything_back() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("z.sig"), "old").unwrap();

        let failure = write(directory.path(), &output(), Existing::Keep).unwrap_err();

        assert!(failure.what().contains("z.sig"), "{failure:?}");
        assert_eq!(names(directory.path()), ["z.sig"]);
        assert_eq!(fs::read(directory.path().join("z.sig")).unwrap(), b"old");
        write(directory.path(), &output(), Existing::Replace).unwrap();
        assert_eq!(fs::read(directory.path().join("z.sig")).unwrap(), b"new");
    }

    #[test]
    fn where_one_cannot_be_replaced_all_of_before_is_there_again() {
        let directory = tempfile::tempdir().unwrap();
        for name in [manifest::NAME, "a.sig"] {
            fs::write(directory.path().join(name), "old").unwrap();
        }
        // A directory gives way to no file, by whatever verb.
        fs::create_dir(directory.path().join("z.sig")).unwrap();

        assert!(write(directory.path(), &output(), Existing::Replace).is_err());

        assert_eq!(names(directory.path()), [manifest::NAME, "a.sig", "z.sig"]);
        for name in [manifest::NAME, "a.sig"] {
            assert_eq!(fs::read(directory.path().join(name)).unwrap(), b"old", "{name}");
        }
    }

    #[test]
    fn what_could_not_be_placed_is_taken_back() {
        let (directory, output) = (tempfile::tempdir().unwrap(), output());
        fs::write(directory.path().join("a.sig"), "old").unwrap();
        let staging = Staging::in_directory(directory.path()).unwrap();
        let mut changes = Changes::default();
        // One was never made ready: it fails after others have moved.
        for name in ["a.sig", manifest::NAME] {
            staging.write(name, b"new").unwrap();
        }

        assert!(exchange(directory.path(), &output, Existing::Replace, &staging, &mut changes).is_err());
        assert_eq!(fs::read(directory.path().join("a.sig")).unwrap(), b"new");
        take_back(directory.path(), &staging, &changes).unwrap();
        drop(staging);

        assert_eq!(names(directory.path()), ["a.sig"]);
        assert_eq!(fs::read(directory.path().join("a.sig")).unwrap(), b"old");
    }
}
