//! Ed25519: the `R` of a valid signature is computed for each item, and spelled with one inversion for many.
//!
//! Each verdict is that of `verify_strict`: the equation without a cofactor, on bytes, for an `R` that is not of small
//! order. `R` itself is not decompressed. The point that has to be there is spelled in its one canonical way, so an
//! `R` that is no point, or is spelled otherwise, is never equal to it.
//!
//! Keys without a table have a way of their own in vectors ([`super::unprepared`]); elsewhere it is dalek's double
//! multiplication.

use std::sync::LazyLock;

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::VerifyingKey;

use super::Path;
use super::field::{Element, Side};
use super::point::{Point, constants, to_affine};
use super::sha512::Challenge;
use super::table::{BaseRows, KeyRows, Table, base, look_up};
use super::unprepared::Unprepared;
#[cfg(target_arch = "x86_64")]
use super::{avx2, ifma};
use crate::verify::NotValid;

/// One signature.
pub(super) struct Ed25519Item<'a> {
    pub(super) key: Ed25519Key<'a>,
    pub(super) message: &'a [u8],
    pub(super) signature: &'a [u8; 64],
}

/// A key, as far as it is prepared.
#[derive(Clone, Copy)]
pub(super) enum Ed25519Key<'a> {
    /// Decompressed.
    Plain(&'a VerifyingKey),
    /// With a table.
    Known(&'a Table),
}

/// What is to be multiplied for one signature under a key with a table.
#[derive(Clone, Copy)]
pub(super) struct Ready<'a> {
    key: &'a KeyRows,
    of_base: [i16; BaseRows::COUNT],
    of_key: [i16; KeyRows::COUNT],
}

/// How many share an inversion, which costs as much as half an item, or two of four lanes: their points stay in the cache.
const SHARE: usize = 128;

/// How many items are verified alone at most, where they are left over: in lanes that copies of them fill, so few take
/// longer.
const ALONE_MAX: usize = 2;

/// A signature under a key without a table.
struct Plain<'a> {
    place: usize,
    key: &'a VerifyingKey,
    nonce: &'a [u8; 32],
    response: Scalar,
    challenge: Scalar,
}

/// Verdicts, in order.
pub(super) fn verdicts(path: Path, items: &[Ed25519Item<'_>]) -> Vec<Result<(), NotValid>> {
    let mut verdicts = Vec::with_capacity(items.len());
    for items in items.chunks(SHARE) {
        let are_valid = are_valid(path, items);
        verdicts.extend(are_valid.into_iter().map(|is_valid| if is_valid { Ok(()) } else { Err(NotValid::Wrong) }));
    }
    verdicts
}

/// The same of items that share an inversion.
fn are_valid(path: Path, items: &[Ed25519Item<'_>]) -> Vec<bool> {
    let mut are_valid = vec![false; items.len()];
    let (mut known, mut of_known, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for ((place, item), challenge) in items.iter().enumerate().zip(challenges_on(path, items)) {
        let (Some(response), Some(nonce)) = (item.response(), item.nonce()) else { continue };
        match item.key {
            Ed25519Key::Known(table) => {
                known.push(Ready::new(table, &response, &challenge));
                of_known.push((place, nonce));
            }
            Ed25519Key::Plain(key) => plain.push(Plain { place, key, nonce, response, challenge }),
        }
    }
    let mut say = |place: usize, is_valid: bool| {
        if let Some(verdict) = are_valid.get_mut(place) {
            *verdict = is_valid;
        }
    };
    for ((place, nonce), spelling) in of_known.into_iter().zip(spellings_on(path, &known)) {
        say(place, *nonce == spelling);
    }
    let alone = plain_on(path, plain, &mut say);
    // Of no points, too, it takes an inversion.
    if !alone.is_empty() {
        let points: Vec<EdwardsPoint> = alone.iter().map(Plain::expected).collect();
        for (item, spelling) in alone.iter().zip(EdwardsPoint::compress_batch_alloc(&points)) {
            say(item.place, *item.nonce == spelling.to_bytes());
        }
    }
    are_valid
}

/// Says of those items which are valid that are verified several at a time, and returns the others.
fn plain_on<'a>(path: Path, items: Vec<Plain<'a>>, say: &mut impl FnMut(usize, bool)) -> Vec<Plain<'a>> {
    let at_a_time = match path {
        Path::Ifma => 8,
        Path::Avx2 => 4,
        Path::Portable => return items,
    };
    let rest = items.len() % at_a_time;
    let together = if rest <= ALONE_MAX { items.len() - rest } else { items.len() };
    let (mut in_lanes, mut ready, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for (number, item) in items.into_iter().enumerate() {
        let Plain { key, nonce, response, challenge, .. } = &item;
        let short = if number < together { Unprepared::new(key.as_bytes(), nonce, response, challenge) } else { None };
        match short {
            Some(short) => {
                in_lanes.push(item);
                ready.push(short);
            }
            None => alone.push(item),
        }
    }
    let found = match path {
        #[cfg(target_arch = "x86_64")]
        Path::Avx2 => avx2::are_valid(&ready),
        #[cfg(target_arch = "x86_64")]
        Path::Ifma => ifma::are_valid(&ready),
        _ => None,
    };
    match found {
        Some(found) => in_lanes.iter().zip(found).for_each(|(item, is_valid)| say(item.place, is_valid)),
        None => alone.extend(in_lanes),
    }
    alone
}

impl Plain<'_> {
    /// s·B − k·A.
    fn expected(&self) -> EdwardsPoint {
        EdwardsPoint::vartime_double_scalar_mul_basepoint(&self.challenge, &-self.key.to_edwards(), &self.response)
    }
}

impl Ed25519Item<'_> {
    /// s; `None` for one that is not below the group's order (RFC 8032 §5.1.7).
    fn response(&self) -> Option<Scalar> {
        Scalar::from_canonical_bytes(*self.signature.last_chunk::<32>()?).into()
    }

    /// R; `None` for one that is not the spelling of a point, as far as its bytes say, or is of small order.
    fn nonce(&self) -> Option<&[u8; 32]> {
        self.signature.first_chunk().filter(|nonce| can_be_nonce(nonce))
    }

    /// What is hashed to k.
    fn challenge(&self) -> Challenge<'_> {
        let nonce = self.signature.first_chunk().unwrap_or(&[0; 32]); // 64 bytes begin with 32
        let key = match self.key {
            Ed25519Key::Plain(key) => key.as_bytes(),
            Ed25519Key::Known(table) => table.point_bytes(),
        };
        Challenge { nonce, key, message: self.message }
    }
}

