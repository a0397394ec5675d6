//! Whether enough of those who may have signed a file.

use std::collections::BTreeSet;

use super::part::SignatureLine;
use super::{BYTES_MAX, Document, Key, RoleName, canonical};
use crate::Sha256Digest;
use crate::format::json;

/// Who speaks for a role, and how many of them are needed.
#[derive(Debug, Clone)]
pub struct Authority<'a> {
    role: &'a RoleName,
    keys: Vec<&'a Key>,
    threshold: u32,
}

/// Too few of those who may have signed; in the words that Notary's clients know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "closed set: Notary has a word for each")]
pub enum NotMet {
    /// The file is another role's than the authority.
    #[error("{found} is not the file of {role}")]
    AnotherRole {
        /// Whose authority it was held against.
        role: RoleName,
        /// Whose file it is.
        found: RoleName,
    },
    /// Nobody signed.
    #[error("tuf: data has no signatures")]
    NoSignatures,
    /// Too few did.
    #[error("valid signatures did not meet threshold for {0}")]
    TooFew(RoleName),
}

impl<'a> Authority<'a> {
    pub(super) const fn new(role: &'a RoleName, keys: Vec<&'a Key>, threshold: u32) -> Self {
        Self { role, keys, threshold }
    }

    /// The same, but only those of its keys that `good` says yes to; as many of them are needed.
    pub(super) fn only(mut self, good: impl Fn(&Key) -> bool) -> Self {
        self.keys.retain(|key| good(key));
        self
    }

    /// Whether the same keys, and as many of them, speak in another file.
    pub(super) fn is_that_of(&self, other: &Authority<'_>) -> bool {
        let names = |authority: &Authority<'_>| authority.keys.iter().map(|key| key.id()).collect::<BTreeSet<_>>();
        self.threshold == other.threshold && names(self) == names(other)
    }

    /// The keys, by their names.
    #[must_use]
    pub fn keys(&self) -> &[&'a Key] {
        &self.keys
    }

    /// How many of them are needed; at least one.
    #[must_use]
    pub const fn threshold(&self) -> u32 {
        self.threshold
    }
}

/// How many lines of a file may be signatures that do not verify: each of them costs hashing all of it.
pub const WRONG_SIGNATURES_MAX: usize = 16;

/// Whether every line of the file is a signature of one of these keys, each in the one way that Notary's programs write
/// it, and so is the file around it.
///
/// Other files are named by their hash, so that nothing in them can be changed unseen; a timestamp is named by none.
pub(super) fn is_as_written(document: &Document, authority: &Authority<'_>) -> bool {
    let lines = &document.0.signatures;
    let is_sound = |line: &SignatureLine| {
        let key = authority.keys.iter().find(|key| Some(key.id()) == line.key);
        key.is_some_and(|key| key.has_signed(&document.0.signed, line))
    };
    lines.len() <= authority.keys.len() && is_framed(document) && lines.iter().all(is_sound)
}

/// Whether the file is written as Notary's programs write it, and every line of a key of these authorities is a
/// signature.
///
/// A root that another one follows is named by no hash either. It may have lines of keys that spoke long before, which
/// neither it nor the root before it lists any more: they count for nothing, so only their form is looked at.
pub(super) fn is_as_written_by(document: &Document, authorities: &[Authority<'_>]) -> bool {
    let is_sound = |line: &SignatureLine| {
        let mut keys = authorities.iter().flat_map(|authority| &authority.keys);
        let key = keys.find(|key| Some(key.id()) == line.key);
        key.is_none_or(|key| key.has_signed(&document.0.signed, line))
    };
    is_framed(document) && document.0.signatures.iter().all(is_sound)
}

/// Whether the file is what Go writes of its signed part and its lines, each of another key.
fn is_framed(document: &Document) -> bool {
    let lines = &document.0.signatures;
    let names: BTreeSet<_> = lines.iter().map(|line| line.key).collect();
    let write = |line: &SignatureLine| Some(canonical::line(line.key?, &line.method, &line.bytes));
    let Some(written) = lines.iter().map(write).collect::<Option<Vec<_>>>() else { return false };
    let signed = json::read("metadata", &document.0.signed, BYTES_MAX);
    names.len() == lines.len() && signed.is_ok_and(|signed| canonical::file(&signed, &written) == document.raw())
}

pub(super) fn verify(document: &Document, authority: &Authority<'_>) -> Result<(), NotMet> {
    if document.0.role != *authority.role {
        return Err(NotMet::AnotherRole { role: authority.role.clone(), found: document.0.role.clone() });
    }
    if document.0.signatures.is_empty() {
        return Err(NotMet::NoSignatures);
    }
    let wanted = usize::try_from(authority.threshold).unwrap_or(usize::MAX);
    let enough = wanted > 0 && first_signers(document, authority, wanted).len() >= wanted;
    if enough { Ok(()) } else { Err(NotMet::TooFew(authority.role.clone())) }
}

/// The keys of an authority that have signed a file, whosever file it is.
pub(super) fn signed_by(document: &Document, authority: &Authority<'_>) -> BTreeSet<Sha256Digest> {
    first_signers(document, authority, usize::MAX)
}

/// The first so many of them. Bare keys, not names: one key under two certificates is still one.
fn first_signers(document: &Document, authority: &Authority<'_>, wanted: usize) -> BTreeSet<Sha256Digest> {
    let mut signed: BTreeSet<Sha256Digest> = BTreeSet::new();
    let mut wrong = 0;
    for line in &document.0.signatures {
        // Each line more would hash all of the file once more.
        if signed.len() >= wanted || wrong > WRONG_SIGNATURES_MAX {
            break;
        }
        let Some(key) = authority.keys.iter().find(|key| Some(key.id()) == line.key) else { continue };
        if signed.contains(&key.canonical_id()) {
            continue;
        }
        if key.has_signed(&document.0.signed, line) {
            signed.insert(key.canonical_id());
        } else {
            wrong += 1;
        }
    }
    signed
}
