//! Strangers' programs verify what is released: cosign, minisign, ssh-keygen, openssl and sha256sum.

use std::fs::File;
use std::process::Command;

use trust_tests::Daemon;
use trust_tests::peer::Cosign;
use trust_tests::program::{openssl, run, run_with_input, tool};

use super::{FILES, public, signed};

#[test]
fn both_generations_of_cosign_verify_list_files_and_manifest() {
    let daemon = Daemon::start().unwrap();
    let user = signed(&daemon);
    let root = user.run(&["trusted-root"]).unwrap().ok().unwrap().stdout;
    let root = user.write("root.json", root.as_bytes()).unwrap();
    let file = |name: &str| user.file(name).to_string_lossy().into_owned();
    let two = ["--new-bundle-format", "--trusted-root", root.to_str().unwrap()];
    for (cosign, more) in [(Cosign::three().unwrap(), &two[..0]), (Cosign::two().unwrap(), &two[..])] {
        let verify = |verb: &[&str], key: &str, signature: &[&str], signed: &str| {
            let tail = ["--insecure-ignore-tlog=true", &file(&format!("release/{signed}"))];
            cosign.run(&[verb, &["--key", &file(key)], signature, &tail].concat()).unwrap()
        };
        for (key, name, other) in
            [("statement.pub", "SHA256SUMS", "app-1.0.tar"), ("blob.pub", "app-1.0.tar", "SHA256SUMS")]
        {
            let sig = file(&format!("release/{name}.sig"));
            let bundle = file(&format!("release/{name}.sigstore.json"));
            let bundle = [&["--bundle", bundle.as_str()], more].concat();

            verify(&["verify-blob"], key, &["--signature", &sig], name).ok().unwrap();
            verify(&["verify-blob"], key, &bundle, name).ok().unwrap();

            assert_ne!(verify(&["verify-blob"], key, &["--signature", &sig], other).code, Some(0));
            assert_ne!(verify(&["verify-blob"], key, &bundle, other).code, Some(0));
        }
        let manifest = file("release/RELEASE.sigstore.json");
        let manifest = [&["--bundle", manifest.as_str()], more].concat();
        let attested = ["verify-blob-attestation", "--type", "urn:trustd:release:v1"];
        for (name, _) in FILES {
            verify(&attested, "statement.pub", &manifest, name).ok().unwrap();
        }
        assert_ne!(verify(&attested, "statement.pub", &manifest, "SHA256SUMS").code, Some(0));
        assert_ne!(verify(&attested, "blob.pub", &manifest, "app-1.0.tar").code, Some(0));
    }
}

#[test]
fn minisign_verifies_every_file() {
    let daemon = Daemon::start().unwrap();
    let user = signed(&daemon);
    let minisign = tool("minisign", "apt-get install minisign").unwrap();
    public(&user, "statement", "minisign", "minisign.pub");
    let verify = |file: &str, signature: &str| {
        let mut command = Command::new(&minisign);
        command.args(["-V", "-H", "-p", "minisign.pub", "-m"]).arg(format!("release/{file}"));
        command.arg("-x").arg(format!("release/{signature}.minisig"));
        run(command.current_dir(user.file(""))).unwrap()
    };

    for (name, _) in FILES {
        let ran = verify(name, name).ok().unwrap();
        assert!(ran.stdout.contains(&format!("file:{name}")), "{ran}");
    }

    let [app, notes, _] = FILES.map(|(name, _)| name);
    assert_ne!(verify(app, notes).code, Some(0));
    let text = String::from_utf8(user.read(&format!("release/{app}.minisig")).unwrap()).unwrap();
    user.write(&format!("release/{app}.minisig"), text.replace("timestamp:", "timestamp:1").as_bytes()).unwrap();
    assert_ne!(verify(app, app).code, Some(0));
}

#[test]
fn ssh_keygen_verifies_every_file() {
    let daemon = Daemon::start().unwrap();
    let user = signed(&daemon);
    let ssh_keygen = tool("ssh-keygen", "apt-get install openssh-client").unwrap();
    let key = user.run(&["key", "public", "statement", "--format", "openssh"]).unwrap().ok().unwrap().stdout;
    user.write("allowed", format!("acme namespaces=\"file\" {key}").as_bytes()).unwrap();
    let verify = |file: &str, signature: &str, namespace: &str| {
        let mut command = Command::new(&ssh_keygen);
        command.args(["-Y", "verify", "-f", "allowed", "-I", "acme", "-n", namespace, "-s"]);
        command.arg(format!("release/{signature}.sshsig")).current_dir(user.file(""));
        run(command.stdin(File::open(user.file(&format!("release/{file}"))).unwrap())).unwrap()
    };

    for (name, _) in FILES {
        verify(name, name, "file").ok().unwrap();
    }

    let [app, notes, _] = FILES.map(|(name, _)| name);
    assert_ne!(verify(app, notes, "file").code, Some(0));
    assert_ne!(verify(app, app, "git").code, Some(0));
}

#[test]
fn openssl_verifies_the_list_and_sha256sum_the_files() {
    let daemon = Daemon::start().unwrap();
    let user = signed(&daemon);
    let sha256sum = tool("sha256sum", "apt-get install coreutils").unwrap();
    let decoded = |name: &str| {
        let text = user.read(&format!("release/{name}")).unwrap();
        let mut command = openssl().unwrap();
        command.args(["base64", "-d", "-A", "-out"]).arg(user.file("decoded"));
        run_with_input(&mut command, &text).unwrap().ok().unwrap();
    };
    let check =
        || run(Command::new(&sha256sum).args(["-c", "--strict", "SHA256SUMS"]).current_dir(user.file("release")));
    let list = |file: &str| {
        let mut command = openssl().unwrap();
        command.args([
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            "statement.pub",
            "-rawin",
            "-sigfile",
            "decoded",
            "-in",
        ]);
        run(command.arg(format!("release/{file}")).current_dir(user.file(""))).unwrap()
    };

    decoded("SHA256SUMS.sig");
    list("SHA256SUMS").ok().unwrap();
    assert_ne!(list("app-1.0.tar").code, Some(0));
    assert_eq!(check().unwrap().ok().unwrap().stdout.matches(": OK").count(), FILES.len());
    decoded("app-1.0.tar.sig");
    let mut command = openssl().unwrap();
    command.args(["dgst", "-sha256", "-verify", "blob.pub", "-signature", "decoded", "release/app-1.0.tar"]);
    run(command.current_dir(user.file(""))).unwrap().ok().unwrap();

    user.write("release/app-1.0.tar", b"another archive\n").unwrap();
    assert_ne!(check().unwrap().code, Some(0));
}
