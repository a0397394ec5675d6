//! Root of an update: its version, its certificates, and who has to have signed it.

use super::Refusal;
use crate::format::tuf::certificate::{Ended, root_authority};
use crate::format::tuf::{Document, Gun, NotMet, Part, Repository, RoleName, Root};

const NOT_TRUSTED: &str = "could not validate the path to a trusted root";

/// Whose root it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// Nobody's before, or somebody else's: the repository begins anew.
    Another,
    /// Its predecessor's: those who spoke for that have signed this.
    Same,
}

/// Reads a root that follows what is held.
pub(super) fn check(
    gun: &Gun,
    held: &Repository,
    part: Part,
    now_unix_seconds: i64,
) -> Result<(Document, Line), Refusal> {
    let current = held.file(&RoleName::Root);
    let buried = held.last_root();
    let stated = part.stated_version();
    // A repository without root counts as one of version 1; one that was deleted may also go on where it ended.
    let known = current.map_or(1, |root| i64::from(root.version().number()));
    let ended = buried.map(|root| i64::from(root.version().number())).filter(|_| current.is_none());
    let follows = |last: i64| stated == last || stated.checked_sub(1) == Some(last);
    let not_next =
        || Refusal::BadRoot(format!("Root modifications must increment the version. Current {known}, new {stated}"));
    if !follows(known) && !ended.is_some_and(follows) {
        return Err(not_next());
    }
    let document = part.document().map_err(Refusal::root)?;
    let root = document.as_root().ok_or_else(not_next)?;
    let own = root_authority(root, gun, now_unix_seconds, Ended::Refused)
        .ok_or_else(|| Refusal::BadRoot(format!("{NOT_TRUSTED}: unable to retrieve valid leaf certificates")))?;
    if let Some(last) = current.and_then(Document::as_root) {
        signed_under(last, gun, &document, now_unix_seconds).map_err(|_| {
            let why = "failed to validate data with current trusted certificates";
            Refusal::BadRoot(format!("could not rotate trust to a new trusted root: {why}"))
        })?;
    }
    document
        .verify(&own)
        .map_err(|_| Refusal::BadRoot(format!("{NOT_TRUSTED}: failed to validate integrity of roots")))?;
    document.counts_at(now_unix_seconds).map_err(Refusal::root)?;
    let line = match (current, buried.and_then(Document::as_root)) {
        (Some(_), _) => Line::Same,
        (None, Some(last)) if signed_under(last, gun, &document, now_unix_seconds).is_ok() => Line::Same,
        (None, _) => Line::Another,
    };
    // Somebody else's root does not go on where this repository's ended.
    if current.is_none() && line == Line::Another && !follows(1) {
        return Err(not_next());
    }
    Ok((document, line))
}

/// Whether those who spoke for the last root have signed this one. Their certificates may have ended since.
fn signed_under(last: &Root, gun: &Gun, root: &Document, now_unix_seconds: i64) -> Result<(), NotMet> {
    let few = || NotMet::TooFew(RoleName::Root);
    root.verify(&root_authority(last, gun, now_unix_seconds, Ended::Counts).ok_or_else(few)?)
}
