//! How the log looks.

use serde::Serialize;
use serde_json::Value;
use trust::Sha256Digest;
use trust::tlog::SignedCheckpoint;

use crate::checkpoint::Seen;
use crate::failure::{Failure, printable};
use crate::output::{Paint, Shown};
use crate::time::rfc3339;

/// A signed checkpoint.
#[derive(Debug, Serialize)]
pub(super) struct CheckpointView {
    origin: String,
    size: u64,
    root: String,
    /// The log's key, as C2SP signed-note has it.
    verifier_key: String,
    /// The whole note.
    checkpoint: String,
    /// The size when this client last saw the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_size: Option<u64>,
}

impl CheckpointView {
    pub(super) fn of(seen: &Seen) -> Self {
        let head = seen.now.checkpoint();
        Self {
            origin: head.origin.clone(),
            size: head.size,
            root: head.root.to_hex(),
            verifier_key: seen.key.to_string(),
            checkpoint: seen.now.note().to_owned(),
            last_seen_size: seen.before,
        }
    }
}

impl Shown for CheckpointView {
    /// The note alone, so that it can be kept as it is.
    fn text(&self, _: Paint) -> String {
        self.checkpoint.trim_end().to_owned()
    }
}

/// What whole-log verification saw on its way.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Counted {
    intents: u64,
    outcomes: u64,
    refusals: u64,
    others: u64,
}

impl Counted {
    pub(super) fn count(&mut self, entry: &Entry) {
        let counter = match entry.kind() {
            "intent" => &mut self.intents,
            "outcome" => &mut self.outcomes,
            "refusal" => &mut self.refusals,
            _ => &mut self.others,
        };
        *counter = counter.saturating_add(1);
    }
}

/// A log that is what its checkpoint says.
#[derive(Debug, Serialize)]
pub(super) struct VerifiedLog {
    origin: String,
    size: u64,
    root: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_size: Option<u64>,
    leaves: Counted,
}

impl VerifiedLog {
    pub(super) fn of(seen: &Seen, leaves: Counted) -> Self {
        let head = seen.now.checkpoint();
        Self {
            origin: head.origin.clone(),
            size: head.size,
            root: head.root.to_hex(),
            last_seen_size: seen.before,
            leaves,
        }
    }
}

impl Shown for VerifiedLog {
    fn text(&self, paint: Paint) -> String {
        let memory = match self.last_seen_size {
            Some(size) => format!("continues the {size} leaves seen here before"),
            None => "seen here for the first time, and remembered".to_owned(),
        };
        format!(
            "{} {}: {} leaves make the signed root {}\n  {memory}\n  {} intents, {} outcomes, {} refusals, {} others",
            paint.good("verified"),
            paint.strong(&self.origin),
            self.size,
            self.root,
            self.leaves.intents,
            self.leaves.outcomes,
            self.leaves.refusals,
            self.leaves.others
        )
    }
}

/// One leaf.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    leaf: u64,
    entry: Value,
}

impl Entry {
    /// A leaf that is no JSON is shown as text: the log may come from a newer daemon.
    pub(super) fn read(leaf: u64, bytes: &[u8]) -> Self {
        let entry = serde_json::from_slice(bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()));
        Self { leaf, entry }
    }

    pub(super) fn kind(&self) -> &str {
        self.entry.get("kind").and_then(Value::as_str).unwrap_or_default()
    }

    fn line(&self, paint: Paint) -> String {
        let text = |name: &str| self.entry.get(name).and_then(Value::as_str).unwrap_or_default();
        // Leaves count milliseconds since the Unix epoch.
        let time = ["time", "last"].iter().find_map(|name| self.entry.get(*name).and_then(Value::as_u64));
        let mut words = vec![
            format!("{:>6}", self.leaf),
            time.map_or_else(String::new, |time| rfc3339(time / 1000)),
            paint.strong(&format!("{:8}", self.kind())),
        ];
        match self.kind() {
            "intent" => words.extend([text("operation"), text("principal"), text("key")].map(printable)),
            "outcome" => {
                let intent = self.entry.get("intent").and_then(Value::as_u64).unwrap_or(0);
                words.push(format!("of {intent}: {}", printable(text("result"))));
                words.push(printable(text("reason")));
            }
            "refusal" => {
                let count = self.entry.get("count").and_then(Value::as_u64).unwrap_or(1);
                words.extend(["action", "principal", "reason", "repository"].map(|name| printable(text(name))));
                words.push(format!("×{count}"));
            }
            _ => words.push(printable(&self.entry.to_string())),
        }
        if let Some(subject) = self.entry.get("subject") {
            let named =
                ["reference", "name", "digest"].iter().find_map(|name| subject.get(*name).and_then(Value::as_str));
            words.extend(named.map(printable));
        }
        words.retain(|word| !word.is_empty());
        words.join("  ")
    }
}

