//! Trust data at hand: what is current, parsed; whose turn it is; and what is left alone for a while.

mod waiting;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use trust::Fault;
use trust::format::tuf::{Gun, Repository, RoleName};

use crate::records::Head;

use self::waiting::Waiting;

pub(crate) use self::waiting::{Turn, Waiter};

/// The most bytes of files on the shelf; beyond, it is cleared and filled anew.
const BYTES_MAX: u64 = 128 * 1024 * 1024;
/// The most bytes of one repository on it.
const ONE_BYTES_MAX: u64 = BYTES_MAX / 8;
/// The most repositories on it.
const REPOSITORIES_MAX: usize = 8192;
/// The most bytes of files, in MiB, that are being read from the store at the same time: parsed they take several times as
/// much, and whoever asks sends a line for them. All files of one repository are not longer.
const READING_MIB_MAX: u32 = 64;
/// The most repositories that are left alone for a while.
const RESTING_MAX: usize = 8192;

/// A repository as one head names it.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) head: Head,
    pub(crate) repository: Repository,
}

/// One for all doors.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    generations: Mutex<Generations>,
    waiting: Waiting,
    reading: Reading,
    /// Until when what has expired is not signed anew, in time of the clock's `monotonic`.
    resting: Mutex<HashMap<Gun, Duration>>,
}

#[derive(Debug, Default)]
struct Generations {
    by_gun: HashMap<Gun, Arc<Generation>>,
    bytes: u64,
}

/// Places for what is read from the store, one for each MiB.
#[derive(Debug)]
struct Reading(Semaphore);

impl Default for Reading {
    fn default() -> Self {
        Self(Semaphore::new(usize::try_from(READING_MIB_MAX).unwrap_or(usize::MAX)))
    }
}

impl Shelf {
    /// The repository, where it is here as the head of that serial names it.
    pub(crate) fn find(&self, gun: &Gun, serial: u64) -> Option<Arc<Generation>> {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.by_gun.get(gun).filter(|generation| generation.head.serial == serial).cloned()
    }

    /// Whether a repository with this head is not too long for it.
    pub(crate) fn has_place(head: &Head) -> bool {
        bytes_of(head) <= ONE_BYTES_MAX
    }

    /// Puts a generation in the place of an older one.
    pub(crate) fn put(&self, gun: &Gun, generation: Arc<Generation>) {
        if !Self::has_place(&generation.head) {
            return;
        }
        let added = bytes_of(&generation.head);
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

    /// Waits until so many bytes may be read from the store, too.
    ///
    /// # Errors
    /// None that can come: the places are never closed.
    pub(crate) async fn room_to_read(&self, length_bytes: u64) -> Result<SemaphorePermit<'_>, Fault> {
        let mib = u32::try_from(length_bytes >> 20).unwrap_or(u32::MAX).saturating_add(1).min(READING_MIB_MAX);
        self.reading.0.acquire_many(mib).await.map_err(Fault::internal)
    }

    /// Has what has expired of a repository not signed anew until then: each try that fails behind its reservation uses up
    /// versions.
    pub(crate) fn rest(&self, gun: &Gun, now: Duration, until: Duration) {
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
    pub(crate) fn is_resting(&self, gun: &Gun, now: Duration) -> bool {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).get(gun).is_some_and(|until| *until > now)
    }

    /// Waits, at most so long, until nobody else changes the repository.
    ///
    /// # Errors
    /// [`FaultKind::Busy`](trust::FaultKind::Busy) where as many wait as may, [`FaultKind::Late`](trust::FaultKind::Late).
    pub(crate) async fn turn(&self, gun: &Gun, waiter: &Waiter, patience: Duration) -> Result<Turn, Fault> {
        self.waiting.turn(gun, waiter, patience).await
    }
}

/// What a repository takes on the shelf: what was parsed of a file takes about as much as the file.
fn bytes_of(head: &Head) -> u64 {
    length_of(head, |_| true).saturating_mul(3)
}

/// How long the files of these roles are together, in bytes.
pub(crate) fn length_of(head: &Head, is_wanted: impl Fn(&RoleName) -> bool) -> u64 {
    let wanted = head.files.iter().filter(|(role, _)| is_wanted(role));
    wanted.map(|(_, place)| place.length_bytes).fold(0, u64::saturating_add)
}
