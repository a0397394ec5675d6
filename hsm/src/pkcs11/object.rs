//! Finding a key's two objects, and knowing that they are the right ones.

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use trust::{Algorithm, PublicKey, Sha256Digest};

use super::fault::Fault;
use super::login::is_inside;
use super::public;
use crate::{CustodyError, KeyObject};

/// A private key's handle and what its signatures verify under.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) private: ObjectHandle,
    pub(super) public_key: PublicKey,
}

/// The key with this id, if its public half is the registered one.
pub(super) fn find(
    session: &Session,
    object: &KeyObject,
    algorithm: Algorithm,
    spki_sha256: Sha256Digest,
) -> Result<Found, Fault> {
    let private = only(session, ObjectClass::PRIVATE_KEY, object.id())?;
    let public = only(session, ObjectClass::PUBLIC_KEY, object.id())?;
    let public_key = read_public(session, public, algorithm)?;
    if public_key.spki_sha256() != spki_sha256 {
        return Err(CustodyError::corrupt(format!("the token's key {object}: it is not the registered one")).into());
    }
    Ok(Found { private, public_key })
}

/// Every object of this class and id.
pub(super) fn all(session: &Session, class: ObjectClass, id: &[u8]) -> Result<Vec<ObjectHandle>, Fault> {
    let template = [Attribute::Class(class), Attribute::Token(true), Attribute::Id(id.to_vec())];
    session.find_objects(&template).map_err(|error| Fault::of("look for a key", &error))
}

/// The only object of this class and id.
pub(super) fn only(session: &Session, class: ObjectClass, id: &[u8]) -> Result<ObjectHandle, Fault> {
    let named = || hex::encode(id);
    match all(session, class, id)?.as_slice() {
        [handle] => Ok(*handle),
        // Whoever is not logged in does not see private keys; that is no reason to call one lost.
        [] if !is_inside(session)? => Err(Fault::Login("look for a key: nobody is logged in".to_owned())),
        [] => {
            let what = format!("the token has no object {class} with the id {}", named());
            Err(Fault::Missing(CustodyError::corrupt(what)))
        }
        found => {
            let (count, id) = (found.len(), named());
            Err(CustodyError::corrupt(format!("the token has {count} objects {class} with the id {id}, not one"))
                .into())
        }
    }
}

/// Refuses a handle behind which there is no object with this id.
///
/// A handle is only a number: tpm2-pkcs11 1.9, after it has deleted an object, gives a new one the number of an older.
pub(super) fn check_id(session: &Session, object: ObjectHandle, id: &[u8]) -> Result<(), Fault> {
    let told =
        session.get_attributes(object, &[AttributeType::Id]).map_err(|error| Fault::of("look at a key", &error))?;
    if told.contains(&Attribute::Id(id.to_vec())) {
        return Ok(());
    }
    Err(CustodyError::refused("the token has given one number to two objects, of which one is another key").into())
}

/// Deletes the object, if it is one with this id: what a handle means may have changed.
pub(super) fn destroy(session: &Session, object: ObjectHandle, id: &[u8]) -> Result<(), Fault> {
    check_id(session, object, id)?;
    session.destroy_object(object).map_err(|error| Fault::of("delete a key", &error))
}

/// Deletes every object of this id and no other: they are looked for now, for a handle that was got before may mean
/// somebody else's key.
///
/// # Errors
/// The first fault; what can be deleted beside it is.
pub(super) fn destroy_all(session: &Session, id: &[u8]) -> Result<(), Fault> {
    let found = session
        .find_objects(&[Attribute::Id(id.to_vec())])
        .map_err(|error| Fault::of("look for what is to be deleted", &error))?;
    let mut outcome = Ok(());
    for object in found {
        outcome = outcome.and(destroy(session, object, id));
    }
    outcome
}

/// Compares what the token says of a key with what was asked for; names what differs.
pub(super) fn check(session: &Session, key: ObjectHandle, asked: &[Attribute]) -> Result<(), Fault> {
    let types: Vec<AttributeType> = asked.iter().map(Attribute::attribute_type).collect();
    let told = session.get_attributes(key, &types).map_err(|error| Fault::of("read a key back", &error))?;
    for other in asked.iter().filter(|attribute| !told.contains(attribute)) {
        // A quirk and no fault: what a label says may be changed there, and nothing that is secret.
        if *other == Attribute::Modifiable(false) {
            eprintln!("custody-worker: the token made a key that may be modified, though asked for one that may not");
            continue;
        }
        let what = format!("the token made a key whose {} is not what was asked for", other.attribute_type());
        return Err(CustodyError::refused(what).into());
    }
    Ok(())
}

/// The public key of an object.
pub(super) fn read_public(session: &Session, public: ObjectHandle, algorithm: Algorithm) -> Result<PublicKey, Fault> {
    public::read(algorithm, &public_parts(session, public, algorithm)?)
        .ok_or_else(|| CustodyError::corrupt(format!("the token's public key is none of {algorithm}")).into())
}

/// The attributes that a public key of the algorithm is made of.
pub(super) fn public_parts(
    session: &Session,
    public: ObjectHandle,
    algorithm: Algorithm,
) -> Result<Vec<Attribute>, Fault> {
    session
        .get_attributes(public, public::attributes(algorithm))
        .map_err(|error| Fault::of("read a public key", &error))
}
