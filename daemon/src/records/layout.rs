//! Where rows lie: a kind byte, then an id, or the keyed hash of a name.

use trust::{KeyId, KeyName, KeyRef, KeyVersion, Sha256Digest};

use super::crypto::Keys;
use crate::store::RowKey;

/// The state of the records as a whole; the only sealed row that is not counted in itself.
pub(super) const ANCHOR: u8 = b'a';
/// Format and store uuid, in clear.
pub(super) const FORMAT: u8 = b'f';
/// What is fixed about a key.
pub(super) const KEY: u8 = b'k';
/// The log key.
pub(super) const LOG: u8 = b'l';
/// A key's name.
pub(super) const NAME: u8 = b'n';
/// A public key.
pub(super) const PUBLIC: u8 = b'p';
/// Where the store came from.
pub(super) const PROVENANCE: u8 = b'q';
/// The answer to an earlier request.
pub(super) const REPLAY: u8 = b'r';
/// What may change about a key.
pub(super) const STATE: u8 = b's';
/// One version of a key.
pub(super) const VERSION: u8 = b'v';

pub(super) fn single(kind: u8) -> RowKey {
    RowKey::of_kind(kind, [])
}

pub(super) fn key(id: KeyId) -> RowKey {
    RowKey::of_kind(KEY, *id.as_bytes())
}

pub(super) fn state(id: KeyId) -> RowKey {
    RowKey::of_kind(STATE, *id.as_bytes())
}

pub(super) fn version(key: KeyRef) -> RowKey {
    RowKey::of_kind(VERSION, key_ref_bytes(key))
}

pub(super) fn name(keys: &Keys, name: &KeyName) -> RowKey {
    RowKey::of_kind(NAME, name_hash(keys, name))
}

pub(super) fn name_hash(keys: &Keys, name: &KeyName) -> [u8; 32] {
    keys.hash_name(NAME, &[name.as_str().as_bytes()])
}

pub(super) fn public(keys: &Keys, spki: Sha256Digest) -> RowKey {
    RowKey::of_kind(PUBLIC, public_hash(keys, spki))
}

pub(super) fn public_hash(keys: &Keys, spki: Sha256Digest) -> [u8; 32] {
    keys.hash_name(PUBLIC, &[spki.as_bytes()])
}

pub(super) fn replay(tag: [u8; 32]) -> RowKey {
    RowKey::of_kind(REPLAY, tag)
}

/// Id and version as 20 bytes.
pub(super) fn key_ref_bytes(key: KeyRef) -> [u8; 20] {
    let mut bytes = [0; 20];
    let (id, version) = bytes.split_at_mut(16);
    id.copy_from_slice(key.id.as_bytes());
    version.copy_from_slice(&key.version.number().to_be_bytes());
    bytes
}

/// Reads what [`key_ref_bytes`] wrote.
pub(super) fn read_key_ref(bytes: &[u8]) -> Option<KeyRef> {
    let (id, version) = bytes.split_first_chunk::<16>()?;
    let version = KeyVersion::new(u32::from_be_bytes(version.try_into().ok()?))?;
    Some(KeyRef { id: KeyId::from_bytes(*id), version })
}

/// Reads an id.
pub(super) fn read_key_id(bytes: &[u8]) -> Option<KeyId> {
    bytes.try_into().ok().map(KeyId::from_bytes)
}

/// What a row is, for people.
pub(super) fn describe(row: &RowKey) -> String {
    let (kind, rest) = row.as_bytes().split_first().unwrap_or((&0, &[]));
    match (*kind, read_key_id(rest), read_key_ref(rest)) {
        (ANCHOR, ..) => "the anchor row".to_owned(),
        (FORMAT, ..) => "the format row".to_owned(),
        (KEY, Some(id), _) => format!("the record of key {id}"),
        (STATE, Some(id), _) => format!("the state of key {id}"),
        (VERSION, _, Some(key)) => format!("key version {key}"),
        (LOG, ..) => "the log key".to_owned(),
        (NAME, ..) => format!("name row {row}"),
        (PUBLIC, ..) => format!("public key row {row}"),
        (PROVENANCE, ..) => "the provenance of the store".to_owned(),
        (REPLAY, ..) => format!("replay row {row}"),
        _ => format!("unknown row {row}"),
    }
}
