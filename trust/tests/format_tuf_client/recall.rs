//! What was seen on another visit: it counts as far as those have signed it who speak now.

use trust::format::tuf::client::Distrust;
use trust::format::tuf::{Repository, RoleName};

use super::workshop::{House, TestKey, delegating, file, role, targets};
use super::{Served, first, generation, refresh, seen, served};

const RELEASES: &str = "targets/releases";

/// A generation whose releases, in the version `signed`, are a delegate's.
fn delegated(house: &House, version: u32, delegate: &TestKey, signed: u32) -> Served {
    let main = file(&delegating(version, RELEASES, &[delegate], 1), &[&house.targets]);
    let releases = file(&targets(signed), &[delegate]);
    served(house, version, house.signed_root(1), main, &[(RELEASES, &releases)])
}

/// What a visitor keeps of this.
fn kept(files: &Served) -> Repository {
    seen(files).into_cache()
}

#[test]
fn what_was_seen_elsewhere_is_not_gone_behind() {
    let house = House::new();
    let (old, new) = (generation(&house, 1), generation(&house, 2));

    let mut client = first(&old);
    client.recall(&kept(&new));
    let behind = Distrust::Rollback { role: RoleName::Timestamp, found: 1, held: 2 };
    assert_eq!(refresh(&mut client, &old).unwrap_err(), behind);
    refresh(&mut client, &new).unwrap();

    // The older of the two does not count, nor what comes when files are current.
    let mut client = seen(&new);
    client.recall(&kept(&old));
    assert_eq!(refresh(&mut client, &old).unwrap_err(), behind);
    refresh(&mut client, &new).unwrap();
    client.recall(&kept(&generation(&house, 3)));
    assert!(client.target(&RoleName::Targets, "v2").is_some());
}

#[test]
fn what_others_signed_does_not_count() {
    let house = House::new();
    let old = generation(&house, 1);

    // One server has both keys, of snapshot and of timestamp: where one is another, both may begin anew.
    let other = House { timestamp: TestKey::ed25519(9), root: TestKey::root(), ..House::new() };
    let mut client = first(&old);
    client.recall(&kept(&generation(&other, 2)));
    client.take_timestamp(&old["timestamp"]).unwrap();
    let behind = Distrust::Rollback { role: RoleName::Targets, found: 1, held: 2 };
    assert_eq!(refresh(&mut client, &old).unwrap_err(), behind);

    let stranger = House { targets: TestKey::ed25519(8), ..other };
    let mut client = first(&old);
    client.recall(&kept(&generation(&stranger, 2)));
    refresh(&mut client, &old).unwrap();
}

#[test]
fn a_delegate_is_not_gone_behind_as_long_as_he_is_delegated_to() {
    let house = House::new();
    let (delegate, another) = (TestKey::ed25519(6), TestKey::ed25519(7));
    let with = |version, delegate: &TestKey, signed| delegated(&house, version, delegate, signed);

    let mut client = first(&with(1, &delegate, 1));
    client.recall(&kept(&with(2, &delegate, 5)));
    let behind = Distrust::Rollback { role: role(RELEASES), found: 4, held: 5 };
    assert_eq!(refresh(&mut client, &with(3, &delegate, 4)).unwrap_err(), behind);
    let mut client = seen(&with(3, &another, 1));
    client.recall(&kept(&with(2, &delegate, 5)));
    refresh(&mut client, &with(4, &another, 2)).unwrap();
}

#[test]
fn whoever_is_delegated_to_since_begins_anew_also_where_it_was_seen_elsewhere() {
    let house = House::new();
    let (delegate, another) = (TestKey::ed25519(6), TestKey::ed25519(7));
    let with = |version, delegate: &TestKey, signed| delegated(&house, version, delegate, signed);

    let mut client = seen(&with(1, &delegate, 9));
    client.recall(&kept(&with(3, &another, 2)));
    let behind = Distrust::Rollback { role: role(RELEASES), found: 1, held: 2 };
    assert_eq!(refresh(&mut client.clone(), &with(4, &another, 1)).unwrap_err(), behind);
    refresh(&mut client, &with(4, &another, 2)).unwrap();
}
