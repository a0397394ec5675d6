//! What a key is for, by name: fixed for life, checked before policy.

use std::fmt;
use std::str::FromStr;

use crate::{Malformed, Purpose, Repository, Sha256Digest};

/// One repository, or all below a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "closed set")]
pub enum RepositoryPattern {
    /// `registry/path`: this one.
    Exact(Repository),
    /// `registry/path/*` or `registry/*`: everything below, not the prefix itself.
    Below(String),
}

impl RepositoryPattern {
    /// True when `repository` is meant.
    #[must_use]
    pub fn covers(&self, repository: &Repository) -> bool {
        match self {
            Self::Exact(exact) => exact == repository,
            Self::Below(prefix) => {
                repository.as_str().strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('/'))
            }
        }
    }

    /// Reads what a person types: a repository docker would take, or a prefix with `/*`.
    ///
    /// # Errors
    /// [`Malformed`] when no canonical pattern can be made of it.
    pub fn normalise(typed: &str) -> Result<Self, Malformed> {
        match typed.strip_suffix("/*") {
            None => Repository::normalise(typed).map(Self::Exact),
            // A placeholder makes `registry/*` a repository that can be normalised.
            Some(prefix) => {
                let below = Repository::normalise(&format!("{prefix}/placeholder"))?;
                below.as_str().strip_suffix("/placeholder").map(|prefix| Self::Below(prefix.to_owned())).ok_or(PATTERN)
            }
        }
    }
}

const PATTERN: Malformed = Malformed::new("scope", "a canonical repository, or a prefix of one followed by /*");

impl FromStr for RepositoryPattern {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let Some(prefix) = text.strip_suffix("/*") else {
            return Repository::parse(text).map(Self::Exact);
        };
        // `docker.io/*` covers `docker.io/library/…`: two segments make any registry's path legal.
        Repository::parse(&format!("{prefix}/placeholder/placeholder")).map_err(|_| PATTERN)?;
        Ok(Self::Below(prefix.to_owned()))
    }
}

impl fmt::Display for RepositoryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(repository) => fmt::Display::fmt(repository, f),
            Self::Below(prefix) => write!(f, "{prefix}/*"),
        }
    }
}

/// The repositories a key is for. Fixed for life.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed set")]
pub enum Scope {
    /// The purpose knows no repositories ([`Purpose::ReleaseBlob`], [`Purpose::ReleaseStatement`], [`Purpose::Raw`],
    /// [`Purpose::Log`]).
    Unbound,
    /// These, sorted and without doubles; at least one.
    Repositories(Vec<RepositoryPattern>),
}

impl Scope {
    /// The most patterns a scope can have.
    pub const PATTERNS_MAX: usize = 64;

    /// The scope of a new key: images need at least one pattern, every other purpose takes none.
    ///
    /// # Errors
    /// [`Malformed`] when purpose and patterns do not go together, or there are more than 64.
    pub fn new(purpose: Purpose, mut patterns: Vec<RepositoryPattern>) -> Result<Self, Malformed> {
        patterns.sort();
        patterns.dedup();
        match (purpose, patterns.len()) {
            (Purpose::Image, 1..=Self::PATTERNS_MAX) => Ok(Self::Repositories(patterns)),
            (Purpose::Image, _) => Err(Malformed::new("scope", "1 to 64 repositories for an image key")),
            (_, 0) => Ok(Self::Unbound),
            _ => Err(Malformed::new("scope", "empty for a key that is not for images")),
        }
    }

    /// True when `repository` is in scope; an unbound scope covers none.
    #[must_use]
    pub fn covers(&self, repository: &Repository) -> bool {
        match self {
            Self::Unbound => false,
            Self::Repositories(patterns) => patterns.iter().any(|pattern| pattern.covers(repository)),
        }
    }

    /// The patterns, none for an unbound scope.
    #[must_use]
    pub fn patterns(&self) -> &[RepositoryPattern] {
        match self {
            Self::Unbound => &[],
            Self::Repositories(patterns) => patterns,
        }
    }

    /// SHA-256 over the patterns, each followed by a line feed: part of the sealing context.
    #[must_use]
    pub fn hash(&self) -> Sha256Digest {
        let text: String = self.patterns().iter().map(|pattern| format!("{pattern}\n")).collect();
        Sha256Digest::of(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(text: &str) -> Repository {
        Repository::parse(text).unwrap()
    }

    #[test]
    fn a_prefix_covers_what_is_below_it_and_nothing_beside_it() {
        let pattern: RepositoryPattern = "r.example.com/team/*".parse().unwrap();

        assert!(pattern.covers(&repository("r.example.com/team/app")));
        assert!(pattern.covers(&repository("r.example.com/team/deep/app")));
        for other in ["r.example.com/team", "r.example.com/teamster/app", "s.example.com/team/app"] {
            assert!(!pattern.covers(&repository(other)), "{other}");
        }
    }

    #[test]
    fn a_pattern_has_one_spelling() {
        for text in [
            "*",
            "r.example.com/te*",
            "r.example.com/*/app",
            "R.example.com/*",
            "r.example.com/**",
            "busybox",
            "r.example.com:443/*",
        ] {
            assert!(text.parse::<RepositoryPattern>().is_err(), "{text}");
        }
        for text in ["r.example.com/*", "docker.io/*", "docker.io/library/*", "localhost:5000/app"] {
            assert_eq!(text.parse::<RepositoryPattern>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn purpose_and_scope_go_together() {
        let one = || vec!["r.example.com/app".parse().unwrap()];

        assert!(Scope::new(Purpose::Image, vec![]).is_err());
        assert!(Scope::new(Purpose::Raw, one()).is_err());
        assert!(Scope::new(Purpose::Image, one()).unwrap().covers(&repository("r.example.com/app")));
        assert!(!Scope::Unbound.covers(&repository("r.example.com/app")));
    }
}
