//! What is measured of a token, and what was found: the words between the measuring worker, the daemon and its callers.
//!
//! Nothing here touches a token; `pkcs11/doctor` does, in a process of its own. Texts in it are ours or a token's own
//! names; none is a secret.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::CustodyError;

/// What is measured, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    sessions_max: usize,
    idle: Duration,
    step: Duration,
}

impl Plan {
    /// The most sessions that are opened at once.
    pub const SESSIONS_MAX: usize = 256;
    /// The longest that a session is left alone.
    pub const IDLE_MAX: Duration = Duration::from_secs(3600);
    /// How long one number of sessions is measured, where the caller does not say.
    pub const STEP: Duration = Duration::from_millis(500);
    /// The longest that it may.
    pub const STEP_MAX: Duration = Duration::from_secs(10);

    /// A measurement with at most `sessions_max` sessions, 1 to [`Plan::SESSIONS_MAX`], each number of them for
    /// `step`, and a session that is left alone for `idle`.
    ///
    /// # Errors
    /// [`CustodyError::Refused`] for a number beyond its bound.
    pub fn new(sessions_max: usize, idle: Duration, step: Duration) -> Result<Self, CustodyError> {
        if !(1..=Self::SESSIONS_MAX).contains(&sessions_max) {
            return Err(CustodyError::refused("a measurement has 1 to 256 sessions"));
        }
        if idle > Self::IDLE_MAX {
            return Err(CustodyError::refused("a session is left alone for an hour at most"));
        }
        if step.is_zero() || step > Self::STEP_MAX {
            return Err(CustodyError::refused("one number of sessions is measured for 10 seconds at most"));
        }
        Ok(Self { sessions_max, idle, step })
    }

    /// The most sessions that are opened at once.
    #[must_use]
    pub const fn sessions_max(&self) -> usize {
        self.sessions_max
    }

    /// How long a session is left alone.
    #[must_use]
    pub const fn idle(&self) -> Duration {
        self.idle
    }

    /// How long one number of sessions is measured.
    #[must_use]
    pub const fn step(&self) -> Duration {
        self.step
    }
}

/// How far a measurement is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "read by the caller")]
pub struct Progress {
    /// Steps that are done.
    pub done: u32,
    /// All of them, as far as is known now.
    pub total: u32,
    /// What is being done.
    pub what: String,
}

/// Which token it is: what a profile is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "read by the caller")]
pub struct Identity {
    /// The token's serial number, at most 16 bytes.
    pub serial: String,
    /// Its label, at most 32 bytes.
    pub label: String,
    /// Its manufacturer, at most 32 bytes.
    pub manufacturer: String,
    /// Its model, at most 16 bytes.
    pub model: String,
    /// Its hardware's version, as `1.2`.
    pub hardware: String,
    /// Its firmware's version, as `1.2`.
    pub firmware: String,
    /// What the module calls itself, and its version.
    pub module: String,
}

/// How long a call took, in microseconds, among those that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "read by the caller")]
pub struct Latency {
    /// Half of them at most this.
    pub p50_us: u64,
    /// Nine of ten.
    pub p90_us: u64,
    /// All but one of a hundred.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

impl Latency {
    /// Of calls that took so many microseconds; zero of none.
    #[must_use]
    pub fn of(mut samples_us: Vec<u64>) -> Self {
        samples_us.sort_unstable();
        let last = samples_us.len().saturating_sub(1);
        // Nearest rank: never a latency that no call had.
        let at = |percent: usize| {
            let rank = samples_us.len().saturating_mul(percent).div_ceil(100).saturating_sub(1);
            samples_us.get(rank.min(last)).copied().unwrap_or_default()
        };
        Self { p50_us: at(50), p90_us: at(90), p99_us: at(99), max_us: at(100) }
    }
}

/// Whether an algorithm of ours works in the token: a key was made, it signed, and the signature verified here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "read by the caller")]
pub struct AlgorithmFinding {
    /// The algorithm's name.
    pub algorithm: String,
    /// Whether the token lists the mechanisms for it.
    pub is_listed: bool,
    /// What it does.
    pub works: Works,
}

/// What a token does with an algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "closed set")]
pub enum Works {
    /// Every signature verified.
    Yes {
        /// How many were made, one after the other.
        signatures: u32,
        /// How long making the key took, in microseconds.
        generation_us: u64,
        /// How long a signature took.
        latency: Latency,
    },
    /// It does not, and why.
    No {
        /// The step, and what it met.
        why: String,
    },
}

/// So many sessions at once, and what they did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "read by the caller")]
pub struct ThroughputStep {
    /// Sessions, each with a thread of its own.
    pub sessions: u32,
    /// Signatures of all of them per second.
    pub per_second: f64,
    /// How long one took.
    pub latency: Latency,
}

/// Throughput by number of sessions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "read by the caller")]
pub struct Throughput {
    /// The algorithm that was measured.
    pub algorithm: String,
    /// 1, 2, 4, … sessions.
    pub steps: Vec<ThroughputStep>,
    /// The fewest sessions that do what is possible; 0 where nothing could be measured.
    pub enough: u32,
    /// Why no more sessions were measured.
    pub ended: String,
}

/// How many sessions the measuring process could have open at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "read by the caller")]
pub struct SessionLimit {
    /// So many.
    pub opened: u32,
    /// What the token said to the next; none where only the plan ended it.
    pub refused: Option<String>,
    /// What the token says of itself; none where it says nothing or "infinite".
    pub stated: Option<u64>,
}

/// What a handle that was used before is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "closed set")]
pub enum Handle {
    /// The same key: its signature verifies.
    Same,
    /// Nothing, and what the token says: safe, for it is noticed.
    Gone(String),
    /// Another thing: it signs, and the signature is not that key's.
    AnotherKey,
    /// That could not be found out.
    Unknown(String),
}

/// What happened to a session and its handle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "read by the caller")]
pub struct Stability {
    /// How long the session was left alone.
    pub idle: Duration,
    /// After it was left alone.
    pub after_idle: Handle,
    /// After other sessions were opened, made a key and were closed.
    pub after_others: Handle,
    /// After another session logged out and in again; the standard says that it is gone then (PKCS#11 3.0 §5.6.9).
    pub after_logout: Handle,
}

/// In what a token differs from what one would expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "closed set: the worker answers for each")]
pub enum Quirk {
    /// A handle may mean another key after a session was left alone, or after others came and went.
    HandlesChange,
    /// A session that was left alone is dead, or its handles are.
    IdleSessionsDie,
    /// It lists a mechanism that does not work.
    ListsWhatFails,
    /// It takes no `CKA_MODIFIABLE = false`.
    ModifiableRefused,
    /// The private key does not tell its point.
    NoPointOnPrivateKey,
    /// `CKA_EC_POINT` is the bare point, not in an OCTET STRING.
    RawPoint,
    /// It makes no key that goes with its session: measuring has to make and delete objects in the token.
    SessionObjectsRefused,
}

impl Quirk {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::HandlesChange,
        Self::IdleSessionsDie,
        Self::ListsWhatFails,
        Self::ModifiableRefused,
        Self::NoPointOnPrivateKey,
        Self::RawPoint,
        Self::SessionObjectsRefused,
    ];

