//! How much of one repository is held at once: a server that lies may go on for ever.

use crate::failure::Failure;

/// The most bytes of one generation with its roots: no daemon takes a longer message, and publishes no longer repository.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// What is left.
#[derive(Debug)]
pub(super) struct Room(usize);

impl Room {
    pub(super) const fn new() -> Self {
        Self(BYTES_MAX)
    }

    /// Takes the room of a file.
    ///
    /// # Errors
    /// Refused where there is not so much.
    pub(super) fn take(&mut self, length_bytes: usize) -> Result<(), Failure> {
        self.0 = self.0.checked_sub(length_bytes).ok_or_else(|| {
            Failure::refused(
                format!("the trust data is longer than {} MiB with all its roots", BYTES_MAX >> 20),
                "whoever owns the repository has to take out what nobody needs; is it the right server?",
            )
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_room_together_and_no_more() {
        let mut room = Room::new();

        for _ in 0..8 {
            room.take(8 * 1024 * 1024).unwrap();
        }
        room.take(0).unwrap();
        assert!(room.take(1).unwrap_err().what().contains("longer than 64 MiB"));
    }
}
