//! What a history of uploads is made of, and its bytes for a server: each has snapshot and timestamp keys of its own.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use trust::format::tuf::Key;

use super::original::joined;
use super::scene::{Answer, Door};
use super::workshop::{self, Certificate, TestKey, base64};

const LATER: &str = "2096-11-26T17:34:00Z";
const GONE: &str = "2026-11-22T05:36:01Z";
/// Every role that is ever sent or made.
pub(crate) const ROLES: [&str; 7] =
    ["root", "targets", "snapshot", "timestamp", "targets/a", "targets/b", "targets/a/b"];

/// A key by its number: the server's own for the role, roots in certificates, and bare ones.
pub(crate) type Number = u8;
pub(crate) const OWN: Number = 0;
pub(crate) const ROOTS: [Number; 2] = [1, 2];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) keys: Vec<Number>,
    pub(crate) threshold: u32,
}

impl Role {
    pub(crate) fn of(keys: &[Number]) -> Self {
        Self { keys: keys.to_vec(), threshold: 1 }
    }

    pub(crate) fn is_met_by(&self, signers: &[Number]) -> bool {
        let met: BTreeSet<_> = self.keys.iter().filter(|key| signers.contains(key)).collect();
        met.len() >= usize::try_from(self.threshold).unwrap()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub(crate) version: u32,
    pub(crate) expired: bool,
    pub(crate) roots: Role,
    pub(crate) targets: Role,
    pub(crate) snapshot: Role,
    pub(crate) timestamp: Role,
    pub(crate) signers: Vec<Number>,
}

#[derive(Debug, Clone)]
pub(crate) struct Targets {
    pub(crate) kind: &'static str,
    pub(crate) version: u32,
    pub(crate) expired: bool,
    pub(crate) tag: u64,
    pub(crate) below: Vec<(String, Role)>,
    pub(crate) signers: Vec<Number>,
}

#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) version: u32,
    pub(crate) expired: bool,
    pub(crate) signers: Vec<Number>,
    pub(crate) fault: Fault,
}

