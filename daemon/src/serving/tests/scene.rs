//! Both doors, a room with what the tests need in it, and clients.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::CertificateParams;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;

use super::super::rooms::Rooms;
use super::super::socket::Socket;
use super::super::{Doors, Patience};
use crate::clock::Clock;
use crate::config::{Limits, UnixConfig};
use crate::identity::{Caller, Identity};
use crate::metrics::DoorCounts;
use crate::tls::authority::{Files, NOW, Pair, client};
use crate::tls::{Manner, TlsState};

/// Connections of a door and requests in flight, in these tests.
pub(super) const IN_FLIGHT_MAX: usize = 4;
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// The serial number of the certificate for [`crate::tls::authority::BUILDER`].
pub(super) const BUILDER_SERIAL: u64 = 7;

/// Short, where a test waits for it to run out; a good client is far quicker.
pub(super) const PATIENCE: Patience = Patience {
    handshake: Duration::from_millis(500),
    frame: Duration::from_millis(300),
    keepalive: Duration::from_secs(20),
    unread: Duration::from_millis(300),
    idle: Duration::from_secs(600),
    drain: Duration::from_millis(500),
    tick: Duration::from_millis(20),
};

/// Waits for what must happen; a test that hangs fails.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("not in time")
}

/// The gRPC status in an answer's headers; OK where there is none.
pub(super) fn status<B>(answer: &hyper::Response<B>) -> Status {
    Status::from_header_map(answer.headers()).unwrap_or_else(|| Status::ok(""))
}

pub(super) struct Setup {
    pub(super) patience: Patience,
    pub(super) request_time_max: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self { patience: PATIENCE, request_time_max: Duration::from_secs(60) }
    }
}

pub(super) struct Scene {
    pub(super) socket: PathBuf,
    pub(super) address: SocketAddr,
    pub(super) rooms: Arc<Rooms>,
    pub(super) drain: CancellationToken,
    served: JoinHandle<()>,
    room: Room,
    drops: mpsc::Sender<()>,
    tls: Arc<TlsState>,
    files: Files,
    _directory: TempDir,
}

impl Scene {
    pub(super) async fn new(setup: Setup) -> Self {
        let directory = TempDir::new().unwrap();
        let files = Files::with_revocation_list(&[], (2096, 1, 1));
        let clock = Clock::manual(NOW * 1000);
        let tls = Arc::new(TlsState::load(&files.config, Manner::Custody, clock.clone()).unwrap());
        let (drops, dripping) = mpsc::channel(8);
        let identity = Arc::new(Identity::new(Some(Arc::clone(&tls)), None, Box::new(Vec::new)));
        let room = Room::new(Arc::clone(&identity), dripping);
        let limits = Limits {
            connections_max: IN_FLIGHT_MAX,
            in_flight_max: IN_FLIGHT_MAX,
            message_bytes_max: MESSAGE_BYTES_MAX,
            request_time_max: setup.request_time_max,
            ..Limits::default()
        };
        let identify = Box::new(move |caller: &Caller| identity.principal(caller, clock.now_unix_seconds()));
        let routes = tonic::service::Routes::new(room.clone());
        let rooms = Arc::new(Rooms::new(routes, &limits, setup.patience, DoorCounts::default(), identify));
        let socket = directory.path().join("s");
        let unix = UnixConfig { path: socket.clone(), mode: 0o600, group: None };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let doors = Doors {
            socket: Socket::bind(&unix).unwrap(),
            tcp: Some((listener, Arc::clone(&tls))),
            rooms: Arc::clone(&rooms),
        };
        let drain = CancellationToken::new();
        let served = tokio::spawn(doors.serve(drain.clone()));
        Self { socket, address, rooms, drain, served, room, drops, tls, files, _directory: directory }
    }

    /// A client over the socket.
    pub(super) async fn local(&self) -> Client {
        Client::new(UnixStream::connect(&self.socket).await.unwrap()).await.unwrap()
    }

    /// A client over TLS with a certificate for `id`.
    pub(super) async fn remote(&self, id: &str) -> Client {
        self.try_remote(id).await.unwrap()
    }

    /// As [`Scene::remote`]; an error when it is not let in.
    pub(super) async fn try_remote(&self, id: &str) -> Result<Client, Box<dyn std::error::Error>> {
        let serial = if id == crate::tls::authority::BUILDER { BUILDER_SERIAL } else { 8 };
        let pair = self.issue(&client(serial, &[id]));
        let client = Client::new(self.handshake(Some(&pair), |_| {}).await?).await?;
        // Whoever is turned away notices at the first request.
        let mut sender = client.sender.clone();
        sender.ready().await?;
        sender.send_request(request("Who", Bytes::new())).await?;
        Ok(client)
    }

    pub(super) fn issue(&self, params: &CertificateParams) -> Pair {
        self.files.authority.issue(params)
    }

