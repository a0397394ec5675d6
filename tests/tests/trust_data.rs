//! `trustctl` reads content trust: what notary's own command line has signed on the real daemon, and what a server makes
//! of it that lies.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the scene serves several tests")]

#[path = "notary/delegate.rs"]
mod delegate;
#[path = "notary/scene.rs"]
mod scene;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use trust_tests::image::OciImage;
use trust_tests::{Engine, Lie, Notary, Registry, Setup, Site, Trustctl};

use delegate::delegated;
use scene::{Plan, Scene};

/// A registry, a daemon with trust data of one of its repositories, and the owner of that.
struct Story {
    registry: Registry,
    scene: Scene,
    owner: Notary,
    gun: String,
}

impl Story {
    fn new() -> Self {
        let registry = Registry::debian().unwrap();
        let notary = format!("auth = \"none\"\ngun_prefixes = [\"{}\"]\n", registry.reference(""));
        let scene = Scene::started(&Plan { notary, tables: String::new(), policy: Setup::ALLOW_ALL.to_owned() });
        let owner = scene.notary();
        let gun = registry.reference("team/app");
        owner.run(&["init", "--publish", &gun]).unwrap().ok().unwrap();
        owner.run(&["key", "rotate", &gun, "snapshot", "--server-managed"]).unwrap().ok().unwrap();
        Self { registry, scene, owner, gun }
    }

    /// Puts an image into the registry and signs its tag; its digest.
    fn signed(&self, tag: &str, content: &str) -> String {
        let image = OciImage::holding(content);
        self.registry.put_image("team/app", tag, &image).unwrap();
        let (digest, length) = (image.digest().to_hex(), image.manifest().len().to_string());
        self.owner.run(&["addhash", "--publish", &self.gun, tag, &length, "--sha256", &digest]).unwrap().ok().unwrap();
        format!("sha256:{digest}")
    }

    fn reference(&self, tag: &str) -> String {
        format!("{}:{tag}", self.gun)
    }

    /// A user who reads the trust data from the daemon itself.
    fn user(&self, more: &str) -> Trustctl {
        reader(&self.gun, &self.scene.url(), &format!("ca = \"{}\"\n{more}", self.scene.ca().display()))
    }

    fn file(&self, name: &str) -> Vec<u8> {
        let answer = self.scene.ask(&format!("GET /v2/{}/_trust/tuf/{name}.json", self.gun));
        assert_eq!(answer.status, 200, "{name}");
        answer.body
    }

