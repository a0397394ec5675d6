//! Notary's metadata, against what its own programs wrote and against what they should have refused.
#![cfg(feature = "formats")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the workshop serves several tests")]

mod beside;
#[path = "format_tuf/signatures.rs"]
mod signatures;
#[path = "tuf/workshop.rs"]
mod workshop;

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use trust::Sha256Digest;
use trust::format::tuf::{Body, Document, KeyKind, NotMet, Part, RoleName, Root, Targets, Unsound, Version};

use beside::beside;
use workshop::{TestKey, base64, canonical_of, entry, id_of, read, role};

fn file(directory: &Path, name: &str) -> Document {
    read(name, &std::fs::read(directory.join(format!("{name}.json"))).unwrap())
}

fn root_of(document: &Document) -> &Root {
    let Body::Root(root) = document.body() else { panic!("no root") };
    root
}

fn targets_of(document: &Document) -> &Targets {
    let Body::Targets(targets) = document.body() else { panic!("no targets") };
    targets
}

/// Whether the signed part stands in the file as it is signed, which Go's programs write where nothing is escaped.
fn stands_in_its_file(document: &Document) -> bool {
    document.raw().windows(document.signed_bytes().len()).any(|window| window == document.signed_bytes())
}

/// Reads a whole repository and verifies every file of it as its role.
fn verify_repository(directory: &Path, delegations: &[&str]) {
    let root = file(directory, "root");
    let documents = ["root", "targets", "snapshot", "timestamp"].map(|name| file(directory, name));
    for document in &documents {
        assert!(stands_in_its_file(document), "{}", document.role());
        document.verify(&root_of(&root).authority(document.role()).unwrap()).unwrap();
    }
    let targets = targets_of(&documents[1]);
    let (Body::Snapshot(snapshot), Body::Timestamp(timestamp)) = (documents[2].body(), documents[3].body()) else {
        panic!("they have other types");
    };
    assert!(timestamp.snapshot().is_of(documents[2].raw()));
    assert!(snapshot.files()[&RoleName::Targets].is_of(documents[1].raw()));
    assert!(!snapshot.files()[&RoleName::Targets].is_of(documents[0].raw()));
    for name in delegations {
        let (name, document) = (role(name), file(directory, name));
        assert!(stands_in_its_file(&document));
        document.verify(&targets.authority(&name).unwrap()).unwrap();
        assert!(snapshot.files()[&name].is_of(document.raw()), "{name}");
    }
}

#[test]
fn repositories_of_docker_and_notary_are_read_and_verified() {
    let Some(samples) = beside("spec/notary/samples/meta") else { return };
    let Some(fixtures) = beside("vectors/notary-v1-fixtures") else { return };

    verify_repository(&fixtures.join("notary0.1/tuf/docker.com/notary0.1/samplerepo/metadata"), &[]);
    // Its delegation is signed with RSA-PSS.
    verify_repository(&fixtures.join("notary0.3/tuf/docker.com/notary0.3/tst/metadata"), &["targets/releases"]);
    verify_repository(&samples, &["targets/alice", "targets/bob", "targets/releases"]);
}

#[test]
fn a_root_that_rotates_its_key_is_signed_by_the_old_and_by_the_new_one() {
    let Some(samples) = beside("spec/notary/samples/meta") else { return };
    let [one, two, three] =
        [1, 2, 3].map(|number| read("root", &std::fs::read(samples.join(format!("{number}.root.json"))).unwrap()));

    for (old, new) in [(&one, &two), (&two, &three)] {
        new.verify(&root_of(old).authority(&RoleName::Root).unwrap()).unwrap();
        new.verify(&root_of(new).authority(&RoleName::Root).unwrap()).unwrap();
        let backwards = old.verify(&root_of(new).authority(&RoleName::Root).unwrap());
        assert_eq!(backwards, Err(NotMet::TooFew(RoleName::Root)));
        assert_eq!(new.version(), old.version().next().unwrap());
    }
}

#[test]
fn what_the_file_escapes_is_signed_unescaped() {
    let Some(samples) = beside("spec/notary/samples/meta") else { return };

    let document = file(&samples, "targets");
    let escaped = read("targets", &std::fs::read(samples.join("targets-escaping-example.json")).unwrap());

    assert!(stands_in_its_file(&document) && !stands_in_its_file(&escaped));
    let name = "a&b<c>\u{e9}\"\\";
    assert!(targets_of(&escaped).targets().contains_key(name));
    let signed = String::from_utf8(escaped.signed_bytes().to_vec()).unwrap();
    assert!(signed.contains("\"a&b<c>\u{e9}\\\"\\\\\":{"), "{signed}");
}

