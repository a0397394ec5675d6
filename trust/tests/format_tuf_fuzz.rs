//! Metadata with members changed, taken away, doubled and swapped at random, and signed all the same.
//!
//! An owner's own keys sign whatever a mutation makes, so it gets past the signatures and into the rules. Nothing may
//! panic, and what a server takes it must be able to finish, and its clients must believe. `make test-long` tries more.
#![cfg(feature = "formats")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the workshop serves several tests")]

#[path = "tuf/workshop.rs"]
mod workshop;

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use trust::format::json::VALUES_MAX;
use trust::format::tuf::client::{Client, Distrust, Pin, Wanted};
use trust::format::tuf::plan::Unsigned;
use trust::format::tuf::publish::{Refusal, SnapshotBy, check};
use trust::format::tuf::{Document, Expires, Gun, Repository, RoleName, standard};
use workshop::*;

/// How many mutations the gate tries.
fn cases() -> u32 {
    if std::env::var_os("TRUSTD_TEST_LONG").is_some() { 200_000 } else { 2_000 }
}

/// A change to a tree of JSON; places and values are taken modulo how many there are.
#[derive(Debug, Clone)]
enum Mutation {
    Copy { from: Index, to: Index },
    Put { at: Index, value: Index },
    Remove { at: Index },
    Rename { at: Index, name: Index },
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let index = any::<Index>;
    let one = prop_oneof![
        4 => (index(), index()).prop_map(|(at, value)| Mutation::Put { at, value }),
        2 => (index(), index()).prop_map(|(from, to)| Mutation::Copy { from, to }),
        1 => index().prop_map(|at| Mutation::Remove { at }),
        1 => (index(), index()).prop_map(|(at, name)| Mutation::Rename { at, name }),
    ];
    prop::collection::vec(one, 0..4)
}

/// What is put into a place: what readers choke at, and what means something elsewhere.
static VALUES: LazyLock<Vec<Value>> = LazyLock::new(|| {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(0),
        json!(1),
        json!(2),
        json!(3),
        json!(0x7fff_fffe_u32),
        json!(0x7fff_ffff_u32),
        json!(1_u64 << 53),
        json!(u64::MAX),
        json!(1.5),
        json!(""),
        json!("root"),
        json!("targets/a"),
        json!("targets/a/b"),
        json!("timestamp"),
        json!("*"),
        json!("\0\u{2028}<"),
        json!("2026-11-26T17:34:00Z"),
        json!("2030-02-29T00:00:00Z"),
        json!(LATER),
        json!("00".repeat(32)),
        json!("x".repeat(2000)),
        json!([]),
        json!({}),
        json!([[[[]]]]),
        json!({"sha256": base64(&[7; 32])}),
        TestKey::ed25519(77).entry,
    ]
});
static NAMES: [&str; 8] = ["", "Version", "root", "sha512", "targets/a", "x-new", "snapshot", "paths"];

/// The place of everything in a tree, as JSON pointers, the root's own left out.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let mut inside = |name: &str, value: &Value| {
        let place = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        found.push(place.clone());
        places(value, &place, found);
    };
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| inside(&index.to_string(), item)),
        Value::Object(members) => members.iter().for_each(|(name, member)| inside(name, member)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn mutate(value: &mut Value, mutation: &Mutation) {
    let mut found = Vec::new();
    places(value, "", &mut found);
    if found.is_empty() {
        return;
    }
    let place = |index: &Index| index.get(&found).clone();
    match mutation {
        Mutation::Copy { from, to } => {
            let copied = value.pointer(&place(from)).unwrap().clone();
            *value.pointer_mut(&place(to)).unwrap() = copied;
        }
        Mutation::Put { at, value: new } => *value.pointer_mut(&place(at)).unwrap() = new.get(&VALUES).clone(),
        Mutation::Remove { at } | Mutation::Rename { at, .. } => {
            let place = place(at);
            let (parent, name) = place.rsplit_once('/').unwrap();
            let name = name.replace("~1", "/").replace("~0", "~");
            match value.pointer_mut(parent).unwrap() {
                Value::Object(members) => {
                    let taken = members.remove(&name);
                    if let (Mutation::Rename { name, .. }, Some(taken)) = (mutation, taken) {
                        members.insert((*name.get(&NAMES)).to_owned(), taken);
                    }
                }
                Value::Array(items) => drop(items.remove(name.parse::<usize>().unwrap())),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => unreachable!("it has no members"),
            }
        }
    }
}

/// Signed by all of these, if it can be at all.
fn signed_all_the_same(signed: &Value, keys: &[&TestKey]) -> Vec<u8> {
    let text = serde_json::to_vec(signed).unwrap();
    if trust::format::json::read("test", &text, 1 << 20).is_ok() {
        return file(signed, keys);
    }
    serde_json::to_vec(&json!({"signed": signed, "signatures": []})).unwrap()
}

/// A repository with a delegation, and what its owner signs next.
struct Scene {
    house: House,
    delegate: TestKey,
    files: Vec<(&'static str, Vec<u8>)>,
    held: Repository,
}

static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    let (house, delegate) = (House::new(), TestKey::ed25519(50));
    let root = house.signed_root(1);
    let top = file(&delegating(1, "targets/a", &[&delegate], 1), &[&house.targets]);
    let below = file(&targets(1), &[&delegate]);
    let held = house.repository(&root, &[("targets", &top), ("targets/a", &below)]);
    let files = vec![("root", root), ("targets", top), ("targets/a", below)];
    Scene { house, delegate, files, held }
});

