//! Unseal, seal and the rotation of key-encryption keys.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{info, warn};
use trust::{Fault, FaultKind, Principal};
use trust_hsm::{
    CustodianState, CustodyError, KekInfo, KekState, Material, Passphrase, RewrapOrder, RootPlace, RootSource,
};

use super::start::unseal_fault;
use super::{House, Undone, blocking, no_more};
use crate::audit::IntentLeaf;
use crate::authorize::Action;
use crate::custody;
use crate::permit::{Operation, Permit};
use crate::records::{Records, SealedVersion, record_fault};

/// Records that are rewrapped at once.
const REWRAP_PAGE: usize = 256;

/// Work on the daemon itself.
pub(super) struct Administration {
    /// The word for it in leaves.
    pub(super) operation: &'static str,
    /// The custodian that it is about, where it is one alone.
    pub(super) custodian: Option<String>,
}

impl From<&'static str> for Administration {
    fn from(operation: &'static str) -> Self {
        Self { operation, custodian: None }
    }
}

impl Operation for Administration {
    fn describe(&self, leaf: &mut IntentLeaf) {
        leaf.operation = self.operation;
        leaf.custodian = self.custodian.clone();
    }
}

/// How far a rotation is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    pub(crate) rewrapped: u64,
    pub(crate) total: u64,
    pub(crate) version: u32,
    pub(crate) done: bool,
}

/// What opens the ring.
pub(crate) enum Opening {
    /// A file or a passphrase.
    Secret(RootSource),
    /// A token that has the root key wrapped.
    Token,
}

impl House {
    /// Opens custody and store, with a passphrase or by the token.
    pub(crate) async fn unseal(
        self: &Arc<Self>,
        principal: &Principal,
        passphrase: Option<Passphrase>,
        deadline: Duration,
    ) -> Result<(), Fault> {
        let house = Arc::clone(self);
        let work = async move {
            let place = house.root_place().map_err(unseal_fault)?;
            if place == RootPlace::File {
                return Err(Fault::new(FaultKind::Refused, "the root key of this daemon is in a file"));
            }
            if !house.is_sealed() {
                return Err(Fault::new(FaultKind::Refused, "the daemon is not sealed"));
            }
            let held = house.held.swap(false, Ordering::Relaxed);
            let opening = passphrase.map_or(Opening::Token, |words| Opening::Secret(RootSource::Passphrase(words)));
            let opened = house.open_up(opening).await;
            if opened.is_err() {
                house.held.fetch_or(held, Ordering::Relaxed);
            }
            opened
        };
        self.administer(principal, Action::Unseal, "unseal", deadline, work).await
    }

    /// Forgets every key-encryption key; nothing is signed until the next unseal.
    pub(crate) async fn seal(self: &Arc<Self>, principal: &Principal, deadline: Duration) -> Result<(), Fault> {
        let house = Arc::clone(self);
        let work = async move {
            // First of all: what opens by itself must not do so any more.
            house.held.store(true, Ordering::Relaxed);
            // At once: a rotation that is under way fails and is taken up later. Then for good: an unseal that was
            // under way has ended when the lock is had.
            house.shut().await?;
            let _one = house.sealing.lock().await;
            house.shut().await?;
            house.custodians().settle().await;
            info!(stage = "custody", "sealed");
            Ok(())
        };
        self.administer(principal, Action::Seal, "seal", deadline, work).await
    }

    /// Whether custody or store want the root key: a worker that died after a passphrase comes back without it.
    pub(crate) fn is_sealed(&self) -> bool {
        self.records().is_sealed() || self.custody().status().1 == CustodianState::Sealed
    }

    /// Forgets every secret, in the daemon and in the worker.
    pub(super) async fn shut(&self) -> Result<(), Fault> {
        self.records().seal();
        self.audit().set_signer(None);
        let keyring = Arc::clone(&self.parts.keyring);
        match blocking(move || keyring.seal()).await? {
            Ok(()) => Ok(()),
            // A worker that does not answer is killed by the attempt, and comes back without the root key.
            Err(error @ (CustodyError::Late | CustodyError::Unavailable { .. })) => {
                warn!(stage = "custody", %error, "the worker was not sealed but ended");
                Ok(())
            }
            Err(error) => Err(custody::fault(error)),
        }
    }

    /// Every version of the key-encryption key.
    pub(crate) async fn keks(&self, principal: &Principal) -> Result<Vec<KekInfo>, Fault> {
        self.allow(principal, Action::ManageKek)?;
        let keyring = Arc::clone(&self.parts.keyring);
        blocking(move || keyring.list()).await?.map_err(custody::fault)
    }

    /// Makes a new key-encryption key, wraps every data key anew and destroys the older ones. Resumable.
    pub(crate) async fn rotate_kek(
        self: &Arc<Self>,
        principal: &Principal,
        deadline: Duration,
        progress: mpsc::Sender<Progress>,
    ) -> Result<(), Fault> {
        let house = Arc::clone(self);
        let work = async move { house.rewrap_all(progress).await };
        self.administer(principal, Action::ManageKek, "kek-rotate", deadline, work).await
    }

