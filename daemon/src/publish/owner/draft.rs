//! Files that an owner changes together: each is planned on what the ones before it say, then all are signed and published as
//! one. Where the caller may use too few keys for that, they become a proposal.

use std::collections::BTreeSet;

use trust::format::tuf::plan::{Change, ROOT_SECONDS, Speakers, TARGETS_SECONDS, Unsigned};
use trust::format::tuf::{Repository, RoleName};
use trust::{Fault, FaultKind, KeyId, Sha256Digest};

use super::difference::changing;
use super::propose::Begun;
use super::withdraw::Going;
use super::{Changed, ShownKey, parts};
use crate::authorize::SpeakerFacts;
use crate::publish::authorize::{OwnerWork, Warrant};
use crate::publish::shelf::{Generation, Turn};
use crate::publish::sign::ServerKey;
use crate::publish::update::ends;
use crate::publish::{Asked, PublishError, Publisher, now_of};

/// What is to be published.
pub(super) struct Draft<'a> {
    asked: &'a Asked,
    operation: &'static str,
    targets: Vec<String>,
    /// As it is before.
    held: &'a Repository,
    /// As it will be, of which nothing is signed yet.
    repository: Repository,
    files: Vec<(Unsigned, Vec<ServerKey>)>,
    /// What all this changes in who may sign.
    speakers: SpeakerFacts,
    /// Keys of the daemon that come into roles without signing.
    listed: Vec<KeyId>,
    changed: Changed,
}

impl<'a> Draft<'a> {
    /// Without a file yet.
    pub(super) fn new(asked: &'a Asked, operation: &'static str, targets: Vec<String>, held: &'a Repository) -> Self {
        let repository = held.clone();
        let (files, listed, changed) = (Vec::new(), Vec::new(), Changed::default());
        let speakers = SpeakerFacts::default();
        Self { asked, operation, targets, held, repository, files, speakers, listed, changed }
    }

    /// The same with what was signed for it before.
    pub(super) fn after(mut self, changed: Changed) -> Self {
        self.changed = changed;
        self
    }

    /// The repository as it is before.
    pub(super) const fn held(&self) -> &'a Repository {
        self.held
    }

    /// What policy is asked about a key that may sign for it.
    pub(super) fn work(&self) -> OwnerWork {
        let work = OwnerWork::new(self.asked, self.operation, Vec::new(), self.targets.clone(), false);
        work.changing(self.speakers.clone())
    }

    /// Whether each file gets the signatures that it needs.
    fn is_whole(&self) -> bool {
        self.files.iter().all(|(file, keys)| {
            file.speakers().iter().all(|speakers| {
                let speaks = |key: &&ServerKey| speakers.keys.iter().any(|listed| listed.id() == key.key.id());
                let signing = keys.iter().filter(speaks).map(|key| key.key.canonical_id()).collect::<BTreeSet<_>>();
                u32::try_from(signing.len()).is_ok_and(|signing| signing >= speakers.threshold)
            })
        })
    }

    /// Notes a key that comes into a role; `id` is the daemon's.
    pub(super) fn list(&mut self, key: ShownKey, id: Option<KeyId>) {
        if !self.changed.keys.iter().any(|listed| listed.id == key.id) {
            self.changed.keys.push(key);
        }
        self.listed.extend(id);
    }
}

