//! The sealed form of one private key.
//!
//! A fresh data key per record encrypts the key (XChaCha20-Poly1305) and is itself
//! encrypted by a KEK version; rotation rewrites only the second. Both bind every
//! part of the sealing context, so that a record opens in its own row only. A
//! commitment names the data key.
//!
//! ```text
//! 1 format | 4 KEK version | 24 nonce | 32 + 16 wrapped data key | 32 commitment | 24 nonce | n + 16 private key
//! ```

use trust::Sha256Digest;
use zeroize::{Zeroize as _, Zeroizing};

use crate::cipher::{KEY, Key, NONCE, TAG, random};
use crate::ring::Ring;
use crate::{CustodyError, KekVersion, SealContext, SealedKey};

/// The only format of a record.
const FORMAT: u8 = 1;
/// Everything before the encrypted private key.
const HEAD: usize = 1 + 4 + NONCE + KEY + TAG + 32 + NONCE;
/// Length of a commitment in bytes.
const COMMITMENT: usize = 32;

/// Every part of a sealing context but the KEK version, in one unambiguous byte string.
///
/// The custodian's name stands in it: a record made here opens in no other custodian.
pub(crate) fn binding(context: &SealContext, spki_sha256: Sha256Digest) -> Vec<u8> {
    let mut row_key = [0; 20];
    let (id, version) = row_key.split_at_mut(16);
    id.copy_from_slice(context.key.id.as_bytes());
    version.copy_from_slice(&context.key.version.number().to_be_bytes());
    let fields: [&[u8]; 9] = [
        b"trustd/sealed-key",
        &[FORMAT],
        &context.store,
        b"key-version",
        &row_key,
        context.algorithm.name().as_bytes(),
        context.purpose.name().as_bytes(),
        context.scope_hash.as_bytes(),
        spki_sha256.as_bytes(),
    ];
    let mut bytes = Vec::with_capacity(320);
    for field in fields.into_iter().chain([crate::software::NAME.as_bytes()]) {
        push(&mut bytes, field);
    }
    bytes
}

/// Encrypts `private` under a fresh data key, that under the ring's current version.
pub(crate) fn seal(ring: &Ring, binding: &[u8], private: &[u8]) -> Result<SealedKey, CustodyError> {
    let data_key = Key::random()?;
    let mut nonce = [0; NONCE];
    random(&mut nonce)?;
    let (kek, wrapped) = wrap(ring, binding, &data_key)?;

    let mut record = Vec::with_capacity(HEAD + private.len() + TAG);
    record.push(FORMAT);
    record.extend_from_slice(&kek.number().to_le_bytes());
    record.extend_from_slice(&wrapped);
    record.extend_from_slice(&data_key.commitment(&nonce)?);
    record.extend_from_slice(&nonce);
    record.extend_from_slice(private);
    let body = record.get_mut(HEAD..).ok_or(CustodyError::failed("lay out a record"))?;
    let tag = match data_key.lock(&nonce, &body_aad(binding), body) {
        Ok(tag) => tag,
        Err(error) => {
            record.zeroize();
            return Err(error);
        }
    };
    record.extend_from_slice(&tag);
    SealedKey::from_bytes(&record).map_err(|error| CustodyError::failed(format!("seal a key: {error}")))
}

/// Decrypts the private key of a record. The answer has no spare capacity that would grow.
pub(crate) fn open(ring: &Ring, binding: &[u8], sealed: &SealedKey) -> Result<Zeroizing<Vec<u8>>, CustodyError> {
    let record = Record::read(sealed)?;
    let data_key = record.data_key(ring, binding)?;
    let mut private = Zeroizing::new(record.body.to_vec());
    data_key.unlock(record.nonce, &body_aad(binding), &mut private, record.tag).ok_or_else(damaged)?;
    Ok(private)
}

