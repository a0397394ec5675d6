//! With which root a client begins.

use std::collections::BTreeSet;

use super::Distrust;
use crate::Sha256Digest;
use crate::format::tuf::{Authority, Document};

/// With which root a client may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed set")]
pub enum Pin {
    /// Whichever is seen first. Whoever answers the first visit is believed for ever.
    FirstUse,
    /// One that enough of these keys have signed: their names in metadata, or those of the bare keys, as docker shows
    /// them.
    Keys(BTreeSet<Sha256Digest>),
    /// The root of this file's SHA-256.
    Root(Sha256Digest),
}

impl Pin {
    /// `own` are the root's own speakers, who have signed it.
    pub(super) fn check(&self, root: &Document, own: Authority<'_>) -> Result<(), Distrust> {
        match self {
            Self::FirstUse => Ok(()),
            Self::Keys(pinned) => {
                let own = own.only(|key| pinned.contains(&key.id()) || pinned.contains(&key.canonical_id()));
                root.verify(&own).map_err(|_| Distrust::NotPinned)
            }
            Self::Root(hash) if *hash == root.sha256() => Ok(()),
            Self::Root(_) => Err(Distrust::NotPinned),
        }
    }
}
