//! Who is let in and who is not, and what the files must be.

mod revoked;

use std::os::unix::fs::PermissionsExt as _;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, date_time_ymd,
};
use trust::Principal;

use super::authority::{Authority, BUILDER, Files, NOW, Pair, client, write_pair};
use super::*;
use crate::config::ClientCaConfig;

const FAR: (i32, u8, u8) = (2096, 1, 1);

fn clock() -> Clock {
    Clock::manual(NOW * 1000)
}

fn load(files: &Files) -> TlsState {
    TlsState::load(&files.config, Manner::Custody, clock()).unwrap()
}

fn who(tls: &TlsState, pair: &Pair) -> Result<SpiffeId, Arc<TlsRefusal>> {
    tls.recheck(&Peer::new(&pair.chain).unwrap(), NOW)
}

/// Asserts that nobody is let in, for a reason that says `word`.
fn refused(tls: &TlsState, pair: &Pair, word: &str) {
    let refusal = who(tls, pair).err().unwrap_or_else(|| panic!("let in, expected {word}"));
    assert!(refusal.to_string().contains(word), "{word}: {refusal}");
}

fn faults_of(config: &TlsConfig) -> Vec<String> {
    faults(config, &clock()).iter().map(ToString::to_string).collect()
}

#[test]
fn the_one_uri_is_the_identity_and_other_names_are_not_looked_at() {
    let files = Files::new();
    let mut params = client(1, &[BUILDER]);
    params.subject_alt_names.push(SanType::DnsName("spiffe.example.org".try_into().unwrap()));
    params.subject_alt_names.push(SanType::Rfc822Name("root@example.com".try_into().unwrap()));

    let id = who(&load(&files), &files.authority.issue(&params)).unwrap();

    assert_eq!(Principal::Spiffe(id).to_string(), BUILDER);
}

#[test]
fn a_certificate_without_exactly_one_sound_uri_names_nobody() {
    let files = Files::new();
    let tls = load(&files);
    for (uris, word) in [
        (&[][..], "0 URIs"),
        (&[BUILDER, "spiffe://example.com/other"], "2 URIs"),
        (&[BUILDER, BUILDER], "2 URIs"),
        (&[BUILDER, "https://example.com/"], "2 URIs"),
        (&["https://example.com/ci/builder"], "no SPIFFE id"),
        (&["spiffe://example.com"], "no SPIFFE id"),
        (&["spiffe://example.com/"], "no SPIFFE id"),
        (&["spiffe://EXAMPLE.com/ci/builder"], "no SPIFFE id"),
        (&["spiffe://example.com/ci/../builder"], "no SPIFFE id"),
        (&["spiffe://example.com/*"], "no SPIFFE id"),
        (&["spiffe://*.com/ci/builder"], "no SPIFFE id"),
        (&["spiffe://example.com:443/ci/builder"], "no SPIFFE id"),
        (&["spiffe://example.com/ci/builder\0"], "no SPIFFE id"),
        (&["SPIFFE://example.com/ci/builder"], "no SPIFFE id"),
        (&["spiffe://elsewhere.example/ci/builder"], "no authority speaks"),
        (&["spiffe://sub.example.com/ci/builder"], "no authority speaks"),
    ] {
        refused(&tls, &files.authority.issue(&client(1, uris)), word);
    }
    let mut named = client(1, &[]);
    named.subject_alt_names = vec![SanType::DnsName("example.com".try_into().unwrap())];
    refused(&tls, &files.authority.issue(&named), "0 URIs");
}

#[test]
fn a_certificate_that_is_for_something_else_is_refused() {
    let files = Files::new();
    let tls = load(&files);
    let issue = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = client(1, &[BUILDER]);
        change(&mut params);
        files.authority.issue(&params)
    };

    refused(&tls, &issue(&|c| c.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]), "clientAuth");
    refused(&tls, &issue(&|c| c.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]), "clientAuth");
    refused(&tls, &issue(&|c| c.extended_key_usages.clear()), "clientAuth");
    refused(&tls, &issue(&|c| c.key_usages = vec![KeyUsagePurpose::KeyAgreement]), "digitalSignature");
    refused(&tls, &issue(&|c| c.key_usages.push(KeyUsagePurpose::KeyCertSign)), "digitalSignature");
    refused(&tls, &issue(&|c| c.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), "authority's");
    let expired = |c: &mut CertificateParams| c.not_after = date_time_ymd(2026, 5, 31);
    refused(&tls, &issue(&expired), "expired");
    let early = |c: &mut CertificateParams| c.not_before = date_time_ymd(2026, 6, 2);
    refused(&tls, &issue(&early), "not valid yet");
    let both = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    assert!(who(&tls, &issue(&|c| c.extended_key_usages.clone_from(&both))).is_ok());
}

