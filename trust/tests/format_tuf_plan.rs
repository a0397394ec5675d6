//! What is planned here is what a server takes and what readers may be shown.
#![cfg(feature = "formats")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the workshop serves several tests")]

mod beside;
#[path = "format_tuf_plan/kept.rs"]
mod kept;
#[path = "tuf/workshop.rs"]
mod workshop;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use trust::format::json::Integer;
use trust::format::tuf::plan::{
    Change, NewDelegation, NewTarget, NoPlan, ROOT_SECONDS, Speakers, TARGETS_SECONDS, TIMESTAMP_SECONDS, Unsigned,
};
use trust::format::tuf::publish::{SnapshotBy, check};
use trust::format::tuf::{Document, Expires, Gun, Key, KeyKind, NotMet, NotWhole, Repository, RoleName, Version};
use trust::{Algorithm, Sha256Digest, Signature};

use workshop::*;

fn gun() -> Gun {
    GUN.parse().unwrap()
}

fn after(seconds: i64) -> Expires {
    Expires::at(NOW + seconds).unwrap()
}

fn put(name: &str, byte: u8) -> Change {
    let target =
        NewTarget { sha256: Sha256Digest::from_bytes([byte; 32]), length_bytes: Integer::from(7), custom: None };
    Change::Put { name: name.to_owned(), target }
}

fn sign(unsigned: &Unsigned, keys: &[&TestKey]) -> Document {
    let stamps: Vec<_> = keys.iter().map(|key| key.stamp(unsigned.document())).collect();
    unsigned.signed(&stamps).unwrap()
}

/// What a server makes of an update: the repository, whole.
fn finish(house: &House, repository: Repository) -> Repository {
    let snapshot = sign(&repository.next_snapshot(&after(TARGETS_SECONDS)).unwrap(), &[&house.snapshot]);
    let repository = repository.with(snapshot);
    let timestamp = sign(&repository.next_timestamp(&after(TIMESTAMP_SECONDS)).unwrap(), &[&house.timestamp]);
    let repository = repository.with(timestamp);
    repository.check_whole(&gun(), NOW).unwrap();
    repository
}

/// Publishes files that their owner signed.
fn publish(house: &House, held: &Repository, files: &[&Document]) -> Repository {
    let parts = files.iter().map(|file| part(file.role().as_str(), file.raw())).collect();
    let update = check(&gun(), held, parts, &BTreeSet::new(), NOW).unwrap();
    assert_eq!(update.snapshot_by(), SnapshotBy::Server);
    finish(house, update.into_repository())
}

fn speakers(house: &House) -> [(RoleName, Speakers); 4] {
    [
        (RoleName::Root, &house.root),
        (RoleName::Targets, &house.targets),
        (RoleName::Snapshot, &house.snapshot),
        (RoleName::Timestamp, &house.timestamp),
    ]
    .map(|(role, key)| (role, Speakers::one(key.key())))
}

/// A repository of this house that is published, whole, with one target `1.0`.
fn begun(house: &House) -> Repository {
    let root = Repository::default().next_root(&speakers(house), &after(ROOT_SECONDS)).unwrap();
    let root = sign(&root, &[&house.root]);
    let private = Repository::of([root.clone()]);
    let targets = private.next_targets(&RoleName::Targets, &[put("1.0", 1)], &after(TARGETS_SECONDS)).unwrap();
    let targets = sign(&targets, &[&house.targets]);
    publish(house, &Repository::default(), &[&root, &targets])
}

fn tags(repository: &Repository, name: &str) -> BTreeMap<String, u8> {
    let targets = repository.targets(&role(name)).unwrap();
    let first = |digest: Sha256Digest| digest.as_bytes()[0];
    targets.targets().iter().map(|(name, target)| (name.clone(), first(target.hashes().sha256().unwrap()))).collect()
}

#[test]
fn a_repository_is_begun_and_changed() {
    let house = House::new();
    let held = begun(&house);
    for (role, file) in held.files() {
        assert_eq!(file.version(), Version::FIRST, "{role}");
    }

    let changes = [put("2.0", 2), Change::Remove { name: "1.0".to_owned() }, Change::Remove { name: "0".to_owned() }];
    let targets = held.next_targets(&RoleName::Targets, &changes, &after(60)).unwrap();
    let held = publish(&house, &held, &[&sign(&targets, &[&house.targets])]);

    assert_eq!(tags(&held, "targets"), BTreeMap::from([("2.0".to_owned(), 2)]));
    let versions = held.files().iter().map(|(role, file)| format!("{role} {}", file.version().number()));
    assert_eq!(versions.collect::<Vec<_>>(), ["root 1", "targets 2", "snapshot 2", "timestamp 2"]);
    assert_eq!(held.file(&RoleName::Targets).unwrap().expires(), &after(60));
}

