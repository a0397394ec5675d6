//! `trustctl hsm doctor` over SoftHSM: what it says, what it leaves, and that the daemon uses what was found.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use trust_tests::program::{run, tool};
use trust_tests::wait;
use trust_tests::{Daemon, Setup, Trustctl};

const PIN: &str = "736451";
const LABEL: &str = "trustd-doctor-e2e";
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A SoftHSM of the test's own.
struct Token {
    directory: TempDir,
}

impl Token {
    fn new() -> Self {
        let token = Self { directory: TempDir::new().unwrap() };
        std::fs::create_dir(token.path("tokens")).unwrap();
        let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", token.path("tokens").display());
        std::fs::write(token.path("softhsm2.conf"), text).unwrap();
        std::fs::write(token.path("pin"), PIN).unwrap();
        std::fs::set_permissions(token.path("pin"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut command = std::process::Command::new(tool("softhsm2-util", "apt-get install softhsm2").unwrap());
        command.env("SOFTHSM2_CONF", token.path("softhsm2.conf"));
        command.args(["--init-token", "--free", "--label", LABEL, "--so-pin", "12345678", "--pin", PIN]);
        run(&mut command).unwrap().ok().unwrap();
        token
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn setup(&self, more: &str) -> Setup {
        let place = self.directory.path().display();
        let more = format!(
            "\n[[token]]\nname = \"hsm\"\nmodule = \"{MODULE}\"\nlabel = \"{LABEL}\"\npin_file = \"{place}/pin\"\n\
             environment = [\"SOFTHSM2_CONF={place}/softhsm2.conf\"]\nwritable = [\"{place}/tokens\"]\n{more}\n"
        );
        Setup { more, ..Setup::default() }
    }

    /// What `pkcs11-tool` lists, logged in.
    fn objects(&self) -> String {
        let mut command = std::process::Command::new(tool("pkcs11-tool", "apt-get install opensc").unwrap());
        command.env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        command.args(["--module", MODULE, "--token-label", LABEL, "--login", "--pin", PIN, "--list-objects"]);
        run(&mut command).unwrap().ok().unwrap().stdout.trim().to_owned()
    }
}

fn doctor(user: &Trustctl, more: &[&str]) -> trust_tests::program::Ran {
    user.run(&[&["hsm", "doctor", "hsm", "--sessions-max", "2", "--idle", "1"], more].concat()).unwrap()
}

/// The one token as `hsm list` has it.
fn listed(user: &Trustctl) -> Value {
    let text = user.run(&["hsm", "list", "--output", "json"]).unwrap().ok().unwrap().stdout;
    serde_json::from_str::<Value>(&text).unwrap()["tokens"][0].clone()
}

/// Waits for the token: the start does not.
fn until_ready(user: &Trustctl) {
    let is_ready = || Ok((listed(user)["state"] == "ready").then_some(()));
    wait::until("the token serves", Duration::from_secs(120), is_ready).unwrap();
}

#[test]
fn a_token_is_measured_nothing_stays_in_it_and_the_daemon_uses_what_was_found() {
    let token = Token::new();
    let mut daemon = Daemon::with(&token.setup("")).unwrap();
    let user = daemon.user().unwrap();
    until_ready(&user);
    assert_eq!((&listed(&user)["sessions_by"], &listed(&user)["profile"]), (&"default".into(), &"none".into()));

    let text = doctor(&user, &["--write-profile"]).ok().unwrap().stdout;

    for expected in ["ed25519", "ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa4096-pss-sha256", LABEL, "SoftHSM v2"] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    assert!(!text.contains("does not work") && text.contains("the same key, after 1 s of idleness"), "{text}");
    assert_eq!(token.objects(), "");
    let profile = daemon.data().join("tokens/hsm.profile");
    assert!(text.contains(profile.to_str().unwrap()), "{text}");
    assert_eq!(std::fs::metadata(&profile).unwrap().permissions().mode() & 0o777, 0o600);

    // Used on a reload, without a restart.
    daemon.process().unwrap().signal(Signal::HUP);
    wait::until("the profile is used", Duration::from_secs(60), || {
        Ok((listed(&user)["profile"] == "used").then_some(()))
    })
    .unwrap();
    let used = listed(&user);
    assert_eq!((&used["sessions_by"], &used["hang_after_by"]), (&"profile".into(), &"profile".into()));
    assert!(used["sessions"].as_u64().unwrap() <= 2, "{used}");
    user.run(&["key", "create", "release", "--purpose", "release-blob", "--token", "hsm"]).unwrap().ok().unwrap();
    let check = daemon.trustd(&["check"]).unwrap().ok().unwrap().stdout;
    assert!(check.contains("token hsm: sessions from the profile"), "{check}");

    // Another token's, by its serial: said, and not used.
    let foreign = std::fs::read_to_string(&profile).unwrap().replace("serial = \"", "serial = \"x");
    std::fs::write(&profile, foreign).unwrap();
    daemon.restart().unwrap();
    let user = daemon.user().unwrap();
    until_ready(&user);
    let refused = listed(&user);
    assert!(refused["profile"].as_str().unwrap().contains("another token's, its serial is"), "{refused}");
    assert_eq!((&refused["sessions_by"], &refused["sessions"]), (&"default".into(), &4.into()));
    assert!(daemon.log().contains("a token's profile is not used"));
}

#[test]
fn the_configuration_overrules_a_profile_and_nobody_measures_without_permission() {
    let token = Token::new();
    let mut daemon = Daemon::with(&token.setup("sessions = 3\n")).unwrap();
    let user = daemon.user().unwrap();
    until_ready(&user);

    let text = doctor(&user, &["--write-profile", "--output", "json"]).ok().unwrap().stdout;
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["algorithms"].as_array().unwrap().len(), 8);
    assert!(found["algorithms"].as_array().unwrap().iter().all(|found| found["works"] == true), "{found}");
    daemon.restart().unwrap();
    until_ready(&daemon.user().unwrap());

    let used = listed(&daemon.user().unwrap());
    assert_eq!((&used["sessions"], &used["sessions_by"]), (&3.into(), &"configuration".into()));
    assert_eq!((&used["hang_after_by"], &used["profile"]), (&"profile".into(), &"used".into()));
    let unknown = daemon.user().unwrap().run(&["hsm", "doctor", "other"]).unwrap();
    assert!(unknown.code != Some(0) && unknown.stderr.contains("no token with the name other"), "{}", unknown.stderr);
}
