//! Debian's notary-server 0.7 over TLS, with notary-signer as its signer and both in memory or in MariaDB.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use trust_tests::process::Running;
use trust_tests::program::tool;
use trust_tests::wait::until;

use super::{Backend, Notary, READY_LIMIT};
use crate::certificates::{Certificates, free_port};

const CONFIGURATION: &str = "server.json";
/// How long its end may take once a connection to it broke.
const ENDING_LIMIT: Duration = Duration::from_secs(2);

/// A running server with its signer.
#[derive(Debug)]
pub(crate) struct NotaryServer {
    port: u16,
    directory: PathBuf,
    // Dropped before its signer, whose database is its own, too.
    process: Running,
    _signer: Notary,
}

impl NotaryServer {
    /// A new one below `directory`.
    ///
    /// # Errors
    /// When a program is not installed, or does not start; with its log.
    pub(crate) fn start(directory: &Path, backend: Backend, certificates: &Certificates) -> Result<Self> {
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
        std::fs::write(directory.join(CONFIGURATION), configuration.to_string())
            .context("write the server's configuration")?;
        Ok(Self { port, directory: directory.to_owned(), process: run(directory, port)?, _signer: signer })
    }

    /// Starts it again where it has ended by itself, and says whether it had. Asked for several repositories at once over
    /// a database it writes a map from several threads, which Go ends a program for ("concurrent map writes").
    ///
    /// # Errors
    /// When it does not start again; with its log.
    pub(crate) fn revive(&mut self) -> Result<bool> {
        if until("it has ended, or serves on", ENDING_LIMIT, || self.process.ended()).is_err() {
            return Ok(false);
        }
        self.process = run(&self.directory, self.port)?;
        Ok(true)
    }

    /// Its port on the loopback.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}

fn run(directory: &Path, port: u16) -> Result<Running> {
    let mut command = Command::new(tool("notary-server", "apt-get install notary")?);
    command.arg("-config").arg(directory.join(CONFIGURATION));
    let mut process = Running::start(&mut command, &directory.join("log"))?;
    process.ready(READY_LIMIT, || TcpStream::connect(("127.0.0.1", port)).ok())?;
    Ok(process)
}
