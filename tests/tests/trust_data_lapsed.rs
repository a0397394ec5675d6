//! Releases that have expired, or that somebody else signed: docker asks `targets` in their place, and so does
//! `trustctl`, but for what would lead its readers back to what the releases had replaced.
//!
//! The files are of the test's own keys, so that they may say any date and be signed by anybody.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the workshop serves several tests")]

#[path = "../../trust/tests/tuf/workshop.rs"]
mod workshop;

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use trust::Sha256Digest;
use trust_tests::image::OciImage;
use trust_tests::program::Ran;
use trust_tests::{Daemon, Engine, Registry, Setup, Site, Trustctl};

use workshop::{Certificate, TestKey, base64, file, meta};

/// No test outlives it.
const LATER: &str = "2096-11-26T17:34:00Z";
/// It has passed.
const PASSED: &str = "2026-01-02T03:04:05Z";

/// What the releases are.
#[derive(Clone, Copy)]
enum Releases {
    Sound,
    Expired,
    /// A stranger signed them.
    Forged,
}

/// Content of two kinds, under three tags: `1.0` is the one in both roles, `2.0` the one in `targets` and the other in
/// the releases, and `3.0` the other in the releases alone.
struct House {
    gun: String,
    keys: [TestKey; 5],
    root: Vec<u8>,
    one: Value,
    other: Value,
}

impl House {
    fn of(gun: &str, one: Value, other: Value) -> Self {
        let root = TestKey::certified(&Certificate { name: gun, years: [2020, 2096], ca: false });
        let [targets, snapshot, timestamp, releases] = [1, 2, 3, 4].map(TestKey::ed25519);
        let line = |key: &TestKey| json!({"keyids": [key.id], "threshold": 1});
        let entries = named([&root, &targets, &snapshot, &timestamp]);
        let signed = json!({
            "_type": "Root", "version": 1, "expires": LATER, "consistent_snapshot": false, "keys": entries,
            "roles": {"root": line(&root), "targets": line(&targets), "snapshot": line(&snapshot),
                "timestamp": line(&timestamp)},
        });
        let keys = [root, targets, snapshot, timestamp, releases];
        Self { gun: gun.to_owned(), root: file(&signed, &[&keys[0]]), keys, one, other }
    }

    /// Puts a generation where a site serves it: from now on it is what the server answers.
    fn put(&self, site: &Path, version: u32, releases: Releases) {
        let [_, targets_key, snapshot_key, timestamp_key, releases_key] = &self.keys;
        let (one, other) = (&self.one, &self.other);
        let delegation =
            json!({"name": "targets/releases", "keyids": [releases_key.id], "threshold": 1, "paths": [""]});
        let signed = json!({
            "_type": "Targets", "version": 1, "expires": LATER, "targets": {"1.0": one, "2.0": one},
            "delegations": {"keys": named([releases_key]), "roles": [delegation]},
        });
        let targets = file(&signed, &[targets_key]);
        let stranger = TestKey::ed25519(5);
        let (until, signer) = match releases {
            Releases::Sound => (LATER, releases_key),
            Releases::Expired => (PASSED, releases_key),
            Releases::Forged => (LATER, &stranger),
        };
        let signed = json!({
            "_type": "Targets", "version": version, "expires": until, "delegations": {"keys": {}, "roles": []},
            "targets": {"1.0": one, "2.0": other, "3.0": other},
        });
        let releases = file(&signed, &[signer]);
        let all = json!({"root": meta(&self.root), "targets": meta(&targets), "targets/releases": meta(&releases)});
        let signed = json!({"_type": "Snapshot", "version": version, "expires": LATER, "meta": all});
        let snapshot = file(&signed, &[snapshot_key]);
        let signed = json!({"_type": "Timestamp", "version": version, "expires": LATER,
            "meta": {"snapshot": meta(&snapshot)}});
        let timestamp = file(&signed, &[timestamp_key]);

        let place = site.join(format!("v2/{}/_trust/tuf", self.gun));
        std::fs::create_dir_all(place.join("targets")).unwrap();
        let keep = |name: &str, bytes: &[u8]| std::fs::write(place.join(format!("{name}.json")), bytes).unwrap();
        keep("root", &self.root);
        for (role, bytes) in [("targets", targets), ("targets/releases", releases), ("snapshot", snapshot)] {
            keep(&format!("{role}.{}", Sha256Digest::of(&bytes).to_hex()), &bytes);
        }
        keep("timestamp", &timestamp);
    }
}

fn named<const N: usize>(keys: [&TestKey; N]) -> serde_json::Map<String, Value> {
    keys.into_iter().map(|key| (key.id.clone(), key.entry.clone())).collect()
}

/// What is signed of a manifest.
fn target(manifest: &[u8]) -> Value {
    json!({"hashes": {"sha256": base64(Sha256Digest::of(manifest).as_bytes())}, "length": manifest.len()})
}

/// Lets a user's configuration say where the trust data of a repository is.
fn reading(user: Trustctl, repository: &str, url: &str) -> Trustctl {
    let text = format!("[[trust_servers]]\nrepository = \"{repository}\"\nurl = \"{url}\"\n");
    user.configure(&text).unwrap();
    user
}

/// The call is refused with exit code 1 and two lines, which say why and what helps.
fn refused(ran: Ran) {
    let ran = ran.exited(1).unwrap();
    let lines: Vec<&str> = ran.stderr.lines().filter(|line| !line.starts_with("warning:")).collect();
    assert!(lines.len() == 2 && lines[0].contains("no valid trust data") && lines[1].contains("witness"), "{ran}");
}

