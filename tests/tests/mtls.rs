//! The daemon on TCP: who gets through TLS, who does not, and what a reload changes. The client is trustctl.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rcgen::{
    CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose, KeyIdMethod, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use tempfile::TempDir;
use trust_tests::authority::{self, Authority};
use trust_tests::http::free_address;
use trust_tests::program::{openssl, run};
use trust_tests::wait::until;
use trust_tests::{Daemon, Ran, Setup, Trustctl};

const CI: &str = "spiffe://example.com/ci/builder";

fn revocation_list(authority: &Authority, revoked: &[u64], next_update: (i32, u8, u8)) -> String {
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
    params.signed_by(authority.issuer()).unwrap().pem().unwrap()
}

fn client(serial: u64, uris: &[&str]) -> CertificateParams {
    let mut params = authority::client(uris).unwrap();
    params.serial_number = Some(SerialNumber::from(serial));
    params
}

/// A daemon on TCP, its CA, and a directory with certificates.
struct Scene {
    directory: TempDir,
    authority: Authority,
    port: u16,
    daemon: Daemon,
}

const FAR: (i32, u8, u8) = (2096, 1, 1);
/// Far longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(600);

impl Scene {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let at = directory.path();
        let authority = Authority::new("Test CA").unwrap();
        authority.write(&at.join("ca.pem")).unwrap();
        std::fs::write(at.join("crl.pem"), revocation_list(&authority, &[], FAR)).unwrap();
        authority.issue(at, "server", authority::server(&["localhost"]).unwrap()).unwrap();
        authority.issue(at, "ci", client(7, &[CI])).unwrap();
        // Free when we look; nobody else of this test binds fixed ports.
        let port = free_address().unwrap().port();
        let more = format!(
            "[tls]\nlisten = \"127.0.0.1:{port}\"\ncertificate = \"{0}/server.pem\"\nkey = \"{0}/server.key\"\n\
             [[tls.client_ca]]\ncertificate = \"{0}/ca.pem\"\ntrust_domain = \"example.com\"\ncrl = \"{0}/crl.pem\"\n",
            at.display()
        );
        let daemon = Daemon::with(&Setup { more, ..Setup::allowing_raw() }).unwrap();
        Self { directory, authority, port, daemon }
    }

    fn at(&self) -> &Path {
        self.directory.path()
    }

    /// `trustctl status` with the certificate `name`.
    fn status(&self, name: &str) -> Ran {
        self.user(name).run(&["--output", "json", "status"]).unwrap()
    }

    fn user(&self, name: &str) -> Trustctl {
        let user = Trustctl::new().unwrap();
        let text = format!(
            "endpoint = \"https://localhost:{}\"\ncertificate = \"{1}/{name}.pem\"\nkey = \"{1}/{name}.key\"\nca = \"{1}/ca.pem\"\n",
            self.port,
            self.at().display()
        );
        user.configure(&text).unwrap();
        user
    }

    fn refused(&self, name: &str) {
        let ran = self.status(name);
        assert!(matches!(ran.code, Some(1 | 3)), "{name} got through: {ran}");
    }

    fn accepted(&self, name: &str) {
        let ran = self.status(name).ok().unwrap();
        assert!(ran.stdout.contains(CI), "{ran}");
    }

    /// Replaces a file as an administrator does, and sends SIGHUP.
    fn reload_with(&mut self, file: &str, text: &str) {
        let new: PathBuf = self.at().join(format!("{file}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.at().join(file)).unwrap();
        self.daemon.process().unwrap().signal(rustix::process::Signal::HUP);
    }
}

#[test]
fn one_spiffe_uri_of_the_cas_trust_domain_is_the_identity() {
    let scene = Scene::new();

    scene.accepted("ci");
}

#[test]
fn every_other_certificate_is_refused() {
    let scene = Scene::new();
    let at = scene.at();
    let issue = |name: &str, params| scene.authority.issue(at, name, params).unwrap();
    let mut expired = client(1, &[CI]);
    (expired.not_before, expired.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    issue("expired", expired);
    let mut early = client(2, &[CI]);
    (early.not_before, early.not_after) = (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1));
    issue("not-yet-valid", early);
    issue("two-uris", client(3, &[CI, "spiffe://example.com/other"]));
    issue("no-uri", client(4, &[]));
    issue("another-domain", client(5, &["spiffe://elsewhere.example/ci/builder"]));
    let mut server = client(6, &[CI]);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    issue("for-servers", server);
    Authority::new("Test CA").unwrap().issue(at, "another-ca", client(8, &[CI])).unwrap();

    for name in ["expired", "not-yet-valid", "two-uris", "no-uri", "another-domain", "for-servers", "another-ca"] {
        scene.refused(name);
    }
    scene.accepted("ci");
}

#[test]
fn without_a_certificate_there_is_no_handshake() {
    let scene = Scene::new();
    scene.accepted("ci");
    let user = scene.user("ci");
    let text = format!("endpoint = \"https://localhost:{}\"\nca = \"{}/ca.pem\"\n", scene.port, scene.at().display());
    user.configure(&text).unwrap();

    // The connection ends; nothing of the call itself is wrong, and no door has refused it.
    user.run(&["status"]).unwrap().exited(3).unwrap();
}

#[test]
fn a_revocation_and_a_stale_list_count_after_a_reload_without_restart() {
    let mut scene = Scene::new();
    let before = scene.daemon.id().unwrap();
    scene.accepted("ci");
    let becomes = |scene: &Scene, code: i32| {
        until("the reload", Duration::from_secs(10), || Ok((scene.status("ci").code == Some(code)).then_some(())))
    };

    let revoked = revocation_list(&scene.authority, &[7], FAR);
    scene.reload_with("crl.pem", &revoked);
    until("the revocation", Duration::from_secs(10), || Ok((scene.status("ci").code != Some(0)).then_some(())))
        .unwrap();

    let fresh = revocation_list(&scene.authority, &[], FAR);
    scene.reload_with("crl.pem", &fresh);
    becomes(&scene, 0).unwrap();

    let stale = revocation_list(&scene.authority, &[], (2026, 1, 2));
    scene.reload_with("crl.pem", &stale);
    until("the stale list", Duration::from_secs(10), || Ok((scene.status("ci").code != Some(0)).then_some(())))
        .unwrap();

    assert_eq!(scene.daemon.id().unwrap(), before);
}

#[test]
fn a_revocation_counts_for_the_next_message_of_a_stream() {
    let mut scene = Scene::new();
    let user = scene.user("ci");
    let ca = scene.at().join("ca.pem");
    let address = format!("https://localhost:{}", scene.port);
    user.run(&["enroll", &address, "--ca", ca.to_str().unwrap()]).unwrap().ok().unwrap();
    user.run(&["key", "create", "ci/raw", "--purpose", "raw", "--algorithm", "ed25519"]).unwrap().ok().unwrap();
    let mut command = user.command(&["verify", "--batch", "-", "--key", "ci/raw"]);
    let out = user.file("out");
    command.stdin(Stdio::piped()).stdout(std::fs::File::create(&out).unwrap()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A chunk and one item of the next: signatures of nobody's, so that each is named as soon as it has its verdict, and
    // the last one, too, though no more comes for now.
    let line = format!("{{\"message\":\"\",\"signature\":\"{}AA==\"}}\n", "A".repeat(84));
    stdin.write_all(line.repeat(4097).as_bytes()).unwrap();
    let named = || std::fs::read_to_string(&out).unwrap_or_default().lines().count();
    until("the first answers", LONG, || Ok((named() == 4097).then_some(()))).unwrap();

    let revoked = revocation_list(&scene.authority, &[7], FAR);
    scene.reload_with("crl.pem", &revoked);
    until("the revocation", LONG, || Ok((scene.status("ci").code != Some(0)).then_some(()))).unwrap();
    let _ = stdin.write_all(line.repeat(9000).as_bytes()); // it may end before it has read that
    drop(stdin);

    let ended = until("it ends", LONG, || Ok(child.try_wait()?)).unwrap();
    assert!(matches!(ended.code(), Some(1 | 3)), "{ended}");
    assert_eq!(named(), 4097);
}

#[test]
fn a_broken_certificate_keeps_the_old_one_in_force() {
    let mut scene = Scene::new();

    scene.reload_with("server.pem", "not a certificate\n");

    let log = || scene.daemon.log();
    until("a word about it", Duration::from_secs(10), || Ok(log().contains("server.pem").then_some(()))).unwrap();
    scene.accepted("ci");
}

#[test]
fn a_daemon_that_is_asked_for_tls_and_cannot_does_not_start() {
    let mut scene = Scene::new();
    scene.daemon.terminate().unwrap();
    std::fs::write(scene.at().join("server.pem"), "not a certificate\n").unwrap();

    let ran = scene.daemon.trustd(&["serve"]).unwrap();

    assert_ne!(ran.code, Some(0), "{ran}");
    assert!(TcpStream::connect(("127.0.0.1", scene.port)).is_err());
}

#[test]
fn a_key_that_others_can_read_stops_the_start_and_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let mut scene = Scene::new();
    scene.daemon.terminate().unwrap();
    std::fs::set_permissions(scene.at().join("server.key"), std::fs::Permissions::from_mode(0o640)).unwrap();

    let ran = scene.daemon.trustd(&["serve"]).unwrap();

    assert_ne!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.contains("server.key: mode 0640"), "{ran}");
    assert!(TcpStream::connect(("127.0.0.1", scene.port)).is_err());
}

