//! Two numbers of half the length in place of a challenge, so that a point takes half the doublings.
//!
//! Of a challenge k it finds v and u with v·k ≡ ±u modulo 8ℓ, both of about 128 bits and v odd. 8ℓ is how many points the
//! curve has, so v·k and ±u multiply every point alike, one with a small component, too; and an odd v below ℓ has no factor
//! in common with 8ℓ, so v times a point is neutral only where the point is. [`super::unprepared`] rests on both.
//!
//! They are found by Euclid's algorithm on 8ℓ and k, which keeps t·k ≡ ±r for each remainder r and its cofactor t and is
//! stopped in the middle (Antipa, Brown, Gallant, Lambert, Struik, Vanstone 2005). Most of its steps are made on the
//! highest 64 bits alone (Lehmer 1938). Public data only: how long it takes depends on k.

use curve25519_dalek::scalar::Scalar;

use super::field::low;

/// A number, in little-endian words.
type Words = [u64; 4];

/// v and u.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    /// v: odd, and no longer than [`Self::BITS_MAX`], as bytes.
    pub(super) times: [u8; 32],
    /// u: no longer than that, too.
    pub(super) challenge: [u8; 32],
    /// Whether v·k ≡ −u, and not u.
    pub(super) is_negative: bool,
    /// How long the longer one of the two is.
    pub(super) bits: u32,
}

/// 8ℓ (RFC 8032 §5.1).
const POINTS: Words = [0xc093_18d2_e7ae_9f68, 0xa6f7_cef5_17bc_e6b2, 0, 0x8000_0000_0000_0000];
/// Where Euclid is stopped: the first remainder that is no longer, and the cofactor with it, have half of 8ℓ each.
const HALF: u32 = 128;
/// How many bits a cofactor may gain in one round on the highest bits, and below how many a round is not worth it.
const ROUND_MAX: u32 = 31;
const ROUND_MIN: u32 = 6;

/// Two remainders that follow each other, the larger first, and their cofactors without their signs, which alternate.
struct Euclid {
    remainders: [Words; 2],
    cofactors: [Words; 2],
    /// Whether the second cofactor is negative.
    is_negative: bool,
}

/// What some steps together do: each row has the multiples of the two remainders of which the difference is taken.
struct Steps {
    rows: [[u64; 2]; 2],
    are_odd: bool,
}

impl Short {
    /// The most bits that v and u may have: what [`super::unprepared`] has windows for.
    ///
    /// Of random challenges one in three hundred has longer ones than 131 bits, and of these, bit by bit, a quarter is still
    /// longer. Whoever searches for one that has none so short makes his own signature slow.
    pub(super) const BITS_MAX: u32 = 143;

    /// `None` where there are none so short.
    pub(super) fn of(challenge: &Scalar) -> Option<Self> {
        let mut euclid = Euclid {
            remainders: [POINTS, words(challenge.as_bytes())],
            cofactors: [[0; 4], [1, 0, 0, 0]],
            is_negative: false,
        };
        while bits(euclid.second().0) > HALF {
            let advanced = euclid.steps().and_then(|steps| euclid.after(&steps));
            euclid = match advanced {
                Some(euclid) => euclid,
                None => euclid.next()?,
            };
        }
        let here = euclid.candidate(1);
        if here.is_some() {
            return here.filter(Self::is_short);
        }
        // Of two cofactors that follow each other one is odd: the step matrices have the determinant ±1. So both of the
        // neighbours are.
        let before = euclid.candidate(0);
        let after = euclid.next().and_then(|euclid| euclid.candidate(1));
        before.into_iter().chain(after).min_by_key(|short| short.bits).filter(Self::is_short)
    }

    const fn is_short(&self) -> bool {
        self.bits <= Self::BITS_MAX
    }
}

impl Euclid {
    /// The second remainder and its cofactor.
    const fn second(&self) -> (&Words, &Words) {
        let ([_, remainder], [_, cofactor]) = (&self.remainders, &self.cofactors);
        (remainder, cofactor)
    }

    /// The first or the second remainder with its cofactor, where that is odd.
    fn candidate(&self, place: usize) -> Option<Short> {
        let (remainder, cofactor) = (self.remainders.get(place)?, self.cofactors.get(place)?);
        let [lowest, ..] = cofactor;
        (lowest & 1 == 1).then(|| Short {
            times: bytes(cofactor),
            challenge: bytes(remainder),
            is_negative: self.is_negative == (place == 1),
            bits: bits(cofactor).max(bits(remainder)),
        })
    }

