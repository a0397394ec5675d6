//! The standard dialect: repositories that others published, those that tough's tests refuse, and attacks by name.
//!
//! The repositories lie beside this one, may be absent in a user's clone, and must be there in CI.
#![cfg(feature = "formats")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;
use serde_json::{Value, json};
use trust::Sha256Digest;
use trust::format::tuf::standard::{Body, Client, Distrust, Finding, Kind, Metadata, file_name};
use trust::format::tuf::{Digester, canonical};

/// 2026-11-26T17:34:00Z
const NOW: i64 = 1_795_714_440;
const LATER: &str = "2027-11-26T17:34:00Z";

fn vectors(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors").join(name);
    if path.is_dir() {
        return Some(path);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs {name}");
    println!("{name} is not here: its cases did not run");
    None
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The file of a role in a repository, in the version that is named.
fn fetch(metadata: &Path, consistent: bool, role: &str, version: u32) -> Vec<u8> {
    let name = file_name(role);
    bytes(&metadata.join(if consistent { format!("{version}.{name}.json") } else { format!("{name}.json") }))
}

/// A whole visit to a repository in a directory, and what it finds for a path.
fn visit(metadata: &Path, root: &Path, now: i64, path: &str) -> Result<Finding, Distrust> {
    let mut client = Client::begin(&bytes(root), now)?;
    loop {
        let next = metadata.join(format!("{}.root.json", client.root().version().number() + 1));
        if !next.is_file() {
            break;
        }
        client.take_root(&bytes(&next))?;
    }
    client.take_timestamp(&bytes(&metadata.join("timestamp.json")))?;
    let Body::Root(said) = client.root().body() else { panic!("no root") };
    let consistent = said.consistent_snapshot();
    if let Some(meta) = client.wanted_snapshot()? {
        let version = meta.version().number();
        client.take_snapshot(&fetch(metadata, consistent, "snapshot", version))?;
    }
    loop {
        match client.find(path)? {
            Finding::Needs { role, parent, file } => {
                let bytes = fetch(metadata, consistent, &role, file.version().number());
                client.take_targets(&role, &parent, &bytes)?;
            }
            found => return Ok(found),
        }
    }
}

#[test]
fn a_repository_of_tuf_on_ci_is_followed_to_its_artifact() {
    let Some(repository) = vectors("tuf-conformance-static/tuf-on-ci-0.11") else { return };
    let metadata = repository.join("metadata");
    // 2025-02-09T09:17:23Z, as its own file says.
    let found = visit(&metadata, &repository.join("initial_root.json"), 1_739_092_643, "delegatedrole/artifact");

    let artifact = "targets/delegatedrole/45f337ee451b4c098d121d09cc224bacc7794503ac58a47a78cfe7ebefb7fab3.artifact";
    let Ok(Finding::Target(target)) = found else { panic!("{found:?}") };
    assert!(target.is_of(&bytes(&repository.join(artifact))));
    assert!(!target.is_of(b""));
    let parts = |bytes: &[u8]| {
        let mut thing = Digester::default();
        bytes.chunks(7).for_each(|part| thing.take(part));
        target.is_that(thing)
    };
    let artifact = bytes(&repository.join(artifact));
    assert!(parts(&artifact));
    assert!(!parts(&artifact[1..]) && !parts(&[&artifact[..], b"x"].concat()));
    let nothing = visit(&metadata, &repository.join("initial_root.json"), 1_739_092_643, "delegatedrole/other");
    assert_eq!(nothing, Ok(Finding::NotSigned));
}

#[test]
fn roots_that_tough_refuses_are_refused() {
    let Some(tough) = vectors("tough-tuf-negative") else { return };
    let begin = |name: &str| Client::begin(&bytes(&tough.join(name)), NOW).map(drop);

    for name in ["duplicate-keyid/root.json", "duplicate-sigs/root.json", "duplicate-sig-keys/root.json"] {
        assert!(matches!(begin(name), Err(Distrust::Malformed(_))), "{name}: {:?}", begin(name));
    }
    for name in [
        "mismatched-root-json-keyids/root.json",
        "no-root-json-signatures/root.json",
        "invalid-root-json-signature/root.json",
        "cross-sign-root/1.root.json",
    ] {
        assert_eq!(begin(name), Err(Distrust::NotSigned("root".to_owned())), "{name}");
    }
    for name in [
        "simple-rsa/root.json",
        "hex-encoded-ecdsa-sig-keys/root.json",
        "pem-encoded-ecdsa-sig-keys/root.json",
        "ecdsa-new-type-sig-keys/root.json",
        "expired-root-json-signature/root.json",
    ] {
        assert_eq!(begin(name), Ok(()), "{name}");
    }
    let mut expired = Client::begin(&bytes(&tough.join("expired-root-json-signature/root.json")), NOW).unwrap();
    let timestamp = bytes(&tough.join("rotated-root/timestamp.json"));
    assert!(matches!(expired.take_timestamp(&timestamp), Err(Distrust::Expired { role, .. }) if role == "root"));
}

#[test]
fn toughs_repositories_are_visited() {
    let Some(tough) = vectors("tough-tuf-negative") else { return };
    let go = |directory: &str, path: &str| {
        let metadata = tough.join(directory);
        visit(&metadata, &metadata.join("1.root.json"), NOW, path)
    };
    let found = |answer: Result<Finding, Distrust>| matches!(answer, Ok(Finding::Target(_)));

    for (directory, path) in [
        ("tuf-reference-impl/metadata", "file1.txt"),
        ("tuf-reference-impl/metadata", "file3.txt"),
        ("consistent-snapshots/metadata", "data1.txt"),
        // Paths are names, and compared as they are.
        ("safe-target-paths/metadata", "foo/../bar/../baz/../data1.txt"),
        ("dubious-role-names/metadata", "1.txt"),
    ] {
        assert!(found(go(directory, path)), "{directory} {path}: {:?}", go(directory, path));
    }
    for (directory, path) in [
        ("safe-target-paths/metadata", "data1.txt"),
        // Signed by a role that may not sign for it.
        ("safe-target-paths/metadata", "../delegated/foo/../subdir/data3.txt"),
        // Three roles are asked, each by a name that is no path.
        ("dubious-role-names/metadata", "foo"),
        ("rotated-root", "file1.txt"),
    ] {
        assert_eq!(go(directory, path), Ok(Finding::NotSigned), "{directory} {path}");
    }
    let expired = go("expired-repository/metadata", "file1.txt").unwrap_err();
    assert!(matches!(expired, Distrust::Expired { role, .. } if role == "timestamp"));
}

#[test]
fn names_of_roles_lead_nowhere_else() {
    assert_eq!(file_name("../../path/like/dubious"), "..%2F..%2Fpath%2Flike%2Fdubious");
    assert_eq!(file_name("\u{1f37a}/30"), "%F0%9F%8D%BA%2F30");
    assert_eq!(file_name("a-B_9.~"), "a-B_9.~");
}

/// A key by whatever name.
struct TestKey {
    name: String,
    signing: SigningKey,
}

impl TestKey {
    fn new(seed: u8) -> Self {
        Self { name: format!("key {seed}"), signing: SigningKey::from_bytes(&[seed; 32]) }
    }

    fn entry(&self) -> Value {
        let public = hex::encode(self.signing.verifying_key().as_bytes());
        json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}})
    }

    fn line(&self, signed: &Value) -> Value {
        let text = serde_json::to_vec(signed).unwrap();
        let covered = canonical(&trust::format::json::read("test", &text, 1 << 20).unwrap());
        json!({"keyid": self.name, "sig": hex::encode(self.signing.sign(&covered).to_bytes())})
    }
}

