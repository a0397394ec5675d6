//! Which of the daemon's keys sign for an owner: those that come into a role, and those that metadata lists.

use std::collections::BTreeSet;

use trust::format::tuf::publish::Refusal;
use trust::format::tuf::{Authority, Gun, Repository, RoleName};
use trust::{Fault, FaultKind, Purpose, Scope, Sha256Digest};
use trust_hsm::TokenName;

use crate::authorize::Action;
use crate::keys::{KeySelector, NewKey};
use crate::publish::authorize::OwnerWork;
use crate::publish::keys::{is_named_here, name_of};
use crate::publish::sign::ServerKey;
use crate::publish::{Asked, PublishError, Publisher};
use crate::records::KeyView;

/// The purpose of keys that sign a role's files for its owner; none for the daemon's own two roles.
pub(super) const fn purpose_for_owner(role: &RoleName) -> Option<Purpose> {
    match role {
        RoleName::Root => Some(Purpose::Root),
        RoleName::Targets => Some(Purpose::Targets),
        RoleName::Delegation(_) => Some(Purpose::Delegation),
        RoleName::Snapshot | RoleName::Timestamp => None,
    }
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
        let held = self.0.records().keys_of(&asked.gun, purpose).map_err(crate::keys::record_fault)?;
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
        let Some(purpose) = purpose_for_owner(role) else { return Ok(Vec::new()) };
        let held = self.held_keys(&asked.gun, purpose)?;
        let mut seen = BTreeSet::new();
        let ours = authority.keys().iter().filter_map(|listed| {
            let id = listed.canonical_id();
            let key = held.iter().find(|held| held.may_sign() && held.key.canonical_id() == id)?;
            seen.insert(id).then(|| key.listed_as((*listed).clone()))
        });
        Ok(ours.collect())
    }

    /// Whether the daemon holds enough keys for a role that the policy lets the caller use.
    pub(super) fn could_sign(
        self,
        asked: &Asked,
        work: &OwnerWork,
        role: &RoleName,
        authority: &Authority<'_>,
    ) -> Result<bool, PublishError> {
        let held = self.held_for(asked, role, authority)?;
        let usable = held.iter().filter(|key| work.could_use(self.0, &key.view.record, role)).count();
        Ok(u32::try_from(usable).is_ok_and(|usable| usable >= authority.threshold()))
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
        self.signers_but(asked, work, (role, authority), None)
    }

    /// The same, with this key only where it takes one more: it is about to go.
    ///
    /// # Errors
    /// As [`Publisher::signers_for`].
    pub(super) fn signers_but(
        self,
        asked: &Asked,
        work: &OwnerWork,
        (role, authority): (&RoleName, &Authority<'_>),
        leaving: Option<Sha256Digest>,
    ) -> Result<Vec<ServerKey>, PublishError> {
        let mut held = self.held_for(asked, role, authority)?;
        held.sort_by_key(|key| Some(key.key.id()) == leaving);
        let wanted = usize::try_from(authority.threshold()).unwrap_or(usize::MAX);
        if held.len() < wanted {
            let words = format!("{role} needs {wanted} of its keys to sign, and the daemon has {} of them", held.len());
            return Err(Refusal::Validation(words).into());
        }
        held.retain(|key| work.could_use(self.0, &key.view.record, role));
        if held.len() < wanted {
            self.0.note_refusal(&asked.who, Action::SignMetadata, "not-permitted", None);
            return Err(PublishError::Denied { words: None });
        }
        held.truncate(wanted);
        Ok(held)
    }
}

/// Why a key cannot come into a role of this repository.
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
    None
}

/// The bare keys of all roles.
fn listed(repository: &Repository) -> BTreeSet<Sha256Digest> {
    let names = super::show::names_of(repository);
    let authorities = names.iter().filter_map(|role| repository.authority(role));
    authorities
        .flat_map(|authority| authority.keys().iter().map(|key| key.canonical_id()).collect::<Vec<_>>())
        .collect()
}
