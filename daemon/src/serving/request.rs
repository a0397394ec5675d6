//! One request: whether there is room for it, how long it may take, and that its answer ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tower::ServiceExt as _;
use tracing::info;
use trust::{Fault, FaultKind};
use trust_proto::fault;

use super::connection::Visitor;
use super::held::{Held, NoRoom};
use super::meter::{AtWork, HandedOut};
use super::share::{self, Taken};
use crate::identity::Caller;
use crate::metrics::TurnedAway;

/// When to come back after a bound was reached.
const BUSY_RETRY: Duration = Duration::from_millis(100);
/// The doors of `trust.v1` keep the time themselves and say more; this is for what they do not see, such as a request
/// that never ends.
const GRACE: Duration = Duration::from_secs(1);

/// Answers a request, or says why not.
pub(super) async fn answer(visitor: Arc<Visitor>, request: hyper::Request<Incoming>) -> hyper::Response<Body> {
    match admit(&visitor) {
        Ok(taken) => work(visitor, taken, request).await,
        Err(fault) => refuse(&fault),
    }
}

/// Looks at who asks and whether there is room, before anything of the request is read.
fn admit(visitor: &Visitor) -> Result<Taken, Fault> {
    let rooms = &visitor.rooms;
    if let Err(fault) = (rooms.identify)(&visitor.caller) {
        if !visitor.pulse.dismissed.is_cancelled() {
            info!(cause = fault.cause().map(ToString::to_string), "a caller is not accepted, or not any more");
        }
        visitor.pulse.dismissed.cancel();
        rooms.counts.turned_away(visitor.door(), TurnedAway::Unauthenticated);
        return Err(fault);
    }
    share::take(&rooms.all.requests, &visitor.share.requests).ok_or_else(|| {
        rooms.counts.turned_away(visitor.door(), TurnedAway::InFlight);
        busy("too many requests are in flight")
    })
}

async fn work(visitor: Arc<Visitor>, taken: Taken, request: hyper::Request<Incoming>) -> hyper::Response<Body> {
    let at_work = visitor.pulse.request();
    let (of_all, of_one) = (Arc::clone(&visitor.rooms.all.bytes), Arc::clone(&visitor.share.bytes));
    let held = Arc::new(Held::new(of_all, of_one, visitor.rooms.request_bytes_max));
    let request = carry(Arc::clone(&visitor), Arc::clone(&held), request);
    let limit = visitor.rooms.request_time_max;
    let answered = visitor.rooms.routes.clone().oneshot(request);
    let answered = tokio::time::timeout(limit.saturating_add(GRACE), answered).await;
    drop(held);
    match answered {
        Ok(Ok(response)) => response.map(|body| {
            let place = Arc::new(Place { _taken: taken, _at_work: at_work });
            Body::new(Answer { body, visitor, place, begun: false })
        }),
        Ok(Err(error)) => refuse(&Fault::internal(error)),
        Err(_) => refuse(&Fault::new(FaultKind::Late, format!("not done within {} ms", limit.as_millis()))),
    }
}

/// The request as the services take it: with the caller of its connection, and a body that is counted; a door that
/// streams gives the count back as it goes.
fn carry(visitor: Arc<Visitor>, held: Arc<Held>, request: hyper::Request<Incoming>) -> hyper::Request<Body> {
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert::<Caller>(visitor.caller.clone());
    parts.extensions.insert::<Arc<Held>>(Arc::clone(&held));
    hyper::Request::from_parts(parts, Body::new(Question { body, visitor, held }))
}

fn busy(text: &str) -> Fault {
    Fault::new(FaultKind::Busy, text).retry_after(BUSY_RETRY)
}

fn refuse(fault: &Fault) -> hyper::Response<Body> {
    fault::to_status(fault).into_http()
}

/// A request's body, counted while it comes in.
struct Question {
    body: Incoming,
    visitor: Arc<Visitor>,
    held: Arc<Held>,
}

impl Question {
    fn count(&self, bytes: usize) -> Result<(), Status> {
        self.held.take(bytes).map_err(|no_room| {
            fault::to_status(&match no_room {
                NoRoom::TooLong => Fault::new(FaultKind::Malformed, "the request is longer than a message may be"),
                NoRoom::Busy => {
                    self.visitor.rooms.counts.turned_away(self.visitor.door(), TurnedAway::Bytes);
                    busy("too many bytes of requests are in flight")
                }
            })
        })
    }
}

impl hyper::body::Body for Question {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        Poll::Ready(match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => Some(this.count(frame.data_ref().map_or(0, Bytes::len)).map(|()| frame)),
            Some(Err(error)) => Some(Err(Status::from_error(Box::new(error)))),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body. Each message after the first is for somebody who is still accepted (D26).
struct Answer {
    body: Body,
    visitor: Arc<Visitor>,
    place: Arc<Place>,
    begun: bool,
}

/// A request's place in the house: given back when the last byte of its answer is written, because until then the
/// answer is in our memory, however little the peer reads.
struct Place {
    _taken: Taken,
    _at_work: AtWork,
}

/// A piece of an answer on its way.
struct Piece {
    bytes: Bytes,
    _place: Arc<Place>,
    _handed_out: Arc<HandedOut>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Answer {
    fn on_its_way(&self, bytes: Bytes) -> Bytes {
        let handed_out = self.visitor.pulse.hand_out();
        Bytes::from_owner(Piece { bytes, _place: Arc::clone(&self.place), _handed_out: handed_out })
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        let is_message = matches!(&frame, Some(Ok(frame)) if frame.is_data());
        if is_message
            && this.begun
            && let Err(fault) = (this.visitor.rooms.identify)(&this.visitor.caller)
        {
            this.visitor.pulse.dismissed.cancel();
            return Poll::Ready(Some(Err(fault::to_status(&fault))));
        }
        this.begun |= is_message;
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|bytes| this.on_its_way(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
