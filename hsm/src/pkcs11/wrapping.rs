//! Keys of the token that wrap a store's root KEK, and do nothing else (D20).
//!
//! 32 bytes go in once per rotation and come out once per unseal, in this process alone. What the token made is
//! tried out before anybody relies on it. Nothing here tells a right root from a wrong one: the KEK ring commits to its own.

use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use subtle::ConstantTimeEq as _;
use trust::Algorithm;
use zeroize::Zeroizing;

use super::fault::Fault;
use super::login::is_inside;
use super::session::{Access, TokenSession};
use super::{Inner, Pkcs11Custodian, object};
use crate::cipher::{KEY, Key, random, scrub_stack};
use crate::software::root;
use crate::{CustodyError, Offer, OfferId, WrapKeyId, WrappedRoot, Wrapping, seal_to};

/// Stands for the size of an RSA wrapping key; it signs nothing.
const RSA: Algorithm = Algorithm::Rsa3072PssSha256;
/// The public exponent, big-endian: 65537.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

/// A kind of wrapping key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Aes,
    Rsa,
}

impl Kind {
    /// What a token needs for it.
    const fn mechanisms(self) -> [MechanismType; 2] {
        match self {
            Self::Aes => [MechanismType::AES_KEY_GEN, MechanismType::AES_GCM],
            Self::Rsa => [MechanismType::RSA_PKCS_KEY_PAIR_GEN, MechanismType::RSA_PKCS_OAEP],
        }
    }

    const fn of(how: Wrapping) -> Self {
        match how {
            Wrapping::AesGcm(_) => Self::Aes,
            Wrapping::RsaOaepSha256 | Wrapping::RsaOaepSha1 => Self::Rsa,
        }
    }

    const fn class(self) -> ObjectClass {
        match self {
            Self::Aes => ObjectClass::SECRET_KEY,
            Self::Rsa => ObjectClass::PRIVATE_KEY,
        }
    }
}

impl Pkcs11Custodian {
    /// Hands out a single-use public key, to which a root key can be sealed.
    pub(crate) fn offer(&self) -> Result<Offer, CustodyError> {
        self.inner().offers.make_for_root()
    }

    /// Wraps the root key that was sealed to `offer`.
    pub(crate) fn wrap_offered(&self, offer: OfferId, sealed: &[u8]) -> Result<WrappedRoot, CustodyError> {
        let inner = self.inner();
        let root = inner.offers.open(offer, &root::to_wrap(&inner.store), sealed)?;
        self.wrap_root(&root::read(&root)?)
    }

    /// Unwraps a root key and seals it to the public half of an offer.
    pub(crate) fn unwrap_for(&self, wrapped: &WrappedRoot, receiver: &[u8; 32]) -> Result<Vec<u8>, CustodyError> {
        let root = self.unwrap_root(wrapped)?;
        seal_to(receiver, &root::to_open(&self.inner().store), root.expose())
    }

    /// Makes a wrapping key in the token, wraps `root` under it, and sees that it comes back.
    ///
    /// # Errors
    /// [`CustodyError::Refused`] for a token that has no mechanism for it, with the names of those that are needed.
    fn wrap_root(&self, root: &Key) -> Result<WrappedRoot, CustodyError> {
        let session = TokenSession::new(self.inner());
        let wrapped = session.climb(Access::Make, |inner, link| wrap(inner, &link.session, root));
        scrub_stack();
        wrapped
    }

    /// The root that the token has wrapped.
    ///
    /// # Errors
    /// [`CustodyError::Refused`] where the token does not have the key: it is another one, or the key was deleted;
    /// [`CustodyError::Corrupt`] for a wrap that the key does not open.
    fn unwrap_root(&self, wrapped: &WrappedRoot) -> Result<Key, CustodyError> {
        let session = TokenSession::new(self.inner());
        let root = session.climb(Access::Use, |inner, link| {
            inner.check_wrap(wrapped)?;
            let key = only(inner, &link.session, Kind::of(wrapped.how).class(), wrapped.key)?;
            check(&link.session, key, Kind::of(wrapped.how), wrapped.key)?;
            unwrap(inner, &link.session, key, wrapped)
        });
        scrub_stack();
        root
    }

