//! The way in and out of docker's content trust: what notary's own command line signed is signed anew for cosign, and
//! its keys go into custody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the scene serves several tests")]

#[path = "notary/delegate.rs"]
mod delegate;
#[path = "notary/scene.rs"]
mod scene;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use trust::Sha256Digest;
use trust_tests::image::OciImage;
use trust_tests::peer::Cosign;
use trust_tests::program::Ran;
use trust_tests::{Lie, Notary, Registry, Setup, Site, Trustctl};

use delegate::delegated;
use scene::{Plan, Scene};

/// A registry, a daemon with trust data of one of its repositories, the owner of that, and a user of the daemon who
/// reads it.
struct Story {
    registry: Registry,
    scene: Scene,
    owner: Notary,
    gun: String,
    user: Trustctl,
}

impl Story {
    fn new() -> Self {
        Self::beside(&[])
    }

    /// The same with trust data of other registries, of which the user reads `team/app` and `team/other`.
    fn beside(others: &[&Registry]) -> Self {
        let registry = Registry::debian().unwrap();
        let registries = std::iter::once(&registry).chain(others.iter().copied());
        let prefixes: Vec<_> = registries.map(|registry| format!("\"{}\"", registry.reference(""))).collect();
        let notary = format!("auth = \"none\"\ngun_prefixes = [{}]\n", prefixes.join(", "));
        let scene = Scene::started(&Plan { notary, tables: String::new(), policy: Setup::ALLOW_ALL.to_owned() });
        let server = format!("https://localhost:{}", scene.address.port());
        let owner = Notary::at(server.clone(), Some(scene.directory.path().join("ca.pem"))).unwrap();
        let gun = registry.reference("team/app");
        let user = scene.daemon.user().unwrap();
        let directory = user.home().join(".config/trustctl");
        std::fs::create_dir_all(&directory).unwrap();
        let ca = scene.directory.path().join("ca.pem");
        let also = others.iter().flat_map(|other| ["team/app", "team/other"].map(|name| other.reference(name)));
        let entry = |gun: String| {
            format!("[[trust_servers]]\nrepository = \"{gun}\"\nurl = \"{server}\"\nca = \"{}\"\n", ca.display())
        };
        let text: String = std::iter::once(gun.clone()).chain(also).map(entry).collect();
        std::fs::write(directory.join("config.toml"), text).unwrap();
        Self { registry, scene, owner, gun, user }
    }

    /// The same with trust data, whose snapshots the daemon makes.
    fn begun() -> Self {
        let story = Self::new();
        story.notary(&["init", "--publish", &story.gun]);
        story.notary(&["key", "rotate", &story.gun, "snapshot", "--server-managed"]);
        story
    }

    fn notary(&self, arguments: &[&str]) {
        self.owner.run(arguments).unwrap().ok().unwrap();
    }

    fn put(&self, tag: &str, image: &OciImage) -> Sha256Digest {
        self.registry.put_image("team/app", tag, image).unwrap()
    }

    /// Puts an image into the registry and signs it; its digest.
    fn signed(&self, tag: &str, image: &OciImage) -> Sha256Digest {
        let digest = self.put(tag, image);
        self.sign(tag, &digest, image.manifest().len(), &[]);
        digest
    }

    fn sign(&self, name: &str, digest: &Sha256Digest, length: usize, more: &[&str]) {
        let (digest, length) = (digest.to_hex(), length.to_string());
        let arguments = ["addhash", "--publish", &self.gun, name, &length, "--sha256", &digest];
        self.notary(&[&arguments[..], more].concat());
    }

    fn reference(&self, tag: &str) -> String {
        format!("{}:{tag}", self.gun)
    }

    fn export(&self, code: i32, more: &[&str]) -> Value {
        let arguments = ["--output", "json", "migrate", "notary", "export", "--to", "cosign"];
        let ran = self.user.run(&[&arguments[..], more].concat()).unwrap().exited(code).unwrap();
        ran.json().unwrap()
    }

    /// A key for the repository's images; its public half in a file.
    fn image_key(&self) -> PathBuf {
        self.user.run(&["key", "create", "app", "--purpose", "image", "--scope", &self.gun]).unwrap().ok().unwrap();
        let pem = self.user.run(&["key", "public", "app"]).unwrap().ok().unwrap().stdout;
        self.user.write("app.pub", pem.as_bytes()).unwrap()
    }

