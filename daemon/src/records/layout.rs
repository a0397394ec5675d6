//! Where rows lie: a kind byte, then an id, or the keyed hash of a name.

use trust::format::tuf::{Gun, RoleName};
use trust::{KeyId, KeyName, KeyRef, KeyVersion, Sha256Digest};

use super::crypto::Keys;
use crate::store::RowKey;

/// The state of the records as a whole; the only sealed row that is not counted in itself.
pub(super) const ANCHOR: u8 = b'a';
/// A part of a published file that is too long for a row.
pub(super) const CHUNK: u8 = b'b';
/// A change of published trust data, by its number.
pub(super) const CHANGE: u8 = b'c';
/// The number of a change, by repository and place.
pub(super) const GUN_CHANGE: u8 = b'd';
/// Format and store uuid, in clear.
pub(super) const FORMAT: u8 = b'f';
/// What is published of a repository.
pub(super) const HEAD: u8 = b'h';
/// The version of a published file, by its hash.
pub(super) const FILE_HASH: u8 = b'i';
/// What is fixed about a key.
pub(super) const KEY: u8 = b'k';
/// The log key.
pub(super) const LOG: u8 = b'l';
/// A published file, by its version.
pub(super) const FILE: u8 = b'm';
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

/// The kinds of rows of published trust data, heads aside.
pub(super) const PUBLISHED: [u8; 5] = [CHUNK, CHANGE, GUN_CHANGE, FILE_HASH, FILE];

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

/// The keyed hash of a repository's name.
pub(super) fn gun_hash(keys: &Keys, gun: &Gun) -> [u8; 32] {
    keys.hash_name(HEAD, &[gun.as_str().as_bytes()])
}

/// The start of the keyed hash of a role's name: a repository has a few hundred of them.
pub(super) fn role_hash(keys: &Keys, role: &RoleName) -> [u8; 16] {
    keys.hash_name(FILE, &[role.as_str().as_bytes()]).first_chunk().copied().unwrap_or_default()
}

pub(super) fn head(gun: [u8; 32]) -> RowKey {
    RowKey::of_kind(HEAD, gun)
}

pub(super) fn file(gun: &[u8; 32], life: u32, role: &[u8; 16], version: u32) -> RowKey {
    RowKey::of_kind(FILE, joined::<56>(&[gun, &life.to_be_bytes(), role, &version.to_be_bytes()]))
}

pub(super) fn file_hash(gun: &[u8; 32], life: u32, role: &[u8; 16], sha256: &Sha256Digest) -> RowKey {
    RowKey::of_kind(FILE_HASH, joined::<84>(&[gun, &life.to_be_bytes(), role, sha256.as_bytes()]))
}

/// A part of a file, by its number from 0.
pub(super) fn chunk(gun: &[u8; 32], role: &[u8; 16], sha256: &Sha256Digest, number: u16) -> RowKey {
    RowKey::of_kind(CHUNK, joined::<82>(&[gun, role, sha256.as_bytes(), &number.to_be_bytes()]))
}

/// A change, by its number among all.
pub(super) fn change(id: u64) -> RowKey {
    RowKey::of_kind(CHANGE, id.to_be_bytes())
}

/// A change, by its number among those of its repository.
pub(super) fn gun_change(gun: &[u8; 32], place: u64) -> RowKey {
    RowKey::of_kind(GUN_CHANGE, joined::<40>(&[gun, &place.to_be_bytes()]))
}

/// The repository's part of the row of a published file, of a part of one, or of a repository's change.
pub(super) fn gun_of(row: &RowKey) -> Option<[u8; 32]> {
    row.as_bytes().split_first()?.1.first_chunk().copied()
}

fn joined<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.iter_mut().zip(parts.iter().copied().flatten()).for_each(|(to, from)| *to = *from);
    bytes
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
        (CHUNK, ..) => format!("part of a published file {row}"),
        (CHANGE | GUN_CHANGE, ..) => format!("change of trust data {row}"),
        (FILE | FILE_HASH, ..) => format!("published file {row}"),
        (HEAD, ..) => format!("head of a repository {row}"),
        (NAME, ..) => format!("name row {row}"),
        (PUBLIC, ..) => format!("public key row {row}"),
        (PROVENANCE, ..) => "the provenance of the store".to_owned(),
        (REPLAY, ..) => format!("replay row {row}"),
        _ => format!("unknown row {row}"),
    }
}
