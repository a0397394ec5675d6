//! Whatever a server shows.

use std::collections::BTreeMap;

use proptest::prelude::*;
use trust::format::tuf::client::{Client, Pin};
use trust::format::tuf::{Repository, RoleName};

use super::workshop::{House, NOW, TestKey, file, read};
use super::{Served, begin, first, generation, gun, refresh, seen, timestamp};

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