/// k of each, hashed by one path, or one by one where that is not here.
fn challenges_on(path: Path, items: &[Ed25519Item<'_>]) -> Vec<Scalar> {
    let challenges: Vec<Challenge<'_>> = items.iter().map(Ed25519Item::challenge).collect();
    let fast = match path {
        // Not by AVX2: a hash is some 2 % of an item there (by known costs), and lanes that cannot rotate save half.
        #[cfg(target_arch = "x86_64")]
        Path::Ifma if challenges.len() > 2 => ifma::hashes(&challenges),
        _ => None,
    };
    let hashes = fast.unwrap_or_else(|| challenges.iter().map(Challenge::hash).collect());
    hashes.iter().map(Scalar::from_bytes_mod_order_wide).collect()
}

impl<'a> Ready<'a> {
    fn new(table: &'a Table, response: &Scalar, challenge: &Scalar) -> Self {
        Self {
            key: table.rows(),
            of_base: BaseRows::digits(response.as_bytes()),
            of_key: KeyRows::digits(challenge.as_bytes()),
        }
    }
}

/// [`spellings`] by one path, or by the portable one where that is not here.
fn spellings_on(path: Path, ready: &[Ready<'_>]) -> Vec<[u8; 32]> {
    let fast = match path {
        #[cfg(target_arch = "x86_64")]
        Path::Avx2 => avx2::spellings(ready),
        #[cfg(target_arch = "x86_64")]
        Path::Ifma => ifma::spellings(ready),
        _ => None,
    };
    fast.unwrap_or_else(|| spellings::<Element, 1>(ready))
}

/// The bytes of s·B − k·A, the `R` of a valid signature, for each; `N` at a time.
///
/// Inlined, as is everything below it, so that it is compiled for the processor that its caller asks for.
#[inline(always)]
pub(super) fn spellings<F: Side<N>, const N: usize>(ready: &[Ready<'_>]) -> Vec<[u8; 32]> {
    let (groups, rest) = ready.as_chunks::<N>();
    let mut points = Vec::with_capacity(groups.len() + 1);
    for group in groups {
        points.push(multiply::<F, N>(group));
    }
    let mut alone = Vec::new();
    if let Some(last) = rest.last() {
        if rest.len() * 2 <= N {
            for item in rest {
                alone.push(multiply_alone::<F, N>(item));
            }
        } else {
            // Fewer than there are lanes: the last one fills up the others.
            let group: [Ready<'_>; N] = std::array::from_fn(|lane| *rest.get(lane).unwrap_or(last));
            points.push(multiply::<F, N>(&group));
        }
    }
    let mut spelled = vec![[0; 32]; points.len() * N];
    to_affine(&points, |index, x, y| {
        let group = spelled.iter_mut().skip(index * N).zip(x.pack()).zip(y.pack());
        for ((bytes, x), y) in group {
            *bytes = spell(&x, &y);
        }
    });
    let together = spelled.len();
    spelled.resize(together + alone.len(), [0; 32]);
    to_affine(&alone, |index, x, y| {
        if let Some(bytes) = spelled.get_mut(together + index) {
            *bytes = spell(&x.spell(), &y.spell());
        }
    });
    spelled.truncate(ready.len());
    spelled
}

/// s·B − k·A in each lane.
#[inline(always)]
fn multiply<F: Side<N>, const N: usize>(group: &[Ready<'_>; N]) -> Point<F> {
    let [first, ..] = group.as_slice() else { return Point::neutral() };
    let base = base();
    let lane = |lane: usize| group.get(lane).unwrap_or(first);
    let mut point = Point::neutral();
    for row in 0..BaseRows::COUNT {
        let digit = |at: usize| lane(at).of_base.get(row).copied().unwrap_or(0);
        point = point.add(&look_up::<F, N, _, _>(|_| base, |_| row, digit));
    }
    for row in 0..KeyRows::COUNT {
        let digit = |at: usize| lane(at).of_key.get(row).copied().unwrap_or(0);
        point = point.add(&look_up::<F, N, _, _>(|at| lane(at).key, |_| row, digit));
    }
    point
}

/// s·B − k·A of one item whose rows are dealt out to the lanes: the sums of the lanes are added at the end.
#[inline(always)]
fn multiply_alone<F: Side<N>, const N: usize>(item: &Ready<'_>) -> Point<Element> {
    let base = base();
    let mut point = Point::<F>::neutral();
    // Beyond the last row there is nothing: the digit is 0.
    for first in (0..BaseRows::COUNT).step_by(N) {
        let digit = |at: usize| item.of_base.get(first + at).copied().unwrap_or(0);
        point = point.add(&look_up::<F, N, _, _>(|_| base, |at| first + at, digit));
    }
    for first in (0..KeyRows::COUNT).step_by(N) {
        let digit = |at: usize| item.of_key.get(first + at).copied().unwrap_or(0);
        point = point.add(&look_up::<F, N, _, _>(|_| item.key, |at| first + at, digit));
    }
    let coordinates = point.x.pack().into_iter().zip(point.y.pack()).zip(point.z.pack()).zip(point.t.pack());
    let twice_d = Element::read(&constants().twice_d);
    let mut sum = Point::neutral();
    for (((x, y), z), t) in coordinates {
        let [x, y, z, t] = [x, y, z, t].map(|words| Element::read(&words));
        sum = sum.add_multiple(&Point { x, y, z, t }.multiple(twice_d)).extend();
    }
    sum
}

/// The 32 bytes of a point (RFC 8032 §5.1.2), from the words of its coordinates.
fn spell(x: &[u64; 4], y: &[u64; 4]) -> [u8; 32] {
    let ([x0, ..], [y0, y1, y2, y3]) = (x, y);
    let words = [*y0, *y1, *y2, y3 | x0 << 63];
    let mut bytes = [0; 32];
    for (eight, word) in bytes.chunks_exact_mut(8).zip(words) {
        eight.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// Whether these bytes may be the spelling of an `R`: y is below p, and they are not of one of the eight points of small
/// order, whose other spellings are found by leaving out the sign of x. Where x is zero, and has none, they are of one.
pub(super) fn can_be_nonce(bytes: &[u8; 32]) -> bool {
    static SMALL: LazyLock<[[u8; 32]; 8]> = LazyLock::new(|| EIGHT_TORSION.map(|point| point.compress().to_bytes()));
    let mut unsigned = *bytes;
    unsigned[31] &= 0x7f;
    let [first, middle @ .., last] = unsigned;
    let is_below_p = first < 0xed || last < 0x7f || middle != [0xff; 30];
    is_below_p && !SMALL.contains(&unsigned)
}

#[cfg(test)]
mod tests;
