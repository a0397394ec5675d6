//! Every probe of SPEC's appendix A, in its order, asked of the real daemon and held against what the original answered.
//!
//! Where an answer differs, [`DIFFERENCES`] has ours and the row of docs/content-trust.md that says so; any other
//! difference fails, and so does one that is none any more.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "scene, workshop and owner serve several tests")]

#[path = "notary_appendix/delegations.rs"]
mod delegations;
#[path = "notary_appendix/differences.rs"]
mod differences;
#[path = "notary/openssl.rs"]
mod openssl;
#[path = "notary/owner.rs"]
mod owner;
#[path = "notary_appendix/roots.rs"]
mod roots;
#[path = "notary/scene.rs"]
mod scene;
#[path = "notary_appendix/sheet.rs"]
mod sheet;
#[path = "../../trust/tests/tuf/workshop.rs"]
mod workshop;

use serde_json::{Value, json};
use sha2::Digest as _;
use trust::Sha256Digest;
use trust_tests::program::checkout;

use delegations::delegations;
use differences::{ASKED_ELSEWHERE, DIFFERENCES};
use owner::{LATER, Owner, targets, with};
use roots::{first_roots, rotations};
use scene::{Answer, Door, Plan, Scene, multipart};
use sheet::Sheet;
use workshop::{TestKey, file};

const GONE: &str = "2026-11-22T05:36:01Z";

/// A file under signature lines that were made elsewhere.
fn lined(signed: &Value, lines: &[Value]) -> Vec<u8> {
    serde_json::to_vec(&json!({"signed": signed, "signatures": lines})).unwrap()
}

fn post(door: &Door, gun: &str, files: &[(&str, &[u8])]) -> Answer {
    door.publish(gun, files)
}

#[test]
fn every_probe_of_the_appendix_is_answered_as_the_original_did_or_as_the_documents_say() {
    let scene = Scene::started(&Plan::open());
    let mut sheet = Sheet::new();
    uploads(&scene, &mut sheet);
    first_roots(&scene, &mut sheet);
    let own = served(&scene, &mut sheet);
    rotations(&own, &mut sheet);
    delegations(&scene, &mut sheet);
    client_snapshots(&scene, &mut sheet);
    routes(&scene, &mut sheet);
    feeds(&scene, &mut sheet);
    deletion(&scene, &mut sheet);
    sheet.check();
}

fn uploads(door: &Door, sheet: &mut Sheet) {
    let gun = "ex.io/uploads";
    let line = format!("POST /v2/{gun}/_trust/tuf/");
    sheet.note("POST not multipart", &door.ask_with(&line, "content-type: application/json\r\n", b"{}"));
    sheet.note("POST no content type", &door.ask_with(&line, "", b"{}"));
    for (probe, name, bytes) in [
        ("POST empty filename", "", "{}"),
        ("POST filename .json only", ".json", "{}"),
        ("POST invalid role", "bogus", "{}"),
        ("POST invalid role targets/UPPER", "targets/UPPER", "{}"),
        ("POST malformed json", "root", "{"),
        (
            "POST json wrong type for version",
            "root",
            "{\"signed\":{\"_type\":\"Root\",\"version\":\"1\"},\"signatures\":[]}",
        ),
        ("POST {} as root", "root", "{}"),
    ] {
        sheet.note(probe, &post(door, gun, &[(name, bytes.as_bytes())]));
    }
    sheet.note("POST zero parts, no repo", &post(door, gun, &[]));
    let (headers, body) = multipart(&[("root", b"{}")]);
    sheet.note("POST truncated multipart", &door.ask_with(&line, &headers, &body[..body.len() / 2]));
}

