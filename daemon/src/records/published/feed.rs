//! What changed, in all repositories or in one: numbered from 1 without a gap, in the order of the store's writes.

use trust::Sha256Digest;
use trust::format::tuf::{Gun, Version};

use super::super::crypto::Keys;
use super::super::{RecordError, Records, layout};
use super::{not_as_left, stored};

/// A change of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// Its number among all changes.
    pub(crate) id: u64,
    /// When it was made: milliseconds since the Unix epoch.
    pub(crate) made_at_unix_ms: u64,
    /// Of which repository.
    pub(crate) gun: Gun,
    /// What it was.
    pub(crate) kind: ChangeKind,
}

/// What a change was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// Trust data was deleted.
    Deletion,
    /// Something was published, or signed anew: its timestamp.
    Update {
        /// The timestamp's version.
        version: Version,
        /// The timestamp's hash.
        sha256: Sha256Digest,
    },
}

/// Which changes are asked for; they are answered with the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    /// The oldest `count` with a number above `id`.
    After {
        /// 0 for the first ones.
        id: u64,
        /// At most [`Records::CHANGES_MAX`]; more is cut.
        count: usize,
    },
    /// The newest `count` with a number below `id`.
    Before {
        /// None for the newest of all.
        id: Option<u64>,
        /// At most [`Records::CHANGES_MAX`]; more is cut.
        count: usize,
    },
}

impl Records {
    /// The most changes of one answer.
    pub(crate) const CHANGES_MAX: usize = 1000;

    /// Changes of one repository, or of all.
    ///
    /// # Errors
    /// [`RecordError::Sealed`], [`RecordError::Closed`], [`RecordError::Damaged`].
    pub(crate) async fn changes(&self, gun: Option<&Gun>, window: Window) -> Result<Vec<Change>, RecordError> {
        let open = self.opened()?;
        let feed = match gun {
            None => Feed { records: self, keys: &open.keys, gun: None, length: self.last_change_of_all()? },
            Some(gun) => {
                let length = self.head(gun).await?.changes;
                Feed { records: self, keys: &open.keys, gun: Some(layout::gun_hash(&open.keys, gun)), length }
            }
        };
        let (first, count) = match window {
            Window::After { id, count } => (feed.place_after(id).await?, count),
            Window::Before { id, count } => {
                let end = match id {
                    Some(id) => feed.place_after(id.saturating_sub(1)).await?,
                    None => feed.length.saturating_add(1),
                };
                let count = u64::try_from(count.min(Self::CHANGES_MAX)).unwrap_or(u64::MAX);
                let first = end.saturating_sub(count).max(1);
                (first, usize::try_from(end.saturating_sub(first)).unwrap_or_default())
            }
        };
        let mut changes = Vec::new();
        for place in (first..=feed.length).take(count.min(Self::CHANGES_MAX)) {
            // A copy of the store that was taken while others published may lack some.
            if let Some(id) = feed.id_at(place).await? {
                changes.extend(feed.change(id).await?);
            }
        }
        Ok(changes)
    }

    fn last_change_of_all(&self) -> Result<u64, RecordError> {
        self.read(|index| index.published.last_change)
    }
}

/// The changes of all repositories, or of one, by their places: 1 to `length`.
struct Feed<'a> {
    records: &'a Records,
    keys: &'a Keys,
    gun: Option<[u8; 32]>,
    length: u64,
}

impl Feed<'_> {
    /// The place of the first change whose number is above `id`.
    async fn place_after(&self, id: u64) -> Result<u64, RecordError> {
        if self.gun.is_none() {
            return Ok(id.saturating_add(1));
        }
        let (mut low, mut high) = (1, self.length.saturating_add(1));
        while low < high {
            let middle = low.midpoint(high);
            match self.id_at(middle).await? {
                Some(at) if at > id => high = middle,
                _ => low = middle.saturating_add(1),
            }
        }
        Ok(low)
    }

    async fn id_at(&self, place: u64) -> Result<Option<u64>, RecordError> {
        let Some(gun) = self.gun else { return Ok(Some(place)) };
        let key = layout::gun_change(&gun, place);
        let Some(row) = self.records.0.store.fetch(&key).await? else { return Ok(None) };
        let read = self.keys.open(&key, row.value);
        let id = read.and_then(|(plain, _)| plain.as_slice().try_into().ok().map(u64::from_be_bytes));
        id.map(Some).ok_or_else(|| not_as_left(&layout::describe(&key)))
    }

    async fn change(&self, id: u64) -> Result<Option<Change>, RecordError> {
        let key = layout::change(id);
        let Some(row) = self.records.0.store.fetch(&key).await? else { return Ok(None) };
        let read = self.keys.open(&key, row.value).and_then(|(plain, _)| stored::read_change(id, &plain));
        read.map(Some).ok_or_else(|| not_as_left(&layout::describe(&key)))
    }
}
