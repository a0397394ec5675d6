//! The crate itself.

use anyhow::Result;
use ed25519_simd::{DalekVerifier, HotKeyCache, VerifyInput};

/// More keys than these are strangers, whom nobody keeps.
const KEPT_MAX: usize = 16;

/// One with its tables, and with those of few keys.
pub(crate) enum Verifier {
    Kept(DalekVerifier<HotKeyCache>),
    Strangers(DalekVerifier),
}

impl Verifier {
    /// For items of so many keys.
    pub(crate) fn new(keys: usize) -> Self {
        if keys <= KEPT_MAX {
            Self::Kept(DalekVerifier::with_cache(HotKeyCache::with_capacity(keys)))
        } else {
            Self::Strangers(DalekVerifier::new())
        }
    }

    /// Whether all of them are good.
    ///
    /// # Errors
    /// Never; other builds have none.
    pub(crate) fn verify<'a>(&mut self, items: impl Iterator<Item = super::Item<'a>>) -> Result<bool> {
        let inputs: Vec<VerifyInput<'a>> =
            items.map(|(public_key, signature, message)| VerifyInput { public_key, signature, message }).collect();
        let mut verdicts = vec![false; inputs.len()];
        match self {
            Self::Kept(verifier) => verifier.verify_batch(&inputs, &mut verdicts),
            Self::Strangers(verifier) => verifier.verify_batch(&inputs, &mut verdicts),
        }
        Ok(verdicts.iter().all(|is_valid| *is_valid))
    }
}
