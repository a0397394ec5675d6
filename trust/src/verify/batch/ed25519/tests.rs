//! Any number of items, and what no hash can be made to be.

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::CompressedEdwardsY;

use super::super::fivefold::Fivefold;
use super::super::lanes::tests::Words;
use super::super::tenfold::Tenfold;
use super::*;
use crate::PublicKey;

/// By how many there are, lanes are full, filled up, or an item's rows are dealt out to them.
fn check<F: Side<N>, const N: usize>() {
    let points = [3_u64, 77].map(|times| ED25519_BASEPOINT_POINT * Scalar::from(times) + EIGHT_TORSION[1]);
    let tables =
        points.map(|point| Table::new(&PublicKey::from_ed25519_bytes(point.compress().as_bytes()).unwrap()).unwrap());
    let large = |number: u64| Scalar::from_bytes_mod_order([number.to_le_bytes()[0] | 0x80; 32]);
    let edges = [(Scalar::ZERO, Scalar::ZERO), (-Scalar::ONE, -Scalar::ONE), (Scalar::ONE, Scalar::ZERO)];
    let scalars = edges.into_iter().chain((1..).map(|number| (large(number), large(number + 40))));
    let of_one = |(at, (response, challenge)): (usize, (Scalar, Scalar))| {
        let expected =
            EdwardsPoint::vartime_double_scalar_mul_basepoint(&challenge, &-points[at % 2], &response).compress();
        (Ready::new(&tables[at % 2], &response, &challenge), expected.to_bytes())
    };
    let (ready, expected): (Vec<_>, Vec<_>) = scalars.take(2 * N + 1).enumerate().map(of_one).unzip();

    for count in 0..=ready.len() {
        assert_eq!(spellings::<F, N>(&ready[..count]), expected[..count], "{count} items");
        let from_the_end = ready.len() - count;
        assert_eq!(spellings::<F, N>(&ready[from_the_end..]), expected[from_the_end..], "the last {count} items");
    }
}

#[test]
fn any_number_of_items_is_spelled_one_at_a_time() {
    check::<Element, 1>();
}

#[test]
fn any_number_of_items_is_spelled_in_four_lanes() {
    check::<Tenfold<Words<4>, 4>, 4>();
}

#[test]
fn any_number_of_items_is_spelled_in_eight_lanes() {
    check::<Fivefold<Words<8>, 8>, 8>();
}

#[test]
fn a_challenge_without_a_short_relation_gets_its_verdict_elsewhere() {
    // Nobody can make a hash be one of these, so no signature shows it.
    let without = [-Scalar::ONE, -Scalar::from(3_u64), Scalar::from(2_u64).invert()];
    let mut scalar = Scalar::from_bytes_mod_order([0xa5; 32]);
    let made: Vec<_> = (0..21_usize)
        .map(|place| {
            scalar = scalar * scalar + Scalar::ONE;
            let challenge = if place % 4 == 1 { without[place % 3] } else { scalar };
            let key = EdwardsPoint::mul_base(&(scalar + challenge)) + EIGHT_TORSION[place % 8];
            let response = scalar * scalar;
            let nonce = EdwardsPoint::mul_base(&response) - key * challenge + EIGHT_TORSION[place % 3];
            let key = VerifyingKey::from_bytes(&key.compress().to_bytes()).unwrap();
            (key, nonce.compress().to_bytes(), response, challenge)
        })
        .collect();
    for path in Path::ALL {
        for length in 0..made.len() {
            let plain = made.iter().take(length).enumerate().map(|(place, (key, nonce, response, challenge))| Plain {
                place,
                key,
                nonce,
                response: *response,
                challenge: *challenge,
            });
            let mut verdicts = vec![None; length];

            let alone = plain_on(path, plain.collect(), &mut |place, is_valid| {
                assert_eq!(verdicts[place].replace(is_valid), None, "{path:?}: place {place} of {length} twice");
            });

            for plain in &alone {
                let is_valid = plain.expected().compress().as_bytes() == plain.nonce;
                assert_eq!(verdicts[plain.place].replace(is_valid), None, "{path:?}: {} of {length}", plain.place);
            }
            let expected: Vec<_> = (0..length).map(|place| Some(place % 3 == 0)).collect();
            assert_eq!(verdicts, expected, "{path:?}");
            let has_lanes = path.is_here() && path != Path::Portable;
            if has_lanes && length >= 8 {
                assert!(alone.iter().any(|plain| plain.place % 4 == 1), "{path:?}: all have a relation");
                assert!(alone.len() < length / 2, "{path:?}: {} of {length} are alone", alone.len());
            } else if !has_lanes {
                assert_eq!(alone.len(), length);
            }
        }
    }
}

#[test]
fn a_nonce_may_be_what_is_spelled_once_and_is_not_of_small_order() {
    // Around p, zero, and all that shares some of the bytes of p, with either sign.
    let mut encodings = Vec::new();
    for first in 0..=255 {
        for (rest, other) in [(0xff, 0xff), (0xff, 0xfe), (0xff, 0x7f), (0, 0), (0, 1)] {
            for place in [1, 15, 30] {
                for last in [0, 1, 0x3f, 0x7e, 0x7f] {
                    let mut bytes = [rest; 32];
                    (bytes[0], bytes[place], bytes[31]) = (first, other, last);
                    encodings.push(bytes);
                }
            }
        }
    }
    // The small ones, and what differs from one of them by a bit.
    for small in EIGHT_TORSION.map(|point| point.compress().to_bytes()) {
        encodings.push(small);
        encodings.extend((0..255).map(|bit| {
            let mut bytes = small;
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        }));
    }
    let mut p = [0xff; 32];
    (p[0], p[31]) = (0xed, 0x7f);
    let (mut points, mut others, mut refused) = (0, 0, 0);
    for mut bytes in encodings {
        for sign in [0, 0x80] {
            bytes[31] &= 0x7f;
            let is_below_p = bytes.iter().rev().lt(p.iter().rev());
            bytes[31] |= sign;
            let expected = match CompressedEdwardsY(bytes).decompress() {
                Some(point) => point.compress().0 == bytes && !point.is_small_order(),
                None => is_below_p, // what is no point is found out later
            };

            assert_eq!(can_be_nonce(&bytes), expected, "{bytes:x?}");

            match (expected, CompressedEdwardsY(bytes).decompress()) {
                (true, Some(_)) => points += 1,
                (true, None) => others += 1,
                (false, _) => refused += 1,
            }
        }
    }
    assert!(points > 5000 && others > 5000 && refused > 50, "{points}, {others}, {refused}");
}
