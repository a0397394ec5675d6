//! The kernel by itself, with challenges, components and defects of our own choice, on the lanes of every path.
//!
//! That its verdicts are those of `verify_strict` is held against real signatures in `trust/tests`.

use std::cell::RefCell;

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::CompressedEdwardsY;
use sha2::{Digest as _, Sha512};

use super::super::fivefold::Fivefold;
use super::super::lanes::tests::{Bounds, Words};
use super::super::tenfold::Tenfold;
#[cfg(target_arch = "x86_64")]
use super::super::{avx2, ifma};
use super::*;

/// What a verifier has, and whether it holds.
#[derive(Clone)]
struct Made {
    key: [u8; 32],
    nonce: [u8; 32],
    response: Scalar,
    challenge: Scalar,
    is_valid: bool,
}

/// Numbers without a pattern.
fn scalar(number: u64) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&Sha512::digest(number.to_le_bytes()).into())
}

impl Made {
    /// A key with a small component, and R = s·B − k·A with a defect.
    fn new(number: u64, challenge: Scalar, small: &EdwardsPoint, defect: &EdwardsPoint) -> Self {
        let key = ED25519_BASEPOINT_POINT * scalar(number) + small;
        let response = scalar(number + 100_000);
        let nonce = ED25519_BASEPOINT_POINT * response - key * challenge + defect;
        assert!(!nonce.is_small_order());
        Self {
            key: key.compress().to_bytes(),
            nonce: nonce.compress().to_bytes(),
            response,
            challenge,
            is_valid: *defect == EIGHT_TORSION[0],
        }
    }

    fn ready(&self) -> Option<Unprepared<'_>> {
        Unprepared::new(&self.key, &self.nonce, &self.response, &self.challenge)
    }
}

/// Holds the verdicts of all lanes against what is expected; those of words panic where a limb is too long.
fn check(made: &[Made]) {
    let ready: Vec<_> = made.iter().map(|made| made.ready().unwrap()).collect();
    let expected: Vec<_> = made.iter().map(|made| made.is_valid).collect();
    check_ready(&ready, &expected);
}

