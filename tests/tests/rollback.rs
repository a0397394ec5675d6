//! An older store or log put back (D17): the start stops and names both; `trustd recover` does again what restricts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::path::{Path, PathBuf};

use tonic::Code;
use trust_proto::v1::{Trust, Use, UseChange};
use trust_tests::ledger::Ledger;
use trust_tests::program::{Ran, copy};
use trust_tests::{Daemon, Setup};

const PASSPHRASE: &str = "correct horse battery staple";

/// Copies `part` of the stopped daemon's data aside.
fn keep(daemon: &Daemon, part: &str, name: &str) -> PathBuf {
    let kept = daemon.directory().join(name);
    copy(&daemon.data().join(part), &kept).unwrap();
    kept
}

/// Puts a copy in the place of `part`.
fn put_back(daemon: &Daemon, part: &str, kept: &Path) {
    std::fs::remove_dir_all(daemon.data().join(part)).unwrap();
    copy(kept, &daemon.data().join(part)).unwrap();
}

/// The start stops in two lines: store and log, and what to do.
fn is_refused(daemon: &Daemon) -> Ran {
    let ran = daemon.trustd(&["serve"]).unwrap();
    assert_ne!(ran.code, Some(0), "{ran}");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let [.., what, remedy] = &lines[..] else { panic!("two lines: {ran}") };
    for word in ["trustd: ", "store", "log", "put back"] {
        assert!(what.contains(word), "{word} is not named: {ran}");
    }
    assert!(remedy.contains("run `trustd recover`"), "{ran}");
    ran
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_store_stops_the_start_and_recovery_does_again_what_restricts() {
    let setup = Setup { more: "[keys]\ndestroy_after_seconds = 3600\n".to_owned(), ..Setup::allowing_raw() };
    let mut daemon = Daemon::with(&setup).unwrap();
    let user = daemon.caller().await.unwrap();
    for name in ["off", "on", "old", "bad", "gone", "kept", "turned"] {
        user.create(&format!("raw/{name}")).await.unwrap();
    }
    user.change("raw/on", UseChange::Disable).await.unwrap();
    daemon.terminate().unwrap();
    let older = keep(&daemon, "store", "older-store");
    daemon.launch().unwrap();
    let user = daemon.caller().await.unwrap();
    user.change("raw/off", UseChange::Disable).await.unwrap();
    user.change("raw/on", UseChange::Enable).await.unwrap();
    user.change("raw/old", UseChange::Retire).await.unwrap();
    user.distrust("raw/bad").await.unwrap();
    user.change("raw/gone", UseChange::Retire).await.unwrap();
    let scheduled = user.change("raw/gone", UseChange::Destroy).await.unwrap().destroy_at_unix_seconds;
    user.change("raw/kept", UseChange::Retire).await.unwrap();
    user.change("raw/kept", UseChange::Destroy).await.unwrap();
    user.change("raw/kept", UseChange::CancelDestroy).await.unwrap();
    user.rotate("raw/turned").await.unwrap();
    let lost = user.create("raw/lost").await.unwrap();
    let ledger = Ledger::default();
    ledger.remember_checkpoint(&daemon.channel().await.unwrap()).await.unwrap();
    daemon.terminate().unwrap();
    let newer = keep(&daemon, "store", "newer-store");

    put_back(&daemon, "store", &older);
    let before = std::fs::read(daemon.data().join("log/entries/00000000000000000000.frames")).unwrap();
    is_refused(&daemon);
    let after = std::fs::read(daemon.data().join("log/entries/00000000000000000000.frames")).unwrap();
    assert!(before == after, "a start that was refused wrote to the log");
    let recovered = daemon.trustd(&["recover"]).unwrap();

    // Something is lost, so the exit code says that not all is well; the rest is done again.
    assert_eq!(recovered.code, Some(1), "{recovered}");
    for line in [
        "done again: disable of key",
        "done again: distrust of key",
        "done again: retire of key",
        "done again: destroy of key",
        "not done again: key",
        &format!("lost: key {}", lost.id),
        "lost: version 2 of key",
    ] {
        assert!(recovered.stdout.contains(line), "{line} is not said: {recovered}");
    }
    daemon.launch().unwrap();
    let user = daemon.caller().await.unwrap();
    let state = async |name: &str| user.get(&format!("raw/{name}")).await.unwrap().r#use();
    assert_eq!(state("off").await, Use::Disabled);
    assert_eq!(state("on").await, Use::Disabled, "recovery widened");
    assert_eq!(state("old").await, Use::Retired);
    assert_eq!(user.get("raw/bad").await.unwrap().trust(), Trust::Distrusted);
    assert_eq!(user.get("raw/gone").await.unwrap().destroy_at_unix_seconds, scheduled);
    assert_eq!(state("kept").await, Use::Retired);
    assert_eq!(user.get("raw/lost").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(user.sign("raw/off", b"no").await.unwrap_err().code(), Code::FailedPrecondition);
    user.change("raw/on", UseChange::Enable).await.unwrap();
    user.sign("raw/on", b"yes").await.unwrap();
    assert_eq!(user.rotate("raw/turned").await.unwrap().versions.len(), 2);
    // The log went on: what a client saw before is still the beginning of it.
    ledger.check_all(&daemon.channel().await.unwrap()).await.unwrap();
    let again = daemon.restart();
    again.unwrap();

    // Neither the store from before the recovery nor the one that was lost comes back unnoticed.
    daemon.terminate().unwrap();
    for other in [&older, &newer] {
        put_back(&daemon, "store", other);
        is_refused(&daemon);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_log_stops_the_start_and_no_recovery_invents_what_is_missing() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    daemon.caller().await.unwrap().create("raw/one").await.unwrap();
    daemon.terminate().unwrap();
    let older = keep(&daemon, "log", "older-log");
    daemon.launch().unwrap();
    let user = daemon.caller().await.unwrap();
    user.create("raw/two").await.unwrap();
    user.sign("raw/two", b"evidence").await.unwrap();
    daemon.terminate().unwrap();
    let newer = keep(&daemon, "log", "newer-log");

    put_back(&daemon, "log", &older);
    is_refused(&daemon);
    let recovered = daemon.trustd(&["recover"]).unwrap();

    assert_ne!(recovered.code, Some(0), "{recovered}");
    assert!(recovered.words().contains("cannot be made again"), "{recovered}");
    is_refused(&daemon);
    put_back(&daemon, "log", &newer);
    daemon.launch().unwrap();
    daemon.caller().await.unwrap().sign("raw/two", b"more").await.unwrap();
}

/// The store's anchor covers what keys went through; a signature since then stands in the log alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_leaves_its_checkpoint_promised_stops_the_start() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let user = daemon.caller().await.unwrap();
    user.create("raw/one").await.unwrap();
    for turn in 0..4_u8 {
        user.sign("raw/one", &[turn]).await.unwrap();
    }
    Ledger::default().remember_checkpoint(&daemon.channel().await.unwrap()).await.unwrap();
    daemon.terminate().unwrap();
    let entries = keep(&daemon, "log/entries", "whole-entries");
    let segment = std::fs::read_dir(daemon.data().join("log/entries")).unwrap().next().unwrap().unwrap().path();
    let file = std::fs::OpenOptions::new().write(true).open(&segment).unwrap();
    file.set_len(file.metadata().unwrap().len() - 700).unwrap();

    let ran = daemon.trustd(&["serve"]).unwrap();

    assert_ne!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.contains("checkpoint") && ran.stderr.contains("log"), "{ran}");
    put_back(&daemon, "log/entries", &entries);
    daemon.launch().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_another_store_stops_the_start() {
    let (mut daemon, mut other) =
        (Daemon::with(&Setup::allowing_raw()).unwrap(), Daemon::with(&Setup::allowing_raw()).unwrap());
    daemon.caller().await.unwrap().create("raw/one").await.unwrap();
    daemon.terminate().unwrap();
    other.terminate().unwrap();

    put_back(&daemon, "log", &other.data().join("log"));

    let ran = daemon.trustd(&["serve"]).unwrap();
    assert_ne!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.contains("log") && ran.stderr.contains("store"), "{ran}");
}

/// While sealed nothing is known of the store; the unseal is what is refused then.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_store_behind_a_passphrase_is_refused_at_unseal() {
    let setup = Setup { passphrase: Some(PASSPHRASE.to_owned()), ..Setup::allowing_raw() };
    let mut daemon = Daemon::with(&setup).unwrap();
    let user = daemon.caller().await.unwrap();
    user.unseal(PASSPHRASE).await.unwrap();
    user.create("raw/one").await.unwrap();
    daemon.terminate().unwrap();
    let older = keep(&daemon, "store", "older-store");
    daemon.launch().unwrap();
    let user = daemon.caller().await.unwrap();
    user.unseal(PASSPHRASE).await.unwrap();
    user.change("raw/one", UseChange::Disable).await.unwrap();
    daemon.terminate().unwrap();

    put_back(&daemon, "store", &older);
    daemon.launch().unwrap();
    let user = daemon.caller().await.unwrap();
    let refused = user.unseal(PASSPHRASE).await.unwrap_err();

    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("put back"), "{refused:?}");
    let status = user.status().await.unwrap();
    assert!(status.sealed && status.custodians[0].state == "sealed", "{status:?}");
    assert_eq!(user.sign("raw/one", b"no").await.unwrap_err().code(), Code::Unavailable);
    daemon.terminate().unwrap();
    let recovered = daemon.trustd_with_input(&["recover"], PASSPHRASE.as_bytes()).unwrap().ok().unwrap();
    assert!(recovered.stdout.contains("done again: disable"), "{recovered}");
    daemon.launch().unwrap();
    let user = daemon.caller().await.unwrap();
    user.unseal(PASSPHRASE).await.unwrap();
    assert_eq!(user.sign("raw/one", b"no").await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_of_what_belongs_together_changes_nothing() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    daemon.caller().await.unwrap().create("raw/one").await.unwrap();
    let running = daemon.trustd(&["recover"]).unwrap();
    assert_ne!(running.code, Some(0), "recover worked on a daemon that runs: {running}");
    daemon.terminate().unwrap();

    let ran = daemon.trustd(&["recover"]).unwrap().ok().unwrap();

    assert!(ran.stdout.contains("nothing to recover"), "{ran}");
    daemon.launch().unwrap();
}
