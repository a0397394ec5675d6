//! What image signatures say, in both forms: ours exactly, cosign's as cosign wrote it, hostile ones refused.
#![cfg(feature = "formats")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

#[path = "format_cosign/manifest.rs"]
mod manifest;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use trust::format::bundle::{Bundle, Content};
use trust::format::cosign::{
    Asked, Claim, ImageStatement, Named, Names, PAYLOAD_BYTES_MAX, SignatureManifest, read_simple_signing,
    read_statement,
};
use trust::format::json;
use trust::{Algorithm, Form, Malformed, PublicKey, Reference, Repository, Sha256Digest, Signable, verify};

const DIGEST: &str = "c9444a23b50f216d0418f87eb37a905cd7601fc8728e8878252ebedc5a371452";
const TAGGED_PAYLOAD: &[u8] = include_bytes!("samples/cosign/tagged-payload.json");
const TAGGED_MANIFEST: &[u8] = include_bytes!("samples/cosign/tagged-sig-manifest.json");
const TAGGED_KEY: &str = include_str!("samples/cosign/tagged.pub");
const COSIGN_PAYLOAD: &[u8] = include_bytes!("samples/cosign/cosign-2.6.5-payload.json");
const COSIGN_MANIFEST: &[u8] = include_bytes!("samples/cosign/cosign-2.6.5-sig-manifest.json");
const COSIGN_KEY: &str = include_str!("samples/cosign/cosign.pub");
const COSIGN_BUNDLE: &[u8] = include_bytes!("samples/cosign/cosign-3.1.3-image-bundle.json");
const IMAGE: &[u8] = include_bytes!("samples/cosign/image-manifest.json");

fn statement(reference: &str) -> ImageStatement {
    ImageStatement { reference: Reference::parse(reference).unwrap(), digest: Sha256Digest::from_hex(DIGEST).unwrap() }
}

/// A P-256 key of the test's own.
struct Signer(EcdsaKeyPair, PublicKey);

impl Signer {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        // SubjectPublicKeyInfo of a P-256 key: 26 bytes before the point (RFC 5480).
        let prefix = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
        let der = [&prefix[..], pair.public_key().as_ref()].concat();
        Self(pair, PublicKey::from_spki_der(Algorithm::EcdsaP256Sha256, &der).unwrap())
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }
}

#[test]
fn our_payload_is_byte_for_byte_the_one_that_skopeo_and_cosign_accepted() {
    let preimage = statement("127.0.0.1:5002/acme/sample:1.0").preimage(Form::Sig).unwrap();

    assert_eq!(preimage.payload, TAGGED_PAYLOAD);
    assert_eq!(preimage.signed, TAGGED_PAYLOAD);
    let layers = SignatureManifest::parse(TAGGED_MANIFEST).unwrap().layers();
    assert!(layers[0].payload.describes(&preimage.payload));
    let key = PublicKey::from_pem(TAGGED_KEY).unwrap();
    verify::one(&key, &Signable::Message(preimage.signed), &layers[0].signature).unwrap();
}

#[test]
fn our_statement_names_the_reference_and_is_signed_as_dsse_has_it() {
    let preimage = statement("registry.example.com/team/app:1.0").preimage(Form::Bundle).unwrap();

    let text = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","predicate":{{}},"predicateType":"https://sigstore.dev/cosign/sign/v1","subject":[{{"digest":{{"sha256":"{DIGEST}"}},"name":"registry.example.com/team/app:1.0"}}]}}"#
    );
    assert_eq!(String::from_utf8(preimage.payload).unwrap(), text);
    let signed = format!("DSSEv1 28 application/vnd.in-toto+json {} {text}", text.len());
    assert_eq!(String::from_utf8(preimage.signed).unwrap(), signed);
}

#[test]
fn an_image_statement_has_no_raw_form() {
    assert!(statement("registry.example.com/app:1").preimage(Form::Raw).is_err());
}

