//! Others who may sign: roles below targets, with keys of the daemon or keys that their holders keep.
//!
//! A signer is what docker makes of it: a role of his own, `targets/NAME`, and his keys in `targets/releases` besides, which
//! docker reads first. Nobody's file is made here: a role has one when somebody signs in it.

use std::str::FromStr;
use std::time::Duration;

use trust::format::tuf::plan::{Change, NewDelegation, Speakers};
use trust::format::tuf::{Delegation, Gun, Key, Repository, RoleName};
use trust::{Fault, FaultKind, KeyId, Malformed, Principal};
use trust_hsm::TokenName;

use super::difference::Changing;
use super::draft::{Draft, no_role};
use super::{Changed, ShownKey};
use crate::keys::KeySelector;
use crate::publish::authorize::{OwnerWork, Warrant};
use crate::publish::sign::ServerKey;
use crate::publish::{Asked, PublishError, Publisher};

/// Whose role it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DelegateName {
    /// `targets/…` alone.
    Role(RoleName),
    /// A signer of docker's, by his role.
    Signer(RoleName),
}

impl DelegateName {
    /// The role that bears the name.
    pub(crate) const fn role(&self) -> &RoleName {
        match self {
            Self::Role(role) | Self::Signer(role) => role,
        }
    }

    /// All roles that list his keys, in the order in which they are delegated.
    pub(super) fn roles(&self) -> Vec<RoleName> {
        match self {
            Self::Role(role) => vec![role.clone()],
            Self::Signer(role) => vec![role.clone(), RoleName::releases()],
        }
    }
}

impl FromStr for DelegateName {
    type Err = Malformed;

    /// A name without `targets/` before it is a signer's, as docker takes it (SPEC §4.2).
    fn from_str(text: &str) -> Result<Self, Malformed> {
        const EXPECTED: Malformed =
            Malformed::new("name", "a signer of a-z 0-9 - _, beginning with a letter or digit, or a role targets/…");
        if text.contains('/') {
            let role: RoleName = text.parse()?;
            return if matches!(role, RoleName::Delegation(_)) { Ok(Self::Role(role)) } else { Err(EXPECTED) };
        }
        let role: RoleName = format!("targets/{text}").parse().map_err(|_| EXPECTED)?;
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if begins && role != RoleName::releases() { Ok(Self::Signer(role)) } else { Err(EXPECTED) }
    }
}

/// Whom to let sign, with what.
#[derive(Debug, Clone)]
pub(crate) struct Delegating {
    pub(crate) name: DelegateName,
    /// Keys of the daemon.
    pub(crate) keys: Vec<KeySelector>,
    /// Keys that others hold.
    pub(crate) public_keys: Vec<Key>,
    /// How the names begin that the role may sign, besides those it may sign already.
    pub(crate) paths: Vec<String>,
    /// How many have to sign; as many as before without it.
    pub(crate) threshold: Option<u32>,
    /// Where a new key is made.
    pub(crate) token: Option<TokenName>,
}

/// Keys that are to come into a role.
#[derive(Debug, Default)]
struct Coming {
    keys: Vec<Key>,
    shown: Vec<(ShownKey, Option<KeyId>)>,
}

