//! Images signed by trustctl, seen by trustctl and by stock cosign, in a registry without and one with the
//! referrers API. No engine takes part: images are put into the registry as an engine would.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::path::PathBuf;

use trust::Sha256Digest;
use trust_tests::image::OciImage;
use trust_tests::peer::Cosign;
use trust_tests::registry::{copy_signatures, move_tag};
use trust_tests::{Daemon, Registry, Trustctl};

/// A registry, a daemon, a user who believes the key `app` for `team/app`, and an image in the registry.
struct Scene {
    registry: Registry,
    user: Trustctl,
    public_key: PathBuf,
    digest: Sha256Digest,
    _daemon: Daemon,
}

const REPOSITORY: &str = "team/app";

impl Scene {
    fn with(registry: Registry) -> Self {
        let daemon = Daemon::start().unwrap();
        let user = daemon.user().unwrap();
        let scope = registry.reference("team/*");
        user.run(&["key", "create", "app", "--purpose", "image", "--scope", &scope]).unwrap().ok().unwrap();
        let public_key = public_key(&user, "app");
        let pinned = registry.reference(REPOSITORY);
        user.run(&["pin", "add", &pinned, "--public-key", public_key.to_str().unwrap()]).unwrap().ok().unwrap();
        let digest = registry.put_image(REPOSITORY, "1.0", &OciImage::holding("one")).unwrap();
        Self { registry, user, public_key, digest, _daemon: daemon }
    }

    fn reference(&self, tag: &str) -> String {
        self.registry.reference(&format!("{REPOSITORY}:{tag}"))
    }

    fn sign(&self, tag: &str, more: &[&str]) {
        let reference = self.reference(tag);
        let mut arguments = vec!["image", "sign", "--key", "app"];
        arguments.extend(more);
        arguments.push(&reference);
        self.user.run(&arguments).unwrap().ok().unwrap();
    }

    /// trustctl's verdict: its exit code, and everything it said.
    fn verdict(&self, reference: &str) -> (Option<i32>, String) {
        let ran = self.user.run(&["image", "verify", reference]).unwrap();
        (ran.code, ran.words())
    }

    fn accepted(&self, reference: &str) {
        let (code, words) = self.verdict(reference);
        assert_eq!(code, Some(0), "{words}");
    }

    /// Refused with exit code 1 and one line that says why.
    fn refused(&self, reference: &str) -> String {
        let (code, words) = self.verdict(reference);
        assert_eq!(code, Some(1), "{words}");
        assert!(words.lines().count() >= 1, "no reason was given");
        words
    }
}

fn public_key(user: &Trustctl, name: &str) -> PathBuf {
    let pem = user.run(&["key", "public", name]).unwrap().ok().unwrap().stdout;
    user.write(&format!("{name}.pub"), pem.as_bytes()).unwrap()
}

fn another_key(scene: &Scene) -> PathBuf {
    let scope = scene.registry.reference("other/*");
    scene.user.run(&["key", "create", "other", "--purpose", "image", "--scope", &scope]).unwrap().ok().unwrap();
    public_key(&scene.user, "other")
}

/// Issue: stock cosign verifies what trustctl signed, and nothing else.
fn stock_cosign_verifies_signed_images_only(registry: Registry, cosign: &Cosign, more: &[&str], forms: &str) {
    let scene = Scene::with(registry);
    scene.registry.put_image(REPOSITORY, "unsigned", &OciImage::holding("nobody's")).unwrap();
    scene.sign("1.0", &["--forms", forms]);
    let image = scene.reference("1.0");
    let verify = |key: &PathBuf, image: &str| cosign.verify(key, image, more).unwrap();

    verify(&scene.public_key, &image).ok().unwrap();

    let unsigned = verify(&scene.public_key, &scene.reference("unsigned"));
    assert_ne!(unsigned.code, Some(0), "{unsigned}");
    let foreign = verify(&another_key(&scene), &image);
    assert_ne!(foreign.code, Some(0), "{foreign}");
    move_tag(&scene.registry, REPOSITORY, "unsigned", "1.0").unwrap();
    let moved = verify(&scene.public_key, &image);
    assert_ne!(moved.code, Some(0), "{moved}");
}

#[test]
fn cosign_3_verifies_both_forms_in_a_registry_without_referrers() {
    stock_cosign_verifies_signed_images_only(Registry::debian().unwrap(), &Cosign::three().unwrap(), &[], "sig,bundle");
}

#[test]
fn cosign_3_verifies_both_forms_in_a_registry_with_referrers() {
    let registry = Registry::with_referrers().unwrap();
    stock_cosign_verifies_signed_images_only(registry, &Cosign::three().unwrap(), &[], "sig,bundle");
}

#[test]
fn cosign_3_verifies_each_form_alone() {
    let cosign = Cosign::three().unwrap();
    stock_cosign_verifies_signed_images_only(Registry::debian().unwrap(), &cosign, &[], "sig");
    stock_cosign_verifies_signed_images_only(Registry::with_referrers().unwrap(), &cosign, &[], "bundle");
}

#[test]
fn cosign_2_verifies_the_sig_form_without_a_trusted_root() {
    stock_cosign_verifies_signed_images_only(Registry::debian().unwrap(), &Cosign::two().unwrap(), &[], "sig");
}

#[test]
fn cosign_2_verifies_both_forms_with_our_trusted_root() {
    for registry in [Registry::debian().unwrap(), Registry::with_referrers().unwrap()] {
        let root = Trustctl::new().unwrap();
        let json = root.run(&["trusted-root"]).unwrap().ok().unwrap().stdout;
        let file = root.write("root.json", json.as_bytes()).unwrap();
        let more = ["--trusted-root", file.to_str().unwrap()];
        stock_cosign_verifies_signed_images_only(registry, &Cosign::two().unwrap(), &more, "sig,bundle");
    }
}

