//! docs/verify.md: every command in it is run as it stands, and does what the page says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use trust::{Algorithm, PublicKey, Purpose, Sha256Digest};
use trust_proto::v1;
use trust_proto::v1::keys_client::KeysClient;
use trust_proto::v1::signing_client::SigningClient;
use trust_proto::words::Word as _;
use trust_tests::document::{blocks, document};
use trust_tests::image::OciImage;
use trust_tests::registry::{copy_signatures, move_tag};
use trust_tests::shell::COSIGN;
use trust_tests::{Daemon, Registry, Setup, Shell, Trustctl};

const IMAGE: &str = "registry.example.com/team/app:1.0";

/// What stands below a heading, up to the next.
fn section(heading: &str) -> String {
    let text = document("docs/verify.md").unwrap();
    let below = text.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    below.split("\n## ").next().unwrap().to_owned()
}

/// The shell block of a section.
fn block(heading: &str) -> String {
    blocks(&section(heading), "sh").unwrap().remove(0)
}

/// The rows of a section's table: what stands first, and the commands behind it.
fn rows(heading: &str) -> Vec<(String, Vec<String>)> {
    let section = section(heading);
    let cells =
        |line: &str| -> Vec<String> { line.trim_matches('|').split(" | ").map(|c| c.trim().to_owned()).collect() };
    let rows: Vec<_> = section
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let mut cells = cells(line);
            let first = cells.remove(0);
            (first, cells.into_iter().map(|cell| cell.trim_matches('`').to_owned()).collect())
        })
        .collect();
    assert!(!rows.is_empty(), "{heading} has no table");
    rows
}

fn accepts(shell: &Shell, cosign: &str, script: &str) {
    shell.run(cosign, script).unwrap().ok().unwrap();
}

fn refuses(shell: &Shell, cosign: &str, script: &str) {
    let ran = shell.run(cosign, script).unwrap();
    assert_ne!(ran.code, Some(0), "{ran}");
}

fn create_key(shell: &Shell, name: &str, purpose: Purpose, algorithm: Algorithm, scope: &[&str]) {
    let mut arguments = vec!["key", "create", name, "--purpose", purpose.name(), "--algorithm", algorithm.name()];
    arguments.extend(scope);
    shell.user.run(&arguments).unwrap().ok().unwrap();
}

fn hand_out(shell: &Shell, key: &str, file: &str) {
    let pem = shell.user.run(&["key", "public", key]).unwrap().ok().unwrap().stdout;
    shell.user.write(file, pem.as_bytes()).unwrap();
}

/// A shell with the keys and the files of the page's first section, and a registry.
struct Scene {
    shell: Shell,
    registry: Registry,
    _daemon: Daemon,
}

impl Scene {
    fn with(registry: Registry) -> Self {
        let daemon = Daemon::start().unwrap();
        let shell = Shell::of(daemon.user().unwrap()).unwrap();
        let scope = registry.reference("team/*");
        create_key(&shell, "app", Purpose::Image, Algorithm::EcdsaP256Sha256, &["--scope", &scope]);
        create_key(&shell, "release", Purpose::ReleaseBlob, Algorithm::EcdsaP256Sha256, &[]);
        accepts(&shell, "cosign3", &block("What the signer hands out"));
        Self { shell, registry, _daemon: daemon }
    }

    /// A command of the page, about an image of the test's own.
    fn about(&self, command: &str, image: &str) -> String {
        assert!(command.contains(IMAGE), "{command}");
        command.replace(IMAGE, &self.registry.reference(image))
    }

    fn put(&self, image: &str, content: &str) -> Sha256Digest {
        let (repository, tag) = image.split_once(':').unwrap();
        self.registry.put_image(repository, tag, &OciImage::holding(content)).unwrap()
    }

    fn sign(&self, key: &str, image: &str, forms: &str) {
        let reference = self.registry.reference(image);
        self.shell.user.run(&["image", "sign", "--key", key, "--forms", forms, &reference]).unwrap().ok().unwrap();
    }