#[test]
fn targets_is_believed_in_their_place_where_that_leads_nobody_back() {
    let (registry, engine) = (Registry::debian().unwrap(), Engine::docker().unwrap());
    let gun = registry.reference("team/app");
    let tagged = |tag: &str| format!("{gun}:{tag}");
    engine.build(&tagged("1.0"), "hello from both roles").unwrap();
    engine.cli(&["push", &tagged("1.0")]).unwrap().ok().unwrap();
    engine.forget(&tagged("1.0")).unwrap();
    let (_, one) = registry.manifest("team/app", "1.0").unwrap().unwrap();
    let other = OciImage::holding("the newer");
    for tag in ["2.0", "3.0"] {
        registry.put_image("team/app", tag, &other).unwrap();
    }
    let house = House::of(&gun, target(&one), target(other.manifest()));
    let directory = TempDir::new().unwrap();
    let site = Site::of(directory.path()).unwrap();
    let reader = || reading(Trustctl::new().unwrap(), &gun, &site.url("")).using(&engine);
    let seen = reader();
    let verify = |user: &Trustctl, reference: &str| user.run(&["image", "verify", reference]).unwrap();
    let shows = |user: &Trustctl, tag: &str, words: &str| {
        let ran = verify(user, &tagged(tag)).ok().unwrap();
        assert!(ran.stdout.contains(words), "{ran}");
        ran.stderr
    };
    house.put(directory.path(), 1, Releases::Sound);
    for tag in ["1.0", "2.0", "3.0"] {
        shows(&seen, tag, "signed by targets/releases,");
    }

    for (version, lapsed, why) in
        [(2, Releases::Expired, "targets/releases expired at"), (3, Releases::Forged, "did not meet threshold")]
    {
        house.put(directory.path(), version, lapsed);
        for user in [&seen, &reader()] {
            let warned = shows(user, "1.0", "1.0 signed by targets,");
            assert!(warned.contains("in place of targets/releases") && warned.contains(why), "{warned}");
            let content = |bytes: &[u8]| format!("{gun}@{}", Sha256Digest::of(bytes));
            verify(user, &content(&one)).ok().unwrap();
            user.run(&["pull", &tagged("1.0")]).unwrap().ok().unwrap();
            assert!(engine.holds(&tagged("1.0")).unwrap());
            engine.forget(&tagged("1.0")).unwrap();
            // The releases had replaced it, and had it by themselves.
            for tag in ["2.0", "3.0"] {
                refused(verify(user, &tagged(tag)));
                refused(user.run(&["pull", &tagged(tag)]).unwrap());
            }
            refused(verify(user, &content(other.manifest())));
        }
    }

    house.put(directory.path(), 4, Releases::Sound);
    let warned = shows(&seen, "2.0", "signed by targets/releases,");
    assert_eq!(warned, "");
}

#[test]
fn an_export_takes_what_counts_and_names_the_rest() {
    let registry = Registry::debian().unwrap();
    let gun = registry.reference("team/app");
    let (one, other) = (OciImage::holding("one"), OciImage::holding("the newer"));
    for (tag, image) in [("1.0", &one), ("2.0", &other), ("3.0", &other)] {
        registry.put_image("team/app", tag, image).unwrap();
    }
    let house = House::of(&gun, target(one.manifest()), target(other.manifest()));
    let directory = TempDir::new().unwrap();
    let site = Site::of(directory.path()).unwrap();
    let daemon = Daemon::with(&Setup { policy: Setup::ALLOW_ALL.to_owned(), ..Setup::default() }).unwrap();
    let user = reading(daemon.user().unwrap(), &gun, &site.url(""));
    user.run(&["key", "create", "app", "--purpose", "image", "--scope", &gun]).unwrap().ok().unwrap();
    let export = || {
        let arguments = ["--output", "json", "migrate", "notary", "export", "--to", "cosign", &gun];
        let report = user.run(&arguments).unwrap().exited(1).unwrap().json().unwrap();
        let counts = ["carried_over", "already_there", "left_behind"].map(|member| report[member].as_u64().unwrap());
        (report["repositories"][0].clone(), counts)
    };
    let tag = |report: &Value, name: &str| {
        let tags = report["tags"].as_array().unwrap();
        tags.iter().find(|tag| tag["tag"] == name).unwrap_or_else(|| panic!("no {name}: {report}")).clone()
    };

    house.put(directory.path(), 1, Releases::Expired);
    let (report, counts) = export();
    assert_eq!(counts, [1, 0, 2], "{report}");
    assert_eq!(
        (&tag(&report, "1.0")["role"], &tag(&report, "1.0")["result"]),
        (&json!("targets"), &json!("carried-over"))
    );
    for name in ["2.0", "3.0"] {
        let left = tag(&report, name);
        assert!(
            left["role"] == "targets/releases" && left["why"].as_str().unwrap().contains("counts no more"),
            "{left}"
        );
    }
    assert!(report["notes"][0].as_str().unwrap().contains("targets/releases expired at"), "{report}");

    // Signed anew: what the two roles disagree about stays behind, and nothing else does.
    house.put(directory.path(), 2, Releases::Sound);
    let (report, counts) = export();
    assert_eq!(counts, [1, 1, 1], "{report}");
    assert!(tag(&report, "2.0")["why"].as_str().unwrap().contains("disagree"), "{report}");
}