#[test]
fn trustctl_verifies_what_it_signed_in_both_registries() {
    for registry in [Registry::debian().unwrap(), Registry::with_referrers().unwrap()] {
        let scene = Scene::with(registry);

        scene.sign("1.0", &[]);

        scene.accepted(&scene.reference("1.0"));
        scene.accepted(&scene.registry.reference(&format!("{REPOSITORY}@{}", scene.digest)));
    }
}

#[test]
fn an_unsigned_image_is_refused() {
    for registry in [Registry::debian().unwrap(), Registry::with_referrers().unwrap()] {
        let scene = Scene::with(registry);

        scene.refused(&scene.reference("1.0"));
    }
}

#[test]
fn a_tag_moved_onto_another_image_of_the_same_key_is_refused() {
    for registry in [Registry::debian().unwrap(), Registry::with_referrers().unwrap()] {
        let scene = Scene::with(registry);
        scene.registry.put_image(REPOSITORY, "0.9", &OciImage::holding("old and vulnerable")).unwrap();
        scene.sign("0.9", &[]);
        scene.sign("1.0", &[]);

        move_tag(&scene.registry, REPOSITORY, "0.9", "1.0").unwrap();

        scene.refused(&scene.reference("1.0"));
        scene.accepted(&scene.reference("0.9"));
    }
}

#[test]
fn a_signature_copied_from_another_repository_is_refused() {
    for registry in [Registry::debian().unwrap(), Registry::with_referrers().unwrap()] {
        let scene = Scene::with(registry);
        scene.sign("1.0", &[]);
        scene.registry.put_image("team/other", "1.0", &OciImage::holding("one")).unwrap();
        copy_signatures(&scene.registry, REPOSITORY, "team/other", &scene.digest).unwrap();
        let key = scene.public_key.to_str().unwrap();
        let pinned = scene.registry.reference("team/other");
        scene.user.run(&["pin", "add", &pinned, "--public-key", key]).unwrap().ok().unwrap();

        let copied = scene.registry.reference("team/other:1.0");

        scene.refused(&copied);
        // cosign does not compare the name in the signature: documented in docs/verify.md.
        Cosign::three().unwrap().verify(&scene.public_key, &copied, &[]).unwrap().ok().unwrap();
    }
}

#[test]
fn a_repository_for_which_nobody_is_believed_is_refused_with_the_remedy() {
    let scene = Scene::with(Registry::debian().unwrap());
    scene.registry.put_image("elsewhere/app", "1.0", &OciImage::holding("one")).unwrap();

    let words = scene.refused(&scene.registry.reference("elsewhere/app:1.0"));

    assert!(words.contains("pin add"), "{words}");
}

#[test]
fn a_key_signs_nothing_outside_its_scope() {
    let scene = Scene::with(Registry::debian().unwrap());
    scene.registry.put_image("elsewhere/app", "1.0", &OciImage::holding("one")).unwrap();
    let reference = scene.registry.reference("elsewhere/app:1.0");

    let ran = scene.user.run(&["image", "sign", "--key", "app", &reference]).unwrap().exited(1).unwrap();

    assert!(ran.stderr.contains("scope"), "{ran}");
}

#[test]
fn a_registry_that_is_down_is_never_an_unsigned_image() {
    let mut scene = Scene::with(Registry::debian().unwrap());
    scene.sign("1.0", &[]);
    let reference = scene.reference("1.0");

    scene.registry.go_down().unwrap();

    let ran = scene.user.run(&["image", "verify", &reference]).unwrap().exited(3).unwrap();
    assert!(!ran.words().contains("no signature"), "{ran}");
}

#[test]
fn an_index_is_signed_with_every_instance() {
    for registry in [Registry::debian().unwrap(), Registry::with_referrers().unwrap()] {
        let scene = Scene::with(registry);
        let instances = ["for amd64", "for arm64"].map(OciImage::holding);
        for instance in &instances {
            scene.registry.put_image(REPOSITORY, &instance.digest().to_string(), instance).unwrap();
        }
        let index = OciImage::index(&instances);
        scene.registry.put_image(REPOSITORY, "multi", &index).unwrap();

        scene.sign("multi", &[]);

        scene.accepted(&scene.reference("multi"));
        let cosign = Cosign::three().unwrap();
        for digest in instances.iter().map(OciImage::digest).chain([index.digest()]) {
            let by_digest = scene.registry.reference(&format!("{REPOSITORY}@{digest}"));
            cosign.verify(&scene.public_key, &by_digest, &[]).unwrap().ok().unwrap();
        }
    }
}

#[test]
fn a_second_signature_leaves_the_first_one_valid() {
    for registry in [Registry::debian().unwrap(), Registry::with_referrers().unwrap()] {
        let scene = Scene::with(registry);
        let scope = scene.registry.reference("team/*");
        scene.user.run(&["key", "create", "second", "--purpose", "image", "--scope", &scope]).unwrap().ok().unwrap();
        let second = public_key(&scene.user, "second");
        scene.sign("1.0", &[]);

        let image = scene.reference("1.0");
        scene.user.run(&["image", "sign", "--key", "second", &image]).unwrap().ok().unwrap();

        let cosign = Cosign::three().unwrap();
        cosign.verify(&scene.public_key, &image, &[]).unwrap().ok().unwrap();
        cosign.verify(&second, &image, &[]).unwrap().ok().unwrap();
        scene.accepted(&image);
    }
}
