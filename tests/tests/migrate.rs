//! The way in and out of docker's content trust: what notary's own command line signed is signed anew for cosign, and
//! its keys go into custody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the scene serves several tests")]

#[path = "migrate/all.rs"]
mod all;
#[path = "notary/delegate.rs"]
mod delegate;
#[path = "migrate/keys.rs"]
mod keys;
#[path = "notary/scene.rs"]
mod scene;
#[path = "migrate/story.rs"]
mod story;

use serde_json::Value;
use trust_tests::Registry;
use trust_tests::image::OciImage;
use trust_tests::peer::Cosign;

use delegate::delegated;
use story::{Story, counts, names, tag};

#[test]
fn what_was_signed_is_signed_for_cosign_and_what_cannot_be_is_named() {
    let story = Story::begun();
    let good = story.signed("1.0", &OciImage::holding("one"));
    let instances = ["amd64", "arm64"].map(OciImage::holding);
    for instance in &instances {
        story.put(&instance.digest().to_string(), instance);
    }
    let many = story.signed("many", &OciImage::index(&instances));
    let gone = story.signed("gone", &OciImage::holding("gone"));
    story.registry.delete_manifest("team/app", &gone).unwrap();
    story.signed("moved", &OciImage::holding("before"));
    story.put("moved", &OciImage::holding("after"));
    let short = OciImage::holding("short");
    story.put("short", &short);
    story.sign("short", &short.digest(), short.manifest().len() - 1, &[]);
    story.sign("no+tag", &good, 7, &[]);

    // Nobody is there to sign: nothing is, and all of it is said.
    let report = story.export(1, &[&story.gun]);
    assert_eq!(counts(&report), [0, 0, 1], "{report}");
    assert!(report["repositories"][0]["left_behind"]["remedy"].as_str().unwrap().contains("key create"), "{report}");

    let key = story.image_key();
    let report = story.export(1, &["--all"]);
    assert_eq!(counts(&report), [2, 0, 4], "{report}");
    assert_eq!(report["repositories"][0]["key"], "app");
    assert_eq!(tag(&report, "1.0")["digest"], good.to_string());
    assert_eq!(tag(&report, "many")["digest"], many.to_string());
    assert!(tag(&report, "many")["evidence"][0]["leaf"].is_u64(), "{report}");
    for (name, words) in [
        ("gone", "the registry has no"),
        ("moved", "at that tag"),
        ("short", "bytes"),
        ("no+tag", "no tag has such a name"),
    ] {
        let one = tag(&report, name);
        assert!(one["result"] == "left-behind" && one["why"].as_str().unwrap().contains(words), "{one}");
        assert!(!one["remedy"].as_str().unwrap().is_empty(), "{one}");
    }

    // Stock cosign verifies exactly these.
    let root = story.user.run(&["trusted-root"]).unwrap().ok().unwrap().stdout;
    let root = story.user.write("trusted-root.json", root.as_bytes()).unwrap();
    let by_root = ["--trusted-root", root.to_str().unwrap()];
    for (cosign, more) in [(Cosign::three().unwrap(), &[][..]), (Cosign::two().unwrap(), &by_root)] {
        for name in ["1.0", "many"] {
            cosign.verify(&key, &story.reference(name), more).unwrap().ok().unwrap();
        }
        for name in ["gone", "moved", "short"] {
            let refused = cosign.verify(&key, &story.reference(name), more).unwrap();
            assert_ne!(refused.code, Some(0), "{refused}");
        }
    }

    // Once more: what is there is left alone, and when the rest is withdrawn nothing is left behind.
    let leaves = log_length(&story);
    let report = story.export(1, &[&story.gun]);
    assert_eq!(counts(&report), [0, 2, 4], "{report}");
    assert_eq!(log_length(&story), leaves, "nothing was signed again");
    for name in ["gone", "moved", "short", "no+tag"] {
        story.notary(&["remove", "--publish", &story.gun, name]);
    }
    story.signed("2.0", &OciImage::holding("two"));
    let report = story.export(0, &[&story.gun]);
    assert_eq!(counts(&report), [1, 2, 0], "{report}");
    let text = story.user.run(&["migrate", "notary", "export", "--to", "cosign", &story.gun]).unwrap().ok().unwrap();
    assert!(text.stdout.contains("0 carried over, 3 there already, 0 left behind"), "{text}");
}

fn log_length(story: &Story) -> String {
    story.user.run(&["audit", "log", "--count", "1"]).unwrap().ok().unwrap().stdout
}

#[test]
fn an_export_takes_up_where_another_signature_was_and_honours_the_forms() {
    let story = Story::begun();
    story.signed("1.0", &OciImage::holding("one"));
    story.signed("2.0", &OciImage::holding("two"));
    story.image_key();
    let reference = story.reference("1.0");
    story.user.run(&["image", "sign", "--key", "app", "--forms", "sig", &reference]).unwrap().ok().unwrap();

    let report = story.export(0, &["--forms", "sig", &story.gun]);
    assert_eq!(counts(&report), [1, 1, 0], "{report}");
    assert_eq!(tag(&report, "1.0")["result"], "already-there");
    let report = story.export(0, &[&story.gun]);
    assert_eq!(counts(&report), [2, 0, 0], "the bundles were missing: {report}");

    // A key that may not sign, and a daemon's word for why.
    story.signed("3.0", &OciImage::holding("three"));
    story.user.run(&["key", "disable", "app"]).unwrap().ok().unwrap();
    let report = story.export(1, &["--key", "app", &story.gun]);
    assert_eq!(counts(&report), [0, 2, 1], "{report}");
    assert!(tag(&report, "3.0")["why"].as_str().unwrap().contains("disabled"), "{report}");
}

