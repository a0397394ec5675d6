//! What is current, from the shelf or read for it.

use std::sync::Arc;

use trust::format::tuf::{Document, Gun, Repository, RoleName};

use super::{PublishError, Publisher};
use crate::records::{Head, RecordError, Records};
use crate::shelf::{Shelf, length_of};

pub(super) use crate::shelf::{Generation, Turn, Waiter};

impl Generation {
    /// Reads what a head names.
    async fn read(records: &Records, gun: &Gun, head: Head) -> Result<Self, RecordError> {
        Self::read_roles(records, gun, head, |_| true).await
    }

    /// Reads what a head names, of these roles only.
    async fn read_roles(
        records: &Records,
        gun: &Gun,
        head: Head,
        is_wanted: impl Fn(&RoleName) -> bool,
    ) -> Result<Self, RecordError> {
        let mut files = Vec::with_capacity(head.files.len());
        for (role, place) in head.files.iter().filter(|(role, _)| is_wanted(role)) {
            files.push(file(records, gun, &head, role, place.version).await?);
        }
        let repository = match head.buried {
            Some(root) if files.is_empty() => {
                Repository::buried(file(records, gun, &head, &RoleName::Root, root.version).await?)
            }
            _ => Repository::of(files),
        };
        let repository = repository.with_marks(&head.marks);
        Ok(Self { head, repository })
    }
}

/// A file that a head names: it is there and reads, or the store is damaged.
async fn file(
    records: &Records,
    gun: &Gun,
    head: &Head,
    role: &RoleName,
    version: trust::format::tuf::Version,
) -> Result<Document, RecordError> {
    let damaged = || RecordError::Damaged { reason: "a published file is not as it was left".into() };
    let stored = records.file(gun, head.life, role, version).await?.ok_or_else(damaged)?;
    Document::read(role, &stored.bytes).map_err(|_| damaged())
}

/// What is at hand for whoever reads one file.
#[derive(Debug)]
pub(super) enum Look {
    /// All of it is on the shelf.
    Whole(Arc<Generation>),
    /// It has no place there: dead, or too long.
    Head(Head),
}

impl Look {
    pub(super) fn head(&self) -> &Head {
        match self {
            Self::Whole(generation) => &generation.head,
            Self::Head(head) => head,
        }
    }
}

impl Publisher<'_> {
    /// The repository as it is now.
    pub(super) async fn generation(self, gun: &Gun) -> Result<Arc<Generation>, PublishError> {
        let records = self.0.records();
        let serial = records.head_serial(gun)?;
        if let Some(generation) = self.0.shelf().find(gun, serial) {
            return Ok(generation);
        }
        let head = records.head(gun).await?;
        self.shelved(gun, head).await
    }

    /// The repository as it is now, for whoever reads one file: what has no place on the shelf is not read for it.
    pub(super) async fn look(self, gun: &Gun) -> Result<Look, PublishError> {
        let records = self.0.records();
        let serial = records.head_serial(gun)?;
        if let Some(generation) = self.0.shelf().find(gun, serial) {
            return Ok(Look::Whole(generation));
        }
        let head = records.head(gun).await?;
        if !head.is_alive() || !Shelf::has_place(&head) {
            return Ok(Look::Head(head));
        }
        self.shelved(gun, head).await.map(Look::Whole)
    }

    /// The repository as it is now; of one that has no place on the shelf its outline.
    pub(super) async fn outlined(self, gun: &Gun) -> Result<Arc<Generation>, PublishError> {
        match self.look(gun).await? {
            Look::Whole(generation) => Ok(generation),
            Look::Head(head) => self.outline(gun, head).await,
        }
    }

    /// Of a repository that has no place on the shelf: what says whether its snapshot and timestamp count, and who may
    /// sign others.
    pub(super) async fn outline(self, gun: &Gun, head: Head) -> Result<Arc<Generation>, PublishError> {
        let is_wanted = |role: &RoleName| matches!(role, RoleName::Root | RoleName::Snapshot | RoleName::Timestamp);
        let _places = self.0.shelf().room_to_read(length_of(&head, is_wanted)).await?;
        Ok(Arc::new(Generation::read_roles(self.0.records(), gun, head, is_wanted).await?))
    }

    /// Reads all that a head names, for the shelf.
    async fn shelved(self, gun: &Gun, head: Head) -> Result<Arc<Generation>, PublishError> {
        let shelf = self.0.shelf();
        let _places = shelf.room_to_read(length_of(&head, |_| true)).await?;
        // Whoever waited finds what somebody before has read.
        if let Some(generation) = shelf.find(gun, head.serial) {
            return Ok(generation);
        }
        let generation = Arc::new(Generation::read(self.0.records(), gun, head).await?);
        if generation.head.is_alive() {
            shelf.put(gun, Arc::clone(&generation));
        }
        Ok(generation)
    }
}
