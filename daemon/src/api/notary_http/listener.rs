//! The listener of the Notary door: TCP, TLS, HTTP/1.1, each within bounds and a time.
//!
//! Its clients open a connection for each request, so a connection is cheap and short. Whoever finds no place is closed out
//! at once; one address never has all places.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::{NotaryDoor, Visitor};
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
/// Before the next try, when the machine has no descriptor or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The bound listener.
pub(crate) struct Listener {
    socket: TcpListener,
    door: Arc<NotaryDoor>,
    tls: Arc<TlsState>,
    counts: DoorCounts,
    places: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    addresses: Arc<Addresses>,
}

/// How many connections each address has, and how many one may have.
struct Addresses {
    each_max: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A place of an address, until it is dropped.
struct Seat {
    addresses: Arc<Addresses>,
    address: IpAddr,
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
            places: Arc::new(Semaphore::new(connections_max)),
            handshakes: Arc::new(Semaphore::new(connections_max.div_ceil(2))),
            addresses: Arc::new(Addresses::of(connections_max)),
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
        let Some(seat) = self.addresses.take(address) else { return turned_away(TurnedAway::Connections) };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return turned_away(TurnedAway::Connections);
        };
        let Ok(handshake) = Arc::clone(&self.handshakes).try_acquire_owned() else {
            return turned_away(TurnedAway::Handshakes);
        };
        let (door, tls, counts) = (Arc::clone(&self.door), Arc::clone(&self.tls), self.counts.clone());
        let (drain, cut) = (drain.clone(), cut.clone());
        connections.spawn(async move {
            let shaken = tokio::select! {
                shaken = tokio::time::timeout(HANDSHAKE_MAX, shake_hands(stream, &tls)) => shaken,
                () = drain.cancelled() => return,
            };
            drop(handshake);
            let Ok(Ok((stream, peer))) = shaken else {
                debug!("a handshake with a client of Notary failed");
                return counts.turned_away(Entrance::Notary, TurnedAway::Handshake);
            };
            let _connected = counts.connected(Entrance::Notary);
            tokio::select! {
                () = converse(stream, door, Visitor { address, peer }, drain) => {}
                () = cut.cancelled() => {}
            }
            drop((place, seat));
        });
    }
}

async fn shake_hands(stream: TcpStream, tls: &TlsState) -> std::io::Result<(TlsStream<TcpStream>, Option<Arc<Peer>>)> {
    stream.set_nodelay(true)?;
    let stream = TlsAcceptor::from(tls.server()).accept(stream).await?;
    let (_, session) = stream.get_ref();
    let peer = session.peer_certificates().and_then(Peer::new).map(Arc::new);
    Ok((stream, peer))
}

/// Answers the requests of a connection, one after the other, until it ends or has lived long enough.
async fn converse(stream: TlsStream<TcpStream>, door: Arc<NotaryDoor>, visitor: Visitor, drain: CancellationToken) {
    let service = service_fn(move |request| {
        let (door, visitor) = (Arc::clone(&door), visitor.clone());
        async move { Ok::<_, Infallible>(door.answer(request, &visitor).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = drain.cancelled() => None,
        () = tokio::time::sleep(CONNECTION_MAX) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            // The request that is in flight is answered, and no other.
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(DRAIN_MAX, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection with a client of Notary broke");
    }
}

impl Addresses {
    fn of(connections_max: usize) -> Self {
        let each_max = connections_max.saturating_sub(connections_max / 4);
        Self { each_max, open: Mutex::new(HashMap::new()) }
    }

    fn take(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let address = network(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.each_max {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Seat { addresses: Arc::clone(self), address })
    }
}

/// Whoever has one address of IPv6 has the other 2⁶⁴ of its network, too.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(long) => IpAddr::V6(Ipv6Addr::from_bits(long.to_bits() & (u128::MAX << 64))),
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.addresses.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_every_place_and_gives_its_own_back() {
        let addresses = Arc::new(Addresses::of(8));
        let of = |text: &str| text.parse::<IpAddr>().unwrap();
        let greedy: Vec<Seat> = (0..8).map_while(|_| addresses.take(of("192.0.2.1"))).collect();

        assert_eq!(greedy.len(), 6);
        assert!(addresses.take(of("192.0.2.2")).is_some());
        drop(greedy);
        assert!(addresses.take(of("192.0.2.1")).is_some());
        assert!(addresses.open.lock().unwrap().is_empty());
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let addresses = Arc::new(Addresses::of(2));
        let of = |text: &str| text.parse::<IpAddr>().unwrap();
        let _both = (addresses.take(of("2001:db8::1")).unwrap(), addresses.take(of("2001:db8::2")).unwrap());

        assert!(addresses.take(of("2001:db8::3")).is_none());
        assert!(addresses.take(of("2001:db8:0:1::3")).is_some());
    }
}
