//! What a client believes of a server that says what it likes.
#![cfg(feature = "formats")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the workshop serves several tests")]

#[path = "format_tuf_client/attacks.rs"]
mod attacks;
mod beside;
#[path = "format_tuf_client/delegates.rs"]
mod delegates;
#[path = "format_tuf_client/random.rs"]
mod random;
#[path = "format_tuf_client/recall.rs"]
mod recall;
#[path = "format_tuf_client/roots.rs"]
mod roots;
#[path = "tuf/workshop.rs"]
mod workshop;

use std::collections::{BTreeMap, VecDeque};

use serde_json::json;
use trust::format::tuf::client::{Client, Distrust, Pin, Wanted};
use trust::format::tuf::{Document, Gun, RoleName};

use beside::beside;
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
fn a_visit_to_docker_own_repository() {
    let Some(meta) = beside("spec/notary/samples/meta") else { return };
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
