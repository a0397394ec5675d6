//! Private keys in this process' memory, sealed at rest.

use std::path::Path;

use crate::{CustodyError, PassphraseCost, RootSource, Unsealed};

/// The custodian that makes, seals and uses keys in its own process.
///
/// In production only the worker process holds one; tests and `trustd init` mount it directly.
/// Implements [`crate::Custodian`] and [`crate::KeyRing`]; starts sealed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SoftwareCustodian(());

impl SoftwareCustodian {
    /// Stands before the ring at `ring`; keeps at most `opened_keys_max` opened keys.
    #[must_use]
    pub fn new(ring: &Path, opened_keys_max: usize) -> Self {
        let _ = (ring, opened_keys_max);
        Self(())
    }
}

/// Makes the KEK ring of a new store, mode 0600, durably, with one KEK version.
///
/// `cost` counts for a passphrase only; a root key file must exist already.
///
/// # Errors
/// [`CustodyError::Refused`] when the ring exists, the secret's file is loose, or the cost out of bounds.
pub fn init_ring(
    ring: &Path,
    store: [u8; 16],
    root: RootSource,
    cost: PassphraseCost,
) -> Result<Unsealed, CustodyError> {
    let _ = (ring, store, root, cost);
    Err(CustodyError::Sealed)
}

/// Makes a root key file: 32 random bytes, mode 0600, durably.
///
/// # Errors
/// [`CustodyError::Refused`] when something is there already.
pub fn create_root_file(path: &Path) -> Result<(), CustodyError> {
    let _ = path;
    Err(CustodyError::Sealed)
}
