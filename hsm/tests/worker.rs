//! The worker process: how it dies, comes back, and what it has given up.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "a promise in seconds is measured by the clock")]

mod house;

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use house::scene::within_a_second;
use house::{House, Mount, context, order};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use trust::{Algorithm, Purpose, Signable};
use trust_hsm::worker::{Supervisor, WorkerConfig, WorkerCustodian};
use trust_hsm::{CustodianState, CustodyError, Passphrase, RewrapOrder, RootSource, Session, SigningOrder};

const LONG: Duration = Duration::from_secs(60);

fn worker(house: &House) -> &Arc<WorkerCustodian> {
    house.worker.as_ref().unwrap()
}

fn signal(worker: &WorkerCustodian, signal: Signal) {
    let pid = i32::try_from(worker.pids()[0]).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Stops every thread of the worker: the signal alone leaves a moment in which one still answers.
fn stop(worker: &WorkerCustodian) {
    signal(worker, Signal::STOP);
    let tasks = || fs::read_dir(format!("/proc/{}/task", worker.pids()[0])).unwrap();
    let stopped = |task: fs::DirEntry| fs::read_to_string(task.path().join("stat")).unwrap().contains(") T ");
    while !tasks().all(|task| stopped(task.unwrap())) {
        std::thread::yield_now();
    }
}

fn sign_once(session: &mut dyn Session, order: &SigningOrder) -> Result<(), CustodyError> {
    session.sign(std::slice::from_ref(order), LONG).remove(0).map(drop)
}

/// A session and an order that it can sign.
fn ready(house: &House) -> (Box<dyn Session>, SigningOrder) {
    let mut session = house.custodian.open().unwrap();
    let context = context(Algorithm::Ed25519, Purpose::Image);
    let key = session.generate(&context).unwrap();
    let order = order(&context, &key, vec![Signable::Message(b"m".to_vec())]);
    (session, order)
}

/// Signs until it works, and says how long that took.
fn until_back(session: &mut dyn Session, order: &SigningOrder) -> Duration {
    let killed = Instant::now();
    while sign_once(session, order).is_err() {
        assert!(killed.elapsed() < LONG, "the worker did not come back");
        std::thread::yield_now();
    }
    killed.elapsed()
}

#[test]
fn a_killed_worker_is_back_with_its_keys_within_a_second() {
    let house = House::open(Mount::Worker);
    let (mut session, order) = ready(&house);
    let mut other = house.custodian.open().unwrap();

    within_a_second(|round| {
        let before = worker(&house).pids();
        signal(worker(&house), Signal::KILL);
        let took = until_back(&mut *session, &order);

        sign_once(&mut *other, &order).or_else(|_| sign_once(&mut *other, &order)).unwrap();
        assert_ne!(worker(&house).pids(), before);
        assert_eq!(house.custodian.restarts(), round);
        took
    });
}

#[test]
fn a_worker_that_hangs_is_late_once_and_replaced() {
    let mut house = House::open(Mount::Worker);
    house = impatient(house);
    let (mut session, order) = ready(&house);

    within_a_second(|round| {
        stop(worker(&house));
        assert_eq!(sign_once(&mut *session, &order), Err(CustodyError::Late));
        let took = until_back(&mut *session, &order);
        assert_eq!(house.custodian.restarts(), round);
        took
    });
}

#[test]
fn every_signature_that_comes_out_between_kills_is_the_right_one() {
    let house = House::open(Mount::Worker);
    let context = context(Algorithm::Ed25519, Purpose::Image);
    let key = house.custodian.open().unwrap().generate(&context).unwrap();
    let stop = AtomicBool::new(false);
    let sign_until_stopped = &|thread: usize| {
        let mut session = house.custodian.open().unwrap();
        let (mut signed, mut number) = (0_u32, 0_u32);
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let input = Signable::Message(format!("{thread}/{number}").into_bytes());
            match session.sign(&[order(&context, &key, vec![input.clone()])], LONG).remove(0) {
                Ok(signatures) => {
                    let signature = signatures[0].as_ref().unwrap();
                    trust::verify::one(&key.public_key, &input, signature.as_bytes()).unwrap();
                    signed += 1;
                }
                Err(error) => assert!(matches!(error, CustodyError::Unavailable { .. }), "{error}"),
            }
        }
        signed
    };

    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || sign_until_stopped(thread))).collect();
        let mut session = house.custodian.open().unwrap();
        let own = order(&context, &key, vec![Signable::Message(b"own".to_vec())]);
        for _ in 0..25 {
            signal(worker(&house), Signal::KILL);
            until_back(&mut *session, &own);
        }
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            assert!(thread.join().unwrap() > 0);
        }
    });

    assert_eq!(house.custodian.restarts(), 25);
}

