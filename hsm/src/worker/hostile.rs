//! What each side does about the other's lies: its bytes are read as a stranger's.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use proptest::prelude::*;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use trust::{Algorithm, KeyId, KeyRef, KeyVersion, Purpose, Sha256Digest, Signable};

use super::child::serve_session;
use super::descriptor::Receiver;
use super::message::{Answer, Ask, Bytes, ControlAnswer, Kept};
use super::session::WorkerSession;
use super::supervisor::Shared;
use super::{WorkerConfig, frame};
use crate::{
    Custodian as _, CustodyError, Material, RewrapOrder, SealContext, SealedKey, Session, SigningOrder,
    SoftwareCustodian,
};

/// A process that stands for the worker's, and a thread that speaks in its place.
struct Liar {
    process: Child,
    thread: JoinHandle<()>,
    session: WorkerSession,
}

impl Liar {
    /// Lets a session be opened and answers its first frame with `reply`, byte for byte.
    fn answering(reply: Vec<u8>) -> Self {
        let process = Command::new("sleep").arg("600").spawn().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let config = WorkerConfig {
            program: "/bin/false".into(),
            arguments: Vec::new(),
            ring: "/nowhere/kek.ring".into(),
            root_file: None,
            sessions_max: 1,
            opened_keys_max: 1,
            hang_after: Duration::from_secs(20),
        };
        let shared = Arc::new(Shared::new(config));
        shared.adopt(process.id(), ours);
        let thread = std::thread::spawn(move || lie(theirs, &reply));
        Self { process, thread, session: WorkerSession::open(shared).unwrap() }
    }

    /// True when the process was killed for its lie.
    fn was_killed(mut self) -> bool {
        drop(self.session);
        self.thread.join().unwrap();
        // A process that was killed before dies of that; one that was spared dies of this.
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        self.process.wait().unwrap().signal() == Some(9)
    }
}

fn lie(control: UnixStream, reply: &[u8]) {
    let mut control = Receiver::new(control);
    let mut buffer = Vec::new();
    assert!(frame::read(&mut control, &mut buffer).unwrap());
    let mut stream = UnixStream::from(control.descriptor().unwrap());
    frame::encode(&ControlAnswer::Done, &mut buffer).unwrap();
    control.stream().write_all(&buffer).unwrap();
    let mut asked = Vec::new();
    if frame::read(&mut stream, &mut asked).unwrap_or(false) {
        let _ = stream.write_all(reply); // who was found out is not listened to any more
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read(&mut [0; 1]);
    }
}

fn framed(message: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(message, &mut bytes).unwrap();
    bytes
}

fn context() -> SealContext {
    SealContext {
        store: [1; 16],
        key: KeyRef { id: KeyId::from_bytes([2; 16]), version: KeyVersion::FIRST },
        algorithm: Algorithm::Ed25519,
        purpose: Purpose::Image,
        scope_hash: Sha256Digest::of(b"scope"),
    }
}

fn record() -> RewrapOrder {
    let material = Material::Sealed(SealedKey::from_bytes(&[1; 200]).unwrap());
    RewrapOrder { context: Arc::new(context()), spki_sha256: Sha256Digest::of(b"spki"), material }
}

/// One order of two inputs.
fn order() -> SigningOrder {
    let RewrapOrder { context, spki_sha256, material } = record();
    let inputs = vec![Signable::Message(b"a".to_vec()), Signable::Message(b"b".to_vec())];
    SigningOrder { context, spki_sha256, material, inputs }
}

fn assert_found_out(reply: Vec<u8>, call: impl FnOnce(&mut WorkerSession) -> CustodyError) {
    let text = format!("{:02x?}", reply.get(..reply.len().min(24)));
    let mut liar = Liar::answering(reply);

    let error = call(&mut liar.session);

    assert!(matches!(error, CustodyError::Unavailable { .. }), "{text}: {error}");
    assert!(liar.was_killed(), "{text}: it goes on living");
}

fn sign(session: &mut WorkerSession) -> CustodyError {
    session.sign(&[order()], Duration::from_secs(9)).remove(0).unwrap_err()
}

