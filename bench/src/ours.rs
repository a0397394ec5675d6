//! The real `trustd` for a run: a store and a log on this machine's disk, both doors open, its keys.

use std::path::Path;

use anyhow::{Context as _, Result};
use tonic::transport::Channel;
use trust::Algorithm;
use trust_proto::v1;
use trust_proto::v1::keys_client::KeysClient;
use trust_proto::words::Word as _;
use trust_tests::{Daemon, Setup};

use crate::certificates::{Certificates, TRUST_DOMAIN, free_port};

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Ours {
    /// Itself.
    pub(crate) daemon: Daemon,
    certificates: Certificates,
    port: u16,
}

impl Ours {
    /// A new one below `directory`, which must be on a disk for its flushes to mean anything.
    ///
    /// # Errors
    /// When it is not built or does not start; with its log.
    pub(crate) fn start(directory: &Path, certificates: &Certificates) -> Result<Self> {
        let port = free_port()?;
        let more = format!(
            "[limits]\nrate_per_second = 1000000\nrate_burst = 1000000\n\
             [tls]\nlisten = \"127.0.0.1:{port}\"\ncertificate = \"{}\"\nkey = \"{}\"\n\
             [[tls.client_ca]]\ncertificate = \"{}\"\ntrust_domain = \"{TRUST_DOMAIN}\"\n",
            certificates.certificate("server").display(),
            certificates.key("server").display(),
            certificates.authority().display(),
        );
        let setup = Setup { more, below: Some(directory.to_owned()), ..Setup::allowing_raw() };
        Ok(Self { daemon: Daemon::with(&setup)?, certificates: certificates.clone(), port })
    }

    /// So many connections over the Unix socket.
    ///
    /// # Errors
    /// When nobody listens.
    pub(crate) async fn unix(&self, connections: usize) -> Result<Vec<Channel>> {
        let mut channels = Vec::new();
        for _ in 0..connections {
            channels.push(self.daemon.channel().await?);
        }
        Ok(channels)
    }

    /// So many connections over mTLS.
    ///
    /// # Errors
    /// When the handshake fails.
    pub(crate) async fn mtls(&self, connections: usize) -> Result<Vec<Channel>> {
        let mut channels = Vec::new();
        for _ in 0..connections {
            channels.push(self.certificates.connect(self.port).await?);
        }
        Ok(channels)
    }

    /// Makes a key and gives its name back.
    ///
    /// # Errors
    /// When the daemon refuses.
    pub(crate) async fn create_key(&self, name: &str, purpose: v1::Purpose, algorithm: Algorithm) -> Result<String> {
        create_key_at(&self.daemon, name, purpose, algorithm, "").await?;
        Ok(name.to_owned())
    }
}

/// Makes a key at `daemon`, in the token of that name or, without one, in software.
///
/// # Errors
/// When the daemon refuses.
pub(crate) async fn create_key_at(
    daemon: &Daemon,
    name: &str,
    purpose: v1::Purpose,
    algorithm: Algorithm,
    token: &str,
) -> Result<()> {
    let scope = if purpose == v1::Purpose::Image { vec!["registry.bench.example/*".to_owned()] } else { Vec::new() };
    let request = v1::CreateKeyRequest {
        name: name.to_owned(),
        purpose: purpose.into(),
        algorithm: algorithm.to_wire(),
        scope,
        forms: Vec::new(),
        idempotency_key: String::new(),
        token: token.to_owned(),
    };
    let channel = daemon.channel().await?;
    KeysClient::new(channel).create_key(request).await.with_context(|| format!("make the key {name}"))?;
    Ok(())
}
