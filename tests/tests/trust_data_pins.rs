//! What was seen of a repository counts whichever root is pinned, and however: nobody is led back in time by naming
//! another, and nobody loses what he remembers by naming a wrong one.
//!
//! The files are of the test's own keys, so that every server is possible.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the workshop serves several tests")]

#[path = "../../trust/tests/tuf/workshop.rs"]
mod workshop;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use trust::Sha256Digest;
use trust_tests::image::OciImage;
use trust_tests::{Engine, Registry, Site, Trustctl};

use workshop::{Certificate, TestKey, file, meta};

/// No test outlives it.
const LATER: &str = "2096-11-26T17:34:00Z";

/// Who signs a repository.
struct House {
    /// The root key of each root; it signs the next one, too.
    root_keys: Vec<TestKey>,
    roots: Vec<Vec<u8>>,
    /// Of targets, snapshot and timestamp.
    keys: [TestKey; 3],
}

impl House {
    /// `seed` is that of its keys, of which no other house has one.
    fn of(gun: &str, seed: u8) -> Self {
        let keys = [seed, seed + 1, seed + 2].map(TestKey::ed25519);
        let mut house = Self { root_keys: Vec::new(), roots: Vec::new(), keys };
        house.rotate(gun);
        house
    }

    /// Publishes the next root, with a key of its own.
    fn rotate(&mut self, gun: &str) {
        let key = TestKey::certified(&Certificate { name: gun, years: [2020, 2096], ca: false });
        let [targets, snapshot, timestamp] = &self.keys;
        let line = |key: &TestKey| json!({"keyids": [key.id], "threshold": 1});
        let entries: serde_json::Map<String, Value> =
            [&key, targets, snapshot, timestamp].iter().map(|key| (key.id.clone(), key.entry.clone())).collect();
        let signed = json!({
            "_type": "Root", "version": self.roots.len() + 1, "expires": LATER, "consistent_snapshot": false,
            "keys": entries, "roles": {"root": line(&key), "targets": line(targets), "snapshot": line(snapshot),
                "timestamp": line(timestamp)},
        });
        let signers: Vec<&TestKey> = self.root_keys.last().into_iter().chain([&key]).collect();
        self.roots.push(file(&signed, &signers));
        self.root_keys.push(key);
    }

    fn key_of(&self, version: usize) -> &str {
        &self.root_keys[version - 1].id
    }
}

/// A repository, and the server that shows of it what the test likes.
struct Scene {
    registry: Registry,
    directory: TempDir,
    site: Site,
    gun: String,
    reference: String,
    tag: Value,
}

impl Scene {
    fn new() -> Self {
        let registry = Registry::debian().unwrap();
        let image = OciImage::holding("one");
        let digest = registry.put_image("team/app", "1.0", &image).unwrap();
        let length = image.manifest().len();
        Self::of(registry, &digest, length)
    }

    fn of(registry: Registry, digest: &Sha256Digest, length: usize) -> Self {
        let directory = TempDir::new().unwrap();
        let site = Site::of(directory.path()).unwrap();
        let (gun, reference) = (registry.reference("team/app"), registry.reference("team/app:1.0"));
        let tag = json!({"hashes": {"sha256": workshop::base64(digest.as_bytes())}, "length": length});
        Self { registry, directory, site, gun, reference, tag }
    }

    fn house(&self, seed: u8) -> House {
        House::of(&self.gun, seed)
    }