/// A repository whose snapshots are the server's, after all that may be sent for its targets.
fn served(door: &Door, sheet: &mut Sheet) -> Owner {
    let owner = Owner::of(door, "served");
    let (root, first) = (owner.signed_root(1), owner.signed_targets(1));
    let post = |files: &[(&str, &[u8])]| post(door, &owner.gun, files);
    let one = |bytes: &[u8]| post(&[("targets", bytes)]);
    sheet.note("OK create (server snapshot)", &post(&[("root", &root), ("targets", &first)]));
    sheet.note("re-POST identical root+targets", &post(&[("root", &root), ("targets", &first)]));
    sheet.note("POST zero parts, existing repo", &post(&[]));
    sheet.note("root same v, no change of targets", &post(&[("root", &root)]));
    let again = with(targets(1), "targets", json!({}));
    sheet.note("targets v1 again (new content)", &one(&file(&again, &[&owner.targets])));
    sheet.note("targets v10 (skip)", &one(&owner.signed_targets(10)));
    sheet.note("targets v5 (rollback)", &one(&owner.signed_targets(5)));
    let line = with(owner.targets.sign(&targets(11)), "method", "EDDSA");
    sheet.note("targets uppercase method ECDSA ok?", &one(&lined(&targets(11), &[line])));
    sheet.note("targets with .json filename", &post(&[("targets.json", &owner.signed_targets(12))]));
    let trailing = |version, more: &[u8]| [&owner.signed_targets(version)[..], more].concat();
    sheet.note("targets with trailing garbage", &one(&trailing(13, b"xyz")));
    let blanks = trailing(13, b"\n ");
    let fractions = file(&with(targets(14), "expires", "2096-11-22T05:36:01.120000Z"), &[&owner.targets]);
    let parsed: Value = serde_json::from_slice(&owner.signed_targets(15)).unwrap();
    let pretty = serde_json::to_vec_pretty(&parsed).unwrap();
    for (probe, after, bytes) in [
        ("targets with trailing newline/space", "GET targets.json after trailing newline body", blanks),
        ("targets expires with trailing fractional zeros", "GET targets.json after trailing-zero date", fractions),
        ("targets non-canonical whitespace body", "GET targets.json after non-canonical body", pretty),
    ] {
        sheet.note(probe, &one(&bytes));
        let read = owner.get("targets.json");
        assert_eq!(read.body, bytes, "{after}");
        sheet.note(after, &read);
    }
    sheet.note("publish delegation-less v16 after non-canonical", &one(&owner.signed_targets(16)));
    let stamped = post(&[("targets", &owner.signed_targets(17)), ("timestamp", b"{}")]);
    sheet.note("timestamp part sent by client (ignored)", &stamped);
    let foreign = workshop::snapshot(99, &[("root", &root), ("targets", &owner.signed_targets(17))]);
    let foreign = file(&with(foreign, "expires", LATER), &[&TestKey::ed25519(4)]);
    sheet.note("snapshot part sent by wrong key", &post(&[("snapshot", &foreign)]));
    let twice = post(&[("targets", &owner.signed_targets(18)), ("targets", &owner.signed_targets(19))]);
    sheet.note("duplicate role parts (v16 then v17)", &twice);
    sheet.note("GET targets v16?", &owner.get("18.targets.json"));
    owner
}

