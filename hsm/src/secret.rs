//! The secrets that have a name: none prints, clones or compares itself, all are wiped.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretBox};
use trust::Malformed;
use zeroize::Zeroize as _;

/// The key that authenticates and seals the store's rows: 32 bytes from the root KEK and the store's uuid.
pub struct StoreKey(SecretBox<[u8; 32]>);

impl StoreKey {
    /// Takes 32 bytes and wipes `source`.
    #[must_use]
    pub fn take(source: &mut [u8; 32]) -> Self {
        Self(fill(source))
    }

    /// Shows the bytes; expose them for one expression only.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}

/// A passphrase as a person typed it, 1 to 1024 bytes.
pub struct Passphrase(SecretBox<Vec<u8>>);

impl Passphrase {
    /// The longest passphrase, in bytes.
    pub const BYTES_MAX: usize = 1024;

    /// Copies the passphrase and wipes `source`, also when it is refused.
    ///
    /// # Errors
    /// [`Malformed`] when it is empty or longer than [`Passphrase::BYTES_MAX`].
    pub fn take(source: &mut [u8]) -> Result<Self, Malformed> {
        let fits = (1..=Self::BYTES_MAX).contains(&source.len());
        let taken = fits.then(|| Self(SecretBox::new(Box::new(source.to_vec()))));
        source.zeroize();
        taken.ok_or(Malformed::new("passphrase", "1 to 1024 bytes"))
    }

    pub(crate) fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

/// Fills a boxed secret in place, so that no copy passes over the stack.
fn fill(source: &mut [u8; 32]) -> SecretBox<[u8; 32]> {
    let filled = SecretBox::init_with_mut(|bytes: &mut [u8; 32]| bytes.copy_from_slice(source));
    source.zeroize();
    filled
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey(<redacted>)")
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(<redacted>)")
    }
}
