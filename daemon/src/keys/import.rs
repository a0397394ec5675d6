//! Existing private keys, taken into custody without the daemon reading them.
//!
//! Whoever brings one asks for an offer first, seals the key to it, and sends what
//! he sealed. What the key is to be is bound to the ciphertext: the custodian opens
//! it only for the principal, name, purpose, scope, algorithm, forms and place that it was sealed for.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;
use trust::import::ImportBinding;
use trust::{Fault, FaultKind, KeyVersion, Principal, Sha256Digest};
use trust_hsm::{CustodyError, ImportOrder, Offer, OfferId, SealContext, TokenName};

use super::change::KeyReplay;
use super::create::{Birth, hash_of};
use super::{KeyReceipt, NewKey, afresh};
use crate::authorize::Action;
use crate::custody;
use crate::house::House;
use crate::idempotency::{IdempotencyKey, RequestHash};
use crate::permit::Permit;
use crate::records::KeyRecord;

/// A key that somebody brings.
#[derive(Debug, Clone)]
pub(crate) struct NewImport {
    /// What it is to be.
    pub(crate) key: NewKey,
    /// What it is sealed to.
    pub(crate) offer: OfferId,
    /// The sealed key.
    pub(crate) envelope: Vec<u8>,
}

/// What somebody needs to seal a key.
#[derive(Debug)]
pub(crate) struct ImportOffer {
    /// The custodian's key.
    pub(crate) offer: Offer,
    /// When it ends: seconds since the Unix epoch.
    pub(crate) expires_at_unix_seconds: u64,
    /// The store's uuid.
    pub(crate) store: [u8; 16],
    /// Who asked, as he is bound to what he seals.
    pub(crate) principal: String,
}

/// A sealed key on its way to custody.
pub(super) struct Brought {
    offer: OfferId,
    info: Vec<u8>,
    envelope: Vec<u8>,
}

impl Brought {
    pub(super) fn order(&self, context: SealContext) -> ImportOrder {
        ImportOrder { context, offer: self.offer, info: self.info.clone(), envelope: self.envelope.clone() }
    }
}

impl House {
    /// Hands out what a key is sealed to. It leaves no leaf: nothing is made, and the offer alone allows nothing.
    pub(crate) async fn offer_import(&self, principal: &Principal, new: NewKey) -> Result<ImportOffer, Fault> {
        let token = new.token.clone();
        let record = self.record_of(new)?;
        self.may_make(principal, Action::ImportKey, &record)?;
        self.has_place(principal, Action::ImportKey, &record, token.as_ref()).await?;
        let offer = self.custody_of(token.as_ref())?.offer().await.map_err(|error| match error {
            CustodyError::Unavailable { why } => Fault::new(FaultKind::Unavailable, format!("no offer now: {why}")),
            error => custody::fault(error),
        })?;
        let lasts = Offer::LASTS.as_secs();
        Ok(ImportOffer {
            offer,
            expires_at_unix_seconds: self.clock().now_unix_seconds().saturating_add(lasts),
            store: self.store_uuid(),
            principal: principal.to_string(),
        })
    }

    /// Takes a key that was sealed to an offer.
    pub(crate) async fn import_key(
        self: &Arc<Self>,
        principal: &Principal,
        new: NewImport,
        idempotency: Option<IdempotencyKey>,
        deadline: Duration,
    ) -> Result<KeyReceipt, Fault> {
        afresh(|| self.try_to_import(principal, new.clone(), idempotency.clone(), deadline)).await
    }

    async fn try_to_import(
        self: &Arc<Self>,
        principal: &Principal,
        new: NewImport,
        idempotency: Option<IdempotencyKey>,
        deadline: Duration,
    ) -> Result<KeyReceipt, Fault> {
        let NewImport { key, offer, envelope } = new;
        let hash = RequestHash::default()
            .add(hash_of(&key).as_bytes())
            .add(offer.as_bytes())
            .add(Sha256Digest::of(&envelope).as_bytes())
            .finish();
        let token = key.token.clone();
        let record = self.record_of(key)?;
        let grounds = self.may_make(principal, Action::ImportKey, &record)?;
        let replay = match self.find_key_replay(principal, "import", idempotency, hash).await? {
            KeyReplay::Done(receipt) => return Ok(receipt),
            KeyReplay::New(replay) => replay,
        };
        self.has_place(principal, Action::ImportKey, &record, token.as_ref()).await?;
        let info = self.binding(principal, &record, token.as_ref());
        let brought = Some(Brought { offer, info, envelope });
        let birth = Birth { record, version: KeyVersion::FIRST, epoch: None, token, brought, replay };
        let permit = Permit::grant(principal.clone(), birth, grounds, deadline, self.take_flight()?);
        let house = Arc::clone(self);
        self.detached(async move { house.give_birth(permit).await }.in_current_span()).await?
    }

    fn binding(&self, principal: &Principal, record: &KeyRecord, token: Option<&TokenName>) -> Vec<u8> {
        let binding = ImportBinding {
            store: &self.store_uuid(),
            principal: &principal.to_string(),
            name: &record.name,
            purpose: record.purpose,
            algorithm: record.algorithm,
            scope: &record.scope,
            forms: &record.forms,
            custodian: token.map_or(ImportBinding::SOFTWARE, TokenName::as_str),
        };
        binding.info()
    }
}
