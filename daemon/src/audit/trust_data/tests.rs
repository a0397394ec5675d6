//! What the log says of trust data, leaf by leaf.

use super::*;

fn intent(kind: &str, role: &str, version: &str) -> Vec<u8> {
    let subject =
        format!("{{\"name\":\"{role}\",\"reference\":\"r.example/a\",\"type\":\"{kind}\",\"version\":\"{version}\"}}");
    format!("{{\"kind\":\"intent\",\"subject\":{subject}}}").into_bytes()
}

fn deletion(version: &str) -> Vec<u8> {
    let subject = format!("{{\"reference\":\"r.example/a\",\"type\":\"tuf\",\"version\":\"{version}\"}}");
    format!("{{\"kind\":\"intent\",\"subject\":{subject}}}").into_bytes()
}

fn said(version: u64, leaf: u64) -> Option<Said> {
    Some(Said { version: Version::new(version).unwrap(), leaf })
}

#[test]
fn the_highest_version_of_each_role_counts_with_or_without_an_outcome() {
    let mut read = Publications::default();
    let signing = [("snapshot", "2"), ("timestamp", "7"), ("timestamp", "3"), ("snapshot", "4")];
    for (leaf, (role, version)) in (0..).zip(signing) {
        read.begin(leaf, "sign", Some(role), &intent("tuf", role, version));
    }
    read.end(1, false);

    let all: Vec<_> = read.all().collect();
    let gun: Gun = "r.example/a".parse().unwrap();
    assert_eq!(all, [(&gun, &Testimony { snapshot: said(4, 3), timestamp: said(7, 1), deletion: None })]);
}

#[test]
fn a_deletion_counts_when_it_is_done() {
    let mut read = Publications::default();
    read.begin(4, "delete-trust", None, &deletion("5"));
    read.begin(5, "delete-trust", None, &deletion("6"));
    read.begin(6, "delete-trust", None, &deletion("7"));
    read.end(4, true);
    read.end(5, false);

    let all: Vec<_> = read.all().map(|(_, published)| published.deletion).collect();
    assert_eq!(all, [said(5, 4)]);
    // What recovery goes by: somebody wanted it and was allowed to, and whether it was done nobody knows.
    let strictest: Vec<_> = read.strictest().into_values().map(|published| published.deletion).collect();
    assert_eq!(strictest, [said(7, 6)]);
    let version = |leaf| read.deleting(leaf).map(|(_, version)| version.number());
    assert_eq!([4, 5, 6].map(version), [None, None, Some(7)]);
}

#[test]
fn a_proposal_that_was_to_go_is_known_until_its_outcome() {
    let (mut read, mut all) = (Publications::default(), Versions::default());
    let (gun, digest): (Gun, _) = ("r.example/a".parse().unwrap(), Sha256Digest::of(b"files"));
    let subject = |kind| {
        format!("{{\"digest\":\"{digest}\",\"name\":\"uid:7\",\"reference\":\"r.example/a\",\"type\":\"{kind}\"}}")
    };
    for (leaf, operation, kind) in
        [(3, "withdraw", "tuf-proposal"), (4, "discard", "tuf-proposal"), (5, "withdraw", "tuf")]
    {
        let begun = format!("{{\"kind\":\"intent\",\"operation\":\"{operation}\",\"subject\":{}}}", subject(kind));
        read.begin(leaf, operation, None, begun.as_bytes());
        all.read(leaf, begun.as_bytes());
    }
    assert_eq!([3, 4, 5].map(|leaf| read.going(leaf)), [Some((&gun, digest)), Some((&gun, digest)), None]);

    read.end(3, false);
    read.end(4, true);

    assert_eq!([3, 4].map(|leaf| read.going(leaf)), [None, None]);
    assert_eq!((read.all().count(), all.guns().count()), (0, 0));
}

fn sign(read: &mut Publications, all: &mut Versions, leaf: u64, purpose: &str, (role, version): (&str, &str)) {
    let entry = intent("tuf", role, version);
    read.begin(leaf, "sign", Some(purpose), &entry);
    let begun = format!("{{\"kind\":\"intent\",\"operation\":\"sign\",\"purpose\":\"{purpose}\",");
    let entry = String::from_utf8(entry).unwrap().replace("{\"kind\":\"intent\",", &begun);
    all.read(leaf, entry.as_bytes());
}

