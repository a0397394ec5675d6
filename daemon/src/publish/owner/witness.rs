//! Files signed anew that say what they said before: after somebody changed who may sign, or before they expire.

use std::time::Duration;

use trust::format::tuf::{Gun, RoleName};
use trust::{Fault, FaultKind, Principal};

use super::Changed;
use super::draft::{Draft, no_role};
use crate::publish::{Asked, PublishError, Publisher};

impl Publisher<'_> {
    /// Signs these roles' files anew, with later ends. Whoever does that stands in for all that they say.
    ///
    /// # Errors
    /// [`Fault`] of kind missing without trust data, refused where a role has no file or the daemon too few of its
    /// keys; else what the stages say. Nothing is published then.
    pub(crate) async fn witness(
        self,
        who: &Principal,
        gun: &Gun,
        roles: Vec<RoleName>,
        deadline: Duration,
    ) -> Result<Changed, Fault> {
        let asked = Asked::by(who, gun, deadline);
        self.for_owner(asked, |house, asked| async move { Publisher(&house).witness_now(&asked, roles).await }).await
    }

    async fn witness_now(self, asked: &Asked, mut roles: Vec<RoleName>) -> Result<Changed, Fault> {
        // Parents first: root, targets, and below targets by name.
        roles.sort();
        self.may_begin(asked, "witness", roles.clone(), |_| Ok(Vec::new())).await?;
        let turn = self.turn(asked).await?;
        let held = self.generation(&asked.gun).await?;
        if !held.head.is_alive() {
            return Err(PublishError::NotFound.into());
        }
        let mut draft = Draft::new(asked, "witness", Vec::new(), &held.repository);
        for role in &roles {
            held.repository.authority(role).ok_or_else(|| no_role(role))?;
            if held.repository.file(role).is_none() {
                let words = format!("nobody has published {role}: there is nothing to sign anew");
                return Err(Fault::new(FaultKind::Refused, words));
            }
            if *role == RoleName::Root {
                self.draft_root(&mut draft, &[], None, None)?;
            } else {
                self.draft_anew(&mut draft, role, &[])?;
            }
        }
        self.publish_draft(&turn, &held, draft).await
    }
}
