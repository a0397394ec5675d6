//! The file of the index: a start believes it for exactly the store that is there, and reads every row behind it.
//! What becomes of it at a kill or in a power cut changes no answer. Needs root, strace and loop devices.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::Duration;

use tonic::Code;
use trust_proto::v1::keys_client::KeysClient;
use trust_proto::v1::{CreateKeyRequest, UseChange};
use trust_tests::disk::FileSystem;
use trust_tests::flush::{Flush, bend_of, kill_at};
use trust_tests::raw::create_request;
use trust_tests::{Daemon, Disk, Setup, wait};

const WITH_THE_FILE: &str = "unsealed stage=\"custody\" rows=\"to be read\"";
const WITHOUT: &str = "unsealed stage=\"custody\" rows=\"read\"";
const READ_SINCE: &str = "every row of the store is as it was left";

fn file(daemon: &Daemon) -> PathBuf {
    daemon.data().join("index")
}

/// How often each kind of start was made so far: with the file, and without.
fn starts(daemon: &Daemon) -> (usize, usize) {
    let log = daemon.log();
    (log.matches(WITH_THE_FILE).count(), log.matches(WITHOUT).count())
}

/// Keys that fill more than one write of the file.
const KEYS: usize = 40;
/// Those of them that are asked about.
const ASKED: usize = 16;

/// Makes keys in several states, and one whose request may be sent again.
async fn fill(daemon: &Daemon) {
    let user = daemon.caller().await.unwrap();
    for number in 0..KEYS {
        user.create(&format!("raw/{number}")).await.unwrap();
    }
    create_again(daemon).await.unwrap();
    user.rotate("raw/0").await.unwrap();
    user.change("raw/1", UseChange::Disable).await.unwrap();
    user.distrust("raw/2").await.unwrap();
    user.change("raw/3", UseChange::Retire).await.unwrap();
}

/// The id of the key that this request makes, or made.
async fn create_again(daemon: &Daemon) -> Result<String, Code> {
    let request = CreateKeyRequest { idempotency_key: "again".to_owned(), ..create_request("raw/again") };
    let answer = KeysClient::new(daemon.channel().await.unwrap()).create_key(request).await;
    answer.map(|answer| answer.into_inner().key.unwrap().id).map_err(|status| status.code())
}

/// What the daemon says of keys, whether they sign, and what a retried request is answered.
async fn answers(daemon: &Daemon) -> Vec<String> {
    let user = daemon.caller().await.unwrap();
    let mut answers = vec![format!("{:?}", create_again(daemon).await)];
    for number in 0..ASKED {
        let name = format!("raw/{number}");
        let key = user.get(&name).await.unwrap();
        let signed = user.sign(&name, b"x").await.map(|_| ()).map_err(|status| status.code());
        answers.push(format!("{key:?} {signed:?}"));
    }
    answers
}

