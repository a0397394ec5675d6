//! A key in a token that breaks, a session, and what is done to both.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use trust::{Algorithm, KeyId, PublicKey, Purpose, Signable, Signature};
use trust_hsm::worker::TokenWorker;
use trust_hsm::{Custodian as _, CustodyError, SealContext, Session, SigningOrder};

use super::{context, order};

pub const LONG: Duration = Duration::from_secs(120);
/// What is taken for a hang where tokens hang.
pub const DEADLINE: Duration = Duration::from_secs(1);

/// A key in the token, a session, and an order to sign with both.
pub struct Scene {
    pub session: Box<dyn Session>,
    pub order: SigningOrder,
    pub public_key: PublicKey,
}

pub fn numbered(algorithm: Algorithm, number: u8) -> SealContext {
    let mut context = context(algorithm, Purpose::Image);
    context.key.id = KeyId::from_bytes([number; 16]);
    context
}

impl Scene {
    pub fn with_key(worker: &TokenWorker, number: u8) -> Self {
        Self::with(worker, Algorithm::EcdsaP256Sha256, number)
    }

    pub fn with(worker: &TokenWorker, algorithm: Algorithm, number: u8) -> Self {
        let mut session = worker.open().unwrap();
        let context = numbered(algorithm, number);
        let begun = Instant::now();
        // A busy machine may take a start for a hang where those are told early.
        let key = loop {
            match session.generate(&context) {
                Err(CustodyError::Late | CustodyError::Unavailable { .. }) if begun.elapsed() < LONG => {}
                made => break made.unwrap(),
            }
        };
        let order = order(&context, &key, vec![Signable::Message(b"m".to_vec())]);
        Self { session, order, public_key: key.public_key }
    }

    pub fn sign(&mut self) -> Result<Signature, CustodyError> {
        let signed = self.session.sign(std::slice::from_ref(&self.order), LONG).remove(0)?.remove(0)?;
        trust::verify::one(&self.public_key, &self.order.inputs[0], signed.as_bytes()).unwrap();
        Ok(signed)
    }

    /// Signs until it works, and says how long that took.
    pub fn until_back(&mut self) -> Duration {
        until("the token is back", || self.sign().is_ok())
    }
}

/// How often is looked for what another process does.
const POLL: Duration = Duration::from_millis(1);

/// Waits until `done`, and says how long that took.
pub fn until(what: &str, mut done: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < LONG, "never: {what}");
        std::thread::sleep(POLL);
    }
    begun.elapsed()
}

/// How often a promise of a second is measured at most, and how often it has to be kept.
const ROUNDS: u64 = 30;
const KEPT: usize = 3;

/// Measures, round after round, until three came out within a second.
///
/// A start takes some tens of milliseconds. On a busy machine it is left to chance when we are let run, so the best rounds
/// say what it costs; what waits for something of ours, a pause or a patience, is late in all of them.
pub fn within_a_second(mut measure: impl FnMut(u64) -> Duration) {
    let mut times = Vec::new();
    for round in 1..=ROUNDS {
        times.push(measure(round));
        if times.iter().filter(|took| **took < Duration::from_secs(1)).count() == KEPT {
            return;
        }
    }
    panic!("{times:?}");
}

/// Kills the worker and waits until it is no more.
pub fn kill(worker: &TokenWorker) {
    let Some(pid) = worker.pids().first().copied() else { return };
    // It may have ended by itself.
    let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL);
    until("the worker has ended", || !worker.pids().contains(&pid));
}
