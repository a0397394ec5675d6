//! The doors: a Unix socket, and TCP with TLS where it is configured. Both lead through one accept loop into the same
//! rooms, and every wait of a peer has an end.
//!
//! What a peer may cost is bounded here, before any request is read: connections of a listener, handshakes, requests
//! in flight, their bytes, frames that carry nothing. `docs/tls.md` has the table. What a request means is not known here.

mod accept;
mod connection;
mod frames;
mod held;
mod meter;
mod request;
mod rooms;
mod share;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tracing::{info, warn};

use crate::config::Config;
use crate::house::House;
use crate::tls::TlsState;

use accept::{TlsDoor, UnixDoor};
use rooms::Rooms;
use socket::Socket;

pub(crate) use held::{Held, Mark};
pub(crate) use socket::group_id;

/// How long each wait for a peer may last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// From the connection to the end of the TLS handshake.
    pub(crate) handshake: Duration,
    /// From the first byte of a frame or header block to its last; the HTTP/2 preface counts as one.
    pub(crate) frame: Duration,
    /// For the answer to a PING, which is sent at the same interval.
    pub(crate) keepalive: Duration,
    /// Until a piece of an answer is read.
    pub(crate) unread: Duration,
    /// Without any request.
    pub(crate) idle: Duration,
    /// For requests in flight once the doors are shut; the connections that are left then are cut.
    pub(crate) drain: Duration,
    /// How often frames, answers and idleness are looked at.
    pub(crate) tick: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            frame: Duration::from_secs(8),
            keepalive: Duration::from_secs(20),
            unread: Duration::from_secs(60),
            idle: Duration::from_secs(600),
            drain: Duration::from_secs(7),
            tick: Duration::from_secs(1),
        }
    }
}

/// Every door, bound and not yet served.
pub(crate) struct Doors {
    socket: Socket,
    tcp: Option<(TcpListener, Arc<TlsState>)>,
    rooms: Arc<Rooms>,
}

/// Binds every door that `config` names, all of them to `routes`; nothing is served before every one is bound.
pub(crate) async fn bind(
    config: &Config,
    tls: Option<Arc<TlsState>>,
    routes: Routes,
    house: Arc<House>,
) -> Result<Doors> {
    let limits = house.limits().clone();
    let counts = house.metrics().doors().clone();
    let identify = Box::new(move |caller: &_| house.identify(caller));
    let rooms = Rooms::new(routes, &limits, Patience::default(), counts, identify);
    let tcp = match (&config.tls, tls) {
        (Some(config), Some(tls)) => {
            let listener =
                TcpListener::bind(config.listen).await.with_context(|| format!("listen on {}", config.listen))?;
            Some((listener, tls))
        }
        _ => None,
    };
    Ok(Doors { socket: Socket::bind(&config.unix)?, tcp, rooms: Arc::new(rooms) })
}

impl Doors {
    /// Serves until `drain` is cancelled, then lets requests in flight end; at most `Patience::drain`.
    pub(crate) async fn serve(self, drain: CancellationToken) {
        let Self { socket, tcp, rooms } = self;
        let patience = rooms.patience;
        let connections = TaskTracker::new();
        let cut = CancellationToken::new();
        let until = accept::Until { drain: drain.clone(), cut: cut.clone() };
        let unix = UnixDoor::new(socket, Arc::clone(&rooms)).serve(&connections, &until);
        let tls = async {
            if let Some((listener, tls)) = tcp {
                match listener.local_addr() {
                    Ok(address) => info!(%address, "TLS"),
                    Err(error) => warn!(%error, "the TLS listener has no address"),
                }
                TlsDoor::new(listener, tls, rooms).serve(&connections, &until).await;
            }
        };
        tokio::join!(unix, tls);

        connections.close();
        if tokio::time::timeout(patience.drain, connections.wait()).await.is_err() {
            warn!(connections = connections.len(), "cut after waiting for requests in flight");
            cut.cancel();
            connections.wait().await;
        }
    }
}

#[cfg(test)]
#[path = "serving/tests.rs"]
mod tests;
