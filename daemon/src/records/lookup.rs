//! Which keys there are, and how they are: answered by the index.

use std::sync::Arc;

use trust::format::tuf::Gun;
use trust::{KeyId, KeyName, KeyRef, Purpose, Repository, Sha256Digest};
use trust_hsm::Material;

use super::index::Index;
use super::{KeyState, KeyView, RecordError, Records};

impl Records {
    /// Whether this version of a key is known: a completed creation or rotation in the log must be (D17).
    ///
    /// # Errors
    /// [`RecordError::Sealed`].
    pub(crate) fn knows_version(&self, key: KeyRef) -> Result<bool, RecordError> {
        self.read(|index| index.entry(key.id).is_some_and(|entry| key.version <= entry.state.newest))
    }

    /// Whether a key has reached this epoch: a completed change of state in the log must have (D17).
    ///
    /// # Errors
    /// [`RecordError::Sealed`].
    pub(crate) fn knows_epoch(&self, id: KeyId, epoch: u64) -> Result<bool, RecordError> {
        self.read(|index| index.entry(id).is_some_and(|entry| epoch <= entry.state.epoch))
    }

    /// The state of a key now, and whether `material` still is one of this version's: what custody rechecks
    /// immediately before the key moves (D10). Never blocks on a disk.
    ///
    /// # Errors
    /// [`RecordError::Sealed`], [`RecordError::Missing`].
    pub(crate) fn state_for(&self, key: KeyRef, material: &Material) -> Result<(KeyState, bool), RecordError> {
        let found = |index: &Index| {
            index.entry(key.id).map(|entry| (entry.state.clone(), entry.has_material(key.version, material)))
        };
        self.read(found)?.ok_or(RecordError::Missing)
    }

    /// The state of a key now. Never blocks on a disk.
    ///
    /// # Errors
    /// [`RecordError::Sealed`], [`RecordError::Missing`].
    pub(crate) fn state_now(&self, id: KeyId) -> Result<KeyState, RecordError> {
        self.read(|index| index.entry(id).map(|entry| entry.state.clone()))?.ok_or(RecordError::Missing)
    }

    /// How many keys there are, destroyed ones too.
    ///
    /// # Errors
    /// [`RecordError::Sealed`].
    pub(crate) fn key_count(&self) -> Result<usize, RecordError> {
        self.read(Index::key_count)
    }

    /// The key of this id.
    ///
    /// # Errors
    /// [`RecordError::Sealed`], [`RecordError::Damaged`].
    pub(crate) async fn key_by_id(&self, id: KeyId) -> Result<Option<KeyView>, RecordError> {
        self.read(|index| index.entry(id).cloned())?.map(|entry| entry.view()).transpose()
    }

    /// The key of this name.
    ///
    /// # Errors
    /// [`RecordError::Sealed`], [`RecordError::Damaged`].
    pub(crate) async fn key_by_name(&self, name: &KeyName) -> Result<Option<KeyView>, RecordError> {
        self.read(|index| index.by_name(name).cloned())?.map(|entry| entry.view()).transpose()
    }

    /// The keys whose name comes after `after`, in the order of their names; at most `limit`.
    ///
    /// # Errors
    /// [`RecordError::Sealed`], [`RecordError::Damaged`].
    pub(crate) async fn list(&self, after: Option<&KeyName>, limit: usize) -> Result<Vec<KeyView>, RecordError> {
        let entries = self.read(|index| index.list(after, limit.min(Self::PAGE_MAX)))?;
        entries.iter().map(|entry| entry.view()).collect()
    }

    /// The keys of this purpose whose scope covers `repository` and whose signatures count, in the order of their
    /// ids, those after `after`; at most `limit`.
    ///
    /// Distrusted keys are not among them, destroyed ones are: their old signatures count.
    ///
    /// # Errors
    /// [`RecordError::Sealed`], [`RecordError::Damaged`].
    pub(crate) async fn trusted_for(
        &self,
        repository: &Repository,
        purpose: Purpose,
        after: Option<KeyId>,
        limit: usize,
    ) -> Result<Vec<KeyView>, RecordError> {
        let entries = self.read(|index| index.trusted_for(repository, purpose, after, limit.min(Self::PAGE_MAX)))?;
        entries.iter().map(|entry| entry.view()).collect()
    }

    /// The same of the keys without scope.
    ///
    /// # Errors
    /// [`RecordError::Sealed`], [`RecordError::Damaged`].
    pub(crate) async fn trusted_unbound(
        &self,
        purpose: Purpose,
        mut after: Option<KeyId>,
        limit: usize,
    ) -> Result<Vec<KeyView>, RecordError> {
        let limit = limit.min(Self::PAGE_MAX);
        let mut found = Vec::new();
        loop {
            let left = limit.saturating_sub(found.len());
            let (entries, next) = self.read(|index| index.trusted_unbound(purpose, after, left))?;
            for entry in entries {
                found.push(entry.view()?);
            }
            if next.is_none() || found.len() >= limit {
                return Ok(found);
            }
            after = next;
            // Somebody else on this thread has a turn.
            tokio::task::yield_now().await;
        }
    }

    /// The keys of this purpose for a repository of trust data, the oldest first; at most [`Records::PAGE_MAX`].
    ///
    /// # Errors
    /// [`RecordError::Sealed`], [`RecordError::Damaged`].
    pub(crate) fn keys_of(&self, gun: &Gun, purpose: Purpose) -> Result<Vec<KeyView>, RecordError> {
        let entries = self.read(|index| index.of_gun(gun, purpose))?;
        entries.iter().take(Self::PAGE_MAX).map(|entry| entry.view()).collect()
    }

    /// The key for trust data that metadata knows by this id (TUF's, not the one of a key record), and which version.
    ///
    /// # Errors
    /// [`RecordError::Sealed`], [`RecordError::Damaged`].
    pub(crate) fn key_by_trust_id(&self, id: Sha256Digest) -> Result<Option<(KeyRef, KeyView)>, RecordError> {
        let found = self.read(|index| index.by_trust_id(id).map(|(key, entry)| (key, Arc::clone(entry))))?;
        found.map(|(key, entry)| Ok((key, entry.view()?))).transpose()
    }

    /// How many keys are for trust data, and how many of them are neither destroyed nor scheduled for it.
    ///
    /// # Errors
    /// [`RecordError::Sealed`].
    pub(crate) fn trust_key_count(&self) -> Result<(usize, usize), RecordError> {
        self.read(Index::trust_key_count)
    }
}