    /// The current generation, as files of a directory that a site can serve.
    fn copied(&self, directory: &Path) {
        let place = directory.join(format!("v2/{}/_trust/tuf", self.gun));
        std::fs::create_dir_all(&place).unwrap();
        let keep = |name: &str, bytes: &[u8]| std::fs::write(place.join(format!("{name}.json")), bytes).unwrap();
        keep("root", &self.file("root"));
        let version = json(&self.file("root"))["signed"]["version"].as_u64().unwrap();
        for version in 1..=version {
            keep(&format!("{version}.root"), &self.file(&format!("{version}.root")));
        }
        keep("timestamp", &self.file("timestamp"));
        for role in ["snapshot", "targets"] {
            let bytes = self.file(role);
            keep(&format!("{role}.{}", trust::Sha256Digest::of(&bytes).to_hex()), &bytes);
        }
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// A user whose configuration says where the trust data of a repository is.
fn reader(repository: &str, url: &str, more: &str) -> Trustctl {
    let user = Trustctl::new().unwrap();
    let text = format!("[[trust_servers]]\nrepository = \"{repository}\"\nurl = \"{url}\"\n{more}");
    user.configure(&text).unwrap();
    user
}

fn accepted(user: &Trustctl, arguments: &[&str]) -> (String, String) {
    let ran = user.run(&[&["image", "verify"], arguments].concat()).unwrap().ok().unwrap();
    (ran.stdout, ran.stderr)
}

/// Refused with exit code 1 and two lines; what they say.
fn refused(user: &Trustctl, arguments: &[&str]) -> String {
    let ran = user.run(&[&["image", "verify"], arguments].concat()).unwrap().exited(1).unwrap();
    let lines = ran.stderr.lines().filter(|line| !line.starts_with("warning:")).count();
    assert_eq!(lines, 2, "{ran}");
    ran.stderr
}

#[test]
fn trust_data_says_which_content_a_tag_is() {
    let story = Story::new();
    let (first, reference) = (story.signed("1.0", "one"), story.reference("1.0"));
    let user = story.user("");

    let (said, warned) = accepted(&user, &[&reference]);
    assert!(said.contains(&first) && said.contains("trust data: 1.0 signed by targets"), "{said}");
    assert!(warned.contains("the first that was seen"), "{warned}");
    let (_, warned) = accepted(&user, &[&reference]);
    assert_eq!(warned, "", "it is seen for the first time once");
    let shown = user.run(&["--output", "json", "image", "verify", &reference]).unwrap().ok().unwrap().json().unwrap();
    assert_eq!(shown["trust_data"]["digest"], Value::from(first.clone()));
    assert_eq!(shown["trust_data"]["pinned"], Value::from(false));
    accepted(&user, &[&format!("{}@{first}", story.gun)]);

    // A tag that somebody has moved is what was signed all the same.
    story.registry.put_image("team/app", "1.0", &OciImage::holding("another")).unwrap();
    assert!(accepted(&user, &[&reference]).0.contains(&first));
    // One that nobody signed, and content that nobody signed.
    let unsigned = story.registry.put_image("team/app", "2.0", &OciImage::holding("two")).unwrap();
    assert!(refused(&user, &[&story.reference("2.0")]).contains("no valid trust data"));
    assert!(refused(&user, &[&format!("{}@{unsigned}", story.gun)]).contains("no valid trust data"));
    assert!(refused(&user, &[&format!("{reference}@{unsigned}")]).contains("is not what is signed"));
    // A new version of the tag.
    let second = story.signed("1.0", "one, mended");
    assert!(accepted(&user, &[&reference]).0.contains(&second));

    // Deleted: who has seen it does not begin anew by himself, and says so.
    story.owner.run(&["delete", "--remote", &story.gun]).unwrap().ok().unwrap();
    assert!(refused(&user, &[&reference]).contains("has no timestamp"));
}

#[test]
fn a_root_is_pinned_by_its_file_or_its_key_and_followed_from_there() {
    let story = Story::new();
    story.signed("1.0", "one");
    let reference = story.reference("1.0");
    let shown = story.user("").run(&["--output", "json", "image", "verify", &reference]).unwrap().ok().unwrap();
    let key = shown.json().unwrap()["trust_data"]["root_keys"][0].as_str().unwrap().to_owned();
    let user = story.user("");
    let old = user.write("root.json", &story.file("1.root")).unwrap();
    let old = old.to_str().unwrap();

    for root in [&key, old] {
        let (said, warned) = accepted(&story.user(""), &["--trust-root", root, &reference]);
        assert!(said.contains("pinned root") && warned.is_empty(), "{said} {warned}");
        let (said, warned) = accepted(&story.user(&format!("root = \"{root}\"\n")), &[&reference]);
        assert!(said.contains("pinned root") && warned.is_empty(), "{said} {warned}");
    }
    let other = "ab".repeat(32);
    assert!(refused(&user, &["--trust-root", &other, &reference]).contains("pinned"));
    assert_eq!(user.run(&["image", "verify", "--trust-root", "absent.json", &reference]).unwrap().code, Some(2));

    // Two rotations later the old root still leads to the new one; the old key by itself does not.
    let (by_file, by_key) = (story.user(&format!("root = \"{old}\"\n")), story.user(&format!("root = \"{key}\"\n")));
    accepted(&by_key, &[&reference]);
    for _ in 0..2 {
        story.owner.run(&["key", "rotate", &story.gun, "root"]).unwrap().ok().unwrap();
    }
    accepted(&by_file, &[&reference]);
    accepted(&by_key, &[&reference]);
    let fresh = story.user(&format!("root = \"{key}\"\n"));
    assert!(refused(&fresh, &[&reference]).contains("pinned"));
}

#[test]
fn an_older_generation_a_mixture_and_a_flipped_bit_are_refused() {
    let story = Story::new();
    let (old, new) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    story.signed("1.0", "one");
    story.copied(old.path());
    story.signed("1.0", "one, mended");
    story.copied(new.path());
    let reference = story.reference("1.0");
    let (before, now) = (Site::of(old.path()).unwrap(), Site::of(new.path()).unwrap());
    let place = format!("v2/{}/_trust/tuf", story.gun);
    let at = |directory: &TempDir| directory.path().join(&place);
    let named = |directory: &TempDir, role: &str| -> PathBuf {
        let begins = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{role}."));
        let mut entries = std::fs::read_dir(at(directory)).unwrap().map(|entry| entry.unwrap().path());
        entries.find(|path| begins(path)).unwrap()
    };
    // Each alone is sound.
    for site in [&before, &now] {
        accepted(&reader(&story.gun, &site.url(""), ""), &[&reference]);
    }

    // Rollback: who has seen the new generation does not take the old one.
    let site = Site::of(new.path()).unwrap();
    let user = reader(&story.gun, &site.url(""), "");
    accepted(&user, &[&reference]);
    let lie = |name: &str, bytes: Vec<u8>| site.lie(&format!("{place}/{name}.json"), Lie::Bytes(bytes));
    lie("timestamp", std::fs::read(at(&old).join("timestamp.json")).unwrap());
    assert!(refused(&user, &[&reference]).contains("is older than version"));
    accepted(&reader(&story.gun, &now.url(""), ""), &[&reference]);

    // A root that led to nothing is not the first that was seen.
    let site = Site::of(new.path()).unwrap();
    let user = reader(&story.gun, &site.url(""), "");
    let timestamp = format!("{place}/timestamp.json");
    site.lie(&timestamp, Lie::Status(404));
    refused(&user, &[&reference]);
    site.lie(&timestamp, Lie::Bytes(std::fs::read(at(&new).join("timestamp.json")).unwrap()));
    assert!(accepted(&user, &[&reference]).1.contains("the first that was seen"));

    // Mix and match, and every file with a bit flipped here and there.
    let mut tried = 0;
    for role in ["root", "timestamp", "snapshot", "targets"] {
        let is_hashed = matches!(role, "snapshot" | "targets");
        let path = if is_hashed { named(&new, role) } else { at(&new).join(format!("{role}.json")) };
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let good = std::fs::read(&path).unwrap();
        let mut lies: Vec<Vec<u8>> = vec![good[..good.len() - 1].to_vec(), [&good[..], b" x"].concat(), b"{}".to_vec()];
        for step in 1..8 {
            let mut flipped = good.clone();
            flipped[good.len() * step / 8] ^= 1 << (step % 7);
            lies.push(flipped);
        }
        if is_hashed {
            lies.push(std::fs::read(named(&old, role)).unwrap());
            lies.push(std::fs::read(named(&new, if role == "targets" { "snapshot" } else { "targets" })).unwrap());
        }
        for bytes in lies {
            let site = Site::of(new.path()).unwrap();
            site.lie(&format!("{place}/{name}"), Lie::Bytes(bytes));
            let user = reader(&story.gun, &site.url(""), "");
            let ran = user.run(&["image", "verify", &reference]).unwrap();
            ran.exited(1).unwrap_or_else(|error| panic!("{name}: {error}"));
            tried += 1;
        }
    }
    assert!(tried >= 40, "{tried}");
}

/// A file that was cut short, emptied, or of which a bit was flipped here and there.
fn broken(good: &[u8]) -> Vec<Vec<u8>> {
    let flipped = |step: usize| {
        let mut flipped = good.to_vec();
        flipped[good.len() * step / 8] ^= 1 << (step % 7);
        flipped
    };
    (1..8).map(flipped).chain([good[..good.len() - 1].to_vec(), b"{}".to_vec()]).collect()
}

#[test]
fn a_flipped_bit_in_a_root_in_between_or_in_a_delegation_is_refused_by_pull() {
    let story = Story::new();
    let engine = Engine::docker().unwrap();
    let reference = story.reference("1.0");
    engine.build(&reference, "hello from the releases").unwrap();
    engine.cli(&["push", &reference]).unwrap().ok().unwrap();
    engine.forget(&reference).unwrap();
    let (_, manifest) = story.registry.manifest("team/app", "1.0").unwrap().unwrap();
    let (digest, length) = (trust::Sha256Digest::of(&manifest).to_hex(), manifest.len().to_string());
    delegated(&story.owner, &story.gun, "targets/releases");
    let sign = ["addhash", "--publish", &story.gun, "1.0", &length, "--sha256", &digest, "--roles", "targets/releases"];
    story.owner.run(&sign).unwrap().ok().unwrap();
    for _ in 0..2 {
        story.owner.run(&["key", "rotate", &story.gun, "root"]).unwrap().ok().unwrap();
    }
    let directory = TempDir::new().unwrap();
    story.copied(directory.path());
    let place = format!("v2/{}/_trust/tuf", story.gun);
    let file = |name: &str| directory.path().join(format!("{place}/{name}.json"));
    let bytes = story.file("targets/releases");
    let releases = format!("targets/releases.{}", trust::Sha256Digest::of(&bytes).to_hex());
    std::fs::create_dir(directory.path().join(&place).join("targets")).unwrap();
    std::fs::write(file(&releases), &bytes).unwrap();
    let site = Site::of(directory.path()).unwrap();
    let pinned = format!("root = \"{}\"\n", file("1.root").display());
    let pull = || {
        let user = reader(&story.gun, &site.url(""), &pinned).using(&engine);
        user.run(&["pull", &reference]).unwrap()
    };
    let newest = json(&story.file("root"))["signed"]["version"].as_u64().unwrap();
    let roots: Vec<_> = (2..=newest).map(|version| format!("{version}.root")).collect();
    assert!(roots.len() >= 2, "{newest}");

    for name in roots.iter().chain([&releases]) {
        let good = std::fs::read(file(name)).unwrap();
        let mut lies = broken(&good);
        // One bit of what no signature covers, and no hash of a root that another one follows.
        let text = String::from_utf8(good.clone()).unwrap();
        assert!(text.contains("\"method\":\"ecdsa\""), "{text}");
        lies.push(text.replacen("\"method\":\"ecdsa\"", "\"method\":\"Ecdsa\"", 1).into_bytes());
        for bytes in lies {
            site.lie(&format!("{place}/{name}.json"), Lie::Bytes(bytes));
            pull().exited(1).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        site.lie(&format!("{place}/{name}.json"), Lie::Bytes(good));
    }
    assert!(!engine.holds(&reference).unwrap());
    let pulled = pull().ok().unwrap();
    assert!(pulled.words().contains("1.0 signed by targets/releases"), "{pulled}");
    engine.forget(&reference).unwrap();
}

#[test]
fn what_is_required_is_refused_where_there_is_none_and_pins_count_besides() {
    let story = Story::new();
    let digest = story.signed("1.0", "one");
    let reference = story.reference("1.0");
    let empty = TempDir::new().unwrap();
    let site = Site::of(empty.path()).unwrap();
    let nothing = reader(&story.gun, &site.url(""), "required = true\n");
    assert!(refused(&nothing, &[&reference]).contains("has no trust data"));
    let nothing = reader(&story.gun, &site.url(""), "");
    assert!(refused(&nothing, &[&reference]).contains("nobody is believed"));
    assert!(refused(&nothing, &["--trust-root", &"ab".repeat(32), &reference]).contains("has no trust data"));
    site.lie(&format!("v2/{}/_trust/tuf/root.json", story.gun), Lie::Status(503));
    assert_eq!(nothing.run(&["image", "verify", &reference]).unwrap().code, Some(3), "an outage is not an absence");

    // A pin is not satisfied by trust data.
    let user = story.user("");
    let key = [
        "-----BEGIN PUBLIC KEY-----",
        "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=",
        "-----END PUBLIC KEY-----",
    ]
    .iter()
    .fold(String::new(), |mut text, line| {
        writeln!(text, "{line}").unwrap();
        text
    });
    let file = user.write("key.pem", key.as_bytes()).unwrap();
    user.run(&["pin", "add", &story.gun, "--public-key", file.to_str().unwrap()]).unwrap().ok().unwrap();
    assert!(refused(&user, &[&reference]).contains("no valid signature"));
    user.run(&["pin", "remove", &story.gun]).unwrap().ok().unwrap();
    accepted(&user, &[&reference]);

    // A registry that serves other bytes for the digest, or none.
    story.registry.put_image("team/other", "1.0", &OciImage::holding("one")).unwrap();
    let elsewhere = story.registry.reference("team/other:1.0");
    let mirrored = accepted(&user, &[&elsewhere, "--as", &reference]).0;
    assert!(mirrored.contains(&digest), "{mirrored}");
    let wrong = user.run(&["image", "verify", "--trust-root", &"ab".repeat(32), &elsewhere]).unwrap();
    assert_eq!(wrong.code, Some(2), "no trust server is configured for it: {wrong}");
}

#[test]
fn an_image_is_pulled_by_what_trust_data_says() {
    let story = Story::new();
    let engine = Engine::docker().unwrap();
    let user = story.user("").using(&engine);
    let reference = story.reference("1.0");
    engine.build(&reference, "hello from trust data").unwrap();
    engine.cli(&["push", &reference]).unwrap().ok().unwrap();
    let (_, manifest) = story.registry.manifest("team/app", "1.0").unwrap().unwrap();
    let (digest, length) = (trust::Sha256Digest::of(&manifest).to_hex(), manifest.len().to_string());
    let unsigned = user.run(&["pull", &reference]).unwrap().exited(1).unwrap();
    assert!(unsigned.stderr.contains("no valid trust data"), "{unsigned}");
    story.owner.run(&["addhash", "--publish", &story.gun, "1.0", &length, "--sha256", &digest]).unwrap().ok().unwrap();
    engine.forget(&reference).unwrap();

    let pulled = user.run(&["pull", &reference]).unwrap().ok().unwrap();

    assert!(pulled.words().contains("trust data: 1.0 signed by targets"), "{pulled}");
    assert!(engine.holds(&reference).unwrap());
    let ran = user.run(&["run", "--rm", "--network", "none", &reference]).unwrap().ok().unwrap();
    assert!(ran.stdout.contains("hello from trust data"), "{ran}");
    engine.forget(&reference).unwrap();
}
