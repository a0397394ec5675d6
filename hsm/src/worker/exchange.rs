//! One request and one answer on a stream, and how long the other side may take.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use zeroize::Zeroizing;

use super::frame;
use super::message::Control;

/// Room for any control message, so that a passphrase is written into memory that does not move.
const CONTROL_BYTES: usize = 64 * 1024;

/// One request, one answer. `waits_on` is asked when the patience is over and nothing of the answer has come.
pub(super) fn exchange(
    stream: &mut UnixStream,
    outgoing: &[u8],
    incoming: &mut Vec<u8>,
    waits_on: impl FnMut() -> bool,
) -> io::Result<()> {
    frame::write(stream, outgoing)?;
    answer(stream, incoming, waits_on)
}

/// The answer to a request that was written by other means.
pub(super) fn answer(
    stream: &mut UnixStream,
    incoming: &mut Vec<u8>,
    waits_on: impl FnMut() -> bool,
) -> io::Result<()> {
    if frame::read_patiently(stream, incoming, waits_on)? { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Sets how long the other side may keep us waiting.
pub(super) fn limit(stream: &UnixStream, patience: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))
}

/// One request and its answer over the control connection, both in memory that is wiped.
pub(super) fn converse(
    control: &mut UnixStream,
    request: &Control<'_>,
    patience: Duration,
    waits_on: impl FnMut() -> bool,
) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut outgoing = Zeroizing::new(Vec::with_capacity(CONTROL_BYTES));
    let mut incoming = Zeroizing::new(Vec::with_capacity(CONTROL_BYTES));
    frame::encode(request, &mut outgoing)?;
    limit(control, patience)?;
    exchange(control, &outgoing, &mut incoming, waits_on)?;
    Ok(incoming)
}
