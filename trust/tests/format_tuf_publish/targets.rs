//! Targets and delegations: their rules, versions and signatures.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use trust::format::tuf::publish::{LEAP_MAX, Refusal, check};
use trust::format::tuf::{RoleName, WRONG_SIGNATURES_MAX};

use super::workshop::{self, House, NOW, TestKey, delegating, file, part, targets};
use super::{changed, gun, outdated, publish, refused};

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
    assert_eq!(check(&gun(), &held, parts, &BTreeSet::new(), NOW).unwrap_err(), Refusal::Outdated(RoleName::Targets));
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
fn a_bounded_number_of_wrong_signatures_is_looked_at() {
    let house = House::new();
    let held = house.repository(&house.signed_root(1), &[("targets", &house.signed_targets(1))]);
    let of = |count| behind_wrong_lines(&targets(2), &house.targets, count);

    assert!(publish(&held, &[("targets", &of(WRONG_SIGNATURES_MAX))]).is_ok());
    let refused = publish(&held, &[("targets", &of(WRONG_SIGNATURES_MAX + 1))]).unwrap_err();
    assert!(refused.to_string().contains("threshold"), "{refused}");
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