    fn private_keys(&self) -> PathBuf {
        self.owner.home().join("trust")
    }

    fn import(&self, more: &[&str]) -> Ran {
        let directory = self.private_keys();
        let arguments =
            ["--output", "json", "migrate", "notary", "import", "keys", "--from", directory.to_str().unwrap()];
        self.user.run(&[&arguments[..], more].concat()).unwrap()
    }

    fn secret(&self, name: &str, content: &str) -> String {
        let path = self.user.write(name, content.as_bytes()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// What became of a tag.
fn tag<'a>(report: &'a Value, name: &str) -> &'a Value {
    let tags = report["repositories"][0]["tags"].as_array().unwrap_or_else(|| panic!("{report}"));
    tags.iter().find(|tag| tag["tag"] == name).unwrap_or_else(|| panic!("no {name}: {report}"))
}

fn counts(report: &Value) -> [u64; 3] {
    ["carried_over", "already_there", "left_behind"].map(|member| report[member].as_u64().unwrap())
}

#[test]
fn what_was_signed_is_signed_for_cosign_and_what_cannot_be_is_named() {
    let story = Story::begun();
    let good = story.signed("1.0", &OciImage::holding("one"));
    let instances = ["amd64", "arm64"].map(OciImage::holding);
    for instance in &instances {
        story.put(&instance.digest().to_string(), instance);
    }
    let many = story.signed("many", &OciImage::index(&instances));
    let gone = story.signed("gone", &OciImage::holding("gone"));
    story.registry.delete_manifest("team/app", &gone).unwrap();
    story.signed("moved", &OciImage::holding("before"));
    story.put("moved", &OciImage::holding("after"));
    let short = OciImage::holding("short");
    story.put("short", &short);
    story.sign("short", &short.digest(), short.manifest().len() - 1, &[]);
    story.sign("no+tag", &good, 7, &[]);

    // Nobody is there to sign: nothing is, and all of it is said.
    let report = story.export(1, &[&story.gun]);
    assert_eq!(counts(&report), [0, 0, 1], "{report}");
    assert!(report["repositories"][0]["left_behind"]["remedy"].as_str().unwrap().contains("key create"), "{report}");

    let key = story.image_key();
    let report = story.export(1, &["--all"]);
    assert_eq!(counts(&report), [2, 0, 4], "{report}");
    assert_eq!(report["repositories"][0]["key"], "app");
    assert_eq!(tag(&report, "1.0")["digest"], good.to_string());
    assert_eq!(tag(&report, "many")["digest"], many.to_string());
    assert!(tag(&report, "many")["evidence"][0]["leaf"].is_u64(), "{report}");
    for (name, words) in [
        ("gone", "the registry has no"),
        ("moved", "at that tag"),
        ("short", "bytes"),
        ("no+tag", "no tag has such a name"),
    ] {
        let one = tag(&report, name);
        assert!(one["result"] == "left-behind" && one["why"].as_str().unwrap().contains(words), "{one}");
        assert!(!one["remedy"].as_str().unwrap().is_empty(), "{one}");
    }

    // Stock cosign verifies exactly these.
    let root = story.user.run(&["trusted-root"]).unwrap().ok().unwrap().stdout;
    let root = story.user.write("trusted-root.json", root.as_bytes()).unwrap();
    let by_root = ["--trusted-root", root.to_str().unwrap()];
    for (cosign, more) in [(Cosign::three().unwrap(), &[][..]), (Cosign::two().unwrap(), &by_root)] {
        for name in ["1.0", "many"] {
            cosign.verify(&key, &story.reference(name), more).unwrap().ok().unwrap();
        }
        for name in ["gone", "moved", "short"] {
            let refused = cosign.verify(&key, &story.reference(name), more).unwrap();
            assert_ne!(refused.code, Some(0), "{refused}");
        }
    }

    // Once more: what is there is left alone, and when the rest is withdrawn nothing is left behind.
    let leaves = log_length(&story);
    let report = story.export(1, &[&story.gun]);
    assert_eq!(counts(&report), [0, 2, 4], "{report}");
    assert_eq!(log_length(&story), leaves, "nothing was signed again");
    for name in ["gone", "moved", "short", "no+tag"] {
        story.notary(&["remove", "--publish", &story.gun, name]);
    }
    story.signed("2.0", &OciImage::holding("two"));
    let report = story.export(0, &[&story.gun]);
    assert_eq!(counts(&report), [1, 2, 0], "{report}");
    let text = story.user.run(&["migrate", "notary", "export", "--to", "cosign", &story.gun]).unwrap().ok().unwrap();
    assert!(text.stdout.contains("0 carried over, 3 there already, 0 left behind"), "{text}");
}

fn log_length(story: &Story) -> String {
    story.user.run(&["audit", "log", "--count", "1"]).unwrap().ok().unwrap().stdout
}

#[test]
fn an_export_takes_up_where_another_signature_was_and_honours_the_forms() {
    let story = Story::begun();
    story.signed("1.0", &OciImage::holding("one"));
    story.signed("2.0", &OciImage::holding("two"));
    story.image_key();
    let reference = story.reference("1.0");
    story.user.run(&["image", "sign", "--key", "app", "--forms", "sig", &reference]).unwrap().ok().unwrap();

    let report = story.export(0, &["--forms", "sig", &story.gun]);
    assert_eq!(counts(&report), [1, 1, 0], "{report}");
    assert_eq!(tag(&report, "1.0")["result"], "already-there");
    let report = story.export(0, &[&story.gun]);
    assert_eq!(counts(&report), [2, 0, 0], "the bundles were missing: {report}");

    // A key that may not sign, and a daemon's word for why.
    story.signed("3.0", &OciImage::holding("three"));
    story.user.run(&["key", "disable", "app"]).unwrap().ok().unwrap();
    let report = story.export(1, &["--key", "app", &story.gun]);
    assert_eq!(counts(&report), [0, 2, 1], "{report}");
    assert!(tag(&report, "3.0")["why"].as_str().unwrap().contains("disabled"), "{report}");
}

#[test]
fn delegations_count_as_docker_counts_them() {
    let story = Story::begun();
    story.image_key();
    let (one, two) = (OciImage::holding("one"), OciImage::holding("two"));
    story.signed("both", &one);
    story.put("released", &two);
    story.put("tried", &two);
    for role in ["targets/releases", "targets/qa"] {
        delegated(&story.owner, &story.gun, role);
    }
    let length = two.manifest().len();
    story.sign("both", &two.digest(), length, &["--roles", "targets/releases"]);
    story.sign("released", &two.digest(), length, &["--roles", "targets/releases"]);
    story.sign("tried", &two.digest(), length, &["--roles", "targets/qa"]);

    let report = story.export(1, &[&story.gun]);

    assert_eq!(counts(&report), [1, 0, 2], "{report}");
    assert_eq!(tag(&report, "released")["role"], "targets/releases");
    let both = tag(&report, "both")["why"].as_str().unwrap();
    assert!(both.contains(&one.digest().to_string()) && both.contains(&two.digest().to_string()), "{report}");
    let tried = tag(&report, "tried");
    assert!(
        tried["role"] == "targets/qa" && tried["why"].as_str().unwrap().contains("only by a delegation"),
        "{tried}"
    );
}

#[test]
fn what_cannot_be_asked_is_said_and_nothing_is_signed() {
    let mut story = Story::begun();
    for tag in ["1.0", "2.0", "3.0", "4.0"] {
        story.signed(tag, &OciImage::holding(tag));
    }
    story.image_key();
    let other = story.registry.reference("team/other");

    let report = story.export(1, &[&other]);
    assert!(report["repositories"][0]["left_behind"]["why"].as_str().unwrap().contains("no trust server"), "{report}");
    let report = story.export(1, &["--trust-root", &"ab".repeat(32), &story.gun]);
    assert!(report["repositories"][0]["left_behind"]["why"].as_str().unwrap().contains("pinned"), "{report}");
    let both = story.user.run(&["migrate", "notary", "export", "--to", "cosign", "--all", &other]).unwrap();
    assert_eq!(both.code, Some(2), "{both}");

    story.registry.go_down().unwrap();
    let report = story.export(1, &[&story.gun]);
    assert_eq!(counts(&report), [0, 0, 4], "{report}");
    for (name, words) in [("1.0", "cannot be reached"), ("3.0", "cannot be reached"), ("4.0", "not tried")] {
        assert!(tag(&report, name)["why"].as_str().unwrap().contains(words), "{report}");
    }
}

#[test]
fn a_registry_that_is_away_holds_up_no_other_and_what_it_has_comes_with_the_next_run() {
    let mut away = Registry::that_comes_back().unwrap();
    let story = Story::beside(&[&away]);
    let [first, second] = ["team/app", "team/other"].map(|name| away.reference(name));
    for gun in [&first, &second, &story.gun] {
        story.notary(&["init", "--publish", gun]);
    }
    for tag in ["1.0", "2.0", "3.0", "4.0"] {
        let image = OciImage::holding(tag);
        let digest = away.put_image("team/app", tag, &image).unwrap().to_hex();
        let length = image.manifest().len().to_string();
        story.notary(&["addhash", "--publish", &first, tag, &length, "--sha256", &digest]);
    }
    story.signed("1.0", &OciImage::holding("here"));
    story.image_key();
    let below = away.reference("team/*");
    story.user.run(&["key", "create", "away", "--purpose", "image", "--scope", &below]).unwrap().ok().unwrap();
    let all = [first.as_str(), &second, &story.gun];

    away.go_down().unwrap();
    let report = story.export(1, &all);

    assert_eq!((counts(&report), names(&report)), ([1, 0, 5], all.to_vec()), "{report}");
    let why = |one: &Value| one["why"].as_str().unwrap().to_owned();
    assert!(why(tag(&report, "1.0")).contains("cannot be reached"), "{report}");
    let not_tried = format!("not tried: the registry {}", away.host());
    let [last, whole] = [tag(&report, "4.0"), &report["repositories"][1]["left_behind"]];
    for one in [last, whole] {
        assert!(why(one).starts_with(&not_tried), "{one}");
        assert!(one["remedy"].as_str().unwrap().contains("run it again"), "{one}");
    }
    assert_eq!(report["repositories"][2]["tags"][0]["result"], "carried-over", "{report}");

    // There again, and it takes nothing: that is its own repository's loss, too.
    away.come_back_read_only().unwrap();
    let report = story.export(1, &all);
    assert_eq!(counts(&report), [0, 1, 4], "{report}");
    assert!(why(tag(&report, "3.0")).contains("405"), "{report}");
    assert!(why(tag(&report, "4.0")).starts_with("not tried: the registry said no to 3 tags"), "{report}");

    away.go_down().unwrap();
    away.come_back().unwrap();
    assert_eq!(counts(&story.export(0, &all)), [4, 1, 0]);
    assert_eq!(counts(&story.export(0, &all)), [0, 5, 0]);
}

/// A user of the story's daemon who looks for everything below a prefix at a server.
fn looks_below(story: &Story, prefix: &str, server: &str) -> Trustctl {
    let user = story.scene.daemon.user().unwrap();
    let directory = user.home().join(".config/trustctl");
    std::fs::create_dir_all(&directory).unwrap();
    let ca = story.scene.directory.path().join("ca.pem");
    let text =
        format!("[[trust_servers]]\nrepository = \"{prefix}/*\"\nurl = \"{server}\"\nca = \"{}\"\n", ca.display());
    std::fs::write(directory.join("config.toml"), text).unwrap();
    user
}

/// What is exported of everything.
fn exported_all(user: &Trustctl, code: i32) -> Value {
    let arguments = ["--output", "json", "migrate", "notary", "export", "--to", "cosign", "--all"];
    user.run(&arguments).unwrap().exited(code).unwrap().json().unwrap()
}

fn names(report: &Value) -> Vec<&str> {
    let repositories = report["repositories"].as_array().unwrap();
    repositories.iter().map(|repository| repository["repository"].as_str().unwrap()).collect()
}

#[test]
fn all_is_what_the_servers_changefeed_has_below_the_prefix() {
    let story = Story::begun();
    story.signed("1.0", &OciImage::holding("one"));
    let pattern = format!("{}/*", story.registry.reference("team"));
    story.user.run(&["key", "create", "team", "--purpose", "image", "--scope", &pattern]).unwrap().ok().unwrap();
    let [second, gone, elsewhere] =
        ["team/second", "team/gone", "other/app"].map(|name| story.registry.reference(name));
    for gun in [&second, &gone, &elsewhere] {
        story.notary(&["init", "--publish", gun]);
    }
    let image = OciImage::holding("two");
    story.registry.put_image("team/second", "2.0", &image).unwrap();
    let (digest, length) = (image.digest().to_hex(), image.manifest().len().to_string());
    story.notary(&["addhash", "--publish", &second, "2.0", &length, "--sha256", &digest]);
    story.notary(&["delete", "--remote", &gone]);
    let server = format!("https://localhost:{}", story.scene.address.port());

    let report = exported_all(&looks_below(&story, &story.registry.reference("team"), &server), 0);

    assert_eq!((counts(&report), names(&report)), ([2, 0, 0], vec![story.gun.as_str(), second.as_str()]), "{report}");
    let nothing = exported_all(&looks_below(&story, &story.registry.reference("nobody"), &server), 0);
    assert_eq!(names(&nothing), Vec::<&str>::new());
}

#[test]
fn a_changefeed_is_read_page_by_page_to_its_end_and_not_for_ever() {
    let story = Story::new();
    let empty = tempfile::TempDir::new().unwrap();
    let site = Site::of(empty.path()).unwrap();
    let team = story.registry.reference("team");
    let user = looks_below(&story, &team, site.url("").trim_end_matches('/'));
    let page = |behind: &str, records: &Value| {
        let body = json!({"count": 0, "records": records}).to_string().into_bytes();
        site.lie(&format!("v2/_trust/changefeed?change_id={behind}&records=1000"), Lie::Bytes(body));
    };
    let record = |id: &str, name: &str, category: &str| {
        json!({"ID": id, "CreatedAt": "2026-11-23T05:30:32Z", "GUN": format!("{team}/{name}"), "Version": 1,
            "SHA256": "", "Category": category})
    };
    page("0", &json!([record("1", "app", "update"), record("2", "gone", "update"), record("3", "gone", "deletion")]));
    page(
        "3",
        &json!([record("7", "Files", "update"), record("9", "back", "deletion"), record("11", "back", "update")]),
    );
    page("11", &Value::Null);

    let report = exported_all(&user, 1);
    let found = names(&report);
    assert_eq!(found, ["Files", "app", "back"].map(|name| format!("{team}/{name}")), "{report}");
    let whys: Vec<&str> = report["repositories"]
        .as_array()
        .unwrap()
        .iter()
        .map(|repository| repository["left_behind"]["why"].as_str().unwrap())
        .collect();
    assert!(whys[0].contains("no repository of images") && whys[1].contains("has no trust data"), "{whys:?}");

    // One that says the same again and again, one that says something else, and one that is not there.
    page("11", &json!([record("11", "app", "update")]));
    let all = ["migrate", "notary", "export", "--to", "cosign", "--all"];
    let endless = user.run(&all).unwrap().exited(1).unwrap();
    assert!(endless.stdout.contains("does not end") && endless.stdout.contains("in place of --all"), "{endless}");
    assert!(endless.stdout.contains(&format!("{team}/*")), "{endless}");
    site.lie("v2/_trust/changefeed?change_id=11&records=1000", Lie::Bytes(b"{\"records\":7}".to_vec()));
    let other = user.run(&all).unwrap().exited(1).unwrap();
    assert!(other.stdout.contains("changefeed"), "{other}");
    // One that is away takes nothing from what another has.
    site.lie("v2/_trust/changefeed?change_id=0&records=1000", Lie::Status(503));
    let config = user.home().join(".config/trustctl/config.toml");
    let more = std::fs::read_to_string(story.user.home().join(".config/trustctl/config.toml")).unwrap();
    std::fs::write(&config, more + &std::fs::read_to_string(&config).unwrap()).unwrap();
    story.notary(&["init", "--publish", &story.gun]);
    story.signed("1.0", &OciImage::holding("one"));
    story.image_key();
    let report = exported_all(&user, 1);
    assert_eq!((counts(&report), names(&report)), ([1, 0, 1], vec![&*format!("{team}/*"), &story.gun]), "{report}");
    assert!(report["repositories"][0]["left_behind"]["why"].as_str().unwrap().contains("503"), "{report}");
}

fn imported<'a>(report: &'a Value, role: &str) -> &'a Value {
    let keys = report["keys"].as_array().unwrap();
    keys.iter().find(|key| key["role"] == role).unwrap_or_else(|| panic!("no {role}: {report}"))
}

