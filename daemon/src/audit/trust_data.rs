//! What the log says of trust data: which versions of files were to be signed for each repository, and which repositories
//! were deleted. Held against the store at the start (D17).
//!
//! A version is reserved in the store before its intent is in the log, so a store beside this log knows of every one
//! here, whatever became of it. A store that knows of a repository's last timestamp knows of all that was reserved before
//! it; so of its owner's files only those are kept that were to be signed since, which are few. A recovery reads the
//! whole log for all of them ([`Versions`]). Root is not among them: its versions are not reserved, for a gap there is an
//! attack. Files of repositories that lie elsewhere say nothing: their versions are not ours.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use trust::Sha256Digest;
use trust::format::tuf::{Gun, RoleName, Version};

use super::leaf::SubjectBody;

/// A version, and the leaf that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    /// Which version of the file; of a deletion, the highest that the timestamp had by then.
    pub(crate) version: Version,
    /// The intent leaf.
    pub(crate) leaf: u64,
}

/// What the log says of one repository: the highest of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Testimony {
    /// Snapshots that the daemon signed.
    pub(crate) snapshot: Option<Said>,
    /// Timestamps.
    pub(crate) timestamp: Option<Said>,
    /// Deletions that were completed.
    pub(crate) deletion: Option<Said>,
}

/// The highest version of each role, of those that were to be signed.
pub(crate) type Highest = BTreeMap<RoleName, Said>;

/// What the log says of all of them; as large as there are repositories.
#[derive(Debug, Default)]
pub(super) struct Publications {
    by_gun: HashMap<Gun, Testimony>,
    /// Of owners' files, those since the last timestamp of their repository.
    owners: HashMap<Gun, Highest>,
    /// Deletions without an outcome, by their intents.
    deleting: BTreeMap<u64, (Gun, Version)>,
    /// Proposals that were to go, in the same way.
    going: BTreeMap<u64, (Gun, Sha256Digest)>,
}

#[derive(Deserialize)]
struct Peek {
    subject: Subject,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    digest: String,
    #[serde(default)]
    name: String,
    reference: Gunned,
    #[serde(default)]
    version: String,
}

/// A reference that names a repository of trust data.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Gunned(Gun);

impl TryFrom<String> for Gunned {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self).map_err(|_| "not the name of a repository")
    }
}

impl Publications {
    /// Takes in an intent of this operation, under a key of this purpose.
    pub(super) fn begin(&mut self, leaf: u64, operation: &str, purpose: Option<&str>, entry: &[u8]) {
        match intent(operation, purpose, entry) {
            Some((gun, Intent::Deletion(version))) => {
                self.deleting.insert(leaf, (gun, version));
            }
            Some((gun, Intent::Removal(proposal))) => {
                self.going.insert(leaf, (gun, proposal));
            }
            Some((gun, Intent::Signature(RoleName::Snapshot, version))) => {
                raise(&mut self.by_gun.entry(gun).or_default().snapshot, Said { version, leaf });
            }
            Some((gun, Intent::Signature(RoleName::Timestamp, version))) => {
                self.owners.remove(&gun);
                raise(&mut self.by_gun.entry(gun).or_default().timestamp, Said { version, leaf });
            }
            Some((gun, Intent::Signature(role, version))) => {
                raise_role(self.owners.entry(gun).or_default(), role, Said { version, leaf });
            }
            None => {}
        }
    }

    /// Takes in how an intent ended.
    pub(super) fn end(&mut self, intent: u64, is_done: bool) {
        self.going.remove(&intent);
        let Some((gun, version)) = self.deleting.remove(&intent).filter(|_| is_done) else { return };
        // Whoever begins anew has versions of their own, but for the timestamp's. A store of before is told by the deletion.
        self.owners.remove(&gun);
        let said = self.by_gun.entry(gun).or_default();
        said.snapshot = None;
        raise(&mut said.deletion, Said { version, leaf: intent });
    }

    /// What is deleted by an intent without an outcome, and the highest version that its timestamp had by then.
    pub(super) fn deleting(&self, intent: u64) -> Option<(&Gun, Version)> {
        self.deleting.get(&intent).map(|(gun, version)| (gun, *version))
    }

    /// Which proposal an intent without an outcome takes away.
    pub(super) fn going(&self, intent: u64) -> Option<(&Gun, Sha256Digest)> {
        self.going.get(&intent).map(|(gun, proposal)| (gun, *proposal))
    }

    /// Every repository that it says something of; a deletion whose outcome is missing is taken for completed.
    pub(super) fn strictest(&self) -> BTreeMap<Gun, Testimony> {
        let mut all: BTreeMap<Gun, Testimony> = self.by_gun.iter().map(|(gun, said)| (gun.clone(), *said)).collect();
        for (leaf, (gun, version)) in &self.deleting {
            raise(&mut all.entry(gun.clone()).or_default().deletion, Said { version: *version, leaf: *leaf });
        }
        all
    }

