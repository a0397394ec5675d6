//! The way of one Sign: five stages in one place, every turn visible.
//!
//! 1 the door parsed the request · 2 [`authorize`] gives a permit · 3 the permit
//! becomes an intent on disk · 4 custody signs and verifies · 5 the outcome leaf
//! is appended and a [`Receipt`] comes out.

mod authorize;
mod receipt;
mod release;
mod replay;

use std::sync::Arc;
use std::time::Duration;

use tracing::{Instrument as _, debug_span};
use trust::{Fault, FaultKind, Form, Principal, Reference};

use crate::audit::{Ended, Leaf, OutcomeLeaf, batch_root};
use crate::custody::{self, NotBegun, Visit, VisitEnd};
use crate::house::{House, audit_fault};
use crate::idempotency::IdempotencyKey;
use crate::keys::{KeySelector, afresh};
use crate::order::{Shape, SignOrder};
use crate::permit::Permit;
use crate::statement::Statement;

use receipt::SignedItem;
pub(crate) use receipt::{Receipt, SignedForm};
pub(crate) use replay::Keep;

/// What a door read: parsed and bounded.
#[derive(Debug, Clone)]
pub(crate) struct SigningRequest {
    /// Who asks, by verified identity.
    pub(crate) principal: Principal,
    /// Which key.
    pub(crate) key: KeySelector,
    /// What is to be said: 1 to `batch_items_max`, all of one purpose.
    pub(crate) statements: Vec<Statement>,
    /// One statement, or a batch.
    pub(crate) shape: Shape,
    /// Which forms; empty: all of the key.
    pub(crate) forms: Vec<Form>,
    /// For retries.
    pub(crate) idempotency: Option<IdempotencyKey>,
    /// When it is too late, in time of the clock's `monotonic`.
    pub(crate) deadline: Duration,
}

impl House {
    /// Signs what was asked, or says why not. Work past the permit runs detached
    /// and finishes: a caller who hangs up leaves no open intent.
    pub(crate) async fn sign(self: &Arc<Self>, request: SigningRequest) -> Result<Receipt, Fault> {
        let turn = self.turn(&request.principal, replay::METHOD, request.idempotency.clone(), request.deadline).await?;
        let replay = self.find_receipt(turn, &request).await?;
        afresh(|| self.try_to_sign(&request, &replay)).await
    }

    async fn try_to_sign(self: &Arc<Self>, request: &SigningRequest, replay: &replay::Found) -> Result<Receipt, Fault> {
        let permit = authorize::permit(self, request, replay.retry_of()).instrument(debug_span!("authorize")).await?;
        if let Some(receipt) = replay.receipt(permit.operation(), self.log_origin()) {
            return Ok(receipt);
        }
        let house = Arc::clone(self);
        let keep = replay.keep();
        let work = async move { house.carry_out(permit, keep).await };
        self.detached(work.in_current_span()).await?
    }

    /// Whether [`House::sign`] would be allowed for `reference` now. Signs nothing and promises nothing (D2).
    pub(crate) async fn may_sign(
        &self,
        principal: &Principal,
        key: &KeySelector,
        reference: &Reference,
    ) -> Result<(), Fault> {
        authorize::may(self, principal, key, reference).await
    }

    /// Stages three to five.
    pub(crate) async fn carry_out(&self, permit: Permit<SignOrder>, keep: Option<Keep>) -> Result<Receipt, Fault> {
        if let Some(items) = permit.operation().batch_items() {
            self.audit().keep_batch(items).await.map_err(audit_fault)?;
        }
        let intent = self.open_intent(permit).instrument(debug_span!("audit")).await?;
        let leaf = intent.leaf();
        if let Some(keep) = &keep
            && let Err(fault) = self.keep_intent(keep, leaf, intent.operation().key().version).await
        {
            self.write_outcome(outcome_of(self.clock().now_unix_ms(), leaf, Ended::NotStarted, &fault)).await?;
            return Err(fault);
        }
        let visit = match self.custodians().of(intent.operation().material()) {
            Ok(custody) => custody.sign(intent).instrument(debug_span!("custody", leaf)).await,
            Err(error) => Some(Visit { intent, end: VisitEnd::NotBegun(NotBegun::Custody(error)) }),
        };
        let Some(Visit { intent, end }) = visit else {
            let mut outcome = OutcomeLeaf::new(self.clock().now_unix_ms(), leaf, Ended::Unknown);
            outcome.reason = Some("the session ended".to_owned());
            self.write_outcome(outcome).await?;
            return Err(Fault::internal("a custody session thread ended"));
        };
        let (order, flight) = intent.close();
        let receipt = self.receipt(leaf, order, end).instrument(debug_span!("receipt", leaf)).await;
        if let (Ok(receipt), Some(keep)) = (&receipt, &keep) {
            self.keep_receipt(keep, receipt).await?;
        }
        drop(flight);
        receipt
    }

    /// Stage five: the outcome is written before anything is answered.
    async fn receipt(&self, leaf: u64, order: SignOrder, end: VisitEnd) -> Result<Receipt, Fault> {
        let now = self.clock().now_unix_ms();
        let (outcome, answer) = match end {
            VisitEnd::NotBegun(why) => {
                let fault = why.fault();
                (outcome_of(now, leaf, Ended::NotStarted, &fault), Err(fault))
            }
            VisitEnd::Unknown(error) => {
                let fault = custody::fault(error);
                (outcome_of(now, leaf, Ended::Unknown, &fault), Err(fault))
            }
            VisitEnd::Signed(signatures) => {
                let receipt = Receipt::of(order, leaf, self.log_origin(), signatures);
                self.count(&receipt);
                (signed_outcome(now, leaf, &receipt), Ok(receipt))
            }
        };
        self.write_outcome(outcome).await?;
        answer
    }

