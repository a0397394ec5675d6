//! Whether the files of a repository belong together.

use super::certificate::{Ended, root_authority};
use super::{Document, Gun, NotMet, Repository, RoleName};

/// Why files do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "closed set")]
pub enum NotWhole {
    /// A file is another one than is named.
    #[error("{by} names another file of {role}")]
    Differs {
        /// The file that names it.
        by: RoleName,
        /// Whose file it is.
        role: RoleName,
    },
    /// A file is missing.
    #[error("there is no file of {0}")]
    Missing(RoleName),
    /// No certificate in root is good for the repository.
    #[error("no certificate of root is good for this repository")]
    NoCertificate,
    /// A file is not signed by enough of those who may.
    #[error(transparent)]
    NotMet(#[from] NotMet),
}

impl Repository {
    /// Whether its files may be shown together: the four are signed for, the timestamp names the snapshot, and the
    /// snapshot names every other file and no more.
    ///
    /// It does not look at what has expired, nor at signatures of delegations: whoever reads one does.
    ///
    /// # Errors
    /// [`NotWhole`] says what does not belong there.
    pub fn check_whole(&self, gun: &Gun, now_unix_seconds: i64) -> Result<(), NotWhole> {
        let [root, targets, snapshot, timestamp] =
            [RoleName::Root, RoleName::Targets, RoleName::Snapshot, RoleName::Timestamp];
        let said = self.root().ok_or_else(|| NotWhole::Missing(root.clone()))?;
        let authority = root_authority(said, gun, now_unix_seconds, Ended::Counts).ok_or(NotWhole::NoCertificate)?;
        self.there(&root)?.verify(&authority)?;
        for role in [&targets, &snapshot, &timestamp] {
            let missing = || NotWhole::Missing(role.clone());
            self.there(role)?.verify(&self.authority(role).ok_or_else(missing)?)?;
        }
        let differs = |by: &RoleName, role: &RoleName| NotWhole::Differs { by: by.clone(), role: role.clone() };
        let newest = self.there(&timestamp)?.as_timestamp().ok_or_else(|| NotWhole::Missing(timestamp.clone()))?;
        let named = self.there(&snapshot)?;
        if !newest.snapshot().is_of(named.raw()) {
            return Err(differs(&timestamp, &snapshot));
        }
        let files = named.as_snapshot().ok_or_else(|| NotWhole::Missing(snapshot.clone()))?.files();
        for (role, meta) in files {
            if !meta.is_of(self.there(role)?.raw()) {
                return Err(differs(&snapshot, role));
            }
        }
        let unnamed = self
            .files()
            .keys()
            .find(|role| !matches!(role, RoleName::Snapshot | RoleName::Timestamp) && !files.contains_key(role));
        unnamed.map_or(Ok(()), |role| Err(differs(&snapshot, role)))
    }

    fn there(&self, role: &RoleName) -> Result<&Document, NotWhole> {
        self.file(role).ok_or_else(|| NotWhole::Missing(role.clone()))
    }
}
