//! From sealed to open: root key, store, log key, and the comparison of store and log (D17).

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tracing::info;
use trust::tlog::VerifierKey;
use trust::{Algorithm, Fault, FaultKind, KeyRef, Purpose, Scope, Signable};
use trust_hsm::{Custodian, CustodyError, RootSource, SealContext, SigningOrder};

use super::House;
use super::sealing::blocking;
use crate::audit::{Ended, History, LogSigner, OpenIntent, OutcomeLeaf};
use crate::custody;
use crate::records::{RecordError, UnsealError};

/// How long the log's key may take for a checkpoint.
const CHECKPOINT_PATIENCE: Duration = Duration::from_secs(10);

/// Why store and log do not open together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// One of them was restored, or is from elsewhere.
    #[error("store and log do not belong together: {0}; one of them was put back. `trustd recover` says more")]
    Apart(String),
    /// The store does not read.
    #[error("read the store: {0}")]
    Records(#[from] RecordError),
    /// There is no log key.
    #[error("the store has no key for the log: it was not made to its end by `trustd init`")]
    NoLogKey,
    /// The log key does not fit the origin.
    #[error("the log's key was made for {made_for}; the configuration says {configured}")]
    Origin {
        /// Whose key it is.
        made_for: String,
        /// What is configured.
        configured: String,
    },
    /// A session for the log's key.
    #[error("open a session for the log's key: {0}")]
    Custody(#[from] CustodyError),
}

/// What the log's key is sealed to.
pub(crate) fn log_context(store: [u8; 16], key: KeyRef) -> SealContext {
    SealContext { store, key, algorithm: Algorithm::Ed25519, purpose: Purpose::Log, scope_hash: Scope::Unbound.hash() }
}

impl House {
    /// Opens everything with the root key; at the first time, compares store and log and closes open intents.
    pub(crate) async fn open_up(&self, source: RootSource) -> Result<(), Fault> {
        let _one = self.sealing.lock().await;
        let keyring = Arc::clone(&self.parts.keyring);
        let unsealed = blocking(move || keyring.unseal(source)).await?.map_err(unseal_fault)?;
        if unsealed.store != self.store_uuid() {
            return Err(Fault::new(FaultKind::Refused, "the key ring belongs to another store"));
        }
        self.records().unseal(&unsealed.store_key).await.map_err(|error| match error {
            UnsealError::Store(_) => Fault::internal(error),
            error => Fault::new(FaultKind::Refused, error.to_string()),
        })?;
        self.compare().map_err(|error| {
            self.records().seal();
            Fault::new(FaultKind::Refused, error.to_string())
        })?;
        self.take_log_key().map_err(|error| Fault::new(FaultKind::Refused, error.to_string()))?;
        self.close_open_intents().await?;
        info!(stage = "custody", "unsealed");
        Ok(())
    }

    /// The log must contain the tree the store was anchored to, and the store every completed operation of the log.
    fn compare(&self) -> Result<(), StartError> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(history) = history.as_ref() else { return Ok(()) };
        let anchor = self.records().anchor()?;
        if anchor.size > 0 {
            let (size, _) = self.audit().durable();
            let root = self.audit().root_at(anchor.size);
            if root.ok() != Some(anchor.root) {
                return Err(StartError::Apart(format!(
                    "the store was last changed under a log of {} leaves that this log of {size} does not begin with",
                    anchor.size
                )));
            }
        }
        for (id, completed) in history.completed() {
            let version = trust::KeyVersion::new(completed.version).unwrap_or(trust::KeyVersion::FIRST);
            let known = self.records().knows_version(KeyRef { id, version })?
                && self.records().knows_epoch(id, completed.epoch)?;
            if !known {
                return Err(StartError::Apart(format!(
                    "leaf {} completes version {} and epoch {} of key {id}, which the store does not know",
                    completed.leaf, completed.version, completed.epoch
                )));
            }
        }
        Ok(())
    }

    /// Gives the log its key.
    pub(super) fn take_log_key(&self) -> Result<(), StartError> {
        let log_key = self.records().log_key()?.ok_or(StartError::NoLogKey)?;
        if log_key.origin != self.log_origin() {
            return Err(StartError::Origin { made_for: log_key.origin, configured: self.log_origin().to_owned() });
        }
        let key = VerifierKey::new(&log_key.origin, log_key.public_key.clone()).map_err(|_| StartError::NoLogKey)?;
        let order = SigningOrder {
            context: Arc::new(log_context(self.store_uuid(), log_key.key)),
            spki_sha256: log_key.public_key.spki_sha256(),
            material: log_key.material,
            inputs: Vec::new(),
        };
        let custodian = self.custody().custodian();
        self.audit()
            .set_signer(Some(LogSigner { key, sign: Box::new(move |text| sign_text(&*custodian, &order, text)) }));
        Ok(())
    }

    async fn close_open_intents(&self) -> Result<(), Fault> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner).take();
        let open: Vec<OpenIntent> = history.iter().flat_map(History::open).cloned().collect();
        for intent in open {
            self.write_outcome(self.end_of(&intent)).await?;
        }
        Ok(())
    }

    /// How an intent ended that the last run of the daemon left open (D12).
    fn end_of(&self, intent: &OpenIntent) -> OutcomeLeaf {
        let now = self.clock().now_unix_ms();
        let key = intent.key.zip(intent.version.and_then(trust::KeyVersion::new));
        let done = match (intent.operation.as_str(), key) {
            ("create" | "rotate", Some((id, version))) => {
                self.records().knows_version(KeyRef { id, version }).unwrap_or(false)
            }
            ("sign" | "unseal" | "seal" | "kek-rotate", _) => false,
            (_, Some((id, _))) => intent
                .epoch
                .is_some_and(|epoch| self.records().knows_epoch(id, epoch.saturating_add(1)).unwrap_or(false)),
            (_, None) => false,
        };
        if !done {
            // The intent is durable before the key is used, and nobody knows how far it came.
            return OutcomeLeaf::new(now, intent.leaf, Ended::Unknown);
        }
        let mut outcome = OutcomeLeaf::new(now, intent.leaf, Ended::Done);
        if let Some(((id, _), state)) = key.and_then(|key| Some((key, self.records().state_now(key.0).ok()?))) {
            outcome.key = Some(id.to_string());
            outcome.version = Some(state.newest.number());
            outcome.epoch = Some(state.epoch);
        }
        outcome
    }
}

/// Signs a checkpoint's text in a session of its own, off the sign path (D16).
fn sign_text(custodian: &dyn Custodian, order: &SigningOrder, text: &[u8]) -> Result<[u8; 64], String> {
    let mut session = custodian.open().map_err(|error| error.to_string())?;
    let order = SigningOrder { inputs: vec![Signable::Message(text.to_vec())], ..order.clone() };
    let signed = session.sign(std::slice::from_ref(&order), CHECKPOINT_PATIENCE).pop();
    let signature = signed
        .ok_or_else(|| "no answer".to_owned())?
        .map_err(|error| error.to_string())?
        .pop()
        .ok_or_else(|| "no signature".to_owned())?
        .map_err(|error| error.to_string())?;
    signature.as_bytes().try_into().map_err(|_| "not an Ed25519 signature".to_owned())
}

fn unseal_fault(error: CustodyError) -> Fault {
    match error {
        CustodyError::Refused { why } => Fault::new(FaultKind::Refused, why),
        error => custody::fault(error),
    }
}
