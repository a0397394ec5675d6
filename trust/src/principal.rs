//! Who asks: only from a verified identity.

use std::fmt;

use crate::Malformed;

/// A SPIFFE id: `spiffe://trust.domain/path`, at most 2048 bytes
/// (SPIFFE-ID §2: lower-case domain; path segments of `[A-Za-z0-9._-]`, none empty, `.` or `..`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    text: String,
    domain_bytes: usize,
}

impl SpiffeId {
    const PREFIX: &'static str = "spiffe://";

    /// Reads a SPIFFE id with a path.
    ///
    /// # Errors
    /// [`Malformed`] for anything else: port, user info, query, fragment, percent-encoding, empty path.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        const EXPECTED: Malformed = Malformed::new("SPIFFE id", "spiffe://trust.domain/path, at most 2048 characters");
        let (domain, path) = text.strip_prefix(Self::PREFIX).and_then(|rest| rest.split_once('/')).ok_or(EXPECTED)?;
        let domain_ok = (1..=255).contains(&domain.len())
            && domain.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_'));
        let segment_ok = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        };
        if text.len() > 2048 || !domain_ok || !path.split('/').all(segment_ok) {
            return Err(EXPECTED);
        }
        Ok(Self { text: text.to_owned(), domain_bytes: domain.len() })
    }

    /// The trust domain: `trust.domain`.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        self.text.get(Self::PREFIX.len()..Self::PREFIX.len().saturating_add(self.domain_bytes)).unwrap_or_default()
    }

    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Principal {
    /// A process on this machine, by the user id of its socket's peer credentials.
    LocalUid(u32),
    /// The daemon itself, finishing what a person began.
    Service(Service),
    /// The one URI SAN of a client certificate whose CA is bound to its trust domain.
    Spiffe(SpiffeId),
}

/// What the daemon does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Service {
    /// Destroys keys whose wait is over.
    Destruction,
}

/// The one spelling in leaves, policy and logs: `uid:0`, `spiffe://domain/path`, `service:destruction`.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocalUid(uid) => write!(f, "uid:{uid}"),
            Self::Service(Service::Destruction) => f.write_str("service:destruction"),
            Self::Spiffe(id) => fmt::Display::fmt(id, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_be_read_twice_is_refused() {
        for text in [
            "",
            "spiffe://",
            "spiffe://a",
            "spiffe://a/",
            "spiffe:///p",
            "spiffe://A/p",
            "spiffe://a:1/p",
            "spiffe://u@a/p",
            "spiffe://a/p?q",
            "spiffe://a/p#f",
            "spiffe://a/%70",
            "spiffe://a/../p",
            "spiffe://a//p",
            "spiffe://a/p\0",
            "https://a/p",
            "spiffe://a/*",
        ] {
            assert!(SpiffeId::parse(text).is_err(), "{text}");
        }
        let id = SpiffeId::parse("spiffe://ci.example.com/build/Runner-1").unwrap();
        assert_eq!(id.trust_domain(), "ci.example.com");
    }
}
