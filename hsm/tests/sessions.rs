//! The sessions of a token: no more than were given to it, whoever waits for them, and always at work.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "the house measures by the clock")]

mod house;

use std::time::Duration;

use house::scene::{Scene, kill, until};
use house::token::FaultHouse;
use trust_hsm::worker::{Supervisor, TokenConfig, TokenWorker};
use trust_hsm::{Custodian as _, CustodyError};

const CALLERS: u8 = 6;

/// Callers with a key each, made while no session had to be waited for.
fn scenes(worker: &TokenWorker) -> Vec<Scene> {
    (0..CALLERS).map(|number| Scene::with_key(worker, number)).collect()
}

/// Has all of them sign so often at the same time.
fn sign(scenes: &mut [Scene], times: usize) -> Vec<CustodyError> {
    std::thread::scope(|scope| {
        let signing = scenes
            .iter_mut()
            .map(|scene| scope.spawn(move || (0..times).filter_map(|_| scene.sign().err()).collect::<Vec<_>>()));
        let threads: Vec<_> = signing.collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Has them sign until so many sessions more were opened than `before`, and once again: no more are.
fn opens(house: &FaultHouse, scenes: &mut [Scene], before: u64, sessions: u64) {
    let mut opened = || {
        assert_eq!(sign(scenes, 5), []);
        house.calls("C_OpenSession") - before
    };
    until("as many sessions as may be are open", || opened() >= sessions);
    assert_eq!(opened(), sessions);
}

#[test]
fn callers_share_the_sessions_that_there_are_and_one_more_or_less_is_no_new_worker() {
    let house = FaultHouse::new();
    let worker = house.mount();
    worker.use_sessions(1, None);
    let mut scenes = scenes(&worker);
    house.command("C_Sign * delay 20");
    let opened = || house.calls("C_OpenSession");
    opens(&house, &mut scenes, opened(), 1);

    worker.use_sessions(4, None);
    opens(&house, &mut scenes, opened(), 3);
    worker.use_sessions(1, None);
    opens(&house, &mut scenes, opened(), 0);
    worker.use_sessions(3, None);
    // Those beyond the bound had been closed.
    opens(&house, &mut scenes, opened(), 2);
    assert_eq!(worker.restarts(), 0);
}

#[test]
fn who_waits_for_a_session_is_not_taken_for_hung() {
    let house = FaultHouse::new();
    let worker = Supervisor::mount(TokenConfig { hang_after: Duration::from_secs(6), ..house.config() }).unwrap();
    worker.use_sessions(1, None);
    let mut scenes = scenes(&worker);
    // Two in a row take longer than one may.
    house.command("C_Sign * delay 4000");

    assert_eq!(sign(&mut scenes[..2], 1), []);

    assert_eq!(worker.restarts(), 0);
}

#[test]
fn one_that_hangs_costs_the_worker_however_many_wait_behind_it() {
    let house = FaultHouse::new();
    let worker = Supervisor::mount(TokenConfig { hang_after: Duration::from_secs(2), ..house.config() }).unwrap();
    worker.use_sessions(1, None);
    let mut scenes = scenes(&worker);
    house.at("C_Sign", 1, "hang");

    let failed = sign(&mut scenes, 1);

    assert!(failed.contains(&CustodyError::Late), "{failed:?}");
    house.command("");
    for scene in &mut scenes {
        scene.until_back();
    }
    assert_eq!((house.calls("C_Sign.hang"), worker.restarts()), (1, 1));
}

#[test]
fn a_session_that_signed_with_another_key_takes_the_others_of_its_time_along() {
    let house = FaultHouse::new();
    let worker = house.mount();
    worker.use_sessions(2, None);
    let mut scenes = scenes(&worker);
    house.command("C_Sign * delay 20");
    opens(&house, &mut scenes, house.calls("C_OpenSession"), 2);
    let opened = house.calls("C_OpenSession");

    house.at("C_Sign", 1, "corrupt");
    assert!(scenes[0].sign().is_ok(), "signed again in another session");
    house.command("C_Sign * delay 20");
    opens(&house, &mut scenes, opened, 2);

    assert_eq!((house.calls("C_Sign.corrupt"), worker.restarts()), (1, 0));
}

#[test]
fn a_token_with_fewer_sessions_than_it_is_given_is_used_with_those_it_has() {
    let house = FaultHouse::new();
    let worker = house.mount();
    worker.use_sessions(2, None);
    let mut scenes = scenes(&worker);
    house.command("C_Sign * delay 20");
    opens(&house, &mut scenes, house.calls("C_OpenSession"), 2);

    worker.use_sessions(4, None);
    house.command("C_Sign * delay 20\nC_OpenSession * rv 0xB1");
    assert_eq!(sign(&mut scenes, 10), []);
    assert!(house.calls("C_OpenSession.rv") > 0, "it was asked for one more");
    assert!(house.calls("C_OpenSession.rv") < 20, "and not for every signature");
    assert_eq!(worker.restarts(), 0);
}

#[test]
fn a_token_that_has_no_session_at_all_is_unavailable_and_no_reason_for_a_new_worker() {
    let house = FaultHouse::new();
    let worker = house.mount();
    worker.use_sessions(2, None);
    let mut scenes = scenes(&worker);
    house.command("C_OpenSession * rv 0xB1");

    let Err(CustodyError::Unavailable { why }) = scenes[0].sign() else { panic!("without a session") };
    assert!(why.contains("no session left") && why.contains("CKR_SESSION_COUNT"), "{why}");
    worker.probe();
    house.command("");

    assert_eq!(sign(&mut scenes, 1), []);
    assert_eq!(worker.restarts(), 0);
}

#[test]
fn a_key_that_is_lost_takes_the_login_from_no_other() {
    let house = FaultHouse::new();
    let worker = house.mount();
    worker.use_sessions(2, None);
    let mut scenes = scenes(&worker);
    assert_eq!(sign(&mut scenes, 1), []);
    let (lost, healthy) = scenes.split_at_mut(1);
    let trust_hsm::Material::Token(key) = &lost[0].order.material else { panic!("not in the token") };
    let id = key.object.to_string();
    for kind in ["privkey", "pubkey"] {
        house.token.pkcs11_tool(&["--delete-object", "--type", kind, "--id", &id]);
    }
    kill(&worker);
    until("the next worker serves", || sign(healthy, 1).is_empty());
    let (logins, restarts) = (house.calls("C_Login"), worker.restarts());

    let failed = std::thread::scope(|scope| {
        let others = scope.spawn(|| sign(healthy, 40));
        assert!((0..40).all(|_| lost[0].sign().is_err()));
        others.join().unwrap()
    });

    assert_eq!(failed, []);
    assert_eq!(worker.restarts(), restarts);
    assert!(house.calls("C_Login") <= logins + 1, "{} logins more", house.calls("C_Login") - logins);
}
