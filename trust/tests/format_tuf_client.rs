//! What a client believes of a server that says what it likes.
#![cfg(feature = "formats")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the workshop serves several tests")]

#[path = "tuf/workshop.rs"]
mod workshop;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};
use trust::Sha256Digest;
use trust::format::tuf::client::{Client, Distrust, Pin, TIMESTAMP_BYTES_MAX, Wanted};
use trust::format::tuf::{Document, Gun, NotMet, Repository, RoleName};
use workshop::*;

/// The files that a server shows.
type Served = BTreeMap<String, Vec<u8>>;

fn gun() -> Gun {
    GUN.parse().unwrap()
}

/// A generation: root, targets of this version with whatever is delegated, snapshot and timestamp of this version.
fn generation(house: &House, version: u32) -> Served {
    served(house, version, house.signed_root(1), house.signed_targets(version), &[])
}

fn served(house: &House, version: u32, root: Vec<u8>, targets: Vec<u8>, more: &[(&str, &[u8])]) -> Served {
    let mut files = Served::from([("root".to_owned(), root), ("targets".to_owned(), targets)]);
    files.extend(more.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())));
    seal(house, version, files)
}

/// Puts a snapshot and a timestamp of these files to them.
fn seal(house: &House, version: u32, mut files: Served) -> Served {
    let named: Vec<(&str, &[u8])> = files
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "snapshot" | "timestamp"))
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    let snapshot = house.signed_snapshot(version, &named);
    let timestamp = timestamp(house, version, &snapshot);
    files.insert("snapshot".to_owned(), snapshot);
    files.insert("timestamp".to_owned(), timestamp);
    files
}

fn timestamp(house: &House, version: u32, snapshot: &[u8]) -> Vec<u8> {
    let signed = json!({"_type": "Timestamp", "version": version, "expires": LATER,
        "meta": {"snapshot": meta(snapshot)}});
    file(&signed, &[&house.timestamp])
}

fn begin(served: &Served, pin: &Pin) -> Result<Client, Distrust> {
    Client::begin(gun(), Document::read(&RoleName::Root, &served["root"])?, pin, NOW)
}

fn first(served: &Served) -> Client {
    begin(served, &Pin::FirstUse).unwrap()
}

/// Fetches the newest of everything, as a client does.
fn refresh(client: &mut Client, served: &Served) -> Result<(), Distrust> {
    while let Some(root) = client.next_root().and_then(|next| served.get(&format!("{}.root", next.number()))) {
        client.take_root(root)?;
    }
    client.take_timestamp(&served["timestamp"])?;
    let mut roles = VecDeque::from([RoleName::Snapshot, RoleName::Targets]);
    while let Some(role) = roles.pop_front() {
        if let Wanted::File(_) = client.wanted(&role)? {
            let missing = Vec::new();
            client.take_file(&role, served.get(role.as_str()).unwrap_or(&missing))?;
        }
        let delegations = client.file(&role).and_then(Document::as_targets).map(|targets| targets.delegations());
        roles.extend(delegations.unwrap_or_default().iter().map(|delegation| delegation.name().clone()));
    }
    Ok(())
}

/// A client that saw this, and comes back.
fn seen(served: &Served) -> Client {
    let mut client = first(served);
    refresh(&mut client, served).unwrap();
    Client::resume(gun(), client.into_cache(), NOW).unwrap()
}

#[track_caller]
fn distrust(client: Client, served: &Served) -> Distrust {
    let mut client = client;
    refresh(&mut client, served).unwrap_err()
}

#[test]
fn what_is_signed_is_found_and_the_newer_is_followed() {
    let house = House::new();
    let mut client = first(&generation(&house, 1));
    refresh(&mut client, &generation(&house, 1)).unwrap();
    assert!(client.target(&RoleName::Targets, "v1").is_some());
    assert!(client.target(&RoleName::Targets, "v2").is_none());

    let mut client = Client::resume(gun(), client.into_cache(), NOW).unwrap();
    assert!(client.target(&RoleName::Targets, "v1").is_none(), "what was kept is not current yet");
    refresh(&mut client, &generation(&house, 2)).unwrap();
    assert!(client.target(&RoleName::Targets, "v2").is_some());
}

#[test]
fn what_is_kept_is_not_fetched_again() {
    let house = House::new();
    let files = generation(&house, 1);
    let mut client = seen(&files);

    client.take_timestamp(&files["timestamp"]).unwrap();

    assert_eq!(client.wanted(&RoleName::Snapshot).unwrap(), Wanted::Nothing);
    assert_eq!(client.wanted(&RoleName::Targets).unwrap(), Wanted::Nothing);
    assert!(client.target(&RoleName::Targets, "v1").is_some());
}