impl Publisher<'_> {
    /// Lets somebody sign, or with more keys, for more names, or only together with others.
    ///
    /// # Errors
    /// [`Fault`] of kind missing without trust data, refused where a key does not fit or the role would have too few;
    /// else what the stages say. Nothing is published then.
    pub(crate) async fn delegate(
        self,
        who: &Principal,
        gun: &Gun,
        new: Delegating,
        deadline: Duration,
    ) -> Result<Changed, Fault> {
        let asked = Asked::by(who, gun, deadline);
        self.for_owner(asked, |house, asked| async move { Publisher(&house).delegate_now(&asked, &new).await }).await
    }

    async fn delegate_now(self, asked: &Asked, new: &Delegating) -> Result<Changed, Fault> {
        let parent = new.name.role().parent();
        let roles = new.name.roles();
        let changing = |repository: &Repository| -> Result<Vec<Changing>, Fault> {
            // The daemon's own keys, and one that is made, are asked about when they are there.
            let role = |role| Changing::to(repository, &new.beside(repository, role, &new.public_keys));
            Ok(roles.iter().filter_map(role).collect())
        };
        let work = self.may_begin(asked, "delegate", vec![parent.clone()], changing).await?;
        let coming = self.keys_that_come(asked, &work, new).await?;
        let turn = self.turn(asked).await?;
        let held = self.generation(&asked.gun).await?;
        if !held.head.is_alive() {
            return Err(PublishError::NotFound.into());
        }
        let mut draft = Draft::new(asked, "delegate", Vec::new(), &held.repository);
        let changes = roles.iter().map(|role| Change::Delegate(new.beside(&held.repository, role, &coming.keys)));
        self.draft_targets(&mut draft, &parent, &changes.collect::<Vec<_>>())?;
        for role in &roles {
            self.mend(&mut draft, role)?;
        }
        for (shown, id) in coming.shown {
            draft.list(shown, id);
        }
        self.publish_draft(&turn, &held, draft).await
    }

    /// Whether the caller may publish these roles for this, there is trust data, and the daemon has keys for it that the
    /// caller may use, as far as it is known what changes: asked before anybody learns what is there, and before keys are
    /// made.
    pub(super) async fn may_begin(
        self,
        asked: &Asked,
        operation: &'static str,
        roles: Vec<RoleName>,
        changing: impl FnOnce(&Repository) -> Result<Vec<Changing>, Fault>,
    ) -> Result<OwnerWork, Fault> {
        let generation = self.generation(&asked.gun).await?;
        let is_alive = generation.head.is_alive();
        let work = OwnerWork::new(asked, operation, roles.clone(), Vec::new(), !is_alive);
        Warrant::Owner(work.clone()).grounds(self.0)?;
        if !is_alive {
            return Err(PublishError::NotFound.into());
        }
        let changing = changing(&generation.repository)?;
        let work = work.changing(self.speaker_facts(&asked.gun, &changing)?);
        for role in &roles {
            let authority = generation.repository.authority(role).ok_or_else(|| no_role(role))?;
            let keys = self.signers_or_fewer(asked, &work, (role, &authority), None)?;
            if u32::try_from(keys.len()).is_ok_and(|keys| keys < authority.threshold()) {
                self.may_propose(&generation, 1)?;
            }
        }
        Ok(work)
    }

    async fn keys_that_come(self, asked: &Asked, work: &OwnerWork, new: &Delegating) -> Result<Coming, Fault> {
        let mut coming = Coming::default();
        for key in &new.public_keys {
            coming.keys.push(key.clone());
            coming.shown.push((ShownKey { id: key.canonical_id(), name: None }, None));
        }
        let mut ours = Vec::with_capacity(new.keys.len());
        for selector in &new.keys {
            ours.push(self.key_to_list(asked, selector).await?);
        }
        let role = new.name.role();
        let is_there = self.generation(&asked.gun).await?.repository.authority(role).is_some();
        let brings_keys = !coming.keys.is_empty() || !ours.is_empty();
        if !brings_keys && !is_there {
            ours.push(self.key_to_come(asked, work, role, None, new.token.as_ref()).await?);
        } else if !brings_keys && new.paths.is_empty() && new.threshold.is_none() {
            let words = format!("{role} is there already, and nothing is said that it is to have besides");
            return Err(Fault::new(FaultKind::Refused, words));
        }
        for ours in ours {
            coming.keys.push(ours.key.clone());
            coming.shown.push((self.shown_own(&asked.who, &ours), Some(ours.view.record.id)));
        }
        Ok(coming)
    }

    /// A key of the daemon, as whoever asks may see it.
    pub(super) fn shown_own(self, who: &Principal, key: &ServerKey) -> ShownKey {
        let name = self.0.may_get(who, &key.view).then(|| key.view.record.name.to_string());
        ShownKey { id: key.key.canonical_id(), name }
    }
}

impl Delegating {
    /// A role as it is, with this besides.
    fn beside(&self, repository: &Repository, role: &RoleName, keys: &[Key]) -> NewDelegation {
        let before = delegation(repository, role);
        let authority = repository.authority(role);
        let mut speakers =
            authority.map_or_else(|| Speakers { keys: Vec::new(), threshold: 1 }, |authority| Speakers::of(&authority));
        for key in keys {
            // One bare key once, though it may have come in another certificate.
            if !speakers.keys.iter().any(|listed| listed.canonical_id() == key.canonical_id()) {
                speakers.keys.push(key.clone());
            }
        }
        speakers.threshold = self.threshold.unwrap_or(speakers.threshold);
        let mut paths = before.map(|before| before.paths().to_vec()).unwrap_or_default();
        let every = [String::new()];
        let more = if self.paths.is_empty() && before.is_none() { &every[..] } else { self.paths.as_slice() };
        for path in more {
            if !paths.contains(path) {
                paths.push(path.clone());
            }
        }
        NewDelegation { name: role.clone(), speakers, paths }
    }
}

/// What its parent says of a role.
pub(super) fn delegation<'a>(repository: &'a Repository, role: &RoleName) -> Option<&'a Delegation> {
    let parent = repository.targets(&role.parent())?;
    parent.delegations().iter().find(|delegation| delegation.name() == role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signer_has_the_names_that_docker_takes_and_a_role_any_below_targets() {
        let read = |text: &str| text.parse::<DelegateName>().map(|name| name.roles());
        let role = |text: &str| text.parse::<RoleName>().unwrap();

        assert_eq!(read("alice").unwrap(), [role("targets/alice"), RoleName::releases()]);
        assert_eq!(read("0-a_b").unwrap(), [role("targets/0-a_b"), RoleName::releases()]);
        assert_eq!(read("targets/a/b").unwrap(), [role("targets/a/b")]);
        assert_eq!(read("targets/releases").unwrap(), [RoleName::releases()]);
        for bad in ["", "releases", "Alice", "-a", "_a", "a.b", "a/b", "targets/", "targets/A", "é"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(read("targets").unwrap(), [role("targets/targets"), RoleName::releases()], "as docker has it");
    }
}
