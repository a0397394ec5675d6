//! A secret on its way to whoever holds one private key, unreadable to everybody it passes (HPKE, RFC 9180).
//!
//! Base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305, one
//! message. Whoever opens it must name the same `info`: what the secret is for is
//! bound to it and cannot be exchanged on the way. It says nothing about who sealed
//! it. Opening is not here, for no private key is: custody does it (`trust-hsm`).
//!
//! ```text
//! 32 encapsulated key | n ciphertext | 16 tag
//! ```

use hpke::aead::{AeadTag, ChaCha20Poly1305};
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
pub use hpke::rand_core::{CryptoRng, UnwrapErr};
use hpke::{Deserializable as _, Kem, OpModeS, Serializable as _, single_shot_seal_inout_detached_with_rng};

use crate::Malformed;

/// Length of the public key that is sealed to, in bytes.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// Length of the encapsulated key before the ciphertext, in bytes.
pub const ENCAPSULATED_BYTES: usize = 32;
/// Length of the tag behind the ciphertext, in bytes.
pub const TAG_BYTES: usize = 16;
/// The longest `info`, in bytes.
pub const INFO_BYTES_MAX: usize = 8 * 1024;
/// The longest secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 16 * 1024;
/// The longest envelope, in bytes.
pub const BYTES_MAX: usize = ENCAPSULATED_BYTES + SECRET_BYTES_MAX + TAG_BYTES;

/// Seals `secret` to a public key; it opens under exactly this `info`.
///
/// `random` must be the system's generator: it makes the key of which the ciphertext depends.
///
/// # Errors
/// [`Malformed`] for a public key of small order (RFC 9180 §7.1.4), which everybody could open, and for a
/// secret or an `info` over its bound.
pub fn seal(
    public_key: &[u8; PUBLIC_KEY_BYTES],
    info: &[u8],
    secret: &[u8],
    random: &mut impl CryptoRng,
) -> Result<Vec<u8>, Malformed> {
    const PUBLIC_KEY: Malformed = Malformed::new("public key of an offer", "32 bytes of X25519, not of small order");
    if secret.len() > SECRET_BYTES_MAX {
        return Err(Malformed::new("secret to seal", "at most 16,384 bytes"));
    }
    if info.len() > INFO_BYTES_MAX {
        return Err(Malformed::new("info of an envelope", "at most 8,192 bytes"));
    }
    let recipient = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(public_key).map_err(|_| PUBLIC_KEY)?;
    // Encrypted where it will stay: no copy of the secret is left behind in memory that grew.
    let mut envelope = Vec::with_capacity(ENCAPSULATED_BYTES + secret.len() + TAG_BYTES);
    envelope.extend_from_slice(&[0; ENCAPSULATED_BYTES]);
    envelope.extend_from_slice(secret);
    let (head, body) = envelope.split_at_mut(ENCAPSULATED_BYTES);
    let sealed: Result<(_, AeadTag<ChaCha20Poly1305>), _> =
        single_shot_seal_inout_detached_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &recipient,
            info,
            body.into(),
            &[],
            random,
        );
    match sealed {
        Ok((encapsulated, tag)) => {
            encapsulated.write_exact(head);
            envelope.extend_from_slice(&tag.to_bytes());
            Ok(envelope)
        }
        Err(_) => {
            body.fill(0);
            std::hint::black_box(body);
            Err(PUBLIC_KEY)
        }
    }
}
