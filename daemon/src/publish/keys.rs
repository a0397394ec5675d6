//! The daemon's keys for a repository's snapshot and timestamp: got, or made (SPEC §1.3 and §2.10).

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;
use trust::format::tuf::{Gun, Key, RoleName};
use trust::{Algorithm, Fault, Purpose, Scope, Sha256Digest};

use super::shelf::{Generation, Waiter};
use super::sign::ServerKey;
use super::{Asked, Asker, PublishError, Publisher, purpose_of};
use crate::authorize::Action;
use crate::keys::NewKey;

/// The most keys that a repository may ever have used; its head names them all.
const SIGNERS_MAX: usize = 1024;
/// With those that have ended there are at most so many times the keys that there may be: their rows stay.
const WITH_ENDED: usize = 10;

/// Which key is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The one that root lists; else one that was never used.
    Current,
    /// One that was never used, of this algorithm.
    Another(Algorithm),
}

impl Publisher<'_> {
    /// The key for a role that root lists and the daemon holds; else one that was never used, which is made where there
    /// is none.
    ///
    /// # Errors
    /// [`PublishError::NotFound`] for a role whose keys are its owner's; else [`PublishError`].
    pub(crate) async fn server_key(
        self,
        asker: Asker<'_>,
        gun: &Gun,
        role: &RoleName,
        deadline: Duration,
    ) -> Result<Key, PublishError> {
        let purpose = purpose_of(role).ok_or(PublishError::NotFound)?;
        self.may_publish(asker.who, gun, role, !self.is_alive(gun)?)?;
        let asked = Asked::of(asker, gun, deadline);
        self.key_for(&asked, (role, purpose), Wanted::Current).await
    }

    /// Another key for a role; it counts when a root that lists it is published.
    ///
    /// # Errors
    /// As [`Publisher::server_key`].
    pub(crate) async fn rotate_key(
        self,
        asker: Asker<'_>,
        gun: &Gun,
        role: &RoleName,
        deadline: Duration,
    ) -> Result<Key, PublishError> {
        let purpose = purpose_of(role).ok_or(PublishError::NotFound)?;
        self.allow(asker.who, Action::RotateTrustKey, gun)?;
        let wanted = Wanted::Another(purpose.default_algorithm());
        let asked = Asked::of(asker, gun, deadline);
        self.key_for(&asked, (role, purpose), wanted).await
    }

    /// A key as wanted, which is made where there is none; of those that are made each stranger has a share. The caller
    /// is one who may have it.
    pub(super) async fn key_for(
        self,
        asked: &Asked,
        (role, purpose): (&RoleName, Purpose),
        wanted: Wanted,
    ) -> Result<Key, PublishError> {
        if let Some(key) = self.find_key(&asked.gun, role, &*self.outlined(&asked.gun).await?, wanted)? {
            return Ok(key);
        }
        let (house, asked, role) = (Arc::clone(self.0), asked.clone(), role.clone());
        let work = async move { Publisher(&house).make_key(&asked, (&role, purpose), wanted).await };
        self.0.detached(work.in_current_span()).await?
    }

    /// Two who ask at the same time get the same key.
    async fn make_key(
        self,
        asked: &Asked,
        (role, purpose): (&RoleName, Purpose),
        wanted: Wanted,
    ) -> Result<Key, PublishError> {
        let _turn = self.turn(asked).await?;
        let generation = self.outlined(&asked.gun).await?;
        if let Some(key) = self.find_key(&asked.gun, role, &generation, wanted)? {
            return Ok(key);
        }
        self.has_room(asked, &generation)?;
        if let Waiter::Stranger(Some(from)) = asked.waiter
            && !self.0.strangers().may_have_made(from, self.0.clock().monotonic())
        {
            self.0.metrics().rate_limited();
            return Err(PublishError::Busy);
        }
        let algorithm = match wanted {
            Wanted::Current => purpose.default_algorithm(),
            Wanted::Another(algorithm) => algorithm,
        };
        let new = NewKey {
            name: name_of(&asked.gun, purpose)?,
            purpose,
            algorithm,
            scope: Scope::Gun(asked.gun.clone()),
            forms: purpose.forms(algorithm).to_vec(),
            token: None,
        };
        let made = self.0.create_key(&asked.who, new, None, asked.deadline).await?;
        let version = made.view.newest().ok_or_else(|| Fault::internal("a key without a version"))?;
        Ok(Key::of(&version.public_key).map_err(Fault::internal)?)
    }

    /// Refuses another key where the daemon, or the repository, has as many as it may have.
    pub(super) fn has_room(self, asked: &Asked, generation: &Generation) -> Result<(), PublishError> {
        let (all, kept) = self.0.records().trust_key_count()?;
        let kept_max = self.0.limits().trust_keys_max;
        let words = if kept >= kept_max {
            "the server has as many keys for trust data as it may have: whoever runs it destroys what nobody needs, or \
             raises trust_keys_max"
                .to_owned()
        } else if all >= kept_max.saturating_mul(WITH_ENDED) {
            format!(
                "the server has had {WITH_ENDED} times as many keys for trust data as it may have, and those that have \
                 ended stay on record: whoever runs it raises trust_keys_max"
            )
        } else if generation.head.signers.len() >= SIGNERS_MAX {
            format!(
                "this repository has used {SIGNERS_MAX} keys, as many as one may: whoever runs the server makes the next \
                 one with trustctl key create"
            )
        } else {
            return Ok(());
        };
        self.0.note_refusal_of(&asked.gun, &asked.who, Action::CreateKey, "quota", None);
        Err(PublishError::Denied { words: Some(words) })
    }

    fn find_key(
        self,
        gun: &Gun,
        role: &RoleName,
        generation: &Generation,
        wanted: Wanted,
    ) -> Result<Option<Key>, PublishError> {
        let held = self.server_keys(gun, role)?;
        let usable = || held.iter().filter(|held| held.may_sign());
        let authority = generation.repository.authority(role);
        let listed = |id: Sha256Digest| {
            authority.as_ref().is_some_and(|authority| authority.keys().iter().any(|key| key.id() == id))
        };
        let current = usable().find(|held| wanted == Wanted::Current && listed(held.key.id()));
        let fits = |held: &ServerKey| match wanted {
            Wanted::Current => true,
            Wanted::Another(algorithm) => held.view.record.algorithm == algorithm,
        };
        // One that was brought here is for the root that lists it, and is given to nobody as new.
        let is_unused = |held: &ServerKey| {
            held.was_made_here()
                && held.view.state.trust == trust::Trust::Trusted
                && !generation.head.signers.contains(&held.view.record.id)
                && !listed(held.key.id())
                && !self.0.may_go_soon(&held.view.record)
                && fits(held)
        };
        let unused = || usable().find(|held| is_unused(held));
        Ok(current.or_else(unused).map(|held| held.key.clone()))
    }
}

/// A name that nobody else has; which repository it is for says the key's scope.
pub(super) fn name_of(gun: &Gun, purpose: Purpose) -> Result<trust::KeyName, PublishError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| Fault::internal(error.to_string()))?;
    let name = format!("{}{}", prefix_of(gun, purpose), hex::encode(random));
    Ok(name.parse().map_err(Fault::internal)?)
}

/// Whether a key was named by [`name_of`].
pub(super) fn is_named_here(name: &trust::KeyName, gun: &Gun, purpose: Purpose) -> bool {
    name.to_string().starts_with(&prefix_of(gun, purpose))
}

fn prefix_of(gun: &Gun, purpose: Purpose) -> String {
    let of_gun = Sha256Digest::of(gun.as_str().as_bytes()).to_hex();
    format!("tuf/{}/{purpose}-", of_gun.get(..16).unwrap_or_default())
}
