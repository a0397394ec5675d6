//! Manifests and indexes: real ones are read, and those that two readers would read differently are refused.
#![cfg(feature = "formats")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use trust::Sha256Digest;
use trust::format::oci::{Content, Descriptor, MANIFEST_BYTES_MAX, MediaType, parse, parse_served};

const IMAGE: &str = include_str!("samples/cosign/tagged-image-manifest.json");
const D1: &str = "sha256:c9444a23b50f216d0418f87eb37a905cd7601fc8728e8878252ebedc5a371452";

fn descriptor(media_type: &str, more: &str) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{D1}","size":7{more}}}"#)
}

/// What docker pushes for two platforms, with the attestation that BuildKit lists beside them.
fn index() -> String {
    let instance = |architecture: &str| {
        let platform = format!(r#","platform":{{"architecture":"{architecture}","os":"linux"}}"#);
        descriptor("application/vnd.oci.image.manifest.v1+json", &platform)
    };
    let attestation = descriptor(
        "application/vnd.oci.image.manifest.v1+json",
        r#","annotations":{"vnd.docker.reference.type":"attestation-manifest"},"platform":{"architecture":"unknown","os":"unknown"}"#,
    );
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{},{},{attestation}]}}"#,
        instance("amd64"),
        instance("arm64")
    )
}

#[test]
fn an_image_is_what_its_bytes_say() {
    let manifest = parse(IMAGE.as_bytes()).unwrap();

    assert_eq!(manifest.digest.to_string(), D1);
    assert_eq!((manifest.media_type, manifest.size_bytes), (MediaType::OciManifest, 401));
    let Content::Image { config, layers } = &manifest.content else { panic!("no image") };
    assert_eq!((config.size_bytes, layers.len(), layers[0].size_bytes), (173, 1, 114));
    assert_eq!(manifest.descriptor(), Descriptor::of(MediaType::OciManifest.as_str(), IMAGE.as_bytes()));
    assert!(manifest.descriptor().describes(IMAGE.as_bytes()));
    assert!(!manifest.descriptor().describes(format!("{IMAGE}\n").as_bytes()));
    assert!(manifest.instances().is_empty());
    assert_eq!(manifest.subject, None);
}

#[test]
fn white_space_is_another_digest_of_the_same_content() {
    let spaced = parse(format!(" {IMAGE}\n").as_bytes()).unwrap();

    assert_eq!(spaced.content, parse(IMAGE.as_bytes()).unwrap().content);
    assert_eq!(spaced.digest, Sha256Digest::of(format!(" {IMAGE}\n").as_bytes()));
}

#[test]
fn an_index_lists_its_instances() {
    let manifest = parse(index().as_bytes()).unwrap();

    assert_eq!(manifest.media_type, MediaType::OciIndex);
    assert_eq!(manifest.instances().len(), 3);
    assert_eq!(manifest.instances()[2].annotations["vnd.docker.reference.type"], "attestation-manifest");
}

