//! Who signs besides the owner, and other keys in the place of old ones: what `trustctl trust delegate`, `rotate` and
//! `witness` publish, docker's and notary's own clients read; and a push that signs for them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the scene serves several tests")]

#[path = "notary/cli.rs"]
mod cli;
#[path = "notary/docker.rs"]
mod docker;
#[path = "notary/scene.rs"]
mod scene;

use serde_json::Value;
use trust_tests::Trustctl;

use docker::Docker;

/// docker names signers in no order.
fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    names
}

/// A repository whose trust data is begun, and somebody who may do everything there and has no key.
struct Story {
    docker: Docker,
    user: Trustctl,
    repository: String,
}

impl Story {
    fn new() -> Self {
        let docker = Docker::new();
        let user = docker.user();
        let repository = docker.registry.reference("team/app");
        user.run(&["key", "create", "app", "--purpose", "image", "--scope", &repository]).unwrap().ok().unwrap();
        user.run(&["trust", "init", &repository]).unwrap().ok().unwrap();
        Self { docker, user, repository }
    }

    /// `trustctl trust …`, which has to work.
    fn trust(&self, arguments: &[&str]) -> String {
        self.user.run(&[&["trust"], arguments].concat()).unwrap().ok().unwrap().stdout
    }

    /// What docker says of the repository: the signers of each tag, and who may sign.
    fn docker_shows(&self) -> Value {
        let shown = self.docker.run("1", &["trust", "inspect", &self.repository]).ok().unwrap();
        serde_json::from_str::<Value>(&shown.stdout).unwrap()[0].clone()
    }

