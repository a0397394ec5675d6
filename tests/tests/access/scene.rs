//! A daemon with the published policy, and its four principals on both doors.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use trust_proto::v1::content_trust_client::ContentTrustClient;
use trust_proto::v1::keys_client::KeysClient;
use trust_proto::v1::{CreateKeyRequest, InitTrustRequest, Key, Purpose};
use trust_tests::authority::{self, Authority};
use trust_tests::http::free_address;
use trust_tests::local::connect_as;
use trust_tests::raw::Caller;
use trust_tests::rpc::{Answer, Method, call};
use trust_tests::wait::until;
use trust_tests::{Daemon, Setup};

use crate::{requests, table};

/// Of the root KEK.
pub(crate) const PASSPHRASE: &str = "sixteen words are too many for a test";
/// A recipient that nobody can decrypt for: the backup is thrown away.
const RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\n";

/// A way to the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Socket,
    Tls,
}

impl Transport {
    pub(crate) const ALL: [Self; 2] = [Self::Socket, Self::Tls];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Tls => "tls",
        }
    }
}

/// Somebody in docs/permissions.md.
pub(crate) struct Principal {
    pub(crate) name: &'static str,
    uid: u32,
    spiffe: &'static str,
}

/// In the order of the table's columns.
pub(crate) const PRINCIPALS: [Principal; 4] = [
    Principal { name: "unknown", uid: 4242, spiffe: "spiffe://example.com/unknown" },
    Principal { name: "verify-only", uid: 4301, spiffe: "spiffe://example.com/auditor" },
    Principal { name: "signer", uid: 4302, spiffe: "spiffe://example.com/ci/builder" },
    Principal { name: "admin", uid: 0, spiffe: "spiffe://example.com/admin" },
];

/// A daemon with a passphrase, unsealed, on a socket and a port.
pub(crate) struct Scene {
    daemon: Daemon,
    directory: TempDir,
    authority: Authority,
    port: u16,
}

impl Scene {
    /// With the policy of docs/permissions.md.
    pub(crate) async fn new() -> Self {
        Self::with(&table::policy()).await
    }

    pub(crate) async fn with(policy: &str) -> Self {
        Self::set_up(policy, "").await
    }

    /// With the policy of docs/permissions.md, and more configuration.
    pub(crate) async fn configured(more: &str) -> Self {
        Self::set_up(&table::policy(), more).await
    }

