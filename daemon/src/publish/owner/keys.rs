//! Which of the daemon's keys sign for an owner: those that come into a role, and those that metadata lists.

use std::collections::BTreeSet;

use trust::format::tuf::plan::Unsigned;
use trust::format::tuf::publish::Refusal;
use trust::format::tuf::{Authority, Gun, Key, Repository, RoleName};
use trust::{Fault, FaultKind, Purpose, Scope, Sha256Digest};
use trust_hsm::TokenName;

use crate::authorize::Action;
use crate::keys::{KeySelector, NewKey};
use crate::publish::authorize::OwnerWork;
use crate::publish::keys::{is_named_here, name_of};
use crate::publish::sign::ServerKey;
use crate::publish::{Asked, PublishError, Publisher};
use crate::records::{KeyView, record_fault};

/// The purpose of keys that sign a role's files for its owner; none for the daemon's own two roles.
pub(super) const fn purpose_for_owner(role: &RoleName) -> Option<Purpose> {
    match role {
        RoleName::Root => Some(Purpose::Root),
        RoleName::Targets => Some(Purpose::Targets),
        RoleName::Delegation(_) => Some(Purpose::Delegation),
        RoleName::Snapshot | RoleName::Timestamp => None,
    }
}

/// What of the signatures that a role needs somebody can have made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// None.
    Nothing,
    /// Some; others can have the rest made, or make them.
    Part,
    /// All.
    Whole,
}