#[test]
fn a_newer_timestamp_in_the_same_visit_makes_everything_be_looked_up_again() {
    let house = House::new();
    let (old, new) = (generation(&house, 1), generation(&house, 2));
    let mut client = first(&old);
    refresh(&mut client, &old).unwrap();

    client.take_timestamp(&new["timestamp"]).unwrap();

    assert!(client.target(&RoleName::Targets, "v1").is_none());
    assert_eq!(client.wanted(&RoleName::Targets).unwrap_err(), Distrust::OutOfOrder(RoleName::Targets));
    refresh(&mut client, &new).unwrap();
    assert!(client.target(&RoleName::Targets, "v2").is_some());
}

#[test]
fn a_root_is_pinned_by_its_keys_or_its_file() {
    let (house, other) = (House::new(), House::new());
    let files = generation(&house, 1);
    let id = |key: &TestKey| Sha256Digest::from_hex(&key.id).unwrap();
    let bare = house.root.key().canonical_id();
    assert_ne!(bare, id(&house.root));

    for pin in [
        Pin::FirstUse,
        Pin::Keys([id(&house.root)].into()),
        Pin::Keys([bare, id(&other.root)].into()),
        Pin::Root(Sha256Digest::of(&files["root"])),
    ] {
        assert!(begin(&files, &pin).is_ok(), "{pin:?}");
    }
    for pin in [
        Pin::Keys([].into()),
        Pin::Keys([id(&other.root)].into()),
        Pin::Keys([id(&house.targets)].into()),
        Pin::Root(Sha256Digest::of(b"")),
    ] {
        assert_eq!(begin(&files, &pin).unwrap_err(), Distrust::NotPinned, "{pin:?}");
    }
    let elsewhere = "registry.example.com/team/other".parse().unwrap();
    let strange = Client::begin(elsewhere, read("root", &files["root"]), &Pin::FirstUse, NOW);
    assert_eq!(strange.unwrap_err(), Distrust::NoCertificate);
    let unsigned = read("root", &file(&house.root_of(1), &[&other.root]));
    let few = Distrust::NotMet(NotMet::TooFew(RoleName::Root));
    assert_eq!(Client::begin(gun(), unsigned, &Pin::FirstUse, NOW).unwrap_err(), few);
}

#[test]
fn roots_are_followed_one_by_one_under_the_old_and_the_new_key() {
    let mut house = House::new();
    let files = generation(&house, 1);
    let rotate = |house: &House, new: &TestKey, version: u32, keys: &[&TestKey]| {
        let mut signed = house.root_of(version);
        signed["keys"][&new.id] = new.entry.clone();
        signed["roles"]["root"]["keyids"] = json!([new.id]);
        file(&signed, keys)
    };
    let [second, third] = [TestKey::root(), TestKey::root()];
    let two = rotate(&house, &second, 2, &[&house.root, &second]);
    let three = rotate(&house, &third, 3, &[&second, &third]);

    for bad in [rotate(&house, &second, 2, &[&house.root]), rotate(&house, &second, 2, &[&second])] {
        let few = Distrust::NotMet(NotMet::TooFew(RoleName::Root));
        assert_eq!(first(&files).take_root(&bad).unwrap_err(), few);
    }
    assert_eq!(first(&files).take_root(&three).unwrap_err(), Distrust::NotNext { held: 1, found: 3 });
    assert_eq!(first(&files).take_root(&files["root"]).unwrap_err(), Distrust::NotNext { held: 1, found: 1 });
    let mut client = first(&files);
    client.take_root(&two).unwrap();
    assert_eq!(client.take_root(&two).unwrap_err(), Distrust::NotNext { held: 2, found: 2 });
    client.take_root(&three).unwrap();
    assert_eq!(client.next_root().unwrap().number(), 4);
    house.root = third;
    let mut newest = seal(
        &house,
        2,
        Served::from([("root".to_owned(), three.clone()), ("targets".to_owned(), files["targets"].clone())]),
    );
    newest.extend([("2.root".to_owned(), two), ("3.root".to_owned(), three.clone())]);
    let mut client = seen(&files);
    refresh(&mut client, &newest).unwrap();
    assert_eq!(client.file(&RoleName::Root).unwrap().raw(), three);
    assert!(matches!(client.take_root(&three), Err(Distrust::OutOfOrder(RoleName::Root))));
}

