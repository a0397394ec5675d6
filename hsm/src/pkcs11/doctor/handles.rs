//! Whether a session that was left alone still lives, and whether a handle still means the same key.

use std::time::Duration;

use cryptoki::session::Session;
use trust::{Algorithm, Signable, verify};

use super::super::fault::{self, Fault};
use super::super::mechanism;
use super::Examination;
use super::keys::Key;
use crate::doctor::{Handle, Stability};

/// Sessions that come and go beside the one that is looked at.
const OTHERS: usize = 4;

/// Leaves a session alone, has others come and go, and has one log out.
pub(super) fn measure(examination: &mut Examination<'_>, algorithm: Algorithm) -> Result<Stability, Fault> {
    let after_idle = after_idle(examination, algorithm)?;
    examination.next("open, close and log out beside a session")?;
    let after_others = after_others(examination, algorithm)?;
    let after_logout = after_logout(examination, algorithm)?;
    Ok(Stability { idle: examination.plan.idle(), after_idle, after_others, after_logout })
}

fn after_idle(examination: &mut Examination<'_>, algorithm: Algorithm) -> Result<Handle, Fault> {
    let (key, other) = two(examination, algorithm)?;
    let session = open(examination)?;
    let before = (look(&session, &other), look(&session, &key));
    let mut left = examination.plan.idle();
    while !left.is_zero() {
        examination.next("leave a session alone")?;
        let nap = left.min(Duration::from_secs(1));
        std::thread::sleep(nap);
        left = left.saturating_sub(nap);
    }
    let after = if before == (Handle::Same, Handle::Same) { look(&session, &key) } else { unsettled(before.1) };
    drop(session);
    end(examination, &[key, other], &after)?;
    Ok(after)
}

fn after_others(examination: &mut Examination<'_>, algorithm: Algorithm) -> Result<Handle, Fault> {
    let (key, other) = two(examination, algorithm)?;
    let session = open(examination)?;
    let before = (look(&session, &other), look(&session, &key));
    let mut made = Vec::new();
    for _ in 0..OTHERS {
        let beside = open(examination)?;
        let _ = look(&beside, &other); // used, as sessions are, before it is closed
        made.push(examination.keys.make(algorithm)?);
    }
    made.iter().for_each(|key| examination.keys.delete(key));
    let after = if before == (Handle::Same, Handle::Same) { look(&session, &key) } else { unsettled(before.1) };
    drop(session);
    end(examination, &[key, other], &after)?;
    Ok(after)
}

fn after_logout(examination: &mut Examination<'_>, algorithm: Algorithm) -> Result<Handle, Fault> {
    let (key, other) = two(examination, algorithm)?;
    let session = open(examination)?;
    let before = (look(&session, &other), look(&session, &key));
    let seen = examination.inner.login().generation();
    let out = open(examination)?.logout();
    examination.inner.renew_login(seen)?;
    let after = match (before, out) {
        ((Handle::Same, Handle::Same), Ok(())) => {
            // New keys, which may get the numbers that the old ones had.
            examination.keys.renew()?;
            let again = two(examination, algorithm)?;
            let after = look(&session, &key);
            examination.keys.delete(&again.0);
            examination.keys.delete(&again.1);
            after
        }
        ((_, Handle::Same), Err(error)) => Handle::Unknown(format!("log out: {}", fault::name(&error))),
        ((_, before), _) => unsettled(before),
    };
    drop(session);
    examination.keys.renew()?;
    Ok(after)
}

/// Two keys, so that a handle has another key that it could mean.
fn two(examination: &mut Examination<'_>, algorithm: Algorithm) -> Result<(Key, Key), Fault> {
    Ok((examination.keys.make(algorithm)?, examination.keys.make(algorithm)?))
}

fn open(examination: &Examination<'_>) -> Result<Session, Fault> {
    let inner = examination.inner;
    inner.context.open_ro_session(inner.slot).map_err(|error| Fault::of("open a session", &error))
}

/// What the key's handle is in this session.
fn look(session: &Session, key: &Key) -> Handle {
    let input = Signable::Message(b"trustd doctor".to_vec());
    let Ok(preimage) = mechanism::preimage(key.algorithm, &input) else {
        return Handle::Unknown("there is nothing to sign".to_owned());
    };
    match session.sign(&mechanism::signing(key.algorithm), key.found.private, &preimage) {
        Err(error) => Handle::Gone(fault::name(&error)),
        Ok(raw) => {
            let is_same = mechanism::signature(key.algorithm, raw)
                .is_some_and(|signature| verify::one(&key.found.public_key, &input, signature.as_bytes()).is_ok());
            if is_same { Handle::Same } else { Handle::AnotherKey }
        }
    }
}

/// What is said of a handle that was not right to begin with.
fn unsettled(before: Handle) -> Handle {
    match before {
        Handle::Gone(what) => Handle::Unknown(format!("another session cannot use it at all: {what}")),
        Handle::Same => Handle::Unknown("the key beside it cannot be used".to_owned()),
        before => before,
    }
}

/// Deletes the keys; where a session died, the one that made them may have, too.
fn end(examination: &mut Examination<'_>, keys: &[Key], after: &Handle) -> Result<(), Fault> {
    keys.iter().for_each(|key| examination.keys.delete(key));
    if *after == Handle::Same { Ok(()) } else { examination.keys.renew() }
}