    /// Shows a generation under the root of this version, and no root that follows it.
    fn show(&self, house: &House, root: usize, version: u32) {
        let place = self.directory.path().join(format!("v2/{}/_trust/tuf", self.gun));
        let _ = std::fs::remove_dir_all(&place);
        std::fs::create_dir_all(&place).unwrap();
        let keep = |name: &str, bytes: &[u8]| std::fs::write(place.join(format!("{name}.json")), bytes).unwrap();
        for (index, bytes) in house.roots[..root].iter().enumerate() {
            keep(&format!("{}.root", index + 1), bytes);
        }
        let root = &house.roots[root - 1];
        keep("root", root);
        let [targets, snapshot, timestamp] = &house.keys;
        let named = |bytes: &[u8]| Sha256Digest::of(bytes).to_hex();
        let signed = json!({
            "_type": "Targets", "version": version, "expires": LATER, "targets": {"1.0": self.tag},
            "delegations": {"keys": {}, "roles": []},
        });
        let targets = file(&signed, &[targets]);
        keep(&format!("targets.{}", named(&targets)), &targets);
        let all = json!({"root": meta(root), "targets": meta(&targets)});
        let signed = json!({"_type": "Snapshot", "version": version, "expires": LATER, "meta": all});
        let snapshot = file(&signed, &[snapshot]);
        keep(&format!("snapshot.{}", named(&snapshot)), &snapshot);
        let all = json!({"snapshot": meta(&snapshot)});
        let signed = json!({"_type": "Timestamp", "version": version, "expires": LATER, "meta": all});
        keep("timestamp", &file(&signed, &[timestamp]));
    }

    fn hide_root(&self, version: usize) {
        let place = self.directory.path().join(format!("v2/{}/_trust/tuf/{version}.root.json", self.gun));
        std::fs::remove_file(place).unwrap();
    }

    fn user(&self) -> User<'_> {
        let user = Trustctl::new().unwrap();
        let (gun, url) = (&self.gun, self.site.url(""));
        user.configure(&format!("[[trust_servers]]\nrepository = \"{gun}\"\nurl = \"{url}\"\n")).unwrap();
        User { user, reference: &self.reference }
    }
}

struct User<'s> {
    user: Trustctl,
    reference: &'s str,
}