    /// One step of Euclid; `None` where there is none, or its quotient is so long that no short relation follows.
    fn next(&self) -> Option<Self> {
        let ([mut rest, divisor], [mut cofactor, of_divisor]) = (self.remainders, self.cofactors);
        // Sixteen bits of the divisor are then among the highest 64: each turn below leaves hardly anything.
        if bits(&divisor) == 0 || bits(&rest).saturating_sub(bits(&divisor)) > 48 {
            return None;
        }
        while !is_below(&rest, &divisor) {
            // Never above the quotient, and hardly below it: few turns, mostly one.
            let from = bits(&rest).saturating_sub(64);
            let quotient = (highest(&rest, from) / highest(&divisor, from).saturating_add(1)).max(1);
            rest = difference([1, quotient], [&rest, &divisor])?;
            cofactor = sum([1, quotient], [&cofactor, &of_divisor])?;
        }
        Some(Self { remainders: [divisor, rest], cofactors: [of_divisor, cofactor], is_negative: !self.is_negative })
    }

    /// As many steps as the highest 64 bits decide without leading behind the middle; `None` where that is not worth it.
    fn steps(&self) -> Option<Steps> {
        let [first, second] = &self.remainders;
        let length = bits(first);
        // The first remainder is afterwards above itself / 2^(room + 1): still not below 2^HALF.
        let room = length.saturating_sub(HALF + 2).min(ROUND_MAX);
        if room < ROUND_MIN {
            return None;
        }
        let limit = 1_u64 << room;
        let from = length.saturating_sub(64);
        let (mut a, mut b) = (highest(first, from), highest(second, from));
        let ([mut u0, mut v0], [mut u1, mut v1]) = ([1, 0], [0, 1]);
        let mut are_odd = false;
        while let Some(quotient) = a.checked_div(b).filter(|quotient| *quotient < limit) {
            let rest = a - quotient * b;
            // Below 2⁶²: both factors are at most the limit.
            let (u2, v2) = (u0 + quotient * u1, v0 + quotient * v1);
            // What was cut off cannot change a quotient as long as this holds (Collins 1980; Jebelean 1995).
            if v2 > limit || rest < v2 || b - rest < v1 + v2 {
                break;
            }
            (a, b) = (b, rest);
            ([u0, v0], [u1, v1]) = ([u1, v1], [u2, v2]);
            are_odd = !are_odd;
        }
        let is_none = v0 == 0;
        (!is_none).then_some(Steps { rows: [[u0, v0], [u1, v1]], are_odd })
    }

    /// After these steps; `None` where they are not Euclid's, which cannot be.
    fn after(&self, steps: &Steps) -> Option<Self> {
        let ([first, second], [of_first, of_second]) = (&self.remainders, &self.cofactors);
        let [[u0, v0], [u1, v1]] = steps.rows;
        let remainders = if steps.are_odd {
            [difference([v0, u0], [second, first])?, difference([u1, v1], [first, second])?]
        } else {
            [difference([u0, v0], [first, second])?, difference([v1, u1], [second, first])?]
        };
        let cofactors = [sum([u0, v0], [of_first, of_second])?, sum([u1, v1], [of_first, of_second])?];
        Some(Self { remainders, cofactors, is_negative: self.is_negative != steps.are_odd })
    }
}

/// a·x − b·y; `None` where it is negative or longer than 256 bits.
fn difference([a, b]: [u64; 2], [x, y]: [&Words; 2]) -> Option<Words> {
    let mut words = [0; 4];
    let (mut carry_of_x, mut carry_of_y, mut borrow) = (0_u64, 0_u64, false);
    for ((word, x), y) in words.iter_mut().zip(x).zip(y) {
        // A product of two words and a word is below 2¹²⁸.
        let of_x = u128::from(a) * u128::from(*x) + u128::from(carry_of_x);
        let of_y = u128::from(b) * u128::from(*y) + u128::from(carry_of_y);
        let (rest, is_below) = low(of_x).overflowing_sub(low(of_y));
        let (rest, is_still_below) = rest.overflowing_sub(u64::from(borrow));
        *word = rest;
        borrow = is_below || is_still_below;
        (carry_of_x, carry_of_y) = (low(of_x >> 64), low(of_y >> 64));
    }
    (carry_of_x.checked_sub(carry_of_y)?.checked_sub(u64::from(borrow))? == 0).then_some(words)
}

