//! The standard dialect: repositories that others published, those that tough's tests refuse, and attacks by name.
#![cfg(feature = "formats")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod beside;
#[path = "format_tuf_standard/delegates.rs"]
mod delegates;
#[path = "format_tuf_standard/house.rs"]
mod house;
#[path = "format_tuf_standard/published.rs"]
mod published;

use proptest::prelude::*;
use serde_json::{Value, json};
use trust::Sha256Digest;
use trust::format::tuf::standard::{Client, Distrust, Finding, Kind, Metadata, file_name};

use house::{House, NOW, TestKey, delegation, file, frame, keys, role, targets};

#[test]
fn names_of_roles_lead_nowhere_else() {
    assert_eq!(file_name("../../path/like/dubious"), "..%2F..%2Fpath%2Flike%2Fdubious");
    assert_eq!(file_name("\u{1f37a}/30"), "%F0%9F%8D%BA%2F30");
    assert_eq!(file_name("a-B_9.~"), "a-B_9.~");
}

fn rollback(role: &str, found: u32, held: u32) -> Distrust {
    Distrust::Rollback { role: role.to_owned(), found, held }
}

#[test]
fn rollback_of_timestamp_snapshot_and_targets() {
    let house = House::new();
    let files = [("targets", 5), ("a", 3)];

    let older = house.seen(4, 4, &files).take_timestamp(&house.timestamp(3, 4));
    assert_eq!(older, Err(rollback("timestamp", 3, 4)));
    let older = house.seen(4, 4, &files).take_timestamp(&house.timestamp(5, 3));
    assert_eq!(older, Err(rollback("snapshot", 3, 4)));
    let take = |snapshot: &[u8]| {
        let mut client = house.seen(4, 4, &files);
        client.take_timestamp(&house.timestamp(5, 5)).unwrap();
        client.take_snapshot(snapshot)
    };
    assert_eq!(take(&house.snapshot(5, &[("targets", 4), ("a", 3)])), Err(rollback("targets", 4, 5)));
    assert_eq!(take(&house.snapshot(5, &[("targets", 5), ("a", 2)])), Err(rollback("a", 2, 3)));
    assert_eq!(take(&house.snapshot(5, &[("targets", 6)])), Err(Distrust::Hidden("a".to_owned())));
    assert_eq!(take(&house.snapshot(4, &files)), Err(Distrust::Differs("snapshot".to_owned())));
    assert_eq!(take(&house.snapshot(5, &[("targets", 6), ("a", 3), ("b", 1)])), Ok(()));
}

#[test]
fn what_was_seen_and_is_still_current_is_not_fetched_again() {
    let house = House::new();
    let mut client = house.seen(4, 4, &[("targets", 1)]);

    client.take_timestamp(&house.timestamp(4, 4)).unwrap();

    assert_eq!(client.wanted_snapshot(), Ok(None));
    assert!(matches!(client.find("x"), Ok(Finding::Needs { role, .. }) if role == "targets"));
}

#[test]
fn changed_keys_of_the_timestamp_let_its_versions_begin_anew() {
    let house = House::new();
    let moved = House { timestamp: TestKey::new(44), ..House::new() };
    let mut client = Client::begin(&house.root(1), NOW).unwrap();
    client.take_root(&moved.root(2)).unwrap();

    assert!(!client.recall("timestamp", &house.timestamp(0x7fff_fffe, 7)));
    assert_eq!(client.take_timestamp(&moved.timestamp(1, 1)), Ok(()));
}

#[test]
fn roots_are_followed_one_by_one_under_the_old_and_the_new_key() {
    let house = House::new();
    let new = House { root: TestKey::new(11), ..House::new() };
    let few = Err(Distrust::NotSigned("root".to_owned()));
    let take = |bytes: &[u8]| Client::begin(&house.root(1), NOW).unwrap().take_root(bytes);

    assert_eq!(take(&file(&new.root_of(2), &[&house.root, &new.root])), Ok(()));
    assert_eq!(take(&file(&new.root_of(2), &[&house.root])), few);
    assert_eq!(take(&file(&new.root_of(2), &[&new.root])), few);
    for version in [1, 3] {
        assert_eq!(take(&house.root(version)), Err(Distrust::NotNext { held: 1, found: version }));
    }
    let mut late = Client::begin(&house.root(1), NOW).unwrap();
    late.take_timestamp(&house.timestamp(1, 1)).unwrap();
    assert_eq!(late.take_root(&house.root(2)), Err(Distrust::OutOfOrder("root".to_owned())));
}

#[test]
fn freeze() {
    let house = House::new();
    let later = NOW + 366 * 86_400;
    let expired = |answer: Result<(), Distrust>, name: &str| {
        assert!(matches!(answer, Err(Distrust::Expired { role, .. }) if role == name), "{name}");
    };

    let mut client = Client::begin(&house.root(1), later).unwrap();
    expired(client.take_timestamp(&house.timestamp(1, 1)), "root");
    let aged = |bytes: &[u8], key: &TestKey| {
        let mut signed: Value = serde_json::from_slice(bytes).unwrap();
        signed["signed"]["expires"] = json!("2026-11-26T17:34:00Z");
        file(&signed["signed"], &[key])
    };
    let mut client = Client::begin(&house.root(1), NOW).unwrap();
    expired(client.take_timestamp(&aged(&house.timestamp(1, 1), &house.timestamp)), "timestamp");
    let mut client = Client::begin(&house.root(1), NOW).unwrap();
    client.take_timestamp(&house.timestamp(1, 1)).unwrap();
    let snapshot = house.snapshot(1, &[("targets", 1)]);
    expired(client.take_snapshot(&aged(&snapshot, &house.snapshot)), "snapshot");
    client.take_snapshot(&snapshot).unwrap();
    let top = file(&targets(1, &[]), &[&house.targets]);
    expired(client.take_targets("targets", "root", &aged(&top, &house.targets)), "targets");
}

