//! `trustctl key import`: private keys made by openssl and ssh-keygen, brought into software custody and into a token.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use trust_proto::v1::keys_client::KeysClient;
use trust_proto::v1::{Algorithm, ImportKeyRequest, ImportedKey, OfferImportRequest, OfferImportResponse, Purpose};
use trust_tests::memory::Shards;
use trust_tests::program::{self, run, tool};
use trust_tests::{Daemon, Setup, Trustctl};

fn chmod(user: &Trustctl, name: &str, mode: u32) {
    std::fs::set_permissions(user.file(name), std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A private key of openssl in the user's working directory, mode 0600.
fn openssl(user: &Trustctl, name: &str, options: &[&str]) {
    run(program::openssl().unwrap().arg("genpkey").args(options).arg("-out").arg(user.file(name)))
        .unwrap()
        .ok()
        .unwrap();
    chmod(user, name, 0o600);
}

/// The same in DER.
fn openssl_der(user: &Trustctl, name: &str, options: &[&str]) {
    openssl(user, "pem", options);
    let mut command = program::openssl().unwrap();
    command.args(["pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in"]).arg(user.file("pem"));
    run(command.arg("-out").arg(user.file(name))).unwrap().ok().unwrap();
    chmod(user, name, 0o600);
}

const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

fn import(user: &Trustctl, name: &str, file: &str, more: &[&str]) -> (Option<i32>, String) {
    let ran =
        user.run(&[&["key", "import", name, "--file", file, "--purpose", "release-blob"], more].concat()).unwrap();
    (ran.code, ran.stdout + &ran.stderr)
}

fn imports(user: &Trustctl, name: &str, file: &str, more: &[&str]) {
    let (code, text) = import(user, name, file, more);
    assert!(code == Some(0) && text.contains("imported") && text.contains("destroy it"), "{code:?}: {text}");
}

/// What openssl says is the public half of the file.
fn public_half(user: &Trustctl, file: &str, more: &[&str]) -> String {
    let mut command = program::openssl().unwrap();
    command.args(["pkey", "-pubout", "-in"]).arg(user.file(file)).args(more);
    run(&mut command).unwrap().ok().unwrap().stdout
}

fn signs(user: &Trustctl, key: &str) {
    user.write("app.tar", b"a release\n").unwrap();
    user.run(&["sign", "--key", key, "--force", "app.tar"]).unwrap().ok().unwrap();
}

#[test]
fn keys_of_openssl_and_ssh_keygen_are_imported_and_sign() {
    let daemon = Daemon::start().unwrap();
    let user = daemon.user().unwrap();
    openssl(&user, "plain.pem", P256);
    openssl_der(&user, "der.p8", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]);
    let passphrase = ["-aes-256-cbc", "-pass", "pass:correct horse"];
    openssl(
        &user,
        "locked.pem",
        &[&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"][..], &passphrase].concat(),
    );
    let keygen = tool("ssh-keygen", "apt-get install openssh-client").unwrap();
    let mut command = Command::new(keygen);
    command.args(["-q", "-t", "ecdsa", "-b", "256", "-m", "PKCS8", "-N", "", "-f"]).arg(user.file("ssh"));
    run(&mut command).unwrap().ok().unwrap();
    user.write_secret("passphrase", b"correct horse\n").unwrap();

    imports(&user, "plain", "plain.pem", &[]);
    imports(&user, "der", "der.p8", &[]);
    imports(&user, "locked", "locked.pem", &["--passphrase-file", "passphrase"]);
    imports(&user, "ssh", "ssh", &[]);

    for (key, file, more) in [
        ("plain", "plain.pem", &[][..]),
        ("der", "der.p8", &["-inform", "DER"]),
        ("locked", "locked.pem", &["-passin", "pass:correct horse"]),
        ("ssh", "ssh", &[]),
    ] {
        signs(&user, key);
        let public = user.run(&["key", "public", key]).unwrap().ok().unwrap().stdout;
        assert_eq!(public.trim(), public_half(&user, file, more).trim(), "{key}");
        let shown = user.run(&["key", "show", key]).unwrap().ok().unwrap().stdout;
        assert!(shown.contains("imported"), "{shown}");
    }
    user.run(&["key", "rotate", "plain"]).unwrap().ok().unwrap();
    let shown = user.run(&["key", "show", "plain"]).unwrap().ok().unwrap().stdout;
    assert!(shown.contains("imported") && shown.contains("generated"), "{shown}");
    assert!(user.run(&["audit", "log"]).unwrap().ok().unwrap().stdout.contains("import"), "no leaf says it");
}

#[test]
fn what_cannot_be_taken_is_refused_with_the_remedy_and_registers_nothing() {
    let daemon = Daemon::start().unwrap();
    let user = daemon.user().unwrap();
    openssl(&user, "good.pem", P256);
    openssl(&user, "loose.pem", P256);
    chmod(&user, "loose.pem", 0o644);
    openssl(
        &user,
        "weak.pem",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-pkeyopt", "rsa_keygen_pubexp:3"],
    );
    openssl(&user, "small.pem", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    openssl(&user, "ed.pem", &["-algorithm", "ed25519"]);
    openssl(&user, "locked.pem", &[P256, &["-aes-256-cbc", "-pass", "pass:right"]].concat());
    user.write_secret("wrong", b"wrong").unwrap();
    imports(&user, "good", "good.pem", &[]);

    for (name, file, more, code, words) in [
        ("again", "good.pem", &[][..], 1, "belongs to another key"),
        ("good", "loose.pem", &[], 1, "chmod 600"),
        ("weak", "weak.pem", &[], 1, "its public exponent is not 65537"),
        ("small", "small.pem", &[], 2, "RSA key of 2048 bits"),
        ("ed", "ed.pem", &[], 2, "an Ed25519 key, with which no release-blob key signs"),
        ("locked", "locked.pem", &[], 2, "--passphrase-file"),
        ("locked", "locked.pem", &["--passphrase-file", "wrong"], 1, "does not open with that passphrase"),
        ("other", "good.pem", &["--algorithm", "ed25519"], 2, "does not sign with ed25519"),
        ("other", "good.pem", &["--token", "hsm"], 1, "no token with the name hsm"),
    ] {
        let (exit, text) = import(&user, name, file, more);

        assert!(exit == Some(code) && text.contains(words), "{name}, {file}: {exit:?}: {text}");
    }
    chmod(&user, "loose.pem", 0o600);
    let (exit, text) = import(&user, "good", "loose.pem", &[]);
    assert!(exit == Some(1) && text.contains("of that name"), "{exit:?}: {text}");
    let listed = user.run(&["key", "list"]).unwrap().ok().unwrap().stdout;
    assert_eq!(listed.matches("release-blob").count(), 1, "{listed}");
}

/// An offer for a key of that name, and what was to be imported.
async fn offered(daemon: &Daemon, name: &str) -> (ImportedKey, OfferImportResponse) {
    let imported = ImportedKey {
        name: name.to_owned(),
        purpose: Purpose::ReleaseBlob.into(),
        algorithm: Algorithm::EcdsaP256Sha256.into(),
        ..ImportedKey::default()
    };
    let request = OfferImportRequest { imported: Some(imported.clone()) };
    let offer = KeysClient::new(daemon.channel().await.unwrap()).offer_import(request).await.unwrap().into_inner();
    (imported, offer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ciphertext_is_for_one_key_of_one_principal_once() {
    use trust::envelope::{UnwrapErr, seal};
    use trust::import::ImportBinding;
    use trust::{Purpose as Word, Scope};

    let daemon = Daemon::start().unwrap();
    let user = daemon.user().unwrap();
    openssl_der(&user, "key.der", P256);
    let pkcs8 = user.read("key.der").unwrap();
    let mut keys = KeysClient::new(daemon.channel().await.unwrap());
    let sealed = |name: &str, principal: &str, offer: &OfferImportResponse| {
        let binding = ImportBinding {
            store: offer.store.first_chunk().unwrap(),
            principal,
            name: &name.parse().unwrap(),
            purpose: Word::ReleaseBlob,
            algorithm: trust::Algorithm::EcdsaP256Sha256,
            scope: &Scope::new(Word::ReleaseBlob, Vec::new()).unwrap(),
            forms: Word::ReleaseBlob.forms(trust::Algorithm::EcdsaP256Sha256),
            custodian: ImportBinding::SOFTWARE,
        };
        let random = &mut UnwrapErr(getrandom::SysRng);
        seal(offer.public_key.first_chunk().unwrap(), &binding.info(), &pkcs8, random).unwrap()
    };
    let request = |imported: &ImportedKey, offer: &OfferImportResponse, envelope: Vec<u8>| ImportKeyRequest {
        imported: Some(imported.clone()),
        offer_id: offer.offer_id.clone(),
        envelope: envelope.into(),
        idempotency_key: "one".to_owned(),
    };

    let (imported, offer) = offered(&daemon, "one").await;
    let of_another = request(&imported, &offer, sealed("one", "uid:4242", &offer));
    assert!(keys.import_key(of_another).await.unwrap_err().message().contains("does not open"));
    let (imported, offer) = offered(&daemon, "one").await;
    let under_another_name = request(&imported, &offer, sealed("two", &offer.principal, &offer));
    assert!(keys.import_key(under_another_name).await.unwrap_err().message().contains("does not open"));
    let right = request(&imported, &offer, sealed("one", &offer.principal, &offer));
    assert!(keys.import_key(right).await.unwrap_err().message().contains("does not stand"));

    let (imported, offer) = offered(&daemon, "one").await;
    let right = request(&imported, &offer, sealed("one", &offer.principal, &offer));
    let first = keys.import_key(right.clone()).await.unwrap().into_inner();
    // The same request again is answered from what was stored: the offer is long spent (D14).
    let again = keys.import_key(right.clone()).await.unwrap().into_inner();
    assert_eq!((first.key, first.receipt), (again.key, again.receipt));
    let other_content = ImportKeyRequest { envelope: vec![7; 100].into(), ..right };
    assert!(keys.import_key(other_content).await.is_err());
}

#[test]
fn an_imported_key_never_was_in_the_daemon_and_is_nowhere_after_its_end() {
    let setup = Setup { more: "[keys]\ndestroy_after_seconds = 0\n".to_owned(), ..Setup::default() };
    let daemon = Daemon::with(&setup).unwrap();
    let user = daemon.user().unwrap();
    openssl_der(&user, "key.der", P256);
    let der = user.read("key.der").unwrap();
    let at = der.windows(3).position(|bytes| bytes == [1, 4, 32]).unwrap() + 3;
    let scalar = der[at..at + 32].to_vec();
    let reversed = scalar.iter().rev().copied().collect();
    let shards = Shards::of(&[scalar, reversed]);
    imports(&user, "known", "key.der", &[]);
    signs(&user, "known");
    assert_eq!(shards.in_process(daemon.id().unwrap()).unwrap(), 0, "in the daemon, while it is used");

    user.run(&["key", "retire", "known"]).unwrap().ok().unwrap();
    user.run(&["key", "destroy", "known", "--yes"]).unwrap().ok().unwrap();
    trust_tests::wait::until("the destruction", std::time::Duration::from_secs(60), || {
        Ok(user.run(&["key", "show", "known"])?.stdout.contains("destroyed").then_some(()))
    })
    .unwrap();
    user.run(&["kek", "rotate"]).unwrap().ok().unwrap();

    assert_eq!(shards.in_process(daemon.id().unwrap()).unwrap(), 0, "in the daemon");
    for worker in daemon.workers().unwrap() {
        assert_eq!(shards.in_process(worker).unwrap(), 0, "in a worker");
    }
    assert_eq!(shards.in_files(daemon.directory()).unwrap(), Vec::<String>::new());
}
