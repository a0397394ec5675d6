//! Deletion: the files are gone for every reader, and for good; versions go on behind them, and the last root with its owner.

use std::sync::Arc;
use std::time::Duration;

use tracing::{Instrument as _, info};
use trust::format::tuf::{Gun, RoleName};

use super::{Asked, Asker, PublishError, Publisher};
use crate::audit::{IntentLeaf, SubjectBody};
use crate::authorize::{Action, Grounds};
use crate::custody::NotBegun;
use crate::house::no_more;
use crate::permit::{Intent, Operation};
use crate::records::{ChangeKind, Head};

/// A deletion that is permitted.
struct Deletion {
    gun: Gun,
    head: Head,
}

impl Operation for Deletion {
    fn describe(&self, leaf: &mut IntentLeaf) {
        leaf.operation = "delete-trust";
        let timestamp = self.head.marks.get(&RoleName::Timestamp).copied();
        leaf.subject = Some(SubjectBody::deletion(&self.gun, timestamp));
    }
}

impl Publisher<'_> {
    /// Deletes the trust data of a repository; done, too, where there is none.
    ///
    /// # Errors
    /// [`PublishError`]; nothing is deleted then.
    pub(crate) async fn delete(self, asker: Asker<'_>, gun: &Gun, deadline: Duration) -> Result<(), PublishError> {
        let grounds = self.allow(asker.who, Action::DeleteTrust, gun)?;
        let asked = Asked::of(asker, gun, deadline);
        let house = Arc::clone(self.0);
        let work = async move { Publisher(&house).remove(asked, grounds).await };
        self.0.detached(work.in_current_span()).await?
    }

    async fn remove(self, asked: Asked, grounds: Grounds) -> Result<(), PublishError> {
        let _turn = self.turn(&asked).await?;
        let head = self.0.records().head(&asked.gun).await?;
        if !head.is_alive() {
            return Ok(());
        }
        let deletion = Deletion { gun: asked.gun.clone(), head };
        let intent = self.open_intent(&asked, deletion, grounds).await?;
        let ended = self.bury(&intent).await;
        let said = ended.as_ref().map_err(PublishError::undone);
        let (deletion, _flight) = self.0.close_intent(intent, said, no_more).await?;
        info!(stage = "publish", repository = %deletion.gun, is_done = ended.is_ok(), "trust data deleted");
        ended
    }

    async fn bury(self, intent: &Intent<Deletion>) -> Result<(), PublishError> {
        let Deletion { gun, head } = intent.operation();
        if intent.policy_revision() != self.0.authorizer().revision() {
            return Err(NotBegun::Stale.fault().into());
        }
        let mut after = head.clone();
        after.bury();
        self.0.records().publish(gun, after, &[], Some(ChangeKind::Deletion), self.0.anchor()).await?;
        Ok(())
    }
}
