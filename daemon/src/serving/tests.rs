//! The doors as peers meet them, good ones and bad ones: real sockets, real TLS, real HTTP/2.

#[path = "tests/scene.rs"]
mod scene;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tonic::Code;
use trust_proto::fault;

use super::*;
use crate::tls::authority::{BUILDER, client};
use scene::{Scene, Setup, soon, status};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0";
const OTHER: &str = "spiffe://example.com/ci/other";

/// Reads until the daemon closes the connection; an end by reset is an end.
async fn closed(stream: &mut (impl AsyncRead + Unpin)) {
    let mut bytes = Vec::new();
    let _ = soon(stream.read_to_end(&mut bytes)).await;
}

#[tokio::test]
async fn over_the_socket_the_kernel_says_who_calls() {
    let scene = Scene::new(Setup::default()).await;

    let answer = scene.local().await.call("Who").await;

    assert_eq!(answer.headers()["who"], format!("uid:{}", rustix::process::geteuid().as_raw()));
}

#[tokio::test]
async fn over_tls_the_certificate_says_who_calls() {
    let scene = Scene::new(Setup::default()).await;

    let answer = scene.remote(BUILDER).await.call("Who").await;

    assert_eq!(answer.headers()["who"], BUILDER);
}

#[tokio::test]
async fn without_a_certificate_or_h2_or_with_old_tls_there_is_no_handshake() {
    let scene = Scene::new(Setup::default()).await;
    let pair = scene.issue(&client(1, &[BUILDER]));

    let anonymous = scene.handshake(None, |_| {}).await;
    let http1 = scene.handshake(Some(&pair), |config| config.alpn_protocols = vec![b"http/1.1".to_vec()]).await;
    let unspoken = scene.handshake(Some(&pair), |config| config.alpn_protocols.clear()).await;

    // In TLS 1.3 the client is done before the daemon has judged it; what it reads is the verdict.
    for mut stream in [anonymous, http1, unspoken].into_iter().flatten() {
        let _ = stream.write_all(PREFACE).await;
        let mut byte = [0];
        assert!(!matches!(soon(stream.read(&mut byte)).await, Ok(1..)));
    }
    assert!(scene.remote(BUILDER).await.answers().await);
}

#[tokio::test]
async fn tls_1_2_is_answered_with_an_alert_about_the_version() {
    let scene = Scene::new(Setup::default()).await;

    // A fatal alert, protocol_version (RFC 8446 §6.2).
    assert_eq!(scene.old_handshake().await[5..], [2, 70]);
}

