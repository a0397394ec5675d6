//! What one repository may have, and what leaves it for others to have room.

use std::collections::BTreeMap;

use trust::format::tuf::publish::{Refusal, SnapshotBy, Update};
use trust::format::tuf::{Document, Repository, RoleName};

use super::update::bytes_of;

/// The most roles of one repository; a head names them all in one row.
pub(super) const ROLES_MAX: usize = 512;
/// The most roles that one child of targets may ever have had below it. Whoever holds its key names them, and the head
/// keeps the versions of each for good: nobody is to fill it alone.
pub(super) const BELOW_MAX: usize = 128;
/// The most roles that nobody delegates to and that a snapshot which was sent may name. Those of a snapshot that the daemon
/// makes leave when others need the room; these stay for as long as they are named.
pub(super) const UNDELEGATED_MAX: usize = 128;
/// The most bytes that the names of all roles have together that a repository ever had: the head keeps the version of each
/// for good, and is one row.
pub(super) const NAMES_BYTES_MAX: usize = 256 * 1024;
/// The most bytes that the current files of a repository may have together.
const FILES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The update, if the repository stays within its bounds with it. Files of roles that nobody delegates to any more stay as
/// long as there is room for them: whoever is let in again goes on with what was signed before.
pub(super) fn with_room(held: &Repository, update: Update) -> Result<Update, Refusal> {
    not_crowded(held, &update)?;
    not_hoarding(&update)?;
    if update.files().any(|file| update.begins_anew() || held.mark(file.role()).is_none()) {
        nameable(update.repository().marks().keys())?;
    }
    let update = if bounded(update.repository()).is_ok() { update } else { update.without_undelegated() };
    bounded(update.repository()).map(|()| update)
}

/// Whether those roles that are new have room below the child of targets that they belong to.
fn not_crowded(held: &Repository, update: &Update) -> Result<(), Refusal> {
    let top_of = |role: &RoleName| role.ancestors().nth(1);
    let is_new = |role: &RoleName| update.begins_anew() || held.mark(role).is_none();
    let mut below: BTreeMap<RoleName, usize> = BTreeMap::new();
    for top in update.repository().marks().keys().filter_map(top_of) {
        *below.entry(top).or_default() += 1;
    }
    let new = update.files().map(Document::role).filter(|role| is_new(role));
    let crowded = new.filter_map(top_of).find(|top| below.get(top).is_some_and(|count| *count > BELOW_MAX));
    crowded.map_or(Ok(()), |top| {
        Err(Refusal::Validation(format!("at most {BELOW_MAX} roles may ever have been below {top}")))
    })
}

/// Whether a snapshot that was sent names few roles that nobody delegates to.
fn not_hoarding(update: &Update) -> Result<(), Refusal> {
    let count = match update.snapshot_by() {
        SnapshotBy::Client => update.repository().undelegated().len(),
        SnapshotBy::Server => 0,
    };
    if count <= UNDELEGATED_MAX {
        return Ok(());
    }
    let why = format!(
        "the snapshot names {count} roles that nobody delegates to, of at most {UNDELEGATED_MAX}: leave them out"
    );
    Err(Refusal::BadSnapshot(why))
}

/// Whether a repository may have had all these roles; asked where one of them is new.
pub(super) fn nameable<'r>(roles: impl Iterator<Item = &'r RoleName>) -> Result<(), Refusal> {
    let bytes: usize = roles.map(|role| role.as_str().len()).sum();
    if bytes <= NAMES_BYTES_MAX {
        return Ok(());
    }
    let kib = NAMES_BYTES_MAX / 1024;
    Err(Refusal::Validation(format!(
        "the names of all roles that a repository ever had have at most {kib} KiB together"
    )))
}

/// What one repository may have.
pub(super) fn bounded(repository: &Repository) -> Result<(), Refusal> {
    let bytes = bytes_of(repository);
    let why = match repository.files().len() {
        ..=ROLES_MAX if bytes <= FILES_BYTES_MAX => return Ok(()),
        ..=ROLES_MAX => "the files of a repository have at most 64 MiB together".to_owned(),
        _ => format!("a repository has at most {ROLES_MAX} roles"),
    };
    Err(Refusal::Validation(why))
}
