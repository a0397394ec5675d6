//! The root key in a token (SoftHSM), through the real programs: moved there and away, lost and found, copied and refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::path::PathBuf;

use age::secrecy::ExposeSecret;
use tempfile::TempDir;
use trust_tests::program::copy;
use trust_tests::token::Token;
use trust_tests::{Daemon, Setup, Trustctl, wait};

const WORDS: &[u8] = b"five words drawn by lot\n";

fn token() -> Token {
    Token::new().unwrap()
}

/// A daemon whose root key is in the token, with one software key.
fn in_token(token: &Token, recovery: &[&str]) -> (Daemon, Trustctl) {
    let daemon = Daemon::with(&token.setup()).unwrap();
    let user = daemon.user().unwrap();
    user.create("soft", &[]).unwrap();
    let arguments = [&["kek", "rotate", "--to", "token", "hsm"], recovery].concat();
    user.run_with_input(&arguments, WORDS).unwrap().ok().unwrap();
    daemon.set_root_kek("{ token = \"hsm\" }").unwrap();
    std::fs::remove_file(daemon.root_kek()).unwrap();
    (daemon, user)
}

fn listed(token: &Token) -> String {
    token.pkcs11_tool(&["--list-objects"]).unwrap().ok().unwrap().stdout
}

fn ring(daemon: &Daemon) -> Vec<u8> {
    std::fs::read(daemon.data().join("kek/ring")).unwrap()
}