    /// The table of images with `key`, whose public half is `app.pub`.
    fn table_of_images(&self, key: &str) {
        for (index, (forms, commands)) in rows("Images").into_iter().enumerate() {
            let image = format!("team/{key}:{index}");
            self.put(&image, &format!("{key} {forms}"));
            self.sign(key, &image, &forms);
            for (cosign, command) in COSIGN.iter().zip(&commands) {
                accepts(&self.shell, cosign, &self.about(command, &image));
            }
        }
    }
}

#[test]
fn images_are_verified_by_the_commands_of_the_table_in_both_registries() {
    for registry in [Registry::debian().unwrap(), Registry::with_referrers().unwrap()] {
        let scene = Scene::with(registry);
        scene.put("team/app:unsigned", "nobody's");

        scene.table_of_images("app");

        for (_, commands) in rows("Images") {
            for (cosign, command) in COSIGN.iter().zip(&commands) {
                refuses(&scene.shell, cosign, &scene.about(command, "team/app:unsigned"));
            }
        }
    }
}

#[test]
fn images_are_verified_under_keys_of_every_algorithm_that_the_page_names() {
    let scene = Scene::with(Registry::debian().unwrap());
    let scope = scene.registry.reference("team/*");
    let section = section("Images");
    for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| Purpose::Image.allows(*algorithm)) {
        assert!(section.contains(&format!("`{algorithm}`")), "{algorithm} is not named");
        if algorithm == Algorithm::EcdsaP256Sha256 {
            continue;
        }
        create_key(&scene.shell, algorithm.name(), Purpose::Image, algorithm, &["--scope", &scope]);
        hand_out(&scene.shell, algorithm.name(), "app.pub");

        scene.table_of_images(algorithm.name());
    }
}

#[test]
fn cosign_2_needs_the_trusted_root_as_soon_as_there_is_a_bundle() {
    let scene = Scene::with(Registry::debian().unwrap());
    scene.put("team/app:1.0", "one");
    scene.sign("app", "team/app:1.0", "sig,bundle");
    let without_root = rows("Images").into_iter().find(|(forms, _)| forms == "sig").unwrap().1.remove(1);

    let ran = scene.shell.run("cosign2", &scene.about(&without_root, "team/app:1.0")).unwrap();

    assert!(
        ran.code != Some(0) && ran.stderr.contains("trusted root is required when using new bundle format"),
        "{ran}"
    );
}

#[test]
fn files_are_verified_by_the_commands_of_the_table() {
    let daemon = Daemon::start().unwrap();
    let shell = Shell::of(daemon.user().unwrap()).unwrap();
    let root = shell.user.run(&["trusted-root"]).unwrap().ok().unwrap().stdout;
    shell.user.write("root.json", root.as_bytes()).unwrap();
    let section = section("Files");
    for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| Purpose::ReleaseBlob.allows(*algorithm)) {
        assert!(section.contains(&format!("`{algorithm}`")), "{algorithm} is not named");
        create_key(&shell, algorithm.name(), Purpose::ReleaseBlob, algorithm, &[]);
        hand_out(&shell, algorithm.name(), "release.pub");
        shell.user.write("app.tar", b"a release\n").unwrap();
        shell.user.run(&["sign", "--force", "--key", algorithm.name(), "app.tar"]).unwrap().ok().unwrap();
        for (_, commands) in rows("Files") {
            for (cosign, command) in COSIGN.iter().zip(&commands) {
                accepts(&shell, cosign, command);
                refuses(&shell, cosign, &format!("echo more >> app.tar; {command}"));
                shell.user.write("app.tar", b"a release\n").unwrap();
            }
        }
        accepts(&shell, "cosign3", &block("openssl"));
        let (_, commands) = rows("openssl").into_iter().find(|(name, _)| name == algorithm.name()).unwrap();
        accepts(&shell, "cosign3", &commands[0]);
    }
}