/// `openssl s_client` with more arguments, and what it says; a second opinion on the handshake.
fn s_client(scene: &Scene, more: &[&str]) -> String {
    let mut command = openssl().unwrap();
    command.args(["s_client", "-connect", &format!("localhost:{}", scene.port), "-CAfile", "ca.pem", "-no_ign_eof"]);
    run(command.args(more).current_dir(scene.at())).unwrap().words()
}

const WITH_CERTIFICATE: [&str; 6] = ["-cert", "ci.pem", "-key", "ci.key", "-alpn", "h2"];

#[test]
fn openssl_sees_tls_1_3_with_h2_and_no_ticket() {
    let scene = Scene::new();

    let words = s_client(&scene, &WITH_CERTIFICATE);

    for expected in
        ["New, TLSv1.3", "ALPN protocol: h2", "Verify return code: 0", "Acceptable client certificate CA names"]
    {
        assert!(words.contains(expected), "{expected}: {words}");
    }
    assert!(!words.contains("Session-ID-ctx") && !words.contains("TLS session ticket"), "{words}");
}

#[test]
fn openssl_cannot_go_below_tls_1_3() {
    let scene = Scene::new();

    for version in ["-tls1_2", "-tls1_1", "-tls1"] {
        let words = s_client(&scene, &[&WITH_CERTIFICATE[..], &[version]].concat());
        assert!(words.contains("Cipher is (NONE)"), "{version}: {words}");
    }
}

#[test]
fn a_handshake_that_does_not_go_on_is_dropped_and_nobody_else_waits() {
    let scene = Scene::new();
    let mut dripping = TcpStream::connect(("127.0.0.1", scene.port)).unwrap();
    // The head of a TLS record of 16 KiB, and its first byte.
    dripping.write_all(&[0x16, 3, 1, 0x40, 0, 1]).unwrap();
    dripping.set_read_timeout(Some(Duration::from_secs(10))).unwrap();

    scene.accepted("ci");

    // Closed with or without an alert; a read that times out is neither.
    let mut bytes = Vec::new();
    let end = dripping.read_to_end(&mut bytes);
    assert!(!end.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "open after 10 s");
}
