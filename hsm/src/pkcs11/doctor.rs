//! Measuring a token: what works, how fast, and what becomes of sessions and handles.
//!
//! It runs in a process of its own, so that a module that falls over it takes nobody along. Every object it makes bears
//! a label and an id that no key of ours has; those that go with a session are preferred, and all are deleted at the end
//! whatever happened before. What an earlier measurement left, because it was killed, is deleted first.

mod algorithms;
mod facts;
mod handles;
mod keys;
mod throughput;

use std::time::Instant;

use trust::{Algorithm, Scheme};

use super::Inner;
use super::fault::Fault;
use crate::CustodyError;
use crate::doctor::{
    AlgorithmFinding, Handle, Plan, Progress, Quirk, Report, SessionLimit, Stability, Throughput, Works,
};
use keys::Keys;

/// Algorithms that share a key, the one that most keys have first.
const KINDS: [&[Algorithm]; 5] = [
    &[Algorithm::EcdsaP256Sha256],
    &[Algorithm::Ed25519],
    &[Algorithm::EcdsaP384Sha256, Algorithm::EcdsaP384Sha384],
    &[Algorithm::Rsa3072Pkcs1Sha256, Algorithm::Rsa3072PssSha256],
    &[Algorithm::Rsa4096Pkcs1Sha256, Algorithm::Rsa4096PssSha256],
];

/// Told before each step; false ends the measurement.
pub(super) type Tell<'a> = dyn FnMut(Progress) -> bool + 'a;

/// One measurement.
struct Examination<'a> {
    inner: &'a Inner,
    plan: &'a Plan,
    tell: &'a mut Tell<'a>,
    done: u32,
    total: u32,
    keys: Keys<'a>,
    quirks: Vec<Quirk>,
}

/// Measures the token, and deletes what it made.
///
/// # Errors
/// [`CustodyError::Unavailable`] when nobody listens any more, or when the token goes away meanwhile.
pub(super) fn examine<'a>(inner: &'a Inner, plan: &'a Plan, tell: &'a mut Tell<'a>) -> Result<Report, CustodyError> {
    let failed = |fault: Fault| super::trouble_of(&fault).into();
    let keys = Keys::open(inner).map_err(failed)?;
    let total = total(plan);
    let mut examination = Examination { inner, plan, tell, done: 0, total, keys, quirks: Vec::new() };
    let examined = examination.run();
    let left_behind = examination.keys.delete_all();
    let mut report = examined.map_err(|fault| match fault {
        Fault::Final(error) => error,
        fault => failed(fault),
    })?;
    report.left_behind = left_behind;
    Ok(report)
}

/// Steps of a measurement: kinds of keys, the limit, numbers of sessions, seconds of idleness, handles.
fn total(plan: &Plan) -> u32 {
    let kinds = u32::try_from(KINDS.len()).unwrap_or(u32::MAX);
    let doublings = plan.sessions_max().checked_ilog2().unwrap_or(0).saturating_add(1);
    let idle = u32::try_from(plan.idle().as_secs()).unwrap_or(u32::MAX);
    [kinds, 1, doublings, idle, 2].into_iter().fold(0, u32::saturating_add)
}

