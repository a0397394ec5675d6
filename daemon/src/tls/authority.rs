//! Certificates for the tests of TLS, made as an administrator's tools would.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

use crate::config::{ClientCaConfig, TlsConfig};

/// The id of the client that is let in.
pub(crate) const BUILDER: &str = "spiffe://example.com/ci/builder";
/// 2026-06-01: within the lifetime of everything made here.
pub(crate) const NOW: u64 = 1_780_272_000;

/// A certificate with its key.
pub(crate) struct Pair {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
}

impl Pair {
    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }
}

/// An authority, whose certificates carry those of the authorities above it.
pub(crate) struct Authority {
    pub(crate) pem: String,
    pub(crate) der: CertificateDer<'static>,
    above: Vec<CertificateDer<'static>>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    pub(crate) fn with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority(name, BasicConstraints::Unconstrained);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Self { pem, der, above: Vec::new(), issuer: Issuer::new(params, key) }
    }

    /// An authority below this one.
    pub(crate) fn below(&self, name: &str, constraint: BasicConstraints) -> Self {
        let params = authority(name, constraint);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut above = vec![certificate.der().clone()];
        above.extend(self.above.iter().cloned());
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Self { pem, der, above, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn issue(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut chain = vec![params.signed_by(&key, &self.issuer).unwrap().der().clone()];
        chain.extend(self.above.iter().cloned());
        Pair { chain, key }
    }

    pub(crate) fn revocation_list(&self, revoked: &[u64], next_update: (i32, u8, u8)) -> String {
        let revoked_certs = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(next_update.0, next_update.1, next_update.2),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

fn authority(name: &str, constraint: BasicConstraints) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(constraint);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// What a client's certificate is made of: serial number and URIs.
pub(crate) fn client(serial: u64, uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from(serial));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params
}

/// The files of a `[tls]` section.
pub(crate) struct Files {
    pub(crate) directory: TempDir,
    pub(crate) authority: Authority,
    pub(crate) config: TlsConfig,
}

impl Files {
    /// One authority for servers and clients, without a revocation list.
    pub(crate) fn new() -> Self {
        let (directory, authority) = (TempDir::new().unwrap(), Authority::new("Test CA"));
        let at = |name: &str| directory.path().join(name);
        let mut server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server = authority.issue(&server);
        write_pair(directory.path(), "server", &server);
        std::fs::write(at("ca.pem"), &authority.pem).unwrap();
        let client_cas =
            vec![ClientCaConfig { trust_domain: "example.com".to_owned(), certificate: at("ca.pem"), crl: None }];
        let config = TlsConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            certificate: at("server.pem"),
            key: at("server.key"),
            client_cas,
        };
        Self { directory, authority, config }
    }

    /// The same, with this list of revoked serial numbers.
    pub(crate) fn with_revocation_list(revoked: &[u64], next_update: (i32, u8, u8)) -> Self {
        let mut files = Self::new();
        let list = files.write("crl.pem", &files.authority.revocation_list(revoked, next_update));
        files.config.client_cas[0].crl = Some(list);
        files
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// Writes `name.pem` and `name.key`, the latter closed to others.
pub(crate) fn write_pair(directory: &Path, name: &str, pair: &Pair) {
    let pem: String = pair.chain.iter().map(|der| pem("CERTIFICATE", der)).collect();
    std::fs::write(directory.join(format!("{name}.pem")), pem).unwrap();
    let key = directory.join(format!("{name}.key"));
    std::fs::write(&key, pair.key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