    /// Deletes a wrapping key, which nothing needs any more: copies of what it wrapped never open again.
    ///
    /// # Errors
    /// [`CustodyError::Unavailable`], and [`CustodyError::Refused`] where the token does not delete it.
    pub(crate) fn destroy_wrap_key(&self, wrapped: &WrappedRoot) -> Result<(), CustodyError> {
        let session = TokenSession::new(self.inner());
        session.climb(Access::Make, |inner, link| {
            inner.check_wrap(wrapped)?;
            object::destroy_all(&link.session, wrapped.key.as_bytes())
        })
    }
}

impl Inner {
    /// Refuses a wrap of another token or store.
    fn check_wrap(&self, wrapped: &WrappedRoot) -> Result<(), CustodyError> {
        if wrapped.token != self.name {
            let (theirs, ours) = (&wrapped.token, &self.name);
            return Err(CustodyError::refused(format!("the root key is wrapped in the token {theirs}, not in {ours}")));
        }
        if wrapped.key.fits(&self.store, &self.name) {
            return Ok(());
        }
        Err(CustodyError::corrupt("the wrapped root key: its wrapping key is another store's"))
    }
}

/// Tries what the token says it has, the best first.
fn wrap(inner: &Inner, session: &Session, root: &Key) -> Result<WrappedRoot, Fault> {
    let offered = inner.mechanisms()?;
    let mut met = Vec::new();
    for kind in [Kind::Aes, Kind::Rsa] {
        if !kind.mechanisms().iter().all(|mechanism| offered.contains(mechanism)) {
            continue;
        }
        match wrap_by(kind, inner, session, root) {
            // The token refuses this way; another may do.
            Err(Fault::Final(error)) => met.push(error.to_string()),
            other => return other,
        }
    }
    let met = if met.is_empty() { String::new() } else { format!("; it answers: {}", met.join("; ")) };
    let why = format!(
        "the token {} cannot wrap a root key: it takes CKM_AES_KEY_GEN with CKM_AES_GCM, or \
         CKM_RSA_PKCS_KEY_PAIR_GEN with CKM_RSA_PKCS_OAEP{met}",
        inner.name
    );
    Err(CustodyError::refused(why).into())
}

/// Makes a key and wraps under it; one that does not do what it should is deleted, where the token still can.
fn wrap_by(kind: Kind, inner: &Inner, session: &Session, root: &Key) -> Result<WrappedRoot, Fault> {
    let id = WrapKeyId::new(&inner.store, &inner.name)?;
    let (key, public) = make(kind, inner, session, id)?;
    let proven = check(session, key, kind, id).and_then(|()| {
        let ways: &[Wrapping] = match kind {
            Kind::Aes => &[Wrapping::AesGcm([0; 12])],
            Kind::Rsa => &[Wrapping::RsaOaepSha256, Wrapping::RsaOaepSha1],
        };
        let mut refused = Fault::Final(CustodyError::failed("wrap a root key"));
        for how in ways {
            match try_out(inner, session, (key, public), id, *how, root) {
                Err(fault @ Fault::Final(_)) => refused = fault,
                other => return other,
            }
        }
        Err(refused)
    });
    if proven.is_err() {
        // Best effort: the error that is answered is the first one.
        let _ = object::destroy_all(session, id.as_bytes());
    }
    proven
}

