//! How records are written into rows: postcard, in the words of `trust`.

use serde::{Deserialize, Serialize};
use trust::state::DistrustReason;
use trust::{Algorithm, KeyId, KeyRef, KeyVersion, Origin, PublicKey, Scope, Sha256Digest, Trust, Use};
use trust_hsm::{AdoptedId, KeyObject, Material, ObjectId, SealedKey, TokenKey};

use super::crypto::RowMark;
use super::{KeyRecord, KeyState, LogAnchor, LogKey, RecordError};
use crate::store::Revision;

/// The contents of a row, without its key.
pub(super) fn encode<T: Serialize>(stored: &T) -> Result<Vec<u8>, RecordError> {
    postcard::to_stdvec(stored).map_err(|_| RecordError::damaged("a record does not encode"))
}

/// Reads a row that has been opened.
pub(super) fn decode<'a, T: Deserialize<'a>>(plain: &'a [u8]) -> Option<T> {
    postcard::from_bytes(plain).ok()
}

/// A row as it lies in the store: what a change of it must name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) revision: Revision,
    pub(super) mark: RowMark,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredKey<'a> {
    name: &'a str,
    purpose: &'a str,
    algorithm: &'a str,
    scope: Vec<String>,
    #[serde(borrow)]
    forms: Vec<&'a str>,
    created_at_unix_seconds: u64,
}

/// The word for software custody in rows; no token has it for a name.
const SOFTWARE: &str = "software";

impl<'a> StoredKey<'a> {
    pub(super) fn encode(record: &'a KeyRecord) -> Result<Vec<u8>, RecordError> {
        encode(&(Self::of(record), record.custodian()))
    }

    pub(super) fn decode(plain: &'a [u8], id: KeyId) -> Option<KeyRecord> {
        let (stored, rest) = postcard::take_from_bytes::<Self>(plain).ok()?;
        // Rows of before there were other custodians end here.
        let custodian = if rest.is_empty() { SOFTWARE } else { decode::<&str>(rest)? };
        stored.read(id, custodian)
    }

    pub(super) fn of(record: &'a KeyRecord) -> Self {
        Self {
            name: record.name.as_str(),
            purpose: record.purpose.name(),
            algorithm: record.algorithm.name(),
            scope: record.scope.words(),
            forms: record.forms.iter().map(|form| form.name()).collect(),
            created_at_unix_seconds: record.created_at_unix_seconds,
        }
    }

    /// The key, with the word for where it is: [`KeyRecord::custodian`].
    pub(super) fn read(self, id: KeyId, custodian: &str) -> Option<KeyRecord> {
        let purpose = self.purpose.parse().ok()?;
        Some(KeyRecord {
            id,
            name: self.name.parse().ok()?,
            purpose,
            algorithm: self.algorithm.parse().ok()?,
            scope: Scope::read(purpose, self.scope.iter().map(String::as_str)).ok()?,
            forms: self.forms.iter().map(|form| form.parse().ok()).collect::<Option<Vec<_>>>()?,
            created_at_unix_seconds: self.created_at_unix_seconds,
            token: if custodian == SOFTWARE { None } else { Some(custodian.parse().ok()?) },
        })
    }
}

#[derive(Serialize, Deserialize)]
enum StoredUse {
    Active,
    Disabled,
    Retired,
    DestroyScheduled { at_unix_seconds: u64 },
    Destroyed,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredState {
    use_: StoredUse,
    distrusted: Option<(String, u64)>,
    epoch: u64,
    newest: u32,
    shred_pending: bool,
}

impl StoredState {
    pub(super) fn of(state: &KeyState) -> Self {
        let use_ = match state.use_ {
            Use::Active => StoredUse::Active,
            Use::Disabled => StoredUse::Disabled,
            Use::Retired => StoredUse::Retired,
            Use::DestroyScheduled { at_unix_seconds } => StoredUse::DestroyScheduled { at_unix_seconds },
            Use::Destroyed => StoredUse::Destroyed,
        };
        let distrusted = match &state.trust {
            Trust::Trusted => None,
            Trust::Distrusted { reason, since_leaf } => Some((reason.name().to_owned(), *since_leaf)),
        };
        let (epoch, newest, shred_pending) = (state.epoch, state.newest.number(), state.shred_pending);
        Self { use_, distrusted, epoch, newest, shred_pending }
    }

