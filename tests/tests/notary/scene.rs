//! A daemon with a Notary door, and a client that sends what it is told to, byte for byte.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use serde_json::Value;
use tempfile::TempDir;
use trust_tests::authority::{self, Authority};
use trust_tests::http::free_address;
use trust_tests::{Daemon, Notary, Setup};

/// How long an answer may take on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How the daemon is set up.
pub struct Plan {
    /// What `[notary]` says besides listener, certificate and key.
    pub notary: String,
    /// Tables behind it.
    pub tables: String,
    /// The whole policy.
    pub policy: String,
}

impl Plan {
    /// Whoever comes may do everything with repositories of `ex.io/`.
    pub fn open() -> Self {
        Self {
            notary: "auth = \"none\"\ngun_prefixes = [\"ex.io/\"]\n".to_owned(),
            tables: String::new(),
            policy: Setup::ALLOW_ALL.to_owned(),
        }
    }
}

/// The daemon, its door, and what clients need for it.
pub struct Scene {
    pub daemon: Daemon,
    pub directory: TempDir,
    authority: Authority,
    door: Door,
}

/// What a client knows of the door; the same over restarts of the daemon.
#[derive(Debug, Clone)]
pub struct Door {
    pub address: SocketAddr,
    roots: Arc<RootCertStore>,
}

impl std::ops::Deref for Scene {
    type Target = Door;

    fn deref(&self) -> &Door {
        &self.door
    }
}

