//! The stage where a key moves: intents go in, verified signatures come out.
//!
//! Async stops here. A few session threads take work from one bounded queue;
//! each owns its [`Session`] and blocks on it. Right before a key moves the
//! intent's epoch, policy revision and deadline are checked again, and right
//! after it every signature is verified under the registered public key: a
//! signature that does not verify never leaves this file.

mod grace;
pub(crate) mod profile;
mod queue;
mod session;
mod spread;
mod tokens;
mod usage;
mod work;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::warn;
use trust::{Fault, FaultKind, KeyId, Sha256Digest, Signature};
use trust_hsm::{
    AdoptOrder, Custodian, CustodianState, CustodyError, DestroyOrder, Generated, ImportOrder, Material, Offer,
    Removed, RewrapOrder, SealContext, TokenObjects,
};

use crate::clock::Clock;
use crate::order::SignOrder;
use crate::permit::Intent;
use crate::records::Records;
use crate::tables::Tables;

pub(crate) use grace::{Grace, Ticket};
pub(crate) use tokens::{Custodians, Mounted, Token, TokenStatus};
pub(crate) use usage::Usage;

use queue::Queue;
use spread::Spread;
use work::{Work, is_in_token};

/// The session threads and what they share. Dropping it lets them finish what waits and ends them.
pub(crate) struct Custody {
    shared: Arc<Shared>,
    threads: Mutex<Threads>,
    /// Whether the token had no room for the last key.
    is_full: AtomicBool,
}

/// The session threads, those that are about to end, too.
#[derive(Default)]
struct Threads {
    /// How many take work, once those that were told to end have.
    sessions: usize,
    /// How many were ever started: their names.
    started: usize,
    handles: Vec<JoinHandle<()>>,
}

/// What every session thread sees.
struct Shared {
    queue: Queue<Work>,
    grace: Grace,
    clock: Clock,
    custodian: Arc<dyn Custodian>,
    records: Records,
    /// Public keys that much is verified under.
    tables: Arc<Tables>,
    /// The policy revision that decides now.
    policy_revision: Box<dyn Fn() -> Sha256Digest + Send + Sync>,
}

/// The bounds of custody.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CustodyLimits {
    /// Session threads, 1 or more.
    pub(crate) sessions: usize,
    /// How much work may wait.
    pub(crate) waiting_max: usize,
}

/// How a visit to custody ended. The intent comes back in any case: its outcome must be written.
pub(crate) struct Visit {
    /// What was to be done.
    pub(crate) intent: Intent<SignOrder>,
    /// What was.
    pub(crate) end: VisitEnd,
}

/// What a visit did.
pub(crate) enum VisitEnd {
    /// The key was not used.
    NotBegun(NotBegun),
    /// The session call had begun and its answer did not come.
    Unknown(CustodyError),
    /// One answer for each preimage, in order; every signature is verified.
    Signed(Vec<Result<Signature, CustodyError>>),
}

/// Why a key was not used although it was permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotBegun {
    /// The key's state, or the policy, is not what the permit was made under.
    Stale,
    /// The deadline had passed.
    Late,
    /// Too much is waiting.
    Busy,
    /// The custodian cannot serve.
    Custody(CustodyError),
}

impl Custody {
    /// Starts the session threads over `custodian`.
    ///
    /// # Errors
    /// [`CustodyError`] when a session cannot be opened or a thread cannot be started.
    pub(crate) fn start(
        custodian: Arc<dyn Custodian>,
        records: Records,
        clock: Clock,
        tables: Arc<Tables>,
        limits: CustodyLimits,
        policy_revision: Box<dyn Fn() -> Sha256Digest + Send + Sync>,
    ) -> Result<Self, CustodyError> {
        let shared = Arc::new(Shared {
            queue: Queue::new(limits.waiting_max),
            grace: Grace::default(),
            clock,
            custodian,
            records,
            tables,
            policy_revision,
        });
        // Made first, so that threads already started end when a later one cannot be.
        let custody = Self { shared, threads: Mutex::default(), is_full: AtomicBool::new(false) };
        custody.resize(limits.sessions)?;
        Ok(custody)
    }