/// a·x + b·y; `None` where it is longer than 256 bits.
fn sum([a, b]: [u64; 2], [x, y]: [&Words; 2]) -> Option<Words> {
    let mut words = [0; 4];
    let mut carry = 0_u128;
    for ((word, x), y) in words.iter_mut().zip(x).zip(y) {
        // One of the factors is 1, or both are short.
        let total = (u128::from(a) * u128::from(*x)).checked_add(u128::from(b) * u128::from(*y))?.checked_add(carry)?;
        *word = low(total);
        carry = total >> 64;
    }
    (carry == 0).then_some(words)
}

/// How many bits a number has: 0 of none.
fn bits(words: &Words) -> u32 {
    let mut ends = words.iter().zip([64, 128, 192, 256_u32]).rev();
    ends.find(|(word, _)| **word != 0).map_or(0, |(word, end)| end - word.leading_zeros())
}

/// 64 bits from a bit on.
fn highest(words: &Words, from: u32) -> u64 {
    let (mut rest, shift) = (words.iter().skip(usize::try_from(from / 64).unwrap_or(usize::MAX)), from % 64);
    let here = rest.next().copied().unwrap_or(0);
    let above = rest.next().copied().unwrap_or(0);
    // Two shifts, since one by 64 is none.
    here >> shift | above << 1 << (63 - shift)
}

fn is_below(first: &Words, second: &Words) -> bool {
    first.iter().rev().lt(second.iter().rev())
}

fn words(bytes: &[u8; 32]) -> Words {
    let mut words = [0; 4];
    for (word, eight) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*eight);
    }
    words
}