#[test]
fn keys_of_root_are_rotated_under_the_old_and_the_new_ones() {
    let house = House::new();
    let held = begun(&house);
    let (root, snapshot) = (TestKey::root(), TestKey::p256());
    let changes = [(RoleName::Root, Speakers::one(root.key())), (RoleName::Snapshot, Speakers::one(snapshot.key()))];

    let unsigned = held.next_root(&changes, &after(ROOT_SECONDS)).unwrap();

    assert_eq!(unsigned.speakers().len(), 2);
    let stamps = [&root, &house.root].map(|key| key.stamp(unsigned.document()));
    for few in [&stamps[..1], &stamps[1..], &[]] {
        assert!(unsigned.signed(few).is_err());
    }
    let signed = unsigned.signed(&stamps).unwrap();
    let keys = |role: &RoleName| signed.as_root().unwrap().authority(role).unwrap().keys()[0].id().to_hex();
    assert_eq!([keys(&RoleName::Root), keys(&RoleName::Timestamp)], [root.id.clone(), house.timestamp.id.clone()]);
    let house = House { root, snapshot, ..house };
    let held = publish(&house, &held, &[&signed]);
    assert_eq!(held.file(&RoleName::Root).unwrap().version().number(), 2);
    assert!(!String::from_utf8_lossy(signed.signed_bytes()).contains("\"keys\":{}"));
}

/// What one holder after the other does: each gets the file as the one before left it.
#[test]
fn signatures_are_collected_one_after_the_other_under_the_old_root_and_the_new_one() {
    let house = House::new();
    let [one, two, three] = [(); 3].map(|()| TestKey::root());
    let both = |keys: [&TestKey; 2]| Speakers { keys: keys.map(TestKey::key).into(), threshold: 2 };
    let begun = begun(&house);
    let first = begun.next_root(&[(RoleName::Root, both([&one, &two]))], &after(ROOT_SECONDS)).unwrap();
    let stamps = [&house.root, &one, &two].map(|key| key.stamp(first.document()));
    let held = publish(&house, &begun, &[&first.signed(&stamps).unwrap()]);
    let unsigned = held.next_root(&[(RoleName::Root, both([&two, &three]))], &after(ROOT_SECONDS)).unwrap();
    let ids = |keys: &[&TestKey]| keys.iter().map(|key| key.key().canonical_id()).collect::<BTreeSet<_>>();

    // Kept as a file between one signature and the next.
    let mut kept = unsigned.clone();
    let steps: [(&TestKey, &[&TestKey], &[&TestKey]); 4] = [
        (&one, &[], &[&one]),
        (&one, &[], &[&one]),
        (&two, &[&two], &[&one, &two]),
        (&three, &[&two, &three], &[&one, &two]),
    ];
    for (key, own, before) in steps {
        let file = Document::read(&RoleName::Root, kept.document().raw()).unwrap();
        let again = held.unsigned(file).unwrap();
        assert_eq!(again.document().signed_bytes(), unsigned.document().signed_bytes());
        kept = again.stamped(&[key.stamp(again.document())]).unwrap();
        assert_eq!(kept.signed_by(), [ids(own), ids(before)]);
        assert_eq!(kept.signed(&[]).is_ok(), own.len() == 2 && before.len() == 2);
    }

    publish(&house, &held, &[&kept.signed(&[]).unwrap()]);
    // A signature over other bytes counts for nothing, and for a role that nobody speaks for there is nothing to sign.
    let other = held.next_root(&[], &after(60)).unwrap();
    let stamped = unsigned.stamped(&[two.stamp(other.document())]).unwrap();
    assert_eq!(stamped.signed_by(), [ids(&[]), ids(&[])]);
    let targets = held.next_targets(&RoleName::Targets, &[], &after(60)).unwrap();
    let nobody = Repository::default().unsigned(targets.document().clone()).map(drop).unwrap_err();
    assert_eq!(nobody, NoPlan::Nobody(RoleName::Targets));
}