fn file(signed: &Value, keys: &[&TestKey]) -> Vec<u8> {
    let lines: Vec<Value> = keys.iter().map(|key| key.line(signed)).collect();
    serde_json::to_vec(&json!({"signed": signed, "signatures": lines})).unwrap()
}

/// The keys of a repository: one for each top role.
struct House {
    root: TestKey,
    targets: TestKey,
    snapshot: TestKey,
    timestamp: TestKey,
}

fn keys(listed: &[&TestKey]) -> Value {
    listed.iter().map(|key| (key.name.clone(), key.entry())).collect::<serde_json::Map<_, _>>().into()
}

fn role(listed: &[&TestKey], threshold: u32) -> Value {
    json!({"keyids": listed.iter().map(|key| &key.name).collect::<Vec<_>>(), "threshold": threshold})
}

fn frame(kind: &str, version: u32) -> Value {
    json!({"_type": kind, "spec_version": "1.0.31", "version": version, "expires": LATER})
}

impl House {
    fn new() -> Self {
        let [root, targets, snapshot, timestamp] = [1, 2, 3, 4].map(TestKey::new);
        Self { root, targets, snapshot, timestamp }
    }

    fn root_of(&self, version: u32) -> Value {
        let mut signed = frame("root", version);
        signed["consistent_snapshot"] = json!(true);
        signed["keys"] = keys(&[&self.root, &self.targets, &self.snapshot, &self.timestamp]);
        signed["roles"] = json!({"root": role(&[&self.root], 1), "targets": role(&[&self.targets], 1),
            "snapshot": role(&[&self.snapshot], 1), "timestamp": role(&[&self.timestamp], 1)});
        signed
    }

