//! Multiples of a point, made once, so that a multiplication is a few dozen additions and no doubling.

use std::fmt;
use std::sync::LazyLock;

use super::field::{Element, Side};
use super::point::{Addend, Affine, Point, constants, to_affine};
use super::windows::digits;
use crate::PublicKey;
use crate::public_key::Parsed;

/// Of the base point there is one table for all, so it may be larger: 29 rows of 257, 699 KiB. Larger ones save
/// additions and lose as much by waiting for memory.
pub(super) type BaseRows = Rows<9, 29>;
/// Of each known key there is one: 32 rows of 129, 387 KiB.
pub(super) type KeyRows = Rows<8, 32>;

/// An Ed25519 public key prepared for many verifications.
///
/// Worth its making from some hundred signatures on. Holds public data only.
pub struct Table {
    key: PublicKey,
    /// Its 32 bytes, which every challenge hashes.
    bytes: [u8; 32],
    /// Of −A, so that every step of s·B − k·A is an addition.
    rows: KeyRows,
}

impl Table {
    /// What one takes in memory, in bytes.
    pub const BYTES: usize = KeyRows::ENTRIES * size_of::<Entry>();

    /// Prepares a key; `None` where its algorithm is not Ed25519. Takes about a millisecond of one core.
    #[must_use]
    pub fn new(key: &PublicKey) -> Option<Self> {
        let Parsed::Ed25519(parsed) = key.parsed() else { return None };
        let point = Affine::decompress(parsed.as_bytes())?;
        Some(Self { key: key.clone(), bytes: parsed.to_bytes(), rows: Rows::new(point.negate()) })
    }

    /// The key that it was made of.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    pub(super) const fn point_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    pub(super) const fn rows(&self) -> &KeyRows {
        &self.rows
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({})", self.key.spki_sha256())
    }
}

/// The table of the base point, made at its first use in some milliseconds.
pub(super) fn base() -> &'static BaseRows {
    static BASE: LazyLock<BaseRows> = LazyLock::new(|| Rows::new(Affine::base()));
    &BASE
}

/// Row i holds j · 2^(WIDTH · i) · P for j from 0 to 2^(WIDTH − 1).
pub(super) struct Rows<const WIDTH: usize, const ROWS: usize> {
    entries: Box<[Entry]>,
}

/// An [`Addend`] in 96 bytes that lie in two lines of the processor's cache.
#[derive(Clone, Copy)]
#[repr(align(32))]
struct Entry {
    /// y + x and y − x.
    sums: [[u64; 4]; 2],
    /// 2dxy.
    product: [u64; 4],
}

/// What is added for the digit 0.
const NEUTRAL: Entry = Entry { sums: [[1, 0, 0, 0]; 2], product: [0; 4] };

impl<const WIDTH: usize, const ROWS: usize> Rows<WIDTH, ROWS> {
    /// How many rows there are.
    pub(super) const COUNT: usize = ROWS;
    /// Entries of one row.
    const ROW: usize = (1 << (WIDTH - 1)) + 1;
    const ENTRIES: usize = Self::ROW * ROWS;

    fn new(point: Affine) -> Self {
        let twice_d = Element::read(&constants().twice_d);
        let mut firsts = Vec::with_capacity(ROWS);
        let mut first = point.extend();
        for _ in 0..ROWS {
            firsts.push(first);
            first = (0..WIDTH).fold(first, |point, _| point.double().extend());
        }
        let mut multiples = Vec::with_capacity((Self::ROW - 1) * ROWS);
        to_affine(&firsts, |_, x, y| {
            let step = Affine { x, y }.addend(twice_d);
            let row = (1..Self::ROW).scan(Point::neutral(), |point, _| {
                *point = point.add(&step);
                Some(*point)
            });
            multiples.extend(row);
        });
        // `to_affine` gives the last row first.
        let mut entries = vec![NEUTRAL; Self::ENTRIES].into_boxed_slice();
        to_affine(&multiples, |index, x, y| {
            let (row, multiple) = (ROWS - 1 - index / (Self::ROW - 1), index % (Self::ROW - 1) + 1);
            if let Some(entry) = entries.get_mut(row * Self::ROW + multiple) {
                *entry = Entry::of(Affine { x, y }.addend(twice_d));
            }
        });
        Self { entries }
    }

    /// The digits of a scalar below the group's order, one for each row.
    pub(super) fn digits(scalar: &[u8; 32]) -> [i16; ROWS] {
        const { assert!(WIDTH * ROWS >= 253) };
        digits::<WIDTH, ROWS>(scalar)
    }

    /// |digit| · 2^(WIDTH · row) · P.
    #[inline(always)]
    fn find(&self, row: usize, digit: i16) -> &Entry {
        let place = row * Self::ROW + usize::from(digit.unsigned_abs());
        self.entries.get(place).unwrap_or(&NEUTRAL) // a digit stays within its row
    }
}

