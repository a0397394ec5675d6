//! Puts all signatures of a release into its directory, or none.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use trust::format::release::manifest;

use super::answer::Files;
use crate::failure::Failure;
use crate::files::Existing;

/// Permissions of signatures: they are public.
const MODE: u32 = 0o644;

/// A directory that goes with all that is in it, whatever happened in between.
///
/// It lies in the release's own, so that a file can move from one to the other; one that a killed process left is no
/// file, so neither `release sign` nor `release verify` overlooks it.
#[derive(Debug)]
struct Staging(PathBuf);

impl Drop for Staging {
    fn drop(&mut self) {
        // Nobody is left to tell; the next run names it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Staging {
    fn in_directory(directory: &Path) -> io::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let path = directory.join(format!(".trustctl-{}", hex::encode(random)));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(self.0.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn place(&self, name: &str, at: &Path, existing: Existing) -> io::Result<()> {
        match existing {
            Existing::Replace => std::fs::rename(self.0.join(name), at),
            // A link, unlike a rename, fails where the name is taken.
            Existing::Keep => std::fs::hard_link(self.0.join(name), at),
        }
    }
}

/// Writes everything elsewhere first, then puts it in its place. The manifest comes last: without it, nothing verifies.
pub(super) fn write(directory: &Path, output: &Files, existing: Existing) -> Result<(), Failure> {
    let staging = Staging::in_directory(directory).map_err(|error| unwritable(directory, error))?;
    for (name, bytes) in output {
        staging.write(name, bytes).map_err(|error| unwritable(&directory.join(name), error))?;
    }
    let (last, rest): (Vec<_>, Vec<_>) = output.keys().partition(|name| *name == manifest::NAME);
    let mut placed: Vec<PathBuf> = Vec::new();
    if existing == Existing::Replace && output.contains_key(manifest::NAME) {
        // A mixture of old and new signatures must not verify as the old release.
        let old = directory.join(manifest::NAME);
        match std::fs::remove_file(&old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unwritable(&old, error)),
            _ => {}
        }
    }
    for name in rest.into_iter().chain(last) {
        let at = directory.join(name);
        if let Err(error) = staging.place(name, &at, existing) {
            if existing == Existing::Keep {
                take_back(&placed);
            }
            return Err(unwritable(&at, error));
        }
        placed.push(at);
    }
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| unwritable(directory, error))
}

/// What was placed before one could not be goes again; none of it was there before.
fn take_back(placed: &[PathBuf]) {
    for path in placed {
        // The failure that led here is the one to hear of.
        let _ = std::fs::remove_file(path);
    }
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
        let entries = std::fs::read_dir(directory).unwrap();
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
        assert_eq!(std::fs::read(directory.path().join("z.sig")).unwrap(), b"new");
    }

    #[test]
    fn a_name_that_was_taken_meanwhile_takes_everything_back() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("z.sig"), "old").unwrap();

        let failure = write(directory.path(), &output(), Existing::Keep).unwrap_err();

        assert!(failure.what().contains("z.sig"), "{failure:?}");
        assert_eq!(names(directory.path()), ["z.sig"]);
        assert_eq!(std::fs::read(directory.path().join("z.sig")).unwrap(), b"old");
        write(directory.path(), &output(), Existing::Replace).unwrap();
        assert_eq!(std::fs::read(directory.path().join("z.sig")).unwrap(), b"new");
    }

    #[test]
    fn where_one_cannot_be_written_the_manifest_is_not_either() {
        let directory = tempfile::tempdir().unwrap();
        // A directory gives way to no file, by whatever verb.
        std::fs::create_dir(directory.path().join("z.sig")).unwrap();

        assert!(write(directory.path(), &output(), Existing::Replace).is_err());

        assert!(!names(directory.path()).contains(&manifest::NAME.to_owned()));
    }
}
