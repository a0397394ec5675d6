//! The original, beside the daemon.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use trust_tests::http::free_address;
use trust_tests::process::Running;
use trust_tests::program::tool;

use super::scene::{Answer, Door, Scene};

/// Debian's notary-server with keys of its own, and the certificate of the daemon's listener.
pub fn original(scene: &Scene) -> (Running, Door) {
    let (at, address) = (scene.directory.path(), free_address().unwrap());
    let config = json!({
        "server": {
            "http_addr": address.to_string(), "tls_cert_file": at.join("server.pem"), "tls_key_file": at.join("server.key"),
        },
        "trust_service": { "type": "local" }, "storage": { "backend": "memory" }, "logging": { "level": "error" },
    });
    let file = at.join("notary-server.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let mut command = Command::new(tool("notary-server", "apt-get install notary").unwrap());
    let mut running = Running::start(command.arg("-config").arg(file), &at.join("notary-server.log")).unwrap();
    running.ready(Duration::from_secs(60), || TcpStream::connect(address).ok()).unwrap();
    (running, scene.at(address))
}

/// An answer whose body is whole: the original sends a long one in pieces (RFC 9112 §7.1).
pub fn joined(mut answer: Answer) -> Answer {
    if answer.header("transfer-encoding") != Some("chunked") {
        return answer;
    }
    let mut whole = Vec::new();
    let mut left = &answer.body[..];
    while let Some(at) = left.windows(2).position(|two| two == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&left[..at]).unwrap(), 16).unwrap();
        whole.extend_from_slice(&left[at + 2..at + 2 + length]);
        left = &left[at + 2 + length + 2..];
    }
    answer.body = whole;
    answer
}
