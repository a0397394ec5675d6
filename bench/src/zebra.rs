//! ed25519-zebra's batch verification: all or nothing, by rules of its own (ZIP 215). It is there with the feature `peers`
//! only.

#[cfg(feature = "peers")]
mod random;

use anyhow::Result;
use ed25519_dalek::Signature;

/// Whether this build has it.
pub(crate) const IS_HERE: bool = cfg!(feature = "peers");
/// What is said of crates that this build has not.
pub(crate) const WITHOUT: &str = "trust-bench was built without its feature `peers`";

/// A public key, a signature and the message.
type Item<'a> = ([u8; 32], Signature, &'a [u8]);

/// Whether all of them are good.
///
/// # Errors
/// In a build without it.
#[cfg(feature = "peers")]
pub(crate) fn verify_batch<'a>(items: impl Iterator<Item = Item<'a>>) -> Result<bool> {
    let mut batch = ed25519_zebra::batch::Verifier::new();
    for (key, signature, message) in items {
        batch.queue((ed25519_zebra::VerificationKeyBytes::from(key), signature, message));
    }
    Ok(batch.verify(random::buffered()).is_ok())
}

/// Whether all of them are good.
///
/// # Errors
/// In a build without it.
#[cfg(not(feature = "peers"))]
pub(crate) fn verify_batch<'a>(_items: impl Iterator<Item = Item<'a>>) -> Result<bool> {
    anyhow::bail!(WITHOUT)
}

#[cfg(all(test, feature = "peers"))]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    #[test]
    fn one_bad_signature_spoils_the_batch() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let messages: Vec<[u8; 32]> = (0..20).map(|number| [number; 32]).collect();
        let public = key.verifying_key().to_bytes();
        let mut signatures: Vec<Signature> = messages.iter().map(|message| key.sign(message)).collect();
        let verify = |signatures: &[Signature]| {
            let items = signatures.iter().zip(&messages);
            verify_batch(items.map(|(signature, message)| (public, *signature, message.as_slice()))).unwrap()
        };

        assert!(verify(&signatures));
        signatures.swap(3, 4);
        assert!(!verify(&signatures));
    }
}