#[test]
fn a_signer_reads_the_canonical_form_of_what_its_key_is_for_and_nothing_else() {
    let signed = json!({"_type": "Targets", "version": 3, "expires": "2030-01-01T00:00:00Z", "targets": {},
        "x-other": "<&>\u{2028}"});
    let content = canonical_of(&signed);

    let read = Document::read_content(&RoleName::Targets, &content).unwrap();

    assert_eq!(read.signed_bytes(), content);
    assert_eq!(read.version().number(), 3);
    for role in [RoleName::Root, RoleName::Snapshot, RoleName::Timestamp] {
        assert!(Document::read_content(&role, &content).is_err(), "{role}");
    }
    let pretty = serde_json::to_vec_pretty(&signed).unwrap();
    let whole = serde_json::to_vec(&json!({"signed": signed, "signatures": []})).unwrap();
    for other in [&pretty[..], &whole, &[&content[..], b"\n"].concat(), b"", b"{}"] {
        assert!(Document::read_content(&RoleName::Targets, other).is_err());
    }
}

#[test]
fn a_key_in_a_certificate_has_the_bare_keys_canonical_name() {
    let Some(samples) = beside("spec/notary/samples/meta") else { return };
    let targets = file(&samples, "targets");
    let bob = role("targets/bob");

    let authority = targets_of(&targets).authority(&bob).unwrap();

    let [key] = authority.keys() else { panic!("{:?}", authority.keys()) };
    assert_eq!(key.kind(), Some(KeyKind::EcdsaX509));
    assert!(key.id().to_hex().starts_with("2221e40c"), "{key:?}");
    assert!(key.canonical_id().to_hex().starts_with("18cc30f083ad"), "{}", key.canonical_id().to_hex());
}

/// A targets file with one delegation `targets/a` to these keys.
fn delegating(keys: &[(String, Value)], threshold: u32) -> Document {
    let ids: Vec<&String> = keys.iter().map(|(id, _)| id).collect();
    let entries: serde_json::Map<String, Value> = keys.iter().cloned().collect();
    let signed = json!({
        "_type": "Targets", "version": 1, "expires": "2030-01-01T00:00:00Z", "targets": {},
        "delegations": {"keys": entries,
            "roles": [{"name": "targets/a", "keyids": ids, "threshold": threshold, "paths": ["rel/"]}]},
    });
    read("targets", &serde_json::to_vec(&json!({"signed": signed, "signatures": []})).unwrap())
}

