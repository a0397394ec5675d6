//! Many signatures under keys that are prepared and that are not: every path gives the verdict of `verify_strict`, item
//! by item.
//!
//! `TRUSTD_TEST_LONG=1` makes ten million random items of a hundred thousand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod paths;

use std::sync::atomic::{AtomicUsize, Ordering};

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha512};
use trust::PublicKey;
use trust::verify::NotValid;
use trust::verify::batch::{Input, Item, Key, Table, chunk_on};

/// One case: which of the keys, what was signed, the signature.
#[derive(Clone)]
struct Case {
    key: usize,
    message: Vec<u8>,
    signature: [u8; 64],
}

/// A key with and without its table.
struct Prepared {
    oracle: VerifyingKey,
    public: PublicKey,
    table: Table,
}

impl Prepared {
    fn new(bytes: &[u8; 32]) -> Self {
        let public = PublicKey::from_ed25519_bytes(bytes).unwrap();
        let table = Table::new(&public).unwrap();
        Self { oracle: VerifyingKey::from_bytes(bytes).unwrap(), public, table }
    }
}

fn oracle(keys: &[Prepared], case: &Case) -> Result<(), NotValid> {
    let signature = Signature::from_bytes(&case.signature);
    keys[case.key].oracle.verify_strict(&case.message, &signature).map_err(|_| NotValid::Wrong)
}

/// Runs the cases by every path that is here, prepared, mixed and plain, and returns how many are valid.
fn compare(keys: &[Prepared], cases: &[Case]) -> usize {
    let expected: Vec<_> = cases.iter().map(|case| oracle(keys, case)).collect();
    for path in paths::paths() {
        for plain_every in [usize::MAX, 3, 1] {
            let items: Vec<_> = cases
                .iter()
                .enumerate()
                .map(|(place, case)| Item {
                    key: match &keys[case.key] {
                        Prepared { public, .. } if place % plain_every == plain_every - 1 => Key::Plain(public),
                        Prepared { table, .. } => Key::Known(table),
                    },
                    input: Input::Message(&case.message),
                    signature: &case.signature,
                })
                .collect();
            assert_eq!(chunk_on(path, &items), expected, "{path:?}, plain every {plain_every}");
        }
    }
    expected.iter().filter(|verdict| verdict.is_ok()).count()
}

/// A deterministic stream of bytes: SHA-512 over a name and a counter.
struct Stream {
    name: &'static str,
    block: u64,
    bytes: Vec<u8>,
}

impl Stream {
    fn new(name: &'static str) -> Self {
        Self { name, block: 0, bytes: Vec::new() }
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        while self.bytes.len() < N {
            self.block += 1;
            self.bytes.extend(Sha512::new_with_prefix(self.name).chain_update(self.block.to_le_bytes()).finalize());
        }
        let rest = self.bytes.split_off(N);
        std::mem::replace(&mut self.bytes, rest).try_into().unwrap()
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(u16::from_le_bytes(self.take())) % bound
    }
}

fn challenge(nonce: &[u8], key: &[u8], message: &[u8]) -> Scalar {
    let hash = Sha512::new_with_prefix(nonce).chain_update(key).chain_update(message).finalize();
    Scalar::from_bytes_mod_order_wide(&hash.into())
}

#[test]
fn keys_and_nonces_with_small_components_get_the_strict_verdict() {
    let secret = Scalar::from(0x5eed_u64).invert();
    let points = EIGHT_TORSION.map(|torsion| ED25519_BASEPOINT_POINT * secret + torsion);
    let keys = points.map(|point: EdwardsPoint| Prepared::new(point.compress().as_bytes()));
    let mut cases = Vec::new();
    for (key, prepared) in keys.iter().enumerate() {
        for torsion in EIGHT_TORSION {
            // 0: the nonce itself is of small order, which strict verification refuses whatever s is.
            for nonce in [Scalar::from(77_u64), Scalar::ZERO] {
                let spelled = (ED25519_BASEPOINT_POINT * nonce + torsion).compress();
                for number in 0..8_u8 {
                    let message = vec![number; usize::from(number)];
                    let challenge = challenge(spelled.as_bytes(), prepared.oracle.as_bytes(), &message);
                    let mut signature = [0; 64];
                    signature[..32].copy_from_slice(spelled.as_bytes());
                    signature[32..].copy_from_slice((nonce + challenge * secret).as_bytes());
                    cases.push(Case { key, message, signature });
                }
            }
        }
    }

    let valid = compare(&keys, &cases);

    // Without a cofactor it is valid exactly where the small components cancel: about one in eight, and all
    // where neither has one.
    assert_eq!(cases.len(), 1024);
    assert!((40..120).contains(&valid), "{valid}");
}

