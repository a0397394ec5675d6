//! What the original answered to each kind of publication (SPEC, appendix A), asked of the real daemon.
//!
//! Where a row differs from the original, the document on content trust says so, and the row here has a word about it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the scene and the workshop serve several tests")]

#[path = "notary/owner.rs"]
mod owner;
#[path = "notary/scene.rs"]
mod scene;
#[path = "../../trust/tests/tuf/workshop.rs"]
mod workshop;

use serde_json::{Value, json};
use trust::Sha256Digest;

use owner::{LATER, Owner, delegating, root_key, targets, with};
use scene::{Plan, Scene};
use workshop::{Certificate, TestKey, canonical_of, file, meta};

const GONE: &str = "2026-11-22T05:36:01Z";
const GONE_TEXT: &str = "Sun Nov 22 05:36:01 UTC 2026";
const NO_TRUST: &str = "ErrBadRoot: could not validate the path to a trusted root";

#[test]
fn a_first_root_is_judged_by_its_version_its_certificate_and_its_shape() {
    let scene = Scene::started(&Plan::open());
    let owner = Owner::of(&scene, "roots");
    let targets = owner.signed_targets(1);
    let none = "ErrValidation: no pre-existing root and no root provided in update.";
    let root = |value: &Value| file(value, &[&owner.root]);

    owner.refused(&[], none);
    owner.refused(&[("targets", &targets)], none);
    for version in [5_u32, 0] {
        let said = format!("ErrBadRoot: Root modifications must increment the version. Current 1, new {version}");
        owner.refused(&[("root", &owner.signed_root(version)), ("targets", &targets)], &said);
    }
    owner.refused(&[("root", b"{}")], "ErrBadRoot: Root modifications must increment the version. Current 1, new 0");
    owner.refused(&[("root", &owner.signed_root(1))], "ErrValidation: targets must be loaded first");
    let integrity = format!("{NO_TRUST}: failed to validate integrity of roots");
    for keys in [&[][..], &[&root_key(&owner.gun)][..]] {
        owner.refused(&[("root", &file(&owner.root(1), keys)), ("targets", &targets)], &integrity);
    }
    let mut without = owner.root(1);
    without["roles"].as_object_mut().unwrap().remove("snapshot");
    let mut zero = owner.root(1);
    zero["roles"]["targets"]["threshold"] = 0.into();
    let mut unknown = owner.root(1);
    let stranger = "0".repeat(64);
    unknown["roles"]["targets"]["keyids"] = json!([stranger]);
    let structure = "ErrBadRoot: root type metadata invalid:";
    for (changed, said) in [
        (with(owner.root(1), "expires", GONE), format!("ErrBadRoot: root expired at {GONE_TEXT}")),
        (without, format!("{structure} missing snapshot role specification")),
        (zero, format!("{structure} invalid threshold specified for targets: 0 ")),
        (with(owner.root(1), "_type", "root"), format!("{structure} expected type Root, not root")),
        (unknown, format!("{structure} key ID {stranger} specified in targets without corresponding key")),
    ] {
        owner.refused(&[("root", &root(&changed)), ("targets", &targets)], &said);
    }
    let bad_date = with(owner.root(1), "expires", "tomorrow");
    assert_eq!(owner.publish(&[("root", &root(&bad_date))]).1, "MALFORMED_JSON");
    let text_version = with(owner.root(1), "version", "1");
    assert_eq!(owner.publish(&[("root", &root(&text_version))]).1, "MALFORMED_JSON");

    let leaf = format!("{NO_TRUST}: unable to retrieve valid leaf certificates");
    for key in [
        TestKey::certified(&Certificate { name: "ex.io/other", years: [2020, 2096], ca: false }),
        TestKey::certified(&Certificate { name: &owner.gun, years: [2020, 2021], ca: false }),
        TestKey::p256(),
    ] {
        let other = Owner { root: key, ..Owner::of(&scene, "roots") };
        other.refused(&[("root", &other.signed_root(1)), ("targets", &targets)], &leaf);
    }
    // Differs: the original has the signer's own error here.
    let foreign = TestKey::ed25519(9);
    let other = Owner { timestamp: (foreign.id.clone(), foreign.entry.clone()), ..Owner::of(&scene, "roots") };
    let files = [("root", other.signed_root(1)), ("targets", targets.clone())];
    let files = files.each_ref().map(|(name, bytes)| (*name, &bytes[..]));
    other.refused(&files, "ErrBadRoot: no  timestamp keys exist on the server");
    let other = Owner { snapshot: (foreign.id.clone(), foreign.entry.clone()), ..Owner::of(&scene, "roots") };
    let said = "no snapshot was included in update and server does not hold current snapshot key for repository";
    let root = other.signed_root(1);
    other.refused(&[("root", &root), ("targets", &targets)], &format!("ErrBadHierarchy: {said}"));

    // Nothing of all that is there.
    assert_eq!(owner.get("root.json").status, 404);
    let wildcard = Owner {
        root: TestKey::certified(&Certificate { name: "ex.io/roots*", years: [2020, 2096], ca: false }),
        ..Owner::of(&scene, "roots")
    };
    wildcard.taken(&[("targets", &targets), ("root", &wildcard.signed_root(1))]);
}

