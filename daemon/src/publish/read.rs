//! What clients read: the current generation, older files by version or hash, and what changed.

use bytes::Bytes;
use trust::format::tuf::{BYTES_MAX, Document, Gun, RoleName, Version};
use trust::{Principal, Sha256Digest};

use super::shelf::{Generation, Look};
use super::{Change, PublishError, Publisher, Window};
use crate::authorize::Action;
use crate::records::{FileRef, StoredFile};

/// A file as it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    /// Exactly as it was sent, or signed.
    pub(crate) bytes: Bytes,
    /// When: seconds since the Unix epoch.
    pub(crate) stored_at_unix_seconds: u64,
    /// Which version.
    pub(crate) version: Version,
    /// Whether nobody else has these bytes: they were read for this answer alone.
    pub(crate) is_own: bool,
}

/// A file on the shelf, whose bytes are not copied for each who reads it.
struct Shelved(Document);

impl AsRef<[u8]> for Shelved {
    fn as_ref(&self) -> &[u8] {
        self.0.raw()
    }
}

impl From<StoredFile> for Served {
    fn from(file: StoredFile) -> Self {
        Self {
            bytes: file.bytes.into(),
            stored_at_unix_seconds: file.place.stored_at_unix_seconds,
            version: file.place.version,
            is_own: true,
        }
    }
}

impl Generation {
    fn served(&self, role: &RoleName) -> Option<Served> {
        let (file, place) = (self.repository.file(role)?, self.head.files.get(role)?);
        Some(Served {
            bytes: Bytes::from_owner(Shelved(file.clone())),
            stored_at_unix_seconds: place.stored_at_unix_seconds,
            version: place.version,
            is_own: false,
        })
    }
}

impl Look {
    /// The current file of a role, where it is on the shelf and the one that is asked for.
    fn current(&self, role: &RoleName, is_asked_for: impl FnOnce(&FileRef) -> bool) -> Option<Served> {
        let Self::Whole(generation) = self else { return None };
        generation.head.files.get(role).is_some_and(is_asked_for).then(|| generation.served(role))?
    }
}

impl Publisher<'_> {
    /// The current file of a role. A timestamp or snapshot that has expired is signed anew first (SPEC §2.9).
    ///
    /// # Errors
    /// [`PublishError::NotFound`] when there is none; else [`PublishError`].
    pub(crate) async fn current(self, who: &Principal, gun: &Gun, role: &RoleName) -> Result<Served, PublishError> {
        self.may_read(who, gun)?;
        let is_renewed = matches!(role, RoleName::Snapshot | RoleName::Timestamp);
        let generation = match self.look(gun).await? {
            Look::Whole(generation) => generation,
            Look::Head(head) => {
                let version = head.files.get(role).ok_or(PublishError::NotFound)?.version;
                if !is_renewed {
                    return self.stored(gun, head.life, role, version).await;
                }
                self.outline(gun, head).await?
            }
        };
        let generation = if is_renewed { self.fresh(gun, generation).await? } else { generation };
        generation.served(role).ok_or(PublishError::NotFound)
    }

    /// A file of a role by its SHA-256.
    ///
    /// # Errors
    /// [`PublishError::NotFound`] when there is none; else [`PublishError`].
    pub(crate) async fn by_hash(
        self,
        who: &Principal,
        gun: &Gun,
        role: &RoleName,
        sha256: Sha256Digest,
    ) -> Result<Served, PublishError> {
        let look = self.alive(who, gun).await?;
        if let Some(served) = look.current(role, |place| place.sha256 == sha256) {
            return Ok(served);
        }
        let life = look.head().life;
        let version = self.0.records().version_of(gun, life, role, sha256).await?;
        self.stored(gun, life, role, version.ok_or(PublishError::NotFound)?).await
    }

    /// A file of a role by its version.
    ///
    /// # Errors
    /// [`PublishError::NotFound`] when there is none; else [`PublishError`].
    pub(crate) async fn by_version(
        self,
        who: &Principal,
        gun: &Gun,
        role: &RoleName,
        version: Version,
    ) -> Result<Served, PublishError> {
        let look = self.alive(who, gun).await?;
        if let Some(served) = look.current(role, |place| place.version == version) {
            return Ok(served);
        }
        self.stored(gun, look.head().life, role, version).await
    }

    /// What changed, in one repository or in all.
    ///
    /// # Errors
    /// [`PublishError`].
    pub(crate) async fn changes(
        self,
        who: &Principal,
        gun: Option<&Gun>,
        window: Window,
    ) -> Result<Vec<Change>, PublishError> {
        match gun {
            Some(gun) => self.may_read(who, gun)?,
            None => drop(self.0.allow(who, Action::ListTrust)?),
        }
        Ok(self.0.records().changes(gun, window).await?)
    }

    /// The repository, if there is trust data that the principal may read.
    async fn alive(self, who: &Principal, gun: &Gun) -> Result<Look, PublishError> {
        self.may_read(who, gun)?;
        let look = self.look(gun).await?;
        if look.head().is_alive() { Ok(look) } else { Err(PublishError::NotFound) }
    }

    async fn stored(self, gun: &Gun, life: u32, role: &RoleName, version: Version) -> Result<Served, PublishError> {
        // As long as one may be: nobody knows before it is read.
        let longest = u64::try_from(BYTES_MAX).unwrap_or(u64::MAX);
        let _room = self.0.shelf().room_to_read(longest).await?;
        let file = self.0.records().file(gun, life, role, version).await?;
        file.map(Served::from).ok_or(PublishError::NotFound)
    }
}