#[test]
fn a_root_that_another_one_follows_and_that_was_changed_around_what_is_signed() {
    let mut house = House::new();
    let files = generation(&house, 1);
    let [second, third] = [TestKey::root(), TestKey::root()];
    let first_key = std::mem::replace(&mut house.root, second);
    let two = house.root_of(2);
    let good = String::from_utf8(file(&two, &[&first_key, &house.root])).unwrap();
    for altered in [
        good.replacen("\"method\":\"ecdsa\"", "\"method\":\"Ecdsa\"", 1).into_bytes(),
        format!("{good} ").into_bytes(),
        good.replacen(':', ": ", 1).into_bytes(),
        good.replacen("\"method\"", "\"more\":1,\"method\"", 1).into_bytes(),
        good.replacen("\"Root\"", "\"\\u0052oot\"", 1).into_bytes(),
        // One of its keys signs twice; one signs something else behind the one signature that counts.
        file(&two, &[&first_key, &house.root, &house.root]),
        written(&two, &[first_key.sign(&two), house.root.sign(&two), first_key.sign(&targets(1))]),
    ] {
        assert_ne!(altered, good.as_bytes());
        let mut client = first(&files);
        let refused = client.take_root(&altered).unwrap_err();
        assert_eq!(refused, Distrust::Altered(RoleName::Root), "{}", String::from_utf8_lossy(&altered));
        client.take_root(good.as_bytes()).unwrap();
    }

    // Notary signs with keys of long ago, too, for clients that have seen no other; nobody here can tell what they say.
    let mut client = first(&files);
    client.take_root(good.as_bytes()).unwrap();
    let second = std::mem::replace(&mut house.root, third);
    let three = house.root_of(3);
    let lines = [first_key.sign(&three), second.sign(&three), house.root.sign(&three)];
    client.take_root(&written(&three, &lines)).unwrap();
}

#[test]
fn timestamp_rollback() {
    let house = House::new();
    let mut files = generation(&house, 2);
    files.insert("timestamp".to_owned(), timestamp(&house, 1, &files["snapshot"]));

    let answer = distrust(seen(&generation(&house, 2)), &files);

    assert_eq!(answer, Distrust::Rollback { role: RoleName::Timestamp, found: 1, held: 2 });
}

#[test]
fn snapshot_and_targets_rollback_under_a_new_timestamp() {
    let house = House::new();
    let (old, new) = (generation(&house, 1), generation(&house, 2));

    let mut files = old.clone();
    files.insert("timestamp".to_owned(), timestamp(&house, 3, &old["snapshot"]));
    let rollback = |role| Distrust::Rollback { role, found: 1, held: 2 };
    assert_eq!(distrust(seen(&new), &files), rollback(RoleName::Snapshot));

    let files = seal(&house, 3, old);
    assert_eq!(distrust(seen(&new), &files), rollback(RoleName::Targets));
}

#[test]
fn whole_old_generation() {
    let house = House::new();

    let answer = distrust(seen(&generation(&house, 2)), &generation(&house, 1));

    assert_eq!(answer, Distrust::Rollback { role: RoleName::Timestamp, found: 1, held: 2 });
}

#[test]
fn mix_and_match_of_generations() {
    let house = House::new();
    let (old, new) = (generation(&house, 1), generation(&house, 2));

    for (name, by) in [("snapshot", RoleName::Timestamp), ("targets", RoleName::Snapshot)] {
        let mut files = new.clone();
        files.insert(name.to_owned(), old[name].clone());
        for client in [first(&old), seen(&old)] {
            assert_eq!(distrust(client, &files), Distrust::Differs { by: by.clone(), role: role(name) });
        }
    }
}

#[test]
fn a_root_that_is_hidden_behind_an_older_one() {
    let house = House::new();
    let (old, next) = (generation(&house, 1), file(&house.root_of(2), &[&house.root]));
    let new = served(&house, 2, next.clone(), house.signed_targets(2), &[]);
    let another = Distrust::Differs { by: RoleName::Snapshot, role: RoleName::Root };

    // All that is new but the root, to whoever comes for the first time and to whoever comes back.
    let mut mixed = new.clone();
    mixed.insert("root".to_owned(), old["root"].clone());
    for client in [first(&mixed), seen(&old)] {
        assert_eq!(distrust(client, &mixed), another);
    }
    let mut shown = new;
    shown.insert("2.root".to_owned(), next);
    let mut client = seen(&old);
    refresh(&mut client, &shown).unwrap();
    assert!(client.target(&RoleName::Targets, "v2").is_some());
}

