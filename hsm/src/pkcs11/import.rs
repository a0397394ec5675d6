//! Putting a key that somebody brings into the token, and believing nothing about it that was not read back.
//!
//! Such a key has existed outside, so the token cannot call it local, always
//! sensitive or never extractable; from here on it is as little to be had as one
//! that was made inside.

use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;
use der::Encode as _;
use der::asn1::OctetStringRef;
use trust::{Algorithm, PublicKey, Scheme};
use zeroize::Zeroize as _;

use super::fault::Fault;
use super::generate::{private_template, prove, public_template};
use super::{Inner, mechanism, object, public};
use crate::imported::{Imported, Parts};
use crate::{CustodyError, Generated, KeyObject, Material, ObjectId, SealContext, TokenKey};

/// Attributes of which some are secret: wiped when dropped. They are never cloned.
struct Wiped(Vec<Attribute>);

impl Drop for Wiped {
    fn drop(&mut self) {
        for attribute in &mut self.0 {
            match attribute {
                Attribute::Value(bytes)
                | Attribute::PrivateExponent(bytes)
                | Attribute::Prime1(bytes)
                | Attribute::Prime2(bytes)
                | Attribute::Exponent1(bytes)
                | Attribute::Exponent2(bytes)
                | Attribute::Coefficient(bytes) => bytes.zeroize(),
                _ => {}
            }
        }
    }
}

/// Creates the key's two objects. What is half made when a step fails is removed, where the token still can.
pub(super) fn import(
    inner: &Inner,
    session: &Session,
    context: &SealContext,
    key: &Imported<'_>,
) -> Result<Generated, Fault> {
    let offered = inner.mechanisms()?;
    mechanism::check_signing(context.algorithm, &offered)?;
    let place = Place {
        algorithm: context.algorithm,
        id: ObjectId::new(context, &inner.name)?,
        label: format!("trustd {}", context.key),
    };
    let private = place.create(session, |curve| place.private(key, curve), "create a private key")?;
    let public = place.create(session, |curve| place.public(key, curve), "create a public key");
    let proven = public.as_ref().map_err(Clone::clone).and_then(|public| {
        let asked = private_template(place.algorithm, place.id, &place.label);
        let found = prove(session, *public, private, place.algorithm, &asked)?;
        if found.public_key == key.public_key {
            return Ok(found);
        }
        Err(CustodyError::refused("the token's public key is not that of the key that was brought").into())
    });
    if proven.is_err() {
        // Best effort: the error that is answered is the first one, and `CKA_ID` tells what stayed behind.
        let _ = object::destroy_all(session, place.id.as_bytes());
    }
    let public_key = proven?.public_key;
    let object = KeyObject::Ours(place.id);
    Ok(Generated { public_key, material: Material::Token(TokenKey { token: inner.name.clone(), object }) })
}

/// What the two objects have in common.
struct Place {
    algorithm: Algorithm,
    id: ObjectId,
    label: String,
}

impl Place {
    /// Creates an object. One curve may have two names, of which a module knows the older only.
    fn create(
        &self,
        session: &Session,
        template: impl Fn(Option<&[u8]>) -> Result<Wiped, CustodyError>,
        step: &str,
    ) -> Result<ObjectHandle, Fault> {
        let curves: Vec<Option<&[u8]>> = match self.algorithm.scheme() {
            Scheme::RsaPkcs1 | Scheme::RsaPss => vec![None],
            Scheme::EcdsaP256 | Scheme::EcdsaP384 | Scheme::Ed25519 => {
                public::curve(self.algorithm).iter().map(|curve| Some(*curve)).collect()
            }
        };
        let mut refused = Fault::Final(CustodyError::failed("create a key without parameters"));
        for curve in curves {
            match session.create_object(&template(curve)?.0) {
                Ok(created) => return Ok(created),
                Err(error) => refused = Fault::of(step, &error),
            }
            if !matches!(refused, Fault::Final(_)) {
                break;
            }
        }
        Err(refused)
    }

    fn private(&self, key: &Imported<'_>, curve: Option<&[u8]>) -> Result<Wiped, CustodyError> {
        let mut template = Wiped(private_template(self.algorithm, self.id, &self.label));
        template.0.extend(curve.map(|curve| Attribute::EcParams(curve.to_vec())));
        match &key.parts {
            Parts::Ed25519(seed) => template.0.push(Attribute::Value(seed.to_vec())),
            Parts::Ec(scalar) => template.0.push(Attribute::Value(scalar.to_vec())),
            Parts::Rsa(parts) => template.0.extend([
                Attribute::Modulus(parts.modulus.to_vec()),
                Attribute::PublicExponent(parts.public_exponent.to_vec()),
                Attribute::PrivateExponent(parts.private_exponent.to_vec()),
                Attribute::Prime1(parts.prime_1.to_vec()),
                Attribute::Prime2(parts.prime_2.to_vec()),
                Attribute::Exponent1(parts.exponent_1.to_vec()),
                Attribute::Exponent2(parts.exponent_2.to_vec()),
                Attribute::Coefficient(parts.coefficient.to_vec()),
            ]),
        }
        Ok(template)
    }

    fn public(&self, key: &Imported<'_>, curve: Option<&[u8]>) -> Result<Wiped, CustodyError> {
        let mut template = Wiped(public_template(self.algorithm, self.id, &self.label));
        template.0.extend(curve.map(|curve| Attribute::EcParams(curve.to_vec())));
        match &key.parts {
            Parts::Ed25519(_) | Parts::Ec(_) => {
                template.0.push(Attribute::EcPoint(point(self.algorithm, &key.public_key)?));
            }
            Parts::Rsa(parts) => template.0.extend([
                Attribute::Modulus(parts.modulus.to_vec()),
                Attribute::PublicExponent(parts.public_exponent.to_vec()),
            ]),
        }
        Ok(template)
    }
}

/// The point in an OCTET STRING (PKCS#11 2.40 §2.3.3): the last bytes of a `SubjectPublicKeyInfo`.
fn point(algorithm: Algorithm, public_key: &PublicKey) -> Result<Vec<u8>, CustodyError> {
    let length = match algorithm.scheme() {
        Scheme::EcdsaP256 => 65,
        Scheme::EcdsaP384 => 97,
        Scheme::Ed25519 => 32,
        Scheme::RsaPkcs1 | Scheme::RsaPss => 0,
    };
    let failed = || CustodyError::failed("encode a public key");
    let spki = public_key.spki_der();
    let (_, point) = spki.len().checked_sub(length).and_then(|at| spki.split_at_checked(at)).ok_or_else(failed)?;
    OctetStringRef::new(point).and_then(|octets| octets.to_der()).map_err(|_| failed())
}
