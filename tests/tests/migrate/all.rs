//! Exports of all repositories that a server's changefeed names.

use serde_json::{Value, json};
use trust_tests::image::OciImage;
use trust_tests::{Lie, Site, Trustctl};

use super::story::{Story, counts, names};

/// A user of the story's daemon who looks for everything below a prefix at a server.
fn looks_below(story: &Story, prefix: &str, server: &str) -> Trustctl {
    let user = story.scene.daemon.user().unwrap();
    let ca = story.scene.ca();
    let text =
        format!("[[trust_servers]]\nrepository = \"{prefix}/*\"\nurl = \"{server}\"\nca = \"{}\"\n", ca.display());
    user.configure(&text).unwrap();
    user
}

/// What is exported of everything.
fn exported_all(user: &Trustctl, code: i32) -> Value {
    let arguments = ["--output", "json", "migrate", "notary", "export", "--to", "cosign", "--all"];
    user.run(&arguments).unwrap().exited(code).unwrap().json().unwrap()
}

#[test]
fn all_is_what_the_servers_changefeed_has_below_the_prefix() {
    let story = Story::begun();
    story.signed("1.0", &OciImage::holding("one"));
    let pattern = format!("{}/*", story.registry.reference("team"));
    story.user.run(&["key", "create", "team", "--purpose", "image", "--scope", &pattern]).unwrap().ok().unwrap();
    let [second, gone, elsewhere] =
        ["team/second", "team/gone", "other/app"].map(|name| story.registry.reference(name));
    for gun in [&second, &gone, &elsewhere] {
        story.notary(&["init", "--publish", gun]);
    }
    let image = OciImage::holding("two");
    story.registry.put_image("team/second", "2.0", &image).unwrap();
    let (digest, length) = (image.digest().to_hex(), image.manifest().len().to_string());
    story.notary(&["addhash", "--publish", &second, "2.0", &length, "--sha256", &digest]);
    story.notary(&["delete", "--remote", &gone]);
    let server = story.scene.url();

    let report = exported_all(&looks_below(&story, &story.registry.reference("team"), &server), 0);

    assert_eq!((counts(&report), names(&report)), ([2, 0, 0], vec![story.gun.as_str(), second.as_str()]), "{report}");
    let nothing = exported_all(&looks_below(&story, &story.registry.reference("nobody"), &server), 0);
    assert_eq!(names(&nothing), Vec::<&str>::new());
}

#[test]
fn a_changefeed_is_read_page_by_page_to_its_end_and_not_for_ever() {
    let story = Story::new();
    let empty = tempfile::TempDir::new().unwrap();
    let site = Site::of(empty.path()).unwrap();
    let team = story.registry.reference("team");
    let user = looks_below(&story, &team, site.url("").trim_end_matches('/'));
    let page = |behind: &str, records: &Value| {
        let body = json!({"count": 0, "records": records}).to_string().into_bytes();
        site.lie(&format!("v2/_trust/changefeed?change_id={behind}&records=1000"), Lie::Bytes(body));
    };
    let record = |id: &str, name: &str, category: &str| {
        json!({"ID": id, "CreatedAt": "2026-11-23T05:30:32Z", "GUN": format!("{team}/{name}"), "Version": 1,
            "SHA256": "", "Category": category})
    };
    page("0", &json!([record("1", "app", "update"), record("2", "gone", "update"), record("3", "gone", "deletion")]));
    page(
        "3",
        &json!([record("7", "Files", "update"), record("9", "back", "deletion"), record("11", "back", "update")]),
    );
    page("11", &Value::Null);

    let report = exported_all(&user, 1);
    let found = names(&report);
    assert_eq!(found, ["Files", "app", "back"].map(|name| format!("{team}/{name}")), "{report}");
    let whys: Vec<&str> = report["repositories"]
        .as_array()
        .unwrap()
        .iter()
        .map(|repository| repository["left_behind"]["why"].as_str().unwrap())
        .collect();
    assert!(whys[0].contains("no repository of images") && whys[1].contains("has no trust data"), "{whys:?}");

    // One that says the same again and again, one that says something else, and one that is not there.
    page("11", &json!([record("11", "app", "update")]));
    let all = ["migrate", "notary", "export", "--to", "cosign", "--all"];
    let endless = user.run(&all).unwrap().exited(1).unwrap();
    assert!(endless.stdout.contains("does not end") && endless.stdout.contains("in place of --all"), "{endless}");
    assert!(endless.stdout.contains(&format!("{team}/*")), "{endless}");
    site.lie("v2/_trust/changefeed?change_id=11&records=1000", Lie::Bytes(b"{\"records\":7}".to_vec()));
    let other = user.run(&all).unwrap().exited(1).unwrap();
    assert!(other.stdout.contains("changefeed"), "{other}");
    // One that is away takes nothing from what another has.
    site.lie("v2/_trust/changefeed?change_id=0&records=1000", Lie::Status(503));
    let config = user.home().join(".config/trustctl/config.toml");
    let more = std::fs::read_to_string(story.user.home().join(".config/trustctl/config.toml")).unwrap();
    std::fs::write(&config, more + &std::fs::read_to_string(&config).unwrap()).unwrap();
    story.notary(&["init", "--publish", &story.gun]);
    story.signed("1.0", &OciImage::holding("one"));
    story.image_key();
    let report = exported_all(&user, 1);
    assert_eq!((counts(&report), names(&report)), ([1, 0, 1], vec![&*format!("{team}/*"), &story.gun]), "{report}");
    assert!(report["repositories"][0]["left_behind"]["why"].as_str().unwrap().contains("503"), "{report}");
}
