//! Whom trustctl believes, and what it remembers: the environment decides where requests go, never who is right.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

#[path = "believing/batches.rs"]
mod batches;
#[path = "believing/remote.rs"]
mod remote;

use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use trust_proto::v1::keys_client::KeysClient;
use trust_proto::v1::{CreateKeyRequest, Purpose};
use trust_tests::authority::Authority;
use trust_tests::image::OciImage;
use trust_tests::process::Running;
use trust_tests::program::{copy, needs_root, ours, run, tool};
use trust_tests::{Daemon, Registry, Setup, Trustctl};

use remote::{Remote, sign};

#[test]
fn a_key_by_name_is_that_of_an_enrolled_daemon() {
    let remote = Remote::start();
    let user = remote.person();
    sign(&remote.daemon, &user);
    let verify = ["verify", "--key", "release", "app.tar"];
    user.run(&verify).unwrap().exited(1).unwrap();

    let enrolled = user.run(&["enroll", &remote.address(), "--ca", &remote.ca()]).unwrap().ok().unwrap();

    assert!(enrolled.stdout.contains("localhost"), "{enrolled}");
    let verified = user.run(&verify).unwrap().ok().unwrap();
    assert!(verified.stdout.contains(&remote.address()), "{verified}");
    user.write("app.tar", b"changed\n").unwrap();
    user.run(&verify).unwrap().exited(1).unwrap();
    user.run(&["enroll", &remote.address(), "--remove"]).unwrap().ok().unwrap();
    user.run(&verify).unwrap().exited(1).unwrap();
}

/// Makes keys for files, so many that the daemon's answer has pages.
async fn make_keys(daemon: &Daemon, count: usize) {
    let channel = daemon.channel().await.unwrap();
    let makers = (0..16).map(|maker| {
        let mut keys = KeysClient::new(channel.clone());
        tokio::spawn(async move {
            for number in (maker..count).step_by(16) {
                let name = format!("many/{number}");
                let request =
                    CreateKeyRequest { name, purpose: Purpose::ReleaseBlob.into(), ..CreateKeyRequest::default() };
                keys.create_key(request).await.unwrap();
            }
        })
    });
    for maker in makers.collect::<Vec<_>>() {
        maker.await.unwrap();
    }
}

#[test]
fn none_of_very_many_keys_is_left_out_of_those_that_are_believed() {
    let remote = Remote::start();
    let user = remote.person();
    let signer = remote.daemon.user().unwrap();
    user.run(&["enroll", &remote.address(), "--ca", &remote.ca()]).unwrap().ok().unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(make_keys(&remote.daemon, 1024));

    // Pages are in the order of random ids: that all of these are on the first is as good as impossible.
    for name in ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7"] {
        let file = user.write(name, name.as_bytes()).unwrap();
        signer.run(&["key", "create", name, "--purpose", "release-blob"]).unwrap().ok().unwrap();
        signer.run(&["sign", "--key", name, file.to_str().unwrap()]).unwrap().ok().unwrap();
        user.run(&["verify", "--key", name, name]).unwrap().ok().unwrap();
    }
}

#[test]
fn a_daemon_of_another_ca_is_not_enrolled() {
    let remote = Remote::start();
    let user = remote.person();
    Authority::new("Test CA").unwrap().write(&user.file("other.pem")).unwrap();

    let ran = user.run(&["enroll", &remote.address(), "--ca", "other.pem"]).unwrap();

    assert!(matches!(ran.code, Some(1 | 3)), "{ran}");
    assert_eq!(ran.stderr.lines().count(), 2, "{ran}");
    assert!(!user.home().join(".config/trustctl/enrolled.toml").exists());
}

#[test]
fn a_foreign_daemon_in_the_environment_is_never_believed() {
    let foreign = Daemon::start().unwrap();
    let user = Trustctl::new().unwrap();
    sign(&foreign, &user);

    for arguments in [
        &["verify", "--key", "release", "app.tar"][..],
        &["--endpoint", &foreign.address(), "verify", "--key", "release", "app.tar"],
    ] {
        let mut command = user.command(arguments);
        let ran = run(command.env("TRUSTD_ADDR", foreign.address())).unwrap();

        let ran = ran.exited(1).unwrap();
        assert!(ran.stderr.contains("TRUSTD_ADDR"), "{ran}");
    }
}

#[test]
fn an_image_signed_by_a_foreign_daemon_in_the_environment_is_refused() {
    let (own, foreign) = (Daemon::start().unwrap(), Daemon::start().unwrap());
    let registry = Registry::debian().unwrap();
    registry.put_image("team/app", "1.0", &OciImage::holding("what they want us to run")).unwrap();
    let (repository, image) = (registry.reference("team/app"), registry.reference("team/app:1.0"));
    let user = own.user().unwrap();
    for address in [own.address(), foreign.address()] {
        let create = ["--endpoint", &address, "key", "create", "app", "--purpose", "image", "--scope", &repository];
        user.run(&create).unwrap().ok().unwrap();
    }
    let key = user.run(&["key", "public", "app"]).unwrap().ok().unwrap().stdout;
    user.write("app.pub", key.as_bytes()).unwrap();
    user.run(&["pin", "add", &repository, "--public-key", "app.pub"]).unwrap().ok().unwrap();
    let user = user.at(&foreign.address());

    user.run(&["image", "sign", "--key", "app", &image]).unwrap().ok().unwrap();

    user.run(&["image", "verify", &image]).unwrap().exited(1).unwrap();
    user.run(&["--endpoint", &own.address(), "image", "sign", "--key", "app", &image]).unwrap().ok().unwrap();
    user.run(&["image", "verify", &image]).unwrap().ok().unwrap();
}

