//! The listener of the Notary door: TCP, TLS, HTTP/1.1, each within bounds and a time.
//!
//! Its clients open a connection for each request, so a connection is cheap and short. Whoever finds no place is closed out
//! at once; one address never has all places, nor all of those that a handshake takes.

use std::convert::Infallible;
use std::error::Error as _;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Request;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::patient::Patient;
use super::pool::Pool;
use super::{Answer, NotaryDoor, Visitor};
use crate::metrics::{DoorCounts, Entrance, TurnedAway};
use crate::tls::{Peer, TlsState};

/// From the connection to the end of the TLS handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// For the head of a request, and between two requests.
const HEAD_MAX: Duration = Duration::from_secs(15);
/// How long a connection may live; then its last request is answered.
const CONNECTION_MAX: Duration = Duration::from_secs(300);
/// For requests in flight once the door is shut or a connection's time is over.
const DRAIN_MAX: Duration = Duration::from_secs(7);
/// The longest head of a request, in bytes: a token has up to 16 KiB.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Without a byte of an answer being read, as at the other doors (`Patience::unread`).
///
/// What is held meanwhile is the rest of one answer, at most 8 MiB: of a current file the shelf's own bytes, which all who
/// read it share, and which live on here when the shelf has let them go; of an earlier version, and of a repository that
/// has no place on the shelf, bytes of its own ([`super::unread`] bounds them). Beside it there are 64 KiB in TLS, and what
/// the kernel keeps to send.
const UNREAD_MAX: Duration = Duration::from_secs(60);
/// For what a client still sends when its last answer is written.
const PARTING_MAX: Duration = Duration::from_secs(30);
/// Without a byte of it.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// The most of it that is read.
const THROWN_AWAY_BYTES_MAX: usize = 128 * 1024 * 1024;
/// How much of it is read at a time, in bytes.
const PIECE_BYTES: usize = 16 * 1024;
/// Before the next try, when the machine has no descriptor or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The bound listener.
pub(crate) struct Listener {
    socket: TcpListener,
    door: Arc<NotaryDoor>,
    tls: Arc<TlsState>,
    counts: DoorCounts,
    places: Pool,
    handshakes: Pool,
}

impl Listener {
    /// Binds the listener that the door's configuration names; nothing is served yet.
    pub(crate) async fn bind(door: NotaryDoor, tls: Arc<TlsState>) -> Result<Self> {
        let listen = door.config.tls.listen;
        let socket = TcpListener::bind(listen).await.with_context(|| format!("listen on {listen} for Notary"))?;
        let connections_max = door.config.connections_max;
        Ok(Self {
            socket,
            counts: door.house.metrics().doors().clone(),
            tls,
            places: Pool::of_places(connections_max),
            handshakes: Pool::of_places(connections_max.div_ceil(2)),
            door: Arc::new(door),
        })
    }

