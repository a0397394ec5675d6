//! Content trust with the clients of others: docker's and notary's own command lines, unmodified, on the real daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the scene serves several tests")]

#[path = "notary/docker.rs"]
mod docker;
#[path = "notary/scene.rs"]
mod scene;

use trust_tests::Notary;

use docker::Docker;
use scene::{Plan, Scene};

const GUN: &str = "ex.io/collection";

fn notary(scene: &Scene) -> Notary {
    let server = format!("https://localhost:{}", scene.address.port());
    Notary::at(server, Some(scene.directory.path().join("ca.pem"))).unwrap()
}

#[test]
fn notary_adds_lists_verifies_and_removes() {
    let scene = Scene::started(&Plan::open());
    let (owner, reader) = (notary(&scene), notary(&scene));
    let (first, second) = (owner.file("first", "one\n").unwrap(), owner.file("second", "two\n").unwrap());

    owner.run(&["init", "--publish", GUN]).unwrap().ok().unwrap();
    owner.run(&["add", "--publish", GUN, "v1", &first]).unwrap().ok().unwrap();
    owner.run(&["add", "--publish", GUN, "v2", &second]).unwrap().ok().unwrap();

    let listed = reader.run(&["list", GUN]).unwrap().ok().unwrap().stdout;
    assert!(listed.contains("v1") && listed.contains("v2") && listed.contains("targets"), "{listed}");
    let found = reader.run(&["lookup", GUN, "v1"]).unwrap().ok().unwrap().stdout;
    assert!(found.starts_with("v1 sha256:"), "{found}");
    reader.run(&["verify", "--input", &first, GUN, "v1"]).unwrap().ok().unwrap();
    let refused = reader.run(&["verify", "--input", &second, GUN, "v1"]).unwrap();
    assert_ne!(refused.code, Some(0), "{refused}");

    owner.run(&["remove", "--publish", GUN, "v1"]).unwrap().ok().unwrap();
    let listed = reader.run(&["list", GUN]).unwrap().ok().unwrap().stdout;
    assert!(!listed.contains("v1") && listed.contains("v2"), "{listed}");
}

#[test]
fn notary_rotates_each_key_and_an_old_client_follows() {
    let scene = Scene::started(&Plan::open());
    let (owner, reader) = (notary(&scene), notary(&scene));
    let file = owner.file("first", "one\n").unwrap();
    owner.run(&["init", "--publish", GUN]).unwrap().ok().unwrap();
    owner.run(&["add", "--publish", GUN, "v1", &file]).unwrap().ok().unwrap();
    reader.run(&["list", GUN]).unwrap().ok().unwrap();

    for rotation in [
        &["snapshot", "--server-managed"][..],
        &["timestamp", "--server-managed"],
        &["targets"],
        &["snapshot"],
        &["root"],
        &["root"],
    ] {
        let mut arguments = vec!["key", "rotate", GUN];
        arguments.extend(rotation);
        owner.run(&arguments).unwrap().ok().unwrap_or_else(|error| panic!("{rotation:?}: {error}"));
        let listed = reader.run(&["list", GUN]).unwrap().ok().unwrap_or_else(|error| panic!("{rotation:?}: {error}"));
        assert!(listed.stdout.contains("v1"), "{rotation:?}: {listed}");
    }
    owner.run(&["add", "--publish", GUN, "v2", &file]).unwrap().ok().unwrap();
    assert!(reader.run(&["list", GUN]).unwrap().ok().unwrap().stdout.contains("v2"));
    let refused = owner.run(&["key", "rotate", GUN, "timestamp"]).unwrap();
    assert_ne!(refused.code, Some(0), "{refused}");
}

#[test]
fn notary_delegates_and_deletes() {
    let scene = Scene::started(&Plan::open());
    let (owner, reader) = (notary(&scene), notary(&scene));
    let file = owner.file("first", "one\n").unwrap();
    owner.run(&["init", "--publish", GUN]).unwrap().ok().unwrap();
    owner.run(&["key", "rotate", GUN, "snapshot", "--server-managed"]).unwrap().ok().unwrap();
    let delegate = rcgen::KeyPair::generate().unwrap();
    let public = owner.file("delegate.pem", &delegate.public_key_pem()).unwrap();
    let private = owner.file("delegate-key.pem", &delegate.serialize_pem()).unwrap();

    owner
        .run(&["delegation", "add", "--publish", GUN, "targets/releases", &public, "--all-paths"])
        .unwrap()
        .ok()
        .unwrap();
    let listed = reader.run(&["delegation", "list", GUN]).unwrap().ok().unwrap().stdout;
    assert!(listed.contains("targets/releases"), "{listed}");
    owner.run(&["key", "import", &private, "--role", "targets/releases"]).unwrap().ok().unwrap();
    owner.run(&["add", "--publish", "--roles", "targets/releases", GUN, "v1", &file]).unwrap().ok().unwrap();
    let listed = reader.run(&["list", GUN]).unwrap().ok().unwrap().stdout;
    assert!(listed.contains("targets/releases"), "{listed}");
    owner.run(&["delegation", "remove", "--publish", "--yes", GUN, "targets/releases"]).unwrap().ok().unwrap();

    owner.run(&["delete", "--remote", GUN]).unwrap().ok().unwrap();
    let answer = scene.ask(&format!("GET /v2/{GUN}/_trust/tuf/root.json"));
    assert_eq!(answer.status, 404);
    let stranger = notary(&scene).run(&["list", GUN]).unwrap();
    assert_ne!(stranger.code, Some(0), "{stranger}");
}