#[test]
fn a_chain_with_more_than_one_way_through_it_is_refused_before_it_is_tried() {
    let files = Files::new();
    let mut pair = files.authority.issue(&client(1, &[BUILDER]));
    pair.chain.push(files.authority.der.clone());
    let tls = load(&files);
    assert!(who(&tls, &pair).is_ok());

    pair.chain.push(Authority::new("Test CA").der);

    refused(&tls, &pair, "one subject");
}

#[test]
fn bytes_that_are_no_certificate_name_nobody() {
    let files = Files::new();
    let tls = load(&files);
    let good = files.authority.issue(&client(1, &[BUILDER]));
    let whole = good.chain[0].to_vec();
    for cut in 0..whole.len() {
        let chain = [CertificateDer::from(whole[..cut].to_vec())];
        assert!(tls.recheck(&Peer::new(&chain).unwrap(), NOW).is_err(), "{cut}");
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(tls.recheck(&Peer::new(&[CertificateDer::from(longer)]).unwrap(), NOW).is_err());
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        assert!(tls.recheck(&Peer::new(&[CertificateDer::from(flipped)]).unwrap(), NOW).is_err(), "{at}");
    }
    assert!(Peer::new(&[]).is_none());
}

#[test]
fn an_authority_speaks_for_its_own_trust_domain_only() {
    let mut files = Files::new();
    let other = Authority::new("Other CA");
    let certificate = files.write("other.pem", &other.pem);
    let trust_domain = "other.example".to_owned();
    files.config.client_cas.push(ClientCaConfig { trust_domain, certificate, crl: None });
    let tls = load(&files);

    refused(&tls, &other.issue(&client(1, &[BUILDER])), "UnknownIssuer");
    refused(&tls, &files.authority.issue(&client(1, &["spiffe://other.example/ci"])), "UnknownIssuer");
    assert!(who(&tls, &other.issue(&client(1, &["spiffe://other.example/ci"]))).is_ok());
    // Same name, another key.
    refused(&tls, &Authority::new("Test CA").issue(&client(1, &[BUILDER])), "invalid peer certificate");
}

#[test]
fn authorities_that_follow_each_other_may_share_a_file() {
    let files = Files::new();
    let next = Authority::new("Next CA");
    files.write("ca.pem", &format!("{}{}", files.authority.pem, next.pem));
    let tls = load(&files);

    for authority in [&files.authority, &next] {
        assert!(who(&tls, &authority.issue(&client(1, &[BUILDER]))).is_ok());
    }
}

#[test]
fn a_chain_is_followed_as_far_as_its_authorities_may_go() {
    let files = Files::new();
    let tls = load(&files);
    let middle = files.authority.below("Middle", BasicConstraints::Constrained(0));

    let through = middle.issue(&client(1, &[BUILDER]));
    assert!(who(&tls, &through).is_ok());
    let alone = Pair { chain: through.chain[..1].to_vec(), key: through.key };
    refused(&tls, &alone, "UnknownIssuer");
    let too_deep = middle.below("Lowest", BasicConstraints::Unconstrained).issue(&client(1, &[BUILDER]));
    refused(&tls, &too_deep, "invalid peer certificate");
}

#[test]
fn a_client_is_no_authority_for_others() {
    let files = Files::new();
    let tls = load(&files);
    let forger = Authority::with("forger", |params| *params = client(1, &[BUILDER]));
    let real = files.authority.issue(&client(1, &[BUILDER]));
    let mut forged = forger.issue(&client(2, &["spiffe://example.com/admin"]));
    forged.chain.extend(real.chain);

    refused(&tls, &forged, "invalid peer certificate");
}

