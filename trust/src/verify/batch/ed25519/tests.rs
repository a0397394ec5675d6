//! Any number of items, and what no hash can be made to be.

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;

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
