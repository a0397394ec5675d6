//! Where the door differs from notary-server on purpose, and what SPEC's appendix A does not ask: the rows of
//! docs/content-trust.md, asked of the real daemon. `notary_appendix.rs` says which row is tried where.

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

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use openssl::OpensslKey;
use owner::{LATER, Owner, delegating, targets, with};
use scene::{Answer, Plan, Scene};
use workshop::{TestKey, base64, file};

/// Status and code.
fn brief(answer: &Answer) -> (u16, String) {
    assert!(answer.body.len() <= 1024, "{}", answer.text());
    (answer.status, answer.error().0)
}

fn invalid(code: &str) -> (u16, String) {
    (400, code.to_owned())
}

#[test]
fn too_much_at_once_is_told_to_come_back() {
    let plan = Plan::open();
    let scene = Scene::started(&Plan { tables: "[limits]\nrate_per_second = 1\nrate_burst = 5\n".to_owned(), ..plan });

    // All in one write, so that they come at once however slow this machine is.
    let one = |connection: &str| format!("GET /v2/ HTTP/1.1\r\nhost: localhost\r\nconnection: {connection}\r\n\r\n");
    let many = one("keep-alive").repeat(30) + &one("close");
    let answer = scene.exchange(None, many.as_bytes()).unwrap();

    // The first has its place, and behind it are the others.
    let others = answer.text();
    assert_eq!(answer.status, 200);
    assert!(others.contains("HTTP/1.1 429 ") && others.contains("\"code\":\"TOOMANYREQUESTS\""), "{others}");
    assert!(others.contains("retry-after: 1\r\n"), "{others}");
    // Whoever asks how it is does not count.
    assert_eq!(scene.ask("GET /_notary_server/health").status, 200);
}

#[test]
fn what_is_no_upload_or_no_name_is_refused_in_short_words() {
    let scene = Scene::started(&Plan::open());

    let files: Vec<(String, Vec<u8>)> = (0..513).map(|number| (format!("targets/a{number}"), b"{}".to_vec())).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    assert_eq!(brief(&scene.publish("ex.io/a", &files)), invalid("MALFORMED_UPLOAD"));
    assert_ne!(brief(&scene.publish("ex.io/a", &files[..512])), invalid("MALFORMED_UPLOAD"));

    let answer = scene.publish("ex.io/a", &[(&"X".repeat(3000), b"{}")]);
    assert_eq!(brief(&answer), invalid("INVALID_ROLE"));
    assert_eq!(answer.json()["errors"][0]["detail"], "X".repeat(64));

    let [longest, longer] = [249, 250].map(|letters| format!("ex.io/{}", "a".repeat(letters)));
    let key = |gun: &str| scene.ask(&format!("GET /v2/{gun}/_trust/tuf/timestamp.key")).status;
    assert_eq!((key(&longest), key(&longer)), (200, 404));
    for gun in [&longer[..], "ex.io/a%22b", "ex.io/caf%C3%A9"] {
        assert_eq!(scene.publish(gun, &[("root", b"{}")]).status, 400, "{gun}");
        assert_eq!(key(gun), 404, "{gun}");
    }
}

#[test]
fn json_that_readers_do_not_agree_about_and_what_is_too_large_is_no_metadata() {
    let scene = Scene::started(&Plan::open());
    let signed = |members: &str| format!("{{\"signed\":{{{members}}},\"signatures\":[]}}").into_bytes();
    let nested = |levels: usize| signed(&format!("\"x\":{}{}", "[".repeat(levels), "]".repeat(levels)));
    let long = signed(&format!("\"x\":\"{}\"", "a".repeat(8 << 20)));
    let lines = vec![json!({"keyid": "00", "method": "ecdsa", "sig": "AAAA"}); 129];
    let many_lines = serde_json::to_vec(&json!({"signed": {}, "signatures": lines})).unwrap();
    let many_values = signed(&format!("\"x\":[{}0]", "0,".repeat(131_072)));

    for (what, bytes) in [
        ("a member twice", signed("\"version\":1,\"version\":1")),
        ("another case", signed("\"Version\":1")),
        ("a point", signed("\"version\":1.0")),
        ("a date", signed("\"expires\":\"2096-01-01T0:00:00Z\"")),
        ("an exponent", signed("\"version\":1e0")),
        ("no zero", signed("\"version\":-0")),
        ("a number that not all readers have", signed("\"x\":9007199254740992")),
        ("parts of a nanosecond", signed("\"expires\":\"2096-01-01T00:00:00.1234567890Z\"")),
        ("half a surrogate", signed("\"x\":\"\\ud800\"")),
        ("no UTF-8", [&b"{\"signed\":{\"x\":\""[..], &[0xff], b"\"},\"signatures\":[]}"].concat()),
        ("null", b"null".to_vec()),
        ("levels", nested(40)),
        ("long", long),
        ("signatures", many_lines),
        ("a line without a signature", b"{\"signed\":{},\"signatures\":[{}]}".to_vec()),
        ("values", many_values),
    ] {
        assert_eq!(brief(&scene.publish("ex.io/a", &[("targets", &bytes)])), invalid("MALFORMED_JSON"), "{what}");
    }
    let sound = scene.publish("ex.io/a", &[("targets", &nested(20))]);
    assert_ne!(brief(&sound), invalid("MALFORMED_JSON"));
}