fn delete(read: &mut Publications, all: &mut Versions, leaf: u64, version: &str) {
    let entry = deletion(version);
    read.begin(leaf, "delete-trust", None, &entry);
    let begun = "{\"kind\":\"intent\",\"operation\":\"delete-trust\",";
    all.read(leaf, String::from_utf8(entry).unwrap().replace("{\"kind\":\"intent\",", begun).as_bytes());
    read.end(leaf, true);
    let done = format!("{{\"kind\":\"outcome\",\"intent\":{leaf},\"result\":\"done\"}}");
    all.read(leaf + 1, done.as_bytes());
}

fn roles(highest: &Highest) -> Vec<(String, u32)> {
    highest.iter().map(|(role, said)| (role.to_string(), said.version.number())).collect()
}

fn owners(read: &Publications) -> Vec<(String, u32)> {
    read.owners().flat_map(|(_, highest)| roles(highest)).collect()
}

#[test]
fn of_owners_files_those_since_the_last_timestamp_are_kept_and_a_recovery_reads_all() {
    let (mut read, mut all) = (Publications::default(), Versions::default());
    for (leaf, purpose, role, version) in [
        (1, "root", "root", "1"),
        (2, "targets", "targets", "1"),
        (3, "snapshot", "snapshot", "1"),
        (4, "timestamp", "timestamp", "1"),
        (5, "delegation", "targets/qa", "2"),
        (6, "delegation", "targets/qa", "1"),
        (7, "targets", "targets", "2"),
    ] {
        sign(&mut read, &mut all, leaf, purpose, (role, version));
    }
    let gun: Gun = "r.example/a".parse().unwrap();
    let named = |roles: &[(&str, u32)]| roles.iter().map(|(role, n)| ((*role).to_owned(), *n)).collect::<Vec<_>>();

    assert_eq!(owners(&read), named(&[("targets", 2), ("targets/qa", 2)]));
    let whole = [("snapshot", 1), ("targets", 2), ("targets/qa", 2), ("timestamp", 1)];
    let mut found = roles(&all.of(&gun, true));
    found.sort();
    assert_eq!(found, named(&whole));
    sign(&mut read, &mut all, 8, "timestamp", ("timestamp", "2"));
    assert!(owners(&read).is_empty());
}

/// Another owner counts from 1 again; whoever goes on behind the deletion does not.
#[test]
fn a_deletion_ends_what_a_store_that_knows_of_it_has_to_know() {
    let (mut read, mut all) = (Publications::default(), Versions::default());
    let gun: Gun = "r.example/a".parse().unwrap();
    sign(&mut read, &mut all, 1, "snapshot", ("snapshot", "7"));
    sign(&mut read, &mut all, 2, "timestamp", ("timestamp", "7"));
    sign(&mut read, &mut all, 3, "targets", ("targets", "7"));
    delete(&mut read, &mut all, 4, "7");
    assert!(owners(&read).is_empty());
    let (_, told) = read.all().next().unwrap();
    assert_eq!(told, &Testimony { snapshot: None, timestamp: said(7, 2), deletion: said(7, 4) });

    sign(&mut read, &mut all, 6, "targets", ("targets", "1"));

    assert_eq!(owners(&read), [("targets".to_owned(), 1)]);
    let version = |knows| all.of(&gun, knows).get(&RoleName::Targets).map(|said| said.version.number());
    assert_eq!((version(true), version(false)), (Some(1), Some(7)));
    assert_eq!(all.guns().collect::<Vec<_>>(), [&gun]);
}

#[test]
fn other_keys_files_elsewhere_and_what_does_not_read_say_nothing() {
    let mut read = Publications::default();
    read.begin(0, "sign", Some("image"), &intent("tuf", "timestamp", "1"));
    read.begin(1, "sign", None, &intent("tuf", "timestamp", "1"));
    read.begin(2, "sign", Some("timestamp"), &intent("tuf-elsewhere", "timestamp", "1"));
    for version in ["0", "-1", "x", "4294967296"] {
        read.begin(3, "sign", Some("timestamp"), &intent("tuf", "timestamp", version));
    }
    read.begin(4, "sign", Some("timestamp"), b"{\"kind\":\"intent\"}");
    read.begin(5, "sign", Some("timestamp"), b"{");

    read.begin(6, "sign", Some("root"), &intent("tuf", "root", "1"));
    read.begin(7, "sign", Some("targets"), &intent("tuf", "root", "1"));

    assert_eq!((read.all().count(), read.owners().count()), (0, 0));
}