fn bytes(words: &Words) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (eight, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *eight = word.to_le_bytes();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha512};

    use super::*;

    /// How long the two numbers of a challenge are, after all that is promised of them was looked at; `None` where it has none.
    fn check(challenge: &Scalar) -> Option<u32> {
        let short = Short::of(challenge)?;
        let (times, of_key) = (words(&short.times), words(&short.challenge));
        assert_eq!(times[0] & 1, 1, "{challenge:?}");
        assert!(bits(&times) <= Short::BITS_MAX && bits(&of_key) <= Short::BITS_MAX, "{challenge:?}");
        assert_eq!(short.bits, bits(&times).max(bits(&of_key)));
        // Modulo ℓ by dalek's scalars, and modulo 8 by the lowest bits: together modulo 8ℓ.
        let scalar = Scalar::from_bytes_mod_order(short.challenge);
        let signed = if short.is_negative { -scalar } else { scalar };
        assert_eq!(Scalar::from_bytes_mod_order(short.times) * challenge, signed, "{challenge:?}");
        let low = |of: u64| if short.is_negative { of.wrapping_neg() } else { of };
        let product = times[0].wrapping_mul(words(challenge.as_bytes())[0]);
        assert_eq!(product % 8, low(of_key[0]) % 8, "{challenge:?}");
        Some(short.bits)
    }

    #[test]
    fn the_number_of_points_is_eight_times_the_order() {
        // −1 is one below the order.
        let below = words(&(-Scalar::ONE).to_bytes());
        let order = sum([1, 1], [&below, &[1, 0, 0, 0]]).unwrap();
        assert_eq!(sum([8, 0], [&order, &[0; 4]]).unwrap(), POINTS);
    }

    #[test]
    fn it_multiplies_every_small_component_as_the_challenge_does() {
        for number in 0..64_u64 {
            let challenge = Scalar::from_bytes_mod_order_wide(&Sha512::digest(number.to_le_bytes()).into());
            let short = Short::of(&challenge).unwrap();
            for torsion in EIGHT_TORSION {
                let times = Scalar::from_bytes_mod_order(short.times);
                assert_eq!(torsion * times == EIGHT_TORSION[0], torsion == EIGHT_TORSION[0]);
                // The challenge as dalek multiplies by it: the number below ℓ.
                let expected =
                    (0..words(&short.times)[0] % 8).fold(EIGHT_TORSION[0], |sum, _| sum + torsion * challenge);
                let of_key = torsion * Scalar::from_bytes_mod_order(short.challenge);
                assert_eq!(if short.is_negative { -of_key } else { of_key }, expected);
            }
        }
    }

    #[test]
    fn edges_have_their_relation() {
        assert_eq!(check(&Scalar::ZERO), Some(1));
        for bit in 0..253 {
            let power = (0..bit).fold(Scalar::ONE, |power, _| power + power);
            for scalar in [power, power - Scalar::ONE, power + Scalar::ONE, -power, power.invert(), -power.invert()] {
                // Some of them are so near to a fraction of small numbers that there is none.
                check(&scalar);
            }
        }
    }

    #[test]
    fn hardly_any_challenge_has_none_and_most_fit_into_132_bits() {
        let (mut none, mut long) = (0, 0);
        let mut scalar = Scalar::from_bytes_mod_order_wide(&Sha512::digest(b"most").into());
        for _ in 0..20_000 {
            scalar = scalar * scalar + Scalar::ONE;
            match check(&scalar) {
                None => none += 1,
                Some(bits) => long += u32::from(bits > 131),
            }
        }
        assert!(none == 0 && long < 200, "{none} have none, {long} are long");
    }

    #[test]
    fn the_highest_bits_make_most_of_the_steps() {
        // Rounds that gave nothing would only be slow, which no verdict shows.
        let mut scalar = Scalar::from_bytes_mod_order_wide(&Sha512::digest(b"steps").into());
        for _ in 0..1000 {
            scalar = scalar * scalar + Scalar::ONE;
            let euclid = Euclid {
                remainders: [POINTS, words(scalar.as_bytes())],
                cofactors: [[0; 4], [1, 0, 0, 0]],
                is_negative: false,
            };
            let steps = euclid.steps().unwrap();
            let after = euclid.after(&steps).unwrap();
            assert!(bits(&after.remainders[0]) < 256 - 15, "{scalar:?}");
            assert!(is_below(&after.remainders[1], &after.remainders[0]));
            // And they are Euclid's: one by one it comes to the same place.
            let mut slow = euclid;
            while slow.remainders != after.remainders {
                slow = slow.next().unwrap();
                assert!(bits(&slow.remainders[0]) >= bits(&after.remainders[0]), "{scalar:?}");
            }
            assert_eq!((slow.cofactors, slow.is_negative), (after.cofactors, after.is_negative));
        }
    }

    proptest! {
        #[test]
        fn differences_and_sums_are_those_of_the_slow_way(
            [a, b] in any::<[u64; 2]>(), x in any::<[u64; 3]>(), y in any::<[u64; 3]>(),
        ) {
            let [x, y] = [x, y].map(|[w0, w1, w2]| [w0, w1, w2 >> 1, 0]);
            let scalar = |words: &Words| Scalar::from_bytes_mod_order(bytes(words));
            let (a, b) = (a >> 1, b >> 1);
            let (of_x, of_y) = (Scalar::from(a) * scalar(&x), Scalar::from(b) * scalar(&y));
            // Below 2²⁵⁵ nothing is lost but a multiple of the order.
            prop_assert_eq!(scalar(&sum([a, b], [&x, &y]).unwrap()), of_x + of_y);
            let (forth, back) = (difference([a, b], [&x, &y]), difference([b, a], [&y, &x]));
            match (forth, back) {
                (Some(forth), None) => prop_assert_eq!(scalar(&forth), of_x - of_y),
                (None, Some(back)) => prop_assert_eq!(scalar(&back), of_y - of_x),
                (Some(forth), Some(back)) => prop_assert_eq!((forth, back), ([0; 4], [0; 4])),
                (None, None) => prop_assert!(false, "one of the two is not negative"),
            }
        }

        #[test]
        fn any_challenge_has_its_relation(bytes in any::<[u8; 32]>()) {
            check(&Scalar::from_bytes_mod_order(bytes));
        }

        /// Near fractions of numbers that are short: Euclid meets a quotient there that is long, at any depth.
        #[test]
        fn a_challenge_that_was_searched_for_has_its_relation_or_none(
            numbers in any::<[[u8; 32]; 3]>(), lengths in [0_u32..253, 0_u32..253, 0_u32..140], is_negative in any::<bool>(),
        ) {
            let mut lengths = lengths.into_iter();
            let [above, below, more] = numbers.map(|number| {
                let mut words = words(&number);
                let length = lengths.next().unwrap();
                for (word, place) in words.iter_mut().zip([0, 64, 128, 192]) {
                    let kept = length.saturating_sub(place).min(64);
                    *word &= u64::MAX.checked_shr(64 - kept).unwrap_or(0);
                }
                Scalar::from_bytes_mod_order(bytes(&words))
            });
            let challenge = above * (below + below + Scalar::ONE).invert();
            for challenge in [challenge, challenge + more, challenge - more, above] {
                check(&if is_negative { -challenge } else { challenge });
            }
        }
    }
}
