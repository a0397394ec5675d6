//! The signer of a notary-server elsewhere: its protocol call by call, and Debian's own notary-server with this daemon
//! in the place of notary-signer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the command line serves several tests")]

#[path = "notary/cli.rs"]
mod cli;
#[path = "notary/story.rs"]
mod story;

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use prost::bytes::Bytes;
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use trust::{Algorithm, PublicKey, Sha256Digest, Signable};
use trust_proto::notary::key_management_client::KeyManagementClient;
use trust_proto::notary::signer_client::SignerClient;
use trust_proto::notary::{CreateKeyRequest, GetKeyInfoResponse, KeyId, SignatureRequest};
use trust_tests::authority::{self, Authority};
use trust_tests::http::free_address;
use trust_tests::process::Running;
use trust_tests::program::tool;
use trust_tests::{Daemon, Notary, Ran, Registry, Setup};

use cli::Cli;

const GUN: &str = "ex.io/team/app";
/// A timestamp as a server has it signed.
const TIMESTAMP: &str = r#"{"_type":"Timestamp","expires":"2096-01-01T00:00:00Z","meta":{"snapshot":{"hashes":{"sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},"length":7}},"version":1}"#;

fn setup() -> Setup {
    Setup { policy: Setup::ALLOW_ALL.to_owned(), more: "notary_signer = true\n".to_owned(), ..Setup::default() }
}

/// A caller at the Unix socket.
struct Caller {
    keys: KeyManagementClient<Channel>,
    signer: SignerClient<Channel>,
    channel: Channel,
}

impl Caller {
    async fn of(daemon: &Daemon) -> Self {
        let channel = daemon.channel().await.unwrap();
        let (keys, signer) = (KeyManagementClient::new(channel.clone()), SignerClient::new(channel.clone()));
        Self { keys, signer, channel }
    }

    async fn create(&mut self, algorithm: &str, gun: &str, role: &str) -> Result<(String, Bytes), Status> {
        let request = CreateKeyRequest { algorithm: algorithm.to_owned(), gun: gun.to_owned(), role: role.to_owned() };
        let key = self.keys.create_key(request).await?.into_inner();
        Ok((key.key_info.unwrap().key_id.unwrap().id, key.public_key))
    }

    async fn info(&mut self, id: &str) -> Result<GetKeyInfoResponse, Status> {
        Ok(self.keys.get_key_info(KeyId { id: id.to_owned() }).await?.into_inner())
    }

