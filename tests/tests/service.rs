//! The daemon as the service manager, the monitor and a curious neighbour meet it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tonic::Code;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use trust_proto::v1::ListEntriesRequest;
use trust_proto::v1::audit_client::AuditClient;
use trust_tests::document::document;
use trust_tests::http::{free_address, http};
use trust_tests::process::Running;
use trust_tests::program::{ours, run};
use trust_tests::raw::Caller;
use trust_tests::rpc::{Method, call, methods, post_frames};
use trust_tests::wait::{timed, until};
use trust_tests::{Daemon, Setup};

const SOON: Duration = Duration::from_secs(10);

fn proc(pid: u32, name: &str) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/{name}")).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_running_daemon_keeps_no_environment_no_foreign_file_and_leaves_no_core() {
    let environment =
        vec![("SECRET_OF_THE_SHELL".to_owned(), "opensesame".to_owned()), ("LD_BIND_NOW".to_owned(), "1".to_owned())];
    let mut daemon = Daemon::with(&Setup { environment, ..Setup::default() }).unwrap();
    let id = daemon.id().unwrap();

    let variables = proc(id, "environ");
    assert!(!variables.contains("opensesame") && !variables.contains("LD_BIND_NOW"), "{variables}");
    let core = proc(id, "limits").lines().find(|line| line.starts_with("Max core file size")).unwrap().to_owned();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    let status = proc(id, "status");
    assert!(status.contains("Umask:\t0077\n") && status.contains("NoNewPrivs:\t1\n"), "{status}");

    daemon.process().unwrap().signal(Signal::ABORT);
    let end = daemon.process().unwrap().end(SOON).unwrap();
    assert_eq!(end.signal(), Some(6));
    assert!(!end.core_dumped());
}

