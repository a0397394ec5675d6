//! Debian's notary-server 0.7 over TLS, with notary-signer as its signer and both in memory or in MariaDB.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::json;
use trust_tests::process::Running;
use trust_tests::program::tool;

use super::{Backend, Notary, READY_LIMIT};
use crate::certificates::{Certificates, free_port};

/// A running server with its signer.
#[derive(Debug)]
pub(crate) struct NotaryServer {
    port: u16,
    // Dropped before its signer, whose database is its own, too.
    _process: Running,
    _signer: Notary,
}

impl NotaryServer {
    /// A new one below `directory`.
    ///
    /// # Errors
    /// When a program is not installed, or does not start; with its log.
    pub(crate) fn start(directory: &Path, backend: Backend, certificates: &Certificates) -> Result<Self> {
        let program = tool("notary-server", "apt-get install notary")?;
        std::fs::create_dir(directory).context("make the server's directory")?;
        let signer = Notary::start(&directory.join("signer"), backend, certificates)?;
        let storage = match signer.database() {
            Some(database) => json!({"backend": "mysql", "db_url": database.source("server")}),
            None => json!({"backend": "memory"}),
        };
        let port = free_port()?;
        let configuration = json!({
            "server": {
                "http_addr": format!("127.0.0.1:{port}"),
                "tls_cert_file": certificates.certificate("server"),
                "tls_key_file": certificates.key("server"),
            },
            "trust_service": {
                "type": "remote", "hostname": "localhost", "port": signer.port().to_string(), "key_algorithm": "ecdsa",
                "tls_ca_file": certificates.authority(),
                "tls_client_cert": certificates.certificate("client"),
                "tls_client_key": certificates.key("client"),
            },
            "logging": {"level": "error"},
            "storage": storage,
        });
        let path = directory.join("server.json");
        std::fs::write(&path, configuration.to_string()).context("write the server's configuration")?;
        let mut command = Command::new(program);
        command.arg("-config").arg(path);
        let mut process = Running::start(&mut command, &directory.join("log"))?;
        process.ready(READY_LIMIT, || TcpStream::connect(("127.0.0.1", port)).ok())?;
        Ok(Self { port, _process: process, _signer: signer })
    }

    /// Its port on the loopback.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}