    fn signers_of(&self, tag: &str) -> Vec<String> {
        let shown = self.docker_shows();
        let tags = shown["SignedTags"].as_array().unwrap();
        let found = tags.iter().find(|signed| signed["SignedTag"] == tag).unwrap_or_else(|| panic!("{tag}: {shown}"));
        sorted(found["Signers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()))
    }

    fn signers(&self) -> Vec<String> {
        let shown = self.docker_shows();
        let signers = shown["Signers"].as_array().cloned().unwrap_or_default();
        sorted(signers.iter().map(|signer| signer["Name"].as_str().unwrap()))
    }

    /// The roles as `trustctl` shows them, by name.
    fn role(&self, name: &str) -> Value {
        let shown = self.user.trust_data(&self.repository).unwrap();
        let roles = shown["roles"].as_array().unwrap();
        roles.iter().find(|role| role["name"] == name).unwrap_or_else(|| panic!("{name}: {shown}")).clone()
    }
}

#[test]
fn a_push_signs_the_tag_for_docker_and_says_what_it_did_not() {
    let story = Story::new();
    let (docker, user) = (&story.docker, &story.user);

    let left_out = docker.built("0.9", "hello from cosign alone");
    let pushed = user.run(&["push", "--no-trust-data", &left_out]).unwrap().ok().unwrap();
    assert!(!pushed.stdout.contains("trust data"), "{pushed}");
    docker.engine.forget(&left_out).unwrap();
    story.docker.refuses(&left_out);

    let reference = docker.built("1.0", "hello from a machine without keys");
    let pushed = user.run(&["push", &reference]).unwrap().ok().unwrap();
    assert!(pushed.stdout.contains("in the trust data by targets version 2"), "{pushed}");
    docker.engine.forget(&reference).unwrap();
    story.docker.pulls(&reference);

    // The key for trust data is not to be had: the image is there, and so are cosign's forms.
    let key = story.role("targets")["keys"][0]["name"].as_str().unwrap().to_owned();
    user.run(&["key", "disable", &key]).unwrap().ok().unwrap();
    let next = docker.built("2.0", "hello again");
    let half = user.run(&["push", &next]).unwrap().exited(1).unwrap();
    assert!(half.stdout.contains("pushed and signed") && !half.stdout.contains("trust data"), "{half}");
    assert!(half.stderr.contains("pushed and signed, but not in its trust data"), "{half}");
    assert!(half.stderr.contains(&format!("trustctl trust sign {next}@sha256:")), "{half}");
    docker.engine.forget(&next).unwrap();
    story.docker.refuses(&next);
    user.run(&["key", "enable", &key]).unwrap().ok().unwrap();
    let again = docker.built("2.0", "hello again");
    let pushed = user.run(&["--output", "json", "push", &again]).unwrap().ok().unwrap().json().unwrap();
    assert_eq!(pushed["trust_data"]["files"][0]["role"], "targets", "{pushed}");
    docker.engine.forget(&again).unwrap();
    story.docker.pulls(&again);

    // Elsewhere nobody has begun any: a push says nothing of it.
    let other = docker.registry.reference("team/other");
    user.run(&["key", "create", "other", "--purpose", "image", "--scope", &other]).unwrap().ok().unwrap();
    let elsewhere = format!("{other}:1.0");
    docker.engine.build(&elsewhere, "hello from elsewhere").unwrap();
    let pushed = user.run(&["push", &elsewhere]).unwrap().ok().unwrap();
    assert!(!pushed.words().contains("trust data"), "{pushed}");
    docker.engine.forget(&elsewhere).unwrap();
}

#[test]
fn docker_sees_signers_with_keys_of_the_daemon_and_of_their_own() {
    let story = Story::new();
    let (docker, repository) = (&story.docker, story.repository.as_str());

    let added = story.trust(&["delegate", "add", repository, "alice"]);
    assert!(added.contains("delegated alice") && added.contains("targets version 2"), "{added}");
    assert_eq!(story.signers(), ["alice"]);
    let first = docker.built("1.0", "hello from alice");
    let pushed = story.user.run(&["push", &first]).unwrap().ok().unwrap();
    assert!(pushed.stdout.contains("targets/alice version 1, targets/releases version 1"), "{pushed}");
    docker.engine.forget(&first).unwrap();
    story.docker.pulls(&first);
    assert_eq!(story.signers_of("1.0"), ["alice"]);

    // Bob has his key himself, and signs with docker what alice's key may sign, too.
    let home = docker.home.path();
    docker.run("1", &["trust", "key", "generate", "bob", "--dir", home.to_str().unwrap()]).ok().unwrap();
    let private = home.join(".docker/trust/private");
    let private = std::fs::read_dir(private).unwrap().next().unwrap().unwrap().path();
    let refused =
        story.user.run(&["trust", "delegate", "add", repository, "bob", "--public-key", private.to_str().unwrap()]);
    assert!(refused.unwrap().exited(2).unwrap().stderr.contains("private key stays with you"));
    story.trust(&["delegate", "add", repository, "bob", "--public-key", home.join("bob.pub").to_str().unwrap()]);
    let second = docker.built("2.0", "hello from bob");
    docker.run("1", &["trust", "sign", &second]).ok().unwrap();
    docker.engine.forget(&second).unwrap();
    story.docker.pulls(&second);
    assert_eq!(story.signers_of("2.0"), ["bob"]);
    assert_eq!(story.signers_of("1.0"), ["alice"]);
    story.trust(&["sign", &second, "--role", "targets/alice"]);
    assert_eq!(story.signers_of("2.0"), ["alice", "bob"]);
    let listed = story.trust(&["delegate", "list", repository]);
    assert!(
        listed.contains("targets/bob") && listed.contains("targets/releases") && listed.contains("not here"),
        "{listed}"
    );
    let seen = story.docker.scene.notary().run(&["delegation", "list", repository]).unwrap().ok().unwrap().stdout;
    assert!(["targets/alice", "targets/bob", "targets/releases"].iter().all(|role| seen.contains(role)), "{seen}");

    // Alice goes: what bob signed last goes on counting.
    let removed = story.trust(&["delegate", "remove", repository, "alice"]);
    assert!(!removed.contains("counts no more"), "{removed}");
    assert_eq!(story.signers(), ["bob"]);
    story.docker.pulls(&first);
    story.docker.pulls(&second);
}

#[test]
fn a_signature_that_went_with_its_key_comes_back_by_a_witness() {
    let story = Story::new();
    let (repository, reference) = (story.repository.as_str(), story.docker.pushed("1.0"));
    story.trust(&["delegate", "add", repository, "alice"]);
    story.trust(&["sign", &reference]);
    story.docker.pulls(&reference);
    let owner = rcgen::KeyPair::generate().unwrap();
    let mut certificate = rcgen::CertificateParams::default();
    certificate.distinguished_name.push(rcgen::DnType::CommonName, "bob");
    let pem = certificate.self_signed(&owner).unwrap().pem();
    let file = story.user.write("bob.pem", pem.as_bytes()).unwrap();
    story.trust(&["delegate", "add", repository, "bob", "--public-key", file.to_str().unwrap()]);

    let removed = story.trust(&["delegate", "remove", repository, "alice"]);
    assert!(removed.contains("targets/releases counts no more"), "{removed}");
    story.docker.refuses(&reference);
    story
        .user
        .run(&["key", "create", "team/carol", "--purpose", "delegation", "--scope", repository])
        .unwrap()
        .ok()
        .unwrap();
    story.trust(&["delegate", "add", repository, "carol", "--key", "team/carol"]);
    let refused = story.user.run(&["trust", "sign", &reference]).unwrap().exited(1).unwrap();
    assert!(refused.stderr.contains("witness it first"), "{refused}");
    story.trust(&["witness", repository, "targets/releases"]);
    story.docker.pulls(&reference);
    assert_eq!(story.signers(), ["bob", "carol"]);
}

#[test]
fn clients_that_knew_the_old_keys_follow_every_rotation() {
    let story = Story::new();
    let (repository, notary) = (story.repository.as_str(), story.docker.scene.notary());
    let reader = Trustctl::new().unwrap();
    reader.configure(&story.docker.scene.trust_server(repository)).unwrap();
    let first = story.docker.pushed("1.0");
    story.trust(&["delegate", "add", repository, "alice"]);
    story.trust(&["sign", &first]);
    // Everybody has seen the first root.
    story.docker.pulls(&first);
    assert!(notary.run(&["list", repository]).unwrap().ok().unwrap().stdout.contains("1.0"));
    reader.run(&["image", "verify", &first]).unwrap().ok().unwrap();
    let old: Vec<Value> =
        ["root", "targets", "snapshot", "timestamp"].map(|role| story.role(role)["keys"].clone()).into();

    for role in ["root", "root", "targets", "snapshot", "timestamp", "targets/alice"] {
        let rotated = story.trust(&["rotate", repository, role]);
        assert!(rotated.contains(&format!("rotated {role} of {repository}")), "{rotated}");
    }

    let new: Vec<Value> =
        ["root", "targets", "snapshot", "timestamp"].map(|role| story.role(role)["keys"].clone()).into();
    assert!(old.iter().zip(&new).all(|(old, new)| old != new), "{old:?} {new:?}");
    let second = story.docker.pushed("2.0");
    story.trust(&["sign", &second]);
    for reference in [&first, &second] {
        story.docker.pulls(reference);
        reader.run(&["image", "verify", reference]).unwrap().ok().unwrap();
    }
    assert_eq!(story.signers_of("2.0"), ["alice"]);
    assert!(notary.run(&["list", repository]).unwrap().ok().unwrap().stdout.contains("2.0"));
    story.trust(&["witness", repository, "root", "targets", "targets/alice"]);
    story.docker.pulls(&first);
    reader.run(&["image", "verify", &first]).unwrap().ok().unwrap();

    // Deleted, and begun again: under the same root key it is still the same repository.
    story.docker.scene.notary().run(&["delete", "--remote", repository]).unwrap().ok().unwrap();
    let begun = story.trust(&["init", repository]);
    assert!(begun.contains("root version 8"), "{begun}");
    story.docker.refuses(&second);
    story.trust(&["sign", &second]);
    story.docker.pulls(&second);
    reader.run(&["image", "verify", &second]).unwrap().ok().unwrap();
    story.user.run(&["audit", "verify"]).unwrap().ok().unwrap();
}
