//! What every door and every stage stands on, assembled once.

mod backup;
mod closing;
mod doctor;
mod index;
mod log;
mod lost;
mod orphans;
mod record;
mod root;
mod sealing;
mod start;
mod tokens;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::server::HealthReporter;
use trust::format::tuf::Gun;
use trust::{Fault, FaultKind, KeyId, Principal};
use trust_hsm::KeyRing;

use crate::audit::{Audit, AuditError, History, RefusalLeaf};
use crate::authorize::{Action, Authorizer, Decision, Pace, RequestFacts};
use crate::clock::Clock;
use crate::config::{Config, Limits};
use crate::cores::Cores;
use crate::custody::{Custodians, Custody, Grace, NotBegun, Ticket};
use crate::idempotency::{IdempotencyKey, Turn, Turns};
use crate::identity::{Caller, Identity};
use crate::metrics::Metrics;
use crate::records::{LogAnchor, Records};
use crate::removals::Removals;
use crate::shelf::Shelf;
use crate::strangers::Strangers;
use crate::tables::Tables;

pub(crate) use doctor::{Examined, Keep};
pub(crate) use orphans::Orphan;
pub(crate) use record::{Undone, no_more};
pub(crate) use root::{Recovery, RootTarget};
pub(crate) use sealing::{Opening, Progress, kek_state};
pub(crate) use start::{StartError, log_context};
pub(crate) use tokens::TokenView;

/// The assembled parts. Doors hold it behind an `Arc`.
pub(crate) struct House {
    pub(crate) parts: Parts,
    work: Arc<Semaphore>,
    /// The cores, for whoever verifies.
    cores: Cores,
    /// What the log said at the start, until it was compared with the store.
    history: Mutex<Option<Arc<History>>>,
    /// One seal, unseal or rotation at a time.
    sealing: tokio::sync::Mutex<()>,
    /// An operator has sealed: only an operator unseals.
    held: AtomicBool,
    /// What the last try to open by a token met.
    root_trouble: Mutex<Option<String>>,
    /// Held for reading from the making of a key until it is in the store.
    births: tokio::sync::RwLock<()>,
    /// Changes of keys, from the look at the policy's revision until they are in the store.
    changes: Grace,
    /// Keys that are being made in tokens.
    token_births: orphans::TokenBirths,
    /// Objects of destroyed keys that are still in their token, or may be.
    removals: Removals,
    /// Published trust data that is at hand.
    shelf: Shelf,
    /// Keys for trust data that strangers had made.
    strangers: Strangers,
    /// Requests with an idempotency key that are at work.
    turns: Turns,
    /// Told when an unseal did not read the rows: [`House::check_rows`] does.
    unread: Notify,
}

/// What `assemble` puts together.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) records: Records,
    pub(crate) audit: Arc<Audit>,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) custody: Custodians,
    pub(crate) tables: Arc<Tables>,
    pub(crate) keyring: Arc<dyn KeyRing>,
    pub(crate) identity: Identity,
    pub(crate) pace: Pace,
    pub(crate) metrics: Metrics,
    pub(crate) health: HealthReporter,
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the daemon is about to end: what has no end of its own comes to one.
    pub(crate) drain: CancellationToken,
    pub(crate) started_at_unix_seconds: u64,
}

/// When to come back after a bound was reached.
const BUSY_RETRY: Duration = Duration::from_millis(100);

impl House {
    /// Takes the parts, and what the log said when it was opened.
    pub(crate) fn new(parts: Parts, history: History) -> Arc<Self> {
        let work = Arc::new(Semaphore::new(parts.config.limits.work_max));
        let cores = Cores::new(parts.config.limits.verify_items_at_work_max);
        let strangers = Strangers::new(&parts.config);
        Arc::new(Self {
            parts,
            work,
            cores,
            history: Mutex::new(Some(Arc::new(history))),
            sealing: tokio::sync::Mutex::default(),
            held: AtomicBool::new(false),
            root_trouble: Mutex::new(None),
            births: tokio::sync::RwLock::default(),
            changes: Grace::default(),
            token_births: orphans::TokenBirths::default(),
            removals: Removals::default(),
            shelf: Shelf::default(),
            strangers,
            turns: Turns::default(),
            unread: Notify::new(),
        })
    }

    pub(crate) const fn config(&self) -> &Config {
        &self.parts.config
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.parts.config.limits
    }

    pub(crate) const fn clock(&self) -> &Clock {
        &self.parts.clock
    }

    pub(crate) const fn records(&self) -> &Records {
        &self.parts.records
    }

    pub(crate) fn audit(&self) -> &Audit {
        &self.parts.audit
    }

    pub(crate) fn authorizer(&self) -> &Authorizer {
        &self.parts.authorizer
    }

    /// The custody of software keys, and of the log's key.
    pub(crate) const fn custody(&self) -> &Custody {
        self.parts.custody.software()
    }

    /// The custody of all keys.
    pub(crate) const fn custodians(&self) -> &Custodians {
        &self.parts.custody
    }

    pub(crate) const fn metrics(&self) -> &Metrics {
        &self.parts.metrics
    }

    /// The store's uuid.
    pub(crate) fn store_uuid(&self) -> [u8; 16] {
        self.parts.records.store_uuid()
    }

    /// The log's name.
    pub(crate) fn log_origin(&self) -> &str {
        &self.parts.config.log_origin
    }

    /// Objects of destroyed keys that are still in their token, or may be.
    pub(crate) const fn removals(&self) -> &Removals {
        &self.removals
    }

    /// Published trust data that is at hand.
    pub(crate) const fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Keys for trust data that strangers had made.
    pub(crate) const fn strangers(&self) -> &Strangers {
        &self.strangers
    }