    /// Counts what was signed by algorithm and form.
    fn count(&self, receipt: &Receipt) {
        for form in Form::ALL {
            let signed = receipt.items.iter().flatten().flatten().filter(|signed| signed.form == form).count();
            if let (1.., Ok(count)) = (signed, u64::try_from(signed)) {
                self.metrics().signed(receipt.public_key.algorithm(), form, count);
            }
        }
    }

    /// Appends an outcome; it is flushed with the next group (D12).
    pub(crate) async fn write_outcome(&self, outcome: OutcomeLeaf) -> Result<(), Fault> {
        self.audit().append_soon(Leaf::Outcome(outcome)).await.map_err(audit_fault)
    }
}

/// What is written of a sign that nothing came of.
fn outcome_of(now: u64, leaf: u64, ended: Ended, fault: &Fault) -> OutcomeLeaf {
    let mut outcome = OutcomeLeaf::new(now, leaf, ended);
    outcome.reason = Some(reason_of(fault));
    outcome
}

/// What the outcome of a visit says: the hash of each signature, or for a batch one root over all.
fn signed_outcome(now: u64, leaf: u64, receipt: &Receipt) -> OutcomeLeaf {
    let failed: Vec<u64> =
        (0..).zip(&receipt.items).filter(|(_, item)| item.is_err()).map(|(index, _)| index).collect();
    let is_lost = |item: &SignedItem| item.as_ref().is_err_and(custody::is_lost);
    let result = match failed.len() {
        all if all < receipt.items.len() => Ended::Signed,
        // The token may have signed what did not come back.
        _ if receipt.items.iter().any(is_lost) => Ended::Unknown,
        _ => Ended::Failed,
    };
    let mut outcome = OutcomeLeaf::new(now, leaf, result);
    let hashes: Vec<_> = receipt
        .items
        .iter()
        .flatten()
        .flatten()
        .map(|signed| trust::Sha256Digest::of(signed.signature.as_bytes()))
        .collect();
    outcome.signatures = match receipt.shape {
        Shape::Single => hashes.iter().map(|hash| hash.to_hex()).collect(),
        Shape::Batch => vec![batch_root(hashes.iter().map(|hash| hash.as_bytes().as_slice())).to_hex()],
    };
    if receipt.shape == Shape::Batch {
        outcome.failed = failed;
        outcome.failed.truncate(FAILED_NAMED_MAX);
    }
    outcome
}

/// The most failed items an outcome names; a leaf is small.
const FAILED_NAMED_MAX: usize = 4096;

fn reason_of(fault: &Fault) -> String {
    if custody::is_stale(fault) { "stale" } else { fault.kind().name() }.to_owned()
}

/// What a request of one purpose asks for when its statements are of several.
fn mixed() -> Fault {
    Fault::new(FaultKind::Malformed, "items: all of one kind")
}

#[cfg(test)]
mod tests {
    use trust::{Algorithm, KeyId, KeyRef, KeyVersion, PublicKey, Signature};
    use trust_hsm::CustodyError;

    use super::*;

    fn receipt(shape: Shape, items: Vec<SignedItem>) -> Receipt {
        // RFC 8032 §7.1, test 1.
        let key = hex::decode("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap();
        Receipt {
            key: KeyRef { id: KeyId::from_bytes([1; 16]), version: KeyVersion::FIRST },
            public_key: PublicKey::from_ed25519_bytes(&key.try_into().unwrap()).unwrap(),
            origin: "log.example".to_owned(),
            leaf: 5,
            shape,
            items,
            second_leaf: None,
        }
    }

    fn signed() -> SignedItem {
        let signature = Signature::new(Algorithm::Ed25519, vec![7; 64]).unwrap();
        Ok(vec![SignedForm { form: Form::Raw, payload: Vec::new(), signature }])
    }

    fn gone() -> SignedItem {
        Err(CustodyError::Unavailable { why: "the token is not there".to_owned() })
    }

    fn unsound() -> SignedItem {
        Err(CustodyError::Failed { what: "a signature did not verify".to_owned() })
    }

    #[test]
    fn one_signature_that_a_token_could_not_make_is_answered_as_what_the_token_met() {
        for (item, kind) in [
            (gone(), FaultKind::Unavailable),
            (Err(CustodyError::Late), FaultKind::Late),
            (unsound(), FaultKind::Internal),
        ] {
            let fault = receipt(Shape::Single, vec![item]).into_single().unwrap_err();
            assert_eq!(fault.kind(), kind);
        }
        let fault = receipt(Shape::Single, vec![gone()]).into_single().unwrap_err();
        assert!(fault.comes_back_after().is_some(), "it comes back");
    }

    #[test]
    fn an_outcome_of_which_an_answer_was_lost_does_not_say_that_nothing_was_signed() {
        let (single, batch) = (Shape::Single, Shape::Batch);
        for (shape, items, ended, failed) in [
            (single, vec![gone()], Ended::Unknown, vec![]),
            (single, vec![unsound()], Ended::Failed, vec![]),
            (batch, vec![unsound(), gone()], Ended::Unknown, vec![0, 1]),
            (batch, vec![unsound(), unsound()], Ended::Failed, vec![0, 1]),
            (batch, vec![signed(), gone()], Ended::Signed, vec![1]),
        ] {
            let outcome = signed_outcome(7, 5, &receipt(shape, items));
            assert_eq!((outcome.result, outcome.failed), (ended.name(), failed));
        }
    }
}