#[test]
fn another_file_of_a_version_that_was_seen() {
    let house = House::new();
    let held = generation(&house, 2);
    let forked = |role| Distrust::Forked { role, version: 2 };
    let mut targets = targets(2);
    targets["targets"]["v2"]["length"] = json!(8);
    let fork = served(&house, 3, held["root"].clone(), file(&targets, &[&house.targets]), &[]);

    assert_eq!(distrust(seen(&held), &fork), forked(RoleName::Targets));
    assert_eq!(distrust(seen(&held), &seal(&house, 2, fork.clone())), forked(RoleName::Timestamp));
    let mut later = seal(&house, 2, fork);
    later.insert("timestamp".to_owned(), timestamp(&house, 3, &later["snapshot"]));
    assert_eq!(distrust(seen(&held), &later), forked(RoleName::Snapshot));
}

#[test]
fn freeze() {
    let house = House::new();
    let files = generation(&house, 1);
    let year_later = NOW + 366 * 86_400;
    for place in ["timestamp", "snapshot", "targets"] {
        let mut client = Client::resume(gun(), seen(&files).into_cache(), NOW).unwrap();
        let mut signed: Value = serde_json::from_slice(&files[place]).unwrap();
        signed["signed"]["version"] = json!(2);
        signed["signed"]["expires"] = json!("2026-11-26T17:34:00Z");
        let key = match place {
            "timestamp" => &house.timestamp,
            "snapshot" => &house.snapshot,
            _ => &house.targets,
        };
        let mut frozen = files.clone();
        frozen.insert(place.to_owned(), file(&signed["signed"], &[key]));
        match place {
            "targets" => frozen = seal(&house, 2, frozen),
            "snapshot" => drop(frozen.insert("timestamp".into(), timestamp(&house, 2, &frozen["snapshot"].clone()))),
            _ => {}
        }

        let answer = refresh(&mut client, &frozen).unwrap_err();

        assert_eq!(answer.to_string(), format!("{place} expired at Thu Nov 26 17:34:00 UTC 2026"));
    }
    let mut late = Client::begin(gun(), read("root", &files["root"]), &Pin::FirstUse, year_later).unwrap();
    assert!(refresh(&mut late, &files).unwrap_err().to_string().starts_with("root expired at"));
}

#[test]
fn a_file_of_a_strangers_hand() {
    let (house, stranger) = (House::new(), TestKey::ed25519(99));
    let files = generation(&house, 1);
    for place in ["timestamp", "snapshot", "targets"] {
        let signed: Value = serde_json::from_slice(&files[place]).unwrap();
        let mut forged = files.clone();
        forged.insert(place.to_owned(), file(&signed["signed"], &[&stranger]));
        match place {
            "targets" => forged = seal(&house, 1, forged),
            "snapshot" => drop(forged.insert("timestamp".into(), timestamp(&house, 1, &forged["snapshot"].clone()))),
            _ => {}
        }
        assert_eq!(distrust(first(&files), &forged), Distrust::NotMet(NotMet::TooFew(role(place))));
    }
}

#[test]
fn a_timestamp_that_was_changed_around_what_is_signed() {
    let (house, stranger) = (House::new(), TestKey::ed25519(99));
    let files = generation(&house, 1);
    let good = String::from_utf8(files["timestamp"].clone()).unwrap();
    let signed: Value = serde_json::from_str::<Value>(&good).unwrap()["signed"].clone();
    let twice = file(&signed, &[&house.timestamp, &house.timestamp]);
    let by_a_stranger_too = file(&signed, &[&house.timestamp, &stranger]);
    let behind_a_wrong_one = {
        let lines = [house.timestamp.sign(&targets(1)), house.timestamp.sign(&signed)];
        written(&signed, &lines)
    };
    for altered in [
        good.replace("eddsa", "EdDSA").into_bytes(),
        format!("{good} ").into_bytes(),
        format!("{good}\n").into_bytes(),
        good.replacen(':', ": ", 1).into_bytes(),
        good.replacen("\"method\"", "\"more\":1,\"method\"", 1).into_bytes(),
        twice,
        by_a_stranger_too,
        behind_a_wrong_one,
    ] {
        let mut client = first(&files);
        let refused = client.take_timestamp(&altered).unwrap_err();
        assert_eq!(refused, Distrust::Altered(RoleName::Timestamp), "{}", String::from_utf8_lossy(&altered));
        client.take_timestamp(good.as_bytes()).unwrap();
    }
}

