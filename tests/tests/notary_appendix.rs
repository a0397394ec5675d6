//! Every probe of SPEC's appendix A, in its order, asked of the real daemon and held against what the original answered.
//!
//! Where an answer differs, [`DIFFERENCES`] has ours and the row of docs/content-trust.md that says so; any other
//! difference fails, and so does one that is none any more.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "scene, workshop and owner serve several tests")]

#[path = "notary/openssl.rs"]
mod openssl;
#[path = "notary/owner.rs"]
mod owner;
#[path = "notary/scene.rs"]
mod scene;
#[path = "../../trust/tests/tuf/workshop.rs"]
mod workshop;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::Digest as _;
use tempfile::TempDir;
use trust::Sha256Digest;
use trust_tests::program::checkout;

use openssl::OpensslKey;
use owner::{LATER, Owner, delegating, root_key, targets, with};
use scene::{Answer, Door, Plan, Scene, multipart};
use workshop::{Certificate, TestKey, file};

const GONE: &str = "2026-11-22T05:36:01Z";
/// Probe, our answer, and how the row begins that says so.
const DIFFERENCES: &[(&str, u16, &str, &str)] = &[
    ("POST truncated multipart", 400, "MALFORMED_UPLOAD", "an upload that is cut short"),
    (
        "root timestamp key unknown to server",
        400,
        "INVALID_UPDATE / ErrBadRoot: no  timestamp keys exist on the server",
        "a key of the server's that it does not hold",
    ),
    (
        "snapshot key not held + no snapshot sent",
        400,
        "INVALID_UPDATE / ErrBadHierarchy: no snapshot was included in update and server does not hold current snapshot key for repository",
        "a key of the server's that it does not hold",
    ),
    (
        "client-snapshot repo: targets v2 no snapshot",
        400,
        "INVALID_UPDATE / ErrBadHierarchy: no snapshot was included in update and server does not hold current snapshot key for repository",
        "a key of the server's that it does not hold",
    ),
    (
        "targets with trailing garbage",
        400,
        "INVALID_UPDATE / ErrBadTargets: metadata: JSON and nothing behind it",
        "something behind a file's JSON",
    ),
    ("duplicate role parts (v16 then v17)", 400, "VERSION {}", "a role twice in one upload"),
    (
        "root v3 with new targets key without new targets",
        400,
        "INVALID_UPDATE / ErrBadTargets: valid signatures did not meet threshold for targets",
        "a root that leaves the targets to nobody",
    ),
    (
        "client-snapshot: only snapshot, stale targets hash (no targets part)",
        400,
        "INVALID_UPDATE / ErrBadSnapshot: sha256 checksum for targets did not match: expected <id>",
        "a snapshot of files that are not there",
    ),
    ("GET targets.09CC23F62454FFD4.. [77]", 200, "(body)", "metadata by its hash"),
    ("changefeed gun ?records=-2", 200, "(body)", "the changefeed with `records=-2` alone"),
    ("changefeed all ?records=-2", 200, "(body)", "the changefeed with `records=-2` alone"),
];