/// Leaves.
#[derive(Debug, Serialize)]
pub(super) struct LogView {
    pub(super) entries: Vec<Entry>,
}

impl Shown for LogView {
    fn text(&self, paint: Paint) -> String {
        self.entries.iter().map(|entry| entry.line(paint)).collect::<Vec<_>>().join("\n")
    }
}

/// A proof that was checked here, and can be checked by others.
#[derive(Debug, Serialize)]
pub(super) struct ProofView {
    leaf: u64,
    entry: Value,
    /// The leaf's exact bytes, as text.
    entry_text: String,
    leaf_hash: String,
    /// Sibling hashes from the leaf to the root (RFC 6962 §2.1.1).
    hashes: Vec<String>,
    checkpoint: String,
}

impl ProofView {
    pub(super) fn of(leaf: u64, entry: &[u8], hashes: &[Sha256Digest], note: &SignedCheckpoint) -> Self {
        Self {
            leaf,
            entry: Entry::read(leaf, entry).entry,
            entry_text: String::from_utf8_lossy(entry).into_owned(),
            leaf_hash: trust::tlog::leaf_hash(entry).to_hex(),
            hashes: hashes.iter().map(|hash| hash.to_hex()).collect(),
            checkpoint: note.note().to_owned(),
        }
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>, Failure> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Failure::other("write the proof as JSON", "this is a fault of trustctl").because(error))?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

impl Shown for ProofView {
    fn text(&self, paint: Paint) -> String {
        let mut lines = self.checkpoint.lines();
        let (origin, size) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        format!(
            "{} leaf {} is in the log {} of {} leaves\n  {}",
            paint.good("proven"),
            self.leaf,
            paint.strong(origin),
            printable(size),
            printable(&self.entry_text)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_of_any_kind_is_one_line() {
        for text in [
            r#"{"kind":"intent","operation":"sign","principal":"uid:0","time":1700000000,"subject":{"name":"a\nb"}}"#,
            r#"{"kind":"outcome","intent":7,"result":"signed","time":1700000000000}"#,
            r#"{"kind":"refusal","action":"sign-image","count":3,"last":1700000000,"principal":"uid:7","reason":"policy"}"#,
            r#"{"kind":"new"}"#,
            "not json\n",
        ] {
            let line = Entry::read(5, text.as_bytes()).line(Paint::default());

            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(line.trim_start().starts_with('5'), "{line}");
        }
    }

    #[test]
    fn a_refusal_names_the_repository_that_it_was_about() {
        let text = r#"{"kind":"refusal","action":"publish","count":1,"last":7,"principal":"uid:7","reason":"denied","repository":"r.example/a"}"#;

        let line = Entry::read(5, text.as_bytes()).line(Paint::default());

        assert!(line.ends_with("publish  uid:7  denied  r.example/a  ×1"), "{line}");
    }

    proptest::proptest! {
        #[test]
        fn no_leaf_of_a_daemon_writes_more_than_its_line(bytes: Vec<u8>, word in "\\PC*|[\u{0}-\u{1f}]*") {
            let named = serde_json::json!({"kind": word, "operation": word, "subject": {"name": word}}).to_string();
            for entry in [&bytes[..], named.as_bytes()] {
                let line = Entry::read(0, entry).line(Paint::default());

                assert!(!line.chars().any(char::is_control), "{line:?}");
            }
        }
    }
}