fn until_logged(daemon: &Daemon, what: &str, times: usize) {
    let logged = || Ok((daemon.log().matches(what).count() >= times).then_some(()));
    wait::until(what, Duration::from_secs(60), logged).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_after_a_clean_end_or_an_idle_crash_takes_the_index_from_its_file() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let user = daemon.caller().await.unwrap();
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
    let user = daemon.caller().await.unwrap();
    user.sign("raw/on", b"after a start with the file").await.unwrap();
    assert_eq!(user.sign("raw/off", b"x").await.unwrap_err().code(), Code::FailedPrecondition);

    // Signing changes no row: the file is still that of the last change.
    daemon.kill().unwrap();
    daemon.launch().unwrap();
    assert_eq!(starts(&daemon), (2, 1));

    let user = daemon.caller().await.unwrap();
    user.create("raw/new").await.unwrap();
    user.change("raw/on", UseChange::Disable).await.unwrap();
    daemon.kill().unwrap();
    daemon.launch().unwrap();
    assert_eq!(starts(&daemon), (2, 2));
    let user = daemon.caller().await.unwrap();
    user.sign("raw/new", b"x").await.unwrap();
    assert_eq!(user.sign("raw/on", b"x").await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_file_brings_no_key_back() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let user = daemon.caller().await.unwrap();
    for name in ["raw/off", "raw/bad", "raw/gone"] {
        user.create(name).await.unwrap();
    }
    daemon.terminate().unwrap();
    let older = std::fs::read(file(&daemon)).unwrap();
    daemon.launch().unwrap();
    let user = daemon.caller().await.unwrap();
    user.change("raw/off", UseChange::Disable).await.unwrap();
    user.distrust("raw/bad").await.unwrap();
    user.change("raw/gone", UseChange::Retire).await.unwrap();
    daemon.terminate().unwrap();

    std::fs::write(file(&daemon), &older).unwrap();
    daemon.launch().unwrap();

    assert_eq!(starts(&daemon), (1, 2));
    let user = daemon.caller().await.unwrap();
    for name in ["raw/off", "raw/gone"] {
        assert_eq!(user.sign(name, b"x").await.unwrap_err().code(), Code::FailedPrecondition, "{name}");
    }
    assert_eq!(user.get("raw/bad").await.unwrap().trust(), trust_proto::v1::Trust::Distrusted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_altered_behind_the_file_seals_the_daemon_and_stops_the_next_start() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let user = daemon.caller().await.unwrap();
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
    let user = daemon.caller().await.unwrap();
    assert!(user.status().await.unwrap().sealed);
    assert_eq!(user.sign("raw/key", b"x").await.unwrap_err().code(), Code::Unavailable);
    daemon.terminate().unwrap();
    let again = daemon.trustd(&["serve"]).unwrap();
    assert_ne!(again.code, Some(0), "{again}");
    assert!(again.stderr.contains(&format!("the state of key {}", key.id)), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_became_of_the_file_each_start_answers_as_without_it() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    fill(&daemon).await;
    daemon.terminate().unwrap();
    let older = std::fs::read(file(&daemon)).unwrap();
    daemon.launch().unwrap();
    daemon.caller().await.unwrap().change("raw/9", UseChange::Disable).await.unwrap();
    let expected = answers(&daemon).await;
    daemon.terminate().unwrap();
    let whole = std::fs::read(file(&daemon)).unwrap();
    let mut other = Daemon::with(&Setup::allowing_raw()).unwrap();
    fill(&other).await;
    other.terminate().unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        Some(bytes)
    };
    let cut = |at: usize| Some(whole[..at].to_vec());
    let middle = whole.len() / 2;
    let damages = [
        ("removed", None),
        ("empty", cut(0)),
        ("cut in its head", cut(40)),
        ("cut in the middle", cut(middle)),
        ("cut before its last byte", cut(whole.len() - 1)),
        ("half of it zeros", Some([&whole[..middle], &vec![0; whole.len() - middle]].concat())),
        ("a bit of its format flipped", flipped(14)),
        ("a bit of its name flipped", flipped(20)),
        ("a bit of a length flipped", flipped(34)),
        ("a bit of a key flipped", flipped(middle)),
        ("its last bit flipped", flipped(whole.len() - 1)),
        ("twice behind each other", Some(whole.repeat(2))),
        ("older than the rows", Some(older)),
        ("of another store", Some(std::fs::read(file(&other)).unwrap())),
    ];
    let (with, mut without) = starts(&daemon);

    for (what, bytes) in damages {
        std::fs::remove_file(file(&daemon)).unwrap_or_default();
        if let Some(bytes) = bytes {
            std::fs::write(file(&daemon), bytes).unwrap();
        }
        daemon.launch().unwrap();
        without += 1;
        assert_eq!(starts(&daemon), (with, without), "{what}");
        assert_eq!(answers(&daemon).await, expected, "{what}");
        daemon.kill().unwrap();
    }

    // The control: the same store under the whole file.
    std::fs::write(file(&daemon), &whole).unwrap();
    daemon.launch().unwrap();
    assert_eq!(starts(&daemon), (with + 1, without));
    assert_eq!(answers(&daemon).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_step_of_writing_the_file_changes_no_answer() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    fill(&daemon).await;
    daemon.restart().unwrap();
    let new = file(&daemon).with_extension("new");
    let strace = daemon.directory().join("strace.log");
    let steps = [("openat", 1), ("write", 1), ("write", 2), ("fsync", 1), ("/^rename", 1)];

    for (round, (call, nth)) in steps.into_iter().enumerate() {
        daemon.caller().await.unwrap().change(&format!("raw/{}", 10 + round), UseChange::Disable).await.unwrap();
        let expected = answers(&daemon).await;
        let (with, without) = starts(&daemon);
        let _tracer = kill_at(daemon.id().unwrap(), call, nth, &new, &strace).unwrap();
        assert_eq!(daemon.terminate().unwrap().signal(), Some(9), "{call} {nth}");
        let written = std::fs::metadata(&new).map_or(0, |left| left.len());
        let half = std::fs::metadata(file(&daemon)).unwrap().len() / 2;
        match (call, nth) {
            ("openat" | "write", 1) => assert_eq!(written, 0, "{call}"),
            ("write", _) => assert!(written > 0 && written < half, "{written} of twice {half}"),
            _ => assert!(written > half, "{call}: {written} of twice {half}"),
        }

        daemon.launch().unwrap();

        assert_eq!(starts(&daemon), (with, without + 1), "{call} {nth}");
        assert_eq!(answers(&daemon).await, expected, "{call} {nth}");
    }
    // What was left of it is written over.
    let (with, without) = starts(&daemon);
    daemon.restart().unwrap();
    assert_eq!(starts(&daemon), (with + 1, without));
    assert!(!new.exists());
}

/// The last start took the index from its file.
fn last_start_took_it(daemon: &Daemon) -> bool {
    let log = daemon.log();
    log.rfind(WITH_THE_FILE) > log.rfind(WITHOUT)
}

async fn a_power_cut_after_the_end_changes_no_answer(file_system: FileSystem) {
    let mut disk = Disk::new(file_system, 512).unwrap();
    let mut daemon = Daemon::with(&Setup { below: Some(disk.path()), ..Setup::allowing_raw() }).unwrap();
    std::process::Command::new("sync").arg("-f").arg(daemon.configuration()).status().unwrap();
    fill(&daemon).await;
    let expected = answers(&daemon).await;
    daemon.terminate().unwrap();
    disk.cut().unwrap();
    disk.back().unwrap();
    daemon.launch().unwrap();
    assert!(last_start_took_it(&daemon), "the file was durable: {}", daemon.log());
    assert_eq!(answers(&daemon).await, expected);

    daemon.caller().await.unwrap().change("raw/9", UseChange::Disable).await.unwrap();
    let expected = answers(&daemon).await;
    let new = file(&daemon).with_extension("new");
    let tracer = bend_of(daemon.id().unwrap(), Flush::Lies, &new, &disk.path().join("strace.log")).unwrap();
    daemon.terminate().unwrap();
    drop(tracer);
    disk.cut().unwrap();
    disk.back().unwrap();
    let left = std::fs::read(file(&daemon)).unwrap_or_default();
    daemon.launch().unwrap();
    assert_eq!(answers(&daemon).await, expected);
    println!("{file_system:?}: {} bytes were left of the file, believed: {}", left.len(), last_start_took_it(&daemon));
    daemon.terminate().unwrap();
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_after_the_end_changes_no_answer_on_ext4() {
    a_power_cut_after_the_end_changes_no_answer(FileSystem::Ext4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_after_the_end_changes_no_answer_on_xfs() {
    a_power_cut_after_the_end_changes_no_answer(FileSystem::Xfs).await;
}
