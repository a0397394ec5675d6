//! Another key in the place of one that a role lists.
//!
//! What the old key signed is signed by the new one in the same publication, so that nobody finds a repository whose files do
//! not count. Root is signed by those who spoke before and those who speak then: whoever knows an older root follows
//! version by version (SPEC §2.8, §4.1).

use std::time::Duration;

use trust::format::tuf::plan::{Change, NewDelegation, Speakers};
use trust::format::tuf::{Gun, Key, Repository, RoleName};
use trust::{Fault, FaultKind, Principal, Sha256Digest};
use trust_hsm::TokenName;

use super::delegate::delegation;
use super::difference::Changing;
use super::draft::{Draft, no_role, speakers_of};
use super::{Changed, ShownKey};
use crate::authorize::Action;
use crate::keys::KeySelector;
use crate::publish::authorize::{OwnerWork, Warrant};
use crate::publish::keys::Wanted;
use crate::publish::sign::ServerKey;
use crate::publish::{Asked, PublishError, Publisher, purpose_of};

/// Which key goes, and which comes.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    pub(crate) role: RoleName,
    /// The daemon's key that comes; without one, one that was not used yet, or a new one.
    pub(crate) key: Option<KeySelector>,
    /// The bare key that goes; without one the only one.
    pub(crate) old: Option<Sha256Digest>,
    /// Where a new key is made.
    pub(crate) token: Option<TokenName>,
}

/// The key that comes.
enum Coming {
    /// The daemon's own: it signs without being asked.
    Own(Key),
    /// Its owner's.
    Owner(Box<ServerKey>),
}

impl Coming {
    const fn key(&self) -> &Key {
        match self {
            Self::Own(key) => key,
            Self::Owner(key) => &key.key,
        }
    }
}

impl Publisher<'_> {
    /// Puts a key of the daemon in the place of one that a role lists, and signs anew what that one signed.
    ///
    /// # Errors
    /// [`Fault`] of kind missing without trust data, refused where a role or key is not there or the daemon holds too
    /// few of those that have to sign; else what the stages say. Nothing is published then.
    pub(crate) async fn rotate(
        self,
        who: &Principal,
        gun: &Gun,
        rotation: Rotation,
        deadline: Duration,
    ) -> Result<Changed, Fault> {
        let asked = Asked::by(who, gun, deadline);
        self.for_owner(asked, |house, asked| async move { Publisher(&house).rotate_now(&asked, &rotation).await }).await
    }

    async fn rotate_now(self, asked: &Asked, rotation: &Rotation) -> Result<Changed, Fault> {
        let role = &rotation.role;
        let lister = if *role == RoleName::Root { RoleName::Root } else { role.parent() };
        let changing = |repository: &Repository| -> Result<Vec<Changing>, Fault> {
            // Which key comes is known when it was found or made.
            let going = rotation.old.or_else(|| Some(only_key(repository, role)?.canonical_id()));
            Ok(vec![Changing::rotated(repository, role, going)])
        };
        let work = self.may_begin(asked, "rotate", vec![lister.clone()], changing).await?;
        let coming = self.key_that_comes(asked, &work, rotation).await?;
        let turn = self.turn(asked).await?;
        let held = self.generation(&asked.gun).await?;
        if !held.head.is_alive() {
            return Err(PublishError::NotFound.into());
        }
        let going = going(&held.repository, rotation, &coming)?;
        let (coming, shown, changed) = self.as_listed(asked, role, coming).await?;
        let id = if let Coming::Owner(key) = &coming { Some(key.view.record.id) } else { None };
        let mut draft = Draft::new(asked, "rotate", Vec::new(), &held.repository).after(changed);
        match lister {
            RoleName::Root => self.draft_root_of(&mut draft, role, (&going, &coming))?,
            parent => {
                let changes = changes(&held.repository, role, (&going, coming.key()))?;
                self.draft_targets(&mut draft, &parent, &changes)?;
                self.mend(&mut draft, role)?;
                self.mend(&mut draft, &RoleName::releases())?;
            }
        }
        draft.list(shown, id);
        self.publish_draft(&turn, &held, draft).await
    }

    async fn key_that_comes(self, asked: &Asked, work: &OwnerWork, rotation: &Rotation) -> Result<Coming, Fault> {
        let Rotation { role, key, token, .. } = rotation;
        let Some(purpose) = purpose_of(role) else {
            // Whether there is such a role is looked at before a key is made for it.
            let generation = self.generation(&asked.gun).await?;
            generation.repository.authority(role).ok_or_else(|| no_role(role))?;
            let key = self.key_to_come(asked, work, role, key.as_ref(), token.as_ref()).await?;
            return Ok(Coming::Owner(Box::new(key)));
        };
        self.allow(&asked.who, Action::RotateTrustKey, &asked.gun)?;
        let wanted = Wanted::Another(purpose.default_algorithm());
        let key = self.key_for(asked, (role, purpose), wanted).await?;
        Ok(Coming::Own(key))
    }

    /// The key as its role lists it: root's in a certificate, for which it signs.
    async fn as_listed(
        self,
        asked: &Asked,
        role: &RoleName,
        coming: Coming,
    ) -> Result<(Coming, ShownKey, Changed), Fault> {
        let mut changed = Changed::default();
        let shown = match &coming {
            Coming::Own(key) => self.shown_key(&asked.who, key, &self.server_keys(&asked.gun, role)?),
            Coming::Owner(key) => self.shown_own(&asked.who, key),
        };
        let coming = match coming {
            Coming::Owner(key) if *role == RoleName::Root => {
                let work = OwnerWork::new(asked, "rotate", vec![RoleName::Root], Vec::new(), false);
                let warrant = Warrant::Owner(work.using(&key.view, &RoleName::Root));
                warrant.grounds(self.0)?;
                Coming::Owner(Box::new(self.certified(asked, &warrant, &key, &mut changed).await?))
            }
            coming => coming,
        };
        Ok((coming, shown, changed))
    }

    /// Plans root with the other key, and targets where that is whose key it is.
    fn draft_root_of(
        self,
        draft: &mut Draft<'_>,
        role: &RoleName,
        (going, coming): (&Key, &Coming),
    ) -> Result<(), Fault> {
        let leaving = (*role == RoleName::Root).then(|| going.id());
        let besides = match (role, coming) {
            (RoleName::Root, Coming::Owner(key)) => Some(ServerKey::clone(key)),
            _ => None,
        };
        let speakers = replaced(speakers_of(draft.held(), role)?, going, coming.key());
        self.draft_root(draft, &[(role.clone(), speakers)], leaving, besides)?;
        if *role == RoleName::Targets { self.draft_anew(draft, role, &[]) } else { Ok(()) }
    }
}