impl Scene {
    /// What the owner of a role signs next, before it is changed.
    fn next(&self, role: &str) -> (Value, Vec<&TestKey>) {
        match role {
            "root" => (self.house.root_of(2), vec![&self.house.root]),
            "targets" => (delegating(2, "targets/a", &[&self.delegate], 1), vec![&self.house.targets]),
            "targets/a" => (targets(2), vec![&self.delegate]),
            _ => {
                let files: Vec<(&str, &[u8])> = self.files.iter().map(|(name, file)| (*name, &file[..])).collect();
                (snapshot(2, &files), vec![&self.house.snapshot])
            }
        }
    }

    /// Makes the server's files, where the update left it the keys.
    fn finish(&self, repository: Repository, by: SnapshotBy) -> Option<Repository> {
        let end = Expires::at(NOW + 1000).unwrap();
        let sign = |unsigned: Unsigned, key: &TestKey| unsigned.signed(&[key.stamp(unsigned.document())]).ok();
        let repository = match by {
            SnapshotBy::Client => repository,
            SnapshotBy::Server => {
                let snapshot = repository.next_snapshot(&end).unwrap();
                repository.with(sign(snapshot, &self.house.snapshot)?)
            }
        };
        let timestamp = repository.next_timestamp(&end).unwrap();
        Some(repository.with(sign(timestamp, &self.house.timestamp)?))
    }

    /// A client that has seen the repository as it was, and comes back.
    fn visit(&self, shown: &Repository) -> Result<(), Distrust> {
        let raw = |role: &RoleName| shown.file(role).map(|file| file.raw().to_vec()).unwrap();
        let root = self.held.file(&RoleName::Root).unwrap().clone();
        let mut client = Client::begin(gun(), root, &Pin::FirstUse, NOW)?;
        let newest = shown.file(&RoleName::Root).unwrap();
        if client.next_root() == Some(newest.version()) {
            client.take_root(newest.raw())?;
        }
        client.take_timestamp(&raw(&RoleName::Timestamp))?;
        for role in [RoleName::Snapshot, RoleName::Targets] {
            if let Wanted::File(_) = client.wanted(&role)? {
                client.take_file(&role, &raw(&role))?;
            }
        }
        Ok(())
    }
}

fn gun() -> Gun {
    GUN.parse().unwrap()
}

