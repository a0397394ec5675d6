//! First publications with random faults in them, sent to Debian's notary-server and to the daemon: what the original
//! refuses, the daemon does not take. The other way it may differ, and the documents say where.
//!
//! `TRUSTD_TEST_LONG=1` sends them for five minutes, others each time; `TRUSTD_TEST_SEED` sends those of a seed again.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "scene and workshop serve several tests")]

#[path = "notary/original.rs"]
mod original;
#[path = "notary/random.rs"]
mod random;
#[path = "notary/scene.rs"]
mod scene;
#[path = "../../trust/tests/tuf/workshop.rs"]
mod workshop;

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use trust::format::tuf::Key;

use original::original;
use random::{Random, is_long, seed};
use scene::{Door, Plan, Scene};
use workshop::{Certificate, TestKey};

/// No test outlives it.
const LATER: &str = "2096-11-26T17:34:00Z";
/// The files of a first publication, parents first.
const FILES: [&str; 3] = ["root", "targets", "targets/a"];
/// Stand for what each server has of its own, so that both get the same faults.
const OWN: [[&str; 3]; 2] =
    [["snapshot-id", "snapshot-kind", "snapshot-public"], ["timestamp-id", "timestamp-kind", "timestamp-public"]];
/// Stands for a signature.
const SIGNATURE: &str = "signature";
/// Names of members, some of which mean something somewhere.
const NAMES: [&str; 17] = [
    "x",
    "Version",
    "keys",
    "paths",
    "sha256",
    "sha512",
    "md5",
    "signed",
    "targets/a",
    "custom",
    "hashes",
    "length",
    "threshold",
    "keyids",
    "method",
    "root",
    "snapshot",
];
/// How many differences are shown.
const SHOWN_MAX: usize = 8;

impl Random {
    fn value(&mut self) -> Value {
        let all = json!([
            null, true, false, 0, 1, -1, 2, 3, 2_147_483_647, 9_007_199_254_740_992_u64, "", "root", "targets",
            "targets/a", "x", "\u{0}", "\u{2028}<", [], {}, [1], ["x"], {"a": 1}, {"sha256": "AAAA"}, "AAAA", "A",
            "2030-01-01T00:00:00Z", "2030-02-29T00:00:00Z", "2030-01-01T00:00:00+01:00", 1.5, 1000.0, [null], [[]],
            "00".repeat(32), "é",
        ]);
        self.one_of(all.as_array().unwrap()).clone()
    }

    /// The same with one or two faults.
    fn changed(&mut self, value: &Value) -> Value {
        let mut changed = value.clone();
        for _ in 0..*self.one_of(&[1, 1, 1, 2]) {
            let mut all = Vec::new();
            places(&changed, "", &mut all);
            if all.is_empty() {
                break;
            }
            let place = self.one_of(&all).clone();
            let (parent, name) = place.rsplit_once('/').unwrap();
            match self.below(20) {
                0..12 => *changed.pointer_mut(&place).unwrap() = self.value(),
                12..15 => taken_out(changed.pointer_mut(parent).unwrap(), name),
                15..18 => {
                    let (name, value) = (*self.one_of(&NAMES), self.value());
                    if let Some(members) = changed.pointer_mut(parent).unwrap().as_object_mut() {
                        members.insert(name.to_owned(), value);
                    }
                }
                _ => {
                    let other = changed.pointer(self.one_of::<String>(&all)).unwrap().clone();
                    *changed.pointer_mut(&place).unwrap() = other;
                }
            }
        }
        changed
    }
}

/// Every place below a value (RFC 6901).
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    let mut below = |name: &str, value: &Value| {
        let place = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        all.push(place.clone());
        places(value, &place, all);
    };
    match value {
        Value::Object(members) => sorted(members).into_iter().for_each(|(name, value)| below(name, value)),
        Value::Array(values) => values.iter().enumerate().for_each(|(at, value)| below(&at.to_string(), value)),
        _ => {}
    }
}

fn taken_out(parent: &mut Value, name: &str) {
    match parent {
        Value::Object(members) => drop(members.remove(&name.replace("~1", "/").replace("~0", "~"))),
        Value::Array(values) => drop(values.remove(name.parse().unwrap())),
        _ => {}
    }
}

/// In which order serde_json keeps them depends on what else is built beside this.
fn sorted(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    members
}

