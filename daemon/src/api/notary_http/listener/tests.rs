//! Clients that read slowly, or not at all: real sockets, real TLS, real HTTP/1.1.

use bytes::Bytes;
use http_body_util::Full;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as ClientStream;

use super::*;
use crate::clock::Clock;
use crate::tls::authority::{Files, NOW};
use crate::tls::{Asked, Manner, TlsTime};

/// Short enough to wait for, and long beside what a machine that is busy loses.
const UNREAD: Duration = Duration::from_secs(2);
/// As long as the longest file, and longer than all that sockets keep.
const LONGEST_BYTES: usize = 8 * 1024 * 1024;

/// Waits for what must happen; a test that hangs fails.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("not in time")
}

/// A client that has asked for an answer of so many bytes and read nothing yet, and the connection at the door.
async fn asked(answer_bytes: usize) -> (ClientStream<TcpStream>, JoinHandle<Parted>) {
    let files = Files::new();
    let tls = TlsState::load(&files.config, Manner::Public(Asked::Nobody), Clock::manual(NOW * 1000)).unwrap();
    // The client's buffer is small, so that what it reads is what it takes. The door's is large beside it: the kernel tells of
    // room in it less often than the client takes something.
    let [listening, connecting] = [TcpSocket::new_v4().unwrap(), TcpSocket::new_v4().unwrap()];
    listening.set_send_buffer_size(208 * 1024).unwrap();
    connecting.set_recv_buffer_size(16 * 1024).unwrap();
    listening.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listening = listening.listen(1).unwrap();
    let address = listening.local_addr().unwrap();
    let door = tokio::spawn(async move {
        let (socket, _) = listening.accept().await.unwrap();
        let (stream, _) = shake_hands(socket, UNREAD, &tls).await.unwrap();
        let body = Bytes::from(vec![b'a'; answer_bytes]);
        let answer = move |_| std::future::ready(Answer::new(Full::new(body.clone())));
        converse(stream, answer, CancellationToken::new()).await
    });
    let mut roots = RootCertStore::empty();
    roots.add(files.authority.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let time = Arc::new(TlsTime(Clock::manual(NOW * 1000)));
    let config = ClientConfig::builder_with_details(provider, time)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = connecting.connect(address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = soon(connector.connect("localhost".try_into().unwrap(), socket)).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    (stream, door)
}

#[tokio::test]
async fn whoever_does_not_read_its_answer_is_given_up() {
    let (mut client, door) = asked(LONGEST_BYTES).await;

    assert_eq!(soon(door).await.unwrap(), Parted::Stalled);

    // What is there to be read ends; it is not waited for.
    let mut read = Vec::new();
    let _ = soon(client.read_to_end(&mut read)).await;
    assert!(read.len() < LONGEST_BYTES, "{}", read.len());
}

#[tokio::test]
async fn whoever_reads_slowly_gets_the_whole_answer() {
    const SLOWLY: usize = 320 * 1024;
    let (mut client, door) = asked(LONGEST_BYTES).await;
    let began = tokio::time::Instant::now();
    let (mut read, mut piece) = (0, vec![0; 8 * 1024]);

    while read < SLOWLY {
        tokio::time::sleep(UNREAD / 10).await;
        read += soon(client.read(&mut piece)).await.unwrap();
    }
    assert!(began.elapsed() > UNREAD * 3, "{:?}", began.elapsed());
    let mut rest = Vec::new();
    soon(client.read_to_end(&mut rest)).await.unwrap();

    assert!(read + rest.len() > LONGEST_BYTES, "{read} and {}", rest.len());
    assert_eq!(soon(door).await.unwrap(), Parted::Well);
}
