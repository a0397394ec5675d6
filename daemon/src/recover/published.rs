//! Trust data in store and log (D17): versions that were to be signed, and deletions, which the store does not know.
//!
//! A store that does not know of a version would sign it again with other bytes. Recovery raises the marks, so that
//! versions go on behind all that the log knows, and deletes again what was deleted. What was published, or waited for
//! signatures, is in no log, and stays lost: its owner does it again. Root's versions are not reserved, and not raised:
//! a gap there is an attack.

use std::collections::BTreeSet;

use anyhow::Result;
use trust::format::tuf::{Gun, RoleName};

use super::{Apart, Recovery, Report};
use crate::audit::{Ended, Highest, History, IntentLeaf, Leaf, OutcomeLeaf, Said, SubjectBody, Testimony, Versions};
use crate::records::{ChangeKind, Head, OwnMarks, RecordError, Records};

/// What the log knows of a repository, and its store does not.
#[derive(Debug, Default)]
struct Missed {
    versions: Vec<(RoleName, Said)>,
    deletion: Option<Said>,
}

impl Missed {
    fn of(told: &Testimony, known: OwnMarks) -> Self {
        let is_missed = |said: &Said, mark| mark < Some(said.version);
        let timestamp = told.timestamp.filter(|said| is_missed(said, known.timestamp));
        let snapshot = told.snapshot.filter(|said| is_missed(said, known.snapshot));
        let versions = [(RoleName::Timestamp, timestamp), (RoleName::Snapshot, snapshot)];
        // Whatever is published after a deletion has a later timestamp.
        let is_there = |said: &Said| known.is_no_later_than(said.version);
        Self {
            versions: versions.into_iter().filter_map(|(role, said)| Some((role, said?))).collect(),
            deletion: told.deletion.filter(is_there),
        }
    }

    const fn is_nothing(&self) -> bool {
        self.versions.is_empty() && self.deletion.is_none()
    }
}

/// The store must know of each version of trust data that was to be signed, and of each deletion.
///
/// # Errors
/// [`Apart`], naming the first of a repository that it does not know.
pub(super) async fn compare(records: &Records, history: &History) -> Result<(), Apart> {
    for (gun, told) in history.trust_data() {
        let Missed { versions, deletion } = Missed::of(told, records.own_marks(gun)?);
        if let Some((role, Said { version, leaf })) = versions.into_iter().next() {
            return Err(Apart::StoreOlderThanVersion { leaf, gun: gun.clone(), role, version: version.number() });
        }
        if let Some(said) = deletion {
            return Err(Apart::StoreOlderThanDeletion { leaf: said.leaf, gun: gun.clone() });
        }
    }
    // Files of owners that have no timestamp behind them: proposals, and what came to nothing. They are few.
    for (gun, told) in history.owners_trust_data() {
        if let Some((role, Said { version, leaf })) = beyond(&records.head(gun).await?, told).next() {
            return Err(Apart::StoreOlderThanVersion { leaf, gun: gun.clone(), role, version: version.number() });
        }
    }
    Ok(())
}

/// The versions that are beyond their marks.
fn beyond(head: &Head, told: &Highest) -> impl Iterator<Item = (RoleName, Said)> {
    let is_missed = move |(role, said): &(&RoleName, &Said)| head.marks.get(*role).copied() < Some(said.version);
    told.iter().filter(is_missed).map(|(role, said)| (role.clone(), *said))
}

