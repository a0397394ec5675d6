//! A token's PIN, in locked memory.

use std::fmt;

use secrecy::SecretBox;
use zeroize::{Zeroize as _, Zeroizing};

use crate::CustodyError;
use crate::locked::{SLOT, Slot};

/// A user PIN, 1 to 255 bytes, in locked memory: wiped when dropped, never printed.
pub struct Pin {
    slots: Vec<Slot>,
    length: usize,
}

impl Pin {
    /// The longest PIN, in bytes; some vendors put a user's name before a long passphrase.
    pub const BYTES_MAX: usize = 255;

    /// Copies the PIN and wipes `source`, also when it is refused.
    ///
    /// # Errors
    /// [`CustodyError::Refused`] when it is empty, longer than [`Pin::BYTES_MAX`] or has a zero byte;
    /// [`CustodyError::Failed`] when no memory can be locked.
    pub fn take(source: &mut [u8]) -> Result<Self, CustodyError> {
        let fits = (1..=Self::BYTES_MAX).contains(&source.len()) && !source.contains(&0);
        let taken =
            if fits { Self::copy(source) } else { Err(CustodyError::refused("a PIN has 1 to 255 bytes, none zero")) };
        source.zeroize();
        taken
    }

    fn copy(source: &[u8]) -> Result<Self, CustodyError> {
        let slots = source
            .chunks(SLOT)
            .map(|chunk| {
                let mut slot = Slot::take()?;
                slot.bytes_mut().iter_mut().zip(chunk).for_each(|(place, byte)| *place = *byte);
                Ok(slot)
            })
            .collect::<Result<_, CustodyError>>()?;
        Ok(Self { slots, length: source.len() })
    }

    /// Another of the same.
    pub(crate) fn duplicate(&self) -> Result<Self, CustodyError> {
        self.with(Self::copy)
    }

    /// Shows the PIN for the time of `look`, in memory that is wiped after it and does not move before.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        let bytes = self.gather();
        look(&bytes)
    }

    /// The form that the PKCS#11 wrapper takes; it wipes itself.
    pub(crate) fn to_raw(&self) -> SecretBox<Vec<u8>> {
        SecretBox::init_with_mut(|raw: &mut Vec<u8>| {
            raw.reserve_exact(self.length);
            self.bytes().for_each(|byte| raw.push(byte));
        })
    }

    fn gather(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.length));
        self.bytes().for_each(|byte| bytes.push(byte));
        bytes
    }

    fn bytes(&self) -> impl Iterator<Item = u8> {
        self.slots.iter().flat_map(|slot| slot.bytes().iter().copied()).take(self.length)
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_pin_comes_back_whole_and_its_source_is_wiped() {
        for length in [1, 4, 63, 64, 65, 255] {
            let expected: Vec<u8> = (1..=255).take(length).collect();
            let mut source = expected.clone();

            let pin = Pin::take(&mut source).unwrap();

            assert!(source.iter().all(|byte| *byte == 0));
            assert!(pin.with(|bytes| bytes == expected));
            assert!(*pin.to_raw().expose_secret() == expected);
            assert_eq!(format!("{pin:?}"), "Pin(<redacted>)");
        }
    }

    #[test]
    fn an_empty_long_or_binary_pin_is_refused_and_wiped() {
        for mut source in [Vec::new(), vec![1; 256], vec![1, 0, 1]] {
            assert!(Pin::take(&mut source).is_err());
            assert!(source.iter().all(|byte| *byte == 0));
        }
    }
}
