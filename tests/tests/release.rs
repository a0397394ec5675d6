//! Releases signed by trustctl, verified by trustctl without a daemon and by the tools that strangers have.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

#[path = "release/strangers.rs"]
mod strangers;

use std::path::Path;

use trust_tests::program::{Ran, run};
use trust_tests::{Daemon, Setup, Trustctl};

const FILES: [(&str, &[u8]); 3] =
    [("app-1.0.tar", b"an archive\n"), ("notes for 1.0.txt", b"what is new\n"), ("ünïcode \"quoted\"", b"")];

/// A user with the keys `statement` and `blob`, their public halves, and the files in `release`.
fn user(daemon: &Daemon) -> Trustctl {
    let user = daemon.user().unwrap();
    for (name, purpose) in [("statement", "release-statement"), ("blob", "release-blob")] {
        user.run(&["key", "create", name, "--purpose", purpose]).unwrap().ok().unwrap();
        public(&user, name, "pem", &format!("{name}.pub"));
    }
    std::fs::create_dir(user.file("release")).unwrap();
    for (name, bytes) in FILES {
        user.write(&format!("release/{name}"), bytes).unwrap();
    }
    user
}

fn public(user: &Trustctl, key: &str, format: &str, file: &str) {
    let text = user.run(&["key", "public", key, "--format", format]).unwrap().ok().unwrap().stdout;
    user.write(file, text.as_bytes()).unwrap();
}

fn sign(user: &Trustctl, more: &[&str]) -> Ran {
    let call = ["release", "sign", "release", "--key", "statement", "--output", "json"];
    user.run(&[&call, more].concat()).unwrap()
}

/// A signed release.
fn signed(daemon: &Daemon) -> Trustctl {
    let user = user(daemon);
    sign(&user, &["--blob-key", "blob", "--version", "1.0", "--source-revision", "9f2c1d"]).ok().unwrap();
    user
}

/// Verifies with both public keys, and without any daemon.
fn verify(user: &Trustctl, more: &[&str]) -> Ran {
    let call = ["release", "verify", "release", "--public-key", "statement.pub", "--blob-public-key", "blob.pub"];
    run(user.command(&[&call, more].concat()).env_remove("TRUSTD_ADDR")).unwrap()
}

/// Asserts that the release is refused, and that each of `names` is named.
fn refused(user: &Trustctl, names: &[&str]) {
    let ran = verify(user, &[]).exited(1).unwrap();
    for name in names {
        assert!(ran.stderr.contains(name), "{name}: {ran}");
    }
    // What happened, and what can be done.
    assert_eq!(ran.stderr.lines().count(), 2, "{ran}");
}

