//! Who is connected: versions of TLS, certificates, and how much one address may take.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use trust_tests::Setup;

use super::scene::{self, Plan, Scene, multipart};

#[test]
fn clients_of_each_age_come_in_and_keep_their_connection_if_they_like() {
    let scene = Scene::started(&Plan::open());

    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut stream = scene.connect(version, None).unwrap();
        for _ in 0..3 {
            stream.write_all(b"GET /v2/ HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n{}") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                answer.extend_from_slice(&byte);
            }
            assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{version:?}");
        }
    }
    let plain = trust_tests::http::http(scene.address, "GET /v2/ HTTP/1.1");
    assert!(!plain.unwrap_or_default().contains("200"), "answered without TLS");
}

#[test]
fn one_address_does_not_take_every_handshake() {
    let plan = Plan::open();
    let scene = Scene::started(&Plan { notary: format!("{}connections_max = 16\n", plan.notary), ..plan });
    let [here, there] = [1, 2].map(|last| std::net::Ipv4Addr::new(127, 0, 0, last));

    // More than there are places for handshakes, and fewer than one address may have connections.
    let silent: Vec<_> = (0..12).map(|_| scene.reach_from(here).unwrap()).collect();

    let stream = scene.secure(scene.reach_from(there).unwrap(), &rustls::version::TLS13, None).unwrap();
    let answer = scene::Door::converse(stream, b"GET /v2/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert_eq!(answer.unwrap().status, 200);
    drop(silent);
}

/// A door that keeps 4 MiB of bodies, and what is sent to it from the machine's addresses.
struct Uploads(Scene);

impl Uploads {
    fn to(policy: &str) -> Self {
        let notary = format!("{}upload_mib_max = 1\n", Plan::open().notary);
        // No body's time is over before the test's.
        let tables = "[limits]\nrequest_ms_max = 600000\n".to_owned();
        Self(Scene::started(&Plan { notary, tables, policy: policy.to_owned() }))
    }

    fn begun(&self, last: u8, gun: &str, length: usize, body: &[u8]) -> scene::Connection {
        let source = std::net::Ipv4Addr::new(127, 0, 0, last);
        let plain = self.0.reach_from(source).unwrap();
        let mut stream = self.0.secure(plain, &rustls::version::TLS13, None).unwrap();
        let (headers, _) = multipart(&[]);
        let head = format!(
            "POST /v2/{gun}/_trust/tuf/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
        );
        // A server that takes no more may close before it has read everything.
        let _ = stream.write_all(&[head.as_bytes(), body].concat()).and_then(|()| stream.flush());
        stream
    }

    /// A body as long as one may be, but for its last byte.
    fn stalled(&self, last: u8, gun: &str) -> scene::Connection {
        self.begun(last, gun, 1 << 20, &vec![b'x'; (1 << 20) - 1])
    }

    fn status(&self, last: u8, gun: &str) -> u16 {
        let (_, body) = multipart(&[("root", b"{}")]);
        scene::Door::converse(self.begun(last, gun, body.len(), &body), b"").unwrap().status
    }

    /// Bodies that do not end, from an address, until there is no room for another one, from `asking`. Whoever asks takes of
    /// the room for a moment, and one of them may find none because of that: so there may be more than fit, and it is asked
    /// more than once.
    fn filled(&self, last: u8, asking: u8, gun: &str) -> Vec<scene::Connection> {
        let mut stalled = Vec::new();
        trust_tests::wait::until("no room for more", Duration::from_secs(90), || {
            stalled.push(self.stalled(last, gun));
            Ok((0..3).all(|_| self.status(asking, gun) == 429).then_some(()))
        })
        .unwrap();
        stalled
    }
}

#[test]
fn bodies_that_do_not_end_keep_no_other_address_out() {
    let uploads = Uploads::to(Setup::ALLOW_ALL);
    let stalled = uploads.filled(1, 1, "ex.io/a");

    assert_eq!(uploads.status(2, "ex.io/a"), 400);
    drop(stalled);
}

/// The head of an upload.
pub(crate) fn upload_head(gun: &str, framing: &str) -> String {
    let (headers, _) = multipart(&[]);
    format!("POST /v2/{gun}/_trust/tuf/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}{framing}\r\n\r\n")
}

#[test]
fn whoever_is_refused_in_the_middle_of_an_upload_reads_all_of_the_answer() {
    let plan = Plan::open();
    let scene = Scene::started(&Plan { notary: format!("{}upload_mib_max = 1\n", plan.notary), ..plan });
    let body = vec![b'x'; 16 << 20];
    let announced = [upload_head("ex.io/a", &format!("content-length: {}", body.len())).as_bytes(), &body].concat();
    let chunk = format!("{}{:x}\r\n", upload_head("ex.io/a", "transfer-encoding: chunked"), body.len());
    let chunked = [chunk.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();

    for turn in 0..8 {
        for request in [&announced, &chunked] {
            let answer = scene.exchange_whole(request).unwrap_or_else(|error| panic!("{turn}: {error}"));
            assert_eq!((answer.status, answer.error().0.as_str()), (413, "MALFORMED_UPLOAD"), "{turn}");
        }
    }
    // The same for what is not read as a request at all.
    let head = format!("GET /v2/ HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(4 << 20));
    for _ in 0..4 {
        assert_eq!(scene.exchange_whole(head.as_bytes()).unwrap().status, 431);
    }
}

#[test]
fn many_who_find_no_room_for_their_uploads_are_all_told_so() {
    let uploads = Uploads::to(Setup::ALLOW_ALL);
    let stalled = uploads.filled(1, 1, "ex.io/a");
    let head = upload_head("ex.io/a", &format!("content-length: {}", 1 << 20));
    let request = [head.as_bytes(), &vec![b'x'; 1 << 20]].concat();

    let door: &scene::Door = &uploads.0;
    let answers = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| door.exchange_whole(&request))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });

    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.error().0.as_str()), (429, "TOOMANYREQUESTS"));
    }
    drop(stalled);
}

