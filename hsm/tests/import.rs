//! Private keys that somebody brings: made by openssl, sealed to an offer, used by every custodian.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "a worker comes back in real time")]

mod house;

use std::process::Command;
use std::time::{Duration, Instant};

use house::token::{FaultHouse, TokenHouse};
use house::{House, Mount, context, openssl_verifies, order};
use tempfile::TempDir;
use trust::{Algorithm, PublicKey, Purpose, Scheme, Signable};
use trust_hsm::{Custodian, CustodyError, Generated, ImportOrder, Session, seal_to};

const LONG: Duration = Duration::from_secs(60);
const INFO: &[u8] = b"what the key is for";

/// PKCS#8 in DER and the public key, as openssl makes both.
fn openssl_key(options: &[&str]) -> (Vec<u8>, Vec<u8>) {
    let directory = TempDir::new().unwrap();
    let [pem, private, public] = ["pem", "private", "public"].map(|name| directory.path().join(name));
    let run = |command: &mut Command| {
        let output = command.output().unwrap_or_else(|error| panic!("openssl: {error}; apt-get install openssl"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(Command::new("openssl").arg("genpkey").args(options).arg("-out").arg(&pem));
    let to_pkcs8 = ["pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in"];
    run(Command::new("openssl").args(to_pkcs8).arg(&pem).arg("-out").arg(&private));
    let of_private = ["pkey", "-inform", "DER", "-pubout", "-outform", "DER", "-in"];
    run(Command::new("openssl").args(of_private).arg(&private).arg("-out").arg(&public));
    (std::fs::read(private).unwrap(), std::fs::read(public).unwrap())
}

fn options(algorithm: Algorithm) -> Vec<String> {
    let words = match algorithm.scheme() {
        Scheme::Ed25519 => "-algorithm ed25519".to_owned(),
        Scheme::EcdsaP256 => "-algorithm EC -pkeyopt ec_paramgen_curve:P-256".to_owned(),
        Scheme::EcdsaP384 => "-algorithm EC -pkeyopt ec_paramgen_curve:P-384".to_owned(),
        Scheme::RsaPkcs1 | Scheme::RsaPss => {
            format!("-algorithm RSA -pkeyopt rsa_keygen_bits:{}", algorithm.rsa_modulus_bits().unwrap())
        }
    };
    words.split(' ').map(str::to_owned).collect()
}

fn made(algorithm: Algorithm) -> (Vec<u8>, Vec<u8>) {
    let options = options(algorithm);
    openssl_key(&options.iter().map(String::as_str).collect::<Vec<_>>())
}

/// An order of `pkcs8`, sealed to a new offer.
fn sealed(session: &mut dyn Session, algorithm: Algorithm, pkcs8: &[u8]) -> ImportOrder {
    let offer = session.offer().unwrap();
    let envelope = seal_to(&offer.public_key, INFO, pkcs8).unwrap();
    ImportOrder { context: context(algorithm, Purpose::Raw), offer: offer.id, info: INFO.to_vec(), envelope }
}

fn import(session: &mut dyn Session, algorithm: Algorithm, pkcs8: &[u8]) -> Result<Generated, CustodyError> {
    let order = sealed(session, algorithm, pkcs8);
    session.import(&order)
}

fn refusal(answer: Result<Generated, CustodyError>) -> String {
    match answer {
        Err(CustodyError::Refused { why }) => why,
        Err(full @ CustodyError::Full { .. }) => full.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

fn a_key_of_openssl_signs(custodian: &dyn Custodian) {
    let mut session = custodian.open().unwrap();
    for algorithm in [
        Algorithm::Ed25519,
        Algorithm::EcdsaP256Sha256,
        Algorithm::EcdsaP384Sha384,
        Algorithm::Rsa3072Pkcs1Sha256,
        Algorithm::Rsa4096PssSha256,
    ] {
        let (pkcs8, spki) = made(algorithm);

        let key = import(&mut *session, algorithm, &pkcs8).unwrap();

        assert_eq!(key.public_key, PublicKey::from_spki_der(algorithm, &spki).unwrap());
        let input = Signable::Message(b"for a second opinion".to_vec());
        let own = context(algorithm, Purpose::Raw);
        let signed = session.sign(&[order(&own, &key, vec![input])], LONG).remove(0).unwrap().remove(0).unwrap();
        assert!(openssl_verifies(algorithm, &spki, b"for a second opinion", signed.as_bytes()), "{algorithm}");
    }
}

fn an_offer_is_spent_once(custodian: &dyn Custodian) {
    let mut session = custodian.open().unwrap();
    let (pkcs8, _) = made(Algorithm::Ed25519);
    let taken = sealed(&mut *session, Algorithm::Ed25519, &pkcs8);
    let mut elsewhere = sealed(&mut *session, Algorithm::Ed25519, &pkcs8);
    elsewhere.info = b"what another key is for".to_vec();
    let mut altered = sealed(&mut *session, Algorithm::Ed25519, &pkcs8);
    altered.envelope[40] ^= 1;

    assert!(session.import(&taken).is_ok());
    assert!(refusal(session.import(&taken)).contains("the offer does not stand"));
    for mut order in [elsewhere, altered] {
        assert!(refusal(session.import(&order)).contains("does not open"));
        // Nobody gets a second try, even with the right one.
        order.info = INFO.to_vec();
        assert!(refusal(session.import(&order)).contains("the offer does not stand"));
    }
}

fn what_is_weak_or_another_key_is_refused_in_words(custodian: &dyn Custodian) {
    let mut session = custodian.open().unwrap();
    let rsa = |bits: &str, exponent: &str| {
        let (bits, exponent) = (format!("rsa_keygen_bits:{bits}"), format!("rsa_keygen_pubexp:{exponent}"));
        openssl_key(&["-algorithm", "RSA", "-pkeyopt", &bits, "-pkeyopt", &exponent]).0
    };
    let (ed25519, _) = made(Algorithm::Ed25519);
    let (p256, _) = made(Algorithm::EcdsaP256Sha256);
    let mut no_seed = ed25519.clone();
    no_seed[16..].fill(0);
    let scalar = p256.windows(2).position(|pair| pair == [4, 32]).unwrap() + 2;
    let mut too_large = p256.clone();
    // The order begins with four bytes of ones and four of zeros.
    too_large[scalar..scalar + 8].fill(0xff);
    let mut other_point = p256.clone();
    other_point[scalar + 20] ^= 1;
    let longer = [&ed25519[..], &[0]].concat();

    for (algorithm, pkcs8, words) in [
        (Algorithm::EcdsaP384Sha384, p256.clone(), "no key of ecdsa-p384-sha384"),
        (Algorithm::Ed25519, p256, "no key of ed25519"),
        (Algorithm::Ed25519, longer, "not PKCS#8"),
        (Algorithm::Ed25519, vec![0x30; 9000], "longer than 8,192 bytes"),
        (Algorithm::Ed25519, b"-----BEGIN PRIVATE KEY-----".to_vec(), "not PKCS#8"),
        (Algorithm::Ed25519, no_seed, "no random number"),
        (Algorithm::EcdsaP256Sha256, too_large, "do not fit each other"),
        (Algorithm::EcdsaP256Sha256, other_point, "is another one's"),
        (Algorithm::Rsa3072Pkcs1Sha256, rsa("3072", "3"), "exponent is not 65537"),
        (Algorithm::Rsa3072Pkcs1Sha256, rsa("2048", "65537"), "another size"),
        (Algorithm::Rsa4096Pkcs1Sha256, rsa("3072", "65537"), "another size"),
    ] {
        let why = refusal(import(&mut *session, algorithm, &pkcs8));

        assert!(why.contains(words), "{why}; expected {words}");
    }
}

#[test]
fn software_in_process() {
    let house = House::open(Mount::InProcess);
    a_key_of_openssl_signs(&*house.custodian);
    an_offer_is_spent_once(&*house.custodian);
    what_is_weak_or_another_key_is_refused_in_words(&*house.custodian);
}

#[test]
fn software_in_a_worker() {
    let house = House::open(Mount::Worker);
    a_key_of_openssl_signs(&*house.custodian);
    an_offer_is_spent_once(&*house.custodian);
    what_is_weak_or_another_key_is_refused_in_words(&*house.custodian);
}

#[test]
fn softhsm_in_a_worker() {
    let house = TokenHouse::new();
    let custodian = house.mount();
    a_key_of_openssl_signs(&*custodian);
    an_offer_is_spent_once(&*custodian);
    what_is_weak_or_another_key_is_refused_in_words(&*custodian);
}

#[test]
fn a_key_that_was_brought_into_a_token_does_not_come_out_and_a_refused_one_leaves_nothing() {
    let house = TokenHouse::new();
    let custodian = house.mount();
    let mut session = custodian.open().unwrap();
    let (pkcs8, _) = made(Algorithm::EcdsaP256Sha256);
    assert!(import(&mut *session, Algorithm::Ed25519, &pkcs8).is_err());
    assert!(!house.pkcs11_tool(&["--list-objects"]).contains("trustd"), "something was created");

    let _ = import(&mut *session, Algorithm::EcdsaP256Sha256, &pkcs8).unwrap();

    let listed = house.pkcs11_tool(&["--list-objects", "--type", "privkey"]);
    assert!(listed.contains("sensitive"), "{listed}");
    assert!(!listed.contains("never extractable") && !listed.contains("Access:     extractable"), "{listed}");
}

#[test]
fn a_token_that_refuses_a_key_names_the_step_and_its_code_and_keeps_nothing() {
    let house = FaultHouse::new();
    let custodian = house.mount();
    let mut session = custodian.open().unwrap();
    let (pkcs8, _) = made(Algorithm::EcdsaP256Sha256);

    for (call, code, words) in [
        (1, "0x13", "the token refuses: create a private key: CKR_ATTRIBUTE_VALUE_INVALID"),
        (2, "0xD1", "the token refuses: create a public key: CKR_TEMPLATE_INCONSISTENT"),
        (1, "0x31", "the token is full: create a private key: CKR_DEVICE_MEMORY"),
    ] {
        house.at("C_CreateObject", call, &format!("rv {code}"));

        let why = refusal(import(&mut *session, Algorithm::EcdsaP256Sha256, &pkcs8));

        assert!(why.contains(words), "{why}");
        assert!(!house.token.pkcs11_tool(&["--list-objects"]).contains("trustd"), "{words}: something stayed");
    }
    // A session that dies in between costs nothing but a new one, and the first try's object.
    house.at("C_CreateObject", 2, "rv 0xB3");
    let _ = import(&mut *session, Algorithm::EcdsaP256Sha256, &pkcs8).unwrap();
    let listed = house.token.pkcs11_tool(&["--list-objects", "--type", "privkey"]);
    assert_eq!(listed.matches("trustd").count(), 1, "{listed}");
}

#[test]
fn a_worker_that_was_sealed_or_restarted_takes_nothing() {
    let house = House::open(Mount::Worker);
    let mut session = house.custodian.open().unwrap();
    let (pkcs8, _) = made(Algorithm::Ed25519);
    let before_seal = sealed(&mut *session, Algorithm::Ed25519, &pkcs8);
    house.ring.seal().unwrap();
    assert_eq!(session.import(&before_seal).unwrap_err(), CustodyError::Sealed);
    let _ = house.unseal().unwrap();
    assert!(refusal(session.import(&before_seal)).contains("the offer does not stand"));

    let before_restart = sealed(&mut *session, Algorithm::Ed25519, &pkcs8);
    house.worker.as_ref().unwrap().restart();

    // The call that meets the dying worker may say so instead; later ones find the new one.
    let not_yet = |answer: &Result<Generated, CustodyError>| {
        matches!(answer, Err(CustodyError::Unavailable { .. } | CustodyError::Late | CustodyError::Sealed))
    };
    let start = Instant::now();
    let mut answer = session.import(&before_restart);
    while not_yet(&answer) && start.elapsed() < LONG {
        std::thread::yield_now();
        answer = session.import(&before_restart);
    }
    assert!(refusal(answer).contains("the offer does not stand"));
}
