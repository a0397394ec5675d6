//! One plain HTTP request to a listener on the loopback, as a scraper makes it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// A port of the loopback that was free a moment ago.
///
/// # Errors
/// When none is.
pub fn free_address() -> Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).context("find a free port")
}

/// The whole answer, head and body, to a request line like `GET /metrics HTTP/1.1`; within ten seconds.
///
/// # Errors
/// When nobody listens, or the connection breaks.
pub fn http(address: SocketAddr, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).context("bound the answer")?;
    stream
        .write_all(format!("{request}\r\nhost: here\r\nconnection: close\r\n\r\n").as_bytes())
        .with_context(|| format!("ask {address}"))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).with_context(|| format!("read the answer of {address}"))?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
