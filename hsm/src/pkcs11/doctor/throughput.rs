//! How much a token does with 1, 2, 4, … sessions, and where that stops to grow.

use std::time::Duration;

use cryptoki::session::Session;
use trust::{Algorithm, Signable, verify};

use super::super::fault::{self, Fault};
use super::super::{MODULE_STACK_BYTES, mechanism};
use super::keys::Key;
use super::{Examination, count, now, since};
use crate::CustodyError;
use crate::doctor::{Latency, Throughput, ThroughputStep};

/// Twice the sessions must bring this much more, or no more are tried.
const GROWTH: f64 = 1.1;
/// So often in a row it may bring nothing: once is what a busy machine does to any measurement.
const FLAT_MAX: u32 = 2;
/// So much of the best is enough.
const ENOUGH: f64 = 0.95;
/// The most latencies that one session keeps.
const SAMPLES_MAX: usize = 1 << 16;

/// Doubles the sessions until that brings nothing more.
pub(super) fn measure(
    examination: &mut Examination<'_>,
    algorithm: Algorithm,
    sessions_max: u32,
) -> Result<Throughput, Fault> {
    let key = examination.keys.make(algorithm)?;
    let mut steps: Vec<ThroughputStep> = Vec::new();
    let (mut sessions, mut flat): (u32, u32) = (1, 0);
    let ended = loop {
        if sessions > sessions_max {
            break format!("{sessions_max} sessions are the most there may be");
        }
        examination.next(&format!("sign with {sessions} sessions"))?;
        let step = match step(examination, &key, sessions) {
            Ok(step) => step,
            Err(fault) => break format!("with {sessions} sessions: {}", super::algorithms::words(&fault)),
        };
        let best = steps.iter().map(|step| step.per_second).fold(0.0, f64::max);
        let grew = step.per_second >= best * GROWTH;
        steps.push(step);
        flat = if grew { 0 } else { flat.saturating_add(1) };
        if flat == FLAT_MAX {
            break format!("{sessions} sessions do no more than fewer");
        }
        sessions = sessions.saturating_mul(2);
    };
    examination.keys.delete(&key);
    Ok(Throughput { algorithm: algorithm.name().to_owned(), enough: enough(&steps), steps, ended })
}

/// The fewest sessions that do nearly the best.
fn enough(steps: &[ThroughputStep]) -> u32 {
    let best = steps.iter().map(|step| step.per_second).fold(0.0, f64::max);
    steps.iter().find(|step| step.per_second >= best * ENOUGH).map_or(0, |step| step.sessions)
}

/// What one session did.
struct Share {
    per_second: f64,
    samples_us: Vec<u64>,
}

fn step(examination: &Examination<'_>, key: &Key, sessions: u32) -> Result<ThroughputStep, Fault> {
    let inner = examination.inner;
    let mut open = Vec::new();
    for _ in 0..sessions {
        let session = inner
            .context
            .open_ro_session(inner.slot)
            .map_err(|error| Fault::Session(format!("open a session: {}", fault::name(&error))))?;
        open.push(session);
    }
    let length = examination.plan.step();
    let shares = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for session in open {
            let thread = std::thread::Builder::new().stack_size(MODULE_STACK_BYTES);
            threads.push(thread.spawn_scoped(scope, move || sign_for(&session, key, length)));
        }
        let joined = threads.into_iter().map(|thread| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|_| Err(CustodyError::failed("a measuring thread died").into())),
            Err(error) => Err(CustodyError::failed(format!("start a measuring thread: {error}")).into()),
        });
        joined.collect::<Result<Vec<Share>, Fault>>()
    })?;
    let per_second = shares.iter().map(|share| share.per_second).sum();
    let samples = shares.into_iter().flat_map(|share| share.samples_us).collect();
    Ok(ThroughputStep { sessions, per_second, latency: Latency::of(samples) })
}

/// Signs for `length`; of what it signed the last is verified, so that ours is not the time that is measured.
fn sign_for(session: &Session, key: &Key, length: Duration) -> Result<Share, Fault> {
    let input = Signable::Message(b"trustd doctor".to_vec());
    let preimage = mechanism::preimage(key.algorithm, &input)?;
    let mechanism = mechanism::signing(key.algorithm);
    let begun = now();
    let (mut signed, mut samples_us, mut last) = (0_usize, Vec::new(), Vec::new());
    while signed == 0 || now().saturating_duration_since(begun) < length {
        let called = now();
        last = session.sign(&mechanism, key.found.private, &preimage).map_err(|error| Fault::of("sign", &error))?;
        if samples_us.len() < SAMPLES_MAX {
            samples_us.push(since(called));
        }
        signed = signed.saturating_add(1);
    }
    let took = now().saturating_duration_since(begun).as_secs_f64().max(f64::EPSILON);
    mechanism::signature(key.algorithm, last)
        .filter(|signature| verify::one(&key.found.public_key, &input, signature.as_bytes()).is_ok())
        .ok_or(Fault::Unsound)?;
    Ok(Share { per_second: f64::from(count(signed)) / took, samples_us })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(rates: &[(u32, f64)]) -> Vec<ThroughputStep> {
        let step = |(sessions, per_second): &(u32, f64)| ThroughputStep {
            sessions: *sessions,
            per_second: *per_second,
            latency: Latency::default(),
        };
        rates.iter().map(step).collect()
    }

    #[test]
    fn the_fewest_sessions_that_do_nearly_the_best_are_enough() {
        assert_eq!(enough(&steps(&[(1, 100.0), (2, 190.0), (4, 199.0), (8, 198.0)])), 2);
        assert_eq!(enough(&steps(&[(1, 100.0), (2, 200.0), (4, 400.0)])), 4);
        assert_eq!(enough(&steps(&[(1, 100.0)])), 1);
        assert_eq!(enough(&[]), 0);
    }
}