    /// Serves until the drain begins, then lets requests in flight end.
    pub(crate) async fn serve(self, drain: CancellationToken) {
        if let Ok(address) = self.socket.local_addr() {
            info!(%address, "Notary");
        }
        let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = drain.cancelled() => break,
            };
            match accepted {
                Ok((stream, address)) => self.welcome(stream, address, &connections, &drain, &cut),
                Err(error) => {
                    self.counts.turned_away(Entrance::Notary, TurnedAway::Accept);
                    warn!(%error, "a connection for Notary was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        connections.close();
        if tokio::time::timeout(DRAIN_MAX, connections.wait()).await.is_err() {
            cut.cancel();
            connections.wait().await;
        }
    }

    fn welcome(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        connections: &TaskTracker,
        drain: &CancellationToken,
        cut: &CancellationToken,
    ) {
        let turned_away = |reason| self.counts.turned_away(Entrance::Notary, reason);
        let address = address.ip().to_canonical();
        let Some(place) = self.places.place(address) else { return turned_away(TurnedAway::Connections) };
        let Some(handshake) = self.handshakes.place(address) else { return turned_away(TurnedAway::Handshakes) };
        let (door, tls, counts) = (Arc::clone(&self.door), Arc::clone(&self.tls), self.counts.clone());
        let (drain, cut) = (drain.clone(), cut.clone());
        connections.spawn(async move {
            let shaken = tokio::select! {
                shaken = tokio::time::timeout(HANDSHAKE_MAX, shake_hands(stream, UNREAD_MAX, &tls)) => shaken,
                () = drain.cancelled() => return,
            };
            drop(handshake);
            let Ok(Ok((stream, peer))) = shaken else {
                debug!("a handshake with a client of Notary failed");
                return counts.turned_away(Entrance::Notary, TurnedAway::Handshake);
            };
            let _connected = counts.connected(Entrance::Notary);
            let visitor = Visitor { address, peer };
            let answer = move |request| {
                let (door, visitor) = (Arc::clone(&door), visitor.clone());
                async move { door.answer(request, &visitor).await }
            };
            let parted = tokio::select! {
                parted = converse(stream, answer, drain) => parted,
                () = cut.cancelled() => Parted::Well,
            };
            if parted == Parted::Stalled {
                counts.turned_away(Entrance::Notary, TurnedAway::Stalled);
            }
            drop(place);
        });
    }
}

async fn shake_hands(
    stream: TcpStream,
    unread_max: Duration,
    tls: &TlsState,
) -> std::io::Result<(TlsStream<Patient>, Option<Arc<Peer>>)> {
    stream.set_nodelay(true)?;
    let stream = TlsAcceptor::from(tls.server()).accept(Patient::new(stream, unread_max)).await?;
    let (_, session) = stream.get_ref();
    let peer = session.peer_certificates().and_then(Peer::new).map(Arc::new);
    Ok((stream, peer))
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parted {
    /// Its client read no further.
    Stalled,
    /// Otherwise.
    Well,
}

/// Answers the requests of a connection, one after the other, until it ends, stalls, or has lived long enough.
async fn converse<F>(
    stream: TlsStream<Patient>,
    answer: impl Fn(Request<Incoming>) -> F,
    drain: CancellationToken,
) -> Parted
where
    F: Future<Output = Answer>,
{
    let has_body = Arc::new(AtomicBool::new(false));
    let last_has_body = Arc::clone(&has_body);
    let service = service_fn(move |request: Request<Incoming>| {
        last_has_body.store(!request.body().is_end_stream(), Ordering::Relaxed);
        let answering = answer(request);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = builder.serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = drain.cancelled() => None,
        () = tokio::time::sleep(CONNECTION_MAX) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            // The request that is in flight is answered, and no other.
            Pin::new(&mut connection).graceful_shutdown();
            tokio::time::timeout(DRAIN_MAX, &mut connection).await.unwrap_or(Ok(()))
        }
    };
    if ended.as_ref().is_err_and(is_stalled) {
        debug!("a client of Notary reads no further");
        // There is nothing to say to it: what it has not read yet is in front.
        return Parted::Stalled;
    }
    // Behind a head that cannot be read may be anything.
    let may_send = has_body.load(Ordering::Relaxed) || ended.as_ref().is_err_and(hyper::Error::is_parse);
    if let Err(error) = ended {
        debug!(%error, "a connection with a client of Notary broke");
    }
    if may_send {
        part(connection.into_parts().io.into_inner()).await;
    }
    Parted::Well
}

/// Whether a connection broke because its client took nothing: in our time ([`Patient`]), or in the kernel's.
fn is_stalled(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == ErrorKind::TimedOut)
}

/// Ends a connection so that its last answer arrives (RFC 9112 §9.6).
///
/// An upload may be answered before it is there. What comes for a socket that is closed already has the kernel reset the
/// connection, and the client loses what it has not read yet. So our half is closed first, and what still comes is thrown
/// away, undeciphered, until the client has closed its own, or a bound is reached.
async fn part(mut stream: TlsStream<Patient>) {
    let parting = async move {
        // Done already, unless something broke.
        if stream.shutdown().await.is_err() {
            return;
        }
        let (mut plain, _) = stream.into_inner();
        let mut piece = vec![0; PIECE_BYTES];
        let mut left = THROWN_AWAY_BYTES_MAX;
        while left > 0 {
            match tokio::time::timeout(SILENCE_MAX, plain.read(&mut piece)).await {
                Ok(Ok(read)) if read > 0 => left = left.saturating_sub(read),
                _ => return,
            }
        }
    };
    // Past the time there is nothing more that could be done for it.
    let _ = tokio::time::timeout(PARTING_MAX, parting).await;
}

#[cfg(test)]
mod tests;