#[test]
fn lengths_and_hashes_that_are_said_are_held() {
    let house = House::new();
    let snapshot = house.snapshot(1, &[("targets", 1)]);
    let take = |meta: Value| {
        let mut signed = frame("timestamp", 1);
        signed["meta"] = json!({"snapshot.json": meta});
        let mut client = Client::begin(&house.root(1), NOW).unwrap();
        client.take_timestamp(&file(&signed, &[&house.timestamp])).unwrap();
        client.take_snapshot(&snapshot)
    };
    let differs = Err(Distrust::Differs("snapshot".to_owned()));
    let hash = Sha256Digest::of(&snapshot).to_hex();

    assert_eq!(take(json!({"version": 1, "length": snapshot.len(), "hashes": {"sha256": hash}})), Ok(()));
    assert_eq!(take(json!({"version": 1, "length": snapshot.len() + 1})), differs);
    assert_eq!(take(json!({"version": 1, "hashes": {"sha256": "00".repeat(32)}})), differs);
    assert_eq!(take(json!({"version": 1, "hashes": {"sha256": hash, "sha512": "00".repeat(64)}})), differs);
    assert_eq!(take(json!({"version": 2})), differs);
}

#[test]
fn one_key_under_two_names_counts_once() {
    let house = House::new();
    let again = TestKey { name: "another name".to_owned(), ..TestKey::new(1) };
    let other = TestKey::new(9);
    let begin = |second: &TestKey| {
        let mut signed = house.root_of(1);
        signed["keys"][&second.name] = second.entry();
        signed["roles"]["root"] = role(&[&house.root, second], 2);
        Client::begin(&file(&signed, &[&house.root, second]), NOW).map(drop)
    };

    assert_eq!(begin(&other), Ok(()));
    assert_eq!(begin(&again), Err(Distrust::NotSigned("root".to_owned())));
}

#[test]
fn files_that_are_none_are_refused() {
    let house = House::new();
    let read = |change: &dyn Fn(&mut Value)| {
        let mut signed = house.root_of(1);
        change(&mut signed);
        Metadata::read(Kind::Root, &file(&signed, &[&house.root])).map(drop)
    };

    assert_eq!(read(&|_| {}), Ok(()));
    for spec in ["2.0", "0.9", "10", ""] {
        assert!(read(&|signed| signed["spec_version"] = json!(spec)).is_err(), "{spec}");
    }
    for version in [0_i64, -1, 0x7fff_ffff, 1 << 53] {
        let mut signed = house.root_of(1);
        signed["version"] = json!(version);
        let bytes = serde_json::to_vec(&json!({"signed": signed, "signatures": []})).unwrap();
        assert!(Metadata::read(Kind::Root, &bytes).is_err(), "{version}");
    }
    assert!(read(&|signed| signed["_type"] = json!("Root")).is_err());
    assert!(read(&|signed| signed["roles"]["root"]["threshold"] = json!(0)).is_err());
    assert!(read(&|signed| signed["roles"]["root"]["keyids"] = json!(["a", "a"])).is_err());
    assert!(read(&|signed| drop(signed["roles"].as_object_mut().unwrap().remove("timestamp"))).is_err());
    for name in ["root", "targets", "snapshot", "timestamp", ""] {
        let mut signed = targets(1, &[]);
        let line = delegation(name, &house.root, false);
        signed["delegations"] = json!({"keys": keys(&[&house.root]), "roles": [line]});
        assert!(Metadata::read(Kind::Targets, &file(&signed, &[])).is_err(), "{name}");
    }
    for change in [json!({"paths": null}), json!({"path_hash_prefixes": ["0"]}), json!({"terminating": null})] {
        let mut line = delegation("a", &house.root, false);
        line.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let mut signed = targets(1, &[]);
        signed["delegations"] = json!({"keys": keys(&[&house.root]), "roles": [line]});
        assert!(Metadata::read(Kind::Targets, &file(&signed, &[])).is_err(), "{change}");
    }
}

proptest! {
    #[test]
    fn whatever_the_bytes_reading_answers(
        at in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(), junk in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let house = House::new();
        let mut bytes = house.root(1);
        let at = at.index(bytes.len());
        let end = at + cut.index(bytes.len() - at);
        bytes.splice(at..end, junk);
        for kind in [Kind::Root, Kind::Snapshot, Kind::Targets, Kind::Timestamp] {
            if let Ok(read) = Metadata::read(kind, &bytes) {
                prop_assert_eq!(read.raw(), &bytes[..]);
            }
        }
        if let Ok(client) = Client::begin(&bytes, NOW) {
            prop_assert_eq!(client.root().version().number(), 1);
        }
    }
}