/// What is wrong with what a snapshot names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// A file of this role is named that is neither stored nor sent.
    Another(&'static str),
    Length(&'static str),
    LongHash(&'static str),
    NoLongHash,
    NoRole,
    Without(&'static str),
}

#[derive(Debug, Clone)]
pub(crate) enum File {
    Bytes(&'static str),
    Root(Root),
    Snapshot(Snapshot),
    Targets(Targets),
}

/// What is sent at once, under the names of the parts.
pub(crate) type Upload = Vec<(&'static str, File)>;

pub(crate) struct Keys(BTreeMap<Number, TestKey>);

impl Keys {
    pub(crate) fn new() -> Self {
        let root = || TestKey::certified(&Certificate { name: "ex.io/*", years: [2020, 2096], ca: false });
        let roots = ROOTS.into_iter().map(|number| (number, root()));
        Self(roots.chain((3..30).map(|number| (number, TestKey::ed25519(number)))).collect())
    }

    fn file(&self, signed: &Value, signers: &[Number]) -> Vec<u8> {
        // The server's own key signs for nobody but the server.
        let keys: Vec<&TestKey> = signers.iter().filter_map(|number| self.0.get(number)).collect();
        workshop::file(signed, &keys)
    }
}

/// One of the two, and what it has of a repository.
pub(crate) struct Server {
    pub(crate) door: Door,
    gun: String,
    own: BTreeMap<&'static str, (String, Value)>,
    /// The files that were sent and taken last, by role.
    pub(crate) held: BTreeMap<&'static str, Vec<u8>>,
    /// All that were ever sent and taken in this life of the repository.
    pub(crate) taken: BTreeMap<(&'static str, u32), Vec<u8>>,
}

impl Server {
    pub(crate) fn new(door: Door) -> Self {
        Self { door, gun: String::new(), own: BTreeMap::new(), held: BTreeMap::new(), taken: BTreeMap::new() }
    }

    pub(crate) fn begins(&mut self, gun: &str) {
        gun.clone_into(&mut self.gun);
        self.ends();
        let key = |role| {
            let answer = self.door.ask(&format!("GET /v2/{gun}/_trust/tuf/{role}.key"));
            (role, (Key::read_served(&answer.body).unwrap().id().to_hex(), answer.json()))
        };
        self.own = ["snapshot", "timestamp"].map(key).into();
    }

    /// The repository is deleted.
    pub(crate) fn ends(&mut self) {
        self.held.clear();
        self.taken.clear();
    }

    pub(crate) fn delete(&self) -> u16 {
        self.door.ask(&format!("DELETE /v2/{}/_trust/tuf/", self.gun)).status
    }

    pub(crate) fn get(&self, name: &str) -> Answer {
        joined(self.door.ask(&format!("GET /v2/{}/_trust/tuf/{name}.json", self.gun)))
    }

    /// The bytes of an upload, in its order.
    pub(crate) fn written(&self, keys: &Keys, upload: &Upload) -> Vec<(&'static str, Vec<u8>)> {
        let mut held = self.held.clone();
        let mut written = Vec::new();
        for (name, file) in upload {
            let bytes = match file {
                File::Bytes(bytes) => bytes.as_bytes().to_vec(),
                File::Root(root) => keys.file(&self.root(keys, root), &root.signers),
                File::Targets(targets) => keys.file(&signed_targets(keys, targets), &targets.signers),
                // It names the others.
                File::Snapshot(_) => Vec::new(),
            };
            if ROLES.contains(name) {
                held.insert(name, bytes.clone());
            }
            written.push((*name, bytes));
        }
        for ((_, bytes), (_, file)) in written.iter_mut().zip(upload) {
            if let File::Snapshot(snapshot) = file {
                *bytes = keys.file(&signed_snapshot(snapshot, &held), &snapshot.signers);
            }
        }
        written
    }

    /// Status and code; the original ends some connections without an answer.
    pub(crate) fn send(&self, files: &[(&'static str, Vec<u8>)]) -> (u16, String) {
        let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, &bytes[..])).collect();
        match self.door.try_publish(&self.gun, &files) {
            Ok(answer) if answer.status == 200 => (200, String::new()),
            Ok(answer) => {
                let (code, said) = answer.error();
                (answer.status, format!("{code} {said}"))
            }
            Err(error) => (0, error.to_string()),
        }
    }

    fn root(&self, keys: &Keys, root: &Root) -> Value {
        let mut entries = Map::new();
        let mut roles = Map::new();
        for (name, role) in [
            ("root", &root.roots),
            ("targets", &root.targets),
            ("snapshot", &root.snapshot),
            ("timestamp", &root.timestamp),
        ] {
            let ids: Vec<String> = role
                .keys
                .iter()
                .map(|number| {
                    let (id, entry) = keys
                        .0
                        .get(number)
                        .map_or_else(|| self.own[name].clone(), |key| (key.id.clone(), key.entry.clone()));
                    entries.insert(id.clone(), entry);
                    id
                })
                .collect();
            roles.insert(name.to_owned(), json!({"keyids": ids, "threshold": role.threshold}));
        }
        json!({
            "_type": "Root", "version": root.version, "expires": until(root.expired), "consistent_snapshot": false,
            "keys": entries, "roles": roles,
        })
    }
}

fn until(expired: bool) -> &'static str {
    if expired { GONE } else { LATER }
}

fn signed_targets(keys: &Keys, targets: &Targets) -> Value {
    let mut entries = Map::new();
    let mut roles = Vec::new();
    for (name, role) in &targets.below {
        let mut ids = Vec::new();
        for key in role.keys.iter().map(|number| &keys.0[number]) {
            entries.insert(key.id.clone(), key.entry.clone());
            ids.push(&key.id);
        }
        roles.push(json!({"name": name, "keyids": ids, "threshold": role.threshold, "paths": [""]}));
    }
    let target = json!({"hashes": {"sha256": base64(&[7; 32])}, "length": 7});
    json!({
        "_type": targets.kind, "version": targets.version, "expires": until(targets.expired),
        "delegations": {"keys": entries, "roles": roles}, "targets": {format!("tag{}", targets.tag): target},
    })
}

fn signed_snapshot(snapshot: &Snapshot, held: &BTreeMap<&'static str, Vec<u8>>) -> Value {
    let files: Vec<(&str, &[u8])> = held
        .iter()
        .filter(|(role, _)| !matches!(**role, "snapshot" | "timestamp"))
        .map(|(role, bytes)| (*role, &bytes[..]))
        .collect();
    let mut signed = workshop::snapshot(snapshot.version, &files);
    signed["expires"] = until(snapshot.expired).into();
    let meta = signed["meta"].as_object_mut().unwrap();
    match snapshot.fault {
        Fault::None => {}
        Fault::Another(role) => drop(meta.insert(role.to_owned(), workshop::meta(b"another"))),
        Fault::Length(role) => meta.get_mut(role).into_iter().for_each(|meta| meta["length"] = 1.into()),
        Fault::LongHash(role) => {
            meta.get_mut(role).into_iter().for_each(|meta| meta["hashes"]["sha512"] = base64(&[7; 64]).into());
        }
        Fault::NoLongHash => meta.values_mut().for_each(|meta| {
            meta["hashes"].as_object_mut().unwrap().remove("sha512");
        }),
        Fault::NoRole => drop(meta.insert("bogus".to_owned(), workshop::meta(b"bogus"))),
        Fault::Without(role) => drop(meta.remove(role)),
    }
    signed
}
