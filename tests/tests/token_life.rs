//! What becomes of key objects in a token: destroyed with their keys, listed as orphans, and never lost, whatever ends
//! the daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use trust_proto::v1::keys_client::KeysClient;
use trust_proto::v1::{Algorithm, CreateKeyRequest, Purpose};
use trust_tests::rounds::{random_below, rounds};
use trust_tests::token::{LABEL, MODULE, Token};
use trust_tests::{Daemon, Setup, Trustctl, wait};

const NOW: &str = "[keys]\ndestroy_after_seconds = 0\n";

fn json(user: &Trustctl, arguments: &[&str]) -> Value {
    let ran = user.run(&[&["--output", "json"], arguments].concat()).unwrap().ok().unwrap();
    serde_json::from_str(&ran.stdout).unwrap()
}

fn destroy(user: &Trustctl, name: &str) {
    user.run(&["key", "retire", name]).unwrap().ok().unwrap();
    user.run(&["key", "destroy", name, "--yes"]).unwrap().ok().unwrap();
}

#[test]
fn a_destroyed_key_leaves_the_token_and_no_other_does() {
    let token = Token::new().unwrap();
    let daemon = Daemon::with(&token.setup_as(MODULE, LABEL, NOW)).unwrap();
    let user = daemon.user().unwrap();
    user.create("gone", &["--token", "hsm"]).unwrap();
    user.run(&["key", "rotate", "gone"]).unwrap().ok().unwrap();
    user.create("stays", &["--token", "hsm"]).unwrap();
    assert_eq!(token.private_keys().unwrap().len(), 3);
    assert_eq!(json(&user, &["key", "show", "gone"])["custodian"], "hsm");

    destroy(&user, "gone");
    wait::soon("both versions leave the token", || {
        let shown = json(&user, &["key", "show", "gone"]);
        shown["use"] == "destroyed" && shown["object_pending"] == false
    })
    .unwrap();

    let kept = json(&user, &["key", "show", "stays"])["id"].as_str().unwrap().to_owned();
    let left = token.private_keys().unwrap();
    assert!(left.len() == 1 && left.values().all(|label| label.contains(&kept)), "{left:?}");
    assert_eq!(
        token.pkcs11_tool(&["--list-objects", "--type", "pubkey"]).unwrap().ok().unwrap().stdout.matches("ID:").count(),
        1
    );
    assert!(user.signs("stays").unwrap());
    let shown = json(&user, &["key", "show", "gone"]);
    assert_eq!((&shown["custodian"], &shown["shred_pending"]), (&"hsm".into(), &false.into()), "{shown}");
    let log = user.run(&["audit", "log", "--output", "json"]).unwrap().ok().unwrap().stdout;
    assert_eq!(log.matches("remove-object").count(), 2, "{log}");
}

#[test]
fn the_objects_of_a_destroyed_key_wait_for_a_token_that_is_away() {
    let token = Token::new().unwrap();
    let mut daemon = Daemon::with(&token.setup_as(MODULE, LABEL, NOW)).unwrap();
    let user = daemon.user().unwrap();
    user.create("gone", &["--token", "hsm"]).unwrap();
    token.take_away().unwrap();
    wait::soon("the token is missed", || user.status().unwrap().contains("hsm: unavailable")).unwrap();

    destroy(&user, "gone");
    wait::soon("destroyed", || json(&user, &["key", "show", "gone"])["use"] == "destroyed").unwrap();
    let shown = user.run(&["key", "show", "gone"]).unwrap().ok().unwrap().stdout;
    assert!(shown.contains("object pending in token hsm"), "{shown}");
    daemon.restart().unwrap();
    token.put_back().unwrap();

    wait::soon("gone from the token", || json(&user, &["key", "show", "gone"])["object_pending"] == false).unwrap();
    assert_eq!(token.private_keys().unwrap().len(), 0);
}

#[test]
fn what_is_no_key_of_the_daemon_is_listed_and_left_alone() {
    let token = Token::new().unwrap();
    let daemon = Daemon::with(&token.setup_as(MODULE, LABEL, "")).unwrap();
    let user = daemon.user().unwrap();
    user.create("ours", &["--token", "hsm"]).unwrap();
    let none = user.run(&["hsm", "orphans"]).unwrap().ok().unwrap();
    assert!(none.stdout.contains("no orphans"), "{none}");

    let foreign = ["--keypairgen", "--key-type", "EC:prime256v1", "--id", "0102", "--label", "theirs"];
    token.pkcs11_tool(&foreign).unwrap().ok().unwrap();

    let orphans = json(&user, &["hsm", "orphans", "hsm"])["orphans"].clone();
    let classes: Vec<&str> =
        orphans.as_array().unwrap().iter().map(|orphan| orphan["class"].as_str().unwrap()).collect();
    assert_eq!(classes, ["privkey", "pubkey"], "{orphans}");
    for orphan in orphans.as_array().unwrap() {
        assert_eq!((&orphan["id"], &orphan["label"]), (&"0102".into(), &"theirs".into()), "{orphan}");
        assert_eq!((&orphan["key_type"], &orphan["looks_ours"]), (&"ec".into(), &false.into()), "{orphan}");
    }
    assert!(token.private_keys().unwrap().contains_key("0102"));
    let refused = user.run(&["hsm", "orphans", "other"]).unwrap().exited(1).unwrap();
    assert!(refused.stderr.contains("no token with the name other"), "{refused}");
    // What could not be looked at is not free of orphans.
    token.take_away().unwrap();
    wait::soon("the token is missed", || user.status().unwrap().contains("hsm: unavailable")).unwrap();
    let missed = user.run(&["hsm", "orphans"]).unwrap().exited(3).unwrap();
    assert!(missed.stderr.contains("not all was looked at: hsm"), "{missed}");
}

