//! The files of `[tls]`, read whole and bounded; each fault names its file.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use zeroize::Zeroizing;

use crate::config::{ConfigFault, TlsConfig};

/// The longest file of certificates or of a key, in bytes.
const PEM_BYTES_MAX: u64 = 1024 * 1024;
/// The longest file of revocation lists, in bytes: some 400,000 entries.
const CRL_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What the daemon shows its clients.
pub(super) struct Own {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) lifetime: Lifetime,
}

/// From when to when something counts, in seconds since the Unix epoch, both included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetime {
    pub(super) from: i64,
    pub(super) until: i64,
}

impl Lifetime {
    pub(super) fn covers(self, now_unix_seconds: u64) -> bool {
        let now = i64::try_from(now_unix_seconds).unwrap_or(i64::MAX);
        (self.from..=self.until).contains(&now)
    }
}

impl From<&x509_parser::certificate::Validity> for Lifetime {
    fn from(validity: &x509_parser::certificate::Validity) -> Self {
        Self { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() }
    }
}

/// A fault of the file at `path`.
pub(super) fn fault(path: &Path, what: impl Into<String>) -> ConfigFault {
    ConfigFault { place: path.display().to_string(), what: what.into() }
}

/// The daemon's own chain and key; `None` leaves at least one fault.
pub(super) fn own(config: &TlsConfig, faults: &mut Vec<ConfigFault>) -> Option<Own> {
    let mut take = |path: &Path, what| faults.push(fault(path, what));
    let chain = certificates(&config.certificate).and_then(|chain| Ok((lifetime(&chain)?, chain)));
    let key = private_key(&config.key);
    match (chain, key) {
        (Ok((lifetime, chain)), Ok(key)) => Some(Own { chain, key, lifetime }),
        (chain, key) => {
            chain.map_err(|what| take(&config.certificate, what)).ok();
            key.map_err(|what| take(&config.key, what)).ok();
            None
        }
    }
}

fn lifetime(chain: &[CertificateDer<'_>]) -> Result<Lifetime, String> {
    let first = chain.first().ok_or("no certificate")?;
    Ok(Lifetime::from(certificate(first)?.validity()))
}

/// Every certificate of a PEM file; at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = bounded(open(path)?, PEM_BYTES_MAX)?;
    let chain =
        CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>().map_err(|error| not_pem(&error))?;
    if chain.is_empty() {
        return Err("no PEM certificate (-----BEGIN CERTIFICATE-----)".to_owned());
    }
    Ok(chain)
}

/// A certificate's fields.
pub(super) fn certificate<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err("a certificate in it cannot be read".to_owned()),
    }
}

/// Every revocation list of a PEM file, or the one of a DER file.
pub(super) fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let bytes = bounded(open(path)?, CRL_BYTES_MAX)?;
    // A DER list begins with a SEQUENCE (X.690 §8.9).
    if bytes.first() == Some(&0x30) {
        return Ok(vec![CertificateRevocationListDer::from(bytes.to_vec())]);
    }
    let lists = CertificateRevocationListDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| not_pem(&error))?;
    if lists.is_empty() { Err("no revocation list (-----BEGIN X509 CRL-----)".to_owned()) } else { Ok(lists) }
}

/// The daemon's key, from a file that nobody else can read.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let file = open(path)?;
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own && metadata.uid() != 0 {
        return Err(format!("owned by uid {}, expected the daemon's own or root", metadata.uid()));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(format!("mode {:04o}, expected 0600 or stricter", metadata.mode() & 0o7777));
    }
    let bytes = bounded(file, PEM_BYTES_MAX)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => "no PEM private key (-----BEGIN PRIVATE KEY-----)".to_owned(),
        other => not_pem(&other),
    })
}

fn not_pem(error: &pem::Error) -> String {
    // The error may quote the file; a key file's content must not reach a log.
    match error {
        pem::Error::MissingSectionEnd { .. } => "cut short: a PEM section has no end".to_owned(),
        _ => "not PEM".to_owned(),
    }
}

fn open(path: &Path) -> Result<File, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let is_file = file.metadata().map_err(|error| error.to_string())?.is_file();
    if is_file { Ok(file) } else { Err("not a file".to_owned()) }
}

fn bounded(file: File, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    if length > bytes_max {
        return Err(format!("longer than {bytes_max} bytes"));
    }
    // Room for all of it at once: a buffer that grows leaves copies of a key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or_default().saturating_add(1)));
    file.take(length).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}
