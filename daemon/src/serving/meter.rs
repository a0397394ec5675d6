//! A connection's bytes on their way, watched: a peer that begins and does not go on, or talks without asking, is found out.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Patience;
use super::frames::{Frames, Progress};

/// No moment: nothing is waited for.
const NEVER: u64 = 0;
/// So many pieces are looked after before those that were written are forgotten.
const PIECES_MAX: usize = 1024;

/// What is known of a connection while it lasts. Times are milliseconds since it began, from 1.
#[derive(Debug)]
pub(super) struct Pulse {
    began: Instant,
    /// When the frame began that is not complete, or [`NEVER`].
    frame_began_ms: AtomicU64,
    requests: AtomicUsize,
    last_request_ms: AtomicU64,
    unread: Mutex<Vec<Weak<HandedOut>>>,
    flooded: AtomicBool,
    /// Cancelled when this peer is not welcome any more.
    pub(super) dismissed: CancellationToken,
}

/// What to do about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is well.
    Stay,
    /// Nobody uses it: say goodbye.
    Idle,
    /// It is held open by a peer that does not go on: cut it.
    Stalled,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            // The preface is waited for from the beginning.
            frame_began_ms: AtomicU64::new(1),
            requests: AtomicUsize::new(0),
            last_request_ms: AtomicU64::new(1),
            unread: Mutex::new(Vec::new()),
            flooded: AtomicBool::new(false),
            dismissed: CancellationToken::new(),
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// A request is at work until the guard is dropped.
    pub(super) fn request(self: &Arc<Self>) -> AtWork {
        self.requests.fetch_add(1, Ordering::Relaxed);
        AtWork(Arc::clone(self))
    }

    /// Whether this peer talked without asking for anything.
    pub(super) fn is_flooded(&self) -> bool {
        self.flooded.load(Ordering::Relaxed)
    }

    /// A piece of an answer is handed to HTTP/2, and is dropped with the mark when it was written to the peer.
    pub(super) fn hand_out(&self) -> Arc<HandedOut> {
        let piece = Arc::new(HandedOut { at_ms: self.now_ms() });
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        if unread.len() >= PIECES_MAX {
            unread.retain(|piece| piece.strong_count() > 0);
        }
        unread.push(Arc::downgrade(&piece));
        piece
    }

    /// What to do now.
    pub(super) fn verdict(&self, patience: &Patience) -> Verdict {
        let now_ms = self.now_ms();
        let longer = |since_ms: u64, limit: Duration| {
            since_ms != NEVER && u128::from(now_ms.saturating_sub(since_ms)) > limit.as_millis()
        };
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        unread.retain(|piece| piece.strong_count() > 0);
        let unread = unread.iter().filter_map(Weak::upgrade).any(|piece| longer(piece.at_ms, patience.unread));
        if unread || longer(self.frame_began_ms.load(Ordering::Relaxed), patience.frame) {
            return Verdict::Stalled;
        }
        let at_rest = self.requests.load(Ordering::Relaxed) == 0;
        if at_rest && longer(self.last_request_ms.load(Ordering::Relaxed), patience.idle) {
            return Verdict::Idle;
        }
        Verdict::Stay
    }
}

/// A request of this connection is at work.
#[derive(Debug)]
pub(super) struct AtWork(Arc<Pulse>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.last_request_ms.store(self.0.now_ms(), Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A piece of an answer that the peer has not taken yet.
#[derive(Debug)]
pub(super) struct HandedOut {
    at_ms: u64,
}

/// A stream whose frames are counted.
#[derive(Debug)]
pub(super) struct Meter<S> {
    stream: S,
    frames: Frames,
    pulse: Arc<Pulse>,
}

impl<S> Meter<S> {
    pub(super) const fn new(stream: S, pulse: Arc<Pulse>) -> Self {
        Self { stream, frames: Frames::new(), pulse }
    }

    fn account(&mut self, bytes: &[u8]) -> io::Result<()> {
        let now_ms = self.pulse.now_ms();
        let began = &self.pulse.frame_began_ms;
        match self.frames.read(bytes, now_ms) {
            Progress::Whole => began.store(NEVER, Ordering::Relaxed),
            Progress::Begun => began.store(now_ms, Ordering::Relaxed),
            Progress::Same if began.load(Ordering::Relaxed) == NEVER => began.store(now_ms, Ordering::Relaxed),
            Progress::Same => {}
            Progress::Flood => {
                self.pulse.flooded.store(true, Ordering::Relaxed);
                return Err(io::Error::other("more frames without a request than allowed"));
            }
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Meter<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let (_, new) = buffer.filled().split_at_checked(before).unwrap_or_default();
        Poll::Ready(if new.is_empty() { Ok(()) } else { this.account(new) })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Meter<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        this.frames.wrote(wrote);
        Poll::Ready(Ok(wrote))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, slices))?;
        this.frames.wrote(wrote);
        Poll::Ready(Ok(wrote))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
