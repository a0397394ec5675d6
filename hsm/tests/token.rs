//! A token behind its worker: what it is given, what it refuses, and what is said when it does not serve.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

mod house;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use house::scene::{LONG, until, within_a_second};
use house::token::{LABEL, PIN, TokenHouse};
use house::{context, order};
use rustix::process::{Pid, Signal, kill_process};
use trust::{Algorithm, Purpose, Signable};
use trust_hsm::worker::{Supervisor, TokenConfig, TokenWorker};
use trust_hsm::{
    Custodian as _, CustodianState, CustodyError, DestroyOrder, KeyClass, Material, Pin, PinState, Removed, Session,
    SigningOrder, TokenSelector, TokenTrouble,
};

fn ready(worker: &TokenWorker) -> (Box<dyn Session>, SigningOrder) {
    let mut session = worker.open().unwrap();
    let context = context(Algorithm::EcdsaP256Sha256, Purpose::Image);
    let key = session.generate(&context).unwrap();
    let order = order(&context, &key, vec![Signable::Message(b"m".to_vec())]);
    (session, order)
}

fn sign_once(session: &mut dyn Session, order: &SigningOrder) -> Result<(), CustodyError> {
    session.sign(std::slice::from_ref(order), LONG).remove(0).map(drop)
}

#[test]
fn a_key_made_in_the_token_is_sensitive_and_was_never_extractable() {
    let house = TokenHouse::new();
    let worker = house.mount();
    let (_session, order) = ready(&worker);
    let Material::Token(key) = &order.material else { unreachable!() };

    let listed = house.pkcs11_tool(&["--list-objects", "--type", "privkey"]);

    assert!(listed.contains(&key.object.to_string()), "{listed}");
    assert!(listed.contains(&format!("trustd {}", order.context.key)), "{listed}");
    for word in ["sensitive", "always sensitive", "never extractable", "local"] {
        assert!(listed.contains(word), "{word}: {listed}");
    }
    let uses = listed.lines().find(|line| line.contains("Usage:")).unwrap();
    assert_eq!(uses.split(':').nth(1).unwrap().trim(), "sign", "{listed}");
}

#[test]
fn a_process_with_a_module_has_limits_and_is_the_first_to_go_when_memory_runs_out() {
    let house = TokenHouse::new();
    let worker = house.mount();
    let process = format!("/proc/{}", worker.pids()[0]);

    let limits = fs::read_to_string(format!("{process}/limits")).unwrap();
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line[name.len()..].split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };

    assert_eq!(limit("Max open files"), ["1024", "1024"], "{limits}");
    assert_eq!(limit("Max address space"), ["8589934592", "8589934592"], "{limits}");
    assert_eq!(fs::read_to_string(format!("{process}/oom_score_adj")).unwrap().trim(), "1000");
}

#[test]
fn what_a_lost_attempt_left_in_the_token_is_in_nobodys_way() {
    let house = TokenHouse::new();
    let worker = house.mount();
    let (mut session, lost) = ready(&worker);

    let again = session.generate(&lost.context).unwrap();

    let order = SigningOrder {
        spki_sha256: again.public_key.spki_sha256(),
        material: again.material,
        context: lost.context.clone(),
        inputs: lost.inputs.clone(),
    };
    assert_ne!(order.material, lost.material);
    sign_once(&mut *session, &order).unwrap();
    drop(worker);
    let later = house.mount();
    let mut session = later.open().unwrap();
    sign_once(&mut *session, &order).unwrap();
}

#[test]
fn a_killed_worker_is_back_with_its_keys_within_a_second() {
    let house = TokenHouse::new();
    let worker = house.mount();
    let (mut session, order) = ready(&worker);

    within_a_second(|round| {
        let pid = i32::try_from(worker.pids()[0]).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        let took = until("signing again", || sign_once(&mut *session, &order).is_ok());
        assert_eq!(worker.restarts(), round);
        took
    });
}

#[test]
fn a_wrong_label_or_serial_is_mounted_unavailable_and_names_what_is_there() {
    let house = TokenHouse::new();
    for selector in [TokenSelector::Label("another".to_owned()), TokenSelector::Serial("0123456789abcdef".to_owned())] {
        let mut config = house.config();
        config.place.token = selector;

        let worker = Supervisor::mount(config).unwrap();

        assert_eq!(worker.state(), CustodianState::Unavailable);
        let Some(TokenTrouble::Absent { what }) = worker.trouble() else { panic!("{:?}", worker.trouble()) };
        assert!(what.contains(LABEL), "{what}");
        let mut session = worker.open().unwrap();
        let refused = session.generate(&context(Algorithm::Ed25519, Purpose::Image)).unwrap_err();
        assert!(matches!(&refused, CustodyError::Unavailable { why } if why.contains(LABEL)), "{refused}");
    }
}

#[test]
fn a_label_that_two_tokens_have_is_refused_and_the_serial_asked_for() {
    let house = TokenHouse::new();
    house.add_token(LABEL);

    let worker = house.mount();

    let Some(TokenTrouble::Absent { what }) = worker.trouble() else { panic!("{:?}", worker.trouble()) };
    assert!(what.contains("name its serial"), "{what}");
}

