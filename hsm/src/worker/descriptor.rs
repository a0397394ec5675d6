//! Descriptors over a stream (`SCM_RIGHTS`): how sessions reach a worker that is already running.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// Sends one frame together with one descriptor.
pub(super) fn send(stream: &UnixStream, frame: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    let sent = sendmsg(stream, &[IoSlice::new(frame)], &mut ancillary, SendFlags::NOSIGNAL)?;
    if sent == frame.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// A stream that keeps the descriptors that come with what is read.
pub(super) struct Receiver {
    stream: UnixStream,
    received: VecDeque<OwnedFd>,
}

impl Receiver {
    /// The most descriptors that wait to be taken; more are closed.
    const WAITING_MAX: usize = 4;

    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, received: VecDeque::new() }
    }

    /// The stream, for writing.
    pub(super) fn stream(&mut self) -> &mut UnixStream {
        &mut self.stream
    }

    /// The oldest descriptor that came.
    pub(super) fn descriptor(&mut self) -> Option<OwnedFd> {
        self.received.pop_front()
    }
}

impl Read for Receiver {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let message = recvmsg(&self.stream, &mut [IoSliceMut::new(buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        for control in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = control {
                let room = Self::WAITING_MAX.saturating_sub(self.received.len());
                self.received.extend(descriptors.take(room));
            }
        }
        Ok(message.bytes)
    }
}