impl Examination<'_> {
    fn run(&mut self) -> Result<Report, Fault> {
        self.next("look at the token")?;
        let (identity, flags, stated) = facts::read(self.inner)?;
        let swept = self.keys.sweep()?;
        let algorithms = self.algorithms()?;
        let session_limit = self.session_limit(stated)?;
        let primary = KINDS
            .iter()
            .filter_map(|kind| kind.first().copied())
            .find(|algorithm| works(&algorithms, *algorithm).is_some());
        let (mut measured, mut stability) = (None, None);
        if let Some(algorithm) = primary {
            match self.at_work(algorithm, session_limit.opened) {
                Ok((rate, handles)) => (measured, stability) = (Some(rate), Some(handles)),
                // Without numbers that mean what they say there is nothing more to measure: the rest of the report stands.
                Err(Fault::Final(CustodyError::Refused { .. })) => self.quirks.push(Quirk::HandlesChange),
                Err(fault) => return Err(fault),
            }
        }
        self.judge(&algorithms, stability.as_ref());
        Ok(Report {
            identity,
            flags,
            algorithms,
            throughput: measured,
            session_limit,
            stability,
            quirks: self.quirks.clone(),
            swept,
            left_behind: Vec::new(),
        })
    }

    /// What the token does with a key that works.
    fn at_work(&mut self, algorithm: Algorithm, sessions_max: u32) -> Result<(Throughput, Stability), Fault> {
        self.shape(algorithm)?;
        let measured = throughput::measure(self, algorithm, sessions_max)?;
        Ok((measured, handles::measure(self, algorithm)?))
    }

    /// Says what comes next.
    fn next(&mut self, what: &str) -> Result<(), Fault> {
        let progress = Progress { done: self.done.min(self.total), total: self.total, what: what.to_owned() };
        self.done = self.done.saturating_add(1);
        if (self.tell)(progress) {
            return Ok(());
        }
        Err(CustodyError::unavailable("the measurement was ended before its time").into())
    }

    fn session_limit(&mut self, stated: Option<u64>) -> Result<SessionLimit, Fault> {
        self.next("count sessions")?;
        let mut open = Vec::new();
        let mut refused = None;
        while open.len() < self.plan.sessions_max() && refused.is_none() {
            match self.inner.context.open_ro_session(self.inner.slot) {
                Ok(session) => open.push(session),
                Err(error) => refused = Some(super::fault::name(&error)),
            }
        }
        Ok(SessionLimit { opened: count(open.len()), refused, stated })
    }

    /// In what form the token tells a key, and what it takes.
    fn shape(&mut self, algorithm: Algorithm) -> Result<(), Fault> {
        let key = self.keys.make(algorithm)?;
        let has_point = matches!(algorithm.scheme(), Scheme::EcdsaP256 | Scheme::EcdsaP384 | Scheme::Ed25519);
        if has_point && facts::point_bytes(self.keys.session(), key.public).is_some_and(facts::is_bare_point) {
            self.quirks.push(Quirk::RawPoint);
        }
        if has_point && facts::point_bytes(self.keys.session(), key.found.private).is_none() {
            self.quirks.push(Quirk::NoPointOnPrivateKey);
        }
        self.keys.delete(&key);
        if !self.keys.takes_unmodifiable(algorithm)? {
            self.quirks.push(Quirk::ModifiableRefused);
        }
        if self.keys.are_in_the_token() {
            self.quirks.push(Quirk::SessionObjectsRefused);
        }
        Ok(())
    }

    fn judge(&mut self, algorithms: &[AlgorithmFinding], stability: Option<&Stability>) {
        if algorithms.iter().any(|finding| finding.is_listed && matches!(finding.works, Works::No { .. })) {
            self.quirks.push(Quirk::ListsWhatFails);
        }
        if let Some(stability) = stability {
            if [&stability.after_idle, &stability.after_others].contains(&&Handle::AnotherKey) {
                self.quirks.push(Quirk::HandlesChange);
            }
            if matches!(stability.after_idle, Handle::Gone(_)) {
                self.quirks.push(Quirk::IdleSessionsDie);
            }
        }
        self.quirks.sort_unstable();
        self.quirks.dedup();
    }
}

fn works(algorithms: &[AlgorithmFinding], algorithm: Algorithm) -> Option<&Works> {
    let finding = algorithms.iter().find(|finding| finding.algorithm == algorithm.name())?;
    matches!(finding.works, Works::Yes { .. }).then_some(&finding.works)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The time now. The one clock before a token: it decides nothing about keys.
#[expect(clippy::disallowed_methods, reason = "what is measured, and how long a session was idle, is real time")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Microseconds since `begun`.
pub(super) fn since(begun: Instant) -> u64 {
    u64::try_from(now().saturating_duration_since(begun).as_micros()).unwrap_or(u64::MAX)
}
