//! An older store beside a newer log, and a store of the first format.

use std::path::{Path, PathBuf};

use serde_json::Value;
use trust_tests::program::{Ran, copy};

use super::owner::Owner;
use super::scene::{Door, Plan, Scene};

/// Copies the stopped daemon's store aside.
fn keep_store(scene: &Scene, name: &str) -> PathBuf {
    let kept = scene.daemon.directory().join(name);
    copy(&scene.daemon.data().join("store"), &kept).unwrap();
    kept
}

fn put_store_back(scene: &Scene, kept: &Path) {
    let store = scene.daemon.data().join("store");
    std::fs::remove_dir_all(&store).unwrap();
    copy(kept, &store).unwrap();
}

/// The start stops in two lines: store and log, and what to do.
fn is_refused(scene: &Scene, names: &[&str]) {
    let ran: Ran = scene.daemon.trustd(&["serve"]).unwrap();
    assert_ne!(ran.code, Some(0), "{ran}");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let [.., what, remedy] = &lines[..] else { panic!("two lines: {ran}") };
    for word in ["trustd: ", "store", "log", "put back"].iter().chain(names) {
        assert!(what.contains(word), "{word} is not named: {ran}");
    }
    assert!(remedy.contains("run `trustd recover`"), "{ran}");
}

/// The version of what is current.
fn version(door: &Door, gun: &str, role: &str) -> u64 {
    let answer = door.ask(&format!("GET /v2/{gun}/_trust/tuf/{role}.json"));
    assert_eq!(answer.status, 200, "{role}: {}", answer.text());
    answer.json()["signed"]["version"].as_u64().unwrap()
}

fn status(door: &Door, gun: &str, name: &str) -> u16 {
    door.ask(&format!("GET /v2/{gun}/_trust/tuf/{name}")).status
}

#[test]
fn an_older_store_stops_the_start_and_versions_go_on_behind_what_the_log_knows() {
    let mut scene = Scene::started(&Plan::open());
    let (owner, other) = (Owner::of(&scene, "rolled/back"), Owner::of(&scene, "not/touched"));
    for owner in [&owner, &other] {
        owner.taken(&[("root", &owner.signed_root(1)), ("targets", &owner.signed_targets(1))]);
    }
    scene.daemon.terminate().unwrap();
    let older = keep_store(&scene, "older-store");
    scene.daemon.launch().unwrap();
    for version in 2..=4 {
        owner.taken(&[("targets", &owner.signed_targets(version))]);
    }
    let lost = version(&scene, &owner.gun, "timestamp");
    assert_eq!((lost, version(&scene, &owner.gun, "snapshot")), (4, 4));
    scene.daemon.terminate().unwrap();
    let newer = keep_store(&scene, "newer-store");

    put_store_back(&scene, &older);
    let frames = scene.daemon.data().join("log/entries/00000000000000000000.frames");
    let before = std::fs::read(&frames).unwrap();
    is_refused(&scene, &["version 4 of the timestamp of ex.io/rolled/back"]);
    assert!(before == std::fs::read(&frames).unwrap(), "a start that was refused wrote to the log");
    let recovered = scene.daemon.trustd(&["recover"]).unwrap();

    // What was published is in no log, so not all is well.
    assert_eq!(recovered.code, Some(1), "{recovered}");
    for line in [
        "raised: the timestamp of ex.io/rolled/back goes on behind version 4",
        "raised: the snapshot of ex.io/rolled/back goes on behind version 4",
        "lost: what was published of ex.io/rolled/back",
    ] {
        assert!(recovered.stdout.contains(line), "{line} is not said: {recovered}");
    }
    assert!(!recovered.stdout.contains("not/touched"), "{recovered}");
    scene.daemon.launch().unwrap();
    assert_eq!(version(&scene, &owner.gun, "targets"), 1);
    owner.taken(&[("targets", &owner.signed_targets(5))]);
    assert_eq!((version(&scene, &owner.gun, "timestamp"), version(&scene, &owner.gun, "snapshot")), (5, 5));
    for name in ["2.timestamp.json", "4.timestamp.json", "4.snapshot.json"] {
        assert_eq!(status(&scene, &owner.gun, name), 404, "{name}");
    }
    other.taken(&[("targets", &other.signed_targets(2))]);
    assert_eq!(version(&scene, &other.gun, "timestamp"), 2);
    scene.daemon.restart().unwrap();

    // Neither the store from before the recovery nor the one that was lost comes back unnoticed.
    scene.daemon.terminate().unwrap();
    for other in [&older, &newer] {
        put_store_back(&scene, other);
        is_refused(&scene, &[]);
    }
}