fn inspected(story: &Story) -> Value {
    let shown = story.user.run(&["--output", "json", "trust", "inspect", &story.gun]).unwrap().ok().unwrap();
    shown.json().unwrap()
}

#[test]
fn keys_of_notary_go_into_custody_and_sign_there() {
    let story = Story::begun();
    delegated(&story.owner, &story.gun, "targets/releases");
    // What metadata says reaches the owner's own directory when he reads it.
    story.notary(&["list", &story.gun]);
    let passphrase = story.secret("passphrase", "a passphrase for tests\n");
    let wrong = story.secret("wrong", "another\n");

    // Wrong: nothing comes in, and each says so.
    let refused = story.import(&["--passphrase-file", &wrong]).exited(1).unwrap();
    let report = refused.json().unwrap();
    assert!(imported(&report, "root")["why"].as_str().unwrap().contains("passphrase"), "{report}");
    let nobody = story.import(&[]).exited(1).unwrap().json().unwrap();
    assert!(imported(&nobody, "root")["why"].as_str().unwrap().contains("nobody is there to ask"), "{nobody}");

    let before = inspected(&story);
    let ran = story.import(&["--passphrase-file", &wrong, "--passphrase-file", &passphrase]).ok().unwrap();
    let report = ran.json().unwrap();
    assert!(ran.stderr.contains("destroy them"), "{ran}");
    for role in ["root", "targets", "targets/releases"] {
        let key = imported(&report, role);
        assert!(key["result"] == "imported" && key["repositories"][0] == *story.gun, "{key}");
    }

    // The names that docker shows are those that are shown here, and now they are keys of the daemon.
    let after = inspected(&story);
    for (role, was) in after["roles"].as_array().unwrap().iter().zip(before["roles"].as_array().unwrap()) {
        assert_eq!(role["keys"][0]["id"], was["keys"][0]["id"]);
        let name = role["name"].as_str().unwrap();
        if let "root" | "targets" | "targets/releases" = name {
            assert_eq!(role["keys"][0]["id"], imported(&report, name)["id"], "{after}");
            assert_eq!(role["keys"][0]["name"], imported(&report, name)["name"], "{after}");
        }
    }
    let again = story.import(&["--passphrase-file", &passphrase]).ok().unwrap().json().unwrap();
    assert!(again["keys"].as_array().unwrap().iter().all(|key| key["result"] == "already-there"), "{again}");

    // They sign, and notary's client, which holds none of them any more, takes it.
    let image = OciImage::holding("one");
    let digest = story.put("1.0", &image);
    story.user.run(&["trust", "sign", &story.reference("1.0"), "--role", "targets"]).unwrap().ok().unwrap();
    std::fs::remove_dir_all(story.private_keys().join("private")).unwrap();
    let listed = story.owner.run(&["list", &story.gun]).unwrap().ok().unwrap();
    assert!(listed.stdout.contains("1.0") && listed.stdout.contains(&digest.to_hex()), "{listed}");
}