impl Publisher<'_> {
    /// The key that comes into a role: the one that is named, else the oldest that the repository has not used, else a new
    /// one. Of delegations, which are somebody's each, only those that were made here for want of a name.
    pub(super) async fn key_to_come(
        self,
        asked: &Asked,
        work: &OwnerWork,
        role: &RoleName,
        named: Option<&KeySelector>,
        token: Option<&TokenName>,
    ) -> Result<ServerKey, Fault> {
        let purpose = purpose_for_owner(role).ok_or_else(|| Fault::internal("a key of the daemon's own"))?;
        if let Some(selector) = named {
            return ServerKey::newest(self.named_key(asked, work, purpose, role, selector).await?);
        }
        let generation = self.generation(&asked.gun).await?;
        let listed = listed(&generation.repository);
        let held = self.0.records().keys_of(&asked.gun, purpose).map_err(record_fault)?;
        for view in held {
            let fits = view.state.use_.may_sign()
                && view.state.trust == trust::Trust::Trusted
                && token.is_none_or(|token| view.record.token.as_ref() == Some(token))
                && (purpose != Purpose::Delegation || is_named_here(&view.record.name, &asked.gun, purpose))
                && !generation.head.signers.contains(&view.record.id)
                && work.could_use(self.0, &view.record, role);
            if !fits {
                continue;
            }
            let key = ServerKey::newest(view)?;
            if !listed.contains(&key.key.canonical_id()) {
                return Ok(key);
            }
        }
        self.has_room(asked, &generation)?;
        let gun = asked.gun.clone();
        let algorithm = purpose.default_algorithm();
        let new = NewKey {
            name: name_of(&gun, purpose)?,
            purpose,
            algorithm,
            scope: if purpose == Purpose::Root { Scope::Guns(vec![gun]) } else { Scope::Gun(gun) },
            forms: purpose.forms(algorithm).to_vec(),
            token: token.cloned(),
        };
        let made = self.0.create_key(&asked.who, new, None, asked.deadline).await?;
        ServerKey::newest(made.view)
    }

    /// A key that others may sign with, by its name or id: whoever lists it has to know of it, and need not use it.
    pub(super) async fn key_to_list(self, asked: &Asked, selector: &KeySelector) -> Result<ServerKey, Fault> {
        let view = self.0.key(&asked.who, selector).await?;
        let purpose = Purpose::Delegation;
        if let Some((reason, words)) = unfit(&view, purpose, &asked.gun) {
            let fault = Fault::new(FaultKind::Refused, words);
            return Err(self.0.refused(&asked.who, selector, Action::SignMetadata, &view, reason, fault));
        }
        ServerKey::newest(view)
    }

    /// A key by its name or id. Whoever may not know of it reads the same as where there is none (D28).
    async fn named_key(
        self,
        asked: &Asked,
        work: &OwnerWork,
        purpose: Purpose,
        role: &RoleName,
        selector: &KeySelector,
    ) -> Result<KeyView, Fault> {
        const ACTION: Action = Action::SignMetadata;
        let view = self.0.find_for(&asked.who, selector, ACTION).await?;
        work.with_facts(role, |facts| self.0.decide(&asked.who, ACTION, selector, &view, facts))?;
        if let Some((reason, words)) = unfit(&view, purpose, &asked.gun) {
            let fault = Fault::new(FaultKind::Refused, words);
            return Err(self.0.refused(&asked.who, selector, ACTION, &view, reason, fault));
        }
        Ok(view)
    }

    /// The keys of the daemon that may sign for a role now, as metadata lists them; each once.
    pub(super) fn held_for(
        self,
        asked: &Asked,
        role: &RoleName,
        authority: &Authority<'_>,
    ) -> Result<Vec<ServerKey>, PublishError> {
        self.held_among(asked, role, authority.keys().iter().copied())
    }

    /// The same of these keys.
    fn held_among<'k>(
        self,
        asked: &Asked,
        role: &RoleName,
        listed: impl Iterator<Item = &'k Key>,
    ) -> Result<Vec<ServerKey>, PublishError> {
        let Some(purpose) = purpose_for_owner(role) else { return Ok(Vec::new()) };
        let held = self.held_keys(&asked.gun, purpose)?;
        let mut seen = BTreeSet::new();
        let ours = listed.filter_map(|listed| {
            let id = listed.canonical_id();
            let key = held.iter().find(|held| held.may_sign() && held.key.canonical_id() == id)?;
            seen.insert(id).then(|| key.listed_as(listed.clone()))
        });
        Ok(ours.collect())
    }

    /// How far the daemon's keys for a role reach that the policy lets the caller use.
    pub(super) fn share_of(
        self,
        asked: &Asked,
        work: &OwnerWork,
        role: &RoleName,
        authority: &Authority<'_>,
    ) -> Result<Share, PublishError> {
        let held = self.held_for(asked, role, authority)?;
        let usable = held.iter().filter(|key| work.could_use(self.0, &key.view.record, role)).count();
        let wanted = usize::try_from(authority.threshold()).unwrap_or(usize::MAX);
        Ok(match usable {
            usable if usable >= wanted => Share::Whole,
            1.. => Share::Part,
            0 => Share::Nothing,
        })
    }

    /// Whether the daemon holds enough keys for a role that the policy lets the caller use.
    pub(super) fn could_sign(
        self,
        asked: &Asked,
        work: &OwnerWork,
        role: &RoleName,
        authority: &Authority<'_>,
    ) -> Result<bool, PublishError> {
        Ok(self.share_of(asked, work, role, authority)? == Share::Whole)
    }

    /// As many of them as the role needs, of those that the policy lets the caller use.
    ///
    /// # Errors
    /// [`PublishError::Refused`] where the daemon holds too few, [`PublishError::Denied`] where the policy lets too
    /// few be used.
    pub(super) fn signers_for(
        self,
        asked: &Asked,
        work: &OwnerWork,
        role: &RoleName,
        authority: &Authority<'_>,
    ) -> Result<Vec<ServerKey>, PublishError> {
        let held = self.held_for(asked, role, authority)?.len();
        if u32::try_from(held).is_ok_and(|held| held < authority.threshold()) {
            return Err(too_few(role, authority, held));
        }
        let keys = self.signers_or_fewer(asked, work, (role, authority), None)?;
        let is_enough = u32::try_from(keys.len()).is_ok_and(|keys| keys >= authority.threshold());
        if is_enough { Ok(keys) } else { Err(self.no_key_for(asked)) }
    }

    /// The same, or fewer where the policy lets the caller use some of them, or the daemon has no more: others have to sign,
    /// too. The key that is `leaving` only where it takes one more.
    ///
    /// # Errors
    /// [`PublishError::Refused`] where the daemon holds none; [`PublishError::Denied`] where the policy lets none be used.
    pub(super) fn signers_or_fewer(
        self,
        asked: &Asked,
        work: &OwnerWork,
        (role, authority): (&RoleName, &Authority<'_>),
        leaving: Option<Sha256Digest>,
    ) -> Result<Vec<ServerKey>, PublishError> {
        let mut held = self.held_for(asked, role, authority)?;
        held.sort_by_key(|key| Some(key.key.id()) == leaving);
        let wanted = usize::try_from(authority.threshold()).unwrap_or(usize::MAX);
        if held.is_empty() {
            return Err(too_few(role, authority, 0));
        }
        held.retain(|key| work.could_use(self.0, &key.view.record, role));
        if held.is_empty() {
            return Err(self.no_key_for(asked));
        }
        held.truncate(wanted);
        Ok(held)
    }

    /// The keys of a file's speakers that the policy lets the caller use and that have not signed it: as many as it still
    /// needs, if there are so many.
    pub(super) fn further_signers(
        self,
        asked: &Asked,
        work: &OwnerWork,
        file: &Unsigned,
    ) -> Result<Vec<ServerKey>, PublishError> {
        let role = file.document().role();
        let mut chosen: Vec<ServerKey> = Vec::new();
        for (speakers, signed) in file.speakers().iter().zip(file.signed_by()) {
            let speaks = |key: &&ServerKey| {
                let is_listed = speakers.keys.iter().any(|listed| listed.id() == key.key.id());
                is_listed && !signed.contains(&key.key.canonical_id())
            };
            let wanted = usize::try_from(speakers.threshold).unwrap_or(usize::MAX);
            let mut missing = wanted.saturating_sub(signed.len().saturating_add(chosen.iter().filter(speaks).count()));
            let held = self.held_among(asked, role, speakers.keys.iter())?;
            for key in held.into_iter().filter(|key| speaks(&key)) {
                let is_chosen = chosen.iter().any(|other| other.key.id() == key.key.id());
                if missing > 0 && !is_chosen && work.could_use(self.0, &key.view.record, role) {
                    missing = missing.saturating_sub(1);
                    chosen.push(key);
                }
            }
        }
        Ok(chosen)
    }

    /// Whether the caller may use a key of a file's speakers, whether or not that has signed it.
    pub(super) fn could_sign_some(
        self,
        asked: &Asked,
        work: &OwnerWork,
        file: &Unsigned,
    ) -> Result<bool, PublishError> {
        let role = file.document().role();
        let held = self.held_among(asked, role, file.speakers().iter().flat_map(|speakers| &speakers.keys))?;
        Ok(held.iter().any(|key| work.could_use(self.0, &key.view.record, role)))
    }

    /// A denial that is on record.
    pub(super) fn no_key_for(self, asked: &Asked) -> PublishError {
        self.0.note_refusal(&asked.who, Action::SignMetadata, "not-permitted", None);
        PublishError::Denied { words: None }
    }
}

