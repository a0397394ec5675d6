//! A proposal that goes without having been published: somebody takes it back, or it cannot be signed any more. Either
//! is on record before it is done, as every change is.

use std::sync::Arc;
use std::time::Duration;

use tracing::{Instrument as _, info};
use trust::format::tuf::Gun;
use trust::{Fault, Principal, Sha256Digest};

use super::approve::waiting;
use super::pending::Standing;
use crate::audit::{IntentLeaf, SubjectBody};
use crate::authorize::{Action, Grounds};
use crate::custody::NotBegun;
use crate::house::no_more;
use crate::permit::{Intent, Operation};
use crate::publish::authorize::together;
use crate::publish::shelf::Generation;
use crate::publish::{Asked, PublishError, Publisher};
use crate::records::{Head, Proposal};

/// Why it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Going {
    /// It cannot be signed any more.
    Discarded,
    /// Somebody takes it back.
    Withdrawn,
}

impl Going {
    const fn operation(self) -> &'static str {
        match self {
            Self::Discarded => "discard",
            Self::Withdrawn => "withdraw",
        }
    }
}

/// A proposal that is permitted to go.
struct Removal {
    gun: Gun,
    head: Head,
    digest: Sha256Digest,
    begun_by: String,
    going: Going,
}

impl Operation for Removal {
    fn describe(&self, leaf: &mut IntentLeaf) {
        leaf.operation = self.going.operation();
        leaf.subject = Some(SubjectBody::proposal(&self.gun, self.digest, &self.begun_by));
    }
}

impl Publisher<'_> {
    /// Takes a proposal back: whoever began it may, whoever could sign it, and whoever may delete all of the trust data.
    ///
    /// # Errors
    /// [`Fault`] of kind missing where none waits, conflict where it is another one; else what the policy says.
    pub(crate) async fn withdraw(
        self,
        who: &Principal,
        gun: &Gun,
        digest: Sha256Digest,
        deadline: Duration,
    ) -> Result<(), Fault> {
        let asked = Asked::by(who, gun, deadline);
        let house = Arc::clone(self.0);
        let work = async move { Publisher(&house).withdraw_now(&asked, digest).await };
        self.0.detached(work.in_current_span()).await?
    }

    async fn withdraw_now(self, asked: &Asked, digest: Sha256Digest) -> Result<(), Fault> {
        let (_turn, grounds) = self.turn_at_proposal(asked).await?;
        let held = self.generation(&asked.gun).await?;
        let proposal = waiting(&held, digest)?;
        let grounds = self.may_withdraw(asked, grounds, (&held, proposal)).await?;
        self.remove_proposal(asked, grounds, (&held.head, proposal), Going::Withdrawn).await?;
        Ok(())
    }

    /// On what grounds the caller, who may publish here, takes a proposal back.
    async fn may_withdraw(
        self,
        asked: &Asked,
        grounds: Grounds,
        (held, proposal): (&Generation, &Proposal),
    ) -> Result<Grounds, PublishError> {
        if proposal.begun_by == asked.who.to_string() {
            return Ok(grounds);
        }
        let could_sign = match self.standing(&asked.gun, held, proposal).await? {
            Standing::Open(pending) => {
                let work = self.approval_of(asked, &held.repository, &pending)?;
                self.could_approve(asked, &work, &pending)?
            }
            // It is of no use to anybody.
            Standing::Over(_) => true,
        };
        if could_sign {
            return Ok(grounds);
        }
        // Whoever may delete all trust data of the repository could take the proposal away with it.
        if let Some(deletion) = self.could_delete(&asked.who, &asked.gun) {
            return together(Some(grounds), deletion);
        }
        self.0.note_refusal_of(&asked.gun, &asked.who, Action::DeleteTrust, "not-permitted", None);
        let words = "a proposal is withdrawn by whoever began it, by whoever could sign it, and by whoever may delete the \
                     trust data of the repository (delete-trust)";
        Err(PublishError::Denied { words: Some(words.to_owned()) })
    }

    /// Takes the proposal of a head away. The versions that were reserved for it are never used again.
    pub(super) async fn remove_proposal(
        self,
        asked: &Asked,
        grounds: Grounds,
        (head, proposal): (&Head, &Proposal),
        going: Going,
    ) -> Result<Head, PublishError> {
        let (digest, begun_by) = (proposal.digest(), proposal.begun_by.clone());
        let removal = Removal { gun: asked.gun.clone(), head: head.clone(), digest, begun_by, going };
        let intent = self.open_intent(asked, removal, grounds).await?;
        let ended = self.removed(&intent).await;
        let said = ended.as_ref().map_err(PublishError::undone);
        let (Removal { gun, .. }, _flight) = self.0.close_intent(intent, said, no_more).await?;
        info!(stage = "publish", repository = %gun, %digest, ?going, is_done = ended.is_ok(), "a proposal goes");
        ended
    }

    async fn removed(self, intent: &Intent<Removal>) -> Result<Head, PublishError> {
        let Removal { gun, head, .. } = intent.operation();
        if intent.policy_revision() != self.0.authorizer().revision() {
            return Err(NotBegun::Stale.fault().into());
        }
        let next = Head { proposal: None, ..head.clone() };
        Ok(self.0.records().publish(gun, next, &[], None, self.0.anchor()).await?)
    }
}