/// Programs and a home for a user who is nobody special.
struct Person {
    place: TempDir,
    uid: u32,
}

impl Person {
    fn new(uid: u32) -> Self {
        needs_root("a test as another user").unwrap();
        let place = TempDir::new().unwrap();
        let at = |name: &str| place.path().join(name);
        // The checkout may lie where others cannot go.
        for program in ["trustd", "trustctl"] {
            std::fs::copy(ours(program).unwrap(), at(program)).unwrap();
        }
        for directory in ["home", "run"] {
            std::fs::create_dir(at(directory)).unwrap();
            std::os::unix::fs::chown(at(directory), Some(uid), Some(uid)).unwrap();
        }
        std::fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Self { place, uid }
    }

    /// A program as this person, in the environment of a login.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let at = |name: &str| self.place.path().join(name);
        let mut command = Command::new(tool("setpriv", "apt-get install util-linux").unwrap());
        let uid = self.uid.to_string();
        command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "--"]).arg(at(program)).args(arguments);
        command.env_clear().env("HOME", at("home")).env("XDG_RUNTIME_DIR", at("run")).current_dir(at("home"));
        command
    }

    fn trustctl(&self, arguments: &[&str]) -> trust_tests::Ran {
        run(&mut self.command("trustctl", arguments)).unwrap()
    }
}

#[test]
fn without_any_configuration_a_users_own_daemon_is_believed_and_another_ones_is_not() {
    let ann = Person::new(54_701);
    let home = ann.place.path().join("home");
    std::fs::write(home.join("app.tar"), b"a release\n").unwrap();
    let mut daemon = Running::start(&mut ann.command("trustd", &["serve"]), &ann.place.path().join("log")).unwrap();
    daemon.ready(Duration::from_secs(60), || (ann.trustctl(&["status"]).code == Some(0)).then_some(())).unwrap();
    ann.trustctl(&["key", "create", "release", "--purpose", "release-blob"]).ok().unwrap();
    ann.trustctl(&["sign", "--key", "release", "app.tar"]).ok().unwrap();

    ann.trustctl(&["verify", "--key", "release", "app.tar"]).ok().unwrap();

    // Bob's environment points to ann's socket, which somebody opened to him.
    let bob = Person::new(54_702);
    let socket = ann.place.path().join("run/trustd/trustd.sock");
    for (path, mode) in [(socket.as_path(), 0o666), (socket.parent().unwrap(), 0o755)] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    let mut command = bob.command("trustctl", &["verify", "--key", "release", "app.tar"]);
    command.env("XDG_RUNTIME_DIR", ann.place.path().join("run"));
    let refused = run(command.current_dir(&home)).unwrap().exited(1).unwrap();
    assert!(refused.stderr.contains(&format!("served by uid {}", ann.uid)), "{refused}");
    // Nor does she get a secret of his: none is asked for.
    for arguments in [&["unseal"][..], &["hsm", "login", "hsm"], &["kek", "rotate", "--to", "passphrase"]] {
        let mut command = bob.command("trustctl", arguments);
        command.env("TRUSTD_ADDR", format!("unix://{}", socket.display()));
        let refused = run(&mut command).unwrap().exited(1).unwrap();
        assert!(refused.stderr.contains("gets no secret"), "{arguments:?}: {refused}");
    }
    daemon.stop().unwrap();
}

#[test]
fn an_enrolled_daemon_that_is_down_is_not_nobody() {
    let mut remote = Remote::start();
    let user = remote.person();
    sign(&remote.daemon, &user);
    user.run(&["enroll", &remote.address(), "--ca", &remote.ca()]).unwrap().ok().unwrap();

    remote.daemon.terminate().unwrap();

    user.run(&["verify", "--key", "release", "app.tar"]).unwrap().exited(3).unwrap();
}

#[test]
fn the_log_only_grows_for_who_saw_it() {
    let mut daemon = Daemon::start().unwrap();
    let user = daemon.user().unwrap();
    let verify = || user.run(&["--output", "json", "audit", "verify"]).unwrap();
    let first = verify().ok().unwrap().json().unwrap();
    assert!(first.get("last_seen_size").is_none(), "{first}");
    user.run(&["key", "create", "release", "--purpose", "release-blob"]).unwrap().ok().unwrap();

    let second = verify().ok().unwrap().json().unwrap();

    assert_eq!(second["last_seen_size"], first["size"]);
    assert!(second["size"].as_u64() > first["size"].as_u64(), "{second}");
    daemon.restart().unwrap();
    verify().ok().unwrap();
    user.run(&["audit", "prove", "0"]).unwrap().ok().unwrap();
    user.run(&["audit", "prove", "1000000"]).unwrap().exited(1).unwrap();
}

