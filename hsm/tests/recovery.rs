//! A token that breaks in every way tokens break, behind its worker: nothing wrong comes out, and it comes back.
//!
//! The module that breaks is `trust-hsm-fault` (`hsm/tests/fault-module`) around SoftHSM.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "a promise in seconds is measured by the clock")]

mod house;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use house::scene::{DEADLINE, LONG, Scene, kill, numbered, until};
use house::token::{FaultHouse, LABEL};
use house::{House, Mount, context, order};
use trust::{Algorithm, Purpose, Signable};
use trust_hsm::worker::{Supervisor, TokenConfig, TokenWorker};
use trust_hsm::{Custodian as _, CustodianState, CustodyError, TokenTrouble};

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
    let broken = format!("{function}.{action}");
    let (before, restarts) = (house.calls(&broken), worker.restarts());
    house.at(function, nth, action);
    for _ in 0..=nth {
        let mut begun = Instant::now();
        match function {
            "C_Sign" => drop(scene.sign()),
            // A key that was not there before: one that was is refused before the call. After some that hung none is
            // let in for a while.
            "C_GenerateKeyPair" => drop(until("a key is asked for", || {
                begun = Instant::now();
                let calls = house.calls(function);
                let number = u8::try_from(calls % 250).unwrap();
                drop(scene.session.generate(&numbered(Algorithm::EcdsaP256Sha256, number)));
                house.calls(function) > calls
            })),
            // A worker calls these when it starts.
            _ => kill(worker),
        }
        scene.until_back();
        if house.calls(&broken) > before {
            let took = begun.elapsed();
            assert_eq!(house.calls(&broken), before + 1, "one call was broken");
            assert!(worker.restarts() > restarts, "{action} at call {nth} of {function} cost no worker");
            return took;
        }
    }
    panic!("call {nth} of {function} never came");
}

/// The same, within `limit`. A machine that is busy with other things may take the time from some of the tries; what
/// is ours to be late with is late in all of them.
fn broken_for(house: &FaultHouse, worker: &TokenWorker, scene: &mut Scene, at: (&str, u64, &str), limit: Duration) {
    let (function, nth, action) = at;
    let mut times = Vec::new();
    while times.len() < 6 {
        let took = break_at(house, worker, scene, function, nth, action);
        if took < limit {
            return;
        }
        times.push(took);
    }
    panic!("{action} at call {nth} of {function}: {times:?}");
}

/// The call up to which a function is broken: all that was promised takes minutes, and a gate has time for the first few.
fn calls() -> u64 {
    if std::env::var_os("TRUSTD_TEST_LONG").is_some() { 10 } else { 3 }
}

const BREAKABLE: [&str; 4] = ["C_Sign", "C_OpenSession", "C_Login", "C_GenerateKeyPair"];

/// Does `work` while a software key signs all the time, in a worker that nothing happens to, and never in vain.
fn beside_software(work: impl FnOnce()) {
    let software = House::open(Mount::Worker);
    let worker = software.worker.clone().unwrap();
    let pids = worker.pids();
    let done = AtomicBool::new(false);

    let signed = std::thread::scope(|scope| {
        let signing = scope.spawn(|| {
            let mut session = worker.open().unwrap();
            let context = context(Algorithm::EcdsaP256Sha256, Purpose::Image);
            let key = session.generate(&context).unwrap();
            let order = order(&context, &key, vec![Signable::Message(b"m".to_vec())]);
            let mut signed = 0_u64;
            while !done.load(Ordering::Acquire) {
                let signature = session.sign(std::slice::from_ref(&order), LONG).remove(0).unwrap().remove(0).unwrap();
                trust::verify::one(&key.public_key, &order.inputs[0], signature.as_bytes()).unwrap();
                signed += 1;
                std::thread::sleep(Duration::from_millis(5)); // the load is not what is tested
            }
            signed
        });
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Release);
        let signed = signing.join().unwrap();
        ended.map_err(std::panic::resume_unwind).unwrap();
        signed
    });

    assert!(signed > 0);
    assert_eq!((worker.pids(), worker.restarts()), (pids, 0));
}

#[test]
fn a_crash_at_any_call_is_over_within_two_seconds() {
    let _machine = alone();
    let house = FaultHouse::new();
    let worker = house.mount();
    let mut scene = Scene::with_key(&worker, 255);

    beside_software(|| {
        for action in ["segv", "abort"] {
            for nth in 1..=calls() {
                for function in BREAKABLE {
                    broken_for(&house, &worker, &mut scene, (function, nth, action), Duration::from_secs(2));
                }
            }
        }
    });
}