    fn root(&self, version: u32) -> Vec<u8> {
        file(&self.root_of(version), &[&self.root])
    }

    /// A timestamp that names a snapshot by version only.
    fn timestamp(&self, version: u32, snapshot: u32) -> Vec<u8> {
        let mut signed = frame("timestamp", version);
        signed["meta"] = json!({"snapshot.json": {"version": snapshot}});
        file(&signed, &[&self.timestamp])
    }

    fn snapshot(&self, version: u32, files: &[(&str, u32)]) -> Vec<u8> {
        let mut signed = frame("snapshot", version);
        signed["meta"] = files
            .iter()
            .map(|(name, version)| (format!("{name}.json"), json!({"version": version})))
            .collect::<serde_json::Map<_, _>>()
            .into();
        file(&signed, &[&self.snapshot])
    }

    /// A client that has seen a timestamp and a snapshot of these versions.
    fn seen(&self, timestamp: u32, snapshot: u32, files: &[(&str, u32)]) -> Client {
        let mut client = Client::begin(&self.root(1), NOW).unwrap();
        assert!(client.recall("timestamp", &self.timestamp(timestamp, snapshot)));
        assert!(client.recall("snapshot", &self.snapshot(snapshot, files)));
        client
    }

    /// A client that is ready to be asked for targets.
    fn ready(&self, files: &[(&str, u32)]) -> Client {
        let mut client = Client::begin(&self.root(1), NOW).unwrap();
        client.take_timestamp(&self.timestamp(1, 1)).unwrap();
        client.take_snapshot(&self.snapshot(1, files)).unwrap();
        client
    }
}

fn targets(version: u32, paths: &[&str]) -> Value {
    let mut signed = frame("targets", version);
    let target = json!({"length": 1, "hashes": {"sha256": "11".repeat(32)}});
    signed["targets"] =
        paths.iter().map(|path| ((*path).to_owned(), target.clone())).collect::<serde_json::Map<_, _>>().into();
    signed
}

/// A delegation of all paths below `d/`.
fn delegation(name: &str, key: &TestKey, terminating: bool) -> Value {
    let mut line = role(&[key], 1);
    line["name"] = json!(name);
    line["paths"] = json!(["d/*"]);
    line["terminating"] = json!(terminating);
    line
}

