//! A token that breaks in every way tokens break, behind its worker: nothing wrong comes out, and it comes back.
//!
//! The module that breaks is `trust-hsm-fault` (`hsm/tests/fault-module`) around SoftHSM.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "a promise in seconds is measured by the clock")]

mod house;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use house::token::{FaultHouse, LABEL, PIN};
use house::{context, order};
use rustix::process::{Pid, Signal, kill_process};
use trust::{Algorithm, KeyId, PublicKey, Purpose, Signable, Signature};
use trust_hsm::worker::{Supervisor, TokenConfig, TokenWorker};
use trust_hsm::{Custodian as _, CustodianState, CustodyError, SealContext, Session, SigningOrder, TokenTrouble};

const LONG: Duration = Duration::from_secs(60);
/// What is taken for a hang where tokens hang.
const DEADLINE: Duration = Duration::from_secs(1);

/// A key in the token, a session, and an order to sign with both.
struct Scene {
    session: Box<dyn Session>,
    order: SigningOrder,
    public_key: PublicKey,
}

fn numbered(number: u8) -> SealContext {
    let mut context = context(Algorithm::EcdsaP256Sha256, Purpose::Image);
    context.key.id = KeyId::from_bytes([number; 16]);
    context
}

impl Scene {
    fn with_key(worker: &TokenWorker, number: u8) -> Self {
        let mut session = worker.open().unwrap();
        let context = numbered(number);
        let key = session.generate(&context).unwrap();
        let order = order(&context, &key, vec![Signable::Message(b"m".to_vec())]);
        Self { session, order, public_key: key.public_key }
    }

    fn sign(&mut self) -> Result<Signature, CustodyError> {
        let signed = self.session.sign(std::slice::from_ref(&self.order), LONG).remove(0)?.remove(0)?;
        trust::verify::one(&self.public_key, &self.order.inputs[0], signed.as_bytes()).unwrap();
        Ok(signed)
    }

    /// Signs until it works, and says how long that took.
    fn until_back(&mut self) -> Duration {
        let begun = Instant::now();
        while self.sign().is_err() {
            assert!(begun.elapsed() < LONG, "the token did not come back");
            std::thread::yield_now();
        }
        begun.elapsed()
    }
}

/// Kills the worker and waits until it is no more.
fn kill(worker: &TokenWorker) {
    let Some(pid) = worker.pids().first().copied() else { return };
    // It may have ended by itself.
    let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL);
    while worker.pids().contains(&pid) {
        std::thread::yield_now();
    }
}

/// Held for writing by tests that measure time, so that the others do not take it from them.
static MACHINE: RwLock<()> = RwLock::new(());

fn shared() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// Breaks the `nth` call of `function` from now on, calls it until then, and says how long the token was away.
fn break_at(
    house: &FaultHouse,
    worker: &TokenWorker,
    scene: &mut Scene,
    function: &str,
    nth: u64,
    action: &str,
) -> Duration {
    let due = house.calls(function) + nth;
    house.at(function, nth, action);
    for _ in 0..=nth {
        let begun = Instant::now();
        match function {
            "C_Sign" => drop(scene.sign()),
            // A key that was not there before: one that was is refused before the call.
            "C_GenerateKeyPair" => {
                let number = u8::try_from(house.calls(function)).unwrap();
                drop(scene.session.generate(&numbered(number)));
            }
            // A worker calls these when it starts.
            _ => kill(worker),
        }
        scene.until_back();
        if house.calls(function) >= due {
            return begun.elapsed();
        }
    }
    panic!("call {nth} of {function} never came");
}

const BREAKABLE: [&str; 4] = ["C_Sign", "C_OpenSession", "C_Login", "C_GenerateKeyPair"];

#[test]
fn a_crash_at_any_call_is_over_within_two_seconds() {
    let _machine = alone();
    let house = FaultHouse::new();
    let worker = house.mount();
    let mut scene = Scene::with_key(&worker, 255);

    for action in ["segv", "abort"] {
        for nth in 1..=10 {
            for function in BREAKABLE {
                let restarts = worker.restarts();

                let took = break_at(&house, &worker, &mut scene, function, nth, action);

                assert!(took < Duration::from_secs(2), "{action} at call {nth} of {function}: {took:?}");
                assert!(worker.restarts() > restarts, "{action} at call {nth} of {function}");
            }
        }
    }
}