    /// Has so many sessions from now on. One that is at work ends after it.
    ///
    /// # Errors
    /// [`CustodyError`] when a session cannot be opened, a thread not be started, or too much waits for one to be told.
    pub(crate) fn resize(&self, sessions: usize) -> Result<(), CustodyError> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.handles.retain(|thread| !thread.is_finished());
        while threads.sessions < sessions {
            let session = self.shared.custodian.open()?;
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new()
                .name(format!("custody-{}", threads.started))
                .spawn(move || session::run(session, &shared))
                .map_err(|error| CustodyError::Failed { what: format!("start session thread: {error}") })?;
            threads.handles.push(thread);
            threads.started = threads.started.saturating_add(1);
            threads.sessions = threads.sessions.saturating_add(1);
        }
        while threads.sessions > sessions {
            self.push(Work::Leave)?;
            threads.sessions = threads.sessions.saturating_sub(1);
        }
        Ok(())
    }

    /// Takes the intent to the key. Returns when the visit is over; never sooner.
    pub(crate) async fn sign(&self, intent: Intent<SignOrder>) -> Option<Visit> {
        let (answer, visit) = oneshot::channel();
        if is_in_token(intent.operation()) && intent.operation().inputs() > 1 {
            self.share(Spread::new(intent, answer));
            return visit.await.ok();
        }
        let work = Work::Sign { intent, answer };
        let cost = work.cost();
        match self.shared.queue.push(work, cost) {
            // A session thread that dies takes the intent with it; start-up recovery then closes it.
            Ok(()) => visit.await.ok(),
            Err(Work::Sign { intent, .. }) => Some(Visit { intent, end: VisitEnd::NotBegun(NotBegun::Busy) }),
            Err(_) => None,
        }
    }

    /// Offers an order of many signatures to all sessions.
    fn share(&self, spread: Spread) {
        let sessions = self.threads.lock().unwrap_or_else(PoisonError::into_inner).sessions;
        let inputs = spread.inputs();
        let spread = Arc::new(spread);
        for place in 0..sessions.min(inputs) {
            let is_full = self.push(Work::Share(Arc::clone(&spread))).is_err();
            match (is_full, place) {
                (false, _) => {}
                // Nobody has it.
                (true, 0) => return spread.refuse(NotBegun::Busy),
                (true, _) => spread.left_untold(),
            }
        }
    }

    /// Makes a key. Call it under an intent only.
    pub(crate) async fn generate(&self, context: SealContext) -> Result<Generated, CustodyError> {
        let (answer, generated) = oneshot::channel();
        self.push(Work::Generate { context, answer })?;
        generated.await.map_err(|_| gone())?.inspect(|_| self.has_room()).inspect_err(|error| self.note(error))
    }

    /// Takes a key that was sealed to an offer. Call it under an intent only.
    pub(crate) async fn import(&self, order: ImportOrder) -> Result<Generated, CustodyError> {
        let (answer, imported) = oneshot::channel();
        self.push(Work::Import { order: Box::new(order), answer })?;
        imported.await.map_err(|_| gone())?.inspect(|_| self.has_room()).inspect_err(|error| self.note(error))
    }

    /// Takes a key that is in the token already. Call it under an intent only.
    pub(crate) async fn adopt(&self, order: AdoptOrder) -> Result<Generated, CustodyError> {
        let (answer, adopted) = oneshot::channel();
        self.push(Work::Adopt { order: Box::new(order), answer })?;
        adopted.await.map_err(|_| gone())?
    }

    /// Hands out what a key is sealed to.
    pub(crate) async fn offer(&self) -> Result<Offer, CustodyError> {
        let (answer, offer) = oneshot::channel();
        self.push(Work::Offer { answer })?;
        offer.await.map_err(|_| gone())?
    }

    /// Wraps sealed records anew, one answer each.
    pub(crate) async fn rewrap(
        &self,
        orders: Vec<RewrapOrder>,
    ) -> Result<Vec<Result<Material, CustodyError>>, CustodyError> {
        let (answer, rewrapped) = oneshot::channel();
        self.push(Work::Rewrap { orders, answer })?;
        rewrapped.await.map_err(|_| gone())
    }

    /// Drops the opened key.
    pub(crate) async fn forget(&self, key: KeyId) -> Result<(), CustodyError> {
        let (answer, forgotten) = oneshot::channel();
        let work = Work::Forget { key, answer };
        let cost = work.cost();
        // Also behind a full queue: it is one for each change, and a key that is gone must not stay open for it.
        self.shared.queue.put_back(work, cost).map_err(|_| gone())?;
        forgotten.await.map_err(|_| gone())?
    }

    /// Takes a key version's objects out of the token. Call it under an intent only.
    pub(crate) async fn destroy(&self, order: DestroyOrder) -> Result<Removed, CustodyError> {
        let (answer, destroyed) = oneshot::channel();
        self.push(Work::Destroy { order, answer })?;
        destroyed.await.map_err(|_| gone())?.inspect(|removed| {
            if *removed == Removed::Deleted {
                self.has_room();
            }
        })
    }

    /// Notes that a token is full: whoever looks after it reads that in status and log.
    fn note(&self, error: &CustodyError) {
        if matches!(error, CustodyError::Full { .. }) && !self.is_full.swap(true, Ordering::AcqRel) {
            warn!(stage = "custody", token = self.shared.custodian.name(), "{error}; its keys go on signing");
        }
    }

    fn has_room(&self) {
        self.is_full.store(false, Ordering::Release);
    }

    /// Whether there was no room for the last key that was to be made.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    /// Every key in the token, whoever made it.
    pub(crate) async fn objects(&self) -> Result<TokenObjects, CustodyError> {
        let (answer, objects) = oneshot::channel();
        self.push(Work::Objects { answer })?;
        objects.await.map_err(|_| gone())?
    }

    /// Waits until no session still runs that began before this call (D10). Commit the new state first.
    pub(crate) async fn settle(&self) {
        self.shared.grace.wait().await;
    }

    /// The custodian, for the log's key alone.
    pub(crate) fn custodian(&self) -> Arc<dyn Custodian> {
        Arc::clone(&self.shared.custodian)
    }

    /// Has another session look after work that the one which was to be back soon did not take. Called from time to time.
    pub(crate) fn nudge(&self) {
        self.shared.queue.nudge();
    }

    /// How much work waits.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.queue.len()
    }

    /// How often a session took work.
    pub(crate) fn taken(&self) -> u64 {
        self.shared.queue.taken()
    }

    /// Name, state and restarts of the custodian.
    pub(crate) fn status(&self) -> (String, CustodianState, u64) {
        let custodian = &self.shared.custodian;
        (custodian.name().to_owned(), custodian.state(), custodian.restarts())
    }

    fn push(&self, work: Work) -> Result<(), CustodyError> {
        let cost = work.cost();
        self.shared
            .queue
            .push(work, cost)
            .map_err(|_| CustodyError::Unavailable { why: "its queue is full".to_owned() })
    }
}