/// The same record with its data key under the ring's current version; unchanged when it is already.
pub(crate) fn rewrap(ring: &Ring, binding: &[u8], sealed: &SealedKey) -> Result<SealedKey, CustodyError> {
    let record = Record::read(sealed)?;
    let data_key = record.data_key(ring, binding)?;
    if record.kek == ring.current()?.0 {
        return Ok(sealed.clone());
    }
    let (kek, wrapped) = wrap(ring, binding, &data_key)?;
    let mut bytes = Vec::with_capacity(sealed.as_bytes().len());
    bytes.push(FORMAT);
    bytes.extend_from_slice(&kek.number().to_le_bytes());
    bytes.extend_from_slice(&wrapped);
    bytes.extend_from_slice(record.commitment);
    bytes.extend_from_slice(record.nonce);
    bytes.extend_from_slice(record.body);
    bytes.extend_from_slice(record.tag);
    SealedKey::from_bytes(&bytes).map_err(|error| CustodyError::failed(format!("rewrap a key: {error}")))
}

/// A record's parts, where they lie.
struct Record<'a> {
    kek: KekVersion,
    wrap_nonce: &'a [u8; NONCE],
    wrapped: &'a [u8; KEY],
    wrap_tag: &'a [u8; TAG],
    commitment: &'a [u8; COMMITMENT],
    nonce: &'a [u8; NONCE],
    body: &'a [u8],
    tag: &'a [u8; TAG],
}

impl<'a> Record<'a> {
    fn read(sealed: &'a SealedKey) -> Result<Self, CustodyError> {
        Self::parts(sealed).ok_or_else(damaged)
    }

    fn parts(sealed: &'a SealedKey) -> Option<Self> {
        let (&[format], rest) = sealed.as_bytes().split_first_chunk::<1>()?;
        let (kek, rest) = rest.split_first_chunk::<4>()?;
        let (wrap_nonce, rest) = rest.split_first_chunk()?;
        let (wrapped, rest) = rest.split_first_chunk()?;
        let (wrap_tag, rest) = rest.split_first_chunk()?;
        let (commitment, rest) = rest.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (body, tag) = rest.split_last_chunk()?;
        let kek = KekVersion::new(u32::from_le_bytes(*kek))?;
        (format == FORMAT).then_some(Self { kek, wrap_nonce, wrapped, wrap_tag, commitment, nonce, body, tag })
    }

    fn data_key(&self, ring: &Ring, binding: &[u8]) -> Result<Key, CustodyError> {
        let mut bytes = Zeroizing::new(*self.wrapped);
        ring.version(self.kek)?
            .unlock(self.wrap_nonce, &wrap_aad(binding, self.kek), &mut *bytes, self.wrap_tag)
            .ok_or_else(damaged)?;
        let data_key = Key::copy(&bytes)?;
        if data_key.commits_to(self.nonce, self.commitment) { Ok(data_key) } else { Err(damaged()) }
    }
}

/// The data key under the current version: nonce, ciphertext, tag.
fn wrap(ring: &Ring, binding: &[u8], data_key: &Key) -> Result<(KekVersion, [u8; NONCE + KEY + TAG]), CustodyError> {
    let (version, kek) = ring.current()?;
    let mut nonce = [0; NONCE];
    random(&mut nonce)?;
    let mut wrapped = Zeroizing::new(*data_key.expose());
    let tag = kek.lock(&nonce, &wrap_aad(binding, version), &mut *wrapped)?;
    let mut bytes = [0; NONCE + KEY + TAG];
    for (place, byte) in bytes.iter_mut().zip(nonce.iter().chain(wrapped.iter()).chain(&tag)) {
        *place = *byte;
    }
    Ok((version, bytes))
}

fn wrap_aad(binding: &[u8], kek: KekVersion) -> Vec<u8> {
    let mut aad = binding.to_vec();
    push(&mut aad, b"wrapped data key");
    push(&mut aad, &kek.number().to_be_bytes());
    aad
}

fn body_aad(binding: &[u8]) -> Vec<u8> {
    let mut aad = binding.to_vec();
    push(&mut aad, b"private key");
    aad
}

/// Appends a field behind its length, so that no two lists of fields are the same bytes.
pub(crate) fn push(bytes: &mut Vec<u8>, field: &[u8]) {
    let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(field);
}

fn damaged() -> CustodyError {
    CustodyError::corrupt("a sealed key: tampered with, or of another row")
}
