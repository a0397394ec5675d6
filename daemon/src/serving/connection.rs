//! One connection: HTTP/2 until the peer leaves, is idle, stalls, or the daemon drains.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::MissedTickBehavior;
use tracing::debug;

use super::Patience;
use super::accept::Until;
use super::meter::{Meter, Pulse, Verdict};
use super::request;
use super::rooms::Rooms;
use super::share::Share;
use crate::identity::Caller;
use crate::metrics::{Entrance, TurnedAway};

/// Requests at once on one connection; a client waits before it opens more (RFC 9113 §5.1.2).
const STREAMS_MAX: u32 = 256;
/// Names and values of one request's metadata, in bytes.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// What a peer may send ahead on one stream, and on all of a connection together, in bytes.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// What waits to be sent on one stream, in bytes.
const SEND_BYTES_MAX: usize = 256 * 1024;
/// Streams a peer reset before we looked at them (CVE-2023-44487).
const RESETS_MAX: usize = 64;

/// Who is on the other side of a connection, for all its requests.
pub(super) struct Visitor {
    pub(super) caller: Caller,
    pub(super) share: Arc<Share>,
    pub(super) rooms: Arc<Rooms>,
    pub(super) pulse: Arc<Pulse>,
}

impl Visitor {
    pub(super) fn new(caller: Caller, share: Arc<Share>, rooms: Arc<Rooms>) -> Arc<Self> {
        Arc::new(Self { caller, share, rooms, pulse: Arc::new(Pulse::new()) })
    }

    /// Which door it came through.
    pub(super) const fn door(&self) -> Entrance {
        if self.caller.is_local() { Entrance::Unix } else { Entrance::Tls }
    }
}

/// Answers every request of a connection until it ends.
pub(super) async fn converse<S>(stream: S, visitor: Arc<Visitor>, until: Until)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (patience, pulse) = (visitor.rooms.patience, Arc::clone(&visitor.pulse));
    let (counts, door) = (visitor.rooms.counts.clone(), visitor.door());
    let _connected = counts.connected(door);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let visitor = Arc::clone(&visitor);
        async move { Ok::<_, Infallible>(request::answer(visitor, request).await) }
    });
    let io = TokioIo::new(Meter::new(stream, Arc::clone(&pulse)));
    let mut connection = pin!(http2(&patience).serve_connection(io, service));
    let (mut drained, mut cut) = (pin!(until.drain.cancelled()), pin!(until.cut.cancelled()));
    let mut dismissed = pin!(pulse.dismissed.cancelled());
    let mut tick = tokio::time::interval(patience.tick);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut leaving = false;
    loop {
        let goodbye = tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(%error, "a connection broke");
                }
                if pulse.is_flooded() {
                    counts.turned_away(door, TurnedAway::Flood);
                }
                return;
            }
            () = &mut cut => return,
            () = &mut drained, if !leaving => true,
            () = &mut dismissed, if !leaving => true,
            _ = tick.tick() => match pulse.verdict(&patience) {
                Verdict::Stay => false,
                Verdict::Idle => true,
                Verdict::Stalled => {
                    debug!("a connection stalled");
                    counts.turned_away(door, TurnedAway::Stalled);
                    return;
                }
            },
        };
        if goodbye && !leaving {
            // GOAWAY: what is in flight ends, nothing new begins (RFC 9113 §6.8).
            connection.as_mut().graceful_shutdown();
            leaving = true;
        }
    }
}

fn http2(patience: &Patience) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(patience.keepalive)
        .keep_alive_timeout(patience.keepalive)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES_MAX);
    builder
}
