//! Existing private keys, taken into custody without the daemon reading them.
//!
//! Whoever brings one asks for an offer first, seals the key to it, and sends what
//! he sealed. What the key is to be is bound to the ciphertext: the custodian opens
//! it only for the principal, name, purpose, scope, algorithm, forms and place that it was sealed for.

use std::sync::Arc;
use std::time::Duration;

use trust::import::ImportBinding;
use trust::{Fault, FaultKind, Principal, Sha256Digest};
use trust_hsm::{CustodyError, ImportOrder, Offer, OfferId, SealContext, TokenName};

use super::create::Source;
use super::{KeyReceipt, NewKey};
use crate::authorize::Action;
use crate::custody;
use crate::house::House;
use crate::idempotency::{IdempotencyKey, RequestHash};
use crate::records::KeyRecord;

/// A key that somebody brings, beside what it is to be.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    /// What it is sealed to.
    pub(crate) offer: OfferId,
    /// The sealed key.
    pub(crate) sealed: Vec<u8>,
}

impl Envelope {
    pub(super) fn order(&self, context: SealContext, info: Vec<u8>) -> ImportOrder {
        let Self { offer, sealed } = self.clone();
        ImportOrder { context, offer, info, envelope: sealed }
    }

    /// The hash of a request for a key, with what is brought.
    pub(super) fn hash_with(&self, key: Sha256Digest) -> Sha256Digest {
        let hash = RequestHash::default().add(key.as_bytes()).add(self.offer.as_bytes());
        hash.add(Sha256Digest::of(&self.sealed).as_bytes()).finish()
    }
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

impl House {
    /// Hands out what a key is sealed to. It leaves no leaf: nothing is made, and the offer alone allows nothing.
    pub(crate) async fn offer_import(&self, principal: &Principal, new: NewKey) -> Result<ImportOffer, Fault> {
        let record = self.record_of(new)?;
        self.may_make(principal, Action::ImportKey, &record)?;
        self.has_place(principal, Action::ImportKey, &record).await?;
        let offer = self.custody_of(record.token.as_ref())?.offer().await.map_err(|error| match error {
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
        new: NewKey,
        envelope: Envelope,
        idempotency: Option<IdempotencyKey>,
        deadline: Duration,
    ) -> Result<KeyReceipt, Fault> {
        self.make_key(principal, new, Source::Envelope(envelope), idempotency, deadline).await
    }

    /// What a key that is brought must have been sealed for.
    pub(super) fn binding(&self, principal: &Principal, record: &KeyRecord) -> Vec<u8> {
        let binding = ImportBinding {
            store: &self.store_uuid(),
            principal: &principal.to_string(),
            name: &record.name,
            purpose: record.purpose,
            algorithm: record.algorithm,
            scope: &record.scope,
            forms: &record.forms,
            custodian: record.token.as_ref().map_or(ImportBinding::SOFTWARE, TokenName::as_str),
        };
        binding.info()
    }
}