fn client_snapshots(door: &Door, sheet: &mut Sheet) {
    let own = TestKey::ed25519(5);
    let owner = Owner { snapshot: (own.id.clone(), own.entry.clone()), ..Owner::of(door, "snapshots") };
    let (root, first) = (owner.signed_root(1), owner.signed_targets(1));
    let of = |version: u32, files: &[(&str, &[u8])]| with(workshop::snapshot(version, files), "expires", LATER);
    let sign = |value: &Value| file(value, &[&own]);
    let all: [(&str, &[u8]); 2] = [("root", &root), ("targets", &first)];
    let created = post(door, &owner.gun, &[("root", &root), ("targets", &first), ("snapshot", &sign(&of(1, &all)))]);
    sheet.note("OK create (client snapshot)", &created);
    let second = owner.signed_targets(2);
    let alone = post(door, &owner.gun, &[("targets", &second)]);
    sheet.note("client-snapshot repo: targets v2 no snapshot", &alone);
    let next: [(&str, &[u8]); 2] = [("root", &root), ("targets", &second)];
    let both = |value: &Value| post(door, &owner.gun, &[("targets", &second), ("snapshot", &sign(value))]);
    sheet.note("client-snapshot: bad hash", &both(&of(2, &all)));
    sheet.note("client-snapshot: missing root meta", &both(&of(2, &[("targets", &second)])));
    let mut long = of(2, &next);
    long["meta"]["root"]["hashes"].as_object_mut().unwrap().remove("sha256");
    sheet.note("client-snapshot: sha512 only", &both(&long));
    sheet.note("client-snapshot: expired", &both(&with(of(2, &next), "expires", GONE)));
    sheet.note("client-snapshot: version 0", &both(&with(of(2, &next), "version", 0)));
    sheet.note("client-snapshot: old version", &both(&of(1, &next)));
    let stale = post(door, &owner.gun, &[("snapshot", &sign(&of(2, &next)))]);
    sheet.note("client-snapshot: only snapshot, stale targets hash (no targets part)", &stale);
    sheet.note("GET targets.json after that", &owner.get("targets.json"));
    sheet.note("client-snapshot: OK v3", &both(&of(3, &next)));
    sheet.note("GET targets.json after that (2)", &owner.get("targets.json"));

    let hash = Sha256Digest::of(&second).to_hex();
    assert_eq!(owner.get(&format!("targets.{hash}.json")).body, second);
    let by = |hash: &str| owner.get(&format!("targets.{hash}.json"));
    sheet.note("GET targets.09CC23F62454FFD4.. [77]", &by(&hash.to_uppercase()));
    let long = hex(&sha2::Sha512::digest(&second));
    sheet.note("GET targets.f8dde266b650ef37.. [141]", &by(&long));
    sheet.note("GET targets.0000000000000000.. [77]", &by(&"0".repeat(64)));
    sheet.note("GET targets.09cc23f62454ffd4.. [53]", &by(&hash[..40]));
    for name in ["foo.json", "root.key", "targets.key"] {
        sheet.note(&format!("GET {name} [{}]", name.len()), &owner.get(name));
    }
    sheet.note("GET  [0]", &owner.get(""));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn routes(door: &Door, sheet: &mut Sheet) {
    let gun = "ex.io/served";
    let tuf = format!("/v2/{gun}/_trust/tuf");
    for (probe, line) in [
        ("POST timestamp.key (rotate)", format!("POST {tuf}/timestamp.key")),
        ("POST timestamp.key again", format!("POST {tuf}/timestamp.key")),
        ("POST targets.key", format!("POST {tuf}/targets.key")),
        ("HEAD /v2/<gun>/_trust/tuf/root.json", format!("HEAD {tuf}/root.json")),
        ("PUT /v2/<gun>/_trust/tuf/root.json", format!("PUT {tuf}/root.json")),
        ("PATCH /v2/<gun>/_trust/tuf/root.json", format!("PATCH {tuf}/root.json")),
        ("OPTIONS /v2/", "OPTIONS /v2/".to_owned()),
        ("POST /v2/", "POST /v2/".to_owned()),
        ("GET /", "GET /".to_owned()),
        ("GET /v2", "GET /v2".to_owned()),
        ("GET /v1/", "GET /v1/".to_owned()),
        ("GET /v2//_trust/tuf/root.json", "GET /v2//_trust/tuf/root.json".to_owned()),
        ("GET /v2/<gun>//_trust/tuf/root.json", format!("GET /v2/{gun}//_trust/tuf/root.json")),
        ("GET /v2/a*b/_trust/tuf/root.json", "GET /v2/a*b/_trust/tuf/root.json".to_owned()),
    ] {
        sheet.note(probe, &door.ask(&line));
    }
}

fn feeds(door: &Door, sheet: &mut Sheet) {
    for (word, place) in [("gun", "/v2/ex.io/served/_trust/changefeed"), ("all", "/v2/_trust/changefeed")] {
        for query in [
            "",
            "records=abc",
            "records=0",
            "records=2",
            "records=-2",
            "records=2&change_id=1",
            "records=2&change_id=-1",
            "records=-2&change_id=3",
            "records=2&change_id=x",
            "records=2&change_id=99999",
            "records=99999999999",
        ] {
            sheet.note(&format!("changefeed {word} ?{query}"), &door.ask(&format!("GET {place}?{query}")));
        }
    }
}

fn deletion(door: &Door, sheet: &mut Sheet) {
    let line = "DELETE /v2/ex.io/served/_trust/tuf/";
    sheet.note("DELETE existing", &door.ask(line));
    sheet.note("DELETE again", &door.ask(line));
    sheet.note("GET after delete", &door.ask("GET /v2/ex.io/served/_trust/tuf/root.json"));
    sheet.note("changefeed after delete", &door.ask("GET /v2/ex.io/served/_trust/changefeed?records=10"));
}

#[test]
fn each_difference_stands_in_the_document_and_each_row_there_is_known() {
    let document = include_str!("../../docs/content-trust.md");
    let table = document.split("## What differs from notary-server").nth(1).unwrap();
    let rows: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| ")).skip(1).collect();

    let elsewhere = || ASKED_ELSEWHERE.iter().flat_map(|(_, _, rows)| rows.iter().copied());
    let named = || DIFFERENCES.iter().map(|(.., row)| *row).chain(elsewhere());
    for name in named() {
        assert!(rows.iter().any(|row| row.starts_with(name)), "no row begins with {name:?}");
    }
    for row in &rows {
        assert!(named().any(|name| row.starts_with(name)), "no test knows the row {row:?}");
    }
    for (file, test, _) in ASKED_ELSEWHERE {
        let source = std::fs::read_to_string(checkout().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(source.contains(&format!("fn {test}()")), "{file} has no test {test}");
    }
}