    /// Its name in profiles and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HandlesChange => "handles-change",
            Self::IdleSessionsDie => "idle-sessions-die",
            Self::ListsWhatFails => "lists-what-fails",
            Self::ModifiableRefused => "modifiable-refused",
            Self::NoPointOnPrivateKey => "no-point-on-private-key",
            Self::RawPoint => "raw-point",
            Self::SessionObjectsRefused => "session-objects-refused",
        }
    }

    /// The quirk of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quirk| quirk.name() == name)
    }
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "read by the caller")]
pub struct Report {
    /// Which token it was.
    pub identity: Identity,
    /// What the token says of itself, in the standard's names without `CKF_`.
    pub flags: Vec<String>,
    /// Every algorithm of ours.
    pub algorithms: Vec<AlgorithmFinding>,
    /// Throughput by number of sessions; none where no algorithm works.
    pub throughput: Option<Throughput>,
    /// How many sessions there can be.
    pub session_limit: SessionLimit,
    /// What became of handles; none where no algorithm works.
    pub stability: Option<Stability>,
    /// In what it differs, each once, in order.
    pub quirks: Vec<Quirk>,
    /// Objects of an earlier measurement that had been cut short and were deleted now.
    pub swept: u32,
    /// `CKA_ID`s, in hex, of objects of a measurement that could not be deleted.
    pub left_behind: Vec<String>,
}

impl Report {
    /// How many sessions the daemon should use; none where nothing was measured.
    #[must_use]
    pub fn sessions(&self) -> Option<u32> {
        self.throughput.as_ref().map(|throughput| throughput.enough).filter(|enough| *enough > 0)
    }

    /// After how long a silent token should count as hung, in whole seconds: twenty times the longest call that was
    /// seen, and never so short that a busy machine looks like a sick token.
    #[must_use]
    pub fn hang_after(&self) -> Option<Duration> {
        let (floor, ceiling) = (Duration::from_secs(5), Duration::from_secs(60));
        let signed = self.algorithms.iter().filter_map(|finding| match &finding.works {
            Works::Yes { latency, .. } => Some(latency.max_us),
            Works::No { .. } => None,
        });
        let together = self.throughput.iter().flat_map(|throughput| {
            let used = throughput.steps.iter().filter(|step| step.sessions <= throughput.enough);
            used.map(|step| step.latency.max_us)
        });
        let longest = signed.chain(together).max()?;
        let patience = Duration::from_micros(longest.saturating_mul(20));
        let whole = patience.as_secs().saturating_add(u64::from(patience.subsec_nanos() > 0));
        Some(Duration::from_secs(whole).clamp(floor, ceiling))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_latency_that_a_call_had() {
        let hundred = Latency::of((1..=100).rev().collect());
        assert_eq!(hundred, Latency { p50_us: 50, p90_us: 90, p99_us: 99, max_us: 100 });
        assert_eq!(Latency::of(vec![7]), Latency { p50_us: 7, p90_us: 7, p99_us: 7, max_us: 7 });
        assert_eq!(Latency::of(vec![1, 9]), Latency { p50_us: 1, p90_us: 9, p99_us: 9, max_us: 9 });
        assert_eq!(Latency::of(Vec::new()), Latency::default());
    }

    #[test]
    fn a_plan_beyond_its_bounds_is_refused() {
        let second = Duration::from_secs(1);
        assert!(Plan::new(256, Plan::IDLE_MAX, Plan::STEP_MAX).is_ok());
        for (sessions, idle, step) in [
            (0, second, second),
            (257, second, second),
            (1, Plan::IDLE_MAX + second, second),
            (1, second, Duration::ZERO),
            (1, second, Plan::STEP_MAX + second),
        ] {
            assert!(Plan::new(sessions, idle, step).is_err());
        }
    }

    #[test]
    fn a_quirk_is_found_by_its_name() {
        assert!(Quirk::ALL.into_iter().all(|quirk| Quirk::named(quirk.name()) == Some(quirk)));
        assert_eq!(Quirk::named("none"), None);
    }
}
