//! The story with keys that never leave a PKCS#11 token: an image pushed and pulled, a release signed, both checked by
//! the programs of strangers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use trust_tests::program::tool;
use trust_tests::token::Token;
use trust_tests::{Daemon, Engine, Registry, Shell, Trustctl};

fn create(user: &Trustctl, name: &str, more: &[&str]) {
    user.run(&[&["key", "create", name], more].concat()).unwrap().ok().unwrap();
}

/// Every private key in the token: how many, each made there and never to come out.
fn assert_that_no_key_can_leave(token: &Token, keys: usize) {
    let listed = token.pkcs11_tool(&["--list-objects", "--type", "privkey"]).unwrap().ok().unwrap().stdout;

    assert_eq!(listed.matches("Private Key Object").count(), keys, "{listed}");
    let access = "Access:     sensitive, always sensitive, never extractable, local";
    assert_eq!(listed.matches(access).count(), keys, "{listed}");
}

#[test]
fn an_image_signed_in_the_token_is_pulled_and_verified_by_cosign() {
    let (token, registry) = (Token::new().unwrap(), Registry::debian().unwrap());
    let daemon = Daemon::with(&token.setup()).unwrap();
    let engine = Engine::docker().unwrap();
    let user = daemon.user().unwrap().using(&engine);
    let (app, image) = (registry.reference("team/app"), registry.reference("team/app:1.0"));
    create(&user, "app", &["--purpose", "image", "--scope", &app, "--token", "hsm"]);
    let pem = user.run(&["key", "public", "app"]).unwrap().ok().unwrap().stdout;
    let key = user.write("app.pub", pem.as_bytes()).unwrap();
    user.run(&["pin", "add", &app, "--public-key", "app.pub"]).unwrap().ok().unwrap();
    engine.build(&image, "hello from a key in a token").unwrap();

    user.run(&["push", &image]).unwrap().ok().unwrap();

    engine.forget(&image).unwrap();
    user.run(&["pull", &image]).unwrap().ok().unwrap();
    let cosign = trust_tests::peer::Cosign::three().unwrap();
    cosign.verify(&key, &image, &[]).unwrap().ok().unwrap();
    let unsigned = registry.reference("team/app:2.0");
    engine.build(&unsigned, "hello from nobody").unwrap();
    engine.cli(&["push", &unsigned]).unwrap().ok().unwrap();
    assert_ne!(user.run(&["pull", &unsigned]).unwrap().code, Some(0));
    assert_ne!(cosign.verify(&key, &unsigned, &[]).unwrap().code, Some(0));
    assert_that_no_key_can_leave(&token, 1);
}

/// What a stranger types, with everybody's tools; each line accepts the release and refuses it when it was changed.
const CHECKS: [&str; 7] = [
    "cosign verify-blob --key release.pub --bundle dist/SHA256SUMS.sigstore.json --insecure-ignore-tlog=true dist/SHA256SUMS",
    "cosign verify-blob --key blobs.pub --bundle dist/app.tar.sigstore.json --insecure-ignore-tlog=true dist/app.tar",
    "openssl base64 -d -A -in dist/app.tar.sig -out file.raw && openssl dgst -sha256 -verify blobs.pub -signature file.raw dist/app.tar",
    "ssh-keygen -Y verify -f allowed_signers -I acme -n file -s dist/app.tar.sshsig < dist/app.tar",
    "cd dist && sha256sum -c --strict SHA256SUMS",
    "minisign -V -H -p minisign.pub -m dist/app.tar",
    "trustctl release verify dist --public-key release.pub --blob-public-key blobs.pub --version 1.0",
];
const PUBLIC: &str = "trustctl key public release > release.pub
trustctl key public blobs > blobs.pub
trustctl key public release --format minisign > minisign.pub
printf 'acme namespaces=\"file\" %s\\n' \"$(trustctl key public release --format openssh)\" > allowed_signers";

#[test]
fn a_release_signed_in_the_token_is_verified_by_strangers() {
    for (name, package) in [("minisign", "minisign"), ("ssh-keygen", "openssh-client"), ("openssl", "openssl")] {
        tool(name, &format!("apt-get install {package}")).unwrap();
    }
    let token = Token::new().unwrap();
    let daemon = Daemon::with(&token.setup()).unwrap();
    let shell = Shell::of(daemon.user().unwrap()).unwrap();
    let user = &shell.user;
    create(user, "release", &["--purpose", "release-statement", "--token", "hsm"]);
    create(user, "blobs", &["--purpose", "release-blob", "--token", "hsm"]);
    std::fs::create_dir(user.file("dist")).unwrap();
    user.write("dist/app.tar", b"an archive\n").unwrap();
    user.write("dist/notes.txt", b"what is new\n").unwrap();
    shell.run("cosign3", PUBLIC).unwrap().ok().unwrap();

    let sign = ["release", "sign", "dist", "--key", "release", "--blob-key", "blobs", "--version", "1.0"];
    user.run(&sign).unwrap().ok().unwrap();

    for check in CHECKS {
        shell.run("cosign3", check).unwrap().ok().unwrap();
    }
    user.write("dist/app.tar", b"another archive\n").unwrap();
    user.write("dist/SHA256SUMS", b"another list\n").unwrap();
    for check in CHECKS {
        assert_ne!(shell.run("cosign3", check).unwrap().code, Some(0), "{check}");
    }
    assert_that_no_key_can_leave(&token, 2);
}
