//! One gRPC connection to a daemon, over its Unix socket or over TLS.

mod tls;

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Channel, Uri};
use trust_proto::v1::admin_client::AdminClient;
use trust_proto::v1::audit_client::AuditClient;
use trust_proto::v1::content_trust_client::ContentTrustClient;
use trust_proto::v1::hsm_client::HsmClient;
use trust_proto::v1::keys_client::KeysClient;
use trust_proto::v1::signing_client::SigningClient;
use trust_proto::v1::verification_client::VerificationClient;

use crate::endpoint::{Authority, Endpoint};
use crate::failure::Failure;

pub(crate) use tls::{PEM_BYTES_MAX, Tls, certificate_fingerprint};

/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long an answer may take to begin; RSA keys and Argon2id need their time.
const CALL_MAX: Duration = Duration::from_secs(120);
/// The longest message taken from a daemon.
const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Who may be behind a Unix socket.
#[derive(Debug, Clone)]
pub(crate) enum Server {
    /// Anybody: we ask, but do not believe.
    Anybody,
    /// One of these user ids (SO_PEERCRED of the very connection that is used).
    Users(Vec<u32>),
}

/// The socket is served by somebody who is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServedBy(pub(crate) u32);

impl fmt::Display for ServedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "served by uid {}", self.0)
    }
}

impl Error for ServedBy {}

