//! The listener for strangers' clients: docker and notary, in whatever version they are.
//!
//! TLS 1.2 and 1.3, HTTP/1.1, and cheap handshakes, for these clients open a connection for each request: a session may
//! be resumed, and the hybrid group comes last. A session that is resumed carries its client's certificate, and that
//! is judged again for each request, so resumption outlives no revocation.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{CipherSuite, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};

use super::gate::Gate;

/// The one protocol that is spoken inside.
const ALPN: &[u8] = b"http/1.1";
/// The suites that come first: AES-128-GCM with SHA-256.
const FIRST: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];

/// Who is asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Everybody; without one there is no handshake.
    Everybody,
    /// Nobody.
    Nobody,
    /// Whoever has one.
    Whoever,
}

/// The authorities' verdict, also over TLS 1.2, and also without a certificate.
#[derive(Debug)]
struct PublicGate {
    gate: Arc<Gate>,
    provider: Arc<CryptoProvider>,
    asked: Asked,
}

/// What the next handshake uses.
pub(super) fn server(
    gate: &Arc<Gate>,
    asked: Asked,
    clock: Arc<dyn TimeProvider>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, Error> {
    let provider = Arc::new(provider());
    let verifier: Arc<dyn ClientCertVerifier> = match asked {
        Asked::Nobody => WebPkiClientVerifier::no_client_auth(),
        Asked::Everybody | Asked::Whoever => {
            Arc::new(PublicGate { gate: Arc::clone(gate), provider: Arc::clone(&provider), asked })
        }
    };
    let mut server = ServerConfig::builder_with_details(provider, clock)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.ignore_client_order = true;
    // Tickets are under a key of this reading of the files: another reading ends all of them.
    server.ticketer = aws_lc_rs::Ticketer::new()?;
    server.send_tls13_tickets = 1;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.max_early_data_size = 0;
    Ok(server)
}

/// What is served here is public, or a token that ends in minutes: nothing that somebody would keep for a later quantum
/// computer. So its group, which costs the most, is for clients that want no other; and keys are derived with SHA-256
/// wherever a client can, for which processors have instructions.
fn provider() -> CryptoProvider {
    use aws_lc_rs::kx_group;
    let mut all = aws_lc_rs::default_provider();
    all.cipher_suites.sort_by_key(|suite| !FIRST.contains(&suite.suite()));
    CryptoProvider {
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1, kx_group::X25519MLKEM768],
        ..all
    }
}

impl ClientCertVerifier for PublicGate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.gate.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.asked == Asked::Everybody
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.gate.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.gate.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.gate.supported_verify_schemes()
    }
}
