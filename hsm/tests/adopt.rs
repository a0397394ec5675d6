//! Keys that were in the token before they were ours, made there by `pkcs11-tool` and brought there by openssl.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

mod house;

use std::process::Command;
use std::time::Duration;

use house::token::TokenHouse;
use house::{context, openssl_verifies, order};
use trust::{Algorithm, Purpose, Sha256Digest, Signable};
use trust_hsm::{AdoptOrder, Custodian as _, CustodyError, DestroyOrder, Generated, Material, Removed, Session};

const LONG: Duration = Duration::from_secs(60);

fn adopting(id: &[u8], algorithm: Algorithm) -> AdoptOrder {
    let context = context(algorithm, Purpose::ReleaseBlob);
    AdoptOrder { context, id: id.to_vec(), spki_sha256: None, may_do_more: false }
}

fn why(outcome: Result<Generated, CustodyError>) -> String {
    match outcome.map(drop).unwrap_err() {
        CustodyError::Refused { why } => why,
        other => panic!("not refused: {other}"),
    }
}

fn make(house: &TokenHouse, kind: &str, id: &str, more: &[&str]) {
    let label = format!("theirs {id}");
    let arguments = ["--keypairgen", "--key-type", kind, "--id", id, "--label", &label];
    house.pkcs11_tool(&[&arguments, more].concat());
}

fn sign(session: &mut dyn Session, adopted: &Generated, asked: &AdoptOrder) -> Result<Vec<u8>, CustodyError> {
    let order = order(&asked.context, adopted, vec![Signable::Message(b"m".to_vec())]);
    let signed = session.sign(&[order], LONG).remove(0)?.remove(0)?;
    Ok(signed.as_bytes().to_vec())
}

#[test]
fn a_key_of_each_algorithm_is_adopted_and_signs_and_nothing_in_the_token_is_changed() {
    let house = TokenHouse::new();
    let kinds = [
        ("EC:prime256v1", "01", Algorithm::EcdsaP256Sha256),
        ("EC:secp384r1", "0203", Algorithm::EcdsaP384Sha256),
        ("EC:edwards25519", &"04".repeat(64), Algorithm::Ed25519),
        ("rsa:3072", "05", Algorithm::Rsa3072Pkcs1Sha256),
    ];
    for (kind, id, _) in kinds {
        make(&house, kind, id, &["--usage-sign"]);
    }
    let before = house.pkcs11_tool(&["--list-objects"]);
    let worker = house.mount();
    let mut session = worker.open().unwrap();

    for (kind, id, algorithm) in kinds {
        let purpose = if algorithm == Algorithm::Ed25519 { Purpose::ReleaseStatement } else { Purpose::ReleaseBlob };
        let id_bytes = hex::decode(id).unwrap();
        let mut context = context(algorithm, purpose);
        context.key.id = trust::KeyId::from_bytes([id_bytes[0]; 16]);
        // SoftHSM lets every RSA key decrypt.
        let asked = AdoptOrder { context, may_do_more: true, ..adopting(&id_bytes, algorithm) };
        let adopted = session.adopt(&asked).unwrap_or_else(|error| panic!("{kind}: {error}"));

        let signature = sign(&mut *session, &adopted, &asked).unwrap();

        assert!(openssl_verifies(algorithm, adopted.public_key.spki_der(), b"m", &signature), "{kind}");
        let Material::Token(key) = &adopted.material else { panic!("{:?}", adopted.material) };
        assert_eq!((key.object.to_string(), key.token.as_str()), (id.to_owned(), "test"));
        // It is a key like any other: found again by another process.
        let other = house.mount();
        assert!(sign(&mut *other.open().unwrap(), &adopted, &asked).is_ok(), "{kind}");
    }
    assert_eq!(house.pkcs11_tool(&["--list-objects"]), before);
}