#[test]
fn endless_data() {
    let house = House::new();
    let files = generation(&house, 1);
    let mut client = first(&files);
    let endless = [files["timestamp"].clone(), vec![b' '; TIMESTAMP_BYTES_MAX]].concat();
    assert_eq!(client.take_timestamp(&endless).unwrap_err(), Distrust::Endless(RoleName::Timestamp));

    client.take_timestamp(&files["timestamp"]).unwrap();
    let Wanted::File(meta) = client.wanted(&RoleName::Snapshot).unwrap() else { panic!("it has no snapshot") };
    assert_eq!(meta.length_bytes(), u64::try_from(files["snapshot"].len()).unwrap());
    let longer = [files["snapshot"].clone(), vec![b' ']].concat();
    assert!(matches!(client.take_file(&RoleName::Snapshot, &longer), Err(Distrust::Differs { .. })));
}

#[test]
fn nothing_is_taken_before_what_names_it() {
    let house = House::new();
    let files = generation(&house, 1);
    let mut client = seen(&files);
    let a = role("targets/a");

    for early in [RoleName::Snapshot, RoleName::Targets, RoleName::Timestamp, RoleName::Root, a.clone()] {
        assert!(client.wanted(&early).is_err(), "{early}");
        assert!(client.take_file(&early, b"{}").is_err(), "{early}");
    }
    client.take_timestamp(&files["timestamp"]).unwrap();
    assert_eq!(client.wanted(&RoleName::Targets).unwrap_err(), Distrust::OutOfOrder(RoleName::Targets));
    refresh(&mut client, &files).unwrap();
    assert_eq!(client.wanted(&a).unwrap_err(), Distrust::NotDelegated(a));
}

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

#[test]
fn fast_forward_is_undone_by_changing_the_keys() {
    let house = House::new();
    let driven = {
        let (root, targets) = (house.signed_root(1), house.signed_targets(0x7fff_fffe));
        served(&house, 0x7fff_fffe, root, targets, &[])
    };
    let next = generation(&house, 3);
    assert!(matches!(distrust(seen(&driven), &next), Distrust::Rollback { .. }));

    let moved = House { targets: TestKey::ed25519(41), timestamp: TestKey::ed25519(42), ..House::new() };
    let moved = House { root: house.root, ..moved };
    let mut files = served(&moved, 3, moved.signed_root(2), moved.signed_targets(3), &[]);
    files.insert("2.root".to_owned(), files["root"].clone());
    let mut client = seen(&driven);
    refresh(&mut client, &files).unwrap();
    assert!(client.target(&RoleName::Targets, "v3").is_some());

    // Half of a visit keeps none of it either.
    let mut client = seen(&driven);
    client.take_root(&files["2.root"]).unwrap();
    let kept = client.into_cache();
    assert_eq!(kept.files().keys().collect::<Vec<_>>(), [&RoleName::Root]);

    // Whoever kept it was interrupted behind the root: the driven files are still there, and forgiven all the same.
    let torn = seen(&driven).into_cache().with(read("root", &files["2.root"]));
    let mut client = Client::resume(gun(), torn.clone(), NOW).unwrap();
    refresh(&mut client, &files).unwrap();
    assert!(client.target(&RoleName::Targets, "v3").is_some());
    let left = Client::resume(gun(), torn, NOW).unwrap().into_cache();
    assert_eq!(left.files().keys().collect::<Vec<_>>(), [&RoleName::Root]);
}

#[test]
fn what_was_kept_under_keys_that_still_speak_is_not_forgiven_with_a_new_root() {
    let house = House::new();
    let held = generation(&house, 5);
    let mut next = served(&house, 4, house.signed_root(2), house.signed_targets(4), &[]);
    next.insert("2.root".to_owned(), next["root"].clone());
    let torn = seen(&held).into_cache().with(read("root", &next["2.root"]));

    let client = Client::resume(gun(), torn, NOW).unwrap();

    assert_eq!(distrust(client, &next), Distrust::Rollback { role: RoleName::Timestamp, found: 4, held: 5 });
}

