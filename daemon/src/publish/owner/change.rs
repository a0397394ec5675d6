//! Things signed, and signed no more, in a repository whose keys the daemon holds.
//!
//! Where a repository delegates, docker signs into those children of targets whose keys it has, and so does this;
//! targets itself only where there is none (SPEC §4.2).

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;
use trust::format::json::Integer;
use trust::format::tuf::plan::{Change, NewTarget, TARGETS_SECONDS, Unsigned};
use trust::format::tuf::{Gun, Repository, RoleName};
use trust::{Fault, FaultKind, Principal, Sha256Digest};

use super::{Changed, end_of, parts};
use crate::publish::authorize::{OwnerWork, Warrant};
use crate::publish::sign::ServerKey;
use crate::publish::update::ends;
use crate::publish::{Asked, PublishError, Publisher, now_of};

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

/// A role's next file, and who signs it.
type Planned = (Unsigned, Vec<ServerKey>);

impl Publisher<'_> {
    /// Signs a name in these roles, or takes that back, and publishes it. Without roles: in those whose keys the daemon
    /// holds and the caller may use; of what is taken back, in all that sign it.
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
        let asked = Asked { who: who.clone(), gun: gun.clone(), deadline };
        let house = Arc::clone(self.0);
        let work = async move { Publisher(&house).change_now(&asked, &wish, roles).await };
        let ended = self.0.detached(work.in_current_span()).await?;
        self.0.metrics().published(end_of(&ended));
        ended
    }

    async fn change_now(self, asked: &Asked, wish: &Wish, named: Vec<RoleName>) -> Result<Changed, Fault> {
        let is_new = !self.generation(&asked.gun).await?.head.is_alive();
        // Whoever may publish nothing here does not learn what is there.
        self.may_publish(&asked.who, &asked.gun, &RoleName::Timestamp, is_new)?;
        let turn = self.0.shelf().turn(&asked.gun).await?;
        let held = self.generation(&asked.gun).await?;
        if !held.head.is_alive() {
            return Err(PublishError::NotFound.into());
        }
        let names = vec![wish.name().to_owned()];
        let work = |roles, names| OwnerWork::new(asked, wish.operation(), roles, names, false);
        let roles = self.roles_of(asked, &held.repository, wish, (&named, &work(Vec::new(), names.clone())))?;
        let mut work = work(roles.clone(), names);
        let mut planned: Vec<Planned> = Vec::with_capacity(roles.len());
        for role in &roles {
            let authority = held.repository.authority(role).ok_or_else(|| no_role(role))?;
            let keys = self.signers_for(asked, &work, role, &authority)?;
            let ends = ends(now_of(self.0), TARGETS_SECONDS)?;
            let next = held.repository.next_targets(role, &[wish.change()?], &ends);
            planned.push((next.map_err(PublishError::from)?, keys));
        }
        for (file, keys) in &planned {
            work = keys.iter().fold(work, |work, key| work.using(&key.view, file.document().role()));
        }
        let warrant = Warrant::Owner(work);
        warrant.grounds(self.0)?;
        let ids = planned.iter().flat_map(|(_, keys)| keys).map(|key| key.view.record.id);
        let files = planned.iter().map(|(file, _)| file);
        let reserved = self.reserve_for_owner(asked, &held.head, files, ids).await?;
        let (mut changed, mut signed) = (Changed::default(), Vec::with_capacity(planned.len()));
        for (file, keys) in &planned {
            signed.push(self.signed_for_owner(asked, &warrant, file, keys, &mut changed).await?);
        }
        let parts = parts(&signed)?;
        self.take_in_turn(&turn, asked, &warrant, (&reserved, &held.repository), parts).await?;
        Ok(changed)
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
            let roles: Vec<RoleName> = repository
                .files()
                .keys()
                .filter(|role| repository.authority(role).is_some() && says(role))
                .cloned()
                .collect();
            return if roles.is_empty() { Err(not_signed(name, None)) } else { Ok(roles) };
        }
        let children = repository.targets(&RoleName::Targets).map(|targets| targets.delegations());
        let mut roles = Vec::new();
        for child in children.unwrap_or_default().iter().filter(|child| child.may_sign(wish.name())) {
            let Some(authority) = repository.authority(child.name()) else { continue };
            if self.could_sign(asked, work, child.name(), &authority)? {
                roles.push(child.name().clone());
            }
        }
        if roles.is_empty() {
            roles.push(RoleName::Targets);
        }
        Ok(roles)
    }
}

fn no_role(role: &RoleName) -> Fault {
    Fault::new(FaultKind::Refused, format!("there is no role {role}"))
}

fn not_signed(name: &str, role: Option<&RoleName>) -> Fault {
    let by = role.map_or_else(String::new, |role| format!(" in {role}"));
    Fault::new(FaultKind::Refused, format!("{name} is not signed{by}"))
}
