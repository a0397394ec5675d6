//! Keys, replays and the log key, as authenticated rows of a store.
//!
//! Every row is sealed under keys derived from the store key, bound to store, kind, name and write, and counted
//! in the anchor row: a row that is altered, moved, replayed, removed or put back is noticed at unseal. Reads
//! answer from an index in memory, which only this process writes; writes go through one writer, which merges
//! what waits into one write of the store.
//!
//! Deliberately not here: who may do what (`authorize`), and any plaintext key (custody).

mod anchor;
mod crypto;
mod error;
mod index;
mod layout;
mod load;
mod lookup;
mod mutation;
mod published;
mod recheck;
mod replay;
mod saved;
mod snapshot;
mod stored;
mod types;
mod unseal;
mod writer;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Mutex, mpsc, oneshot};
use trust::{KeyId, KeyRef};
use trust_hsm::{Material, TokenName};

use crate::clock::Clock;
use crate::store::{self, Store, StoreError, StoreTrouble};

pub(crate) use self::error::{RecordError, UnsealError, has_left_nothing, record_fault};
pub(crate) use self::published::{
    Change, ChangeKind, FileRef, Head, OwnMarks, Proposal, ProposalSigner, ProposedFile, StoredFile, Window,
};
pub(crate) use self::replay::{Replay, ReplayLimits, StoredReplay};
pub(crate) use self::saved::SaveError;
pub(crate) use self::snapshot::Snapshot;
pub(crate) use self::types::{
    KeyRecord, KeyState, KeyView, LogAnchor, LogKey, Provenance, RecordLimits, SealedVersion, StateChange,
    VersionRecord,
};
pub(crate) use self::unseal::Rows;

use self::crypto::Keys;
use self::index::Index;
use self::mutation::Mutation;
use self::recheck::Recheck;
use self::writer::Waiting;

/// The records of one store. Cheap to clone; clones are the same records.
#[derive(Clone)]
pub(crate) struct Records(Arc<Inner>);

struct Inner {
    store: Store,
    store_uuid: [u8; 16],
    clock: Clock,
    limits: RecordLimits,
    open: RwLock<Option<Arc<Open>>>,
    /// Held while rows are written or read as a whole.
    gate: Mutex<()>,
    inbox: mpsc::Sender<Waiting>,
    /// Whether the format row is known to be of [`Records::FORMAT`].
    is_raised: AtomicBool,
}

/// What there is between unseal and seal.
struct Open {
    keys: Arc<Keys>,
    index: RwLock<Index>,
    /// How far the rows behind a saved index are read, while they are.
    recheck: std::sync::Mutex<Option<Recheck>>,
}

impl Records {
    /// The newest format of records this version reads; it writes this one. 1 knew no published trust data.
    pub(crate) const FORMAT: u32 = 2;
    /// The most changes that wait for the writer; more wait for a place in the queue.
    pub(crate) const QUEUE_MAX: usize = 1024;
    /// The most items a page has; a larger limit is cut to this.
    pub(crate) const PAGE_MAX: usize = 1024;

    /// The store's uuid: readable while sealed, authenticated at unseal.
    #[must_use]
    pub(crate) fn store_uuid(&self) -> [u8; 16] {
        self.0.store_uuid
    }

    /// What keeps the store from being written now.
    pub(crate) fn store_trouble(&self) -> Option<StoreTrouble> {
        self.0.store.trouble()
    }

    /// How far the log was at the last change: the log must contain this tree (D17).
    ///
    /// # Errors
    /// [`RecordError::Sealed`].
    pub(crate) fn anchor(&self) -> Result<LogAnchor, RecordError> {
        self.read(|index| index.anchor.log)
    }

    /// Adds a key with its first version, active and trusted; the answer is durable. If the caller goes away the
    /// change may still happen, as with every change here.
    ///
    /// # Errors
    /// [`RecordError::NameTaken`], [`RecordError::PublicKeyTaken`], [`RecordError::ReplayTaken`] and every other;
    /// nothing has changed then, but after [`RecordError::Closed`] that is not known.
    pub(crate) async fn create_key(
        &self,
        record: KeyRecord,
        first: VersionRecord,
        anchor: LogAnchor,
        replay: Option<Replay>,
    ) -> Result<KeyView, RecordError> {
        let id = record.id;
        let mutation = Mutation::CreateKey { record: Arc::new(record), first };
        self.change(mutation, Some(anchor), replay).await?;
        self.key_by_id(id).await?.ok_or(RecordError::Missing)
    }

    /// Adds the next version to a key that is of `expected_epoch` and active.
    ///
    /// # Errors
    /// [`RecordError::Moved`] when the epoch or the newest version is another, [`RecordError::Refused`] when the
    /// key is not active; as [`Records::create_key`].
    pub(crate) async fn add_version(
        &self,
        expected_epoch: u64,
        version: VersionRecord,
        anchor: LogAnchor,
        replay: Option<Replay>,
    ) -> Result<KeyView, RecordError> {
        let id = version.key.id;
        self.change(Mutation::AddVersion { expected_epoch, version }, Some(anchor), replay).await?;
        self.key_by_id(id).await?.ok_or(RecordError::Missing)
    }

