//! Measuring a token: what is found is true of it, nothing stays behind, and whoever signs meanwhile does not notice.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test waits in real time")]

mod house;

use std::time::{Duration, Instant};

use house::token::{FaultHouse, LABEL, TokenHouse};
use house::{context, order};
use trust::{Algorithm, Purpose, Signable};
use trust_hsm::doctor::{AlgorithmFinding, Handle, Plan, Progress, Quirk, Report, Works};
use trust_hsm::worker::TokenWorker;
use trust_hsm::{Custodian as _, CustodyError};

const LONG: Duration = Duration::from_secs(60);

fn plan() -> Plan {
    Plan::new(4, Duration::from_secs(1), Duration::from_millis(50)).unwrap()
}

fn examine(worker: &TokenWorker) -> Result<Report, CustodyError> {
    worker.examine(&plan(), &mut |_| true)
}

/// The same, with `act` called when the step of that name comes.
fn examine_with(worker: &TokenWorker, mut act: impl FnMut(&str)) -> Report {
    let mut tell = |progress: Progress| {
        act(&progress.what);
        true
    };
    worker.examine(&plan(), &mut tell).unwrap()
}

/// Waits until `done`.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < LONG, "never: {what}");
        std::thread::yield_now();
    }
}

fn finding(report: &Report, algorithm: Algorithm) -> &AlgorithmFinding {
    report.algorithms.iter().find(|finding| finding.algorithm == algorithm.name()).unwrap()
}

fn works(report: &Report, algorithm: Algorithm) -> bool {
    matches!(finding(report, algorithm).works, Works::Yes { .. })
}

fn objects(house: &TokenHouse) -> String {
    house.pkcs11_tool(&["--list-objects"]).trim().to_owned()
}

#[test]
fn a_token_is_measured_whole_beside_the_worker_that_serves_and_nothing_stays_behind() {
    let house = TokenHouse::new();
    let worker = house.mount();
    let serving = worker.pids();
    let (mut most, mut seen) = (0, Vec::new());
    let mut session = worker.open().unwrap();

    let report = worker
        .examine(&plan(), &mut |progress| {
            most = most.max(worker.pids().len());
            assert!(progress.done <= progress.total, "{progress:?}");
            seen.push(progress.what);
            let context = context(Algorithm::EcdsaP256Sha256, Purpose::Image);
            if seen.len() == 3 {
                let key = session.generate(&context).unwrap();
                let order = order(&context, &key, vec![Signable::Message(b"m".to_vec())]);
                assert!(session.sign(&[order], LONG).remove(0).unwrap()[0].is_ok());
            }
            true
        })
        .unwrap();

    assert_eq!((most, worker.pids()), (2, serving));
    assert_eq!(worker.restarts(), 0);
    for algorithm in Algorithm::ALL {
        let Works::Yes { signatures, generation_us, latency } = &finding(&report, algorithm).works else {
            panic!("{algorithm}: {:?}", finding(&report, algorithm));
        };
        assert!(finding(&report, algorithm).is_listed && *signatures >= 3 && *generation_us > 0, "{algorithm}");
        assert!(latency.p50_us > 0 && latency.p50_us <= latency.p90_us && latency.p99_us <= latency.max_us);
    }
    let throughput = report.throughput.as_ref().unwrap();
    assert_eq!(throughput.algorithm, Algorithm::EcdsaP256Sha256.name());
    assert_eq!(throughput.steps[0].sessions, 1);
    assert!(throughput.steps.iter().all(|step| step.per_second > 0.0 && step.latency.max_us > 0));
    assert!(throughput.steps.iter().any(|step| Some(step.sessions) == report.sessions()), "{throughput:?}");
    assert_eq!((report.session_limit.opened, &report.session_limit.refused), (4, &None));
    let stability = report.stability.as_ref().unwrap();
    assert_eq!((&stability.after_idle, &stability.after_others), (&Handle::Same, &Handle::Same));
    assert_ne!(stability.after_logout, Handle::AnotherKey);
    assert_eq!((report.identity.label.as_str(), report.identity.model.as_str()), (LABEL, "SoftHSM v2"));
    assert!(report.flags.contains(&"LOGIN_REQUIRED".to_owned()), "{:?}", report.flags);
    assert!(report.hang_after().unwrap() >= Duration::from_secs(5));
    assert!(!report.quirks.contains(&Quirk::SessionObjectsRefused), "{:?}", report.quirks);
    assert_eq!((report.swept, &report.left_behind), (0, &Vec::new()));
    // The one key that is there is not the measurement's.
    assert_eq!(objects(&house).matches("Private Key Object").count(), 1, "{}", objects(&house));
    assert!(!objects(&house).contains("doctor"), "{}", objects(&house));
}

