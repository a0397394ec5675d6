//! Debian's notary-signer 0.7: mTLS, keys in memory or in MariaDB. It neither writes evidence nor verifies.

mod mariadb;
mod server;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use serde_json::json;
use tonic::transport::Channel;
use trust::{Algorithm, PublicKey};
use trust_proto::notary;
use trust_proto::notary::key_management_client::KeyManagementClient;
use trust_proto::notary::signer_client::SignerClient;
use trust_tests::process::Running;
use trust_tests::program::tool;

use crate::certificates::{Certificates, free_port};
use mariadb::MariaDb;

pub(crate) use server::NotaryServer;

const READY_LIMIT: Duration = Duration::from_secs(30);
/// The alias of the passphrase that seals its keys; the passphrase comes from the environment.
const ALIAS: &str = "bench";

/// Where a signer keeps its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// In a database; it notes each use of a key there.
    MariaDb,
    /// In its own memory.
    Memory,
}

/// A running signer.
#[derive(Debug)]
pub(crate) struct Notary {
    port: u16,
    // Dropped before its database.
    _process: Running,
    database: Option<MariaDb>,
}

/// One key there.
#[derive(Debug, Clone)]
pub(crate) struct NotaryKey {
    id: String,
    /// Its public half.
    pub(crate) public_key: PublicKey,
}

impl Notary {
    /// A new one below `directory`.
    ///
    /// # Errors
    /// When it or its database is not installed, or does not start; with its log.
    pub(crate) fn start(directory: &Path, backend: Backend, certificates: &Certificates) -> Result<Self> {
        let program = tool("notary-signer", "apt-get install notary")?;
        std::fs::create_dir(directory).context("make the signer's directory")?;
        let database = match backend {
            Backend::MariaDb => Some(MariaDb::start(&directory.join("mariadb"))?),
            Backend::Memory => None,
        };
        let storage = match &database {
            Some(database) => json!({"backend": "mysql", "db_url": database.source("signer"), "default_alias": ALIAS}),
            None => json!({"backend": "memory"}),
        };
        let port = free_port()?;
        let configuration = write_configuration(directory, port, &storage, certificates)?;
        let mut command = Command::new(program);
        command.arg("-config").arg(configuration).env("NOTARY_SIGNER_BENCH", "a passphrase for this run only");
        let mut process = Running::start(&mut command, &directory.join("log"))?;
        process.ready(READY_LIMIT, || std::net::TcpStream::connect(("127.0.0.1", port)).ok())?;
        Ok(Self { port, _process: process, database })
    }

    /// Its port on the loopback.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Its database, where it has one.
    const fn database(&self) -> Option<&MariaDb> {
        self.database.as_ref()
    }
}

fn write_configuration(
    directory: &Path,
    port: u16,
    storage: &serde_json::Value,
    certificates: &Certificates,
) -> Result<PathBuf> {
    let configuration = json!({
        "server": {
            "grpc_addr": format!("127.0.0.1:{port}"),
            "tls_cert_file": certificates.certificate("server"),
            "tls_key_file": certificates.key("server"),
            "client_ca_file": certificates.authority(),
        },
        "logging": {"level": "error"},
        "storage": storage,
    });
    let path = directory.join("signer.json");
    std::fs::write(&path, configuration.to_string()).context("write the signer's configuration")?;
    Ok(path)
}

/// Makes a key; each in a collection of its own, because the database backend gives an unused key out again.
///
/// # Errors
/// When the signer refuses, or its public key does not read.
pub(crate) async fn create_key(channel: Channel, name: &str, algorithm: Algorithm) -> Result<NotaryKey> {
    let word = match algorithm {
        Algorithm::Ed25519 => "ed25519",
        _ => "ecdsa",
    };
    let request = notary::CreateKeyRequest {
        algorithm: word.to_owned(),
        gun: format!("bench.example/{name}"),
        role: "timestamp".to_owned(),
    };
    let made = KeyManagementClient::new(channel).create_key(request).await.context("make a key at notary-signer")?;
    let made = made.into_inner();
    let id = made.key_info.and_then(|info| info.key_id).context("a key without an id")?.id;
    let bytes = &made.public_key;
    let public_key = match algorithm {
        Algorithm::Ed25519 => PublicKey::from_ed25519_bytes(bytes.as_ref().try_into().context("32 bytes of Ed25519")?),
        _ => PublicKey::from_spki_der(algorithm, bytes),
    };
    Ok(NotaryKey { id, public_key: public_key.context("read the public key of notary-signer")? })
}

/// Asks for one signature over `content`.
///
/// # Errors
/// When the signer refuses.
pub(crate) async fn sign(channel: Channel, key: &NotaryKey, content: Bytes) -> Result<Bytes> {
    let request = notary::SignatureRequest { key_id: Some(notary::KeyId { id: key.id.clone() }), content };
    Ok(SignerClient::new(channel).sign(request).await.context("sign at notary-signer")?.into_inner().content)
}

/// Its ECDSA signatures (r and s, 32 bytes each) in the DER that everybody else speaks (RFC 3279 §2.2.3).
pub(crate) fn ecdsa_der(raw: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = raw.split_at_checked(32).filter(|(_, s)| s.len() == 32)?;
    let integer = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count().min(31);
        let digits = bytes.get(zeros..).unwrap_or_default();
        // A first bit of 1 would make it negative.
        let sign: &[u8] = if digits.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
        let length = u8::try_from(sign.len() + digits.len()).unwrap_or(u8::MAX);
        [&[2, length], sign, digits].concat()
    };
    let body = [integer(r), integer(s)].concat();
    Some([&[0x30, u8::try_from(body.len()).ok()?], body.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_in_der_is_short_and_positive() {
        let mut raw = [0; 64];
        (raw[31], raw[32], raw[63]) = (7, 0x80, 9);

        let der = ecdsa_der(&raw).unwrap();

        assert_eq!(der[..7], [0x30, 38, 2, 1, 7, 2, 33]);
        assert_eq!((der[7], der[8], der[39]), (0, 0x80, 9));
    }

    #[tokio::test]
    async fn both_backends_sign_what_verifies() {
        let directory = tempfile::tempdir().unwrap();
        let certificates = Certificates::make(directory.path()).unwrap();
        for (backend, name) in [(Backend::Memory, "memory"), (Backend::MariaDb, "database")] {
            let notary = Notary::start(&directory.path().join(name), backend, &certificates).unwrap();
            for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP256Sha256] {
                let channel = certificates.connect(notary.port()).await.unwrap();
                let key = create_key(channel.clone(), algorithm.name(), algorithm).await.unwrap();

                let way = crate::subject::Way::Notary { key, message: crate::subject::message() };
                let subject = crate::subject::Subject { name: name.to_owned(), channels: vec![channel], way };

                subject.prove().await.unwrap();
            }
        }
    }

    #[test]
    fn another_length_is_no_signature() {
        assert_eq!(ecdsa_der(&[1; 63]), None);
        assert_eq!(ecdsa_der(&[1; 65]), None);
        assert_eq!(ecdsa_der(&[]), None);
    }
}