#[test]
fn an_older_store_does_not_bring_back_what_was_deleted() {
    let mut scene = Scene::started(&Plan::open());
    let owner = Owner::of(&scene, "deleted");
    owner.taken(&[("root", &owner.signed_root(1)), ("targets", &owner.signed_targets(1))]);
    scene.daemon.terminate().unwrap();
    let older = keep_store(&scene, "older-store");
    scene.daemon.launch().unwrap();
    assert_eq!(scene.ask(&format!("DELETE /v2/{}/_trust/tuf/", owner.gun)).status, 200);
    scene.daemon.terminate().unwrap();

    put_store_back(&scene, &older);
    is_refused(&scene, &["deletes the trust data of ex.io/deleted"]);
    let recovered = scene.daemon.trustd(&["recover"]).unwrap().ok().unwrap();

    assert!(recovered.stdout.contains("done again: deletion of the trust data of ex.io/deleted"), "{recovered}");
    scene.daemon.launch().unwrap();
    for name in ["root.json", "1.root.json", "timestamp.json"] {
        assert_eq!(status(&scene, &owner.gun, name), 404, "{name}");
    }
    let feed = scene.ask("GET /v2/_trust/changefeed?records=-1").json();
    assert_eq!(feed["records"][0]["Category"], Value::from("deletion"));
    // Whoever begins anew goes on behind it.
    let next = Owner::of(&scene, "deleted");
    next.taken(&[("root", &next.signed_root(1)), ("targets", &next.signed_targets(1))]);
    assert_eq!(version(&scene, &next.gun, "timestamp"), 2);
    scene.daemon.restart().unwrap();
}

/// The format row of a stopped daemon's store, after `change` had its way with it: which format it states.
fn store_format(scene: &Scene, change: Option<u8>) -> u8 {
    const WORD: &[u8] = b"trustd records ";
    let store = sled::Config::default().path(scene.daemon.data().join("store")).flush_every_ms(None).open().unwrap();
    let mut rows = store.scan_prefix(b"\x01f").map(Result::unwrap);
    let (row, value) = rows.next().unwrap();
    assert!(rows.next().is_none());
    let mut value = value.to_vec();
    let at = value.windows(WORD.len()).position(|window| window == WORD).unwrap() + WORD.len() + 3;
    let found = value[at];
    if let Some(format) = change {
        value[at] = format;
        store.insert(row, value).unwrap();
        store.flush().unwrap();
    }
    found
}

/// What was made before there was published trust data differs in this number alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_the_first_format_takes_a_publication_and_is_of_the_second_from_then_on() {
    let mut scene = Scene::new(&Plan::open());
    scene.daemon.trustd(&["init"]).unwrap().ok().unwrap();
    assert_eq!(store_format(&scene, Some(1)), 2);
    scene.daemon.launch().unwrap();
    let user = scene.daemon.caller().await.unwrap();
    let key = user.create("raw/from-before").await.unwrap();
    scene.daemon.terminate().unwrap();
    assert_eq!(store_format(&scene, None), 1, "nothing was published");
    scene.daemon.launch().unwrap();

    let owner = Owner::of(&scene, "later");
    owner.taken(&[("root", &owner.signed_root(1)), ("targets", &owner.signed_targets(1))]);

    scene.daemon.terminate().unwrap();
    assert_eq!(store_format(&scene, None), 2);
    scene.daemon.launch().unwrap();
    assert_eq!(version(&scene, &owner.gun, "timestamp"), 1);
    owner.taken(&[("targets", &owner.signed_targets(2))]);
    let user = scene.daemon.caller().await.unwrap();
    assert_eq!(user.get("raw/from-before").await.unwrap().id, key.id);
    user.sign("raw/from-before", b"as ever").await.unwrap();
}