fn try_out(
    inner: &Inner,
    session: &Session,
    (key, public): (ObjectHandle, Option<ObjectHandle>),
    id: WrapKeyId,
    how: Wrapping,
    root: &Key,
) -> Result<WrappedRoot, Fault> {
    let (how, bytes) = match (how, public) {
        (Wrapping::AesGcm(_), _) => {
            let mut nonce = [0; 12];
            random(&mut nonce)?;
            let aad = aad(inner, id);
            let mechanism = Mechanism::AesGcm(gcm(&mut nonce, &aad)?);
            let bytes = session.encrypt(&mechanism, key, root.expose());
            drop(mechanism);
            // Some tokens draw their own nonce and leave it where ours was.
            (Wrapping::AesGcm(nonce), bytes.map_err(|error| Fault::of("wrap a root key", &error))?)
        }
        (how, Some(public)) => {
            let public_key = object::read_public(session, public, RSA)?;
            (how, oaep_encrypt(how, public_key.spki_der(), root)?)
        }
        (_, None) => return Err(CustodyError::failed("wrap a root key without a public half").into()),
    };
    let wrapped = WrappedRoot { token: inner.name.clone(), key: id, how, bytes };
    if !wrapped.is_sound() {
        return Err(CustodyError::refused("the token's wrap of 32 bytes is longer than 1,024").into());
    }
    let back = unwrap(inner, session, key, &wrapped)?;
    if bool::from(back.expose().ct_eq(root.expose()))
        && !wrapped.bytes.windows(KEY).any(|part| part.ct_eq(root.expose().as_slice()).into())
    {
        return Ok(wrapped);
    }
    Err(CustodyError::refused("the token does not give back what it wrapped").into())
}

fn unwrap(inner: &Inner, session: &Session, key: ObjectHandle, wrapped: &WrappedRoot) -> Result<Key, Fault> {
    let aad = aad(inner, wrapped.key);
    let decrypted = match wrapped.how {
        Wrapping::AesGcm(mut nonce) => session.decrypt(&Mechanism::AesGcm(gcm(&mut nonce, &aad)?), key, &wrapped.bytes),
        Wrapping::RsaOaepSha256 => {
            let parameters =
                PkcsOaepParams::new(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, PkcsOaepSource::empty());
            session.decrypt(&Mechanism::RsaPkcsOaep(parameters), key, &wrapped.bytes)
        }
        Wrapping::RsaOaepSha1 => {
            let parameters = PkcsOaepParams::new(MechanismType::SHA1, PkcsMgfType::MGF1_SHA1, PkcsOaepSource::empty());
            session.decrypt(&Mechanism::RsaPkcsOaep(parameters), key, &wrapped.bytes)
        }
    };
    let plain = Zeroizing::new(decrypted.map_err(|error| unopened(session, &error))?);
    let plain: &[u8; KEY] = plain.as_slice().try_into().map_err(|_| damaged())?;
    Ok(Key::copy(plain)?)
}

/// What a decryption that failed means: that the wrap was altered, or that the token is in trouble.
fn unopened(session: &Session, error: &Error) -> Fault {
    let fault = Fault::of("unwrap the root key", error);
    let says_so = matches!(
        error,
        Error::Pkcs11(RvError::EncryptedDataInvalid | RvError::EncryptedDataLenRange | RvError::DataInvalid, _)
    );
    // The standard has no code of its own for a tag that does not fit; some say no more than that it did not work.
    let says_little = matches!(error, Error::Pkcs11(RvError::GeneralError | RvError::FunctionFailed, _));
    if says_so || says_little && is_inside(session) == Ok(true) { damaged().into() } else { fault }
}

fn damaged() -> CustodyError {
    CustodyError::corrupt("the wrapped root key: altered, or wrapped by another key")
}

/// What AES-GCM authenticates besides: the wrap of one store under one key opens nowhere else.
fn aad(inner: &Inner, id: WrapKeyId) -> Vec<u8> {
    [b"trustd/root-kek/token/v1".as_slice(), &inner.store, id.as_bytes()].concat()
}

fn gcm<'a>(nonce: &'a mut [u8; 12], aad: &'a [u8]) -> Result<GcmParams<'a>, Fault> {
    GcmParams::new(nonce, aad, 128.into()).map_err(|error| Fault::of("prepare AES-GCM", &error))
}