    async fn sign(&mut self, id: &str, content: &str) -> Result<trust_proto::notary::Signature, Status> {
        let content = Bytes::copy_from_slice(content.as_bytes());
        let request = SignatureRequest { key_id: Some(KeyId { id: id.to_owned() }), content };
        Ok(self.signer.sign(request).await?.into_inner())
    }
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status.message().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_for_one_role_of_one_repository_and_new_until_it_signs() {
    let daemon = Daemon::with(&setup()).unwrap();
    let mut caller = Caller::of(&daemon).await;

    let (first, spki) = caller.create("ecdsa", GUN, "timestamp").await.unwrap();
    assert_eq!(caller.create("ecdsa", GUN, "timestamp").await.unwrap().0, first, "it has not signed yet");
    assert_ne!(caller.create("ecdsa", GUN, "snapshot").await.unwrap().0, first);
    assert_ne!(caller.create("ecdsa", "ex.io/team/other", "timestamp").await.unwrap().0, first);
    let (ed25519, raw) = caller.create("ed25519", GUN, "timestamp").await.unwrap();
    assert_eq!((spki.len(), raw.len()), (91, 32));
    let info = caller.info(&first).await.unwrap();
    assert_eq!((info.role.as_str(), info.public_key), ("timestamp", spki.clone()));
    assert_eq!(info.key_info.unwrap().algorithm.unwrap().algorithm, "ecdsa");

    let signed = caller.sign(&first, TIMESTAMP).await.unwrap();
    assert_eq!((signed.algorithm.unwrap().algorithm.as_str(), signed.content.len()), ("ecdsa", 64));
    let signed = caller.sign(&ed25519, TIMESTAMP).await.unwrap();
    assert_eq!(signed.algorithm.unwrap().algorithm, "eddsa");
    let key = PublicKey::from_ed25519_bytes(raw.as_ref().try_into().unwrap()).unwrap();
    let message = Signable::Message(TIMESTAMP.as_bytes().to_vec());
    trust::verify::one(&key, &message, &signed.content).unwrap();
    assert_eq!(key.algorithm(), Algorithm::Ed25519);

    assert_ne!(caller.create("ecdsa", GUN, "timestamp").await.unwrap().0, first, "the first has signed");
    let log = daemon.user().unwrap().run(&["audit", "verify"]).unwrap();
    assert_eq!(log.code, Some(0), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_signed_but_metadata_of_the_keys_own_role() {
    let daemon = Daemon::with(&setup()).unwrap();
    let mut caller = Caller::of(&daemon).await;
    let (timestamp, _) = caller.create("ecdsa", GUN, "timestamp").await.unwrap();
    let (snapshot, _) = caller.create("ecdsa", GUN, "snapshot").await.unwrap();

    for (key, content) in [
        (&snapshot, TIMESTAMP.to_owned()),
        (&timestamp, TIMESTAMP.replace("\"Timestamp\"", "\"Targets\"")),
        (&timestamp, format!(" {TIMESTAMP}")),
        (&timestamp, format!("{TIMESTAMP}\n")),
        (&timestamp, TIMESTAMP.replace("\"version\":1", "\"version\":0")),
        (&timestamp, TIMESTAMP.replace("\"version\":1", "\"version\":2147483647")),
        (&timestamp, TIMESTAMP.replace("\"version\":1", "\"version\":1,\"version\":2")),
        (&timestamp, format!("{{\"signed\":{TIMESTAMP},\"signatures\":[]}}")),
        (&timestamp, String::new()),
        (&timestamp, "a message".to_owned()),
        (&timestamp, "{}".to_owned()),
    ] {
        let (code, words) = refusal(caller.sign(key, &content).await);
        assert_eq!(code, Code::FailedPrecondition, "{content}: {words}");
    }
    caller.sign(&timestamp, TIMESTAMP).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_made_the_original_die_or_use_another_key_is_refused() {
    let daemon = Daemon::with(&setup()).unwrap();
    let mut caller = Caller::of(&daemon).await;
    let (kept, _) = caller.create("ecdsa", GUN, "timestamp").await.unwrap();
    let unknown = Sha256Digest::of(b"nobody").to_hex();

    let absent = caller.signer.sign(SignatureRequest::default()).await;
    assert_eq!(refusal(absent).0, Code::InvalidArgument);
    for id in ["", "a", "../../etc/passwd", &kept.to_ascii_uppercase(), &format!("{kept}0")] {
        assert_eq!(refusal(caller.sign(id, TIMESTAMP).await).0, Code::InvalidArgument, "{id}");
        let deleted = caller.keys.delete_key(KeyId { id: id.to_owned() }).await;
        assert_eq!(refusal(deleted).0, Code::InvalidArgument, "{id}");
    }
    assert_eq!(refusal(caller.info("").await), (Code::NotFound, "key  not found".to_owned()));
    assert_eq!(refusal(caller.info(&unknown).await), (Code::NotFound, format!("key {unknown} not found")));
    let words = format!("signing key not found: {unknown}");
    assert_eq!(refusal(caller.sign(&unknown, TIMESTAMP).await), (Code::NotFound, words));
    let unsupported = refusal(caller.create("rsa", GUN, "timestamp").await);
    assert_eq!(unsupported, (Code::Unknown, "algorithm rsa not supported for create key".to_owned()));
    for (gun, role) in [("", "timestamp"), ("a*b", "timestamp"), (GUN, ""), (GUN, "root"), (GUN, "Not A Role!")] {
        assert_eq!(refusal(caller.create("ecdsa", gun, role).await).0, Code::InvalidArgument, "{gun} {role}");
    }

    caller.keys.delete_key(KeyId { id: unknown }).await.unwrap();
    caller.sign(&kept, TIMESTAMP).await.unwrap();
    for again in ["the first time", "once more, as a client does that got no answer"] {
        let deleted = caller.keys.delete_key(KeyId { id: kept.clone() }).await;
        assert!(deleted.is_ok(), "{again}: {deleted:?}");
    }
    assert!(caller.sign(&kept, TIMESTAMP).await.is_err(), "a key that is gone signs no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_names_are_served_where_the_configuration_says_so_and_by_the_policy() {
    let daemon = Daemon::with(&setup()).unwrap();
    let mut health = HealthClient::new(Caller::of(&daemon).await.channel);
    for name in ["", "grpc.health.v1.Health.KeyManagement", "grpc.health.v1.Health.Signer"] {
        let answer = health.check(HealthCheckRequest { service: name.to_owned() }).await.unwrap().into_inner();
        assert_eq!(answer.status, 1, "{name}");
    }
    let overall = HealthCheckRequest { service: "grpc.health.v1.Health.Overall".to_owned() };
    assert_eq!(health.check(overall).await.unwrap_err().code(), Code::NotFound);

    let closed = Daemon::with(&Setup { policy: Setup::ALLOW_ALL.to_owned(), ..Setup::default() }).unwrap();
    let mut caller = Caller::of(&closed).await;
    assert_eq!(refusal(caller.create("ecdsa", GUN, "timestamp").await).0, Code::Unimplemented);

    let policy = "permit (principal, action, resource);\n\
                  @message(\"not on a Friday\")\n\
                  forbid (principal, action == Action::\"sign-trust\", resource) when { context.version > 1 };";
    let strict = Daemon::with(&Setup { policy: policy.to_owned(), ..setup() }).unwrap();
    let mut caller = Caller::of(&strict).await;
    let (key, _) = caller.create("ecdsa", GUN, "timestamp").await.unwrap();
    caller.sign(&key, TIMESTAMP).await.unwrap();
    let second = TIMESTAMP.replace("\"version\":1", "\"version\":2");
    let refused = refusal(caller.sign(&key, &second).await);
    assert_eq!(refused, (Code::PermissionDenied, "not on a Friday".to_owned()));
}

/// Debian's notary-server with the daemon as its signer, over TLS with certificates on both sides; the daemon has a
/// Notary door of its own besides.
struct Server {
    daemon: Daemon,
    address: SocketAddr,
    door: SocketAddr,
    directory: TempDir,
    _server: Running,
}

impl Server {
    fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let at = directory.path();
        let authority = Authority::new("Test CA").unwrap();
        authority.write(&at.join("ca.pem")).unwrap();
        authority.issue(at, "trustd", authority::server(&["localhost"]).unwrap()).unwrap();
        let client = authority::client(&["spiffe://example.com/notary-server"]).unwrap();
        authority.issue(at, "notary", client).unwrap();
        authority.issue(at, "server", authority::server(&["localhost"]).unwrap()).unwrap();

        let [signer, address, door] = [(); 3].map(|()| free_address().unwrap());
        let policy = "permit (principal == Spiffe::\"spiffe://example.com/notary-server\", \
                      action in [Action::\"sign-trust\", Action::\"create-key\"], resource);\n\
                      permit (principal is LocalUid, action, resource);\n\
                      permit (principal is Anonymous, action == Action::\"read-trust\", resource);";
        let more = format!(
            "notary_signer = true\n[notary]\nlisten = \"{door}\"\ncertificate = \"{0}/server.pem\"\nkey = \"{0}/server.key\"\n\
             auth = \"none\"\ngun_prefixes = [\"ex.io/\"]\n[tls]\nlisten = \"{signer}\"\ncertificate = \"{0}/trustd.pem\"\nkey = \"{0}/trustd.key\"\n\
             [[tls.client_ca]]\ncertificate = \"{0}/ca.pem\"\ntrust_domain = \"example.com\"\n",
            at.display()
        );
        let daemon = Daemon::with(&Setup { more, policy: policy.to_owned(), ..Setup::default() }).unwrap();
        let config = serde_json::json!({
            "server": {
                "http_addr": address.to_string(),
                "tls_cert_file": at.join("server.pem"), "tls_key_file": at.join("server.key"),
            },
            "trust_service": {
                "type": "remote", "hostname": "localhost", "port": signer.port().to_string(),
                "key_algorithm": "ecdsa", "tls_ca_file": at.join("ca.pem"),
                "tls_client_cert": at.join("notary.pem"), "tls_client_key": at.join("notary.key"),
            },
            "storage": { "backend": "memory" },
            "logging": { "level": "info" },
        });
        std::fs::write(at.join("server.json"), config.to_string()).unwrap();
        let mut command = Command::new(tool("notary-server", "apt-get install notary").unwrap());
        command.arg("-config").arg(at.join("server.json"));
        let mut running = Running::start(&mut command, &at.join("server.log")).unwrap();
        running.ready(Duration::from_secs(60), || TcpStream::connect(address).ok()).unwrap();
        Self { daemon, address, door, directory, _server: running }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    fn notary(&self) -> Notary {
        Notary::at(self.url(), Some(self.authority())).unwrap()
    }
}

#[test]
fn a_stock_notary_server_signs_with_the_daemons_keys() {
    let server = Server::start();
    let (owner, reader) = (server.notary(), server.notary());
    let path = owner.file("first", "one\n").unwrap();
    let says = |ran: Ran| {
        let log = std::fs::read_to_string(server.directory.path().join("server.log")).unwrap();
        ran.ok().unwrap_or_else(|error| panic!("{error}\n{log}\n{}", server.daemon.log()))
    };

    says(owner.run(&["init", "--publish", GUN]).unwrap());
    says(owner.run(&["key", "rotate", GUN, "snapshot", "--server-managed"]).unwrap());
    says(owner.run(&["add", "--publish", GUN, "v1", &path]).unwrap());
    says(owner.run(&["key", "rotate", GUN, "timestamp", "--server-managed"]).unwrap());
    says(owner.run(&["add", "--publish", GUN, "v2", &path]).unwrap());

    let listed = says(reader.run(&["list", GUN]).unwrap()).stdout;
    assert!(listed.contains("v1") && listed.contains("v2"), "{listed}");
    says(reader.run(&["verify", "--input", &path, GUN, "v2"]).unwrap());
    let keys = server.daemon.user().unwrap().run(&["key", "list"]).unwrap().ok().unwrap().stdout;
    assert!(keys.contains("snapshot") && keys.matches("timestamp-").count() == 2, "{keys}");
    let private = std::fs::read_dir(owner.home().join("trust/private")).unwrap().count();
    assert!(private > 0, "root and targets are the owner's");
}

#[test]
fn an_unmodified_docker_is_served_by_a_stock_notary_server_with_the_daemons_keys() {
    let server = Server::start();
    let docker = Cli::at(server.url(), Registry::debian().unwrap());

    story::seed(&docker);

    let keys = server.daemon.user().unwrap().run(&["key", "list"]).unwrap().ok().unwrap().stdout;
    assert!(keys.contains("snapshot-") && keys.contains("timestamp-"), "{keys}");
    server.daemon.user().unwrap().run(&["audit", "verify"]).unwrap().ok().unwrap();
}

#[test]
fn a_repository_whose_server_had_its_keys_here_moves_here_under_the_root_it_has() {
    let server = Server::start();
    let (owner, reader) = (server.notary(), server.notary());
    let path = owner.file("first", "one\n").unwrap();
    owner.run(&["init", "--publish", GUN]).unwrap().ok().unwrap();
    owner.run(&["key", "rotate", GUN, "snapshot", "--server-managed"]).unwrap().ok().unwrap();
    owner.run(&["add", "--publish", GUN, "v1", &path]).unwrap().ok().unwrap();
    assert!(reader.run(&["list", GUN]).unwrap().ok().unwrap().stdout.contains("v1"));
    let user = server.daemon.user().unwrap();
    let (url, authority) = (server.url(), server.authority());

    // Root's own keys are on the owner's laptop, and nobody needs them.
    let from = ["--from", url.as_str(), "--ca", authority.to_str().unwrap()];
    user.run(&[&["migrate", "notary", "import", "repository", GUN], &from[..]].concat()).unwrap().ok().unwrap();

    let shown = user.trust_data(GUN).unwrap();
    let role = |name: &str| {
        let roles = shown["roles"].as_array().unwrap();
        roles.iter().find(|role| role["name"] == name).unwrap_or_else(|| panic!("no {name}: {shown}")).clone()
    };
    // One root for the beginning, one for the snapshot's new keys, and none for the move.
    assert_eq!(role("root")["version"], 2, "{shown}");
    assert!(role("root")["keys"][0]["name"].is_null(), "{shown}");
    for name in ["snapshot", "timestamp"] {
        assert!(role(name)["keys"][0]["name"].is_string(), "{shown}");
    }
    // Whoever knows the old server goes on: the versions are behind those that were seen, and the keys are the same.
    let door = format!("https://localhost:{}", server.door.port());
    let reader = reader.moved_to(door.clone(), Some(authority.clone()));
    assert!(reader.run(&["list", GUN]).unwrap().ok().unwrap().stdout.contains("v1"));
    let fresh = Notary::at(door, Some(authority)).unwrap();
    fresh.run(&["verify", "--input", &path, GUN, "v1"]).unwrap().ok().unwrap();
    user.run(&["audit", "verify"]).unwrap().ok().unwrap();
}
