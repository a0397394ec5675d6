//! Who a client certificate says its holder is: the one URI among its names, a SPIFFE id (SPIFFE X.509-SVID §2).
//!
//! Nothing is believed here: [`super::gate`] then asks whether the authority of that trust domain stands behind it.

use rustls::pki_types::CertificateDer;
use thiserror::Error;
use trust::principal::SpiffeId;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// Why a certificate names nobody.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum NameFault {
    #[error("the certificate cannot be read")]
    Unreadable,
    #[error("the certificate is an authority's, not a client's")]
    Authority,
    #[error("the certificate's key usage lacks digitalSignature, or may sign certificates")]
    KeyUsage,
    #[error("the certificate's extended key usage does not name clientAuth")]
    NotForClients,
    #[error("the certificate has {found} URIs among its names, expected exactly one")]
    Uris { found: usize },
    #[error("the certificate's URI is no SPIFFE id")]
    NotSpiffe,
}

/// The name in a client's own certificate. Common name, DNS names, addresses are not looked at.
pub(crate) fn spiffe_id(der: &CertificateDer<'_>) -> Result<SpiffeId, NameFault> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| NameFault::Unreadable)?;
    if !rest.is_empty() {
        return Err(NameFault::Unreadable);
    }
    usable_by_a_client(&certificate)?;
    let names = certificate.subject_alternative_name().map_err(|_| NameFault::Unreadable)?;
    let names = names.map_or(&[][..], |extension| &extension.value.general_names);
    // A name that this parser cannot read could be a URI to another.
    if names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
        return Err(NameFault::Unreadable);
    }
    let uris: Vec<&str> = names.iter().filter_map(uri).collect();
    match uris.as_slice() {
        [one] => SpiffeId::parse(one).map_err(|_| NameFault::NotSpiffe),
        several => Err(NameFault::Uris { found: several.len() }),
    }
}

fn uri<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    if let GeneralName::URI(uri) = name { Some(uri) } else { None }
}

/// A key that may sign certificates or lists must not be a client's as well (SPIFFE X.509-SVID §4.3, §5.2),
/// and `anyExtendedKeyUsage` or none at all is no word about clients.
fn usable_by_a_client(certificate: &X509Certificate<'_>) -> Result<(), NameFault> {
    if certificate.is_ca() {
        return Err(NameFault::Authority);
    }
    let usage = certificate.key_usage().map_err(|_| NameFault::Unreadable)?;
    if usage
        .is_some_and(|usage| !usage.value.digital_signature() || usage.value.key_cert_sign() || usage.value.crl_sign())
    {
        return Err(NameFault::KeyUsage);
    }
    let extended = certificate.extended_key_usage().map_err(|_| NameFault::Unreadable)?;
    if extended.is_some_and(|extended| extended.value.client_auth) { Ok(()) } else { Err(NameFault::NotForClients) }
}