#[test]
fn an_authority_that_is_out_of_date_lets_nobody_in() {
    let files = Files::new();
    let old = Authority::with("Old CA", |params| params.not_after = date_time_ymd(2026, 5, 1));
    files.write("ca.pem", &old.pem);
    let tls = load(&files);

    refused(&tls, &old.issue(&client(1, &[BUILDER])), "out of date");
    assert!(faults_of(&files.config)[0].contains("ca.pem: an authority of example.com is out of date"));
}

#[test]
fn a_reload_holds_open_connections_to_the_new_files_at_once() {
    let files = Files::with_revocation_list(&[], FAR);
    let tls = load(&files);
    let peer = Peer::new(&files.authority.issue(&client(7, &[BUILDER])).chain).unwrap();
    assert!(tls.recheck(&peer, NOW).is_ok());

    files.write("crl.pem", &files.authority.revocation_list(&[7], FAR));
    tls.reload().unwrap();
    assert!(tls.recheck(&peer, NOW).is_err());

    files.write("crl.pem", &files.authority.revocation_list(&[], FAR));
    tls.reload().unwrap();
    assert!(tls.recheck(&peer, NOW).is_ok());
}

#[test]
fn a_connection_does_not_outlive_its_certificate() {
    let files = Files::new();
    let tls = load(&files);
    let mut params = client(7, &[BUILDER]);
    params.not_after = date_time_ymd(2026, 6, 2);
    let peer = Peer::new(&files.authority.issue(&params).chain).unwrap();
    let end = NOW + 24 * 3600;

    assert!(tls.recheck(&peer, end).is_ok());
    assert!(tls.recheck(&peer, end + 1).is_err());
    assert!(tls.recheck(&peer, end).is_ok());
}

#[test]
fn a_verdict_ends_with_the_first_thing_that_ends_and_when_the_clock_is_put_back() {
    let files = Files::with_revocation_list(&[], (2026, 6, 2));
    let middle = files.authority.below("Middle", BasicConstraints::Constrained(0));
    let lists = |next_update| {
        format!("{}{}", files.authority.revocation_list(&[], FAR), middle.revocation_list(&[], next_update))
    };
    let midnight = NOW + 24 * 3600;
    // Each of: the list in the middle, the list above, the client itself ends at midnight.
    for (list, not_after) in [
        (lists((2026, 6, 2)), date_time_ymd(2027, 1, 1)),
        (
            format!("{}{}", files.authority.revocation_list(&[], (2026, 6, 2)), middle.revocation_list(&[], FAR)),
            date_time_ymd(2027, 1, 1),
        ),
        (lists(FAR), date_time_ymd(2026, 6, 2)),
    ] {
        files.write("crl.pem", &list);
        let tls = load(&files);
        let mut params = client(1, &[BUILDER]);
        params.not_before = date_time_ymd(2026, 5, 1);
        params.not_after = not_after;
        let peer = Peer::new(&middle.issue(&params).chain).unwrap();

        assert!(tls.recheck(&peer, NOW).is_ok());
        assert!(tls.recheck(&peer, midnight - 1).is_ok());
        assert!(tls.recheck(&peer, midnight + 1).is_err());
        assert!(tls.recheck(&peer, midnight - 1).is_ok());
        assert!(tls.recheck(&peer, NOW - 40 * 24 * 3600).is_err());
    }
}

#[test]
fn a_yes_is_not_looked_for_again_before_something_ends() {
    let files = Files::with_revocation_list(&[], (2026, 6, 2));
    let tls = load(&files);
    let peer = Peer::new(&files.authority.issue(&client(1, &[BUILDER])).chain).unwrap();

    assert!(tls.recheck(&peer, NOW).is_ok());

    let last = peer.last.lock().unwrap().clone().unwrap();
    assert_eq!((last.at_unix_seconds, last.until_unix_seconds), (NOW, NOW + 24 * 3600));
}

#[test]
fn a_reload_that_fails_names_the_file_and_changes_nothing() {
    let files = Files::new();
    let tls = load(&files);
    let before = tls.server();
    files.write("server.pem", "not a certificate\n");

    let faults = tls.reload().unwrap_err().to_string();

    assert!(faults.contains("server.pem: no PEM certificate"), "{faults}");
    assert!(Arc::ptr_eq(&before, &tls.server()));
    assert!(who(&tls, &files.authority.issue(&client(7, &[BUILDER]))).is_ok());
}

