//! One frame: length, checksum, entry.

use std::io;

use trust::tlog::ENTRY_BYTES_MAX;

/// Length and checksum.
pub(super) const HEADER_BYTES: usize = 8;

pub(super) fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, after) = bytes.split_first_chunk::<4>()?;
    let (checksum, after) = after.split_first_chunk::<4>()?;
    let length_bytes = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if length_bytes == 0 || length_bytes > ENTRY_BYTES_MAX {
        return None;
    }
    let (entry, after) = after.split_at_checked(length_bytes)?;
    (checksum_of(*length, entry).to_le_bytes() == *checksum).then_some((entry, after))
}

pub(super) fn read_frame(reader: &mut impl io::Read) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; HEADER_BYTES];
    match reader.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let [a, b, c, d, ..] = head;
    let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length > ENTRY_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame that is too long"));
    }
    let mut entry = vec![0; length];
    match reader.read_exact(&mut entry) {
        // The writer is in the middle of this one.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    if header(&entry) == head {
        Ok(Some(entry))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "a damaged frame"))
    }
}

pub(super) fn header(entry: &[u8]) -> [u8; HEADER_BYTES] {
    let length = u32::try_from(entry.len()).unwrap_or(u32::MAX).to_le_bytes();
    let checksum = checksum_of(length, entry).to_le_bytes();
    let mut header = [0; HEADER_BYTES];
    for (place, byte) in header.iter_mut().zip(length.into_iter().chain(checksum)) {
        *place = byte;
    }
    header
}

fn checksum_of(length: [u8; 4], entry: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), entry)
}
