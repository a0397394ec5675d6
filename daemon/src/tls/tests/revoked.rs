//! Certificates that their authority took back.

use super::*;

#[test]
fn a_revoked_certificate_is_refused_and_others_are_not() {
    let files = Files::with_revocation_list(&[7], FAR);
    let tls = load(&files);

    refused(&tls, &files.authority.issue(&client(7, &[BUILDER])), "Revoked");
    assert!(who(&tls, &files.authority.issue(&client(8, &[BUILDER]))).is_ok());
}

#[test]
fn a_stale_list_refuses_everybody() {
    let files = Files::with_revocation_list(&[], (2026, 5, 31));
    let tls = load(&files);

    refused(&tls, &files.authority.issue(&client(8, &[BUILDER])), "evocation");
    assert!(faults_of(&files.config)[0].contains("crl.pem: a revocation list of example.com is stale"));
}

#[test]
fn an_authority_in_the_middle_needs_a_list_of_its_own() {
    let files = Files::with_revocation_list(&[], FAR);
    let middle = files.authority.below("Middle", BasicConstraints::Constrained(0));
    let through = middle.issue(&client(1, &[BUILDER]));
    refused(&load(&files), &through, "evocation");

    let both = format!("{}{}", files.authority.revocation_list(&[], FAR), middle.revocation_list(&[], FAR));
    files.write("crl.pem", &both);

    assert!(who(&load(&files), &through).is_ok());
}

#[test]
fn a_list_that_somebody_else_signed_is_none() {
    let files = Files::with_revocation_list(&[], FAR);
    // The same name, so that only the signature tells them apart.
    files.write("crl.pem", &Authority::new("Test CA").revocation_list(&[], FAR));

    refused(&load(&files), &files.authority.issue(&client(1, &[BUILDER])), "BadSignature");
}

#[test]
fn a_list_in_der_is_read_too() {
    use rustls::pki_types::CertificateRevocationListDer;
    use rustls::pki_types::pem::PemObject as _;
    let files = Files::with_revocation_list(&[7], FAR);
    let pem = files.authority.revocation_list(&[7], FAR);
    let der = CertificateRevocationListDer::from_pem_slice(pem.as_bytes()).unwrap();
    std::fs::write(files.directory.path().join("crl.pem"), &*der).unwrap();

    refused(&load(&files), &files.authority.issue(&client(7, &[BUILDER])), "Revoked");
}

#[test]
fn a_list_of_another_issuer_is_a_fault() {
    let files = Files::with_revocation_list(&[], FAR);
    files.write("crl.pem", &Authority::new("Stranger").revocation_list(&[], FAR));

    let faults = faults_of(&files.config).join("\n");

    assert!(faults.contains("crl.pem: no revocation list of CN=Test CA"), "{faults}");
}
