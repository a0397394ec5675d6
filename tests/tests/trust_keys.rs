//! Docker's content trust with root and targets keys in the daemon: what `trustctl trust` signs, an unmodified docker
//! verifies, and no private key is where it was signed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the scene serves several tests")]

#[path = "notary/cli.rs"]
mod cli;
#[path = "notary/docker.rs"]
mod docker;
#[path = "notary/scene.rs"]
mod scene;

use std::path::Path;

use base64::Engine as _;
use serde_json::Value;
use trust_tests::image::OciImage;
use trust_tests::program::{openssl, run};
use trust_tests::token::Token;
use trust_tests::{Setup, Trustctl};

use docker::Docker;

/// The files below a directory that hold a private key.
fn private_keys_below(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(private_keys_below(&path));
        } else if path.is_file() && String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains("PRIVATE KEY") {
            found.push(path);
        }
    }
    found
}

/// openssl's opinion of the certificate that root lists: the key signed it itself, and it is no authority's.
fn certificate_is_sound(docker: &Docker, repository: &str) {
    let answer = docker.scene.ask(&format!("GET /v2/{repository}/_trust/tuf/root.json"));
    let root = answer.json();
    let id = root["signed"]["roles"]["root"]["keyids"][0].as_str().unwrap();
    let key = &root["signed"]["keys"][id];
    let pem = base64::engine::general_purpose::STANDARD.decode(key["keyval"]["public"].as_str().unwrap()).unwrap();
    let file = docker.home.path().join("root.pem");
    std::fs::write(&file, pem).unwrap();
    let openssl = |arguments: &[&str]| {
        let mut command = openssl().unwrap();
        run(command.args(arguments).arg(&file)).unwrap().ok().unwrap().stdout
    };
    let file = file.to_str().unwrap();
    openssl(&["verify", "-check_ss_sig", "-CAfile", file]);
    let shown = openssl(&["x509", "-noout", "-subject", "-ext", "basicConstraints,keyUsage,extendedKeyUsage", "-in"]);
    for words in [repository, "CA:FALSE", "Digital Signature, Key Encipherment", "Code Signing"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

/// Begins, signs and revokes; docker pulls exactly what is signed.
fn story(docker: &Docker, user: &Trustctl, init: &[&str]) {
    let repository = docker.registry.reference("team/app");
    let signed = docker.pushed("1.0");
    let none = user.run(&["trust", "sign", &signed]).unwrap().exited(1).unwrap();
    assert!(none.stderr.contains("no trust data") && none.stderr.contains("trustctl trust inspect"), "{none}");

    user.run(&[&["trust", "init", &repository], init].concat()).unwrap().ok().unwrap();
    let refused = docker.run("1", &["pull", &signed]).exited(1).unwrap();
    docker.says(&refused, "No valid trust data for 1.0");
    let done = user.run(&["trust", "sign", &signed]).unwrap().ok().unwrap();
    assert!(done.stdout.contains("targets version 2"), "{done}");
    let pulled = docker.run("1", &["pull", &signed]).ok().unwrap();
    docker.says(&pulled, "@sha256:");
    let ran = docker.run("1", &["run", "--rm", "--network", "none", &signed]).ok().unwrap();
    assert!(ran.stdout.contains("hello from 1.0"), "{ran}");
    let shown = docker.run("1", &["trust", "inspect", "--pretty", &signed]).ok().unwrap();
    docker.says(&shown, "(Repo Admin)");
    certificate_is_sound(docker, &repository);

    let unsigned = docker.pushed("2.0");
    let refused = docker.run("1", &["pull", &unsigned]).exited(1).unwrap();
    docker.says(&refused, "No valid trust data for 2.0");
    let said = user.trust_data(&repository).unwrap();
    assert_eq!(said["targets"].as_array().unwrap().len(), 1, "{said}");
    assert_eq!(said["targets"][0]["tag"], "1.0", "{said}");
    let names: Vec<_> = said["roles"].as_array().unwrap().iter().map(|role| &role["keys"][0]["name"]).collect();
    assert!(names.len() == 4 && names.iter().all(|name| name.is_string()), "{said}");
    let again = user.run(&["trust", "init", &repository]).unwrap().exited(1).unwrap();
    assert!(again.stderr.contains("has trust data already"), "{again}");

    user.run(&["trust", "revoke", &signed]).unwrap().ok().unwrap();
    docker.engine.forget(&signed).unwrap();
    let refused = docker.run("1", &["pull", &signed]).exited(1).unwrap();
    docker.says(&refused, "No valid trust data for 1.0");
    let again = user.run(&["trust", "revoke", &signed]).unwrap().exited(1).unwrap();
    assert!(again.stderr.contains("1.0 is not signed"), "{again}");
    for home in [user.home(), docker.home.path()] {
        assert_eq!(private_keys_below(home), Vec::<std::path::PathBuf>::new());
    }
    user.run(&["audit", "verify"]).unwrap().ok().unwrap();
}

#[test]
fn docker_pulls_what_was_signed_from_a_machine_without_a_key() {
    let docker = Docker::new();
    let user = docker.scene.daemon.user().unwrap();

    story(&docker, &user, &[]);
}

#[test]
fn docker_pulls_what_keys_in_a_token_signed() {
    let token = Token::new().unwrap();
    let docker = Docker::with(&token.setup().more, Setup::ALLOW_ALL);
    let user = docker.scene.daemon.user().unwrap();
    user.until_the_token_serves().unwrap();

    story(&docker, &user, &["--token", "hsm"]);

    assert_eq!(token.private_keys().unwrap().len(), 2, "root and targets");
    let keys = user.run(&["--output", "json", "key", "list"]).unwrap().ok().unwrap();
    let keys: Value = serde_json::from_str(&keys.stdout).unwrap();
    for key in keys["keys"].as_array().unwrap() {
        let expected = if ["root", "targets"].contains(&key["purpose"].as_str().unwrap()) { "hsm" } else { "software" };
        assert_eq!(key["custodian"], expected, "{key}");
    }
}

#[test]
fn an_index_is_signed_whole_and_one_root_key_serves_two_repositories() {
    let docker = Docker::new();
    let user = docker.scene.daemon.user().unwrap();
    let [one, other] = ["team/one", "team/other"].map(|name| docker.registry.reference(name));
    user.run(&["key", "create", "team/root", "--purpose", "root", "--scope", &one, "--scope", &other])
        .unwrap()
        .ok()
        .unwrap();
    for repository in [&one, &other] {
        user.run(&["trust", "init", repository, "--root-key", "team/root"]).unwrap().ok().unwrap();
        let said = user.trust_data(repository).unwrap();
        assert_eq!(said["roles"][0]["keys"][0]["name"], "team/root", "{said}");
    }
    let elsewhere = docker.registry.reference("team/third");
    let refused = user.run(&["trust", "init", &elsewhere, "--root-key", "team/root"]).unwrap().exited(1).unwrap();
    assert!(refused.stderr.contains("scope does not cover"), "{refused}");

    let instances = ["amd64", "arm64"].map(OciImage::holding);
    let index = OciImage::index(&instances);
    let at = |tag: &str| format!("{one}:{tag}");
    docker.registry.put_image("team/one", "part", &instances[0]).unwrap();
    docker.registry.put_image("team/one", "other-part", &instances[1]).unwrap();
    docker.registry.put_image("team/one", "both", &index).unwrap();
    user.run(&["trust", "sign", &at("both")]).unwrap().ok().unwrap();
    let said = user.trust_data(&at("both")).unwrap();
    assert_eq!(said["targets"][0]["digest"], index.digest().to_string(), "{said}");
    assert_eq!(said["targets"][0]["length"], index.manifest().len(), "{said}");
    let no_tag = user.run(&["trust", "revoke", &one]).unwrap().exited(2).unwrap();
    assert!(no_tag.stderr.contains("no tag"), "{no_tag}");
}
