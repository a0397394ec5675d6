//! A server of trust data as its clients reach it: HTTP/1.1 over TLS, with connections that are kept or a new one for
//! each request.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::certificates::{Certificates, SERVER};
use crate::collection::Part;

/// Between the parts of an upload.
const BOUNDARY: &str = "a-boundary-of-trust-bench";

/// Where a server is.
#[derive(Clone)]
pub(crate) struct Door {
    port: u16,
    connector: TlsConnector,
}

/// An open connection.
pub(crate) struct Connection(SendRequest<Full<Bytes>>);

impl Door {
    /// At this port of the loopback, with a certificate of the run's authority. Sessions are not resumed: docker's
    /// and notary's clients do not either.
    ///
    /// # Errors
    /// When the authority's certificate does not read.
    pub(crate) fn at(port: u16, certificates: &Certificates) -> Result<Self> {
        let mut config = certificates.public_client()?;
        config.resumption = Resumption::disabled();
        Ok(Self { port, connector: TlsConnector::from(Arc::new(config)) })
    }

    /// A new connection.
    ///
    /// # Errors
    /// When nobody listens, or the handshake fails.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.context("connect")?;
        stream.set_nodelay(true).context("send at once")?;
        let name = ServerName::try_from(SERVER).context("the server's name")?;
        let stream = self.connector.connect(name, stream).await.context("handshake")?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.context("begin HTTP")?;
        // It ends when the sender is dropped; what goes wrong on the way, the request says.
        tokio::spawn(connection);
        Ok(Connection(sender))
    }
}

impl Connection {
    /// What is at a path.
    ///
    /// # Errors
    /// For any other answer than 200.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Bytes> {
        let request = Request::get(path).header("host", SERVER).body(Full::default()).context("a request")?;
        self.send(request).await.with_context(|| format!("GET {path}"))
    }

    /// Publishes files.
    ///
    /// # Errors
    /// When they are refused.
    pub(crate) async fn publish(&mut self, gun: &str, parts: &[Part]) -> Result<()> {
        let mut body = Vec::new();
        for (role, file) in parts {
            body.extend_from_slice(
                format!(
                    "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{role}\"\r\n\
                     Content-Type: application/octet-stream\r\n\r\n"
                )
                .as_bytes(),
            );
            body.extend_from_slice(file);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        let request = Request::post(format!("/v2/{gun}/_trust/tuf/"))
            .header("host", SERVER)
            .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
            .body(Full::new(body.into()))
            .context("a request")?;
        self.send(request).await.with_context(|| format!("publish {gun}")).map(drop)
    }

    /// Whether the server has ended it, as some do with one that nothing was sent on for a while.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Bytes> {
        self.0.ready().await.context("the connection broke")?;
        let answer = self.0.send_request(request).await.context("no answer")?;
        let status = answer.status();
        let body = answer.into_body().collect().await.context("an answer that was cut short")?.to_bytes();
        ensure!(status == StatusCode::OK, "{status}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }
}