    /// Every repository that it says something of, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Gun, &Testimony)> {
        self.by_gun.iter()
    }

    /// Of every repository whose owner's files were to be signed since its last timestamp, the versions of these.
    pub(super) fn owners(&self) -> impl Iterator<Item = (&Gun, &Highest)> {
        self.owners.iter()
    }
}

/// Reads the whole log for the versions of all files, but for root's, that were to be signed: what `trustd recover` alone
/// needs.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    by_gun: BTreeMap<Gun, Lines>,
    deleting: BTreeMap<u64, Gun>,
}

/// The versions of one repository.
#[derive(Debug, Default)]
struct Lines {
    /// Up to its last deletion.
    before: Highest,
    /// Since then.
    since: Highest,
}

#[derive(Deserialize)]
struct PeekLeaf<'a> {
    kind: &'a str,
    operation: Option<&'a str>,
    purpose: Option<&'a str>,
    intent: Option<u64>,
    result: Option<&'a str>,
}

impl Versions {
    /// Takes in entry `index`.
    pub(crate) fn read(&mut self, index: u64, entry: &[u8]) {
        let Ok(peek) = serde_json::from_slice::<PeekLeaf<'_>>(entry) else { return };
        match (peek.kind, peek.intent) {
            ("intent", _) => match intent(peek.operation.unwrap_or_default(), peek.purpose, entry) {
                Some((gun, Intent::Deletion(_))) => {
                    self.deleting.insert(index, gun);
                }
                Some((gun, Intent::Signature(role, version))) => {
                    raise_role(&mut self.by_gun.entry(gun).or_default().since, role, Said { version, leaf: index });
                }
                // It signs nothing, and the versions of its files are used.
                Some((_, Intent::Removal(_))) | None => {}
            },
            ("outcome", Some(intent)) => {
                let deleted = self.deleting.remove(&intent).filter(|_| peek.result == Some("done"));
                let Some(lines) = deleted.and_then(|gun| self.by_gun.get_mut(&gun)) else { return };
                for (role, said) in std::mem::take(&mut lines.since) {
                    raise_role(&mut lines.before, role, said);
                }
            }
            _ => {}
        }
    }

    /// Every repository that it says something of.
    pub(crate) fn guns(&self) -> impl Iterator<Item = &Gun> {
        self.by_gun.keys()
    }

    /// The versions that a store has to know of: all of them where it does not know of the last deletion, else those since.
    pub(crate) fn of(&self, gun: &Gun, knows_deletion: bool) -> Highest {
        let Some(Lines { before, since }) = self.by_gun.get(gun) else { return Highest::new() };
        let mut highest = since.clone();
        for (role, said) in before.iter().filter(|_| !knows_deletion) {
            raise_role(&mut highest, role.clone(), *said);
        }
        highest
    }
}

/// What an intent is to do to trust data that the daemon publishes.
enum Intent {
    /// To delete it, when its timestamp had this version at most.
    Deletion(Version),
    /// To take a proposal away, which is known by this.
    Removal(Sha256Digest),
    /// To sign this version of a role's file.
    Signature(RoleName, Version),
}

/// Reads an intent of this operation, under a key of this purpose.
fn intent(operation: &str, purpose: Option<&str>, entry: &[u8]) -> Option<(Gun, Intent)> {
    // Nothing else is worth a second look.
    let is_ours = matches!(
        (operation, purpose),
        ("delete-trust" | "discard" | "withdraw", _)
            | ("sign", Some("delegation" | "snapshot" | "targets" | "timestamp"))
    );
    if !is_ours {
        return None;
    }
    let Peek { subject } = serde_json::from_slice::<Peek>(entry).ok()?;
    if subject.kind == SubjectBody::PROPOSAL {
        return Some((subject.reference.0, Intent::Removal(subject.digest.parse().ok()?)));
    }
    let version = subject.version.parse().ok().and_then(Version::new)?;
    if subject.kind != SubjectBody::TRUST_DATA {
        return None;
    }
    if operation == "delete-trust" {
        return Some((subject.reference.0, Intent::Deletion(version)));
    }
    let role = subject.name.parse().ok().filter(|role| *role != RoleName::Root)?;
    Some((subject.reference.0, Intent::Signature(role, version)))
}

fn raise_role(highest: &mut Highest, role: RoleName, said: Said) {
    let known = highest.entry(role).or_insert(said);
    if known.version < said.version {
        *known = said;
    }
}

fn raise(highest: &mut Option<Said>, said: Said) {
    if highest.is_none_or(|highest| highest.version < said.version) {
        *highest = Some(said);
    }
}

#[cfg(test)]
mod tests;
