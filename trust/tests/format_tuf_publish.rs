//! What a server takes and what it refuses, in Notary's words (SPEC §2.7, §2.8 and its appendix).
#![cfg(feature = "formats")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the workshop serves several tests")]

mod beside;
#[path = "format_tuf_publish/deleted.rs"]
mod deleted;
#[path = "format_tuf_publish/recorded.rs"]
mod recorded;
#[path = "format_tuf_publish/roots.rs"]
mod roots;
#[path = "format_tuf_publish/snapshots.rs"]
mod snapshots;
#[path = "format_tuf_publish/targets.rs"]
mod targets;
#[path = "tuf/workshop.rs"]
mod workshop;

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use trust::format::json::VALUES_MAX;
use trust::format::tuf::publish::{Refusal, SnapshotBy, Update, check};
use trust::format::tuf::{Gun, Part, Repository, RoleName};

use workshop::*;

const NEW_REPOSITORY: fn() -> Repository = Repository::default;

fn gun() -> Gun {
    GUN.parse().unwrap()
}

/// Alone in its upload.
fn read_part(name: &str, bytes: &[u8]) -> Result<Part, Refusal> {
    Refusal::read_part(name, bytes, &mut { VALUES_MAX })
}

fn publish(held: &Repository, parts: &[(&str, &[u8])]) -> Result<Update, Refusal> {
    publish_where(&[], held, parts)
}

/// To a server that has these keys for snapshots.
fn publish_where(own: &[&TestKey], held: &Repository, parts: &[(&str, &[u8])]) -> Result<Update, Refusal> {
    let own = own.iter().map(|key| key.key().canonical_id()).collect();
    let parts = parts.iter().map(|(name, bytes)| part(name, bytes)).collect();
    check(&gun(), held, parts, &own, NOW)
}

/// Type and text of the refusal; nothing for a version that is there already.
#[track_caller]
fn refused(held: &Repository, parts: &[(&str, &[u8])]) -> (Option<&'static str>, String) {
    let refusal = publish(held, parts).unwrap_err();
    (refusal.type_name(), refusal.to_string())
}

#[track_caller]
fn outdated(held: &Repository, parts: &[(&str, &[u8])], name: &str) {
    let refusal = publish(held, parts).unwrap_err();
    assert_eq!(refusal, Refusal::Outdated(role(name)));
    assert_eq!((refusal.code(), refusal.type_name()), ("VERSION", None));
}

fn changed(update: &Update) -> Vec<String> {
    update.files().map(|file| format!("{} {}", file.role(), file.version().number())).collect()
}

#[test]
fn a_new_repository_is_taken_with_or_without_a_snapshot() {
    let house = House::new();
    let (root, targets) = (house.signed_root(1), house.signed_targets(2));

    let update = publish(&NEW_REPOSITORY(), &[("targets", &targets), ("root", &root)]).unwrap();
    assert_eq!(changed(&update), ["root 1", "targets 2"]);
    assert_eq!(update.snapshot_by(), SnapshotBy::Server);

    let snapshot = house.signed_snapshot(2, &[("root", &root), ("targets", &targets)]);
    let parts: [(&str, &[u8]); 3] = [("snapshot", &snapshot), ("targets", &targets), ("root", &root)];
    let update = publish(&NEW_REPOSITORY(), &parts).unwrap();
    assert_eq!(changed(&update), ["root 1", "targets 2", "snapshot 2"]);
    assert_eq!(update.snapshot_by(), SnapshotBy::Client);

    let second = house.signed_root(2);
    assert!(publish(&NEW_REPOSITORY(), &[("root", &second), ("targets", &targets)]).is_ok());
}

#[test]
fn what_is_not_whole_is_refused() {
    let house = House::new();
    let (root, targets) = (house.signed_root(1), house.signed_targets(2));
    let no_root = (Some("ErrValidation"), "no pre-existing root and no root provided in update.".to_owned());

    assert_eq!(refused(&NEW_REPOSITORY(), &[]), no_root);
    assert_eq!(refused(&NEW_REPOSITORY(), &[("targets", &targets)]), no_root);
    assert_eq!(
        refused(&NEW_REPOSITORY(), &[("root", &root)]),
        (Some("ErrValidation"), "targets must be loaded first".to_owned())
    );
    let held = house.repository(&root, &[("targets", &targets)]);
    assert_eq!(changed(&publish(&held, &[]).unwrap()), [""; 0]);
    outdated(&held, &[("root", &root), ("targets", &targets)], "root");
}

