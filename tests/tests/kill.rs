//! Sudden ends of the daemon and of its worker: nothing acknowledged is lost, no signature is without evidence.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::time::Duration;

use tonic::Code;
use trust_proto::v1::keys_client::KeysClient;
use trust_proto::v1::signing_client::SigningClient;
use trust_proto::v1::{CreateKeyRequest, SignRequest};
use trust_tests::ledger::{Ledger, wait_for};
use trust_tests::raw::{create_request, sign_request};
use trust_tests::rounds::{random_below, rounds};
use trust_tests::wait::{timed, until};
use trust_tests::{Daemon, Setup};

const WRITERS: usize = 8;

fn create(name: &str, idempotency_key: &str) -> CreateKeyRequest {
    CreateKeyRequest { idempotency_key: idempotency_key.to_owned(), ..create_request(name) }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_daemon_is_killed_at_random_instants() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let ledger = Ledger::default();
    for round in 0..rounds(100, 1000) {
        let writers = ledger.write(daemon.socket(), WRITERS).await.unwrap();
        wait_for(&ledger, 1).unwrap();
        let instant = Duration::from_micros(random_below(200_000));
        tokio::time::sleep(instant).await; // the random instant is what is tested

        daemon.kill().unwrap();
        writers.done().await;
        let (back, started) = timed(|| daemon.launch());
        started.unwrap_or_else(|error| panic!("round {round}, killed after {instant:?}: {error:#}"));

        // By itself, and not because somebody waited long enough; a busy machine needs seconds for it.
        assert!(back < Duration::from_secs(30), "round {round}: the start took {back:?}");
        let channel = daemon.channel().await.unwrap();
        ledger
            .check_fresh(&channel)
            .await
            .unwrap_or_else(|error| panic!("round {round}, killed after {instant:?}: {error:#}\n{}", daemon.log()));
    }
    let channel = daemon.channel().await.unwrap();
    ledger.check_all(&channel).await.unwrap();
    ledger.use_every_key(&channel).await.unwrap();
    println!("{} acknowledged answers, {} kills, 0 lost", ledger.acknowledged(), rounds(100, 1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_back_within_a_second_and_the_daemon_stays() {
    let daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let channel = daemon.channel().await.unwrap();
    KeysClient::new(channel.clone()).create_key(create_request("raw/one")).await.unwrap();
    let workers = daemon.workers().unwrap();
    assert!(!workers.is_empty(), "no custody worker was found below {}", daemon.id().unwrap());

    for worker in &workers {
        let pid = rustix::process::Pid::from_raw(i32::try_from(*worker).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    let runtime = tokio::runtime::Handle::current();
    let mut signing = SigningClient::new(channel);
    let (back, signed) = timed(|| {
        until("a signature after the worker died", Duration::from_secs(10), || {
            let answer =
                tokio::task::block_in_place(|| runtime.block_on(signing.sign(sign_request("raw/one", b"again"))));
            match answer {
                Ok(_) => Ok(Some(())),
                Err(status) if matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded) => Ok(None),
                Err(status) => Err(status.into()),
            }
        })
    });

    signed.unwrap();
    assert!(back < Duration::from_secs(1), "{back:?}");
    assert_ne!(daemon.workers().unwrap(), workers);
}

/// D14: the effect and the idempotency key are one write.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_a_kill_gets_the_same_key_and_other_content_is_refused() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let channel = daemon.channel().await.unwrap();
    let first = KeysClient::new(channel).create_key(create("raw/one", "retry-1")).await.unwrap().into_inner();

    daemon.kill().unwrap();
    daemon.launch().unwrap();

    let mut keys = KeysClient::new(daemon.channel().await.unwrap());
    let again = keys.create_key(create("raw/one", "retry-1")).await.unwrap().into_inner();
    assert_eq!(first.key.unwrap().id, again.key.unwrap().id);
    let other = keys.create_key(create("raw/two", "retry-1")).await.unwrap_err();
    assert_eq!(other.code(), Code::Aborted, "{other:?}");
    let taken = keys.create_key(create("raw/one", "retry-2")).await.unwrap_err();
    assert_eq!(taken.code(), Code::AlreadyExists, "{taken:?}");
}

/// D14: the receipt that was kept is answered again, after a kill too; no second signature is made.
#[tokio::test(flavor = "multi_thread")]
async fn a_retried_sign_after_a_kill_gets_the_same_receipt() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let channel = daemon.channel().await.unwrap();
    KeysClient::new(channel.clone()).create_key(create_request("raw/one")).await.unwrap();
    let request =
        |message: &[u8]| SignRequest { idempotency_key: "release-7".to_owned(), ..sign_request("raw/one", message) };
    let first = SigningClient::new(channel).sign(request(b"once")).await.unwrap().into_inner();

    daemon.kill().unwrap();
    daemon.launch().unwrap();

    let mut signing = SigningClient::new(daemon.channel().await.unwrap());
    let again = signing.sign(request(b"once")).await.unwrap().into_inner();
    assert_eq!(first, again);
    let other = signing.sign(request(b"another")).await.unwrap_err();
    assert_eq!(other.code(), Code::Aborted, "{other:?}");
    // Authorized afresh: what may not sign any more answers no kept receipt.
    let user = daemon.caller().await.unwrap();
    user.change("raw/one", trust_proto::v1::UseChange::Disable).await.unwrap();
    let refused = signing.sign(request(b"once")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    let signs = user.leaves(0).await.unwrap().iter().filter(|leaf| leaf["operation"] == "sign").count();
    assert_eq!(signs, 1);
}

/// D14: where the kill came between intent and receipt, the retry signs anew, and says which intent it retries.
#[tokio::test(flavor = "multi_thread")]
async fn a_sign_that_a_kill_cut_off_is_retried_under_an_intent_that_names_the_first() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let user = daemon.caller().await.unwrap();
    user.create("raw/one").await.unwrap();
    let request =
        |message: &[u8]| SignRequest { idempotency_key: "release-8".to_owned(), ..sign_request("raw/one", message) };
    let database = daemon.data().join("store/db");
    let changed = || std::fs::metadata(&database).unwrap().modified().unwrap();
    let before = changed();
    daemon.stop_workers().unwrap();
    // The time of a file is not finer than this.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut hanging = SigningClient::new(daemon.channel().await.unwrap());
    let cut_off = tokio::spawn(async move { hanging.sign(request(b"once")).await });
    // The intent is kept in the store before the worker is asked, which does not answer.
    until("the intent is kept", Duration::from_secs(20), || Ok((changed() != before).then_some(()))).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;

    daemon.kill().unwrap();
    cut_off.await.unwrap().unwrap_err();
    daemon.launch().unwrap();

    let mut signing = SigningClient::new(daemon.channel().await.unwrap());
    let other = signing.sign(request(b"another")).await.unwrap_err();
    assert_eq!(other.code(), Code::Aborted, "{other:?}");
    let signed = signing.sign(request(b"once")).await.unwrap().into_inner();
    let user = daemon.caller().await.unwrap();
    let leaves = user.leaves(0).await.unwrap();
    let intents: Vec<u64> =
        (0..).zip(&leaves).filter(|(_, leaf)| leaf["operation"] == "sign").map(|(at, _)| at).collect();
    let [first, second] = intents[..] else { panic!("{leaves:#?}") };
    assert_eq!(signed.receipt.as_ref().unwrap().leaf, second);
    assert_eq!(leaves[usize::try_from(second).unwrap()]["retry_of"], first);
    // The receipt of the retry is kept in its place.
    assert_eq!(signing.sign(request(b"once")).await.unwrap().into_inner(), signed);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_with_64_signs_in_flight_answers_or_refuses_each_and_ends_with_0() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let ledger = Ledger::default();
    let writers = ledger.write(daemon.socket(), 64).await.unwrap();
    wait_for(&ledger, 200).unwrap();

    let (time, status) = timed(|| daemon.terminate());
    writers.done().await;

    assert!(status.unwrap().success(), "{}", daemon.log());
    assert!(time < Duration::from_secs(10), "{time:?}");
    daemon.launch().unwrap();
    ledger.check_all(&daemon.channel().await.unwrap()).await.unwrap();
}

/// Ctrl-C, and a service manager that signals every process of a service.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_to_the_whole_group_leaves_the_worker_until_the_daemon_has_drained() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let ledger = Ledger::default();
    let writers = ledger.write(daemon.socket(), 16).await.unwrap();
    wait_for(&ledger, 50).unwrap();

    let group = rustix::process::Pid::from_raw(i32::try_from(daemon.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::TERM).unwrap();
    let status = daemon.process().unwrap().end(Duration::from_secs(20));
    writers.done().await;

    assert!(status.unwrap().success(), "{}", daemon.log());
    assert!(!daemon.log().contains("custody worker ended"), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_the_same_directories_does_not_start() {
    let daemon = Daemon::start().unwrap();

    let second = daemon.trustd(&["serve"]).unwrap();

    assert_ne!(second.code, Some(0), "{second}");
    daemon.channel().await.unwrap();
}