#[test]
fn targets_are_judged_by_type_date_signature_and_version() {
    let scene = Scene::started(&Plan::open());
    let owner = Owner::of(&scene, "targets");
    let (root, first) = (owner.signed_root(1), owner.signed_targets(1));
    let sign = |value: &Value| file(value, &[&owner.targets]);
    let threshold = "ErrBadTargets: valid signatures did not meet threshold for targets";
    for (bad, said) in [
        (
            sign(&with(targets(1), "_type", "Root")),
            "ErrBadTargets: targets type metadata invalid: expected type Targets, not Root".to_owned(),
        ),
        (sign(&with(targets(1), "expires", GONE)), format!("ErrBadTargets: targets expired at {GONE_TEXT}")),
        (file(&targets(1), &[&TestKey::ed25519(8)]), threshold.to_owned()),
    ] {
        owner.refused(&[("root", &root), ("targets", &bad)], &said);
    }
    owner.taken(&[("root", &root), ("targets", &first)]);
    owner.outdated(&[("root", &root), ("targets", &first)]);
    owner.taken(&[]);
    owner.outdated(&[("root", &root)]);
    owner.outdated(&[("targets", &first)]);
    owner.taken(&[("targets", &owner.signed_targets(10))]);
    owner.outdated(&[("targets", &owner.signed_targets(5))]);
    owner.taken(&[("targets.json", &owner.signed_targets(11))]);
    let mut trailing = owner.signed_targets(12);
    trailing.extend_from_slice(b"\n ");
    owner.taken(&[("targets", &trailing)]);
    // The bytes that were sent, blanks and all: the original breaks such a repository.
    assert_eq!(owner.get("targets.json").body, trailing);
    // A timestamp of the client's is not looked at.
    owner.taken(&[("targets", &owner.signed_targets(13)), ("timestamp", b"{}")]);
    // Differs: the original silently takes the last.
    owner.outdated(&[("targets", &owner.signed_targets(14)), ("targets", &owner.signed_targets(15))]);
    owner.refused(
        &[("targets", &file(&delegating(14, "targets/a/b", &owner.root), &[&owner.targets]))],
        "ErrBadTargets: targets type metadata invalid: delegation role targets/a/b invalid",
    );
}

#[test]
fn a_root_is_followed_by_who_signed_both() {
    let scene = Scene::started(&Plan::open());
    let owner = Owner::of(&scene, "rotation");
    owner.taken(&[("root", &owner.signed_root(1)), ("targets", &owner.signed_targets(1))]);
    owner.refused(
        &[("root", &owner.signed_root(3))],
        "ErrBadRoot: Root modifications must increment the version. Current 1, new 3",
    );
    let next = Owner { root: root_key(&owner.gun), ..Owner::of(&scene, "rotation") };
    let rotate = "ErrBadRoot: could not rotate trust to a new trusted root";
    owner.refused(
        &[("root", &file(&next.root(2), &[&next.root]))],
        &format!("{rotate}: failed to validate data with current trusted certificates"),
    );
    owner.refused(
        &[("root", &file(&next.root(2), &[&owner.root]))],
        &format!("{NO_TRUST}: failed to validate integrity of roots"),
    );
    let both = file(&next.root(2), &[&owner.root, &next.root]);
    owner.taken(&[("root", &both)]);
    assert_eq!(owner.get("2.root.json").body, both);
    assert_eq!(owner.get("01.root.json").body, owner.get("1.root.json").body);
    let answer = owner.get("3.root.json");
    assert_eq!((answer.status, answer.error().1.as_str()), (404, "{}"));

    // Differs: the original takes a root that leaves the targets to nobody.
    let third = Owner { targets: TestKey::ed25519(7), root: root_key(&owner.gun), ..Owner::of(&scene, "rotation") };
    let root = file(&third.root(3), &[&next.root, &third.root]);
    third.refused(&[("root", &root)], "ErrBadTargets: valid signatures did not meet threshold for targets");
    third.taken(&[("root", &root), ("targets", &third.signed_targets(2))]);
    third.refused(
        &[("targets", &owner.signed_targets(3))],
        "ErrBadTargets: valid signatures did not meet threshold for targets",
    );
}

