//! Sealed and unsealed: the passphrase, the worker that dies, and the rotation of key-encryption keys.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tonic::Code;
use trust_tests::ledger::{Ledger, wait_for};
use trust_tests::wait::until;
use trust_tests::{Daemon, Setup};

const PASSPHRASE: &str = "correct horse battery staple";

fn with_passphrase() -> Daemon {
    Daemon::with(&Setup { passphrase: Some(PASSPHRASE.to_owned()), ..Setup::allowing_raw() }).unwrap()
}

fn kill_worker(daemon: &Daemon) -> u32 {
    let workers = daemon.workers().unwrap();
    let [worker] = workers[..] else { panic!("one worker: {workers:?}") };
    let pid = rustix::process::Pid::from_raw(i32::try_from(worker).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    worker
}

/// Waits until another worker has taken the place of `old`.
fn wait_for_worker_after(daemon: &Daemon, old: u32) {
    until("another worker", Duration::from_secs(10), || {
        Ok(daemon.workers()?.iter().any(|worker| *worker != old).then_some(()))
    })
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_with_a_passphrase_starts_sealed_and_signs_after_the_right_one_only() {
    let mut daemon = with_passphrase();
    let user = daemon.caller().await.unwrap();
    let status = user.status().await.unwrap();
    assert!(status.sealed && status.health.contains("sealed"), "{status:?}");
    assert!(daemon.log().contains("sealed"), "{}", daemon.log());
    assert_eq!(user.create("raw/one").await.unwrap_err().code(), Code::Unavailable);

    let wrong = user.unseal("correct horse battery stable").await.unwrap_err();
    assert_eq!((wrong.code(), wrong.message()), (Code::FailedPrecondition, "wrong passphrase"));
    assert_eq!(user.create("raw/one").await.unwrap_err().code(), Code::Unavailable);

    user.unseal(PASSPHRASE).await.unwrap();
    user.create("raw/one").await.unwrap();
    user.sign("raw/one", b"open").await.unwrap();
    assert!(!user.status().await.unwrap().sealed);
    let again = user.unseal(PASSPHRASE).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition, "{again:?}");

    daemon.restart().unwrap();
    let user = daemon.caller().await.unwrap();
    assert!(user.status().await.unwrap().sealed);
    assert_eq!(user.sign("raw/one", b"closed").await.unwrap_err().code(), Code::Unavailable);
    user.unseal(PASSPHRASE).await.unwrap();
    user.sign("raw/one", b"open again").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_daemon_signs_and_reports_nothing_until_it_is_unsealed() {
    let daemon = with_passphrase();
    let user = daemon.caller().await.unwrap();
    user.unseal(PASSPHRASE).await.unwrap();
    user.create("raw/one").await.unwrap();

    user.seal().await.unwrap();

    let status = user.status().await.unwrap();
    assert!(status.sealed, "{status:?}");
    assert_eq!(user.sign("raw/one", b"no").await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(user.get("raw/one").await.unwrap_err().code(), Code::Unavailable);
    user.unseal(PASSPHRASE).await.unwrap();
    user.sign("raw/one", b"yes").await.unwrap();
    // Seal, the failed work while sealed, and unseal are on record.
    let operations: Vec<_> =
        user.leaves(0).await.unwrap().iter().filter_map(|leaf| leaf["operation"].as_str().map(str::to_owned)).collect();
    assert_eq!(operations.iter().filter(|word| *word == "unseal").count(), 2, "{operations:?}");
    assert_eq!(operations.iter().filter(|word| *word == "seal").count(), 1, "{operations:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_after_a_passphrase_comes_back_sealed_and_says_so() {
    let daemon = with_passphrase();
    let user = daemon.caller().await.unwrap();
    user.unseal(PASSPHRASE).await.unwrap();
    user.create("raw/one").await.unwrap();

    let worker = kill_worker(&daemon);
    wait_for_worker_after(&daemon, worker);

    // The daemon has not kept the passphrase: somebody must give it again.
    let refused = user.sign("raw/one", b"no").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let status = user.status().await.unwrap();
    assert!(status.sealed && status.custodians[0].restarts == 1, "{status:?}");
    // Nothing is reported as trusted while sealed, whoever sealed it (D21).
    let runtime = tokio::runtime::Handle::current();
    until("the store to be closed, too", Duration::from_secs(5), || {
        let read = tokio::task::block_in_place(|| runtime.block_on(user.get("raw/one")));
        Ok(read.is_err_and(|status| status.code() == Code::Unavailable).then_some(()))
    })
    .unwrap();
    user.unseal(PASSPHRASE).await.unwrap();
    user.sign("raw/one", b"yes").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_while_sealed_is_unsealed_as_if_nothing_had_been() {
    let daemon = with_passphrase();
    let user = daemon.caller().await.unwrap();

    let worker = kill_worker(&daemon);
    wait_for_worker_after(&daemon, worker);

    assert!(user.status().await.unwrap().sealed);
    user.unseal(PASSPHRASE).await.unwrap();
    user.create("raw/one").await.unwrap();
    user.sign("raw/one", b"yes").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_daemon_with_a_root_key_file_stays_so_until_it_starts_again() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let user = daemon.caller().await.unwrap();
    user.create("raw/one").await.unwrap();

    user.seal().await.unwrap();
    let worker = kill_worker(&daemon);
    wait_for_worker_after(&daemon, worker);

    assert!(user.status().await.unwrap().sealed);
    assert_eq!(user.sign("raw/one", b"no").await.unwrap_err().code(), Code::Unavailable);
    let refused = user.unseal(PASSPHRASE).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    daemon.restart().unwrap();
    daemon.caller().await.unwrap().sign("raw/one", b"yes").await.unwrap();
}

/// The same as an administrator types it.
#[test]
fn trustctl_unseals_seals_and_rotates() {
    let daemon = with_passphrase();
    let user = daemon.user().unwrap();
    let status = user.run(&["status", "--output", "json"]).unwrap().ok().unwrap().json().unwrap();
    assert_eq!(status["sealed"], true, "{status}");
    let create = ["key", "create", "acme/app", "--purpose", "image", "--scope", "registry.example/acme/app"];

    let early = user.run(&create).unwrap();
    assert_ne!(early.code, Some(0), "{early}");
    assert!(early.stderr.contains("sealed") && early.stderr.contains("trustctl unseal"), "{early}");
    let wrong = user.run_with_input(&["unseal"], b"wrong\n").unwrap().exited(1).unwrap();
    assert!(wrong.stderr.contains("wrong passphrase"), "{wrong}");
    user.run_with_input(&["unseal"], format!("{PASSPHRASE}\n").as_bytes()).unwrap().ok().unwrap();
    user.run(&create).unwrap().ok().unwrap();
    user.run(&["kek", "rotate"]).unwrap().ok().unwrap();
    let keks = user.run(&["kek", "list"]).unwrap().ok().unwrap();
    assert!(keks.stdout.contains("current") && keks.stdout.contains("destroyed"), "{keks}");
    user.run(&["seal"]).unwrap().ok().unwrap();

    let status = user.run(&["status", "--output", "json"]).unwrap().ok().unwrap().json().unwrap();
    assert_eq!(status["sealed"], true, "{status}");
    assert_ne!(user.run(&["key", "list"]).unwrap().code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn init_without_a_passphrase_makes_nothing() {
    let daemon = Daemon::prepared(&Setup { passphrase: Some(String::new()), ..Setup::default() }).unwrap();

    let ran = daemon.trustd_with_input(&["init"], b"").unwrap();

    assert_ne!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.contains("passphrase"), "{ran}");
    assert!(!daemon.data().exists());
    assert_eq!(
        std::fs::read_dir(daemon.directory())
            .unwrap()
            .filter(|entry| { entry.as_ref().unwrap().file_name().to_string_lossy().contains("unfinished") })
            .count(),
        0
    );
}

#[test]
fn init_takes_no_short_passphrase() {
    let daemon = Daemon::prepared(&Setup { passphrase: Some(String::new()), ..Setup::default() }).unwrap();

    let ran = daemon.trustd_with_input(&["init"], b"seven77\n").unwrap().exited(1).unwrap();

    assert!(ran.stderr.contains("shorter than 8 bytes") && ran.stderr.lines().count() == 2, "{ran}");
    assert!(!daemon.data().exists());
    daemon.trustd_with_input(&["init"], b"eight888\n").unwrap().ok().unwrap();
}

fn states(keks: &[trust_proto::v1::KekVersion]) -> Vec<(u32, &str)> {
    keks.iter().map(|kek| (kek.version, kek.state.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kek_rotation_every_key_signs_and_the_old_version_is_gone() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let user = daemon.caller().await.unwrap();
    for number in 0..20 {
        user.create(&format!("raw/{number}")).await.unwrap();
    }
    user.rotate("raw/3").await.unwrap();
    assert_eq!(states(&user.keks().await.unwrap()), [(1, "current")]);

    let version = user.rotate_kek().await.unwrap();

    assert_eq!(version, 2);
    assert_eq!(states(&user.keks().await.unwrap()), [(1, "destroyed"), (2, "current")]);
    daemon.restart().unwrap();
    let user = daemon.caller().await.unwrap();
    for number in 0..20 {
        user.sign(&format!("raw/{number}"), b"rewrapped").await.unwrap();
    }
    // The log's key was rewrapped, too: a checkpoint that covers the last signature is signed.
    Ledger::default().remember_checkpoint(&daemon.channel().await.unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_keys_and_kek_rotations_do_not_disturb_each_other() {
    let daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut signers = JoinSet::new();
    for signer in 0..16 {
        let (user, stop) = (daemon.caller().await.unwrap(), Arc::clone(&stop));
        signers.spawn(async move {
            let mut done = 0;
            while !stop.load(Ordering::Relaxed) {
                let name = format!("raw/{signer}-{done}");
                user.create(&name).await.unwrap();
                for turn in 0..20_u8 {
                    user.sign(&name, &[turn]).await.unwrap();
                }
                done += 1;
            }
            done
        });
    }

    let user = daemon.caller().await.unwrap();
    for _ in 0..30 {
        user.rotate_kek().await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);

    let made: usize = signers.join_all().await.into_iter().sum();
    assert!(made > 16, "{made}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sealing_does_not_wait_for_a_rotation_which_is_taken_up_after_the_unseal() {
    let daemon = with_passphrase();
    let user = daemon.caller().await.unwrap();
    user.unseal(PASSPHRASE).await.unwrap();
    let ledger = Ledger::default();
    let writers = ledger.write(daemon.socket(), 16).await.unwrap();
    wait_for(&ledger, 500).unwrap();
    writers.done().await;

    for round in 0..5_u64 {
        let rotator = user.clone();
        let rotation = tokio::spawn(async move { rotator.rotate_kek().await });
        tokio::time::sleep(Duration::from_millis(3 * round)).await; // the instant is what is tested
        user.seal().await.unwrap();
        let _ = rotation.await.unwrap(); // cut off, or just done
        assert!(user.status().await.unwrap().sealed);
        user.unseal(PASSPHRASE).await.unwrap();
    }

    user.rotate_kek().await.unwrap();
    let keks = user.keks().await.unwrap();
    assert_eq!(keks.iter().filter(|kek| kek.state != "destroyed").count(), 1, "{keks:?}");
    ledger.use_every_key(&daemon.channel().await.unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kek_rotation_cut_off_by_a_kill_is_taken_up_again() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let ledger = Ledger::default();
    let writers = ledger.write(daemon.socket(), 16).await.unwrap();
    wait_for(&ledger, 1000).unwrap();
    writers.done().await;
    let mut readable = 0;
    for round in 0..10_u64 {
        let user = daemon.caller().await.unwrap();
        let rotation = tokio::spawn(async move { user.rotate_kek().await });
        tokio::time::sleep(Duration::from_millis(2 + 7 * round)).await; // the instant is what is tested

        daemon.kill().unwrap();
        let _ = rotation.await.unwrap(); // cut off, or just done
        daemon.launch().unwrap();

        let keks = daemon.caller().await.unwrap().keks().await.unwrap();
        readable += keks.iter().filter(|kek| kek.state == "readable").count();
    }
    let user = daemon.caller().await.unwrap();
    user.rotate_kek().await.unwrap();

    let keks = user.keks().await.unwrap();
    assert_eq!(keks.iter().filter(|kek| kek.state != "destroyed").count(), 1, "{keks:?}");
    assert!(readable > 0, "no rotation was cut off in the middle: {keks:?}");
    ledger.use_every_key(&daemon.channel().await.unwrap()).await.unwrap();
}
