//! Repositories that were deleted and are begun again.

use serde_json::json;
use trust::format::tuf::publish::Refusal;
use trust::format::tuf::{Repository, RoleName, Version};

use super::workshop::{House, file, read, role};
use super::{changed, outdated, publish, publish_where};

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
    // What the server has used up stays used up, for the day on which it makes them again.
    assert_eq!(update.repository().mark(&RoleName::Snapshot), Version::new(30));
}

#[test]
fn who_begins_anew_with_snapshots_by_a_key_of_the_servers_goes_on_behind_its_versions() {
    let house = House::new();
    let buried = Repository::buried(read("root", &House::new().signed_root(5)))
        .with_mark(RoleName::Snapshot, Version::new(30).unwrap())
        .with_mark(RoleName::Timestamp, Version::new(40).unwrap());
    let (root, targets) = (house.signed_root(1), house.signed_targets(1));
    let files: [(&str, &[u8]); 2] = [("root", &root), ("targets", &targets)];
    let answer = |version| {
        let snapshot = house.signed_snapshot(version, &files);
        publish_where(&[&house.snapshot], &buried, &[files[0], files[1], ("snapshot", &snapshot)])
    };

    for version in [1, 30] {
        assert_eq!(answer(version).unwrap_err(), Refusal::Outdated(RoleName::Snapshot), "{version}");
    }

    let update = answer(31).unwrap();
    assert_eq!(update.repository().mark(&RoleName::Snapshot), Version::new(31));
    assert_eq!(update.repository().mark(&RoleName::Timestamp), Version::new(40));
    // Another key of the server's is none of this repository's.
    let snapshot = house.signed_snapshot(1, &files);
    let parts: [(&str, &[u8]); 3] = [files[0], files[1], ("snapshot", &snapshot)];
    assert!(publish_where(&[&house.timestamp], &buried, &parts).is_ok());
}

#[test]
fn who_goes_on_after_a_deletion_goes_on_behind_all_snapshots_there_were() {
    let house = House::new();
    let last = house.signed_root(5);
    let buried = Repository::buried(read("root", &last)).with_mark(RoleName::Snapshot, Version::new(30).unwrap());
    let targets = house.signed_targets(1);
    let files: [(&str, &[u8]); 2] = [("root", &last), ("targets", &targets)];

    for own in [&[][..], &[&house.snapshot]] {
        let answer = |version| {
            let snapshot = house.signed_snapshot(version, &files);
            publish_where(own, &buried, &[files[0], files[1], ("snapshot", &snapshot)])
        };

        assert_eq!(answer(30).unwrap_err(), Refusal::Outdated(RoleName::Snapshot));
        assert_eq!(changed(&answer(31).unwrap()), ["root 5", "targets 1", "snapshot 31"]);
    }
}
