//! One authority, one server and one client, made for a run and thrown away with it. ECDSA P-256 throughout, for
//! every peer alike.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use trust_tests::authority::{self, Authority};

/// The name servers have in their certificate.
pub(crate) const SERVER: &str = "localhost";
/// The client's identity, as trustd reads it.
const CLIENT: &str = "spiffe://bench.example/client";
/// The trust domain of [`CLIENT`].
pub(crate) const TRUST_DOMAIN: &str = "bench.example";

/// Where the files are: `ca.pem`, and `.pem` and `.key` of `server` and `client`.
#[derive(Debug, Clone)]
pub(crate) struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    /// Makes all of them below `directory`.
    ///
    /// # Errors
    /// When they cannot be made or written.
    pub(crate) fn make(directory: &Path) -> Result<Self> {
        let (made, authority) = (Self { directory: directory.to_owned() }, Authority::new("bench CA")?);
        authority.write(&made.authority())?;
        authority.issue(directory, "server", authority::server(&[SERVER])?)?;
        authority.issue(directory, "client", authority::client(&[CLIENT])?)?;
        Ok(made)
    }

    /// The authority's certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// A certificate: `server` or `client`.
    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.pem"))
    }

    /// Its key.
    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.key"))
    }

    /// A gRPC connection to the loopback port, both sides with a certificate.
    ///
    /// # Errors
    /// When the handshake fails or nobody listens.
    pub(crate) async fn connect(&self, port: u16) -> Result<Channel> {
        let connector = TlsConnector::from(Arc::new(self.client()?));
        // The address is never resolved: the connector below always opens the loopback.
        let endpoint = Endpoint::from_static("http://peer.invalid");
        let connect = tower::service_fn(move |_| {
            let connector = connector.clone();
            async move {
                let stream = TcpStream::connect(("127.0.0.1", port)).await?;
                stream.set_nodelay(true)?;
                connector
                    .connect(ServerName::try_from(SERVER).map_err(std::io::Error::other)?, stream)
                    .await
                    .map(TokioIo::new)
            }
        });
        endpoint.connect_with_connector(connect).await.with_context(|| format!("connect with TLS to port {port}"))
    }

    fn client(&self) -> Result<rustls::ClientConfig> {
        let chain = CertificateDer::pem_file_iter(self.certificate("client"))
            .context("read the client's certificate")?
            .collect::<Result<Vec<_>, _>>()
            .context("read the client's certificate")?;
        let key = PrivateKeyDer::from_pem_file(self.key("client")).context("read the client's key")?;
        let config = self.believing(&rustls::version::TLS13)?;
        let mut config = config.with_client_auth_cert(chain, key).context("take the client's certificate")?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// For whoever has no certificate: TLS 1.2, which Debian's notary-server speaks at most.
    ///
    /// # Errors
    /// When the authority's certificate does not read.
    pub(crate) fn public_client(&self) -> Result<rustls::ClientConfig> {
        Ok(self.believing(&rustls::version::TLS12)?.with_no_client_auth())
    }

    /// The same for another connection to a server whose certificate was verified: it has to be the same one, and no
    /// signature is looked at again.
    ///
    /// # Errors
    /// When the server's certificate does not read.
    pub(crate) fn public_client_again(&self) -> Result<rustls::ClientConfig> {
        let certificate = CertificateDer::from_pem_file(self.certificate("server")).context("read a certificate")?;
        let schemes =
            rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes();
        let builder = builder(&rustls::version::TLS12)?.dangerous();
        Ok(builder.with_custom_certificate_verifier(Arc::new(Same { certificate, schemes })).with_no_client_auth())
    }

    fn believing(
        &self,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert>> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(self.authority()).context("read the authority")? {
            roots.add(certificate.context("read the authority")?).context("take the authority")?;
        }
        Ok(builder(version)?.with_root_certificates(roots))
    }
}

fn builder(
    version: &'static rustls::SupportedProtocolVersion,
) -> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
    builder.map_err(|error| anyhow!("TLS: {error}"))
}

/// Takes one certificate by its bytes, and no other.
#[derive(Debug)]
struct Same {
    certificate: CertificateDer<'static>,
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for Same {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("another certificate".to_owned()))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// A port that is free now. Somebody else may take it before it is used; the program that wants it then says so.
///
/// # Errors
/// When the loopback has none.
pub(crate) fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr().context("find a free port")?.port())
}