#[test]
fn signing_goes_on_while_the_ring_is_rotated() {
    let house = House::open(Mount::Worker);
    let context = context(Algorithm::Ed25519, Purpose::Image);
    let mut session = house.custodian.open().unwrap();
    let key = session.generate(&context).unwrap();
    let current = Mutex::new(order(&context, &key, vec![Signable::Message(b"m".to_vec())]));
    let stop = AtomicBool::new(false);

    std::thread::scope(|scope| {
        let signing = scope.spawn(|| {
            let mut session = house.custodian.open().unwrap();
            while !stop.load(Ordering::Relaxed) {
                // Held while it signs: no record is used after its version was destroyed.
                let order = current.lock().unwrap();
                sign_once(&mut *session, &order).unwrap();
            }
        });
        for round in 2..=6 {
            assert_eq!(house.ring.begin_rotation().unwrap().number(), round);
            let mut order = current.lock().unwrap();
            let rewrap = RewrapOrder {
                context: Arc::clone(&order.context),
                spki_sha256: order.spki_sha256,
                material: order.material.clone(),
            };
            order.material = session.rewrap(&[rewrap]).remove(0).unwrap();
            drop(order);
            house.ring.finish_rotation().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        signing.join().unwrap();
    });

    assert_eq!(house.ring.list().unwrap().len(), 6);
}

/// The same house behind a worker that gets a second only.
fn impatient(mut house: House) -> House {
    let config =
        WorkerConfig { hang_after: Duration::from_secs(1), ..house::config(&house.ring_path, &house.root_file) };
    let worker = Supervisor::spawn(config).unwrap();
    house.custodian = worker.clone();
    house.ring = worker.clone();
    house.worker = Some(worker);
    let _ = house.unseal().unwrap();
    house
}

#[test]
fn a_restart_ends_a_call_that_hangs() {
    let house = House::open(Mount::Worker);
    let (mut session, order) = ready(&house);
    let supervised = Arc::clone(worker(&house));
    stop(worker(&house));

    let hanging = std::thread::spawn(move || (sign_once(&mut *session, &order), session, order));
    supervised.restart();
    let (outcome, mut session, order) = hanging.join().unwrap();

    // Depending on who was first, the call died with the old worker or found the new one.
    assert!(matches!(outcome, Ok(()) | Err(CustodyError::Unavailable { .. })), "{outcome:?}");
    until_back(&mut *session, &order);
}

#[test]
fn a_worker_opened_by_a_passphrase_comes_back_sealed() {
    let passphrase = || RootSource::Passphrase(Passphrase::take(&mut b"correct horse".to_vec()).unwrap());
    let house = House::with(TempDir::new().unwrap(), Mount::Worker, &passphrase());
    let wrong = RootSource::Passphrase(Passphrase::take(&mut b"wrong horse".to_vec()).unwrap());
    assert_eq!(house.custodian.state(), CustodianState::Sealed);
    assert!(matches!(house.ring.unseal(wrong), Err(CustodyError::Refused { .. })));
    assert_eq!(house.custodian.state(), CustodianState::Sealed);
    let before = house.ring.unseal(passphrase()).unwrap();
    let (mut session, order) = ready(&house);

    signal(worker(&house), Signal::KILL);
    while sign_once(&mut *session, &order) != Err(CustodyError::Sealed) {}

    assert_eq!(house.custodian.state(), CustodianState::Sealed);
    let after = house.ring.unseal(passphrase()).unwrap();
    assert_eq!(before.store_key.expose(), after.store_key.expose());
    sign_once(&mut *session, &order).unwrap();
}

#[test]
fn a_sealed_worker_that_dies_comes_back_sealed() {
    let house = House::open(Mount::Worker);
    let (mut session, order) = ready(&house);
    house.ring.seal().unwrap();

    signal(worker(&house), Signal::KILL);
    while sign_once(&mut *session, &order) != Err(CustodyError::Sealed) {}

    assert_eq!(house.custodian.state(), CustodianState::Sealed);
}

#[test]
fn a_worker_whose_root_file_went_bad_comes_back_sealed() {
    let house = House::open(Mount::Worker);
    let (mut session, order) = ready(&house);
    fs::remove_file(&house.root_file).unwrap();

    signal(worker(&house), Signal::KILL);
    while sign_once(&mut *session, &order) != Err(CustodyError::Sealed) {}

    assert_eq!(house.custodian.state(), CustodianState::Sealed);
    assert!(matches!(house.unseal(), Err(CustodyError::Refused { .. })));
}

/// Where root looks into the worker. Anybody else, the worker's own user too, is refused: that is then what the test shows.
fn inside(house: &House) -> Option<PathBuf> {
    let proc = PathBuf::from(format!("/proc/{}", worker(house).pids()[0]));
    if rustix::process::geteuid().is_root() {
        return Some(proc);
    }
    for secret in ["mem", "environ", "smaps", "fd"] {
        let refused = fs::File::open(proc.join(secret)).and_then(|mut file| file.read(&mut [0; 1])).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{secret}");
    }
    None
}

#[test]
fn a_worker_has_given_up_dumps_privileges_system_calls_and_its_environment() {
    let house = House::open(Mount::Worker);
    let (mut session, order) = ready(&house);
    sign_once(&mut *session, &order).unwrap();
    let Some(proc) = inside(&house) else { return };

    let read = |name: &str| fs::read_to_string(proc.join(name)).unwrap();
    let status = read("status");
    let core = read("limits").lines().find(|line| line.starts_with("Max core file size")).unwrap().to_owned();
    let files: Vec<PathBuf> = fs::read_dir(proc.join("fd"))
        .unwrap()
        .map(|file| fs::read_link(file.unwrap().path()).unwrap())
        .filter(|target| !target.to_string_lossy().starts_with("socket:"))
        .collect();

    assert!(status.contains("Seccomp:\t2"), "{status}");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
    assert_eq!(read("environ"), "");
    assert!(files.len() <= 2, "only standard output and error: {files:?}");
}

#[test]
fn a_worker_locks_the_memory_of_its_keys() {
    let house = House::open(Mount::Worker);
    let Some(proc) = inside(&house) else { return };
    let maps = fs::read_to_string(proc.join("smaps")).unwrap();

    // "lo": locked, whichever way the kernel offered.
    assert!(maps.lines().any(|line| line.starts_with("VmFlags:") && line.contains(" lo")));
}

#[test]
fn every_thread_of_a_worker_is_confined() {
    let house = House::open(Mount::Worker);
    let (mut session, order) = ready(&house);
    sign_once(&mut *session, &order).unwrap();
    let tasks = PathBuf::from(format!("/proc/{}/task", worker(&house).pids()[0]));

    let confined = |task: fs::DirEntry| fs::read_to_string(task.path().join("status")).unwrap().contains("Seccomp:\t2");
    let tasks: Vec<bool> = fs::read_dir(tasks).unwrap().map(|task| confined(task.unwrap())).collect();

    assert!(tasks.len() >= 2 && tasks.iter().all(|confined| *confined), "{tasks:?}");
}

#[test]
fn a_worker_reads_no_other_file() {
    let house = House::open(Mount::Worker);
    let elsewhere = TempDir::new().unwrap();
    let path = elsewhere.path().join("root.key");
    fs::copy(&house.root_file, &path).unwrap();

    let refused = house.ring.unseal(RootSource::File { path }).unwrap_err();

    assert!(matches!(refused, CustodyError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("Permission denied"), "{refused}");
}

#[test]
fn a_worker_ends_with_its_custodian() {
    let house = House::open(Mount::Worker);
    let (mut session, order) = ready(&house);
    let proc = PathBuf::from(format!("/proc/{}", worker(&house).pids()[0]));

    drop(house);

    assert!(!proc.exists());
    assert!(matches!(sign_once(&mut *session, &order), Err(CustodyError::Unavailable { .. })));
}

#[test]
fn no_more_sessions_open_than_the_configuration_allows() {
    let house = House::open(Mount::Worker);

    let sessions: Vec<_> = (0..8).map(|_| house.custodian.open().unwrap()).collect();

    assert!(matches!(house.custodian.open(), Err(CustodyError::Unavailable { .. })));
    drop(sessions);
    assert!(house.custodian.open().is_ok());
}

#[test]
fn a_program_that_is_no_worker_does_not_start() {
    let directory = TempDir::new().unwrap();
    let start = |program: &str| {
        let config = WorkerConfig {
            program: program.into(),
            hang_after: Duration::from_millis(100),
            ..house::config(&directory.path().join("kek.ring"), &directory.path().join("root.key"))
        };
        Supervisor::spawn(config).unwrap_err()
    };

    for program in ["/bin/true", "/bin/cat", "/nowhere/at-all"] {
        assert!(matches!(start(program), CustodyError::Unavailable { .. }), "{program}");
    }
}

#[test]
fn hostile_bytes_end_the_worker_without_a_panic() {
    let hello_of_other_version = [2, 0, 0, 0, 0, 99];
    let hostile: [&[u8]; 6] =
        [&[], &[1, 0], &u32::MAX.to_le_bytes(), &[1, 0, 0, 0, 77], &[10, 0, 0, 0, 0, 1], &hello_of_other_version];

    for bytes in hostile {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_custody-worker"))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        ours.write_all(bytes).unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        let ended = child.wait_with_output().unwrap();

        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.code().is_some(), "{bytes:?}: killed by a signal");
        assert!(!said.contains("panicked"), "{bytes:?}: {said}");
        assert_eq!(ours.read(&mut [0; 1]).unwrap_or(0), 0, "{bytes:?} was answered");
    }
}

#[test]
fn a_person_who_starts_the_worker_reads_why_not() {
    let ended = Command::new(env!("CARGO_BIN_EXE_custody-worker")).stdin(Stdio::null()).output().unwrap();

    assert!(!ended.status.success());
    assert!(String::from_utf8_lossy(&ended.stderr).contains("this is a part of trustd"));
}
