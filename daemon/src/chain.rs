//! Chains of certificates that somebody shows who is not known yet.

use std::collections::HashSet;

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// Whether there is one way at most through these certificates: each reads, and no two have one subject. Of several with
/// one name a verifier tries every order (RFC 4158 §2.4), and each step of it is a signature to verify: whoever makes such
/// a chain for nothing would have us work for a tenth of a second.
pub(crate) fn has_one_way(above: &[CertificateDer<'_>]) -> bool {
    let mut subjects = HashSet::with_capacity(above.len());
    above.iter().all(|der| match X509Certificate::from_der(der) {
        Ok(([], certificate)) => subjects.insert(certificate.subject().as_raw().to_vec()),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn named(name: &str) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, name);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn two_of_one_name_or_what_is_no_certificate_leave_no_one_way() {
        let (one, again, other) = (named("one"), named("one"), named("other"));

        assert!(has_one_way(&[]) && has_one_way(&[one.clone(), other.clone()]));
        assert!(!has_one_way(&[one.clone(), other.clone(), again]));
        assert!(!has_one_way(&[one.clone(), other, one]));
        assert!(!has_one_way(&[CertificateDer::from(vec![0x30, 0x00])]));
    }
}