#[test]
fn what_says_too_little_or_a_thing_twice_is_refused() {
    let scene = Scene::started(&Plan::open());
    let owner = Owner::of(&scene, "stricter");
    let (root, first) = (owner.signed_root(1), owner.signed_targets(1));
    owner.taken(&[("root", &root), ("targets", &first)]);
    let bob = TestKey::ed25519(6);
    let below = || delegating(2, "targets/a", &bob);
    let mut hashless = targets(2);
    hashless["targets"]["v2"]["hashes"] = json!({"md5": base64(&[7; 16])});
    let mut private = below();
    private["delegations"]["keys"][&bob.id]["keyval"]["private"] = base64(b"secret").into();
    let mut key_twice = below();
    key_twice["delegations"]["roles"][0]["keyids"] = json!([bob.id, bob.id]);
    let mut role_twice = below();
    let role = role_twice["delegations"]["roles"][0].clone();
    role_twice["delegations"]["roles"] = json!([role, role]);
    let mut misnamed = below();
    misnamed["delegations"]["keys"]["0".repeat(64)] = bob.entry.clone();
    let mut numbers = targets(2);
    numbers["targets"]["v2"]["hashes"]["sha256"] = vec![7; 32].into();
    let mut unreachable = below();
    unreachable["delegations"]["roles"][0]["threshold"] = json!(1_u64 << 32);
    let mut unwritable = targets(2);
    unwritable["targets"]["a\n"] = unwritable["targets"]["v2"].clone();

    let mut negative = targets(2);
    negative["targets"]["v2"]["length"] = json!(-1);
    let mut spare = targets(2);
    spare["targets"]["v2"]["hashes"]["sha256"] = base64(&[7; 32]).replace("wc=", "wd=").into();

    for (what, signed) in [
        ("a length", negative),
        ("bits that are left over", spare),
        ("hashes", hashless),
        ("a hash in numbers", numbers),
        ("a threshold", unreachable),
        ("private", private),
        ("a key twice", key_twice),
        ("a delegation twice", role_twice),
        ("another key's name", misnamed),
        ("a control character", unwritable),
    ] {
        let escaped = json!({"signed": signed, "signatures": [owner.targets.sign(&signed)]});
        let (status, code, said) = owner.publish(&[("targets", &serde_json::to_vec(&escaped).unwrap())]);
        assert_eq!((status, code.as_str()), (400, "INVALID_UPDATE"), "{what}");
        assert!(said.starts_with("ErrBadTargets: "), "{what}: {said}");
    }
    let unsigned = serde_json::to_vec(&json!({"signed": {"_type": "Root"}, "signatures": []})).unwrap();
    owner.refused(
        &[("targets", &unsigned)],
        "ErrBadTargets: targets type metadata invalid: expected type Targets, not Root",
    );
    let mut root_twice = owner.root(2);
    root_twice["roles"]["targets"]["keyids"] = json!([owner.targets.id, owner.targets.id]);
    let (status, _, said) = owner.publish(&[("root", &file(&root_twice, &[&owner.root]))]);
    assert!(status == 400 && said.starts_with("ErrBadRoot: "), "{said}");

    // Each of them is all that was wrong.
    owner.taken(&[("targets", &file(&below(), &[&owner.targets]))]);
}

