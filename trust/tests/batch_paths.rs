//! Which paths this processor has, by name; and each says of every item what `verify_strict` says.
//!
//! It prints both, for somebody who runs it on another processor, or in an emulated one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

mod paths;

use ed25519_dalek::{Signature, Signer as _, SigningKey};
use trust::PublicKey;
use trust::verify::batch::{Input, Item, Key, Path, Table, chunk_on};

const ITEMS: usize = 600;
/// How many are verified together: full lanes, ragged ones, fewer than take lanes at all, more than share an inversion.
const SIZES: [usize; 7] = [1, 2, 3, 7, 9, 64, ITEMS];

/// What was signed, the signature, and whether it was left as it was made.
struct Made {
    key: usize,
    message: Vec<u8>,
    signature: [u8; 64],
    is_sound: bool,
}

fn made(signing: &[SigningKey]) -> Vec<Made> {
    let one = |number: usize| {
        let key = number % signing.len();
        // From no block beyond the first one to three, in no order.
        let message = vec![number.to_le_bytes()[0]; number * 37 % 400];
        let mut signature = signing[key].sign(&message).to_bytes();
        let is_sound = number.is_multiple_of(2);
        if !is_sound {
            signature[number % 64] ^= 1 << (number / 64 % 8);
        }
        Made { key, message, signature, is_sound }
    };
    (0..ITEMS).map(one).collect()
}

#[test]
fn every_path_of_this_processor_says_what_verify_strict_says() {
    let signing: Vec<SigningKey> = (1..=3).map(|number| SigningKey::from_bytes(&[number; 32])).collect();
    let keys: Vec<PublicKey> =
        signing.iter().map(|key| PublicKey::from_ed25519_bytes(key.verifying_key().as_bytes()).unwrap()).collect();
    let tables: Vec<Table> = keys.iter().map(|key| Table::new(key).unwrap()).collect();
    let made = made(&signing);
    for item in &made {
        let signature = Signature::from_bytes(&item.signature);
        let strict = signing[item.key].verifying_key().verify_strict(&item.message, &signature);
        assert_eq!(strict.is_ok(), item.is_sound);
    }

    for path in Path::ALL.into_iter().filter(|path| !path.is_here()) {
        println!("path {path:?}: not here");
    }
    for path in paths::paths() {
        let (mut all, mut agree) = (0, 0);
        for is_prepared in [true, false] {
            for size in SIZES {
                for made in made.chunks(size) {
                    let items: Vec<_> = made
                        .iter()
                        .map(|Made { key, message, signature, .. }| Item {
                            key: if is_prepared { Key::Known(&tables[*key]) } else { Key::Plain(&keys[*key]) },
                            input: Input::Message(message),
                            signature,
                        })
                        .collect();
                    let verdicts = chunk_on(path, &items);
                    assert_eq!(verdicts.len(), made.len());
                    all += made.len();
                    agree += verdicts.iter().zip(made).filter(|(said, made)| said.is_ok() == made.is_sound).count();
                }
            }
        }
        println!("path {path:?}: {agree} of {all} verdicts agree");
        assert_eq!(agree, all, "{path:?}");
    }
}
