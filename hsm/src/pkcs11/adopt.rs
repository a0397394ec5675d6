//! Taking a key that is in the token already, whoever made it.

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use trust::{Algorithm, PublicKey, Scheme};

use super::fault::Fault;
use super::login::is_inside;
use super::object::{self, Found};
use super::{Inner, generate, mechanism, public};
use crate::imported::weakness;
use crate::{AdoptOrder, AdoptedId, CustodyError, Generated, KeyObject, Material, TokenKey};

/// Looks at the key with the order's id, and has it sign something that nobody could know before.
pub(super) fn adopt(inner: &Inner, session: &Session, order: &AdoptOrder) -> Result<Generated, Fault> {
    let (context, algorithm) = (&order.context, order.context.algorithm);
    let id = AdoptedId::new(&order.id, context, &inner.name).map_err(|error| refused(error.to_string()))?;
    mechanism::check_signing(algorithm, &inner.mechanisms()?)?;
    let private = only(session, ObjectClass::PRIVATE_KEY, id.id())?;
    let public = only(session, ObjectClass::PUBLIC_KEY, id.id())?;
    let public_key = read(session, public, algorithm)?;
    judge(session, private, algorithm, order.may_do_more)?;
    if order.spki_sha256.is_some_and(|expected| expected != public_key.spki_sha256()) {
        return Err(refused("the key with this id is not the one whose public key was given"));
    }
    let found = Found { private, public_key };
    match generate::sign_once(session, &found, algorithm, challenge()?) {
        Err(Fault::Unsound) => return Err(refused("the private and the public key with this id are no pair")),
        proven => proven?,
    }
    let material = Material::Token(TokenKey { token: inner.name.clone(), object: KeyObject::Adopted(id) });
    Ok(Generated { public_key: found.public_key, material })
}

fn refused(why: impl Into<String>) -> Fault {
    Fault::Final(CustodyError::refused(why))
}

fn challenge() -> Result<Vec<u8>, CustodyError> {
    let mut drawn = [0; 32];
    crate::cipher::random(&mut drawn)?;
    Ok([b"trustd proof of possession ".as_slice(), &drawn].concat())
}

/// The only object of this class and id. Whoever asks has typed the id: that there is none is no fault of the token's.
fn only(session: &Session, class: ObjectClass, id: &[u8]) -> Result<ObjectHandle, Fault> {
    match object::all(session, class, id)?.as_slice() {
        [handle] => Ok(*handle),
        [] if !is_inside(session)? => Err(Fault::Login("look for a key: nobody is logged in".to_owned())),
        [] if class == ObjectClass::PUBLIC_KEY => {
            Err(refused("the token has the private key with this id, and no public key with it: put that beside it"))
        }
        [] => Err(refused("the token has no private key with this id")),
        found => Err(refused(format!("the token has {} keys of one kind with this id, not one", found.len()))),
    }
}

/// Refuses a private key that could leave the token, and one that is for more than signatures.
fn judge(session: &Session, private: ObjectHandle, algorithm: Algorithm, may_do_more: bool) -> Result<(), Fault> {
    let asked = [
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::Sign,
        AttributeType::AlwaysAuthenticate,
        AttributeType::Decrypt,
        AttributeType::Unwrap,
        AttributeType::Derive,
    ];
    // What a token does not know, it does not say: then there is no such attribute in what comes back.
    let told = session.get_attributes(private, &asked).map_err(|error| Fault::of("look at a private key", &error))?;
    if !told.contains(&Attribute::Sensitive(true)) || !told.contains(&Attribute::Extractable(false)) {
        return Err(refused("the private key could leave the token: it is not sensitive, or is extractable"));
    }
    if !told.contains(&Attribute::Sign(true)) {
        return Err(refused("the private key may not sign (CKA_SIGN)"));
    }
    if told.contains(&Attribute::AlwaysAuthenticate(true)) {
        return Err(refused("the private key wants the PIN for each signature (CKA_ALWAYS_AUTHENTICATE)"));
    }
    let more: Vec<&str> = told.iter().filter_map(|attribute| other_use(algorithm, attribute)).collect();
    if more.is_empty() || may_do_more {
        return Ok(());
    }
    Err(refused(format!("the private key may do more than sign: {}", more.join(", "))))
}

/// What else a key of the algorithm can do, and is allowed to. Tokens allow by default what it cannot do anyway.
fn other_use(algorithm: Algorithm, attribute: &Attribute) -> Option<&'static str> {
    match (algorithm.scheme(), attribute) {
        // Whoever may have an RSA key decrypt what he likes has it sign what he likes.
        (Scheme::RsaPkcs1 | Scheme::RsaPss, Attribute::Decrypt(true)) => Some("decrypt"),
        (Scheme::RsaPkcs1 | Scheme::RsaPss, Attribute::Unwrap(true)) => Some("unwrap keys"),
        (Scheme::EcdsaP256 | Scheme::EcdsaP384, Attribute::Derive(true)) => Some("derive secrets"),
        _ => None,
    }
}

/// The public half, if it is of the algorithm and nothing of it says that it is weak.
fn read(session: &Session, public: ObjectHandle, algorithm: Algorithm) -> Result<PublicKey, Fault> {
    let parts = object::public_parts(session, public, algorithm)?;
    let (mut modulus, mut exponent) = (&[][..], &[][..]);
    for part in &parts {
        match part {
            Attribute::Modulus(bytes) => modulus = bytes,
            Attribute::PublicExponent(bytes) => exponent = bytes,
            _ => {}
        }
    }
    // A token that gives no modulus has no RSA key with this id: that is said below.
    if let Some(bits) = algorithm.rsa_modulus_bits().and_then(|bits| usize::try_from(bits).ok())
        && !modulus.is_empty()
        && let Some(weakness) = weakness::of_rsa_public(modulus, exponent, bits)
    {
        return Err(refused(format!("the key is weak: {weakness}")));
    }
    public::read(algorithm, &parts).ok_or_else(|| refused(format!("the key with this id is none of {algorithm}")))
}