#[test]
fn names_of_parts_are_roles_with_or_without_json() {
    let good = house_free_targets();

    for name in ["targets", "targets.json"] {
        assert_eq!(*read_part(name, &good).unwrap().role(), RoleName::Targets);
    }
    assert_eq!(*read_part("targets/a.json", &good).unwrap().role(), role("targets/a"));
    for name in ["", ".json"] {
        assert_eq!(read_part(name, &good).unwrap_err().code(), "NO_FILENAME");
    }
    for (name, shown) in [("bogus", "bogus"), ("targets/UPPER", "targets/UPPER"), ("targets/../x", "targets/../x")] {
        let refusal = read_part(name, &good).unwrap_err();
        assert_eq!(refusal, Refusal::InvalidRole(shown.to_owned()));
        assert_eq!(refusal.code(), "INVALID_ROLE");
    }
    for bad in ["", "{", "[]", r#"{"signed":{"version":"1"}}"#, r#"{"signed":{"expires":"tomorrow"}}"#] {
        assert_eq!(read_part("root", bad.as_bytes()).unwrap_err().code(), "MALFORMED_JSON", "{bad}");
    }
    let long = read_part(&"x\u{7}".repeat(4000), &good).unwrap_err();
    assert!(matches!(long, Refusal::InvalidRole(shown) if shown.len() == 64));
}

fn house_free_targets() -> Vec<u8> {
    file(&targets(1), &[])
}

/// Sets a member by its JSON pointer; takes it away where the value is null.
fn set(signed: &mut Value, place: &str, value: Value) {
    let (parent, name) = place.rsplit_once('/').unwrap();
    let members = signed.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        members.remove(name)
    } else {
        members.insert(name.to_owned(), value)
    };
}

#[test]
fn a_timestamp_that_is_sent_is_passed_over() {
    let house = House::new();
    let (root, targets) = (house.signed_root(1), house.signed_targets(1));
    let held = house.repository(&root, &[("targets", &targets)]);

    let update = publish(&held, &[("timestamp", b"{}"), ("targets", &house.signed_targets(2))]).unwrap();

    assert_eq!(changed(&update), ["targets 2"]);
}

#[test]
fn the_parts_of_an_upload_share_a_number_of_values() {
    let part = |values: usize| format!("[{}0]", "0,".repeat(values - 2)).into_bytes();
    let mut left = 10;

    // Neither is metadata; what counts is how much of it was read.
    assert!(Refusal::read_part("targets", &part(6), &mut left).is_err());
    assert_eq!(left, 4);
    let refused = Refusal::read_part("targets/a", &part(6), &mut left).unwrap_err();
    assert_eq!((refused.code(), left), ("MALFORMED_JSON", 0));
    assert!(Refusal::read_part("targets/b", b"{}", &mut left).is_err());
    assert!(Refusal::read_part("targets/b", b"{}", &mut 1).is_ok());
}

/// One bit of one file of an upload, every one of them with `TRUSTD_TEST_LONG=1`.
#[test]
fn a_flipped_bit_is_refused_or_changes_nothing_that_is_signed() {
    let step = if std::env::var_os("TRUSTD_TEST_LONG").is_some() { 1 } else { 3 };
    let (house, key) = (House::new(), TestKey::ed25519(11));
    let root = house.signed_root(1);
    let delegates = file(&delegating(1, "targets/a", &[&key], 1), &[&house.targets]);
    let below = file(&targets(1), &[&key]);
    let snapshot = house.signed_snapshot(1, &[("root", &root), ("targets", &delegates), ("targets/a", &below)]);
    let sound = [("root", root), ("targets", delegates), ("targets/a", below), ("snapshot", snapshot)];

    let (mut refused, mut taken) = (0, 0);
    // With a snapshot of the owner's, which names the other files, and with one of the server's.
    for files in [&sound[..], &sound[..3]] {
        for (place, (name, bytes)) in files.iter().enumerate() {
            let original = read(name, bytes);
            for bit in (0..bytes.len() * 8).step_by(step) {
                let mut files = files.to_vec();
                files[place].1[bit / 8] ^= 1 << (bit % 8);
                let parts: Result<Vec<Part>, Refusal> =
                    files.iter().map(|(name, bytes)| read_part(name, bytes)).collect();
                let Ok(update) = parts.and_then(|parts| check(&gun(), &NEW_REPOSITORY(), parts, &BTreeSet::new(), NOW))
                else {
                    refused += 1;
                    continue;
                };
                let file = update.repository().file(&role(name)).unwrap();
                assert_eq!(file.signed_bytes(), original.signed_bytes(), "bit {bit} of {name}");
                taken += 1;
            }
        }
    }
    assert!(refused > 100 * taken, "{refused} refused, {taken} taken");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is sent: what is taken goes beyond what was held, is signed for, and has not expired.
    #[test]
    fn what_is_taken_is_newer_than_what_was_held(
        held_version in 1_u32..20, sent in 0_u32..25, who in 0_usize..3, hours in -48_i64..48, delegated in any::<bool>(),
    ) {
        let house = House::new();
        let keys = [&house.targets, &house.snapshot, &house.root];
        let root = house.signed_root(1);
        let held = house.repository(&root, &[("targets", &house.signed_targets(held_version))]);
        let mut signed = if delegated { delegating(sent, "targets/a", &[&house.root], 1) } else { targets(sent) };
        signed["expires"] = json!(trust::format::tuf::Expires::at(NOW + hours * 3600).unwrap().to_string());
        let expected = sent > held_version && who == 0 && hours > 0;

        let answer = publish(&held, &[("targets", &file(&signed, &[keys[who]]))]);

        prop_assert_eq!(answer.is_ok(), expected, "{:?}", answer.map(|update| changed(&update)));
    }
}