    pub(super) fn read(self) -> Option<KeyState> {
        let use_ = match self.use_ {
            StoredUse::Active => Use::Active,
            StoredUse::Disabled => Use::Disabled,
            StoredUse::Retired => Use::Retired,
            StoredUse::DestroyScheduled { at_unix_seconds } => Use::DestroyScheduled { at_unix_seconds },
            StoredUse::Destroyed => Use::Destroyed,
        };
        let trust = match self.distrusted {
            None => Trust::Trusted,
            Some((reason, since_leaf)) => {
                Trust::Distrusted { reason: reason.parse::<DistrustReason>().ok()?, since_leaf }
            }
        };
        let newest = KeyVersion::new(self.newest)?;
        Some(KeyState { use_, trust, epoch: self.epoch, newest, shred_pending: self.shred_pending })
    }
}

#[derive(Serialize, Deserialize)]
enum StoredMaterial {
    Sealed(Vec<u8>),
    Token { token: String, object: [u8; 32] },
    Adopted { token: String, id: Vec<u8>, bound: [u8; 16] },
}

impl StoredMaterial {
    fn of(material: &Material) -> Result<Self, RecordError> {
        match material {
            Material::Sealed(sealed) => Ok(Self::Sealed(sealed.to_bytes())),
            Material::Token(TokenKey { token, object: KeyObject::Ours(id) }) => {
                Ok(Self::Token { token: token.to_string(), object: *id.as_bytes() })
            }
            Material::Token(TokenKey { token, object: KeyObject::Adopted(adopted) }) => {
                let (id, bound) = (adopted.id().to_vec(), *adopted.bound());
                Ok(Self::Adopted { token: token.to_string(), id, bound })
            }
            _ => Err(RecordError::Refused { why: "this version does not store that kind of material" }),
        }
    }

