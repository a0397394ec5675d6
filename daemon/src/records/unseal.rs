//! From sealed to open and back: by reading every row, or by the file of the index.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Mutex, mpsc};
use trust_hsm::StoreKey;

use super::crypto::Keys;
use super::index::Index;
use super::saved::{self, Unusable};
use super::{Inner, Open, RecordError, RecordLimits, Records, SaveError, UnsealError, load, recheck, writer};
use crate::clock::Clock;
use crate::store::Store;

/// Whether every row was read at an unseal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "rows that were not read have to be: see `Records::check_rows`"]
pub(crate) enum Rows {
    /// Each was, and is as it was left.
    Read,
    /// The index came from its file; [`Records::check_rows`] reads them.
    Unread,
}

impl Records {
    /// Makes the first rows in an empty store. The answer is unsealed.
    ///
    /// # Errors
    /// [`UnsealError::NotEmpty`] when there are records already; else [`UnsealError::Store`].
    pub(crate) async fn create(
        store: Store,
        store_uuid: [u8; 16],
        key: &StoreKey,
        limits: RecordLimits,
        clock: Clock,
    ) -> Result<Self, UnsealError> {
        load::create(&store, store_uuid, &Keys::derive(key, store_uuid)).await?;
        let records = Self::open(store, limits, clock).await?;
        records.unseal(key).await?;
        Ok(records)
    }

    /// Finds the records of a store. The answer is sealed: it knows the store's uuid and nothing else.
    ///
    /// # Errors
    /// [`UnsealError::Missing`] when there are none, [`UnsealError::TooNew`] when a newer trustd made them.
    pub(crate) async fn open(store: Store, limits: RecordLimits, clock: Clock) -> Result<Self, UnsealError> {
        let store_uuid = load::read_format(&store).await?;
        let (inbox, outbox) = mpsc::channel(Self::QUEUE_MAX);
        let inner = Arc::new(Inner {
            store,
            store_uuid,
            clock,
            limits,
            open: RwLock::new(None),
            gate: Mutex::new(()),
            inbox,
            is_raised: AtomicBool::new(false),
        });
        // Ends with the last clone of the records: it holds them weakly, and the queue closes then.
        tokio::spawn(writer::run(Arc::downgrade(&inner), outbox));
        Ok(Self(inner))
    }

    /// Reads and checks every row; afterwards keys are reported and changed.
    ///
    /// # Errors
    /// [`UnsealError::WrongKey`] for another store's key, [`UnsealError::Tampered`] when rows are not as they were
    /// left, naming them as far as what remains tells; else [`UnsealError::Store`]. Nothing is unsealed then.
    pub(crate) async fn unseal(&self, key: &StoreKey) -> Result<(), UnsealError> {
        let keys = Arc::new(Keys::derive(key, self.0.store_uuid));
        let _gate = self.0.gate.lock().await;
        let index = load::load(&self.0.store, &keys).await?;
        self.0.begin(keys, index);
        Ok(())
    }

    /// [`Records::unseal`] that takes the index from the file that [`Records::save_index`] wrote, when it was taken of
    /// exactly the rows that are there; else it reads every row.
    ///
    /// # Errors
    /// As [`Records::unseal`].
    pub(crate) async fn unseal_from(&self, file: &Path, key: &StoreKey) -> Result<Rows, UnsealError> {
        let keys = Arc::new(Keys::derive(key, self.0.store_uuid));
        let _gate = self.0.gate.lock().await;
        let (anchor, revision) = load::read_anchor(&self.0.store, &keys).await?;
        let why = match saved::read(file, &keys, anchor, revision).await {
            Ok(index) => {
                self.0.begin(keys, index);
                return Ok(Rows::Unread);
            }
            Err(Unusable::Missing) => "there is no file of the index",
            Err(Unusable::Older) => "the file of the index was taken before the last change",
            Err(Unusable::Damaged(why)) => {
                tracing::warn!(stage = "store", file = %file.display(), why, "the file of the index is not used");
                why
            }
        };
        tracing::info!(stage = "store", why, "reading every row");
        let index = load::load(&self.0.store, &keys).await?;
        self.0.begin(keys, index);
        Ok(Rows::Read)
    }

    /// Reads every row behind an index that came from its file. Changes go on meanwhile.
    ///
    /// The answer is how many rows there are; none when the records were sealed meanwhile.
    ///
    /// # Errors
    /// As [`Records::unseal`]; the caller seals the records then, and removes the file of the index.
    pub(crate) async fn check_rows(&self) -> Result<Option<u64>, UnsealError> {
        match self.opened() {
            Ok(open) => recheck::run(&self.0, &open, recheck::PAGE_ROWS).await,
            Err(_) => Ok(None),
        }
    }

    /// Writes the index into its file, whole or not at all and durable, unless it would leave less than
    /// `free_bytes_min` on the disk. The number of the last change in it.
    ///
    /// # Errors
    /// [`SaveError`]; an older file is left as it is, or is whole.
    pub(crate) async fn save_index(&self, file: &Path, free_bytes_min: u64) -> Result<u64, SaveError> {
        let open = self.opened()?;
        let file = file.to_owned();
        let saved = tokio::task::spawn_blocking(move || {
            let taken = open.index.read().unwrap_or_else(PoisonError::into_inner).take();
            saved::write(&file, &open.keys, &taken, free_bytes_min).map(|()| taken.anchor.sequence)
        });
        saved.await.map_err(|_| RecordError::Closed { reason: "the process is ending".into() })?
    }

    /// The number of the last change: grows with each.
    ///
    /// # Errors
    /// [`RecordError::Sealed`].
    pub(crate) fn last_change(&self) -> Result<u64, RecordError> {
        self.read(|index| index.anchor.sequence)
    }

    /// Forgets keys and index; a change that is being written is finished first or fails.
    pub(crate) fn seal(&self) {
        *self.0.open.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether nothing can be read now.
    #[must_use]
    pub(crate) fn is_sealed(&self) -> bool {
        self.opened().is_err()
    }
}

impl Inner {
    fn begin(&self, keys: Arc<Keys>, index: Index) {
        let open = Open { keys, index: RwLock::new(index), recheck: std::sync::Mutex::default() };
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(open));
    }
}