/// What Go signs: our own writer refuses some of what is sent here.
fn canonical(value: &Value) -> String {
    let list = |values: Vec<String>| values.join(",");
    match value {
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| format!("{}:{}", quoted(name), canonical(value));
            format!("{{{}}}", list(sorted(members).into_iter().map(member).collect()))
        }
        Value::Array(values) => format!("[{}]", list(values.iter().map(canonical).collect())),
        Value::String(text) => quoted(text),
        Value::Number(number) => number.to_string().trim_end_matches(".0").to_owned(),
        Value::Null | Value::Bool(_) => value.to_string(),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The same with each of these texts in the place of what stands for it, names of members among them.
fn filled(value: &Value, texts: &[(&str, String)]) -> Value {
    let text = |found: &str| {
        let known = texts.iter().find(|(name, _)| *name == found);
        known.map_or_else(|| found.to_owned(), |(_, text)| text.clone())
    };
    match value {
        Value::String(found) => text(found).into(),
        Value::Array(values) => values.iter().map(|value| filled(value, texts)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (text(name), filled(value, texts))).collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

/// Whoever signs: root by a certificate that is good for every name, so that nothing but the names differs.
struct Keys([TestKey; 3]);

impl Keys {
    fn new() -> Self {
        let root = TestKey::certified(&Certificate { name: "ex.io/*", years: [2020, 2096], ca: false });
        Self([root, TestKey::ed25519(1), TestKey::ed25519(2)])
    }

    /// What is signed, and the rest of each file.
    fn files(&self) -> Vec<(Value, Value)> {
        let [root, targets, below] = &self.0;
        let line = |id: &str| json!({"keyids": [id], "threshold": 1});
        let [[snapshot, ..], [timestamp, ..]] = OWN;
        let own =
            |[_, kind, public]: [&str; 3]| json!({"keytype": kind, "keyval": {"private": null, "public": public}});
        let first = json!({
            "_type": "Root", "version": 1, "expires": LATER, "consistent_snapshot": false,
            "keys": {
                &root.id: root.entry, &targets.id: targets.entry,
                snapshot: own(OWN[0]), timestamp: own(OWN[1]),
            },
            "roles": {
                "root": line(&root.id), "targets": line(&targets.id), "snapshot": line(snapshot),
                "timestamp": line(timestamp),
            },
        });
        let later = |mut signed: Value| {
            signed["expires"] = LATER.into();
            signed
        };
        let signed = [first, later(workshop::delegating(1, "targets/a", &[below], 1)), later(workshop::targets(1))];
        let rest = self.0.iter().map(|key| {
            let mut line = key.sign_bytes(b"");
            line["sig"] = SIGNATURE.into();
            json!({"signatures": [line]})
        });
        signed.into_iter().zip(rest).collect()
    }
}

/// One of the two, and its own keys for a repository.
struct Server {
    door: Door,
    own: Vec<(&'static str, String)>,
}

impl Server {
    fn new(door: Door) -> Self {
        Self { door, own: Vec::new() }
    }

    fn begins(&mut self, gun: &str) {
        self.own.clear();
        for (role, [id, kind, public]) in ["snapshot", "timestamp"].into_iter().zip(OWN) {
            let answer = self.door.ask(&format!("GET /v2/{gun}/_trust/tuf/{role}.key"));
            let entry = answer.json();
            self.own.push((kind, entry["keytype"].as_str().unwrap().to_owned()));
            self.own.push((id, Key::read_served(&answer.body).unwrap().id().to_hex()));
            self.own.push((public, entry["keyval"]["public"].as_str().unwrap().to_owned()));
        }
    }

    /// Status, and what was said.
    fn sent(&self, gun: &str, keys: &Keys, files: &[(Value, Value)]) -> (u16, String) {
        let files = files.iter().zip(&keys.0).map(|((signed, rest), key)| {
            let signed = filled(signed, &self.own);
            let signature = key.sign_bytes(canonical(&signed).as_bytes())["sig"].as_str().unwrap().to_owned();
            let mut file = filled(rest, &[(SIGNATURE, signature)]);
            file["signed"] = signed;
            serde_json::to_vec(&file).unwrap()
        });
        let files: Vec<Vec<u8>> = files.collect();
        let named: Vec<(&str, &[u8])> = FILES.into_iter().zip(files.iter().map(Vec::as_slice)).collect();
        // The original ends some connections without an answer.
        self.door
            .try_publish(gun, &named)
            .map_or_else(|error| (0, error.to_string()), |answer| (answer.status, answer.text()))
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a real program runs in real time")]
fn what_the_original_refuses_is_not_taken() {
    let seed = seed();
    let (rounds, end) = if is_long() { (100_000, 300) } else { (100, 60) };
    let end = Instant::now() + Duration::from_secs(end);
    let scene = Scene::started(&Plan::open());
    let (_running, door) = original(&scene);
    let mut theirs = Server::new(door);
    let mut ours = Server::new(scene.at(scene.address));
    let keys = Keys::new();
    let mut random = Random(seed);
    let (mut both, mut neither, mut wrong) = (0_u32, 0_u32, Vec::new());
    let mut gun = String::new();

    for round in 0..rounds {
        if Instant::now() > end || wrong.len() >= SHOWN_MAX {
            break;
        }
        if gun.is_empty() {
            gun = format!("ex.io/random-{round}");
            theirs.begins(&gun);
            ours.begins(&gun);
        }
        let mut files = keys.files();
        let which = random.below(files.len());
        let (signed, rest) = &mut files[which];
        let changed = if random.below(4) == 0 { rest } else { signed };
        *changed = random.changed(changed);
        let shown = changed.clone();

        let [(theirs, why), (ours, said)] = [&theirs, &ours].map(|server| server.sent(&gun, &keys, &files));

        assert!(ours == 200 || ours == 400, "{ours} {said}: {} {shown}", FILES[which]);
        match (theirs == 200, ours == 200) {
            (true, true) => both += 1,
            (false, false) => neither += 1,
            (true, false) => {}
            (false, true) => wrong.push(format!("round {round}, {}: {theirs} {why}\n{shown}", FILES[which])),
        }
        if theirs == 200 || ours == 200 {
            gun.clear();
        }
    }

    assert!(wrong.is_empty(), "seed {seed}: taken, and refused by the original:\n{}", wrong.join("\n"));
    assert!(both > 0 && neither > 0, "{both} taken and {neither} refused by both: nothing was compared");
    println!("{both} taken and {neither} refused by both");
}
