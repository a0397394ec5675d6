//! `trustctl tuf-client` against repositories that others published, served over HTTP by a place that may lie.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

#[path = "../../trust/tests/beside/mod.rs"]
mod beside;

use std::path::Path;

use trust_tests::document::{blocks, document};
use trust_tests::{Lie, Ran, Site, Trustctl};

use beside::beside;

/// A user who reads one repository.
struct Reader {
    user: Trustctl,
    site: Site,
}

impl Reader {
    fn of(repository: &Path) -> Self {
        Self { user: Trustctl::new().unwrap(), site: Site::of(repository).unwrap() }
    }

    /// One who has begun with a root of the repository.
    fn begun(repository: &Path, root: &str) -> Self {
        let reader = Self::of(repository);
        reader.call(&["--metadata-dir", "metadata", "init", repository.join(root).to_str().unwrap()]).ok().unwrap();
        assert_eq!(reader.site.asked(), Vec::<String>::new(), "to begin nobody is asked");
        reader
    }

    fn call(&self, arguments: &[&str]) -> Ran {
        self.user.run(&[&["tuf-client"], arguments].concat()).unwrap()
    }

    fn refresh(&self) -> Ran {
        self.call(&["--metadata-dir", "metadata", "--metadata-url", &self.site.url("metadata"), "refresh"])
    }

    fn download(&self, names: &[&str]) -> Ran {
        let (metadata, targets) = (self.site.url("metadata/"), self.site.url("targets/"));
        let mut arguments = vec!["--metadata-dir", "metadata", "--metadata-url", &metadata];
        for name in names {
            arguments.extend(["--target-name", name]);
        }
        arguments.extend(["--target-base-url", &targets, "--target-dir", "targets", "download"]);
        self.call(&arguments)
    }