/// The one key that a role lists, where it is one.
fn only_key(repository: &Repository, role: &RoleName) -> Option<Key> {
    let authority = repository.authority(role)?;
    let [only] = authority.keys() else { return None };
    Some((*only).clone())
}

/// The key that goes; the one that comes is none that the role lists.
fn going(repository: &Repository, rotation: &Rotation, coming: &Coming) -> Result<Key, Fault> {
    let role = &rotation.role;
    let speakers = speakers_of(repository, role)?;
    let refused = |words: String| Err(Fault::new(FaultKind::Refused, words));
    if speakers.keys.iter().any(|key| key.canonical_id() == coming.key().canonical_id()) {
        return refused(format!("{role} lists that key already"));
    }
    match (rotation.old, speakers.keys.as_slice()) {
        (None, [only]) => Ok(only.clone()),
        (None, keys) => refused(format!("{role} lists {} keys: say which of them goes", keys.len())),
        (Some(old), keys) => match keys.iter().find(|key| key.canonical_id() == old) {
            Some(key) => Ok(key.clone()),
            None => refused(format!("{role} does not list the key {}", old.to_hex())),
        },
    }
}

/// One key in the place of another.
fn replaced(mut speakers: Speakers, going: &Key, coming: &Key) -> Speakers {
    for key in speakers.keys.iter_mut().filter(|key| *key == going) {
        *key = coming.clone();
    }
    speakers
}

/// What the parent of a delegation has to say otherwise. A signer's key is in `targets/releases`, too; it goes there with
/// him, unless another signer has it.
fn changes(repository: &Repository, role: &RoleName, (going, coming): (&Key, &Key)) -> Result<Vec<Change>, Fault> {
    let lists = |role: &RoleName| {
        let authority = repository.authority(role);
        authority.is_some_and(|authority| authority.keys().iter().any(|key| key.canonical_id() == going.canonical_id()))
    };
    let releases = RoleName::releases();
    let siblings = repository.targets(&role.parent()).map(|targets| targets.delegations()).unwrap_or_default();
    let mut others =
        siblings.iter().map(|sibling| sibling.name()).filter(|other| *other != role && **other != releases);
    let is_shared = others.any(lists);
    let mut roles = vec![role.clone()];
    if role.parent() == RoleName::Targets && *role != releases && lists(&releases) {
        roles.push(releases.clone());
    }
    let change = |role: &RoleName| -> Result<Change, Fault> {
        let before = speakers_of(repository, role)?;
        let going = before.keys.iter().find(|key| key.canonical_id() == going.canonical_id()).cloned();
        let speakers = match going {
            Some(_) if is_shared && *role == releases => {
                Speakers { keys: before.keys.iter().cloned().chain([coming.clone()]).collect(), ..before }
            }
            Some(going) => replaced(before, &going, coming),
            None => before,
        };
        let paths = delegation(repository, role).map(|delegation| delegation.paths().to_vec()).unwrap_or_default();
        Ok(Change::Delegate(NewDelegation { name: role.clone(), speakers, paths }))
    };
    roles.iter().map(change).collect()
}
