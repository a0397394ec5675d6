//! Finding a key's two objects, and knowing that they are the right ones.

use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use trust::{Algorithm, PublicKey, Sha256Digest};

use super::fault::Fault;
use super::login::is_inside;
use super::public;
use crate::{CustodyError, ObjectId};

/// A private key's handle and what its signatures verify under.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) private: ObjectHandle,
    pub(super) public_key: PublicKey,
}

/// The key with this id, if its public half is the registered one.
pub(super) fn find(
    session: &Session,
    id: ObjectId,
    algorithm: Algorithm,
    spki_sha256: Sha256Digest,
) -> Result<Found, Fault> {
    let private = only(session, ObjectClass::PRIVATE_KEY, id)?;
    let public = only(session, ObjectClass::PUBLIC_KEY, id)?;
    let public_key = read_public(session, public, algorithm)?;
    if public_key.spki_sha256() != spki_sha256 {
        return Err(CustodyError::corrupt(format!("the token's key {id}: it is not the registered one")).into());
    }
    Ok(Found { private, public_key })
}

/// Every object of this class and id.
pub(super) fn all(session: &Session, class: ObjectClass, id: ObjectId) -> Result<Vec<ObjectHandle>, Fault> {
    let template = [Attribute::Class(class), Attribute::Token(true), Attribute::Id(id.as_bytes().to_vec())];
    session.find_objects(&template).map_err(|error| Fault::of("look for a key", &error))
}

/// The only object of this class and id.
fn only(session: &Session, class: ObjectClass, id: ObjectId) -> Result<ObjectHandle, Fault> {
    match all(session, class, id)?.as_slice() {
        [handle] => Ok(*handle),
        // Whoever is not logged in does not see private keys; that is no reason to call one lost.
        [] if !is_inside(session)? => Err(Fault::Login("look for a key: nobody is logged in".to_owned())),
        [] => Err(Fault::Missing(format!("the token has no object {class} with the id {id}"))),
        found => {
            let count = found.len();
            Err(CustodyError::corrupt(format!("the token has {count} objects {class} with the id {id}, not one"))
                .into())
        }
    }
}

/// The public key of an object.
pub(super) fn read_public(session: &Session, public: ObjectHandle, algorithm: Algorithm) -> Result<PublicKey, Fault> {
    let attributes = session
        .get_attributes(public, public::attributes(algorithm))
        .map_err(|error| Fault::of("read a public key", &error))?;
    public::read(algorithm, &attributes)
        .ok_or_else(|| CustodyError::corrupt(format!("the token's public key is none of {algorithm}")).into())
}
