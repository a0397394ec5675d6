//! Repositories that others published, and those that tough's tests refuse.

use std::path::Path;

use trust::format::tuf::Digester;
use trust::format::tuf::standard::{Body, Client, Distrust, Finding, file_name};

use super::beside::beside;
use super::house::NOW;

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
    let Some(repository) = beside("vectors/tuf-conformance-static/tuf-on-ci-0.11") else { return };
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
    let Some(tough) = beside("vectors/tough-tuf-negative") else { return };
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
    let Some(tough) = beside("vectors/tough-tuf-negative") else { return };
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