    fn read(&self) -> Option<Material> {
        match self {
            Self::Sealed(bytes) => SealedKey::from_bytes(bytes).ok().map(Material::Sealed),
            Self::Token { token, object } => {
                let (token, object) = (token.parse().ok()?, KeyObject::Ours(ObjectId::from_bytes(*object)));
                Some(Material::Token(TokenKey { token, object }))
            }
            Self::Adopted { token, id, bound } => {
                let object = KeyObject::Adopted(AdoptedId::from_parts(id, *bound).ok()?);
                Some(Material::Token(TokenKey { token: token.parse().ok()?, object }))
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredVersion<'a> {
    spki_der: &'a [u8],
    materials: Vec<StoredMaterial>,
    created_at_unix_seconds: u64,
    leaf: u64,
}

impl<'a> StoredVersion<'a> {
    pub(super) fn of(version: &'a Version) -> Result<Self, RecordError> {
        Ok(Self {
            spki_der: &version.spki_der,
            materials: version.materials.iter().map(StoredMaterial::of).collect::<Result<_, _>>()?,
            created_at_unix_seconds: version.created_at_unix_seconds,
            leaf: version.leaf,
        })
    }

    pub(super) fn read(&self, origin: Origin) -> Option<Version> {
        Some(Version {
            spki_der: self.spki_der.into(),
            materials: self.materials.iter().map(StoredMaterial::read).collect::<Option<_>>()?,
            created_at_unix_seconds: self.created_at_unix_seconds,
            leaf: self.leaf,
            origin,
        })
    }

    /// About how many bytes it takes when it is written.
    pub(super) fn about_bytes(&self) -> usize {
        let materials = self.materials.iter().map(|material| match material {
            StoredMaterial::Sealed(sealed) => sealed.len(),
            StoredMaterial::Token { token, object } => token.len().saturating_add(object.len()),
            StoredMaterial::Adopted { token, id, bound } => {
                token.len().saturating_add(id.len()).saturating_add(bound.len())
            }
        });
        materials.sum::<usize>().saturating_add(self.spki_der.len())
    }
}

/// One version of a key as the index keeps it: its public key is parsed when it is first asked for.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) spki_der: Box<[u8]>,
    pub(super) materials: Vec<Material>,
    pub(super) created_at_unix_seconds: u64,
    pub(super) leaf: u64,
    pub(super) origin: Origin,
}

impl Version {
    pub(super) fn encode(&self) -> Result<Vec<u8>, RecordError> {
        encode(&(StoredVersion::of(self)?, self.origin.name()))
    }

    pub(super) fn decode(plain: &[u8]) -> Option<Self> {
        let (stored, rest) = postcard::take_from_bytes::<StoredVersion<'_>>(plain).ok()?;
        // Rows of before there was another origin end here.
        let origin = if rest.is_empty() { Origin::Generated } else { decode::<&str>(rest)?.parse().ok()? };
        stored.read(origin)
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredLogKey {
    key: Vec<u8>,
    algorithm: String,
    spki_der: Vec<u8>,
    material: StoredMaterial,
    origin: String,
}

impl StoredLogKey {
    pub(super) fn of(log_key: &LogKey) -> Result<Self, RecordError> {
        Ok(Self {
            key: super::layout::key_ref_bytes(log_key.key).to_vec(),
            algorithm: log_key.public_key.algorithm().name().to_owned(),
            spki_der: log_key.public_key.spki_der().to_vec(),
            material: StoredMaterial::of(&log_key.material)?,
            origin: log_key.origin.clone(),
        })
    }

    pub(super) fn read(self) -> Option<LogKey> {
        let algorithm: Algorithm = self.algorithm.parse().ok()?;
        let key: KeyRef = super::layout::read_key_ref(&self.key)?;
        let public_key = PublicKey::from_spki_der(algorithm, &self.spki_der).ok()?;
        Some(LogKey { key, public_key, material: self.material.read()?, origin: self.origin })
    }
}

/// The anchor row.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredAnchor {
    pub(super) sequence: u64,
    pub(super) log_size: u64,
    pub(super) log_root: [u8; 32],
    pub(super) rows: u64,
    pub(super) tags: [u8; 32],
    pub(super) nonces: [u8; 24],
}

impl StoredAnchor {
    pub(super) fn log(&self) -> LogAnchor {
        LogAnchor { size: self.log_size, root: Sha256Digest::from_bytes(self.log_root) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(origin: Origin) -> Version {
        let materials = vec![Material::Sealed(SealedKey::from_bytes(&[1; 200]).unwrap())];
        Version { spki_der: [0x30, 0x2a].into(), materials, created_at_unix_seconds: 300, leaf: 7, origin }
    }

    /// What the first versions of trustd wrote.
    fn row_without_origin() -> Vec<u8> {
        let head: &[u8] = &[2, 0x30, 0x2a, 1, 0, 0xc8, 1];
        [head, &[1; 200], &[0xac, 2, 7]].concat()
    }

    #[test]
    fn every_origin_is_read_as_it_was_written() {
        for origin in Origin::ALL {
            let row = version(origin).encode().unwrap();

            let read = Version::decode(&row).unwrap();

            assert_eq!((read.origin, read.leaf), (origin, 7));
            let length = u8::try_from(origin.name().len()).unwrap();
            assert_eq!(row, [row_without_origin(), vec![length], origin.name().into()].concat());
        }
    }

    #[test]
    fn a_row_without_an_origin_is_of_a_key_that_was_generated() {
        let read = Version::decode(&row_without_origin()).unwrap();

        assert_eq!((read.origin, read.created_at_unix_seconds, read.leaf), (Origin::Generated, 300, 7));
    }

    /// What stores hold already must be read for ever.
    #[test]
    fn a_tokens_key_is_written_and_read_as_ever() {
        let adopted = AdoptedId::from_parts(b"\x0a\x0b", [7; 16]).unwrap();
        for (object, expected) in [
            (KeyObject::Ours(ObjectId::from_bytes([5; 32])), [&b"\x01\x03hsm"[..], &[5; 32]].concat()),
            (KeyObject::Adopted(adopted), [&b"\x02\x03hsm\x02\x0a\x0b"[..], &[7; 16]].concat()),
        ] {
            let material = Material::Token(TokenKey { token: "hsm".parse().unwrap(), object });

            let row = encode(&StoredMaterial::of(&material).unwrap()).unwrap();

            assert_eq!(row, expected);
            assert_eq!(decode::<StoredMaterial>(&row).unwrap().read(), Some(material));
        }
    }

    #[test]
    fn a_record_says_where_its_key_is_and_an_older_one_does_not() {
        let record = KeyRecord {
            id: KeyId::from_bytes([1; 16]),
            name: "a".parse().unwrap(),
            purpose: trust::Purpose::Raw,
            algorithm: Algorithm::Ed25519,
            scope: Scope::Unbound,
            forms: vec![trust::Form::Raw],
            created_at_unix_seconds: 9,
            token: Some("hsm".parse().unwrap()),
        };
        let older: &[u8] = b"\x01a\x03raw\x07ed25519\x00\x01\x03raw\x09";

        let row = StoredKey::encode(&record).unwrap();

        assert_eq!(row, [older, b"\x03hsm"].concat());
        assert_eq!(StoredKey::decode(&row, record.id), Some(record.clone()));
        let without = KeyRecord { token: None, ..record };
        assert_eq!(StoredKey::decode(older, without.id), Some(without.clone()));
        assert_eq!(StoredKey::encode(&without).unwrap(), [older, b"\x08software"].concat());
        assert!(StoredKey::decode(&[older, b"\x03HSM"].concat(), without.id).is_none());
    }

    #[test]
    fn an_origin_that_is_none_is_no_row() {
        for end in [&b"\x09Generated"[..], b"\x03new", b"\x09gener", b"\x00"] {
            assert!(Version::decode(&[&row_without_origin(), end].concat()).is_none(), "{end:?}");
        }
    }
}
