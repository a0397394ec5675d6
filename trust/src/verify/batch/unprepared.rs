//! Signatures under keys without a table, each under another one: several at a time, with half the doublings.
//!
//! With A and R as points, k as the challenge below ℓ and D = s·B − k·A − R a signature is valid, as `verify_strict` has
//! it, exactly where D is neutral: it spells s·B − k·A and compares the bytes with those of R, and an `R` that is the
//! canonical spelling of a point is equal to the spelling of another point exactly where the points are. What is not such
//! a spelling, or is of small order, is refused before ([`super::ed25519::can_be_nonce`], [`decompress_both`]).
//!
//! What is computed is v·D = (v·s mod ℓ)·B − u·A − v·R, with v·k ≡ u modulo 8ℓ, v odd and v < ℓ ([`super::short`]):
//!
//! - B has the order ℓ, so only v·s modulo ℓ counts.
//! - The order of A divides 8ℓ, how many points there are, so (v·k)·A is u·A, small components and all. Modulo ℓ alone that
//!   would hold only for an A without one.
//! - v·R is v times R, whatever R is.
//! - The order of D divides 8ℓ, too, with which v has no factor in common: so v·D is neutral exactly where D is.
//!
//! So nothing is left to chance and nothing is rounded off: the verdict is that of `verify_strict` for each item alone.

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;

use super::field::Side;
use super::point::{Addend, Completed, Multiple, Point, constants, decompress_both};
use super::short::Short;
use super::table::{BaseRows, base, look_up};
use super::windows::digits;

/// How many bits a window has: 4, so that the multiples of both points stay in the processor's nearest cache.
const WIDTH: usize = 4;
/// Multiples of a point that are looked up: 0 to 8 times.
const MULTIPLES: usize = (1 << (WIDTH - 1)) + 1;
/// Windows of the longest v and u.
const ROWS: usize = 36;
const _: () = assert!(Short::BITS_MAX < 144 && ROWS * WIDTH == 144);

/// What is to be multiplied for one signature.
#[derive(Clone, Copy)]
pub(super) struct Unprepared<'a> {
    /// A, which was found to be a point, by its bytes.
    key: &'a [u8; 32],
    /// R.
    nonce: &'a [u8; 32],
    /// v·s.
    of_base: [i16; BaseRows::COUNT],
    /// |u|.
    of_key: [i16; ROWS],
    /// v.
    of_nonce: [i16; ROWS],
    /// Whether v·k ≡ −|u|.
    is_negative: bool,
    /// How many windows v and u need.
    rows: usize,
}

impl<'a> Unprepared<'a> {
    /// `None` where there is no short v, one challenge of very many: it is multiplied in full elsewhere.
    pub(super) fn new(key: &'a [u8; 32], nonce: &'a [u8; 32], response: &Scalar, challenge: &Scalar) -> Option<Self> {
        let short = Short::of(challenge)?;
        let of_base = Scalar::from_bytes_mod_order(short.times) * response;
        Some(Self {
            key,
            nonce,
            of_base: BaseRows::digits(of_base.as_bytes()),
            of_key: digits::<WIDTH, ROWS>(&short.challenge),
            of_nonce: digits::<WIDTH, ROWS>(&short.times),
            is_negative: short.is_negative,
            rows: usize::try_from(short.bits).map_or(ROWS, |bits| bits / WIDTH + 1), // one more for what is carried
        })
    }
}