#[test]
fn what_a_directory_does_not_say_is_asked_for_and_what_is_no_key_is_named() {
    let story = Story::new();
    story.notary(&["key", "generate", "ecdsa"]);
    let private = story.private_keys().join("private");
    for (name, content, mode) in [("broken.key", "no key", 0o600), ("loose.key", "no key", 0o644)] {
        std::fs::write(private.join(name), content).unwrap();
        std::fs::set_permissions(private.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let passphrase = story.secret("passphrase", "a passphrase for tests");
    let passphrase = ["--passphrase-file", passphrase.as_str()];

    let report = story.import(&passphrase).exited(1).unwrap().json().unwrap();
    assert!(imported(&report, "root")["remedy"].as_str().unwrap().contains("--repository"), "{report}");
    let other = story.registry.reference("team/other");
    let more = ["--repository", story.gun.as_str(), "--repository", other.as_str()];
    let report = story.import(&[&passphrase[..], &more].concat()).exited(1).unwrap().json().unwrap();
    let root = imported(&report, "root");
    assert!(root["result"] == "imported" && root["repositories"].as_array().unwrap().len() == 2, "{report}");
    let whys: Vec<&str> = report["keys"].as_array().unwrap().iter().filter_map(|key| key["why"].as_str()).collect();
    assert!(whys.len() == 2 && whys[0].contains("no key file") && whys[1].contains("others may read"), "{report}");

    // The key begins a repository under the certificate that the daemon writes.
    let name = root["name"].as_str().unwrap();
    story.user.run(&["trust", "init", &other, "--root-key", name]).unwrap().ok().unwrap();
    let nothing = story.user.run(&["migrate", "notary", "import", "keys", "--from", "/nonexistent"]).unwrap();
    assert_eq!(nothing.code, Some(2), "{nothing}");
}