/// Rows about what the appendix did not ask: the tests that ask it, by file and name.
const ASKED_ELSEWHERE: &[(&str, &str, &[&str])] = &[
    (
        "tests/tests/notary_differences.rs",
        "what_is_no_upload_or_no_name_is_refused_in_short_words",
        &["an upload beyond `upload_mib_max`, or of more than 512 files", "names of repositories", "`INVALID_ROLE`"],
    ),
    (
        "tests/tests/notary_door.rs",
        "a_body_that_is_no_upload_is_refused_and_breaks_nothing",
        &["an upload beyond `upload_mib_max`, or of more than 512 files"],
    ),
    ("tests/tests/notary_peers.rs", "a_policys_words_reach_whoever_pushes", &["the policy does not allow it"]),
    ("tests/tests/notary_differences.rs", "too_much_at_once_is_told_to_come_back", &["too much at once"]),
    (
        "tests/tests/notary_door.rs",
        "a_sealed_daemon_says_so_in_the_words_of_health",
        &["sealed, custody away, disk full"],
    ),
    ("daemon/src/api/notary_http/refusal/tests.rs", "no_body_is_longer_than_docker_reads", &["an error's body"]),
    (
        "tests/tests/notary_door.rs",
        "what_was_never_published_is_looked_up_and_not_there",
        &["version 0, or beyond 2³¹−2", "a delegation that nobody has published"],
    ),
    (
        "tests/tests/publishing.rs",
        "eight_readers_see_whole_publications_and_never_an_older_one",
        &["one page of the changefeed"],
    ),
    (
        "tests/tests/notary_matrix.rs",
        "what_is_published_is_read_by_name_version_and_hash_with_its_headers",
        &["`Last-Modified`"],
    ),
    ("tests/tests/notary_door.rs", "the_door_says_how_it_is", &["`/metrics`"]),
    ("daemon/src/api/notary_http.rs", "only_whoever_is_on_this_machine_is_local", &["`/metrics`"]),
    (
        "tests/tests/notary_differences.rs",
        "versions_do_not_leap_and_go_on_after_a_deletion",
        &["a version far beyond the last", "a repository that was deleted and is published again"],
    ),
    (
        "tests/tests/notary_differences.rs",
        "json_that_readers_do_not_agree_about_and_what_is_too_large_is_no_metadata",
        &["JSON that readers do not agree about", "the size of metadata", "a line of `signatures`"],
    ),
    ("tests/tests/notary_differences.rs", "signatures_of_pycrypto_count_for_nothing", &["signatures by PyCrypto"]),
    (
        "tests/tests/notary_differences.rs",
        "a_clients_snapshot_names_every_delegation_and_nothing_but_roles",
        &["a snapshot that leaves out a delegation's file", "a snapshot that names what is no role"],
    ),
    (
        "tests/tests/notary_differences.rs",
        "what_says_too_little_or_a_thing_twice_is_refused",
        &[
            "a target without SHA-256 and SHA-512",
            "a key with a private half",
            "a key twice in a role",
            "a key under a name that is not its hash",
            "control characters in names",
            "a file that is neither sound nor signed",
        ],
    ),
    ("daemon/src/api/notary_http/upload.rs", "a_boundary_is_named_by_a_content_type", &["the form of an upload"]),
    ("trust/tests/format_tuf.rs", "one_key_under_two_names_counts_once", &["one key in two forms"]),
    (
        "daemon/src/publish/tests/renew.rs",
        "what_only_its_owner_can_sign_anew_is_read_without_a_turn",
        &["a snapshot that has expired"],
    ),
    (
        "daemon/src/publish/tests/room.rs",
        "what_nobody_delegates_to_any_more_leaves_when_others_need_the_room",
        &["files of delegations that there are no more"],
    ),
    ("daemon/src/publish/tests.rs", "a_timestamp_is_signed_anew_each_day_though_nobody_reads_it", &["timestamps"]),
];

/// What was answered to each probe, and what the original answered.
struct Sheet {
    original: BTreeMap<String, (u16, String)>,
    ours: BTreeMap<String, (u16, String)>,
}

impl Sheet {
    fn new() -> Self {
        let lines = include_str!("notary/appendix_a.tsv").lines().skip(1);
        let original = lines.map(|line| {
            let mut cells = line.split('\t');
            let mut cell = || cells.next().unwrap_or_default().to_owned();
            (cell(), (cell().parse().unwrap(), cell()))
        });
        Self { original: original.collect(), ours: BTreeMap::new() }
    }

    fn note(&mut self, probe: &str, answer: &Answer) {
        assert!(self.original.contains_key(probe), "{probe} is not in the appendix");
        assert!(self.ours.insert(probe.to_owned(), (answer.status, said(answer))).is_none(), "{probe} twice");
    }

