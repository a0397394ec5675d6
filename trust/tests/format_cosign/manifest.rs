//! The manifest in which cosign 2 keeps signatures: read, added to, and hostile ones refused.

use trust::format::cosign::{PAYLOAD_BYTES_MAX, SignatureManifest, signature_tag};
use trust::format::{json, oci};
use trust::{Form, PublicKey, Sha256Digest, Signable, verify};

use super::{COSIGN_KEY, COSIGN_MANIFEST, COSIGN_PAYLOAD, DIGEST, Signer, statement};

#[test]
fn the_manifest_of_cosign_2_is_read_and_its_signature_verifies() {
    let layers = SignatureManifest::parse(COSIGN_MANIFEST).unwrap().layers();

    assert_eq!(layers.len(), 1);
    assert!(layers[0].payload.describes(COSIGN_PAYLOAD));
    let key = PublicKey::from_pem(COSIGN_KEY).unwrap();
    verify::one(&key, &Signable::Message(COSIGN_PAYLOAD.to_vec()), &layers[0].signature).unwrap();
}

#[test]
fn the_signature_tag_is_the_digest_with_a_dash() {
    assert_eq!(signature_tag(&Sha256Digest::from_hex(DIGEST).unwrap()).as_str(), format!("sha256-{DIGEST}.sig"));
}

#[test]
fn a_signature_is_added_beside_those_of_others() {
    let signer = Signer::new();
    let payload = statement("r.example.com/a:1").preimage(Form::Sig).unwrap().payload;
    let mut manifest = SignatureManifest::parse(COSIGN_MANIFEST).unwrap();
    let theirs = manifest.layers();

    manifest.put(&signer.1, &payload, &signer.sign(&payload)).unwrap();

    let read = SignatureManifest::parse(&manifest.to_bytes()).unwrap();
    assert_eq!(read, manifest);
    assert_eq!(read.layers()[..1], theirs);
    assert!(read.layers()[1].payload.describes(&payload));
    verify::one(&signer.1, &Signable::Message(payload), &read.layers()[1].signature).unwrap();
    // A registry keeps a manifest only when it has all that the manifest refers to.
    let oci::Content::Image { config, layers } = oci::parse(&manifest.to_bytes()).unwrap().content else {
        panic!("no image manifest")
    };
    assert!(config.describes(&manifest.config()));
    assert_eq!(layers.len(), 2);
}

#[test]
fn signing_again_replaces_only_ones_own_signature_over_the_same_payload() {
    let (ours, theirs) = (Signer::new(), Signer::new());
    let payload = |reference| statement(reference).preimage(Form::Sig).unwrap().payload;
    let (first, second) = (payload("r.example.com/a:1"), payload("r.example.com/a:2"));
    let mut manifest = SignatureManifest::empty();
    for (signer, payload) in [(&ours, &first), (&theirs, &first), (&ours, &second)] {
        manifest.put(&signer.1, payload, &signer.sign(payload)).unwrap();
    }

    let again = ours.sign(&first);
    manifest.put(&ours.1, &first, &again).unwrap();

    let layers = manifest.layers();
    assert_eq!(layers.len(), 3);
    assert_eq!(layers[2].signature, again);
    let valid = |signer: &Signer, payload: &[u8]| {
        layers
            .iter()
            .filter(|layer| layer.payload.describes(payload))
            .filter(|layer| verify::one(&signer.1, &Signable::Message(payload.to_vec()), &layer.signature).is_ok())
            .count()
    };
    assert_eq!([valid(&ours, &first), valid(&theirs, &first), valid(&ours, &second)], [1, 1, 1]);
}

/// A manifest with these layers.
fn with_layers(layers: &str) -> String {
    let config =
        format!(r#"{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{DIGEST}","size":2}}"#);
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{config},"layers":[{layers}],"x-kept":{{"a":[1]}}}}"#
    )
}

#[test]
fn layers_that_cannot_be_read_are_left_out_and_kept() {
    let layer = |media_type: &str, digest: &str, size: &str, signature: &str| {
        format!(
            r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size},"annotations":{{"dev.cosignproject.cosign/signature":"{signature}"}}}}"#
        )
    };
    const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
    let digest = format!("sha256:{DIGEST}");
    let good = layer(SIMPLE, &digest, "246", "AA==");
    let strange = [
        ("another media type", layer("application/vnd.oci.image.layer.v1.tar", &digest, "246", "AA==")),
        ("another digest algorithm", layer(SIMPLE, &format!("sha512:{DIGEST}{DIGEST}"), "246", "AA==")),
        ("a digest that is a path", layer(SIMPLE, "../../x", "246", "AA==")),
        ("a negative size", layer(SIMPLE, &digest, "-1", "AA==")),
        ("a huge payload", layer(SIMPLE, &digest, "65537", "AA==")),
        ("base64url", layer(SIMPLE, &digest, "246", "-_8=")),
        ("no signature", layer(SIMPLE, &digest, "246", "AA==").replace("cosign/signature", "cosign/other")),
        ("no object", "7".to_owned()),
    ];
    for (sin, layer) in strange {
        let mut manifest = SignatureManifest::parse(with_layers(&format!("{layer},{good}")).as_bytes()).unwrap();

        assert_eq!(manifest.layers().len(), 1, "{sin}");
        let signer = Signer::new();
        manifest.put(&signer.1, b"payload", &signer.sign(b"payload")).unwrap();
        let written = json::read("test", &manifest.to_bytes(), 1 << 20).unwrap();
        let kept = json::read("test", layer.as_bytes(), 1 << 20).unwrap();
        assert_eq!(written.member("layers").unwrap().as_array().unwrap()[0], kept, "{sin}");
        assert!(written.member("x-kept").is_some(), "{sin}");
    }
}

#[test]
fn what_is_no_signature_manifest_is_refused() {
    for (sin, text) in [
        (
            "an index",
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#.to_owned(),
        ),
        ("docker's manifest", with_layers("").replace("oci.image.manifest.v1", "docker.distribution.manifest.v2")),
        ("layers that are an object", with_layers("").replace("[]", "{}")),
        ("layers twice", with_layers("").replace("\"x-kept\"", "\"layers\"")),
        ("layers in another case", with_layers("").replace("\"x-kept\"", "\"Layers\"")),
        ("too many bytes", format!("{}{}", with_layers(""), " ".repeat(oci::MANIFEST_BYTES_MAX))),
        ("nothing", String::new()),
    ] {
        assert!(SignatureManifest::parse(text.as_bytes()).is_err(), "{sin}");
    }
    assert!(SignatureManifest::empty().put(&Signer::new().1, &vec![0; PAYLOAD_BYTES_MAX + 1], b"x").is_err());
}
