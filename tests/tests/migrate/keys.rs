//! Keys of notary that go into custody.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use trust_tests::image::OciImage;

use super::delegate::delegated;
use super::story::Story;

fn imported<'a>(report: &'a Value, role: &str) -> &'a Value {
    let keys = report["keys"].as_array().unwrap();
    keys.iter().find(|key| key["role"] == role).unwrap_or_else(|| panic!("no {role}: {report}"))
}

#[test]
fn keys_of_notary_go_into_custody_and_sign_there() {
    let story = Story::begun();
    delegated(&story.owner, &story.gun, "targets/releases");
    // What metadata says reaches the owner's own directory when he reads it.
    story.notary(&["list", &story.gun]);
    let passphrase = story.user.write_secret("passphrase", b"a passphrase for tests\n").unwrap();
    let wrong = story.user.write_secret("wrong", b"another\n").unwrap();

    // Wrong: nothing comes in, and each says so.
    let refused = story.import(&["--passphrase-file", &wrong]).exited(1).unwrap();
    let report = refused.json().unwrap();
    assert!(imported(&report, "root")["why"].as_str().unwrap().contains("passphrase"), "{report}");
    let nobody = story.import(&[]).exited(1).unwrap().json().unwrap();
    assert!(imported(&nobody, "root")["why"].as_str().unwrap().contains("nobody is there to ask"), "{nobody}");

    let before = story.user.trust_data(&story.gun).unwrap();
    let ran = story.import(&["--passphrase-file", &wrong, "--passphrase-file", &passphrase]).ok().unwrap();
    let report = ran.json().unwrap();
    assert!(ran.stderr.contains("destroy them"), "{ran}");
    for role in ["root", "targets", "targets/releases"] {
        let key = imported(&report, role);
        assert!(key["result"] == "imported" && key["repositories"][0] == *story.gun, "{key}");
    }

    // The names that docker shows are those that are shown here, and now they are keys of the daemon.
    let after = story.user.trust_data(&story.gun).unwrap();
    for (role, was) in after["roles"].as_array().unwrap().iter().zip(before["roles"].as_array().unwrap()) {
        assert_eq!(role["keys"][0]["id"], was["keys"][0]["id"]);
        let name = role["name"].as_str().unwrap();
        if let "root" | "targets" | "targets/releases" = name {
            assert_eq!(role["keys"][0]["id"], imported(&report, name)["id"], "{after}");
            assert_eq!(role["keys"][0]["name"], imported(&report, name)["name"], "{after}");
        }
    }
    let again = story.import(&["--passphrase-file", &passphrase]).ok().unwrap().json().unwrap();
    assert!(again["keys"].as_array().unwrap().iter().all(|key| key["result"] == "already-there"), "{again}");

    // They sign, and notary's client, which holds none of them any more, takes it.
    let image = OciImage::holding("one");
    let digest = story.put("1.0", &image);
    story.user.run(&["trust", "sign", &story.reference("1.0"), "--role", "targets"]).unwrap().ok().unwrap();
    std::fs::remove_dir_all(story.private_keys().join("private")).unwrap();
    let listed = story.owner.run(&["list", &story.gun]).unwrap().ok().unwrap();
    assert!(listed.stdout.contains("1.0") && listed.stdout.contains(&digest.to_hex()), "{listed}");
}

#[test]
fn what_a_directory_does_not_say_is_asked_for_and_what_is_no_key_is_named() {
    let story = Story::new();
    story.notary(&["key", "generate", "ecdsa"]);
    let private = story.private_keys().join("private");
    for (name, content, mode) in [("broken.key", "no key", 0o600), ("loose.key", "no key", 0o644)] {
        std::fs::write(private.join(name), content).unwrap();
        std::fs::set_permissions(private.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let passphrase = story.user.write_secret("passphrase", b"a passphrase for tests").unwrap();
    let passphrase = ["--passphrase-file", passphrase.as_str()];

    let report = story.import(&passphrase).exited(1).unwrap().json().unwrap();
    assert!(imported(&report, "root")["remedy"].as_str().unwrap().contains("--repository"), "{report}");
    let other = story.registry.reference("team/other");
    let more = ["--repository", story.gun.as_str(), "--repository", other.as_str()];
    let report = story.import(&[&passphrase[..], &more].concat()).exited(1).unwrap().json().unwrap();
    let root = imported(&report, "root");
    assert!(root["result"] == "imported" && root["repositories"].as_array().unwrap().len() == 2, "{report}");
    let whys: Vec<&str> = report["keys"].as_array().unwrap().iter().filter_map(|key| key["why"].as_str()).collect();
    assert!(whys.len() == 2 && whys[0].contains("no key file") && whys[1].contains("others may read"), "{report}");

    // The key begins a repository under the certificate that the daemon writes.
    let name = root["name"].as_str().unwrap();
    story.user.run(&["trust", "init", &other, "--root-key", name]).unwrap().ok().unwrap();
    let nothing = story.user.run(&["migrate", "notary", "import", "keys", "--from", "/nonexistent"]).unwrap();
    assert_eq!(nothing.code, Some(2), "{nothing}");
}
