//! Images against registries that lie, lose what was written, or hold strange things.

mod publishing;
mod strange;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ed25519_dalek::{Signer as _, SigningKey};
use trust::format::bundle::{Bundle, EMPTY_CONFIG, MEDIA_TYPE, Referrer};
use trust::format::cosign::{ImageStatement, SignatureManifest, signature_tag};
use trust::format::oci::{self, Descriptor, Referrers as List, fallback_tag};
use trust::{Form, PublicKey, Reference, Sha256Digest, Signature};

use super::manifests::Instance;
use super::publish::publish;
use super::push::serves;
use super::statements::{Signed, SignedForm};
use super::target::Target;
use super::verify::{Verified, verify};
use crate::context::Context;
use crate::context::tests::{context, pin};
use crate::failure::Failure;
use crate::registry::hostile::{Hostile, Reply, Seen};
use crate::registry::{Access, CredentialFiles, Manifest, Place, PlainHttp, Registry, Version};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// RFC 8032 §7.1, test 1: the key of `context::tests::pin`.
fn signing_key() -> SigningKey {
    let secret = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
    SigningKey::from_bytes(&secret.try_into().unwrap())
}

/// What a registry holds.
#[derive(Debug, Default)]
struct Shelf {
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    blobs: BTreeMap<String, Vec<u8>>,
}

impl Shelf {
    fn put(&mut self, place: &str, media_type: &str, bytes: &[u8]) -> Sha256Digest {
        let digest = Sha256Digest::of(bytes);
        for name in [place.to_owned(), digest.to_string()] {
            self.manifests.insert(name, (media_type.to_owned(), bytes.to_vec()));
        }
        digest
    }

    fn put_blob(&mut self, bytes: &[u8]) -> Sha256Digest {
        self.blobs.insert(Sha256Digest::of(bytes).to_string(), bytes.to_vec());
        Sha256Digest::of(bytes)
    }

    /// An image whose content is `text`.
    fn put_image(&mut self, tag: &str, text: &str) -> Descriptor {
        let config = Sha256Digest::of(text.as_bytes());
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"a/b","digest":"{config}","size":1}},"layers":[]}}"#
        );
        self.put(tag, MANIFEST, text.as_bytes());
        Descriptor::of(MANIFEST, text.as_bytes())
    }

    /// A `.sig` signature over `payload`.
    fn sign_payload(&mut self, digest: &Sha256Digest, payload: &[u8], signature: &[u8]) {
        let tag = signature_tag(digest).to_string();
        let mut manifest = self
            .manifests
            .get(&tag)
            .map_or_else(SignatureManifest::empty, |(_, bytes)| SignatureManifest::parse(bytes).unwrap());
        manifest.put(&public_key(), payload, signature).unwrap();
        self.put_blob(payload);
        self.put(&tag, MANIFEST, &manifest.to_bytes());
    }

    fn sign_sig(&mut self, name: &str, digest: &Sha256Digest) {
        let payload = statement(name, digest).preimage(Form::Sig).unwrap().payload;
        let signature = signing_key().sign(&payload).to_bytes();
        self.sign_payload(digest, &payload, &signature);
    }

    /// A bundle of ours about `subject`, at the fallback tag.
    fn sign_bundle(&mut self, name: &str, subject: &Descriptor) {
        let preimage = statement(name, &subject.digest).preimage(Form::Bundle).unwrap();
        let signature =
            Signature::new(public_key().algorithm(), signing_key().sign(&preimage.signed).to_bytes().into());
        let bundle = Bundle::of_image(&public_key(), preimage.payload, &signature.unwrap()).to_bytes();
        self.refer(subject, &bundle);
    }

    fn refer(&mut self, subject: &Descriptor, bundle: &[u8]) {
        self.put_blob(bundle);
        self.put_blob(EMPTY_CONFIG);
        let manifest = Referrer::write(subject, bundle, 0).unwrap();
        let digest = self.put("", MANIFEST, &manifest);
        let tag = fallback_tag(&subject.digest).to_string();
        let mut list = self.manifests.get(&tag).map_or_else(List::empty, |(_, bytes)| List::parse(bytes).unwrap());
        let entry = Descriptor { artifact_type: Some(MEDIA_TYPE.to_owned()), ..Descriptor::of(MANIFEST, &manifest) };
        assert_eq!(entry.digest, digest);
        list.append(&entry).unwrap();
        self.put(&tag, INDEX, &list.to_bytes());
    }

    /// An honest answer of a registry without the referrers API.
    fn answer(&mut self, seen: &Seen) -> Reply {
        let (method, path) = seen.line.split_once(' ').unwrap();
        let path = path.strip_prefix("/v2/team/app/").unwrap_or_default();
        match (method, path.split_once('/')) {
            ("GET", Some(("manifests", place))) => match self.manifests.get(place) {
                Some((media_type, bytes)) => Reply::new(200, bytes.clone()).with("Content-Type", media_type),
                None => Reply::new(404, ""),
            },
            ("PUT", Some(("manifests", place))) => {
                self.put(place, seen.header("content-type").unwrap(), &seen.body);
                Reply::new(201, "")
            }
            ("GET" | "HEAD", Some(("blobs", digest))) => match self.blobs.get(digest) {
                Some(bytes) if method == "GET" => Reply::new(200, bytes.clone()),
                Some(_) => Reply::new(200, ""),
                None => Reply::new(404, ""),
            },
            ("POST", _) => Reply::new(202, "").with("Location", "/v2/team/app/blobs/uploads/1"),
            ("PUT", _) => {
                self.put_blob(&seen.body);
                Reply::new(201, "")
            }
            _ => Reply::new(404, "404 page not found"),
        }
    }
}

