//! Publishing signatures, and what a registry makes of it.

use super::*;

/// An image with both signatures, ready to be published.
struct Ready {
    instance: Instance,
    forms: Vec<(Form, Vec<u8>, Vec<u8>)>,
}

impl Ready {
    fn new(scene: &Scene) -> Self {
        let descriptor = scene.fill(|shelf| shelf.put_image("1.0", "one"));
        let bytes = scene.fill(|shelf| shelf.manifests["1.0"].1.clone());
        let manifest =
            Manifest { digest: descriptor.digest, bytes, media_type: MANIFEST.to_owned(), version: Version::Any };
        let forms = [Form::Sig, Form::Bundle].map(|form| {
            let preimage = statement(&scene.name("1.0"), &descriptor.digest).preimage(form).unwrap();
            let signature = signing_key().sign(&preimage.signed).to_bytes().to_vec();
            (form, preimage.payload, signature)
        });
        Self { instance: Instance { manifest, descriptor }, forms: forms.into() }
    }

    async fn publish(&self, scene: &Scene) -> Result<(), Failure> {
        let forms = self.forms.iter().map(|(form, payload, signature)| SignedForm {
            form: *form,
            payload: payload.clone(),
            signature: Signature::new(public_key().algorithm(), signature.clone()).unwrap(),
        });
        let signed = Signed { instance: &self.instance, key: public_key(), forms: forms.collect() };
        publish(&scene.registry(), &signed, 0).await
    }
}

fn layers(scene: &Scene, digest: &Sha256Digest) -> usize {
    let tag = signature_tag(digest).to_string();
    scene.fill(|shelf| SignatureManifest::parse(&shelf.manifests[&tag].1).unwrap().layers().len())
}

fn listed(scene: &Scene, digest: &Sha256Digest) -> usize {
    let tag = fallback_tag(digest).to_string();
    scene.fill(|shelf| List::parse(&shelf.manifests[&tag].1).unwrap().entries().len())
}

#[tokio::test]
async fn what_is_published_is_verified_and_publishing_again_does_not_grow_it() {
    let scene = Scene::new().await;
    let ready = Ready::new(&scene);

    ready.publish(&scene).await.unwrap();
    ready.publish(&scene).await.unwrap();

    let verified = scene.verify(&scene.name("1.0")).await.unwrap();
    assert_eq!(verified.signatures.len(), 2);
    let digest = ready.instance.manifest.digest;
    assert_eq!((layers(&scene, &digest), listed(&scene, &digest)), (1, 1));
}

#[tokio::test]
async fn a_lost_update_is_written_again_and_the_other_signature_stays() {
    let raced = Mutex::new(0);
    let scene = Scene::twisted(move |seen, shelf| {
        let to_sig = seen.line.starts_with("PUT") && seen.line.ends_with(".sig");
        let mut raced = raced.lock().unwrap();
        if !to_sig || *raced > 0 {
            return None;
        }
        *raced += 1;
        // Somebody else's write comes right behind ours.
        let digest = shelf.manifests["1.0"].1.clone();
        shelf.sign_payload(&Sha256Digest::of(&digest), b"somebody else's", b"theirs");
        Some(Reply::new(201, ""))
    })
    .await;
    let ready = Ready::new(&scene);

    ready.publish(&scene).await.unwrap();

    assert_eq!(layers(&scene, &ready.instance.manifest.digest), 2);
}

#[tokio::test]
async fn a_registry_that_keeps_nothing_or_a_false_condition_is_not_written_for_ever() {
    let forgetful = Scene::twisted(|seen, _| {
        (seen.line.starts_with("PUT") && seen.line.ends_with(".sig")).then(|| Reply::new(201, ""))
    })
    .await;
    let failure = Ready::new(&forgetful).publish(&forgetful).await.unwrap_err();
    assert!(failure.what().contains("changed under each of 6 attempts"), "{failure}");

    // It always says that the tag moved when it is asked to hold a condition.
    let stubborn = Scene::twisted(|seen, _| {
        let conditional = seen.header("if-none-match").or(seen.header("if-match")).is_some();
        (seen.line.starts_with("PUT") && conditional).then(|| Reply::new(412, ""))
    })
    .await;
    Ready::new(&stubborn).publish(&stubborn).await.unwrap();
}

#[tokio::test]
async fn what_is_not_ours_at_our_tags_is_not_overwritten() {
    let scene = Scene::new().await;
    let ready = Ready::new(&scene);
    let tag = signature_tag(&ready.instance.manifest.digest).to_string();
    scene.fill(|shelf| shelf.put(&tag, INDEX, br#"{"schemaVersion":2,"manifests":[]}"#));

    let failure = ready.publish(&scene).await.unwrap_err();

    assert_eq!(failure.exit().code(), 1);
    assert_eq!(scene.fill(|shelf| shelf.manifests[&tag].0.clone()), INDEX);
}

#[tokio::test]
async fn with_the_api_no_fallback_tag_is_written() {
    for (subject_header, listing) in [("OCI-Subject", false), ("X-Other", true)] {
        let scene = Scene::twisted(move |seen, shelf| {
            if seen.line.starts_with("GET /v2/team/app/referrers/") {
                let mut list = List::empty();
                for (kind, bytes) in shelf.manifests.values().filter(|_| listing) {
                    let parsed = oci::parse(bytes).unwrap();
                    if parsed.subject.is_some() {
                        list.append(&Descriptor::of(kind, bytes)).unwrap();
                    }
                }
                return Some(Reply::new(200, list.to_bytes()));
            }
            let by_digest = seen.line.starts_with("PUT /v2/team/app/manifests/sha256:");
            by_digest.then(|| {
                let digest = shelf.put("", MANIFEST, &seen.body);
                Reply::new(201, "").with(subject_header, &digest.to_string())
            })
        })
        .await;
        let ready = Ready::new(&scene);

        ready.publish(&scene).await.unwrap();

        let tag = fallback_tag(&ready.instance.manifest.digest).to_string();
        assert!(!scene.fill(|shelf| shelf.manifests.contains_key(&tag)));
    }
}

#[tokio::test]
async fn another_digest_after_the_push_is_said_and_nothing_is_signed() {
    let scene = Scene::new().await;
    let there = scene.fill(|shelf| shelf.put_image("1.0", "another")).digest;
    let pushed = Sha256Digest::of(b"what was pushed");
    let reference = Reference::parse(&scene.name("1.0")).unwrap();

    let failure = serves(&scene.registry(), &reference, &pushed).await.unwrap_err();
    assert_eq!(failure.exit().code(), 1);
    assert!(failure.what().contains(&pushed.to_string()) && failure.what().contains(&there.to_string()), "{failure}");

    // The tag means it, but the digest does not lead to it.
    scene.fill(|shelf| shelf.manifests.remove(&there.to_string()));
    let failure = serves(&scene.registry(), &reference, &there).await.unwrap_err();
    assert!(failure.what().contains("does not serve"), "{failure}");
    assert!(scene.registry().manifest(&Place::Digest(there)).await.unwrap().is_none());
}
