//! A client's socket, given up once the client has taken nothing of an answer for too long.
//!
//! It lies below TLS, where bytes are what the client takes: above it a record of 16 KiB is one step. Who reads slowly is
//! served; for how long, the time of the whole connection says. What a client sends, or does not, is not watched here.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// The socket, and since when it takes nothing.
#[derive(Debug)]
pub(super) struct Patient {
    socket: TcpStream,
    unread_max: Duration,
    /// Runs while there is something to write and the socket takes none of it.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    /// Gives up a client that has taken nothing for `unread_max`.
    pub(super) const fn new(socket: TcpStream, unread_max: Duration) -> Self {
        Self { socket, unread_max, waiting: None }
    }

    /// What came of a try to write, or, past the time, of one `more`. What is past its time once is so for ever.
    fn watched(
        &mut self,
        cx: &mut Context<'_>,
        tried: Poll<io::Result<usize>>,
        more: impl FnOnce(&TcpStream) -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if tried.is_ready() {
            self.waiting = None;
            return tried;
        }
        let unread_max = self.unread_max;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(unread_max)));
        ready!(waiting.as_mut().poll(cx));
        // The kernel tells of room only when a third of its buffer is free, and has room as soon as the client has taken
        // anything: on a slow link the time may well be over in between.
        match more(&self.socket) {
            Ok(wrote) => {
                self.waiting = None;
                Poll::Ready(Ok(wrote))
            }
            Err(_) => {
                // Closed, the kernel forgets what it still has to send, in place of offering it for minutes. Where that
                // cannot be had, it offers it.
                let _ = rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
                Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "nothing of an answer was read in time")))
            }
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let tried = Pin::new(&mut this.socket).poll_write(cx, bytes);
        this.watched(cx, tried, |socket| rustix::io::write(socket, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let tried = Pin::new(&mut this.socket).poll_write_vectored(cx, slices);
        this.watched(cx, tried, |socket| rustix::io::writev(socket, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