#[test]
fn a_root_has_keys_and_roles_that_say_what_they_are() {
    let scene = Scene::started(&Plan::open());
    let owner = Owner::of(&scene, "roots");
    let first = owner.signed_targets(1);
    let (mut spare, mut listed, mut threshold, mut role) = (owner.root(1), owner.root(1), owner.root(1), owner.root(1));
    let mut untold = owner.root(1);
    untold["keys"][&owner.root.id].as_object_mut().unwrap().remove("keytype").unwrap();
    spare["keys"]["0".repeat(64)] = Value::Null;
    listed["keys"][&owner.targets.id] = Value::Null;
    threshold["roles"]["targets"]["threshold"] = json!(-1);
    role["roles"]["targets"] = Value::Null;
    let (mut of_snapshot, mut of_timestamp) = (owner.root(1), owner.root(1));
    of_snapshot["roles"]["timestamp"]["keyids"] = json!([owner.snapshot.0]);
    of_timestamp["roles"]["snapshot"]["keyids"] = json!([owner.timestamp.0]);

    for (what, root, said) in [
        ("a key that is null", spare, "ErrBadRoot: metadata: "),
        ("a key of a role that is null", listed, "ErrBadRoot: metadata: "),
        ("a key without its kind", untold, "ErrBadRoot: metadata: "),
        ("a threshold", threshold, "ErrBadRoot: metadata: "),
        ("a role", role, "ErrBadRoot: metadata: "),
        ("the snapshot's key for timestamps", of_snapshot, "ErrBadRoot: "),
        ("the timestamp's key for snapshots", of_timestamp, "ErrBadHierarchy: "),
    ] {
        let (status, code, words) = owner.publish(&[("root", &file(&root, &[&owner.root])), ("targets", &first)]);
        assert_eq!((status, code.as_str()), (400, "INVALID_UPDATE"), "{what}");
        assert!(words.starts_with(said), "{what}: {words}");
    }
    owner.taken(&[("root", &owner.signed_root(1)), ("targets", &first)]);
}

#[test]
fn a_clients_snapshot_names_every_delegation_and_nothing_but_roles() {
    let scene = Scene::started(&Plan::open());
    let (own, bob) = (TestKey::ed25519(5), TestKey::ed25519(6));
    let owner = Owner { snapshot: (own.id.clone(), own.entry.clone()), ..Owner::of(&scene, "snapshots") };
    let root = owner.signed_root(1);
    let top = file(&delegating(1, "targets/a", &bob), &[&owner.targets]);
    let below = file(&targets(1), &[&bob]);
    let snapshot = |version: u32, files: &[(&str, &[u8])]| {
        file(&with(workshop::snapshot(version, files), "expires", LATER), &[&own])
    };
    let all: [(&str, &[u8]); 3] = [("root", &root), ("targets", &top), ("targets/a", &below)];
    let publish = |signed: &[u8]| owner.publish(&[&all[..], &[("snapshot", signed)]].concat());
    let refused = |signed: &[u8], what: &str| {
        let (status, code, said) = publish(signed);
        assert_eq!((status, code.as_str()), (400, "INVALID_UPDATE"), "{what}: {said}");
    };

    refused(&snapshot(1, &all[..2]), "a delegation that is left out");
    refused(&snapshot(1, &[&all[..], &[("bogus", &below[..])]].concat()), "no role");
    assert_eq!(publish(&snapshot(1, &all)).0, 200);
}

#[test]
fn versions_do_not_leap_and_go_on_after_a_deletion() {
    let scene = Scene::started(&Plan::open());
    let owner = Owner::of(&scene, "versions");
    let (root, first) = (owner.signed_root(1), owner.signed_targets(1));
    owner.taken(&[("root", &root), ("targets", &first)]);

    for version in [1 + 1_048_576 + 1, 0x7fff_fffe, 0x7fff_ffff, u32::MAX] {
        let (status, code, _) = owner.publish(&[("targets", &owner.signed_targets(version))]);
        assert_eq!((status, code.as_str()), (400, "INVALID_UPDATE"), "{version}");
    }
    owner.taken(&[("targets", &owner.signed_targets(1 + 1_048_576))]);

    let version = |role: &str| owner.get(&format!("{role}.json")).json()["signed"]["version"].as_u64().unwrap();
    let before = ["timestamp", "snapshot"].map(version);
    assert_eq!(scene.ask(&format!("DELETE /v2/{}/_trust/tuf/", owner.gun)).status, 200);
    owner.taken(&[("root", &root), ("targets", &owner.signed_targets(1 + 1_048_576 + 1))]);
    let after = ["timestamp", "snapshot"].map(version);
    assert!(after[0] > before[0] && after[1] > before[1], "{before:?} {after:?}");
    // What was deleted is not there again with its owner, who shows the last root once more.
    let by_hash = format!("targets.{}.json", trust::Sha256Digest::of(&first).to_hex());
    for (file, status) in
        [("1.targets.json", 404), ("1.timestamp.json", 404), (by_hash.as_str(), 404), ("1.root.json", 200)]
    {
        assert_eq!(owner.get(file).status, status, "{file}");
    }
}

