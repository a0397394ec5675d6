//! Chains of certificates that somebody shows who is not known yet.

use std::collections::HashSet;

use rustls::pki_types::CertificateDer;

use super::files::certificate;

/// Holds what stands above a certificate to one way through it. Of several certificates with one subject a verifier tries
/// every order (RFC 4158 §2.4), and each step of it is a signature to verify: whoever makes such a chain for nothing would
/// have us work for a tenth of a second.
///
/// # Errors
/// In words, where two have one subject, or one does not read.
pub(crate) fn one_way(above: &[CertificateDer<'_>]) -> Result<(), String> {
    let mut subjects = HashSet::with_capacity(above.len());
    for der in above {
        if !subjects.insert(certificate(der)?.subject().as_raw().to_vec()) {
            return Err("two certificates of the chain have one subject".to_owned());
        }
    }
    Ok(())
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

        assert!(one_way(&[]).is_ok() && one_way(&[one.clone(), other.clone()]).is_ok());
        assert!(one_way(&[one.clone(), other.clone(), again]).is_err());
        assert!(one_way(&[one.clone(), other, one]).is_err());
        assert!(one_way(&[CertificateDer::from(vec![0x30, 0x00])]).is_err());
    }
}
