//! What a client believes of a repository: one file for each role in a directory of its own.

use std::path::{Path, PathBuf};

use trust::format::tuf::standard::file_name;

use super::file_bytes_max;
use crate::failure::Failure;
use crate::files::{self, Existing, Lock};

const MODE: u32 = 0o600;
const ROOT: &str = "root";

/// The directory, held against others of our kind.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    #[expect(dead_code, reason = "dropping it lets others in")]
    lock: Lock,
}

impl Store {
    /// Opens the directory, which is made where it is not there.
    pub(super) fn open(directory: &Path) -> Result<Self, Failure> {
        let lock = Lock::of(directory).map_err(|error| {
            Failure::usage(format!("open the directory {}", directory.display()), "name one that you may write")
                .because(error)
        })?;
        Ok(Self { directory: directory.to_path_buf(), lock })
    }

    /// The root that is believed.
    pub(super) fn root(&self) -> Result<Vec<u8>, Failure> {
        let remedy = "`trustctl tuf-client --metadata-dir DIRECTORY init ROOT` begins with a root that you trust";
        self.read(ROOT)?.ok_or_else(|| Failure::refused(format!("no root in {}", self.directory.display()), remedy))
    }

    /// Begins with a root. One that is there stays: whoever trusts another begins in another directory.
    pub(super) fn begin(&self, root: &[u8]) -> Result<(), Failure> {
        let place = self.place(ROOT);
        match self.read(ROOT)? {
            Some(there) if there == root => Ok(()),
            Some(_) => Err(Failure::refused(
                format!("{} holds a root that is believed", self.directory.display()),
                "to begin anew name another directory, or remove this one",
            )),
            None => files::write(&place, root, MODE, Existing::Keep).map_err(|error| unwritten(&place, error)),
        }
    }

    /// What is believed of a role.
    pub(super) fn read(&self, role: &str) -> Result<Option<Vec<u8>>, Failure> {
        let place = self.place(role);
        let read = files::read(&place, file_bytes_max()).map_err(|error| {
            Failure::other(format!("read {}", place.display()), "may you read it? remove it if it is not ours")
                .because(error)
        });
        Ok(read?.map(|(bytes, _)| bytes))
    }

    /// Believes this of a role from now on.
    pub(super) fn write(&self, role: &str, bytes: &[u8]) -> Result<(), Failure> {
        let place = self.place(role);
        files::write(&place, bytes, MODE, Existing::Replace).map_err(|error| unwritten(&place, error))
    }

    fn place(&self, role: &str) -> PathBuf {
        self.directory.join(format!("{}.json", file_name(role)))
    }
}

fn unwritten(place: &Path, error: std::io::Error) -> Failure {
    Failure::other(format!("write {}", place.display()), "is there room, and may you write there?").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_is_believed_is_not_replaced_by_beginning_again() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.root().unwrap_err().exit().code(), 1);

        store.begin(b"one").unwrap();
        store.begin(b"one").unwrap();

        assert_eq!(store.begin(b"two").unwrap_err().exit().code(), 1);
        assert_eq!(store.root().unwrap(), b"one");
    }

    #[test]
    fn a_role_by_any_name_stays_in_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("metadata")).unwrap();

        for role in ["..", ".", "../out", "/root", "a/b", "\u{1f37a}"] {
            store.write(role, role.as_bytes()).unwrap();
            assert_eq!(store.read(role).unwrap().unwrap(), role.as_bytes());
        }

        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read_dir(directory.path().join("metadata")).unwrap().count(), 6);
    }
}
