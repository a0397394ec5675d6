//! What a repository's trust data says: its roles and their keys, and what is signed.

use std::collections::BTreeMap;
use std::ops::Bound;

use trust::format::tuf::{Gun, Key, Repository, RoleName};
use trust::{Fault, Principal, Sha256Digest};

use super::delegate::delegation;
use super::keys::purpose_for_owner;
use super::pending::ShownProposal;
use crate::publish::sign::ServerKey;
use crate::publish::{PublishError, Publisher, purpose_of};

/// A repository's trust data, in words; of what is signed a page.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// Every role that somebody may sign for: the four, and all that are delegated.
    pub(crate) roles: Vec<ShownRole>,
    /// By name.
    pub(crate) targets: Vec<ShownTarget>,
    /// Where the next page begins; `None` on the last.
    pub(crate) next: Option<String>,
    /// What waits for signatures, where whoever asks may publish.
    pub(crate) proposal: Option<ShownProposal>,
}

/// A role.
#[derive(Debug, Clone)]
pub(crate) struct ShownRole {
    pub(crate) name: RoleName,
    /// Version and end (seconds of Unix time) of its file; a delegation may have none yet.
    pub(crate) file: Option<(u32, i64)>,
    pub(crate) threshold: u32,
    pub(crate) keys: Vec<ShownKey>,
    /// How the names begin that a delegation may sign.
    pub(crate) paths: Vec<String>,
}

/// A key that a role lists.
#[derive(Debug, Clone)]
pub(crate) struct ShownKey {
    /// What docker calls it: without the certificate that may be around it.
    pub(crate) id: Sha256Digest,
    /// Its name in the daemon, where it is held here and the caller may get it.
    pub(crate) name: Option<String>,
}

/// A name that is signed, as some roles say.
#[derive(Debug, Clone)]
pub(crate) struct ShownTarget {
    pub(crate) name: String,
    pub(crate) sha256: Sha256Digest,
    pub(crate) length_bytes: u64,
    /// Those that say just this.
    pub(crate) roles: Vec<RoleName>,
}

impl Publisher<'_> {
    /// What the trust data of a repository says, to whoever may read it: of one name, or of `size` names after another.
    ///
    /// # Errors
    /// [`Fault`] of kind missing without trust data.
    pub(crate) async fn shown(
        self,
        who: &Principal,
        gun: &Gun,
        only: Option<&str>,
        (after, size): (Option<&str>, usize),
    ) -> Result<Shown, Fault> {
        let generation = self.generation(gun).await?;
        self.allow(who, crate::authorize::Action::ReadTrust, gun)?;
        if !generation.head.is_alive() {
            return Err(PublishError::NotFound.into());
        }
        let repository = &generation.repository;
        let mut roles = Vec::new();
        for name in names_of(repository) {
            roles.extend(self.shown_role(who, gun, repository, &name)?);
        }
        let (targets, next) = page(repository, only, after, size);
        let proposal = match &generation.head.proposal {
            Some(proposal) if self.could_publish(who, gun) => {
                Some(self.shown_proposal(who, gun, &generation, proposal).await?)
            }
            _ => None,
        };
        Ok(Shown { roles, targets, next, proposal })
    }

    /// A role as a repository has it; none where nobody speaks for it.
    pub(super) fn shown_role(
        self,
        who: &Principal,
        gun: &Gun,
        repository: &Repository,
        name: &RoleName,
    ) -> Result<Option<ShownRole>, PublishError> {
        let Some(authority) = repository.authority(name) else { return Ok(None) };
        let held = self.keys_for_role(gun, name)?;
        let keys = authority.keys().iter().map(|key| self.shown_key(who, key, &held)).collect();
        let file = repository.file(name).map(|file| (file.version().number(), file.expires().unix_seconds()));
        let paths = delegation(repository, name).map(|delegation| delegation.paths().to_vec()).unwrap_or_default();
        Ok(Some(ShownRole { file, threshold: authority.threshold(), keys, paths, name: name.clone() }))
    }

    /// The daemon's keys for a role, in all versions.
    pub(super) fn keys_for_role(self, gun: &Gun, role: &RoleName) -> Result<Vec<ServerKey>, PublishError> {
        let purpose = purpose_for_owner(role).or_else(|| purpose_of(role));
        purpose.map_or_else(|| Ok(Vec::new()), |purpose| self.held_keys(gun, purpose))
    }

    /// A key that is listed, as whoever asks may see it.
    pub(super) fn shown_key(self, who: &Principal, key: &Key, held: &[ServerKey]) -> ShownKey {
        let id = key.canonical_id();
        let held = held.iter().find(|held| held.key.canonical_id() == id);
        let known = held.filter(|held| self.0.may_get(who, &held.view));
        ShownKey { id, name: known.map(|held| held.view.record.name.to_string()) }
    }
}

/// The four, and every role that is delegated, from the top down.
pub(super) fn names_of(repository: &Repository) -> Vec<RoleName> {
    let mut names = vec![RoleName::Root, RoleName::Targets, RoleName::Snapshot, RoleName::Timestamp];
    let delegated = repository.files().keys().filter_map(|role| repository.targets(role));
    let mut delegated: Vec<_> =
        delegated.flat_map(|targets| targets.delegations()).map(|it| it.name().clone()).collect();
    delegated.sort();
    delegated.dedup();
    names.append(&mut delegated);
    names
}

/// What is signed, by name; two roles may mean different things by one.
fn page(
    repository: &Repository,
    only: Option<&str>,
    after: Option<&str>,
    size: usize,
) -> (Vec<ShownTarget>, Option<String>) {
    let mut said: BTreeMap<&str, Vec<ShownTarget>> = BTreeMap::new();
    for (role, targets) in repository.files().keys().filter_map(|role| Some((role, repository.targets(role)?))) {
        let from = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let wanted = targets.targets().range::<str, _>(from).filter(|(name, _)| only.is_none_or(|only| only == *name));
        for (name, target) in wanted.take(size.saturating_add(1)) {
            let (sha256, length_bytes) = (target.hashes().sha256(), target.length_bytes());
            let Some(sha256) = sha256 else { continue };
            let same = said.entry(name).or_default();
            match same.iter_mut().find(|one| one.sha256 == sha256 && one.length_bytes == length_bytes) {
                Some(one) => one.roles.push(role.clone()),
                None => {
                    same.push(ShownTarget { name: name.clone(), sha256, length_bytes, roles: vec![role.clone()] });
                }
            }
        }
    }
    let next = said.keys().nth(size).and(said.keys().nth(size.saturating_sub(1))).map(|name| (*name).to_owned());
    (said.into_values().take(size).flatten().collect(), next)
}
