//! Faults of the disk below the real daemon: full, and failing flushes. Needs root and loop devices.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::time::Duration;

use serde_json::Value;
use tonic::{Code, Status};
use trust::Sha256Digest;
use trust::tlog::Checkpoint;
use trust_proto::v1::audit_client::AuditClient;
use trust_proto::v1::{GetCheckpointRequest, Trust};
use trust_tests::disk::FileSystem;
use trust_tests::flush::{Flush, bend, bend_of, straighten};
use trust_tests::ledger::{Ledger, wait_for};
use trust_tests::program::copy;
use trust_tests::raw::Caller;
use trust_tests::wait::until;
use trust_tests::{Daemon, Disk, Setup};

/// Asks until `work` succeeds.
async fn until_it_works<T>(what: &str, mut work: impl AsyncFnMut() -> Result<T, Status>) -> T {
    let runtime = tokio::runtime::Handle::current();
    until(what, Duration::from_secs(30), || Ok(tokio::task::block_in_place(|| runtime.block_on(work())).ok())).unwrap()
}

/// Signs until the full disk refuses; what was signed before that has its leaf in room that was there.
async fn sign_until_refused(user: &Caller) -> (u32, Status) {
    for number in 0..10_000_u32 {
        if let Err(refused) = user.sign("raw/one", &number.to_be_bytes()).await {
            return (number, refused);
        }
    }
    panic!("a full disk took ten thousand signatures");
}

/// D15: the intent does not fit, so the key does not move.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_signing_stops_before_a_signature_without_a_leaf_and_recovers_without_a_restart() {
    let disk = Disk::new(FileSystem::Ext4, 256).unwrap();
    let daemon = Daemon::with(&Setup { below: Some(disk.path()), ..Setup::allowing_raw() }).unwrap();
    let user = daemon.caller().await.unwrap();
    user.create("raw/one").await.unwrap();
    let ledger = Ledger::default();
    let writers = ledger.write(daemon.socket(), 4).await.unwrap();
    wait_for(&ledger, 50).unwrap();

    disk.fill().unwrap();
    let (signed, refused) = sign_until_refused(&user).await;
    writers.done().await;
    assert!(matches!(refused.code(), Code::Unavailable | Code::ResourceExhausted), "{refused:?}");
    assert!(refused.message().contains("full"), "{refused:?}");
    let status = user.status().await.unwrap();
    assert!(status.health.starts_with("degraded") && status.health.contains("full"), "{}", status.health);
    // A checkpoint covers everything, or there is none: at once, not at the deadline.
    let (size, mut audit) = (status.log_size, AuditClient::new(daemon.channel().await.unwrap()));
    let asked = tokio::time::timeout(Duration::from_secs(5), audit.get_checkpoint(GetCheckpointRequest {}));
    match asked.await.expect("it waits for room") {
        Ok(answer) => {
            let note = answer.into_inner().checkpoint;
            assert!(Checkpoint::claimed(&note).unwrap().size >= size, "{note}");
        }
        Err(refused) => {
            assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
            assert!(refused.message().contains("full"), "{refused:?}");
        }
    }
    // While it lasts, nothing is answered without a leaf (what the daemon itself clears away may make room for one
    // or another), and what was read before still is.
    let mut refusals = 0;
    for number in 0..50_u32 {
        let message = number.to_le_bytes();
        match user.sign("raw/one", &message).await {
            Ok(signed) => {
                let leaves = user.leaves(signed.receipt.unwrap().leaf).await.unwrap();
                assert_eq!(leaves[0]["preimages"][0], Sha256Digest::of(&message).to_hex(), "{leaves:?}");
            }
            Err(refused) => {
                assert!(matches!(refused.code(), Code::Unavailable | Code::ResourceExhausted), "{refused:?}");
                refusals += 1;
            }
        }
    }
    assert!(refusals > 25, "the disk is not full: {refusals} of 50 were refused");
    user.get("raw/one").await.unwrap();
    disk.make_room().unwrap();

    until_it_works("a signature after there is room again", async || user.sign("raw/one", b"after").await).await;
    until_it_works("a key after there is room again", async || user.create("raw/two").await).await;
    let status = user.status().await.unwrap();
    assert_eq!(status.health, "serving");
    // Every signature that was handed out, before, at the brink and after, has its leaf.
    ledger.check_all(&daemon.channel().await.unwrap()).await.unwrap();
    println!("{signed} signatures at the brink");
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_disk_is_full_starts_and_needs_no_second_start() {
    let disk = Disk::new(FileSystem::Ext4, 256).unwrap();
    let mut daemon = Daemon::with(&Setup { below: Some(disk.path()), ..Setup::allowing_raw() }).unwrap();
    let user = daemon.caller().await.unwrap();
    user.create("raw/one").await.unwrap();
    disk.fill().unwrap();
    sign_until_refused(&user).await;

    daemon.kill().unwrap();
    daemon.launch().unwrap();

    let user = daemon.caller().await.unwrap();
    user.get("raw/one").await.unwrap();
    // The start may have cleared something away.
    let (_, refused) = sign_until_refused(&user).await;
    assert!(matches!(refused.code(), Code::Unavailable | Code::ResourceExhausted), "{refused:?}");
    disk.make_room().unwrap();
    until_it_works("a signature after there is room again", async || user.sign("raw/one", b"yes").await).await;
    daemon.restart().unwrap();
    daemon.caller().await.unwrap().sign("raw/one", b"more").await.unwrap();
    drop(daemon);
}