/// Answers what a client asks from these files until it knows.
fn find(client: &mut Client, files: &BTreeMap<&str, Vec<u8>>, path: &str) -> Result<(Finding, Vec<String>), Distrust> {
    let mut asked = Vec::new();
    loop {
        match client.find(path)? {
            Finding::Needs { role, parent, .. } => {
                client.take_targets(&role, &parent, &files[role.as_str()])?;
                asked.push(role);
            }
            found => return Ok((found, asked)),
        }
    }
}

fn rollback(role: &str, found: u32, held: u32) -> Distrust {
    Distrust::Rollback { role: role.to_owned(), found, held }
}

#[test]
fn rollback_of_timestamp_snapshot_and_targets() {
    let house = House::new();
    let files = [("targets", 5), ("a", 3)];

    let older = house.seen(4, 4, &files).take_timestamp(&house.timestamp(3, 4));
    assert_eq!(older, Err(rollback("timestamp", 3, 4)));
    let older = house.seen(4, 4, &files).take_timestamp(&house.timestamp(5, 3));
    assert_eq!(older, Err(rollback("snapshot", 3, 4)));
    let take = |snapshot: &[u8]| {
        let mut client = house.seen(4, 4, &files);
        client.take_timestamp(&house.timestamp(5, 5)).unwrap();
        client.take_snapshot(snapshot)
    };
    assert_eq!(take(&house.snapshot(5, &[("targets", 4), ("a", 3)])), Err(rollback("targets", 4, 5)));
    assert_eq!(take(&house.snapshot(5, &[("targets", 5), ("a", 2)])), Err(rollback("a", 2, 3)));
    assert_eq!(take(&house.snapshot(5, &[("targets", 6)])), Err(Distrust::Hidden("a".to_owned())));
    assert_eq!(take(&house.snapshot(4, &files)), Err(Distrust::Differs("snapshot".to_owned())));
    assert_eq!(take(&house.snapshot(5, &[("targets", 6), ("a", 3), ("b", 1)])), Ok(()));
}

#[test]
fn what_was_seen_and_is_still_current_is_not_fetched_again() {
    let house = House::new();
    let mut client = house.seen(4, 4, &[("targets", 1)]);

    client.take_timestamp(&house.timestamp(4, 4)).unwrap();

    assert_eq!(client.wanted_snapshot(), Ok(None));
    assert!(matches!(client.find("x"), Ok(Finding::Needs { role, .. }) if role == "targets"));
}

#[test]
fn changed_keys_of_the_timestamp_let_its_versions_begin_anew() {
    let house = House::new();
    let moved = House { timestamp: TestKey::new(44), ..House::new() };
    let mut client = Client::begin(&house.root(1), NOW).unwrap();
    client.take_root(&moved.root(2)).unwrap();

    assert!(!client.recall("timestamp", &house.timestamp(0x7fff_fffe, 7)));
    assert_eq!(client.take_timestamp(&moved.timestamp(1, 1)), Ok(()));
}

#[test]
fn roots_are_followed_one_by_one_under_the_old_and_the_new_key() {
    let house = House::new();
    let new = House { root: TestKey::new(11), ..House::new() };
    let few = Err(Distrust::NotSigned("root".to_owned()));
    let take = |bytes: &[u8]| Client::begin(&house.root(1), NOW).unwrap().take_root(bytes);

    assert_eq!(take(&file(&new.root_of(2), &[&house.root, &new.root])), Ok(()));
    assert_eq!(take(&file(&new.root_of(2), &[&house.root])), few);
    assert_eq!(take(&file(&new.root_of(2), &[&new.root])), few);
    for version in [1, 3] {
        assert_eq!(take(&house.root(version)), Err(Distrust::NotNext { held: 1, found: version }));
    }
    let mut late = Client::begin(&house.root(1), NOW).unwrap();
    late.take_timestamp(&house.timestamp(1, 1)).unwrap();
    assert_eq!(late.take_root(&house.root(2)), Err(Distrust::OutOfOrder("root".to_owned())));
}

