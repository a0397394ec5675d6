//! The Notary door of the real daemon, asked over TLS byte by byte: who comes in, what is where, what cannot be read.
//!
//! The words are held against what the original answered (SPEC, appendix A).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the scene serves several tests")]

#[path = "notary/scene.rs"]
mod scene;

use std::io::{Read as _, Write as _};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};
use trust_tests::{Daemon, Setup};

use scene::{Plan, Scene, multipart};

const NOT_FOUND: &str = "METADATA_NOT_FOUND";

#[test]
fn what_is_nowhere_is_answered_as_the_original_does() {
    let scene = Scene::started(&Plan::open());
    let catch_all = "{\"errors\":[{\"code\":\"METADATA_NOT_FOUND\",\"message\":\"You have requested metadata that does not exist.\"}]}\n";

    for line in [
        "GET /",
        "GET /v2",
        "GET /v1/",
        "POST /v2/",
        "GET /v2/ex.io/a/_trust/tuf/foo.json",
        "GET /v2/ex.io/a/_trust/tuf/root.key",
        "GET /v2/ex.io/a/_trust/tuf/targets.key",
        "POST /v2/ex.io/a/_trust/tuf/targets.key",
        "GET /v2/ex.io/a/_trust/tuf/",
        "PUT /v2/ex.io/a/_trust/tuf/root.json",
        "GET /v2/a*b/_trust/tuf/root.json",
        "GET /v2/ex.io/a/_trust/tuf/targets.09cc23f62454ffd4.json",
    ] {
        let answer = scene.ask(line);
        assert_eq!((answer.status, answer.text().as_str()), (404, catch_all), "{line}");
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"), "{line}");
        assert_eq!(answer.header("cache-control"), None, "{line}");
    }
    let head = scene.ask("HEAD /v2/ex.io/a/_trust/tuf/root.json");
    assert_eq!((head.status, head.body.len()), (404, 0));
    for line in ["PATCH /v2/ex.io/a/_trust/tuf/root.json", "OPTIONS /v2/"] {
        let answer = scene.ask(line);
        assert_eq!((answer.status, answer.body.len()), (405, 0), "{line}");
    }
    for (line, to) in [
        ("GET /v2//_trust/tuf/root.json?a=b", "/v2/_trust/tuf/root.json?a=b"),
        ("GET /v2/ex.io/a//_trust/tuf/root.json", "/v2/ex.io/a/_trust/tuf/root.json"),
        ("GET //elsewhere.example/", "/elsewhere.example/"),
    ] {
        let answer = scene.ask(line);
        assert_eq!((answer.status, answer.header("location")), (301, Some(to)), "{line}");
    }
}

