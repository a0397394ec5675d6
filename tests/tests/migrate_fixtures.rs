//! Two repositories that clients of notary 0.1 and 0.3 made in 2016 move to the daemon, keys and trust data.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the scene serves several tests")]

#[path = "../../trust/tests/beside/mod.rs"]
mod beside;
#[path = "notary/scene.rs"]
mod scene;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use trust::Sha256Digest;
use trust_tests::{Setup, Site, Trustctl};

use beside::beside;
use scene::{Plan, Scene};

/// What both of them have under the name `LICENSE`.
const LICENSE: &str = "9395bac6fccb26bcb55efb083d1b4b0fe72a1c25f959f056c016120b3bb56a62";

/// A trust directory as such a client left it, copied into the home of somebody who imports it.
struct Left {
    scene: Scene,
    user: Trustctl,
    directory: PathBuf,
    gun: &'static str,
    passphrase: String,
}

impl Left {
    /// `None` where the fixtures are not here.
    fn by(version: &str, gun: &'static str, passphrase: &str) -> Option<Self> {
        let fixtures = beside("vectors/notary-v1-fixtures")?;
        let scene = Scene::started(&Plan {
            notary: "auth = \"none\"\ngun_prefixes = [\"docker.com/\"]\n".to_owned(),
            tables: String::new(),
            policy: Setup::ALLOW_ALL.to_owned(),
        });
        let user = scene.daemon.user().unwrap();
        let directory = user.file("trust");
        copy(&fixtures.join(version), &directory);
        let passphrase = user.write_secret("passphrase", passphrase.as_bytes()).unwrap();
        Some(Self { scene, user, directory, gun, passphrase })
    }

    /// What became of each key.
    fn keys(&self, code: i32) -> Vec<Value> {
        let from = self.directory.to_str().unwrap();
        let arguments = ["--output", "json", "migrate", "notary", "import", "keys", "--from", from];
        let ran = self.user.run(&[&arguments[..], &["--passphrase-file", &self.passphrase]].concat()).unwrap();
        ran.exited(code).unwrap().json().unwrap()["keys"].as_array().unwrap().clone()
    }

    fn metadata(&self) -> PathBuf {
        self.directory.join("tuf").join(self.gun).join("metadata")
    }

    /// A server that has what the directory has, as files of a directory that is gone with it.
    fn served(&self) -> (TempDir, Site) {
        let directory = TempDir::new().unwrap();
        let place = directory.path().join("v2").join(self.gun).join("_trust/tuf");
        for role in ["root", "timestamp", "snapshot", "targets", "targets/releases"] {
            let Ok(bytes) = std::fs::read(self.metadata().join(format!("{role}.json"))) else { continue };
            for name in [role.to_owned(), format!("{role}.{}", Sha256Digest::of(&bytes).to_hex())] {
                let path = place.join(format!("{name}.json"));
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, &bytes).unwrap();
            }
        }
        let site = Site::of(directory.path()).unwrap();
        (directory, site)
    }
}

/// The role, what became of it, and for which repositories.
fn outcome(key: &Value) -> (&str, &str, Vec<&str>) {
    let repositories = key["repositories"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    (key["role"].as_str().unwrap(), key["result"].as_str().unwrap(), repositories.collect())
}

/// Copies a directory; the files are their owner's alone.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::write(&to, std::fs::read(&path).unwrap()).unwrap();
            std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

#[test]
fn what_notary_0_1_left_is_taken_over_and_read_by_notary_of_today() {
    let Some(left) = Left::by("notary0.1", "docker.com/notary0.1/samplerepo", "randompass") else { return };
    let (_directory, site) = left.served();
    let url = site.url("");
    let repository = ["migrate", "notary", "import", "repository", left.gun, "--from", &url];
    left.user.run(&repository).unwrap().exited(1).unwrap();

    let mut keys = left.keys(0);
    keys.sort_by_key(|key| key["role"].as_str().unwrap().to_owned());
    let outcomes: Vec<_> = keys.iter().map(outcome).collect();
    let each = ["root", "snapshot", "targets"].map(|role| (role, "imported", vec![left.gun]));
    assert_eq!(outcomes, each, "{keys:?}");
    assert!(left.keys(0).iter().all(|key| key["result"] == "already-there"));
    left.user.run(&repository).unwrap().ok().unwrap();

    let shown = left.user.trust_data(left.gun).unwrap();
    let version = |name: &str| {
        let roles = shown["roles"].as_array().unwrap();
        roles.iter().find(|role| role["name"] == name).unwrap()["version"].as_u64().unwrap()
    };
    // The key of the old timestamps stayed with its server: root lists one of the daemon's now.
    assert_eq!(["root", "targets"].map(version), [2, 2], "{shown}");
    assert!(version("timestamp") > 1, "{shown}");
    let listed = left.scene.notary().run(&["list", left.gun]).unwrap().ok().unwrap();
    assert!(listed.stdout.contains("LICENSE") && listed.stdout.contains(LICENSE), "{listed}");
    left.user.run(&["audit", "verify"]).unwrap().ok().unwrap();
}

#[test]
fn of_what_notary_0_3_left_the_keys_come_in_and_a_root_whose_certificate_ended_does_not() {
    let Some(left) = Left::by("notary0.3", "docker.com/notary0.3/tst", "password") else { return };
    let (_directory, site) = left.served();

    let mut keys = left.keys(1);
    keys.sort_by_key(|key| key["role"].as_str().unwrap().to_owned());
    let outcomes: Vec<_> = keys.iter().map(outcome).collect();
    let [root, snapshot, targets] = ["root", "snapshot", "targets"].map(|role| (role, "imported", vec![left.gun]));
    let releases = ("targets/releases", "left-behind", vec![left.gun]);
    assert_eq!(outcomes, [root, snapshot, targets, releases], "{keys:?}");
    let why = keys[3]["why"].as_str().unwrap();
    assert!(why.contains("an RSA key of 2048 bits, with which no delegation key signs"), "{why}");

    // It ended on 25 July 2026, and nobody who reads for the first time begins with such a root: docker does not either.
    let refused = ["migrate", "notary", "import", "repository", left.gun, "--from", &site.url("")];
    let refused = left.user.run(&refused).unwrap().exited(1).unwrap();
    assert!(refused.stderr.contains("no certificate of root is good for this repository"), "{refused}");
    assert_eq!(left.scene.ask(&format!("GET /v2/{}/_trust/tuf/root.json", left.gun)).status, 404);
    // The way on is to begin anew with the keys that came in.
    let name = keys[0]["name"].as_str().unwrap();
    left.user.run(&["trust", "init", left.gun, "--root-key", name]).unwrap().ok().unwrap();
}
