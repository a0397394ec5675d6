//! What a server takes and what it refuses, in Notary's words (SPEC §2.7, §2.8 and its appendix).
#![cfg(feature = "formats")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the workshop serves several tests")]

#[path = "tuf/workshop.rs"]
mod workshop;

use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};
use trust::format::json::VALUES_MAX;
use trust::format::tuf::publish::{LEAP_MAX, Refusal, SnapshotBy, Update, check};
use trust::format::tuf::{Document, Gun, Part, Repository, RoleName, Version, WRONG_SIGNATURES_MAX};
use workshop::*;

const NEW_REPOSITORY: fn() -> Repository = Repository::default;
const PATH: &str = "could not validate the path to a trusted root";

fn gun() -> Gun {
    GUN.parse().unwrap()
}

/// Alone in its upload.
fn read_part(name: &str, bytes: &[u8]) -> Result<Part, Refusal> {
    Refusal::read_part(name, bytes, &mut { VALUES_MAX })
}

fn publish(held: &Repository, parts: &[(&str, &[u8])]) -> Result<Update, Refusal> {
    let parts = parts.iter().map(|(name, bytes)| part(name, bytes)).collect();
    check(&gun(), held, parts, NOW)
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
fn a_root_that_breaks_a_rule_is_refused_in_notarys_words() {
    let house = House::new();
    let targets = house.signed_targets(1);
    let unknown = "0".repeat(64);
    let invalid = |why: &str| format!("root type metadata invalid: {why}");
    let next = |new: i64| format!("Root modifications must increment the version. Current 1, new {new}");
    let cases = [
        ("/version", json!(5), next(5)),
        ("/version", json!(0), next(0)),
        ("/version", json!(-1), next(-1)),
        ("/version", json!(0x7fff_ffff), next(0x7fff_ffff)),
        ("/version", Value::Null, next(0)),
        ("/_type", json!("root"), invalid("expected type Root, not root")),
        ("/roles/snapshot", Value::Null, invalid("missing snapshot role specification")),
        ("/roles/targets/threshold", json!(0), invalid("invalid threshold specified for targets: 0 ")),
        (
            "/roles/targets/keyids",
            json!([unknown]),
            invalid(&format!("key ID {unknown} specified in targets without corresponding key")),
        ),
        ("/expires", json!("2026-11-22T05:36:01Z"), "root expired at Sun Nov 22 05:36:01 UTC 2026".to_owned()),
        ("/expires", Value::Null, "root expired at Mon Jan 1 00:00:00 UTC 0001".to_owned()),
        ("/roles/root/threshold", json!(2), format!("{PATH}: failed to validate integrity of roots")),
    ];
    for (place, value, why) in cases {
        let mut signed = house.root_of(1);
        set(&mut signed, place, value);
        let root = file(&signed, &[&house.root]);

        let answer = refused(&NEW_REPOSITORY(), &[("root", &root), ("targets", &targets)]);

        assert_eq!(answer, (Some("ErrBadRoot"), why), "{place}");
    }
    assert_eq!(refused(&NEW_REPOSITORY(), &[("root", b"{}")]), (Some("ErrBadRoot"), next(0)));
}

#[test]
fn a_root_is_signed_by_its_own_keys() {
    let (house, stranger) = (House::new(), TestKey::root());
    let targets = house.signed_targets(1);
    let signed = house.root_of(1);
    let why = (Some("ErrBadRoot"), format!("{PATH}: failed to validate integrity of roots"));

    for root in [file(&signed, &[]), file(&signed, &[&stranger]), file(&signed, &[&house.targets])] {
        assert_eq!(refused(&NEW_REPOSITORY(), &[("root", &root), ("targets", &targets)]), why);
    }
}

#[test]
fn certificates_that_are_not_good_for_the_repository_are_passed_over() {
    let says = |name, years, ca| TestKey::certified(&Certificate { name, years, ca });
    let mut house = House::new();
    let targets = house.signed_targets(1);
    let mut attempt = |key: TestKey| {
        house.root = key;
        let root = house.signed_root(1);
        publish(&NEW_REPOSITORY(), &[("root", &root), ("targets", &targets)])
    };
    let none = Refusal::BadRoot(format!("{PATH}: unable to retrieve valid leaf certificates"));

    for name in [GUN, "registry.example.com/team/*", "registry.example.com/team/app*", "*"] {
        assert!(attempt(says(name, [2026, 2036], false)).is_ok(), "{name}");
    }
    for name in ["", "registry.example.com/team", "registry.example.com/*/app", "Registry.example.com/team/app"] {
        assert_eq!(attempt(says(name, [2026, 2036], false)).unwrap_err(), none, "{name}");
    }
    for (years, ca) in [([2020, 2026], false), ([2028, 2036], false), ([2036, 2026], false), ([2026, 2036], true)] {
        assert_eq!(attempt(says(GUN, years, ca)).unwrap_err(), none, "{years:?} {ca}");
    }
    assert_eq!(attempt(TestKey::p256()).unwrap_err(), none);
    assert_eq!(attempt(TestKey::ed25519(9)).unwrap_err(), none);
}

/// Good for the repository but for this; made with `openssl req -x509 -sha1 -subj '/CN=registry.example.com\/team\/app'`.
const SIGNED_WITH_SHA_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBoDCCAUegAwIBAgIUJ8qUfUjmay1Y61Dl06Rk7aApKQkwCQYHKoZIzj0EATAo
MSYwJAYDVQQDDB1yZWdpc3RyeS5leGFtcGxlLmNvbS90ZWFtL2FwcDAeFw0yNjEx
MjcwMTI2MzFaFw0zNjExMjQwMTI2MzFaMCgxJjAkBgNVBAMMHXJlZ2lzdHJ5LmV4
YW1wbGUuY29tL3RlYW0vYXBwMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEKD7D
VIqAUwKy86J3+nCzPV8zTeK2qfxD4KBxBVV+w6n8a5C89nQQFGDaFNZYuNWz5s+N
Yeie1KbQY/YS05UeXaNQME4wHQYDVR0OBBYEFBm2gJ0xldTn9wwdBvUPOwtg8p3V
MB8GA1UdIwQYMBaAFBm2gJ0xldTn9wwdBvUPOwtg8p3VMAwGA1UdEwEB/wQCMAAw
CQYHKoZIzj0EAQNIADBFAiBOkVawgFwFlALdR0gFfGWukzkok+LG+lbyirGHM8X3
aQIhAK37JQ0YWN/E/bP/q1lMjYrGUilsGneJJcSb0KPXpnOi
-----END CERTIFICATE-----
";

#[test]
fn a_chain_has_one_leaf_and_that_comes_first() {
    let pair = rcgen::KeyPair::generate().unwrap();
    let leaf = certificate(&Certificate { name: GUN, years: [2026, 2036], ca: false }, &pair);
    let ca = certificate(&Certificate { name: "authority", years: [2020, 2021], ca: true }, &pair);
    let house = House::new();
    let targets = house.signed_targets(1);
    let attempt = |pem: String| {
        let entry = entry("ecdsa-x509", pem.as_bytes());
        let id = id_of(&entry);
        let mut signed = house.root_of(1);
        signed["keys"][&id] = entry;
        signed["roles"]["root"]["keyids"] = json!([id]);
        let root = file(&signed, &[&house.root]);
        refused(&NEW_REPOSITORY(), &[("root", &root), ("targets", &targets)]).1
    };
    let (unsigned, none) = ("failed to validate integrity of roots", "unable to retrieve valid leaf certificates");

    for (pem, why) in [
        (leaf.clone(), unsigned),
        (format!("{leaf}{ca}{ca}"), unsigned),
        (format!("{ca}{leaf}"), none),
        (format!("{leaf}{leaf}"), none),
        (format!("{leaf}{}", "-----BEGIN X-----\nAAAA\n-----END X-----\n"), none),
        (format!("{leaf}{}", ca.repeat(16)), none),
        (SIGNED_WITH_SHA_1.to_owned(), none),
        ("no certificate".to_owned(), none),
    ] {
        assert_eq!(attempt(pem), format!("{PATH}: {why}"));
    }
}

#[test]
fn a_root_key_signs_in_vain_where_docker_would_not_find_it() {
    let mut house = House::new();
    let leaf = String::from_utf8(house.root.key().public().to_vec()).unwrap();
    let pair = rcgen::KeyPair::generate().unwrap();
    let ca = |years| certificate(&Certificate { name: "authority", years, ca: true }, &pair);
    let mut attempt = |pem: &str| {
        house.root.entry = entry("ecdsa-x509", pem.as_bytes());
        house.root.id = id_of(&house.root.entry);
        let root = file(&house.root_of(1), &[&house.root]);
        publish(&NEW_REPOSITORY(), &[("root", &root), ("targets", &house.signed_targets(1))])
    };

    for found in [leaf.clone(), format!("{leaf}{}", ca([2020, 2036]))] {
        assert!(attempt(&found).is_ok(), "{found}");
    }
    for other in [
        leaf.replace('\n', "\r\n"),
        leaf.trim_end().to_owned(),
        format!("text\n{leaf}"),
        format!("{leaf}text\n"),
        format!("{leaf}{}", ca([2020, 2021])),
    ] {
        let refused = attempt(&other).unwrap_err().to_string();
        assert_eq!(refused, format!("{PATH}: failed to validate integrity of roots"), "{other}");
    }
}

#[test]
fn a_root_key_beside_a_good_one_needs_no_certificate() {
    let (house, bare) = (House::new(), TestKey::p256());
    let mut signed = house.root_of(1);
    signed["keys"][&bare.id] = bare.entry.clone();
    signed["roles"]["root"]["keyids"] = json!([house.root.id, bare.id]);
    let targets = house.signed_targets(1);
    let attempt = |signed: &Value, keys: &[&TestKey]| {
        let root = file(signed, keys);
        publish(&NEW_REPOSITORY(), &[("root", &root), ("targets", &targets)])
    };

    assert!(attempt(&signed, &[&house.root]).is_ok());
    assert!(attempt(&signed, &[&bare]).is_err());
    signed["roles"]["root"]["threshold"] = json!(2);
    assert!(attempt(&signed, &[&house.root, &bare]).is_err());
}

#[test]
fn a_root_is_rotated_by_the_old_and_the_new_key_together() {
    let (house, new) = (House::new(), TestKey::root());
    let (root, targets) = (house.signed_root(1), house.signed_targets(1));
    let held = house.repository(&root, &[("targets", &targets)]);
    let mut signed = house.root_of(2);
    signed["keys"][&new.id] = new.entry.clone();
    signed["roles"]["root"]["keyids"] = json!([new.id]);
    let answer = |keys: &[&TestKey]| publish(&held, &[("root", &file(&signed, keys))]);

    assert_eq!(changed(&answer(&[&new, &house.root]).unwrap()), ["root 2"]);
    assert_eq!(
        answer(&[&new]).unwrap_err().to_string(),
        "could not rotate trust to a new trusted root: failed to validate data with current trusted certificates"
    );
    assert_eq!(
        answer(&[&house.root]).unwrap_err().to_string(),
        format!("{PATH}: failed to validate integrity of roots")
    );
    let skipped = file(&house.root_of(3), &[&house.root]);
    assert_eq!(
        refused(&held, &[("root", &skipped)]).1,
        "Root modifications must increment the version. Current 1, new 3"
    );
    let mut same = house.root_of(1);
    same["x-other"] = json!(1);
    outdated(&held, &[("root", &file(&same, &[&house.root]))], "root");
}

#[test]
fn an_old_roots_certificate_may_have_ended_and_a_new_ones_not() {
    let mut house = House::new();
    house.root = TestKey::certified(&Certificate { name: GUN, years: [2020, 2025], ca: false });
    let (root, targets) = (house.signed_root(1), house.signed_targets(1));
    let held = house.repository(&root, &[("targets", &targets)]);
    let new = TestKey::root();
    let mut signed = house.root_of(2);
    signed["keys"][&new.id] = new.entry.clone();

    signed["roles"]["root"]["keyids"] = json!([new.id]);
    assert!(publish(&held, &[("root", &file(&signed, &[&new, &house.root]))]).is_ok());

    let kept = file(&house.root_of(2), &[&house.root]);
    assert_eq!(refused(&held, &[("root", &kept)]).1, format!("{PATH}: unable to retrieve valid leaf certificates"));
}

#[test]
fn a_root_that_takes_the_targets_key_away_comes_with_targets_of_the_new_one() {
    let (house, new) = (House::new(), TestKey::ed25519(8));
    let (root, targets) = (house.signed_root(1), house.signed_targets(1));
    let held = house.repository(&root, &[("targets", &targets)]);
    let mut signed = house.root_of(2);
    signed["keys"][&new.id] = new.entry.clone();
    signed["roles"]["targets"]["keyids"] = json!([new.id]);
    let root = file(&signed, &[&house.root]);
    let few = (Some("ErrBadTargets"), "valid signatures did not meet threshold for targets".to_owned());

    assert_eq!(refused(&held, &[("root", &root)]), few);
    assert_eq!(refused(&held, &[("root", &root), ("targets", &house.signed_targets(2))]), few);
    let anew = file(&workshop::targets(2), &[&new]);
    assert_eq!(changed(&publish(&held, &[("root", &root), ("targets", &anew)]).unwrap()), ["root 2", "targets 2"]);
}

#[test]
fn targets_that_break_a_rule_are_refused_in_notarys_words() {
    let house = House::new();
    let (root, targets) = (house.signed_root(1), house.signed_targets(3));
    let held = house.repository(&root, &[("targets", &targets)]);
    let answer = |change: &dyn Fn(&mut Value), keys: &[&TestKey]| {
        let mut signed = workshop::targets(4);
        change(&mut signed);
        refused(&held, &[("targets", &file(&signed, keys))])
    };
    let bad = |why: &str| (Some("ErrBadTargets"), why.to_owned());
    let own = [&house.targets];

    assert_eq!(
        answer(&|signed| signed["_type"] = json!("Root"), &own),
        bad("targets type metadata invalid: expected type Targets, not Root")
    );
    assert_eq!(
        answer(&|signed| signed["expires"] = json!("2026-11-22T05:36:01Z"), &own),
        bad("targets expired at Sun Nov 22 05:36:01 UTC 2026")
    );
    assert_eq!(answer(&|_| {}, &[&house.root]), bad("valid signatures did not meet threshold for targets"));
    assert_eq!(answer(&|_| {}, &[]), bad("tuf: data has no signatures"));
    assert_eq!(
        answer(&|signed| *signed = delegating(4, "targets/a/b", &[&house.root], 1), &own),
        bad("targets type metadata invalid: delegation role targets/a/b invalid")
    );
    let mut followed = house.signed_targets(4);
    followed.push(b'x');
    assert_eq!(refused(&held, &[("targets", &followed)]).0, Some("ErrBadTargets"));
    followed.pop();
    followed.extend(b" \n");
    assert!(publish(&held, &[("targets", &followed)]).is_ok());
}

#[test]
fn versions_of_targets_rise_and_do_not_leap() {
    let house = House::new();
    let (root, targets) = (house.signed_root(1), house.signed_targets(9));
    let held = house.repository(&root, &[("targets", &targets)]);

    assert!(publish(&held, &[("targets", &house.signed_targets(19))]).is_ok());
    for version in [1, 8, 9] {
        outdated(&held, &[("targets", &house.signed_targets(version))], "targets");
    }
    let mut other = workshop::targets(9);
    other["x-other"] = json!(true);
    outdated(&held, &[("targets", &file(&other, &[&house.targets]))], "targets");
    assert!(publish(&held, &[("targets", &house.signed_targets(9 + LEAP_MAX))]).is_ok());
    for version in [10 + LEAP_MAX, 0x7fff_fffe] {
        let (kind, why) = refused(&held, &[("targets", &house.signed_targets(version))]);
        assert_eq!(kind, Some("ErrBadTargets"));
        assert_eq!(why, format!("version {version} of targets leaps too far from 9"));
    }
    let (kind, why) = refused(&held, &[("targets", &house.signed_targets(0x7fff_ffff))]);
    assert_eq!((kind, &*why), (Some("ErrBadTargets"), "targets type metadata invalid: version is too large"));
    let parts = vec![part("targets", &house.signed_targets(10)), part("targets", &house.signed_targets(11))];
    assert_eq!(check(&gun(), &held, parts, NOW).unwrap_err(), Refusal::Outdated(RoleName::Targets));
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
fn delegations_are_taken_below_files_that_count() {
    let (house, [a, b, stranger]) = (House::new(), [11, 12, 13].map(TestKey::ed25519));
    let root = house.signed_root(1);
    let top = file(&delegating(2, "targets/a", &[&a], 1), &[&house.targets]);
    let middle = file(&delegating(1, "targets/a/b", &[&b], 1), &[&a]);
    let leaf = file(&targets(1), &[&b]);
    let held = house.repository(&root, &[("targets", &top), ("targets/a", &middle)]);
    let none = |name: &str| (Some("ErrBadTargets"), format!("tuf: invalid role {name}. delegation does not exist"));

    assert_eq!(changed(&publish(&held, &[("targets/a/b", &leaf)]).unwrap()), ["targets/a/b 1"]);
    let bare = house.repository(&root, &[("targets", &house.signed_targets(1))]);
    let all: [(&str, &[u8]); 3] = [("targets/a/b", &leaf), ("targets/a", &middle), ("targets", &top)];
    assert_eq!(changed(&publish(&bare, &all).unwrap()), ["targets 2", "targets/a 1", "targets/a/b 1"]);
    assert_eq!(refused(&bare, &[("targets/a", &middle)]), none("targets/a"));
    assert_eq!(refused(&bare, &[("targets/zz/b", &leaf)]), none("targets/zz/b"));
    assert_eq!(refused(&held, &[("targets/b", &leaf)]), none("targets/b"));
    let few = "valid signatures did not meet threshold for targets/a/b".to_owned();
    assert_eq!(refused(&held, &[("targets/a/b", &file(&targets(1), &[&stranger, &a]))]), (Some("ErrBadTargets"), few));
    outdated(&held, &[("targets/a", &file(&targets(1), &[&a]))], "targets/a");
    // Its parent is delegated to somebody else now, so what that parent says counts no more.
    let moved = file(&delegating(3, "targets/a", &[&stranger], 1), &[&house.targets]);
    let few = "valid signatures did not meet threshold for targets/a".to_owned();
    assert_eq!(refused(&held, &[("targets", &moved), ("targets/a/b", &leaf)]), (Some("ErrBadTargets"), few));
    assert!(publish(&held, &[("targets", &house.signed_targets(3))]).is_ok());
}

/// Signed, behind so many lines of the same key that do not verify.
fn behind_wrong_lines(signed: &Value, key: &TestKey, count: usize) -> Vec<u8> {
    let wrong = key.sign(&targets(999));
    let lines: Vec<Value> = std::iter::repeat_n(wrong, count).chain([key.sign(signed)]).collect();
    serde_json::to_vec(&json!({"signed": signed, "signatures": lines})).unwrap()
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

#[test]
fn a_bounded_number_of_wrong_signatures_is_looked_at() {
    let house = House::new();
    let held = house.repository(&house.signed_root(1), &[("targets", &house.signed_targets(1))]);
    let of = |count| behind_wrong_lines(&targets(2), &house.targets, count);

    assert!(publish(&held, &[("targets", &of(WRONG_SIGNATURES_MAX))]).is_ok());
    let refused = publish(&held, &[("targets", &of(WRONG_SIGNATURES_MAX + 1))]).unwrap_err();
    assert!(refused.to_string().contains("threshold"), "{refused}");
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
                let Ok(update) = parts.and_then(|parts| check(&gun(), &NEW_REPOSITORY(), parts, NOW)) else {
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

#[test]
fn a_threshold_of_two_is_met_by_two_keys() {
    let (house, [a, b]) = (House::new(), [11, 12].map(TestKey::ed25519));
    let top = file(&delegating(2, "targets/t2", &[&a, &b], 2), &[&house.targets]);
    let held = house.repository(&house.signed_root(1), &[("targets", &top)]);
    let few = "valid signatures did not meet threshold for targets/t2".to_owned();

    for keys in [&[&a][..], &[&a, &a]] {
        assert_eq!(refused(&held, &[("targets/t2", &file(&targets(1), keys))]), (Some("ErrBadTargets"), few.clone()));
    }
    assert!(publish(&held, &[("targets/t2", &file(&targets(1), &[&b, &a]))]).is_ok());
}

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

#[test]
fn a_deleted_repository_is_begun_anew_or_gone_on_with() {
    let house = House::new();
    let last = house.signed_root(5);
    let old = read("root", &last);
    let mark = |name, version| (role(name), Version::new(version).unwrap());
    let buried = [mark("targets", 9), mark("snapshot", 30), mark("timestamp", 40)]
        .into_iter()
        .fold(Repository::buried(old), |buried, (role, version)| buried.with_mark(role, version));
    let answer = |root: &[u8], targets: &[u8]| publish(&buried, &[("root", root), ("targets", targets)]);

    // Its owner goes on with the root there was, or with the next.
    for root in [&last, &house.signed_root(6)] {
        let update = answer(root, &house.signed_targets(10)).unwrap();
        assert_eq!(update.repository().mark(&RoleName::Timestamp), Version::new(40));
        let stale = answer(root, &house.signed_targets(9)).unwrap_err();
        assert_eq!(stale, Refusal::Outdated(RoleName::Targets));
    }
    let mut other = house.root_of(5);
    other["x-other"] = json!(1);
    let refusal = answer(&file(&other, &[&house.root]), &house.signed_targets(10)).unwrap_err();
    assert_eq!(refusal, Refusal::Outdated(RoleName::Root));
    let rolled_back = answer(&house.signed_root(2), &house.signed_targets(10)).unwrap_err();
    assert_eq!(rolled_back, Refusal::Outdated(RoleName::Root));
    // Somebody else begins anew, and does not begin where it ended.
    let stranger = House::new();
    for version in [1, 2] {
        let update = answer(&stranger.signed_root(version), &stranger.signed_targets(2)).unwrap();
        assert_eq!(update.repository().mark(&RoleName::Snapshot), Version::new(30));
        assert_eq!(update.repository().mark(&RoleName::Targets), Version::new(2));
    }
    assert_eq!(
        answer(&stranger.signed_root(6), &stranger.signed_targets(2)).unwrap_err().to_string(),
        "Root modifications must increment the version. Current 1, new 6"
    );
}

#[test]
fn who_begins_anew_with_a_snapshot_of_its_own_goes_on_with_it() {
    let house = House::new();
    let buried = Repository::buried(read("root", &House::new().signed_root(5)))
        .with_mark(RoleName::Snapshot, Version::new(30).unwrap());
    let (root, targets) = (house.signed_root(1), house.signed_targets(1));
    let files: [(&str, &[u8]); 2] = [("root", &root), ("targets", &targets)];
    let first = house.signed_snapshot(1, &files);
    let begun = publish(&buried, &[files[0], files[1], ("snapshot", &first)]).unwrap().into_repository();

    let update = publish(&begun, &[("snapshot", &house.signed_snapshot(2, &files))]).unwrap();

    assert_eq!(changed(&update), ["snapshot 2"]);
    outdated(&begun, &[("snapshot", &first)], "snapshot");
}

/// The files in an upload of docker's or notary's.
fn upload(name: &str) -> Option<Vec<Part>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/spec/notary/samples/post");
    if !directory.is_dir() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs {}", directory.display());
        println!("the recordings are not here: {name} did not run");
        return None;
    }
    let text = String::from_utf8(std::fs::read(directory.join(format!("{name}.multipart"))).unwrap()).unwrap();
    let parts = text.split("filename=\"").skip(1).map(|piece| {
        let (role, rest) = piece.split_once('"').unwrap();
        let body = rest.split_once("\r\n\r\n").unwrap().1.rsplit_once("\r\n--").unwrap().0;
        read_part(role, body.as_bytes()).unwrap()
    });
    Some(parts.collect())
}

#[test]
fn what_docker_and_notary_send_is_taken() {
    let gun: Gun = "localhost:5001/demo/app".parse().unwrap();
    let mut held = Repository::default();
    for (name, files) in [
        ("init-root-targets-server-snapshot", &["root 1", "targets 2"][..]),
        ("push-targets-only", &["targets 3"]),
        ("EMPTY-update", &[]),
        ("signer-add-targets", &["targets 4"]),
        ("root-rotate-1", &["root 2"]),
        ("root-rotate-2", &["root 3"]),
        ("targets-key-rotate", &["root 4", "targets 6"]),
        ("trust-sign-releases-alice-bob", &["targets/alice 1", "targets/bob 1", "targets/releases 1"]),
        ("trust-revoke", &["targets/alice 2", "targets/bob 2", "targets/releases 2"]),
        ("revoke-all", &["targets/alice 4", "targets/releases 4"]),
    ] {
        let Some(parts) = upload(name) else { return };

        let update = check(&gun, &held, parts, NOW).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));

        assert_eq!(changed(&update), files, "{name}");
        assert_eq!(update.snapshot_by(), SnapshotBy::Server);
        held = update.into_repository();
    }
    let Some(parts) = upload("root-rotate-1") else { return };
    let other: Gun = "localhost:5001/demo/other".parse().unwrap();
    assert!(check(&other, &Repository::default(), parts, NOW).is_err());
}

#[test]
fn a_snapshot_that_notary_manages_itself_is_taken() {
    let Some(parts) = upload("notary-cli-init-root-targets-client-snapshot") else { return };
    let root = parts.iter().find(|part| *part.role() == RoleName::Root).unwrap().clone().document().unwrap();
    let gun = certificate_name(&root);

    let update = check(&gun.parse().unwrap(), &Repository::default(), parts, NOW).unwrap();

    assert_eq!(changed(&update), ["root 1", "targets 2", "snapshot 2"]);
    assert_eq!(update.snapshot_by(), SnapshotBy::Client);
}

/// The name in the first certificate of a root.
fn certificate_name(root: &Document) -> String {
    let authority = root.as_root().unwrap().authority(&RoleName::Root).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(authority.keys()[0].public()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    certificate.subject().iter_common_name().next().unwrap().as_str().unwrap().to_owned()
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
