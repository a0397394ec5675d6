//! Snapshots that are sent, and what leaves the ones that the server makes.

use serde_json::{Value, json};
use trust::format::tuf::publish::{Refusal, Update};
use trust::format::tuf::{RoleName, Version};

use super::workshop::{House, TestKey, base64, delegating, file, role, snapshot, targets};
use super::{changed, publish, publish_where, set};

#[test]
fn a_snapshot_names_what_is_there_and_all_of_it() {
    let (house, a) = (House::new(), TestKey::ed25519(11));
    let root = house.signed_root(1);
    let top = file(&delegating(1, "targets/a", &[&a], 1), &[&house.targets]);
    let below = file(&targets(1), &[&a]);
    let held = house.repository(&root, &[("targets", &top), ("targets/a", &below)]);
    let next = file(&delegating(2, "targets/a", &[&a], 1), &[&house.targets]);
    let answer = |snapshot: &[u8]| publish(&held, &[("targets", &next), ("snapshot", snapshot)]);
    let whole: [(&str, &[u8]); 3] = [("root", &root), ("targets", &next), ("targets/a", &below)];
    let bad = |snapshot: &[u8], why: &str| {
        assert_eq!(answer(snapshot).unwrap_err(), Refusal::BadSnapshot(why.to_owned()));
    };
    let invalid = |why: &str| format!("snapshot type metadata invalid: {why}");

    assert_eq!(changed(&answer(&house.signed_snapshot(2, &whole)).unwrap()), ["targets 2", "snapshot 2"]);
    assert_eq!(answer(&house.signed_snapshot(1, &whole)).unwrap_err(), Refusal::Outdated(RoleName::Snapshot));
    bad(&file(&snapshot(2, &whole), &[&a]), "valid signatures did not meet threshold for snapshot");
    bad(&file(&snapshot(0, &whole), &[&house.snapshot]), &invalid("version cannot be less than one"));
    let stale: [(&str, &[u8]); 3] = [("root", &root), ("targets", &top), ("targets/a", &below)];
    let expected = trust::Sha256Digest::of(&top).to_hex();
    bad(&house.signed_snapshot(2, &stale), &format!("sha256 checksum for targets did not match: expected {expected}"));
    bad(&house.signed_snapshot(2, &whole[1..]), &invalid("missing root sha256 checksum information"));
    bad(&house.signed_snapshot(2, &whole[..2]), &invalid("missing targets/a sha256 checksum information"));
    let more = [whole[0], whole[1], whole[2], ("targets/b", &below)];
    bad(&house.signed_snapshot(2, &more), "the snapshot names targets/b, which is neither stored nor sent");
    let itself = [whole[0], whole[1], whole[2], ("timestamp", &below)];
    bad(&house.signed_snapshot(2, &itself), &invalid("timestamp is not among the files that it is of"));
    for (place, value, why) in [
        ("/expires", json!("2026-11-22T05:36:01Z"), "snapshot expired at Sun Nov 22 05:36:01 UTC 2026".to_owned()),
        ("/meta/root/hashes/sha256", Value::Null, invalid("missing root sha256 checksum information")),
        ("/meta/targets/length", json!(1), "length or sha512 checksum for targets did not match".to_owned()),
        (
            "/meta/targets/hashes/sha512",
            json!(base64(&[0; 64])),
            "length or sha512 checksum for targets did not match".to_owned(),
        ),
    ] {
        let mut signed = snapshot(2, &whole);
        set(&mut signed, place, value);
        bad(&file(&signed, &[&house.snapshot]), &why);
    }
}

#[test]
fn a_snapshots_owner_follows_the_file_and_the_servers_key_what_it_has_used_up() {
    let house = House::new();
    let (root, targets) = (house.signed_root(1), house.signed_targets(1));
    let files: [(&str, &[u8]); 2] = [("root", &root), ("targets", &targets)];
    // The server has signed two versions that it could not publish.
    let held = house.repository(&root, &files[1..]).with_mark(RoleName::Snapshot, Version::new(3).unwrap());
    let answer =
        |own: &[&TestKey], version| publish_where(own, &held, &[("snapshot", &house.signed_snapshot(version, &files))]);
    let outdated = Refusal::Outdated(RoleName::Snapshot);

    let update = answer(&[], 2).unwrap();
    assert_eq!(changed(&update), ["snapshot 2"]);
    assert_eq!(update.repository().mark(&RoleName::Snapshot), Version::new(3));
    assert_eq!(answer(&[], 1).unwrap_err(), outdated);
    assert_eq!(answer(&[&house.snapshot], 3).unwrap_err(), outdated);
    assert_eq!(changed(&answer(&[&house.snapshot], 4).unwrap()), ["snapshot 4"]);
}

#[test]
fn a_snapshot_may_leave_out_what_nobody_delegates_to() {
    let (house, a) = (House::new(), TestKey::ed25519(11));
    let root = house.signed_root(1);
    let top = file(&delegating(1, "targets/a", &[&a], 1), &[&house.targets]);
    let below = file(&targets(1), &[&a]);
    let held = house.repository(&root, &[("targets", &top), ("targets/a", &below)]);
    let next = house.signed_targets(2);
    let kept: [(&str, &[u8]); 2] = [("root", &root), ("targets", &next)];

    let update = publish(&held, &[("targets", &next), ("snapshot", &house.signed_snapshot(2, &kept))]).unwrap();

    assert!(update.repository().file(&role("targets/a")).is_none());
    assert_eq!(update.repository().mark(&role("targets/a")), Version::new(1));
}

#[test]
fn what_no_chain_delegates_to_can_be_left_out_where_the_server_makes_the_snapshot() {
    let (house, [a, b]) = (House::new(), [11, 12].map(TestKey::ed25519));
    let root = house.signed_root(1);
    let top = file(&delegating(1, "targets/a", &[&a], 1), &[&house.targets]);
    let parent = file(&delegating(1, "targets/a/b", &[&b], 1), &[&a]);
    let leaf = file(&targets(3), &[&b]);
    let held = house.repository(&root, &[("targets", &top), ("targets/a", &parent), ("targets/a/b", &leaf)]);
    let names = |update: Update| update.repository().files().keys().map(ToString::to_string).collect::<Vec<_>>();
    let all = ["root", "targets", "snapshot", "timestamp", "targets/a", "targets/a/b"];
    let next = house.signed_targets(2);

    let update = publish(&held, &[("targets", &next)]).unwrap();
    assert_eq!(names(update.clone()), all);
    let update = update.without_undelegated();
    assert_eq!(update.repository().mark(&role("targets/a/b")), Version::new(3));
    assert_eq!(names(update), all[..4]);
    // What is delegated to stays, and what a snapshot names that was sent.
    let kept = file(&delegating(2, "targets/a", &[&a], 1), &[&house.targets]);
    assert_eq!(names(publish(&held, &[("targets", &kept)]).unwrap().without_undelegated()), all);
    let named: [(&str, &[u8]); 4] =
        [("root", &root), ("targets", &next), ("targets/a", &parent), ("targets/a/b", &leaf)];
    let snapshot = house.signed_snapshot(2, &named);
    let sent = publish(&held, &[("targets", &next), ("snapshot", &snapshot)]).unwrap();
    assert_eq!(names(sent.without_undelegated()), all);
}