#[test]
fn a_module_that_is_none_stops_the_mount_and_is_named() {
    let house = TokenHouse::new();
    let text = house.directory.path().join("text.so");
    fs::write(&text, "no library").unwrap();
    for (module, expected) in [
        (PathBuf::from("/nowhere/module.so"), "No such file"),
        (house.directory.path().to_owned(), "not a file"),
        (text, "load"),
        (PathBuf::from("/lib/x86_64-linux-gnu/libm.so.6"), "C_GetFunctionList"),
    ] {
        let mut config = house.config();
        config.place.module = module.clone();

        let refused = Supervisor::mount(config).unwrap_err().to_string();

        assert!(refused.contains(expected) && refused.contains(module.to_str().unwrap()), "{refused}");
    }
}

#[test]
fn a_loose_or_missing_pin_file_stops_the_mount_with_the_remedy() {
    let house = TokenHouse::new();
    fs::set_permissions(house.pin_file(), fs::Permissions::from_mode(0o644)).unwrap();
    let loose = Supervisor::mount(house.config()).unwrap_err().to_string();
    fs::remove_file(house.pin_file()).unwrap();
    let missing = Supervisor::mount(house.config()).unwrap_err().to_string();

    assert!(loose.contains("chmod 600"), "{loose}");
    assert!(missing.contains("No such file"), "{missing}");
}

#[test]
fn a_wrong_pin_is_unavailable_until_its_file_has_the_right_one() {
    let house = TokenHouse::new();
    house.write_pin("000000");
    for _ in 0..3 {
        let worker = house.mount();

        assert_eq!(worker.trouble(), Some(TokenTrouble::PinWrong));
        assert_eq!(worker.state(), CustodianState::Unavailable);
    }
    let worker = house.mount();
    house.write_pin(PIN);

    until("serving", || worker.state() == CustodianState::Ready);

    assert_eq!(worker.trouble(), None);
    ready(&worker);
}

#[test]
fn a_token_that_goes_away_is_named_and_comes_back_by_itself() {
    let house = TokenHouse::new();
    let worker = house.mount();
    let (mut session, order) = ready(&worker);
    let aside = house.directory.path().join("aside");

    fs::rename(house.tokens(), &aside).unwrap();
    until("named", || {
        let _ = sign_once(&mut *session, &order); // which may succeed until the module looks at its directory
        worker.probe();
        worker.state() == CustodianState::Unavailable && worker.trouble().is_some()
    });
    let refused = sign_once(&mut *session, &order).unwrap_err();
    assert!(matches!(&refused, CustodyError::Unavailable { why } if why.contains("token")), "{refused}");
    fs::rename(&aside, house.tokens()).unwrap();

    until("signing again", || sign_once(&mut *session, &order).is_ok());
    assert_eq!((worker.state(), worker.trouble()), (CustodianState::Ready, None));
}

