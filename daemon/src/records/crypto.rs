//! Sealing of rows: XChaCha20-Poly1305 under keys derived from the store key, bound to store, write and row key.

use chacha20poly1305::aead::{Aead as _, AeadInOut as _, KeyInit, Payload};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use trust_hsm::StoreKey;
use zeroize::Zeroizing;

use super::RecordError;
use crate::store::RowKey;

/// Format byte of a sealed row.
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 1 + 8 + 24;
/// Poly1305's.
const TAG_BYTES: usize = 16;

/// The keys of one store, derived from its store key. Wiped when dropped.
pub(super) struct Keys {
    store_uuid: [u8; 16],
    seal: XChaCha20Poly1305,
    index: XChaCha20Poly1305,
    names: Hmac<Sha256>,
    rows: Hmac<Sha256>,
}

/// Which chunk of which file of the index.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkPlace {
    /// Random, at the start of the file.
    pub(super) file: [u8; 16],
    /// From 0.
    pub(super) number: u64,
}

/// Which sealing of a row this is. The nonce is random and never comes twice, so it stands for the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowMark {
    pub(super) nonce: [u8; 24],
    pub(super) sequence: u64,
}

impl Keys {
    /// HKDF-SHA256 (RFC 5869): salt the store's uuid, one output per use.
    pub(super) fn derive(key: &StoreKey, store_uuid: [u8; 16]) -> Self {
        let hkdf = Hkdf::<Sha256>::new(Some(&store_uuid), key.expose());
        Self {
            store_uuid,
            seal: XChaCha20Poly1305::new((&*expand::<32>(&hkdf, b"trustd/records/v1/seal")).into()),
            index: XChaCha20Poly1305::new((&*expand::<32>(&hkdf, b"trustd/records/v1/index")).into()),
            names: <Hmac<Sha256> as KeyInit>::new((&*expand::<64>(&hkdf, b"trustd/records/v1/names")).into()),
            rows: <Hmac<Sha256> as KeyInit>::new((&*expand::<64>(&hkdf, b"trustd/records/v1/rows")).into()),
        }
    }

    /// Seals a row: format, sequence, nonce, ciphertext with its tag.
    pub(super) fn seal(&self, key: &RowKey, sequence: u64, plain: &[u8]) -> Result<(Vec<u8>, RowMark), RecordError> {
        let unable = |reason: &str| RecordError::Closed { reason: reason.into() };
        let mut nonce = [0_u8; 24];
        getrandom::fill(&mut nonce).map_err(|_| unable("the system gives no random bytes"))?;
        let aad = self.aad(key, sequence);
        let sealed = self
            .seal
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: &aad })
            .map_err(|_| unable("a row does not seal"))?;
        let value = [&[FORMAT], sequence.to_be_bytes().as_slice(), &nonce, &sealed].concat();
        Ok((value, RowMark { nonce, sequence }))
    }

    /// Opens a row; none when it is not what was sealed under this key, in this store.
    pub(super) fn open(&self, key: &RowKey, value: Vec<u8>) -> Option<(Zeroizing<Vec<u8>>, RowMark)> {
        let mut value = Zeroizing::new(value);
        let (plain, mark) = self.open_in_place(key, &mut value)?;
        let plain_bytes = plain.len();
        value.drain(..HEADER_BYTES);
        value.truncate(plain_bytes);
        Some((value, mark))
    }

    /// [`Keys::open`] where the row lies: afterwards `value` holds the plaintext, and the caller wipes it.
    pub(super) fn open_in_place<'a>(&self, key: &RowKey, value: &'a mut [u8]) -> Option<(&'a [u8], RowMark)> {
        let (header, sealed) = value.split_first_chunk_mut::<HEADER_BYTES>()?;
        let (format, rest) = header.split_first()?;
        let (sequence, nonce) = rest.split_first_chunk::<8>()?;
        if *format != FORMAT {
            return None;
        }
        let mark = RowMark { nonce: nonce.try_into().ok()?, sequence: u64::from_be_bytes(*sequence) };
        let aad = self.aad(key, mark.sequence);
        let (text, tag) = sealed.split_last_chunk_mut::<TAG_BYTES>()?;
        let tag = Tag::from(*tag);
        self.seal.decrypt_inout_detached(&XNonce::from(mark.nonce), &aad, (&mut *text).into(), &tag).ok()?;
        Some((text, mark))
    }

    /// Seals a chunk of the index's file: nonce, ciphertext with its tag.
    pub(super) fn seal_chunk(&self, place: &ChunkPlace, mut plain: Vec<u8>) -> Result<Vec<u8>, RecordError> {
        let unable = |reason: &str| RecordError::Closed { reason: reason.into() };
        let mut nonce = [0_u8; 24];
        getrandom::fill(&mut nonce).map_err(|_| unable("the system gives no random bytes"))?;
        self.index
            .encrypt_in_place(&XNonce::from(nonce), &self.chunk_aad(place), &mut plain)
            .map_err(|_| unable("a chunk does not seal"))?;
        Ok([nonce.as_slice(), &plain].concat())
    }

    /// Opens a chunk where it lies; none when it is not what was sealed for this place.
    pub(super) fn open_chunk<'a>(&self, place: &ChunkPlace, sealed: &'a mut [u8]) -> Option<&'a [u8]> {
        let (nonce, sealed) = sealed.split_first_chunk_mut::<24>()?;
        let (text, tag) = sealed.split_last_chunk_mut::<TAG_BYTES>()?;
        let (nonce, tag) = (XNonce::from(*nonce), Tag::from(*tag));
        self.index.decrypt_inout_detached(&nonce, &self.chunk_aad(place), (&mut *text).into(), &tag).ok()?;
        Some(text)
    }

    /// What a row adds to the anchor: unpredictable without the keys, so that no set of other rows adds up to it.
    pub(super) fn tag(&self, key: &RowKey, nonce: &[u8; 24]) -> [u8; 32] {
        let mut mac = self.rows.clone();
        mac.update(nonce);
        mac.update(key.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The keyed hash of a name: rows are found by it, and a reader of the disk learns nothing.
    pub(super) fn hash_name(&self, kind: u8, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.names.clone();
        mac.update(&[kind]);
        for part in parts {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    fn chunk_aad(&self, place: &ChunkPlace) -> Vec<u8> {
        [b"trustd/index/v1".as_slice(), &self.store_uuid, &place.file, &place.number.to_be_bytes()].concat()
    }

    /// The row key, which starts with the row's kind, comes last: nothing can be read two ways.
    fn aad(&self, key: &RowKey, sequence: u64) -> Vec<u8> {
        [b"trustd/row/v1".as_slice(), &self.store_uuid, &sequence.to_be_bytes(), key.as_bytes()].concat()
    }
}

#[expect(clippy::expect_used, reason = "an invariant: the length is a constant far below the bound")]
fn expand<const N: usize>(hkdf: &Hkdf<Sha256>, use_: &[u8]) -> Zeroizing<[u8; N]> {
    let mut output = Zeroizing::new([0_u8; N]);
    hkdf.expand(use_, output.as_mut_slice()).expect("HKDF gives up to 255 × 32 bytes (RFC 5869 §2.3)");
    output
}