fn public_key() -> PublicKey {
    PublicKey::from_ed25519_bytes(signing_key().verifying_key().as_bytes()).unwrap()
}

fn statement(name: &str, digest: &Sha256Digest) -> ImageStatement {
    ImageStatement { reference: Reference::parse(name).unwrap(), digest: *digest }
}

/// A registry over a shelf that a test fills, and may twist.
struct Scene {
    peer: Hostile,
    shelf: Arc<Mutex<Shelf>>,
    context: Context,
}

impl Scene {
    async fn new() -> Self {
        Self::twisted(|_, _| None).await
    }

    /// `twist` answers in place of the shelf where it wants to.
    async fn twisted(twist: impl Fn(&Seen, &mut Shelf) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let kept = Arc::clone(&shelf);
        let peer = Hostile::answering(move |seen| {
            let mut shelf = kept.lock().unwrap();
            twist(seen, &mut shelf).unwrap_or_else(|| shelf.answer(seen))
        })
        .await;
        let mut context = context();
        context.config.pins = vec![pin(&format!("{}/team/app", peer.host))];
        Self { peer, shelf, context }
    }

    fn name(&self, tag: &str) -> String {
        format!("{}/team/app:{tag}", self.peer.host)
    }

    fn fill<T>(&self, fill: impl FnOnce(&mut Shelf) -> T) -> T {
        fill(&mut self.shelf.lock().unwrap())
    }

    async fn verify(&self, typed: &str) -> Result<Verified, Failure> {
        verify(&self.context, &Target::parse(typed, None).unwrap()).await
    }

    async fn refused(&self, typed: &str) -> String {
        let failure = self.verify(typed).await.unwrap_err();
        assert_eq!(failure.exit().code(), 1, "{failure}");
        failure.what()
    }

    fn registry(&self) -> Registry {
        let target = Target::parse(&self.name("1.0"), None).unwrap();
        let files = CredentialFiles::of(Vec::new());
        Registry::open(&target.repository, Access::PullAndPush, PlainHttp::LoopbackOnly, files).unwrap()
    }
}

#[tokio::test]
async fn each_form_alone_verifies_a_name_and_its_digest() {
    let scene = Scene::new().await;
    let (sig, bundle) = scene.fill(|shelf| {
        let image = shelf.put_image("sig", "one");
        shelf.sign_sig(&scene.name("sig"), &image.digest);
        let other = shelf.put_image("bundle", "two");
        shelf.sign_bundle(&scene.name("bundle"), &other);
        (image.digest, other.digest)
    });

    for (tag, digest) in [("sig", sig), ("bundle", bundle)] {
        let verified = scene.verify(&scene.name(tag)).await.unwrap();
        assert_eq!((verified.digest, verified.signatures.len()), (digest, 1));
        assert_eq!((verified.signatures[0].form, verified.signatures[0].names.clone()), (tag, scene.name(tag)));
        scene.verify(&format!("{}/team/app@{digest}", scene.peer.host)).await.unwrap();
    }
}

