//! What sessions of a token do under the real daemon: share a batch, end it cleanly where the token fails, leave true
//! evidence, ask the token for no more than they have to; and tokens found as an operator names them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use trust_proto::v1::ListEntriesRequest;
use trust_proto::v1::audit_client::AuditClient;
use trust_tests::token::{LABEL, MODULE, PIN, Token};
use trust_tests::{Breakable, Daemon, Setup, Trustctl, wait};

const IN_TOKEN: &[&str] = &["--token", "hsm"];
/// The device's own word for "something is wrong with me".
const DEVICE_ERROR: &str = "0x30";

fn served(setup: &Setup) -> (Daemon, Trustctl) {
    let daemon = Daemon::with(setup).unwrap();
    let user = daemon.user().unwrap();
    user.until_the_token_serves().unwrap();
    (daemon, user)
}

/// A directory `dist` with so many files, ready to be signed by the key `release`.
fn release_of(user: &Trustctl, files: usize) -> Vec<&'static str> {
    let create = ["key", "create", "release", "--purpose", "release-statement", "--token", "hsm"];
    user.run(&create).unwrap().ok().unwrap();
    std::fs::create_dir(user.file("dist")).unwrap();
    for file in 0..files {
        user.write(&format!("dist/file-{file}"), file.to_string().as_bytes()).unwrap();
    }
    vec!["release", "sign", "dist", "--key", "release", "--version", "1.0"]
}

fn files_in_dist(user: &Trustctl) -> usize {
    std::fs::read_dir(user.file("dist")).unwrap().count()
}

/// Some 120 signatures of 200 ms each are 24 s one after another, and the daemon gives a request 8.
#[test]
fn the_sessions_of_a_token_share_a_batch_that_is_too_long_for_one() {
    let token = Breakable::new().unwrap();
    let more = "sessions = 8\n[limits]\nrequest_ms_max = 8000";
    let (_daemon, user) = served(&token.setup(more).unwrap());
    let sign = release_of(&user, 60);
    token.command("C_Sign * delay 200").unwrap();
    let before = token.calls("C_Sign");

    user.run(&sign).unwrap().ok().unwrap();

    let made = token.calls("C_Sign") - before;
    // Of each file two forms and, in a second request, minisign's other half; of the whole the list, its bundle, the manifest.
    assert_eq!(made, 3 * 60 + 3);
    let verify = "release verify dist --public-key release.pub --version 1.0";
    let public = user.run(&["key", "public", "release"]).unwrap().ok().unwrap().stdout;
    user.write("release.pub", public.as_bytes()).unwrap();
    user.run(&verify.split(' ').collect::<Vec<_>>()).unwrap().ok().unwrap();
}

#[test]
fn a_release_whose_token_fails_in_the_middle_leaves_no_file_and_is_signed_once_it_serves_again() {
    let token = Breakable::new().unwrap();
    let (_daemon, user) = served(&token.setup("sessions = 4").unwrap());
    let sign = release_of(&user, 20);
    let sound = token.calls("C_Sign") + 8;
    let broken: String = (sound..sound + 60).map(|call| format!("C_Sign {call} rv {DEVICE_ERROR}\n")).collect();
    token.command(&broken).unwrap();

    let refused = user.run(&sign).unwrap();

    assert!(refused.code != Some(0), "{refused}");
    assert!(token.calls("C_Sign.rv") > 0 && token.calls("C_Sign") > sound, "some were signed, some were not");
    assert_eq!(files_in_dist(&user), 20);
    token.command("").unwrap();
    wait::soon("the release is signed", || user.run(&sign).unwrap().code == Some(0)).unwrap();
    assert!(files_in_dist(&user) > 20);
}

