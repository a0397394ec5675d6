//! Which image is meant, where it lies, and what a signature must call it (D1).

use trust::format::cosign::Asked;
use trust::{Reference, Repository, Sha256Digest};

use crate::command_line::image::Belief;
use crate::failure::Failure;
use crate::registry::Place;
use crate::trust_server::TrustRoot;

/// An image as the user asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Where it lies.
    pub(crate) repository: Repository,
    /// Which one there.
    pub(crate) place: Place,
    /// What its signatures must name.
    pub(crate) named: Name,
    /// The root of its trust data that the call names.
    pub(crate) root: Option<TrustRoot>,
}

/// What a signature must name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    /// Any tag of this repository: an image was asked for by its digest.
    Repository(Repository),
    /// This repository and tag.
    Tag(Reference),
}

impl Target {
    /// Reads `registry/repository[:tag][@sha256:…]` as docker does; `named_as` is the name behind a mirror.
    ///
    /// # Errors
    /// A failure of usage.
    pub(crate) fn parse(typed: &str, named_as: Option<&str>) -> Result<Self, Failure> {
        let (name, digest) = match typed.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse::<Sha256Digest>()?)),
            None => (typed, None),
        };
        let here = Reference::normalise(name)?;
        let by_tag = has_tag(name) || digest.is_none();
        let place = digest.map_or_else(|| Place::Tag(here.tag.clone()), Place::Digest);
        let named = match named_as {
            None if by_tag => Name::Tag(here.clone()),
            None => Name::Repository(here.repository.clone()),
            Some(original) if original.contains('@') => {
                return Err(Failure::usage(
                    "--as names an image, not a digest",
                    "--as registry/repository:tag; the digest belongs to the mirror's REF",
                ));
            }
            Some(original) if has_tag(original) => Name::Tag(Reference::normalise(original)?),
            Some(original) => {
                let repository = Repository::normalise(original)?;
                if by_tag {
                    Name::Tag(Reference { repository, tag: here.tag.clone() })
                } else {
                    Name::Repository(repository)
                }
            }
        };
        Ok(Self { repository: here.repository, place, named, root: None })
    }

    /// The same with what its signatures are held to.
    ///
    /// # Errors
    /// A failure of usage.
    pub(crate) fn believed(typed: &str, belief: &Belief) -> Result<Self, Failure> {
        let target = Self::parse(typed, belief.named_as.as_deref())?;
        Ok(Self { root: belief.trust_root.clone(), ..target })
    }

    /// Reads a reference with a tag, as `push` needs it.
    ///
    /// # Errors
    /// A failure of usage.
    pub(crate) fn reference(typed: &str) -> Result<Reference, Failure> {
        if typed.contains('@') {
            return Err(Failure::usage(
                "a digest cannot be pushed",
                "name the image by its tag: registry/repository:tag",
            ));
        }
        Ok(Reference::normalise(typed)?)
    }

    /// The repository whose keys decide.
    pub(crate) const fn judged_repository(&self) -> &Repository {
        match &self.named {
            Name::Repository(repository) => repository,
            Name::Tag(reference) => &reference.repository,
        }
    }

    /// What signatures are held against.
    pub(crate) const fn asked(&self) -> Asked<'_> {
        match &self.named {
            Name::Repository(repository) => Asked::Digest(repository),
            Name::Tag(reference) => Asked::Tag(reference),
        }
    }

    /// The one name of exactly this content: `repository@sha256:…`.
    pub(crate) fn pinned(&self, digest: &Sha256Digest) -> String {
        format!("{}@{digest}", self.repository)
    }

    /// `repository:tag`, if it was asked for by tag.
    pub(crate) fn tagged(&self) -> Option<String> {
        match &self.place {
            Place::Digest(_) => None,
            Place::Tag(tag) => Some(format!("{}:{tag}", self.repository)),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            Place::Digest(digest) => write!(f, "{}@{digest}", self.repository),
            Place::Tag(tag) => write!(f, "{}:{tag}", self.repository),
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Repository(repository) => repository.fmt(f),
            Self::Tag(reference) => reference.fmt(f),
        }
    }
}

/// True when a tag is written out: a `:` behind the last `/`.
pub(super) fn has_tag(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parsed(typed: &str, named_as: Option<&str>) -> (String, String) {
        let target = Target::parse(typed, named_as).unwrap();
        (target.to_string(), target.named.to_string())
    }

    #[test]
    fn a_name_is_made_canonical_and_is_what_a_signature_must_name() {
        let pinned = format!("r.example.com/app@{DIGEST}");

        assert_eq!(parsed("busybox", None), both("docker.io/library/busybox:latest"));
        assert_eq!(parsed("localhost:5000/app", None), both("localhost:5000/app:latest"));
        assert_eq!(parsed(&pinned, None), (pinned.clone(), "r.example.com/app".to_owned()));
        let tagged = format!("r.example.com/app:1@{DIGEST}");
        assert_eq!(parsed(&tagged, None), (pinned, "r.example.com/app:1".to_owned()));
    }

    fn both(text: &str) -> (String, String) {
        (text.to_owned(), text.to_owned())
    }

    #[test]
    fn a_mirror_lies_elsewhere_but_is_judged_by_its_original_name() {
        let mirror = format!("mirror.example.com/app@{DIGEST}");

        let (at, named) = parsed("mirror.example.com/app:1", Some("r.example.com/team/app"));
        assert_eq!((at.as_str(), named.as_str()), ("mirror.example.com/app:1", "r.example.com/team/app:1"));
        assert_eq!(parsed("mirror.example.com/app:1", Some("busybox:2")).1, "docker.io/library/busybox:2");
        assert_eq!(parsed(&mirror, Some("r.example.com/team/app")).1, "r.example.com/team/app");
        assert_eq!(parsed(&mirror, Some("r.example.com/team/app:2")).1, "r.example.com/team/app:2");
        assert!(Target::parse(&mirror, Some(&format!("r.example.com/app@{DIGEST}"))).is_err());
    }

    #[test]
    fn what_names_no_image_is_a_failure_of_usage() {
        for typed in
            ["", "UPPER", "a b", "app@md5:00", "app@sha256:00", "r.example.com/app:", "-x", "app\u{1b}", "oci:/x"]
        {
            assert_eq!(Target::parse(typed, None).unwrap_err().exit().code(), 2, "{typed}");
        }
        assert!(Target::reference(&format!("app@{DIGEST}")).is_err());
    }
}