    async fn set_up(policy: &str, tables: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let (authority, at) = (Authority::new("Test CA").unwrap(), directory.path());
        authority.write(&at.join("ca.pem")).unwrap();
        authority.issue(at, "server", authority::server(&["localhost"]).unwrap()).unwrap();
        std::fs::write(at.join("recipients"), RECIPIENT).unwrap();
        // Free when we look; nobody else of this test binds fixed ports.
        let port = free_address().unwrap().port();
        let more = format!(
            "backup_recipients = \"{0}/recipients\"\n\
             [tls]\nlisten = \"127.0.0.1:{port}\"\ncertificate = \"{0}/server.pem\"\nkey = \"{0}/server.key\"\n\
             [[tls.client_ca]]\ncertificate = \"{0}/ca.pem\"\ntrust_domain = \"example.com\"\n{tables}",
            at.display()
        );
        let passphrase = Some(PASSPHRASE.to_owned());
        let setup = Setup { more, policy: policy.to_owned(), passphrase, ..Setup::default() };
        let daemon = Daemon::with(&setup).unwrap();
        // Other users must be able to come as far as the socket.
        for open in [daemon.directory().to_path_buf(), daemon.directory().join("run")] {
            std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o711)).unwrap();
        }
        let scene = Self { daemon, directory, authority, port };
        scene.be(false).await;
        scene
    }

    /// Over the socket, as that user.
    pub(crate) async fn local(&self, uid: u32) -> Channel {
        connect_as(&self.daemon.socket(), uid).await.unwrap()
    }

    pub(crate) async fn channel(&self, transport: Transport, principal: &Principal) -> Channel {
        match transport {
            Transport::Socket => self.local(principal.uid).await,
            Transport::Tls => self.tls(Some(principal.spiffe)).await.unwrap(),
        }
    }

    /// What the daemon answers a client without a certificate: nothing, as the connection breaks before.
    pub(crate) async fn answer_without_certificate(&self, method: &Method) -> Option<Answer> {
        let channel = self.tls(None).await.ok()?;
        let answer = call(&channel, method, requests::request(method, "acme/one")).await.ok()?;
        // What the daemon itself says has a content type; the channel's own words about a broken connection do not.
        (answer.code == Code::Ok || !answer.metadata.is_empty()).then_some(answer)
    }

    /// What TLS says to a client without a certificate. In TLS 1.3 the client's side is done before the server looks.
    pub(crate) async fn alert_without_certificate(&self) -> String {
        use tokio::io::AsyncReadExt;
        let connector = self.connector(None).unwrap();
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        match connector.connect(ServerName::try_from("localhost").unwrap(), stream).await {
            Ok(mut stream) => format!("{:?}", stream.read_to_end(&mut Vec::new()).await),
            Err(error) => format!("{error:?}"),
        }
    }

    async fn tls(&self, spiffe: Option<&str>) -> anyhow::Result<Channel> {
        let connector = self.connector(spiffe)?;
        let port = self.port;
        let connect = tower::service_fn(move |_| {
            let connector = connector.clone();
            async move {
                let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
                let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
                connector.connect(name, stream).await.map(TokioIo::new)
            }
        });
        Ok(Endpoint::from_static("http://socket.invalid").connect_with_connector(connect).await?)
    }

    fn connector(&self, spiffe: Option<&str>) -> anyhow::Result<TlsConnector> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.directory.path().join("ca.pem"))?)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots);
        let mut config = match spiffe {
            None => config.with_no_client_auth(),
            Some(spiffe) => {
                let (certificate, key) = self.client(spiffe);
                config.with_client_auth_cert(vec![certificate], key)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }

    fn client(&self, spiffe: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        self.authority.sign(authority::client(&[spiffe]).unwrap()).unwrap().shown().unwrap()
    }

    async fn admin(&self) -> Caller {
        Caller::new(self.local(0).await)
    }

    /// Seals or unseals where that is needed.
    pub(crate) async fn be(&self, sealed: bool) {
        let admin = self.admin().await;
        match (admin.status().await.unwrap().sealed, sealed) {
            (true, false) => admin.unseal(PASSPHRASE).await.unwrap(),
            (false, true) => admin.seal().await.unwrap(),
            (true, true) | (false, false) => {}
        }
    }

    /// The state that a cell of the table is about: sealed or not, and where the method names one, a key of its own.
    pub(crate) async fn prepare(&self, key: &str, method: &Method, sealed: bool) {
        self.be(sealed).await;
        if sealed {
            return;
        }
        if method.names_key {
            self.create(key).await;
        }
        if method.service == "ContentTrust" && method.name != "InitTrust" {
            self.sign_trust().await;
        }
        if method.name == "RemoveDelegation" {
            let mut client = ContentTrustClient::new(self.local(0).await);
            client.add_delegation(requests::delegation(requests::DELEGATION)).await.unwrap();
        }
    }

    /// Begins the trust data of the repository that requests are about, where there is none, and signs its tag.
    async fn sign_trust(&self) {
        let mut client = ContentTrustClient::new(self.local(0).await);
        if client.sign_target(requests::sign_target()).await.is_err() {
            let repository = requests::REPOSITORY.to_owned();
            client.init_trust(InitTrustRequest { repository, ..InitTrustRequest::default() }).await.unwrap();
            client.sign_target(requests::sign_target()).await.unwrap();
        }
    }

    /// Makes a key for images of `r.example/acme/*`.
    pub(crate) async fn create(&self, name: &str) -> Key {
        self.make(requests::create(name)).await
    }

    /// Makes one for images of somewhere else.
    pub(crate) async fn create_elsewhere(&self, name: &str) -> Key {
        self.make(CreateKeyRequest { scope: vec!["r.example/elsewhere/*".to_owned()], ..requests::create(name) }).await
    }

    /// Makes one of purpose raw.
    pub(crate) async fn create_raw(&self, name: &str) -> Key {
        let purpose = Purpose::Raw.into();
        self.make(CreateKeyRequest { purpose, scope: Vec::new(), ..requests::create(name) }).await
    }

    async fn make(&self, request: CreateKeyRequest) -> Key {
        KeysClient::new(self.local(0).await).create_key(request).await.unwrap().into_inner().key.unwrap()
    }

    /// The first refusal leaf about a principal; it is written soon after the answer.
    pub(crate) async fn refusal_of(&self, principal: &str) -> serde_json::Value {
        self.refusal("the refusal leaf", |leaf| leaf["principal"] == principal).await
    }

    /// The first refusal leaf of an action for that reason.
    pub(crate) async fn refusal_for(&self, action: &str, reason: &str) -> serde_json::Value {
        let wanted = format!("a leaf that refuses {action} for {reason}");
        self.refusal(&wanted, |leaf| leaf["action"] == action && leaf["reason"] == reason).await
    }

    async fn refusal(&self, wanted: &str, is_it: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let admin = self.admin().await;
        let runtime = tokio::runtime::Handle::current();
        until(wanted, Duration::from_secs(10), || {
            let mut first = 0;
            loop {
                let leaves = tokio::task::block_in_place(|| runtime.block_on(admin.leaves(first)))?;
                if let Some(leaf) = leaves.iter().find(|leaf| leaf["kind"] == "refusal" && is_it(leaf)) {
                    return Ok(Some(leaf.clone()));
                }
                if leaves.is_empty() {
                    return Ok(None);
                }
                first += u64::try_from(leaves.len())?;
            }
        })
        .unwrap()
    }

    pub(crate) fn log(&self) -> String {
        self.daemon.log()
    }
}