    /// Changes the state of a key that is of `expected_epoch`. A change to [`trust::Use::Destroyed`] takes the sealed
    /// materials of every version away in the same write and leaves the key `shred_pending`; a token's objects stay
    /// named until [`Records::forget_object`].
    ///
    /// # Errors
    /// [`RecordError::Moved`] when the epoch is another, [`RecordError::Refused`] when the life of a key does not go
    /// that way; as [`Records::create_key`].
    pub(crate) async fn set_state(
        &self,
        id: KeyId,
        expected_epoch: u64,
        to: StateChange,
        anchor: LogAnchor,
        replay: Option<Replay>,
    ) -> Result<KeyView, RecordError> {
        self.change(Mutation::SetState { id, expected_epoch, to }, Some(anchor), replay).await?;
        self.key_by_id(id).await?.ok_or(RecordError::Missing)
    }

    /// The key versions that have material, after `after` in the order of id and version; at most `limit`. Pages
    /// of a rewrap: going on after the last one of a page is how it is resumed.
    ///
    /// # Errors
    /// [`RecordError::Sealed`], [`RecordError::Damaged`].
    pub(crate) async fn sealed_versions(
        &self,
        after: Option<KeyRef>,
        limit: usize,
    ) -> Result<Vec<SealedVersion>, RecordError> {
        self.read(|index| index.sealed_versions(after, limit.min(Self::PAGE_MAX)))?
    }

    /// Puts materials that were wrapped anew in the place of the old ones. A version that has been destroyed since
    /// stays without. Answers how many were replaced.
    ///
    /// # Errors
    /// [`RecordError::TooLarge`] for more than [`Records::PAGE_MAX`]; as [`Records::create_key`].
    pub(crate) async fn replace_materials(&self, items: Vec<(KeyRef, Vec<Material>)>) -> Result<usize, RecordError> {
        if items.len() > Self::PAGE_MAX {
            return Err(RecordError::TooLarge);
        }
        self.change(Mutation::ReplaceMaterials { items }, None, None).await
    }

    /// Every destroyed key whose sealed material may still lie in old pages.
    ///
    /// # Errors
    /// [`RecordError::Sealed`].
    pub(crate) fn shred_pending(&self) -> Result<Vec<KeyId>, RecordError> {
        self.read(Index::shred_pending)
    }

    /// Marks keys as shredded: every KEK version that ever sealed them has been destroyed. Answers how many.
    ///
    /// # Errors
    /// As [`Records::create_key`].
    pub(crate) async fn finish_shred(&self, ids: Vec<KeyId>) -> Result<usize, RecordError> {
        if ids.len() > Self::PAGE_MAX {
            return Err(RecordError::TooLarge);
        }
        self.change(Mutation::FinishShred { ids }, None, None).await
    }

    /// Destroyed keys whose objects a token may still have; at most [`Records::PAGE_MAX`].
    ///
    /// # Errors
    /// [`RecordError::Sealed`], [`RecordError::Damaged`].
    pub(crate) fn object_pending(&self) -> Result<Vec<KeyView>, RecordError> {
        let entries = self.read(|index| index.object_pending(Self::PAGE_MAX))?;
        entries.iter().map(|entry| entry.view()).collect()
    }

    /// The `CKA_ID`s of the objects in a token that keys have, or had until they were destroyed and have not left it yet.
    ///
    /// # Errors
    /// [`RecordError::Sealed`].
    pub(crate) fn objects_in(&self, token: &TokenName) -> Result<HashSet<Vec<u8>>, RecordError> {
        self.read(|index| index.objects_in(token))
    }

    /// Notes that the object of a destroyed key's version is gone from its token. Answers 1, or 0 when that was known.
    ///
    /// # Errors
    /// [`RecordError::Missing`], [`RecordError::Refused`] when the key is not destroyed; as [`Records::create_key`].
    pub(crate) async fn forget_object(&self, key: KeyRef, anchor: LogAnchor) -> Result<usize, RecordError> {
        self.change(Mutation::ForgetObject { key }, Some(anchor), None).await
    }

    /// Keeps the answer to a request under its idempotency key.
    ///
    /// # Errors
    /// [`RecordError::ReplayTaken`], [`RecordError::ReplaysFull`]; as [`Records::create_key`].
    pub(crate) async fn remember_replay(&self, replay: Replay) -> Result<(), RecordError> {
        self.change(Mutation::Nothing, None, Some(replay)).await.map(|_| ())
    }