#[test]
fn delegations_are_signed_by_whom_their_parent_names() {
    let scene = Scene::started(&Plan::open());
    let owner = Owner::of(&scene, "delegations");
    owner.taken(&[("root", &owner.signed_root(1)), ("targets", &owner.signed_targets(1))]);
    let alice = TestKey::p256();
    let of_alice = |version| file(&targets(version), &[&alice]);
    owner.refused(
        &[("targets/a", &of_alice(1))],
        "ErrBadTargets: tuf: invalid role targets/a. delegation does not exist",
    );
    owner.taken(&[("targets", &file(&delegating(2, "targets/a", &alice), &[&owner.targets]))]);
    owner.refused(
        &[("targets/a", &file(&targets(1), &[&TestKey::ed25519(6)]))],
        "ErrBadTargets: valid signatures did not meet threshold for targets/a",
    );
    owner.taken(&[("targets/a", &of_alice(2))]);
    owner.outdated(&[("targets/a", &of_alice(1))]);
    owner.refused(
        &[("targets/zz/b", &of_alice(1))],
        "ErrBadTargets: tuf: invalid role targets/zz/b. delegation does not exist",
    );
    let published = of_alice(4);
    owner.taken(&[("targets/a.json", &published)]);
    assert_eq!(owner.get("targets/a.json").body, published);
    let hash = Sha256Digest::of(&published).to_hex();
    assert_eq!(owner.get(&format!("targets/a.{hash}.json")).body, published);
    assert_eq!(owner.get(&format!("targets/a.{}.json", hash.to_uppercase())).body, published);
    // Differs: the original finds a hash whatever the role.
    assert_eq!(owner.get(&format!("root.{hash}.json")).status, 404);
    assert_eq!(owner.get("targets/none.json").status, 404);
}

#[test]
fn what_is_published_is_read_by_name_version_and_hash_with_its_headers() {
    let scene = Scene::started(&Plan::open());
    let owner = Owner::of(&scene, "reading");
    let (root, targets) = (owner.signed_root(1), owner.signed_targets(2));
    // The same key until a root says otherwise, and another after each rotation.
    assert_eq!(owner.get("timestamp.key").body, owner.get("timestamp.key").body);
    owner.taken(&[("root", &root), ("targets", &targets)]);

    for (name, bytes, control) in [
        ("root.json".to_owned(), &root, "public, max-age=300, s-maxage=300, must-revalidate"),
        ("1.root.json".to_owned(), &root, "public, max-age=2592000, s-maxage=2592000"),
        ("2.targets.json".to_owned(), &targets, "public, max-age=2592000, s-maxage=2592000"),
        (
            format!("targets.{}.json", Sha256Digest::of(&targets).to_hex()),
            &targets,
            "public, max-age=2592000, s-maxage=2592000",
        ),
    ] {
        let answer = owner.get(&name);
        assert_eq!((answer.status, &answer.body), (200, bytes), "{name}");
        assert_eq!(answer.header("cache-control"), Some(control), "{name}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"), "{name}");
        let modified = answer.header("last-modified").unwrap();
        assert!(modified.len() == 29 && modified.ends_with(" UTC"), "{modified}");
        assert_eq!(answer.header("etag"), None);
    }
    let timestamp = owner.get("timestamp.json").json();
    let snapshot = owner.get("snapshot.json");
    assert_eq!(timestamp["signed"]["meta"]["snapshot"], meta(&snapshot.body));
    assert_eq!(snapshot.json()["signed"]["meta"], json!({"root": meta(&root), "targets": meta(&targets)}));
    let (signed, lines) = (canonical_of(&snapshot.json()["signed"]), canonical_of(&snapshot.json()["signatures"]));
    let as_go_writes_it = [b"{\"signed\":", &signed[..], b",\"signatures\":", &lines[..], b"}"].concat();
    assert_eq!(as_go_writes_it, snapshot.body);

    let feed = scene.ask(&format!("GET /v2/{}/_trust/changefeed?records=1", owner.gun)).json();
    let hash = Sha256Digest::of(&owner.get("timestamp.json").body).to_hex();
    assert_eq!(feed["records"][0]["SHA256"], hash);
    assert_eq!(feed["records"][0]["Category"], "update");
    let rotated = scene.ask(&format!("POST /v2/{}/_trust/tuf/timestamp.key", owner.gun));
    assert_eq!(rotated.status, 200);
    assert!(rotated.text().starts_with("{\"keytype\":\"ecdsa\",\"keyval\":{\"public\":\""), "{}", rotated.text());
    assert!(rotated.text().ends_with("\",\"private\":null}}"), "{}", rotated.text());
    assert_ne!(rotated.body, owner.get("timestamp.key").body, "in force with the root that names it");

    for _ in 0..2 {
        let deleted = scene.ask(&format!("DELETE /v2/{}/_trust/tuf/", owner.gun));
        assert_eq!((deleted.status, deleted.body.len()), (200, 0));
    }
    for name in ["root.json", "1.root.json", "timestamp.json", "2.targets.json"] {
        assert_eq!(owner.get(name).status, 404, "{name}");
    }
    let feed = scene.ask("GET /v2/_trust/changefeed?records=-10").json();
    let kinds: Vec<&str> =
        feed["records"].as_array().unwrap().iter().map(|record| record["Category"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["update", "deletion"]);
    assert_eq!(feed["records"][1]["SHA256"], "");
}