/// The software worker: the one without a module in it.
fn kill_software_worker(daemon: &Daemon) {
    let has_module =
        |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/maps")).is_ok_and(|maps| maps.contains("softhsm"));
    let workers = daemon.workers().unwrap();
    let worker = workers.iter().find(|pid| !has_module(pid)).unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(*worker).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_daemon_opens_itself_by_the_token_after_a_restart_and_when_the_token_comes_back() {
    let token = token();
    let (mut daemon, user) = in_token(&token, &["--recovery", "passphrase"]);
    assert!(user.signs("soft").unwrap());
    let shown = user.status().unwrap();
    assert!(shown.contains("root     token hsm, recovery by passphrase"), "{shown}");
    let keks = user.run(&["kek", "list"]).unwrap().ok().unwrap().stdout;
    assert!(keks.contains("root key: token hsm") && keks.contains("destroyed"), "{keks}");
    let checked = daemon.trustd(&["check"]).unwrap().ok().unwrap();
    assert!(checked.stdout.contains("no faults"), "{checked}");

    daemon.restart().unwrap();
    assert!(user.signs("soft").unwrap());
    token.take_away().unwrap();
    daemon.restart().unwrap();
    let pid = daemon.id().unwrap();
    let shown = user.status().unwrap();
    assert!(shown.contains("sealed") && shown.contains("the root key is wrapped by the token hsm"), "{shown}");
    assert!(!user.signs("soft").unwrap());
    token.put_back().unwrap();

    wait::soon("signing again", || user.signs("soft").unwrap()).unwrap();
    assert_eq!(daemon.id().unwrap(), pid);
    assert!(user.status().unwrap().contains("serving"));
}

#[test]
fn a_software_worker_that_died_has_the_root_key_again_and_a_seal_holds() {
    let token = token();
    let (daemon, user) = in_token(&token, &["--recovery", "passphrase"]);

    kill_software_worker(&daemon);
    wait::soon("signing again", || user.signs("soft").unwrap()).unwrap();
    assert!(user.status().unwrap().contains("restarted 1 times"), "{}", user.status().unwrap());

    user.run(&["seal"]).unwrap().ok().unwrap();
    kill_software_worker(&daemon);
    wait::soon("another worker", || user.status().unwrap().contains("restarted 2 times")).unwrap();
    // Many looks of the daemon later.
    for _ in 0..20 {
        let shown = user.status().unwrap();
        assert!(shown.contains("sealed by an operator"), "{shown}");
    }
    let wrong = user.run_with_input(&["unseal"], b"another passphrase\n").unwrap().exited(1).unwrap();
    assert!(wrong.stderr.contains("wrong passphrase"), "{wrong}");
    assert!(user.status().unwrap().contains("sealed by an operator"));
    user.run(&["unseal", "--by-token"]).unwrap().ok().unwrap();
    assert!(user.signs("soft").unwrap());
    user.run(&["seal"]).unwrap().ok().unwrap();
    user.run_with_input(&["unseal"], WORDS).unwrap().ok().unwrap();
    assert!(user.signs("soft").unwrap());
}

#[test]
fn a_directory_that_was_copied_elsewhere_is_refused_with_the_token_and_the_remedy() {
    let (token, elsewhere) = (token(), token());
    let (mut daemon, _) = in_token(&token, &["--no-recovery"]);
    daemon.terminate().unwrap();
    for (more, expected) in [
        (
            String::new(),
            "wrapped by the token hsm, without a recovery passphrase: give the configuration the [[token]]",
        ),
        (elsewhere.setup().more, "it is another token, or the key was deleted"),
    ] {
        let thief = Daemon::prepared(&Setup { more, ..Setup::default() }).unwrap();
        if expected.starts_with("it is") {
            thief.set_root_kek("{ token = \"hsm\" }").unwrap();
        }
        copy(&daemon.data(), &thief.data()).unwrap();

        let refused = thief.trustd(&["serve"]).unwrap();

        assert!(refused.code != Some(0) && refused.stderr.contains(expected), "{refused}");
        let named: Vec<&str> = refused.stderr.lines().filter(|line| line.contains("the token hsm")).collect();
        assert!(named.iter().any(|line| line.contains(expected)), "{refused}");
    }
    daemon.launch().unwrap();
    assert!(daemon.user().unwrap().signs("soft").unwrap(), "where the token is, it opens");
}

#[test]
fn the_recovery_passphrase_opens_where_the_token_is_another_or_none() {
    let (token, elsewhere) = (token(), token());
    let (mut daemon, user) = in_token(&token, &["--recovery", "passphrase"]);
    daemon.terminate().unwrap();
    token.exchange(&elsewhere).unwrap();

    daemon.launch().unwrap();
    let shown = user.status().unwrap();
    assert!(shown.contains("sealed") && shown.contains("another token, or the key was deleted"), "{shown}");
    user.run_with_input(&["unseal"], WORDS).unwrap().ok().unwrap();
    assert!(user.signs("soft").unwrap());

    // Gone for good: no [[token]] any more, and a root of its own again.
    daemon.terminate().unwrap();
    daemon.set_root_kek("{ passphrase = true }").unwrap();
    let text = std::fs::read_to_string(daemon.configuration()).unwrap();
    std::fs::write(daemon.configuration(), text.split("[[token]]").next().unwrap()).unwrap();
    daemon.launch().unwrap();
    assert!(!user.signs("soft").unwrap());
    user.run_with_input(&["unseal"], WORDS).unwrap().ok().unwrap();
    user.run_with_input(&["kek", "rotate", "--to", "passphrase"], b"quite another one\n").unwrap().ok().unwrap();
    daemon.restart().unwrap();
    user.run_with_input(&["unseal"], WORDS).unwrap().exited(1).unwrap();
    user.run_with_input(&["unseal"], b"quite another one\n").unwrap().ok().unwrap();
    assert!(user.signs("soft").unwrap());
}

#[test]
fn a_root_moves_away_from_the_token_which_keeps_nothing_of_it() {
    let token = token();
    let (mut daemon, user) = in_token(&token, &["--no-recovery"]);
    assert_eq!(listed(&token).matches("trustd root-kek").count(), 1);
    let path = daemon.directory().join("second.kek");

    // Once more into the token: another key, and the first is gone.
    user.run(&["kek", "rotate", "--to", "token", "hsm", "--no-recovery"]).unwrap().ok().unwrap();
    assert_eq!(listed(&token).matches("trustd root-kek").count(), 1);
    let none = user.run(&["hsm", "orphans"]).unwrap().ok().unwrap();
    assert!(none.stdout.contains("no orphans"), "{none}");
    token.pkcs11_tool(&["--keygen", "--key-type", "AES:32", "--id", "0a", "--label", "theirs"]).unwrap().ok().unwrap();
    let theirs = user.run(&["hsm", "orphans"]).unwrap().ok().unwrap().stdout;
    assert!(theirs.lines().count() == 1 && theirs.contains("0a  secrkey  aes  \"theirs\""), "{theirs}");
    let moved = user.run(&["kek", "rotate", "--to", "file", path.to_str().unwrap()]).unwrap().ok().unwrap();

    assert!(moved.stdout.contains("root key: file"), "{moved}");
    assert!(!listed(&token).contains("trustd root-kek"));
    kill_software_worker(&daemon);
    wait::soon("signing again", || user.signs("soft").unwrap()).unwrap();
    let again = user.run(&["kek", "rotate", "--to", "file", path.to_str().unwrap()]).unwrap();
    assert!(again.code != Some(0) && again.stderr.contains("exists already"), "{again}");
    daemon.set_root_kek(&format!("{{ file = \"{}\" }}", path.display())).unwrap();
    daemon.restart().unwrap();
    assert!(user.signs("soft").unwrap());
}

#[test]
fn what_cannot_wrap_or_says_too_little_changes_nothing() {
    let token = token();
    token.add().unwrap();
    let daemon = Daemon::with(&token.setup()).unwrap();
    let user = daemon.user().unwrap();
    let before = ring(&daemon);
    for (arguments, expected) in [
        (&["token", "hsm", "--no-recovery"][..], "name its serial"),
        (&["token", "other", "--no-recovery"], "no token with the name other"),
        (&["token", "hsm"], "--recovery passphrase"),
        (&["token", "hsm", "--recovery", "token", "hsm"], "another token"),
        (&["passphrase"], "shorter than 8 bytes"),
        (&["file"], "for example: trustctl kek rotate"),
    ] {
        let refused = user.run_with_input(&[&["kek", "rotate", "--to"], arguments].concat(), b"short\n").unwrap();

        assert!(refused.code != Some(0) && refused.stderr.contains(expected), "{arguments:?}: {refused}");
        assert_eq!(refused.stderr.lines().count(), 2, "{refused}");
    }
    assert_eq!(ring(&daemon), before);
    assert!(user.status().unwrap().contains("root     file"));
}

#[test]
fn a_configuration_that_names_the_older_place_is_overruled_by_the_ring() {
    let token = token();
    let (mut daemon, user) = in_token(&token, &["--no-recovery"]);
    daemon.set_root_kek(&format!("{{ file = \"{}\" }}", daemon.root_kek().display())).unwrap();

    daemon.restart().unwrap();

    assert!(user.signs("soft").unwrap());
    assert!(daemon.log().contains("names another place"), "{}", daemon.log());
    let unknown = Daemon::prepared(&Setup::default()).unwrap();
    unknown.set_root_kek("{ token = \"hsm\" }").unwrap();
    let refused = unknown.trustd(&["check"]).unwrap();
    assert!(refused.stderr.contains("root_kek.token: expected the name of a [[token]]"), "{refused}");
}

#[test]
fn an_import_says_which_token_opens_the_backup_and_is_refused_without_it() {
    let (token, directory) = (token(), TempDir::new().unwrap());
    let identity = age::x25519::Identity::generate();
    let (recipients, secret) = (directory.path().join("recipients"), directory.path().join("identity"));
    std::fs::write(&recipients, identity.to_public().to_string()).unwrap();
    std::fs::write(&secret, identity.to_string().expose_secret()).unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let backups = format!("backup_recipients = \"{}\"\n", recipients.display());
    let daemon = Daemon::with(&Setup { more: backups + &token.setup().more, ..Setup::default() }).unwrap();
    let user = daemon.user().unwrap();
    user.create("soft", &[]).unwrap();
    user.run(&["kek", "rotate", "--to", "token", "hsm", "--no-recovery"]).unwrap().ok().unwrap();
    let backup: PathBuf = user.file("backup.age");
    user.run(&["backup", backup.to_str().unwrap()]).unwrap().ok().unwrap();
    let import = |more: String| {
        let mut other = Daemon::prepared(&Setup { more, ..Setup::default() }).unwrap();
        let text = std::fs::read_to_string(other.configuration()).unwrap();
        std::fs::write(other.configuration(), text.replace("log.test.example", "log2.test.example")).unwrap();
        let arguments = ["store", "import", "--identity", secret.to_str().unwrap(), backup.to_str().unwrap()];
        let ran = other.trustd(&arguments).unwrap();
        if ran.code == Some(0) {
            other.launch().unwrap();
        }
        (other, ran)
    };

    let (refused, ran) = import(String::new());
    assert!(ran.code != Some(0) && ran.stderr.contains("wrapped by the token hsm"), "{ran}");
    assert!(!refused.data().exists());
    let (other, ran) = import(token.setup().more);

    assert!(ran.stdout.contains("connect the token hsm"), "{ran}");
    assert!(other.user().unwrap().signs("soft").unwrap());
}