impl Recovery<'_> {
    /// Raises the marks of every repository of which the log knows more, and deletes what was deleted.
    pub(super) async fn trust_data(&self, versions: &Versions, report: &mut Report) -> Result<()> {
        let told = self.history.strictest_trust_data();
        let guns: BTreeSet<&Gun> = told.keys().chain(versions.guns()).collect();
        for gun in guns {
            let (told, known) = (told.get(gun).copied().unwrap_or_default(), self.records.own_marks(gun)?);
            let mut missed = Missed::of(&told, known);
            let knows_deletion = told.deletion.is_none_or(|said| Some(said.version) <= known.timestamp);
            let highest = versions.of(gun, knows_deletion && missed.deletion.is_none());
            for (role, said) in beyond(&self.records.head(gun).await?, &highest) {
                if !missed.versions.iter().any(|(other, _)| *other == role) {
                    missed.versions.push((role, said));
                }
            }
            if !missed.is_nothing() {
                self.one_repository(gun, &missed, report).await?;
            }
        }
        Ok(())
    }

    async fn one_repository(&self, gun: &Gun, missed: &Missed, report: &mut Report) -> Result<()> {
        let intent = match missed.deletion {
            Some(said) => Some(self.begin_deletion(gun, said).await?),
            None => None,
        };
        self.raise(gun, missed).await?;
        if let Some((said, intent)) = missed.deletion.zip(intent) {
            let outcome = OutcomeLeaf::new(self.clock.now_unix_ms(), intent, Ended::Done);
            self.audit.append(Leaf::Outcome(outcome)).await?;
            report.reapplied = report.reapplied.saturating_add(1);
            report.lines.push(format!("done again: deletion of the trust data of {gun}, of leaf {}", said.leaf));
        }
        for (role, said) in &missed.versions {
            report.lines.push(format!(
                "raised: the {role} of {gun} goes on behind version {}, of leaf {}",
                said.version.number(),
                said.leaf
            ));
        }
        if !missed.versions.is_empty() {
            report.lost = report.lost.saturating_add(1);
            report.lines.push(format!(
                "lost: what was published of {gun}, or proposed, since the store was copied; publish it again"
            ));
        }
        Ok(())
    }

    async fn begin_deletion(&self, gun: &Gun, said: Said) -> Result<u64> {
        let mut intent = IntentLeaf::new(self.clock.now_unix_ms(), &self.principal);
        intent.operation = "delete-trust";
        intent.retry_of = Some(said.leaf);
        intent.subject = Some(SubjectBody::deletion(gun, Some(said.version)));
        Ok(self.audit.append(Leaf::Intent(intent)).await?)
    }

    /// In one write: what was deleted is there under its old marks, or gone under the new ones.
    async fn raise(&self, gun: &Gun, missed: &Missed) -> Result<(), RecordError> {
        let mut head = self.records.head(gun).await?;
        for (role, said) in &missed.versions {
            head.raise(role, said.version);
        }
        let change = missed.deletion.map(|_| ChangeKind::Deletion);
        if change.is_some() {
            head.bury();
        }
        self.records.publish(gun, head, &[], change, self.durable()).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use trust::format::tuf::Version;

    use super::*;

    fn said(version: u64) -> Option<Said> {
        Some(Said { version: Version::new(version).unwrap(), leaf: 3 })
    }

    fn known(snapshot: u64, timestamp: u64, is_alive: bool) -> OwnMarks {
        OwnMarks { snapshot: Version::new(snapshot), timestamp: Version::new(timestamp), is_alive }
    }

    #[test]
    fn a_version_below_or_at_its_mark_is_known_and_one_above_is_not() {
        let told = Testimony { snapshot: said(4), timestamp: said(7), deletion: None };

        assert!(Missed::of(&told, known(4, 7, true)).is_nothing());
        assert!(Missed::of(&told, known(9, 9, false)).is_nothing());
        let roles = |known| Missed::of(&told, known).versions.into_iter().map(|(role, _)| role).collect::<Vec<_>>();
        assert_eq!(roles(known(3, 7, true)), [RoleName::Snapshot]);
        assert_eq!(roles(known(4, 6, true)), [RoleName::Timestamp]);
        assert_eq!(roles(known(0, 0, false)), [RoleName::Timestamp, RoleName::Snapshot]);
    }

    #[test]
    fn a_deletion_is_known_where_there_is_nothing_or_something_later() {
        let told = Testimony { snapshot: None, timestamp: said(7), deletion: said(7) };

        assert!(Missed::of(&told, known(1, 7, true)).deletion.is_some());
        assert!(Missed::of(&told, known(1, 6, true)).deletion.is_some());
        assert!(Missed::of(&told, known(1, 7, false)).is_nothing());
        assert!(Missed::of(&told, known(1, 8, true)).is_nothing());
    }
}
