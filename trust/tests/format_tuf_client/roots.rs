//! Roots: how the first is pinned and the next is followed, and what a new one forgives.

use serde_json::json;
use trust::Sha256Digest;
use trust::format::tuf::client::{Client, Distrust, Pin};
use trust::format::tuf::{NotMet, RoleName};

use super::workshop::{House, NOW, TestKey, file, read, targets, written};
use super::{Served, begin, distrust, first, generation, gun, refresh, seal, seen, served};

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
