//! A server of trust data as its clients reach it: HTTP/1.1 over TLS, with connections that are kept or a new one for
//! each request.
//!
//! Client and server share the processors, so this client does no more than it must: what it saves, every server gets. It
//! writes a request in one piece and reads the answer; and of all connections but the first it asks only whether the
//! certificate is the one of that first one, which it verified.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::BytesMut;
use httparse::{EMPTY_HEADER, Status};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificates::{Certificates, SERVER};
use crate::collection::Part;

/// Between the parts of an upload.
const BOUNDARY: &str = "a-boundary-of-trust-bench";
/// Room for what is read at once, in bytes: a record of TLS.
const READ_BYTES: usize = 16 * 1024;
/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Header lines of an answer, at most.
const HEADERS_MAX: usize = 64;

/// Where a server is.
#[derive(Clone)]
pub(crate) struct Door {
    port: u16,
    connector: TlsConnector,
}

/// An open connection.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    read: BytesMut,
}

impl Door {
    /// At this port of the loopback, with a certificate of the run's authority. Sessions are not resumed: docker's
    /// and notary's clients do not either.
    ///
    /// # Errors
    /// When nobody listens, or the handshake fails.
    pub(crate) async fn open(port: u16, certificates: &Certificates) -> Result<Self> {
        let at = |mut config: rustls::ClientConfig| {
            config.resumption = Resumption::disabled();
            Self { port, connector: TlsConnector::from(Arc::new(config)) }
        };
        at(certificates.public_client()?).connect().await?;
        Ok(at(certificates.public_client_again()?))
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
        Ok(Connection { stream, read: BytesMut::new() })
    }
}

impl Connection {
    /// What is at a path.
    ///
    /// # Errors
    /// For any other answer than 200.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {SERVER}\r\n\r\n");
        self.send(request.as_bytes()).await.with_context(|| format!("GET {path}"))
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
        let mut request = format!(
            "POST /v2/{gun}/_trust/tuf/ HTTP/1.1\r\nhost: {SERVER}\r\n\
             content-type: multipart/form-data; boundary={BOUNDARY}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.append(&mut body);
        self.send(&request).await.with_context(|| format!("publish {gun}")).map(drop)
    }

    async fn send(&mut self, request: &[u8]) -> Result<Vec<u8>> {
        self.stream.write_all(request).await.context("the connection broke")?;
        self.stream.flush().await.context("the connection broke")?;
        self.read.clear();
        let answer = loop {
            self.read.reserve(READ_BYTES);
            let more = self.stream.read_buf(&mut self.read).await.context("no answer")?;
            ensure!(more > 0 && self.read.len() <= ANSWER_BYTES_MAX, "an answer that was cut short, or is too long");
            if let Some(answer) = Answer::parse(&self.read)? {
                break answer;
            }
        };
        ensure!(answer.status == 200, "{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        Ok(answer.body)
    }
}

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    /// `None` while some of it is still to come (RFC 9112 §6).
    fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let Status::Complete(length) = head.parse(bytes).context("no HTTP")? else { return Ok(None) };
        let status = head.code.context("no status")?;
        let rest = bytes.get(length..).unwrap_or_default();
        let header = |name: &str| {
            let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.and_then(|header| std::str::from_utf8(header.value).ok())
        };
        let body = match (header("transfer-encoding"), header("content-length")) {
            (Some("chunked"), _) => chunks(rest)?,
            (None, Some(length)) => rest.get(..length.parse().context("the length of an answer")?).map(<[u8]>::to_vec),
            _ => bail!("an answer of which nobody knows where it ends"),
        };
        Ok(body.map(|body| Self { status, body }))
    }
}

/// What chunks hold, up to the last one; `None` while some of them are still to come.
fn chunks(mut bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut all = Vec::new();
    loop {
        let size = httparse::parse_chunk_size(bytes).ok().context("the length of a chunk")?;
        let Status::Complete((begin, length)) = size else { return Ok(None) };
        let end = usize::try_from(length).ok().and_then(|length| begin.checked_add(length)).context("a long chunk")?;
        let (Some(chunk), Some(b"\r\n")) = (bytes.get(begin..end), bytes.get(end..end.saturating_add(2))) else {
            return Ok(None);
        };
        if length == 0 {
            return Ok(Some(all));
        }
        all.extend_from_slice(chunk);
        bytes = bytes.get(end.saturating_add(2)..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_when_all_of_it_has_come() {
        for (sent, body) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "hello"),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", ""),
        ] {
            let sent = sent.as_bytes();
            for cut in 0..sent.len() {
                assert_eq!(Answer::parse(&sent[..cut]).unwrap(), None, "{cut} bytes of {body}");
            }
            assert_eq!(Answer::parse(sent).unwrap(), Some(Answer { status: 200, body: body.as_bytes().to_vec() }));
        }
    }

    #[test]
    fn an_answer_without_an_end_is_refused() {
        for sent in ["HTTP/1.1 200 OK\r\n\r\nhello", "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", "hello\r\n\r\n"]
        {
            assert!(Answer::parse(sent.as_bytes()).is_err(), "{sent}");
        }
        assert!(Answer::parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n").is_err());
    }
}
