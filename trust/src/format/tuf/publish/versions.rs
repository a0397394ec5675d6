//! Versions of an update: each file goes beyond the last of its role, and not too far.
//!
//! The marks of snapshot and timestamp never fall here, whoever begins anew and whoever signs snapshots from now on: the
//! server signs no version twice. What root says of its own version is checked with [root](super::root).

use std::collections::BTreeSet;

use super::{Refusal, Update, root};
use crate::Sha256Digest;
use crate::format::tuf::{Document, Repository, RoleName, Version};

/// How far a version may go beyond the last one. Nobody publishes a million times between two updates; who leaps
/// holds a stolen key and wants its owner locked out.
pub const LEAP_MAX: u32 = 1 << 20;

/// Holds the versions that were sent against those that were used, in a repository that has what was sent in it.
pub(super) fn check(held: &Repository, update: &Update, own: &BTreeSet<Sha256Digest>) -> Result<(), Refusal> {
    for file in update.files() {
        let last = last(held, update, file.role(), own);
        if last.is_some_and(|last| file.version() <= last) && !goes_on_unchanged(held, file) {
            return Err(Refusal::Outdated(file.role().clone()));
        }
        let last = last.map_or(0, Version::number);
        if file.version().number() > last.saturating_add(LEAP_MAX) {
            let why = format!("version {} of {} leaps too far from {last}", file.version().number(), file.role());
            return Err(Refusal::of(file.role(), why));
        }
    }
    Ok(())
}

/// The version that the next file of a role has to go beyond; `None` where any will do.
fn last(held: &Repository, update: &Update, role: &RoleName, own: &BTreeSet<Sha256Digest>) -> Option<Version> {
    let mark = held.mark(role);
    // By a key of the server's there were others, and may be more, whoever owns the repository.
    if *role == RoleName::Snapshot && !is_of_owner(update, own) {
        return mark;
    }
    // Whoever begins anew begins with whatever version: docker's first targets have 2.
    if update.line == root::Line::Another {
        return None;
    }
    // Versions that the server has used up and published nothing of are none of a snapshot's owner's.
    let current = held.file(role).filter(|_| *role == RoleName::Snapshot).map(Document::version);
    current.or(mark)
}

/// Whether no key of the server's speaks for the snapshot.
fn is_of_owner(update: &Update, own: &BTreeSet<Sha256Digest>) -> bool {
    let said = update.repository.authority(&RoleName::Snapshot);
    said.is_some_and(|said| !said.keys().iter().any(|key| own.contains(&key.canonical_id())))
}

/// Whether it is the very root with which its repository was deleted.
fn goes_on_unchanged(held: &Repository, file: &Document) -> bool {
    held.last_root().is_some_and(|root| root.raw() == file.raw())
}