#[test]
fn a_token_that_is_silent_while_it_is_measured_is_not_taken_for_hung() {
    let house = FaultHouse::new();
    let worker = house.mount();
    let mut session = worker.open().unwrap();
    let context = context(Algorithm::EcdsaP256Sha256, Purpose::Image);
    let key = session.generate(&context).unwrap();
    let patience = house.config().hang_after;
    let mut signed = 0;

    examine_with(&worker, |what| {
        if what.contains("rsa") && signed == 0 {
            // As tokens are that make such a key and let nobody in meanwhile.
            house.command("C_Sign * delay 2500");
            worker.set_hang_after(Duration::from_millis(500));
            let order = order(&context, &key, vec![Signable::Message(b"m".to_vec())]);
            assert!(session.sign(&[order], LONG).remove(0).unwrap()[0].is_ok());
            worker.set_hang_after(patience);
            house.command("");
            signed += 1;
        }
    });

    assert_eq!((signed, worker.restarts()), (1, 0));
}

#[test]
fn a_listed_mechanism_that_does_not_work_is_said_not_to() {
    let house = FaultHouse::new();
    let worker = house.mount();
    // The second kind is Ed25519, whose curve has two names, in a session and in the token. CKR_MECHANISM_INVALID.
    house.command(&(2..=5).map(|call| format!("C_GenerateKeyPair {call} rv 0x70\n")).collect::<String>());

    let report = examine(&worker).unwrap();

    assert!(!works(&report, Algorithm::Ed25519) && finding(&report, Algorithm::Ed25519).is_listed);
    let Works::No { why } = &finding(&report, Algorithm::Ed25519).works else { panic!() };
    assert!(why.contains("CKR_MECHANISM_INVALID"), "{why}");
    assert!(works(&report, Algorithm::EcdsaP256Sha256) && works(&report, Algorithm::Rsa4096PssSha256));
    assert!(report.quirks.contains(&Quirk::ListsWhatFails), "{:?}", report.quirks);

    house.command("C_Sign * corrupt");
    let report = examine(&worker).unwrap();
    assert!(Algorithm::ALL.into_iter().all(|algorithm| !works(&report, algorithm)));
    let Works::No { why } = &finding(&report, Algorithm::EcdsaP384Sha256).works else { panic!() };
    assert!(why.contains("does not verify"), "{why}");
    assert_eq!((report.sessions(), report.hang_after(), &report.stability), (None, None, &None));
}

/// tpm2-pkcs11 1.9 does this once an object was deleted.
#[test]
fn a_token_that_gives_one_number_to_two_keys_is_measured_as_far_as_that_goes() {
    let house = FaultHouse::new();
    let worker = house.mount();

    let report = examine_with(&worker, |step| match step {
        "look at the token" => house.command("C_DestroyObject * rv 0x5"), // what is there stays there
        "count sessions" => house.command("C_GenerateKeyPair * swap"),
        _ => {}
    });

    assert!(works(&report, Algorithm::EcdsaP256Sha256), "{:?}", report.algorithms);
    assert!(report.quirks.contains(&Quirk::HandlesChange), "{:?}", report.quirks);
    assert!(report.throughput.is_none() && report.stability.is_none());
    assert!(house.calls("C_GenerateKeyPair.swap") > 0);
}

#[test]
fn a_session_limit_is_found() {
    let house = FaultHouse::new();
    let worker = house.mount();

    let report = examine_with(&worker, |step| {
        if step == "count sessions" {
            house.at("C_OpenSession", 4, "rv 0xB1"); // CKR_SESSION_COUNT
        }
    });

    assert_eq!(report.session_limit.opened, 3);
    assert_eq!(report.session_limit.refused.as_deref(), Some("CKR_SESSION_COUNT"));
    let most = report.throughput.unwrap().steps.iter().map(|step| step.sessions).max();
    assert!(most <= Some(3), "{most:?}");
}

