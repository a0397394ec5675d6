//! The Notary door of the real daemon, asked over TLS byte by byte: who comes in, what is where, what cannot be read.
//!
//! The words are held against what the original answered (SPEC, appendix A).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the scene serves several tests")]

#[path = "notary_door/connections.rs"]
mod connections;
#[path = "notary/scene.rs"]
mod scene;
#[path = "notary_door/tokens.rs"]
mod tokens;

use serde_json::{Value, json};
use trust_tests::{Daemon, Setup};

use connections::upload_head;
use scene::{Plan, Scene, multipart};
use tokens::REALM;

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
fn a_length_that_no_upload_has_is_refused_whatever_it_is() {
    let scene = Scene::started(&Plan::open());

    for (length, status) in [
        (1_u128 << 63, 413),
        (u128::from(u64::MAX) - 2, 413),
        (u128::from(u64::MAX) - 1, 431),
        (u128::from(u64::MAX), 431),
        (1 << 64, 400),
    ] {
        let head = upload_head("ex.io/a", &format!("content-length: {length}"));
        let answer = scene.exchange_whole(head.as_bytes()).unwrap();
        assert_eq!((answer.status, answer.body.is_empty()), (status, status != 413), "{length}");
    }
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
            ("records=%00%22%c3%a9", words(r#"\x00\"é"#, "invalid syntax")),
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
