//! The beginning of a repository's trust data: a certificate for the root key, root, and targets without anything in them.
//!
//! A repository that was deleted goes on under its last root where the daemon has the keys of that: whoever knew it follows.

use std::time::Duration;

use trust::format::tuf::plan::{ROOT_SECONDS, Speakers, TARGETS_SECONDS};
use trust::format::tuf::{Gun, Key, Repository, RoleName, UnsignedCertificate};
use trust::{Fault, FaultKind, Principal, Purpose};
use trust_hsm::TokenName;

use super::{Changed, parts};
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

/// Who signs root.
enum RootKeys {
    /// Those who spoke for the root with which the repository was deleted.
    Last(Vec<ServerKey>),
    /// The first of a line, which gets a certificate.
    New(Box<ServerKey>),
}

impl RootKeys {
    fn all(&self) -> &[ServerKey] {
        match self {
            Self::Last(keys) => keys,
            Self::New(key) => std::slice::from_ref(key),
        }
    }
}

/// The keys of the four roles.
struct Keys {
    root: RootKeys,
    targets: ServerKey,
    snapshot: Key,
    timestamp: Key,
}

impl Publisher<'_> {
    /// Begins the trust data of a repository under keys of the daemon. Work goes on to its end, though the caller may hang
    /// up.
    ///
    /// # Errors
    /// [`Fault`] of kind refused where there is trust data already, or would be none that clients can read; else what the
    /// stages say. Nothing is published then; keys that were made are taken the next time.
    pub(crate) async fn begin(
        self,
        who: &Principal,
        gun: &Gun,
        beginning: Beginning,
        deadline: Duration,
    ) -> Result<Changed, Fault> {
        let asked = Asked::by(who, gun, deadline);
        self.for_owner(asked, |house, asked| async move { Publisher(&house).begin_now(&asked, &beginning).await }).await
    }

    async fn begin_now(self, asked: &Asked, beginning: &Beginning) -> Result<Changed, Fault> {
        let generation = self.generation(&asked.gun).await?;
        let work = OwnerWork::new(asked, "init", ROLES.to_vec(), Vec::new(), !generation.head.is_alive());
        // Before anybody learns what is there, and before keys are made.
        Warrant::Owner(work.clone()).grounds(self.0)?;
        is_free(asked, &generation)?;
        self.is_served(asked)?;
        let last = generation.repository.unburied();
        let root = self.root_to_begin_with(asked, &work, last.as_ref(), beginning).await?;
        let last = last.as_ref().filter(|_| matches!(root, RootKeys::Last(_)));
        let targets = self.targets_to_begin_with(asked, &work, last, beginning).await?;
        let snapshot = self.own_key(asked, &RoleName::Snapshot, Purpose::Snapshot).await?;
        let timestamp = self.own_key(asked, &RoleName::Timestamp, Purpose::Timestamp).await?;
        let work = work.using(&targets.view, &RoleName::Targets);
        let work = root.all().iter().fold(work, |work, key| work.using(&key.view, &RoleName::Root));
        let turn = self.turn(asked).await?;
        let keys = Keys { root, targets, snapshot, timestamp };
        self.begin_in_turn(&turn, asked, &Warrant::Owner(work), keys).await
    }

    /// Those who spoke for the last root, if there is one, they are here, and nothing else is asked for; else a key to begin
    /// with.
    async fn root_to_begin_with(
        self,
        asked: &Asked,
        work: &OwnerWork,
        last: Option<&Repository>,
        beginning: &Beginning,
    ) -> Result<RootKeys, Fault> {
        let (role, named) = (RoleName::Root, beginning.root.as_ref());
        if let (Some(authority), None) = (last.and_then(|last| last.authority(&role)), named)
            && self.could_sign(asked, work, &role, &authority)?
        {
            let keys = self.signers_for(asked, work, &role, &authority)?;
            if keys.iter().all(|key| beginning.is_where_asked(key)) {
                return Ok(RootKeys::Last(keys));
            }
        }
        let key = self.key_to_come(asked, work, &role, named, beginning.token.as_ref()).await?;
        let id = key.key.canonical_id();
        let authority = last.and_then(|last| last.authority(&role)).filter(|authority| authority.threshold() == 1);
        let listed = authority.and_then(|authority| {
            let listed = authority.keys().iter().find(|listed| listed.canonical_id() == id)?;
            Some(key.listed_as((*listed).clone()))
        });
        Ok(listed.map_or_else(|| RootKeys::New(Box::new(key)), |key| RootKeys::Last(vec![key])))
    }

    /// The targets key that the last root lists, where the repository goes on under it; else a key to begin with.
    async fn targets_to_begin_with(
        self,
        asked: &Asked,
        work: &OwnerWork,
        last: Option<&Repository>,
        beginning: &Beginning,
    ) -> Result<ServerKey, Fault> {
        let (role, named) = (RoleName::Targets, beginning.targets.as_ref());
        if let (Some(authority), None) = (last.and_then(|last| last.authority(&role)), named) {
            let mut held = self.held_for(asked, &role, &authority)?.into_iter();
            let fits =
                |key: &ServerKey| beginning.is_where_asked(key) && work.could_use(self.0, &key.view.record, &role);
            if let Some(key) = held.find(fits) {
                return Ok(key);
            }
        }
        self.key_to_come(asked, work, &role, named, beginning.token.as_ref()).await
    }

    async fn own_key(self, asked: &Asked, role: &RoleName, purpose: Purpose) -> Result<Key, PublishError> {
        self.key_for(asked, (role, purpose), Wanted::Current).await
    }

    async fn begin_in_turn(self, turn: &Turn, asked: &Asked, warrant: &Warrant, keys: Keys) -> Result<Changed, Fault> {
        let generation = self.generation(&asked.gun).await?;
        is_free(asked, &generation)?;
        warrant.grounds(self.0)?;
        let now = now_of(self.0);
        let mut changed = Changed::default();
        let ids: Vec<_> = keys.root.all().iter().chain([&keys.targets]).map(|key| key.view.record.id).collect();
        let mut speakers = vec![
            (RoleName::Targets, Speakers::one(keys.targets.key.clone())),
            (RoleName::Snapshot, Speakers::one(keys.snapshot)),
            (RoleName::Timestamp, Speakers::one(keys.timestamp)),
        ];
        let (before, root_keys) = match keys.root {
            RootKeys::Last(root) => (generation.repository.unburied().ok_or_else(|| taken(asked))?, root),
            RootKeys::New(root) => {
                let root = self.certified(asked, warrant, &root, &mut changed).await?;
                speakers.push((RoleName::Root, Speakers::one(root.key.clone())));
                (generation.repository.clone(), vec![root])
            }
        };
        let root = before.next_root(&speakers, &ends(now, ROOT_SECONDS)?).map_err(PublishError::from)?;
        let root = self.signed_for_owner(asked, warrant, &root, &root_keys, &mut changed).await?;
        let repository = before.with(root.clone());
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
    pub(super) async fn certified(
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

impl Beginning {
    /// Whether a key that nobody named is where such keys have to be.
    fn is_where_asked(&self, key: &ServerKey) -> bool {
        self.token.as_ref().is_none_or(|token| key.view.record.token.as_ref() == Some(token))
    }
}

fn is_free(asked: &Asked, generation: &Generation) -> Result<(), Fault> {
    if generation.head.is_alive() { Err(taken(asked)) } else { Ok(()) }
}

fn taken(asked: &Asked) -> Fault {
    Fault::new(FaultKind::Refused, format!("{} has trust data already", asked.gun))
}
