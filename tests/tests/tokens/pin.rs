//! PINs: who gives one, and what a wrong one costs.

use trust_tests::token::{LABEL, PIN, Token};
use trust_tests::{Daemon, Setup, wait};

use super::breakable;

/// As [`Token::setup`], without a PIN in the configuration.
fn setup_without_pin(token: &Token) -> Setup {
    let setup = token.setup();
    let pin = format!("pin_file = \"{}\"\n", token.path("pin").display());
    assert!(setup.more.contains(&pin));
    Setup { more: setup.more.replace(&pin, ""), ..setup }
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

    user.create("release", &["--token", "hsm"]).unwrap();
    assert!(user.signs("release").unwrap());
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
    assert!(!user.signs("release").unwrap());
    user.run_with_input(&["hsm", "login", "hsm"], PIN.as_bytes()).unwrap().ok().unwrap();
    assert!(user.signs("release").unwrap());
}

#[test]
fn a_wrong_pin_costs_exactly_one_login_in_a_daemon_that_is_started_four_times() {
    let (token, setup) = breakable(20_000);
    token.token.write_pin("000000", 0o600).unwrap();
    let mut daemon = Daemon::with(&setup).unwrap();

    for restart in 0..4 {
        if restart > 0 {
            daemon.restart().unwrap();
        }
        let user = daemon.user().unwrap();
        wait::soon("status says why", || {
            let status = user.run(&["status"]).unwrap().stdout;
            status.contains("hsm: unavailable") && status.contains("has refused its PIN")
        })
        .unwrap();
        for name in ["first", "second"] {
            let refused = user.run(&["key", "create", name, "--purpose", "release-blob", "--token", "hsm"]).unwrap();
            assert!(refused.code != Some(0), "{refused}");
        }
    }

    assert_eq!(token.calls("C_Login"), 1);
    token.token.write_pin(PIN, 0o600).unwrap();
    let user = daemon.user().unwrap();
    user.until_the_token_serves().unwrap();
    user.create("release", &["--token", "hsm"]).unwrap();
    assert!(user.signs("release").unwrap());
    assert_eq!(token.calls("C_Login"), 2);
}

#[test]
fn a_wrong_pin_whose_answer_is_lost_is_shown_once_by_a_daemon_that_is_started_four_times() {
    let (token, setup) = breakable(20_000);
    token.token.write_pin("000000", 0o600).unwrap();
    token.command("C_Login 1 lose").unwrap();
    let mut daemon = Daemon::with(&setup).unwrap();

    for restart in 0..4 {
        if restart > 0 {
            daemon.restart().unwrap();
        }
        let user = daemon.user().unwrap();
        wait::soon("status says why", || {
            user.run(&["status"]).unwrap().stdout.contains("has not said whether its PIN is right")
        })
        .unwrap();
    }

    assert_eq!((token.calls("C_Login"), token.calls("C_Login.lose")), (1, 1));
}
