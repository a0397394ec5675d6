//! What every call gets before it reaches a door: a request id, a span, and a place in the metrics.

use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, HeaderMap, Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::{Instrument as _, debug, debug_span, warn};
use trust::{Fault, FaultKind};
use trust_proto::fault;

use super::FromDoor;
use crate::house::House;
use crate::metrics::{Answer, Method};
use crate::telemetry::RequestId;

/// Wraps the routes of all services.
#[derive(Clone)]
pub(crate) struct CallLayer {
    house: Arc<House>,
}

impl CallLayer {
    /// Calls are counted in the metrics of `house`.
    pub(crate) const fn new(house: Arc<House>) -> Self {
        Self { house }
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = Call<S>;

    fn layer(&self, inner: S) -> Call<S> {
        Call { inner, house: Arc::clone(&self.house) }
    }
}

/// A service whose calls are named and counted.
#[derive(Clone)]
pub(crate) struct Call<S> {
    inner: S,
    house: Arc<House>,
}

impl<S, B, R> Service<Request<B>> for Call<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    R: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let house = Arc::clone(&self.house);
        let method = Method::of_path(request.uri().path());
        let id = RequestId::new();
        let span = debug_span!("call", request = %id, method = method.name());
        let began = house.clock().monotonic();
        let inner = self.inner.call(request);
        let call = async move {
            let in_flight = house.metrics().begin(method);
            let mut response = inner.await?;
            if let Some(unread) = unread(response.extensions()) {
                debug!(cause = unread.message(), "a request that does not read");
                let words = fault::to_status(&Fault::new(FaultKind::Malformed, words(unread.code())));
                retell(response.headers_mut(), &words);
            }
            in_flight.end(answer(response.headers()), house.clock().monotonic().saturating_sub(began));
            Ok(response)
        };
        Box::pin(id.scope(call.instrument(span)))
    }
}

/// The status of a request that no door saw, because it did not read: what tonic makes of it is none of the documented
/// faults. What the body itself said is one and stays; so does an unknown method.
fn unread(extensions: &Extensions) -> Option<&Status> {
    let status = extensions.get::<Status>()?;
    let is_ours = status.source().is_some_and(|source| source.is::<FromDoor>());
    let is_fault = fault::kind(status.code()) != FaultKind::Internal || status.code() == Code::Unimplemented;
    (!is_ours && !is_fault).then_some(status)
}

const fn words(code: Code) -> &'static str {
    match code {
        Code::OutOfRange => "the request is longer than a message may be",
        _ => "the request is not one message of trust.v1, uncompressed",
    }
}

/// The fault for a message of a stream that does not read, as [`unread`] has it for a request.
pub(super) fn unread_fault(status: &Status) -> Fault {
    match fault::from_status(status) {
        unread if unread.kind() == FaultKind::Internal => {
            debug!(cause = status.message(), "a message that does not read");
            Fault::new(FaultKind::Malformed, words(status.code()))
        }
        ours => ours,
    }
}

/// Puts `status` in the place of the one that `headers` have.
fn retell(headers: &mut HeaderMap, status: &Status) {
    headers.remove(Status::GRPC_MESSAGE);
    headers.remove(Status::GRPC_STATUS_DETAILS);
    if let Err(error) = status.add_header(headers) {
        warn!(%error, "a status does not fit into headers");
    }
}

/// How a call ended. A fault stands in the headers of its answer; what goes wrong later, in the middle of a stream,
/// stands in its trailers and is logged, not counted.
fn answer(headers: &HeaderMap) -> Answer {
    match Status::from_header_map(headers).map(|status| status.code()) {
        None | Some(Code::Ok) => Answer::Ok,
        Some(Code::Unimplemented) => Answer::Unimplemented,
        Some(code) => Answer::Fault(fault::kind(code)),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_end_of_a_call_is_read_from_its_headers() {
        let mut headers = HeaderMap::new();
        assert_eq!(answer(&headers), Answer::Ok);

        for (code, expected) in [
            ("0", Answer::Ok),
            ("3", Answer::Fault(FaultKind::Malformed)),
            ("7", Answer::Fault(FaultKind::Forbidden)),
            ("12", Answer::Unimplemented),
            ("13", Answer::Fault(FaultKind::Internal)),
        ] {
            headers.insert("grpc-status", HeaderValue::from_static(code));
            assert_eq!(answer(&headers), expected, "{code}");
        }
    }
}
