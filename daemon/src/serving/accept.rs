//! The accept loop: from a connection to a caller, within bounds and a time. Whoever finds no place is turned away at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};
use trust::Principal;

use super::connection::{Visitor, converse};
use super::rooms::Rooms;
use super::share::{self, Taken};
use super::socket::Socket;
use crate::identity::Caller;
use crate::metrics::{DoorCounts, Entrance, TurnedAway};
use crate::tls::{ALPN, Peer, TlsState};

/// Before the next try, when the machine has no descriptor or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// At most one line about strangers in this time, per door.
const QUIET: Duration = Duration::from_secs(10);

/// When to stop.
#[derive(Debug, Clone)]
pub(super) struct Until {
    /// No new work.
    pub(super) drain: CancellationToken,
    /// No work at all.
    pub(super) cut: CancellationToken,
}

/// The Unix socket.
pub(super) struct UnixDoor {
    socket: Socket,
    rooms: Arc<Rooms>,
    places: Arc<Semaphore>,
    log: Arc<Quietly>,
}

impl UnixDoor {
    pub(super) fn new(socket: Socket, rooms: Arc<Rooms>) -> Self {
        let log = Arc::new(Quietly::new(Entrance::Unix, rooms.counts.clone()));
        Self { socket, places: rooms.places(), rooms, log }
    }

    /// Serves until the drain begins; connections live on in `connections`.
    pub(super) async fn serve(self, connections: &TaskTracker, until: &Until) {
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.listener.accept() => accepted,
                () = until.drain.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => self.welcome(stream, connections, until),
                Err(error) => pause(&error, &self.log).await,
            }
        }
    }

    fn welcome(&self, stream: UnixStream, connections: &TaskTracker, until: &Until) {
        let peer = match stream.peer_cred() {
            Ok(peer) => peer,
            Err(error) => return self.log.say(TurnedAway::Unauthenticated, &error),
        };
        let share = self.rooms.shares.get(&Principal::LocalUid(peer.uid()));
        let Some(place) = share::take(&self.places, &share.connections) else {
            return self.log.say(TurnedAway::Connections, &"connections_max");
        };
        let caller = Caller::Local { uid: peer.uid(), pid: peer.pid() };
        let visitor = Visitor::new(caller, share, Arc::clone(&self.rooms));
        connections.spawn(keep(place, converse(stream, visitor, until.clone())));
    }
}

/// TCP with TLS.
pub(super) struct TlsDoor {
    listener: TcpListener,
    tls: Arc<TlsState>,
    rooms: Arc<Rooms>,
    places: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    log: Arc<Quietly>,
}

impl TlsDoor {
    pub(super) fn new(listener: TcpListener, tls: Arc<TlsState>, rooms: Arc<Rooms>) -> Self {
        let (places, handshakes) = (rooms.places(), rooms.handshakes());
        let log = Arc::new(Quietly::new(Entrance::Tls, rooms.counts.clone()));
        Self { listener, tls, rooms, places, handshakes, log }
    }

    /// As [`UnixDoor::serve`].
    pub(super) async fn serve(self, connections: &TaskTracker, until: &Until) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = until.drain.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => self.welcome(stream, connections, until),
                Err(error) => pause(&error, &self.log).await,
            }
        }
    }

    fn welcome(&self, stream: TcpStream, connections: &TaskTracker, until: &Until) {
        let Ok(handshake) = Arc::clone(&self.handshakes).try_acquire_owned() else {
            return self.log.say(TurnedAway::Handshakes, &"half of connections_max");
        };
        let (rooms, places, tls) = (Arc::clone(&self.rooms), Arc::clone(&self.places), Arc::clone(&self.tls));
        let (log, until) = (Arc::clone(&self.log), until.clone());
        connections.spawn(async move {
            let shaken = tokio::select! {
                shaken = tokio::time::timeout(rooms.patience.handshake, shake_hands(stream, &tls)) => shaken,
                () = until.drain.cancelled() => return,
            };
            drop(handshake);
            let (stream, peer) = match shaken {
                Ok(Ok(shaken)) => shaken,
                Ok(Err(error)) => return log.say(TurnedAway::Handshake, &error),
                Err(_) => return log.say(TurnedAway::Handshake, &"not in time"),
            };
            let peer = Arc::new(peer);
            let caller = Caller::Certified(Arc::clone(&peer));
            let principal = match (rooms.identify)(&caller) {
                Ok(principal) => principal,
                Err(fault) => return log.say(TurnedAway::Unauthenticated, &fault),
            };
            let share = rooms.shares.get(&principal);
            let Some(place) = share::take(&places, &share.connections) else {
                return log.say(TurnedAway::Connections, &"connections_max");
            };
            let visitor = Visitor::new(caller, share, rooms);
            keep(place, converse(stream, visitor, until)).await;
        });
    }
}

/// TLS with a client certificate, and HTTP/2 inside; nothing less.
async fn shake_hands(stream: TcpStream, tls: &TlsState) -> io::Result<(TlsStream<TcpStream>, Peer)> {
    stream.set_nodelay(true)?;
    let stream = TlsAcceptor::from(tls.server()).accept(stream).await?;
    let (_, session) = stream.get_ref();
    if session.alpn_protocol() != Some(ALPN) {
        return Err(io::Error::other("the client does not ask for h2 (ALPN)"));
    }
    // The verifier demands one; this would be a fault of ours.
    let peer = session.peer_certificates().and_then(Peer::new);
    let peer = peer.ok_or_else(|| io::Error::other("a handshake without a client certificate"))?;
    Ok((stream, peer))
}

/// A place is taken as long as the conversation lasts.
async fn keep(place: Taken, conversation: impl Future<Output = ()>) {
    conversation.await;
    drop(place);
}

/// A connection that the kernel could not hand over; the listener itself is well.
async fn pause(error: &io::Error, log: &Quietly) {
    log.say(TurnedAway::Accept, error);
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Counts who is turned away, and logs it so that strangers cannot fill the log.
struct Quietly {
    door: Entrance,
    counts: DoorCounts,
    began: Instant,
    next_ms: AtomicU64,
    unsaid: AtomicU64,
}

impl Quietly {
    fn new(door: Entrance, counts: DoorCounts) -> Self {
        Self { door, counts, began: Instant::now(), next_ms: AtomicU64::new(0), unsaid: AtomicU64::new(0) }
    }

    fn say(&self, reason: TurnedAway, why: &dyn std::fmt::Display) {
        self.counts.turned_away(self.door, reason);
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let next_ms = self.next_ms.load(Ordering::Relaxed);
        let quiet_ms = u64::try_from(QUIET.as_millis()).unwrap_or(u64::MAX);
        let ours = now_ms >= next_ms
            && self
                .next_ms
                .compare_exchange(next_ms, now_ms.saturating_add(quiet_ms), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if ours {
            let unsaid = self.unsaid.swap(0, Ordering::Relaxed);
            warn!(door = self.door.name(), reason = reason.name(), %why, unsaid, "turned away");
        } else {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            debug!(door = self.door.name(), reason = reason.name(), %why, "turned away");
        }
    }
}