#[test]
fn a_hang_at_any_call_is_over_two_seconds_after_the_deadline() {
    let _machine = alone();
    let house = FaultHouse::new();
    let worker = Supervisor::mount(TokenConfig { hang_after: DEADLINE, ..house.config() }).unwrap();
    let mut scene = Scene::with_key(&worker, 255);

    for nth in [1, 3] {
        for function in BREAKABLE {
            let took = break_at(&house, &worker, &mut scene, function, nth, "hang");

            assert!(took >= DEADLINE, "call {nth} of {function} did not hang");
            assert!(took < DEADLINE + Duration::from_secs(2), "call {nth} of {function}: {took:?}");
        }
    }
}

#[test]
fn a_dead_session_costs_its_caller_nothing() {
    let _machine = shared();
    let house = FaultHouse::new();
    let worker = house.mount();
    let mut scene = Scene::with_key(&worker, 1);
    scene.sign().unwrap();

    // CKR_SESSION_HANDLE_INVALID, SESSION_CLOSED, OBJECT_HANDLE_INVALID, KEY_HANDLE_INVALID, DEVICE_ERROR, and a vendor's own
    for code in ["0xB3", "0xB0", "0x82", "0x60", "0x30", "0x80000001"] {
        let (logins, opened) = (house.calls("C_Login"), house.calls("C_OpenSession"));
        house.at("C_Sign", 1, &format!("rv {code}"));

        scene.sign().unwrap();

        assert_eq!(house.calls("C_Login"), logins, "{code}");
        assert_eq!(house.calls("C_OpenSession"), opened + 1, "{code}");
    }
    assert_eq!(worker.restarts(), 0);
}

#[test]
fn a_lost_login_is_renewed_once_and_a_second_fault_takes_the_login_too() {
    let _machine = shared();
    let house = FaultHouse::new();
    let worker = house.mount();
    let mut scene = Scene::with_key(&worker, 1);
    let mut other = worker.open().unwrap();

    let logins = house.calls("C_Login");
    house.at("C_Sign", 1, "rv 0x101"); // CKR_USER_NOT_LOGGED_IN
    scene.sign().unwrap();
    assert_eq!(house.calls("C_Login"), logins + 1);

    let next = house.calls("C_Sign") + 1;
    house.command(&format!("C_Sign {next} rv 0xB3\nC_Sign {} rv 0xB3", next + 1));
    scene.sign().unwrap();
    assert_eq!(house.calls("C_Login"), logins + 2);
    // A session that was opened under the older login finds its way, too.
    let signed = other.sign(std::slice::from_ref(&scene.order), LONG).remove(0).unwrap();
    assert!(signed[0].is_ok());
    assert_eq!(worker.restarts(), 0);
}

#[test]
fn what_no_login_heals_gets_a_new_process() {
    let _machine = alone();
    let house = FaultHouse::new();
    let worker = house.mount();
    let mut scene = Scene::with_key(&worker, 1);
    let pid = worker.pids();
    let next = house.calls("C_Sign") + 1;
    let thrice: Vec<String> = (next..next + 3).map(|call| format!("C_Sign {call} rv 0x5")).collect();
    house.command(&thrice.join("\n"));

    let refused = scene.sign().unwrap_err();

    assert!(matches!(&refused, CustodyError::Unavailable { why } if why.contains("CKR_GENERAL_ERROR")), "{refused}");
    assert!(scene.until_back() < Duration::from_secs(2));
    assert_ne!(worker.pids(), pid);
}

#[test]
fn a_corrupted_signature_or_a_recycled_handle_never_comes_out() {
    let _machine = shared();
    let house = FaultHouse::new();
    let worker = house.mount();
    let (mut first, mut second) = (Scene::with_key(&worker, 1), Scene::with_key(&worker, 2));
    first.sign().unwrap();
    second.sign().unwrap();

    // Once: the key is found again, and the caller gets its signature, which `sign` verifies.
    for (function, action) in [("C_Sign", "corrupt"), ("C_SignInit", "swap")] {
        house.at(function, 1, action);
        first.sign().unwrap();
    }
    assert_eq!(worker.restarts(), 0);
    // Always: refused, and no other process is tried for it.
    house.command("C_Sign * corrupt");
    let refused = first.sign().unwrap_err();
    assert!(matches!(&refused, CustodyError::Failed { what } if what.contains("does not verify")), "{refused}");
    house.command("");
    second.sign().unwrap();
    assert_eq!(worker.restarts(), 0);
}