#[test]
fn a_worker_that_answers_another_question_is_killed() {
    let signature = Bytes(&[7; 64]);
    let lies = [
        framed(&Answer::Forgotten),
        framed(&Answer::Rewrapped(Vec::new())),
        framed(&Answer::Signed(Vec::new())),
        framed(&Answer::Signed(vec![Ok(vec![Ok(signature)])])),
        framed(&Answer::Signed(vec![Ok(vec![Ok(signature), Ok(signature), Ok(signature)])])),
        framed(&Answer::Signed(vec![Ok(vec![Ok(signature), Ok(Bytes(&[]))])])),
        framed(&Answer::Signed(vec![Ok(vec![Ok(signature), Ok(Bytes(&[7; 65]))])])),
        framed(&Answer::Signed(vec![Err(CustodyError::Sealed), Err(CustodyError::Sealed)])),
    ];

    for lie in lies {
        assert_found_out(lie, sign);
    }
}

#[test]
fn a_worker_that_makes_no_key_of_what_was_asked_is_killed() {
    let p256_is_no_ed25519 =
        framed(&Answer::Generated { spki: Bytes(&[0x30; 91]), material: Kept::Sealed(Bytes(&[1; 200])) });

    assert_found_out(p256_is_no_ed25519, |session| session.generate(&context()).unwrap_err());
}

#[test]
fn a_worker_that_rewraps_to_no_record_is_killed() {
    let no_record = framed(&Answer::Rewrapped(vec![Ok(Kept::Sealed(Bytes(&[1; 20])))]));

    assert_found_out(no_record, |session| session.rewrap(&[record()]).remove(0).unwrap_err());
}

#[test]
fn a_worker_that_announces_a_frame_over_the_bound_is_killed() {
    let too_long = u32::try_from(frame::BYTES_MAX + 1).unwrap().to_le_bytes().to_vec();

    assert_found_out(too_long, sign);
}

#[test]
fn a_frame_that_breaks_off_is_unavailable() {
    let whole = framed(&Answer::Signed(vec![Err(CustodyError::Sealed)]));
    for length in 0..whole.len() {
        let mut liar = Liar::answering(whole[..length].to_vec());

        let error = sign(&mut liar.session);

        assert!(matches!(error, CustodyError::Unavailable { .. }), "{length} bytes: {error}");
        assert!(!liar.session.is_untouched(0), "it was asked, and nobody knows what it did");
        let _ = liar.was_killed(); // a worker that died needs no killing
    }
}

#[test]
fn an_order_that_comes_too_late_is_known_not_to_have_been_begun() {
    let mut liar = Liar::answering(framed(&Answer::Signed(Vec::new())));

    let signed = liar.session.sign(&[order(), order()], Duration::ZERO);

    assert_eq!(signed, [Err(CustodyError::Late), Err(CustodyError::Late)]);
    assert!(liar.session.is_untouched(0) && liar.session.is_untouched(1) && !liar.session.is_untouched(2));
    sign(&mut liar.session);
    assert!(!liar.session.is_untouched(0) && !liar.session.is_untouched(1), "of the last call only");
    assert!(liar.was_killed());
}

#[test]
fn a_daemon_that_sends_garbage_loses_its_session_only() {
    let custodian = SoftwareCustodian::new(Path::new("/nowhere/kek.ring"), 1);
    let mut bad_algorithm = framed(&Ask::Sign(vec![(&order()).into()]));
    let place = bad_algorithm.windows(7).position(|bytes| bytes == b"ed25519").unwrap();
    bad_algorithm[place] = b'E';
    for garbage in [vec![0, 0, 0, 0], vec![1, 0, 0, 0, 9], vec![255; 4], vec![5, 0, 0, 0, 1], bad_algorithm] {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(&garbage).unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();

        let ended = serve_session(custodian.open().unwrap(), theirs, || None);

        assert!(ended.is_err(), "{garbage:02x?}");
        assert_eq!(ours.read(&mut [0; 1]).unwrap_or(0), 0, "{garbage:02x?} was answered");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_answers_never_panic(kind in 0_u8..6, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let payload = [&[kind], bytes.as_slice()].concat();
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        let mut liar = Liar::answering([length.as_slice(), &payload].concat());
        let answers = liar.session.sign(&[order()], Duration::from_secs(9));
        prop_assert_eq!(answers.len(), 1);
        liar.process.kill().unwrap();
        liar.process.wait().unwrap();
    }
}