#[tokio::test]
async fn plaintext_at_the_tls_door_gets_nothing() {
    let scene = Scene::new(Setup::default()).await;
    let mut stream = TcpStream::connect(scene.address).await.unwrap();

    let _ = stream.write_all(PREFACE).await;

    let mut bytes = Vec::new();
    let _ = soon(stream.read_to_end(&mut bytes)).await;
    assert!(bytes.len() < 16, "more than an alert: {bytes:?}");
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_dropped() {
    let scene = Scene::new(Setup::default()).await;
    let mut silent = TcpStream::connect(scene.address).await.unwrap();
    let mut dripping = TcpStream::connect(scene.address).await.unwrap();
    // The first bytes of a TLS record of 16 KiB.
    dripping.write_all(&[0x16, 3, 1, 0x40, 0, 1]).await.unwrap();

    closed(&mut silent).await;
    closed(&mut dripping).await;
}

#[tokio::test]
async fn handshakes_that_hang_do_not_keep_out_who_is_known() {
    let patience = Patience { handshake: Duration::from_secs(600), ..scene::PATIENCE };
    let scene = Scene::new(Setup { patience, ..Setup::default() }).await;
    let known = scene.remote(BUILDER).await;
    let mut hanging = Vec::new();
    for _ in 0..8 {
        hanging.push(TcpStream::connect(scene.address).await.unwrap());
    }

    // Half of the places are for handshakes; the others were turned away at once.
    for late in &mut hanging[2..] {
        closed(late).await;
    }
    assert!(known.answers().await);
}

#[tokio::test]
async fn a_preface_or_frame_or_header_block_that_does_not_end_is_dropped() {
    let scene = Scene::new(Setup::default()).await;
    let half_preface = &PREFACE[..10];
    let half_headers = [PREFACE, b"\0\x40\0\x01\x04\0\0\0\x01\x82"].concat();
    let open_block = [PREFACE, b"\0\0\x01\x01\0\0\0\0\x01\x82"].concat();

    for bytes in [&b""[..], half_preface, &half_headers, &open_block] {
        let mut stream = UnixStream::connect(&scene.socket).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        closed(&mut stream).await;
    }
    assert!(scene.local().await.answers().await);
}

#[tokio::test]
async fn http1_is_not_spoken() {
    let scene = Scene::new(Setup::default()).await;
    let mut stream = UnixStream::connect(&scene.socket).await.unwrap();

    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();

    closed(&mut stream).await;
}

#[tokio::test]
async fn a_flood_of_pings_or_settings_ends_its_connection_and_no_other() {
    let scene = Scene::new(Setup::default()).await;
    let victim = scene.local().await;
    for noise in [PING, b"\0\0\0\x04\0\0\0\0\0"] {
        let stream = UnixStream::connect(&scene.socket).await.unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let reader = tokio::spawn(async move { closed(&mut reading).await });
        writing.write_all(PREFACE).await.unwrap();

        let flood = noise.repeat(100);
        let mut frames = 0;
        while writing.write_all(&flood).await.is_ok() {
            frames += 100;
            assert!(frames < 50_000, "the flood is not noticed");
        }

        soon(reader).await.unwrap();
        assert!(victim.answers().await);
    }
}

#[tokio::test]
async fn a_flood_of_resets_ends_its_connection_and_no_other() {
    let scene = Scene::new(Setup::default()).await;
    let victim = scene.local().await;
    let (mut reading, mut writing) = UnixStream::connect(&scene.socket).await.unwrap().into_split();
    let reader = tokio::spawn(async move { closed(&mut reading).await });
    writing.write_all(PREFACE).await.unwrap();

    // POST http /test.Room/Wait, then RST_STREAM, on one stream after the other (CVE-2023-44487).
    let mut stream_id = 1_u32;
    let path = b"\x83\x86\x04\x0f/test.Room/Wait\x41\x01a";
    loop {
        let length = u8::try_from(path.len()).unwrap();
        let id = stream_id.to_be_bytes();
        let headers = [&[0, 0, length, 1, 4][..], &id, path].concat();
        let reset = [&[0, 0, 4, 3, 0][..], &id, &[0, 0, 0, 8]].concat();
        if writing.write_all(&[headers, reset].concat()).await.is_err() {
            break;
        }
        stream_id += 2;
        assert!(stream_id < 100_000, "the flood is not noticed");
    }

    soon(reader).await.unwrap();
    assert!(victim.answers().await);
}

#[tokio::test]
async fn connections_of_a_door_are_counted_and_no_identity_has_all() {
    let scene = Scene::new(Setup::default()).await;
    let first = scene.remote(BUILDER).await;
    let second = scene.remote(BUILDER).await;
    let third = scene.remote(BUILDER).await;

    assert!(scene.try_remote(BUILDER).await.is_err(), "a fourth of four for one identity");
    let other = scene.remote(OTHER).await;
    assert!(scene.try_remote(OTHER).await.is_err(), "a fifth of four");
    for client in [&first, &second, &third, &other] {
        assert!(client.answers().await);
    }

    first.leave().await;
    soon(async { while scene.try_remote(BUILDER).await.is_err() {} }).await;
}

#[tokio::test]
async fn requests_in_flight_are_counted_and_who_finds_no_room_is_told_when_to_come_back() {
    let scene = Scene::new(Setup::default()).await;
    let (greedy, other) = (scene.remote(BUILDER).await, scene.remote(OTHER).await);
    let mut waiting: Vec<_> = (0..3).map(|_| greedy.begin("Wait")).collect();
    scene.arrived(3).await;

    let refused = fault::from_status(&status(&greedy.call("Who").await));
    assert_eq!(refused.kind(), trust::FaultKind::Busy);
    assert!(refused.comes_back_after().is_some());
    waiting.push(other.begin("Wait"));
    scene.arrived(4).await;
    let whole = fault::from_status(&status(&scene.local().await.call("Who").await));
    assert_eq!(whole.kind(), trust::FaultKind::Busy);

    scene.release(4);
    for answer in waiting {
        assert_eq!(status(&soon(answer).await.unwrap().unwrap()).code(), Code::Ok);
    }
    assert!(greedy.answers().await);
}

#[tokio::test]
async fn a_caller_that_hangs_up_frees_its_place() {
    let scene = Scene::new(Setup::default()).await;
    let local = scene.local().await;
    let waiting: Vec<_> = (0..3).map(|_| local.begin("Wait")).collect();
    scene.arrived(3).await;

    for request in waiting {
        request.abort();
    }

    soon(async { while !local.answers().await {} }).await;
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_late() {
    let scene = Scene::new(Setup { request_time_max: Duration::from_millis(1), ..Setup::default() }).await;

    let answer = soon(scene.local().await.begin("Wait")).await.unwrap().unwrap();

    assert_eq!(status(&answer).code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_not_held() {
    let scene = Scene::new(Setup::default()).await;
    let local = scene.local().await;

    let fits = local.send("Read", Bytes::from(vec![0; scene::MESSAGE_BYTES_MAX])).await;
    assert_eq!(status(&fits).code(), Code::Ok);
    let longer = local.send("Read", Bytes::from(vec![0; scene::MESSAGE_BYTES_MAX + 4096])).await;
    assert_eq!(status(&longer).code(), Code::InvalidArgument);
}

#[tokio::test]
async fn metadata_that_is_too_long_reaches_no_service() {
    let scene = Scene::new(Setup::default()).await;
    let local = scene.local().await;

    for bytes in [17 * 1024, 1024 * 1024] {
        let answer = local.with_metadata("x".repeat(bytes)).await;
        assert!(!answer.is_ok_and(|answer| answer.headers().contains_key("who")), "{bytes}");
    }

    assert!(scene.local().await.answers().await);
}

#[tokio::test]
async fn bytes_of_requests_are_counted_over_all_connections_and_given_back() {
    let scene = Scene::new(Setup::default()).await;
    let local = scene.local().await;
    let free = scene.rooms.all.bytes.available_permits();

    let request = local.begin_with("ReadAndWait", Bytes::from(vec![0; 4096]));
    scene.arrived(1).await;
    assert_eq!(scene.rooms.all.bytes.available_permits(), free - 4096);
    scene.release(1);
    soon(request).await.unwrap().unwrap();

    assert_eq!(scene.rooms.all.bytes.available_permits(), free);
}

#[tokio::test]
async fn an_answer_that_nobody_reads_ends_its_connection() {
    let scene = Scene::new(Setup::default()).await;
    let local = scene.local().await;

    let answer = local.call("Long").await;
    // The client's window is full, and it takes no more.
    soon(local.ended()).await;

    drop(answer);
    assert_eq!(scene.rooms.all.requests.available_permits(), scene::IN_FLIGHT_MAX);
}

#[tokio::test]
async fn a_stream_whose_source_is_slow_is_not_cut() {
    let scene = Scene::new(Setup::default()).await;
    let local = scene.local().await;
    let mut answer = local.call("Drip").await;

    for _ in 0..5 {
        // Longer than an unread answer may wait.
        tokio::time::sleep(scene::PATIENCE.unread).await;
        scene.drip().await;
        assert!(soon(answer.frame()).await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_connection_without_requests_is_told_to_go() {
    let patience = Patience { idle: Duration::from_millis(100), ..scene::PATIENCE };
    let scene = Scene::new(Setup { patience, ..Setup::default() }).await;
    let local = scene.local().await;
    assert!(local.answers().await);

    soon(local.ended()).await;
}

#[tokio::test]
async fn a_certificate_that_is_revoked_counts_for_the_next_request_and_closes_the_connection() {
    let scene = Scene::new(Setup::default()).await;
    let remote = scene.remote(BUILDER).await;
    assert!(remote.answers().await);

    scene.revoke(scene::BUILDER_SERIAL);

    let refused = remote.call("Who").await;
    assert_eq!(status(&refused).code(), Code::Unauthenticated);
    soon(remote.ended()).await;
    assert!(scene.try_remote(BUILDER).await.is_err());
    assert!(scene.remote(OTHER).await.answers().await);
}

#[tokio::test]
async fn a_certificate_that_is_revoked_ends_a_stream_at_its_next_message() {
    let scene = Scene::new(Setup::default()).await;
    let remote = scene.remote(BUILDER).await;
    let mut answer = remote.call("Drip").await;
    scene.drip().await;
    assert!(soon(answer.frame()).await.unwrap().is_ok());

    scene.revoke(scene::BUILDER_SERIAL);
    scene.drip().await;

    let end = soon(answer.frame()).await;
    assert!(!matches!(&end, Some(Ok(frame)) if frame.is_data()), "{end:?}");
}

#[tokio::test]
async fn a_drain_lets_requests_end_and_takes_no_new_ones() {
    let mut scene = Scene::new(Setup::default()).await;
    let (local, remote) = (scene.local().await, scene.remote(BUILDER).await);
    let waiting = [local.begin("Wait"), remote.begin("Wait")];
    scene.arrived(2).await;

    scene.drain.cancel();
    soon(async { while UnixStream::connect(&scene.socket).await.is_ok() {} }).await;
    assert!(!scene.socket.exists(), "the socket is left behind");
    soon(async { while TcpStream::connect(scene.address).await.is_ok() {} }).await;
    scene.release(2);

    for answer in waiting {
        assert_eq!(status(&soon(answer).await.unwrap().unwrap()).code(), Code::Ok);
    }
    soon(scene.ended()).await;
}

#[tokio::test]
async fn a_drain_ends_though_a_request_does_not() {
    let mut scene = Scene::new(Setup::default()).await;
    let local = scene.local().await;
    let _waiting = local.begin("Wait");
    scene.arrived(1).await;

    scene.drain.cancel();

    soon(scene.ended()).await;
    soon(local.ended()).await;
}
