//! A daemon on TCP, and those who have a certificate for it.

use tempfile::TempDir;
use trust_tests::authority::{self, Authority};
use trust_tests::http::free_address;
use trust_tests::{Daemon, Setup, Trustctl};

const CLIENT: &str = "spiffe://example.com/people/ann";

/// A daemon on TCP, and a directory with `ca.pem`, `client.pem` and `client.key`.
pub(crate) struct Remote {
    pub(crate) certificates: TempDir,
    pub(crate) port: u16,
    pub(crate) daemon: Daemon,
}

impl Remote {
    pub(crate) fn start() -> Self {
        Self::with("", "")
    }

    /// With so much more in its configuration, and in the table of limits.
    pub(crate) fn with(keys: &str, limits: &str) -> Self {
        let certificates = TempDir::new().unwrap();
        let at = certificates.path();
        let authority = Authority::new("Test CA").unwrap();
        authority.write(&at.join("ca.pem")).unwrap();
        authority.issue(at, "server", authority::server(&["localhost"]).unwrap()).unwrap();
        authority.issue(at, "client", authority::client(&[CLIENT]).unwrap()).unwrap();
        // Free when we look; nobody else of this test binds fixed ports.
        let port = free_address().unwrap().port();
        let more = format!(
            "{keys}[tls]\nlisten = \"127.0.0.1:{port}\"\ncertificate = \"{0}/server.pem\"\nkey = \"{0}/server.key\"\n\
             [[tls.client_ca]]\ncertificate = \"{0}/ca.pem\"\ntrust_domain = \"example.com\"\n\
             [limits]\n{limits}",
            at.display()
        );
        let daemon = Daemon::with(&Setup { more, ..Setup::default() }).unwrap();
        Self { certificates, port, daemon }
    }

    pub(crate) fn address(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub(crate) fn ca(&self) -> String {
        self.certificates.path().join("ca.pem").display().to_string()
    }

    /// Somebody with a certificate for this daemon, and nothing else configured.
    pub(crate) fn person(&self) -> Trustctl {
        let user = Trustctl::new().unwrap();
        let text =
            format!("certificate = \"{0}/client.pem\"\nkey = \"{0}/client.key\"\n", self.certificates.path().display());
        user.configure(&text).unwrap();
        user
    }
}

/// Signs `app.tar` of `user` with a new key `release` of `daemon`.
pub(crate) fn sign(daemon: &Daemon, user: &Trustctl) {
    let signer = daemon.user().unwrap();
    signer.run(&["key", "create", "release", "--purpose", "release-blob"]).unwrap().ok().unwrap();
    let file = user.write("app.tar", b"a release\n").unwrap();
    signer.run(&["sign", "--key", "release", file.to_str().unwrap()]).unwrap().ok().unwrap();
}