#[test]
fn freeze() {
    let house = House::new();
    let later = NOW + 366 * 86_400;
    let expired = |answer: Result<(), Distrust>, name: &str| {
        assert!(matches!(answer, Err(Distrust::Expired { role, .. }) if role == name), "{name}");
    };

    let mut client = Client::begin(&house.root(1), later).unwrap();
    expired(client.take_timestamp(&house.timestamp(1, 1)), "root");
    let aged = |bytes: &[u8], key: &TestKey| {
        let mut signed: Value = serde_json::from_slice(bytes).unwrap();
        signed["signed"]["expires"] = json!("2026-11-26T17:34:00Z");
        file(&signed["signed"], &[key])
    };
    let mut client = Client::begin(&house.root(1), NOW).unwrap();
    expired(client.take_timestamp(&aged(&house.timestamp(1, 1), &house.timestamp)), "timestamp");
    let mut client = Client::begin(&house.root(1), NOW).unwrap();
    client.take_timestamp(&house.timestamp(1, 1)).unwrap();
    let snapshot = house.snapshot(1, &[("targets", 1)]);
    expired(client.take_snapshot(&aged(&snapshot, &house.snapshot)), "snapshot");
    client.take_snapshot(&snapshot).unwrap();
    let top = file(&targets(1, &[]), &[&house.targets]);
    expired(client.take_targets("targets", "root", &aged(&top, &house.targets)), "targets");
}

#[test]
fn lengths_and_hashes_that_are_said_are_held() {
    let house = House::new();
    let snapshot = house.snapshot(1, &[("targets", 1)]);
    let take = |meta: Value| {
        let mut signed = frame("timestamp", 1);
        signed["meta"] = json!({"snapshot.json": meta});
        let mut client = Client::begin(&house.root(1), NOW).unwrap();
        client.take_timestamp(&file(&signed, &[&house.timestamp])).unwrap();
        client.take_snapshot(&snapshot)
    };
    let differs = Err(Distrust::Differs("snapshot".to_owned()));
    let hash = Sha256Digest::of(&snapshot).to_hex();

    assert_eq!(take(json!({"version": 1, "length": snapshot.len(), "hashes": {"sha256": hash}})), Ok(()));
    assert_eq!(take(json!({"version": 1, "length": snapshot.len() + 1})), differs);
    assert_eq!(take(json!({"version": 1, "hashes": {"sha256": "00".repeat(32)}})), differs);
    assert_eq!(take(json!({"version": 1, "hashes": {"sha256": hash, "sha512": "00".repeat(64)}})), differs);
    assert_eq!(take(json!({"version": 2})), differs);
}

#[test]
fn one_key_under_two_names_counts_once() {
    let house = House::new();
    let again = TestKey { name: "another name".to_owned(), ..TestKey::new(1) };
    let other = TestKey::new(9);
    let begin = |second: &TestKey| {
        let mut signed = house.root_of(1);
        signed["keys"][&second.name] = second.entry();
        signed["roles"]["root"] = role(&[&house.root, second], 2);
        Client::begin(&file(&signed, &[&house.root, second]), NOW).map(drop)
    };

    assert_eq!(begin(&other), Ok(()));
    assert_eq!(begin(&again), Err(Distrust::NotSigned("root".to_owned())));
}

