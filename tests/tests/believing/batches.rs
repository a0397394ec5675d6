//! Batches under a key by name: which daemon verifies them, and how long the client goes on asking it.

use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::time::Duration;

use trust_tests::Trustctl;
use trust_tests::http::{free_address, http};
use trust_tests::wait::until;

use super::remote::{Remote, sign};

/// Far longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(600);

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