#[test]
fn the_door_says_how_it_is() {
    let scene = Scene::started(&Plan::open());

    let ping = scene.ask("GET /v2/");
    assert_eq!((ping.status, ping.text().as_str()), (200, "{}"));
    assert_eq!(ping.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(ping.header("docker-distribution-api-version"), None);
    let health = scene.ask("GET /_notary_server/health");
    assert_eq!((health.status, health.text().as_str()), (200, "{}"));
    // From this machine, so it is there; who is elsewhere is in a unit test.
    let metrics = scene.ask("GET /metrics").text();
    assert!(metrics.contains("trustd_notary_requests_total{operation=\"ping\",status=\"200\"} 1\n"), "{metrics}");
    assert!(metrics.contains("trustd_connections{door=\"notary\"} 1\n"), "{metrics}");
}

#[test]
fn a_sealed_daemon_says_so_in_the_words_of_health() {
    let plan = Plan::open();
    let scene = Scene::started(&plan);
    let admin = scene.daemon.user().unwrap();
    admin.run(&["seal"]).unwrap().ok().unwrap();

    let health = scene.ask("GET /_notary_server/health");
    assert_eq!((health.status, health.json()), (503, json!({"Trust operational": "sealed"})));
    let answer = scene.ask("GET /v2/ex.io/a/_trust/tuf/timestamp.key");
    assert_eq!((answer.status, answer.error().0.as_str()), (503, "UNAVAILABLE"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(scene.ask("GET /v2/").status, 200);
}

#[test]
fn what_was_never_published_is_looked_up_and_not_there() {
    let scene = Scene::started(&Plan::open());
    let hash = "0".repeat(64);

    for file in [
        "root.json",
        "timestamp.json",
        "targets/none.json",
        "targets/UP.json",
        "3.root.json",
        "0.root.json",
        "01.root.json",
        "4294967296.root.json",
        &format!("targets.{hash}.json"),
        &format!("targets.{}.json", "0".repeat(128)),
        &format!("targets/releases.{hash}.json"),
    ] {
        let answer = scene.ask(&format!("GET /v2/ex.io/a/_trust/tuf/{file}"));
        assert_eq!((answer.status, answer.error()), (404, (NOT_FOUND.to_owned(), "{}".to_owned())), "{file}");
    }
    let number = "99999999999999999999";
    let answer = scene.ask(&format!("GET /v2/ex.io/a/_trust/tuf/{number}.root.json"));
    let expected = json!({"Func": "Atoi", "Num": number, "Err": {}});
    assert_eq!((answer.status, &answer.json()["errors"][0]["detail"]), (404, &expected));
}

#[test]
fn a_body_that_is_no_upload_is_refused_and_breaks_nothing() {
    let plan = Plan::open();
    let scene = Scene::started(&Plan { notary: format!("{}upload_mib_max = 1\n", plan.notary), ..plan });
    let line = "POST /v2/ex.io/a/_trust/tuf/";
    let (headers, body) = multipart(&[("root", b"{}"), ("targets/releases", b"{}")]);
    let malformed = |answer: scene::Answer| {
        assert_eq!((answer.status, answer.error().0.as_str()), (400, "MALFORMED_UPLOAD"), "{answer:?}");
    };

    malformed(scene.ask_with(line, "", b""));
    malformed(scene.ask_with(line, "content-type: application/json\r\n", b"{}"));
    malformed(scene.ask_with(line, "content-type: multipart/form-data\r\n", &body));
    for end in [1, body.len() / 2, body.len() - 5] {
        malformed(scene.ask_with(line, &headers, &body[..end]));
    }
    for (name, code, said) in [
        ("", "NO_FILENAME", ""),
        (".json", "NO_FILENAME", ""),
        ("bogus", "INVALID_ROLE", "\"bogus\""),
        ("targets/UPPER", "INVALID_ROLE", "\"targets/UPPER\""),
        ("../targets/a", "INVALID_ROLE", "\"../targets/a\""),
        ("root", "MALFORMED_JSON", ""),
    ] {
        let answer = scene.publish("ex.io/a", &[(name, b"{")]);
        assert_eq!((answer.status, answer.error()), (400, (code.to_owned(), said.to_owned())), "{name}");
    }

    // Announced too long, sent too long without being announced, and too long by a little.
    let announced =
        format!("{line} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{headers}content-length: 1048577\r\n\r\n");
    let answer = scene.exchange(None, announced.as_bytes()).unwrap();
    assert_eq!((answer.status, answer.error().0.as_str()), (413, "MALFORMED_UPLOAD"));
    let mut chunked =
        format!("{line} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{headers}transfer-encoding: chunked\r\n\r\n")
            .into_bytes();
    for _ in 0..20 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend_from_slice(&vec![b'x'; 0x10000]);
        chunked.extend_from_slice(b"\r\n");
    }
    let answer = scene.exchange(None, &chunked).unwrap();
    assert_eq!(answer.status, 413);

    assert_eq!(scene.ask("GET /v2/").status, 200);
}

#[test]
fn repositories_of_other_names_are_not_served() {
    let scene = Scene::started(&Plan::open());

    let answer = scene.publish("other.io/a", &[("root", b"{}")]);
    let said = "\"Require GUNs with prefix: [ex.io/]\"".to_owned();
    assert_eq!((answer.status, answer.error()), (400, ("INVALID_GUN".to_owned(), said)));
    for line in [
        "GET /v2/other.io/a/_trust/tuf/root.json",
        "GET /v2/other.io/a/_trust/tuf/timestamp.key",
        "POST /v2/other.io/a/_trust/tuf/timestamp.key",
        "DELETE /v2/other.io/a/_trust/tuf/",
        "GET /v2/other.io/a/_trust/changefeed?records=1",
        "GET /v2/ex.io/_trust/tuf/root.json",
        "GET /v2/ex.io/a%22b/_trust/tuf/root.json",
    ] {
        let answer = scene.ask(line);
        assert_eq!((answer.status, answer.error()), (404, (NOT_FOUND.to_owned(), String::new())), "{line}");
    }
}

#[test]
fn the_changefeed_reads_its_parameters_as_go_does() {
    let scene = Scene::started(&Plan::open());
    let words = |text: &str, why: &str| {
        let words = format!("invalid records parameter: strconv.ParseInt: parsing \"{text}\": {why}");
        Value::from(words).to_string()
    };

    for place in ["/v2/_trust/changefeed", "/v2/ex.io/a/_trust/changefeed"] {
        for (query, said) in [
            ("", words("", "invalid syntax")),
            ("records=abc", words("abc", "invalid syntax")),
            ("records=99999999999", words("99999999999", "value out of range")),
            ("records=2&change_id=x", "{}".to_owned()),
        ] {
            let answer = scene.ask(&format!("GET {place}?{query}"));
            assert_eq!((answer.status, answer.error()), (400, ("INVALID_PARAMETERS".to_owned(), said)), "{query}");
        }
        for query in ["records=0", "records=2&change_id=99999", "records=-2", "records=2&change_id=-1"] {
            let answer = scene.ask(&format!("GET {place}?{query}"));
            assert_eq!((answer.status, answer.text().as_str()), (200, "{\"count\":0,\"records\":[]}"), "{query}");
        }
    }
}

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

    fn is_full_for(&self, last: u8, gun: &str) {
        trust_tests::wait::soon("no room for more", || self.status(last, gun) == 429).unwrap();
    }
}

#[test]
fn bodies_that_do_not_end_keep_no_other_address_out() {
    let uploads = Uploads::to(Setup::ALLOW_ALL);
    let stalled = [1, 1].map(|last| uploads.stalled(last, "ex.io/a"));

    uploads.is_full_for(1, "ex.io/a");
    assert_eq!(uploads.status(2, "ex.io/a"), 400);
    drop(stalled);
}

#[test]
fn bodies_of_those_who_may_publish_nothing_keep_nobody_out_who_may() {
    let uploads = Uploads::to(
        "permit (principal, action == Action::\"publish\", resource) when { resource.name == \"ex.io/ours\" };\n",
    );
    let stalled = uploads.stalled(1, "ex.io/theirs");

    uploads.is_full_for(2, "ex.io/theirs");
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

/// An issuer of tokens, as registries have one.
struct TokenIssuer {
    key: KeyPair,
    certificate: rcgen::Certificate,
}

impl TokenIssuer {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "token issuer");
        let key = KeyPair::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }

    /// A token that is good until the year 2096.
    fn token(&self, account: &str, access: &Value) -> String {
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(self.certificate.der())]});
        let claims = json!({
            "iss": "auth", "sub": account, "aud": "notary-server", "exp": 3_976_214_400_u64, "nbf": 0, "access": access,
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.key.serialize_der()).unwrap();
        let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

const REALM: &str = "https://auth.example.com/token";

fn token_plan() -> Plan {
    Plan {
        notary: "auth = \"token\"\n".to_owned(),
        tables: format!(
            "[notary.token]\nrealm = \"{REALM}\"\nservice = \"notary-server\"\nissuer = \"auth\"\n\
             rootcertbundle = \"DIRECTORY/tokens.pem\"\n"
        ),
        policy: "permit (principal is RegistryAccount, action, resource) when { principal.account == \"carol\" };\n\
                 permit (principal is Anonymous, action == Action::\"read-trust\", resource);\n"
            .to_owned(),
    }
}

#[test]
fn a_client_is_sent_for_a_token_and_let_in_with_it() {
    let issuer = TokenIssuer::new();
    let mut scene = Scene::new(&token_plan());
    std::fs::write(scene.directory.path().join("tokens.pem"), issuer.certificate.pem()).unwrap();
    scene.start();
    let gun = "localhost:5001/tok/app";
    let grants = |actions: &[&str]| json!([{"type": "repository", "name": gun, "actions": actions}]);
    let with = |line: &str, token: &str| scene.ask_with(line, &format!("authorization: Bearer {token}\r\n"), b"");
    let challenge = |scope: &str, error: &str| {
        let error = if error.is_empty() { String::new() } else { format!(",error=\"{error}\"") };
        format!("Bearer realm=\"{REALM}\",service=\"notary-server\",scope=\"{scope}\"{error}")
    };

    let ping = scene.ask("GET /v2/");
    assert_eq!(ping.status, 401);
    assert_eq!(ping.header("www-authenticate"), Some(challenge("registry:catalog:*", "").as_str()));
    assert_eq!(
        ping.text(),
        "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication required\",\"detail\":\
         [{\"Type\":\"registry\",\"Class\":\"\",\"Name\":\"catalog\",\"Action\":\"*\"}]}]}\n"
    );
    assert_eq!(scene.ask("GET /elsewhere").status, 401);
    assert_eq!(scene.ask("GET /_notary_server/health").status, 200);

    let root = format!("GET /v2/{gun}/_trust/tuf/root.json");
    let key = format!("GET /v2/{gun}/_trust/tuf/timestamp.key");
    let pull = issuer.token("", &grants(&["pull"]));
    let answer = with(&root, &pull);
    assert_eq!((answer.status, answer.error()), (404, (NOT_FOUND.to_owned(), "{}".to_owned())));
    let answer = with(&key, &pull);
    assert_eq!(answer.status, 401);
    let expected = challenge(&format!("repository:{gun}:pull,push"), "insufficient_scope");
    assert_eq!(answer.header("www-authenticate"), Some(expected.as_str()));
    let actions: Vec<&str> = ["push", "pull"]
        .into_iter()
        .filter(|action| answer.text().contains(&format!("\"Action\":\"{action}\"")))
        .collect();
    assert_eq!(actions, ["push", "pull"]);

    // The token grants it; the policy has its own mind.
    let (carol, dave) = (issuer.token("carol", &grants(&["push", "pull"])), issuer.token("dave", &grants(&["*"])));
    assert_eq!(with(&key, &dave).status, 403);
    let answer = with(&format!("DELETE /v2/{gun}/_trust/tuf/"), &carol);
    assert_eq!(
        answer.header("www-authenticate"),
        Some(challenge(&format!("repository:{gun}:*"), "insufficient_scope").as_str())
    );

    let stranger = TokenIssuer::new().token("carol", &grants(&["*"]));
    assert_eq!(with(&key, "").status, 401);
    for bad in [stranger.as_str(), "a.b.c", &carol[..carol.len() - 4]] {
        let answer = with(&key, bad);
        assert_eq!(answer.status, 401, "{bad}");
        let said = answer.header("www-authenticate").unwrap();
        assert!(said.ends_with(",error=\"invalid_token\""), "{said}");
    }
}

#[test]
fn the_issuers_certificates_are_followed() {
    let (old, new) = (TokenIssuer::new(), TokenIssuer::new());
    let mut scene = Scene::new(&token_plan());
    let bundle = scene.directory.path().join("tokens.pem");
    std::fs::write(&bundle, old.certificate.pem()).unwrap();
    scene.start();
    let status = |issuer: &TokenIssuer| {
        let token = issuer.token("carol", &json!([{"type": "registry", "name": "catalog", "actions": ["*"]}]));
        scene.ask_with("GET /v2/", &format!("authorization: Bearer {token}\r\n"), b"").status
    };
    assert_eq!((status(&old), status(&new)), (200, 401));

    let next = bundle.with_extension("new");
    std::fs::write(&next, new.certificate.pem()).unwrap();
    std::fs::rename(&next, &bundle).unwrap();

    let limit = std::time::Duration::from_secs(30);
    trust_tests::wait::until("the new issuer", limit, || Ok((status(&new) == 200).then_some(()))).unwrap();
    assert_eq!(status(&old), 401);
}

#[test]
fn strangers_without_a_prefix_and_broken_files_stop_the_start() {
    let start = |notary: &str| {
        let more =
            format!("[notary]\nlisten = \"127.0.0.1:0\"\ncertificate = \"/no/c.pem\"\nkey = \"/no/k.pem\"\n{notary}");
        let daemon = Daemon::prepared(&Setup { more, ..Setup::default() }).unwrap();
        let ran = daemon.trustd(&["check"]).unwrap().exited(1).unwrap();
        ran.stderr
    };

    let said = start("auth = \"none\"\n");
    assert!(said.contains("[notary] gun_prefixes: expected at least one where auth is \"none\""), "{said}");
    assert!(said.lines().last().unwrap().contains("trustd check"), "{said}");
    let said = start("auth = \"none\"\ngun_prefixes = [\"ex.io/\"]\n");
    assert!(said.contains("/no/c.pem: No such file"), "{said}");
    let token = format!(
        "auth = \"token\"\n[notary.token]\nrealm = \"{REALM}\"\nservice = \"s\"\nissuer = \"i\"\nrootcertbundle = \"/no/b.pem\"\n"
    );
    let said = start(&token);
    assert!(said.contains("/no/b.pem: No such file"), "{said}");
}
