//! Roots: the first one of a repository, and those that follow it.

use serde_json::{Value, json};

use super::owner::{Owner, root_key, targets, with};
use super::scene::Door;
use super::sheet::Sheet;
use super::workshop::{Certificate, TestKey, file};
use super::{GONE, lined, post};

pub(crate) fn first_roots(door: &Door, sheet: &mut Sheet) {
    let owner = Owner::of(door, "roots");
    let first = owner.signed_targets(1);
    let with_targets = |root: &[u8]| post(door, &owner.gun, &[("root", root), ("targets", &first)]);
    let signed = |value: &Value| with_targets(&file(value, &[&owner.root]));
    sheet.note("targets only, no repo", &post(door, &owner.gun, &[("targets", &first)]));
    sheet.note("root v5 first", &with_targets(&owner.signed_root(5)));
    sheet.note("root v0 first", &with_targets(&owner.signed_root(0)));
    let alone = post(door, &owner.gun, &[("root", &owner.signed_root(1))]);
    sheet.note("root only, no targets (server snapshot)", &alone);
    sheet.note("root no signatures", &with_targets(&file(&owner.root(1), &[])));
    sheet.note("root signed by wrong key", &with_targets(&file(&owner.root(1), &[&root_key(&owner.gun)])));
    sheet.note("root expired", &signed(&with(owner.root(1), "expires", GONE)));
    let mut without = owner.root(1);
    without["roles"].as_object_mut().unwrap().remove("snapshot");
    sheet.note("root missing snapshot role", &signed(&without));
    let mut zero = owner.root(1);
    zero["roles"]["targets"]["threshold"] = 0.into();
    sheet.note("root threshold 0", &signed(&zero));
    sheet.note("root _type lowercase", &signed(&with(owner.root(1), "_type", "root")));
    let mut unknown = owner.root(1);
    unknown["roles"]["targets"]["keyids"] = json!(["0".repeat(64)]);
    sheet.note("root role lists unknown key", &signed(&unknown));
    sheet.note("root bad date", &signed(&with(owner.root(1), "expires", "tomorrow")));

    let by = |key: TestKey| {
        let other = Owner { root: key, ..Owner::of(door, "roots") };
        post(door, &other.gun, &[("root", &other.signed_root(1)), ("targets", &other.signed_targets(1))])
    };
    let certified = |name: &str, years| TestKey::certified(&Certificate { name, years, ca: false });
    sheet.note("root cert CN mismatch", &by(certified("ex.io/other", [2020, 2096])));
    sheet.note("root cert expired", &by(certified(&owner.gun, [2020, 2021])));
    sheet.note("root plain ecdsa key (no x509)", &by(TestKey::p256()));
    let foreign = TestKey::ed25519(9);
    let foreign = || (foreign.id.clone(), foreign.entry.clone());
    let other = Owner { timestamp: foreign(), ..Owner::of(door, "roots") };
    sheet.note("root timestamp key unknown to server", &with_targets(&other.signed_root(1)));
    let other = Owner { snapshot: foreign(), ..Owner::of(door, "roots") };
    let answer = post(door, &other.gun, &[("root", &other.signed_root(1)), ("targets", &first)]);
    sheet.note("snapshot key not held + no snapshot sent", &answer);

    let bad = |bytes: &[u8]| post(door, &owner.gun, &[("root", &owner.signed_root(1)), ("targets", bytes)]);
    let sign = |value: &Value| file(value, &[&owner.targets]);
    sheet.note("targets _type wrong", &bad(&sign(&with(targets(1), "_type", "Root"))));
    sheet.note("targets expired", &bad(&sign(&with(targets(1), "expires", GONE))));
    sheet.note("targets signed by wrong key", &bad(&file(&targets(1), &[&TestKey::ed25519(8)])));
    for (probe, method) in [("targets sig wrong method", "ecdsa"), ("targets sig unknown method", "magic")] {
        let line = with(owner.targets.sign(&targets(1)), "method", method);
        sheet.note(probe, &bad(&lined(&targets(1), &[line])));
    }
    sheet.note("root cert CN wildcard OK (own gun)", &by(certified("ex.io/roots*", [2020, 2096])));
}

pub(crate) fn rotations(owner: &Owner, sheet: &mut Sheet) {
    let root = |bytes: &[u8]| post(&owner.door, &owner.gun, &[("root", bytes)]);
    sheet.note("root v3 skip", &root(&owner.signed_root(3)));
    let next = Owner { root: root_key(&owner.gun), ..Owner::of(&owner.door, "served") };
    let rotated = next.root(2);
    sheet.note("root rotate to new key signed only by new", &root(&file(&rotated, &[&next.root])));
    sheet.note("root rotate signed only by old", &root(&file(&rotated, &[&owner.root])));
    sheet.note("root rotate signed by both (root only POST)", &root(&file(&rotated, &[&owner.root, &next.root])));
    for name in ["3.root.json", "0.root.json", "99999999999999999999.root.json"] {
        sheet.note(&format!("GET {name}"), &owner.get(name));
    }

    let third = Owner { targets: TestKey::ed25519(7), root: next.root, ..Owner::of(&owner.door, "served") };
    let signed = third.signed_root(3);
    let alone = root(&signed);
    let refused = alone.status != 200;
    sheet.note("root v3 with new targets key without new targets", &alone);
    if refused {
        third.taken(&[("root", &signed), ("targets", &third.signed_targets(20))]);
    }
    let one = |bytes: &[u8]| post(&owner.door, &owner.gun, &[("targets", bytes)]);
    sheet.note("after: old targets key publishes v18", &one(&owner.signed_targets(21)));
    sheet.note("after: new targets key publishes v18", &one(&third.signed_targets(21)));

    let second = root_key(&owner.gun);
    let mut both = third.root(4);
    both["keys"][&second.id] = second.entry.clone();
    both["roles"]["root"] = json!({"keyids": [&third.root.id, &second.id], "threshold": 2});
    sheet.note("root v4 threshold2 with 1 sig", &root(&file(&both, &[&third.root])));
    sheet.note("root v4 threshold2 with 2 sigs", &root(&file(&both, &[&third.root, &second])));
}
