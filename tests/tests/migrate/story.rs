//! A registry, a daemon, and trust data that notary's own command line signs.

use std::path::PathBuf;

use serde_json::Value;
use trust::Sha256Digest;
use trust_tests::image::OciImage;
use trust_tests::program::Ran;
use trust_tests::{Notary, Registry, Setup, Trustctl};

use super::scene::{Plan, Scene};

/// A registry, a daemon with trust data of one of its repositories, the owner of that, and a user of the daemon who
/// reads it.
pub(crate) struct Story {
    pub(crate) registry: Registry,
    pub(crate) scene: Scene,
    pub(crate) owner: Notary,
    pub(crate) gun: String,
    pub(crate) user: Trustctl,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self::beside(&[])
    }

    /// The same with trust data of other registries, of which the user reads `team/app` and `team/other`.
    pub(crate) fn beside(others: &[&Registry]) -> Self {
        let registry = Registry::debian().unwrap();
        let registries = std::iter::once(&registry).chain(others.iter().copied());
        let prefixes: Vec<_> = registries.map(|registry| format!("\"{}\"", registry.reference(""))).collect();
        let notary = format!("auth = \"none\"\ngun_prefixes = [{}]\n", prefixes.join(", "));
        let scene = Scene::started(&Plan { notary, tables: String::new(), policy: Setup::ALLOW_ALL.to_owned() });
        let owner = scene.notary();
        let gun = registry.reference("team/app");
        let user = scene.daemon.user().unwrap();
        let also = others.iter().flat_map(|other| ["team/app", "team/other"].map(|name| other.reference(name)));
        let text: String = std::iter::once(gun.clone()).chain(also).map(|gun| scene.trust_server(&gun)).collect();
        user.configure(&text).unwrap();
        Self { registry, scene, owner, gun, user }
    }

    /// The same with trust data, whose snapshots the daemon makes.
    pub(crate) fn begun() -> Self {
        let story = Self::new();
        story.notary(&["init", "--publish", &story.gun]);
        story.notary(&["key", "rotate", &story.gun, "snapshot", "--server-managed"]);
        story
    }

    pub(crate) fn notary(&self, arguments: &[&str]) {
        self.owner.run(arguments).unwrap().ok().unwrap();
    }

    pub(crate) fn put(&self, tag: &str, image: &OciImage) -> Sha256Digest {
        self.registry.put_image("team/app", tag, image).unwrap()
    }

    /// Puts an image into the registry and signs it; its digest.
    pub(crate) fn signed(&self, tag: &str, image: &OciImage) -> Sha256Digest {
        let digest = self.put(tag, image);
        self.sign(tag, &digest, image.manifest().len(), &[]);
        digest
    }

    pub(crate) fn sign(&self, name: &str, digest: &Sha256Digest, length: usize, more: &[&str]) {
        let (digest, length) = (digest.to_hex(), length.to_string());
        let arguments = ["addhash", "--publish", &self.gun, name, &length, "--sha256", &digest];
        self.notary(&[&arguments[..], more].concat());
    }

    pub(crate) fn reference(&self, tag: &str) -> String {
        format!("{}:{tag}", self.gun)
    }

    pub(crate) fn export(&self, code: i32, more: &[&str]) -> Value {
        let arguments = ["--output", "json", "migrate", "notary", "export", "--to", "cosign"];
        let ran = self.user.run(&[&arguments[..], more].concat()).unwrap().exited(code).unwrap();
        ran.json().unwrap()
    }

    /// A key for the repository's images; its public half in a file.
    pub(crate) fn image_key(&self) -> PathBuf {
        self.user.run(&["key", "create", "app", "--purpose", "image", "--scope", &self.gun]).unwrap().ok().unwrap();
        let pem = self.user.run(&["key", "public", "app"]).unwrap().ok().unwrap().stdout;
        self.user.write("app.pub", pem.as_bytes()).unwrap()
    }

    pub(crate) fn private_keys(&self) -> PathBuf {
        self.owner.home().join("trust")
    }

    pub(crate) fn import(&self, more: &[&str]) -> Ran {
        let directory = self.private_keys();
        let arguments =
            ["--output", "json", "migrate", "notary", "import", "keys", "--from", directory.to_str().unwrap()];
        self.user.run(&[&arguments[..], more].concat()).unwrap()
    }
}

/// What became of a tag.
pub(crate) fn tag<'a>(report: &'a Value, name: &str) -> &'a Value {
    let tags = report["repositories"][0]["tags"].as_array().unwrap_or_else(|| panic!("{report}"));
    tags.iter().find(|tag| tag["tag"] == name).unwrap_or_else(|| panic!("no {name}: {report}"))
}

pub(crate) fn counts(report: &Value) -> [u64; 3] {
    ["carried_over", "already_there", "left_behind"].map(|member| report[member].as_u64().unwrap())
}

pub(crate) fn names(report: &Value) -> Vec<&str> {
    let repositories = report["repositories"].as_array().unwrap();
    repositories.iter().map(|repository| repository["repository"].as_str().unwrap()).collect()
}