impl Publisher<'_> {
    /// Plans the next file of targets, or of a delegation, where what is there counts: whoever signs more into it signs all
    /// of it.
    pub(super) fn draft_targets(self, draft: &mut Draft<'_>, role: &RoleName, changes: &[Change]) -> Result<(), Fault> {
        if counts(draft.held, role) == Some(false) {
            let words = format!("the file of {role} is signed by keys that do not count any more: witness it first");
            return Err(Fault::new(FaultKind::Refused, words));
        }
        self.draft_anew(draft, role, changes)
    }

    /// The same whoever has signed what is there.
    pub(super) fn draft_anew(self, draft: &mut Draft<'_>, role: &RoleName, changes: &[Change]) -> Result<(), Fault> {
        draft.repository.authority(role).ok_or_else(|| no_role(role))?;
        let next = draft.repository.next_targets(role, changes, &ends(now_of(self.0), TARGETS_SECONDS)?);
        let next = next.map_err(PublishError::from)?;
        self.take_into(draft, &next)?;
        // Who speaks for it is said by its parent, as that will be.
        let authority = draft.repository.authority(role).ok_or_else(|| no_role(role))?;
        let keys = self.signers_or_fewer(draft.asked, &draft.work(), (role, &authority), None)?;
        draft.files.push((next, keys));
        Ok(())
    }

    /// Plans the next root.
    pub(super) fn draft_root(
        self,
        draft: &mut Draft<'_>,
        changes: &[(RoleName, Speakers)],
        leaving: Option<Sha256Digest>,
        besides: Option<ServerKey>,
    ) -> Result<(), Fault> {
        let (root, held) = (RoleName::Root, draft.held);
        let authority = held.authority(&root).ok_or_else(|| no_role(&root))?;
        let next = held.next_root(changes, &ends(now_of(self.0), ROOT_SECONDS)?).map_err(PublishError::from)?;
        self.take_into(draft, &next)?;
        let mut keys = self.signers_or_fewer(draft.asked, &draft.work(), (&root, &authority), leaving)?;
        keys.extend(besides);
        draft.files.push((next, keys));
        Ok(())
    }

    /// Takes a file into the repository as it will be, and notes what it changes in who may sign.
    fn take_into(self, draft: &mut Draft<'_>, file: &Unsigned) -> Result<(), Fault> {
        let repository = std::mem::take(&mut draft.repository);
        draft.repository = repository.with(file.document().clone());
        let before = draft.files.iter().map(|(file, _)| file.document().role());
        let files = before.chain([file.document().role()]);
        let changing = changing((draft.held, &draft.repository), files);
        draft.speakers = self.speaker_facts(&draft.asked.gun, &changing)?;
        Ok(())
    }

    /// Signs a role's file anew where its keys changed so that it would count no more. Where the daemon cannot, that is
    /// what whoever asked is told.
    pub(super) fn mend(self, draft: &mut Draft<'_>, role: &RoleName) -> Result<(), Fault> {
        let is_drafted = draft.files.iter().any(|(file, _)| file.document().role() == role);
        if is_drafted || counts(draft.held, role) != Some(true) || counts(&draft.repository, role) != Some(false) {
            return Ok(());
        }
        let can = match draft.repository.authority(role) {
            Some(authority) => self.could_sign(draft.asked, &draft.work(), role, &authority)?,
            None => false,
        };
        if can {
            return self.draft_anew(draft, role, &[]);
        }
        draft.changed.lapsed.push(role.clone());
        Ok(())
    }

    /// Asks the policy about every role and key, reserves the versions, has all signed, and publishes it; where the caller may
    /// use too few keys, what is signed so far waits for others.
    pub(super) async fn publish_draft(
        self,
        turn: &Turn,
        held: &Generation,
        draft: Draft<'_>,
    ) -> Result<Changed, Fault> {
        let is_whole = draft.is_whole();
        if !is_whole {
            self.may_propose(held, draft.files.len())?;
        }
        let Draft { asked, operation, targets, files, speakers, listed, mut changed, .. } = draft;
        let roles = files.iter().map(|(file, _)| file.document().role().clone()).collect();
        let mut work = OwnerWork::new(asked, operation, roles, targets.clone(), false).changing(speakers);
        for (file, keys) in &files {
            work = keys.iter().fold(work, |work, key| work.using(&key.view, file.document().role()));
        }
        let warrant = Warrant::Owner(work);
        let grounds = warrant.grounds(self.0)?;
        let mut head = held.head.clone();
        if let (Some(proposal), false) = (&held.head.proposal, is_whole) {
            // Nothing can come of it any more: the next one has its place.
            head = self.remove_proposal(asked, grounds, (&held.head, proposal), Going::Discarded).await?;
        }
        let ids = files.iter().flat_map(|(_, keys)| keys).map(|key| key.view.record.id).chain(listed);
        let planned = files.iter().map(|(file, _)| file);
        let reserved = self.reserve_for_owner(asked, &head, planned, ids).await?;
        if !is_whole {
            let begun = Begun { operation, targets, files };
            return self.propose(asked, &warrant, (&reserved, &held.repository), begun, changed).await;
        }
        let mut signed = Vec::with_capacity(files.len());
        for (file, keys) in &files {
            signed.push(self.signed_for_owner(asked, &warrant, file, keys, &mut changed).await?);
        }
        let parts = parts(&signed)?;
        self.take_in_turn(turn, asked, &warrant, (&reserved, &held.repository), parts).await?;
        Ok(changed)
    }
}

/// Whether a role's file is signed by enough of those who speak for it; `None` without a file, and for a role that there is
/// not.
pub(super) fn counts(repository: &Repository, role: &RoleName) -> Option<bool> {
    let authority = repository.authority(role)?;
    Some(repository.file(role)?.verify(&authority).is_ok())
}

/// Those who speak for a role now.
pub(super) fn speakers_of(repository: &Repository, role: &RoleName) -> Result<Speakers, Fault> {
    Ok(Speakers::of(&repository.authority(role).ok_or_else(|| no_role(role))?))
}

pub(super) fn no_role(role: &RoleName) -> Fault {
    Fault::new(FaultKind::Refused, format!("there is no role {role}"))
}
