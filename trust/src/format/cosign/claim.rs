//! What a signature claims, and whether that answers what was asked for.

use crate::{Malformed, Reference, Repository, Sha256Digest};

/// What one signature claims: a digest, and which image it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claim {
    /// Of the manifest.
    pub digest: Sha256Digest,
    /// Which image that is.
    pub named: Named,
    /// The name as it was written; no control characters, may be empty.
    pub written: String,
}

/// Which image a signature names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed set: a name has these parts")]
pub enum Named {
    /// None. What cosign 3 writes in bundles.
    Nothing,
    /// Repository and tag. What we write.
    Reference(Reference),
    /// The repository. What cosign writes in `.sig`.
    Repository(Repository),
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed set: one asks by tag or by digest")]
pub enum Asked<'a> {
    /// A digest in this repository.
    Digest(&'a Repository),
    /// This tag.
    Tag(&'a Reference),
}

/// How much a signature must name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed set: a pin says one or the other")]
pub enum Names {
    /// Any tag of the repository, or nothing: a pin made with `--any-tag`.
    AnyTag,
    /// The repository, and the tag if one was asked for.
    Exact,
}

impl Claim {
    /// The longest name that is read, in bytes: a repository, a tag and a digest.
    const WRITTEN_BYTES_MAX: usize = 512;

    /// # Errors
    /// [`Malformed`] when there is a name that cannot be an image's.
    pub(super) fn new(digest: Sha256Digest, written: String) -> Result<Self, Malformed> {
        if written.len() > Self::WRITTEN_BYTES_MAX || written.chars().any(char::is_control) {
            return Err(NAME);
        }
        let named = Named::read(&written)?;
        Ok(Self { digest, named, written })
    }

    /// True when the signature names what was asked for: the repository always, the tag unless a digest was asked
    /// for. So a registry cannot move `app:1.0` onto another signed image, nor copy a signature from elsewhere.
    /// [`Names::AnyTag`] takes a signature that names less or another tag, but never another repository.
    #[must_use]
    pub fn answers(&self, asked: Asked<'_>, names: Names) -> bool {
        let (asked_repository, asked_tag) = match asked {
            Asked::Digest(repository) => (repository, None),
            Asked::Tag(reference) => (&reference.repository, Some(&reference.tag)),
        };
        match (&self.named, names) {
            (Named::Nothing, Names::AnyTag) => true,
            (Named::Nothing, Names::Exact) => false,
            (Named::Repository(repository), Names::AnyTag) => repository == asked_repository,
            (Named::Repository(repository), Names::Exact) => repository == asked_repository && asked_tag.is_none(),
            (Named::Reference(reference), Names::AnyTag) => reference.repository == *asked_repository,
            (Named::Reference(reference), Names::Exact) => {
                reference.repository == *asked_repository && asked_tag.is_none_or(|tag| reference.tag == *tag)
            }
        }
    }
}

const NAME: Malformed = Malformed::new("name in a signature", "registry/repository, with a tag or without");

impl Named {
    /// Reads a name as docker does; what stands behind `@` repeats the digest and is compared there.
    fn read(written: &str) -> Result<Self, Malformed> {
        let name = written.split_once('@').map_or(written, |(name, _)| name);
        if written.is_empty() {
            return Ok(Self::Nothing);
        }
        let has_tag = name.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/'));
        let read = if has_tag {
            Reference::normalise(name).map(Self::Reference)
        } else {
            Repository::normalise(name).map(Self::Repository)
        };
        read.map_err(|_| NAME)
    }
}
