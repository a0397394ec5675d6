//! Which of our algorithms really work: a key is made, it signs, and what it signed verifies.

use trust::{Algorithm, Signable, verify};

use super::super::fault::Fault;
use super::super::mechanism;
use super::keys::Key;
use super::{Examination, KINDS, now, since};
use crate::doctor::{AlgorithmFinding, Latency, Works};

/// The fewest signatures of an algorithm, however long they take.
const SIGNATURES_MIN: u32 = 3;
/// The most.
const SIGNATURES_MAX: u32 = 2000;

impl Examination<'_> {
    pub(super) fn algorithms(&mut self) -> Result<Vec<AlgorithmFinding>, Fault> {
        let offered = self.inner.mechanisms()?;
        let mut findings = Vec::new();
        for kind in KINDS {
            let Some(first) = kind.first() else { continue };
            self.next(&format!("try {first}"))?;
            // Making a key of a kind that is not listed would only be refused.
            let begun = now();
            let made = if mechanism::check(*first, &offered).is_ok() { Some(self.keys.make(*first)) } else { None };
            let generation_us = since(begun);
            for algorithm in kind {
                let listed = mechanism::check(*algorithm, &offered);
                let works = match (&made, &listed) {
                    (_, Err(missing)) => Works::No { why: missing.to_string() },
                    (Some(Ok(key)), Ok(())) => self.try_signing(key, *algorithm, generation_us),
                    (Some(Err(fault)), Ok(())) => Works::No { why: words(fault) },
                    (None, Ok(())) => Works::No { why: "no key of its kind can be made".to_owned() },
                };
                findings.push(AlgorithmFinding {
                    algorithm: algorithm.name().to_owned(),
                    is_listed: listed.is_ok(),
                    works,
                });
            }
            match made {
                Some(Ok(key)) => self.keys.delete(&key),
                // The session may have died of it; the token is gone where there is no other.
                Some(Err(Fault::Session(_) | Fault::Login(_) | Fault::Crowded(_) | Fault::Child(_))) => {
                    self.keys.renew()?
                }
                Some(Err(Fault::Unsound | Fault::Missing(_) | Fault::Final(_))) | None => {}
            }
        }
        Ok(findings)
    }

    /// Signs for a while, one after the other, and verifies each.
    fn try_signing(&self, key: &Key, algorithm: Algorithm, generation_us: u64) -> Works {
        let begun = now();
        let mut samples = Vec::new();
        for number in 0..SIGNATURES_MAX {
            if number >= SIGNATURES_MIN && now().saturating_duration_since(begun) > self.plan.step() {
                break;
            }
            let input = Signable::Message(format!("trustd doctor {number}").into_bytes());
            match sign_once(self.keys.session(), key, algorithm, &input) {
                Ok(took_us) => samples.push(took_us),
                Err(fault) => return Works::No { why: words(&fault) },
            }
        }
        Works::Yes { signatures: super::count(samples.len()), generation_us, latency: Latency::of(samples) }
    }
}

/// Signs, says in how many microseconds, and verifies outside of them.
fn sign_once(
    session: &cryptoki::session::Session,
    key: &Key,
    algorithm: Algorithm,
    input: &Signable,
) -> Result<u64, Fault> {
    let preimage = mechanism::preimage(algorithm, input)?;
    let begun = now();
    let raw = session
        .sign(&mechanism::signing(algorithm), key.found.private, &preimage)
        .map_err(|error| Fault::of("sign", &error))?;
    let took_us = since(begun);
    // The key's public half is of the kind's first algorithm; the encoding of another says so.
    let public_key =
        trust::PublicKey::from_spki_der(algorithm, key.found.public_key.spki_der()).map_err(|_| Fault::Unsound)?;
    mechanism::signature(algorithm, raw)
        .filter(|signature| verify::one(&public_key, input, signature.as_bytes()).is_ok())
        .map(|_| took_us)
        .ok_or(Fault::Unsound)
}

/// What a fault is to a reader.
pub(super) fn words(fault: &Fault) -> String {
    match fault {
        Fault::Session(what) | Fault::Login(what) | Fault::Crowded(what) => what.clone(),
        Fault::Unsound => "its signature does not verify".to_owned(),
        Fault::Child(trouble) => trouble.to_string(),
        Fault::Missing(error) | Fault::Final(error) => error.to_string(),
    }
}