#[test]
fn signatures_of_pycrypto_count_for_nothing() {
    let scene = Scene::started(&Plan::open());
    let directory = TempDir::new().unwrap();
    let (owner, rsa) = (Owner::of(&scene, "pycrypto"), OpensslKey::rsa(directory.path(), 2048));
    let mut top = delegating(1, "targets/a", &TestKey::ed25519(6));
    top["delegations"]["keys"] = json!({&rsa.id: rsa.entry});
    top["delegations"]["roles"][0]["keyids"] = json!([rsa.id]);
    owner.taken(&[("root", &owner.signed_root(1)), ("targets", &file(&top, &[&owner.targets]))]);
    let by = |line: Value| serde_json::to_vec(&json!({"signed": targets(1), "signatures": [line]})).unwrap();
    let line = rsa.sign(&targets(1));

    owner.refused(
        &[("targets/a", &by(with(line.clone(), "method", "pycrypto-pkcs#1 pss")))],
        "ErrBadTargets: valid signatures did not meet threshold for targets/a",
    );
    owner.taken(&[("targets/a", &by(line))]);
}

#[test]
fn signatures_of_keys_on_p_224_count_for_nothing() {
    let scene = Scene::started(&Plan::open());
    let directory = TempDir::new().unwrap();
    let owner = Owner::of(&scene, "curves");
    let (short, long) = (OpensslKey::p224(directory.path()), OpensslKey::p384(directory.path()));
    let mut top = delegating(1, "targets/a", &TestKey::ed25519(6));
    top["delegations"]["keys"] = json!({&short.id: short.entry, &long.id: long.entry});
    top["delegations"]["roles"][0]["keyids"] = json!([short.id, long.id]);
    owner.taken(&[("root", &owner.signed_root(1)), ("targets", &file(&top, &[&owner.targets]))]);
    let by = |key: &OpensslKey| {
        serde_json::to_vec(&json!({"signed": targets(1), "signatures": [key.sign(&targets(1))]})).unwrap()
    };

    owner
        .refused(&[("targets/a", &by(&short))], "ErrBadTargets: valid signatures did not meet threshold for targets/a");
    owner.taken(&[("targets/a", &by(&long))]);
}

#[test]
fn a_root_certificate_has_one_name() {
    let scene = Scene::started(&Plan::open());
    let owner = Owner::of(&scene, "names");
    let in_names_of = |names: &[&str]| {
        let mut params = CertificateParams::default();
        // Of two of one type the library keeps the last.
        let types = [DnType::CommonName, DnType::CustomDnType(vec![2, 5, 4, 3])];
        params.distinguished_name = DistinguishedName::new();
        names.iter().zip(types).for_each(|(name, kind)| params.distinguished_name.push(kind, *name));
        let pair = KeyPair::generate().unwrap();
        let pem = params.self_signed(&pair).unwrap().pem();
        Owner { root: TestKey::within(&pem, &pair), ..Owner::of(&scene, "names") }
    };
    let first = owner.signed_targets(1);

    let gun = owner.gun.as_str();
    for names in [["ex.io/other", gun], [gun, "ex.io/other"], [gun, gun]] {
        let two = in_names_of(&names);
        two.refused(
            &[("root", &two.signed_root(1)), ("targets", &first)],
            "ErrBadRoot: could not validate the path to a trusted root: unable to retrieve valid leaf certificates",
        );
    }
    let one = in_names_of(&[gun]);
    one.taken(&[("root", &one.signed_root(1)), ("targets", &first)]);
}
