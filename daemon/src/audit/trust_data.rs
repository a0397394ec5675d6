//! What the log says of trust data: which versions of the daemon's own files were to be signed for each repository, and
//! which repositories were deleted. Held against the store at the start (D17).
//!
//! A version is reserved in the store before its intent is in the log, so a store beside this log knows of every one
//! here, whatever became of it. Files of repositories that lie elsewhere say nothing: their versions are not ours.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
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

/// What the log says of all of them; as large as there are repositories.
#[derive(Debug, Default)]
pub(super) struct Publications {
    by_gun: HashMap<Gun, Testimony>,
    /// Deletions without an outcome, by their intents.
    deleting: BTreeMap<u64, (Gun, Version)>,
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
    name: String,
    reference: Gunned,
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
        // Nothing else is worth a second look.
        let is_ours = matches!((operation, purpose), ("delete-trust", _) | ("sign", Some("snapshot" | "timestamp")));
        if !is_ours {
            return;
        }
        let Ok(Peek { subject }) = serde_json::from_slice::<Peek>(entry) else { return };
        let version = subject.version.parse().ok().and_then(Version::new);
        let (Some(version), true) = (version, subject.kind == SubjectBody::TRUST_DATA) else { return };
        if operation == "delete-trust" {
            self.deleting.insert(leaf, (subject.reference.0, version));
            return;
        }
        let said = self.by_gun.entry(subject.reference.0).or_default();
        let highest = match subject.name.parse() {
            Ok(RoleName::Snapshot) => &mut said.snapshot,
            Ok(RoleName::Timestamp) => &mut said.timestamp,
            _ => return,
        };
        raise(highest, Said { version, leaf });
    }

    /// Takes in how an intent ended.
    pub(super) fn end(&mut self, intent: u64, is_done: bool) {
        let Some((gun, version)) = self.deleting.remove(&intent).filter(|_| is_done) else { return };
        raise(&mut self.by_gun.entry(gun).or_default().deletion, Said { version, leaf: intent });
    }

    /// What is deleted by an intent without an outcome, and the highest version that its timestamp had by then.
    pub(super) fn deleting(&self, intent: u64) -> Option<(&Gun, Version)> {
        self.deleting.get(&intent).map(|(gun, version)| (gun, *version))
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
}

fn raise(highest: &mut Option<Said>, said: Said) {
    if highest.is_none_or(|highest| highest.version < said.version) {
        *highest = Some(said);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(kind: &str, role: &str, version: &str) -> Vec<u8> {
        let subject = format!(
            "{{\"name\":\"{role}\",\"reference\":\"r.example/a\",\"type\":\"{kind}\",\"version\":\"{version}\"}}"
        );
        format!("{{\"kind\":\"intent\",\"subject\":{subject}}}").into_bytes()
    }

    fn deletion(version: &str) -> Vec<u8> {
        let subject = format!("{{\"reference\":\"r.example/a\",\"type\":\"tuf\",\"version\":\"{version}\"}}");
        format!("{{\"kind\":\"intent\",\"subject\":{subject}}}").into_bytes()
    }

    fn said(version: u64, leaf: u64) -> Option<Said> {
        Some(Said { version: Version::new(version).unwrap(), leaf })
    }

    #[test]
    fn the_highest_version_of_each_role_counts_with_or_without_an_outcome() {
        let mut read = Publications::default();
        let signing = [("snapshot", "2"), ("timestamp", "7"), ("timestamp", "3"), ("snapshot", "4")];
        for (leaf, (role, version)) in (0..).zip(signing) {
            read.begin(leaf, "sign", Some(role), &intent("tuf", role, version));
        }
        read.end(1, false);

        let all: Vec<_> = read.all().collect();
        let gun: Gun = "r.example/a".parse().unwrap();
        assert_eq!(all, [(&gun, &Testimony { snapshot: said(4, 3), timestamp: said(7, 1), deletion: None })]);
    }

    #[test]
    fn a_deletion_counts_when_it_is_done() {
        let mut read = Publications::default();
        read.begin(4, "delete-trust", None, &deletion("5"));
        read.begin(5, "delete-trust", None, &deletion("6"));
        read.begin(6, "delete-trust", None, &deletion("7"));
        read.end(4, true);
        read.end(5, false);

        let all: Vec<_> = read.all().map(|(_, published)| published.deletion).collect();
        assert_eq!(all, [said(5, 4)]);
        // What recovery goes by: somebody wanted it and was allowed to, and whether it was done nobody knows.
        let strictest: Vec<_> = read.strictest().into_values().map(|published| published.deletion).collect();
        assert_eq!(strictest, [said(7, 6)]);
        let version = |leaf| read.deleting(leaf).map(|(_, version)| version.number());
        assert_eq!([4, 5, 6].map(version), [None, None, Some(7)]);
    }

    #[test]
    fn other_keys_files_elsewhere_and_what_does_not_read_say_nothing() {
        let mut read = Publications::default();
        read.begin(0, "sign", Some("image"), &intent("tuf", "timestamp", "1"));
        read.begin(1, "sign", None, &intent("tuf", "timestamp", "1"));
        read.begin(2, "sign", Some("timestamp"), &intent("tuf-elsewhere", "timestamp", "1"));
        for version in ["0", "-1", "x", "4294967296"] {
            read.begin(3, "sign", Some("timestamp"), &intent("tuf", "timestamp", version));
        }
        read.begin(4, "sign", Some("timestamp"), b"{\"kind\":\"intent\"}");
        read.begin(5, "sign", Some("timestamp"), b"{");

        assert_eq!(read.all().count(), 0);
    }
}