    /// Permit, intent, work, outcome.
    pub(super) async fn administer<T: Send + 'static>(
        self: &Arc<Self>,
        principal: &Principal,
        action: Action,
        operation: impl Into<Administration>,
        deadline: Duration,
        work: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        let grounds = self.allow(principal, action)?;
        let permit = Permit::grant(principal.clone(), operation.into(), grounds, deadline, self.take_flight()?);
        let house = Arc::clone(self);
        self.detached(async move {
            let intent = house.open_intent(permit).await?;
            let ended = work.await;
            let said = ended.as_ref().map(|_| &()).map_err(Undone::of);
            drop(house.close_intent(intent, said, no_more).await?);
            ended
        })
        .await?
    }

    pub(super) async fn rewrap_all(&self, progress: mpsc::Sender<Progress>) -> Result<(), Fault> {
        let _one = self.sealing.lock().await;
        loop {
            // Destroyed before the new version is made, so it never seals them. What an interrupted rotation left
            // may have sealed one before it was destroyed: those need a whole rotation more.
            let pending = self.records().shred_pending().map_err(record_fault)?;
            let is_whole = self.live_versions().await? == 1;
            let last = is_whole || pending.is_empty();
            let told = self.rotate_once(&progress).await?;
            if is_whole {
                for page in pending.chunks(Records::PAGE_MAX) {
                    self.records().finish_shred(page.to_vec()).await.map_err(record_fault)?;
                }
            }
            if last {
                let _ = progress.send(Progress { done: true, ..told }).await;
                info!(stage = "custody", version = told.version, "key-encryption key rotated");
                return Ok(());
            }
        }
    }

    /// Begins a rotation, or goes on with one, and brings it to its end.
    async fn rotate_once(&self, progress: &mpsc::Sender<Progress>) -> Result<Progress, Fault> {
        let total = u64::try_from(self.records().key_count().map_err(record_fault)?).unwrap_or(u64::MAX);
        let keyring = Arc::clone(&self.parts.keyring);
        let version = blocking(move || keyring.begin_rotation()).await?.map_err(custody::fault)?.number();
        // A key that was made under the version before and is not in the store yet would be lost with it.
        drop(self.births.write().await);
        let mut told = Progress { rewrapped: 0, total, version, done: false };
        let mut after = None;
        loop {
            let page = self.records().sealed_versions(after, REWRAP_PAGE).await.map_err(record_fault)?;
            let Some(last) = page.last() else { break };
            after = Some(last.version.key);
            told.rewrapped = told.rewrapped.saturating_add(u64::try_from(page.len()).unwrap_or(u64::MAX));
            self.rewrap_page(page).await?;
            told.total = told.total.max(told.rewrapped);
            // Whoever watched may have gone; the rotation goes on.
            let _ = progress.try_send(told);
        }
        self.rewrap_log_key().await?;
        // A session that began before may hold a record under the older version; a later one sees that it changed.
        self.custody().settle().await;
        let keyring = Arc::clone(&self.parts.keyring);
        blocking(move || keyring.finish_rotation()).await?.map_err(custody::fault)?;
        Ok(told)
    }

    /// How many versions of the key-encryption key still open something.
    async fn live_versions(&self) -> Result<usize, Fault> {
        let keyring = Arc::clone(&self.parts.keyring);
        let versions = blocking(move || keyring.list()).await?.map_err(custody::fault)?;
        Ok(versions.iter().filter(|info| info.state != KekState::Destroyed).count())
    }

    async fn rewrap_page(&self, page: Vec<SealedVersion>) -> Result<(), Fault> {
        let mut orders = Vec::new();
        let mut keys = Vec::new();
        // What is in a token is wrapped under no key of ours.
        let is_sealed = |material: &Material| matches!(material, Material::Sealed(_));
        for sealed in page.iter().filter(|sealed| sealed.version.materials.iter().all(is_sealed)) {
            let context = Arc::new(sealed.record.seal_context(self.store_uuid(), sealed.version.key.version));
            for material in &sealed.version.materials {
                keys.push(sealed.version.key);
                orders.push(RewrapOrder {
                    context: Arc::clone(&context),
                    spki_sha256: sealed.version.public_key.spki_sha256(),
                    material: material.clone(),
                });
            }
        }
        if orders.is_empty() {
            return Ok(());
        }
        let rewrapped = self.custody().rewrap(orders).await.map_err(custody::fault)?;
        let mut items: Vec<(trust::KeyRef, Vec<Material>)> = Vec::new();
        for (key, material) in keys.into_iter().zip(rewrapped) {
            let material = material.map_err(custody::fault)?;
            match items.last_mut() {
                Some((last, materials)) if *last == key => materials.push(material),
                _ => items.push((key, vec![material])),
            }
        }
        self.records().replace_materials(items).await.map_err(record_fault)?;
        Ok(())
    }

    async fn rewrap_log_key(&self) -> Result<(), Fault> {
        let Some(log_key) = self.records().log_key().map_err(record_fault)? else { return Ok(()) };
        let order = RewrapOrder {
            context: Arc::new(super::start::log_context(self.store_uuid(), log_key.key)),
            spki_sha256: log_key.public_key.spki_sha256(),
            material: log_key.material.clone(),
        };
        let rewrapped = self.custody().rewrap(vec![order]).await.map_err(custody::fault)?;
        let material = rewrapped.into_iter().next().ok_or_else(|| Fault::internal("no answer to a rewrap"))?;
        self.records().replace_log_material(material.map_err(custody::fault)?).await.map_err(record_fault)?;
        if let Err(error) = self.take_log_key() {
            warn!(stage = "audit", %error, "the log's key could not be taken anew");
        }
        Ok(())
    }
}

/// The word for a version's state on the wire.
pub(crate) const fn kek_state(state: KekState) -> &'static str {
    match state {
        KekState::Current => "current",
        KekState::Readable => "readable",
        KekState::Destroyed => "destroyed",
    }
}