/// A daemon that answers.
#[derive(Debug, Clone)]
pub(crate) struct Daemon {
    channel: Channel,
    /// Where it is, for messages.
    pub(crate) address: String,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum NoConnection {
    /// The socket is not open to us.
    Closed(Failure),
    /// The socket is somebody else's.
    ServedBy(ServedBy),
    /// Everything else, ready to be shown.
    Failed(Failure),
}

impl Daemon {
    /// Connects to the Unix socket at `path`.
    pub(crate) async fn at_socket(path: &Path, server: Server) -> Result<Self, NoConnection> {
        let path = path.to_path_buf();
        let address = format!("unix://{}", path.display());
        let target = path.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let (path, server) = (target.clone(), server.clone());
            async move { within(CONNECT_MAX, open_socket(path, server)).await.map(TokioIo::new) }
        });
        // Never resolved: the connector above always opens the socket.
        let endpoint = tonic::transport::Endpoint::from_static("http://socket.invalid").timeout(CALL_MAX);
        let channel = endpoint.connect_with_connector(connector).await.map_err(|error| no_socket(&path, error))?;
        Ok(Self { channel, address })
    }

    /// Connects to `authority` over TLS.
    pub(crate) async fn over_tls(authority: &Authority, tls: &Tls) -> Result<Self, Failure> {
        let address = format!("https://{authority}");
        let name = tls::server_name(&authority.host)?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&tls.configuration));
        let target = authority.clone();
        let service = tower::service_fn(move |_: Uri| {
            let (connector, name, target) = (connector.clone(), name.clone(), target.clone());
            async move {
                let stream = within(CONNECT_MAX, async {
                    let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
                    stream.set_nodelay(true)?;
                    connector.connect(name, stream).await
                });
                stream.await.map(TokioIo::new)
            }
        });
        // The scheme is plain for tonic: TLS is the connector's.
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{authority}"))
            .map_err(|error| {
                Failure::usage(format!("{address} is not an address"), "look at the host's name").because(error)
            })?
            .timeout(CALL_MAX);
        let channel = endpoint.connect_with_connector(service).await.map_err(|error| no_tls(&address, error))?;
        Ok(Self { channel, address })
    }

    /// The Admin service.
    pub(crate) fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The Audit service.
    pub(crate) fn audit(&self) -> AuditClient<Channel> {
        AuditClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The ContentTrust service.
    pub(crate) fn content_trust(&self) -> ContentTrustClient<Channel> {
        ContentTrustClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The Hsm service.
    pub(crate) fn hsm(&self) -> HsmClient<Channel> {
        HsmClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The Keys service.
    pub(crate) fn keys(&self) -> KeysClient<Channel> {
        KeysClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The Signing service.
    pub(crate) fn signing(&self) -> SigningClient<Channel> {
        SigningClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The Verification service.
    pub(crate) fn verification(&self) -> VerificationClient<Channel> {
        VerificationClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

/// Connects to wherever `endpoint` says, believing nothing of what is there.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    tls: impl FnOnce(&Authority) -> Result<Tls, Failure>,
) -> Result<Daemon, Failure> {
    match endpoint {
        Endpoint::Unix(path) => Daemon::at_socket(path, Server::Anybody).await.map_err(|error| match error {
            NoConnection::Failed(failure) | NoConnection::Closed(failure) => failure,
            NoConnection::ServedBy(who) => Failure::refused(who.to_string(), "look at who runs it"),
        }),
        Endpoint::Https(authority) => Daemon::over_tls(authority, &tls(authority)?).await,
    }
}

async fn open_socket(path: PathBuf, server: Server) -> std::io::Result<UnixStream> {
    let stream = UnixStream::connect(path).await?;
    if let Server::Users(uids) = server {
        let uid = stream.peer_cred()?.uid();
        if !uids.contains(&uid) {
            return Err(std::io::Error::other(ServedBy(uid)));
        }
    }
    Ok(stream)
}

async fn within<T>(limit: Duration, work: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer within {} s", limit.as_secs())))
    })
}

/// The innermost I/O error of a chain.
fn io_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a std::io::Error> {
    let mut found = None;
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref() {
            found = Some(io);
        }
        next = error.source();
    }
    found
}

fn no_socket(path: &Path, error: tonic::transport::Error) -> NoConnection {
    use std::io::ErrorKind;
    let io = io_error(&error);
    if let Some(who) = io.and_then(std::io::Error::get_ref).and_then(|inner| inner.downcast_ref::<ServedBy>()) {
        return NoConnection::ServedBy(*who);
    }
    let address = format!("unix://{}", path.display());
    let (what, remedy) = match io.map(std::io::Error::kind) {
        Some(ErrorKind::NotFound) => (
            format!("no daemon at {address}: there is no such socket"),
            "start it (`trustd serve`, `systemctl start trustd`), or say where it is: --endpoint, TRUSTD_ADDR",
        ),
        Some(ErrorKind::ConnectionRefused) => {
            (format!("no daemon at {address}: nobody listens"), "start it: `trustd serve`, `systemctl start trustd`")
        }
        Some(ErrorKind::PermissionDenied) => (
            format!("no way to the daemon at {address}: the socket is not open to you"),
            "is your user in the group trustd? `adduser NAME trustd`, then log in again",
        ),
        _ => (format!("no daemon at {address}"), "is it running? `systemctl status trustd`"),
    };
    let failure = Failure::unreachable(what, remedy);
    match io.map(std::io::Error::kind) {
        Some(ErrorKind::PermissionDenied) => NoConnection::Closed(failure),
        Some(ErrorKind::NotFound | ErrorKind::ConnectionRefused) => NoConnection::Failed(failure),
        _ => NoConnection::Failed(failure.because(error)),
    }
}

fn no_tls(address: &str, error: tonic::transport::Error) -> Failure {
    let certificate = io_error(&error)
        .and_then(std::io::Error::get_ref)
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some_and(|error| matches!(error, rustls::Error::InvalidCertificate(_)));
    let remedy = if certificate {
        "its certificate is not one of the CA you gave, or not for this name: `trustctl enroll`, or ca in the configuration"
    } else {
        "is it running, and is the address right? the daemon's log says why it refused a handshake"
    };
    Failure::unreachable(format!("no daemon at {address}"), remedy).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[tokio::test]
    async fn a_socket_of_somebody_who_is_not_believed_is_left_before_a_word_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let own = rustix::process::geteuid().as_raw();
        let heard = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut bytes).await.unwrap();
            bytes
        });

        let refused = Daemon::at_socket(&path, Server::Users(vec![own + 1])).await.unwrap_err();

        assert!(matches!(refused, NoConnection::ServedBy(ServedBy(uid)) if uid == own), "{refused:?}");
        assert!(heard.await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn why_nobody_answers_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let stale = directory.path().join("stale");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());

        for (path, word) in [(directory.path().join("absent"), "no such socket"), (stale, "nobody listens")] {
            let error = Daemon::at_socket(&path, Server::Anybody).await.unwrap_err();

            let NoConnection::Failed(failure) = error else { panic!("{error:?}") };
            assert_eq!(failure.exit(), Exit::Unreachable);
            assert!(failure.what().contains(word), "{failure:?}");
        }
    }
}
