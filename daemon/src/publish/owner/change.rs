//! Things signed, and signed no more, in a repository whose keys the daemon holds.
//!
//! Where a repository delegates, docker signs into those children of targets whose keys it has, and so does this;
//! targets itself only where there is none (SPEC §4.2).

use std::time::Duration;

use trust::format::json::Integer;
use trust::format::tuf::plan::{Change, NewTarget};
use trust::format::tuf::{Gun, Repository, RoleName};
use trust::{Fault, FaultKind, Principal, Sha256Digest};

use super::Changed;
use super::draft::{Draft, counts};
use super::keys::Share;
use crate::publish::authorize::OwnerWork;
use crate::publish::{Asked, PublishError, Publisher};

/// What is to be signed, or signed no more, under a name (for docker a tag).
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    /// "This name is no longer signed."
    Revoke { name: String },
    /// "This name means these bytes."
    Sign { name: String, sha256: Sha256Digest, length_bytes: u64 },
}

impl Wish {
    fn name(&self) -> &str {
        match self {
            Self::Revoke { name } | Self::Sign { name, .. } => name,
        }
    }

    const fn operation(&self) -> &'static str {
        match self {
            Self::Revoke { .. } => "revoke",
            Self::Sign { .. } => "sign",
        }
    }

    fn change(&self) -> Result<Change, Fault> {
        Ok(match self.clone() {
            Self::Revoke { name } => Change::Remove { name },
            Self::Sign { name, sha256, length_bytes } => {
                let length_bytes = Integer::try_from(length_bytes)?;
                Change::Put { name, target: NewTarget { sha256, length_bytes, custom: None } }
            }
        })
    }
}

impl Publisher<'_> {
    /// Signs a name in these roles, or takes that back, and publishes it; where the caller may use too few keys of one of
    /// them, proposes it. Without roles: in those whose keys the daemon holds and the caller may use; of what is taken
    /// back, in those of them that sign it, and in those that docker pulls by whoever holds their keys.
    ///
    /// # Errors
    /// [`Fault`] of kind missing without trust data, refused where a role, its keys or the name are not there; else what
    /// the stages say. Nothing is published then.
    pub(crate) async fn change(
        self,
        who: &Principal,
        gun: &Gun,
        wish: Wish,
        roles: Vec<RoleName>,
        deadline: Duration,
    ) -> Result<Changed, Fault> {
        let asked = Asked::by(who, gun, deadline);
        self.for_owner(asked, |house, asked| async move { Publisher(&house).change_now(&asked, &wish, roles).await })
            .await
    }

    async fn change_now(self, asked: &Asked, wish: &Wish, named: Vec<RoleName>) -> Result<Changed, Fault> {
        let is_new = !self.is_alive(&asked.gun)?;
        // Whoever may publish nothing here does not learn what is there.
        self.may_publish(&asked.who, &asked.gun, &RoleName::Timestamp, is_new)?;
        let turn = self.turn(asked).await?;
        let held = self.generation(&asked.gun).await?;
        if !held.head.is_alive() {
            return Err(PublishError::NotFound.into());
        }
        let names = vec![wish.name().to_owned()];
        let work = OwnerWork::new(asked, wish.operation(), Vec::new(), names.clone(), false);
        let roles = self.roles_of(asked, &held.repository, wish, (&named, &work))?;
        let mut draft = Draft::new(asked, wish.operation(), names, &held.repository);
        for role in &roles {
            self.draft_targets(&mut draft, role, &[wish.change()?])?;
        }
        self.publish_draft(&turn, &held, draft).await
    }

    /// The roles in which a name is signed, or signed no more.
    fn roles_of(
        self,
        asked: &Asked,
        repository: &Repository,
        wish: &Wish,
        (named, work): (&[RoleName], &OwnerWork),
    ) -> Result<Vec<RoleName>, Fault> {
        let says = |role: &RoleName| {
            repository.targets(role).is_some_and(|targets| targets.targets().contains_key(wish.name()))
        };
        if !named.is_empty() {
            let unsigned = named.iter().find(|role| matches!(wish, Wish::Revoke { .. }) && !says(role));
            return unsigned.map_or_else(|| Ok(named.to_vec()), |role| Err(not_signed(wish.name(), Some(role))));
        }
        if let Wish::Revoke { name } = wish {
            let mut roles: Vec<RoleName> = repository
                .files()
                .keys()
                .filter(|role| repository.authority(role).is_some() && says(role))
                .cloned()
                .collect();
            // What counts no more keeps nobody from taking back what does.
            if roles.iter().any(|role| counts(repository, role) == Some(true)) {
                roles.retain(|role| counts(repository, role) == Some(true));
            }
            if roles.is_empty() {
                return Err(not_signed(name, None));
            }
            // What docker does not pull by is its holder's to take back, and keeps nobody from taking back the rest.
            let mut ours = Vec::new();
            for role in &roles {
                let is_pulled_by = *role == RoleName::Targets || *role == RoleName::releases();
                let Some(authority) = repository.authority(role) else { continue };
                if is_pulled_by || self.share_of(asked, work, role, &authority)? != Share::Nothing {
                    ours.push(role.clone());
                }
            }
            return Ok(if ours.is_empty() { roles } else { ours });
        }
        let children = repository.targets(&RoleName::Targets).map(|targets| targets.delegations());
        let (mut roles, mut shared) = (Vec::new(), Vec::new());
        for child in children.unwrap_or_default().iter().filter(|child| child.may_sign(wish.name())) {
            let Some(authority) = repository.authority(child.name()) else { continue };
            match self.share_of(asked, work, child.name(), &authority)? {
                Share::Whole => roles.push(child.name().clone()),
                Share::Part => shared.push(child.name().clone()),
                Share::Nothing => {}
            }
        }
        if !roles.is_empty() {
            return Ok(roles);
        }
        let targets = RoleName::Targets;
        let is_whole = match repository.authority(&targets) {
            Some(authority) => self.could_sign(asked, work, &targets, &authority)?,
            None => false,
        };
        // What one can sign alone goes before what takes others.
        Ok(if is_whole || shared.is_empty() { vec![targets] } else { shared })
    }
}

fn not_signed(name: &str, role: Option<&RoleName>) -> Fault {
    let by = role.map_or_else(String::new, |role| format!(" in {role}"));
    Fault::new(FaultKind::Refused, format!("{name} is not signed{by}"))
}