#[test]
fn a_hang_at_any_call_is_over_two_seconds_after_the_deadline() {
    let _machine = alone();
    let house = FaultHouse::new();
    drop(house.mount()); // a PIN that was never taken is shown twice at most, and a busy machine may be late with both
    let worker = Supervisor::mount(TokenConfig { hang_after: DEADLINE, ..house.config() }).unwrap();
    let mut scene = Scene::with_key(&worker, 255);

    beside_software(|| {
        for nth in 1..=calls() {
            for function in BREAKABLE {
                let at = (function, nth, "hang");
                broken_for(&house, &worker, &mut scene, at, DEADLINE + Duration::from_secs(2));
            }
        }
    });
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
    scene.until_back();
    assert_ne!(worker.pids(), pid);
    assert_eq!(worker.restarts(), 1);
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

/// tpm2-pkcs11 1.9 does this after it has deleted an object.
#[test]
fn a_new_key_that_gets_the_number_of_another_is_not_taken_and_the_other_is_not_deleted() {
    let _machine = shared();
    let house = FaultHouse::new();
    let worker = house.mount();
    let mut first = Scene::with_key(&worker, 1);
    let made = house.calls("C_GenerateKeyPair");
    let listed = || house.token.pkcs11_tool(&["--list-objects"]);
    let before = listed();
    house.command("C_GenerateKeyPair * swap");

    let refused = worker.open().unwrap().generate(&numbered(Algorithm::EcdsaP256Sha256, 2)).unwrap_err();

    assert!(house.calls("C_GenerateKeyPair") > made);
    assert!(matches!(&refused, CustodyError::Refused { .. }), "{refused}");
    // In another process, too: it is not that an open session still knows it.
    first.sign().unwrap();
    kill(&worker);
    first.until_back();
    assert_eq!(listed(), before, "what was made is gone, and nothing else");
}

#[test]
fn a_length_that_the_module_makes_up_costs_its_own_process_at_most() {
    let _machine = alone();
    let house = FaultHouse::new();
    let worker = house.mount();
    let mut scene = Scene::with_key(&worker, 1);

    for (length, cost) in [("0x7fffffff", 0), ("0x7fffffffffff", 1)] {
        let (told, restarts) = (house.calls("C_Sign.length"), worker.restarts());
        house.command(&format!("C_Sign * length {length}"));
        if let Err(error) = scene.sign() {
            assert!(matches!(error, CustodyError::Unavailable { .. }), "{error}");
        }
        house.command("");
        scene.until_back();
        assert!(house.calls("C_Sign.length") > told, "{length} was not told");
        assert_eq!(worker.restarts(), restarts + cost, "{length}");
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

    until("absent", || {
        drop(scene.sign());
        worker.state() != CustodianState::Ready && matches!(worker.trouble(), Some(TokenTrouble::Absent { .. }))
    });
    // After two tries of no use nobody waits for the next.
    until("nobody waits", || {
        let begun = Instant::now();
        scene.sign().is_err() && begun.elapsed() < Duration::from_millis(100)
    });
    let begun = Instant::now();
    for _ in 0..100 {
        let refused = scene.sign().unwrap_err();
        assert!(matches!(&refused, CustodyError::Unavailable { why } if why.contains(LABEL)), "{refused}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
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

    let refused = session.generate(&numbered(Algorithm::EcdsaP256Sha256, 1)).unwrap_err();

    assert!(matches!(refused, CustodyError::Refused { .. }), "{refused}");
    assert_eq!(house.token.pkcs11_tool(&["--list-objects"]).trim(), "");
    // Where a new session may help, the whole of it is done again, and the caller sees nothing.
    house.at("C_GetAttributeValue", 1, "rv 0x5");
    let _ = session.generate(&numbered(Algorithm::EcdsaP256Sha256, 1)).unwrap();
    let listed = house.token.pkcs11_tool(&["--list-objects", "--type", "privkey"]);
    assert_eq!(listed.matches("Private Key Object").count(), 1, "{listed}");
}

#[test]
fn signatures_under_random_faults_are_the_right_ones() {
    let _machine = shared();
    let house = FaultHouse::new();
    let worker = house.mount();
    let keys: Vec<Scene> = (1..=4).map(|number| Scene::with_key(&worker, number)).collect();
    house.command(
        "C_Sign ~97@1 rv 0xB3\nC_Sign ~211@2 corrupt\nC_Sign ~503@3 rv 0x101\nC_Sign ~307@4 rv 0x30\n\
         C_Sign ~1009@5 segv\nC_Sign ~1499@6 abort\nC_Sign ~1201@7 lose\n\
         C_SignInit ~151@8 swap\nC_FindObjectsInit ~83@9 rv 0xB3",
    );
    let each = SIGNATURES / 4;

    let ended: Vec<(u32, u32)> = std::thread::scope(|scope| {
        let threads: Vec<_> = keys.into_iter().map(|scene| scope.spawn(move || sign_often(scene, each))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });

    let (released, refused) = ended.iter().fold((0, 0), |sum, end| (sum.0 + end.0, sum.1 + end.1));
    assert_eq!(released, SIGNATURES);
    for fault in ["C_Sign.rv", "C_Sign.corrupt", "C_SignInit.swap", "C_FindObjectsInit.rv"] {
        assert!(house.calls(fault) > 0, "{fault} never came");
    }
    let crashes: u64 = ["C_Sign.segv", "C_Sign.abort", "C_Sign.lose"].map(|fault| house.calls(fault)).iter().sum();
    assert!(crashes > 0 && refused > 0, "{crashes} crashes, {refused} refused");
    assert!(worker.restarts() >= crashes, "{crashes} crashes, {} restarts", worker.restarts());
    let told: u64 = ["C_Sign.rv", "C_FindObjectsInit.rv"].map(|fault| house.calls(fault)).iter().sum();
    let (corrupted, swapped) = (house.calls("C_Sign.corrupt"), house.calls("C_SignInit.swap"));
    println!(
        "{released} signatures, all right; faults: {told} return codes, {corrupted} corrupted signatures, {swapped} \
         handles of another key, {crashes} crashes; {refused} calls refused, {} workers started again",
        worker.restarts()
    );
}

/// How many signatures are made under random faults.
const SIGNATURES: u32 = 10_000;

/// Signs `often` messages, each verified under the key that was asked for; says how many came out, and how many calls
/// were refused on the way.
fn sign_often(mut scene: Scene, often: u32) -> (u32, u32) {
    let mut refused = 0;
    for number in 0..often {
        scene.order.inputs = vec![Signable::Message(format!("message {number}").into_bytes())];
        until("signed", || match scene.sign() {
            Ok(_) => true,
            Err(error) => {
                assert!(matches!(error, CustodyError::Unavailable { .. }), "{error}");
                refused += 1;
                false
            }
        });
    }
    (often, refused)
}
