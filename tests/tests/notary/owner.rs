//! Somebody who publishes with keys of their own, file by file.

use serde_json::{Value, json};
use trust::format::tuf::Key;

use super::scene::{Answer, Door};
use super::workshop::{self, Certificate, TestKey, file};

/// No test outlives it.
pub const LATER: &str = "2096-11-26T17:34:00Z";

/// A repository of somebody's, whose snapshots and timestamps the server makes.
pub struct Owner {
    pub door: Door,
    pub gun: String,
    pub root: TestKey,
    pub targets: TestKey,
    /// Id and entry of the server's keys.
    pub snapshot: (String, Value),
    pub timestamp: (String, Value),
}

impl Owner {
    pub fn of(door: &Door, name: &str) -> Self {
        let gun = format!("ex.io/{name}");
        let key = |role: &str| {
            let answer = door.ask(&format!("GET /v2/{gun}/_trust/tuf/{role}.key"));
            assert_eq!(answer.status, 200, "{}", answer.text());
            (Key::read_served(&answer.body).unwrap().id().to_hex(), answer.json())
        };
        let (snapshot, timestamp) = (key("snapshot"), key("timestamp"));
        let root = root_key(&gun);
        Self { root, targets: TestKey::ed25519(1), snapshot, timestamp, door: door.clone(), gun }
    }

    pub fn root(&self, version: u32) -> Value {
        let line = |id: &str| json!({"keyids": [id], "threshold": 1});
        json!({
            "_type": "Root", "version": version, "expires": LATER, "consistent_snapshot": false,
            "keys": {
                &self.root.id: self.root.entry, &self.targets.id: self.targets.entry,
                &self.snapshot.0: self.snapshot.1, &self.timestamp.0: self.timestamp.1,
            },
            "roles": {
                "root": line(&self.root.id), "targets": line(&self.targets.id),
                "snapshot": line(&self.snapshot.0), "timestamp": line(&self.timestamp.0),
            },
        })
    }

    pub fn signed_root(&self, version: u32) -> Vec<u8> {
        file(&self.root(version), &[&self.root])
    }

    pub fn signed_targets(&self, version: u32) -> Vec<u8> {
        file(&targets(version), &[&self.targets])
    }

    /// Status, code and what is said.
    pub fn publish(&self, files: &[(&str, &[u8])]) -> (u16, String, String) {
        let answer = self.door.publish(&self.gun, files);
        if answer.status == 200 {
            assert_eq!(answer.header("content-length"), Some("0"));
            assert!(answer.body.is_empty());
            return (200, String::new(), String::new());
        }
        assert!(answer.body.len() <= 1024, "{}", answer.text());
        let (code, said) = answer.error();
        (answer.status, code, said)
    }

    #[track_caller]
    pub fn taken(&self, files: &[(&str, &[u8])]) {
        assert_eq!(self.publish(files), (200, String::new(), String::new()));
    }

    #[track_caller]
    pub fn refused(&self, files: &[(&str, &[u8])], said: &str) {
        assert_eq!(self.publish(files), (400, "INVALID_UPDATE".to_owned(), said.to_owned()));
    }

    #[track_caller]
    pub fn outdated(&self, files: &[(&str, &[u8])]) {
        assert_eq!(self.publish(files), (400, "VERSION".to_owned(), "{}".to_owned()));
    }

    pub fn get(&self, name: &str) -> Answer {
        self.door.ask(&format!("GET /v2/{}/_trust/tuf/{name}", self.gun))
    }
}

pub fn root_key(gun: &str) -> TestKey {
    TestKey::certified(&Certificate { name: gun, years: [2020, 2096], ca: false })
}

pub fn targets(version: u32) -> Value {
    let mut signed = workshop::targets(version);
    signed["expires"] = LATER.into();
    signed
}

pub fn delegating(version: u32, role: &str, key: &TestKey) -> Value {
    let mut signed = workshop::delegating(version, role, &[key], 1);
    signed["expires"] = LATER.into();
    signed
}

pub fn with(mut value: Value, member: &str, changed: impl Into<Value>) -> Value {
    value[member] = changed.into();
    value
}