async fn leaves(daemon: &Daemon) -> Vec<Value> {
    let request = ListEntriesRequest { first_leaf: 0, count: 1000 };
    let page = AuditClient::new(daemon.channel().await.unwrap()).list_entries(request).await.unwrap().into_inner();
    page.entries.iter().map(|entry| serde_json::from_slice(entry).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_reached_a_token_that_is_away_is_closed_as_not_started() {
    let token = Token::new().unwrap();
    let (daemon, user) = served(&token.setup());
    user.create("release", IN_TOKEN).unwrap();
    token.take_away().unwrap();
    wait::soon("the token is missed", || {
        let _ = user.signs("release").unwrap();
        user.run(&["status"]).unwrap().stdout.contains("hsm: unavailable")
    })
    .unwrap();
    let before = leaves(&daemon).await.len();

    assert!(!user.signs("release").unwrap());

    let runtime = tokio::runtime::Handle::current();
    let new = || tokio::task::block_in_place(|| runtime.block_on(leaves(&daemon))).split_off(before);
    wait::soon("the intent is closed", || new().iter().any(|leaf| leaf["kind"] == "outcome")).unwrap();
    let new = new();
    let intents = new.iter().filter(|leaf| leaf["kind"] == "intent").count();
    let outcomes: Vec<&str> =
        new.iter().filter(|leaf| leaf["kind"] == "outcome").filter_map(|leaf| leaf["result"].as_str()).collect();
    assert!(intents > 0, "{new:#?}");
    assert_eq!(outcomes, vec!["not-started"; intents], "{new:#?}");
}

#[test]
fn a_key_that_was_found_once_is_not_searched_again() {
    let token = Breakable::new().unwrap();
    // One session, so that no other has to find the key for itself.
    let (_daemon, user) = served(&token.setup("sessions = 1").unwrap());
    user.create("release", IN_TOKEN).unwrap();
    for _ in 0..3 {
        assert!(user.signs("release").unwrap());
    }
    let (searches, signatures) = (token.calls("C_FindObjectsInit"), token.calls("C_Sign"));

    for _ in 0..10 {
        assert!(user.signs("release").unwrap());
    }

    assert_eq!(token.calls("C_FindObjectsInit"), searches);
    assert!(token.calls("C_Sign") >= signatures + 10);
}

#[test]
fn each_of_two_tokens_in_one_daemon_makes_and_uses_its_own_keys() {
    let (first, second) = (Token::new().unwrap(), Token::new().unwrap());
    let more = first.setup().more + &second.setup_as(MODULE, LABEL, "").more.replace("\"hsm\"", "\"other\"");
    let (_daemon, user) = served(&Setup { more, ..Setup::default() });
    wait::soon("the other serves", || user.status().unwrap().contains("other: ready")).unwrap();

    user.create("one", IN_TOKEN).unwrap();
    user.create("two", &["--token", "other"]).unwrap();
    user.create("three", &["--token", "other"]).unwrap();

    assert_eq!((first.private_keys().unwrap().len(), second.private_keys().unwrap().len()), (1, 2));
    for key in ["one", "two", "three"] {
        assert!(user.signs(key).unwrap(), "{key}");
    }
    second.take_away().unwrap();
    wait::soon("its keys are missed", || !user.signs("two").unwrap()).unwrap();
    assert!(user.signs("one").unwrap(), "the first is none of its business");
    second.put_back().unwrap();
    wait::soon("it is back", || user.signs("two").unwrap() && user.signs("three").unwrap()).unwrap();
}

#[test]
fn a_token_is_found_by_its_serial_number_among_others_and_its_pin_is_a_credential() {
    let token = Token::new().unwrap();
    token.add().unwrap();
    let serials = token.serials().unwrap();
    assert_eq!(serials.len(), 2, "{serials:?}");
    let credentials = token.path("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::write(credentials.join("token-pin"), PIN).unwrap();
    std::fs::set_permissions(credentials.join("token-pin"), PermissionsExt::from_mode(0o400)).unwrap();
    let setup = token.setup();
    let more = setup
        .more
        .replace(&format!("label = \"{LABEL}\""), &format!("serial = \"{}\"", serials[1]))
        .replace(&format!("pin_file = \"{}\"", token.path("pin").display()), "pin_credential = \"token-pin\"");
    assert!(more.contains("serial = ") && more.contains("pin_credential"), "{more}");
    let environment = vec![("CREDENTIALS_DIRECTORY".to_owned(), credentials.display().to_string())];
    let (_daemon, user) = served(&Setup { more, environment, ..setup });

    user.create("release", IN_TOKEN).unwrap();

    assert!(user.signs("release").unwrap());
    let shown = user.run(&["hsm", "list"]).unwrap().ok().unwrap().stdout;
    assert!(shown.contains(&serials[1]) && !shown.contains(&serials[0]), "{shown}");
}

#[test]
fn what_a_module_writes_to_standard_error_reaches_the_log_cleaned_and_bounded() {
    let token = Breakable::new().unwrap();
    let (daemon, user) = served(&token.setup("").unwrap());
    user.create("release", IN_TOKEN).unwrap();
    token.command("C_Sign * shout").unwrap();

    assert!(user.signs("release").unwrap());

    wait::soon("the end of it is named", || daemon.log().contains("the rest is not logged")).unwrap();
    assert!(user.signs("release").unwrap(), "nobody waits for a reader");
    let log = daemon.log();
    assert!(log.contains("the worker says:  [2Jshouting 0"), "{log}");
    assert!(!log.contains('\u{1b}'), "{log:?}");
    assert!(log.lines().filter(|line| line.contains("shouting")).count() <= 256, "{log}");
}

/// A token that refuses for a reason of its own is named, with the reason, in status and in the log.
#[test]
fn a_locked_pin_is_said_in_status_and_log_and_the_token_serves_once_it_is_unlocked() {
    let token = Breakable::new().unwrap();
    let setup = token.setup("").unwrap();
    token.command("C_Login * rv 0xA4").unwrap();
    let daemon = Daemon::with(&setup).unwrap();
    let user = daemon.user().unwrap();

    wait::soon("status says why", || {
        let status = user.run(&["status"]).unwrap().stdout;
        status.contains("hsm: unavailable") && status.contains("PIN is locked or not set")
    })
    .unwrap();

    let log = daemon.log();
    assert!(log.lines().any(|line| line.contains("hsm") && line.contains("PIN is locked or not set")), "{log}");
    token.command("").unwrap();
    user.until_the_token_serves().unwrap();
    user.create("release", IN_TOKEN).unwrap();
    assert!(user.signs("release").unwrap());
}

#[test]
fn a_full_token_refuses_a_key_in_words_and_goes_on_signing() {
    let token = Breakable::new().unwrap();
    let (daemon, user) = served(&token.setup("").unwrap());
    user.create("release", IN_TOKEN).unwrap();
    token.command("C_GenerateKeyPair * rv 0x31").unwrap();

    let refused = user.run(&["key", "create", "more", "--purpose", "release-blob", "--token", "hsm"]).unwrap();

    assert!(refused.code != Some(0), "{refused}");
    assert!(token.calls("C_GenerateKeyPair.rv") > 0);
    assert!(refused.stderr.contains("token hsm: the token is full"), "{refused}");
    let status = user.status().unwrap();
    assert!(status.contains("hsm: ready") && status.contains("hsm: the token is full"), "{status}");
    let log = daemon.log();
    assert!(log.lines().any(|line| line.contains("hsm") && line.contains("the token is full")), "{log}");
    assert!(user.signs("release").unwrap());
    assert!(user.run(&["hsm", "orphans"]).unwrap().ok().unwrap().stdout.contains("no orphans"));
    token.command("").unwrap();
    user.create("more", IN_TOKEN).unwrap();
    assert!(!user.status().unwrap().contains("full"), "there is room again");
}