#[test]
fn delegations_are_asked_in_order_and_a_terminating_one_is_the_last() {
    let house = House::new();
    let [a, b] = [21, 22].map(TestKey::new);
    let named = [("targets", 1), ("a", 1), ("b", 1)];
    let top = |terminating| {
        let mut signed = targets(1, &["x"]);
        let roles = [delegation("a", &a, terminating), delegation("b", &b, false)];
        signed["delegations"] = json!({"keys": keys(&[&a, &b]), "roles": roles});
        file(&signed, &[&house.targets])
    };
    let files = |terminating| {
        BTreeMap::from([
            ("targets", top(terminating)),
            ("a", file(&targets(1, &[]), &[&a])),
            ("b", file(&targets(1, &["d/1", "e/1"]), &[&b])),
        ])
    };

    let (found, asked) = find(&mut house.ready(&named), &files(false), "d/1").unwrap();
    assert!(matches!(found, Finding::Target(_)));
    assert_eq!(asked, ["targets", "a", "b"]);
    let (found, asked) = find(&mut house.ready(&named), &files(true), "d/1").unwrap();
    assert_eq!((found, asked.len()), (Finding::NotSigned, 2));
    // It signs for what is not its to sign.
    let (found, asked) = find(&mut house.ready(&named), &files(false), "e/1").unwrap();
    assert_eq!((found, asked.len()), (Finding::NotSigned, 1));
    let hidden = find(&mut house.ready(&named[..2]), &files(false), "d/1").unwrap_err();
    assert_eq!(hidden, Distrust::Hidden("b".to_owned()));
    let forged = BTreeMap::from([("targets", top(false)), ("a", file(&targets(1, &["d/1"]), &[&b]))]);
    let refused = find(&mut house.ready(&named), &forged, "d/1").unwrap_err();
    assert_eq!(refused, Distrust::NotSigned("a".to_owned()));
}

#[test]
fn a_role_in_a_diamond_is_verified_under_whoever_leads_to_it() {
    let house = House::new();
    let [a, b, own, other] = [21, 22, 23, 24].map(TestKey::new);
    let named = [("targets", 1), ("a", 1), ("b", 1), ("shared", 1)];
    let patterned = |name: &str, key: &TestKey, pattern: &str| {
        let mut line = delegation(name, key, false);
        line["paths"] = json!([pattern]);
        line
    };
    let mut top = targets(1, &[]);
    top["delegations"] =
        json!({"keys": keys(&[&a, &b]), "roles": [patterned("a", &a, "d/1"), patterned("b", &b, "d/2")]});
    let below = |shared: &TestKey, signer: &TestKey| {
        let mut signed = targets(1, &[]);
        signed["delegations"] = json!({"keys": keys(&[shared]), "roles": [delegation("shared", shared, false)]});
        file(&signed, &[signer])
    };
    let files = BTreeMap::from([
        ("targets", file(&top, &[&house.targets])),
        ("a", below(&own, &a)),
        ("b", below(&other, &b)),
        ("shared", file(&targets(1, &["d/1", "d/2"]), &[&own])),
    ]);
    let mut client = house.ready(&named);

    assert!(matches!(find(&mut client, &files, "d/1").unwrap().0, Finding::Target(_)));
    assert_eq!(find(&mut client, &files, "d/2").unwrap_err(), Distrust::NotSigned("shared".to_owned()));
}

#[test]
fn roles_that_delegate_in_a_circle_or_without_end_are_left() {
    let house = House::new();
    let key = TestKey::new(21);
    let names: Vec<String> = (0..40).map(|index| format!("r{index}")).collect();
    let mut named = vec![("targets", 1)];
    named.extend(names.iter().map(|name| (name.as_str(), 1)));
    let to = |signed: &mut Value, next: &str| {
        signed["delegations"] = json!({"keys": keys(&[&key]), "roles": [delegation(next, &key, false)]});
    };
    let mut files = BTreeMap::new();
    let mut top = targets(1, &[]);
    to(&mut top, "r0");
    files.insert("targets", file(&top, &[&house.targets]));
    for (index, name) in names.iter().enumerate() {
        let mut signed = targets(1, &[]);
        to(&mut signed, &names[(index + 1) % names.len()]);
        files.insert(name.as_str(), file(&signed, &[&key]));
    }

    let (found, asked) = find(&mut house.ready(&named), &files, "d/1").unwrap();

    assert_eq!((found, asked.len()), (Finding::NotSigned, 32));
}

