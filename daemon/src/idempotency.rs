//! A caller's word that two requests are one (D14).

use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use trust::{Fault, FaultKind, Malformed, Principal, Sha256Digest};

use crate::turns;

/// 1 to 64 characters of the caller's choice: `[A-Za-z0-9._:-]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The longest key, in bytes.
    pub(crate) const BYTES_MAX: usize = 64;

    /// Reads a key.
    ///
    /// # Errors
    /// [`Malformed`] when it is empty, too long, or has other characters.
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let fits = (1..=Self::BYTES_MAX).contains(&text.len());
        let sound = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'));
        if fits && sound {
            Ok(Self(text.to_owned()))
        } else {
            Err(Malformed::new("idempotency key", "1 to 64 characters of A-Z a-z 0-9 . _ : -"))
        }
    }

    /// The characters.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Collects the parts of a request, each with its length before it, so that no two requests collect alike.
#[derive(Default)]
pub(crate) struct RequestHash(Vec<u8>);

impl RequestHash {
    /// Adds a part.
    pub(crate) fn add(mut self, part: &[u8]) -> Self {
        self.0.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        self.0.extend_from_slice(part);
        self
    }

    /// The hash of all parts.
    pub(crate) fn finish(self) -> Sha256Digest {
        Sha256Digest::of(&self.0)
    }
}

/// Where an answer is kept: whose, of what, under which key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    principal: Principal,
    method: &'static str,
    key: IdempotencyKey,
}

/// The requests with an idempotency key that are at work: the second of two waits for the first, and finds its answer.
///
/// As many places as requests that are served, and those are bounded.
#[derive(Debug, Default)]
pub(crate) struct Turns(turns::Turns<Place>);

/// A request alone under its idempotency key. It goes with the work, not with whoever waits for it.
#[derive(Debug)]
pub(crate) struct Turn {
    place: Place,
    _alone: OwnedMutexGuard<()>,
}

impl Turns {
    /// Waits, at most so long, until no other request under the key is at work; `None` when that was too short.
    pub(crate) async fn take(
        &self,
        principal: &Principal,
        method: &'static str,
        key: IdempotencyKey,
        patience: Duration,
    ) -> Option<Turn> {
        let place = Place { principal: principal.clone(), method, key };
        let lock = self.0.lock_of(&place, usize::MAX)?;
        let alone = tokio::time::timeout(patience, lock.lock_owned()).await.ok()?;
        Some(Turn { place, _alone: alone })
    }
}

impl Turn {
    /// Whose request it is.
    pub(crate) const fn principal(&self) -> &Principal {
        &self.place.principal
    }

    /// The word for what is asked.
    pub(crate) const fn method(&self) -> &'static str {
        self.place.method
    }

    /// The caller's key.
    pub(crate) const fn key(&self) -> &IdempotencyKey {
        &self.place.key
    }
}

/// An idempotency key that came back with other content.
pub(crate) fn other_content() -> Fault {
    Fault::new(FaultKind::Conflict, "the idempotency key was used for another request")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_short_and_plain() {
        assert!(IdempotencyKey::parse("build-4711:push.1").is_ok());
        for text in ["", "with space", "line\nfeed", "ä", &"x".repeat(65)] {
            assert!(IdempotencyKey::parse(text).is_err(), "{text:?}");
        }
    }

    #[tokio::test]
    async fn one_request_at_a_time_is_at_work_under_a_key_and_others_do_not_wait_for_it() {
        let turns = Turns::default();
        let (one, other) = (Principal::LocalUid(1), Principal::LocalUid(2));
        let key = |text| IdempotencyKey::parse(text).unwrap();
        let (no_time, long) = (Duration::ZERO, Duration::from_secs(30));

        let first = turns.take(&one, "create", key("a"), long).await.unwrap();
        assert!(turns.take(&one, "create", key("a"), no_time).await.is_none(), "it is at work");
        for (who, method, key) in [(&other, "create", key("a")), (&one, "rotate", key("a")), (&one, "create", key("b"))]
        {
            assert!(turns.take(who, method, key, long).await.is_some());
        }
        let (second, ()) = tokio::join!(turns.take(&one, "create", key("a"), long), async { drop(first) });
        drop(second.expect("the first has ended"));

        drop(turns.take(&other, "sign", key("c"), long).await);
        assert_eq!(turns.0.len(), 1, "what has ended is forgotten");
    }

    #[test]
    fn parts_that_join_alike_hash_differently() {
        let split = |a: &[u8], b: &[u8]| RequestHash::default().add(a).add(b).finish();

        assert_ne!(split(b"ab", b"c"), split(b"a", b"bc"));
    }
}