#[test]
fn delegations_count_as_docker_counts_them() {
    let story = Story::begun();
    story.image_key();
    let (one, two) = (OciImage::holding("one"), OciImage::holding("two"));
    story.signed("both", &one);
    story.put("released", &two);
    story.put("tried", &two);
    for role in ["targets/releases", "targets/qa"] {
        delegated(&story.owner, &story.gun, role);
    }
    let length = two.manifest().len();
    story.sign("both", &two.digest(), length, &["--roles", "targets/releases"]);
    story.sign("released", &two.digest(), length, &["--roles", "targets/releases"]);
    story.sign("tried", &two.digest(), length, &["--roles", "targets/qa"]);

    let report = story.export(1, &[&story.gun]);

    assert_eq!(counts(&report), [1, 0, 2], "{report}");
    assert_eq!(tag(&report, "released")["role"], "targets/releases");
    let both = tag(&report, "both")["why"].as_str().unwrap();
    assert!(both.contains(&one.digest().to_string()) && both.contains(&two.digest().to_string()), "{report}");
    let tried = tag(&report, "tried");
    assert!(
        tried["role"] == "targets/qa" && tried["why"].as_str().unwrap().contains("only by a delegation"),
        "{tried}"
    );
}

#[test]
fn what_cannot_be_asked_is_said_and_nothing_is_signed() {
    let mut story = Story::begun();
    for tag in ["1.0", "2.0", "3.0", "4.0"] {
        story.signed(tag, &OciImage::holding(tag));
    }
    story.image_key();
    let other = story.registry.reference("team/other");

    let report = story.export(1, &[&other]);
    assert!(report["repositories"][0]["left_behind"]["why"].as_str().unwrap().contains("no trust server"), "{report}");
    let report = story.export(1, &["--trust-root", &"ab".repeat(32), &story.gun]);
    assert!(report["repositories"][0]["left_behind"]["why"].as_str().unwrap().contains("pinned"), "{report}");
    let both = story.user.run(&["migrate", "notary", "export", "--to", "cosign", "--all", &other]).unwrap();
    assert_eq!(both.code, Some(2), "{both}");

    story.registry.go_down().unwrap();
    let report = story.export(1, &[&story.gun]);
    assert_eq!(counts(&report), [0, 0, 4], "{report}");
    for (name, words) in [("1.0", "cannot be reached"), ("3.0", "cannot be reached"), ("4.0", "not tried")] {
        assert!(tag(&report, name)["why"].as_str().unwrap().contains(words), "{report}");
    }
}

#[test]
fn a_registry_that_is_away_holds_up_no_other_and_what_it_has_comes_with_the_next_run() {
    let mut away = Registry::that_comes_back().unwrap();
    let story = Story::beside(&[&away]);
    let [first, second] = ["team/app", "team/other"].map(|name| away.reference(name));
    for gun in [&first, &second, &story.gun] {
        story.notary(&["init", "--publish", gun]);
    }
    for tag in ["1.0", "2.0", "3.0", "4.0"] {
        let image = OciImage::holding(tag);
        let digest = away.put_image("team/app", tag, &image).unwrap().to_hex();
        let length = image.manifest().len().to_string();
        story.notary(&["addhash", "--publish", &first, tag, &length, "--sha256", &digest]);
    }
    story.signed("1.0", &OciImage::holding("here"));
    story.image_key();
    let below = away.reference("team/*");
    story.user.run(&["key", "create", "away", "--purpose", "image", "--scope", &below]).unwrap().ok().unwrap();
    let all = [first.as_str(), &second, &story.gun];

    away.go_down().unwrap();
    let report = story.export(1, &all);

    assert_eq!((counts(&report), names(&report)), ([1, 0, 5], all.to_vec()), "{report}");
    let why = |one: &Value| one["why"].as_str().unwrap().to_owned();
    assert!(why(tag(&report, "1.0")).contains("cannot be reached"), "{report}");
    let not_tried = format!("not tried: the registry {}", away.host());
    let [last, whole] = [tag(&report, "4.0"), &report["repositories"][1]["left_behind"]];
    for one in [last, whole] {
        assert!(why(one).starts_with(&not_tried), "{one}");
        assert!(one["remedy"].as_str().unwrap().contains("run it again"), "{one}");
    }
    assert_eq!(report["repositories"][2]["tags"][0]["result"], "carried-over", "{report}");

    // There again, and it takes nothing: that is its own repository's loss, too.
    away.come_back_read_only().unwrap();
    let report = story.export(1, &all);
    assert_eq!(counts(&report), [0, 1, 4], "{report}");
    assert!(why(tag(&report, "3.0")).contains("405"), "{report}");
    assert!(why(tag(&report, "4.0")).starts_with("not tried: the registry said no to 3 tags"), "{report}");

    away.go_down().unwrap();
    away.come_back().unwrap();
    assert_eq!(counts(&story.export(0, &all)), [4, 1, 0]);
    assert_eq!(counts(&story.export(0, &all)), [0, 5, 0]);
}
