//! What is current, parsed and at hand; whose turn it is; and what is left alone for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use trust::format::tuf::{Document, Gun, Repository, RoleName};

use super::{PublishError, Publisher};
use crate::records::{Head, RecordError, Records};

/// The most bytes of files on the shelf; beyond, it is cleared and filled anew.
const BYTES_MAX: u64 = 128 * 1024 * 1024;
/// The most bytes of one repository on it.
const ONE_BYTES_MAX: u64 = BYTES_MAX / 8;
/// The most repositories on it.
const REPOSITORIES_MAX: usize = 8192;
/// How many wait for their turn at one repository; more are busy.
const WAITING_MAX: usize = 64;
/// From how many repositories on those that nobody waits for are forgotten.
const TURNS_KEPT: usize = 1024;
/// The most repositories that are left alone for a while.
const RESTING_MAX: usize = 8192;

/// A repository as one head names it.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) head: Head,
    pub(super) repository: Repository,
}

/// One for all doors.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    generations: Mutex<Generations>,
    turns: Mutex<HashMap<Gun, Arc<tokio::sync::Mutex<()>>>>,
    /// Until when what has expired is not signed anew, in time of the clock's `monotonic`.
    resting: Mutex<HashMap<Gun, Duration>>,
}

#[derive(Debug, Default)]
struct Generations {
    by_gun: HashMap<Gun, Arc<Generation>>,
    bytes: u64,
}

/// The right to change a repository, until it is dropped.
#[must_use]
pub(super) struct Turn {
    _held: OwnedMutexGuard<()>,
}

impl Shelf {
    fn find(&self, gun: &Gun, serial: u64) -> Option<Arc<Generation>> {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.by_gun.get(gun).filter(|generation| generation.head.serial == serial).cloned()
    }

    /// Puts a generation in the place of an older one.
    pub(super) fn put(&self, gun: &Gun, generation: Arc<Generation>) {
        let added = bytes_of(&generation.head);
        if added > ONE_BYTES_MAX {
            return;
        }
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if generations.by_gun.get(gun).is_some_and(|held| held.head.serial > generation.head.serial) {
            return;
        }
        let is_full = generations.by_gun.len() >= REPOSITORIES_MAX;
        let old = if is_full || generations.bytes.saturating_add(added) > BYTES_MAX {
            std::mem::take(&mut *generations)
        } else {
            Generations::default()
        };
        generations.bytes = generations.bytes.saturating_add(added);
        if let Some(replaced) = generations.by_gun.insert(gun.clone(), generation) {
            generations.bytes = generations.bytes.saturating_sub(bytes_of(&replaced.head));
        }
        drop(generations);
        // Thousands of files: not while others wait for the lock.
        drop(old);
    }

    /// Has what has expired of a repository not signed anew until then: each try that fails behind its reservation uses up
    /// versions.
    pub(super) fn rest(&self, gun: &Gun, now: Duration, until: Duration) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        if resting.len() >= RESTING_MAX {
            resting.retain(|_, until| *until > now);
        }
        if resting.len() >= RESTING_MAX {
            resting.clear();
        }
        resting.insert(gun.clone(), until);
    }

    /// Whether it is left alone still.
    pub(super) fn is_resting(&self, gun: &Gun, now: Duration) -> bool {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).get(gun).is_some_and(|until| *until > now)
    }

    /// Waits until nobody else changes the repository.
    pub(super) async fn turn(&self, gun: &Gun) -> Result<Turn, PublishError> {
        let lock = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            if turns.len() >= TURNS_KEPT {
                turns.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            let lock = turns.entry(gun.clone()).or_default();
            if Arc::strong_count(lock) > WAITING_MAX {
                return Err(PublishError::Busy);
            }
            Arc::clone(lock)
        };
        Ok(Turn { _held: lock.lock_owned().await })
    }
}

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

/// What a repository takes on the shelf: what was parsed of a file takes about as much as the file.
fn bytes_of(head: &Head) -> u64 {
    head.files.values().map(|place| place.length_bytes.saturating_mul(3)).fold(0, u64::saturating_add)
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
        if !head.is_alive() || bytes_of(&head) > ONE_BYTES_MAX {
            return Ok(Look::Head(head));
        }
        self.shelved(gun, head).await.map(Look::Whole)
    }

    /// Of a repository that has no place on the shelf: what says whether its snapshot and timestamp count, and who may
    /// sign others.
    pub(super) async fn outline(self, gun: &Gun, head: Head) -> Result<Arc<Generation>, PublishError> {
        let is_wanted = |role: &RoleName| matches!(role, RoleName::Root | RoleName::Snapshot | RoleName::Timestamp);
        Ok(Arc::new(Generation::read_roles(self.0.records(), gun, head, is_wanted).await?))
    }

    /// Reads all that a head names, for the shelf.
    async fn shelved(self, gun: &Gun, head: Head) -> Result<Arc<Generation>, PublishError> {
        let generation = Arc::new(Generation::read(self.0.records(), gun, head).await?);
        if generation.head.is_alive() {
            self.0.shelf().put(gun, Arc::clone(&generation));
        }
        Ok(generation)
    }
}
