//! The small listener on the loopback that answers `GET /metrics` and nothing else.

pub(crate) mod page;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::house::House;

/// Connections at once; more are closed. A scraper needs one.
const CONNECTIONS_MAX: usize = 16;
/// How long the head of a request may take, and how long a connection may idle.
const HEAD_MAX: Duration = Duration::from_secs(5);
/// How long a connection may live.
const CONNECTION_MAX: Duration = Duration::from_secs(60);
/// The most a request's head may have, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// OpenMetrics 1.0.
pub(crate) const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// After an `accept` that failed, most often for want of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The bound listener.
pub(crate) struct Listener(TcpListener);

/// Binds the listener; `None` where none is configured.
pub(crate) async fn bind(address: Option<SocketAddr>) -> Result<Option<Listener>> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address} for metrics"))?;
    Ok(Some(Listener(listener)))
}

impl Listener {
    /// Answers until `drain`.
    pub(crate) async fn serve(self, house: Arc<House>, drain: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                () = drain.cancelled() => return,
                accepted = self.0.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "a connection for metrics was not accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            // Without a place the connection is closed right here.
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let served = connection(stream, Arc::clone(&house));
            let drain = drain.clone();
            drop(house.parts.tasks.spawn(async move {
                tokio::select! {
                    () = drain.cancelled() => {}
                    ended = tokio::time::timeout(CONNECTION_MAX, served) => {
                        if let Ok(Err(error)) = ended {
                            debug!(%error, "a connection for metrics ended early");
                        }
                    }
                }
                drop(place);
            }));
        }
    }
}

async fn connection(stream: TcpStream, house: Arc<House>) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        let answer = answer(&request, &house);
        async move { Ok::<_, Infallible>(answer) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer(request: &Request<Incoming>, house: &House) -> Response<Full<Bytes>> {
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "only /metrics is here\n");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match page::write(house) {
        Ok(page) => {
            let mut found = Response::new(Full::new(Bytes::from(page)));
            found.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
            found
        }
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written\n"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
