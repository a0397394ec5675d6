//! Where a private key began its life.

use std::fmt;
use std::str::FromStr;

use crate::Malformed;

/// How the private half of a key version came to its custodian; fixed for the version's life.
///
/// Only a generated one has never been anywhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed set: readers of a key decide by it")]
pub enum Origin {
    /// It was in the token already.
    Adopted,
    /// Its custodian made it.
    Generated,
    /// Somebody brought it: it has existed outside.
    Imported,
}

impl Origin {
    /// Every origin.
    pub const ALL: [Self; 3] = [Self::Adopted, Self::Generated, Self::Imported];

    /// The word for it in records, leaves and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::Generated => "generated",
            Self::Imported => "imported",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Origin {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let found = Self::ALL.into_iter().find(|origin| origin.name() == text);
        found.ok_or(Malformed::new("origin of a key", "adopted, generated or imported"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_origin_is_read_as_it_is_written() {
        for origin in Origin::ALL {
            assert_eq!(origin.to_string().parse::<Origin>().unwrap(), origin);
        }
        assert!("Imported".parse::<Origin>().is_err());
    }
}
