//! Randomness for ed25519-zebra's batches: the system's, fetched a page at a time, so that no call of the system
//! stands in what is measured.

use std::convert::Infallible;

use getrandom::rand_core::{TryCryptoRng, TryRng};

const PAGE: usize = 4096;

/// The system's random bytes, some of them fetched before.
#[derive(Debug)]
pub(super) struct Buffered {
    page: [u8; PAGE],
    used: usize,
}

/// A new one, of which nothing was used.
pub(super) fn buffered() -> Buffered {
    Buffered { page: [0; PAGE], used: PAGE }
}

impl TryRng for Buffered {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    #[expect(clippy::expect_used, reason = "a batch has no way to say that the system has no random bytes")]
    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        for byte in to {
            if self.used >= PAGE {
                getrandom::fill(&mut self.page).expect("the system gives random bytes");
                self.used = 0;
            }
            *byte = self.page.get(self.used).copied().unwrap_or_default();
            self.used = self.used.saturating_add(1);
        }
        Ok(())
    }
}

impl TryCryptoRng for Buffered {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_followed_by_another_one() {
        let mut random = buffered();
        let (mut first, mut second) = ([0; PAGE], [0; PAGE]);

        random.try_fill_bytes(&mut first).unwrap();
        random.try_fill_bytes(&mut second).unwrap();

        assert_ne!(first, second);
        assert_ne!(first, [0; PAGE]);
    }
}
