//! How fast one principal, or one address, may ask: a token bucket each, in a bounded table.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use trust::Principal;

/// The most principals, or addresses, that are told apart at once.
const PRINCIPALS_MAX: usize = 10_000;

/// Token buckets.
#[derive(Debug)]
pub(crate) struct Pace<K = Principal> {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

impl<K: Clone + Eq + Hash> Pace<K> {
    /// `per_second` requests in the long run, `burst` at once.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second: f64::from(per_second), burst: f64::from(burst), buckets: Mutex::default() }
    }

    /// `burst` at once, at least one, and as many again in each `time`, of at least a second.
    pub(crate) fn over(burst: u32, time: Duration) -> Self {
        let burst = f64::from(burst.max(1));
        Self { per_second: burst / time.as_secs_f64().max(1.0), burst, buckets: Mutex::default() }
    }

    /// Takes a token at `now`.
    ///
    /// # Errors
    /// How long until there is one.
    pub(crate) fn take(&self, principal: &K, now: Duration) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= PRINCIPALS_MAX && !buckets.contains_key(principal) {
            // A full bucket says nothing that a new one would not.
            buckets.retain(|_, bucket| self.filled(*bucket, now).tokens < self.burst);
            if buckets.len() >= PRINCIPALS_MAX {
                return Err(Duration::from_secs(1));
            }
        }
        let bucket = buckets.entry(principal.clone()).or_insert(Bucket { tokens: self.burst, at: now });
        *bucket = self.filled(*bucket, now);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - bucket.tokens) / self.per_second))
    }

    fn filled(&self, bucket: Bucket, now: Duration) -> Bucket {
        let elapsed = now.saturating_sub(bucket.at).as_secs_f64();
        Bucket { tokens: (bucket.tokens + elapsed * self.per_second).min(self.burst), at: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let pace = Pace::new(10, 3);
        let who = Principal::LocalUid(1);
        let at = Duration::from_millis;

        for _ in 0..3 {
            assert!(pace.take(&who, at(0)).is_ok());
        }

        let wait = pace.take(&who, at(0)).unwrap_err();
        assert!(wait <= at(100), "{wait:?}");
        assert!(pace.take(&who, at(99)).is_err());
        assert!(pace.take(&who, at(101)).is_ok());
        assert!(pace.take(&Principal::LocalUid(2), at(101)).is_ok());
    }

    #[test]
    fn in_each_time_a_burst_comes_back() {
        let pace = Pace::over(2, Duration::from_hours(2));
        let at = Duration::from_mins;

        assert!(pace.take(&1, at(0)).is_ok() && pace.take(&1, at(0)).is_ok());
        assert_eq!(pace.take(&1, at(59)).unwrap_err().as_secs().div_ceil(60), 1);
        assert!(pace.take(&1, at(61)).is_ok() && pace.take(&1, at(62)).is_err());
        // Nothing at all is none.
        let none = Pace::over(0, Duration::ZERO);
        assert!(none.take(&1, at(0)).is_ok() && none.take(&1, at(0)).unwrap_err() <= Duration::from_secs(1));
    }

    #[test]
    fn the_table_is_bounded() {
        let pace = Pace::new(1, 1);

        for uid in 0..20_000 {
            let _ = pace.take(&Principal::LocalUid(uid), Duration::ZERO);
        }

        assert!(pace.buckets.lock().unwrap().len() <= PRINCIPALS_MAX);
        assert!(pace.take(&Principal::LocalUid(99_999), Duration::from_secs(10)).is_ok());
    }
}
