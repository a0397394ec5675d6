//! Power cuts and full disks below the real daemon. Needs root and loop devices; fails with a word where it cannot run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::process::Command;
use std::time::Duration;

use tonic::Code;
use trust_proto::v1::admin_client::AdminClient;
use trust_proto::v1::keys_client::KeysClient;
use trust_proto::v1::{Algorithm, CreateKeyRequest, GetStatusRequest, Purpose};
use trust_tests::disk::FileSystem;
use trust_tests::flush::{Flush, bend};
use trust_tests::ledger::{Ledger, wait_for};
use trust_tests::program::run;
use trust_tests::rounds::rounds;
use trust_tests::wait::until;
use trust_tests::{Daemon, Disk, Setup};

const WRITERS: usize = 8;
/// The damage that a missing barrier does comes with the growth of the file: each life must write enough.
const ANSWERS_PER_LIFE: usize = 800;

fn cuts() -> u32 {
    rounds(10, 100)
}

fn daemon_on(disk: &Disk) -> Daemon {
    let setup = Setup { below: Some(disk.path()), ..Setup::allowing_raw() };
    let daemon = Daemon::with(&setup).unwrap();
    // What the harness itself wrote there is not under test.
    run(Command::new("sync").arg("-f").arg(daemon.configuration())).unwrap().ok().unwrap();
    daemon
}

async fn nothing_acknowledged_is_lost(file_system: FileSystem) {
    let mut disk = Disk::new(file_system, 1024).unwrap();
    let mut daemon = daemon_on(&disk);
    let ledger = Ledger::default();
    for cut in 0..cuts() {
        let writers = ledger.write(daemon.socket(), WRITERS).await.unwrap();
        wait_for(&ledger, ANSWERS_PER_LIFE + usize::try_from(cut).unwrap() * 37).unwrap();

        ledger.close();
        disk.cut().unwrap();
        daemon.kill().unwrap();
        writers.done().await;
        disk.back().unwrap();

        daemon.launch().unwrap_or_else(|error| panic!("cut {cut}: {error:#}"));
        let channel = daemon.channel().await.unwrap();
        ledger.check_fresh(&channel).await.unwrap_or_else(|error| panic!("cut {cut}: {error:#}\n{}", daemon.log()));
    }
    let channel = daemon.channel().await.unwrap();
    ledger.check_all(&channel).await.unwrap();
    println!("{file_system:?}: {} acknowledged answers, {} power cuts, 0 lost", ledger.acknowledged(), cuts());
    daemon.terminate().unwrap();
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_in_power_cuts_on_ext4() {
    nothing_acknowledged_is_lost(FileSystem::Ext4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_in_power_cuts_on_xfs() {
    nothing_acknowledged_is_lost(FileSystem::Xfs).await;
}

/// The positive control: the same harness, the same load and the same cut find loss where every flush of the daemon
/// says that it succeeded and does nothing. (sled's own `sync_file_range` stays, as do the journal's commits.)
#[tokio::test(flavor = "multi_thread")]
async fn without_the_barrier_this_harness_finds_loss() {
    for turn in 0..5 {
        let mut disk = Disk::new(FileSystem::Ext4, 1024).unwrap();
        let mut daemon = daemon_on(&disk);
        let tracer = bend(daemon.id().unwrap(), Flush::Lies, &disk.path().join("strace.log")).unwrap();
        let ledger = Ledger::default();
        let writers = ledger.write(daemon.socket(), WRITERS).await.unwrap();
        wait_for(&ledger, ANSWERS_PER_LIFE).unwrap();

        ledger.close();
        disk.cut().unwrap();
        daemon.kill().unwrap();
        drop(tracer);
        writers.done().await;
        disk.back().unwrap();

        let lost = match daemon.launch() {
            Err(unopened) => Some(unopened),
            Ok(()) => ledger.check_all(&daemon.channel().await.unwrap()).await.err(),
        };
        drop(daemon);
        if let Some(lost) = lost {
            println!("loss found after {} answers, in turn {turn}: {lost:#}", ledger.acknowledged());
            return;
        }
    }
    panic!("five power cuts without a barrier lost nothing: this harness proves nothing");
}

/// D15: a full disk refuses, loses nothing, and needs no restart when there is room again.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_recovers_by_itself() {
    let disk = Disk::new(FileSystem::Ext4, 256).unwrap();
    let mut daemon = daemon_on(&disk);
    let channel = daemon.channel().await.unwrap();
    let mut keys = KeysClient::new(channel.clone());
    let create = |name: String| CreateKeyRequest {
        name,
        purpose: Purpose::Raw.into(),
        algorithm: Algorithm::Ed25519.into(),
        ..CreateKeyRequest::default()
    };
    keys.create_key(create("raw/before".to_owned())).await.unwrap();

    disk.fill().unwrap();
    let mut refusals = 0;
    for number in 0..200 {
        match keys.create_key(create(format!("raw/full-{number}"))).await {
            Ok(_) => {} // space that was kept aside
            Err(status) => {
                assert!(matches!(status.code(), Code::Unavailable | Code::ResourceExhausted), "{status:?}");
                refusals += 1;
            }
        }
    }
    assert!(refusals > 0, "a full disk refused nothing");
    let status = AdminClient::new(channel.clone()).get_status(GetStatusRequest {}).await.unwrap().into_inner();
    assert!(status.health.starts_with("degraded"), "{}", status.health);
    disk.make_room().unwrap();

    let runtime = tokio::runtime::Handle::current();
    let mut number = 0;
    until("a key after there is room again", Duration::from_secs(30), || {
        number += 1;
        let request = keys.create_key(create(format!("raw/after-{number}")));
        Ok(tokio::task::block_in_place(|| runtime.block_on(request)).ok())
    })
    .unwrap();
    daemon.restart().unwrap();
    let request = trust_proto::v1::GetKeyRequest { key: "raw/before".to_owned() };
    KeysClient::new(daemon.channel().await.unwrap()).get_key(request).await.unwrap();
    drop(daemon);
}
