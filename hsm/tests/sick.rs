//! Tokens that are slow, and keys that are sick: what is borne with, what is kept out, and what is not blamed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "a promise in seconds is measured by the clock")]

mod house;

use std::time::{Duration, Instant};

use house::scene::{Scene, numbered, until};
use house::token::FaultHouse;
use trust::{Algorithm, Signable};
use trust_hsm::worker::{Supervisor, TokenConfig};
use trust_hsm::{Custodian as _, CustodyError, Material};

#[test]
fn a_token_that_makes_an_rsa_key_is_not_taken_for_one_that_hangs() {
    let house = FaultHouse::new();
    let hang_after = Duration::from_secs(8);
    let worker = Supervisor::mount(TokenConfig { hang_after, ..house.config() }).unwrap();
    let mut scene = Scene::with_key(&worker, 1);
    let mut maker = worker.open().unwrap();
    house.at("C_GenerateKeyPair", 1, "hold 20000");

    std::thread::scope(|scope| {
        let making = scope.spawn(move || maker.generate(&numbered(Algorithm::Rsa3072Pkcs1Sha256, 2)));
        until("it is being made", || house.calls("C_GenerateKeyPair.hold") == 1);
        let begun = Instant::now();

        worker.probe();
        assert!(begun.elapsed() < hang_after, "nobody is asked meanwhile");
        scene.sign().unwrap();
        assert!(begun.elapsed() > hang_after, "it was not busy for long enough");

        let _ = making.join().unwrap().unwrap();
    });
    assert_eq!(worker.restarts(), 0);
}

#[test]
fn a_batch_ends_when_its_time_is_over_and_says_so_for_the_rest() {
    let house = FaultHouse::new();
    let worker = house.mount();
    let mut scene = Scene::with_key(&worker, 1);
    scene.sign().unwrap();
    let before = house.calls("C_Sign");
    house.command("C_Sign * delay 500");
    scene.order.inputs = (0..40_u8).map(|number| Signable::Message(vec![number])).collect();

    let signed = scene.session.sign(std::slice::from_ref(&scene.order), Duration::from_secs(3)).remove(0).unwrap();

    assert_eq!(signed.len(), 40);
    let done = signed.iter().take_while(|one| one.is_ok()).count();
    assert!((1..=7).contains(&done), "{done}");
    assert!(signed[done..].iter().all(|one| *one == Err(CustodyError::Late)));
    assert_eq!(house.calls("C_Sign"), before + u64::try_from(done).unwrap());
}

#[test]
fn a_probe_climbs_the_ladder_from_its_first_rung() {
    let house = FaultHouse::new();
    let worker = house.mount();
    let mut scene = Scene::with_key(&worker, 1);
    let pids = worker.pids();
    let looks = |rungs: u64| {
        let next = house.calls("C_GetSessionInfo") + 1;
        let lines: Vec<String> = (next..next + rungs).map(|call| format!("C_GetSessionInfo {call} rv 0xB3")).collect();
        house.command(&lines.join("\n"));
        let (opened, logins) = (house.calls("C_OpenSession"), house.calls("C_Login"));
        worker.probe();
        (house.calls("C_OpenSession") - opened, house.calls("C_Login") - logins)
    };

    assert_eq!(looks(0), (0, 0));
    assert_eq!(looks(1), (1, 0), "a new session");
    assert_eq!(looks(2), (2, 1), "a new login");
    assert_eq!((worker.pids(), worker.restarts()), (pids, 0));
    scene.sign().unwrap();

    let _ = looks(3);
    scene.until_back();
    assert_eq!(worker.restarts(), 1, "a new process");
}

#[test]
fn one_sick_key_costs_a_few_workers_and_is_then_refused_at_once_while_others_sign() {
    let house = FaultHouse::new();
    let worker = house.mount();
    let mut sick = Scene::with(&worker, Algorithm::EcdsaP256Sha256, 1);
    let mut sound = Scene::with(&worker, Algorithm::Ed25519, 2);
    house.command("C_SignInit.1041 * segv"); // CKM_ECDSA

    let mut kept_out = 0;
    let begun = Instant::now();
    for _ in 0..60 {
        let refused = sick.sign().unwrap_err();
        assert!(matches!(refused, CustodyError::Unavailable { .. }), "{refused}");
        if refused.to_string().contains("workers in a row") {
            kept_out += 1;
            assert!(sick.session.is_untouched(0), "no worker was asked");
        }
        sound.until_back();
    }

    // Three, and then one after each pause, which doubles: 1 s, 2 s, 4 s…
    let pauses = u64::from(begun.elapsed().as_secs().checked_ilog2().unwrap_or(0)) + 1;
    assert!((3..=3 + pauses).contains(&worker.restarts()), "{} in {:?}", worker.restarts(), begun.elapsed());
    assert!(kept_out >= 30, "{kept_out}");
    house.command("");
    sick.until_back();
    sick.sign().unwrap();
}

#[test]
fn keys_may_not_be_modified_in_the_token_and_one_that_does_not_take_that_makes_them_all_the_same() {
    let house = FaultHouse::new();
    let worker = house.mount();
    let mut scene = Scene::with_key(&worker, 1);
    scene.sign().unwrap();
    let Material::Token(key) = &scene.order.material else { unreachable!() };

    let another_id = ["--type", "privkey", "--id", &key.object.to_string(), "--set-id", "77"];
    let complaint = house.token.try_pkcs11_tool(&another_id).unwrap_err();
    assert!(complaint.contains("0x1b") || complaint.contains("CKR_ACTION_PROHIBITED"), "{complaint}");

    // CKR_ATTRIBUTE_VALUE_INVALID to the first template
    let calls = house.calls("C_GenerateKeyPair");
    house.at("C_GenerateKeyPair", 1, "rv 0x13");
    let _ = scene.session.generate(&numbered(Algorithm::EcdsaP256Sha256, 2)).unwrap();
    assert_eq!(house.calls("C_GenerateKeyPair"), calls + 2);
}