    /// Keeps the answer in the place of the one that is kept under its idempotency key, where there is one.
    ///
    /// # Errors
    /// As [`Records::remember_replay`].
    pub(crate) async fn replace_replay(&self, replay: Replay) -> Result<(), RecordError> {
        let tag = replay::tag_of(&self.opened()?.keys, &replay);
        self.change(Mutation::AnswerAgain { tag, replay: Box::new(replay) }, None, None).await.map(|_| ())
    }

    /// Notes how far the log is without changing a key: after a recovery the store must know of it (D17).
    ///
    /// # Errors
    /// As [`Records::create_key`].
    pub(crate) async fn note_log(&self, anchor: LogAnchor) -> Result<(), RecordError> {
        self.change(Mutation::Nothing, Some(anchor), None).await.map(|_| ())
    }

    /// The kept answer to an earlier request, not older than [`ReplayLimits::keep`]. The caller compares the
    /// request's hash and authorizes afresh.
    ///
    /// # Errors
    /// [`RecordError::Sealed`], [`RecordError::Closed`], [`RecordError::Damaged`].
    pub(crate) async fn find_replay(
        &self,
        principal: &trust::Principal,
        method: &str,
        key: &str,
    ) -> Result<Option<StoredReplay>, RecordError> {
        replay::find(&self.0, &*self.opened()?, principal, method, key).await
    }

    /// The key that signs checkpoints, when there is one.
    ///
    /// # Errors
    /// [`RecordError::Sealed`].
    pub(crate) fn log_key(&self) -> Result<Option<LogKey>, RecordError> {
        self.read(|index| index.log_key.as_ref().map(|(log_key, _)| log_key.clone()))
    }

    /// Sets the key that signs checkpoints; there is one for the life of a store.
    ///
    /// # Errors
    /// [`RecordError::NameTaken`] when it is set; as [`Records::create_key`].
    pub(crate) async fn set_log_key_once(&self, log_key: LogKey) -> Result<(), RecordError> {
        self.change(Mutation::SetLogKey { log_key }, None, None).await.map(|_| ())
    }

    /// Puts the log key's material that was wrapped anew in the place of the old.
    ///
    /// # Errors
    /// [`RecordError::Missing`] when there is no log key; as [`Records::create_key`].
    pub(crate) async fn replace_log_material(&self, material: Material) -> Result<(), RecordError> {
        self.change(Mutation::ReplaceLogMaterial { material }, None, None).await.map(|_| ())
    }

    /// Where this store came from, when it was imported from a backup.
    ///
    /// # Errors
    /// [`RecordError::Sealed`].
    pub(crate) fn provenance(&self) -> Result<Option<Provenance>, RecordError> {
        self.read(|index| index.provenance.clone())
    }

    /// The keys and the published trust data as they are now, as rows of a store of their own, for a backup: without
    /// log key and replays. Taking it stops nobody.
    ///
    /// # Errors
    /// [`RecordError::Sealed`], [`RecordError::Closed`], [`RecordError::Damaged`].
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, RecordError> {
        let open = self.opened()?;
        // First the heads: a key that one of them names is there, and every file, too.
        let heads = snapshot::read_heads(&self.0.store, &open).await?;
        let entries = open.index.read().unwrap_or_else(PoisonError::into_inner).all();
        Ok(Snapshot::new(open, self.0.store.clone(), self.0.store_uuid, entries, heads))
    }

    /// From now on an older trustd refuses the store by name: it would take published rows for damage.
    async fn raise_format(&self) -> Result<(), RecordError> {
        if self.0.is_raised.load(Ordering::Relaxed) {
            return Ok(());
        }
        // Two that are here at once write the same; the other one finds that it has moved.
        if let Some(expected) = load::older_format(&self.0.store).await? {
            let (key, value) = (layout::single(layout::FORMAT), load::format_row(self.0.store_uuid));
            match self.0.store.write(vec![store::Change::Replace { key, expected, value }]).await {
                Ok(_) | Err(StoreError::Moved { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.0.is_raised.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn opened(&self) -> Result<Arc<Open>, RecordError> {
        self.0.opened()
    }

    fn read<T>(&self, read: impl FnOnce(&Index) -> T) -> Result<T, RecordError> {
        let open = self.opened()?;
        let index = open.index.read().unwrap_or_else(PoisonError::into_inner);
        Ok(read(&index))
    }

    async fn change(
        &self,
        mutation: Mutation,
        anchor: Option<LogAnchor>,
        replay: Option<Replay>,
    ) -> Result<usize, RecordError> {
        self.opened()?;
        let (answer, answered) = oneshot::channel();
        let gone = || RecordError::Closed { reason: "the writer of the records is gone".into() };
        let waiting = Waiting { mutation, anchor, replay, answer };
        self.0.inbox.send(waiting).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Inner {
    fn opened(&self) -> Result<Arc<Open>, RecordError> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(RecordError::Sealed)
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("is_sealed", &self.is_sealed()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