#[test]
fn what_we_say_is_what_we_read() {
    let said = statement("registry.example.com:5000/team/app:1.0");

    let claims = [
        read_simple_signing(&said.preimage(Form::Sig).unwrap().payload).unwrap(),
        read_statement(&said.preimage(Form::Bundle).unwrap().payload).unwrap().remove(0),
    ];

    for claim in claims {
        assert_eq!(claim.digest, said.digest);
        assert_eq!(claim.named, Named::Reference(said.reference.clone()));
        assert_eq!(claim.written, "registry.example.com:5000/team/app:1.0");
    }
}

#[test]
fn cosign_2_names_the_repository_and_cosign_3_names_nothing() {
    let of_sig = read_simple_signing(COSIGN_PAYLOAD).unwrap();
    let Content::Envelope(envelope) = Bundle::read(COSIGN_BUNDLE).unwrap().content else { panic!("no envelope") };
    let of_bundle = read_statement(&envelope.payload).unwrap();

    let repository = Repository::parse("127.0.0.1:5391/acme/app").unwrap();
    assert_eq!((of_sig.digest, of_sig.named), (Sha256Digest::of(IMAGE), Named::Repository(repository)));
    assert_eq!(of_bundle.len(), 1);
    assert_eq!((of_bundle[0].digest, &of_bundle[0].named), (Sha256Digest::of(IMAGE), &Named::Nothing));
}

#[test]
fn the_payload_of_cosign_2_is_the_canonical_text_of_what_it_says() {
    assert_eq!(json::canonical(&json::read("test", COSIGN_PAYLOAD, PAYLOAD_BYTES_MAX).unwrap()), COSIGN_PAYLOAD);
}

fn payload(reference: &str, digest: &str, kind: &str, optional: &str) -> String {
    format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"{reference}"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"{kind}"}},"optional":{optional}}}"#
    )
}

const TYPE: &str = "cosign container image signature";

#[test]
fn notes_of_the_signer_are_taken() {
    let digest = format!("sha256:{DIGEST}");
    for optional in ["null", "{}", r#"{"creator":"x","timestamp":1790000000}"#, r#"{"a":"b","c":{"d":[1]}}"#] {
        let text = payload("r.example.com/a:1", &digest, TYPE, optional);
        assert!(read_simple_signing(text.as_bytes()).is_ok(), "{optional}");
        assert!(read_simple_signing(format!(" \n{text}\n").as_bytes()).is_ok(), "{optional}");
    }
}

