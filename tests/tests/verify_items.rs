//! `trustctl verify --batch`: as docs/verify.md has it, to the byte, and what it says of batches that are not as they should be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::path::Path;
use std::process::Command;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::{KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use trust_tests::Trustctl;
use trust_tests::document::document;
use trust_tests::program::{Ran, ours, run};

/// The section of the page, and what stands in its fences of a kind.
fn fences(kind: &str) -> Vec<String> {
    let text = document("docs/verify.md").unwrap();
    let section = text.split("\n## Many signatures\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let blocks = section.split("\n```").skip(1).step_by(2);
    let of_kind = blocks.filter_map(|block| block.split_once('\n')).filter(|(word, _)| *word == kind);
    of_kind.map(|(_, text)| format!("{text}\n")).collect()
}

/// A user with the page's key and items.
fn user() -> Trustctl {
    let user = Trustctl::new().unwrap();
    let [items, key] = <[String; 2]>::try_from(fences("")).unwrap();
    user.write("items.jsonl", items.as_bytes()).unwrap();
    user.write("k.pub", key.as_bytes()).unwrap();
    user
}

/// Runs commands of the page where `trustctl` is on the path.
fn shell(user: &Trustctl, script: &str) -> Ran {
    let programs = ours("trustctl").unwrap();
    let path = format!("{}:/usr/bin:/bin", programs.parent().map(Path::display).unwrap());
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).current_dir(user.file("")).env("PATH", path);
    run(command.env("HOME", user.home())).unwrap()
}

#[test]
fn the_page_says_what_becomes_of_its_samples() {
    let user = user();
    let [verify, packed] = <[String; 2]>::try_from(fences("sh")).unwrap();
    let here = verify.lines().next().unwrap();

    let ran = shell(&user, here).exited(1).unwrap();

    assert_eq!(ran.stdout, "not verified item 1: the signature does not fit the key and the message\n");
    assert!(
        ran.stderr.starts_with("2 of 3 items are verified under k.pub\ntrustctl: 1 of 3 items are not verified\n"),
        "{ran}"
    );
    let ran = shell(&user, &format!("{here} --output json")).exited(1).unwrap();
    assert_eq!(ran.stdout, fences("json")[0]);
    let ran = shell(&user, &packed).ok().unwrap();
    assert_eq!(ran.stdout, "verified 1 item under k.pub\n");
}

#[test]
fn a_batch_comes_through_a_pipe_and_each_of_many_failures_is_named() {
    let user = user();
    let lines: Vec<String> = fences("")[0].lines().map(str::to_owned).collect();
    // Chunks of both kinds and many of them; every seventh item is the wrong one.
    let broken = |item: usize| item % 7 == 3;
    let text: String =
        (0..10_000).map(|item| format!("{}\n", lines[if broken(item) { 1 } else { (item / 1000 % 2) * 2 }])).collect();

    let ran = user
        .run_with_input(&["--output", "json", "verify", "--batch", "-", "--public-key", "k.pub"], text.as_bytes())
        .unwrap()
        .exited(1)
        .unwrap();

    let report = ran.json().unwrap();
    let failed: Vec<_> =
        (0..10_000).filter(|item| broken(*item)).map(|item| json!({"index": item, "reason": "wrong"})).collect();
    assert_eq!(report["valid"], 10_000 - failed.len());
    assert_eq!((&report["items"], &report["complete"]), (&json!(10_000), &json!(true)));
    assert_eq!(report["failed"], json!(failed));
    let ran = user.run_with_input(
        &["verify", "--batch", "-", "--public-key", "k.pub"],
        format!("{}\n{}", lines[0], lines[2]).as_bytes(),
    );
    assert_eq!(ran.unwrap().ok().unwrap().stdout, "verified 2 items under k.pub\n");
}

#[test]
fn what_cannot_be_read_ends_a_batch_and_what_came_before_keeps_its_verdicts() {
    let user = user();
    let lines: Vec<String> = fences("")[0].lines().map(str::to_owned).collect();
    let verify = |text: &str, more: &[&str]| {
        let arguments = [&["verify", "--batch", "-", "--public-key", "k.pub"], more].concat();
        user.run_with_input(&arguments, text.as_bytes()).unwrap()
    };
    let text = format!("{}\n{}\n{{\n{}\n", lines[0], lines[1], lines[2]);

    let ran = verify(&text, &[]).exited(2).unwrap();

    assert!(ran.stdout.starts_with("not verified item 1:") && ran.stdout.lines().count() == 1, "{ran}");
    assert!(ran.stderr.contains("1 of 2 items are verified"), "{ran}");
    assert!(ran.stderr.contains("item 2 of the batch cannot be read: in line 3 there is no JSON object"), "{ran}");
    let ran = verify(&text, &["--output", "json"]).exited(2).unwrap();
    let report = ran.json().unwrap();
    assert_eq!((&report["complete"], &report["items"], &report["valid"]), (&json!(false), &json!(2), &json!(1)));
    let ran = verify("", &["--output", "json"]).exited(2).unwrap();
    assert_eq!(ran.json().unwrap()["items"], 0);
    // Where nothing fits, it may be the key.
    let ran = verify(&format!("{}\n", lines[1]).repeat(2), &[]).exited(1).unwrap();
    assert!(ran.stderr.contains("is k.pub the key that signed them?"), "{ran}");
    // A signature that is none of Ed25519.
    let ran = verify("{\"message\":\"\",\"signature\":\"AAAA\"}", &["--output", "json"]).exited(1).unwrap();
    assert_eq!(ran.json().unwrap()["failed"], json!([{"index": 0, "reason": "encoding"}]));
    for (arguments, code) in [
        (&["verify", "--batch", "none.jsonl", "--public-key", "k.pub"][..], 2),
        (&["verify", "--batch", ".", "--public-key", "k.pub"], 4),
        (&["verify", "--batch", "items.jsonl", "--public-key", "items.jsonl"], 2),
        (&["verify", "--batch", "items.jsonl"], 2),
        (&["verify", "--batch", "items.jsonl", "--public-key", "k.pub", "app.tar"], 2),
        (&["verify", "--batch", "items.jsonl", "--public-key", "k.pub", "--bundle", "b"], 2),
    ] {
        let ran = user.run(arguments).unwrap().exited(code).unwrap();
        assert_eq!(ran.stderr.lines().count(), 2, "{ran}");
    }
}

#[test]
fn items_of_ml_dsa_65_are_verified_here_though_no_daemon_has_such_keys() {
    let user = Trustctl::new().unwrap();
    let pair = PqdsaKeyPair::generate(&ML_DSA_65_SIGNING).unwrap();
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let text = STANDARD.encode(spki.as_ref());
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
    user.write("ml-dsa.pub", pem.as_bytes()).unwrap();
    let mut signature = vec![0; ML_DSA_65_SIGNING.signature_len()];
    assert_eq!(pair.sign(b"first", &mut signature).unwrap(), signature.len());
    let length = u32::try_from(signature.len()).unwrap();
    let mut packed = [&b"trustdv1"[..], &2_u32.to_le_bytes(), &length.to_le_bytes()].concat();
    for message in [b"first", b"other"] {
        packed.extend([&5_u32.to_le_bytes()[..], message, &signature[..]].concat());
    }
    user.write("items.bin", &packed).unwrap();
    let line = |signature: &[u8]| json!({"message": STANDARD.encode("first"), "signature": STANDARD.encode(signature)});
    user.write("items.jsonl", format!("{}\n{}\n", line(&signature), line(b"short")).as_bytes()).unwrap();

    for (file, reason) in [("items.bin", "wrong"), ("items.jsonl", "encoding")] {
        let ran = user.run(&["--output", "json", "verify", "--batch", file, "--public-key", "ml-dsa.pub"]).unwrap();

        let report = ran.exited(1).unwrap().json().unwrap();
        assert_eq!((&report["items"], &report["valid"]), (&json!(2), &json!(1)), "{report}");
        assert_eq!(report["failed"], json!([{"index": 1, "reason": reason}]));
    }
    // Whom one believes for images is a key that a daemon may have.
    let ran = user.run(&["pin", "add", "r.example.com/*", "--public-key", "ml-dsa.pub"]).unwrap();
    assert!(ran.exited(2).unwrap().stderr.contains("is not a public key"));
}