    pub(super) async fn handshake(
        &self,
        pair: Option<&Pair>,
        change: impl FnOnce(&mut ClientConfig),
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.files.authority.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let time = Arc::new(crate::tls::TlsTime(Clock::manual(NOW * 1000)));
        let builder = ClientConfig::builder_with_details(provider, time)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match pair {
            Some(pair) => builder.with_client_auth_cert(pair.chain.clone(), pair.private_key()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        change(&mut config);
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await
    }

    /// A client that offers TLS 1.2 and nothing newer; what the daemon answers.
    pub(super) async fn old_handshake(&self) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([0; 32]); // random
        body.push(0); // no session
        body.extend([0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0]); // ECDHE with AES-128-GCM; no compression
        body.extend([0, 22, 0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3]); // P-256, ECDSA with SHA-256
        body.extend([0, 11, 0, 2, 1, 0]); // uncompressed points
        let length = u8::try_from(body.len()).unwrap();
        let hello = [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat();
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(&hello).await.unwrap();
        let mut answer = Vec::new();
        let _ = soon(stream.read_to_end(&mut answer)).await;
        answer
    }

    /// Revokes a serial number and reloads.
    pub(super) fn revoke(&self, serial: u64) {
        self.files.write("crl.pem", &self.files.authority.revocation_list(&[serial], (2096, 1, 1)));
        self.tls.reload().unwrap();
    }

    /// Waits until so many requests wait in the room.
    pub(super) async fn arrived(&self, count: usize) {
        soon(async {
            while self.room.waiting.load(Ordering::SeqCst) < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Lets so many of them go.
    pub(super) fn release(&self, count: usize) {
        self.room.gate.add_permits(count);
    }

    /// Lets the stream have its next message.
    pub(super) async fn drip(&self) {
        self.drops.send(()).await.unwrap();
    }

    /// Returns when the doors are shut and everybody has left.
    pub(super) async fn ended(&mut self) {
        (&mut self.served).await.unwrap();
    }
}

/// One connection to the daemon.
pub(super) struct Client {
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
}

fn request(method: &str, body: Bytes) -> hyper::Request<Full<Bytes>> {
    hyper::Request::post(format!("http://room.invalid/test.Room/{method}")).body(Full::new(body)).unwrap()
}

impl Client {
    async fn new(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> hyper::Result<Self> {
        let io = TokioIo::new(stream);
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
        let connection = tokio::spawn(async move {
            // Its end is what the tests wait for; how it ended is the daemon's to say.
            let _ = connection.await;
        });
        Ok(Self { sender, connection })
    }

    pub(super) async fn call(&self, method: &str) -> hyper::Response<Incoming> {
        self.send(method, Bytes::new()).await
    }

    pub(super) async fn send(&self, method: &str, body: Bytes) -> hyper::Response<Incoming> {
        soon(self.begin_with(method, body)).await.unwrap().unwrap()
    }

    /// A request with a header of this value.
    pub(super) async fn with_metadata(&self, value: String) -> hyper::Result<hyper::Response<Incoming>> {
        let mut request = request("Who", Bytes::new());
        request.headers_mut().insert("much", value.parse().unwrap());
        let mut sender = self.sender.clone();
        soon(async { sender.send_request(request).await }).await
    }

    /// Sends a request without waiting for its answer.
    pub(super) fn begin(&self, method: &str) -> JoinHandle<hyper::Result<hyper::Response<Incoming>>> {
        self.begin_with(method, Bytes::new())
    }

    pub(super) fn begin_with(&self, method: &str, body: Bytes) -> JoinHandle<hyper::Result<hyper::Response<Incoming>>> {
        let (mut sender, request) = (self.sender.clone(), request(method, body));
        tokio::spawn(async move {
            sender.ready().await?;
            sender.send_request(request).await
        })
    }

    /// Whether it is answered without a fault.
    pub(super) async fn answers(&self) -> bool {
        status(&self.call("Who").await).code() == tonic::Code::Ok
    }

    /// Returns when the daemon closed the connection.
    pub(super) async fn ended(&self) {
        while !self.connection.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn leave(self) {
        drop(self.sender);
        self.connection.await.unwrap();
    }
}

/// A service that answers, waits, reads or drips as it is asked.
#[derive(Clone)]
struct Room {
    identity: Arc<Identity>,
    gate: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    dripping: Arc<Mutex<Option<mpsc::Receiver<()>>>>,
}

impl Room {
    fn new(identity: Arc<Identity>, dripping: mpsc::Receiver<()>) -> Self {
        let dripping = Arc::new(Mutex::new(Some(dripping)));
        Self { identity, gate: Arc::new(Semaphore::new(0)), waiting: Arc::default(), dripping }
    }

    async fn answer(self, request: hyper::Request<Body>) -> hyper::Response<Body> {
        let (parts, body) = request.into_parts();
        let caller = parts.extensions.get::<Caller>().unwrap();
        let mut answer = hyper::Response::new(Body::empty());
        match parts.uri.path() {
            "/test.Room/Who" => {
                let who = self.identity.principal(caller, NOW).unwrap().to_string();
                answer.headers_mut().insert("who", who.parse().unwrap());
            }
            "/test.Room/Wait" => self.wait().await,
            "/test.Room/Read" => {
                if let Err(status) = body.collect().await {
                    return status.into_http();
                }
            }
            "/test.Room/ReadAndWait" => {
                let read = body.collect().await.unwrap();
                self.wait().await;
                drop(read);
            }
            "/test.Room/Long" => {
                // As every gRPC answer: data, then trailers.
                let trailers = std::future::ready(Some(Ok(HeaderMap::new())));
                let data = Full::new(Bytes::from(vec![0; 32 * 1024 * 1024]));
                *answer.body_mut() = Body::new(data.with_trailers(trailers));
            }
            "/test.Room/Drip" => {
                let drops = self.dripping.lock().unwrap().take().unwrap();
                let frames =
                    ReceiverStream::new(drops).map(|()| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"drop"))));
                *answer.body_mut() = Body::new(StreamBody::new(frames));
            }
            other => panic!("{other}"),
        }
        answer
    }

    async fn wait(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
    }
}

impl NamedService for Room {
    const NAME: &'static str = "test.Room";
}

impl tower::Service<hyper::Request<Body>> for Room {
    type Response = hyper::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: hyper::Request<Body>) -> Self::Future {
        let room = self.clone();
        Box::pin(async move { Ok(room.answer(request).await) })
    }
}
