//! Signatures changed at random, in batches of random shape: every path says of each item what `verify_strict` says.
//!
//! What is changed is what verifiers disagree about: bits, encodings that are not canonical, small components, parts of
//! another signature, lengths; and under which key, prepared or not, and in which lane an item stands. A disagreement is
//! shrunk to its smallest batch. `TRUSTD_TEST_LONG=1` makes ten million items of a hundred thousand.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod paths;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::{Signature, VerifyingKey};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sha2::{Digest as _, Sha512};
use trust::verify::NotValid;
use trust::verify::batch::{Input, Item, Key, Table, chunk_on};
use trust::{Digest, PublicKey};

/// Items of a batch, at most: more than share an inversion, so that there is more than one such group.
const ITEMS_MAX: usize = 150;
/// How many items the gate tries at least, and how many a long run.
const ITEMS: usize = 100_000;
const ITEMS_LONG: usize = 10_000_000;

/// A key whose secret is known; its point may have a small component.
struct Prepared {
    secret: Scalar,
    oracle: VerifyingKey,
    public: PublicKey,
    table: Table,
}

/// Keys with each small component, and as many that have none.
static KEYS: LazyLock<Vec<Prepared>> = LazyLock::new(|| {
    let torsion = EIGHT_TORSION.iter().chain(std::iter::repeat_n(&EIGHT_TORSION[0], 8));
    torsion
        .enumerate()
        .map(|(number, torsion)| {
            let secret = Scalar::from_bytes_mod_order_wide(&Sha512::digest([u8::try_from(number).unwrap()]).into());
            let point = (ED25519_BASEPOINT_POINT * secret + torsion).compress();
            let public = PublicKey::from_ed25519_bytes(point.as_bytes()).unwrap();
            let oracle = VerifyingKey::from_bytes(point.as_bytes()).unwrap();
            Prepared { secret, oracle, table: Table::new(&public).unwrap(), public }
        })
        .collect()
});

/// What is done to a signature after it was made.
#[derive(Debug, Clone)]
enum Change {
    /// One bit of it is another.
    Bit { at: usize },
    /// It ends early, or goes on.
    Length { bytes: usize },
    /// s is larger by so many times the group's order.
    Order { times: u8 },
    /// R is a number near one of the ends of the field, with either sign.
    Nonce { from_end: u8, high: bool, sign: bool },
    /// R is a point of small order.
    Small { torsion: usize },
    /// s is another number below the order.
    Response { seed: u8 },
    /// R and s change places.
    Swap,
}

/// One item.
#[derive(Debug, Clone)]
struct Made {
    signer: usize,
    /// Under which key it is verified; mostly that of its signer.
    key: usize,
    is_prepared: bool,
    is_digest: bool,
    message: Vec<u8>,
    /// The small component that is added to the nonce before it is signed.
    torsion: usize,
    changes: Vec<Change>,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0_usize..512).prop_map(|at| Change::Bit { at }),
        1 => (0_usize..80).prop_map(|bytes| Change::Length { bytes }),
        2 => (1_u8..16).prop_map(|times| Change::Order { times }),
        2 => (0_u8..40, any::<bool>(), any::<bool>()).prop_map(|(from_end, high, sign)| Change::Nonce { from_end, high, sign }),
        2 => (0_usize..8).prop_map(|torsion| Change::Small { torsion }),
        1 => any::<u8>().prop_map(|seed| Change::Response { seed }),
        1 => Just(Change::Swap),
    ]
}

fn item() -> impl Strategy<Value = Made> {
    let keys = KEYS.len();
    let other = prop_oneof![6 => Just(None), 1 => (0..keys).prop_map(Some)];
    let torsion = prop_oneof![3 => Just(0), 1 => 0_usize..8];
    let changes = prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec(change(), 1..3)];
    // Of one block for the hash or two, mostly, and now and then of more.
    let message =
        prop_oneof![9 => prop::collection::vec(any::<u8>(), 0..90), 1 => prop::collection::vec(any::<u8>(), 90..500)];
    let flags = (prop::bool::weighted(0.7), prop::bool::weighted(0.02));
    (0..keys, other, flags, message, torsion, changes).prop_map(
        |(signer, other, (is_prepared, is_digest), message, torsion, changes)| {
            let key = other.unwrap_or(signer);
            Made { signer, key, is_prepared, is_digest, message, torsion, changes }
        },
    )
}

