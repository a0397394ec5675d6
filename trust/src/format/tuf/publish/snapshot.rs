//! The snapshot that a client sends: it names what is there, all of it, and nothing else.

use super::{Refusal, Update};
use crate::format::tuf::{Document, FileMeta, Part, RoleName};

/// Reads a snapshot that says what the repository holds after the update.
///
/// Files that nobody delegates to any more and that it leaves out leave the repository.
pub(super) fn check(update: &mut Update, part: Part, now_unix_seconds: i64) -> Result<Document, Refusal> {
    let role = RoleName::Snapshot;
    let document = part.document().map_err(Refusal::snapshot)?;
    let nobody = || Refusal::Validation("no pre-existing root and no root provided in update.".to_owned());
    document.verify(&update.repository.authority(&role).ok_or_else(nobody)?).map_err(Refusal::snapshot)?;
    document.counts_at(now_unix_seconds).map_err(Refusal::snapshot)?;
    let Some(snapshot) = document.as_snapshot() else { return Err(nobody()) };
    for (role, meta) in snapshot.files() {
        is_there(update, role, meta)?;
    }
    let unnamed: Vec<RoleName> = update
        .repository
        .files()
        .keys()
        .filter(|role| !matches!(role, RoleName::Snapshot | RoleName::Timestamp))
        .filter(|role| !snapshot.files().contains_key(role))
        .cloned()
        .collect();
    for role in unnamed {
        // Left out, a file that is delegated to would be hidden from everybody.
        if update.is_new(&role) || update.repository.authority(&role).is_some() {
            let why = format!("snapshot type metadata invalid: missing {role} sha256 checksum information");
            return Err(Refusal::BadSnapshot(why));
        }
        update.repository.drop_file(&role);
    }
    Ok(document)
}

/// Whether the file that a snapshot names is the one that is held.
fn is_there(update: &Update, role: &RoleName, meta: &FileMeta) -> Result<(), Refusal> {
    let Some(file) = update.repository.file(role) else {
        return Err(Refusal::BadSnapshot(format!("the snapshot names {role}, which is neither stored nor sent")));
    };
    if file.sha256() != meta.sha256() {
        let expected = meta.sha256().to_hex();
        return Err(Refusal::BadSnapshot(format!("sha256 checksum for {role} did not match: expected {expected}")));
    }
    if !meta.is_of(file.raw()) {
        return Err(Refusal::BadSnapshot(format!("length or sha512 checksum for {role} did not match")));
    }
    Ok(())
}