/// After a failed flush nobody knows what is on the disk: nothing is promised until a new start has read it again.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_flush_that_failed_nothing_is_signed_until_a_new_start() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let user = daemon.caller().await.unwrap();
    user.create("raw/one").await.unwrap();
    let ledger = Ledger::default();
    let writers = ledger.write(daemon.socket(), 4).await.unwrap();
    wait_for(&ledger, 50).unwrap();

    let tracer = bend(daemon.id().unwrap(), Flush::Fails, &daemon.directory().join("strace.log")).unwrap();
    let refused = sign_until_refused(&user).await.1;
    writers.done().await;
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    straighten(daemon.id().unwrap(), tracer).unwrap();

    // The disk works again, and still nothing is signed: the failed flush is not made good by a later one.
    for _ in 0..10 {
        assert_eq!(user.sign("raw/one", b"no").await.unwrap_err().code(), Code::Unavailable);
    }
    let status = user.status().await.unwrap();
    assert!(status.health.starts_with("degraded"), "{}", status.health);
    daemon.restart().unwrap();
    let user = daemon.caller().await.unwrap();
    user.sign("raw/one", b"yes").await.unwrap();
    ledger.check_all(&daemon.channel().await.unwrap()).await.unwrap();
}

/// Signing goes on, for it writes nothing there; but whoever looks after the daemon must see that no key changes any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_could_not_be_flushed_is_named_by_status_until_a_new_start() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let user = daemon.caller().await.unwrap();
    user.create("raw/one").await.unwrap();
    let database = daemon.data().join("store/db");

    let tracer =
        bend_of(daemon.id().unwrap(), Flush::Fails, &database, &daemon.directory().join("strace.log")).unwrap();
    let refused = user.create("raw/two").await.unwrap_err();
    straighten(daemon.id().unwrap(), tracer).unwrap();

    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert_eq!(user.create("raw/three").await.unwrap_err().code(), Code::Unavailable);
    user.sign("raw/one", b"yes").await.unwrap();
    assert_eq!(user.status().await.unwrap().health, "degraded: the store cannot be written");
    daemon.restart().unwrap();
    let user = daemon.caller().await.unwrap();
    user.create("raw/three").await.unwrap();
    assert_eq!(user.status().await.unwrap().health, "serving");
}

/// What sled had written before its flush failed is there after a restart. The log says what the start found, and not that it
/// failed: else nobody would notice a store from before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_flush_failed_stands_in_the_log_as_the_next_start_finds_it() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    daemon.caller().await.unwrap().create("raw/one").await.unwrap();
    daemon.terminate().unwrap();
    let (store, older) = (daemon.data().join("store"), daemon.directory().join("older-store"));
    copy(&store, &older).unwrap();
    daemon.launch().unwrap();
    let user = daemon.caller().await.unwrap();

    let trace = daemon.directory().join("strace.log");
    let tracer = bend_of(daemon.id().unwrap(), Flush::Fails, &store.join("db"), &trace).unwrap();
    let refused = user.distrust("raw/one").await.unwrap_err();
    straighten(daemon.id().unwrap(), tracer).unwrap();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let closed = user.leaves(0).await.unwrap();
    daemon.restart().unwrap();
    let user = daemon.caller().await.unwrap();
    let leaves = user.leaves(0).await.unwrap();

    let is_intent = |leaf: &&Value| leaf["kind"] == "intent" && leaf["operation"] == "distrust";
    let place = leaves.iter().position(|leaf| is_intent(&leaf)).unwrap();
    let outcome_in = |leaves: &[Value]| leaves.iter().find(|leaf| leaf["intent"] == place).cloned();
    assert_eq!(outcome_in(&closed), None, "nobody knew then how it ended");
    let is_distrusted = user.get("raw/one").await.unwrap().trust() == Trust::Distrusted;
    let outcome = outcome_in(&leaves).unwrap();
    assert_eq!((is_distrusted, &outcome["result"]), (true, &Value::from("done")), "{outcome}");

    daemon.terminate().unwrap();
    std::fs::remove_dir_all(&store).unwrap();
    copy(&older, &store).unwrap();
    let ran = daemon.trustd(&["serve"]).unwrap();
    assert_ne!(ran.code, Some(0), "a store from before the distrust was taken: {ran}");
    assert!(ran.stderr.contains("put back"), "{ran}");
}
