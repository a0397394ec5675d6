//! The words for keys that live in a token: safe to store, useless without it.

mod facts;
mod object;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use trust::{Malformed, Sha256Digest};

use crate::{CustodyError, SealContext};

pub use facts::{PinState, TokenFacts};
pub use object::{KeyClass, TokenObject, TokenObjects};

/// What the operator calls a token: 1 to 32 of `a-z`, `0-9` and `-`, a letter first, not `software`.
///
/// It stands in the records of the token's keys, so it stays what it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenName(Arc<str>);

impl TokenName {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 32;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for TokenName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TokenName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl FromStr for TokenName {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let fits = text.len() <= Self::BYTES_MAX
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && text != crate::software::NAME;
        if fits {
            return Ok(Self(text.into()));
        }
        Err(Malformed::new("token name", "1 to 32 of a-z, 0-9 and -, a letter first, not `software`"))
    }
}

/// Random bytes of an [`ObjectId`].
const BIRTH_BYTES: usize = 16;

/// A key object's `CKA_ID`: 16 random bytes and 16 of a SHA-256 over them and the key's whole context.
///
/// A record that was given another scope, purpose or version does not fit its own id, and a second
/// attempt to make the same key has another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ObjectId([u8; 32]);

impl ObjectId {
    /// A new id for the key of `context` in the token of that name: what an attempt of before left behind has another.
    ///
    /// # Errors
    /// [`CustodyError`] when the system gives no random bytes.
    pub fn new(context: &SealContext, token: &TokenName) -> Result<Self, CustodyError> {
        let mut birth = [0; BIRTH_BYTES];
        crate::cipher::random(&mut birth)?;
        Ok(Self::of(birth, context, token))
    }

    /// Whether it is an id of the key of `context` in the token of that name.
    #[must_use]
    pub fn fits(&self, context: &SealContext, token: &TokenName) -> bool {
        self.0.first_chunk().is_some_and(|birth| Self::of(*birth, context, token) == *self)
    }

    /// Random bytes, and as many of a hash over them and everything that the key is.
    fn of(birth: [u8; BIRTH_BYTES], context: &SealContext, token: &TokenName) -> Self {
        let mut object = *digest(b"trustd/token-object", &birth, context, token).as_bytes();
        let (first, _) = object.split_at_mut(BIRTH_BYTES);
        first.copy_from_slice(&birth);
        Self(object)
    }

    /// Takes 32 bytes as stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// SHA-256 over what tells objects apart and everything that the key of `context` is.
fn digest(domain: &[u8], own: &[u8], context: &SealContext, token: &TokenName) -> Sha256Digest {
    let mut row_key = [0; 20];
    let (id, version) = row_key.split_at_mut(16);
    id.copy_from_slice(context.key.id.as_bytes());
    version.copy_from_slice(&context.key.version.number().to_be_bytes());
    let fields: [&[u8]; 9] = [
        domain,
        &[1],
        own,
        &context.store,
        &row_key,
        context.algorithm.name().as_bytes(),
        context.purpose.name().as_bytes(),
        context.scope_hash.as_bytes(),
        token.as_str().as_bytes(),
    ];
    let mut bytes = Vec::with_capacity(256);
    for field in fields {
        crate::sealing::push(&mut bytes, field);
    }
    Sha256Digest::of(&bytes)
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A key that was in a token before it was ours: its `CKA_ID`, 1 to 64 bytes, and what binds that to the key's context.
///
/// The id is somebody else's choice, so it says nothing of the context: 16 bytes of a SHA-256 over both stand beside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AdoptedId {
    id: Box<[u8]>,
    bound: [u8; BOUND_BYTES],
}

/// Bytes of a hash that bind an [`AdoptedId`].
const BOUND_BYTES: usize = 16;

impl AdoptedId {
    /// The longest id, in bytes.
    pub const BYTES_MAX: usize = TokenObject::ID_BYTES_MAX;

    /// The id of the key of `context` in the token of that name.
    ///
    /// # Errors
    /// [`Malformed`] when it has another length.
    pub fn new(id: &[u8], context: &SealContext, token: &TokenName) -> Result<Self, Malformed> {
        Self::from_parts(id, bound(id, context, token))
    }

    /// Takes both parts as stored.
    ///
    /// # Errors
    /// [`Malformed`] when the id has another length.
    pub fn from_parts(id: &[u8], bound: [u8; BOUND_BYTES]) -> Result<Self, Malformed> {
        if (1..=Self::BYTES_MAX).contains(&id.len()) {
            return Ok(Self { id: id.into(), bound });
        }
        Err(Malformed::new("id of a key in a token", "1 to 64 bytes"))
    }

    /// The `CKA_ID`.
    #[must_use]
    pub const fn id(&self) -> &[u8] {
        &self.id
    }

    /// What binds it, 16 bytes.
    #[must_use]
    pub const fn bound(&self) -> &[u8; BOUND_BYTES] {
        &self.bound
    }
}

fn bound(id: &[u8], context: &SealContext, token: &TokenName) -> [u8; BOUND_BYTES] {
    let hash = digest(b"trustd/adopted-object", id, context, token);
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// What a key's two objects in a token have for a `CKA_ID`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed set: stored and read back kind by kind")]
pub enum KeyObject {
    /// Given by us, to a key that was made or brought.
    Ours(ObjectId),
    /// Found there.
    Adopted(AdoptedId),
}

impl KeyObject {
    /// The `CKA_ID`, 1 to 64 bytes.
    #[must_use]
    pub const fn id(&self) -> &[u8] {
        match self {
            Self::Ours(id) => id.as_bytes(),
            Self::Adopted(adopted) => adopted.id(),
        }
    }

    /// Whether it belongs to the key of `context` in the token of that name.
    #[must_use]
    pub fn fits(&self, context: &SealContext, token: &TokenName) -> bool {
        match self {
            Self::Ours(id) => id.fits(context, token),
            Self::Adopted(adopted) => adopted.bound == bound(&adopted.id, context, token),
        }
    }
}

impl fmt::Display for KeyObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.id()))
    }
}

