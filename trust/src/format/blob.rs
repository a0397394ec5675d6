//! Signatures beside files, as `cosign verify-blob` checks them: `FILE.sig` and `FILE.sigstore.json`.
//!
//! Such a signature is about bytes, not about a name: a file renamed is still signed.

use super::base64;
use super::bundle::{Bundle, Content};
use crate::verify::{self, NotValid};
use crate::{Digest, Malformed, PublicKey, Signable, Signature};

/// The longest `.sig` file that is read, in bytes: the longest signature in base64, wrapped.
pub const SIG_BYTES_MAX: usize = 2048;

/// Why a file's signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "closed set: what a caller can say to a person")]
pub enum NotVerified {
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It is of another file.
    #[error("the signature is of a file with another digest")]
    OtherFile,
    /// It is not by this key, or was changed.
    #[error(transparent)]
    NotValid(#[from] NotValid),
}

/// The content of `FILE.sig`: base64 in one line, without a line break at its end, as cosign writes it.
#[must_use]
pub fn sig_text(signature: &Signature) -> String {
    base64::encode(signature.as_bytes())
}

/// Checks the content of a `FILE.sig`. `file` is the digest that the key's algorithm signs, or the whole file where it
/// signs messages (Ed25519).
///
/// # Errors
/// [`NotVerified`] says why it does not count.
pub fn verify_sig(key: &PublicKey, file: &Signable, sig: &[u8]) -> Result<(), NotVerified> {
    const EXPECTED: Malformed = Malformed::new(".sig file", "one signature in base64, at most 2048 bytes");
    let text = std::str::from_utf8(sig).ok().filter(|text| text.len() <= SIG_BYTES_MAX).ok_or(EXPECTED)?;
    let signature = base64::decode(".sig file", text)?;
    Ok(verify::one(key, file, &signature)?)
}

/// Checks the content of a `FILE.sigstore.json`; `file` as in [`verify_sig`].
///
/// # Errors
/// [`NotVerified`] says why it does not count; an envelope is no signature of a file.
pub fn verify_bundle(key: &PublicKey, file: &Signable, bundle: &[u8]) -> Result<(), NotVerified> {
    let Content::Message(message) = Bundle::read(bundle)?.content else {
        return Err(Malformed::new("sigstore bundle of a file", "a messageSignature").into());
    };
    let same = match file {
        Signable::Digest(digest) => *digest == message.digest,
        Signable::Message(bytes) => Digest::of(message.digest.function(), bytes) == message.digest,
    };
    if !same {
        return Err(NotVerified::OtherFile);
    }
    Ok(verify::one(key, file, &message.signature)?)
}