#[test]
fn a_module_reaches_only_what_it_was_given() {
    let house = TokenHouse::new();
    let mut config = house.config();
    // Its configuration names a directory that the worker was not given.
    config.writable.clear();

    let worker = Supervisor::mount(config).unwrap();

    assert!(worker.trouble().is_some());
    let given = house.mount();
    let status = fs::read_to_string(format!("/proc/{}/status", given.pids()[0])).unwrap();
    assert!(status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"), "{status}");
}

fn pin(text: &str) -> Pin {
    Pin::take(&mut text.as_bytes().to_vec()).unwrap()
}

#[test]
fn a_token_without_a_pin_serves_after_a_login_and_as_long_as_the_daemon_runs() {
    let house = TokenHouse::new();
    let worker = Supervisor::mount(TokenConfig { pin_file: None, ..house.config() }).unwrap();
    assert_eq!(worker.trouble(), Some(TokenTrouble::PinMissing { token: "test".to_owned() }));
    assert_eq!((worker.state(), worker.pin_state()), (CustodianState::Unavailable, PinState::Missing));
    assert_eq!(worker.facts(), None);

    let refused = worker.login(pin("000000")).unwrap_err();
    assert!(matches!(&refused, CustodyError::Refused { why } if why.contains("refuses this PIN")), "{refused}");
    assert_eq!(worker.state(), CustodianState::Unavailable);
    worker.login(pin(PIN)).unwrap();

    assert_eq!((worker.state(), worker.pin_state()), (CustodianState::Ready, PinState::Proven));
    let facts = worker.facts().unwrap();
    assert_eq!((facts.label.as_str(), facts.manufacturer.as_str()), (LABEL, "SoftHSM project"));
    assert!(!facts.serial.is_empty() && facts.firmware.starts_with("2."), "{facts:?}");
    let (mut session, order) = ready(&worker);
    kill_process(Pid::from_raw(i32::try_from(worker.pids()[0]).unwrap()).unwrap(), Signal::KILL).unwrap();
    until("signing again", || sign_once(&mut *session, &order).is_ok());
    let again = worker.login(pin(PIN)).unwrap_err();
    assert!(matches!(&again, CustodyError::Refused { why } if why.contains("serves already")), "{again}");
}

#[test]
fn a_login_serves_though_the_pin_in_the_file_is_known_to_be_wrong() {
    let house = TokenHouse::new();
    house.write_pin("000000");
    let worker = house.mount();
    assert_eq!((worker.trouble(), worker.pin_state()), (Some(TokenTrouble::PinWrong), PinState::Refused));

    worker.login(pin(PIN)).unwrap();

    ready(&worker);
    drop(worker);
    assert_eq!(house.mount().trouble(), Some(TokenTrouble::PinWrong), "the file still has the wrong one");
}

#[test]
fn a_login_to_a_token_that_is_not_there_says_so_and_leaves_nothing() {
    let house = TokenHouse::new();
    let mut config = TokenConfig { pin_file: None, ..house.config() };
    config.place.token = TokenSelector::Label("another".to_owned());
    let worker = Supervisor::mount(config).unwrap();

    let absent = worker.login(pin(PIN)).unwrap_err();

    assert!(matches!(&absent, CustodyError::Unavailable { why } if why.contains(LABEL)), "{absent}");
    assert_eq!(worker.pin_state(), PinState::Missing);
}

fn destroy_order(order: &SigningOrder) -> DestroyOrder {
    let (context, material) = (order.context.clone(), order.material.clone());
    DestroyOrder { context, spki_sha256: order.spki_sha256, material }
}

#[test]
fn destroying_a_key_takes_its_two_objects_and_no_others() {
    let house = TokenHouse::new();
    let worker = house.mount();
    let (mut session, gone) = ready(&worker);
    let other = context(Algorithm::Ed25519, Purpose::Raw);
    let kept = session.generate(&other).unwrap();
    let kept = order(&other, &kept, vec![Signable::Message(b"m".to_vec())]);
    let count = |session: &mut dyn Session| session.objects().unwrap().objects.len();
    assert_eq!(count(&mut *session), 4);

    assert_eq!(session.destroy(&destroy_order(&gone)).unwrap(), Removed::Deleted);

    assert_eq!(count(&mut *session), 2);
    assert!(sign_once(&mut *session, &gone).is_err());
    sign_once(&mut *session, &kept).unwrap();
    assert_eq!(session.destroy(&destroy_order(&gone)).unwrap(), Removed::NotFound);
}

#[test]
fn an_object_that_is_not_the_registered_key_is_not_deleted() {
    let house = TokenHouse::new();
    let worker = house.mount();
    let (mut session, order) = ready(&worker);
    let right = destroy_order(&order);
    let wrong = DestroyOrder { spki_sha256: trust::Sha256Digest::of(b"another"), ..right.clone() };
    let altered = DestroyOrder { context: context(Algorithm::Ed25519, Purpose::Raw).into(), ..right.clone() };

    for refused in [wrong, altered] {
        let refused = session.destroy(&refused).unwrap_err();

        assert!(matches!(refused, CustodyError::Corrupt { .. }), "{refused}");
        assert_eq!(session.objects().unwrap().objects.len(), 2);
    }
    // A private half without its public one cannot be told from another key's.
    let Material::Token(key) = &order.material else { unreachable!() };
    let id = key.object.to_string();
    house.pkcs11_tool(&["--delete-object", "--type", "pubkey", "--id", &id]);
    let refused = session.destroy(&right).unwrap_err();
    assert!(matches!(&refused, CustodyError::Corrupt { what } if what.contains("not one of each")), "{refused}");
}

#[test]
fn a_deletion_that_was_interrupted_is_finished() {
    let house = TokenHouse::new();
    let worker = house.mount();
    let (mut session, order) = ready(&worker);
    let Material::Token(key) = &order.material else { unreachable!() };
    house.pkcs11_tool(&["--delete-object", "--type", "privkey", "--id", &key.object.to_string()]);

    assert_eq!(session.destroy(&destroy_order(&order)).unwrap(), Removed::Deleted);

    assert_eq!(session.objects().unwrap().objects, []);
}

#[test]
fn every_key_in_the_token_is_listed_whoever_made_it() {
    let house = TokenHouse::new();
    let worker = house.mount();
    let (mut session, order) = ready(&worker);
    house.pkcs11_tool(&["--keypairgen", "--key-type", "rsa:2048", "--id", "0a0b", "--label", "theirs"]);

    let listed = session.objects().unwrap();

    let Material::Token(key) = &order.material else { unreachable!() };
    let label = format!("trustd {}", order.context.key);
    let mut found: Vec<_> = listed
        .objects
        .iter()
        .map(|object| (object.class, object.id.as_slice(), &*object.label, &*object.key_type))
        .collect();
    let mut expected = Vec::new();
    for class in [KeyClass::Private, KeyClass::Public] {
        expected.push((class, key.object.id(), &*label, "ec"));
        expected.push((class, &[0x0a, 0x0b][..], "theirs", "rsa"));
    }
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert!(listed.is_whole);
}
