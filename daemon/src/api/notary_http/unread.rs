//! Answers that were read from the store for one reader alone, and that he has not taken yet: all together have a bound.
//!
//! Current files are on the shelf, and whoever reads them shares them. An older one is read for each who asks, and is held
//! until the last of it is sent: whoever asks much and reads nothing would have the daemon hold as much as he likes.

use std::net::IpAddr;

use bytes::Bytes;

use super::pool::{Held, Pool};
use super::refusal::NotServed;

/// What all of them hold, in bytes: eight of the longest files.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// They are counted in units of so many bytes.
const UNIT_BYTES: usize = 1024;

/// Those of one door.
#[derive(Debug)]
pub(super) struct Unread(Pool);

/// The bytes of an answer, and their place.
struct Answered {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Answered {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Unread {
    pub(super) fn new() -> Self {
        let units = BYTES_MAX / UNIT_BYTES;
        Self(Pool::new(units, units / 2))
    }

    /// The same bytes, which have their place until they are dropped.
    ///
    /// # Errors
    /// [`NotServed::Busy`] where what others, or the same address, have not read leaves no room for them.
    pub(super) fn hold(&self, bytes: Bytes, address: IpAddr) -> Result<Bytes, NotServed> {
        let mut held = self.0.open(address).ok_or(NotServed::Busy)?;
        held.grow_to(bytes.len().div_ceil(UNIT_BYTES)).ok_or(NotServed::Busy)?;
        Ok(Bytes::from_owner(Answered { bytes, _held: held }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_address_does_not_read_is_bounded_and_leaves_room_for_others() {
        let unread = Unread::new();
        let long = || Bytes::from(vec![7; 8 * 1024 * 1024]);
        let [greedy, other] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());

        let kept: Vec<Bytes> = (0..8).map_while(|_| unread.hold(long(), greedy).ok()).collect();

        assert_eq!(kept.len(), 4);
        assert_eq!(unread.hold(long(), other).unwrap(), long());
        // A part of it that is sent already makes no room; the end of it does.
        let mut rest = kept;
        let part = rest[0].split_to(1024);
        assert!(unread.hold(long(), greedy).is_err());
        rest.remove(0);
        assert!(unread.hold(long(), greedy).is_err());
        drop(part);
        assert!(unread.hold(long(), greedy).is_ok());
    }
}