#[test]
fn hostile_payloads_are_refused_by_their_sin() {
    let digest = format!("sha256:{DIGEST}");
    let good = payload("r.example.com/a:1", &digest, TYPE, "null");
    let cases = [
        ("another type", payload("r.example.com/a:1", &digest, "atomic container signature", "null")),
        ("no type", good.replace(r#","type":"cosign container image signature""#, "")),
        ("a digest of another length", payload("r.example.com/a:1", "sha256:c944", TYPE, "null")),
        ("another algorithm", payload("r.example.com/a:1", &format!("sha512:{DIGEST}{DIGEST}"), TYPE, "null")),
        (
            "another algorithm of the same length",
            payload("r.example.com/a:1", &format!("blake3:{DIGEST}"), TYPE, "null"),
        ),
        ("a digest without algorithm", payload("r.example.com/a:1", DIGEST, TYPE, "null")),
        (
            "a digest in upper case",
            payload("r.example.com/a:1", &format!("sha256:{}", DIGEST.to_uppercase()), TYPE, "null"),
        ),
        ("a digest that is a path", payload("r.example.com/a:1", "sha256:../../../etc/passwd", TYPE, "null")),
        ("a digest that is a number", good.replace(&format!("\"{digest}\""), "1")),
        ("a name with a line feed", payload(r"r.example.com/a:1\n", &digest, TYPE, "null")),
        ("a name with an escape sequence", payload(r"\u001b[2Jr.example.com/a:1", &digest, TYPE, "null")),
        ("a name with NUL", payload(r"r.example.com/a\u0000:1", &digest, TYPE, "null")),
        ("a name that is none", payload("../../a", &digest, TYPE, "null")),
        ("a name of many bytes", payload(&format!("r.example.com/{}", "a".repeat(1000)), &digest, TYPE, "null")),
        ("a name that is a list", good.replace(r#""r.example.com/a:1""#, r#"["r.example.com/a:1"]"#)),
        (
            "the digest twice",
            good.replace(r#""image":{"#, &format!(r#""image":{{"docker-manifest-digest":"{digest}","#)),
        ),
        ("critical twice", good.replace(r#","optional""#, r#","critical":{},"optional""#)),
        ("critical twice by an escape", good.replace(r#","optional""#, r#","\u0063ritical":{},"optional""#)),
        ("a further key at the top", good.replace(r#","optional""#, r#","extra":1,"optional""#)),
        ("a further key in critical", good.replace(r#""critical":{"#, r#""critical":{"extra":1,"#)),
        ("a key in another case", good.replace(r#""critical":{"#, r#""critical":{"Image":{},"#)),
        ("a further key in image", good.replace(r#""image":{"#, r#""image":{"extra":1,"#)),
        ("no optional", good.replace(r#","optional":null"#, "")),
        ("optional that is a text", payload("r.example.com/a:1", &digest, TYPE, "\"\"")),
        ("optional that is a list", payload("r.example.com/a:1", &digest, TYPE, "[]")),
        ("a timestamp that is a text", payload("r.example.com/a:1", &digest, TYPE, r#"{"timestamp":"1"}"#)),
        ("a timestamp with a fraction", payload("r.example.com/a:1", &digest, TYPE, r#"{"timestamp":1.5}"#)),
        ("a creator that is a number", payload("r.example.com/a:1", &digest, TYPE, r#"{"creator":1}"#)),
        ("something behind it", format!("{good}{good}")),
        ("a truncated payload", good[..good.len() - 1].to_owned()),
        ("nothing", String::new()),
        ("null", "null".to_owned()),
        ("a list", format!("[{good}]")),
        (
            "deep nesting",
            payload("r.example.com/a:1", &digest, TYPE, &format!("{{\"a\":{}1{}}}", "[".repeat(100), "]".repeat(100))),
        ),
        (
            "too many bytes",
            payload("r.example.com/a:1", &digest, TYPE, &format!("{{\"a\":\"{}\"}}", "a".repeat(PAYLOAD_BYTES_MAX))),
        ),
    ];

    assert!(read_simple_signing(good.as_bytes()).is_ok());
    for (sin, text) in cases {
        assert_ne!(text, good, "{sin} was not made");
        assert!(read_simple_signing(text.as_bytes()).is_err(), "{sin}: {text}");
    }
}

fn statement_text(kind: &str, predicate: &str, subjects: &str) -> String {
    format!(r#"{{"_type":"{kind}","subject":[{subjects}],"predicateType":"{predicate}","predicate":{{}}}}"#)
}

#[test]
fn hostile_statements_are_refused_by_their_sin() {
    const V1: &str = "https://in-toto.io/Statement/v1";
    const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
    let subject = format!(r#"{{"digest":{{"sha256":"{DIGEST}"}},"name":"r.example.com/a:1"}}"#);
    let good = statement_text(V1, SIGN, &subject);
    let with = |subject: &str| statement_text(V1, SIGN, subject);
    let cases = [
        ("a build's provenance", statement_text(V1, "https://slsa.dev/provenance/v1", &subject)),
        ("no predicate type", good.replace(&format!(r#""predicateType":"{SIGN}","#), "")),
        ("another statement type", statement_text("https://in-toto.io/Statement/v2", SIGN, &subject)),
        ("no statement type", good.replace(&format!(r#""_type":"{V1}","#), "")),
        ("no subject", with("")),
        ("a subject that is an object", good.replace(['[', ']'], "")),
        ("a subject without digest", with(r#"{"name":"r.example.com/a:1"}"#)),
        ("a subject with another algorithm", with(&subject.replace("sha256", "sha512"))),
        ("a digest of another length", with(&subject.replace(DIGEST, &DIGEST[..62]))),
        ("a digest with a prefix", with(&subject.replace(DIGEST, &format!("sha256:{DIGEST}")))),
        ("a digest in upper case", with(&subject.replace(DIGEST, &DIGEST.to_uppercase()))),
        ("a digest that is a list", with(&subject.replace(&format!("\"{DIGEST}\""), "[]"))),
        ("a name that is a number", with(&subject.replace(r#""r.example.com/a:1""#, "1"))),
        ("a name with a control character", with(&subject.replace("a:1", r"a:1\u0007"))),
        ("a name that is none", with(&subject.replace("a:1", "a b"))),
        ("one bad subject among good ones", with(&format!("{subject},{{}},{subject}"))),
        ("too many subjects", with(&vec![subject.clone(); 65].join(","))),
        ("the subject twice", good.replace(r#""predicateType""#, r#""subject":[],"predicateType""#)),
        (
            "deep nesting",
            good.replace("\"predicate\":{}", &format!("\"predicate\":{}{}", "[".repeat(99), "]".repeat(99))),
        ),
        (
            "too many bytes",
            good.replace("\"predicate\":{}", &format!("\"predicate\":\"{}\"", "a".repeat(PAYLOAD_BYTES_MAX))),
        ),
        ("nothing", String::new()),
    ];

    assert_eq!(read_statement(good.as_bytes()).unwrap().len(), 1);
    assert_eq!(read_statement(with(&vec![subject.clone(); 64].join(",")).as_bytes()).unwrap().len(), 64);
    assert!(read_statement(statement_text("https://in-toto.io/Statement/v0.1", SIGN, &subject).as_bytes()).is_ok());
    for (sin, text) in cases {
        assert_ne!(text, good, "{sin} was not made");
        assert!(read_statement(text.as_bytes()).is_err(), "{sin}: {text}");
    }
}

fn claim(named: &str) -> Result<Claim, Malformed> {
    read_simple_signing(payload(named, &format!("sha256:{DIGEST}"), TYPE, "null").as_bytes())
}

#[test]
fn names_are_read_as_docker_reads_them() {
    let reference = |text: &str| Named::Reference(Reference::parse(text).unwrap());
    let repository = |text: &str| Named::Repository(Repository::parse(text).unwrap());
    for (written, named) in [
        ("", Named::Nothing),
        ("r.example.com/a:1", reference("r.example.com/a:1")),
        ("r.example.com:5000/a", repository("r.example.com:5000/a")),
        ("localhost:5000/a:1", reference("localhost:5000/a:1")),
        ("index.docker.io/library/busybox", repository("docker.io/library/busybox")),
        ("busybox:1", reference("docker.io/library/busybox:1")),
        ("R.example.com/a:1", reference("r.example.com/a:1")),
        ("r.example.com/a:1@sha256:00", reference("r.example.com/a:1")),
        ("r.example.com/a@sha256:00", repository("r.example.com/a")),
    ] {
        assert_eq!(claim(written).unwrap().named, named, "{written}");
    }
    for written in ["@sha256:00", ":1", "r.example.com/", "r.example.com/a:", "a b", "r.example.com/A", "https://r/a"] {
        assert!(claim(written).is_err(), "{written}");
    }
}

#[test]
fn a_signature_counts_only_for_what_it_names() {
    let asked = Reference::parse("r.example.com/a:1").unwrap();
    let by_tag = Asked::Tag(&asked);
    let by_digest = Asked::Digest(&asked.repository);
    // written, exact by tag, exact by digest, any tag by either
    for (written, tag, digest, any) in [
        ("r.example.com/a:1", true, true, true),
        ("r.example.com/a:2", false, true, true),
        ("r.example.com/a", false, true, true),
        ("", false, false, true),
        ("r.example.com/b:1", false, false, false),
        ("r.example.com/b", false, false, false),
        ("other.example.com/a:1", false, false, false),
        ("r.example.com/a/b:1", false, false, false),
        ("r.example.com:5000/a:1", false, false, false),
    ] {
        let claim = claim(written).unwrap();
        assert_eq!(claim.answers(by_tag, Names::Exact), tag, "{written} by tag");
        assert_eq!(claim.answers(by_digest, Names::Exact), digest, "{written} by digest");
        assert_eq!(claim.answers(by_tag, Names::AnyTag), any, "{written} by tag, any tag");
        assert_eq!(claim.answers(by_digest, Names::AnyTag), any, "{written} by digest, any tag");
    }
}