/// Why a key cannot come into a role of this repository. One that is distrusted signs what lists it already, so that it
/// can be taken out of that.
fn unfit(view: &KeyView, purpose: Purpose, gun: &Gun) -> Option<(&'static str, String)> {
    if view.record.purpose != purpose {
        return Some(("purpose", format!("the key is for {} and signs nothing else", view.record.purpose)));
    }
    if !view.record.scope.covers_gun(gun) {
        return Some(("out-of-scope", "the key's scope does not cover this repository".to_owned()));
    }
    if !view.state.use_.may_sign() {
        return Some(("state", format!("the key is {}", view.state.use_)));
    }
    if view.state.trust != trust::Trust::Trusted {
        return Some(("state", "the key is distrusted".to_owned()));
    }
    None
}

fn too_few(role: &RoleName, authority: &Authority<'_>, held: usize) -> PublishError {
    let wanted = authority.threshold();
    Refusal::Validation(format!("{role} needs {wanted} of its keys to sign, and the daemon has {held} of them")).into()
}

/// The bare keys of all roles.
fn listed(repository: &Repository) -> BTreeSet<Sha256Digest> {
    let names = super::show::names_of(repository);
    let authorities = names.iter().filter_map(|role| repository.authority(role));
    authorities
        .flat_map(|authority| authority.keys().iter().map(|key| key.canonical_id()).collect::<Vec<_>>())
        .collect()
}