#[test]
fn every_bad_file_is_named_at_once() {
    let mut files = Files::with_revocation_list(&[], FAR);
    files.write("server.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    files.write("ca.pem", &files.authority.pem.replacen("MI", "MX", 1));
    files.write("crl.pem", "nothing");
    let key = files.directory.path().join("server.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let leaf = files.authority.issue(&client(1, &[BUILDER]));
    write_pair(files.directory.path(), "leaf", &leaf);
    for (trust_domain, file) in [("a.example", "leaf.pem"), ("b.example", "absent.pem"), ("c.example", ".")] {
        let certificate = files.directory.path().join(file);
        files.config.client_cas.push(ClientCaConfig { trust_domain: trust_domain.to_owned(), certificate, crl: None });
    }

    let faults = faults_of(&files.config).join("\n");

    for expected in [
        "ca.pem: a certificate in it cannot be read",
        "crl.pem: no revocation list",
        "leaf.pem: CN=rcgen self signed cert is no certificate authority",
        "absent.pem: No such file",
        ".: not a file",
        "server.pem: cut short",
        "server.key: mode 0640, expected 0600 or stricter",
    ] {
        assert!(faults.contains(expected), "{expected}\n--\n{faults}");
    }
    assert!(TlsState::load(&files.config, Manner::Custody, clock()).is_err());
}

#[test]
fn a_key_of_another_certificate_is_a_fault_that_does_not_quote_it() {
    let files = Files::new();
    let other = files.authority.issue(&client(1, &[BUILDER]));
    let key = files.directory.path().join("server.key");
    std::fs::write(&key, other.key.serialize_pem()).unwrap();
    let faults = faults_of(&files.config).join("\n");
    assert!(faults.contains("server.key: not the key of"), "{faults}");

    let (secret, broken) = ("MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg!", "server.key: not PEM");
    std::fs::write(&key, format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n")).unwrap();
    let faults = faults_of(&files.config).join("\n");
    assert!(faults.contains(broken) && !faults.contains("MIGH"), "{faults}");

    std::fs::write(&key, "").unwrap();
    assert!(faults_of(&files.config).join("\n").contains("server.key: no PEM private key"));
}

#[test]
fn one_authority_cannot_be_bound_to_two_trust_domains() {
    let mut files = Files::new();
    let mut again = files.config.client_cas[0].clone();
    again.trust_domain = "other.example".to_owned();
    files.config.client_cas.push(again);

    let faults = faults_of(&files.config).join("\n");

    assert!(faults.contains("ca.pem: CN=Test CA already speaks for example.com"), "{faults}");
}

#[test]
fn a_file_that_is_too_long_is_not_read() {
    let files = Files::new();
    files.write("ca.pem", &" ".repeat(1024 * 1024 + 1));

    assert!(faults_of(&files.config).join("\n").contains("ca.pem: longer than 1048576 bytes"));
}

#[test]
fn no_session_can_be_resumed_and_the_hybrid_group_comes_first() {
    let server = load(&Files::new()).server();

    assert_eq!((server.send_tls13_tickets, server.max_early_data_size), (0, 0));
    assert!(!server.ticketer.enabled());
    assert!(!server.session_storage.can_cache());
    assert_eq!(server.alpn_protocols, [ALPN.to_vec()]);
    let groups: Vec<_> = server.crypto_provider().kx_groups.iter().map(|group| group.name()).collect();
    assert_eq!(groups[0], rustls::NamedGroup::X25519MLKEM768);
    assert!(server.crypto_provider().cipher_suites.iter().all(|suite| suite.tls13().is_some()));
}

#[test]
fn strangers_clients_get_the_cheap_group_and_the_cheap_hash() {
    let server = TlsState::load(&Files::new().config, Manner::Public(Asked::Nobody), clock()).unwrap().server();

    assert!(server.ignore_client_order);
    assert_eq!(server.crypto_provider().kx_groups[0].name(), rustls::NamedGroup::X25519);
    for is_tls13 in [true, false] {
        let suites = &server.crypto_provider().cipher_suites;
        let first = suites.iter().find(|suite| suite.tls13().is_some() == is_tls13).unwrap();
        assert!(format!("{:?}", first.suite()).ends_with("AES_128_GCM_SHA256"), "{:?}", first.suite());
    }
}
