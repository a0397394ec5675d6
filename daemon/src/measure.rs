//! Log and store, each without a daemon around it, for the benchmark. The daemon itself uses nothing of this.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use trust::{Principal, Sha256Digest};

use crate::audit::{Audit, AuditConfig, InitLeaf, IntentLeaf, Leaf};
use crate::clock::Clock;
use crate::store::{Change, RowKey, SledOptions, SledStore, Store};

const ORIGIN: &str = "log.bench.example";
const STORE: [u8; 16] = [7; 16];

/// A log in a directory of its own.
pub struct LogAlone {
    audit: Audit,
    clock: Clock,
}

impl LogAlone {
    /// A new log in the existing empty `directory`, open.
    ///
    /// # Errors
    /// When it cannot be made there.
    pub fn create(directory: &Path) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let clock = Clock::system();
        Audit::create(directory, InitLeaf::new(clock.now_unix_ms(), ORIGIN, &STORE, None))?;
        let config = AuditConfig {
            directory: directory.to_owned(),
            origin: ORIGIN.to_owned(),
            waiting_max: 16_384,
            free_bytes_min: 0,
        };
        let (audit, _) = Audit::open(Audit::read(config)?, &STORE, clock.clone())?;
        Ok(Self { audit, clock })
    }

    /// Appends an intent as long as that of one signature; when this returns, it is on disk.
    ///
    /// # Errors
    /// When the disk is full or the log is closed.
    pub async fn append_intent(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut intent = IntentLeaf::new(self.clock.now_unix_ms(), &Principal::LocalUid(0));
        let hash = Sha256Digest::of(b"bench").to_hex();
        intent.operation = "sign";
        intent.algorithm = Some("ed25519");
        intent.key = Some("00112233445566778899aabbccddeeff".to_owned());
        intent.version = Some(1);
        intent.policies = vec!["policy0".to_owned()];
        intent.policy_revision = Some(hash.clone());
        intent.preimages = vec![hash];
        self.audit.append(Leaf::Intent(intent)).await?;
        Ok(())
    }
}

impl std::fmt::Debug for LogAlone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogAlone").finish_non_exhaustive()
    }
}

/// A store in a directory of its own.
pub struct StoreAlone {
    store: Store,
    rows: AtomicU64,
}

impl StoreAlone {
    /// Bytes of each row: about as many as that of a key has.
    pub const ROW_BYTES: usize = 300;

    /// A new store in `directory`, which must be empty or not there yet.
    ///
    /// # Errors
    /// When it cannot be made there.
    pub fn create(directory: &Path) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let sled = SledStore::create(directory, SledOptions::default())?;
        Ok(Self { store: Store::Sled(Arc::new(sled)), rows: AtomicU64::new(0) })
    }

    /// Adds a row; when this returns, it is on disk.
    ///
    /// # Errors
    /// When the disk is full or the store is closed.
    pub async fn add_row(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let key = RowKey::of_kind(b'b', self.rows.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        self.store.write(vec![Change::Create { key, value: vec![7; Self::ROW_BYTES] }]).await?;
        Ok(())
    }
}

impl std::fmt::Debug for StoreAlone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreAlone").finish_non_exhaustive()
    }
}
