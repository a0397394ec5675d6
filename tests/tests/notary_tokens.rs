//! Tokens of a registry's issuer at the Notary door: the token server of docker's registry, docker and notary, all
//! unmodified.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the scene serves several tests")]

#[path = "notary/cli.rs"]
mod cli;
#[path = "notary/scene.rs"]
mod scene;
#[path = "notary/story.rs"]
mod story;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use trust_tests::issuer::{ISSUER, PASSWORD};
use trust_tests::{Ran, Registry, TokenServer};

use cli::Cli;
use scene::{Plan, Scene};

/// A daemon that believes the tokens of an issuer of this name, made by the server's key, and lets one account do
/// everything.
fn believing(tokens: &TokenServer, issuer: &str, account: &str) -> Scene {
    let table = format!(
        "[notary.token]\nrealm = \"{}\"\nservice = \"notary-server\"\nissuer = \"{issuer}\"\nrootcertbundle = \"{}\"\n",
        tokens.realm(),
        tokens.certificate().display()
    );
    Scene::started(&Plan {
        notary: "auth = \"token\"\n".to_owned(),
        tables: table,
        policy: format!(
            "permit (principal is RegistryAccount, action, resource) when {{ principal.account == \"{account}\" }};\n\
             permit (principal is LocalUid, action, resource);\n"
        ),
    })
}

/// What `docker login` leaves behind.
fn log_in(docker: &Cli, account: &str) {
    let directory = docker.home.path().join(".docker");
    std::fs::create_dir_all(&directory).unwrap();
    let auth = STANDARD.encode(format!("{account}:{PASSWORD}"));
    let config = json!({"auths": {docker.registry.host(): {"auth": auth}}});
    std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
}

fn fails(ran: Ran) -> Ran {
    assert_ne!(ran.code, Some(0), "{ran}");
    ran
}

#[test]
fn docker_signs_and_verifies_with_tokens_and_nobody_does_without_the_right_ones() {
    let registry = Registry::without_port().unwrap();
    // The server gives an account tokens for what begins with the account's own name, and knows no ports in names.
    let account = registry.host().to_owned();
    let tokens = TokenServer::of(&[&account, "mallory"]).unwrap();
    let scene = believing(&tokens, ISSUER, &account);
    let docker = Cli::at(scene.url(), registry);
    log_in(&docker, &account);

    story::seed(&docker);
    let shown =
        docker.run("1", &["trust", "inspect", "--pretty", &docker.registry.reference("team/app")]).ok().unwrap();
    docker.says(&shown, "(Repo Admin)");

    // Another account: the token that it gets grants nothing here, and docker says so.
    let mallory = docker.stranger();
    log_in(&mallory, "mallory");
    let reference = mallory.built("stolen", "hello from mallory");
    let refused = fails(mallory.run("1", &["push", &reference]));
    mallory.says(&refused, "you are not authorized to perform this operation: server returned 401");
    let refused = fails(docker.pulls_afresh(&reference));
    docker.says(&refused, "No valid trust data for stolen");
    let signed = docker.registry.reference("team/app:signed");
    fails(mallory.run("1", &["pull", &signed]));
    // Nobody: no token at all.
    fails(docker.stranger().run("1", &["pull", &signed]));
    // A wrong password.
    let forgetful = docker.stranger();
    log_in(&forgetful, "nobody");
    fails(forgetful.run("1", &["pull", &signed]));
}

#[test]
fn notary_publishes_with_tokens_of_the_issuer_that_is_believed_and_of_no_other() {
    let tokens = TokenServer::of(&["alice", "bob"]).unwrap();
    let (scene, elsewhere) = (believing(&tokens, ISSUER, "alice"), believing(&tokens, "another issuer", "alice"));
    let alice = scene.notary().logged_in("alice", PASSWORD);
    let file = alice.file("first", "one\n").unwrap();

    alice.run(&["init", "--publish", "alice/collection"]).unwrap().ok().unwrap();
    alice.run(&["add", "--publish", "alice/collection", "v1", &file]).unwrap().ok().unwrap();

    // What is not below the account's name the token does not grant, and what the token grants the policy may not.
    fails(alice.run(&["init", "--publish", "bob/collection"]).unwrap());
    fails(scene.notary().logged_in("bob", PASSWORD).run(&["init", "--publish", "bob/collection"]).unwrap());
    fails(scene.notary().logged_in("alice", "another").run(&["init", "--publish", "alice/other"]).unwrap());
    fails(elsewhere.notary().logged_in("alice", PASSWORD).run(&["init", "--publish", "alice/collection"]).unwrap());
    let log = scene.daemon.user().unwrap().run(&["audit", "log", "--count", "100"]).unwrap().ok().unwrap();
    assert!(log.stdout.contains(&format!("account:alice@{ISSUER}")), "{log}");
}
