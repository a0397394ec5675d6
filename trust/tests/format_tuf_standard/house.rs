//! Repositories of the tests' own, whose keys have whatever names.

use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use trust::format::tuf::canonical;
use trust::format::tuf::standard::Client;

/// 2026-11-26T17:34:00Z
pub(crate) const NOW: i64 = 1_795_714_440;

const LATER: &str = "2027-11-26T17:34:00Z";

/// A key by whatever name.
pub(crate) struct TestKey {
    pub(crate) name: String,
    pub(crate) signing: SigningKey,
}

impl TestKey {
    pub(crate) fn new(seed: u8) -> Self {
        Self { name: format!("key {seed}"), signing: SigningKey::from_bytes(&[seed; 32]) }
    }

    pub(crate) fn entry(&self) -> Value {
        let public = hex::encode(self.signing.verifying_key().as_bytes());
        json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}})
    }

    pub(crate) fn line(&self, signed: &Value) -> Value {
        let text = serde_json::to_vec(signed).unwrap();
        let covered = canonical(&trust::format::json::read("test", &text, 1 << 20).unwrap());
        json!({"keyid": self.name, "sig": hex::encode(self.signing.sign(&covered).to_bytes())})
    }
}

pub(crate) fn file(signed: &Value, keys: &[&TestKey]) -> Vec<u8> {
    let lines: Vec<Value> = keys.iter().map(|key| key.line(signed)).collect();
    serde_json::to_vec(&json!({"signed": signed, "signatures": lines})).unwrap()
}

/// The keys of a repository: one for each top role.
pub(crate) struct House {
    pub(crate) root: TestKey,
    pub(crate) targets: TestKey,
    pub(crate) snapshot: TestKey,
    pub(crate) timestamp: TestKey,
}

pub(crate) fn keys(listed: &[&TestKey]) -> Value {
    listed.iter().map(|key| (key.name.clone(), key.entry())).collect::<serde_json::Map<_, _>>().into()
}

pub(crate) fn role(listed: &[&TestKey], threshold: u32) -> Value {
    json!({"keyids": listed.iter().map(|key| &key.name).collect::<Vec<_>>(), "threshold": threshold})
}

pub(crate) fn frame(kind: &str, version: u32) -> Value {
    json!({"_type": kind, "spec_version": "1.0.31", "version": version, "expires": LATER})
}

impl House {
    pub(crate) fn new() -> Self {
        let [root, targets, snapshot, timestamp] = [1, 2, 3, 4].map(TestKey::new);
        Self { root, targets, snapshot, timestamp }
    }

    pub(crate) fn root_of(&self, version: u32) -> Value {
        let mut signed = frame("root", version);
        signed["consistent_snapshot"] = json!(true);
        signed["keys"] = keys(&[&self.root, &self.targets, &self.snapshot, &self.timestamp]);
        signed["roles"] = json!({"root": role(&[&self.root], 1), "targets": role(&[&self.targets], 1),
            "snapshot": role(&[&self.snapshot], 1), "timestamp": role(&[&self.timestamp], 1)});
        signed
    }

    pub(crate) fn root(&self, version: u32) -> Vec<u8> {
        file(&self.root_of(version), &[&self.root])
    }

    /// A timestamp that names a snapshot by version only.
    pub(crate) fn timestamp(&self, version: u32, snapshot: u32) -> Vec<u8> {
        let mut signed = frame("timestamp", version);
        signed["meta"] = json!({"snapshot.json": {"version": snapshot}});
        file(&signed, &[&self.timestamp])
    }

    pub(crate) fn snapshot(&self, version: u32, files: &[(&str, u32)]) -> Vec<u8> {
        let mut signed = frame("snapshot", version);
        signed["meta"] = files
            .iter()
            .map(|(name, version)| (format!("{name}.json"), json!({"version": version})))
            .collect::<serde_json::Map<_, _>>()
            .into();
        file(&signed, &[&self.snapshot])
    }

    /// A client that has seen a timestamp and a snapshot of these versions.
    pub(crate) fn seen(&self, timestamp: u32, snapshot: u32, files: &[(&str, u32)]) -> Client {
        let mut client = Client::begin(&self.root(1), NOW).unwrap();
        assert!(client.recall("timestamp", &self.timestamp(timestamp, snapshot)));
        assert!(client.recall("snapshot", &self.snapshot(snapshot, files)));
        client
    }

    /// A client that is ready to be asked for targets.
    pub(crate) fn ready(&self, files: &[(&str, u32)]) -> Client {
        let mut client = Client::begin(&self.root(1), NOW).unwrap();
        client.take_timestamp(&self.timestamp(1, 1)).unwrap();
        client.take_snapshot(&self.snapshot(1, files)).unwrap();
        client
    }
}

pub(crate) fn targets(version: u32, paths: &[&str]) -> Value {
    let mut signed = frame("targets", version);
    let target = json!({"length": 1, "hashes": {"sha256": "11".repeat(32)}});
    signed["targets"] =
        paths.iter().map(|path| ((*path).to_owned(), target.clone())).collect::<serde_json::Map<_, _>>().into();
    signed
}

/// A delegation of all paths below `d/`.
pub(crate) fn delegation(name: &str, key: &TestKey, terminating: bool) -> Value {
    let mut line = role(&[key], 1);
    line["name"] = json!(name);
    line["paths"] = json!(["d/*"]);
    line["terminating"] = json!(terminating);
    line
}