#[test]
fn another_spelling_is_another_signature() {
    let signing = SigningKey::from_bytes(&[3; 32]);
    let keys = [Prepared::new(signing.verifying_key().as_bytes())];
    let message = b"spelled once".to_vec();
    let sound = signing.sign(&message).to_bytes();
    let case = |signature: [u8; 64]| Case { key: 0, message: message.clone(), signature };
    let with_nonce = |nonce: [u8; 32]| {
        let mut signature = sound;
        signature[..32].copy_from_slice(&nonce);
        case(signature)
    };
    let mut cases = vec![case(sound)];
    // s + n·l for every n that fits (RFC 8032 §8.4).
    let order = (-Scalar::ONE).to_bytes();
    let mut response: [u8; 32] = sound[32..].try_into().unwrap();
    for _ in 0..15 {
        let mut carry = 1_u16; // −1 is one below the order
        for (byte, add) in response.iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        let mut signature = sound;
        signature[32..].copy_from_slice(&response);
        cases.push(case(signature));
    }
    // y from p to 2²⁵⁵ − 1 and the smallest ones, with either sign: no point, or one that has another spelling.
    for low in 0xe8..=0xff_u8 {
        for sign in [0x7f, 0xff] {
            let mut nonce = [0xff; 32];
            (nonce[0], nonce[31]) = (low, sign);
            cases.push(with_nonce(nonce));
            let mut nonce = [0; 32];
            (nonce[0], nonce[31]) = (low & 0x0f, sign & 0x80);
            cases.push(with_nonce(nonce));
        }
    }

    assert_eq!(compare(&keys, &cases), 1);
}

#[test]
fn a_nonce_of_small_order_is_refused_however_it_is_spelled() {
    let secret = Scalar::from(0x5eed_u64).invert();
    let keys =
        EIGHT_TORSION.map(|torsion| Prepared::new((ED25519_BASEPOINT_POINT * secret + torsion).compress().as_bytes()));
    // Those of x = 0 with a sign, and those of y = p and p + 1, which are 0 and 1.
    let with = |first: u8, middle: u8, last: u8| {
        let mut nonce = [middle; 32];
        (nonce[0], nonce[31]) = (first, last);
        nonce
    };
    let others = [
        (1, 0, 0x80),
        (0xec, 0xff, 0xff),
        (0xed, 0xff, 0x7f),
        (0xed, 0xff, 0xff),
        (0xee, 0xff, 0x7f),
        (0xee, 0xff, 0xff),
    ];
    let nonces = EIGHT_TORSION.map(|torsion| torsion.compress().to_bytes()).into_iter();
    let nonces = nonces.chain(others.map(|(first, middle, last)| with(first, middle, last)));
    let mut cases = Vec::new();
    for nonce in nonces {
        let point = CompressedEdwardsY(nonce).decompress().unwrap();
        let mut hold = 0;
        for (key, prepared) in keys.iter().enumerate() {
            for number in 0..24_u8 {
                let message = vec![number; usize::from(number)];
                let challenge = challenge(&nonce, prepared.oracle.as_bytes(), &message);
                let response = challenge * secret;
                let mut signature = [0; 64];
                signature[..32].copy_from_slice(&nonce);
                signature[32..].copy_from_slice(response.as_bytes());
                let expected = ED25519_BASEPOINT_POINT * response - prepared.oracle.to_edwards() * challenge;
                hold += usize::from(expected == point);
                cases.push(Case { key, message, signature });
            }
        }
        // Of some the equation holds: only the order or the spelling of the nonce is wrong.
        assert!(hold > 0, "{nonce:x?}");
    }

    assert_eq!(compare(&keys, &cases), 0);
}

