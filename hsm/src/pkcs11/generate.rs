//! Making a key in the token, and believing nothing about it that was not read back.

use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use trust::{Algorithm, Scheme, Signable};

use super::fault::Fault;
use super::object::{self, Found};
use super::session::sign_with;
use super::{Inner, mechanism, public};
use crate::{CustodyError, Generated, KeyObject, Material, ObjectId, SealContext, TokenKey};

/// The public exponent of every RSA key, big-endian: 65537.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

/// How long an object is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// As long as the session that made it.
    Session,
    /// Until it is deleted.
    Token,
}

/// Makes the key of `context`. What is half made when a step fails is removed, where the token still can.
pub(super) fn generate(inner: &Inner, session: &Session, context: &SealContext) -> Result<Generated, Fault> {
    let algorithm = context.algorithm;
    let offered = inner.mechanisms()?;
    mechanism::check(algorithm, &offered)?;
    let id = ObjectId::new(context, &inner.name)?;
    let label = format!("trustd {}", context.key);
    // What a token does not take is no reason to make no key there.
    let fixed = [Attribute::Modifiable(false)];
    let (made, more) = match make_with(session, algorithm, id, &label, Lifetime::Token, &fixed) {
        Err(Fault::Final(_)) => (make(session, algorithm, id, &label, Lifetime::Token), &[][..]),
        made => (made, &fixed[..]),
    };
    let (public, private) = made?;
    let mut asked = [&private_template(algorithm, id, &label), more].concat();
    // Facts about its birth that no template can claim.
    asked.extend([Attribute::AlwaysSensitive(true), Attribute::NeverExtractable(true), Attribute::Local(true)]);
    let proven = prove(session, public, private, algorithm, &asked);
    if proven.is_err() {
        // Best effort: the error that is answered is the first one, and `CKA_ID` tells what stayed behind.
        let _ = object::destroy_all(session, id.as_bytes());
    }
    let public_key = proven?.public_key;
    Ok(Generated {
        public_key,
        material: Material::Token(TokenKey { token: inner.name.clone(), object: KeyObject::Ours(id) }),
    })
}

/// A new key pair: public and private half.
pub(super) fn make(
    session: &Session,
    algorithm: Algorithm,
    id: ObjectId,
    label: &str,
    lifetime: Lifetime,
) -> Result<(ObjectHandle, ObjectHandle), Fault> {
    make_with(session, algorithm, id, label, lifetime, &[])
}

/// The same with more attributes of the private half.
pub(super) fn make_with(
    session: &Session,
    algorithm: Algorithm,
    id: ObjectId,
    label: &str,
    lifetime: Lifetime,
    more: &[Attribute],
) -> Result<(ObjectHandle, ObjectHandle), Fault> {
    let generation = mechanism::generation(algorithm);
    let for_as_long = |mut template: Vec<Attribute>| {
        let token = template.iter_mut().filter(|attribute| matches!(attribute, Attribute::Token(_)));
        token.for_each(|token| *token = Attribute::Token(lifetime == Lifetime::Token));
        template
    };
    let private = for_as_long([private_template(algorithm, id, label), more.to_vec()].concat());
    let parameters: Vec<Vec<Attribute>> = match algorithm.rsa_modulus_bits() {
        Some(bits) => {
            vec![vec![Attribute::ModulusBits(u64::from(bits).into()), Attribute::PublicExponent(RSA_EXPONENT.to_vec())]]
        }
        None => public::curve(algorithm).iter().map(|curve| vec![Attribute::EcParams(curve.to_vec())]).collect(),
    };
    let mut refused = Fault::Final(CustodyError::failed("make a key without parameters"));
    // One curve may have two names, of which a module knows the older only.
    for parameters in parameters {
        let public = for_as_long([public_template(algorithm, id, label), parameters].concat());
        match session.generate_key_pair(&generation, &public, &private) {
            Ok(made) => return Ok(made),
            Err(error) => refused = Fault::of("make a key", &error),
        }
        if !matches!(refused, Fault::Final(_)) {
            break;
        }
    }
    Err(refused)
}

pub(super) fn public_template(algorithm: Algorithm, id: ObjectId, label: &str) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(key_type(algorithm)),
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Id(id.as_bytes().to_vec()),
        Attribute::Label(label.as_bytes().to_vec()),
    ]
}

/// What the private key must be for ever: it signs and does nothing else, and nobody ever reads it.
pub(super) fn private_template(algorithm: Algorithm, id: ObjectId, label: &str) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(key_type(algorithm)),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
        Attribute::Id(id.as_bytes().to_vec()),
        Attribute::Label(label.as_bytes().to_vec()),
    ]
}

const fn key_type(algorithm: Algorithm) -> KeyType {
    match algorithm.scheme() {
        Scheme::EcdsaP256 | Scheme::EcdsaP384 => KeyType::EC,
        Scheme::Ed25519 => KeyType::EC_EDWARDS,
        Scheme::RsaPkcs1 | Scheme::RsaPss => KeyType::RSA,
    }
}

/// Reads the attributes back, and has the key make one signature that verifies (FIPS 140-3, pairwise consistency).
pub(super) fn prove(
    session: &Session,
    public: ObjectHandle,
    private: ObjectHandle,
    algorithm: Algorithm,
    asked: &[Attribute],
) -> Result<Found, Fault> {
    object::check(session, private, asked)?;
    let public_key = object::read_public(session, public, algorithm)?;
    let found = Found { private, public_key };
    sign_once(session, &found, algorithm, b"trustd pairwise consistency".to_vec())?;
    Ok(found)
}

/// Has the key make a signature over `message`, for the proof alone.
pub(super) fn sign_once(session: &Session, found: &Found, algorithm: Algorithm, message: Vec<u8>) -> Result<(), Fault> {
    let probe = Signable::Message(message);
    sign_with(session, found, algorithm, &probe, &mechanism::preimage(algorithm, &probe)?).map(drop)
}
