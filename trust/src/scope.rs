//! What a key is for, by name: fixed for life, checked before policy.

use std::fmt;
use std::str::FromStr;

use crate::{Gun, Malformed, Purpose, Repository, Sha256Digest};

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

const ONE_GUN: Malformed = Malformed::new("scope", "the name of one repository for a key of its trust data");
const GUNS: Malformed = Malformed::new("scope", "the names of 1 to 64 repositories for a root key of their trust data");

/// The repositories a key is for. Fixed for life.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed set")]
pub enum Scope {
    /// The one repository of trust data that the key is for ([`Purpose::Delegation`], [`Purpose::Snapshot`],
    /// [`Purpose::Targets`], [`Purpose::Timestamp`]), as Notary calls it.
    Gun(Gun),
    /// The repositories of trust data whose root it may be ([`Purpose::Root`]), sorted and without doubles; at least
    /// one.
    Guns(Vec<Gun>),
    /// The purpose knows no repositories ([`Purpose::ReleaseBlob`], [`Purpose::ReleaseStatement`], [`Purpose::Raw`],
    /// [`Purpose::Log`]).
    Unbound,
    /// These, sorted and without doubles; at least one.
    Repositories(Vec<RepositoryPattern>),
}

impl Scope {
    /// The most patterns a scope can have.
    pub const PATTERNS_MAX: usize = 64;

    /// The scope of a key for images, which need at least one pattern, or of a purpose that takes none.
    ///
    /// # Errors
    /// [`Malformed`] when purpose and patterns do not go together, or there are more than 64.
    pub fn new(purpose: Purpose, mut patterns: Vec<RepositoryPattern>) -> Result<Self, Malformed> {
        patterns.sort();
        patterns.dedup();
        match (purpose, patterns.len()) {
            (Purpose::Image, 1..=Self::PATTERNS_MAX) => Ok(Self::Repositories(patterns)),
            (Purpose::Image, _) => Err(Malformed::new("scope", "1 to 64 repositories for an image key")),
            (Purpose::Delegation | Purpose::Snapshot | Purpose::Targets | Purpose::Timestamp, _) => Err(ONE_GUN),
            (Purpose::Root, _) => Err(GUNS),
            (_, 0) => Ok(Self::Unbound),
            _ => Err(Malformed::new("scope", "empty for a key that is not for images")),
        }
    }

    /// Reads the words of a scope, as [`Scope::words`] writes them, for a key of `purpose`.
    ///
    /// # Errors
    /// [`Malformed`] for a word that is not canonical, and as [`Scope::new`].
    pub fn read<'a>(purpose: Purpose, words: impl IntoIterator<Item = &'a str>) -> Result<Self, Malformed> {
        let mut words = words.into_iter();
        if !purpose.is_of_trust_data() {
            return Self::new(purpose, words.map(str::parse).collect::<Result<_, _>>()?);
        }
        if purpose == Purpose::Root {
            let mut guns = words.map(str::parse).collect::<Result<Vec<Gun>, _>>()?;
            guns.sort();
            guns.dedup();
            return if (1..=Self::PATTERNS_MAX).contains(&guns.len()) { Ok(Self::Guns(guns)) } else { Err(GUNS) };
        }
        let gun = words.next().ok_or(ONE_GUN)?.parse()?;
        if words.next().is_some() { Err(ONE_GUN) } else { Ok(Self::Gun(gun)) }
    }

    /// Its words: patterns of repositories, or the name of the one; none for an unbound scope.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        match self {
            Self::Gun(gun) => vec![gun.to_string()],
            Self::Guns(guns) => guns.iter().map(ToString::to_string).collect(),
            Self::Unbound => Vec::new(),
            Self::Repositories(patterns) => patterns.iter().map(ToString::to_string).collect(),
        }
    }

    /// True when `repository` is in scope; only patterns cover any.
    #[must_use]
    pub fn covers(&self, repository: &Repository) -> bool {
        match self {
            Self::Gun(_) | Self::Guns(_) | Self::Unbound => false,
            Self::Repositories(patterns) => patterns.iter().any(|pattern| pattern.covers(repository)),
        }
    }

    /// True when the trust data of this repository is in scope.
    #[must_use]
    pub fn covers_gun(&self, gun: &Gun) -> bool {
        match self {
            Self::Gun(own) => own == gun,
            Self::Guns(guns) => guns.binary_search(gun).is_ok(),
            Self::Repositories(_) | Self::Unbound => false,
        }
    }

    /// SHA-256 over the words, each followed by a line feed: part of the sealing context.
    #[must_use]
    pub fn hash(&self) -> Sha256Digest {
        let text: String = self.words().iter().map(|word| format!("{word}\n")).collect();
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

    #[test]
    fn a_key_of_trust_data_is_for_one_repository_by_the_name_that_its_clients_use() {
        for purpose in [Purpose::Delegation, Purpose::Snapshot, Purpose::Targets, Purpose::Timestamp] {
            let scope = Scope::read(purpose, ["localhost:5000/App"]).unwrap();

            assert_eq!(scope.words(), ["localhost:5000/App"]);
            assert_eq!(Scope::read(purpose, scope.words().iter().map(String::as_str)), Ok(scope.clone()));
            assert!(!scope.covers(&repository("localhost:5000/app")));
            assert!(scope.covers_gun(&"localhost:5000/App".parse().unwrap()));
            assert!(!scope.covers_gun(&"localhost:5000/app".parse().unwrap()));
            for words in [&[][..], &["a", "b"], &["a*"], &["a/../b"]] {
                assert!(Scope::read(purpose, words.iter().copied()).is_err(), "{words:?}");
            }
            assert!(Scope::new(purpose, Vec::new()).is_err());
        }
        let guns = Scope::read(Purpose::Root, ["r.example.com/b", "r.example.com/a", "r.example.com/b"]).unwrap();
        assert_eq!(guns.words(), ["r.example.com/a", "r.example.com/b"]);
        assert!(guns.covers_gun(&"r.example.com/b".parse().unwrap()));
        assert!(
            !guns.covers_gun(&"r.example.com/c".parse().unwrap()) && !Scope::Unbound.covers_gun(&"a".parse().unwrap())
        );
        let many: Vec<String> = (0..=Scope::PATTERNS_MAX).map(|number| format!("r.example.com/{number}")).collect();
        assert!(Scope::read(Purpose::Root, many.iter().map(String::as_str)).is_err());
        assert!(Scope::read(Purpose::Root, []).is_err() && Scope::read(Purpose::Root, ["r.example.com/*"]).is_err());
        assert!(Scope::new(Purpose::Root, Vec::new()).is_err());
        let scope = Scope::read(Purpose::Image, ["r.example.com/*", "r.example.com/app"]).unwrap();
        assert_eq!(scope.words(), ["r.example.com/app", "r.example.com/*"]);
    }
}
