//! The root key in a token (SoftHSM), where the worst happens: the wrapping key deleted, one token and then both gone,
//! the daemon killed while the root moves.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::time::Duration;

use trust_tests::rounds::{random_below, rounds};
use trust_tests::token::{LABEL, MODULE, Token};
use trust_tests::{Daemon, Setup, Trustctl, wait};

/// A daemon with the tokens `hsm` and `spare`, a root key in a file, and one software key.
fn house(token: &Token, spare: &Token) -> (Daemon, Trustctl) {
    let more = token.setup().more + &spare.setup_as(MODULE, LABEL, "").more.replace("\"hsm\"", "\"spare\"");
    let daemon = Daemon::with(&Setup { more, ..Setup::default() }).unwrap();
    let user = daemon.user().unwrap();
    wait::soon("both tokens serve", || {
        let shown = user.run(&["status"]).unwrap().stdout;
        shown.contains("hsm: ready") && shown.contains("spare: ready")
    })
    .unwrap();
    user.create("soft", &[]).unwrap();
    (daemon, user)
}

fn wrapping_keys(token: &Token) -> usize {
    let listed = token.pkcs11_tool(&["--list-objects", "--type", "secrkey"]).unwrap().ok().unwrap().stdout;
    listed.matches("trustd root-kek").count()
}

/// Deletes the only one, as whoever has the PIN can.
fn delete_wrapping_key(token: &Token) {
    let listed = token.pkcs11_tool(&["--list-objects", "--type", "secrkey"]).unwrap().ok().unwrap().stdout;
    let ids: Vec<&str> = listed.lines().filter_map(|line| line.trim().strip_prefix("ID:")).map(str::trim).collect();
    let [id] = ids[..] else { panic!("{listed}") };
    token.pkcs11_tool(&["--delete-object", "--type", "secrkey", "--id", id]).unwrap().ok().unwrap();
}

#[test]
fn a_second_token_opens_where_the_wrapping_key_was_deleted_or_the_first_is_away() {
    let (token, spare) = (Token::new().unwrap(), Token::new().unwrap());
    let (mut daemon, user) = house(&token, &spare);
    let moved = ["kek", "rotate", "--to", "token", "hsm", "--recovery", "token", "spare"];
    user.run(&moved).unwrap().ok().unwrap();
    daemon.set_root_kek("{ token = \"hsm\" }").unwrap();
    std::fs::remove_file(daemon.root_kek()).unwrap();
    assert_eq!((wrapping_keys(&token), wrapping_keys(&spare)), (1, 1));

    token.take_away().unwrap();
    daemon.restart().unwrap();
    wait::soon("the spare token opens it", || user.signs("soft").unwrap()).unwrap();
    token.put_back().unwrap();
    delete_wrapping_key(&token);
    assert_eq!(wrapping_keys(&token), 0);
    daemon.restart().unwrap();
    wait::soon("the spare token opens it", || user.signs("soft").unwrap()).unwrap();
    let log = daemon.log();
    assert!(log.contains("the next one did") && log.contains("another token, or the key was deleted"), "{log}");

    spare.take_away().unwrap();
    daemon.restart().unwrap();
    let shown = user.status().unwrap();
    assert!(shown.contains("sealed") && shown.contains("root key"), "{shown}");
    assert!(!user.signs("soft").unwrap());
    let refused = user.run(&["unseal", "--by-token"]).unwrap();
    assert!(refused.code != Some(0) && refused.stderr.lines().count() == 2, "{refused}");

    spare.put_back().unwrap();
    wait::soon("the spare token opens it", || user.signs("soft").unwrap()).unwrap();
    user.run(&moved).unwrap().ok().unwrap();
    spare.take_away().unwrap();
    daemon.restart().unwrap();
    wait::soon("the first token opens it again", || user.signs("soft").unwrap()).unwrap();
}

#[test]
fn a_daemon_that_is_killed_while_its_root_moves_opens_by_the_old_place_or_the_new() {
    let (token, spare) = (Token::new().unwrap(), Token::new().unwrap());
    let (mut daemon, user) = house(&token, &spare);
    let (mut moved, mut kept) = (0, 0);
    // Each costs a start of the daemon.
    for round in 0..rounds(8, 60) {
        let before = root_of(&user.status().unwrap());
        let to = if before.contains("token hsm") { "spare" } else { "hsm" };
        let rotate = ["kek", "rotate", "--to", "token", to, "--no-recovery"];
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| user.run(&rotate).unwrap());
            std::thread::sleep(Duration::from_micros(random_below(250_000))); // the random instant is what is tested
            daemon.kill().unwrap();
            let ran = asking.join().unwrap();
            daemon.launch().unwrap();
            wait::soon("it opens", || user.signs("soft").unwrap()).unwrap();
            let after = root_of(&user.status().unwrap());
            assert!(
                after == before || after.contains(&format!("token {to}")),
                "round {round}: {before} became {after}"
            );
            assert!(ran.code != Some(0) || after != before, "round {round}: acknowledged, and not moved");
            if after == before { kept += 1 } else { moved += 1 }
        });
    }
    println!("{moved} killed behind the move, {kept} before it");

    // What a kill left in a token is named, and what opens the daemon is not.
    let left = user.run(&["hsm", "orphans", "--output", "json"]).unwrap().ok().unwrap().stdout;
    let left: serde_json::Value = serde_json::from_str(&left).unwrap();
    let orphans = left["orphans"].as_array().unwrap().iter().filter(|orphan| orphan["class"] == "secrkey").count();
    let in_use = usize::from(root_of(&user.status().unwrap()).contains("token"));
    assert_eq!(orphans + in_use, wrapping_keys(&token) + wrapping_keys(&spare), "{left}");
}

/// What the status says of the root key.
fn root_of(status: &str) -> String {
    let line = status.lines().find(|line| line.trim_start().starts_with("root ")).unwrap_or_default();
    assert!(!line.is_empty(), "{status}");
    line.trim().to_owned()
}
