//! The end of a key in a token: once it is destroyed in the store, its objects go, too.
//!
//! The state is durable first, and says that the key never signs again; so the objects may wait until their token is
//! there, and what a crash interrupted is done again.

use std::sync::Arc;
use std::time::Duration;

use tracing::{Instrument as _, info, warn};
use trust::principal::Service;
use trust::{Fault, FaultKind, KeyRef, Principal};
use trust_hsm::{CustodianState, DestroyOrder, Material, Removed, TokenKey};

use crate::audit::{Ended, IntentLeaf, OutcomeLeaf};
use crate::authorize::Grounds;
use crate::custody;
use crate::house::House;
use crate::permit::{Operation, Permit};
use crate::records::{KeyView, VersionRecord, record_fault};
use crate::removals::Later;

/// How long objects are left alone that could not be taken out: each attempt leaves leaves.
const RETRY_AFTER: Duration = Duration::from_secs(15 * 60);
/// The same where the token did not answer, or not in time.
const RETRY_SOON: Duration = Duration::from_secs(10);
/// How long a token must serve on after it showed no object before that is believed: far longer than a token that went
/// away is taken for one that serves.
const BELIEVE_AFTER: Duration = Duration::from_secs(20);

/// One version's objects that are to go.
struct Removal {
    key: KeyRef,
    token: TokenKey,
    order: DestroyOrder,
}

impl Operation for Removal {
    fn describe(&self, leaf: &mut IntentLeaf) {
        leaf.operation = "remove-object";
        leaf.name_key(self.key);
        leaf.custodian = Some(self.token.token.to_string());
    }
}

impl House {
    /// Takes the objects of destroyed keys out of those tokens that serve; called from time to time.
    pub(crate) async fn remove_objects(self: &Arc<Self>) -> Result<(), Fault> {
        for view in self.records().object_pending().map_err(record_fault)? {
            for version in view.versions.iter() {
                let key = version.key;
                let Err(fault) = self.remove_object(&view, version).await else { continue };
                warn!(stage = "keys", %key, %fault, "the objects of a destroyed key are still in their token");
                let soon = matches!(fault.kind(), FaultKind::Busy | FaultKind::Late | FaultKind::Unavailable);
                let after = if soon { RETRY_SOON } else { RETRY_AFTER };
                self.removals().set(key, Later { at: self.clock().monotonic() + after, was_absent: false });
            }
        }
        Ok(())
    }

    async fn remove_object(self: &Arc<Self>, view: &KeyView, version: &VersionRecord) -> Result<(), Fault> {
        let Some(Material::Token(token)) = version.materials.first() else { return Ok(()) };
        let serves = |custody: &custody::Custody| custody.status().1 == CustodianState::Ready;
        // Away, or of no configuration any more: it is looked at again, and no leaf is spent on it.
        if !self.custodians().token(&token.token).is_some_and(|mounted| mounted.is_ok_and(serves)) {
            self.removals().clear(version.key);
            return Ok(());
        }
        if self.clock().monotonic() < self.removals().of(version.key).at {
            return Ok(());
        }
        let order = DestroyOrder {
            context: Arc::new(view.record.seal_context(self.store_uuid(), version.key.version)),
            spki_sha256: version.public_key.spki_sha256(),
            material: Material::Token(token.clone()),
        };
        let removal = Removal { key: version.key, token: token.clone(), order };
        // A person was permitted to destroy the key; nobody is asked again.
        let grounds = Grounds { policies: Vec::new(), revision: self.authorizer().revision() };
        let deadline = self.clock().monotonic() + self.config().limits.request_time_max;
        let who = Principal::Service(Service::Destruction);
        let permit = Permit::grant(who, removal, grounds, deadline, self.take_flight()?);
        let house = Arc::clone(self);
        self.detached(async move { house.carry_removal(permit).await }.in_current_span()).await?
    }

    async fn carry_removal(&self, permit: Permit<Removal>) -> Result<(), Fault> {
        let intent = self.open_intent(permit).await?;
        let (key, order) = (intent.operation().key, intent.operation().order.clone());
        let removed = match self.custodians().of(&order.material) {
            Ok(custody) => custody.destroy(order).await.map_err(custody::told),
            Err(error) => Err(custody::told(error)),
        };
        let gone = removed.map(|removed| removed == Removed::Deleted || self.removals().of(key).was_absent);
        let stored = match gone {
            Ok(true) => self.records().forget_object(key, self.anchor()).await.map(|_| true).map_err(record_fault),
            other => other,
        };
        let result = match &stored {
            Ok(true) => Ended::Done,
            Ok(false) => Ended::NotStarted,
            // The call had begun, and nobody knows how far it came.
            Err(fault) if matches!(fault.kind(), FaultKind::Late | FaultKind::Unavailable) => Ended::Unknown,
            Err(_) => Ended::Failed,
        };
        let mut outcome = OutcomeLeaf::new(self.clock().now_unix_ms(), intent.leaf(), result);
        outcome.reason = stored.as_ref().err().map(|fault| fault.kind().name().to_owned());
        let (_, _flight) = intent.close();
        self.write_outcome(outcome).await?;
        if stored? {
            self.removals().clear(key);
            info!(stage = "keys", %key, "the objects of a destroyed key are gone from their token");
        } else {
            self.removals().set(key, Later { at: self.clock().monotonic() + BELIEVE_AFTER, was_absent: true });
        }
        Ok(())
    }
}
