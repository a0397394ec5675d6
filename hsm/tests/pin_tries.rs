//! What a PIN costs that is wrong, or whose answer is lost: counted by the module that the worker loads.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

mod house;

use house::scene::{DEADLINE, Scene, kill, numbered, until};
use house::token::{FaultHouse, PIN};
use trust::Algorithm;
use trust_hsm::worker::{Supervisor, TokenConfig, TokenWorker};
use trust_hsm::{Custodian as _, CustodianState, CustodyError, TokenTrouble};

fn until_trouble(worker: &TokenWorker, trouble: &TokenTrouble) {
    until("the trouble is said", || worker.trouble().as_ref() == Some(trouble));
}

fn until_ready(worker: &TokenWorker) {
    until("it serves", || worker.state() == CustodianState::Ready);
}

#[test]
fn a_wrong_pin_costs_one_login_in_three_daemons_and_any_number_of_requests() {
    let house = FaultHouse::new();
    house.token.write_pin("000000");

    for _ in 0..3 {
        let worker = house.mount();
        let mut session = worker.open().unwrap();
        for number in 0..20 {
            let refused = session.generate(&numbered(Algorithm::EcdsaP256Sha256, number)).unwrap_err();
            assert!(matches!(&refused, CustodyError::Unavailable { why } if why.contains("PIN")), "{refused}");
        }
    }

    assert_eq!(house.calls("C_Login"), 1);
    house.token.write_pin(PIN);
    let worker = house.mount();
    Scene::with_key(&worker, 1).sign().unwrap();
    assert_eq!(house.calls("C_Login"), 2);
}

#[test]
fn a_pin_that_was_changed_in_the_token_costs_one_login() {
    for renewal_in_the_process in [true, false] {
        let house = FaultHouse::new();
        let worker = house.mount();
        let mut scene = Scene::with_key(&worker, 1);
        house.token.pkcs11_tool(&["--change-pin", "--new-pin", "564738"]);
        let logins = house.calls("C_Login");

        if renewal_in_the_process {
            // SoftHSM itself would not notice before it is loaded anew: CKR_PIN_INCORRECT, as tokens have it.
            let (sign, login) = (house.calls("C_Sign") + 1, logins + 1);
            house.command(&format!("C_Sign {sign} rv 0x101\nC_Login {login} rv 0xA0"));
            scene.sign().unwrap_err();
        } else {
            kill(&worker);
        }
        for _ in 0..50 {
            scene.sign().unwrap_err();
        }

        assert_eq!(worker.trouble(), Some(TokenTrouble::PinWrong));
        assert_eq!(house.calls("C_Login"), logins + 1);
        house.token.write_pin("564738");
        scene.until_back();
        assert_eq!(house.calls("C_Login"), logins + 2);
    }
}

#[test]
fn a_wrong_pin_whose_answer_is_lost_is_shown_to_the_token_once_by_three_daemons() {
    let house = FaultHouse::new();
    house.token.write_pin("000000");
    house.at("C_Login", 1, "lose");

    for _ in 0..3 {
        let worker = house.mount();
        until_trouble(&worker, &TokenTrouble::PinUnanswered);
        assert_eq!(worker.restarts(), 0, "none that served has taken another's place");
    }

    assert_eq!((house.calls("C_Login"), house.calls("C_Login.lose")), (1, 1));
    house.token.write_pin(PIN);
    let worker = house.mount();
    Scene::with_key(&worker, 1).sign().unwrap();
    assert_eq!(house.calls("C_Login"), 2);
}

#[test]
fn a_wrong_pin_that_the_token_never_saw_is_shown_to_it_once_after_the_crash() {
    let house = FaultHouse::new();
    house.token.write_pin("000000");
    house.at("C_Login", 1, "abort");

    for _ in 0..3 {
        let worker = house.mount();
        until_trouble(&worker, &TokenTrouble::PinWrong);
    }

    assert_eq!((house.calls("C_Login"), house.calls("C_Login.abort")), (2, 1));
}

#[test]
fn a_first_pin_is_shown_twice_at_most_while_its_answers_are_lost() {
    let house = FaultHouse::new();
    house.command("C_Login * abort");

    for _ in 0..3 {
        let worker = house.mount();
        until_trouble(&worker, &TokenTrouble::PinUnanswered);
    }

    assert_eq!(house.calls("C_Login"), 2);
}

#[test]
fn a_first_pin_whose_answer_hangs_is_taken_by_the_next_worker() {
    let house = FaultHouse::new();
    house.at("C_Login", 1, "hang");

    let worker = Supervisor::mount(TokenConfig { hang_after: 10 * DEADLINE, ..house.config() }).unwrap();
    until_ready(&worker);

    Scene::with_key(&worker, 1).sign().unwrap();
    assert_eq!((house.calls("C_Login"), house.calls("C_Login.hang")), (2, 1));
}

#[test]
fn a_pin_that_was_taken_once_is_tried_after_any_number_of_crashes_also_by_another_daemon() {
    let house = FaultHouse::new();
    let worker = house.mount();
    until_ready(&worker);
    house.command("C_Login * abort");
    let logins = house.calls("C_Login");

    kill(&worker);
    until("it was tried often", || house.calls("C_Login") > logins + 4);
    drop(worker);
    let later = house.mount();
    until("it was tried often by another", || house.calls("C_Login") > logins + 8);
    house.command("");

    until_ready(&later);
}

#[test]
fn a_login_that_the_token_says_stands_already_proves_no_pin() {
    let house = FaultHouse::new();
    house.token.write_pin("000000");
    house.at("C_Login", 1, "rv 0x100"); // CKR_USER_ALREADY_LOGGED_IN
    let worker = house.mount();
    assert_eq!((worker.state(), house.calls("C_Login.rv")), (CustodianState::Ready, 1));
    assert!(!house.config().pin_mark.exists());

    // Nobody is inside, in truth: a key is not to be had, and the next worker shows the PIN.
    let refused = worker.open().unwrap().generate(&numbered(Algorithm::EcdsaP256Sha256, 1)).unwrap_err();
    assert!(matches!(refused, CustodyError::Unavailable { .. }), "{refused}");
    until_trouble(&worker, &TokenTrouble::PinWrong);

    assert_eq!(house.calls("C_Login"), 2);
}