    /// Size and root of the durable log: what a change of the store is anchored to.
    pub(crate) fn anchor(&self) -> LogAnchor {
        let (size, root) = self.parts.audit.durable();
        LogAnchor { size, root }
    }

    /// Who a connection's peer is now.
    pub(crate) fn identify(&self, caller: &Caller) -> Result<Principal, Fault> {
        self.parts.identity.principal(caller, self.parts.clock.now_unix_seconds())
    }

    /// Whether the principal may do what is about no key. A denial is on record.
    pub(crate) fn allow(&self, principal: &Principal, action: Action) -> Result<crate::authorize::Grounds, Fault> {
        match self.parts.authorizer.decide(principal, action, None, &RequestFacts::default()) {
            Decision::Allow(grounds) => Ok(grounds),
            Decision::Deny(denial) => {
                self.note_refusal(principal, action, denial.name(), None);
                Err(Fault::new(FaultKind::Forbidden, format!("the policy does not allow {}", action.name())))
            }
        }
    }

    /// Holds a principal to its rate.
    pub(crate) fn pace(&self, principal: &Principal) -> Result<(), Fault> {
        self.parts.pace.take(principal, self.parts.clock.monotonic()).map_err(|wait| {
            self.parts.metrics.rate_limited();
            Fault::new(FaultKind::Busy, "too many requests of this principal").retry_after(wait)
        })
    }

    /// The cores, for whoever verifies.
    pub(crate) const fn cores(&self) -> &Cores {
        &self.cores
    }

    /// Public keys that are prepared for verification.
    pub(crate) fn tables(&self) -> &Tables {
        &self.parts.tables
    }

    /// A place among the work in flight.
    pub(crate) fn take_flight(&self) -> Result<OwnedSemaphorePermit, Fault> {
        Arc::clone(&self.work)
            .try_acquire_owned()
            .map_err(|_| Fault::new(FaultKind::Busy, "too much work is in flight").retry_after(BUSY_RETRY))
    }

    /// While this is held no rotation destroys the version that a new key is sealed under.
    pub(crate) async fn birth(&self) -> tokio::sync::RwLockReadGuard<'_, ()> {
        self.births.read().await
    }

    /// Waits for the turn of a request under its idempotency key, until its deadline: whoever asks again while the first
    /// request is at work gets that one's answer (D14). Taken before the request is authorized, which is done afresh then.
    pub(crate) async fn turn(
        &self,
        principal: &Principal,
        method: &'static str,
        key: Option<IdempotencyKey>,
        deadline: Duration,
    ) -> Result<Option<Turn>, Fault> {
        let Some(key) = key else { return Ok(None) };
        let patience = deadline.saturating_sub(self.clock().monotonic());
        match self.turns.take(principal, method, key, patience).await {
            Some(turn) => Ok(Some(turn)),
            None => Err(NotBegun::Late.fault()),
        }
    }

    /// Counts a change of keys in, before it is looked at whether its permit is older than the policy in force.
    pub(crate) fn begin_change(&self) -> Ticket {
        self.changes.enter()
    }

    /// Waits until no session and no change of keys still runs that began before this call (D10).
    pub(crate) async fn settle(&self) {
        self.custodians().settle().await;
        self.changes.wait().await;
    }

    /// Runs work past a permit to its end, whether or not somebody still waits for it.
    ///
    /// Not an `async fn`: its state, and that of everybody above, would have room for the work, and be copied with it.
    pub(crate) fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = Result<T, Fault>> + Send {
        let task = self.parts.tasks.spawn(Box::pin(work));
        async { task.await.map_err(|error| Fault::internal(format!("a task ended early: {error}"))) }
    }

    /// Notes a refusal in the log; never waits.
    pub(crate) fn note_refusal(&self, principal: &Principal, action: Action, reason: &'static str, key: Option<KeyId>) {
        let now = self.parts.clock.now_unix_ms();
        self.keep_refusal(action, RefusalLeaf::new(now, principal, action.name(), reason, key));
    }

    /// The same of what was to be done to a repository.
    pub(crate) fn note_refusal_of(
        &self,
        gun: &Gun,
        principal: &Principal,
        action: Action,
        reason: &'static str,
        key: Option<KeyId>,
    ) {
        let mut leaf = RefusalLeaf::new(self.parts.clock.now_unix_ms(), principal, action.name(), reason, key);
        leaf.repository = Some(gun.to_string());
        self.keep_refusal(action, leaf);
    }

    fn keep_refusal(&self, action: Action, leaf: RefusalLeaf) {
        self.parts.metrics.refused(action, leaf.reason);
        self.parts.audit.refuse(leaf);
    }
}

/// Runs what blocks off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Fault::internal(format!("a blocking task ended early: {error}")))
}

/// What the caller reads of an error of the log; the error itself is for our log.
pub(crate) fn audit_fault(error: AuditError) -> Fault {
    match error {
        AuditError::Full => {
            Fault::new(FaultKind::Unavailable, "the disk of the log is full").retry_after(Duration::from_secs(1))
        }
        AuditError::Closed { .. } => Fault::new(FaultKind::Unavailable, "the log is closed").because(error),
        AuditError::TooLarge { .. } => {
            Fault::new(FaultKind::Malformed, "the request does not fit into a leaf of the log").because(error)
        }
        AuditError::Outside => Fault::new(FaultKind::Missing, "no such leaf or tree size in the log"),
        AuditError::NoCheckpoint => Fault::new(FaultKind::Unavailable, "no signed checkpoint: the daemon is sealed"),
        AuditError::Damaged(_) => Fault::internal(error),
    }
}
