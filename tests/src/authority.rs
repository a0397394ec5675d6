//! A certificate authority of a run's own, and the certificates it signs: ECDSA P-256, thrown away with the run.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// An authority for servers and clients alike.
#[derive(Debug)]
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: Certificate,
    /// Its key.
    pub key: KeyPair,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().context("make the authority's key")?;
        let certificate = params.self_signed(&key).context("make the authority")?;
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// Its own certificate.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// What signs in its name: revocation lists, too.
    #[must_use]
    pub const fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// Writes its certificate to a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        std::fs::write(file, self.certificate.pem()).context("write the authority")
    }

    /// Signs a certificate for a new key.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn sign(&self, mut params: CertificateParams) -> Result<Pair> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().context("make a key")?;
        let certificate = params.signed_by(&key, &self.issuer).context("sign a certificate")?;
        Ok(Pair { certificate, key })
    }

    /// The same, written to `NAME.pem` and `NAME.key` in `directory`, the latter closed to others.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn issue(&self, directory: &Path, name: &str, mut params: CertificateParams) -> Result<()> {
        params.distinguished_name = named(name);
        let Pair { certificate, key } = self.sign(params)?;
        let at = |ending: &str| directory.join(format!("{name}.{ending}"));
        std::fs::write(at("pem"), certificate.pem()).with_context(|| format!("write the certificate of {name}"))?;
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(at("key"));
        let mut file = opened.with_context(|| format!("make the key file of {name}"))?;
        file.write_all(key.serialize_pem().as_bytes()).with_context(|| format!("write the key of {name}"))
    }
}

impl Pair {
    /// As a TLS client shows them.
    ///
    /// # Errors
    /// When the key has no form that TLS knows.
    pub fn shown(&self) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
        let key =
            PrivateKeyDer::try_from(self.key.serialize_der()).map_err(|error| anyhow!("a key for TLS: {error}"))?;
        Ok((self.certificate.der().clone(), key))
    }
}

/// What a server's certificate says: these names and addresses.
///
/// # Errors
/// For a name that is none.
pub fn server(names: &[&str]) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).context("name a server")?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

/// What a client's certificate says: these URIs.
///
/// # Errors
/// For a URI that is none.
pub fn client(uris: &[&str]) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let uri = |uri: &&str| Ok(SanType::URI((*uri).try_into().context("name a client")?));
    params.subject_alt_names = uris.iter().map(uri).collect::<Result<_>>()?;
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
