//! Those who may sign no more: whole roles, or keys of them.

use std::collections::BTreeSet;
use std::time::Duration;

use trust::format::tuf::plan::{Change, NewDelegation};
use trust::format::tuf::{Gun, Repository, RoleName};
use trust::{Fault, FaultKind, Principal, Sha256Digest};

use super::Changed;
use super::delegate::{DelegateName, delegation};
use super::difference::Changing;
use super::draft::{Draft, no_role, speakers_of};
use crate::publish::{Asked, PublishError, Publisher};

/// Bare keys.
type Keys = BTreeSet<Sha256Digest>;

impl Publisher<'_> {
    /// Lets a role sign no more, or these of its keys. A signer's keys leave `targets/releases` with him, but for those that
    /// another signer has, too. What `targets/releases` says goes on under the keys that stay, where the daemon can sign.
    ///
    /// # Errors
    /// [`Fault`] of kind missing without trust data, refused where there is no such role or key, or too few keys would
    /// stay; else what the stages say. Nothing is published then.
    pub(crate) async fn undelegate(
        self,
        who: &Principal,
        gun: &Gun,
        (name, keys): (DelegateName, Keys),
        deadline: Duration,
    ) -> Result<Changed, Fault> {
        let asked = Asked::by(who, gun, deadline);
        let work = |house, asked| async move { Publisher(&house).undelegate_now(&asked, &name, &keys).await };
        self.for_owner(asked, work).await
    }

    async fn undelegate_now(self, asked: &Asked, name: &DelegateName, keys: &Keys) -> Result<Changed, Fault> {
        let parent = name.role().parent();
        let changing = |repository: &Repository| -> Result<Vec<Changing>, Fault> {
            let changing = changes(repository, name, keys)?.into_iter().filter_map(|change| match change {
                Change::Delegate(new) => Changing::to(repository, &new),
                Change::Undelegate(role) => Changing::gone(repository, &role),
                Change::Put { .. } | Change::Remove { .. } => None,
            });
            Ok(changing.collect())
        };
        self.may_begin(asked, "delegate", vec![parent.clone()], changing).await?;
        let turn = self.turn(asked).await?;
        let held = self.generation(&asked.gun).await?;
        if !held.head.is_alive() {
            return Err(PublishError::NotFound.into());
        }
        let mut draft = Draft::new(asked, "delegate", Vec::new(), &held.repository);
        let changes = changes(&held.repository, name, keys)?;
        self.draft_targets(&mut draft, &parent, &changes)?;
        for role in name.roles() {
            self.mend(&mut draft, &role)?;
        }
        self.publish_draft(&turn, &held, draft).await
    }
}

/// What the parent has to say otherwise.
fn changes(repository: &Repository, name: &DelegateName, keys: &Keys) -> Result<Vec<Change>, Fault> {
    let role = name.role();
    let own = keys_of(repository, role)?;
    if let Some(other) = keys.iter().find(|key| !own.contains(key)) {
        return Err(Fault::new(FaultKind::Refused, format!("{role} does not list the key {}", other.to_hex())));
    }
    let first = if keys.is_empty() { Change::Undelegate(role.clone()) } else { without(repository, role, keys)? };
    let mut changes = vec![first];
    let releases = RoleName::releases();
    if matches!(name, DelegateName::Signer(_)) && delegation(repository, &releases).is_some() {
        let mut going = if keys.is_empty() { own } else { keys.clone() };
        let siblings = repository.targets(&role.parent()).map(|targets| targets.delegations()).unwrap_or_default();
        for sibling in
            siblings.iter().map(|sibling| sibling.name()).filter(|other| *other != role && **other != releases)
        {
            let kept = keys_of(repository, sibling)?;
            going.retain(|key| !kept.contains(key));
        }
        let there = keys_of(repository, &releases)?;
        if there.is_subset(&going) {
            changes.push(Change::Undelegate(releases));
        } else if !there.is_disjoint(&going) {
            changes.push(without(repository, &releases, &going)?);
        }
    }
    Ok(changes)
}

/// A role as it is, but for these keys.
fn without(repository: &Repository, role: &RoleName, keys: &Keys) -> Result<Change, Fault> {
    let mut speakers = speakers_of(repository, role)?;
    speakers.keys.retain(|key| !keys.contains(&key.canonical_id()));
    let left = speakers.keys.len();
    if u32::try_from(left).is_ok_and(|left| left < speakers.threshold) {
        let wanted = speakers.threshold;
        let words = format!("{role} would have {left} keys, and needs {wanted}: add another first, or remove the role");
        return Err(Fault::new(FaultKind::Refused, words));
    }
    let paths = delegation(repository, role).map(|delegation| delegation.paths().to_vec()).unwrap_or_default();
    Ok(Change::Delegate(NewDelegation { name: role.clone(), speakers, paths }))
}

fn keys_of(repository: &Repository, role: &RoleName) -> Result<Keys, Fault> {
    let authority = repository.authority(role).ok_or_else(|| no_role(role))?;
    Ok(authority.keys().iter().map(|key| key.canonical_id()).collect())
}
