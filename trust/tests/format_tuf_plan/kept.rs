//! What is kept of a file when another takes its place: its words, and that it says the same.

use serde_json::json;
use trust::format::tuf::plan::{NoPlan, TARGETS_SECONDS, TIMESTAMP_SECONDS};
use trust::format::tuf::{Key, Repository, RoleName};

use super::beside::beside;
use super::workshop::{House, file, read, snapshot, targets};
use super::{after, begun, put, sign};

#[test]
fn a_file_renews_another_that_says_the_same() {
    let house = House::new();
    let held = begun(&house);
    let before = held.file(&RoleName::Timestamp).unwrap();

    let next = sign(&held.next_timestamp(&after(TIMESTAMP_SECONDS + 1)).unwrap(), &[&house.timestamp]);
    assert!(next.renews(before));
    assert!(!before.renews(&next) && !next.renews(&next));

    let other = sign(&held.next_snapshot(&after(TARGETS_SECONDS)).unwrap(), &[&house.snapshot]);
    assert!(other.renews(held.file(&RoleName::Snapshot).unwrap()) && !other.renews(before));
    let moved = held.clone().with(other).next_timestamp(&after(TIMESTAMP_SECONDS)).unwrap();
    assert!(!sign(&moved, &[&house.timestamp]).renews(before));
}

#[test]
fn what_somebody_else_wrote_is_renewed_in_the_same_words() {
    let house = House::new();
    let (root, targets) = (house.signed_root(1), house.signed_targets(1));
    let mut said = snapshot(1, &[("root", &root), ("targets", &targets)]);
    for name in ["root", "targets"] {
        said["meta"][name]["hashes"].as_object_mut().unwrap().remove("sha512");
    }
    let before = read("snapshot", &file(&said, &[&house.snapshot]));
    let held = Repository::of([read("root", &root), read("targets", &targets), before.clone()]);

    let next = sign(&held.renewed(&RoleName::Snapshot, &after(TARGETS_SECONDS)).unwrap(), &[&house.snapshot]);

    assert!(next.renews(&before));
    let planned = sign(&held.next_snapshot(&after(TARGETS_SECONDS)).unwrap(), &[&house.snapshot]);
    assert!(!planned.renews(&before));
    let none = held.renewed(&RoleName::Timestamp, &after(60)).map(drop).unwrap_err();
    assert_eq!(none, NoPlan::Missing(RoleName::Timestamp));
}

#[test]
fn members_that_nobody_knows_are_kept() {
    let house = House::new();
    let mut signed = targets(1);
    signed["x-ours"] = json!({"a": [1]});
    signed["targets"]["v1"]["custom"] = json!({"b": "<&>"});
    let held = house.repository(&house.signed_root(1), &[("targets", &file(&signed, &[&house.targets]))]);

    let next = held.next_targets(&RoleName::Targets, &[put("2", 2)], &after(60)).unwrap();

    let text = String::from_utf8(next.document().signed_bytes().to_vec()).unwrap();
    assert!(text.contains(r#""x-ours":{"a":[1]}"#) && text.contains(r#""custom":{"b":"<&>"}"#), "{text}");
    assert!(String::from_utf8_lossy(next.document().raw()).contains(r"\u003c\u0026\u003e"));
}

#[test]
fn what_go_wrote_is_written_as_go_wrote_it() {
    let Some(samples) = beside("spec/notary/samples") else { return };
    for (name, file) in [
        ("root", "meta/root.json"),
        ("root", "meta/2.root.json"),
        ("targets", "meta/targets.json"),
        ("targets", "meta/targets-escaping-example.json"),
        ("snapshot", "meta/snapshot.json"),
        ("timestamp", "meta/timestamp.json"),
        ("targets/releases", "meta/targets/releases.json"),
    ] {
        let bytes = std::fs::read(samples.join(file)).unwrap();

        let again = read(name, &bytes).stamped(&[]).unwrap();

        assert_eq!(String::from_utf8_lossy(again.raw()), String::from_utf8_lossy(&bytes), "{file}");
    }
    let served = std::fs::read(samples.join("http/timestamp.key.json")).unwrap();
    let served = served.trim_ascii_end();
    assert_eq!(Key::read_served(served).unwrap().served(), served);
}
