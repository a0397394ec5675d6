//! Delegates: the names they sign for, and files of theirs that are hidden or have lapsed.

use serde_json::json;
use trust::format::tuf::client::{Client, Distrust};
use trust::format::tuf::{NotMet, RoleName};

use super::workshop::{House, TestKey, delegating, file, role, targets};
use super::{distrust, first, refresh, seen, served};

/// Delegates `targets/a` for names under these paths.
fn with_delegation(house: &House, version: u32, key: &TestKey, paths: &[&str]) -> Vec<u8> {
    let mut signed = delegating(version, "targets/a", &[key], 1);
    signed["delegations"]["roles"][0]["paths"] = json!(paths);
    file(&signed, &[&house.targets])
}

#[test]
fn a_delegate_signs_for_its_names_under_the_keys_of_now() {
    let (house, [old, new]) = (House::new(), [31, 32].map(TestKey::ed25519));
    let a = role("targets/a");
    let root = house.signed_root(1);
    let below = |key: &TestKey, version: u32| file(&targets(version), &[key]);
    let files = |version, key: &TestKey, paths: &[&str], below: &[u8]| {
        let top = with_delegation(&house, version, key, paths);
        served(&house, version, root.clone(), top, &[("targets/a", below)])
    };
    let held = files(1, &old, &["v"], &below(&old, 7));

    let mut client = first(&held);
    refresh(&mut client, &held).unwrap();
    assert!(client.target(&a, "v7").is_some());
    let mut narrow = first(&held);
    refresh(&mut narrow, &files(1, &old, &["w/", "x"], &below(&old, 7))).unwrap();
    assert!(narrow.target(&a, "v7").is_none(), "it is signed for, and not its name to sign");

    // What was kept is held against those who speak for the role now.
    let taken = files(2, &new, &["v"], &held["targets/a"]);
    assert_eq!(distrust(seen(&held), &taken), Distrust::NotMet(NotMet::TooFew(a.clone())));
    // A thief of the old key drove the version up; the new one begins where it likes.
    let mut client = seen(&held);
    refresh(&mut client, &files(2, &new, &["v"], &below(&new, 1))).unwrap();
    assert!(client.target(&a, "v1").is_some());
    // The same key does not.
    let rollback = Distrust::Rollback { role: a.clone(), found: 6, held: 7 };
    assert_eq!(distrust(seen(&held), &files(2, &old, &["v"], &below(&old, 6))), rollback);
}

#[test]
fn a_delegates_file_is_not_hidden() {
    let (house, key) = (House::new(), TestKey::ed25519(31));
    let root = house.signed_root(1);
    let top = |version| with_delegation(&house, version, &key, &[""]);
    let below = file(&targets(1), &[&key]);
    let held = served(&house, 1, root.clone(), top(1), &[("targets/a", &below)]);

    assert_eq!(
        distrust(seen(&held), &served(&house, 2, root.clone(), top(1), &[])),
        Distrust::Hidden(role("targets/a"))
    );
    let mut fresh = first(&held);
    refresh(&mut fresh, &served(&house, 1, root.clone(), top(1), &[])).unwrap();
    assert!(fresh.target(&role("targets/a"), "v1").is_none());
    // Its parent let it go: then it may.
    refresh(&mut seen(&held), &served(&house, 2, root, house.signed_targets(2), &[])).unwrap();
}

#[test]
fn what_a_lapsed_delegation_said_is_known_and_counts_for_nothing() {
    let (house, [key, stranger]) = (House::new(), [31, 99].map(TestKey::ed25519));
    let (a, root) = (role("targets/a"), house.signed_root(1));
    let files = |version, below: &[u8]| {
        let top = with_delegation(&house, version, &key, &[""]);
        served(&house, version, root.clone(), top, &[("targets/a", below)])
    };
    let versions = |client: &Client| client.lapsed(&a).map(|file| file.version().number()).collect::<Vec<_>>();
    let held = files(1, &file(&targets(1), &[&key]));
    let mut late = targets(2);
    late["expires"] = json!("2026-11-26T17:34:00Z");

    for lapsed in [file(&late, &[&key]), file(&targets(2), &[&stranger])] {
        let shown = files(2, &lapsed);
        for (mut client, said) in [(seen(&held), &[2, 1][..]), (first(&shown), &[2][..])] {
            assert_eq!(versions(&client), [0_u32; 0]);
            let refused = refresh(&mut client, &shown).unwrap_err();
            assert!(matches!(refused, Distrust::Expired(_) | Distrust::NotMet(_)), "{refused}");
            assert_eq!(versions(&client), said);
            assert!(client.target(&a, "v1").is_none() && client.target(&a, "v2").is_none());
            assert!(client.target(&RoleName::Targets, "v2").is_some());

            // Signed anew.
            refresh(&mut client, &files(3, &file(&targets(4), &[&key]))).unwrap();
            assert_eq!(versions(&client), [0_u32; 0]);
            assert!(client.target(&a, "v4").is_some());
        }
    }
    // Who is lied to has nothing to go by.
    let mut client = seen(&held);
    let mut swapped = files(2, &file(&targets(2), &[&key]));
    swapped.insert("targets/a".to_owned(), file(&late, &[&key]));
    assert!(matches!(refresh(&mut client, &swapped), Err(Distrust::Differs { .. })));
    assert_eq!(versions(&client), [0_u32; 0]);
}