#[tokio::test]
async fn a_moved_tag_is_refused_with_the_name_that_was_signed() {
    let scene = Scene::new().await;
    scene.fill(|shelf| {
        let image = shelf.put_image("1.0", "old");
        shelf.sign_sig(&scene.name("0.9"), &image.digest);
        shelf.sign_bundle(&scene.name("0.9"), &image);
    });

    let words = scene.refused(&scene.name("1.0")).await;

    assert!(words.contains(&format!("but as {}", scene.name("0.9"))), "{words}");
}

#[tokio::test]
async fn a_signature_from_another_repository_counts_neither_by_tag_nor_by_digest_but_behind_a_mirror() {
    let mut scene = Scene::new().await;
    let digest = scene.fill(|shelf| {
        let image = shelf.put_image("1.0", "one");
        shelf.sign_sig("r.example.com/original:1.0", &image.digest);
        image.digest
    });

    scene.refused(&scene.name("1.0")).await;
    scene.refused(&format!("{}/team/app@{digest}", scene.peer.host)).await;
    // The pin for the mirror says nothing about the original.
    let mirror = Target::parse(&scene.name("1.0"), Some("r.example.com/original")).unwrap();
    assert!(verify(&scene.context, &mirror).await.is_err());

    scene.context.config.pins = vec![pin("r.example.com/original")];
    verify(&scene.context, &mirror).await.unwrap();
}

#[tokio::test]
async fn a_signature_that_names_less_counts_under_an_any_tag_pin_only() {
    let mut scene = Scene::new().await;
    scene.fill(|shelf| {
        let digest = shelf.put_image("1.0", "one").digest;
        let named = format!("{}/team/app", scene.peer.host);
        // As cosign writes it.
        let payload = format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"{named}"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
        );
        let signature = signing_key().sign(payload.as_bytes()).to_bytes();
        shelf.sign_payload(&digest, payload.as_bytes(), &signature);
    });

    scene.refused(&scene.name("1.0")).await;
    scene.context.config.pins[0].any_tag = true;
    scene.verify(&scene.name("1.0")).await.unwrap();
}

#[tokio::test]
async fn a_changed_signature_and_a_foreign_key_are_refused() {
    let scene = Scene::new().await;
    scene.fill(|shelf| {
        let digest = shelf.put_image("1.0", "one").digest;
        let payload = statement(&scene.name("1.0"), &digest).preimage(Form::Sig).unwrap().payload;
        let mut changed = signing_key().sign(&payload).to_bytes();
        changed[7] ^= 1;
        shelf.sign_payload(&digest, &payload, &changed);
        let foreign = SigningKey::from_bytes(&[7; 32]).sign(&payload).to_bytes();
        shelf.sign_payload(&digest, &payload, &foreign);
    });

    let words = scene.refused(&scene.name("1.0")).await;

    assert!(words.contains("2 found, none made by a believed key"), "{words}");
}

#[tokio::test]
async fn another_statement_of_the_same_key_about_the_digest_is_no_signature() {
    let scene = Scene::new().await;
    scene.fill(|shelf| {
        let image = shelf.put_image("1.0", "one");
        let preimage = statement(&scene.name("1.0"), &image.digest).preimage(Form::Bundle).unwrap();
        let text = String::from_utf8(preimage.payload).unwrap();
        let payload = text.replace("https://sigstore.dev/cosign/sign/v1", "https://slsa.dev/provenance/v1");
        let kind = "application/vnd.in-toto+json";
        let signed = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
        let signature =
            Signature::new(public_key().algorithm(), signing_key().sign(signed.as_bytes()).to_bytes().into());
        let bundle = Bundle::of_image(&public_key(), payload.into_bytes(), &signature.unwrap()).to_bytes();
        shelf.refer(&image, &bundle);
    });

    scene.refused(&scene.name("1.0")).await;
}
