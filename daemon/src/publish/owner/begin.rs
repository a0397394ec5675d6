//! The beginning of a repository's trust data: a certificate for the root key, root, and targets without anything in them.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;
use trust::format::tuf::plan::{ROOT_SECONDS, Speakers, TARGETS_SECONDS};
use trust::format::tuf::{Gun, Key, RoleName, UnsignedCertificate};
use trust::{Fault, FaultKind, Principal, Purpose};
use trust_hsm::TokenName;

use super::{Changed, end_of, parts};
use crate::keys::KeySelector;
use crate::publish::authorize::{OwnerWork, Warrant};
use crate::publish::keys::Wanted;
use crate::publish::shelf::{Generation, Turn};
use crate::publish::sign::{Said, ServerKey};
use crate::publish::update::ends;
use crate::publish::{Asked, PublishError, Publisher, now_of};

/// The owner's roles in a repository that begins.
const ROLES: [RoleName; 2] = [RoleName::Root, RoleName::Targets];

/// With which keys a repository begins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beginning {
    /// The root key; without one, one that the repository has not used yet, or a new one.
    pub(crate) root: Option<KeySelector>,
    /// The targets key, in the same way.
    pub(crate) targets: Option<KeySelector>,
    /// The token that new keys are made in, and that keys which are not named have to be in.
    pub(crate) token: Option<TokenName>,
}

/// The keys of the four roles.
struct Keys {
    root: ServerKey,
    targets: ServerKey,
    snapshot: Key,
    timestamp: Key,
}

impl Publisher<'_> {
    /// Begins the trust data of a repository under keys of the daemon. Work goes on to its end, though the caller may hang
    /// up.
    ///
    /// # Errors
    /// [`Fault`] of kind refused where there is trust data already; else what the stages say. Nothing is published
    /// then; keys that were made are taken the next time.
    pub(crate) async fn begin(
        self,
        who: &Principal,
        gun: &Gun,
        beginning: Beginning,
        deadline: Duration,
    ) -> Result<Changed, Fault> {
        let asked = Asked { who: who.clone(), gun: gun.clone(), deadline };
        let house = Arc::clone(self.0);
        let work = async move { Publisher(&house).begin_now(&asked, &beginning).await };
        let ended = self.0.detached(work.in_current_span()).await?;
        self.0.metrics().published(end_of(&ended));
        ended
    }

    async fn begin_now(self, asked: &Asked, beginning: &Beginning) -> Result<Changed, Fault> {
        let generation = self.generation(&asked.gun).await?;
        let work = OwnerWork::new(asked, "init", ROLES.to_vec(), Vec::new(), !generation.head.is_alive());
        // Before anybody learns what is there, and before keys are made.
        Warrant::Owner(work.clone()).grounds(self.0)?;
        is_free(asked, &generation)?;
        let token = beginning.token.as_ref();
        let root = self.key_to_begin_with(asked, &work, Purpose::Root, beginning.root.as_ref(), token).await?;
        let targets = self.key_to_begin_with(asked, &work, Purpose::Targets, beginning.targets.as_ref(), token).await?;
        let snapshot = self.own_key(asked, &RoleName::Snapshot, Purpose::Snapshot).await?;
        let timestamp = self.own_key(asked, &RoleName::Timestamp, Purpose::Timestamp).await?;
        let work = work.using(&root.view, &RoleName::Root).using(&targets.view, &RoleName::Targets);
        let turn = self.0.shelf().turn(&asked.gun).await?;
        let keys = Keys { root, targets, snapshot, timestamp };
        self.begin_in_turn(&turn, asked, &Warrant::Owner(work), keys).await
    }

    async fn own_key(self, asked: &Asked, role: &RoleName, purpose: Purpose) -> Result<Key, PublishError> {
        self.key_for(&asked.who, &asked.gun, (role, purpose), Wanted::Current, asked.deadline).await
    }

    async fn begin_in_turn(self, turn: &Turn, asked: &Asked, warrant: &Warrant, keys: Keys) -> Result<Changed, Fault> {
        let generation = self.generation(&asked.gun).await?;
        is_free(asked, &generation)?;
        warrant.grounds(self.0)?;
        let now = now_of(self.0);
        let mut changed = Changed::default();
        let root_key = self.certified(asked, warrant, &keys.root, &mut changed).await?;
        let speakers = [
            (RoleName::Root, Speakers::one(root_key.key.clone())),
            (RoleName::Targets, Speakers::one(keys.targets.key.clone())),
            (RoleName::Snapshot, Speakers::one(keys.snapshot)),
            (RoleName::Timestamp, Speakers::one(keys.timestamp)),
        ];
        let root = generation.repository.next_root(&speakers, &ends(now, ROOT_SECONDS)?);
        let root = root.map_err(PublishError::from)?;
        let ids = [keys.root.view.record.id, keys.targets.view.record.id];
        let root = self.signed_for_owner(asked, warrant, &root, &[root_key], &mut changed).await?;
        let repository = generation.repository.clone().with(root.clone());
        let targets = repository.next_targets(&RoleName::Targets, &[], &ends(now, TARGETS_SECONDS)?);
        let targets = targets.map_err(PublishError::from)?;
        let files = std::iter::once(&targets);
        let reserved = self.reserve_for_owner(asked, &generation.head, files, ids.into_iter()).await?;
        let targets = self.signed_for_owner(asked, warrant, &targets, &[keys.targets], &mut changed).await?;
        let parts = parts(&[root, targets])?;
        self.take_in_turn(turn, asked, warrant, (&reserved, &generation.repository), parts).await?;
        Ok(changed)
    }

    /// The root key in a certificate for this repository, which it signs itself.
    async fn certified(
        self,
        asked: &Asked,
        warrant: &Warrant,
        root: &ServerKey,
        changed: &mut Changed,
    ) -> Result<ServerKey, PublishError> {
        let begins = now_of(self.0);
        let times = [begins, begins.saturating_add(ROOT_SECONDS)];
        let mut serial = [0; 16];
        getrandom::fill(&mut serial).map_err(|error| Fault::internal(error.to_string()))?;
        let certificate = UnsignedCertificate::new(root.public_key(), &asked.gun, serial, times);
        let certificate = certificate.map_err(Fault::internal)?;
        let said = Said::certificate(&asked.gun, &certificate);
        let (signature, leaf) = self.signature(asked, warrant, &said, root).await?;
        changed.leaves.push(leaf);
        Ok(root.listed_as(certificate.certified(&signature).map_err(Fault::internal)?))
    }
}

fn is_free(asked: &Asked, generation: &Generation) -> Result<(), Fault> {
    if generation.head.is_alive() {
        return Err(Fault::new(FaultKind::Refused, format!("{} has trust data already", asked.gun)));
    }
    Ok(())
}