/// Where a token's key is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "stored and read back part by part")]
pub struct TokenKey {
    /// The custodian that holds the token.
    pub token: TokenName,
    /// Its objects there.
    pub object: KeyObject,
}

/// How a token is told from the others of its module.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed set: what a PKCS#11 token says of itself")]
pub enum TokenSelector {
    /// Its label, at most 32 bytes, without the padding.
    Label(String),
    /// Its serial number, at most 16 bytes, without the padding.
    Serial(String),
}

impl TokenSelector {
    /// The longest label, in bytes (PKCS#11 2.40 §3.2, `CK_TOKEN_INFO`).
    pub const LABEL_BYTES_MAX: usize = 32;
    /// The longest serial number, in bytes.
    pub const SERIAL_BYTES_MAX: usize = 16;
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => write!(f, "label {label:?}"),
            Self::Serial(serial) => write!(f, "serial {serial:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use trust::{Algorithm, KeyId, KeyRef, KeyVersion, Purpose};

    use super::*;

    #[test]
    fn a_token_name_is_short_lower_case_and_not_the_software_custodians() {
        for good in ["a", "hsm-1", "yubihsm", "a2345678901234567890123456789012"] {
            assert_eq!(good.parse::<TokenName>().unwrap().as_str(), good);
        }
        for bad in ["", "1a", "-a", "A", "a_b", "a/b", "é", "software", "a23456789012345678901234567890123"] {
            assert!(bad.parse::<TokenName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_object_id_changes_with_every_part_of_the_context() {
        let name = |text: &str| text.parse::<TokenName>().unwrap();
        let own = SealContext {
            store: [1; 16],
            key: KeyRef { id: KeyId::from_bytes([2; 16]), version: KeyVersion::FIRST },
            algorithm: Algorithm::Ed25519,
            purpose: Purpose::Image,
            scope_hash: Sha256Digest::of(b"scope"),
        };
        let others = [
            SealContext { store: [3; 16], ..own.clone() },
            SealContext { key: KeyRef { id: KeyId::from_bytes([4; 16]), ..own.key }, ..own.clone() },
            SealContext { key: KeyRef { version: KeyVersion::new(2).unwrap(), ..own.key }, ..own.clone() },
            SealContext { algorithm: Algorithm::EcdsaP256Sha256, ..own.clone() },
            SealContext { purpose: Purpose::Raw, ..own.clone() },
            SealContext { scope_hash: Sha256Digest::of(b"another"), ..own.clone() },
        ];

        let id = ObjectId::new(&own, &name("hsm")).unwrap();

        assert!(id.fits(&own.clone(), &name("hsm")));
        assert_ne!(id, ObjectId::new(&own, &name("hsm")).unwrap(), "an attempt of before has another");
        assert!(!id.fits(&own, &name("hsm-2")));
        assert!(others.iter().all(|other| !id.fits(other, &name("hsm"))));
        for byte in 0..32 {
            let mut bytes = *id.as_bytes();
            bytes[byte] ^= 1;
            assert!(!ObjectId::from_bytes(bytes).fits(&own, &name("hsm")), "byte {byte}");
        }
        // What tokens hold already must be found for ever.
        let fixed = ObjectId::of([5; BIRTH_BYTES], &own, &name("hsm"));
        assert_eq!(fixed.to_string(), "05050505050505050505050505050505a9589d8345bd9d70a0a52f59e2bebdd5");
    }

    #[test]
    fn an_adopted_id_is_bound_to_the_key_and_bounded() {
        let name = |text: &str| text.parse::<TokenName>().unwrap();
        let own = SealContext {
            store: [1; 16],
            key: KeyRef { id: KeyId::from_bytes([2; 16]), version: KeyVersion::FIRST },
            algorithm: Algorithm::Ed25519,
            purpose: Purpose::Image,
            scope_hash: Sha256Digest::of(b"scope"),
        };
        let other = SealContext { purpose: Purpose::Raw, ..own.clone() };
        let adopted = AdoptedId::new(b"\x01", &own, &name("hsm")).unwrap();
        let elsewhere = AdoptedId::from_parts(b"\x02", *adopted.bound()).unwrap();

        assert!(KeyObject::Adopted(adopted.clone()).fits(&own, &name("hsm")));
        assert!(!KeyObject::Adopted(adopted.clone()).fits(&other, &name("hsm")));
        assert!(!KeyObject::Adopted(adopted).fits(&own, &name("hsm-2")));
        assert!(!KeyObject::Adopted(elsewhere).fits(&own, &name("hsm")));
        assert!(AdoptedId::new(&[0; 64], &own, &name("hsm")).is_ok());
        for length in [0, 65] {
            assert!(AdoptedId::new(&vec![0; length], &own, &name("hsm")).is_err(), "{length}");
        }
        // What stores hold already must be read for ever.
        let fixed = AdoptedId::new(b"\x01", &own, &name("hsm")).unwrap();
        assert_eq!(hex::encode(fixed.bound()), "c7a97f2cf57cf6a410894911d87e7ce1");
    }
}