/// A certificate with its key, as a client shows it.
pub type Shown = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// A connection over TLS.
pub type Connection = StreamOwned<ClientConnection, TcpStream>;

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    fn read(mut bytes: Vec<u8>) -> Option<Self> {
        let at = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        Some(Self { status: status.unwrap_or(0), head, body: bytes.split_off(at + 4) })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find_map(|(found, value)| found.trim().eq_ignore_ascii_case(name).then(|| value.trim()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The one error: code, and what its detail says (typed: its name and its words).
    pub fn error(&self) -> (String, String) {
        let json = self.json();
        let errors = json["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{json}");
        let detail = &errors[0]["detail"];
        let said = match (&detail["Name"], detail) {
            (Value::String(name), _) => format!("{name}: {}", detail["Error"]["Msg"].as_str().unwrap()),
            (_, Value::Null) => String::new(),
            (_, detail) => detail.to_string(),
        };
        (errors[0]["code"].as_str().unwrap().to_owned(), said)
    }
}

impl Scene {
    pub fn new(plan: &Plan) -> Self {
        let directory = TempDir::new().unwrap();
        let (authority, at) = (Authority::new("Test CA").unwrap(), directory.path());
        authority.write(&at.join("ca.pem")).unwrap();
        authority.issue(at, "server", authority::server(&["localhost", "127.0.0.1"]).unwrap()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate().der().clone()).unwrap();
        // Free when we look; whoever else of these tests takes a port takes another.
        let address = free_address().unwrap();
        let at = directory.path().display();
        let more = format!(
            "[notary]\nlisten = \"{address}\"\ncertificate = \"{at}/server.pem\"\nkey = \"{at}/server.key\"\n{}{}",
            plan.notary,
            plan.tables.replace("DIRECTORY", &at.to_string()),
        );
        let setup = Setup { more, policy: plan.policy.clone(), ..Setup::default() };
        let daemon = Daemon::prepared(&setup).unwrap();
        Self { daemon, directory, authority, door: Door { address, roots: Arc::new(roots) } }
    }

    /// Makes the daemon's directory and starts it.
    pub fn started(plan: &Plan) -> Self {
        let mut scene = Self::new(plan);
        scene.start();
        scene
    }

    pub fn start(&mut self) {
        self.daemon.trustd(&["init"]).unwrap().ok().unwrap();
        self.daemon.launch().unwrap();
    }

    /// Where the door is.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// The authority that signed the door's certificate.
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Somebody new with notary's own command.
    pub fn notary(&self) -> Notary {
        Notary::at(self.url(), Some(self.ca())).unwrap()
    }

    /// What `trustctl` has in its configuration to read the trust data of these repositories here.
    pub fn trust_server(&self, repositories: &str) -> String {
        format!(
            "[[trust_servers]]\nrepository = \"{repositories}\"\nurl = \"{}\"\nca = \"{}\"\n",
            self.url(),
            self.ca().display()
        )
    }

    /// A certificate of the authority, for a client with this name.
    pub fn client(&self, spiffe: &str) -> Shown {
        self.authority.sign(authority::client(&[spiffe]).unwrap()).unwrap().shown().unwrap()
    }
}

impl Door {
    /// That of another server that shows a certificate of the same authority.
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// A connection over this version of TLS.
    pub fn connect(
        &self,
        version: &'static SupportedProtocolVersion,
        shown: Option<Shown>,
    ) -> std::io::Result<Connection> {
        self.secure(TcpStream::connect(self.address)?, version, shown)
    }

    /// A connection that is open already, over this version of TLS.
    pub fn secure(
        &self,
        stream: TcpStream,
        version: &'static SupportedProtocolVersion,
        shown: Option<Shown>,
    ) -> std::io::Result<Connection> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .map_err(std::io::Error::other)?
            .with_root_certificates(Arc::clone(&self.roots));
        let config = match shown {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                config.with_client_auth_cert(vec![certificate], key).map_err(std::io::Error::other)?
            }
        };
        let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
        let session = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        Ok(StreamOwned::new(session, stream))
    }

    /// A connection without TLS, from this address of the machine's own (127.0.0.0/8).
    pub fn reach_from(&self, source: Ipv4Addr) -> std::io::Result<TcpStream> {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &SocketAddr::from((source, 0)))?;
        connect(&socket, &self.address)?;
        Ok(TcpStream::from(socket))
    }

    /// Sends these bytes and reads all that comes until the connection ends.
    pub fn exchange(&self, shown: Option<Shown>, request: &[u8]) -> std::io::Result<Answer> {
        Self::converse(self.connect(&rustls::version::TLS13, shown)?, request)
    }

    /// The same over a connection that is open already.
    pub fn converse(mut stream: Connection, request: &[u8]) -> std::io::Result<Answer> {
        // A server that has said what it has to say may close before it has read everything.
        let _ = stream.write_all(request).and_then(|()| stream.flush());
        let mut bytes = Vec::new();
        let ended = stream.read_to_end(&mut bytes);
        Answer::read(bytes).ok_or_else(|| ended.err().unwrap_or_else(|| std::io::Error::other("no answer")))
    }

    /// Sends all of these bytes and reads all of the answer, where nothing may break off on the way.
    pub fn exchange_whole(&self, request: &[u8]) -> std::io::Result<Answer> {
        let mut stream = self.connect(&rustls::version::TLS13, None)?;
        stream.write_all(request)?;
        stream.flush()?;
        let mut bytes = Vec::new();
        // Without the end of TLS this is an error, too.
        stream.read_to_end(&mut bytes)?;
        Answer::read(bytes).ok_or_else(|| std::io::Error::other("no answer"))
    }

    /// The same with a request line, headers and a body.
    pub fn ask_with(&self, line: &str, headers: &str, body: &[u8]) -> Answer {
        let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let head = format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}{length}\r\n");
        self.exchange(None, &[head.as_bytes(), body].concat()).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    pub fn ask(&self, line: &str) -> Answer {
        self.ask_with(line, "", b"")
    }

    /// Publishes files under their names.
    pub fn publish(&self, gun: &str, files: &[(&str, &[u8])]) -> Answer {
        self.try_publish(gun, files).unwrap_or_else(|error| panic!("{gun}: {error}"))
    }

    /// The same; an error where nobody is there, or goes away meanwhile.
    pub fn try_publish(&self, gun: &str, files: &[(&str, &[u8])]) -> std::io::Result<Answer> {
        let (headers, body) = multipart(files);
        let head = format!(
            "POST /v2/{gun}/_trust/tuf/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        self.exchange(None, &[head.as_bytes(), &body].concat())
    }
}

/// Files as docker sends them.
pub fn multipart(files: &[(&str, &[u8])]) -> (String, Vec<u8>) {
    const BOUNDARY: &str = "9ccb8f74031cc471295e633e75f50b4e91f6d563504fcb2454c3475f6fc2";
    let mut body = Vec::new();
    for (index, (name, bytes)) in files.iter().enumerate() {
        let start = if index == 0 { "" } else { "\r\n" };
        let head = format!(
            "{start}--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
    }
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    (format!("content-type: multipart/form-data; boundary={BOUNDARY}\r\n"), body)
}