    /// The names of the files in a directory of the user's.
    fn files(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.user.file(directory)) else { return Vec::new() };
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Two lines, and the exit code of TUF's conformance suite.
fn refused(ran: Ran) -> String {
    let ran = ran.exited(1).unwrap();
    assert_eq!(ran.stderr.lines().count(), 2, "{ran}");
    assert_eq!(ran.stdout, "");
    ran.stderr
}

#[test]
fn a_repository_of_tuf_on_ci_is_followed_to_its_artifact() {
    let Some(repository) = beside("vectors/tuf-conformance-static/tuf-on-ci-0.11") else { return };
    let reader = Reader::begun(&repository, "initial_root.json");
    let shown = reader.refresh().ok().unwrap();
    assert!(shown.stdout.starts_with("up to date: root 1,"), "{shown}");
    assert_eq!(reader.files("metadata"), ["root.json", "snapshot.json", "targets.json", "timestamp.json"]);
    reader.download(&[std::fs::read_to_string(repository.join("targetpath")).unwrap().trim()]).ok().unwrap();

    let artifact = "targets/delegatedrole/45f337ee451b4c098d121d09cc224bacc7794503ac58a47a78cfe7ebefb7fab3.artifact";
    let there = reader.user.read("targets/delegatedrole%2Fartifact").unwrap();
    assert_eq!(there, std::fs::read(repository.join(artifact)).unwrap());
    assert!(reader.files("metadata").contains(&"delegatedrole.json".to_owned()));
}

#[test]
fn targets_of_toughs_repositories_come_once() {
    let Some(tough) = beside("vectors/tough-tuf-negative") else { return };
    for (directory, names) in [
        ("tuf-reference-impl", &["file1.txt", "file2.txt", "file3.txt"][..]),
        ("consistent-snapshots", &["data1.txt", "data2.txt"]),
        ("dubious-role-names", &["1.txt"]),
    ] {
        let reader = Reader::begun(&tough.join(directory), "metadata/1.root.json");
        let shown = reader.download(names).ok().unwrap();
        assert_eq!(shown.stdout.matches("verified:").count(), names.len(), "{shown}");
        assert_eq!(reader.files("targets"), names);
        assert!(reader.site.asked().iter().any(|path| path.starts_with("targets/")));

        let again = reader.download(names).ok().unwrap();
        assert_eq!(again.stdout.matches("is there:").count(), names.len(), "{again}");
        let asked = reader.site.asked();
        assert_eq!(asked, ["metadata/2.root.json", "metadata/timestamp.json"], "{directory}");
    }
}

#[test]
fn what_is_not_what_was_signed_is_not_kept() {
    let Some(tough) = beside("vectors/tough-tuf-negative") else { return };
    let repository = tough.join("consistent-snapshots");
    let name = "5aa1d2b3bea034a0f9d0b27a1bc72919b3145a2b092b72ac0415a05e07e2bdd1.data1.txt";
    let place = format!("targets/{name}");
    let good = std::fs::read(repository.join(&place)).unwrap();
    let mut flipped = good.clone();
    flipped[0] ^= 1;
    for (lie, word) in [
        (Lie::Bytes(flipped), "not what is signed"),
        (Lie::Bytes(good[1..].to_vec()), "not what is signed"),
        (Lie::Bytes([&good[..], b"x"].concat()), "does not end"),
        (Lie::Bytes(vec![b'x'; 1 << 20]), "does not end"),
        (Lie::Status(404), "has no"),
        (Lie::Status(500), "answers 500"),
        (Lie::Redirect("http://127.0.0.1:1/".to_owned()), "answers 302"),
    ] {
        let reader = Reader::begun(&repository, "metadata/1.root.json");
        reader.site.lie(&place, lie);

        let words = refused(reader.download(&["data1.txt"]));

        assert!(words.contains(word), "{word}: {words}");
        assert_eq!(reader.files("targets"), Vec::<String>::new());
        assert_eq!(reader.files("metadata").len(), 4, "the metadata is believed all the same");
    }
    let reader = Reader::begun(&repository, "metadata/1.root.json");
    assert!(refused(reader.download(&["data1.txt", "nobody signed this", "data2.txt"])).contains("nobody signed this"));
    assert_eq!(reader.files("targets"), ["data1.txt"], "the first that fails ends it");
}

#[test]
fn metadata_that_lies_changes_nothing_that_was_believed() {
    let Some(tough) = beside("vectors/tough-tuf-negative") else { return };
    let repository = tough.join("consistent-snapshots");
    let bytes = |name: &str| std::fs::read(repository.join("metadata").join(name)).unwrap();
    let changed = |name: &str| {
        let mut text = String::from_utf8(bytes(name)).unwrap();
        let at = text.find("\"version\": 1").unwrap_or_else(|| panic!("{name}: {text}"));
        text.replace_range(at..at + 12, "\"version\": 9");
        text.into_bytes()
    };
    for (name, lie, kept) in [
        ("2.root.json", Lie::Bytes(bytes("1.root.json")), 1),
        ("2.root.json", Lie::Bytes(b"{}".to_vec()), 1),
        ("timestamp.json", Lie::Bytes(changed("timestamp.json")), 1),
        ("timestamp.json", Lie::Bytes(vec![b' '; (1 << 20) + 1]), 1),
        ("timestamp.json", Lie::Status(404), 1),
        ("1.snapshot.json", Lie::Bytes(changed("1.snapshot.json")), 2),
        ("1.snapshot.json", Lie::Bytes(bytes("1.targets.json")), 2),
        ("1.snapshot.json", Lie::Status(403), 2),
        ("1.targets.json", Lie::Bytes(changed("1.targets.json")), 3),
        ("1.targets.json", Lie::Bytes(vec![b'['; 1 << 20]), 3),
    ] {
        let reader = Reader::begun(&repository, "metadata/1.root.json");
        reader.site.lie(&format!("metadata/{name}"), lie.clone());

        let words = refused(reader.refresh());

        assert_eq!(reader.files("metadata").len(), kept, "{name} {words}");
    }
    // A cache that somebody has written into is verified like what comes from outside.
    let reader = Reader::begun(&repository, "metadata/1.root.json");
    reader.refresh().ok().unwrap();
    reader.user.write("metadata/snapshot.json", &changed("1.snapshot.json")).unwrap();
    reader.refresh().ok().unwrap();
    assert_eq!(reader.user.read("metadata/snapshot.json").unwrap(), bytes("1.snapshot.json"));
    let mut root = bytes("1.root.json");
    root[20] ^= 1;
    reader.user.write("metadata/root.json", &root).unwrap();
    refused(reader.refresh());
}

#[test]
fn roots_that_tough_refuses_begin_nothing() {
    let Some(tough) = beside("vectors/tough-tuf-negative") else { return };
    for name in [
        "duplicate-keyid/root.json",
        "duplicate-sigs/root.json",
        "duplicate-sig-keys/root.json",
        "mismatched-root-json-keyids/root.json",
        "no-root-json-signatures/root.json",
        "invalid-root-json-signature/root.json",
        "cross-sign-root/1.root.json",
    ] {
        let reader = Reader::of(&tough);
        refused(reader.call(&["--metadata-dir", "metadata", "init", tough.join(name).to_str().unwrap()]));
        assert_eq!(reader.files("metadata"), Vec::<String>::new(), "{name}");
        assert!(refused(reader.refresh()).contains("no root"));
    }
    let reader = Reader::begun(&tough.join("expired-repository"), "metadata/1.root.json");
    assert!(refused(reader.refresh()).contains("expired"));
    let other = tough.join("simple-rsa/root.json");
    let again = reader.call(&["--metadata-dir", "metadata", "init", other.to_str().unwrap()]);
    assert!(refused(again).contains("is believed"));
}

/// docs/tuf-client.md: its commands do what the page says.
#[test]
fn the_commands_of_the_page_are_run() {
    let block = blocks(&document("docs/tuf-client.md").unwrap(), "sh").unwrap().remove(0);
    let Some(tough) = beside("vectors/tough-tuf-negative") else { return };
    let repository = tough.join("consistent-snapshots");
    let reader = Reader::of(&repository);
    reader.user.write("root.json", &std::fs::read(repository.join("metadata/1.root.json")).unwrap()).unwrap();

    let lines: Vec<&str> = block.lines().collect();
    assert_eq!(lines.len(), 3);
    for line in lines {
        let line = line.replace("https://tuf.example.com/", &reader.site.url(""));
        let arguments: Vec<&str> = line.strip_prefix("trustctl tuf-client ").unwrap().split(' ').collect();
        reader.call(&arguments).ok().unwrap();
    }
    assert_eq!(reader.files("targets"), ["data1.txt"]);
}

#[test]
fn a_call_that_cannot_be_understood_ends_with_two() {
    let reader = Reader::of(Path::new("/nonexistent"));
    for arguments in [
        &["refresh"][..],
        &["--metadata-dir", "m", "refresh"],
        &["--metadata-dir", "m", "--metadata-url", "http://tuf.example/", "refresh"],
        &["--metadata-dir", "m", "--metadata-url", "file:///etc", "refresh"],
        &["--metadata-dir", "m", "--metadata-url", "https://tuf.example/", "download"],
        &["--metadata-dir", "m", "init", "absent.json"],
    ] {
        let ran = reader.call(arguments).exited(2).unwrap();
        assert_eq!(ran.stderr.lines().count(), 2, "{ran}");
    }
}