#[test]
fn a_visit_to_docker_own_repository() {
    let meta = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/spec/notary/samples/meta");
    if !meta.is_dir() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs {}", meta.display());
        println!("the recordings are not here: they were not visited");
        return;
    }
    let bytes = |name: &str| std::fs::read(meta.join(name)).unwrap();
    let gun: Gun = "localhost:5001/demo/app".parse().unwrap();
    let root = read("root", &bytes("1.root.json"));
    let mut client = Client::begin(gun, root, &Pin::FirstUse, NOW).unwrap();
    // The fourth was not recorded, so a client that began with the first cannot go further.
    client.take_root(&bytes("2.root.json")).unwrap();
    client.take_root(&bytes("3.root.json")).unwrap();
    let skipped = client.take_root(&bytes("root.json")).unwrap_err();
    assert_eq!(skipped, Distrust::NotNext { held: 3, found: 5 });

    let gun: Gun = "localhost:5001/demo/app".parse().unwrap();
    let mut client = Client::begin(gun, read("root", &bytes("root.json")), &Pin::FirstUse, NOW).unwrap();
    client.take_timestamp(&bytes("timestamp.json")).unwrap();
    for name in ["snapshot", "targets", "targets/alice", "targets/bob", "targets/releases"] {
        assert!(matches!(client.wanted(&role(name)).unwrap(), Wanted::File(_)), "{name}");
        client.take_file(&role(name), &bytes(&format!("{name}.json"))).unwrap();
    }
    let releases = client.file(&role("targets/releases")).unwrap().as_targets().unwrap().targets().clone();
    for (tag, target) in &releases {
        assert_eq!(client.target(&role("targets/releases"), tag), Some(target));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever becomes of one byte of one file: a visit is refused, or shows what was signed.
    #[test]
    fn a_changed_byte_is_refused_or_without_effect(
        place in 0_usize..4, at in any::<prop::sample::Index>(), byte in any::<u8>(), comes_back in any::<bool>(),
    ) {
        let house = House::new();
        let files = generation(&house, 2);
        let name = ["root", "targets", "snapshot", "timestamp"][place];
        let mut changed = files.clone();
        let bytes = changed.get_mut(name).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;

        let client = if comes_back { Ok(seen(&generation(&house, 1))) } else { begin(&changed, &Pin::FirstUse) };
        let answer = client.and_then(|mut client| refresh(&mut client, &changed).map(|()| client));

        if let Ok(client) = answer {
            let signed = read("targets", &files["targets"]);
            let expected = signed.as_targets().unwrap().targets().get("v2");
            prop_assert_eq!(client.target(&RoleName::Targets, "v2"), expected);
            for (role, file) in client.into_cache().files() {
                // Root is not fetched again where it is the one that is believed.
                let expected = read(role.as_str(), &files[role.as_str()]);
                if *role != RoleName::Root || !comes_back {
                    prop_assert_eq!(file.signed_bytes(), expected.signed_bytes());
                }
            }
        }
    }

    /// Whatever becomes of one byte of a root that another one follows: it is refused.
    #[test]
    fn a_changed_byte_of_a_root_in_between_is_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut house = House::new();
        let files = generation(&house, 1);
        let before = std::mem::replace(&mut house.root, TestKey::root());
        let good = file(&house.root_of(2), &[&before, &house.root]);
        let mut changed = good.clone();
        let at = at.index(changed.len());
        changed[at] = byte;

        let answer = first(&files).take_root(&changed);

        prop_assert_eq!(answer.is_ok(), changed == good);
    }

    /// Whatever generations a server shows, one after the other: a client never goes back.
    #[test]
    fn a_client_never_goes_back(shown in prop::collection::vec((1_u32..6, 1_u32..6, 1_u32..6), 1..8)) {
        let house = House::new();
        let root = house.signed_root(1);
        let mut cache = Repository::of([read("root", &root)]);
        let mut highest: BTreeMap<RoleName, u32> = BTreeMap::new();
        for (targets, snapshot_version, timestamp_version) in shown {
            let targets = house.signed_targets(targets);
            let snapshot = house.signed_snapshot(snapshot_version, &[("root", &root), ("targets", &targets)]);
            let timestamp = timestamp(&house, timestamp_version, &snapshot);
            let files = Served::from([
                ("targets".to_owned(), targets), ("snapshot".to_owned(), snapshot), ("timestamp".to_owned(), timestamp),
            ]);
            let mut client = Client::resume(gun(), cache.clone(), NOW).unwrap();
            let _ = refresh(&mut client, &files);
            cache = client.into_cache();
            for (role, file) in cache.files() {
                let version = file.version().number();
                let before = highest.insert(role.clone(), version).unwrap_or(0);
                prop_assert!(version >= before, "{role} went from {before} to {version}");
            }
        }
    }
}
