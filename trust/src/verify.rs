//! Verification: of one signature, and of many.
//!
//! Strict where schemes leave room: Ed25519 as `verify_strict` has it (canonical
//! s and R, no small-order point), ECDSA in canonical DER, RSA of the modulus'
//! full length. The algorithm is the key's, never the message's.

pub mod batch;

use aws_lc_rs::digest::{self, SHA256, SHA384};

use crate::public_key::Parsed;
use crate::{HashFunction, MlDsa65Key, PublicKey, Signable};

use batch::Input;

/// Why a signature does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "closed set: the wire has a word for each")]
pub enum NotValid {
    /// The signature has a length that the algorithm never makes. DER that is not canonical is [`NotValid::Wrong`].
    #[error("signature has not the length that the key's algorithm makes")]
    Encoding,
    /// The key's algorithm takes no such input: a digest for Ed25519, or of another hash function.
    #[error("the key's algorithm takes no such input")]
    Input,
    /// The equation does not hold.
    #[error("signature does not fit the key and the message")]
    Wrong,
}

/// Verifies `signature` over `input` with `key`.
///
/// # Errors
/// [`NotValid`] says why not.
pub fn one(key: &PublicKey, input: &Signable, signature: &[u8]) -> Result<(), NotValid> {
    borrowed(key, Input::from(input), signature)
}

/// The one implementation behind [`one`] and [`batch::chunk`].
fn borrowed(key: &PublicKey, input: Input<'_>, signature: &[u8]) -> Result<(), NotValid> {
    if let Input::Digest(digest) = input
        && key.algorithm().prehash() != Some(digest.function())
    {
        return Err(NotValid::Input);
    }
    let (length, algorithm) = (signature.len(), key.algorithm());
    if length == 0
        || length > algorithm.signature_bytes_max()
        || algorithm.signature_bytes().is_some_and(|bytes| length != bytes)
    {
        return Err(NotValid::Encoding);
    }
    match (key.parsed(), input) {
        (Parsed::Ed25519(key), Input::Message(message)) => {
            let signature = ed25519_dalek::Signature::from_slice(signature).map_err(|_| NotValid::Encoding)?;
            key.verify_strict(message, &signature).map_err(|_| NotValid::Wrong)
        }
        (Parsed::Ed25519(_), Input::Digest(_)) => Err(NotValid::Input),
        (Parsed::AwsLc(key), Input::Message(message)) => {
            key.verify_sig(message, signature).map_err(|_| NotValid::Wrong)
        }
        (Parsed::AwsLc(key), Input::Digest(digest)) => {
            let function = match digest.function() {
                HashFunction::Sha256 => &SHA256,
                HashFunction::Sha384 => &SHA384,
            };
            let digest = digest::Digest::import_less_safe(digest.as_bytes(), function).map_err(|_| NotValid::Input)?;
            key.verify_digest_sig(&digest, signature).map_err(|_| NotValid::Wrong)
        }
    }
}

/// The same under an ML-DSA-65 key, with an empty context (FIPS 204 §5.3).
fn ml_dsa_65(key: &MlDsa65Key, input: Input<'_>, signature: &[u8]) -> Result<(), NotValid> {
    let Input::Message(message) = input else { return Err(NotValid::Input) };
    if signature.len() != MlDsa65Key::SIGNATURE_BYTES {
        return Err(NotValid::Encoding);
    }
    key.parsed().verify_sig(message, signature).map_err(|_| NotValid::Wrong)
}
