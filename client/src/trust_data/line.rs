//! The metadata that was believed last, by server, repository and pinned root: nobody takes us behind it.

use std::path::{Path, PathBuf};

use trust::Sha256Digest;
use trust::format::tuf::standard::file_name;
use trust::format::tuf::{BYTES_MAX, Document, Gun, Repository, RoleName};

use super::visit;
use crate::failure::Failure;
use crate::files::{self, Existing, Lock};
use crate::trust_server::TrustRoot;

const MODE: u32 = 0o600;

/// One repository's directory, held against others of our kind.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
    #[expect(dead_code, reason = "dropping it lets others in")]
    lock: Lock,
}

impl Cache {
    /// Opens the directory below `state`. Whoever pins another root begins anew.
    pub(super) fn open(state: &Path, server: &str, gun: &Gun, root: Option<&TrustRoot>) -> Result<Self, Failure> {
        let pinned = match root {
            None => String::new(),
            Some(TrustRoot::Key(key)) => key.to_hex(),
            Some(TrustRoot::File(file)) => Sha256Digest::of(&read_root(file)?).to_hex(),
        };
        let name = Sha256Digest::of(format!("{server}\n{gun}\n{pinned}").as_bytes()).to_hex();
        let directory = state.join("trust-data").join(name);
        let lock = Lock::of(&directory).map_err(|error| unkept(&directory, error))?;
        Ok(Self { directory, lock })
    }

    /// What was believed last; `None` at the first time.
    pub(super) fn read(&self) -> Result<Option<Repository>, Failure> {
        let mut kept = Vec::new();
        for role in all_roles() {
            let place = self.place(&role);
            let limit = u64::try_from(BYTES_MAX).unwrap_or(u64::MAX);
            let Some((bytes, _)) = files::read(&place, limit).map_err(|error| damaged(&place).because(error))? else {
                continue;
            };
            kept.push(Document::read(&role, &bytes).map_err(|error| damaged(&place).because(error))?);
        }
        let has_root = kept.iter().any(|file| *file.role() == RoleName::Root);
        Ok(has_root.then(|| Repository::of(kept)))
    }

    /// Keeps what is believed now.
    pub(super) fn keep(&self, believed: Repository) -> Result<(), Failure> {
        for role in all_roles() {
            let place = self.place(&role);
            let kept = match believed.file(&role) {
                Some(file) => files::write(&place, file.raw(), MODE, Existing::Replace),
                None => match std::fs::remove_file(&place) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                },
            };
            kept.map_err(|error| unkept(&place, error))?;
        }
        Ok(())
    }

    fn place(&self, role: &RoleName) -> PathBuf {
        self.directory.join(format!("{}.json", file_name(role.as_str())))
    }
}

/// A root that somebody trusts, from a file.
pub(super) fn read_root(file: &Path) -> Result<Vec<u8>, Failure> {
    files::read_named(file, u64::try_from(BYTES_MAX).unwrap_or(u64::MAX))
}

fn all_roles() -> impl Iterator<Item = RoleName> {
    [RoleName::Root, RoleName::Timestamp, RoleName::Snapshot].into_iter().chain(visit::roles())
}

fn unkept(place: &Path, error: std::io::Error) -> Failure {
    Failure::other(format!("remember trust data in {}", place.display()), "is there room, and may you write there?")
        .because(error)
}

fn damaged(place: &Path) -> Failure {
    Failure::refused(
        format!("the trust data that was remembered in {} cannot be read", place.display()),
        "to begin anew remove the directory: then nothing protects from older data in this one visit",
    )
}