#[test]
fn what_stands_behind_a_file_is_a_fault_of_the_file_and_not_of_its_frame() {
    let (_, bytes) = &*SOUND;
    let name = role("targets/a");
    let followed = |tail: &[u8]| Part::read(&name, &[&bytes[..], tail].concat());

    assert!(followed(b" \n\t").unwrap().document().is_ok());
    for tail in [&b"x"[..], b"{}", b"\0", b"\xff"] {
        let part = followed(tail).unwrap();
        assert_eq!(part.stated_version(), 3);
        assert!(matches!(part.document(), Err(Unsound::Malformed(_))), "{tail:?}");
    }
    for bad in ["", "{", "x", "[]", "nullx", "{\"signed\":[]}", "{\"signed\":{\"version\":true}}"] {
        assert!(Part::read(&name, bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn a_file_without_a_frame_is_of_version_0_and_has_expired() {
    for bytes in ["{}", r#"{"signed":null,"signatures":null}"#] {
        let part = Part::read(&RoleName::Root, bytes.as_bytes()).unwrap();
        assert_eq!(part.stated_version(), 0);
        assert_eq!(part.document().unwrap_err().to_string(), "root type metadata invalid: expected type Root, not ");
    }
    let undated = json!({"signed": {"_type": "Targets", "version": 1, "targets": {}}});
    let document = read("targets", undated.to_string().as_bytes());
    let expired = document.counts_at(0).unwrap_err();
    assert_eq!(expired.to_string(), "targets expired at Mon Jan 1 00:00:00 UTC 0001");
}

#[test]
fn a_delegation_signs_only_for_names_below_its_paths() {
    let key = TestKey::ed25519(1);
    let parent = delegating(&[(key.id.clone(), key.entry.clone())], 1);

    let [delegation] = targets_of(&parent).delegations() else { panic!("{parent:?}") };

    assert!(delegation.may_sign("rel/1.0") && !delegation.may_sign("1.0") && !delegation.may_sign(""));
}

/// A root that is sound but for what `change` does to its signed part.
fn root_with(change: impl FnOnce(&mut Value)) -> Result<Document, Unsound> {
    let key = TestKey::ed25519(9);
    let line = json!({"keyids": [key.id], "threshold": 1});
    let mut signed = json!({
        "_type": "Root", "version": 1, "expires": "2030-01-01T00:00:00Z", "consistent_snapshot": false,
        "keys": {&key.id: key.entry},
        "roles": {"root": line, "targets": line, "snapshot": line, "timestamp": line},
    });
    change(&mut signed);
    // Whoever reads it refuses it before it counts signatures, so there are none.
    let file = json!({"signatures": [], "signed": signed});
    Document::read(&RoleName::Root, &serde_json::to_vec(&file).unwrap())
}

#[test]
fn a_root_that_breaks_a_rule_is_refused_in_notarys_words() {
    root_with(|_| {}).unwrap();
    let unknown = "0".repeat(64);
    let cases: [(&str, Value, String); 8] = [
        ("/version", json!(-1), "version cannot be less than one".into()),
        ("/_type", json!("root"), "expected type Root, not root".into()),
        ("/_type", json!("Targets\u{7}"), "expected type Root, not Targets".into()),
        ("/version", json!(0), "version cannot be less than one".into()),
        ("/version", json!(0x7fff_ffff), "version is too large".into()),
        ("/roles/snapshot", Value::Null, "missing snapshot role specification".into()),
        ("/roles/targets/threshold", json!(0), "invalid threshold specified for targets: 0 ".into()),
        (
            "/roles/targets/keyids",
            json!([unknown]),
            format!("key ID {unknown} specified in targets without corresponding key"),
        ),
    ];
    for (place, value, expected) in cases {
        let refused = root_with(|signed| match value {
            Value::Null => drop(signed["roles"].as_object_mut().unwrap().remove("snapshot")),
            value => *signed.pointer_mut(place).unwrap() = value,
        });

        assert_eq!(refused.unwrap_err().to_string(), format!("root type metadata invalid: {expected}"), "{place}");
    }
}

#[test]
fn members_of_other_types_and_names_are_no_metadata() {
    let private = TestKey::ed25519(9).id;
    for (place, value) in [
        ("/version", json!("1")),
        ("/version", json!(1.5)),
        ("/version", json!(9_007_199_254_740_993_u64)),
        ("/version", json!(u64::MAX)),
        ("/expires", json!("tomorrow")),
        ("/consistent_snapshot", json!("false")),
        ("/keys", json!([])),
        ("/keys", json!({"00": {}})),
        ("/roles/root/keyids", json!(["x"])),
        ("/roles/root/keyids", json!([private, private])),
        ("/roles/root/threshold", json!(true)),
    ] {
        let refused = root_with(|signed| *signed.pointer_mut(place).unwrap() = value.clone()).unwrap_err();
        assert!(matches!(refused, Unsound::Malformed(_)), "{place} {value}: {refused}");
    }
    for (name, value) in [("Version", json!(7)), ("EXPIRES", json!("2031-01-01T00:00:00Z")), ("role\u{17f}", json!({}))]
    {
        let refused = root_with(|signed| drop(signed.as_object_mut().unwrap().insert(name.to_owned(), value)));
        assert!(matches!(refused.unwrap_err(), Unsound::Malformed(_)), "{name}");
    }
    let kept = root_with(|signed| drop(signed.as_object_mut().unwrap().insert("x-ours".to_owned(), json!({"a": 1}))));
    assert!(String::from_utf8_lossy(kept.unwrap().signed_bytes()).contains("x-ours"));
    let secret = root_with(|signed| signed["keys"][&private]["keyval"]["private"] = json!("c2VjcmV0"));
    assert!(secret.unwrap_err().to_string().contains("private key"));
    let renamed = root_with(|signed| signed["keys"][&private]["keyval"]["public"] = json!("AAAA"));
    assert!(renamed.unwrap_err().to_string().contains("hashes"));
}

#[test]
fn a_role_that_nobody_knows_is_read_as_go_reads_it() {
    let root_with_role = |name: &str, role: Value| {
        root_with(|signed| drop(signed["roles"].as_object_mut().unwrap().insert(name.to_owned(), role)))
    };

    for role in [json!(5), json!({"keyids": 5}), json!({"keyids": [5]}), json!({"threshold": "1"})] {
        let refused = root_with_role("x-ours", role.clone()).unwrap_err();
        assert!(matches!(refused, Unsound::Malformed(_)), "{role}: {refused}");
    }
    for role in [Value::Null, json!({}), json!({"keyids": ["x"], "threshold": 0, "x": "y"})] {
        root_with_role("x-ours", role).unwrap();
    }
    assert!(root_with_role("x\n", json!({})).unwrap_err().to_string().contains("control characters"));
}

/// Targets that are sound but for what `change` does to their signed part.
fn targets_with(change: impl FnOnce(&mut Value)) -> Result<Document, Unsound> {
    let hash = base64(Sha256Digest::of(b"manifest").as_bytes());
    let mut signed = json!({
        "_type": "Targets", "version": 1, "expires": "2030-01-01T00:00:00Z",
        "targets": {"1.0": {"hashes": {"sha256": hash}, "length": 8}},
        "delegations": {"keys": {}, "roles": [{"name": "targets/a", "keyids": [], "threshold": 1, "paths": [""]}]},
    });
    change(&mut signed);
    let file = json!({"signatures": [], "signed": signed});
    Document::read(&RoleName::Targets, &serde_json::to_vec(&file).unwrap())
}

#[test]
fn what_docker_could_not_read_is_no_metadata() {
    let with_hash =
        |function: &str, hash: Value| targets_with(|signed| signed["targets"]["1.0"]["hashes"][function] = hash);

    for hash in [Value::Null, json!("AAAA")] {
        with_hash("md5", hash).unwrap();
    }
    for hash in [json!(5), json!("!"), json!({}), json!(true)] {
        let refused = with_hash("md5", hash.clone()).unwrap_err();
        assert!(matches!(refused, Unsound::Malformed(_)), "{hash}: {refused}");
    }
}

#[test]
fn what_docker_could_not_write_again_is_no_metadata() {
    let key = entry("a\u{1}", b"key");
    let id = id_of(&key);
    let has_control = |refused: Result<Document, Unsound>| {
        refused.is_err_and(|unsound| unsound.to_string().contains("control characters"))
    };

    for control in ["\u{1f}", "a\n", "\0"] {
        assert!(has_control(targets_with(|signed| {
            signed["targets"][control] = signed["targets"]["1.0"].clone();
        })));
        assert!(has_control(targets_with(|signed| signed["targets"]["1.0"]["hashes"][control] = json!("AAAA"))));
        assert!(has_control(targets_with(|signed| signed["delegations"]["roles"][0]["paths"] = json!([control]))));
    }
    assert!(has_control(targets_with(|signed| signed["delegations"]["keys"][&id] = key)));
    // The original takes these: they are kept as they came.
    targets_with(|signed| {
        signed["targets"]["\u{7f}\u{2028}\u{e9}"] = signed["targets"]["1.0"].clone();
        signed["targets"]["1.0"]["custom"] = json!({"a\n": "\u{1}"});
        signed["x\n"] = json!(1);
    })
    .unwrap();
}

#[test]
fn a_version_ends_before_the_last_number_of_31_bits() {
    for number in [1, 0x7fff_fffe] {
        assert_eq!(u64::from(Version::new(number).unwrap().number()), number);
    }
    for number in [0, 0x7fff_ffff, 1 << 31, 1 << 53, u64::MAX] {
        assert_eq!(Version::new(number), None, "{number}");
    }
    assert_eq!(Version::LAST.next(), None);
}

/// A delegation's file, who speaks for it, and what is signed in it.
static SOUND: LazyLock<(Document, Vec<u8>)> = LazyLock::new(|| {
    let key = TestKey::ed25519(5);
    let hash = base64(Sha256Digest::of(b"manifest").as_bytes());
    let signed = json!({
        "_type": "Targets", "version": 3, "expires": "2030-01-01T00:00:00Z", "delegations": {},
        "targets": {"rel/1": {"hashes": {"sha256": hash}, "length": 8}},
    });
    let bytes = serde_json::to_vec(&json!({"signed": signed, "signatures": [key.sign(&signed)]})).unwrap();
    (delegating(&[(key.id.clone(), key.entry.clone())], 1), bytes)
});

fn is_accepted(bytes: &[u8]) -> Option<Vec<u8>> {
    let name = role("targets/a");
    let document = Document::read(&name, bytes).ok()?;
    document.verify(&targets_of(&SOUND.0).authority(&name).unwrap()).ok()?;
    Some(document.signed_bytes().to_vec())
}

#[test]
fn a_flipped_bit_is_refused_or_without_effect_on_what_was_signed() {
    let (_, bytes) = &*SOUND;
    let signed = is_accepted(bytes).unwrap();
    let mut harmless = 0;

    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Some(accepted) = is_accepted(&flipped) {
            assert_eq!(accepted, signed, "bit {bit}");
            harmless += 1;
        }
    }

    // The case of the method's letters.
    assert_eq!(harmless, 5);
}

proptest! {
    #[test]
    fn whatever_the_bytes_reading_answers(
        at in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(), junk in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let (_, bytes) = &*SOUND;
        let mut bytes = bytes.clone();
        let at = at.index(bytes.len());
        let end = at + cut.index(bytes.len() - at);
        bytes.splice(at..end, junk);
        for name in ["root", "targets", "snapshot", "timestamp", "targets/a"] {
            if let Ok(document) = Document::read(&role(name), &bytes) {
                prop_assert_eq!(document.raw(), &bytes[..]);
            }
        }
        if let Some(accepted) = is_accepted(&bytes) {
            prop_assert_eq!(accepted, is_accepted(&SOUND.1).unwrap());
        }
    }
}