/// OAEP is done here: its public half needs no token, and many tokens do not do it.
fn oaep_encrypt(how: Wrapping, spki: &[u8], root: &Key) -> Result<Vec<u8>, CustodyError> {
    let failed = |_| CustodyError::failed("wrap a root key under an RSA key");
    let key = PublicEncryptingKey::from_der(spki).map_err(|_| CustodyError::failed("read an RSA wrapping key"))?;
    let key = OaepPublicEncryptingKey::new(key).map_err(failed)?;
    let algorithm = if how == Wrapping::RsaOaepSha1 { &OAEP_SHA1_MGF1SHA1 } else { &OAEP_SHA256_MGF1SHA256 };
    let mut bytes = vec![0; key.ciphertext_size()];
    let length = key.encrypt(algorithm, root.expose(), &mut bytes, None).map_err(failed)?.len();
    bytes.truncate(length);
    Ok(bytes)
}

fn make(
    kind: Kind,
    inner: &Inner,
    session: &Session,
    id: WrapKeyId,
) -> Result<(ObjectHandle, Option<ObjectHandle>), Fault> {
    let label = Attribute::Label(format!("trustd root-kek {}", hex::encode(inner.store)).into_bytes());
    let mut template = template(kind, id);
    template.push(label.clone());
    match kind {
        Kind::Aes => {
            template.push(Attribute::ValueLen(32.into()));
            let made = session.generate_key(&Mechanism::AesKeyGen, &template);
            Ok((made.map_err(|error| Fault::of("make a wrapping key", &error))?, None))
        }
        Kind::Rsa => {
            let public = [
                Attribute::Class(ObjectClass::PUBLIC_KEY),
                Attribute::KeyType(KeyType::RSA),
                Attribute::Token(true),
                Attribute::Private(false),
                Attribute::Encrypt(true),
                Attribute::Verify(false),
                Attribute::Wrap(false),
                Attribute::Id(id.as_bytes().to_vec()),
                Attribute::ModulusBits(3072.into()),
                Attribute::PublicExponent(RSA_EXPONENT.to_vec()),
                label,
            ];
            let made = session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &template);
            let (public, private) = made.map_err(|error| Fault::of("make a wrapping key", &error))?;
            Ok((private, Some(public)))
        }
    }
}

/// What the wrapping key must be for ever: it decrypts and does nothing else, and nobody ever reads it.
fn template(kind: Kind, id: WrapKeyId) -> Vec<Attribute> {
    let (key_type, encrypts) = match kind {
        Kind::Aes => (KeyType::AES, vec![Attribute::Encrypt(true), Attribute::Verify(false), Attribute::Wrap(false)]),
        Kind::Rsa => (KeyType::RSA, Vec::new()),
    };
    let common = [
        Attribute::Class(kind.class()),
        Attribute::KeyType(key_type),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Decrypt(true),
        Attribute::Sign(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
        Attribute::Id(id.as_bytes().to_vec()),
    ];
    encrypts.into_iter().chain(common).collect()
}

/// Sees that the token made the wrapping key that was asked for.
fn check(session: &Session, key: ObjectHandle, kind: Kind, id: WrapKeyId) -> Result<(), Fault> {
    let mut asked = template(kind, id);
    // Facts about its birth that no template can claim.
    asked.extend([Attribute::AlwaysSensitive(true), Attribute::NeverExtractable(true), Attribute::Local(true)]);
    object::check(session, key, &asked)
}

/// The only key with this id.
fn only(inner: &Inner, session: &Session, class: ObjectClass, id: WrapKeyId) -> Result<ObjectHandle, Fault> {
    object::only(session, class, id.as_bytes()).map_err(|fault| match fault {
        Fault::Missing(_) => Fault::Missing(CustodyError::refused(format!(
            "the token {} has no key {id}, which wraps the root key: it is another token, or the key was deleted; connect \
             the token that has it",
            inner.name
        ))),
        other => other,
    })
}
