//! ed25519-simd's verification: a verdict for each item, by rules that are those of dalek's `verify_strict` in its words. It
//! is built for processors with AVX-512 IFMA alone, so only a build of this program for such has it, with the feature `peers`;
//! that build is asked by another one (`--beside`).

#[cfg(all(feature = "peers", target_arch = "x86_64", target_feature = "avx512ifma"))]
mod here;

#[cfg(not(all(feature = "peers", target_arch = "x86_64", target_feature = "avx512ifma")))]
mod here {
    use anyhow::{Result, bail};

    /// Nothing.
    pub(crate) struct Verifier;

    impl Verifier {
        /// None.
        pub(crate) const fn new(_keys: usize) -> Self {
            Self
        }

        /// Whether all of them are good.
        ///
        /// # Errors
        /// Always.
        pub(crate) fn verify<'a>(&mut self, _items: impl Iterator<Item = super::Item<'a>>) -> Result<bool> {
            bail!("this build has no ed25519-simd")
        }
    }
}

pub(crate) use here::Verifier;

/// Whether this build has it.
pub(crate) const IS_HERE: bool = cfg!(all(feature = "peers", target_arch = "x86_64", target_feature = "avx512ifma"));

/// A public key, a signature and the message.
type Item<'a> = ([u8; 32], [u8; 64], &'a [u8]);