#[test]
fn whoever_asks_before_an_upload_is_told_to_go_on_or_refused() {
    let plan = Plan::open();
    let scene = Scene::started(&Plan { notary: format!("{}upload_mib_max = 1\n", plan.notary), ..plan });
    let asking = |length: usize| {
        let mut stream = scene.connect(&rustls::version::TLS13, None).unwrap();
        let head = upload_head("ex.io/a", &format!("expect: 100-continue\r\ncontent-length: {length}"));
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };

    let answer = scene::Door::converse(asking((1 << 20) + 1), b"").unwrap();
    assert_eq!((answer.status, answer.error().0.as_str()), (413, "MALFORMED_UPLOAD"));

    let (_, body) = multipart(&[("bogus", b"{}")]);
    let mut stream = asking(body.len());
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    let answer = scene::Door::converse(stream, &body).unwrap();
    assert_eq!((answer.status, answer.error().0.as_str()), (400, "INVALID_ROLE"));
}

#[test]
fn bodies_of_those_who_may_publish_nothing_keep_nobody_out_who_may() {
    let uploads = Uploads::to(
        "permit (principal, action == Action::\"publish\", resource) when { resource.name == \"ex.io/ours\" };\n",
    );
    let stalled = uploads.filled(1, 2, "ex.io/theirs");

    assert_eq!((uploads.status(1, "ex.io/ours"), uploads.status(2, "ex.io/ours")), (400, 400));
    drop(stalled);
}

#[test]
fn where_certificates_are_wanted_there_is_no_handshake_without_one() {
    let policy = "permit (principal is Spiffe, action, resource) when { principal.path == \"/ci\" };\n";
    let scene = Scene::started(&Plan {
        notary: "auth = \"certificate\"\n".to_owned(),
        tables: "[[notary.client_ca]]\ntrust_domain = \"example.com\"\ncertificate = \"DIRECTORY/ca.pem\"\n".to_owned(),
        policy: policy.to_owned(),
    });
    let ask = |shown, line: &str| {
        let request = format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        scene.exchange(shown, request.as_bytes())
    };

    assert!(ask(None, "GET /v2/").is_err());
    assert!(ask(Some(scene.client("spiffe://other.example/ci")), "GET /v2/").is_err());
    assert_eq!(ask(Some(scene.client("spiffe://example.com/ci")), "GET /v2/").unwrap().status, 200);
    let key = "GET /v2/any.io/a/_trust/tuf/timestamp.key";
    let refused = ask(Some(scene.client("spiffe://example.com/other")), key).unwrap();
    assert_eq!((refused.status, refused.error().0.as_str()), (403, "DENIED"));
}
