//! TLS 1.3 towards a daemon: its CA, and the certificate that says who we are.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use trust::Sha256Digest;
use zeroize::Zeroizing;

use crate::config::TlsFiles;
use crate::failure::Failure;
use crate::files;

/// No file with certificates is longer.
pub(crate) const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// What a handshake needs.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(super) configuration: Arc<ClientConfig>,
}

impl Tls {
    /// With the PEM text of the daemon's CA, and the client's own certificate where one is configured.
    pub(crate) fn new(ca_pem: &[u8], files: &TlsFiles) -> Result<Self, Failure> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| Failure::other("set TLS up", "this is a fault of trustctl").because(error))?
            .with_root_certificates(roots(ca_pem)?);
        let mut configuration = match (&files.certificate, &files.key) {
            (Some(certificate), Some(key)) => {
                builder.with_client_auth_cert(chain(certificate)?, private_key(key)?).map_err(|error| {
                    Failure::usage(
                        format!("{} and {} do not belong together", certificate.display(), key.display()),
                        "the key has to be the certificate's",
                    )
                    .because(error)
                })?
            }
            (None, None) => builder.with_no_client_auth(),
            _ => {
                return Err(Failure::usage("of certificate and key only one is configured", "configure both, or none"));
            }
        };
        configuration.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { configuration: Arc::new(configuration) })
    }
}

/// The name that the daemon's certificate has to have.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, Failure> {
    ServerName::try_from(host.to_owned()).map_err(|error| {
        Failure::usage(format!("{host:?} is not the name of a host"), "look at the address").because(error)
    })
}

fn roots(pem: &[u8]) -> Result<RootCertStore, Failure> {
    let not_a_ca = || Failure::usage("the CA cannot be read", "it has to be a PEM file with at least one CERTIFICATE");
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| not_a_ca().because(error))?;
        store.add(certificate).map_err(|error| not_a_ca().because(error))?;
    }
    if store.is_empty() { Err(not_a_ca()) } else { Ok(store) }
}

/// SHA-256 of the first certificate, as openssl's `-fingerprint -sha256` has it.
pub(crate) fn certificate_fingerprint(pem: &[u8]) -> Option<Sha256Digest> {
    CertificateDer::pem_slice_iter(pem).next()?.ok().map(|certificate| Sha256Digest::of(&certificate))
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let bytes = files::read_named(path, PEM_BYTES_MAX)?;
    let chain = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>().unwrap_or_default();
    if chain.is_empty() {
        return Err(Failure::usage(
            format!("{} holds no certificate", path.display()),
            "it has to be a PEM file with your certificate, then its intermediates",
        ));
    }
    Ok(chain)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Failure> {
    let unreadable =
        |error| Failure::usage(format!("{} cannot be read", path.display()), "may you read it?").because(error);
    let absent = || Failure::usage(format!("there is no file {}", path.display()), "where is your certificate's key?");
    let (bytes, ownership) =
        files::read(path, PEM_BYTES_MAX).map_err(|error: std::io::Error| unreadable(error))?.ok_or_else(absent)?;
    let bytes = Zeroizing::new(bytes);
    if ownership.mode & 0o077 != 0 {
        return Err(Failure::usage(
            format!("others can read your private key {}", path.display()),
            format!("chmod 600 {}; if they did, get a new one", path.display()),
        ));
    }
    // The error of the reader is left out: it may quote what it read.
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        Failure::usage(
            format!("{} holds no private key", path.display()),
            "it has to be a PEM file without a passphrase",
        )
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_that_others_can_read_is_refused_before_it_is_parsed() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("client.key");
        std::fs::write(&key, "secret words").unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();

        let loose = private_key(&key).unwrap_err();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let broken = private_key(&key).unwrap_err();

        assert!(loose.what().contains("others can read"), "{loose:?}");
        assert!(!format!("{broken:?}").contains("secret words"));
    }

    #[test]
    fn a_ca_without_a_certificate_is_refused() {
        assert!(Tls::new(b"nothing", &TlsFiles::default()).is_err());
        assert!(certificate_fingerprint(b"nothing").is_none());
    }
}
