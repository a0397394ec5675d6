//! Whom trustctl believes, and what it remembers: the environment decides where requests go, never who is right.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use trust_tests::authority::{self, Authority};
use trust_tests::http::{free_address, http};
use trust_tests::image::OciImage;
use trust_tests::process::Running;
use trust_tests::program::{needs_root, ours, run, tool};
use trust_tests::wait::until;
use trust_tests::{Daemon, Registry, Setup, Trustctl};

const CLIENT: &str = "spiffe://example.com/people/ann";
/// Far longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(600);

/// A daemon on TCP, and a directory with `ca.pem`, `client.pem` and `client.key`.
struct Remote {
    certificates: TempDir,
    port: u16,
    daemon: Daemon,
}

impl Remote {
    fn start() -> Self {
        Self::with("", "")
    }

    /// With so much more in its configuration, and in the table of limits.
    fn with(keys: &str, limits: &str) -> Self {
        let certificates = TempDir::new().unwrap();
        let at = certificates.path();
        let authority = Authority::new("Test CA").unwrap();
        authority.write(&at.join("ca.pem")).unwrap();
        authority.issue(at, "server", authority::server(&["localhost"]).unwrap()).unwrap();
        authority.issue(at, "client", authority::client(&[CLIENT]).unwrap()).unwrap();
        // Free when we look; nobody else of this test binds fixed ports.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let more = format!(
            "{keys}[tls]\nlisten = \"127.0.0.1:{port}\"\ncertificate = \"{0}/server.pem\"\nkey = \"{0}/server.key\"\n\
             [[tls.client_ca]]\ncertificate = \"{0}/ca.pem\"\ntrust_domain = \"example.com\"\n\
             [limits]\n{limits}",
            at.display()
        );
        let daemon = Daemon::with(&Setup { more, ..Setup::default() }).unwrap();
        Self { certificates, port, daemon }
    }

    fn address(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    fn ca(&self) -> String {
        self.certificates.path().join("ca.pem").display().to_string()
    }

    /// Somebody with a certificate for this daemon, and nothing else configured.
    fn person(&self) -> Trustctl {
        let user = Trustctl::new().unwrap();
        let directory = user.home().join(".config/trustctl");
        std::fs::create_dir_all(&directory).unwrap();
        let text =
            format!("certificate = \"{0}/client.pem\"\nkey = \"{0}/client.key\"\n", self.certificates.path().display());
        std::fs::write(directory.join("config.toml"), text).unwrap();
        user
    }
}

/// Signs `app.tar` of `user` with a new key `release` of `daemon`.
fn sign(daemon: &Daemon, user: &Trustctl) {
    let signer = daemon.user().unwrap();
    signer.run(&["key", "create", "release", "--purpose", "release-blob"]).unwrap().ok().unwrap();
    let file = user.write("app.tar", b"a release\n").unwrap();
    signer.run(&["sign", "--key", "release", file.to_str().unwrap()]).unwrap().ok().unwrap();
}

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

#[test]
fn a_batch_under_a_key_by_name_is_verified_by_an_enrolled_daemon_and_no_other() {
    let remote = Remote::start();
    let user = remote.person();
    sign(&remote.daemon, &user);
    let signature = String::from_utf8(user.read("app.tar.sig").unwrap()).unwrap();
    let line = |message: &str| format!("{{\"message\":\"{message}\",\"signature\":\"{}\"}}\n", signature.trim());
    // "a release\n" and "a release?", in base64.
    let (good, bad) = (line("YSByZWxlYXNlCg=="), line("YSByZWxlYXNlPw=="));
    let verify = ["--output", "json", "verify", "--batch", "-", "--key", "release"];
    let ask = |user: &Trustctl, text: &str| user.run_with_input(&verify, text.as_bytes()).unwrap();
    ask(&user, &good).exited(1).unwrap();
    // The daemon that the environment names is not believed for that.
    let ran = ask(&remote.daemon.user().unwrap(), &good).exited(1).unwrap();
    assert!(ran.stderr.contains("no daemon is believed"), "{ran}");

    user.run(&["enroll", &remote.address(), "--ca", &remote.ca()]).unwrap().ok().unwrap();

    let ran = ask(&user, &good).ok().unwrap();
    let report = ran.json().unwrap();
    assert_eq!((&report["items"], &report["valid"]), (&1.into(), &1.into()), "{ran}");
    assert!(report["key"].as_str().unwrap().contains(&remote.address()), "{ran}");
    // Chunks without end: nothing of them is confused.
    let many: String = (0..9000).map(|item| if item % 4500 == 17 { bad.as_str() } else { good.as_str() }).collect();
    let report = ask(&user, &many).exited(1).unwrap().json().unwrap();
    assert_eq!(report["valid"], 8998);
    assert_eq!(report["failed"][1], serde_json::json!({"index": 4517, "reason": "wrong"}));
    let digest = trust::Sha256Digest::of(b"a release\n").to_hex();
    let item = good.replace("message", "item").replace("YSByZWxlYXNlCg==", &digest);
    ask(&user, &item).ok().unwrap();
    let other = user.run_with_input(&["verify", "--batch", "-", "--key", "no-such-key"], good.as_bytes()).unwrap();
    assert!(other.code == Some(1) && !other.stdout.contains("verified 1"), "{other}");
}

