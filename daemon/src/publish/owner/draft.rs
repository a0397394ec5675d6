//! Files that an owner changes together: each is planned on what the ones before it say, then all are signed and published as
//! one.

use trust::format::tuf::plan::{Change, Speakers, TARGETS_SECONDS, Unsigned};
use trust::format::tuf::{Repository, RoleName};
use trust::{Fault, FaultKind, KeyId};

use super::{Changed, ShownKey, parts};
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
    /// Keys of the daemon that come into roles without signing.
    listed: Vec<KeyId>,
    changed: Changed,
}

impl<'a> Draft<'a> {
    /// Without a file yet.
    pub(super) fn new(asked: &'a Asked, operation: &'static str, targets: Vec<String>, held: &'a Repository) -> Self {
        let repository = held.clone();
        let (files, listed, changed) = (Vec::new(), Vec::new(), Changed::default());
        Self { asked, operation, targets, held, repository, files, listed, changed }
    }

    /// The same with what was signed for it before.
    pub(super) fn after(mut self, changed: Changed) -> Self {
        self.changed = changed;
        self
    }

    /// For whom.
    pub(super) const fn asked(&self) -> &'a Asked {
        self.asked
    }

    /// What policy is asked about a key that may sign for it.
    pub(super) fn work(&self) -> OwnerWork {
        OwnerWork::new(self.asked, self.operation, Vec::new(), self.targets.clone(), false)
    }

    /// Adds a file, and who signs it.
    pub(super) fn put(&mut self, file: Unsigned, keys: Vec<ServerKey>) {
        let repository = std::mem::take(&mut self.repository);
        self.repository = repository.with(file.document().clone());
        self.files.push((file, keys));
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
        let authority = draft.repository.authority(role).ok_or_else(|| no_role(role))?;
        let keys = self.signers_for(draft.asked, &draft.work(), role, &authority)?;
        let next = draft.repository.next_targets(role, changes, &ends(now_of(self.0), TARGETS_SECONDS)?);
        draft.put(next.map_err(PublishError::from)?, keys);
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

    /// Asks the policy about every role and key, reserves the versions, has all signed, and publishes it.
    pub(super) async fn publish_draft(
        self,
        turn: &Turn,
        held: &Generation,
        draft: Draft<'_>,
    ) -> Result<Changed, Fault> {
        let Draft { asked, operation, targets, files, listed, mut changed, .. } = draft;
        let roles = files.iter().map(|(file, _)| file.document().role().clone()).collect();
        let mut work = OwnerWork::new(asked, operation, roles, targets, false);
        for (file, keys) in &files {
            work = keys.iter().fold(work, |work, key| work.using(&key.view, file.document().role()));
        }
        let warrant = Warrant::Owner(work);
        warrant.grounds(self.0)?;
        let ids = files.iter().flat_map(|(_, keys)| keys).map(|key| key.view.record.id).chain(listed);
        let planned = files.iter().map(|(file, _)| file);
        let reserved = self.reserve_for_owner(asked, &held.head, planned, ids).await?;
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