#[test]
fn delegations_are_made_changed_and_taken_back() {
    let house = House::new();
    let [alice, bob] = [21, 22].map(TestKey::ed25519);
    let delegate = |name: &str, keys: &[&TestKey], threshold| {
        let keys = keys.iter().map(|key| key.key()).collect();
        let speakers = Speakers { keys, threshold };
        Change::Delegate(NewDelegation { name: role(name), speakers, paths: vec![String::new()] })
    };
    let held = begun(&house);
    let next = |held: &Repository, changes: &[Change]| {
        let unsigned = held.next_targets(&RoleName::Targets, changes, &after(TARGETS_SECONDS)).unwrap();
        publish(&house, held, &[&sign(&unsigned, &[&house.targets])])
    };

    let held = next(&held, &[delegate("targets/releases", &[&alice], 1), delegate("targets/alice", &[&alice], 1)]);
    let releases = role("targets/releases");
    let unsigned = held.next_targets(&releases, &[put("3.0", 3)], &after(TARGETS_SECONDS)).unwrap();
    let held = publish(&house, &held, &[&sign(&unsigned, &[&alice])]);
    assert_eq!(tags(&held, "targets/releases"), BTreeMap::from([("3.0".to_owned(), 3)]));

    let held = next(&held, &[delegate("targets/releases", &[&alice, &bob], 2)]);
    let names = |held: &Repository| {
        let targets = held.targets(&RoleName::Targets).unwrap();
        targets.delegations().iter().map(|delegation| delegation.name().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&held), ["targets/releases", "targets/alice"]);
    let unsigned = held.next_targets(&releases, &[put("4.0", 4)], &after(TARGETS_SECONDS)).unwrap();
    // Signatures come one after the other: the second key signs a file that the first has signed.
    let one = unsigned.document().stamped(&[alice.stamp(unsigned.document())]).unwrap();
    assert_eq!(unsigned.signed(&[alice.stamp(&one)]).unwrap_err(), NotMet::TooFew(releases.clone()));
    let both = read("targets/releases", one.raw()).stamped(&[bob.stamp(&one)]).unwrap();
    assert_eq!(both.signed_bytes(), unsigned.document().signed_bytes());
    let held = publish(&house, &held, &[&both]);
    assert_eq!(tags(&held, "targets/releases").len(), 2);

    let held = next(&held, &[Change::Undelegate(releases.clone())]);
    assert_eq!(names(&held), ["targets/alice"]);
    let signed = held.file(&RoleName::Targets).unwrap().signed_bytes();
    assert!(!String::from_utf8_lossy(signed).contains(&bob.id), "a key that no role lists");
    let refused = held.next_targets(&releases, &[], &after(60)).unwrap_err();
    assert_eq!(refused, NoPlan::Nobody(releases));
}

#[test]
fn what_would_break_a_rule_is_not_planned() {
    let house = House::new();
    let held = begun(&house);
    let plan = |changes: &[Change]| held.next_targets(&RoleName::Targets, changes, &after(60)).map(drop).unwrap_err();
    let delegate = |name: &str, keys: Vec<Key>, threshold| {
        Change::Delegate(NewDelegation { name: role(name), speakers: Speakers { keys, threshold }, paths: Vec::new() })
    };
    let key = TestKey::ed25519(30).key();
    let a = role("targets/a");

    for (keys, threshold) in [(vec![], 1), (vec![key.clone()], 0), (vec![key.clone()], 2), (vec![key.clone(); 2], 2)] {
        assert_eq!(plan(&[delegate("targets/a", keys, threshold)]), NoPlan::TooFewKeys(a.clone()));
    }
    for wrong in ["targets/a/b", "targets", "root"] {
        assert!(matches!(plan(&[delegate(wrong, vec![key.clone()], 1)]), NoPlan::Unsound(_)), "{wrong}");
    }
    for name in ["", "a\tb", "\u{9b}", &"x".repeat(1025)] {
        assert_eq!(plan(&[put(name, 1)]), NoPlan::Name);
    }
    let few = held.next_root(&[(RoleName::Targets, Speakers { keys: vec![], threshold: 1 })], &after(60));
    assert_eq!(few.map(drop).unwrap_err(), NoPlan::TooFewKeys(RoleName::Targets));
    let empty = Repository::default();
    let some = empty.next_root(&speakers(&house)[..3], &after(60)).map(drop).unwrap_err();
    assert_eq!(some.to_string(), "root type metadata invalid: missing timestamp role specification");
    assert_eq!(empty.next_snapshot(&after(60)).map(drop).unwrap_err(), NoPlan::Missing(RoleName::Root));
    assert_eq!(empty.next_timestamp(&after(60)).map(drop).unwrap_err(), NoPlan::Missing(RoleName::Snapshot));
    let nobody = empty.next_targets(&RoleName::Targets, &[], &after(60)).map(drop).unwrap_err();
    assert_eq!(nobody, NoPlan::Nobody(RoleName::Targets));
}

