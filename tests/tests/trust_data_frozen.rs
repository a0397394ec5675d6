//! Servers of trust data that lead their readers back in time: `pull` refuses what has expired (freeze), what is older
//! than what was seen (rollback), and what was never current together (mix and match).
//!
//! The files are of the test's own keys, so that they may say any date.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the workshop serves several tests")]

#[path = "../../trust/tests/tuf/workshop.rs"]
mod workshop;

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use trust::Sha256Digest;
use trust_tests::image::OciImage;
use trust_tests::{Engine, Lie, Registry, Site, Trustctl};

use workshop::{Certificate, TestKey, file, meta};

/// No test outlives it.
const LATER: &str = "2096-11-26T17:34:00Z";
/// It has passed.
const PASSED: &str = "2026-01-02T03:04:05Z";

/// Who signs a repository, and when each of its files ends.
struct House {
    gun: String,
    keys: [TestKey; 4],
    /// The same in every generation that ends with none of its dates.
    root: Vec<u8>,
    tag: Value,
}

/// A generation: the version of everything but root, and the file that has expired.
#[derive(Clone, Copy)]
struct Generation(u32, &'static str);

impl House {
    fn of(gun: &str, digest: &Sha256Digest, length: usize) -> Self {
        let root = TestKey::certified(&Certificate { name: gun, years: [2020, 2096], ca: false });
        let [targets, snapshot, timestamp] = [1, 2, 3].map(TestKey::ed25519);
        let tag = json!({"hashes": {"sha256": workshop::base64(digest.as_bytes())}, "length": length});
        let keys = [root, targets, snapshot, timestamp];
        Self { gun: gun.to_owned(), root: signed_root(&keys, LATER), keys, tag }
    }

    /// Its files by name.
    fn files(&self, generation: Generation) -> [(&'static str, Vec<u8>); 4] {
        let Generation(version, expired) = generation;
        let until = |role: &str| if role == expired { PASSED } else { LATER };
        let [_, targets, snapshot, timestamp] = &self.keys;
        let root = if expired == "root" { signed_root(&self.keys, PASSED) } else { self.root.clone() };
        let signed = json!({
            "_type": "Targets", "version": version, "expires": until("targets"), "targets": {"1.0": self.tag},
            "delegations": {"keys": {}, "roles": []},
        });
        let targets = file(&signed, &[targets]);
        let named = json!({"root": meta(&root), "targets": meta(&targets)});
        let signed = json!({"_type": "Snapshot", "version": version, "expires": until("snapshot"), "meta": named});
        let snapshot = file(&signed, &[snapshot]);
        let named = json!({"snapshot": meta(&snapshot)});
        let signed = json!({"_type": "Timestamp", "version": version, "expires": until("timestamp"), "meta": named});
        let timestamp = file(&signed, &[timestamp]);
        [("root", root), ("targets", targets), ("snapshot", snapshot), ("timestamp", timestamp)]
    }

    /// Puts a generation where a site serves it: from now on it is what the server answers.
    fn put(&self, site: &Path, generation: Generation) {
        let place = site.join(format!("v2/{}/_trust/tuf", self.gun));
        std::fs::create_dir_all(&place).unwrap();
        for (role, bytes) in self.files(generation) {
            let name = match role {
                "targets" | "snapshot" => format!("{role}.{}", Sha256Digest::of(&bytes).to_hex()),
                _ => role.to_owned(),
            };
            std::fs::write(place.join(format!("{name}.json")), bytes).unwrap();
        }
    }
}

fn signed_root(keys: &[TestKey; 4], expires: &str) -> Vec<u8> {
    let [root, targets, snapshot, timestamp] = keys;
    let line = |key: &TestKey| json!({"keyids": [key.id], "threshold": 1});
    let entries: serde_json::Map<String, Value> = keys.iter().map(|key| (key.id.clone(), key.entry.clone())).collect();
    let signed = json!({
        "_type": "Root", "version": 1, "expires": expires, "consistent_snapshot": false, "keys": entries,
        "roles": {"root": line(root), "targets": line(targets), "snapshot": line(snapshot), "timestamp": line(timestamp)},
    });
    file(&signed, &[root])
}

fn reader(repository: &str, url: &str) -> Trustctl {
    let user = Trustctl::new().unwrap();
    let text = format!("[[trust_servers]]\nrepository = \"{repository}\"\nurl = \"{url}\"\n");
    user.configure(&text).unwrap();
    user
}

/// The call is refused with exit code 1 and two lines, of which the first says this.
fn refused(user: &Trustctl, arguments: &[&str], words: &str) {
    let ran = user.run(arguments).unwrap().exited(1).unwrap();
    let lines: Vec<&str> = ran.stderr.lines().filter(|line| !line.starts_with("warning:")).collect();
    assert!(lines.len() == 2 && lines[0].contains(words), "{words}: {ran}");
}

#[test]
fn nobody_is_led_back_in_time_by_pull() {
    let (registry, engine) = (Registry::debian().unwrap(), Engine::docker().unwrap());
    let (gun, reference) = (registry.reference("team/app"), registry.reference("team/app:1.0"));
    engine.build(&reference, "hello from yesterday").unwrap();
    engine.cli(&["push", &reference]).unwrap().ok().unwrap();
    engine.forget(&reference).unwrap();
    let (_, manifest) = registry.manifest("team/app", "1.0").unwrap().unwrap();
    let house = House::of(&gun, &Sha256Digest::of(&manifest), manifest.len());
    let directory = TempDir::new().unwrap();
    let site = Site::of(directory.path()).unwrap();
    let put = |generation| house.put(directory.path(), generation);
    let refuses = |user: &Trustctl, words: &str| {
        refused(user, &["image", "verify", &reference], words);
        refused(user, &["pull", &reference], words);
        assert!(!engine.holds(&reference).unwrap(), "{words}");
    };
    let pulls = |user: &Trustctl| {
        user.run(&["pull", &reference]).unwrap().ok().unwrap();
        assert!(engine.holds(&reference).unwrap());
        engine.forget(&reference).unwrap();
    };
    let user = reader(&gun, &site.url("")).using(&engine);
    put(Generation(1, "nothing"));
    pulls(&user);

    // Freeze: whoever holds the next timestamp back has nothing but one that ends. It is refused by those who have seen
    // the repository, each time anew, and by those who have not.
    put(Generation(2, "timestamp"));
    refuses(&user, "timestamp expired at");
    refuses(&user, "timestamp expired at");
    refuses(&reader(&gun, &site.url("")).using(&engine), "timestamp expired at");
    put(Generation(3, "nothing"));
    pulls(&user);

    // Rollback: sound, and older than what was seen.
    put(Generation(1, "nothing"));
    refuses(&user, "is older than version 3");
    put(Generation(3, "nothing"));
    pulls(&user);

    // Mix and match: the new timestamp, and the old snapshot under the name of the new one.
    let [_, _, (_, old), _] = house.files(Generation(3, "nothing"));
    let [_, _, (_, new), _] = house.files(Generation(4, "nothing"));
    put(Generation(4, "nothing"));
    let named = format!("v2/{gun}/_trust/tuf/snapshot.{}.json", Sha256Digest::of(&new).to_hex());
    site.lie(&named, Lie::Bytes(old));
    refuses(&user, "the file of snapshot is not the one that timestamp names");
    site.lie(&named, Lie::Bytes(new));
    pulls(&user);
}

#[test]
fn each_file_that_has_expired_is_refused() {
    let registry = Registry::debian().unwrap();
    let image = OciImage::holding("one");
    let digest = registry.put_image("team/app", "1.0", &image).unwrap();
    let (gun, reference) = (registry.reference("team/app"), registry.reference("team/app:1.0"));
    let house = House::of(&gun, &digest, image.manifest().len());
    let directory = TempDir::new().unwrap();
    let site = Site::of(directory.path()).unwrap();

    for role in ["root", "targets", "snapshot", "timestamp"] {
        house.put(directory.path(), Generation(1, role));
        refused(&reader(&gun, &site.url("")), &["image", "verify", &reference], &format!("{role} expired at"));
    }
    house.put(directory.path(), Generation(1, "nothing"));
    reader(&gun, &site.url("")).run(&["image", "verify", &reference]).unwrap().ok().unwrap();
}
