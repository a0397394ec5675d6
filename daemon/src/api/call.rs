//! What every call gets before it reaches a door: a request id, a span, and a place in the metrics.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::{Instrument as _, debug_span};
use trust_proto::fault;

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
            let response = inner.await?;
            in_flight.end(answer(response.headers()), house.clock().monotonic().saturating_sub(began));
            Ok(response)
        };
        Box::pin(id.scope(call.instrument(span)))
    }
}

/// How a call ended. A fault stands in the headers of its answer; what goes wrong later, in the middle of a stream,
/// stands in its trailers and is logged, not counted.
fn answer(headers: &HeaderMap) -> Answer {
    match Status::from_header_map(headers).map(|status| status.code()) {
        None | Some(Code::Ok) => Answer::Ok,
        Some(Code::Unimplemented) => Answer::Unimplemented,
        // What the codec says of a message that is too long.
        Some(Code::OutOfRange) => Answer::Fault(trust::FaultKind::Malformed),
        Some(code) => Answer::Fault(fault::kind(code)),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use trust::FaultKind;

    use super::*;

    #[test]
    fn the_end_of_a_call_is_read_from_its_headers() {
        let mut headers = HeaderMap::new();
        assert_eq!(answer(&headers), Answer::Ok);

        for (code, expected) in [
            ("0", Answer::Ok),
            ("3", Answer::Fault(FaultKind::Malformed)),
            ("7", Answer::Fault(FaultKind::Forbidden)),
            ("11", Answer::Fault(FaultKind::Malformed)),
            ("12", Answer::Unimplemented),
            ("13", Answer::Fault(FaultKind::Internal)),
        ] {
            headers.insert("grpc-status", HeaderValue::from_static(code));
            assert_eq!(answer(&headers), expected, "{code}");
        }
    }
}
