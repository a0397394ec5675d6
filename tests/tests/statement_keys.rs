//! Releases signed by statement keys that are not Ed25519, verified by trustctl and by the tools that strangers have.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::fs::File;
use std::process::Command;

use trust_tests::peer::Cosign;
use trust_tests::program::{openssl, run, run_with_input, tool};
use trust_tests::{Daemon, Ran, Trustctl};

/// Algorithms, and whether OpenSSH has a form for them.
const ALGORITHMS: [(&str, bool); 4] = [
    ("ecdsa-p256-sha256", true),
    ("ecdsa-p384-sha256", false),
    ("rsa3072-pkcs1-sha256", true),
    ("rsa4096-pkcs1-sha256", true),
];

/// A user with a release that a key of this algorithm signed.
fn signed(daemon: &Daemon, algorithm: &str) -> Trustctl {
    let user = daemon.user().unwrap();
    let create = ["key", "create", algorithm, "--purpose", "release-statement", "--algorithm", algorithm];
    user.run(&create).unwrap().ok().unwrap();
    for (format, file) in [("pem", "key.pub"), ("openssh", "key.ssh")] {
        let text = user.run(&["key", "public", algorithm, "--format", format]).unwrap().ok().unwrap().stdout;
        user.write(file, text.as_bytes()).unwrap();
    }
    std::fs::create_dir(user.file("release")).unwrap();
    user.write("release/app.tar", b"an archive\n").unwrap();
    user.write("release/notes.txt", b"what is new\n").unwrap();
    user.run(&["release", "sign", "release", "--key", algorithm, "--version", "1.0"]).unwrap().ok().unwrap();
    user
}

fn file(user: &Trustctl, name: &str) -> String {
    user.file(name).to_string_lossy().into_owned()
}

fn cosign_verifies(user: &Trustctl, cosign: &Cosign, more: &[&str]) {
    let at = |name: &str| file(user, name);
    let verify = |verb: &[&str], signature: &[&str], of: &str| -> Ran {
        let (key, of) = (at("key.pub"), at(of));
        let tail = ["--insecure-ignore-tlog=true", of.as_str()];
        cosign.run(&[verb, &["--key", &key], signature, &tail].concat()).unwrap()
    };
    let [sig, bundle, manifest] = ["SHA256SUMS.sig", "SHA256SUMS.sigstore.json", "RELEASE.sigstore.json"]
        .map(|name| at(&format!("release/{name}")));
    let (bundle, manifest) = ([&["--bundle", &bundle], more].concat(), [&["--bundle", &manifest], more].concat());
    let attested = ["verify-blob-attestation", "--type", "urn:trustd:release:v1"];

    verify(&["verify-blob"], &["--signature", &sig], "release/SHA256SUMS").ok().unwrap();
    verify(&["verify-blob"], &bundle, "release/SHA256SUMS").ok().unwrap();
    verify(&attested, &manifest, "release/app.tar").ok().unwrap();

    assert_ne!(verify(&["verify-blob"], &["--signature", &sig], "release/app.tar").code, Some(0));
    assert_ne!(verify(&["verify-blob"], &bundle, "release/app.tar").code, Some(0));
    assert_ne!(verify(&attested, &manifest, "release/SHA256SUMS").code, Some(0));
}

fn openssl_verifies(user: &Trustctl) {
    let mut command = openssl().unwrap();
    command.args(["base64", "-d", "-A", "-out"]).arg(user.file("list.raw"));
    run_with_input(&mut command, &user.read("release/SHA256SUMS.sig").unwrap()).unwrap().ok().unwrap();
    let verify = |of: &str| {
        let mut command = openssl().unwrap();
        command.args(["dgst", "-sha256", "-verify", "key.pub", "-signature", "list.raw", of]);
        run(command.current_dir(user.file(""))).unwrap()
    };

    verify("release/SHA256SUMS").ok().unwrap();
    assert_ne!(verify("release/app.tar").code, Some(0));
}

fn ssh_keygen_verifies(user: &Trustctl) {
    let ssh_keygen = tool("ssh-keygen", "apt-get install openssh-client").unwrap();
    let key = String::from_utf8(user.read("key.ssh").unwrap()).unwrap();
    user.write("allowed", format!("acme namespaces=\"file\" {key}").as_bytes()).unwrap();
    let verify = |of: &str| {
        let mut command = Command::new(&ssh_keygen);
        command.args(["-Y", "verify", "-f", "allowed", "-I", "acme", "-n", "file", "-s", "release/app.tar.sshsig"]);
        run(command.current_dir(user.file("")).stdin(File::open(user.file(of)).unwrap())).unwrap()
    };

    verify("release/app.tar").ok().unwrap();
    assert_ne!(verify("release/notes.txt").code, Some(0));
}

#[test]
fn every_algorithm_leaves_the_forms_that_strangers_verify() {
    let daemon = Daemon::start().unwrap();
    let (three, two) = (Cosign::three().unwrap(), Cosign::two().unwrap());
    let root = daemon.user().unwrap();
    let json = root.run(&["trusted-root"]).unwrap().ok().unwrap().stdout;
    let root_file = root.write("root.json", json.as_bytes()).unwrap();
    for (algorithm, openssh) in ALGORITHMS {
        let user = signed(&daemon, algorithm);
        let verify =
            || user.run(&["release", "verify", "release", "--public-key", "key.pub", "--output", "json"]).unwrap();

        let said = verify().ok().unwrap().json().unwrap();
        let forms = if openssh { &["bundle", "manifest", "sig", "sshsig"][..] } else { &["bundle", "manifest", "sig"] };
        assert_eq!(said["forms"], serde_json::json!(forms), "{algorithm}");
        assert!(!user.file("release/app.tar.minisig").exists());
        cosign_verifies(&user, &three, &[]);
        cosign_verifies(&user, &two, &["--new-bundle-format", "--trusted-root", root_file.to_str().unwrap()]);
        openssl_verifies(&user);
        if openssh {
            ssh_keygen_verifies(&user);
        }
        user.write("release/app.tar", b"another archive\n").unwrap();
        verify().exited(1).unwrap();
    }
}

#[test]
fn a_form_that_the_algorithm_has_not_is_refused_by_name() {
    let daemon = Daemon::start().unwrap();
    let user = daemon.user().unwrap();
    let create =
        ["key", "create", "k", "--purpose", "release-statement", "--algorithm", "ecdsa-p256-sha256", "--forms"];

    let refused = user.run(&[&create[..], &["manifest,minisig"]].concat()).unwrap().exited(2).unwrap();

    assert!(refused.stderr.contains("leaves no form minisig"), "{refused}");
    assert!(refused.stderr.contains("bundle, manifest, sig, sshsig"), "{refused}");
    assert_eq!(refused.stderr.lines().count(), 2, "{refused}");
    user.run(&[&create[..], &["manifest,sshsig"]].concat()).unwrap().ok().unwrap();
    let public = user.run(&["key", "public", "k", "--format", "minisign"]).unwrap();
    assert_ne!(public.code, Some(0), "{public}");
}
