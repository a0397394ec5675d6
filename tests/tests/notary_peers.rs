//! Content trust with the clients of others: docker's and notary's own command lines, unmodified, on the real daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the scene serves several tests")]

#[path = "notary/cli.rs"]
mod cli;
#[path = "notary/docker.rs"]
mod docker;
#[path = "notary/scene.rs"]
mod scene;
#[path = "notary/story.rs"]
mod story;

use std::os::unix::fs::PermissionsExt as _;

use cli::Cli;
use docker::Docker;
use scene::{Plan, Scene};

const GUN: &str = "ex.io/collection";

#[test]
fn notary_adds_lists_verifies_and_removes() {
    let scene = Scene::started(&Plan::open());
    let (owner, reader) = (scene.notary(), scene.notary());
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
    let (owner, reader) = (scene.notary(), scene.notary());
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
    let (owner, reader) = (scene.notary(), scene.notary());
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
    let listed = reader.run(&["delegation", "list", GUN]).unwrap().ok().unwrap().stdout;
    assert!(listed.contains("No delegations present"), "{listed}");
    assert!(!listed.contains("targets/releases"), "{listed}");

    owner.run(&["delete", "--remote", GUN]).unwrap().ok().unwrap();
    let answer = scene.ask(&format!("GET /v2/{GUN}/_trust/tuf/root.json"));
    assert_eq!(answer.status, 404);
    let stranger = scene.notary().run(&["list", GUN]).unwrap();
    assert_ne!(stranger.code, Some(0), "{stranger}");

    // Its owner has the same root key still, and a new certificate for it.
    owner.run(&["init", "--publish", GUN]).unwrap().ok().unwrap();
    owner.run(&["add", "--publish", GUN, "v2", &file]).unwrap().ok().unwrap();
    let listed = scene.notary().run(&["list", GUN]).unwrap().ok().unwrap().stdout;
    assert!(listed.contains("v2") && !listed.contains("v1"), "{listed}");
}

#[test]
fn docker_signs_on_push_verifies_on_pull_and_refuses_what_is_unsigned() {
    story::seed(&Docker::new());
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

/// Somebody's new image, as it is pushed and signed with `docker trust sign`.
fn signs(docker: &Cli, tag: &str) -> String {
    let reference = docker.built(tag, &format!("hello from {tag}"));
    docker.run("1", &["trust", "sign", &reference]).ok().unwrap();
    reference
}

#[test]
fn a_delegate_signs_from_a_machine_that_has_nothing_but_the_own_key() {
    let owner = Docker::new();
    let repository = owner.registry.reference("team/app");
    let first = owner.built("1.0", "hello from the owner");
    owner.run("1", &["push", &first]).ok().unwrap();
    let alice = owner.stranger();
    let bob = owner.stranger();
    let keys = owner.home.path();

    let generated =
        alice.run("1", &["trust", "key", "generate", "alice", "--dir", keys.to_str().unwrap()]).ok().unwrap();
    alice.says(&generated, "Successfully generated and loaded private key");
    // Bob's key was made elsewhere, and is loaded.
    let made = rcgen::KeyPair::generate().unwrap();
    let (public, private) = (keys.join("bob.pub"), bob.home.path().join("bob.pem"));
    std::fs::write(&public, made.public_key_pem()).unwrap();
    std::fs::write(&private, made.serialize_pem()).unwrap();
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600)).unwrap();
    let loaded = bob.run("1", &["trust", "key", "load", private.to_str().unwrap(), "--name", "bob"]).ok().unwrap();
    bob.says(&loaded, "Successfully imported key from");
    for name in ["alice", "bob"] {
        let key = keys.join(format!("{name}.pub"));
        owner.run("1", &["trust", "signer", "add", "--key", key.to_str().unwrap(), name, &repository]).ok().unwrap();
    }

    for (delegate, name, tag) in [(&alice, "alice", "2.0"), (&bob, "bob", "3.0")] {
        let reference = signs(delegate, tag);
        assert_eq!(delegate.private_keys(), 1, "{name}");
        owner.pulls_afresh(&reference).ok().unwrap();
        let shown = owner.run("1", &["trust", "inspect", "--pretty", &reference]).ok().unwrap();
        owner.says(&shown, name);
        owner.engine.forget(&reference).unwrap();
    }
    // A stranger with a key that nobody delegated to.
    let mallory = owner.stranger();
    mallory.run("1", &["trust", "key", "generate", "mallory", "--dir", keys.to_str().unwrap()]).ok().unwrap();
    let reference = mallory.built("4.0", "hello from mallory");
    let refused = mallory.run("1", &["trust", "sign", &reference]);
    assert_ne!(refused.code, Some(0), "{refused}");
    let refused = owner.pulls_afresh(&reference).exited(1).unwrap();
    owner.says(&refused, "No valid trust data for 4.0");
}

#[test]
fn a_docker_that_was_away_follows_two_root_rotations_with_the_snapshot_on_either_side() {
    let owner = Docker::new();
    let repository = owner.registry.reference("team/app");
    let first = owner.built("1.0", "hello");
    owner.run("1", &["push", &first]).ok().unwrap();
    let notary = owner.scene.notary().with_trust_in(owner.trust_directory());

    for (round, snapshot) in [&["snapshot"][..], &["snapshot", "--server-managed"]].into_iter().enumerate() {
        notary.run(&[&["key", "rotate", &repository], snapshot].concat()).unwrap().ok().unwrap();
        let next = owner.built(&format!("2.{round}"), &format!("hello again {round}"));
        owner.run("1", &["push", &next]).ok().unwrap();
        let away = owner.stranger();
        away.pulls_afresh(&first).ok().unwrap();

        for _ in 0..2 {
            notary.run(&["key", "rotate", &repository, "root"]).unwrap().ok().unwrap();
        }
        let last = owner.built(&format!("3.{round}"), &format!("hello at last {round}"));
        owner.run("1", &["push", &last]).ok().unwrap();

        for reference in [&next, &last] {
            away.pulls_afresh(reference).ok().unwrap();
            away.engine.forget(reference).unwrap();
        }
    }
    owner.engine.forget(&first).unwrap();
}
