//! What lies behind the doors, the same for all of them: the services, their bounds, and who is who.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tonic::service::Routes;
use trust::{Fault, Principal};

use super::Patience;
use super::share::{Bounds, Share, Shares};
use crate::config::Limits;
use crate::identity::Caller;
use crate::metrics::DoorCounts;

/// Bytes of requests that are held at once for all, at least.
const REQUEST_BYTES_MIN: usize = 256 * 1024 * 1024;
/// More than the message of a request: its frame of five bytes, and room for a client that pads.
const MESSAGE_SLACK_BYTES: usize = 1024;

/// Answers who a caller is now.
pub(crate) type Identify = Box<dyn Fn(&Caller) -> Result<Principal, Fault> + Send + Sync>;

/// The rooms.
pub(super) struct Rooms {
    pub(super) routes: Routes,
    pub(super) identify: Identify,
    pub(super) patience: Patience,
    pub(super) counts: DoorCounts,
    /// What all requests have together; connections are counted by each door.
    pub(super) all: Share,
    pub(super) shares: Shares,
    /// The longest body of a request.
    pub(super) request_bytes_max: usize,
    /// The longest that a request is worked at before its answer begins.
    pub(super) request_time_max: Duration,
    connections_max: usize,
}

impl Rooms {
    pub(super) fn new(
        routes: Routes,
        limits: &Limits,
        patience: Patience,
        counts: DoorCounts,
        identify: Identify,
    ) -> Self {
        let request_bytes_max = limits.message_bytes_max.saturating_add(MESSAGE_SLACK_BYTES);
        let whole = Bounds {
            connections: limits.connections_max,
            requests: limits.in_flight_max,
            bytes: REQUEST_BYTES_MIN.max(request_bytes_max.saturating_mul(4)),
        };
        Self {
            routes: routes.prepare(),
            identify,
            patience,
            counts,
            all: Share::new(whole),
            shares: Shares::of(whole),
            request_bytes_max,
            request_time_max: limits.request_time_max,
            connections_max: limits.connections_max,
        }
    }

    /// Places for the connections of one door.
    pub(super) fn places(&self) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(self.connections_max))
    }

    /// Places for handshakes of one door: half, so that strangers cannot keep those out who are known.
    pub(super) fn handshakes(&self) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(self.connections_max.div_ceil(2)))
    }
}
