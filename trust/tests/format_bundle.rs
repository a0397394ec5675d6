//! Sigstore bundles and the manifests that carry them: cosign's own are read, ours are what cosign accepted.
#![cfg(feature = "formats")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod beside;

use std::path::{Path, PathBuf};

use trust::format::bundle::{self, Bundle, Content, EMPTY_CONFIG, Referrer};
use trust::format::cosign::read_statement;
use trust::format::oci::{self, Descriptor, Referrers, fallback_tag};
use trust::format::{blob, json};
use trust::{Algorithm, Digest, HashFunction, PublicKey, Sha256Digest, Signable, Signature, verify};

use beside::beside;

const IMAGE: &[u8] = include_bytes!("samples/cosign/image-manifest.json");
const IMAGE_BUNDLE: &[u8] = include_bytes!("samples/cosign/cosign-3.1.3-image-bundle.json");
const IMAGE_REFERRER: &[u8] = include_bytes!("samples/cosign/cosign-3.1.3-referrer-manifest.json");
const FALLBACK_INDEX: &[u8] = include_bytes!("samples/cosign/cosign-3.1.3-fallback-index.json");
const FILE: &[u8] = include_bytes!("samples/cosign/artifact.txt");
const FILE_BUNDLE: &[u8] = include_bytes!("samples/cosign/cosign-3.1.3-artifact.txt.sigstore.json");
const KEY: &str = include_str!("samples/cosign/cosign.pub");

fn key() -> PublicKey {
    PublicKey::from_pem(KEY).unwrap()
}

/// The canonical text of some JSON: equal means the same content.
fn canonical(bytes: &[u8]) -> Vec<u8> {
    json::canonical(&json::read("test", bytes, 1 << 20).unwrap())
}

#[test]
fn the_bundle_of_an_image_by_cosign_3_is_read_verified_and_written_as_it_was() {
    let read = Bundle::read(IMAGE_BUNDLE).unwrap();

    assert_eq!(canonical(&read.to_bytes()), canonical(IMAGE_BUNDLE));
    let Content::Envelope(envelope) = read.content else { panic!("no envelope") };
    assert!(envelope.is_statement());
    verify::one(&key(), &Signable::Message(envelope.signed()), &envelope.signature).unwrap();
    assert_eq!(read_statement(&envelope.payload).unwrap()[0].digest, Sha256Digest::of(IMAGE));
    let signature = Signature::new(Algorithm::EcdsaP256Sha256, envelope.signature).unwrap();
    let ours = Bundle::of_image(&key(), envelope.payload, &signature);
    assert_eq!(ours.to_bytes(), canonical(IMAGE_BUNDLE));
}

#[test]
fn the_bundle_of_a_file_by_cosign_3_is_read_verified_and_written_as_it_was() {
    let read = Bundle::read(FILE_BUNDLE).unwrap();

    let Content::Message(message) = read.content else { panic!("no message signature") };
    assert_eq!(message.digest, Digest::of(HashFunction::Sha256, FILE));
    let signature = Signature::new(Algorithm::EcdsaP256Sha256, message.signature).unwrap();
    let ours = Bundle::of_blob(&key(), &Sha256Digest::of(FILE), &signature);
    assert_eq!(ours.to_bytes(), canonical(FILE_BUNDLE));
    for file in [Signable::Digest(Digest::of(HashFunction::Sha256, FILE)), Signable::Message(FILE.to_vec())] {
        blob::verify_bundle(&key(), &file, FILE_BUNDLE).unwrap();
    }
}

#[test]
fn entries_of_logs_are_not_looked_at() {
    let bundle = include_bytes!("samples/cosign/blob-with-tlog.sigstore.json");
    let key = PublicKey::from_pem(include_str!("samples/cosign/tagged.pub")).unwrap();
    let file = Signable::Message(include_bytes!("samples/cosign/artifact-with-tlog.txt").to_vec());

    blob::verify_bundle(&key, &file, bundle).unwrap();
}