/// A copy of what is there, to begin again from.
fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_signed_release_verifies_without_any_daemon_and_says_what_it_is() {
    let mut daemon = Daemon::start().unwrap();
    let user = signed(&daemon);

    daemon.terminate().unwrap();

    let said = verify(&user, &["--version", "1.0", "--output", "json"]).ok().unwrap().json().unwrap();
    assert_eq!((said["version"].as_str(), said["source_revision"].as_str()), (Some("1.0"), Some("9f2c1d")));
    let names: Vec<&str> = said["files"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(names, FILES.map(|(name, _)| name));
    assert_eq!(said["forms"], serde_json::json!(["bundle", "manifest", "minisig", "sig", "sshsig"]));
    let ran = verify(&user, &["--version", "1.1"]).exited(1).unwrap();
    assert!(ran.stderr.contains("1.0") && ran.stderr.contains("1.1"), "{ran}");
}

#[test]
fn a_release_that_was_tampered_with_is_refused_and_what_it_was_is_named() {
    let daemon = Daemon::start().unwrap();
    let user = signed(&daemon);
    let (release, pristine) = (user.file("release"), user.file("pristine"));
    copy(&release, &pristine);
    let at = |name: &str| release.join(name);
    let [app, notes, _] = FILES.map(|(name, _)| name);
    let swap = |one: &str, other: &str| {
        let (left, right) = (std::fs::read(at(one)).unwrap(), std::fs::read(at(other)).unwrap());
        std::fs::write(at(one), right).unwrap();
        std::fs::write(at(other), left).unwrap();
    };
    let endings = [".minisig", ".sshsig", ".sig", ".sigstore.json"];
    let again = || copy(&pristine, &release);
    verify(&user, &[]).ok().unwrap();

    std::fs::write(at(app), b"another archive\n").unwrap();
    std::fs::remove_file(at(notes)).unwrap();
    std::fs::write(at("extra.txt"), b"").unwrap();
    refused(&user, &["app-1.0.tar is altered", "notes for 1.0.txt is missing", "extra.txt is not of this release"]);
    for end in endings {
        again();
        std::fs::remove_file(at(&format!("{app}{end}"))).unwrap();
        refused(&user, &["app-1.0.tar is unsigned", end]);
        again();
        swap(&format!("{app}{end}"), &format!("{notes}{end}"));
        refused(&user, &[&format!("{app}{end} does not count"), &format!("{notes}{end} does not count")]);
        again();
        std::fs::write(at(&format!("none{end}")), b"").unwrap();
        refused(&user, &[&format!("none{end} is not of this release")]);
    }
    // A form of the blob key that was taken from every file leaves no trace but in the manifest.
    for end in [".sig", ".sigstore.json"] {
        again();
        for (name, _) in FILES {
            std::fs::remove_file(at(&format!("{name}{end}"))).unwrap();
        }
        refused(&user, &["app-1.0.tar is unsigned", "notes for 1.0.txt is unsigned", end]);
    }
    again();
    swap(app, notes);
    refused(&user, &["app-1.0.tar is altered", "notes for 1.0.txt is altered"]);
    for name in ["SHA256SUMS", "SHA256SUMS.sig", "SHA256SUMS.sigstore.json", "RELEASE.sigstore.json"] {
        again();
        std::fs::remove_file(at(name)).unwrap();
        refused(&user, &[&format!("{name} is missing")]);
        again();
        let mut bytes = std::fs::read(at(name)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(at(name), bytes).unwrap();
        refused(&user, &[name]);
    }
    again();
    std::fs::create_dir(at("directory")).unwrap();
    refused(&user, &["directory is not of this release"]);
    std::fs::remove_dir(at("directory")).unwrap();
    std::fs::remove_file(at(app)).unwrap();
    std::os::unix::fs::symlink(pristine.join(app), at(app)).unwrap();
    refused(&user, &[app]);
    std::fs::remove_file(at(app)).unwrap();
    again();
    verify(&user, &[]).ok().unwrap();
}

#[test]
fn keys_of_somebody_else_verify_nothing() {
    let daemon = Daemon::start().unwrap();
    let user = signed(&daemon);
    for (name, purpose) in [("other", "release-statement"), ("other-blob", "release-blob")] {
        user.run(&["key", "create", name, "--purpose", purpose]).unwrap().ok().unwrap();
        public(&user, name, "pem", &format!("{name}.pub"));
    }
    let verify = |keys: &[&str]| user.run(&[&["release", "verify", "release"], keys].concat()).unwrap();

    verify(&["--public-key", "other.pub", "--blob-public-key", "blob.pub"]).exited(1).unwrap();
    verify(&["--public-key", "statement.pub", "--blob-public-key", "other-blob.pub"]).exited(1).unwrap();
    // Each key for its own: a blob signature binds no name, so it says nothing of a release.
    verify(&["--public-key", "blob.pub", "--blob-public-key", "statement.pub"]).exited(1).unwrap();
    // What cannot be checked does not count as good.
    let unknown = verify(&["--public-key", "statement.pub"]).exited(1).unwrap();
    assert!(unknown.stderr.contains("app-1.0.tar.sig cannot be checked without --blob-public-key"), "{unknown}");
    // After a rotation, releases of either version are verified.
    let both = ["--public-key", "other.pub", "--public-key", "statement.pub", "--blob-public-key", "blob.pub"];
    verify(&both).ok().unwrap();
}

#[test]
fn pinned_keys_decide_and_what_the_environment_says_does_not() {
    let mut daemon = Daemon::start().unwrap();
    let user = signed(&daemon);
    daemon.terminate().unwrap();
    let verify =
        || run(user.command(&["release", "verify", "release", "--of", "acme/app"]).env_remove("TRUSTD_ADDR")).unwrap();
    let unknown = verify().exited(1).unwrap();
    assert!(unknown.stderr.contains("trustctl release pin add acme/app --public-key"), "{unknown}");

    let pin = ["release", "pin", "add", "acme/app", "--public-key", "statement.pub", "--blob-public-key", "blob.pub"];
    user.run(&pin).unwrap().ok().unwrap();

    verify().ok().unwrap();
    let swapped =
        ["release", "pin", "add", "acme/app", "--public-key", "blob.pub", "--blob-public-key", "statement.pub"];
    user.run(&swapped).unwrap().ok().unwrap();
    verify().exited(1).unwrap();
    // Keys from files would be others than those that are pinned.
    user.run(&["release", "verify", "release", "--of", "acme/app", "--public-key", "statement.pub"])
        .unwrap()
        .exited(2)
        .unwrap();
}

#[test]
fn nothing_is_replaced_without_force_and_with_it_nothing_old_stays() {
    let daemon = Daemon::start().unwrap();
    let user = signed(&daemon);
    let minisig = user.read("release/app-1.0.tar.minisig").unwrap();

    let again = sign(&user, &["--version", "2.0"]).exited(2).unwrap();
    assert!(again.stderr.contains("--force"), "{again}");
    assert_eq!(user.read("release/app-1.0.tar.minisig").unwrap(), minisig);
    user.write("release/app-1.0.tar", b"a newer archive\n").unwrap();
    let said = sign(&user, &["--version", "2.0", "--force"]).ok().unwrap().json().unwrap();

    assert_eq!(said["removed"].as_array().unwrap().len(), 6, "{said}");
    let call = ["release", "verify", "release", "--public-key", "statement.pub", "--version", "2.0"];
    user.run(&call).unwrap().ok().unwrap();
}

#[test]
fn where_one_key_may_not_sign_nothing_is_written() {
    let daemon = Daemon::start().unwrap();
    let user = user(&daemon);
    let names = || std::fs::read_dir(user.file("release")).unwrap().count();

    sign(&user, &["--blob-key", "nobody"]).exited(1).unwrap();
    sign(&user, &["--blob-key", "statement"]).exited(1).unwrap();
    user.run(&["key", "disable", "blob"]).unwrap().ok().unwrap();
    sign(&user, &["--blob-key", "blob"]).exited(1).unwrap();

    assert_eq!(names(), FILES.len());
}

#[test]
fn a_policy_decides_by_name_and_version_and_one_denial_refuses_all() {
    let policy = "@id(\"all\") permit (principal, action, resource);\n\
         @id(\"versions\") forbid (principal, action == Action::\"sign-release\", resource)\n\
         when { context.file_name like \"*.tar\" && !(context.version like \"1.*\") };\n\
         @id(\"whole\") forbid (principal, action == Action::\"sign-release\", resource)\n\
         unless { context.forms.contains(\"manifest\") && context.items == 3 && context.source_revision == \"9f2c1d\" };\n";
    let daemon = Daemon::with(&Setup { policy: policy.to_owned(), ..Setup::default() }).unwrap();
    let user = user(&daemon);

    let denied = sign(&user, &["--version", "2.0", "--source-revision", "9f2c1d"]).exited(1).unwrap();
    assert!(denied.stderr.contains("item 0: the policy does not allow sign-release"), "{denied}");
    sign(&user, &["--version", "1.0"]).exited(1).unwrap();

    sign(&user, &["--version", "1.0", "--source-revision", "9f2c1d"]).ok().unwrap();
}

#[test]
fn the_log_has_both_intents_of_a_release_and_verifies() {
    let daemon = Daemon::start().unwrap();
    let user = user(&daemon);

    let said = sign(&user, &["--version", "1.0"]).ok().unwrap().json().unwrap();

    let leaves: Vec<u64> =
        said["keys"][0]["leaves"].as_array().unwrap().iter().map(|leaf| leaf.as_u64().unwrap()).collect();
    let [first, second] = leaves[..] else { panic!("{leaves:?}") };
    let log = user.run(&["audit", "log", "--from", "0", "--count", "100", "--output", "json"]).unwrap().ok().unwrap();
    let log = log.json().unwrap().to_string();
    // The list, the manifest, three files in two forms; then three comments.
    assert!(log.contains("\"forms\":[\"bundle\",\"manifest\",\"minisig\",\"sig\",\"sshsig\"]"), "{log}");
    assert!(log.contains("\"forms\":[\"minisig\"]"), "{log}");
    assert!(log.contains("\"count\":4") && log.contains("\"count\":3"), "{log}");
    assert!(first < second);
    user.run(&["audit", "verify"]).unwrap().ok().unwrap();
}

#[test]
fn a_statement_key_signs_no_digest_and_a_blob_key_no_release() {
    let daemon = Daemon::start().unwrap();
    let user = user(&daemon);

    user.run(&["sign", "--key", "statement", "release/app-1.0.tar"]).unwrap().exited(1).unwrap();
    user.run(&["release", "sign", "release", "--key", "blob"]).unwrap().exited(1).unwrap();

    let other = ["key", "create", "pss", "--purpose", "release-statement", "--algorithm", "rsa3072-pss-sha256"];
    let ran = user.run(&other).unwrap().exited(2).unwrap();
    assert!(ran.stderr.contains("ed25519"), "{ran}");
}
