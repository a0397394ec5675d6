//! From sealed to open: root key, store, log key, and the comparison of store and log (D17).

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tracing::info;
use trust::tlog::VerifierKey;
use trust::{Algorithm, Fault, FaultKind, KeyId, KeyRef, KeyVersion, Purpose, Scope, Sha256Digest, Signable};
use trust_hsm::{Custodian, CustodyError, SealContext, SigningOrder};

use super::{House, Opening, blocking};
use crate::audit::{History, LogSigner};
use crate::custody;
use crate::records::{LogKey, RecordError, Rows, UnsealError};
use crate::recover::{self, Apart};

/// How long the log's key may take for a checkpoint.
const CHECKPOINT_PATIENCE: Duration = Duration::from_secs(10);

/// Why the house does not open.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// One of store and log was put back, or is from elsewhere.
    #[error("store and log do not belong together: {0}")]
    Apart(#[from] Apart),
    /// What was imported is not what the backup's seal says.
    #[error("the import is not whole: {0}")]
    Import(&'static str),
    /// The store does not read.
    #[error("read the store: {0}")]
    Records(#[from] RecordError),
    /// There is no log key.
    #[error("the store has no key for the log: it was not made to its end by `trustd init`")]
    NoLogKey,
    /// The log key could not be made.
    #[error("make the log's key: {0}")]
    MakeLogKey(String),
    /// The log key does not fit the origin.
    #[error("the log's key was made for {made_for}; the configuration says {configured}")]
    Origin {
        /// Whose key it is.
        made_for: String,
        /// What is configured.
        configured: String,
    },
}

impl StartError {
    /// What can be done about it.
    pub(crate) const fn remedy(&self) -> &'static str {
        match self {
            Self::Apart(_) => "bring back the newer one, or run `trustd recover`",
            Self::Import(_) => "import the backup again into an empty directory",
            Self::MakeLogKey(_) => "start again; nothing was signed yet",
            Self::NoLogKey => "make another directory by `trustd init`: this one has signed nothing",
            Self::Origin { .. } => "put the old `log_origin` back into the configuration: a new name is a new log",
            Self::Records(_) => "is the store whole? else import a backup into an empty directory",
        }
    }
}

/// What the log's key is sealed to.
pub(crate) fn log_context(store: [u8; 16], key: KeyRef) -> SealContext {
    SealContext { store, key, algorithm: Algorithm::Ed25519, purpose: Purpose::Log, scope_hash: Scope::Unbound.hash() }
}

impl House {
    /// Opens everything with the root key; at the first time, compares store and log and closes open intents. Where
    /// that fails, what was sealed is sealed again.
    pub(crate) async fn open_up(&self, opening: Opening) -> Result<(), Fault> {
        let _one = self.sealing.lock().await;
        if matches!(opening, Opening::Token) && self.held.load(Ordering::Relaxed) {
            return Err(Fault::new(FaultKind::Refused, "sealed by an operator meanwhile"));
        }
        let was_sealed = self.records().is_sealed();
        let opened = self.open_all(opening).await;
        if opened.is_err() && was_sealed {
            self.shut().await?;
        }
        opened
    }

    async fn open_all(&self, opening: Opening) -> Result<(), Fault> {
        let unsealed = match opening {
            Opening::Secret(source) => {
                let keyring = Arc::clone(&self.parts.keyring);
                blocking(move || keyring.unseal(source)).await?.map_err(unseal_fault)?
            }
            Opening::Token => self.unseal_by_token().await?,
        };
        if unsealed.store != self.store_uuid() {
            return Err(Fault::new(FaultKind::Refused, "the key ring belongs to another store"));
        }
        let file = self.config().index_file();
        let rows = self.records().unseal_from(&file, &unsealed.store_key).await.map_err(|error| match error {
            UnsealError::Store(_) => Fault::internal(error),
            error => Fault::new(FaultKind::Refused, error.to_string()),
        })?;
        self.compare().await.map_err(start_fault)?;
        self.adopt_import().await.map_err(start_fault)?;
        self.take_log_key().map_err(start_fault)?;
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.close_open_intents(history).await?;
        info!(stage = "custody", rows = if rows == Rows::Read { "read" } else { "to be read" }, "unsealed");
        if rows == Rows::Unread {
            self.unread.notify_one();
        }
        Ok(())
    }

    async fn compare(&self) -> Result<(), StartError> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Once compared, this process alone writes both.
        let Some(history) = history else { return Ok(()) };
        Ok(recover::compare(self.records(), self.audit(), &history).await?)
    }

    /// The first unseal of an imported store: now that its rows prove where they come from, ring and log are held
    /// against them, and the new log gets its key (D18).
    async fn adopt_import(&self) -> Result<(), StartError> {
        if self.records().log_key()?.is_some() {
            return Ok(());
        }
        let from = self.records().provenance()?.ok_or(StartError::NoLogKey)?;
        let cited = {
            let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            history.as_deref().and_then(History::cites).map(str::to_owned)
        };
        if cited.unwrap_or_default() != from.checkpoint {
            return Err(StartError::Import("the log cites another checkpoint than the backup's"));
        }
        let ring = std::fs::read(self.config().ring()).unwrap_or_default();
        if *Sha256Digest::of(&ring).as_bytes() != from.ring_sha256 {
            return Err(StartError::Import("the KEK ring is not the backup's"));
        }
        if from.checkpoint.lines().next() == Some(self.log_origin()) {
            return Err(StartError::Import("the log has the origin of the old one"));
        }
        let failed = |error: &dyn std::fmt::Display| StartError::MakeLogKey(error.to_string());
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| failed(&error))?;
        let key = KeyRef { id: KeyId::from_bytes(id), version: KeyVersion::FIRST };
        let made = self.custody().generate(log_context(self.store_uuid(), key)).await;
        let made = made.map_err(|error| failed(&error))?;
        let origin = self.log_origin().to_owned();
        let log_key = LogKey { key, public_key: made.public_key, material: made.material, origin };
        self.records().set_log_key_once(log_key).await?;
        info!(stage = "audit", origin = self.log_origin(), "the log of the import has its key");
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

fn start_fault(error: StartError) -> Fault {
    Fault::new(FaultKind::Refused, format!("{error}; {}", error.remedy())).because(error)
}

pub(super) fn unseal_fault(error: CustodyError) -> Fault {
    match error {
        CustodyError::Refused { why } => Fault::new(FaultKind::Refused, why),
        error => custody::fault(error),
    }
}
