//! A repository moves from Debian's own notary-server to the daemon: its keys, its trust data with all versions, and
//! its clients, who notice nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the scene serves several tests")]

#[path = "notary/delegate.rs"]
mod delegate;
#[path = "notary/owner.rs"]
mod owner;
#[path = "notary/scene.rs"]
mod scene;
#[path = "../../trust/tests/tuf/workshop.rs"]
mod workshop;

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use trust_tests::http::free_address;
use trust_tests::process::Running;
use trust_tests::program::{Ran, run, tool};
use trust_tests::{Notary, Trustctl};

use delegate::delegated;
use owner::Owner;
use scene::{Plan, Scene};

const GUN: &str = "ex.io/team/app";

/// Debian's notary-server with keys of its own.
struct Original {
    address: SocketAddr,
    _directory: TempDir,
    _server: Running,
}

impl Original {
    fn start() -> Self {
        let (directory, address) = (TempDir::new().unwrap(), free_address().unwrap());
        let config = json!({
            "server": { "http_addr": address.to_string() },
            "trust_service": { "type": "local" },
            "storage": { "backend": "memory" },
            "logging": { "level": "info" },
        });
        let file = directory.path().join("server.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new(tool("notary-server", "apt-get install notary").unwrap());
        let log = directory.path().join("server.log");
        let mut server = Running::start(command.arg("-config").arg(file), &log).unwrap();
        server.ready(Duration::from_secs(60), || TcpStream::connect(address).ok()).unwrap();
        Self { address, _directory: directory, _server: server }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn client(&self) -> Notary {
        Notary::at(self.url(), None).unwrap()
    }

    /// The version of a role's current file.
    fn version(&self, role: &str) -> u64 {
        let url = format!("{}/v2/{GUN}/_trust/tuf/{role}.json", self.url());
        let mut command = Command::new(tool("curl", "apt-get install curl").unwrap());
        let ran = run(command.args(["--silent", "--fail", "--noproxy", "*", &url])).unwrap().ok().unwrap();
        ran.json().unwrap()["signed"]["version"].as_u64().unwrap()
    }
}

fn done(client: &Notary, arguments: &[&str]) -> Ran {
    client.run(arguments).unwrap().ok().unwrap()
}

fn listed(client: &Notary) -> String {
    done(client, &["list", GUN]).stdout
}

/// A repository with two roots, a tag, and a delegation that there was.
fn begun(original: &Original) -> (Notary, Notary) {
    let (owner, reader) = (original.client(), original.client());
    let file = owner.file("one", "one\n").unwrap();
    done(&owner, &["init", "--publish", GUN]);
    done(&owner, &["key", "rotate", GUN, "snapshot", "--server-managed"]);
    done(&owner, &["add", "--publish", GUN, "v1", &file]);
    assert!(listed(&reader).contains("v1"));
    delegated(&owner, GUN, "targets/qa");
    done(&owner, &["add", "--publish", GUN, "tried", &file, "--roles", "targets/qa"]);
    done(&owner, &["delegation", "remove", "--publish", "--yes", GUN, "targets/qa"]);
    done(&owner, &["key", "rotate", GUN, "root"]);
    (owner, reader)
}

fn trustctl(user: &Trustctl, arguments: &[&str]) -> Ran {
    user.run(&[&["migrate", "notary", "import"], arguments].concat()).unwrap()
}

#[test]
fn a_repository_moves_with_its_keys_and_its_clients_go_on() {
    let original = Original::start();
    let (owner, reader) = begun(&original);
    let versions = ["root", "targets", "snapshot", "timestamp"].map(|role| original.version(role));
    assert!(versions[0] > 1 && versions[3] > 3, "{versions:?}");
    let scene = Scene::started(&Plan::open());
    let user = scene.daemon.user().unwrap();
    let url = original.url();
    let from = ["repository", GUN, "--from", url.as_str()];

    // Without keys there is no going on, and nothing is kept.
    let refused = trustctl(&user, &from).exited(1).unwrap();
    assert!(refused.stderr.contains("import one or the other first"), "{refused}");
    assert_eq!(scene.ask(&format!("GET /v2/{GUN}/_trust/tuf/root.json")).status, 404);

    let passphrase = user.write_secret("passphrase", b"a passphrase for tests").unwrap();
    let directory = owner.home().join("trust");
    let (directory, passphrase) = (directory.to_str().unwrap(), passphrase.as_str());
    // The root key before the rotation stands in no metadata any more.
    let keys = ["keys", "--from", directory, "--passphrase-file", passphrase, "--repository", GUN];
    trustctl(&user, &keys).ok().unwrap();
    let other = "ab".repeat(32);
    let pinned = trustctl(&user, &[&from[..], &["--trust-root", &other]].concat()).exited(1).unwrap();
    assert!(pinned.stderr.contains("not believed"), "{pinned}");
    let adopted = trustctl(&user, &from).ok().unwrap();
    assert!(adopted.stdout.contains("adopted") && adopted.stderr.contains("nobody may publish"), "{adopted}");
    let again = trustctl(&user, &from).exited(1).unwrap();
    assert!(again.stderr.contains("has trust data already"), "{again}");

    // Versions go on, and old roots are there.
    let shown = user.trust_data(GUN).unwrap();
    for (role, before) in ["root", "targets", "snapshot", "timestamp"].iter().zip(versions) {
        let found = shown["roles"].as_array().unwrap().iter().find(|found| found["name"] == *role).unwrap();
        let expected = if *role == "targets" { before } else { before + 1 };
        assert_eq!(found["version"], Value::from(expected), "{role}: {shown}");
        assert!(found["keys"][0]["name"].is_string(), "{role} is a key of the daemon: {shown}");
    }
    for number in 1..=versions[0] + 1 {
        assert_eq!(scene.ask(&format!("GET /v2/{GUN}/_trust/tuf/{number}.root.json")).status, 200, "{number}");
    }

    // The clients have seen the old server, one of them before the root changed.
    let [owner, reader] = [owner, reader].map(|client| client.moved_to(scene.url(), Some(scene.ca())));
    drop(original);
    assert!(listed(&reader).contains("v1"));
    let file = owner.file("two", "two\n").unwrap();
    done(&owner, &["add", "--publish", GUN, "v2", &file]);
    let fresh = scene.notary();
    for client in [&reader, &fresh] {
        let found = listed(client);
        assert!(found.contains("v1") && found.contains("v2") && !found.contains("tried"), "{found}");
    }
    user.run(&["audit", "verify"]).unwrap().ok().unwrap();
}

/// What notary-signer had in its database; tests/samples/PROVENANCE.md.
const TIMESTAMP: &str = "4046449ea758b4d9d897fc9eba40ed2c9b6e1fa5f84766d143f2a07b70198018";
const SNAPSHOT: &str = "750209ea344ec3a473c7f8c546ad8773f86fad17635fb6f16a69e53eccdcb90d";

/// What became of the rows of a dump: for each its id and result.
fn imported(user: &Trustctl, dump: &[u8], passphrase: &str, code: i32) -> Vec<Value> {
    let [dump, passphrase] = [("dump.sql", dump), ("passphrase", passphrase.as_bytes())]
        .map(|(name, bytes)| user.write_secret(name, bytes).unwrap());
    let arguments = ["signer-keys", "--dump", &dump, "--passphrase-file", &passphrase];
    let ran = user.run(&[&["--output", "json", "migrate", "notary", "import"], &arguments[..]].concat()).unwrap();
    ran.exited(code).unwrap().json().unwrap()["keys"].as_array().unwrap().clone()
}

#[test]
fn keys_of_the_original_signer_sign_here_what_its_server_had_them_sign() {
    let scene = Scene::started(&Plan::open());
    let user = scene.daemon.user().unwrap();
    let dump = include_bytes!("../samples/notary-signer/private_keys.sql");
    let results =
        |keys: &[Value]| keys.iter().map(|key| key["result"].as_str().unwrap().to_owned()).collect::<Vec<_>>();

    let wrong = imported(&user, dump, "another", 1);
    assert_eq!(results(&wrong), ["left-behind"; 3]);
    assert!(wrong[0]["why"].as_str().unwrap().contains("passphrase"), "{wrong:?}");
    let deleted = imported(&user, include_bytes!("../samples/notary-signer/private_keys_deleted.sql"), "another", 1);
    assert_eq!(deleted.len(), 2, "what the signer had deleted stays deleted");
    let keys = imported(&user, dump, "a passphrase for tests", 0);
    assert_eq!(results(&keys), ["imported"; 3]);
    let again = imported(&user, include_bytes!("../samples/notary-signer/private_keys_hex.sql"), "another", 0);
    assert_eq!(results(&again), ["already-there"; 3]);
    let copy = include_bytes!("../samples/notary-signer/private_keys_postgresql.sql");
    assert_eq!(results(&imported(&user, copy, "a passphrase for tests", 0)), ["imported"; 3]);
    for again in [
        &include_bytes!("../samples/notary-signer/private_keys_postgresql_inserts.sql")[..],
        include_bytes!("../samples/notary-signer/private_keys_postgresql_escape.sql"),
    ] {
        // By the names in the dump, which the daemon works out of the public keys that it has now.
        assert_eq!(results(&imported(&user, again, "another", 0)), ["already-there"; 3]);
    }

    // A root that lists them is taken, for the daemon signs with them.
    let listed = |id: &str| {
        let key = keys.iter().find(|key| key["id"] == id).unwrap_or_else(|| panic!("no {id}: {keys:?}"));
        let name = key["name"].as_str().unwrap();
        let pem = user.run(&["key", "public", name]).unwrap().ok().unwrap().stdout;
        let public: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        (id.to_owned(), json!({"keytype": "ecdsa", "keyval": {"private": null, "public": public}}))
    };
    let owner = Owner { snapshot: listed(SNAPSHOT), timestamp: listed(TIMESTAMP), ..Owner::of(&scene, "team/app") };
    owner.taken(&[("root", &owner.signed_root(1)), ("targets", &owner.signed_targets(1))]);
    for (role, id) in [("snapshot", SNAPSHOT), ("timestamp", TIMESTAMP)] {
        let file = owner.get(&format!("{role}.json")).json();
        assert_eq!(file["signatures"][0]["keyid"], id, "{role}");
    }
    // One that was elsewhere is given to nobody as new.
    let fresh = Owner::of(&scene, "team/other");
    assert!(keys.iter().all(|key| key["id"] != fresh.timestamp.0.as_str()), "{:?}", fresh.timestamp);
}

#[test]
fn a_repository_whose_name_is_no_images_moves_by_its_exact_name() {
    const FILES: &str = "demo/files";
    let original = Original::start();
    let owner = original.client();
    let file = owner.file("one", "one\n").unwrap();
    done(&owner, &["init", "--publish", FILES]);
    done(&owner, &["add", "--publish", FILES, "v1", &file]);
    let notary = "auth = \"none\"\ngun_prefixes = [\"demo/\"]\n".to_owned();
    let scene = Scene::started(&Plan { notary, ..Plan::open() });
    let user = scene.daemon.user().unwrap();
    let passphrase = user.write_secret("passphrase", b"a passphrase for tests").unwrap();
    let directory = owner.home().join("trust");
    let (directory, url) = (directory.to_str().unwrap(), original.url());
    let named = ["--passphrase-file", &passphrase, "--repository", FILES, "--exact"];
    trustctl(&user, &[&["keys", "--from", directory], &named[..]].concat()).ok().unwrap();

    // As a name of an image it is another repository's.
    let other = trustctl(&user, &["repository", FILES, "--from", &url]).exited(1).unwrap();
    assert!(other.stderr.contains("docker.io/demo/files") && other.stderr.contains("--exact"), "{other}");
    trustctl(&user, &["repository", "--exact", FILES, "--from", &url]).ok().unwrap();

    let inspect = ["--output", "json", "trust", "inspect", "--exact", FILES];
    let shown = user.run(&inspect).unwrap().ok().unwrap().json().unwrap();
    assert_eq!((&shown["repository"], &shown["targets"][0]["tag"]), (&json!(FILES), &json!("v1")), "{shown}");
    user.run(&["trust", "rotate", "--exact", FILES, "targets"]).unwrap().ok().unwrap();
    user.run(&["trust", "witness", "--exact", FILES, "targets"]).unwrap().ok().unwrap();
    user.run(&["trust", "delegate", "add", "--exact", FILES, "alice"]).unwrap().ok().unwrap();
    let listed = user.run(&["trust", "delegate", "list", "--exact", FILES]).unwrap().ok().unwrap();
    assert!(listed.stdout.contains("targets/alice"), "{listed}");
    user.run(&["trust", "delegate", "remove", "--exact", FILES, "alice"]).unwrap().ok().unwrap();
    // What is typed next says --exact, too.
    let nothing = user.run(&["trust", "delegate", "list", "--exact", "demo/more"]).unwrap().exited(1).unwrap();
    assert!(nothing.stderr.contains("trustctl trust init --exact demo/more"), "{nothing}");
    user.run(&["trust", "init", "--exact", "demo/more"]).unwrap().ok().unwrap();
    user.run(&["trust", "inspect", "--exact", "demo/more"]).unwrap().ok().unwrap();
    let waits = ["trust", "withdraw", "--exact", "demo/more", &format!("sha256:{}", "0".repeat(64))];
    let nothing = user.run(&waits).unwrap().exited(1).unwrap();
    assert!(nothing.stderr.contains("trustctl trust inspect --exact demo/more"), "{nothing}");
    assert!(done(&owner.moved_to(scene.url(), Some(scene.ca())), &["list", FILES]).stdout.contains("v1"));
}
