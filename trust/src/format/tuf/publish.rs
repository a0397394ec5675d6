//! What a server asks of an update before it takes it.
//!
//! The rules of Notary's server, in its order and its words (the words are what docker prints), and where those would
//! take what breaks a repository, ours: a snapshot may name nothing that is not there, targets whose keys root takes
//! away have to be signed anew, a version may not leap. Signing is not here: an [`Update`] says what a server then
//! has to make.

mod refusal;
mod root;
mod snapshot;
mod versions;

use std::collections::{BTreeMap, BTreeSet};

pub use self::refusal::Refusal;
pub use self::versions::LEAP_MAX;
use super::{Document, Gun, Part, Repository, RoleName};
use crate::Sha256Digest;

/// An update that a server may take: what is sent, verified under what was there.
#[derive(Debug, Clone)]
#[must_use]
pub struct Update {
    repository: Repository,
    changed: BTreeSet<RoleName>,
    snapshot: SnapshotBy,
    line: root::Line,
}

/// Who makes the snapshot of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed set: SPEC §2.7 step 5")]
pub enum SnapshotBy {
    /// It was sent.
    Client,
    /// The server has to make it.
    Server,
}

impl Update {
    /// The files that were sent and are to be stored, by role.
    pub fn files(&self) -> impl Iterator<Item = &Document> {
        self.changed.iter().filter_map(|role| self.repository.file(role))
    }

    /// Who makes the snapshot. The timestamp is always the server's.
    #[must_use]
    pub const fn snapshot_by(&self) -> SnapshotBy {
        self.snapshot
    }

    /// Whether the repository begins anew, under a root that nobody's before has signed: for the first time, or after it
    /// was deleted.
    #[must_use]
    pub fn begins_anew(&self) -> bool {
        self.line == root::Line::Another
    }

    /// The repository with what was sent in it: what the server's own files are planned for. It is not whole until
    /// they are there.
    #[must_use]
    pub const fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The same without the files of roles that nobody delegates to any more; their versions stay used. Where a snapshot was
    /// sent, nothing leaves: it says itself what belongs together.
    pub fn without_undelegated(mut self) -> Self {
        if self.snapshot == SnapshotBy::Server {
            self.repository.drop_undelegated();
        }
        self
    }

    /// The repository, to put the server's own files into.
    #[must_use]
    pub fn into_repository(self) -> Repository {
        self.repository
    }
}

/// Holds what was sent against what is there.
///
/// `held` is the repository as it is, and empty for a new one; parts for timestamp are passed over, as the original does.
/// `own` are the keys by which the server signs, or ever signed, snapshots of this repository, each by
/// [`Key::canonical_id`](super::Key::canonical_id): whether a snapshot that is sent follows the server's versions depends on
/// whether one of them speaks for it.
///
/// # Errors
/// [`Refusal`], of which the first rule that is broken decides: root, then targets from the top down, then the
/// snapshot, then the versions.
pub fn check(
    gun: &Gun,
    held: &Repository,
    parts: Vec<Part>,
    own: &BTreeSet<Sha256Digest>,
    now_unix_seconds: i64,
) -> Result<Update, Refusal> {
    let mut sent = by_role(parts)?;
    let mut update = Update {
        repository: held.clone(),
        changed: BTreeSet::new(),
        snapshot: SnapshotBy::Server,
        line: root::Line::Same,
    };
    let line = match sent.remove(&RoleName::Root) {
        Some(part) => {
            let (root, line) = root::check(gun, held, part, now_unix_seconds)?;
            if line == root::Line::Another {
                update.repository.begin_anew();
            }
            update.repository.unearth();
            update.take(root);
            line
        }
        None if held.root().is_none() => {
            return Err(Refusal::Validation("no pre-existing root and no root provided in update.".to_owned()));
        }
        None => root::Line::Same,
    };
    update.line = line;
    let snapshot = sent.remove(&RoleName::Snapshot);
    // Parents come before their children, so what counts once counts to the end.
    let mut counting = BTreeSet::new();
    for (role, part) in sent {
        let targets = targets(&update.repository, &role, part, &mut counting, now_unix_seconds)?;
        update.take(targets);
        counting.insert(role);
    }
    kept_targets_still_count(&update)?;
    if let Some(part) = snapshot {
        let document = snapshot::check(&mut update, part, now_unix_seconds)?;
        update.take(document);
        update.snapshot = SnapshotBy::Client;
    } else if update.repository.targets(&RoleName::Targets).is_none() {
        return Err(Refusal::Validation("targets must be loaded first".to_owned()));
    }
    versions::check(held, &update, own)?;
    Ok(update)
}

impl Update {
    fn take(&mut self, file: Document) {
        self.changed.insert(file.role().clone());
        self.repository.put(file);
    }

    fn is_new(&self, role: &RoleName) -> bool {
        self.changed.contains(role)
    }
}

/// The parts by role: root, targets, snapshot, and delegations, each behind its parent.
fn by_role(parts: Vec<Part>) -> Result<BTreeMap<RoleName, Part>, Refusal> {
    let mut sent = BTreeMap::new();
    for part in parts {
        if *part.role() == RoleName::Timestamp {
            continue;
        }
        // The original silently takes the last: whoever looked at the first saw another update.
        if let Some(twice) = sent.insert(part.role().clone(), part) {
            return Err(Refusal::Outdated(twice.role().clone()));
        }
    }
    Ok(sent)
}

/// Reads a targets file whose role has to be delegated by a chain of files that all count.
///
/// `counting` are those roles of which this is known: one parent may have as many children as an upload has parts, and
/// each of its signatures covers the whole of it.
fn targets(
    repository: &Repository,
    role: &RoleName,
    part: Part,
    counting: &mut BTreeSet<RoleName>,
    now_unix_seconds: i64,
) -> Result<Document, Refusal> {
    let not_delegated = || Refusal::BadTargets(format!("tuf: invalid role {role}. delegation does not exist"));
    for ancestor in role.ancestors() {
        let file = repository.file(&ancestor).ok_or_else(not_delegated)?;
        let authority = repository.authority(&ancestor).ok_or_else(not_delegated)?;
        if !counting.contains(&ancestor) {
            file.verify(&authority).map_err(Refusal::targets)?;
            counting.insert(ancestor);
        }
    }
    let authority = repository.authority(role).ok_or_else(not_delegated)?;
    let document = part.document().map_err(Refusal::targets)?;
    document.verify(&authority).map_err(Refusal::targets)?;
    document.counts_at(now_unix_seconds).map_err(Refusal::targets)?;
    Ok(document)
}

/// A root that takes the targets key away has to come with targets of the new one: what is there counts no more.
fn kept_targets_still_count(update: &Update) -> Result<(), Refusal> {
    let role = RoleName::Targets;
    if !update.is_new(&RoleName::Root) || update.is_new(&role) {
        return Ok(());
    }
    let (Some(file), Some(authority)) = (update.repository.file(&role), update.repository.authority(&role)) else {
        return Ok(());
    };
    file.verify(&authority).map_err(Refusal::targets)
}