/// What the table of one lane has for its digit.
#[derive(Clone, Copy)]
struct Found<'a> {
    sum: &'a [u64; 4],
    difference: &'a [u64; 4],
    product: &'a [u64; 4],
    negative: bool,
}

impl<'a> Found<'a> {
    const NEUTRAL: Self = Self::of(&NEUTRAL, false);

    #[inline(always)]
    const fn of(entry: &'a Entry, negative: bool) -> Self {
        let Entry { sums: [sum, difference], product } = entry;
        // −(x, y) is (−x, y): the sums change places, and the product its sign.
        let (sum, difference) = if negative { (difference, sum) } else { (sum, difference) };
        Self { sum, difference, product, negative }
    }
}

/// digit · 2^(WIDTH · row) · P from the tables of `N` lanes. Beyond the last row the digit is 0.
#[inline(always)]
pub(super) fn look_up<'a, F: Side<N>, const N: usize, const WIDTH: usize, const ROWS: usize>(
    table: impl Fn(usize) -> &'a Rows<WIDTH, ROWS>,
    row: impl Fn(usize) -> usize,
    digit: impl Fn(usize) -> i16,
) -> Addend<F> {
    let mut found = [Found::NEUTRAL; N];
    for (lane, found) in found.iter_mut().enumerate() {
        let digit = digit(lane);
        *found = Found::of(table(lane).find(row(lane), digit), digit < 0);
    }
    let at = |lane: usize| found.get(lane).unwrap_or(&Found::NEUTRAL);
    Addend {
        sum: F::unpack(|lane| at(lane).sum),
        difference: F::unpack(|lane| at(lane).difference),
        product: F::unpack(|lane| at(lane).product).negate_where(|lane| at(lane).negative),
    }
}

impl Entry {
    fn of(addend: Addend<Element>) -> Self {
        Self { sums: [addend.sum.spell(), addend.difference.spell()], product: addend.product.spell() }
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
    use curve25519_dalek::edwards::EdwardsPoint;
    use curve25519_dalek::scalar::Scalar;

    use super::super::field::Field as _;
    use super::*;

    fn check<const WIDTH: usize, const ROWS: usize>(point: EdwardsPoint) {
        let rows = Rows::<WIDTH, ROWS>::new(Affine::decompress(point.compress().as_bytes()).unwrap());
        let half = 1 << (WIDTH - 1);
        let mut of_row = point;
        for row in 0..ROWS {
            for digit in [0, 1, 2, half - 1, half, -1, -half] {
                let added = Point::neutral().add(&look_up::<Element, 1, _, _>(|_| &rows, |_| row, |_| digit));
                let times = Scalar::from(u64::from(digit.unsigned_abs()));
                let expected = of_row * if digit < 0 { -times } else { times };
                let expected = Affine::decompress(expected.compress().as_bytes()).unwrap();
                let inverse = added.z.invert();
                assert_eq!(added.x.mul(inverse).spell(), expected.x.spell(), "row {row}, digit {digit}");
                assert_eq!(added.y.mul(inverse).spell(), expected.y.spell(), "row {row}, digit {digit}");
            }
            of_row = (0..WIDTH).fold(of_row, |point, _| point + point);
        }
    }

    #[test]
    fn a_row_holds_the_multiples_of_its_power() {
        check::<4, 64>(ED25519_BASEPOINT_POINT);
        check::<8, 32>(ED25519_BASEPOINT_POINT * Scalar::from(77_u64));
    }

    #[test]
    fn a_point_with_a_small_component_keeps_it() {
        for torsion in EIGHT_TORSION {
            // Negative multiples of a point that is not of prime order are those of its negative.
            let rows = Rows::<4, 64>::new(
                Affine::decompress((ED25519_BASEPOINT_POINT + torsion).compress().as_bytes()).unwrap(),
            );
            let added = Point::neutral().add(&look_up::<Element, 1, _, _>(|_| &rows, |_| 0, |_| -3));
            let expected = -(ED25519_BASEPOINT_POINT + torsion) * Scalar::from(3_u64);
            let expected = Affine::decompress(expected.compress().as_bytes()).unwrap();
            assert_eq!(added.x.mul(added.z.invert()).spell(), expected.x.spell());
            assert_eq!(added.y.mul(added.z.invert()).spell(), expected.y.spell());
        }
    }

    #[test]
    fn only_ed25519_keys_are_prepared() {
        let key = PublicKey::from_ed25519_bytes(ED25519_BASEPOINT_POINT.compress().as_bytes()).unwrap();

        let table = Table::new(&key).unwrap();

        assert_eq!(table.key(), &key);
        assert_eq!(Table::BYTES, 32 * 129 * 96);
        assert!(format!("{table:?}").starts_with("Table("));
    }
}
