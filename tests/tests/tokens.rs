//! Keys in a PKCS#11 token (SoftHSM), through the real daemon: made, used, away and back, and never in anybody's way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use trust_tests::program::{run, tool};
use trust_tests::token::{LABEL, MODULE, PIN, Token};
use trust_tests::wait;
use trust_tests::{Daemon, Setup, Trustctl};

/// As [`Token::setup`], without a PIN in the configuration.
fn setup_without_pin(token: &Token) -> Setup {
    let setup = token.setup();
    let pin = format!("pin_file = \"{}\"\n", token.path("pin").display());
    assert!(setup.more.contains(&pin));
    Setup { more: setup.more.replace(&pin, ""), ..setup }
}

/// The token behind the module that breaks on command (`hsm/tests/fault-module`).
struct Breakable(Token);

impl Breakable {
    fn new() -> Self {
        let token = Token::new().unwrap();
        std::fs::create_dir(token.path("fault")).unwrap();
        Self(token)
    }

    fn setup(&self, hang_after_ms: u32) -> Setup {
        let module = std::env::current_exe().unwrap().with_file_name("libtrust_hsm_fault.so");
        assert!(module.exists(), "{} is missing: cargo build -p trust-hsm-fault", module.display());
        let setup = self.0.setup_as(module.to_str().unwrap(), LABEL, &format!("hang_after_ms = {hang_after_ms}"));
        let fault = self.0.path("fault").display().to_string();
        let reached = setup
            .more
            .replace(
                "softhsm2.conf\"]",
                &format!("softhsm2.conf\", \"FAULT_REAL={MODULE}\", \"FAULT_DIRECTORY={fault}\"]"),
            )
            .replace("/tokens\"]", &format!("/tokens\", \"{fault}\"]"));
        Setup { more: reached, ..setup }
    }

    /// How often the function was called, or, with an action behind it as in `C_Sign.abort`, broken.
    fn calls(&self, function: &str) -> u64 {
        std::fs::metadata(self.0.path("fault").join(function)).map_or(0, |counted| counted.len())
    }

    fn command(&self, commands: &str) {
        std::fs::write(self.0.path("fault/commands.new"), commands).unwrap();
        std::fs::rename(self.0.path("fault/commands.new"), self.0.path("fault/commands")).unwrap();
    }
}

fn create(user: &Trustctl, name: &str, token: &[&str]) {
    let arguments = [&["key", "create", name, "--purpose", "release-blob"], token].concat();
    user.run(&arguments).unwrap().ok().unwrap();
}

fn signs(user: &Trustctl, key: &str) -> bool {
    user.write("app.tar", b"a release\n").unwrap();
    user.run(&["sign", "--key", key, "--force", "app.tar"]).unwrap().code == Some(0)
}

fn until(what: &str, done: impl Fn() -> bool) {
    wait::until(what, Duration::from_secs(60), || Ok(done().then_some(()))).unwrap();
}

/// A start on a busy machine may go on before the token is mounted.
fn until_the_token_serves(user: &Trustctl) {
    until("the token serves", || user.run(&["status"]).unwrap().stdout.contains("hsm: ready"));
}

#[test]
fn a_key_in_the_token_signs_rotates_and_is_found_after_a_restart() {
    let token = Token::new().unwrap();
    let mut daemon = Daemon::with(&token.setup()).unwrap();
    let user = daemon.user().unwrap();
    until_the_token_serves(&user);

    create(&user, "release", &["--token", "hsm"]);
    assert!(signs(&user, "release"));
    user.run(&["key", "rotate", "release"]).unwrap().ok().unwrap();
    assert!(signs(&user, "release"));
    daemon.restart().unwrap();
    until_the_token_serves(&user);
    assert!(signs(&user, "release"));

    let refused = user.run(&["key", "create", "other", "--purpose", "release-blob", "--token", "other"]).unwrap();
    assert!(refused.stderr.contains("no token with the name other"), "{}", refused.stderr);
}