/// Makes a raw key of an algorithm, and lays its public half, a message and the signature where the page has them.
async fn lay_out_raw(daemon: &Daemon, user: &Trustctl, algorithm: Algorithm, message: &'static [u8]) {
    let channel = daemon.channel().await.unwrap();
    let name = format!("raw/{algorithm}");
    let request = v1::CreateKeyRequest {
        name: name.clone(),
        purpose: v1::Purpose::Raw.into(),
        algorithm: algorithm.to_wire(),
        ..v1::CreateKeyRequest::default()
    };
    KeysClient::new(channel.clone()).create_key(request).await.unwrap();
    let raw = v1::RawStatement { input: Some(v1::raw_statement::Input::Message(message.into())) };
    let request = v1::SignRequest {
        key: name,
        statement: Some(v1::Statement { kind: Some(v1::statement::Kind::Raw(raw)) }),
        ..v1::SignRequest::default()
    };
    let signed = SigningClient::new(channel).sign(request).await.unwrap().into_inner();
    let key = PublicKey::from_spki_der(algorithm, &signed.spki_der).unwrap();
    user.write("release.pub", key.to_pem().as_bytes()).unwrap();
    user.write("app.tar", message).unwrap();
    user.write("app.tar.raw", &signed.signatures[0].signature).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_verifies_raw_signatures_of_every_algorithm_by_the_command_of_its_row() {
    let daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let shell = Shell::of(daemon.user().unwrap()).unwrap();
    let rows = rows("openssl");
    let named: BTreeSet<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(named, Algorithm::ALL.map(Algorithm::name).into());
    for (name, commands) in rows {
        lay_out_raw(&daemon, &shell.user, name.parse().unwrap(), b"what was signed\n").await;

        accepts(&shell, "cosign3", &commands[0]);

        shell.user.write("app.tar", b"what was not signed\n").unwrap();
        refuses(&shell, "cosign3", &commands[0]);
    }
}

#[test]
fn cosign_does_not_notice_a_moved_tag_and_the_last_command_of_the_page_does() {
    for registry in [Registry::debian().unwrap(), Registry::with_referrers().unwrap()] {
        let scene = Scene::with(registry);
        scene.put("team/app:0.9", "old and vulnerable");
        scene.put("team/app:1.0", "new");
        for image in ["team/app:0.9", "team/app:1.0"] {
            scene.sign("app", image, "sig,bundle");
        }
        let look = scene.about(&block("What cosign does not notice"), "team/app:1.0");
        accepts(&scene.shell, "cosign3", &look);

        move_tag(&scene.registry, "team/app", "0.9", "1.0").unwrap();

        for (cosign, command) in COSIGN.iter().zip(&rows("Images")[0].1) {
            accepts(&scene.shell, cosign, &scene.about(command, "team/app:1.0"));
        }
        refuses(&scene.shell, "cosign3", &look);
        is_refused_by_trustctl(&scene, "team/app:1.0");
    }
}

#[test]
fn cosign_does_not_notice_a_copied_signature_and_the_last_command_of_the_page_does() {
    let scene = Scene::with(Registry::debian().unwrap());
    let digest = scene.put("team/test:1.0", "a test build");
    scene.sign("app", "team/test:1.0", "sig,bundle");
    scene.put("team/app:1.0", "a test build");

    copy_signatures(&scene.registry, "team/test", "team/app", &digest).unwrap();

    for (cosign, command) in COSIGN.iter().zip(&rows("Images")[0].1) {
        accepts(&scene.shell, cosign, &scene.about(command, "team/app:1.0"));
    }
    refuses(&scene.shell, "cosign3", &scene.about(&block("What cosign does not notice"), "team/app:1.0"));
    is_refused_by_trustctl(&scene, "team/app:1.0");
}

fn is_refused_by_trustctl(scene: &Scene, image: &str) {
    let reference = scene.registry.reference(image);
    let pinned: PathBuf = scene.shell.user.file("app.pub");
    let scope = scene.registry.reference("team/app");
    let added = ["pin", "add", &scope, "--public-key", pinned.to_str().unwrap()];
    scene.shell.user.run(&added).unwrap().ok().unwrap();
    scene.shell.user.run(&["image", "verify", &reference]).unwrap().exited(1).unwrap();
}