#[test]
fn one_bad_item_at_every_place_of_every_length_is_the_only_one() {
    let signing = SigningKey::from_bytes(&[4; 32]);
    let keys = [Prepared::new(signing.verifying_key().as_bytes())];
    let sound: Vec<Case> = (0..19_u8)
        .map(|number| Case { key: 0, message: vec![number], signature: signing.sign(&[number]).to_bytes() })
        .collect();
    for length in 0..=sound.len() {
        assert_eq!(compare(&keys, &sound[..length]), length);
        for place in 0..length {
            for byte in [0, 31, 32, 63] {
                let mut cases = sound[..length].to_vec();
                // The highest bits of s make it longer than the order: it is left out, and the rest moves up.
                cases[place].signature[byte] ^= 0x80;
                assert_eq!(compare(&keys, &cases), length - 1, "length {length}, place {place}");
            }
        }
    }
}

#[test]
fn inputs_that_are_no_ed25519_signature_get_the_verdict_of_one() {
    let signing = SigningKey::from_bytes(&[5; 32]);
    let prepared = Prepared::new(signing.verifying_key().as_bytes());
    let signature = signing.sign(b"m").to_bytes();
    let digest = Input::Digest(trust::Digest::Sha256([0; 32]));
    let message = Input::Message(b"m");
    for (input, signature, expected) in [
        (message, &signature[..], Ok(())),
        (message, &signature[..63], Err(NotValid::Encoding)),
        (message, &[signature.as_slice(), &[0]].concat()[..], Err(NotValid::Encoding)),
        (message, &[][..], Err(NotValid::Encoding)),
        (digest, &signature[..], Err(NotValid::Input)),
        (digest, &[][..], Err(NotValid::Input)),
    ] {
        let plain = Item { key: Key::Plain(&prepared.public), input, signature };
        let known = Item { key: Key::Known(&prepared.table), ..plain };
        for path in paths::paths() {
            for item in [known, plain] {
                assert_eq!(chunk_on(path, &[item]), [expected]);
                assert_eq!(chunk_on(path, &[item; 9]), [expected; 9]);
            }
        }
    }
}

/// A thousand items, some broken.
fn random_cases(stream: &mut Stream, signing: &[SigningKey]) -> Vec<Case> {
    let one = |_| {
        let key = stream.below(signing.len());
        let length = stream.below(80);
        let message = stream.take::<80>()[..length].to_vec();
        let mut case = Case { key, signature: signing[key].sign(&message).to_bytes(), message };
        match stream.below(8) {
            0 => case.signature[stream.below(64)] ^= 1 << stream.below(8),
            1 => case.message.push(0),
            2 => case.key = stream.below(signing.len()),
            3 => case.signature[..32].copy_from_slice(&stream.take::<32>()),
            _ => {}
        }
        case
    };
    (0..1000).map(one).collect()
}

#[test]
fn random_items_sound_and_broken_get_the_strict_verdict() {
    let long = std::env::var("TRUSTD_TEST_LONG").as_deref() == Ok("1");
    let wanted = if long { 10_000_000 } else { 100_000 };
    let mut stream = Stream::new("keys");
    let signing: Vec<_> = (0..5).map(|_| SigningKey::from_bytes(&stream.take())).collect();
    let keys: Vec<_> = signing.iter().map(|key| Prepared::new(key.verifying_key().as_bytes())).collect();
    let (valid, all) = (AtomicUsize::new(0), AtomicUsize::new(0));

    // Always so many streams, on however many cores: the items are the same everywhere.
    std::thread::scope(|threads| {
        for name in ["random 1", "random 2", "random 3", "random 4"] {
            let (signing, keys, valid, all) = (&signing, &keys, &valid, &all);
            threads.spawn(move || {
                let mut stream = Stream::new(name);
                for _ in 0..wanted / 4000 {
                    let cases = random_cases(&mut stream, signing);
                    valid.fetch_add(compare(keys, &cases), Ordering::Relaxed);
                    let all = all.fetch_add(cases.len(), Ordering::Relaxed) + cases.len();
                    if all.is_multiple_of(100_000) {
                        println!("{all} of {wanted} items agree");
                    }
                }
            });
        }
    });

    let (valid, all) = (valid.into_inner(), all.into_inner());
    assert_eq!(all, wanted);
    assert!(valid * 100 > all * 45 && valid * 100 < all * 65, "{valid} of {all}");
}