#[test]
fn a_daemon_that_was_put_back_whole_is_noticed_by_who_saw_it_later() {
    let mut daemon = Daemon::start().unwrap();
    let user = daemon.user().unwrap();
    daemon.terminate().unwrap();
    let old = daemon.directory().join("data.old");
    copy(&daemon.data(), &old).unwrap();
    daemon.launch().unwrap();
    user.run(&["key", "create", "release", "--purpose", "release-blob"]).unwrap().ok().unwrap();
    user.run(&["audit", "verify"]).unwrap().ok().unwrap();
    daemon.terminate().unwrap();

    // Store and log together: they agree with each other, so the daemon itself cannot notice.
    std::fs::remove_dir_all(daemon.data()).unwrap();
    std::fs::rename(&old, daemon.data()).unwrap();
    daemon.launch().unwrap();

    let ran = user.run(&["audit", "verify"]).unwrap().exited(1).unwrap();
    assert!(ran.stderr.contains("put back"), "{ran}");
    // Longer than it was, with the same key, and another history.
    let other = daemon.user().unwrap();
    for name in ["one", "two", "three"] {
        other.run(&["key", "create", name, "--purpose", "release-blob"]).unwrap().ok().unwrap();
    }
    let ran = user.run(&["audit", "checkpoint"]).unwrap().exited(1).unwrap();
    assert!(ran.stderr.contains("rewritten"), "{ran}");
    other.run(&["audit", "verify"]).unwrap().ok().unwrap();
}

#[test]
fn another_log_of_the_same_name_is_refused() {
    let first = Daemon::start().unwrap();
    let user = first.user().unwrap();
    user.run(&["audit", "checkpoint"]).unwrap().ok().unwrap();

    let second = Daemon::start().unwrap();

    let ran = user.run(&["--endpoint", &second.address(), "audit", "checkpoint"]).unwrap().exited(1).unwrap();
    assert!(ran.stderr.contains("another key"), "{ran}");
}

#[test]
fn a_passphrase_unseals_from_standard_input() {
    let daemon = Daemon::with(&Setup { passphrase: Some("a long one".to_owned()), ..Setup::default() }).unwrap();
    let user = daemon.user().unwrap();
    let create = || user.run(&["key", "create", "release", "--purpose", "release-blob"]).unwrap();
    create().exited(3).unwrap();
    user.run_with_input(&["unseal"], b"a wrong one\n").unwrap().exited(1).unwrap();

    user.run_with_input(&["unseal"], b"a long one\n").unwrap().ok().unwrap();

    create().ok().unwrap();
    user.run(&["seal"]).unwrap().ok().unwrap();
    let status = user.run(&["status"]).unwrap().ok().unwrap();
    assert!(status.stdout.contains("sealed: nothing is signed until"), "{status}");
}

#[test]
fn pins_decide_and_are_listed_changed_and_removed() {
    let user = Trustctl::new().unwrap();
    user.write("key.pub", PEM.as_bytes()).unwrap();
    let pins = || user.run(&["--output", "json", "pin", "list"]).unwrap().ok().unwrap().json().unwrap();

    user.run(&["pin", "add", "busybox", "--public-key", "key.pub", "--required"]).unwrap().ok().unwrap();

    assert_eq!(pins()["pins"][0]["repository"], "docker.io/library/busybox");
    assert_eq!(pins()["pins"][0]["required"], true);
    let ran = user.run(&["--disable-content-trust", "pull", "busybox"]).unwrap().exited(1).unwrap();
    assert!(ran.stderr.contains("required") || ran.stderr.contains("requires"), "{ran}");
    user.run(&["pin", "remove", "busybox"]).unwrap().ok().unwrap();
    assert_eq!(pins()["pins"].as_array().unwrap().len(), 0);
    user.run(&["pin", "remove", "busybox"]).unwrap().exited(1).unwrap();
}

#[test]
fn every_failure_is_two_lines_or_one_object() {
    let user = Trustctl::new().unwrap().at("unix:///nonexistent/trustd.sock");
    for (arguments, code) in [
        (&["status"][..], 3),
        (&["key", "craete"], 2),
        (&["--endpoint", "ftp://x", "status"], 2),
        (&["verify", "--public-key", "absent", "absent"], 2),
        (&["pin", "remove", "busybox"], 1),
    ] {
        let text = user.run(arguments).unwrap().exited(code).unwrap();
        assert_eq!(text.stderr.lines().count(), 2, "{text}");

        let json = user.run(&[&["--output", "json"], arguments].concat()).unwrap().exited(code).unwrap();
        let error: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
        assert_eq!(error["error"]["exit"], code, "{json}");
    }
}

const PEM: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
