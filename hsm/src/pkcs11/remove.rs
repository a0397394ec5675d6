//! Taking a key out of the token, and never another.

use cryptoki::object::ObjectClass;
use cryptoki::session::Session;
use trust::{Algorithm, Sha256Digest};

use super::fault::Fault;
use super::login::is_inside;
use super::object;
use crate::{CustodyError, KeyObject, Removed};

/// Deletes the objects with this id, if their public half is the registered one.
///
/// The public half goes last: it is what the private one is known by, so what was interrupted in between can be
/// finished.
pub(super) fn remove(
    session: &Session,
    object: &KeyObject,
    algorithm: Algorithm,
    spki_sha256: Sha256Digest,
) -> Result<Removed, Fault> {
    // Whoever is not logged in does not see private keys; that is no reason to believe one gone.
    if !is_inside(session)? {
        return Err(Fault::Login("look for a key: nobody is logged in".to_owned()));
    }
    let private = object::all(session, ObjectClass::PRIVATE_KEY, object.id())?;
    let public = object::all(session, ObjectClass::PUBLIC_KEY, object.id())?;
    let (private, public) = match (private.as_slice(), public.as_slice()) {
        ([], []) => return Ok(Removed::NotFound),
        ([], [public]) => (None, *public),
        ([private], [public]) => (Some(*private), *public),
        (private, public) => {
            let (private, public) = (private.len(), public.len());
            let what = format!(
                "the token has {private} private and {public} public keys with the id {object}, not one of each"
            );
            return Err(CustodyError::corrupt(what).into());
        }
    };
    if object::read_public(session, public, algorithm)?.spki_sha256() != spki_sha256 {
        return Err(CustodyError::corrupt(format!("the token's key {object}: it is not the registered one")).into());
    }
    for handle in private.into_iter().chain([public]) {
        object::destroy(session, handle, object.id())?;
    }
    let left = object::all(session, ObjectClass::PRIVATE_KEY, object.id())?;
    if left.is_empty() {
        Ok(Removed::Deleted)
    } else {
        Err(CustodyError::failed("the token says it deleted a key, and still has it").into())
    }
}