#[test]
fn docker_signs_on_push_verifies_on_pull_and_refuses_what_is_unsigned() {
    let docker = Docker::new();
    let signed = docker.built("signed", "hello from a signed image");

    let pushed = docker.run("1", &["push", &signed]).ok().unwrap();
    docker.says(&pushed, "Signing and pushing trust metadata");
    docker.says(&pushed, &format!("Successfully signed {signed}"));
    docker.engine.forget(&signed).unwrap();
    let pulled = docker.run("1", &["pull", &signed]).ok().unwrap();
    docker.says(&pulled, "@sha256:");
    assert!(docker.engine.holds(&signed).unwrap());
    let ran = docker.run("1", &["run", "--rm", "--network", "none", &signed]).ok().unwrap();
    assert!(ran.stdout.contains("hello from a signed image"), "{ran}");

    // Pushed with trust off: it leaves nothing.
    let unsigned = docker.built("unsigned", "hello from nobody");
    docker.run("0", &["push", &unsigned]).ok().unwrap();
    docker.engine.forget(&unsigned).unwrap();
    let refused = docker.run("1", &["pull", &unsigned]).exited(1).unwrap();
    docker.says(&refused, "No valid trust data for unsigned");
    let refused = docker.run("1", &["run", "--rm", "--network", "none", &unsigned]).exited(125).unwrap();
    docker.says(&refused, "No valid trust data for unsigned");
    assert!(!docker.engine.holds(&unsigned).unwrap());
    docker.run("0", &["pull", &unsigned]).ok().unwrap();
    assert!(docker.engine.holds(&unsigned).unwrap());

    // A repository that nobody ever signed.
    let other = docker.registry.reference("team/other:1");
    docker.engine.build(&other, "hello from elsewhere").unwrap();
    docker.run("0", &["push", &other]).ok().unwrap();
    docker.engine.forget(&other).unwrap();
    let refused = docker.run("1", &["pull", &other]).exited(1).unwrap();
    docker.says(&refused, "does not have trust data for");
    for reference in [&signed, &unsigned, &other] {
        docker.engine.forget(reference).unwrap();
    }
}

#[test]
fn docker_trust_shows_signs_and_revokes() {
    let docker = Docker::new();
    let reference = docker.built("1.0", "hello");
    let repository = docker.registry.reference("team/app");
    docker.run("1", &["push", &reference]).ok().unwrap();

    let shown = docker.run("1", &["trust", "inspect", "--pretty", &reference]).ok().unwrap();
    docker.says(&shown, "1.0");
    docker.says(&shown, "(Repo Admin)");
    let home = docker.home.path();
    let key = docker.run("1", &["trust", "key", "generate", "alice", "--dir", home.to_str().unwrap()]).ok().unwrap();
    let public = home.join("alice.pub");
    assert!(public.is_file(), "{key}");
    docker.run("1", &["trust", "signer", "add", "--key", public.to_str().unwrap(), "alice", &repository]).ok().unwrap();
    // From now on docker signs into the delegations, and revokes from them: 1.0 stays the owner's.
    let next = docker.built("2.0", "hello again");
    docker.run("1", &["trust", "sign", &next]).ok().unwrap();
    let shown = docker.run("1", &["trust", "inspect", "--pretty", &next]).ok().unwrap();
    docker.says(&shown, "alice");
    docker.run("1", &["trust", "revoke", "--yes", &next]).ok().unwrap();
    docker.engine.forget(&next).unwrap();
    let refused = docker.run("1", &["pull", &next]).exited(1).unwrap();
    docker.says(&refused, "No valid trust data for 2.0");
    docker.engine.forget(&reference).unwrap();
    docker.run("1", &["pull", &reference]).ok().unwrap();
    docker.engine.forget(&reference).unwrap();
}

#[test]
fn a_policys_words_reach_whoever_pushes() {
    let words = "only the release team publishes here, ask them";
    let policy = format!(
        "permit (principal, action, resource);\n@id(\"team\") @message(\"{words}\")\n\
         forbid (principal is Anonymous, action == Action::\"publish\", resource);\n"
    );
    let docker = Docker::with("", &policy);
    let reference = docker.built("1.0", "hello");

    let refused = docker.run("1", &["push", &reference]);

    assert_ne!(refused.code, Some(0), "{refused}");
    assert!(refused.words().contains(words), "{refused}");
    docker.engine.forget(&reference).unwrap();
}
