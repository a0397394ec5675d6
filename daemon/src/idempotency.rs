//! A caller's word that two requests are one (D14).

use trust::{Fault, FaultKind, Malformed, Sha256Digest};

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

    #[test]
    fn parts_that_join_alike_hash_differently() {
        let split = |a: &[u8], b: &[u8]| RequestHash::default().add(a).add(b).finish();

        assert_ne!(split(b"ab", b"c"), split(b"a", b"bc"));
    }
}