#[test]
fn descriptors_of_whoever_starts_the_daemon_are_left_behind() {
    let daemon = Daemon::prepared(&Setup::default()).unwrap();
    daemon.trustd(&["init"]).unwrap().ok().unwrap();
    let foreign = daemon.directory().join("foreign");
    std::fs::write(&foreign, "not for the daemon").unwrap();
    let mut command = Command::new("bash");
    command.args(["-c", r#"exec 9<"$1"; exec "$2" serve --config "$3""#, "bash"]);
    command.arg(&foreign).arg(ours("trustd").unwrap()).arg(daemon.configuration());
    let mut running = Running::start(&mut command, &daemon.directory().join("log")).unwrap();
    running.ready(SOON, || daemon.socket().exists().then_some(())).unwrap();

    let open: Vec<_> = std::fs::read_dir(format!("/proc/{}/fd", running.id()))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .collect();

    assert!(open.iter().any(|file| file.ends_with("lock")), "{open:?}");
    assert!(!open.contains(&foreign), "{open:?}");
}

/// A daemon of an ordinary user: its own user can neither read its memory nor its environment.
#[test]
fn the_user_who_runs_the_daemon_cannot_look_into_it() {
    const USER: u32 = 61_184;
    assert!(rustix::process::geteuid().is_root(), "this test takes on another user: run it as root");
    // Below /tmp in any case: another user must be able to reach it.
    let directory = TempDir::new_in("/tmp").unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let home = directory.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let program = directory.path().join("trustd");
    std::fs::copy(ours("trustd").unwrap(), &program).unwrap();
    std::os::unix::fs::chown(&home, Some(USER), Some(USER)).unwrap();
    let as_user = |program: &std::path::Path| {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", &home).current_dir("/").uid(USER).gid(USER);
        command
    };
    let mut daemon = Running::start(as_user(&program).arg("serve"), &directory.path().join("log")).unwrap();
    let socket = home.join(".local/share/trustd.sock");
    daemon.ready(SOON, || socket.exists().then_some(())).unwrap();
    let mut sleeper = Running::start(as_user("sleep".as_ref()).arg("60"), &directory.path().join("log")).unwrap();
    sleeper.ready(SOON, || Some(())).unwrap();

    let look = |id: u32| {
        let owner = std::fs::metadata(format!("/proc/{id}/mem")).unwrap().uid();
        let read = run(as_user("cat".as_ref()).arg(format!("/proc/{id}/environ"))).unwrap();
        (owner, read.code == Some(0))
    };

    // The control: what this user may do with a program that does not defend itself.
    assert_eq!(look(sleeper.id()), (USER, true));
    assert_eq!(look(daemon.id()), (0, false));
    assert!(daemon.stop().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_counted_by_method_and_fault_and_only_metrics_are_served() {
    let address = free_address().unwrap();
    let setup = Setup { more: format!("metrics = \"{address}\"\n"), ..Setup::allowing_raw() };
    let daemon = Daemon::with(&setup).unwrap();
    let user = daemon.caller().await.unwrap();
    user.create("raw/one").await.unwrap();
    user.sign("raw/one", b"one").await.unwrap();
    user.sign("raw/one", b"two").await.unwrap();
    user.sign("raw/none", b"three").await.unwrap_err();

    let page = http(address, "GET /metrics HTTP/1.1").unwrap();

    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    for line in [
        "trustd_signatures_total{algorithm=\"ed25519\",form=\"raw\"} 2",
        "trustd_calls_total{method=\"trust.v1.Signing/Sign\",answer=\"ok\"} 2",
        "trustd_calls_total{method=\"trust.v1.Keys/CreateKey\",answer=\"ok\"} 1",
        "trustd_call_seconds_count{method=\"trust.v1.Signing/Sign\"} 3",
        "trustd_intents_total 3",
        "trustd_calls_in_flight 0",
        "trustd_sealed 0",
        "trustd_trouble{kind=\"log-full\"} 0",
        "trustd_custody_state{state=\"ready\"} 1",
    ] {
        assert!(page.contains(&format!("{line}\n")), "{line}\n{page}");
    }
    assert!(page.ends_with("# EOF\n"), "{page}");
    let document = document("docs/config.md").unwrap();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let suffix = if kind == "counter" { "_total" } else { "" };
        assert!(document.contains(&format!("| `{name}{suffix}` |")), "{name} is not in docs/config.md");
    }
    assert!(!page.contains("raw/one"), "a key's name is in the metrics\n{page}");
    assert!(http(address, "GET / HTTP/1.1").unwrap().starts_with("HTTP/1.1 404"));
    assert!(http(address, "POST /metrics HTTP/1.1").unwrap().starts_with("HTTP/1.1 405"));
    let long = format!("GET /metrics HTTP/1.1\r\nx: {}", "y".repeat(100_000));
    let mut flood = TcpStream::connect(address).unwrap();
    flood.set_read_timeout(Some(SOON)).unwrap();
    let _ = flood.write_all(long.as_bytes()); // it may be cut off in the middle
    let mut answer = Vec::new();
    let _ = flood.read_to_end(&mut answer); // a reset is an answer, too
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    assert!(http(address, "HEAD /metrics HTTP/1.1").unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_health_follows_sealing() {
    const PASSPHRASE: &str = "correct horse battery staple";
    let setup = Setup { passphrase: Some(PASSPHRASE.to_owned()), ..Setup::allowing_raw() };
    let daemon = Daemon::with(&setup).unwrap();
    let channel = daemon.channel().await.unwrap();
    let user = Caller::new(channel.clone());
    let serving = async |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        let status = HealthClient::new(channel.clone()).check(request).await.unwrap().into_inner().status();
        format!("{status:?}")
            == format!("{:?}", tonic_health::pb::health_check_response::ServingStatus::from(ServingStatus::Serving))
    };

    assert!(!serving("").await && !serving("trust.v1.Signing").await && serving("trust.v1.Admin").await);
    assert_eq!(user.status().await.unwrap().health, "degraded: sealed");

    user.unseal(PASSPHRASE).await.unwrap();
    assert_eq!(user.status().await.unwrap().health, "serving");
    let handle = tokio::runtime::Handle::current();
    until("health says serving", SOON, || {
        Ok(tokio::task::block_in_place(|| handle.block_on(serving("trust.v1.Signing"))).then_some(()))
    })
    .unwrap();
    assert!(serving("").await);
    for service in ["Admin", "Audit", "ContentTrust", "Hsm", "Keys", "Signing", "Verification"] {
        assert!(serving(&format!("trust.v1.{service}")).await, "{service}");
    }
    let unknown = HealthCheckRequest { service: "trust.v1.Nothing".to_owned() };
    assert_eq!(HealthClient::new(channel.clone()).check(unknown).await.unwrap_err().code(), Code::NotFound);
}

#[test]
fn the_service_manager_hears_ready_watchdog_reload_and_stop() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    let environment = vec![
        ("NOTIFY_SOCKET".to_owned(), path.to_str().unwrap().to_owned()),
        ("WATCHDOG_USEC".to_owned(), "400000".to_owned()),
    ];
    let hear = || {
        let mut message = [0; 256];
        let length = manager.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    // Pings come all the time between other words.
    let hear_but_pings = || std::iter::repeat_with(hear).find(|word| !word.starts_with("WATCHDOG")).unwrap();

    let mut daemon = Daemon::with(&Setup { environment, ..Setup::default() }).unwrap();
    assert_eq!(hear_but_pings(), "READY=1\n");
    assert_eq!(std::iter::repeat_with(hear).take(3).collect::<String>(), "WATCHDOG=1\n".repeat(3));

    daemon.process().unwrap().signal(Signal::HUP);
    assert!(hear_but_pings().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(hear_but_pings(), "READY=1\n");

    assert!(daemon.terminate().unwrap().success());
    assert_eq!(hear_but_pings(), "STOPPING=1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_does_not_wait_for_a_sign_that_hangs() {
    let setup = Setup { more: "[custody]\nhang_after_ms = 60000\n".to_owned(), ..Setup::allowing_raw() };
    let mut daemon = Daemon::with(&setup).unwrap();
    let user = daemon.caller().await.unwrap();
    user.create("raw/one").await.unwrap();
    for worker in daemon.workers().unwrap() {
        let pid = rustix::process::Pid::from_raw(i32::try_from(worker).unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::STOP).unwrap();
    }
    let before = user.status().await.unwrap().log_size;
    let signer = user.clone();
    let hanging = tokio::spawn(async move { signer.sign("raw/one", b"hangs").await });
    // Once its intent is durable the daemon has to wait for it.
    let begun = async {
        while user.status().await.unwrap().log_size == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, begun).await.unwrap();
    daemon.process().unwrap().signal(Signal::TERM);
    until("it drains", SOON, || Ok(daemon.log().contains("draining").then_some(()))).unwrap();
    assert_eq!(daemon.process().unwrap().ended().unwrap(), None);

    daemon.process().unwrap().signal(Signal::TERM);
    let (took, end) = timed(|| daemon.process().unwrap().end(SOON).unwrap());

    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(end.code(), Some(1));
    assert!(hanging.await.unwrap().is_err());
    daemon.kill().unwrap();
    daemon.launch().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_error_is_found_in_the_log_under_the_id_that_its_caller_reads() {
    let daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let channel = daemon.channel().await.unwrap();
    Caller::new(channel.clone()).create("raw/one").await.unwrap();
    for frames in std::fs::read_dir(daemon.data().join("log/entries")).unwrap() {
        let path = frames.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }

    let request = ListEntriesRequest { first_leaf: 0, count: 10 };
    let status = AuditClient::new(channel).list_entries(request).await.unwrap_err();

    assert_eq!(status.code(), Code::Internal);
    let id = status.message().rsplit(' ').next().unwrap();
    assert!(id.len() == 16 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{status:?}");
    let line = daemon.log().lines().find(|line| line.contains(id)).map(str::to_owned);
    assert!(line.as_ref().is_some_and(|line| line.contains("cause=")), "{line:?}");
    assert!(!status.message().contains("entries"), "the cause is not for the caller: {status:?}");
}

/// Whether a method reads messages after its answer has begun.
fn is_stream(method: &Method) -> bool {
    method.name == "VerifyStream"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_read_is_malformed_for_every_method_and_wakes_nobody() {
    let address = free_address().unwrap();
    let daemon = Daemon::with(&Setup { more: format!("metrics = \"{address}\"\n"), ..Setup::default() }).unwrap();
    let channel = daemon.channel().await.unwrap();
    let methods = methods().unwrap();

    for method in &methods {
        let unread = call(&channel, method, vec![0xff; 5000]).await.unwrap();
        assert_eq!(unread.code, Code::InvalidArgument, "{}: {unread:?}", method.label());
        assert!(unread.message.contains("not one message of trust.v1"), "{unread:?}");

        for (frames, words) in [
            ("\u{1}\0\0\0\u{5}hello", "uncompressed"),
            ("\u{7}\0\0\0\u{5}hello", "uncompressed"),
            ("\0\u{7f}\u{7f}\u{7f}\u{7f}hello", "longer than a message may be"),
            ("\0\0\0\0\u{5}he", "not one message of trust.v1"),
            ("", "not one message of trust.v1"),
        ] {
            let answer = post_frames(&channel, method, frames.as_bytes().to_vec()).await.unwrap();
            if is_stream(method) && frames.is_empty() {
                // A stream of no messages is whole.
                assert_eq!((answer.code, answer.bodies.len()), (Code::Ok, 0), "{answer:?}");
                continue;
            }
            assert_eq!(answer.code, Code::InvalidArgument, "{} {frames:?}: {answer:?}", method.label());
            assert!(answer.message.contains(words), "{frames:?}: {answer:?}");
        }
    }

    let page = http(address, "GET /metrics HTTP/1.1").unwrap();
    let counted = |name: &str, answer: &str| {
        let label = format!("answer=\"{answer}\"");
        let lines = page.lines().filter(|line| line.starts_with(name) && line.contains(&label));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum::<usize>()
    };
    let streams = methods.iter().filter(|method| is_stream(method)).count();
    assert_eq!(counted("trustd_calls_total", "internal"), 0, "{page}");
    assert_eq!(counted("trustd_calls_total", "malformed"), (methods.len() - streams) * 6, "{page}");
    assert_eq!(counted("trustd_verify_streams_total", "malformed"), streams * 5, "{page}");
}