    /// Nothing is left out, and every difference is one that is known.
    fn check(&self) {
        let left_out: Vec<_> = self.original.keys().filter(|probe| !self.ours.contains_key(*probe)).collect();
        assert!(left_out.is_empty(), "not played: {left_out:#?}");
        let known: BTreeMap<&str, (u16, &str)> =
            DIFFERENCES.iter().map(|(probe, status, said, _)| (*probe, (*status, *said))).collect();
        let mut wrong = Vec::new();
        for (probe, ours) in &self.ours {
            let original = &self.original[probe];
            let expected =
                known.get(probe.as_str()).map_or(original.clone(), |(status, said)| (*status, (*said).to_owned()));
            if *ours != expected || (known.contains_key(probe.as_str()) && ours == original) {
                wrong.push(format!("{probe}: expected {expected:?}, the original {original:?}, ours {ours:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// Code and detail in the words of the appendix.
fn said(answer: &Answer) -> String {
    if answer.status == 200 {
        return if answer.body.is_empty() { "(ok)" } else { "(body)" }.to_owned();
    }
    if !answer.text().starts_with('{') {
        return String::new();
    }
    assert!(answer.body.len() <= 1024, "{}", answer.text());
    let error = &answer.json()["errors"][0];
    let (code, detail) = (error["code"].as_str().unwrap(), &error["detail"]);
    let said = match (&detail["Name"], detail) {
        (Value::String(name), _) => format!("{code} / {name}: {}", detail["Error"]["Msg"].as_str().unwrap()),
        (_, Value::Null) => code.to_owned(),
        (_, Value::Object(members)) => {
            // By name: in which order serde_json keeps them depends on what else is built beside this.
            let members: BTreeMap<_, _> = members.iter().collect();
            format!("{code} {}", serde_json::to_string(&members).unwrap())
        }
        (_, detail) => format!("{code} {detail}"),
    };
    without_ids(&said)
}

fn without_ids(text: &str) -> String {
    let is_hex = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split(' ').map(|word| if is_hex(word) { "<id>" } else { word }).collect::<Vec<_>>().join(" ")
}

/// A file under signature lines that were made elsewhere.
fn lined(signed: &Value, lines: &[Value]) -> Vec<u8> {
    serde_json::to_vec(&json!({"signed": signed, "signatures": lines})).unwrap()
}

/// A role, its keys (id and entry), and how many of them have to sign.
type Delegation<'a> = (&'a str, &'a [(&'a str, &'a Value)], u32);

/// Targets that delegate roles, each to these keys (id and entry) and with this threshold.
fn delegating_to(version: u32, roles: &[Delegation<'_>]) -> Value {
    let mut signed = targets(version);
    let keys: serde_json::Map<_, _> =
        roles.iter().flat_map(|(_, keys, _)| *keys).map(|(id, entry)| ((*id).to_owned(), (*entry).clone())).collect();
    let lines: Vec<_> = roles
        .iter()
        .map(|(role, keys, threshold)| {
            let ids: Vec<&str> = keys.iter().map(|(id, _)| *id).collect();
            json!({"name": role, "keyids": ids, "threshold": threshold, "paths": [""]})
        })
        .collect();
    signed["delegations"] = json!({"keys": keys, "roles": lines});
    signed
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

fn first_roots(door: &Door, sheet: &mut Sheet) {
    let owner = Owner::of(door, "roots");
    let first = owner.signed_targets(1);
    let with_targets = |root: &[u8]| post(door, &owner.gun, &[("root", root), ("targets", &first)]);
    let signed = |value: &Value| with_targets(&file(value, &[&owner.root]));
    sheet.note("targets only, no repo", &post(door, &owner.gun, &[("targets", &first)]));
    sheet.note("root v5 first", &with_targets(&owner.signed_root(5)));
    sheet.note("root v0 first", &with_targets(&owner.signed_root(0)));
    let alone = post(door, &owner.gun, &[("root", &owner.signed_root(1))]);
    sheet.note("root only, no targets (server snapshot)", &alone);
    sheet.note("root no signatures", &with_targets(&file(&owner.root(1), &[])));
    sheet.note("root signed by wrong key", &with_targets(&file(&owner.root(1), &[&root_key(&owner.gun)])));
    sheet.note("root expired", &signed(&with(owner.root(1), "expires", GONE)));
    let mut without = owner.root(1);
    without["roles"].as_object_mut().unwrap().remove("snapshot");
    sheet.note("root missing snapshot role", &signed(&without));
    let mut zero = owner.root(1);
    zero["roles"]["targets"]["threshold"] = 0.into();
    sheet.note("root threshold 0", &signed(&zero));
    sheet.note("root _type lowercase", &signed(&with(owner.root(1), "_type", "root")));
    let mut unknown = owner.root(1);
    unknown["roles"]["targets"]["keyids"] = json!(["0".repeat(64)]);
    sheet.note("root role lists unknown key", &signed(&unknown));
    sheet.note("root bad date", &signed(&with(owner.root(1), "expires", "tomorrow")));

    let by = |key: TestKey| {
        let other = Owner { root: key, ..Owner::of(door, "roots") };
        post(door, &other.gun, &[("root", &other.signed_root(1)), ("targets", &other.signed_targets(1))])
    };
    let certified = |name: &str, years| TestKey::certified(&Certificate { name, years, ca: false });
    sheet.note("root cert CN mismatch", &by(certified("ex.io/other", [2020, 2096])));
    sheet.note("root cert expired", &by(certified(&owner.gun, [2020, 2021])));
    sheet.note("root plain ecdsa key (no x509)", &by(TestKey::p256()));
    let foreign = TestKey::ed25519(9);
    let foreign = || (foreign.id.clone(), foreign.entry.clone());
    let other = Owner { timestamp: foreign(), ..Owner::of(door, "roots") };
    sheet.note("root timestamp key unknown to server", &with_targets(&other.signed_root(1)));
    let other = Owner { snapshot: foreign(), ..Owner::of(door, "roots") };
    let answer = post(door, &other.gun, &[("root", &other.signed_root(1)), ("targets", &first)]);
    sheet.note("snapshot key not held + no snapshot sent", &answer);

    let bad = |bytes: &[u8]| post(door, &owner.gun, &[("root", &owner.signed_root(1)), ("targets", bytes)]);
    let sign = |value: &Value| file(value, &[&owner.targets]);
    sheet.note("targets _type wrong", &bad(&sign(&with(targets(1), "_type", "Root"))));
    sheet.note("targets expired", &bad(&sign(&with(targets(1), "expires", GONE))));
    sheet.note("targets signed by wrong key", &bad(&file(&targets(1), &[&TestKey::ed25519(8)])));
    for (probe, method) in [("targets sig wrong method", "ecdsa"), ("targets sig unknown method", "magic")] {
        let line = with(owner.targets.sign(&targets(1)), "method", method);
        sheet.note(probe, &bad(&lined(&targets(1), &[line])));
    }
    sheet.note("root cert CN wildcard OK (own gun)", &by(certified("ex.io/roots*", [2020, 2096])));
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

fn rotations(owner: &Owner, sheet: &mut Sheet) {
    let root = |bytes: &[u8]| post(&owner.door, &owner.gun, &[("root", bytes)]);
    sheet.note("root v3 skip", &root(&owner.signed_root(3)));
    let next = Owner { root: root_key(&owner.gun), ..Owner::of(&owner.door, "served") };
    let rotated = next.root(2);
    sheet.note("root rotate to new key signed only by new", &root(&file(&rotated, &[&next.root])));
    sheet.note("root rotate signed only by old", &root(&file(&rotated, &[&owner.root])));
    sheet.note("root rotate signed by both (root only POST)", &root(&file(&rotated, &[&owner.root, &next.root])));
    for name in ["3.root.json", "0.root.json", "99999999999999999999.root.json"] {
        sheet.note(&format!("GET {name}"), &owner.get(name));
    }

    let third = Owner { targets: TestKey::ed25519(7), root: next.root, ..Owner::of(&owner.door, "served") };
    let signed = third.signed_root(3);
    let alone = root(&signed);
    let refused = alone.status != 200;
    sheet.note("root v3 with new targets key without new targets", &alone);
    if refused {
        third.taken(&[("root", &signed), ("targets", &third.signed_targets(20))]);
    }
    let one = |bytes: &[u8]| post(&owner.door, &owner.gun, &[("targets", bytes)]);
    sheet.note("after: old targets key publishes v18", &one(&owner.signed_targets(21)));
    sheet.note("after: new targets key publishes v18", &one(&third.signed_targets(21)));

    let second = root_key(&owner.gun);
    let mut both = third.root(4);
    both["keys"][&second.id] = second.entry.clone();
    both["roles"]["root"] = json!({"keyids": [&third.root.id, &second.id], "threshold": 2});
    sheet.note("root v4 threshold2 with 1 sig", &root(&file(&both, &[&third.root])));
    sheet.note("root v4 threshold2 with 2 sigs", &root(&file(&both, &[&third.root, &second])));
}

fn delegations(door: &Door, sheet: &mut Sheet) {
    let at = TempDir::new().unwrap();
    let owner = Owner::of(door, "delegations");
    owner.taken(&[("root", &owner.signed_root(1)), ("targets", &owner.signed_targets(1))]);
    let post = |role: &str, bytes: &[u8]| post(door, &owner.gun, &[(role, bytes)]);
    let parent = |value: &Value| post("targets", &file(value, &[&owner.targets]));
    let alice = TestKey::certified(&Certificate { name: "alice", years: [2020, 2096], ca: false });
    let (bob, rsa) = (TestKey::ed25519(6), OpensslKey::rsa(at.path(), 2048));
    sheet.note("delegation meta w/o delegation defined", &post("targets/a", &file(&targets(1), &[&alice])));
    let keys = [(&*alice.id, &alice.entry), (&*bob.id, &bob.entry), (&*rsa.id, &rsa.entry)];
    let defined = parent(&delegating_to(2, &[("targets/a", &keys, 1)]));
    sheet.note("targets adds delegation targets/a (ecdsa-x509,thr1)", &defined);
    sheet.note("delegation OK signed ecdsa-x509", &post("targets/a", &file(&targets(1), &[&alice])));
    sheet.note("delegation OK signed ed25519", &post("targets/a", &file(&targets(2), &[&bob])));
    sheet.note("delegation OK signed rsa pss", &post("targets/a", &lined(&targets(3), &[rsa.sign(&targets(3))])));
    sheet.note("delegation wrong key", &post("targets/a", &file(&targets(4), &[&TestKey::ed25519(5)])));
    sheet.note("delegation rollback", &post("targets/a", &file(&targets(1), &[&bob])));
    let orphan = post("targets/zz/b", &file(&targets(1), &[&bob]));
    sheet.note("nested delegation without parent meta", &orphan);
    let skipping = parent(&delegating(3, "targets/a/b", &bob));
    sheet.note("targets adds nested deleg role directly (targets/a/b) invalid", &skipping);
    let nested = post("targets/a", &file(&delegating(4, "targets/a/b", &bob), &[&bob]));
    sheet.note("targets/a delegates targets/a/b", &nested);
    sheet.note("nested targets/a/b publish", &post("targets/a/b", &file(&targets(1), &[&bob])));
    sheet.note("GET targets/none.json", &owner.get("targets/none.json"));
    // The appendix calls it by another path; its detail names the role that was asked for.
    sheet.note("GET targets/../x.json", &owner.get("targets/UP.json"));

    let gone = TestKey::certified(&Certificate { name: "gone", years: [2020, 2021], ca: false });
    let short = OpensslKey::rsa(at.path(), 1024);
    let (p384, p256) = (OpensslKey::p384(at.path()), TestKey::p256());
    let expired = [(&*gone.id, &gone.entry)];
    let (a, e): (&[_], (&str, &[_], u32)) = (&keys, ("targets/e", &expired, 1));
    sheet.note("targets adds delegation w/ EXPIRED cert", &parent(&delegating_to(3, &[("targets/a", a, 1), e])));
    sheet.note("delegation with expired cert key publishes", &post("targets/e", &file(&targets(1), &[&gone])));
    let weak = [(&*short.id, &short.entry)];
    let r: (&str, &[_], u32) = ("targets/r", &weak, 1);
    sheet.note("targets adds delegation w/ rsa1024", &parent(&delegating_to(4, &[("targets/a", a, 1), e, r])));
    let by_weak = lined(&targets(1), &[short.sign(&targets(1))]);
    sheet.note("delegation rsa1024 publishes", &post("targets/r", &by_weak));
    let two = [(&*p384.id, &p384.entry), (&*p256.id, &p256.entry)];
    let both: (&str, &[_], u32) = ("targets/t2", &two, 2);
    let defined = parent(&delegating_to(5, &[("targets/a", a, 1), e, r, both]));
    sheet.note("targets adds thr2 delegation p384+ecdsa", &defined);
    let line = p384.sign(&targets(1));
    sheet.note("thr2 delegation with 1 sig", &post("targets/t2", &lined(&targets(1), std::slice::from_ref(&line))));
    let again = lined(&targets(1), &[line.clone(), p384.sign(&targets(1))]);
    sheet.note("thr2 delegation dup sig of same key", &post("targets/t2", &again));
    let whole = post("targets/t2", &lined(&targets(1), &[line, p256.sign(&targets(1))]));
    assert_eq!(whole.status, 200, "{}", whole.text());
    sheet.note("snapshot drops removed delegation? (targets v24 none)", &parent(&targets(6)));
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