#[test]
fn a_length_that_the_module_makes_up_costs_its_own_process_at_most() {
    let _machine = alone();
    let house = FaultHouse::new();
    let worker = house.mount();
    let mut scene = Scene::with_key(&worker, 1);

    for length in ["0x7fffffff", "0x7fffffffffff"] {
        house.command(&format!("C_Sign * length {length}"));
        if let Err(error) = scene.sign() {
            assert!(matches!(error, CustodyError::Unavailable { .. }), "{error}");
        }
        house.command("");
        assert!(scene.until_back() < Duration::from_secs(2));
    }
}

#[test]
fn a_wrong_pin_costs_one_login_in_three_daemons_and_any_number_of_requests() {
    let _machine = shared();
    let house = FaultHouse::new();
    house.token.write_pin("000000");

    for _ in 0..3 {
        let worker = house.mount();
        let mut session = worker.open().unwrap();
        for number in 0..20 {
            let refused = session.generate(&numbered(number)).unwrap_err();
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
    let _machine = shared();
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
fn an_absent_token_is_said_at_once_and_comes_back_by_itself() {
    let _machine = alone();
    let house = FaultHouse::new();
    let worker = house.mount();
    let mut scene = Scene::with_key(&worker, 1);
    // CKR_TOKEN_NOT_PRESENT, whatever is asked
    house.command("C_GetTokenInfo * rv 0xE0\nC_OpenSession * rv 0xE0\nC_Sign * rv 0xE0");

    while worker.state() == CustodianState::Ready || !matches!(worker.trouble(), Some(TokenTrouble::Absent { .. })) {
        drop(scene.sign());
    }
    std::thread::sleep(Duration::from_millis(500));
    let begun = Instant::now();
    for _ in 0..100 {
        let refused = scene.sign().unwrap_err();
        assert!(matches!(&refused, CustodyError::Unavailable { why } if why.contains(LABEL)), "{refused}");
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    house.command("");

    scene.until_back();
    assert_eq!((worker.state(), worker.trouble()), (CustodianState::Ready, None));
}

#[test]
fn a_key_that_cannot_be_proven_is_removed_again() {
    let _machine = shared();
    let house = FaultHouse::new();
    let worker = house.mount();
    let mut session = worker.open().unwrap();
    // CKR_ATTRIBUTE_VALUE_INVALID to the first question about the new key
    house.at("C_GetAttributeValue", 1, "rv 0x13");

    let refused = session.generate(&numbered(1)).unwrap_err();

    assert!(matches!(refused, CustodyError::Refused { .. }), "{refused}");
    assert_eq!(house.token.pkcs11_tool(&["--list-objects"]).trim(), "");
    // Where a new session may help, the whole of it is done again, and the caller sees nothing.
    house.at("C_GetAttributeValue", 1, "rv 0x5");
    let _ = session.generate(&numbered(1)).unwrap();
    let listed = house.token.pkcs11_tool(&["--list-objects", "--type", "privkey"]);
    assert_eq!(listed.matches("Private Key Object").count(), 1, "{listed}");
}

#[test]
fn ten_thousand_signatures_under_random_faults_are_the_right_ones() {
    let _machine = shared();
    let house = FaultHouse::new();
    let worker = house.mount();
    let keys: Vec<Scene> = (1..=4).map(|number| Scene::with_key(&worker, number)).collect();
    house.command(
        "C_Sign /97 rv 0xB3\nC_Sign /211 corrupt\nC_Sign /503 rv 0x101\nC_Sign /1009 segv\nC_Sign /1499 abort\n\
         C_SignInit /151 swap\nC_FindObjectsInit /83 rv 0xB3",
    );

    let refused: u32 = std::thread::scope(|scope| {
        let threads: Vec<_> = keys.into_iter().map(|scene| scope.spawn(move || sign_often(scene, 2500))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });

    assert!(refused > 0 && worker.restarts() > 5, "{refused} refused, {} restarts", worker.restarts());
}

/// Signs `often` messages, which are verified, and says how many calls were refused on the way.
fn sign_often(mut scene: Scene, often: u32) -> u32 {
    let mut refused = 0;
    for number in 0..often {
        scene.order.inputs = vec![Signable::Message(format!("message {number}").into_bytes())];
        while let Err(error) = scene.sign() {
            assert!(matches!(error, CustodyError::Unavailable { .. }), "{error}");
            refused += 1;
            std::thread::yield_now();
        }
    }
    refused
}