#[test]
fn what_is_no_key_to_keep_is_refused_with_the_reason() {
    let house = TokenHouse::new();
    let p256 = Algorithm::EcdsaP256Sha256;
    make(&house, "EC:prime256v1", "01", &["--usage-sign"]);
    make(&house, "EC:prime256v1", "02", &["--usage-sign", "--extractable"]);
    make(&house, "EC:prime256v1", "04", &["--usage-sign", "--usage-derive"]);
    make(&house, "EC:prime256v1", "05", &["--usage-sign"]);
    make(&house, "EC:prime256v1", "05", &["--usage-sign"]);
    make(&house, "EC:prime256v1", "06", &["--usage-sign"]);
    house.pkcs11_tool(&["--delete-object", "--type", "pubkey", "--id", "06"]);
    make(&house, "EC:prime256v1", "07", &["--usage-sign", "--always-auth"]);
    make(&house, "rsa:2048", "08", &["--usage-sign"]);
    make(&house, "rsa:3072", "09", &["--usage-sign"]);
    let worker = house.mount();
    let mut session = worker.open().unwrap();
    let long = vec![1; 65];

    for (id, algorithm, expected) in [
        (&[][..], p256, "1 to 64 bytes"),
        (&long, p256, "1 to 64 bytes"),
        (b"\x99", p256, "no private key with this id"),
        (b"\x01", Algorithm::EcdsaP384Sha256, "is none of ecdsa-p384-sha256"),
        (b"\x01", Algorithm::Rsa3072Pkcs1Sha256, "is none of rsa3072-pkcs1-sha256"),
        (b"\x02", p256, "could leave the token"),
        (b"\x04", p256, "may do more than sign: derive secrets"),
        (b"\x05", p256, "2 keys of one kind with this id"),
        (b"\x06", p256, "no public key with it"),
        (b"\x07", p256, "wants the PIN for each signature"),
        (b"\x08", Algorithm::Rsa3072Pkcs1Sha256, "another size than the algorithm says"),
        (b"\x09", Algorithm::Rsa3072Pkcs1Sha256, "may do more than sign: decrypt, unwrap keys"),
    ] {
        let refused = why(session.adopt(&adopting(id, algorithm)));

        assert!(refused.contains(expected), "{expected}: {refused}");
    }
    let another = AdoptOrder { spki_sha256: Some(Sha256Digest::of(b"another")), ..adopting(b"\x01", p256) };
    assert!(why(session.adopt(&another)).contains("not the one whose public key was given"));
    let accepted = AdoptOrder { may_do_more: true, ..adopting(b"\x04", p256) };
    let _ = session.adopt(&accepted).unwrap();
}

#[test]
fn halves_that_are_no_pair_and_weak_keys_are_refused() {
    let house = TokenHouse::new();
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("openssl: {error}; apt-get install openssl"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let brought = |name: &str, id: &str, kind: &[&str]| {
        let (private, public) = (file(&format!("{name}.key")), file(&format!("{name}.pub")));
        openssl(&[&["genpkey", "-outform", "DER", "-out", &private], kind].concat());
        openssl(&["pkey", "-in", &private, "-inform", "DER", "-pubout", "-outform", "DER", "-out", &public]);
        house.pkcs11_tool(&["--write-object", &private, "--type", "privkey", "--usage-sign", "--id", id]);
        house.pkcs11_tool(&["--write-object", &public, "--type", "pubkey", "--id", id]);
    };
    let cubed = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-pkeyopt", "rsa_keygen_pubexp:3"];
    brought("cubed", "01", &cubed);
    brought("one", "02", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    brought("other", "03", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    house.pkcs11_tool(&["--delete-object", "--type", "pubkey", "--id", "02"]);
    house.pkcs11_tool(&["--write-object", &file("other.pub"), "--type", "pubkey", "--id", "02"]);
    let worker = house.mount();
    let mut session = worker.open().unwrap();

    let weak = why(session.adopt(&adopting(b"\x01", Algorithm::Rsa3072Pkcs1Sha256)));
    let no_pair = why(session.adopt(&adopting(b"\x02", Algorithm::EcdsaP256Sha256)));

    assert!(weak.contains("its public exponent is not 65537"), "{weak}");
    assert!(no_pair.contains("are no pair"), "{no_pair}");
    let _ = session.adopt(&adopting(b"\x03", Algorithm::EcdsaP256Sha256)).unwrap();
}

#[test]
fn an_adopted_key_is_bound_to_its_context_and_destroyed_like_any_other() {
    let house = TokenHouse::new();
    make(&house, "EC:prime256v1", "01", &["--usage-sign"]);
    let worker = house.mount();
    let mut session = worker.open().unwrap();
    let asked = adopting(b"\x01", Algorithm::EcdsaP256Sha256);
    let adopted = session.adopt(&asked).unwrap();
    let other = AdoptOrder { context: context(Algorithm::EcdsaP256Sha256, Purpose::Image), ..asked.clone() };

    let refused = sign(&mut *session, &adopted, &other).unwrap_err();

    assert!(matches!(refused, CustodyError::Corrupt { .. }), "{refused}");
    let spki_sha256 = adopted.public_key.spki_sha256();
    let destroy = DestroyOrder { context: asked.context.into(), spki_sha256, material: adopted.material };
    assert_eq!(session.destroy(&destroy).unwrap(), Removed::Deleted);
    assert_eq!(session.objects().unwrap().objects, []);
}
