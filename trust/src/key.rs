//! How a key is named.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use crate::Malformed;

/// Random, opaque identity of a key: 16 bytes, written as 32 hexadecimal digits. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// Takes 16 bytes fresh from the operating system's random generator, or as stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        const EXPECTED: Malformed = Malformed::new("key id", "32 lower-case hexadecimal digits");
        if text.len() != 32 || text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(EXPECTED);
        }
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| EXPECTED)?;
        Ok(Self(bytes))
    }
}

/// What people call a key: segments of `[a-z0-9._-]` joined by `/`, at most 128 bytes.
///
/// A segment starts with a letter or digit. A name that could be read as a
/// [`KeyId`] is refused, so that a text is one or the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 128;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyName {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let segment_ok = |segment: &str| {
            segment.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && segment
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
        };
        let fits = text.len() <= Self::BYTES_MAX && text.split('/').all(segment_ok);
        if !fits || text.parse::<KeyId>().is_ok() {
            return Err(Malformed::new(
                "key name",
                "segments of a-z 0-9 . _ - joined by /, each starting with a letter or digit, at most 128 \
                 characters, not 32 hexadecimal digits",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// 1, 2, 3…: rotation adds a version, nothing edits one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyVersion(NonZeroU32);

impl KeyVersion {
    /// The version a key is created with.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The version with this number; `None` for 0.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number, 1 or more.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }

    /// The version that a rotation adds; `None` after 2³² − 1 rotations.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

impl fmt::Display for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One version of one key, written `<id>@<version>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyRef {
    /// Which key.
    pub id: KeyId,
    /// Which version of it.
    pub version: KeyVersion,
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.version)
    }
}
