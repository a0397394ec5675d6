//! Signatures of OpenSSH: what ssh-keygen takes verifies, and hostile ones are refused.

use trust::format::release::sshsig::{self, Hash, Sshsig};
use trust::{Algorithm, PublicKey, Signable, Signature, verify};

use super::{base64, changed, file, key, other_key};

const SSHSIG: &str = include_str!("../samples/release/f.ed25519.sshsig");

#[test]
fn the_signatures_that_ssh_keygen_takes_verify_and_ours_are_those_bytes() {
    let read = Sshsig::read(SSHSIG.as_bytes()).unwrap();

    read.verify(&key(), &file()).unwrap();
    assert_eq!((read.namespace.as_str(), read.hash), (sshsig::NAMESPACE, Hash::Sha512));
    verify::one(&key(), &Signable::Message(sshsig::signed(&file())), &read.signature).unwrap();
    let signature = Signature::new(Algorithm::Ed25519, read.signature).unwrap();
    assert_eq!(sshsig::to_text(&key(), &signature).unwrap(), SSHSIG);
    let sha256 = Sshsig::read(include_bytes!("../samples/release/f.ed25519.sha256.sshsig")).unwrap();
    assert_eq!(sha256.hash, Hash::Sha256);
    sha256.verify(&key(), &file()).unwrap();
}

#[test]
fn the_ecdsa_signature_that_ssh_keygen_takes_verifies_under_its_own_key_alone() {
    let p256 = PublicKey::from_pem(include_str!("../samples/release/p256.pub")).unwrap();
    let read = Sshsig::read(include_bytes!("../samples/release/f.p256.sshsig")).unwrap();

    read.verify(&p256, &file()).unwrap();
    assert!(read.verify(&p256, &changed()).is_err());
    assert!(read.verify(&PublicKey::from_pem(include_str!("../samples/cosign/cosign.pub")).unwrap(), &file()).is_err());
    // A zero more before s is another file of the same signature.
    let padded = rebuilt(include_str!("../samples/release/f.p256.sshsig"), b"\0\0\0\x20;d", b"\0\0\0\x21\0;d");
    assert!(Sshsig::read(padded.as_bytes()).is_err());
    let mut flipped = read;
    *flipped.signature.last_mut().unwrap() ^= 1;
    assert!(flipped.verify(&p256, &file()).is_err());
}

#[test]
fn a_key_with_a_hash_function_that_openssh_does_not_take_leaves_no_openssh_form() {
    // RFC 6979 appendix A.2.6's public key, on P-384.
    let point = "04ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea9055866064a254515480bc13\
                 8015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1288b231c3ae0d4fe7344fd2533264720";
    let der = [hex::decode("3076301006072a8648ce3d020106052b81040022036200").unwrap(), hex::decode(point).unwrap()];
    let key = PublicKey::from_spki_der(Algorithm::EcdsaP384Sha256, &der.concat()).unwrap();
    let signature = Signature::new(key.algorithm(), vec![0x30, 6, 2, 1, 1, 2, 1, 1]).unwrap();

    assert!(sshsig::to_text(&key, &signature).is_err());
    let other = Sshsig::read(SSHSIG.as_bytes()).unwrap();
    assert!(other.verify(&key, &file()).is_err());
}

#[test]
fn an_openssh_signature_is_of_one_file_one_key_and_one_namespace() {
    let read = Sshsig::read(SSHSIG.as_bytes()).unwrap();

    assert!(read.verify(&other_key(), &file()).is_err());
    assert!(read.verify(&key(), &changed()).is_err());
    // What git signs is no release, even were the bytes the same.
    let git = Sshsig::read(rebuilt(SSHSIG, b"\0\0\0\x04file", b"\0\0\0\x03git").as_bytes()).unwrap();
    assert_eq!(git.namespace, "git");
    assert!(git.verify(&key(), &file()).is_err());
    let ecdsa = Sshsig::read(include_bytes!("../samples/release/f.p256.sshsig")).unwrap();
    assert!(ecdsa.verify(&key(), &file()).is_err());
}

/// The armoured text with some of its bytes replaced.
fn rebuilt(text: &str, from: &[u8], to: &[u8]) -> String {
    use ::base64::Engine as _;
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let bytes = base64(&body);
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    let bytes = [&bytes[..at], to, &bytes[at + from.len()..]].concat();
    let body = ::base64::engine::general_purpose::STANDARD.encode(bytes);
    format!("-----BEGIN SSH SIGNATURE-----\n{body}\n-----END SSH SIGNATURE-----\n")
}

#[test]
fn hostile_openssh_signatures_are_refused_by_their_sin() {
    for (sin, text) in [
        ("nothing", String::new()),
        ("no armour", SSHSIG.lines().nth(1).unwrap().to_owned()),
        ("another armour", SSHSIG.replace("SSH SIGNATURE", "PGP SIGNATURE")),
        ("two", format!("{SSHSIG}{SSHSIG}")),
        ("another version", rebuilt(SSHSIG, b"SSHSIG\0\0\0\x01", b"SSHSIG\0\0\0\x02")),
        ("no namespace", rebuilt(SSHSIG, b"\0\0\0\x04file", b"\0\0\0\0")),
        ("a namespace that is no text", rebuilt(SSHSIG, b"\0\0\0\x04file", b"\0\0\0\x02\xff\xfe")),
        ("a reserved field", rebuilt(SSHSIG, b"file\0\0\0\0", b"file\0\0\0\x01x")),
        ("md5", rebuilt(SSHSIG, b"\0\0\0\x06sha512", b"\0\0\0\x03md5")),
        ("a length beyond the end", rebuilt(SSHSIG, b"\0\0\0\x04file", b"\xff\xff\xff\xfffile")),
        ("too many bytes", format!("{SSHSIG}{}", "\n".repeat(sshsig::BYTES_MAX))),
    ] {
        assert!(Sshsig::read(text.as_bytes()).is_err(), "{sin}");
    }
    for end in 0..SSHSIG.len() - 1 {
        assert!(Sshsig::read(&SSHSIG.as_bytes()[..end]).is_err(), "cut at {end}");
    }
}
