//! Frames on a stream: a little-endian `u32` length, then that many bytes of postcard, at most 8 MiB.

use std::io::{self, Read, Write};

use serde::Serialize;

/// The longest frame, in bytes, without its length.
pub(super) const BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a buffer keeps allocated between frames, in bytes.
const KEPT_MAX: usize = 256 * 1024;

/// Replaces `buffer` by the frame of `message`.
///
/// `buffer` does not grow for a message that fits its capacity, so that a secret leaves no copy behind.
pub(super) fn encode(message: &impl Serialize, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    buffer.extend_from_slice(&[0; 4]);
    let taken = std::mem::take(buffer);
    *buffer = postcard::to_extend(message, taken).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let length = buffer.len().saturating_sub(4);
    let (header, _) = buffer.split_first_chunk_mut::<4>().ok_or(io::ErrorKind::InvalidData)?;
    match u32::try_from(length) {
        Ok(encoded) if length <= BYTES_MAX => *header = encoded.to_le_bytes(),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame longer than 8 MiB")),
    }
    Ok(())
}

/// Writes a frame that [`encode`] made.
pub(super) fn write(stream: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    stream.write_all(frame)
}

/// Replaces `buffer` by the payload of the next frame. `Ok(false)` when the stream ended before one began.
pub(super) fn read(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<bool> {
    read_patiently(stream, buffer, || false)
}

/// The same, and asks `waits_on` each time that the stream's timeout passes before a frame begins.
pub(super) fn read_patiently(
    stream: &mut impl Read,
    buffer: &mut Vec<u8>,
    mut waits_on: impl FnMut() -> bool,
) -> io::Result<bool> {
    buffer.clear();
    buffer.shrink_to(KEPT_MAX);
    let mut header = [0; 4];
    match read_some(stream, &mut header, &mut waits_on)? {
        0 => return Ok(false),
        some => stream.read_exact(header.get_mut(some..).unwrap_or_default())?,
    }
    let length = usize::try_from(u32::from_le_bytes(header)).map_err(|_| io::ErrorKind::InvalidData)?;
    if length > BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame longer than 8 MiB"));
    }
    buffer.resize(length, 0);
    stream.read_exact(buffer)?;
    Ok(true)
}

/// One read that a signal does not disturb.
fn read_some(stream: &mut impl Read, bytes: &mut [u8], waits_on: &mut impl FnMut() -> bool) -> io::Result<usize> {
    loop {
        match stream.read(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) && waits_on() => {
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_as_it_was_written() {
        let mut frame = Vec::new();
        encode(&(7_u32, "seven"), &mut frame).unwrap();

        let mut payload = Vec::new();
        assert!(read(&mut frame.as_slice(), &mut payload).unwrap());

        assert_eq!(postcard::from_bytes::<(u32, &str)>(&payload).unwrap(), (7, "seven"));
    }

    #[test]
    fn a_frame_longer_than_the_bound_is_refused_before_it_is_read() {
        let header = u32::try_from(BYTES_MAX + 1).unwrap().to_le_bytes();

        let error = read(&mut header.as_slice(), &mut Vec::new()).unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_message_longer_than_the_bound_is_refused_before_it_is_written() {
        let error = encode(&vec![0_u8; BYTES_MAX + 1], &mut Vec::new()).unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_truncated_frame_is_an_error_and_an_ended_stream_is_none() {
        let mut frame = Vec::new();
        encode(&vec![1_u8; 100], &mut frame).unwrap();

        for length in 1..frame.len() {
            assert!(read(&mut frame.get(..length).unwrap(), &mut Vec::new()).is_err(), "{length} bytes");
        }
        assert!(!read(&mut io::empty(), &mut Vec::new()).unwrap());
    }

    #[test]
    fn a_buffer_with_room_is_not_moved() {
        let mut buffer = Vec::with_capacity(4096);
        let place = buffer.as_ptr();

        encode(&vec![7_u8; 1024], &mut buffer).unwrap();

        assert_eq!(buffer.as_ptr(), place);
    }
}