#[test]
fn a_key_that_exists_already_goes_into_the_token_and_signs_after_a_restart() {
    let token = Token::new().unwrap();
    let mut daemon = Daemon::with(&token.setup()).unwrap();
    let user = daemon.user().unwrap();
    let mut openssl = std::process::Command::new(tool("openssl", "apt-get install openssl").unwrap());
    openssl
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-out"])
        .arg(user.file("key.pem"));
    run(&mut openssl).unwrap().ok().unwrap();
    std::fs::set_permissions(user.file("key.pem"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let arguments = ["key", "import", "release", "--purpose", "release-blob", "--file", "key.pem", "--token", "hsm"];

    until_the_token_serves(&user);
    user.run(&arguments).unwrap().ok().unwrap();
    assert!(signs(&user, "release"));
    daemon.restart().unwrap();
    until_the_token_serves(&user);

    assert!(signs(&user, "release"));
    let shown = user.run(&["key", "show", "release"]).unwrap().ok().unwrap().stdout;
    assert!(shown.contains("imported"), "{shown}");
}

#[test]
fn a_key_that_is_in_the_token_already_is_adopted_and_is_no_orphan_any_more() {
    let token = Token::new().unwrap();
    let mut daemon = Daemon::with(&token.setup()).unwrap();
    let user = daemon.user().unwrap();
    let made = ["--keypairgen", "--key-type", "EC:prime256v1", "--usage-sign", "--id", "0a0b", "--label", "theirs"];
    token.pkcs11_tool(&made).unwrap().ok().unwrap();
    let mut openssl = std::process::Command::new(tool("openssl", "apt-get install openssl").unwrap());
    openssl.args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"]);
    run(openssl.arg(user.file("another.key"))).unwrap().ok().unwrap();
    let mut openssl = std::process::Command::new(tool("openssl", "apt-get install openssl").unwrap());
    openssl.args(["pkey", "-pubout", "-in"]).arg(user.file("another.key")).arg("-out").arg(user.file("another.pub"));
    run(&mut openssl).unwrap().ok().unwrap();
    let adopt = |more: &[&str]| {
        let arguments = ["key", "adopt", "release", "--purpose", "release-blob", "--token", "hsm"];
        user.run(&[&arguments, more].concat()).unwrap()
    };
    let listed = token.pkcs11_tool(&["--list-objects"]).unwrap().ok().unwrap().stdout;
    for (more, exit, expected) in [
        (&["--id", "0a0"][..], 2, "is no CKA_ID"),
        (&["--id", "0c"], 1, "no private key with this id"),
        (&["--id", "0a0b", "--algorithm", "ecdsa-p384-sha256"], 1, "is none of ecdsa-p384-sha256"),
        (&["--id", "0a0b", "--public-key", "another.pub"], 1, "not the one whose public key was given"),
        (&["--id", "0a0b", "--public-key", "another.key"], 2, "holds no public key"),
    ] {
        let refused = adopt(more).exited(exit).unwrap();

        assert!(refused.stderr.contains(expected), "{expected}: {refused}");
    }
    assert!(user.run(&["hsm", "orphans"]).unwrap().ok().unwrap().stdout.contains("0a0b"));

    adopt(&["--id", "0a0b"]).ok().unwrap();
    assert!(signs(&user, "release"));
    daemon.restart().unwrap();

    assert!(signs(&user, "release"));
    let shown = user.run(&["key", "show", "release"]).unwrap().ok().unwrap().stdout;
    assert!(shown.contains("adopted"), "{shown}");
    assert!(user.run(&["hsm", "orphans"]).unwrap().ok().unwrap().stdout.contains("no orphans"));
    assert_eq!(token.pkcs11_tool(&["--list-objects"]).unwrap().ok().unwrap().stdout, listed);
    let again = ["key", "adopt", "again", "--purpose", "release-blob", "--token", "hsm", "--id", "0a0b"];
    let again = user.run(&again).unwrap().exited(1).unwrap();
    assert!(again.stderr.contains("public key"), "{again}");
    assert!(user.run(&["audit", "log"]).unwrap().ok().unwrap().stdout.contains("adopt"), "no leaf says it");
}

#[test]
fn a_token_that_goes_away_takes_no_software_key_along_and_comes_back() {
    let token = Token::new().unwrap();
    let daemon = Daemon::with(&token.setup()).unwrap();
    let user = daemon.user().unwrap();
    until_the_token_serves(&user);
    create(&user, "release", &["--token", "hsm"]);
    create(&user, "soft", &[]);

    token.take_away().unwrap();
    until("status names the token", || {
        let status = user.run(&["status"]).unwrap().stdout;
        status.contains("hsm: unavailable") && status.contains("a token does not serve")
    });
    assert!(signs(&user, "soft"));
    assert!(!signs(&user, "release"));
    token.put_back().unwrap();

    until("the token's key signs again", || signs(&user, "release"));
    assert!(user.run(&["status"]).unwrap().ok().unwrap().stdout.contains("serving"));
}

#[test]
fn a_bad_module_or_a_loose_pin_file_stops_the_start_and_check_says_the_same() {
    let token = Token::new().unwrap();
    for (module, mode, expected) in
        [("/nowhere/module.so", 0o600, "/nowhere/module.so: No such file"), (MODULE, 0o644, "chmod 600")]
    {
        token.write_pin(PIN, mode).unwrap();
        let daemon = Daemon::prepared(&token.setup_as(module, LABEL, "")).unwrap();
        daemon.trustd(&["init"]).unwrap();

        for command in ["check", "serve"] {
            let refused = daemon.trustd(&[command]).unwrap();
            assert!(refused.code != Some(0) && refused.stderr.contains(expected), "{command}: {}", refused.stderr);
        }
    }
}

#[test]
fn an_absent_token_is_named_and_stops_the_start_only_where_it_is_required() {
    let token = Token::new().unwrap();
    let daemon = Daemon::with(&token.setup_as(MODULE, "another", "")).unwrap();
    let status = daemon.user().unwrap().run(&["status"]).unwrap().stdout;
    assert!(status.contains("hsm: unavailable") && status.contains(LABEL), "{status}");

    let daemon = Daemon::prepared(&token.setup_as(MODULE, "another", "required = true")).unwrap();
    daemon.trustd(&["init"]).unwrap().ok().unwrap();
    let refused = daemon.trustd(&["serve"]).unwrap();
    assert!(refused.code != Some(0) && refused.stderr.contains("is required"), "{}", refused.stderr);
}

#[test]
fn a_token_without_a_pin_serves_after_hsm_login_until_the_daemon_stops() {
    let token = Token::new().unwrap();
    let mut daemon = Daemon::with(&setup_without_pin(&token)).unwrap();
    let user = daemon.user().unwrap();
    let listed = user.run(&["hsm", "list"]).unwrap().ok().unwrap().stdout;
    assert!(listed.contains("unavailable: it needs `trustctl hsm login hsm`"), "{listed}");
    assert!(listed.contains("libsofthsm2.so") && listed.contains("missing"), "{listed}");
    let refused = user.run(&["key", "create", "early", "--purpose", "release-blob", "--token", "hsm"]).unwrap();
    assert_ne!(refused.code, Some(0), "{refused}");

    let wrong = user.run_with_input(&["hsm", "login", "hsm"], b"000000\n").unwrap().exited(1).unwrap();
    assert!(wrong.stderr.contains("the token refuses this PIN"), "{wrong}");
    let other = user.run_with_input(&["hsm", "login", "other"], b"000000\n").unwrap().exited(1).unwrap();
    assert!(other.stderr.contains("no token with the name other"), "{other}");
    let pin_file = token.path("pin");
    user.run(&["hsm", "login", "hsm", "--pin-file", pin_file.to_str().unwrap()]).unwrap().ok().unwrap();

    create(&user, "release", &["--token", "hsm"]);
    assert!(signs(&user, "release"));
    let listed = user.run(&["hsm", "list", "--output", "json"]).unwrap().ok().unwrap().stdout;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let shown = &listed["tokens"][0];
    assert_eq!((shown["state"].as_str(), shown["pin"].as_str()), (Some("ready"), Some("proven")), "{listed}");
    assert_eq!((shown["label"].as_str(), shown["manufacturer"].as_str()), (Some(LABEL), Some("SoftHSM project")));
    let log = user.run(&["audit", "log", "--output", "json"]).unwrap().ok().unwrap().stdout;
    assert!(log.contains("token-login") && log.contains("\"custodian\""), "{log}");
    for told in [daemon.log(), log] {
        assert!(!told.contains(PIN) && !told.contains("000000"), "{told}");
    }
    daemon.restart().unwrap();
    assert!(!signs(&user, "release"));
    user.run_with_input(&["hsm", "login", "hsm"], PIN.as_bytes()).unwrap().ok().unwrap();
    assert!(signs(&user, "release"));
}

#[test]
fn tokens_whose_modules_hang_hold_up_neither_the_start_nor_a_software_key() {
    let token = Token::new().unwrap();
    let module = token.path("hangs.so");
    std::fs::write(
        token.path("hangs.c"),
        "#include <unistd.h>\n__attribute__((constructor)) void hang(void) { for (;;) sleep(100); }\n",
    )
    .unwrap();
    let mut compiler = std::process::Command::new(tool("cc", "apt-get install gcc").unwrap());
    compiler.args(["-shared", "-fPIC", "-o"]).args([&module, &token.path("hangs.c")]);
    run(&mut compiler).unwrap().ok().unwrap();
    let mut setup = token.setup_as(module.to_str().unwrap(), LABEL, "hang_after_ms = 600000");
    setup.more += &setup.more.replace("\"hsm\"", "\"other\"");

    let mut daemon = Daemon::with(&setup).unwrap();

    let user = daemon.user().unwrap();
    create(&user, "soft", &[]);
    assert!(signs(&user, "soft"));
    let status = user.run(&["status"]).unwrap().ok().unwrap().stdout;
    for name in ["hsm", "other"] {
        assert!(status.contains(&format!("{name}: unavailable")), "{status}");
    }
    assert!(status.contains("it is being mounted"), "{status}");
    let refused = user.run(&["key", "create", "hard", "--purpose", "release-blob", "--token", "hsm"]).unwrap();
    assert!(refused.stderr.contains("token hsm is unavailable"), "{}", refused.stderr);
    assert!(daemon.terminate().unwrap().success());
}

#[test]
fn a_wrong_pin_costs_exactly_one_login_in_a_daemon_that_is_started_four_times() {
    let token = Breakable::new();
    token.0.write_pin("000000", 0o600).unwrap();
    let mut daemon = Daemon::with(&token.setup(20_000)).unwrap();

    for restart in 0..4 {
        if restart > 0 {
            daemon.restart().unwrap();
        }
        let user = daemon.user().unwrap();
        until("status says why", || {
            let status = user.run(&["status"]).unwrap().stdout;
            status.contains("hsm: unavailable") && status.contains("has refused its PIN")
        });
        for name in ["first", "second"] {
            let refused = user.run(&["key", "create", name, "--purpose", "release-blob", "--token", "hsm"]).unwrap();
            assert!(refused.code != Some(0), "{refused}");
        }
    }

    assert_eq!(token.calls("C_Login"), 1);
    token.0.write_pin(PIN, 0o600).unwrap();
    let user = daemon.user().unwrap();
    until_the_token_serves(&user);
    create(&user, "release", &["--token", "hsm"]);
    assert!(signs(&user, "release"));
    assert_eq!(token.calls("C_Login"), 2);
}

#[test]
fn a_wrong_pin_whose_answer_is_lost_is_shown_once_by_a_daemon_that_is_started_four_times() {
    let token = Breakable::new();
    token.0.write_pin("000000", 0o600).unwrap();
    let setup = token.setup(20_000);
    token.command("C_Login 1 lose");
    let mut daemon = Daemon::with(&setup).unwrap();

    for restart in 0..4 {
        if restart > 0 {
            daemon.restart().unwrap();
        }
        let user = daemon.user().unwrap();
        until("status says why", || {
            user.run(&["status"]).unwrap().stdout.contains("has not said whether its PIN is right")
        });
    }

    assert_eq!((token.calls("C_Login"), token.calls("C_Login.lose")), (1, 1));
}

#[test]
fn a_module_that_breaks_takes_neither_the_daemon_nor_its_software_keys_along() {
    let token = Breakable::new();
    let daemon = Daemon::with(&token.setup(5_000)).unwrap();
    let user = daemon.user().unwrap();
    until_the_token_serves(&user);
    create(&user, "release", &["--token", "hsm"]);
    create(&user, "soft", &[]);
    let pid = daemon.id().unwrap();

    for (function, action) in [("C_Sign", "segv"), ("C_Sign", "abort"), ("C_Sign", "hang"), ("C_OpenSession", "abort")]
    {
        let broken = format!("{function}.{action}");
        // Every call until one is seen to have broken, in the next worker that makes one.
        token.command(&format!("{function} * {action}"));
        until("it breaks", || {
            let _ = signs(&user, "release");
            assert!(signs(&user, "soft"), "{broken}");
            if function != "C_Sign" {
                token.command(&format!("C_Sign * segv\n{function} * {action}"));
            }
            token.calls(&broken) > 0
        });
        token.command("");
        until("the token's key signs again", || {
            assert!(signs(&user, "soft"), "{broken}");
            signs(&user, "release")
        });
    }

    assert_eq!(daemon.id().unwrap(), pid);
    let log = daemon.log();
    let lines: Vec<&str> =
        log.lines().filter(|line| line.contains("custody worker") && line.contains("ERROR")).collect();
    assert!(!lines.is_empty() && lines.iter().all(|line| line.contains("hsm")), "{log}");
}