#[test]
fn what_a_server_takes_it_can_finish_and_its_clients_believe() {
    let taken = AtomicU32::new(0);
    let roles = prop::sample::select(vec!["root", "targets", "targets/a", "snapshot"]);
    let mut runner =
        TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) });

    let answer = runner.run(&(roles, mutations()), |(role, mutations)| {
        let scene = &*SCENE;
        let (mut signed, keys) = scene.next(role);
        mutations.iter().for_each(|mutation| mutate(&mut signed, mutation));
        let bytes = signed_all_the_same(&signed, &keys);
        let Ok(part) = Refusal::read_part(role, &bytes, &mut { VALUES_MAX }) else { return Ok(()) };
        match check(&gun(), &scene.held, vec![part], &BTreeSet::new(), NOW) {
            Err(refusal) => prop_assert!(refusal.to_string().len() < 900, "{refusal}"),
            Ok(update) => {
                taken.fetch_add(1, Ordering::Relaxed);
                let by = update.snapshot_by();
                for document in update.files() {
                    let again = document.stamped(&[]).unwrap();
                    prop_assert_eq!(again.signed_bytes(), document.signed_bytes());
                }
                if let Some(whole) = scene.finish(update.into_repository(), by) {
                    prop_assert_eq!(whole.check_whole(&gun(), NOW), Ok(()));
                    prop_assert_eq!(scene.visit(&whole), Ok(()));
                }
            }
        }
        Ok(())
    });

    answer.unwrap();
    // Most mutations break something; where none was taken, nothing was tried.
    assert!(taken.into_inner() > cases() / 20);
}

#[test]
fn a_mutated_file_of_the_standard_dialect_is_read_or_refused() {
    let line = json!({"keyids": ["k"], "threshold": 1});
    let key = json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "00".repeat(32)}});
    let frame = |kind: &str, member: &str, value: Value| json!({"_type": kind, "spec_version": "1.0", "version": 1, "expires": LATER, member: value});
    let delegation = json!({"name": "a", "keyids": ["k"], "threshold": 1, "paths": ["a/*"], "terminating": false});
    let mut root = frame("root", "keys", json!({"k": key}));
    root["roles"] = json!({"root": line, "targets": line, "snapshot": line, "timestamp": line});
    let mut top = frame("targets", "targets", json!({"a/b": {"length": 1, "hashes": {"sha256": "00".repeat(32)}}}));
    top["delegations"] = json!({"keys": {"k": key}, "roles": [delegation]});
    let seeds = vec![
        (standard::Kind::Root, root),
        (standard::Kind::Snapshot, frame("snapshot", "meta", json!({"targets.json": {"version": 1, "length": 3}}))),
        (standard::Kind::Targets, top),
        (standard::Kind::Timestamp, frame("timestamp", "meta", json!({"snapshot.json": {"version": 1}}))),
    ];
    for (kind, seed) in &seeds {
        let bytes = serde_json::to_vec(&json!({"signed": seed, "signatures": []})).unwrap();
        assert!(standard::Metadata::read(*kind, &bytes).is_ok(), "{kind:?}");
    }
    let mut runner =
        TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) });

    let answer = runner.run(&(prop::sample::select(seeds), mutations()), |((kind, mut signed), mutations)| {
        mutations.iter().for_each(|mutation| mutate(&mut signed, mutation));
        let bytes =
            serde_json::to_vec(&json!({"signed": signed, "signatures": [{"keyid": "k", "sig": "00"}]})).unwrap();
        if let Ok(read) = standard::Metadata::read(kind, &bytes) {
            prop_assert_eq!(read.raw(), &bytes[..]);
            prop_assert!(read.version().number() > 0);
        }
        prop_assert!(standard::Client::begin(&bytes, NOW).is_err(), "nobody signed it");
        Ok(())
    });

    answer.unwrap();
}

#[test]
fn every_role_reads_every_mutation_of_every_other() {
    let roles = ["root", "targets", "targets/a", "snapshot", "timestamp"];
    let seed = prop::sample::select(vec!["root", "targets", "targets/a", "snapshot"]);
    let mut runner =
        TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) });

    let answer = runner.run(&(seed, mutations()), |(seed, mutations)| {
        let (signed, _) = SCENE.next(seed);
        let mut whole = json!({"signed": signed, "signatures": [{"keyid": "", "method": "eddsa", "sig": "AAAA"}]});
        mutations.iter().for_each(|mutation| mutate(&mut whole, mutation));
        let bytes = serde_json::to_vec(&whole).unwrap();
        for name in roles {
            if let Ok(document) = Document::read(&role(name), &bytes) {
                prop_assert_eq!(document.raw(), &bytes[..]);
                let again = Document::read(&role(name), document.stamped(&[]).unwrap().raw()).unwrap();
                prop_assert_eq!(again.signed_bytes(), document.signed_bytes());
            }
        }
        Ok(())
    });

    answer.unwrap();
}
