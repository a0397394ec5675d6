//! A role that two holders have to sign for, each with a key of their own in the daemon, one of them in a token: what the one
//! signs waits, nobody reads it, and when the other has signed the same bytes, an unmodified docker pulls it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "the scene serves several tests")]

#[path = "notary/cli.rs"]
mod cli;
#[path = "notary/docker.rs"]
mod docker;
#[path = "notary/scene.rs"]
mod scene;

use serde_json::Value;
use tempfile::TempDir;
use trust_tests::authority::{self, Authority};
use trust_tests::http::free_address;
use trust_tests::notary::PASSPHRASE;
use trust_tests::token::Token;
use trust_tests::{Ran, Trustctl};

use docker::Docker;

/// Each holder signs with one key alone; root on the machine administers.
const POLICY: &str = "
    permit (principal, action, resource);
    forbid (principal is Spiffe, action in [Action::\"sign-metadata\", Action::\"create-key\"], resource)
    when { !(principal.path == \"/alice\" && resource.name == \"team/qa-1\")
        && !(principal.path == \"/bob\" && resource.name == \"team/qa-2\") };
    forbid (principal, action == Action::\"sign-metadata\", resource)
    when { context.operation == \"delegate\" && context.keys_elsewhere && context.roles.contains(\"targets/releases\") };
";

struct Story {
    docker: Docker,
    _token: Token,
    _certificates: TempDir,
    admin: Trustctl,
    alice: Trustctl,
    bob: Trustctl,
    repository: String,
}

impl Story {
    fn new() -> Self {
        let (token, certificates) = (Token::new().unwrap(), TempDir::new().unwrap());
        let (at, authority) = (certificates.path(), Authority::new("Test CA").unwrap());
        authority.write(&at.join("ca.pem")).unwrap();
        authority.issue(at, "server", authority::server(&["localhost"]).unwrap()).unwrap();
        // Free when we look; whoever else of these tests takes a port takes another.
        let (address, shown) = (free_address().unwrap(), at.display());
        let tls = format!(
            "[tls]\nlisten = \"{address}\"\ncertificate = \"{shown}/server.pem\"\nkey = \"{shown}/server.key\"\n\
             [[tls.client_ca]]\ncertificate = \"{shown}/ca.pem\"\ntrust_domain = \"example.com\"\n"
        );
        let docker = Docker::with(&format!("{tls}{}", token.setup().more), POLICY);
        let holder = |name: &str| {
            let uri = format!("spiffe://example.com/{name}");
            authority.issue(at, name, authority::client(&[&uri]).unwrap()).unwrap();
            let user = Trustctl::new().unwrap().using(&docker.engine);
            let text = format!(
                "endpoint = \"https://localhost:{}\"\ncertificate = \"{shown}/{name}.pem\"\n\
                 key = \"{shown}/{name}.key\"\nca = \"{shown}/ca.pem\"\n",
                address.port()
            );
            user.configure(&text).unwrap();
            user
        };
        let (alice, bob) = (holder("alice"), holder("bob"));
        let admin = docker.scene.daemon.user().unwrap();
        admin.until_the_token_serves().unwrap();
        let repository = docker.registry.reference("team/app");
        let story = Self { docker, _token: token, _certificates: certificates, admin, alice, bob, repository };
        create(&story.admin, "team/qa-1", &story.repository, &[]);
        create(&story.admin, "team/qa-2", &story.repository, &["--token", "hsm"]);
        begin(&story.admin, &story.repository, &["--key", "team/qa-1", "--key", "team/qa-2"]);
        story
    }

    /// What somebody's `trustctl trust inspect` says waits.
    fn waits(&self, user: &Trustctl) -> Value {
        user.trust_data(&self.repository).unwrap()["proposal"].clone()
    }

    fn approve(&self, user: &Trustctl, digest: &str) -> Ran {
        user.run(&["trust", "approve", &self.repository, digest]).unwrap()
    }
}

/// Makes a key of the daemon for a delegation.
fn create(user: &Trustctl, name: &str, repository: &str, more: &[&str]) {
    let key = ["key", "create", name, "--purpose", "delegation", "--scope", repository];
    user.run(&[&key[..], more].concat()).unwrap().ok().unwrap();
}

/// Begins the trust data, and lets these keys sign what docker reads first, two of them together.
fn begin(user: &Trustctl, repository: &str, keys: &[&str]) {
    user.run(&["trust", "init", repository]).unwrap().ok().unwrap();
    let add = ["trust", "delegate", "add", repository, "targets/releases", "--threshold", "2"];
    user.run(&[&add[..], keys].concat()).unwrap().ok().unwrap();
}

/// Signs a tag there.
fn sign(user: &Trustctl, reference: &str) -> Ran {
    user.run(&["--output", "json", "trust", "sign", reference, "--role", "targets/releases"]).unwrap()
}

#[test]
fn docker_pulls_what_two_holders_have_signed_one_after_the_other() {
    let mut story = Story::new();
    let reference = story.docker.pushed("1.0");

    let proposed = story.alice.run(&["trust", "sign", &reference]).unwrap().exited(5).unwrap();
    assert!(proposed.stdout.contains("targets/releases version 1 has 1 of 2 signatures"), "{proposed}");
    let line = format!("trustctl trust approve {} sha256:", story.repository);
    assert!(proposed.stderr.contains("nothing is published yet") && proposed.stderr.contains(&line), "{proposed}");
    story.docker.refuses(&reference);
    let waits = story.waits(&story.bob);
    let file = &waits["files"][0];
    assert_eq!(waits["begun_by"], "spiffe://example.com/alice");
    assert_eq!(waits["operation"], "sign");
    assert_eq!(file["signs"][0]["tag"], "1.0");
    assert_eq!(file["quorums"][0]["open"][0]["name"], "team/qa-2");
    let digest = waits["digest"].as_str().unwrap();

    // Alice's key counts once; bytes that nobody looked at are signed by nobody.
    let again = story.approve(&story.alice, digest).exited(1).unwrap();
    assert!(again.stderr.contains("has signed it"), "{again}");
    let other = story.approve(&story.bob, &format!("sha256:{}", "0".repeat(64))).exited(1).unwrap();
    assert!(other.stderr.contains("another proposal waits"), "{other}");
    let twice = story.alice.run(&["trust", "sign", &reference]).unwrap().exited(1).unwrap();
    assert!(twice.stderr.contains("approve or withdraw it first"), "{twice}");
    // It outlives the daemon.
    story.docker.scene.daemon.restart().unwrap();
    story.admin.until_the_token_serves().unwrap();
    assert_eq!(story.waits(&story.bob), waits);
    story.docker.refuses(&reference);

    let approved = story.approve(&story.bob, digest).ok().unwrap();

    assert!(approved.stdout.contains("targets/releases version 1"), "{approved}");
    story.docker.pulls(&reference);
    let listed = story.docker.scene.notary().run(&["list", &story.repository]).unwrap().ok().unwrap().stdout;
    assert!(listed.contains("1.0") && listed.contains("targets/releases"), "{listed}");
    assert_eq!(story.waits(&story.bob), Value::Null);
    let gone = story.approve(&story.bob, digest).exited(1).unwrap();
    assert!(gone.stderr.contains("nothing waits"), "{gone}");
    story.admin.run(&["audit", "verify"]).unwrap().ok().unwrap();
}

#[test]
fn what_is_withdrawn_is_signed_by_nobody_and_a_push_says_what_waits() {
    let story = Story::new();
    let scope = story.repository.as_str();
    story.admin.run(&["key", "create", "app", "--purpose", "image", "--scope", scope]).unwrap().ok().unwrap();
    let reference = story.docker.built("2.0", "hello from a push");

    let pushed = story.alice.run(&["push", &reference]).unwrap().exited(5).unwrap();
    assert!(pushed.stdout.contains("proposed for the trust data: targets/releases version 1"), "{pushed}");
    assert!(pushed.stdout.contains("pushed and signed"), "{pushed}");
    story.docker.engine.forget(&reference).unwrap();
    story.docker.refuses(&reference);
    let digest = story.waits(&story.bob)["digest"].as_str().unwrap().to_owned();
    story.bob.run(&["trust", "withdraw", scope, &digest]).unwrap().ok().unwrap();
    assert!(story.approve(&story.bob, &digest).exited(1).unwrap().stderr.contains("nothing waits"));
    story.docker.refuses(&reference);

    // Whoever may use both keys needs nobody, and the version that was signed is never used again.
    let signed = sign(&story.admin, &reference).ok().unwrap().json().unwrap();
    assert!(signed["result"] == "signed" && signed["files"][0]["version"] == 2, "{signed}");
    story.docker.pulls(&reference);
}

#[test]
fn a_policy_keeps_keys_from_elsewhere_out_of_what_docker_reads_first() {
    let story = Story::new();
    let pem = rcgen::KeyPair::generate().unwrap().public_key_pem();
    let file = story.admin.write("eve.pem", pem.as_bytes()).unwrap();
    let add = |name: &str| {
        let key = ["--public-key", file.to_str().unwrap()];
        story.admin.run(&[&["trust", "delegate", "add", &story.repository, name], &key[..]].concat()).unwrap()
    };

    let refused = add("eve").exited(1).unwrap();
    assert!(refused.stderr.contains("the policy does not allow it"), "{refused}");
    let listed = story.admin.run(&["trust", "delegate", "list", &story.repository]).unwrap().ok().unwrap();
    assert!(!listed.stdout.contains("eve"), "{listed}");
    add("targets/eve").ok().unwrap();
}

/// Whoever it is may use both keys of the daemon, but for the one tag.
const ONE_TAG_ALONE: &str = "
    permit (principal, action, resource);
    forbid (principal, action == Action::\"sign-metadata\", resource)
    when { resource.name == \"team/qa-2\" && context.targets.contains(\"1.0\") };
";

/// Docker has two keys of its own for the role, which are enough.
#[test]
fn an_upload_beside_a_proposal_is_outdated_until_the_daemon_has_published_behind_it() {
    let docker = Docker::with("", ONE_TAG_ALONE);
    let user = docker.user();
    let (repository, home) = (docker.registry.reference("team/app"), docker.home.path().to_owned());
    let (bob, carol) = (home.join("bob.pub"), home.join("carol.pub"));
    for name in ["bob", "carol"] {
        docker.run("1", &["trust", "key", "generate", name, "--dir", home.to_str().unwrap()]).ok().unwrap();
    }
    for name in ["team/qa-1", "team/qa-2"] {
        create(&user, name, &repository, &[]);
    }
    let keys = ["--key", "team/qa-1", "--key", "team/qa-2"];
    let own = ["--public-key", bob.to_str().unwrap(), "--public-key", carol.to_str().unwrap()];
    begin(&user, &repository, &[keys, own].concat());
    let proposed = docker.pushed("1.0");
    sign(&user, &proposed).exited(5).unwrap();

    // Its next version is the one that is reserved.
    let own = docker.built("2.0", "hello from docker");
    docker.run("1", &["trust", "sign", &own]).exited(1).unwrap();
    let behind = docker.pushed("3.0");
    let signed = sign(&user, &behind).ok().unwrap().json().unwrap();
    assert!(signed["result"] == "signed" && signed["files"][0]["version"] == 2, "{signed}");
    docker.run("1", &["trust", "sign", &own]).ok().unwrap();

    docker.engine.forget(&own).unwrap();
    docker.pulls(&own);
    docker.pulls(&behind);
    docker.refuses(&proposed);
    let shown = user.trust_data(&repository).unwrap();
    let role = shown["roles"].as_array().unwrap().iter().find(|role| role["name"] == "targets/releases").unwrap();
    assert_eq!(role["version"], 3, "{shown}");
    let over = shown["proposal"]["over"].as_str().unwrap();
    assert!(over.contains("another version of targets/releases"), "{shown}");
}

/// One key is the daemon's, the other lies in a file of docker's that its holder keeps.
#[test]
fn docker_pulls_what_a_key_outside_the_daemon_has_signed_last() {
    let docker = Docker::new();
    let user = docker.user();
    let (repository, home) = (docker.registry.reference("team/app"), docker.home.path());
    docker.run("1", &["trust", "key", "generate", "bob", "--dir", home.to_str().unwrap()]).ok().unwrap();
    let public = home.join("bob.pub");
    let own = std::fs::read_dir(docker.trust_directory().join("private")).unwrap().next().unwrap().unwrap().path();
    let passphrase = user.write_secret("passphrase", PASSPHRASE.as_bytes()).unwrap();
    create(&user, "team/qa-1", &repository, &[]);
    begin(&user, &repository, &["--key", "team/qa-1", "--public-key", public.to_str().unwrap()]);
    let reference = docker.pushed("1.0");
    let proposed = sign(&user, &reference).exited(5).unwrap().json().unwrap();
    let digest = proposed["proposal"]["digest"].as_str().unwrap();
    docker.refuses(&reference);

    let approve = ["trust", "approve", &repository, digest];
    let alone = user.run(&approve).unwrap().exited(1).unwrap();
    assert!(alone.stderr.contains("has signed it"), "{alone}");
    let key = ["--key", own.to_str().unwrap()];
    let unopened = user.run(&[&approve[..], &key].concat()).unwrap().exited(2).unwrap();
    assert!(unopened.stderr.contains("is encrypted, and nobody is there to ask"), "{unopened}");
    let approved = user.run(&[&approve[..], &key, &["--passphrase-file", &passphrase]].concat()).unwrap().ok().unwrap();

    assert!(approved.stdout.contains("targets/releases version 1"), "{approved}");
    docker.pulls(&reference);
    user.run(&["audit", "verify"]).unwrap().ok().unwrap();
}
