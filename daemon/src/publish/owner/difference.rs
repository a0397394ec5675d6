//! What changes in who may sign, between a repository as it is and as it would be: for the policy, and for whoever is to
//! sign it.

use std::collections::BTreeSet;

use trust::format::tuf::plan::NewDelegation;
use trust::format::tuf::{Gun, Repository, RoleName};
use trust::{Purpose, Sha256Digest};

use super::delegate::delegation;
use super::draft::counts;
use crate::authorize::SpeakerFacts;
use crate::publish::{PublishError, Publisher};

/// The purposes of all keys that metadata lists.
const PURPOSES: [Purpose; 5] =
    [Purpose::Root, Purpose::Targets, Purpose::Delegation, Purpose::Snapshot, Purpose::Timestamp];

/// Who speaks for a role, and for which names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Bare keys.
    keys: BTreeSet<Sha256Digest>,
    threshold: u32,
    paths: Vec<String>,
}

/// A role before and after.
#[derive(Debug, Clone)]
pub(super) struct Changing {
    pub(super) role: RoleName,
    before: Option<Line>,
    after: Option<Line>,
}

impl Line {
    /// As a repository has it; none where nobody speaks for the role.
    fn of(repository: &Repository, role: &RoleName) -> Option<Self> {
        let authority = repository.authority(role)?;
        let keys = authority.keys().iter().map(|key| key.canonical_id()).collect();
        let paths = delegation(repository, role).map(|delegation| delegation.paths().to_vec()).unwrap_or_default();
        Some(Self { keys, threshold: authority.threshold(), paths })
    }
}

impl Changing {
    /// A role that is to be delegated so; `None` where it is already.
    pub(super) fn to(repository: &Repository, new: &NewDelegation) -> Option<Self> {
        let keys = new.speakers.keys.iter().map(|key| key.canonical_id()).collect();
        let after = Line { keys, threshold: new.speakers.threshold, paths: new.paths.clone() };
        Self::between(new.name.clone(), Line::of(repository, &new.name), Some(after))
    }

    /// A role that is to be delegated no more.
    pub(super) fn gone(repository: &Repository, role: &RoleName) -> Option<Self> {
        Self::between(role.clone(), Line::of(repository, role), None)
    }

    /// A role that is to get another key in the place of this one, where it is known which; the other is not known yet.
    pub(super) fn rotated(repository: &Repository, role: &RoleName, going: Option<Sha256Digest>) -> Self {
        let before = Line::of(repository, role);
        let mut after = before.clone();
        if let (Some(line), Some(going)) = (&mut after, going) {
            line.keys.remove(&going);
        }
        Self { role: role.clone(), before, after }
    }

    /// Whether the role is there no more.
    pub(super) const fn is_gone(&self) -> bool {
        self.after.is_none()
    }

    fn between(role: RoleName, before: Option<Line>, after: Option<Line>) -> Option<Self> {
        (before != after).then_some(Self { role, before, after })
    }
}

/// The roles whose speakers the files of these roles change: root says it of the four, a targets file of its children.
pub(super) fn changing<'a>(
    (before, after): (&Repository, &Repository),
    files: impl Iterator<Item = &'a RoleName>,
) -> Vec<Changing> {
    let mut listed = BTreeSet::new();
    for file in files {
        if *file == RoleName::Root {
            listed.extend([RoleName::Root, RoleName::Targets, RoleName::Snapshot, RoleName::Timestamp]);
        }
        for repository in [before, after] {
            let delegations = repository.targets(file).map(|targets| targets.delegations()).unwrap_or_default();
            listed.extend(delegations.iter().map(|delegation| delegation.name().clone()));
        }
    }
    let roles = listed.into_iter();
    roles
        .filter_map(|role| {
            let (was, will) = (Line::of(before, &role), Line::of(after, &role));
            Changing::between(role, was, will)
        })
        .collect()
}

/// Roles whose files count now, and would not any more with files of these roles signed and in place: their keys go, or
/// those of a role above them. Who may sign no more at all is not among them, nor are the daemon's own two.
pub(super) fn lapsing<'a>(
    (before, after): (&Repository, &Repository),
    files: impl Iterator<Item = &'a RoleName> + Clone,
) -> Vec<RoleName> {
    if changing((before, after), files.clone()).is_empty() {
        return Vec::new();
    }
    let signed: BTreeSet<&RoleName> = files.collect();
    let stays = counted(after, &signed);
    let lapses = |role: &RoleName| !stays.contains(role) && after.authority(role).is_some();
    counted(before, &BTreeSet::new()).into_iter().filter(lapses).collect()
}

/// Roles whose files count, as those of all roles above them do; those of `signed` roles count where they have speakers.
fn counted(repository: &Repository, signed: &BTreeSet<&RoleName>) -> BTreeSet<RoleName> {
    let mut counted = BTreeSet::new();
    // Parents come before their children, for a name begins those below it.
    for role in repository.files().keys() {
        let is_below = match role {
            RoleName::Root | RoleName::Targets => true,
            RoleName::Delegation(_) => counted.contains(&role.parent()),
            RoleName::Snapshot | RoleName::Timestamp => false,
        };
        let is_signed = signed.contains(role) && repository.authority(role).is_some();
        if is_below && (is_signed || counts(repository, role) == Some(true)) {
            counted.insert(role.clone());
        }
    }
    counted
}

impl Publisher<'_> {
    /// What changes in who may sign, in the words of the policy.
    pub(super) fn speaker_facts(self, gun: &Gun, changing: &[Changing]) -> Result<SpeakerFacts, PublishError> {
        let (mut going, mut coming, mut paths) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for Changing { before, after, .. } in changing {
            let keys = |line: Option<&Line>| line.map(|line| line.keys.clone()).unwrap_or_default();
            let (was, will) = (keys(before.as_ref()), keys(after.as_ref()));
            going.extend(was.difference(&will).copied());
            coming.extend(will.difference(&was).copied());
            paths.extend(after.iter().flat_map(|line| line.paths.clone()));
        }
        let mut keys_elsewhere = false;
        if !coming.is_empty() {
            let mut held = BTreeSet::new();
            for purpose in PURPOSES {
                held.extend(self.held_keys(gun, purpose)?.iter().map(|held| held.key.canonical_id()));
            }
            keys_elsewhere = !coming.is_subset(&held);
        }
        let threshold = |line: &Changing| line.after.as_ref().map_or(0, |after| after.threshold);
        Ok(SpeakerFacts {
            roles: changing.iter().map(|line| line.role.to_string()).collect(),
            keys_in: coming.iter().map(|id| id.to_hex()).collect(),
            keys_out: going.iter().map(|id| id.to_hex()).collect(),
            keys_elsewhere,
            paths: paths.into_iter().collect(),
            threshold: changing.iter().map(threshold).min().unwrap_or_default(),
        })
    }
}