#[test]
fn all_four_kinds_are_read_and_oci_without_media_type() {
    let docker = |text: &str| {
        text.replace("oci.image.index.v1", "docker.distribution.manifest.list.v2")
            .replace("oci.image.manifest.v1", "docker.distribution.manifest.v2")
    };
    let bare =
        |text: &str, kind: MediaType| text.replace(&format!("\"mediaType\":\"{kind}\",\"config\""), "\"config\"");
    for (text, kind) in [
        (IMAGE.to_owned(), MediaType::OciManifest),
        (docker(IMAGE), MediaType::DockerManifest),
        (index(), MediaType::OciIndex),
        (docker(&index()), MediaType::DockerList),
        (bare(IMAGE, MediaType::OciManifest), MediaType::OciManifest),
        (index().replacen(r#""mediaType":"application/vnd.oci.image.index.v1+json","#, "", 1), MediaType::OciIndex),
    ] {
        assert_eq!(parse(text.as_bytes()).unwrap().media_type, kind, "{text}");
        assert_eq!(parse_served(kind.as_str(), text.as_bytes()).unwrap().media_type, kind);
        assert!(parse_served(&format!("{kind}; charset=utf-8"), text.as_bytes()).is_ok());
        for other in MediaType::ALL.into_iter().filter(|other| *other != kind) {
            assert!(parse_served(other.as_str(), text.as_bytes()).is_err(), "{text} served as {other}");
        }
        assert!(parse_served("application/json", text.as_bytes()).is_err());
        assert!(parse_served("", text.as_bytes()).is_err());
    }
}

#[test]
fn an_image_about_another_names_it() {
    let text = include_bytes!("samples/cosign/referrer-manifest.json");

    let manifest = parse(text).unwrap();

    assert_eq!(manifest.subject.unwrap().digest.to_string(), D1);
    assert_eq!(manifest.artifact_type.unwrap(), "application/vnd.dev.sigstore.bundle.v0.3+json");
    assert_eq!(manifest.annotations["dev.sigstore.bundle.content"], "dsse-envelope");
}

#[test]
fn what_is_listed_without_artifact_type_has_that_of_its_configuration() {
    let listed = parse(IMAGE.as_bytes()).unwrap().listed();

    assert_eq!(listed.artifact_type.unwrap(), "application/vnd.oci.image.config.v1+json");
    assert_eq!(parse(index().as_bytes()).unwrap().listed().artifact_type, None);
}

#[test]
fn hostile_manifests_are_refused_by_their_sin() {
    let replaced = |from: &str, to: &str| {
        let text = IMAGE.replacen(from, to, 1);
        assert_ne!(text, IMAGE, "{from} is not there");
        text
    };
    let layer = IMAGE.split(r#""layers":["#).nth(1).unwrap().split(']').next().unwrap();
    let schema1 = r#"{"schemaVersion":1,"name":"a","tag":"1","architecture":"amd64","fsLayers":[{"blobSum":"x"}],"history":[],"signatures":[]}"#;
    for (sin, text) in [
        ("schema 1", schema1.to_owned()),
        ("schema 1 under another number", schema1.replace(":1,", ":2,")),
        ("schema 1 inside an image", replaced(r#""config""#, r#""fsLayers":[],"config""#)),
        ("no schema version", replaced(r#""schemaVersion":2,"#, "")),
        ("a schema version that is a text", replaced(r#""schemaVersion":2"#, r#""schemaVersion":"2""#)),
        ("another media type", replaced("image.manifest.v1", "image.manifest.v2")),
        (
            "schema 1's media type",
            replaced("vnd.oci.image.manifest.v1+json", "vnd.docker.distribution.manifest.v1+prettyjws"),
        ),
        ("a media type that is a number", replaced(r#""application/vnd.oci.image.manifest.v1+json""#, "7")),
        ("an image that is an index, too", replaced(r#""config""#, r#""manifests":[],"config""#)),
        ("an image that says to be an index", replaced("image.manifest.v1", "image.index.v1")),
        ("an index that says to be an image", index().replace("image.index.v1", "image.manifest.v1")),
        ("an index with a configuration", index().replacen("{", r#"{"config":{},"#, 1)),
        ("layers twice", replaced(r#""layers""#, r#""layers":[],"layers""#)),
        ("layers twice by an escape", replaced(r#""layers""#, r#""l\u0061yers":[],"layers""#)),
        ("layers in another case", replaced(r#""layers""#, r#""Layers":[],"layers""#)),
        ("layers with the long s", replaced(r#""layers""#, "\"layer\u{17f}\":[],\"layers\"")),
        ("an index in another case", replaced(r#""config""#, r#""MANIFESTS":[],"config""#)),
        ("a digest in another case", replaced(r#""digest""#, r#""Digest":"x","digest""#)),
        ("a digest twice", replaced(r#""digest""#, r#""digest":"x","digest""#)),
        ("no config", replaced(r#""config""#, r#""x""#)),
        ("no layers", replaced(r#""layers""#, r#""x""#)),
        ("a config that is null", replaced(r#""config":{"#, r#""config":null,"x":{"#)),
        ("layers that are an object", replaced(&format!("[{layer}]"), layer)),
        ("a layer that is a text", replaced(layer, "\"x\"")),
        ("a digest of another length", replaced(&layer[layer.len() - 20..layer.len() - 12], "")),
        ("a digest with another algorithm", replaced("\"digest\":\"sha256:", "\"digest\":\"sha512:")),
        ("a digest in upper case", replaced("sha256:e0", "sha256:E0")),
        ("a digest that is a path", replaced("sha256:e0b4", "sha256:../..")),
        ("no size", replaced(r#","size":173"#, "")),
        ("a negative size", replaced(r#""size":173"#, r#""size":-173"#)),
        ("a size with a fraction", replaced(r#""size":173"#, r#""size":173.0"#)),
        ("a size beyond what is exact", replaced(r#""size":173"#, r#""size":9007199254740993"#)),
        ("a size that is a text", replaced(r#""size":173"#, r#""size":"173""#)),
        ("a media type with a control character", replaced("image.config", r"image\u001b.config")),
        ("a media type without a slash", replaced("application/vnd.oci.image.config.v1+json", "config")),
        ("a media type of many bytes", replaced("image.config", &"a".repeat(300))),
        ("annotations that are numbers", replaced(r#""config""#, r#""annotations":{"a":1},"config""#)),
        ("annotations that are a list", replaced(r#""config""#, r#""annotations":["a"],"config""#)),
        ("an annotation's name with a line feed", replaced(r#""config""#, r#""annotations":{"a\n":"b"},"config""#)),
        ("a subject that is a text", replaced(r#""config""#, r#""subject":"x","config""#)),
        ("a subject without digest", replaced(r#""config""#, r#""subject":{"size":1},"config""#)),
        ("an artifact type with a control character", replaced(r#""config""#, r#""artifactType":"a\r","config""#)),
        (
            "deep nesting",
            replaced(r#""config""#, &format!(r#""x":{}{},"config""#, "[".repeat(50_000), "]".repeat(50_000))),
        ),
        ("two million values", replaced(r#""config""#, &format!(r#""x":[{}0],"config""#, "0,".repeat(2_000_000)))),
        ("too many bytes", format!("{IMAGE}{}", " ".repeat(MANIFEST_BYTES_MAX))),
        ("something behind it", format!("{IMAGE}{IMAGE}")),
        ("half of it", IMAGE[..200].to_owned()),
        ("a list", format!("[{IMAGE}]")),
        ("a page", "<html></html>".to_owned()),
        ("nothing", String::new()),
    ] {
        assert!(parse(text.as_bytes()).is_err(), "{sin}");
    }
}

#[test]
fn members_that_nobody_knows_and_urls_change_nothing() {
    let text = IMAGE.replacen(r#""config""#, r#""x-new":{"deep":[null]},"config""#, 1).replacen(
        r#""size":114"#,
        r#""size":114,"urls":["http://evil.example.com/x"],"data":"aGk=""#,
        1,
    );

    assert_eq!(parse(text.as_bytes()).unwrap().content, parse(IMAGE.as_bytes()).unwrap().content);
}