impl Drop for Custody {
    fn drop(&mut self) {
        self.shared.queue.close();
        let threads = self.threads.get_mut().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.handles.drain(..) {
            // A thread that panicked has said so on stderr; nothing is left to do here.
            let _ = thread.join();
        }
    }
}

fn gone() -> CustodyError {
    CustodyError::Unavailable { why: "its session ended".to_owned() }
}

/// A permit was made under another state than the one that holds now; nothing was done under it.
#[derive(Debug, thiserror::Error)]
#[error("the permit is older than the key's state or the policy")]
struct StalePermit;

/// Whether nothing was done because the permit was stale: authorized afresh, it may be done.
pub(crate) fn is_stale(fault: &Fault) -> bool {
    fault.cause().is_some_and(|cause| cause.downcast_ref::<StalePermit>().is_some())
}

impl NotBegun {
    /// What the caller reads.
    pub(crate) fn fault(self) -> Fault {
        match self {
            Self::Stale => {
                Fault::new(FaultKind::Conflict, "the key or the policy changed meanwhile").because(StalePermit)
            }
            Self::Late => Fault::new(FaultKind::Late, "the deadline passed before the key was used"),
            Self::Busy => Fault::new(FaultKind::Busy, "custody has too much waiting").retry_after(BUSY_RETRY),
            Self::Custody(error) => fault(error),
        }
    }
}

/// When to come back to a full queue.
const BUSY_RETRY: Duration = Duration::from_millis(50);
/// When to come back to a custodian that is being restarted.
const RESTART_RETRY: Duration = Duration::from_millis(500);

/// What an administrator of tokens reads of a custody error: all of it, for it is what has to be mended.
pub(crate) fn told(error: CustodyError) -> Fault {
    match error {
        CustodyError::Refused { why } => Fault::new(FaultKind::Refused, why),
        CustodyError::Full { .. } => Fault::new(FaultKind::Refused, error.to_string()),
        CustodyError::Unavailable { why } => Fault::new(FaultKind::Unavailable, why),
        error => fault(error),
    }
}

/// Whether a signature may have been made although none came back (D12).
pub(crate) const fn is_lost(error: &CustodyError) -> bool {
    matches!(error, CustodyError::Unavailable { .. } | CustodyError::Late)
}

/// What the caller reads of a custody error; the error itself is for the log.
pub(crate) fn fault(error: CustodyError) -> Fault {
    match error {
        CustodyError::Sealed => Fault::new(FaultKind::Unavailable, "the daemon is sealed"),
        CustodyError::Unavailable { .. } => {
            Fault::new(FaultKind::Unavailable, "custody is unavailable").retry_after(RESTART_RETRY).because(error)
        }
        CustodyError::Late => Fault::new(FaultKind::Late, "custody did not answer in time").because(error),
        CustodyError::Refused { .. } | CustodyError::Full { .. } => {
            Fault::new(FaultKind::Refused, "custody refuses this").because(error)
        }
        CustodyError::Corrupt { .. } | CustodyError::Failed { .. } => Fault::internal(error),
    }
}

#[cfg(test)]
mod tests;
