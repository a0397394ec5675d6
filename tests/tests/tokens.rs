//! Keys in a PKCS#11 token (SoftHSM), through the real daemon: made, used, away and back, and never in anybody's way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

#[path = "tokens/pin.rs"]
mod pin;

use std::os::unix::fs::PermissionsExt as _;

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use trust_tests::http::{free_address, http};
use trust_tests::program::{openssl, run, tool};
use trust_tests::token::{LABEL, MODULE, PIN, Token};
use trust_tests::{Breakable, Daemon, Setup, wait};

/// A token whose module breaks on command, and how a daemon is told of it.
fn breakable(hang_after_ms: u32) -> (Breakable, Setup) {
    let token = Breakable::new().unwrap();
    let setup = token.setup(&format!("hang_after_ms = {hang_after_ms}")).unwrap();
    (token, setup)
}

#[test]
fn a_key_in_the_token_signs_rotates_and_is_found_after_a_restart() {
    let token = Token::new().unwrap();
    let mut daemon = Daemon::with(&token.setup()).unwrap();
    let user = daemon.user().unwrap();
    user.until_the_token_serves().unwrap();

    user.create("release", &["--token", "hsm"]).unwrap();
    assert!(user.signs("release").unwrap());
    user.run(&["key", "rotate", "release"]).unwrap().ok().unwrap();
    assert!(user.signs("release").unwrap());
    daemon.restart().unwrap();
    user.until_the_token_serves().unwrap();
    assert!(user.signs("release").unwrap());

    let refused = user.run(&["key", "create", "other", "--purpose", "release-blob", "--token", "other"]).unwrap();
    assert!(refused.stderr.contains("no token with the name other"), "{}", refused.stderr);
}

#[test]
fn a_key_that_exists_already_goes_into_the_token_and_signs_after_a_restart() {
    let token = Token::new().unwrap();
    let mut daemon = Daemon::with(&token.setup()).unwrap();
    let user = daemon.user().unwrap();
    let mut command = openssl().unwrap();
    command
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-out"])
        .arg(user.file("key.pem"));
    run(&mut command).unwrap().ok().unwrap();
    std::fs::set_permissions(user.file("key.pem"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let arguments = ["key", "import", "release", "--purpose", "release-blob", "--file", "key.pem", "--token", "hsm"];

    user.until_the_token_serves().unwrap();
    user.run(&arguments).unwrap().ok().unwrap();
    assert!(user.signs("release").unwrap());
    daemon.restart().unwrap();
    user.until_the_token_serves().unwrap();

    assert!(user.signs("release").unwrap());
    let shown = user.run(&["key", "show", "release"]).unwrap().ok().unwrap().stdout;
    assert!(shown.contains("imported"), "{shown}");
    let again = ["key", "import", "again", "--purpose", "release-blob", "--file", "key.pem", "--token", "hsm"];
    let again = user.run(&again).unwrap().exited(1).unwrap();
    assert!(again.stderr.contains("belongs to another key"), "{again}");
    assert_eq!(token.private_keys().unwrap().len(), 1, "what was not registered is in the token no more");
    assert!(user.run(&["hsm", "orphans"]).unwrap().ok().unwrap().stdout.contains("no orphans"));
}

#[test]
fn a_key_that_is_in_the_token_already_is_adopted_and_is_no_orphan_any_more() {
    let token = Token::new().unwrap();
    let mut daemon = Daemon::with(&token.setup()).unwrap();
    let user = daemon.user().unwrap();
    let made = ["--keypairgen", "--key-type", "EC:prime256v1", "--usage-sign", "--id", "0a0b", "--label", "theirs"];
    token.pkcs11_tool(&made).unwrap().ok().unwrap();
    let mut command = openssl().unwrap();
    command.args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"]);
    run(command.arg(user.file("another.key"))).unwrap().ok().unwrap();
    let mut command = openssl().unwrap();
    command.args(["pkey", "-pubout", "-in"]).arg(user.file("another.key")).arg("-out").arg(user.file("another.pub"));
    run(&mut command).unwrap().ok().unwrap();
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
    assert!(user.signs("release").unwrap());
    daemon.restart().unwrap();

    assert!(user.signs("release").unwrap());
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
    user.until_the_token_serves().unwrap();
    user.create("release", &["--token", "hsm"]).unwrap();
    user.create("soft", &[]).unwrap();

    token.take_away().unwrap();
    wait::soon("status names the token", || {
        let status = user.run(&["status"]).unwrap().stdout;
        status.contains("hsm: unavailable") && status.contains("a token does not serve")
    })
    .unwrap();
    assert!(user.signs("soft").unwrap());
    assert!(!user.signs("release").unwrap());
    token.put_back().unwrap();

    wait::soon("the token's key signs again", || user.signs("release").unwrap()).unwrap();
    assert!(user.run(&["status"]).unwrap().ok().unwrap().stdout.contains("serving"));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_say_when_a_token_went_away_and_when_it_came_back() {
    let token = Token::new().unwrap();
    let address = free_address().unwrap();
    let setup = token.setup();
    let daemon = Daemon::with(&Setup { more: format!("metrics = \"{address}\"\n{}", setup.more), ..setup }).unwrap();
    let channel = daemon.channel().await.unwrap();
    let runtime = tokio::runtime::Handle::current();
    let health = |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut client = HealthClient::new(channel.clone());
        let answer = tokio::task::block_in_place(|| runtime.block_on(client.check(request)));
        answer.unwrap().into_inner().status() == ServingStatus::Serving
    };
    let state = || {
        let page = http(address, "GET /metrics HTTP/1.1").unwrap();
        let lines = page.lines().filter(|line| line.starts_with("trustd_token_state{") && line.ends_with(" 1"));
        lines.map(str::to_owned).collect::<Vec<_>>().join("\n")
    };

    wait::soon("the token serves", || health("token/hsm") && state().contains("ready")).unwrap();
    token.take_away().unwrap();
    wait::soon("it is missed", || !health("token/hsm") && state().contains("unavailable")).unwrap();
    assert!(health("") && health("trust.v1.Signing"), "keys elsewhere are served");
    token.put_back().unwrap();
    wait::soon("it is back", || health("token/hsm") && state().contains("ready")).unwrap();
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
    user.create("soft", &[]).unwrap();
    assert!(user.signs("soft").unwrap());
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
fn a_token_that_hangs_in_a_call_or_at_its_start_does_not_hold_up_the_end() {
    let (token, setup) = breakable(600_000);
    let mut daemon = Daemon::with(&setup).unwrap();
    let user = daemon.user().unwrap();
    user.until_the_token_serves().unwrap();
    user.create("release", &["--token", "hsm"]).unwrap();

    // A call waits for its answer for ten minutes.
    token.command("C_Sign * hang").unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| user.signs("release").unwrap());
        wait::soon("it hangs", || token.calls("C_Sign.hang") > 0).unwrap();
        assert!(daemon.terminate().unwrap().success());
        assert!(!waits.join().unwrap());
    });

    // The next worker is being started for as long.
    token.command("").unwrap();
    daemon.launch().unwrap();
    let user = daemon.user().unwrap();
    user.until_the_token_serves().unwrap();
    token.command("C_Sign * abort\nC_Login * hang").unwrap();
    assert!(!user.signs("release").unwrap());
    wait::soon("the start hangs", || token.calls("C_Login.hang") > 0).unwrap();
    assert!(daemon.terminate().unwrap().success());
}