/// A signature of the key `release` over "a release\n", as a line of a batch; and the same over "a release?".
fn batch_lines(remote: &Remote, user: &Trustctl) -> [String; 2] {
    sign(&remote.daemon, user);
    user.run(&["enroll", &remote.address(), "--ca", &remote.ca()]).unwrap().ok().unwrap();
    let signature = String::from_utf8(user.read("app.tar.sig").unwrap()).unwrap();
    ["YSByZWxlYXNlCg==", "YSByZWxlYXNlPw=="]
        .map(|message| format!("{{\"message\":\"{message}\",\"signature\":\"{}\"}}\n", signature.trim()))
}

#[test]
fn a_batch_is_verified_by_a_daemon_that_takes_less_at_once() {
    let remote = Remote::with("", "verify_items_max = 100\nverify_items_at_work_max = 100\nmessage_kib_max = 64\n");
    let user = remote.person();
    let [good, bad] = batch_lines(&remote, &user);
    let verify = |text: &str| {
        let arguments = ["--output", "json", "verify", "--batch", "-", "--key", "release"];
        user.run_with_input(&arguments, text.as_bytes()).unwrap()
    };
    let with_message = |bytes: usize| good.replace("YSByZWxlYXNlCg==", &"AAAA".repeat(bytes / 3));

    // More than it takes in items, and then in bytes, though not in one item.
    let many: String = (0..5000).map(|item| if item % 1500 == 17 { bad.as_str() } else { good.as_str() }).collect();
    let ran = verify(&(many + &with_message(60_000).repeat(5) + &good)).exited(1).unwrap();

    let report = ran.json().unwrap();
    let failed: Vec<u64> = [17, 1517, 3017, 4517].into_iter().chain(5000..5005).collect();
    let failed: Vec<_> = failed.iter().map(|item| serde_json::json!({"index": item, "reason": "wrong"})).collect();
    assert_eq!((&report["failed"], &report["valid"]), (&failed.into(), &4997.into()), "{ran}");
    assert_eq!((&report["items"], &report["complete"]), (&5006.into(), &true.into()), "{ran}");
    // What no message to it can be is said by its number, after the verdicts of all before it.
    let ran = verify(&format!("{good}{bad}{}{good}", with_message(70_000))).exited(2).unwrap();
    let report = ran.json().unwrap();
    assert_eq!((&report["items"], &report["valid"], &report["complete"]), (&2.into(), &1.into(), &false.into()));
    assert!(ran.stderr.contains("item 2 is longer than"), "{ran}");
}

#[test]
fn a_batch_comes_back_to_a_daemon_that_has_no_room_for_it_now() {
    let metrics = free_address().unwrap();
    let limits = "verify_items_max = 100\nrate_per_second = 20\nrate_burst = 30\n";
    let remote = Remote::with(&format!("metrics = \"{metrics}\"\n"), limits);
    let user = remote.person();
    let [good, bad] = batch_lines(&remote, &user);
    let batch: String = (0..10_000).map(|item| if item % 5000 == 17 { bad.as_str() } else { good.as_str() }).collect();

    let arguments = ["--output", "json", "verify", "--batch", "-", "--key", "release"];
    let ran = user.run_with_input(&arguments, batch.as_bytes()).unwrap().exited(1).unwrap();

    let report = ran.json().unwrap();
    assert_eq!((&report["items"], &report["valid"]), (&10_000.into(), &9998.into()), "{ran}");
    assert_eq!((&report["failed"][1]["index"], &report["complete"]), (&5017.into(), &true.into()), "{ran}");
    let page = http(metrics, "GET /metrics HTTP/1.1").unwrap();
    assert!(!page.contains("trustd_rate_limited_total 0\n"), "it was never sent away: {page}");
}

#[test]
fn a_batch_outlives_the_patience_of_the_daemon() {
    // Less than trustctl's own, and enough for every call before.
    let metrics = free_address().unwrap();
    let remote = Remote::with(&format!("metrics = \"{metrics}\"\n"), "request_ms_max = 10000\n");
    let user = remote.person();
    let [good, bad] = batch_lines(&remote, &user);
    let mut command = user.command(&["verify", "--batch", "-", "--key", "release"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(good.as_bytes()).unwrap();
    until("the daemon ends the silent stream", LONG, || {
        let page = http(metrics, "GET /metrics HTTP/1.1").unwrap();
        Ok(page.contains("trustd_verify_streams_total{answer=\"late\"} 1").then_some(()))
    })
    .unwrap();

    stdin.write_all(bad.as_bytes()).unwrap();
    drop(stdin);

    let ended = until("the batch ends", LONG, || Ok(child.try_wait()?)).unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(ended.code(), Some(1), "{text}");
    assert_eq!(text, "not verified item 1: the signature does not fit the key and the message\n");
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
    copy(&daemon.data(), &old);
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

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to)).unwrap().ok().unwrap();
}