#[test]
fn a_handle_that_means_another_key_after_a_pause_is_reported_and_one_that_is_gone_as_well() {
    for (action, expected, quirk) in [
        ("C_SignInit * swap", Handle::AnotherKey, Quirk::HandlesChange),
        // CKR_SESSION_HANDLE_INVALID
        ("C_SignInit * rv 0xB3", Handle::Gone("CKR_SESSION_HANDLE_INVALID".to_owned()), Quirk::IdleSessionsDie),
    ] {
        let house = FaultHouse::new();
        let worker = house.mount();

        let report = examine_with(&worker, |step| match step {
            "leave a session alone" => house.command(action),
            // Whatever comes next goes as it should.
            _ => house.command(""),
        });

        let stability = report.stability.unwrap();
        assert_eq!((stability.after_idle, stability.after_others), (expected, Handle::Same));
        assert!(report.quirks.contains(&quirk), "{:?}", report.quirks);
        assert_eq!(objects(&house.token), "");
    }
}

#[test]
fn a_measurement_that_crashes_takes_nobody_along_and_the_next_one_deletes_what_it_left() {
    let house = FaultHouse::new();
    let worker = house.mount();
    let serving = worker.pids();
    // The first key may not go with its session (CKR_TEMPLATE_INCONSISTENT): all are made in the token.
    house.command("C_GenerateKeyPair 1 rv 0xD1\nC_Sign 5 segv");

    let crashed = examine(&worker).unwrap_err();

    assert!(matches!(crashed, CustodyError::Unavailable { .. }), "{crashed}");
    assert_eq!((worker.pids(), worker.restarts()), (serving, 0));
    assert!(objects(&house.token).contains("trustd doctor"), "{}", objects(&house.token));
    house.at("C_GenerateKeyPair", 1, "rv 0xD1");
    let report = examine(&worker).unwrap();
    assert_eq!((report.swept, &report.left_behind), (2, &Vec::new()));
    assert!(report.quirks.contains(&Quirk::SessionObjectsRefused), "{:?}", report.quirks);
    assert_eq!(objects(&house.token), "");
}

#[test]
fn whoever_ends_a_measurement_leaves_nothing_in_the_token() {
    let house = FaultHouse::new();
    let worker = house.mount();
    house.at("C_GenerateKeyPair", 1, "rv 0xD1");

    let ended = worker.examine(&plan(), &mut |progress| !progress.what.starts_with("sign with")).unwrap_err();

    assert!(ended.to_string().contains("before its time"), "{ended}");
    assert_eq!(objects(&house.token), "");
    assert_eq!(worker.pids().len(), 1);
}

#[test]
fn a_pin_that_has_not_opened_the_token_is_not_tried_and_two_do_not_measure_at_once() {
    let house = FaultHouse::new();
    house.token.write_pin("000000");
    let worker = house.mount();
    let refused = examine(&worker).unwrap_err();
    assert!(matches!(&refused, CustodyError::Refused { why } if why.contains("PIN")), "{refused}");
    assert_eq!(house.calls("C_Login"), 1);

    let house = FaultHouse::new();
    let worker = house.mount();
    let mut second = None;
    examine_with(&worker, |_| {
        second.get_or_insert_with(|| examine(&worker).unwrap_err());
    });
    assert!(second.unwrap().to_string().contains("already"));
}

#[test]
fn a_session_that_may_not_be_idle_is_opened_anew_in_this_worker_and_in_the_next() {
    let house = FaultHouse::new();
    let worker = house.mount();
    let context = context(Algorithm::EcdsaP256Sha256, Purpose::Image);
    let mut session = worker.open().unwrap();
    let key = session.generate(&context).unwrap();
    let order = order(&context, &key, vec![Signable::Message(b"m".to_vec())]);
    let mut sign = || session.sign(std::slice::from_ref(&order), LONG).remove(0).is_ok_and(|signed| signed[0].is_ok());
    assert!(sign());
    let opened = house.calls("C_OpenSession");
    assert!((0..20).all(|_| sign()) && house.calls("C_OpenSession") == opened);

    worker.use_sessions(8, Some(Duration::ZERO));
    until("another session is opened", || sign() && house.calls("C_OpenSession") >= opened + 2);

    let pid = worker.pids()[0];
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    until("the next worker serves", &mut sign);
    assert_ne!(worker.pids()[0], pid);
    let opened = house.calls("C_OpenSession");
    until("the next worker opens another session", || sign() && house.calls("C_OpenSession") >= opened + 2);
    worker.use_sessions(8, None);
    assert!(sign());
    let opened = house.calls("C_OpenSession");
    assert!((0..20).all(|_| sign()) && house.calls("C_OpenSession") == opened);
}