/// Which of the signatures are valid, `N` at a time. Each `R` [can be one](super::ed25519::can_be_nonce).
///
/// Inlined, as is everything below it, for the reason that [`super::ed25519::spellings`] has.
#[inline(always)]
pub(super) fn are_valid<F: Side<N>, const N: usize>(items: &[Unprepared<'_>]) -> Vec<bool> {
    let mut verdicts = Vec::with_capacity(items.len());
    for group in items.chunks(N) {
        let Some(last) = group.last() else { continue };
        // Fewer than there are lanes: the last one fills up the others.
        let lanes: [&Unprepared<'_>; N] = std::array::from_fn(|lane| group.get(lane).unwrap_or(last));
        let found = are_neutral::<F, N>(&lanes);
        verdicts.extend(found.into_iter().take(group.len()));
    }
    verdicts
}

/// Whether these verdicts are right of 24 fixed signatures, of which every third is broken, so one of three in each of
/// eight lanes: asked once of instructions that few processors have, before they decide anything.
///
/// The field is held against the portable one before ([`super::field::agrees`]); this is the whole way from bytes to a
/// verdict, in the code that is run afterwards.
pub(super) fn agrees(are_valid: impl Fn(&[Unprepared<'_>]) -> Vec<bool>) -> bool {
    /// The bytes of A and R, s, k, and whether D is neutral.
    struct Known([[u8; 32]; 2], [Scalar; 2], bool);
    // Numbers without a pattern: of a challenge that has one there may be no short relation.
    let mut scalar = Scalar::from_bytes_mod_order([0x5e; 32]);
    let mut next = || {
        scalar = scalar * scalar + Scalar::ONE;
        scalar
    };
    // What D is of the broken ones: of every small order, and the base point.
    let base = EdwardsPoint::mul_base(&Scalar::ONE);
    let mut defects =
        EIGHT_TORSION.into_iter().map(|small| if small == EdwardsPoint::default() { base } else { small });
    let mut known = Vec::new();
    for (number, component) in (0..24_u8).zip(EIGHT_TORSION.iter().cycle()) {
        let (response, challenge) = (next(), next());
        let key = EdwardsPoint::mul_base(&next()) + component;
        let defect = if number.is_multiple_of(3) { defects.next() } else { None };
        let nonce = EdwardsPoint::mul_base(&response) - key * challenge - defect.unwrap_or_default();
        let points = [key, nonce].map(|point| point.compress().to_bytes());
        known.push(Known(points, [response, challenge], defect.is_none()));
    }
    let ready: Option<Vec<_>> = known
        .iter()
        .map(|Known([key, nonce], [response, challenge], _)| Unprepared::new(key, nonce, response, challenge))
        .collect();
    ready.is_some_and(|ready| are_valid(&ready).into_iter().eq(known.iter().map(|Known(.., is_valid)| *is_valid)))
}

/// Whether R is a point and v·D neutral, in each lane.
#[inline(always)]
fn are_neutral<F: Side<N>, const N: usize>(lanes: &[&Unprepared<'_>; N]) -> [bool; N] {
    let [first, ..] = lanes.as_slice() else { return [false; N] };
    let lane = |lane: usize| *lanes.get(lane).unwrap_or(first);
    let [(x_of_key, y_of_key, _), (x_of_nonce, y_of_nonce, mut are_valid)] =
        decompress_both::<F, N>(|at| lane(at).key, |at| lane(at).nonce);
    // The negative of a point has −x: what is added are −A, or A where u is negative, and −R.
    let of_key = Multiples::new::<N>(x_of_key.negate_where(|at| !lane(at).is_negative).carry(), y_of_key);
    let of_nonce = Multiples::new::<N>(F::zero().sub(x_of_nonce).carry(), y_of_nonce);

    let rows = lanes.iter().map(|item| item.rows).max().unwrap_or(ROWS);
    let mut sum = Completed::neutral();
    for row in (0..rows).rev() {
        let mut point = Point::neutral();
        if row + 1 < rows {
            let doubled = sum.projective().double().projective().double().projective().double();
            point = doubled.projective().double().extend();
        }
        let with_key = point.add_multiple(&of_key.find::<N>(|at| lane(at).of_key.get(row).copied().unwrap_or(0)));
        sum =
            with_key.extend().add_multiple(&of_nonce.find::<N>(|at| lane(at).of_nonce.get(row).copied().unwrap_or(0)));
    }
    // The table of B has a row for every window: no doubling is left for it.
    let base = base();
    let mut point = sum.extend();
    for row in 0..BaseRows::COUNT {
        let digit = |at: usize| lane(at).of_base.get(row).copied().unwrap_or(0);
        point = point.add(&look_up::<F, N, _, _>(|_| base, |_| row, digit));
    }

    // Neutral is (0, 1): X = 0 and Y = Z, and no Z is zero.
    let (x, rest) = (point.x.pack(), point.y.sub(point.z).carry().pack());
    for ((is_valid, x), rest) in are_valid.iter_mut().zip(x).zip(rest) {
        *is_valid = *is_valid && x == [0; 4] && rest == [0; 4];
    }
    are_valid
}

/// 0 to 8 times a point, in every lane another.
struct Multiples<F>([Multiple<F>; MULTIPLES]);

impl<F> Multiples<F> {
    /// Of affine points, whose coordinates are products.
    #[inline(always)]
    fn new<const N: usize>(x: F, y: F) -> Self
    where
        F: Side<N>,
    {
        let twice_d = F::unpack(|_| &constants().twice_d);
        let step = Addend { sum: y.add(x), difference: y.sub(x), product: x.mul(y).mul(twice_d) };
        let mut point = Point::neutral();
        let mut multiples = [point.multiple(twice_d); MULTIPLES];
        for multiple in multiples.iter_mut().skip(1) {
            point = point.add(&step);
            *multiple = point.multiple(twice_d);
        }
        Self(multiples)
    }

    /// digit · P, from −8 to 8, in each lane.
    #[inline(always)]
    fn find<const N: usize>(&self, digit: impl Fn(usize) -> i16) -> Multiple<F>
    where
        F: Side<N>,
    {
        let [neutral, ..] = &self.0;
        let mut found = [neutral; N];
        let mut is_negative = [false; N];
        for (lane, (found, is_negative)) in found.iter_mut().zip(&mut is_negative).enumerate() {
            let digit = digit(lane);
            *found = self.0.get(usize::from(digit.unsigned_abs())).unwrap_or(neutral);
            *is_negative = digit < 0;
        }
        let at = |lane: usize| *found.get(lane).unwrap_or(&neutral);
        let is_negative = |lane: usize| is_negative.get(lane) == Some(&true);
        // −(x, y) is (−x, y): the sums change places, and the product its sign.
        Multiple {
            sum: F::pick(|lane| if is_negative(lane) { &at(lane).difference } else { &at(lane).sum }),
            difference: F::pick(|lane| if is_negative(lane) { &at(lane).sum } else { &at(lane).difference }),
            z: F::pick(|lane| &at(lane).z),
            product: F::pick(|lane| &at(lane).product).negate_where(is_negative),
        }
    }
}

#[cfg(test)]
mod tests;