#[test]
fn a_clients_own_snapshot_names_what_is_there() {
    let scene = Scene::started(&Plan::open());
    let own = TestKey::ed25519(5);
    let owner = Owner { snapshot: (own.id.clone(), own.entry.clone()), ..Owner::of(&scene, "snapshots") };
    let (root, first) = (owner.signed_root(1), owner.signed_targets(1));
    let of = |version: u32, files: &[(&str, &[u8])]| with(workshop::snapshot(version, files), "expires", LATER);
    let sign = |value: &Value| file(value, &[&own]);
    let all: [(&str, &[u8]); 2] = [("root", &root), ("targets", &first)];
    let publish = |snapshot: &[u8]| owner.publish(&[("root", &root), ("targets", &first), ("snapshot", snapshot)]);
    let hash = |bytes: &[u8]| Sha256Digest::of(bytes).to_hex();

    let structure = "ErrBadSnapshot: snapshot type metadata invalid:";
    let mut long_hash_only = of(1, &all);
    long_hash_only["meta"]["root"]["hashes"].as_object_mut().unwrap().remove("sha256");
    let other = owner.signed_targets(9);
    for (bad, said) in [
        (sign(&of(1, &[("targets", &first)])), format!("{structure} missing root sha256 checksum information")),
        (sign(&long_hash_only), format!("{structure} missing root sha256 checksum information")),
        (sign(&with(of(1, &all), "expires", GONE)), format!("ErrBadSnapshot: snapshot expired at {GONE_TEXT}")),
        (sign(&with(of(1, &all), "version", 0)), format!("{structure} version cannot be less than one")),
        (
            sign(&of(1, &[("root", &root), ("targets", &other)])),
            format!("ErrBadSnapshot: sha256 checksum for targets did not match: expected {}", hash(&other)),
        ),
        (
            file(&of(1, &all), &[&TestKey::ed25519(4)]),
            "ErrBadSnapshot: valid signatures did not meet threshold for snapshot".to_owned(),
        ),
    ] {
        assert_eq!(publish(&bad), (400, "INVALID_UPDATE".to_owned(), said));
    }
    assert_eq!(publish(&sign(&of(1, &all))).0, 200);

    let second = owner.signed_targets(2);
    // Differs: the original has the signer's own error here.
    let said = "no snapshot was included in update and server does not hold current snapshot key for repository";
    owner.refused(&[("targets", &second)], &format!("ErrBadHierarchy: {said}"));
    let next: [(&str, &[u8]); 2] = [("root", &root), ("targets", &second)];
    owner.outdated(&[("targets", &second), ("snapshot", &sign(&of(1, &next)))]);
    // Differs: the original takes a snapshot of what is not there, and loses the repository.
    owner.refused(
        &[("snapshot", &sign(&of(2, &next)))],
        &format!("ErrBadSnapshot: sha256 checksum for targets did not match: expected {}", hash(&second)),
    );
    owner.taken(&[("targets", &second), ("snapshot", &sign(&of(2, &next)))]);
    assert_eq!(owner.get("targets.json").body, second);
}