#[test]
fn hostile_bundles_are_refused_by_their_sin() {
    let image = String::from_utf8(IMAGE_BUNDLE.to_vec()).unwrap();
    let file = String::from_utf8(FILE_BUNDLE.to_vec()).unwrap();
    let replaced = |text: &str, from: &str, to: &str| {
        let made = text.replace(from, to);
        assert_ne!(made, text, "{from} is not there");
        made
    };
    let signature =
        format!(r#"{{"sig":"{}"}}"#, image.split(r#"[{"sig":""#).nth(1).unwrap().split('"').next().unwrap());
    for (sin, text) in [
        ("another version", replaced(&image, "bundle.v0.3", "bundle.v0.4")),
        ("no media type", replaced(&image, "\"mediaType\"", "\"type\"")),
        ("no material", replaced(&image, "\"verificationMaterial\"", "\"material\"")),
        ("a key that is null", replaced(&image, r#""publicKey":{"#, r#""publicKey":null,"x":{"#)),
        (
            "a certificate beside the key",
            replaced(&image, r#""publicKey":"#, r#""certificate":{"rawBytes":""},"publicKey":"#),
        ),
        ("a chain beside the key", replaced(&image, r#""publicKey":"#, r#""x509CertificateChain":{},"publicKey":"#)),
        ("a certificate in place of the key", replaced(&image, "\"publicKey\"", "\"certificate\"")),
        ("a hint with a control character", replaced(&image, r#""hint":"A"#, r#""hint":"\u001b"#)),
        ("a hint of many bytes", replaced(&image, r#""hint":"A"#, &format!(r#""hint":"{}"#, "A".repeat(2000)))),
        ("a hint that is a number", replaced(&image, r#""hint":"#, r#""hint":1,"x":"#)),
        ("both kinds of content", replaced(&image, r#""dsseEnvelope":"#, r#""messageSignature":{},"dsseEnvelope":"#)),
        ("no content", replaced(&image, "\"dsseEnvelope\"", "\"envelope\"")),
        ("the envelope twice", replaced(&image, r#""dsseEnvelope":"#, r#""dsseEnvelope":{},"dsseEnvelope":"#)),
        ("no signature", replaced(&image, &signature, "")),
        ("two signatures", replaced(&image, &signature, &format!("{signature},{signature}"))),
        ("signatures that are an object", replaced(&image, &format!("[{signature}]"), &signature)),
        ("an empty signature", replaced(&image, &signature, r#"{"sig":""}"#)),
        ("a signature of 513 bytes", replaced(&image, &signature, &format!(r#"{{"sig":"{}"}}"#, "A".repeat(684)))),
        ("base64url", replaced(&image, &signature, r#"{"sig":"-_8="}"#)),
        ("a payload without padding", replaced(&image, r#""payload":"ey"#, r#""payload":"e"#)),
        ("a huge payload", replaced(&image, r#""payload":""#, &format!(r#""payload":"{}"#, "AAAA".repeat(30_000)))),
        ("no payload type", replaced(&image, "\"payloadType\"", "\"type\"")),
        ("no digest", replaced(&file, "\"messageDigest\"", "\"digest\"")),
        ("another hash function", replaced(&file, "SHA2_256", "SHA3_256")),
        ("a digest of another length", replaced(&file, "SHA2_256", "SHA2_384")),
        ("too many bytes", format!("{image}{}", " ".repeat(bundle::BYTES_MAX))),
        (
            "deep nesting",
            replaced(&image, r#""publicKey":"#, &format!(r#""x":{}{},"publicKey":"#, "[".repeat(64), "]".repeat(64))),
        ),
        ("something behind it", format!("{image}{{}}")),
        ("half of it", image[..image.len() / 2].to_owned()),
        ("nothing", String::new()),
    ] {
        assert!(Bundle::read(text.as_bytes()).is_err(), "{sin}");
    }
}

#[test]
fn a_bundle_of_another_kind_or_file_or_key_does_not_verify_a_file() {
    let file = Signable::Message(FILE.to_vec());
    let other_key = PublicKey::from_pem(include_str!("samples/cosign/tagged.pub")).unwrap();
    let other_file = Signable::Message(b"another".to_vec());

    assert!(matches!(blob::verify_bundle(&key(), &file, IMAGE_BUNDLE), Err(blob::NotVerified::Malformed(_))));
    assert_eq!(blob::verify_bundle(&key(), &other_file, FILE_BUNDLE), Err(blob::NotVerified::OtherFile));
    assert_eq!(
        blob::verify_bundle(&other_key, &file, FILE_BUNDLE),
        Err(blob::NotVerified::NotValid(verify::NotValid::Wrong))
    );
}

#[test]
fn the_manifest_around_a_bundle_by_cosign_3_is_read() {
    let referrer = Referrer::read(IMAGE_REFERRER).unwrap();

    assert!(referrer.bundle.describes(IMAGE_BUNDLE));
    assert!(referrer.subject.describes(IMAGE));
}

#[test]
fn our_manifest_around_a_bundle_is_the_one_that_cosign_accepted() {
    let accepted = include_bytes!("samples/cosign/referrer-manifest.json");
    let subject = oci::parse(accepted).unwrap().subject.unwrap();

    // The sample's bundle is not here: its descriptor stands in for it.
    let ours = Referrer::write(&subject, b"", 1_795_392_000).unwrap();

    let (ours, accepted) = (oci::parse(&ours).unwrap(), oci::parse(accepted).unwrap());
    assert_eq!(ours.annotations, accepted.annotations);
    assert_eq!(ours.artifact_type, accepted.artifact_type);
    assert_eq!(ours.subject, accepted.subject);
    let parts = |manifest: &oci::Manifest| match &manifest.content {
        oci::Content::Image { config, layers } => (config.clone(), layers[0].media_type.clone()),
        oci::Content::Index { .. } => panic!("an index"),
    };
    assert_eq!(parts(&ours), parts(&accepted));
    assert!(parts(&ours).0.describes(EMPTY_CONFIG));
}

#[test]
fn our_manifest_around_the_bundle_of_cosign_says_what_cosigns_says() {
    let subject = Descriptor::of(oci::MediaType::OciManifest.as_str(), IMAGE);

    let ours = Referrer::write(&subject, IMAGE_BUNDLE, 1_795_690_712).unwrap();

    let text = String::from_utf8(IMAGE_REFERRER.to_vec()).unwrap();
    // Cosign gives the empty configuration an artifact type that the specification does not have.
    let config = r#","artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json"},"layers""#;
    let theirs = text.replace(config, r#"},"layers""#);
    assert_ne!(theirs, text);
    assert_eq!(String::from_utf8(ours).unwrap(), String::from_utf8(canonical(theirs.as_bytes())).unwrap());
}

#[test]
fn what_carries_no_bundle_is_refused() {
    let text = String::from_utf8(IMAGE_REFERRER.to_vec()).unwrap();
    let layer = text.split(r#""layers":["#).nth(1).unwrap().split(']').next().unwrap();
    for (sin, text) in [
        ("no subject", text.replace("\"subject\"", "\"about\"")),
        (
            "another layer",
            text.replace(
                r#"[{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json""#,
                r#"[{"mediaType":"text/plain""#,
            ),
        ),
        ("two layers", text.replace(layer, &format!("{layer},{layer}"))),
        ("no layer", text.replace(layer, "")),
        ("a huge bundle", text.replace("\"size\":667", "\"size\":524289")),
        ("an index", String::from_utf8(FALLBACK_INDEX.to_vec()).unwrap()),
    ] {
        assert!(Referrer::read(text.as_bytes()).is_err(), "{sin}");
    }
}

#[test]
fn the_fallback_index_of_cosign_3_is_read_and_added_to() {
    let mut list = Referrers::parse(FALLBACK_INDEX).unwrap();
    let theirs = list.entries();
    assert_eq!(theirs.len(), 1);
    assert!(theirs[0].describes(IMAGE_REFERRER));
    let subject = Descriptor::of(oci::MediaType::OciManifest.as_str(), IMAGE);
    let ours = oci::parse(&Referrer::write(&subject, IMAGE_BUNDLE, 0).unwrap()).unwrap().listed();

    list.append(&ours).unwrap();
    list.append(&ours).unwrap();

    let read = Referrers::parse(&list.to_bytes()).unwrap();
    assert_eq!(read.entries(), [theirs[0].clone(), ours.clone()]);
    assert_eq!(ours.artifact_type.as_deref(), Some(bundle::MEDIA_TYPE));
    assert_eq!(ours.annotations["dev.sigstore.bundle.content"], "dsse-envelope");
    assert_eq!(fallback_tag(&subject.digest).as_str(), format!("sha256-{}", subject.digest.to_hex()));
}

#[test]
fn our_fallback_index_is_the_one_that_cosign_accepted() {
    let accepted = include_bytes!("samples/cosign/referrers-fallback-index.json");
    let manifest = oci::parse(include_bytes!("samples/cosign/referrer-manifest.json")).unwrap();
    let mut list = Referrers::empty();

    list.append(&manifest.listed()).unwrap();

    assert_eq!(String::from_utf8(list.to_bytes()).unwrap(), String::from_utf8(canonical(accepted)).unwrap());
}

#[test]
fn an_entry_that_cosign_lists_under_the_wrong_type_is_there() {
    let list = Referrers::parse(include_bytes!("samples/cosign/cosign-3.1.1-own-fallback-index.json")).unwrap();

    assert_eq!(list.entries()[0].artifact_type.as_deref(), Some("application/vnd.oci.empty.v1+json"));
}

#[test]
fn one_strange_referrer_hides_no_other_and_is_kept() {
    let good = String::from_utf8(FALLBACK_INDEX.to_vec()).unwrap();
    for strange in [
        r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha512:00","size":1}"#,
        r#"{"mediaType":"a\u0000/b","digest":"x","size":-1}"#,
        "7",
        "{}",
    ] {
        let text = good.replace("\"manifests\":[", &format!("\"manifests\":[{strange},"));
        let mut list = Referrers::parse(text.as_bytes()).unwrap();

        assert_eq!(list.entries().len(), 1, "{strange}");
        list.append(&Descriptor::of("application/vnd.oci.image.manifest.v1+json", b"x")).unwrap();
        let written = json::read("test", &list.to_bytes(), 1 << 20).unwrap();
        let items = written.member("manifests").unwrap().as_array().unwrap();
        assert_eq!(items.len(), 3, "{strange}");
        assert_eq!(items[0], json::read("test", strange.as_bytes(), 100).unwrap());
    }
}

#[test]
fn a_list_of_nothing_is_read_however_it_is_written() {
    for text in [
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":null}"#,
        r#"{"schemaVersion":2,"manifests":[]}"#,
    ] {
        assert!(Referrers::parse(text.as_bytes()).unwrap().entries().is_empty());
    }
    for (sin, text) in [
        ("an image", IMAGE.to_vec()),
        ("a page", b"<html>404</html>".to_vec()),
        ("entries that are an object", br#"{"schemaVersion":2,"manifests":{}}"#.to_vec()),
        ("another media type", br#"{"mediaType":"application/json","manifests":[]}"#.to_vec()),
        ("entries in another case", br#"{"manifests":[],"Manifests":[]}"#.to_vec()),
    ] {
        assert!(Referrers::parse(&text).is_err(), "{sin}");
    }
}

/// The bundles of sigstore's conformance suite.
fn conformance() -> Vec<PathBuf> {
    let Some(path) = beside("vectors/sigstore-bundles/bundle-verify") else { return Vec::new() };
    std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
}

/// Our verdict on one case: the bundle, the key of the case and the file that all cases are about.
fn accepted(case: &Path) -> bool {
    let file = std::fs::read(case.join("artifact")).or_else(|_| std::fs::read(case.join("../../a.txt"))).unwrap();
    let bundle = std::fs::read(case.join("bundle.sigstore.json")).unwrap();
    let key = std::fs::read_to_string(case.join("key.pub")).ok().and_then(|pem| PublicKey::from_pem(&pem).ok());
    key.is_some_and(|key| blob::verify_bundle(&key, &Signable::Message(file), &bundle).is_ok())
}

#[test]
fn bundles_of_the_conformance_suite_are_accepted_only_when_made_with_a_key() {
    let cases = conformance();
    if cases.is_empty() {
        return;
    }

    let mut taken: Vec<_> =
        cases.iter().filter(|case| accepted(case)).map(|case| case.file_name().unwrap().to_string_lossy()).collect();
    taken.sort();

    assert!(cases.len() > 60, "only {} cases", cases.len());
    assert_eq!(taken, ["managed-key-and-trusted-root", "managed-key-happy-path"]);
    for case in &cases {
        let bundle = std::fs::read(case.join("bundle.sigstore.json")).unwrap();
        let managed = case.file_name().unwrap().to_string_lossy().starts_with("managed-key");
        assert_eq!(Bundle::read(&bundle).is_ok(), managed, "{}", case.display());
    }
}