impl Made {
    /// The signature, changed.
    fn signature(&self) -> Vec<u8> {
        let signer = &KEYS[self.signer];
        let nonce = Scalar::from_bytes_mod_order_wide(&Sha512::digest(&self.message).into());
        let point = (ED25519_BASEPOINT_POINT * nonce + EIGHT_TORSION[self.torsion]).compress();
        let hash = Sha512::new_with_prefix(point.as_bytes()).chain_update(signer.oracle.as_bytes());
        let challenge = Scalar::from_bytes_mod_order_wide(&hash.chain_update(&self.message).finalize().into());
        let response = nonce + challenge * signer.secret;
        let mut signature = [*point.as_bytes(), response.to_bytes()].concat();
        for change in &self.changes {
            change.apply(&mut signature);
        }
        signature
    }

    fn oracle(&self, signature: &[u8]) -> Result<(), NotValid> {
        if self.is_digest {
            return Err(NotValid::Input);
        }
        let signature = Signature::from_slice(signature).map_err(|_| NotValid::Encoding)?;
        KEYS[self.key].oracle.verify_strict(&self.message, &signature).map_err(|_| NotValid::Wrong)
    }
}

impl Change {
    fn apply(&self, signature: &mut Vec<u8>) {
        let (nonce, response) = match signature.as_mut_slice().split_at_mut_checked(32) {
            Some((nonce, response)) if response.len() == 32 => (nonce, response),
            // A signature that lost its length has no parts any more.
            _ => return,
        };
        match self {
            Self::Bit { at } => signature[at / 8] ^= 1 << (at % 8),
            Self::Length { bytes } => signature.resize(*bytes, 0),
            Self::Order { times } => {
                let order = (-Scalar::ONE).to_bytes();
                for _ in 0..*times {
                    let mut carry = 1; // −1 is one below the order
                    for (byte, add) in response.iter_mut().zip(order) {
                        let sum = u16::from(*byte) + u16::from(add) + carry;
                        *byte = sum.to_le_bytes()[0];
                        carry = sum >> 8;
                    }
                }
            }
            Self::Nonce { from_end, high, sign } => {
                nonce.fill(if *high { 0xff } else { 0 });
                nonce[0] = if *high { 0xff - from_end } else { *from_end };
                nonce[31] = (nonce[31] & 0x7f) | if *sign { 0x80 } else { 0 };
            }
            Self::Small { torsion } => nonce.copy_from_slice(EIGHT_TORSION[*torsion].compress().as_bytes()),
            Self::Response { seed } => {
                let other = Scalar::from_bytes_mod_order_wide(&Sha512::digest([*seed]).into());
                response.copy_from_slice(other.as_bytes());
            }
            Self::Swap => nonce.swap_with_slice(response),
        }
    }
}

/// What was tried so far, and how many of it were valid.
#[derive(Default)]
struct Tried {
    items: AtomicUsize,
    valid: AtomicUsize,
}

/// Holds every path against the oracle on one batch.
fn compare(made: &[Made], tried: &Tried) -> Result<(), TestCaseError> {
    let signatures: Vec<_> = made.iter().map(Made::signature).collect();
    let expected: Vec<_> = made.iter().zip(&signatures).map(|(made, signature)| made.oracle(signature)).collect();
    let items: Vec<_> = made
        .iter()
        .zip(&signatures)
        .map(|(made, signature)| {
            let Prepared { public, table, .. } = &KEYS[made.key];
            let key = if made.is_prepared { Key::Known(table) } else { Key::Plain(public) };
            let input =
                if made.is_digest { Input::Digest(Digest::Sha256([7; 32])) } else { Input::Message(&made.message) };
            Item { key, input, signature }
        })
        .collect();
    for path in paths::paths() {
        prop_assert_eq!(&chunk_on(path, &items), &expected, "{:?}", path);
    }
    tried.items.fetch_add(made.len(), Ordering::Relaxed);
    tried.valid.fetch_add(expected.iter().filter(|verdict| verdict.is_ok()).count(), Ordering::Relaxed);
    Ok(())
}

#[test]
fn every_path_says_of_each_item_what_verify_strict_says() {
    let long = std::env::var_os("TRUSTD_TEST_LONG").is_some_and(|value| value == "1");
    let wanted = if long { ITEMS_LONG } else { ITEMS };
    let tried = Tried::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // Half of ITEMS_MAX in each batch, at the middle.
    let cases = u32::try_from((wanted / (ITEMS_MAX / 2)).div_ceil(threads)).unwrap();
    let config = || ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };

    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let batches = prop::collection::vec(item(), 0..=ITEMS_MAX);
                TestRunner::new(config()).run(&batches, |made| compare(&made, &tried)).unwrap();
            });
        }
    });

    let (tried, valid) = (tried.items.into_inner(), tried.valid.into_inner());
    println!("{tried} items, {valid} of them valid");
    // Where hardly any were valid, or all, nothing was tried.
    assert!(tried >= wanted * 9 / 10 && valid > tried / 5 && valid < tried / 5 * 4, "{valid} of {tried}");
}