fn request(name: &str) -> CreateKeyRequest {
    CreateKeyRequest {
        name: name.to_owned(),
        purpose: Purpose::Raw.into(),
        algorithm: Algorithm::EcdsaP256Sha256.into(),
        token: "hsm".to_owned(),
        ..CreateKeyRequest::default()
    }
}

/// 100 kills in `make test-long`: each costs a start of the daemon.
fn kills() -> u32 {
    rounds(15, 100)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_key_is_lost_and_every_object_is_a_records_or_an_orphan() {
    let token = Token::new().unwrap();
    let setup = Setup { policy: Setup::ALLOW_ALL.to_owned(), ..token.setup_as(MODULE, LABEL, "") };
    let mut daemon = Daemon::with(&setup).unwrap();
    let acknowledged: Arc<Mutex<Vec<String>>> = Arc::default();
    for round in 0..kills() {
        let channel = daemon.channel().await.unwrap();
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (mut keys, acknowledged) = (KeysClient::new(channel.clone()), Arc::clone(&acknowledged));
                tokio::spawn(async move {
                    for number in 0..1000 {
                        let name = format!("k/{round}-{writer}-{number}");
                        if keys.create_key(request(&name)).await.is_err() {
                            return;
                        }
                        acknowledged.lock().unwrap().push(name);
                    }
                })
            })
            .collect();
        let instant = Duration::from_micros(random_below(400_000));
        tokio::time::sleep(instant).await; // the random instant is what is tested
        daemon.kill().unwrap();
        for writer in writers {
            writer.await.unwrap();
        }
        daemon.launch().unwrap();
    }

    let user = daemon.user().unwrap();
    user.until_the_token_serves().unwrap();
    let listed = json(&user, &["key", "list"])["keys"].as_array().unwrap().clone();
    let names: BTreeSet<&str> = listed.iter().map(|key| key["name"].as_str().unwrap()).collect();
    let lost: Vec<String> =
        acknowledged.lock().unwrap().iter().filter(|name| !names.contains(name.as_str())).cloned().collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(!names.is_empty());
    let caller = daemon.caller().await.unwrap();
    for name in &names {
        caller.sign(name, b"it is there").await.unwrap();
    }
    let orphans = json(&user, &["hsm", "orphans"])["orphans"].clone();
    let orphans: BTreeSet<&str> =
        orphans.as_array().unwrap().iter().map(|orphan| orphan["id"].as_str().unwrap()).collect();
    let objects = token.private_keys().unwrap();
    let of_records: Vec<&String> =
        objects.iter().filter(|(id, _)| !orphans.contains(id.as_str())).map(|(_, label)| label).collect();
    // Each key has one object that is no orphan, and each object that is no orphan is of a key.
    let mut expected: Vec<String> =
        listed.iter().map(|key| format!("trustd {}", key["id"].as_str().unwrap())).collect();
    let mut found: Vec<String> = of_records.iter().map(|label| label.split('@').next().unwrap().to_owned()).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    println!("{} kills, {} keys, {} orphans' objects", kills(), names.len(), orphans.len());
}

#[test]
fn an_adoption_that_a_kill_interrupts_is_a_key_or_an_orphan_as_before() {
    let token = Token::new().unwrap();
    let mut daemon = Daemon::with(&token.setup_as(MODULE, LABEL, "")).unwrap();
    let user = daemon.user().unwrap();
    user.until_the_token_serves().unwrap();
    let (mut adopted, mut left) = (0, 0);
    for round in 0..kills() / 3 {
        let (name, id) = (format!("theirs-{round}"), format!("0a{round:02x}"));
        let made = ["--keypairgen", "--key-type", "EC:prime256v1", "--usage-sign", "--id", &id, "--label", "theirs"];
        token.pkcs11_tool(&made).unwrap().ok().unwrap();
        let adopt = ["key", "adopt", &name, "--purpose", "release-blob", "--token", "hsm", "--id", &id];
        let ran = std::thread::scope(|scope| {
            let asking = scope.spawn(|| user.run(&adopt).unwrap());
            std::thread::sleep(Duration::from_micros(random_below(150_000))); // the random instant is what is tested
            daemon.kill().unwrap();
            asking.join().unwrap()
        });
        daemon.launch().unwrap();
        user.until_the_token_serves().unwrap();

        let is_key = user.run(&["key", "show", &name]).unwrap().code == Some(0);
        let orphans = json(&user, &["hsm", "orphans"])["orphans"].to_string();
        assert_eq!(orphans.contains(&format!("\"{id}\"")), !is_key, "{orphans}");
        assert!(is_key || ran.code != Some(0), "acknowledged and lost: {ran}");
        if is_key {
            adopted += 1;
        } else {
            left += 1;
            user.run(&adopt).unwrap().ok().unwrap();
        }
        assert!(user.signs(&name).unwrap());
    }
    assert_eq!(token.private_keys().unwrap().len(), usize::try_from(adopted + left).unwrap());
    println!("{adopted} killed behind the adoption, {left} before it");
}
