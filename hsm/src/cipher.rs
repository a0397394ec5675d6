//! The few primitives that sealing is made of. Nonces and keys come from the operating system, never from a caller.

use chacha20poly1305::{AeadInOut as _, KeyInit as _, XChaCha20Poly1305};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::CustodyError;
use crate::locked::Slot;

/// Length of a key in bytes.
pub(crate) const KEY: usize = 32;
/// Length of an XChaCha20 nonce in bytes: long enough to be drawn at random for ever.
pub(crate) const NONCE: usize = 24;
/// Length of a Poly1305 tag in bytes.
pub(crate) const TAG: usize = 16;

/// A symmetric key, in locked memory: wiped when dropped, never printed.
pub(crate) struct Key(Slot);

impl Key {
    /// A fresh key.
    pub(crate) fn random() -> Result<Self, CustodyError> {
        Self::fill(random)
    }

    /// A key from bytes that are the caller's to wipe.
    pub(crate) fn copy(bytes: &[u8; KEY]) -> Result<Self, CustodyError> {
        Self::fill(|own| {
            own.copy_from_slice(bytes);
            Ok(())
        })
    }

    /// HKDF-SHA256 (RFC 5869) of this key.
    pub(crate) fn derive(&self, salt: &[u8], info: &[u8]) -> Result<Self, CustodyError> {
        let expander = Hkdf::<Sha256>::new(Some(salt), self.expose());
        Self::fill(|own| expander.expand(info, own).map_err(|_| CustodyError::failed("derive a key")))
    }

    /// A key written where it stays, so that no copy passes over the stack.
    pub(crate) fn fill(write: impl FnOnce(&mut [u8]) -> Result<(), CustodyError>) -> Result<Self, CustodyError> {
        let mut slot = Slot::take()?;
        let (own, _) = slot.bytes_mut().split_at_mut(KEY);
        write(own)?;
        Ok(Self(slot))
    }

    /// What this key, and no other, commits to together with `salt` (HMAC-SHA256): neither half of the
    /// AEAD commits to its key, so that a record could otherwise open under two.
    pub(crate) fn commitment(&self, salt: &[u8]) -> Result<[u8; 32], CustodyError> {
        Ok(self.mac(salt)?.finalize().into_bytes().into())
    }

    /// True when `commitment` is this key's; in constant time.
    pub(crate) fn commits_to(&self, salt: &[u8], commitment: &[u8; 32]) -> bool {
        self.mac(salt).is_ok_and(|mac| mac.verify_slice(commitment).is_ok())
    }

    /// Encrypts `buffer` in place.
    pub(crate) fn lock(&self, nonce: &[u8; NONCE], aad: &[u8], buffer: &mut [u8]) -> Result<[u8; TAG], CustodyError> {
        let cipher = XChaCha20Poly1305::new(self.expose().into());
        let tag = cipher.encrypt_inout_detached(nonce.into(), aad, buffer.into());
        tag.map(Into::into).map_err(|_| CustodyError::failed("encrypt"))
    }

    /// Decrypts `buffer` in place; `None` when it, `aad` or the key is another. The buffer then holds nothing readable.
    pub(crate) fn unlock(&self, nonce: &[u8; NONCE], aad: &[u8], buffer: &mut [u8], tag: &[u8; TAG]) -> Option<()> {
        let cipher = XChaCha20Poly1305::new(self.expose().into());
        cipher.decrypt_inout_detached(nonce.into(), aad, buffer.into(), tag.into()).ok()
    }

    #[expect(clippy::expect_used, reason = "a fallback instead would be a key that everybody knows")]
    pub(crate) fn expose(&self) -> &[u8; KEY] {
        self.0.bytes().first_chunk().expect("a slot of 64 bytes has a first 32")
    }

    fn mac(&self, salt: &[u8]) -> Result<Hmac<Sha256>, CustodyError> {
        let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(self.expose())
            .map_err(|_| CustodyError::failed("key a MAC"))?;
        mac.update(b"trustd/commit/v1");
        mac.update(salt);
        Ok(mac)
    }
}

/// Fills `bytes` from the operating system's generator.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), CustodyError> {
    getrandom::fill(bytes).map_err(|error| CustodyError::failed(format!("draw random bytes: {error}")))
}

/// Overwrites the stack below the caller, where arithmetic on secrets has left copies.
///
/// Best effort, deep enough for every scheme here: without optimisation Ed25519 reaches 40 KiB down.
#[inline(never)]
pub(crate) fn scrub_stack() {
    let mut below = [0_u8; 96 * 1024];
    std::hint::black_box(&mut below);
}