fn check_ready(ready: &[Unprepared<'_>], expected: &[bool]) {
    assert_eq!(are_valid::<Tenfold<Words<2>, 2>, 2>(ready), expected);
    assert_eq!(are_valid::<Fivefold<Words<8>, 8>, 8>(ready), expected);
    #[cfg(target_arch = "x86_64")]
    for found in [avx2::are_valid(ready), ifma::are_valid(ready)].into_iter().flatten() {
        assert_eq!(found, expected);
    }
}

#[test]
fn a_small_component_is_never_lost_and_never_made() {
    let mut made = Vec::new();
    for small in &EIGHT_TORSION {
        for defect in &EIGHT_TORSION {
            for _ in 0..3 {
                let number = u64::try_from(made.len()).unwrap();
                made.push(Made::new(number, scalar(number + 7_000_000), small, defect));
            }
        }
    }

    check(&made);

    assert_eq!(made.iter().filter(|made| made.is_valid).count(), 24);
}

#[test]
fn a_defect_of_the_large_order_is_seen() {
    let made: Vec<_> = (0..40)
        .map(|number| {
            let small = &EIGHT_TORSION[usize::try_from(number % 8).unwrap()];
            let defect = match number % 5 {
                0 => EIGHT_TORSION[0],
                // Multiples of 8, and with a component of every order.
                1 => ED25519_BASEPOINT_POINT * Scalar::from(8 * number),
                _ => ED25519_BASEPOINT_POINT * scalar(number) + EIGHT_TORSION[usize::try_from(number / 5).unwrap()],
            };
            Made::new(number, scalar(number + 8_000_000), small, &defect)
        })
        .collect();

    check(&made);
}

#[test]
fn challenges_of_every_length_are_multiplied_right() {
    let mut made = Vec::new();
    for bit in (0..253).step_by(7) {
        let power = (0..bit).fold(Scalar::ONE, |power, _| power + power);
        for challenge in [power, -power, power - Scalar::ONE, power * Scalar::from(0xdead_beef_1234_5677_u64)] {
            let number = u64::try_from(made.len()).unwrap();
            let torsion = |number: u64| &EIGHT_TORSION[usize::try_from(number % 8).unwrap()];
            let one = Made::new(number, challenge, torsion(number / 2), torsion(number % 2 * (number / 4)));
            // Of some no short relation is known: they are multiplied elsewhere.
            if one.ready().is_some() {
                made.push(one);
            }
        }
    }
    made.push(Made::new(1, Scalar::ZERO, &EIGHT_TORSION[1], &EIGHT_TORSION[0]));
    made.push(Made::new(1, Scalar::ZERO, &EIGHT_TORSION[1], &EIGHT_TORSION[4]));

    check(&made);

    assert!(made.len() > 60, "{}", made.len());
}

#[test]
fn one_bad_one_at_every_place_of_every_length_is_the_only_one() {
    for length in 0..=17_u64 {
        for bad in 0..length.max(1) {
            let made: Vec<_> = (0..length)
                .map(|number| {
                    let defect = if number == bad { 4 } else { 0 };
                    Made::new(number, scalar(number + 9_000_000), &EIGHT_TORSION[0], &EIGHT_TORSION[defect])
                })
                .collect();
            let ready: Vec<_> = made.iter().map(|made| made.ready().unwrap()).collect();
            let expected: Vec<_> = (0..length).map(|number| number != bad).collect();
            if length < 10 {
                assert_eq!(are_valid::<Fivefold<Words<8>, 8>, 8>(&ready), expected);
            }
            #[cfg(target_arch = "x86_64")]
            for found in [avx2::are_valid(&ready), ifma::are_valid(&ready)].into_iter().flatten() {
                assert_eq!(found, expected, "length {length}, bad {bad}");
            }
        }
    }
}

#[test]
fn a_nonce_that_is_no_point_spoils_no_neighbour() {
    let sound: Vec<_> =
        (0..9).map(|number| Made::new(number, scalar(number + 11), &EIGHT_TORSION[0], &EIGHT_TORSION[0])).collect();
    let mut no_points =
        (0..=255).map(|low| [low; 32]).filter(|bytes| CompressedEdwardsY(*bytes).decompress().is_none());
    for place in 0..9 {
        let no_point = no_points.next().unwrap();
        let mut made = sound.clone();
        made[place].nonce = no_point;
        made[place].is_valid = false;

        check(&made);
    }
}

#[test]
fn a_nonce_that_is_no_point_is_refused_whatever_the_sum_is() {
    // Nothing is multiplied, so every sum is neutral, and only that R is a point decides.
    let sound = Made::new(1, Scalar::ONE, &EIGHT_TORSION[0], &EIGHT_TORSION[0]);
    let mut no_points =
        (0..=255).map(|low| [low; 32]).filter(|bytes| CompressedEdwardsY(*bytes).decompress().is_none());
    for place in 0..9 {
        let mut made = vec![sound.clone(); 9];
        made[place].nonce = no_points.next().unwrap();
        let ready = made.iter().map(|made| Unprepared {
            of_base: [0; BaseRows::COUNT],
            of_key: [0; ROWS],
            of_nonce: [0; ROWS],
            ..made.ready().unwrap()
        });
        let expected: Vec<_> = (0..9).map(|at| at != place).collect();

        check_ready(&ready.collect::<Vec<_>>(), &expected);
    }
}

#[test]
fn no_digit_stands_above_the_windows_that_are_looked_at() {
    let sound = Made::new(1, Scalar::ONE, &EIGHT_TORSION[0], &EIGHT_TORSION[0]);
    let mut full = Vec::new();
    for number in 0..3000 {
        let challenge = scalar(number + 5_000_000);
        let Some(ready) = Unprepared::new(&sound.key, &sound.nonce, &sound.response, &challenge) else { continue };
        let above = ready.of_key[ready.rows..].iter().chain(&ready.of_nonce[ready.rows..]);
        assert_eq!(above.filter(|digit| **digit != 0).count(), 0, "{challenge:?}");
        // Three bits and what is carried to them: the digit is the largest, and carries nothing.
        let last = ready.rows - 1;
        if ready.of_key[last] == 8 || ready.of_nonce[last] == 8 {
            full.push(challenge);
        }
    }
    assert!(full.len() > 3, "{}", full.len());
    // None of their neighbours needs more windows.
    for challenge in full.iter().take(8) {
        for defect in [EIGHT_TORSION[0], EIGHT_TORSION[1]] {
            check(&vec![Made::new(2, *challenge, &EIGHT_TORSION[1], &defect); 8]);
        }
    }
}

#[test]
fn every_lane_decompresses_as_dalek_does() {
    let encodings: Vec<[u8; 32]> = (0..=255).map(|low| [low, 7, 9, low ^ 0x55].repeat(8).try_into().unwrap()).collect();
    let small = EIGHT_TORSION.map(|point| point.compress().to_bytes());
    let encodings: Vec<_> = encodings.into_iter().chain(small).collect();
    let mut points = 0;
    for eight in encodings.chunks(8) {
        let (first, last) = (|lane: usize| &eight[lane], |lane: usize| &eight[7 - lane]);
        let [(x, y, is_point), reversed] = decompress_both::<Fivefold<Words<8>, 8>, 8>(first, last);
        assert!(reversed.0.pack().iter().rev().eq(&x.pack()) && reversed.2.iter().rev().eq(&is_point));
        let coordinates = x.pack().into_iter().zip(y.pack());
        for ((encoding, (x, y)), is_point) in eight.iter().zip(coordinates).zip(is_point) {
            let theirs = CompressedEdwardsY(*encoding).decompress();
            assert_eq!(is_point, theirs.is_some(), "{encoding:?}");
            if let Some(theirs) = theirs {
                let mut bytes: Vec<u8> = y.iter().flat_map(|word| word.to_le_bytes()).collect();
                bytes[31] |= if x[0] & 1 == 1 { 0x80 } else { 0 };
                assert_eq!(bytes, theirs.compress().as_bytes());
                points += 1;
            }
        }
    }
    assert!((100..200).contains(&points), "{points}");
}

#[test]
fn no_chain_of_steps_makes_a_limb_too_long_whatever_the_numbers_are() {
    // Every digit is the longest there is and negative, so that what is negated is in the bounds, too, and every bit is set.
    let longest = Unprepared {
        key: &[0xff; 32],
        nonce: &[0xff; 32],
        of_base: [-(1 << 8); BaseRows::COUNT],
        of_key: [-8; ROWS],
        of_nonce: [-8; ROWS],
        is_negative: false,
        rows: ROWS,
    };

    // It panics, or the bounds hold. Zero is possible, so nothing is said to be valid or not.
    assert_eq!(are_valid::<Tenfold<Bounds, 1>, 1>(&[longest; 2]).len(), 2);
    assert_eq!(are_valid::<Fivefold<Bounds, 1>, 1>(&[longest; 2]).len(), 2);
}

#[test]
fn lanes_that_err_in_one_verdict_are_not_believed() {
    let found = RefCell::new(Vec::new());
    let right = |items: &[Unprepared<'_>]| {
        let said = are_valid::<Fivefold<Words<8>, 8>, 8>(items);
        found.replace(said.clone());
        said
    };
    assert!(agrees(right));
    let found = found.into_inner();

    for lane in 0..8 {
        let of_lane = || found.iter().skip(lane).step_by(8);
        assert!(of_lane().any(|is_valid| *is_valid) && of_lane().any(|is_valid| !is_valid), "{found:?}");
    }
    for wrong in 0..found.len() {
        let mut said = found.clone();
        said[wrong] = !said[wrong];
        assert!(!agrees(|_| said.clone()), "{wrong}");
    }
    assert!(!agrees(|_| Vec::new()));
}