#[test]
fn versions_go_on_behind_every_one_that_was_ever_used() {
    let house = House::new();
    let burned = Version::new(41).unwrap();
    let held = begun(&house).with_mark(RoleName::Timestamp, burned).with_mark(RoleName::Timestamp, Version::FIRST);

    let next = held.next_timestamp(&after(TIMESTAMP_SECONDS)).unwrap();
    assert_eq!(next.document().version().number(), 42);

    let last = held.with_mark(RoleName::Timestamp, Version::LAST);
    let none = last.next_timestamp(&after(TIMESTAMP_SECONDS)).map(drop).unwrap_err();
    assert_eq!(none, NoPlan::LastVersion(RoleName::Timestamp));
}

#[test]
fn files_that_do_not_belong_together_are_not_whole() {
    let house = House::new();
    let held = begun(&house);
    let whole = |repository: &Repository| repository.check_whole(&gun(), NOW).unwrap_err();
    let differs = |by: RoleName, role: RoleName| NotWhole::Differs { by, role };
    let other = read("targets", &house.signed_targets(2));
    let below = read("targets/a", &file(&targets(1), &[]));

    assert_eq!(whole(&Repository::default()), NotWhole::Missing(RoleName::Root));
    assert_eq!(whole(&held.clone().with(other)), differs(RoleName::Snapshot, RoleName::Targets));
    assert_eq!(whole(&held.clone().with(below)), differs(RoleName::Snapshot, role("targets/a")));
    let snapshot = sign(&held.next_snapshot(&after(60)).unwrap(), &[&house.snapshot]);
    assert_eq!(whole(&held.clone().with(snapshot)), differs(RoleName::Timestamp, RoleName::Snapshot));
    let unsigned = held.next_timestamp(&after(60)).unwrap().document().clone();
    assert_eq!(whole(&held.clone().with(unsigned)), NotWhole::NotMet(NotMet::NoSignatures));
    let another = "registry.example.com/team/other".parse().unwrap();
    assert_eq!(held.check_whole(&another, NOW).unwrap_err(), NotWhole::NoCertificate);
}

#[test]
fn every_kind_of_key_signs_in_its_own_way() {
    let house = House::new();
    let held = begun(&house);
    let document = held.next_timestamp(&after(60)).unwrap().document().clone();
    let small = Signature::new(Algorithm::EcdsaP256Sha256, vec![0x30, 6, 2, 1, 1, 2, 1, 2]).unwrap();
    let bad = Signature::new(Algorithm::EcdsaP256Sha256, vec![1; 64]).unwrap();

    let stamped = document.stamped(&[house.root.key().stamp(&small).unwrap()]).unwrap();
    let short = base64(&[[0; 31].as_slice(), &[1], &[0; 31], &[2]].concat());
    assert!(String::from_utf8_lossy(stamped.raw()).contains(&format!(r#""method":"ecdsa","sig":"{short}""#)));
    assert!(house.root.key().stamp(&bad).is_err());
    for key in [&house.root, &house.targets, &TestKey::p256()] {
        let signed = document.stamped(&[key.stamp(&document)]).unwrap();
        let speakers = Repository::of([read("root", &house.signed_root(1))]);
        assert!(signed.verify(&speakers.authority(&RoleName::Timestamp).unwrap()).is_err());
        assert_eq!(Key::new(key.key().kind().unwrap(), key.key().public().to_vec()).unwrap(), key.key());
    }
    assert!(Key::new(KeyKind::Ed25519, vec![0; 31]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is put and removed, in whatever updates: the server takes each, and shows what a map would hold.
    #[test]
    fn targets_hold_what_was_put_and_not_removed(
        updates in prop::collection::vec(
            prop::collection::vec(("[a-c<&\"\\\\]{1,2}", prop::option::of(any::<u8>())), 0..5), 1..5),
    ) {
        let house = House::new();
        let mut held = begun(&house);
        let mut model = BTreeMap::from([("1.0".to_owned(), 1)]);
        for (index, update) in updates.iter().enumerate() {
            let changes: Vec<Change> = update
                .iter()
                .map(|(name, byte)| byte.map_or(Change::Remove { name: name.clone() }, |byte| put(name, byte)))
                .collect();
            for (name, byte) in update {
                match byte {
                    Some(byte) => drop(model.insert(name.clone(), *byte)),
                    None => drop(model.remove(name)),
                }
            }
            let unsigned = held.next_targets(&RoleName::Targets, &changes, &after(TARGETS_SECONDS)).unwrap();
            held = publish(&house, &held, &[&sign(&unsigned, &[&house.targets])]);

            prop_assert_eq!(&tags(&held, "targets"), &model);
            let version = u32::try_from(index).unwrap() + 2;
            for role in [RoleName::Targets, RoleName::Snapshot, RoleName::Timestamp] {
                prop_assert_eq!(held.file(&role).unwrap().version().number(), version);
            }
        }
    }
}
