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

/// An account that a registry's token service vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistryAccount {
    issuer: String,
    account: Name,
}

impl RegistryAccount {
    /// Takes what a verified token says of its issuer and its subject.
    ///
    /// # Errors
    /// [`Malformed`] when one of them is empty, longer than 255 bytes, or has other than printable ASCII; the account has
    /// no blank, and the issuer no `@`, so that they are read one way only where they stand together.
    pub fn new(issuer: &str, account: &str) -> Result<Self, Malformed> {
        let sound = |b: u8| (b.is_ascii_graphic() || b == b' ') && b != b'@';
        if !(1..=255).contains(&issuer.len()) || !issuer.bytes().all(sound) {
            return Err(Malformed::new("issuer of an account", "1 to 255 printable characters without @"));
        }
        Ok(Self { issuer: issuer.to_owned(), account: Name::parse(account)? })
    }

    /// Who issued the token.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Whom it names.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account.0
    }
}

/// A name in a principal: 1 to 255 printable ASCII characters, no blank, so that it has one spelling in a leaf.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// Reads a name.
    ///
    /// # Errors
    /// [`Malformed`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if !(1..=255).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Malformed::new("name of a principal", "1 to 255 printable characters without blanks"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Principal {
    /// Whoever reaches a listener that asks nobody who they are, by the listener's name.
    Anonymous(Name),
    /// A process on this machine, by the user id of its socket's peer credentials.
    LocalUid(u32),
    /// An account of a registry, by its verified token.
    RegistryAccount(RegistryAccount),
    /// The daemon itself, finishing what a person began.
    Service(Service),
    /// The one URI SAN of a client certificate whose CA is bound to its trust domain.
    Spiffe(SpiffeId),
}

/// What the daemon does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Service {
    /// Destroys keys whose wait is over, and retires those that were made for trust data and never used.
    Destruction,
    /// Signs unchanged timestamps and snapshots anew before they expire.
    Timestamp,
}

/// The one spelling in leaves, policy and logs: `uid:0`, `spiffe://domain/path`, `service:destruction`,
/// `anonymous:notary`, `account:alice@issuer`.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous(listener) => write!(f, "anonymous:{}", listener.0),
            Self::LocalUid(uid) => write!(f, "uid:{uid}"),
            Self::RegistryAccount(RegistryAccount { issuer, account }) => write!(f, "account:{}@{issuer}", account.0),
            Self::Service(Service::Destruction) => f.write_str("service:destruction"),
            Self::Service(Service::Timestamp) => f.write_str("service:timestamp"),
            Self::Spiffe(id) => fmt::Display::fmt(id, f),
        }
    }
}

impl Principal {
    /// Reads what `Display` wrote, of a record of our own: who that was had been verified when it was written. It is never
    /// for what somebody says of themselves.
    ///
    /// # Errors
    /// [`Malformed`] for everything that is not written so.
    pub fn from_record(text: &str) -> Result<Self, Malformed> {
        const EXPECTED: Malformed =
            Malformed::new("principal", "a name as records have it: uid:0, spiffe://domain/path");
        let read = match text.split_once(':').ok_or(EXPECTED)? {
            ("anonymous", listener) => Self::Anonymous(Name::parse(listener)?),
            ("uid", uid) => Self::LocalUid(uid.parse().map_err(|_| EXPECTED)?),
            ("account", rest) => {
                // An account may have an `@`, an issuer has none.
                let (account, issuer) = rest.rsplit_once('@').ok_or(EXPECTED)?;
                Self::RegistryAccount(RegistryAccount::new(issuer, account)?)
            }
            ("service", "destruction") => Self::Service(Service::Destruction),
            ("service", "timestamp") => Self::Service(Service::Timestamp),
            ("spiffe", _) => Self::Spiffe(SpiffeId::parse(text)?),
            _ => return Err(EXPECTED),
        };
        // Of two spellings of a number one is ours.
        if read.to_string() == text { Ok(read) } else { Err(EXPECTED) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_record_names_is_read_back_and_nothing_else() {
        let account = RegistryAccount::new("Acme auth", "a@example.com").unwrap();
        for principal in [
            Principal::Anonymous(Name::parse("notary").unwrap()),
            Principal::LocalUid(0),
            Principal::LocalUid(u32::MAX),
            Principal::RegistryAccount(account),
            Principal::Service(Service::Destruction),
            Principal::Service(Service::Timestamp),
            Principal::Spiffe(SpiffeId::parse("spiffe://ci.example.com/build/Runner-1").unwrap()),
        ] {
            assert_eq!(Principal::from_record(&principal.to_string()).unwrap(), principal);
        }
        for text in [
            "",
            "uid",
            "uid:",
            "uid:+1",
            "uid:01",
            "uid:4294967296",
            "account:alice",
            "account:@auth",
            "service:other",
            "spiffe://a",
            "root:0",
        ] {
            assert!(Principal::from_record(text).is_err(), "{text}");
        }
    }

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
        for text in ["", "a b", "\u{e9}", "a\n", &"a".repeat(256)] {
            assert!(Name::parse(text).is_err(), "{text}");
            assert!(RegistryAccount::new("auth", text).is_err(), "{text}");
        }
        for text in ["", "a@b", "\u{e9}", "a\n", &"a".repeat(256)] {
            assert!(RegistryAccount::new(text, "alice").is_err(), "{text}");
        }
        let account = RegistryAccount::new("Acme auth", "a@example.com").unwrap();
        assert_eq!(Principal::RegistryAccount(account).to_string(), "account:a@example.com@Acme auth");
        let id = SpiffeId::parse("spiffe://ci.example.com/build/Runner-1").unwrap();
        assert_eq!(id.trust_domain(), "ci.example.com");
    }
}
