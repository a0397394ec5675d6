//! Ed25519: the `R` of a valid signature is computed for each item, and spelled with one inversion for many.
//!
//! Each verdict is that of `verify_strict`: the equation without a cofactor, on bytes, for an `R` that is not of small
//! order. `R` itself is not decompressed. The point that has to be there is spelled in its one canonical way, so an
//! `R` that is no point, or is spelled otherwise, is never equal to it.

use std::sync::LazyLock;

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::VerifyingKey;

use super::Path;
use super::field::{Element, Side};
use super::point::{Point, to_affine};
use super::sha512::Challenge;
use super::table::{BaseRows, KeyRows, Table, base, look_up};
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

/// Verdicts, in order.
pub(super) fn verdicts(path: Path, items: &[Ed25519Item<'_>]) -> Vec<Result<(), NotValid>> {
    let mut verdicts = Vec::with_capacity(items.len());
    for items in items.chunks(SHARE) {
        let (mut known, mut plain) = (Vec::new(), Vec::new());
        let mut is_possible = Vec::with_capacity(items.len());
        for (item, challenge) in items.iter().zip(challenges_on(path, items)) {
            let response = item.response();
            is_possible.push(response.is_some());
            match (response, item.key) {
                (Some(response), Ed25519Key::Known(table)) => known.push(Ready::new(table, &response, &challenge)),
                (Some(response), Ed25519Key::Plain(key)) => {
                    let minus_key = -key.to_edwards();
                    plain.push(EdwardsPoint::vartime_double_scalar_mul_basepoint(&challenge, &minus_key, &response));
                }
                (None, _) => {}
            }
        }
        let mut of_known = spellings_on(path, &known).into_iter();
        let mut of_plain = EdwardsPoint::compress_batch_alloc(&plain).into_iter().map(|point| point.to_bytes());
        verdicts.extend(items.iter().zip(is_possible).map(|(item, is_possible)| {
            let expected = match item.key {
                _ if !is_possible => None,
                Ed25519Key::Known(_) => of_known.next(),
                Ed25519Key::Plain(_) => of_plain.next(),
            };
            match (expected, item.signature.first_chunk::<32>()) {
                (Some(expected), Some(nonce)) if *nonce == expected && !is_small(nonce) => Ok(()),
                _ => Err(NotValid::Wrong),
            }
        }));
    }
    verdicts
}

impl Ed25519Item<'_> {
    /// s; `None` for one that is not below the group's order (RFC 8032 §5.1.7).
    fn response(&self) -> Option<Scalar> {
        Scalar::from_canonical_bytes(*self.signature.last_chunk::<32>()?).into()
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
        // One or two would fill the lanes with copies of themselves, and take longer than alone.
        #[cfg(target_arch = "x86_64")]
        Path::Avx2 if ready.len() > 2 => avx2::spellings(ready),
        #[cfg(target_arch = "x86_64")]
        Path::Ifma if ready.len() > 2 => ifma::spellings(ready),
        _ => None,
    };
    fast.unwrap_or_else(|| spellings::<Element, 1>(ready))
}

/// The bytes of s·B − k·A, the `R` of a valid signature, for each; `N` at a time.
///
/// Inlined, as is everything below it, so that it is compiled for the processor that its caller asks for.
#[inline(always)]
pub(super) fn spellings<F: Side<N>, const N: usize>(ready: &[Ready<'_>]) -> Vec<[u8; 32]> {
    let mut points = Vec::with_capacity(ready.len().div_ceil(N));
    let mut groups = ready.chunks_exact(N);
    for group in &mut groups {
        if let Some(group) = group.as_array::<N>() {
            points.push(multiply::<F, N>(group));
        }
    }
    let rest = groups.remainder();
    if let Some(last) = rest.last() {
        // Fewer than there are lanes: the last one fills up the others.
        let group: [Ready<'_>; N] = std::array::from_fn(|lane| *rest.get(lane).unwrap_or(last));
        points.push(multiply::<F, N>(&group));
    }
    let mut spelled = vec![[0; 32]; points.len() * N];
    to_affine(&points, |index, x, y| {
        let group = spelled.iter_mut().skip(index * N).zip(x.pack()).zip(y.pack());
        for ((bytes, x), y) in group {
            *bytes = spell(&x, &y);
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
        point = point.add(&look_up::<F, N, _, _>(|_| base, row, digit));
    }
    for row in 0..KeyRows::COUNT {
        let digit = |at: usize| lane(at).of_key.get(row).copied().unwrap_or(0);
        point = point.add(&look_up::<F, N, _, _>(|at| lane(at).key, row, digit));
    }
    point
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

/// Whether these are the bytes of one of the eight points of small order.
fn is_small(bytes: &[u8; 32]) -> bool {
    static SMALL: LazyLock<[[u8; 32]; 8]> = LazyLock::new(|| EIGHT_TORSION.map(|point| point.compress().to_bytes()));
    SMALL.contains(bytes)
}
