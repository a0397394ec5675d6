//! The file of the index: a start believes it for exactly the store that is there, and reads every row behind it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use tonic::Code;
use trust_proto::v1::UseChange;
use trust_tests::raw::Caller;
use trust_tests::{Daemon, Setup, wait};

const WITH_THE_FILE: &str = "unsealed stage=\"custody\" rows=\"to be read\"";
const WITHOUT: &str = "unsealed stage=\"custody\" rows=\"read\"";
const READ_SINCE: &str = "every row of the store is as it was left";

async fn caller(daemon: &Daemon) -> Caller {
    Caller::new(daemon.channel().await.unwrap())
}

fn file(daemon: &Daemon) -> PathBuf {
    daemon.data().join("index")
}

/// How often each kind of start was made so far: with the file, and without.
fn starts(daemon: &Daemon) -> (usize, usize) {
    let log = daemon.log();
    (log.matches(WITH_THE_FILE).count(), log.matches(WITHOUT).count())
}

fn until_logged(daemon: &Daemon, what: &str, times: usize) {
    let logged = || Ok((daemon.log().matches(what).count() >= times).then_some(()));
    wait::until(what, Duration::from_secs(60), logged).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_after_a_clean_end_or_an_idle_crash_takes_the_index_from_its_file() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let user = caller(&daemon).await;
    for name in ["raw/on", "raw/off"] {
        user.create(name).await.unwrap();
    }
    user.change("raw/off", UseChange::Disable).await.unwrap();
    assert_eq!(starts(&daemon), (0, 1));

    daemon.terminate().unwrap();
    assert_eq!(std::fs::metadata(file(&daemon)).unwrap().permissions().mode() & 0o7777, 0o600);
    daemon.launch().unwrap();
    assert_eq!(starts(&daemon), (1, 1));
    until_logged(&daemon, READ_SINCE, 1);
    let user = caller(&daemon).await;
    user.sign("raw/on", b"after a start with the file").await.unwrap();
    assert_eq!(user.sign("raw/off", b"x").await.unwrap_err().code(), Code::FailedPrecondition);

    // Signing changes no row: the file is still that of the last change.
    daemon.kill().unwrap();
    daemon.launch().unwrap();
    assert_eq!(starts(&daemon), (2, 1));

    let user = caller(&daemon).await;
    user.create("raw/new").await.unwrap();
    user.change("raw/on", UseChange::Disable).await.unwrap();
    daemon.kill().unwrap();
    daemon.launch().unwrap();
    assert_eq!(starts(&daemon), (2, 2));
    let user = caller(&daemon).await;
    user.sign("raw/new", b"x").await.unwrap();
    assert_eq!(user.sign("raw/on", b"x").await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_file_brings_no_key_back() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let user = caller(&daemon).await;
    for name in ["raw/off", "raw/bad", "raw/gone"] {
        user.create(name).await.unwrap();
    }
    daemon.terminate().unwrap();
    let older = std::fs::read(file(&daemon)).unwrap();
    daemon.launch().unwrap();
    let user = caller(&daemon).await;
    user.change("raw/off", UseChange::Disable).await.unwrap();
    user.distrust("raw/bad").await.unwrap();
    user.change("raw/gone", UseChange::Retire).await.unwrap();
    daemon.terminate().unwrap();

    std::fs::write(file(&daemon), &older).unwrap();
    daemon.launch().unwrap();

    assert_eq!(starts(&daemon), (1, 2));
    let user = caller(&daemon).await;
    for name in ["raw/off", "raw/gone"] {
        assert_eq!(user.sign(name, b"x").await.unwrap_err().code(), Code::FailedPrecondition, "{name}");
    }
    assert_eq!(user.get("raw/bad").await.unwrap().trust(), trust_proto::v1::Trust::Distrusted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_altered_behind_the_file_seals_the_daemon_and_stops_the_next_start() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let user = caller(&daemon).await;
    let key = user.create("raw/key").await.unwrap();
    daemon.terminate().unwrap();
    {
        let store = sled::Config::default().path(daemon.data().join("store")).flush_every_ms(None).open().unwrap();
        // The state of the key: rows of trustd begin with 1, and those of states with `s`.
        let (row, value) = store.scan_prefix(b"\x01s").next().unwrap().unwrap();
        let mut value = value.to_vec();
        *value.last_mut().unwrap() ^= 1;
        store.insert(row, value).unwrap();
        store.flush().unwrap();
    }

    daemon.launch().unwrap();

    assert_eq!(starts(&daemon), (1, 1));
    until_logged(&daemon, "the daemon seals itself", 1);
    until_logged(&daemon, "degraded: sealed", 1);
    assert!(!file(&daemon).exists());
    let user = caller(&daemon).await;
    assert!(user.status().await.unwrap().sealed);
    assert_eq!(user.sign("raw/key", b"x").await.unwrap_err().code(), Code::Unavailable);
    daemon.terminate().unwrap();
    let again = daemon.trustd(&["serve"]).unwrap();
    assert_ne!(again.code, Some(0), "{again}");
    assert!(again.stderr.contains(&format!("the state of key {}", key.id)), "{again}");
}
