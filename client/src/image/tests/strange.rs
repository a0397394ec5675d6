//! Registries that hold strange things, or do not answer.

use super::*;

#[tokio::test]
async fn strange_things_beside_a_good_signature_do_not_hide_it() {
    let scene = Scene::new().await;
    scene.fill(|shelf| {
        let image = shelf.put_image("1.0", "one");
        shelf.sign_bundle(&scene.name("1.0"), &image);
        for junk in [&b"{}"[..], b"not json", &b"[".repeat(100_000), br#"{"mediaType":"a","mediaType":"b"}"#] {
            shelf.refer(&image, junk);
        }
        // A payload that is not there, and one that is shorter than described.
        shelf.sign_sig(&scene.name("1.0"), &image.digest);
        let payload = statement(&scene.name("1.0"), &image.digest).preimage(Form::Sig).unwrap().payload;
        shelf.blobs.insert(Sha256Digest::of(&payload).to_string(), b"short".to_vec());
    });

    let verified = scene.verify(&scene.name("1.0")).await.unwrap();

    assert_eq!(verified.signatures.len(), 1);
    assert_eq!(verified.signatures[0].form, "bundle");
}

#[tokio::test]
async fn a_sig_manifest_that_cannot_be_read_is_said_in_the_refusal() {
    for junk in [&b"[".repeat(100_000)[..], b"{}", br#"{"schemaVersion":2,"schemaVersion":2}"#, b"\xff\xfe"] {
        let scene = Scene::new().await;
        scene.fill(|shelf| {
            let digest = shelf.put_image("1.0", "one").digest;
            shelf.put(signature_tag(&digest).as_str(), MANIFEST, junk);
        });

        let words = scene.refused(&scene.name("1.0")).await;

        assert!(words.contains("cannot be read"), "{words}");
    }
}

#[tokio::test]
async fn signatures_beyond_number_are_not_all_looked_at_newest_first() {
    let scene = Scene::new().await;
    let junk = |shelf: &mut Shelf, digest: &Sha256Digest| {
        for number in 0..200 {
            shelf.sign_payload(digest, format!("junk {number}").as_bytes(), b"none");
        }
    };
    scene.fill(|shelf| {
        let old = shelf.put_image("before", "one").digest;
        junk(shelf, &old);
        shelf.sign_sig(&scene.name("before"), &old);
        let new = shelf.put_image("after", "two").digest;
        shelf.sign_sig(&scene.name("after"), &new);
        junk(shelf, &new);
    });

    scene.verify(&scene.name("before")).await.unwrap();
    let words = scene.refused(&scene.name("after")).await;
    assert!(words.contains("128 of 201"), "{words}");
    assert!(scene.peer.seen().len() < 600, "{}", scene.peer.seen().len());
}

#[tokio::test]
async fn an_outage_or_a_denial_at_any_step_is_never_a_missing_signature() {
    for step in ["/manifests/1.0", ".sig", "/referrers/", "/blobs/", "/manifests/sha256-"] {
        for (status, code) in [(500, 3), (403, 4)] {
            let scene = Scene::twisted(move |seen, _| seen.line.contains(step).then(|| Reply::new(status, ""))).await;
            scene.fill(|shelf| {
                let image = shelf.put_image("1.0", "one");
                shelf.sign_sig(&scene.name("1.0"), &image.digest);
                shelf.sign_bundle(&scene.name("1.0"), &image);
            });

            let failure = scene.verify(&scene.name("1.0")).await.unwrap_err();

            assert_eq!(failure.exit().code(), code, "{step}: {failure}");
            assert!(!failure.what().contains("signature"), "{step}: {failure}");
        }
    }
}

#[tokio::test]
async fn a_manifest_that_two_readers_could_read_differently_is_refused() {
    let both = r#"{"schemaVersion":2,"config":{},"layers":[],"manifests":[]}"#;
    let schema1 = r#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#;
    let twice = r#"{"schemaVersion":2,"layers":[],"layers":[]}"#;
    let deep = "[".repeat(10_000);
    for text in [both, schema1, twice, deep.as_str(), ""] {
        let scene = Scene::new().await;
        scene.fill(|shelf| shelf.put("1.0", MANIFEST, text.as_bytes()));

        let words = scene.refused(&scene.name("1.0")).await;

        assert!(words.contains("no image that can be trusted"), "{words}");
    }
}

#[tokio::test]
async fn nothing_is_asked_of_the_registry_where_nobody_is_believed() {
    let mut scene = Scene::new().await;
    scene.context.config.pins = vec![pin("r.example.com/other")];

    assert!(scene.verify(&scene.name("1.0")).await.is_err());

    assert!(scene.peer.seen().is_empty());
}