#[test]
fn a_key_whose_making_was_lost_with_its_worker_is_an_orphan_and_its_name_is_free() {
    let (token, setup) = breakable(5_000);
    let daemon = Daemon::with(&setup).unwrap();
    let user = daemon.user().unwrap();
    user.until_the_token_serves().unwrap();
    token.command("C_GenerateKeyPair * lose").unwrap();
    let make = ["key", "create", "release", "--purpose", "release-blob", "--token", "hsm"];
    assert!(user.run(&make).unwrap().code != Some(0));
    let lost = token.calls("C_GenerateKeyPair.lose");
    assert!(lost > 0);
    token.command("").unwrap();

    wait::soon("it is made after all", || user.run(&make).unwrap().code == Some(0)).unwrap();

    assert!(user.signs("release").unwrap());
    let orphans = user.run(&["hsm", "orphans"]).unwrap().ok().unwrap().stdout;
    let halves = orphans.lines().filter(|line| line.contains("\"trustd ")).count();
    assert_eq!(u64::try_from(halves).unwrap(), lost * 2, "{orphans}");
}

#[test]
fn a_module_that_breaks_takes_neither_the_daemon_nor_its_software_keys_along() {
    let (token, setup) = breakable(5_000);
    let daemon = Daemon::with(&setup).unwrap();
    let user = daemon.user().unwrap();
    user.until_the_token_serves().unwrap();
    user.create("release", &["--token", "hsm"]).unwrap();
    user.create("soft", &[]).unwrap();
    let pid = daemon.id().unwrap();

    for (function, action) in [
        ("C_Sign", "segv"),
        ("C_Sign", "abort"),
        ("C_Sign", "hang"),
        ("C_OpenSession", "abort"),
        ("C_Login", "segv"),
        ("C_GenerateKeyPair", "abort"),
    ] {
        let broken = format!("{function}.{action}");
        // Every call until one is seen to have broken, in the next worker that makes one.
        token.command(&format!("{function} * {action}")).unwrap();
        wait::soon("it breaks", || {
            let _ = user.signs("release").unwrap();
            assert!(user.signs("soft").unwrap(), "{broken}");
            match function {
                "C_Sign" => {}
                "C_GenerateKeyPair" => {
                    let made = ["key", "create", "made", "--purpose", "release-blob", "--token", "hsm"];
                    assert!(user.run(&made).unwrap().code != Some(0));
                }
                _ => token.command(&format!("C_Sign * segv\n{function} * {action}")).unwrap(),
            }
            token.calls(&broken) > 0
        })
        .unwrap();
        token.command("").unwrap();
        wait::soon("the token's key signs again", || {
            assert!(user.signs("soft").unwrap(), "{broken}");
            user.signs("release").unwrap()
        })
        .unwrap();
    }

    assert_eq!(daemon.id().unwrap(), pid);
    let log = daemon.log();
    let lines: Vec<&str> =
        log.lines().filter(|line| line.contains("custody worker") && line.contains("ERROR")).collect();
    assert!(!lines.is_empty() && lines.iter().all(|line| line.contains("hsm")), "{log}");
}