impl User<'_> {
    /// A root in a file of his.
    fn pin(&self, name: &str, root: &[u8]) -> String {
        self.user.write(name, root).unwrap().to_str().unwrap().to_owned()
    }

    fn call<'c>(&'c self, pin: Option<&'c str>) -> Vec<&'c str> {
        let root = pin.into_iter().flat_map(|pin| ["--trust-root", pin]);
        ["image", "verify"].into_iter().chain(root).chain([self.reference]).collect()
    }

    /// He believes what is shown; what he is warned of.
    fn believes(&self, pin: Option<&str>) -> String {
        self.user.run(&self.call(pin)).unwrap().ok().unwrap().stderr
    }

    /// He does not, and why.
    fn refuses(&self, pin: Option<&str>, words: &str) {
        let ran = self.user.run(&self.call(pin)).unwrap().exited(1).unwrap();
        assert!(ran.stderr.contains(words), "{pin:?}, {words}: {ran}");
    }

    fn memory(&self) -> PathBuf {
        self.user.home().join(".local/state/trustctl/trust-data")
    }

    /// Every file that he remembers in the one directory of the repository, by name.
    fn remembers(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let directories: Vec<PathBuf> = entries(&self.memory());
        assert_eq!(directories.len(), 1, "{directories:?}");
        let files = entries(&directories[0]).into_iter().filter(|path| path.is_file());
        files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_rollback_is_refused_by_pull_whichever_way_the_root_is_pinned() {
    let (registry, engine) = (Registry::debian().unwrap(), Engine::docker().unwrap());
    let reference = registry.reference("team/app:1.0");
    engine.build(&reference, "hello whoever pins me").unwrap();
    engine.cli(&["push", &reference]).unwrap().ok().unwrap();
    engine.forget(&reference).unwrap();
    let (_, manifest) = registry.manifest("team/app", "1.0").unwrap().unwrap();
    let scene = Scene::of(registry, &Sha256Digest::of(&manifest), manifest.len());
    let house = scene.house(1);
    let user = scene.user();
    let user = User { user: user.user.using(&engine), ..user };
    let (file, bare) = (user.pin("root.json", &house.roots[0]), house.root_keys[0].key().canonical_id().to_hex());
    let pull = |pin: &str| user.user.run(&["pull", "--trust-root", pin, &reference]).unwrap();
    scene.show(&house, 1, 3);
    pull(&file).ok().unwrap();
    engine.forget(&reference).unwrap();

    scene.show(&house, 1, 1);
    for pin in [house.key_of(1), &bare, &file] {
        let ran = pull(pin).exited(1).unwrap();
        assert!(ran.stderr.contains("is older than version 3"), "{pin}: {ran}");
        assert!(!engine.holds(&reference).unwrap());
    }
    user.refuses(None, "is older than version 3");

    scene.show(&house, 1, 3);
    for pin in [house.key_of(1), &bare, &file] {
        assert_eq!(user.believes(Some(pin)), "");
    }
    assert_eq!(user.believes(None), "");
}

#[test]
fn an_old_root_is_pinned_and_those_that_followed_are_not_held_back() {
    let scene = Scene::new();
    let mut house = scene.house(1);
    house.rotate(&scene.gun);
    house.rotate(&scene.gun);
    let users = [scene.user(), scene.user()];
    let [knows_all, knows_last] = &users;
    let old = knows_all.pin("root.json", &house.roots[0]);

    scene.show(&house, 3, 3);
    knows_all.believes(Some(&old));
    knows_last.believes(None);

    // The state before the first rotation, signed anew by keys that were not changed since.
    scene.show(&house, 1, 4);
    for pin in [Some(&old[..]), Some(house.key_of(1)), None] {
        knows_all.refuses(pin, "the file of root is not the one that snapshot names");
    }
    for pin in [&old, house.key_of(1)] {
        knows_last.refuses(Some(pin), "end before version 3");
    }
    knows_last.refuses(None, "the file of root is not the one that snapshot names");

    // The roots are there, and the rest is old.
    scene.show(&house, 3, 1);
    for user in &users {
        for pin in [&old, house.key_of(3)] {
            user.refuses(Some(pin), "is older than version 4");
        }
    }
    scene.show(&house, 3, 5);
    for user in &users {
        for pin in [Some(&old[..]), Some(house.key_of(3)), None] {
            assert_eq!(user.believes(pin), "", "{pin:?}");
        }
        assert_eq!(entries(&user.memory()).len(), 1);
    }
}

#[test]
fn a_newer_root_is_pinned_and_what_was_signed_by_the_same_keys_counts() {
    let scene = Scene::new();
    let mut house = scene.house(1);
    let user = scene.user();
    scene.show(&house, 1, 3);
    user.believes(None);
    house.rotate(&scene.gun);
    house.rotate(&scene.gun);
    let new = user.pin("root.json", &house.roots[2]);

    // Nobody can tell whether the pinned root follows the one that is known.
    scene.show(&house, 3, 2);
    scene.hide_root(2);
    user.refuses(Some(&new), "is older than version 3");
    scene.show(&house, 3, 4);
    scene.hide_root(2);
    user.believes(Some(&new));
    scene.show(&house, 3, 3);
    user.refuses(Some(house.key_of(3)), "is older than version 4");
}

#[test]
fn a_wrong_pin_changes_nothing_of_what_is_remembered() {
    let scene = Scene::new();
    let (house, stranger) = (scene.house(1), scene.house(11));
    let user = scene.user();
    let wrong = user.pin("root.json", &stranger.roots[0]);
    scene.show(&house, 1, 3);
    user.believes(None);
    let before = user.remembers();

    for pin in [&wrong, stranger.key_of(1)] {
        user.refuses(Some(pin), "is not believed");
    }

    let after = user.remembers();
    let is_record = |path: &Path| path.ends_with("roots.json");
    assert!(before.iter().all(|(path, bytes)| is_record(path) || after[path] == *bytes));
    scene.show(&house, 1, 1);
    for pin in [None, Some(house.key_of(1))] {
        user.refuses(pin, "is older than version 3");
    }
    scene.show(&house, 1, 3);
    assert_eq!(user.believes(None), "");
}

#[test]
fn a_repository_that_was_begun_anew_is_believed_by_whoever_pins_its_root_and_the_old_one_is_not_forgotten() {
    let scene = Scene::new();
    let (old, new) = (scene.house(1), scene.house(11));
    let user = scene.user();
    let (old_root, new_root) = (user.pin("old.json", &old.roots[0]), user.pin("new.json", &new.roots[0]));
    scene.show(&old, 1, 3);
    user.believes(Some(&old_root));

    scene.show(&new, 1, 2);
    for pin in [None, Some(&old_root[..]), Some(old.key_of(1))] {
        user.refuses(pin, "is not believed");
    }
    let warned = user.believes(Some(&new_root));
    assert!(warned.contains("does not follow the one that was remembered"), "{warned}");
    // Whoever pins it has said so: it is the one that is remembered from now on.
    for pin in [None, Some(&new_root[..]), Some(new.key_of(1))] {
        assert_eq!(user.believes(pin), "");
    }
    scene.show(&new, 1, 1);
    for pin in [None, Some(&new_root[..]), Some(new.key_of(1))] {
        user.refuses(pin, "is older than version 2");
    }

    scene.show(&old, 1, 1);
    for pin in [&old_root, old.key_of(1)] {
        user.refuses(Some(pin), "is older than version 3");
    }
    user.refuses(None, "is not believed");
    scene.show(&old, 1, 3);
    assert_eq!(user.believes(Some(&old_root)), "");
}

#[test]
fn what_an_earlier_trustctl_remembered_counts_with_every_pin() {
    let scene = Scene::new();
    let house = scene.house(1);
    let (file, key) = (Sha256Digest::of(&house.roots[0]).to_hex(), house.key_of(1));

    for pinned_before in ["", &file, key] {
        for pin in [None, Some("FILE"), Some(key)] {
            let user = scene.user();
            let root = user.pin("root.json", &house.roots[0]);
            let pin = pin.map(|pin| if pin == "FILE" { &root } else { pin });
            scene.show(&house, 1, 3);
            user.believes(None);
            // As it was kept then: a directory for each pin, and nothing but the files.
            let now = entries(&user.memory()).remove(0);
            std::fs::remove_file(now.join("roots.json")).unwrap();
            let name = format!("{}\n{}\n{pinned_before}", scene.site.url("").trim_end_matches('/'), scene.gun);
            let before = user.memory().join(Sha256Digest::of(name.as_bytes()).to_hex());
            assert_eq!(now == before, pinned_before.is_empty());
            std::fs::rename(&now, &before).unwrap();

            scene.show(&house, 1, 1);
            user.refuses(pin, "is older than version 3");
            user.refuses(pin, "is older than version 3");
            scene.show(&house, 1, 3);
            assert_eq!(user.believes(pin), "", "{pinned_before} {pin:?}");
        }
    }
}

#[test]
fn a_root_that_is_followed_by_hundreds_is_pinned_and_followed_in_several_visits() {
    let scene = Scene::new();
    let mut house = scene.house(1);
    (1..600).for_each(|_| house.rotate(&scene.gun));
    let users = [scene.user(), scene.user()];
    scene.show(&house, 600, 3);
    users[1].believes(None);

    for user in &users {
        let old = user.pin("root.json", &house.roots[0]);
        for _ in 0..2 {
            user.refuses(Some(&old), "more than 256 new roots");
        }
        assert_eq!(user.believes(Some(&old)), "");
        scene.show(&house, 600, 2);
        for pin in [&old, house.key_of(600)] {
            user.refuses(Some(pin), "is older than version 3");
        }
        scene.show(&house, 600, 3);
        assert_eq!(user.believes(Some(house.key_of(600))), "");
        assert_eq!(user.believes(None), "");
    }
    // Exactly as many as are followed in one visit.
    scene.show(&house, 257, 4);
    let user = scene.user();
    let old = user.pin("root.json", &house.roots[0]);
    user.believes(Some(&old));
}
