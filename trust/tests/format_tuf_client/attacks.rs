//! What a server may try: older files, mixed ones, forged, expired and endless ones.

use serde_json::{Value, json};
use trust::format::tuf::client::{Client, Distrust, Pin, TIMESTAMP_BYTES_MAX, Wanted};
use trust::format::tuf::{NotMet, RoleName};

use super::workshop::{House, NOW, TestKey, file, read, role, targets, written};
use super::{distrust, first, generation, gun, refresh, seal, seen, served, timestamp};

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
