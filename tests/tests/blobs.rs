//! Files signed by trustctl, verified by trustctl without a daemon, by cosign and by openssl.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::path::PathBuf;

use trust_tests::peer::Cosign;
use trust_tests::program::{openssl, run, run_with_input};
use trust_tests::{Daemon, Trustctl};

const FILE: &[u8] = b"a release\n";

/// A file `app.tar`, signed by the key `release`; its signatures beside it.
fn signed(daemon: &Daemon) -> (Trustctl, PathBuf) {
    let user = daemon.user().unwrap();
    user.run(&["key", "create", "release", "--purpose", "release-blob"]).unwrap().ok().unwrap();
    let pem = user.run(&["key", "public", "release"]).unwrap().ok().unwrap().stdout;
    let key = user.write("release.pub", pem.as_bytes()).unwrap();
    user.write("app.tar", FILE).unwrap();
    user.run(&["sign", "--key", "release", "app.tar"]).unwrap().ok().unwrap();
    (user, key)
}

fn offline(user: &Trustctl) -> Option<i32> {
    let mut command = user.command(&["verify", "--public-key", "release.pub", "app.tar"]);
    run(command.env_remove("TRUSTD_ADDR")).unwrap().code
}

#[test]
fn trustctl_verifies_a_file_without_any_daemon() {
    let mut daemon = Daemon::start().unwrap();
    let (user, _) = signed(&daemon);

    daemon.terminate().unwrap();

    assert_eq!(offline(&user), Some(0));
}

#[test]
fn a_changed_file_or_signature_is_refused() {
    let daemon = Daemon::start().unwrap();
    let (user, _) = signed(&daemon);

    user.write("app.tar", b"a release, changed\n").unwrap();
    assert_eq!(offline(&user), Some(1));

    user.write("app.tar", FILE).unwrap();
    std::fs::remove_file(user.file("app.tar.sigstore.json")).unwrap();
    let mut signature = user.read("app.tar.sig").unwrap();
    signature[40] = if signature[40] == b'A' { b'B' } else { b'A' };
    user.write("app.tar.sig", &signature).unwrap();
    assert_eq!(offline(&user), Some(1));
}

#[test]
fn both_generations_of_cosign_verify_the_sig_file() {
    let daemon = Daemon::start().unwrap();
    let (user, key) = signed(&daemon);
    for cosign in [Cosign::two().unwrap(), Cosign::three().unwrap()] {
        let file = |name: &str| user.file(name).to_string_lossy().into_owned();
        let verify = |name: &str| {
            cosign
                .run(&[
                    "verify-blob",
                    "--key",
                    key.to_str().unwrap(),
                    "--signature",
                    &file("app.tar.sig"),
                    "--insecure-ignore-tlog=true",
                    &file(name),
                ])
                .unwrap()
        };
        user.write("other.tar", b"something else\n").unwrap();

        verify("app.tar").ok().unwrap();

        assert_ne!(verify("other.tar").code, Some(0));
    }
}

#[test]
fn both_generations_of_cosign_verify_the_bundle() {
    let daemon = Daemon::start().unwrap();
    let (user, key) = signed(&daemon);
    let root = user.run(&["trusted-root"]).unwrap().ok().unwrap().stdout;
    let root = user.write("root.json", root.as_bytes()).unwrap();
    let [bundle, file, other] = ["app.tar.sigstore.json", "app.tar", "other.tar"].map(|name| user.file(name));
    user.write("other.tar", b"something else\n").unwrap();
    let three = ["verify-blob", "--key", key.to_str().unwrap(), "--bundle", bundle.to_str().unwrap()];
    let two = ["--new-bundle-format", "--trusted-root", root.to_str().unwrap()];
    for (cosign, more) in [(Cosign::three().unwrap(), &two[..0]), (Cosign::two().unwrap(), &two[..])] {
        let verify = |file: &PathBuf| {
            let last = ["--insecure-ignore-tlog=true", file.to_str().unwrap()];
            cosign.run(&[&three, more, &last].concat()).unwrap()
        };

        verify(&file).ok().unwrap();

        assert_ne!(verify(&other).code, Some(0));
    }
}

#[test]
fn openssl_verifies_the_sig_file() {
    let daemon = Daemon::start().unwrap();
    let (user, key) = signed(&daemon);
    let der = user.file("app.tar.der");

    let text = user.read("app.tar.sig").unwrap();
    run_with_input(openssl().unwrap().args(["base64", "-d", "-A", "-out"]).arg(&der), &text).unwrap().ok().unwrap();

    let mut command = openssl().unwrap();
    command.args(["dgst", "-sha256", "-verify"]).arg(key).arg("-signature").arg(der);
    run(command.arg(user.file("app.tar"))).unwrap().ok().unwrap();
}