#[test]
fn a_bin_signs_for_the_paths_whose_hashes_fall_into_it() {
    let house = House::new();
    let key = TestKey::new(21);
    let bin = format!("bin-{}", &Sha256Digest::of(b"d/1").to_hex()[..1]);
    let mut top = targets(1, &[]);
    let mut bins = role(&[&key], 1);
    bins["bit_length"] = json!(4);
    bins["name_prefix"] = json!("bin");
    top["delegations"] = json!({"keys": keys(&[&key]), "succinct_roles": bins});
    let files = BTreeMap::from([
        ("targets", file(&top, &[&house.targets])),
        (bin.as_str(), file(&targets(1, &["d/1"]), &[&key])),
    ]);

    let (found, asked) = find(&mut house.ready(&[("targets", 1), (&bin, 1)]), &files, "d/1").unwrap();

    assert!(matches!(found, Finding::Target(_)));
    assert_eq!(asked, ["targets", &bin]);
}

#[test]
fn files_that_are_none_are_refused() {
    let house = House::new();
    let read = |change: &dyn Fn(&mut Value)| {
        let mut signed = house.root_of(1);
        change(&mut signed);
        Metadata::read(Kind::Root, &file(&signed, &[&house.root])).map(drop)
    };

    assert_eq!(read(&|_| {}), Ok(()));
    for spec in ["2.0", "0.9", "10", ""] {
        assert!(read(&|signed| signed["spec_version"] = json!(spec)).is_err(), "{spec}");
    }
    for version in [0_i64, -1, 0x7fff_ffff, 1 << 53] {
        let mut signed = house.root_of(1);
        signed["version"] = json!(version);
        let bytes = serde_json::to_vec(&json!({"signed": signed, "signatures": []})).unwrap();
        assert!(Metadata::read(Kind::Root, &bytes).is_err(), "{version}");
    }
    assert!(read(&|signed| signed["_type"] = json!("Root")).is_err());
    assert!(read(&|signed| signed["roles"]["root"]["threshold"] = json!(0)).is_err());
    assert!(read(&|signed| signed["roles"]["root"]["keyids"] = json!(["a", "a"])).is_err());
    assert!(read(&|signed| drop(signed["roles"].as_object_mut().unwrap().remove("timestamp"))).is_err());
    for name in ["root", "targets", "snapshot", "timestamp", ""] {
        let mut signed = targets(1, &[]);
        let line = delegation(name, &house.root, false);
        signed["delegations"] = json!({"keys": keys(&[&house.root]), "roles": [line]});
        assert!(Metadata::read(Kind::Targets, &file(&signed, &[])).is_err(), "{name}");
    }
    for change in [json!({"paths": null}), json!({"path_hash_prefixes": ["0"]}), json!({"terminating": null})] {
        let mut line = delegation("a", &house.root, false);
        line.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let mut signed = targets(1, &[]);
        signed["delegations"] = json!({"keys": keys(&[&house.root]), "roles": [line]});
        assert!(Metadata::read(Kind::Targets, &file(&signed, &[])).is_err(), "{change}");
    }
}

proptest! {
    #[test]
    fn whatever_the_bytes_reading_answers(
        at in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(), junk in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let house = House::new();
        let mut bytes = house.root(1);
        let at = at.index(bytes.len());
        let end = at + cut.index(bytes.len() - at);
        bytes.splice(at..end, junk);
        for kind in [Kind::Root, Kind::Snapshot, Kind::Targets, Kind::Timestamp] {
            if let Ok(read) = Metadata::read(kind, &bytes) {
                prop_assert_eq!(read.raw(), &bytes[..]);
            }
        }
        if let Ok(client) = Client::begin(&bytes, NOW) {
            prop_assert_eq!(client.root().version().number(), 1);
        }
    }
}
