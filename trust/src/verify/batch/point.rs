//! Points of edwards25519 in the forms that adding and doubling need.
//!
//! The addition is complete (Hisil, Wong, Carter, Dawson 2008, §3.1, for a = −1 and a d that is no
//! square): it knows no exception, neither for equal points nor for those of small order.

use std::sync::LazyLock;

use super::both::Both;
use super::field::{Element, Field, Side};

/// Extended coordinates: x = X/Z, y = Y/Z, xy = T/Z. Of products, so that two may be added.
#[derive(Clone, Copy)]
pub(super) struct Point<F> {
    pub(super) x: F,
    pub(super) y: F,
    pub(super) z: F,
    pub(super) t: F,
}

/// An affine point ready to be added: y + x, y − x and 2dxy.
#[derive(Clone, Copy)]
pub(super) struct Addend<F> {
    pub(super) sum: F,
    pub(super) difference: F,
    pub(super) product: F,
}

impl<F: Field> Point<F> {
    /// The neutral element.
    #[inline(always)]
    pub(super) fn neutral() -> Self {
        Self { x: F::zero(), y: F::one(), z: F::one(), t: F::zero() }
    }

    /// Adds an affine point: seven products.
    #[inline(always)]
    pub(super) fn add(self, other: &Addend<F>) -> Self {
        let a = self.y.sub(self.x).mul(other.difference);
        let b = self.y.add(self.x).mul(other.sum);
        let c = self.t.mul(other.product);
        let d = self.z.add(self.z);
        let (e, f, g, h) = (b.sub(a), d.sub(c), d.add(c), b.add(a));
        // f is the longest of them and comes first.
        Self { x: f.mul(e), y: g.mul(h), z: f.mul(g), t: e.mul(h) }
    }

    /// Adds a point in the form of a multiple: eight products, and those that the form of the sum takes.
    #[inline(always)]
    pub(super) fn add_multiple(self, other: &Multiple<F>) -> Completed<F> {
        let a = self.y.sub(self.x).mul(other.difference);
        let b = self.y.add(self.x).mul(other.sum);
        let c = self.t.mul(other.product);
        let d = self.z.mul(other.z);
        Completed { e: b.sub(a), f: d.sub(c), g: d.add(c), h: b.add(a) }
    }

    /// Doubles.
    #[inline(always)]
    pub(super) fn double(self) -> Completed<F> {
        Projective { x: self.x, y: self.y, z: self.z }.double()
    }

    /// Ready to be added; `twice_d` is 2d.
    #[inline(always)]
    pub(super) fn multiple(self, twice_d: F) -> Multiple<F> {
        Multiple {
            sum: self.y.add(self.x),
            difference: self.y.sub(self.x),
            z: self.z.add(self.z),
            product: self.t.mul(twice_d),
        }
    }
}

/// A point that is ready to be added and not affine: Y + X, Y − X, 2Z and 2dT, of which the first three are sums.
#[derive(Clone, Copy)]
pub(super) struct Multiple<F> {
    pub(super) sum: F,
    pub(super) difference: F,
    pub(super) z: F,
    pub(super) product: F,
}

/// Without T, which only an addition reads.
#[derive(Clone, Copy)]
pub(super) struct Projective<F> {
    x: F,
    y: F,
    z: F,
}

impl<F: Field> Projective<F> {
    /// Doubles (§3.3, with every sign turned): four squares, and the products that the form of the result takes.
    #[inline(always)]
    pub(super) fn double(self) -> Completed<F> {
        let (a, b) = (self.x.square(), self.y.square());
        let c = self.z.square();
        let sum = self.x.add(self.y).square();
        let h = a.add(b);
        let g = a.sub(b);
        // Of five products, so it is carried; e, of three, stays the first factor.
        let f = c.add(c).add(g).carry();
        Completed { e: h.sub(sum), f, g, h }
    }
}

/// What additions and doublings end with, before its products: X = EF, Y = GH, Z = FG, T = EH.
#[derive(Clone, Copy)]
pub(super) struct Completed<F> {
    e: F,
    f: F,
    g: F,
    h: F,
}

impl<F: Field> Completed<F> {
    /// The neutral element.
    #[inline(always)]
    pub(super) fn neutral() -> Self {
        Self { e: F::zero(), f: F::one(), g: F::one(), h: F::one() }
    }

    /// For a doubling: three products.
    #[inline(always)]
    pub(super) fn projective(self) -> Projective<F> {
        Projective { x: self.e.mul(self.f), y: self.g.mul(self.h), z: self.g.mul(self.f) }
    }

    /// For an addition: four.
    #[inline(always)]
    pub(super) fn extend(self) -> Point<F> {
        let Projective { x, y, z } = self.projective();
        Point { x, y, z, t: self.e.mul(self.h) }
    }
}

/// An affine point, of products.
#[derive(Clone, Copy)]
pub(super) struct Affine {
    pub(super) x: Element,
    pub(super) y: Element,
}

/// d = −121665/121666 (RFC 8032 §5.1).
fn curve_d() -> Element {
    Element::small(121_665).negate().mul(Element::small(121_666).invert())
}

/// One, as words.
const ONE: [u64; 4] = [1, 0, 0, 0];

/// What the formulas need to know of the curve, as words.
pub(super) struct Constants {
    d: [u64; 4],
    pub(super) twice_d: [u64; 4],
    /// 2^((p − 1) / 4), whose square is −1.
    root_of_minus_one: [u64; 4],
}

/// Of these there is one.
pub(super) fn constants() -> &'static Constants {
    static CONSTANTS: LazyLock<Constants> = LazyLock::new(|| {
        let d = curve_d();
        let two = Element::small(2);
        Constants {
            d: d.spell(),
            twice_d: d.add(d).spell(),
            // (p − 1) / 4 = 2 · (p − 5) / 8 + 1
            root_of_minus_one: two.pow_p58().square().mul(two).spell(),
        }
    });
    &CONSTANTS
}

/// `N` encodings of points (RFC 8032 §5.1.3) on the way to their coordinates: x² = u / v.
struct Encoded<F, const N: usize> {
    words: [[u64; 4]; N],
    y: F,
    u: F,
    v: F,
    v3: F,
}

/// x and y, products, of the points that `N` encodings name, and which of them do; of one that does not, x is any number.
/// A y of p or more is taken modulo p, and x = 0 with either sign.
pub(super) type Decompressed<F, const N: usize> = (F, F, [bool; N]);

/// Decompresses one encoding for each lane.
#[inline(always)]
pub(super) fn decompress<'a, F: Side<N>, const N: usize>(bytes: impl Fn(usize) -> &'a [u8; 32]) -> Decompressed<F, N> {
    let encoded = Encoded::<F, N>::new(bytes);
    let power = encoded.base().pow_p58();
    encoded.decompressed(power)
}

/// Decompresses two for each lane, in less time than one after the other.
#[inline(always)]
pub(super) fn decompress_both<'a, F: Side<N>, const N: usize>(
    first: impl Fn(usize) -> &'a [u8; 32],
    second: impl Fn(usize) -> &'a [u8; 32],
) -> [Decompressed<F, N>; 2] {
    let (first, second) = (Encoded::<F, N>::new(first), Encoded::<F, N>::new(second));
    let powers = Both(first.base(), second.base()).pow_p58();
    [first.decompressed(powers.0), second.decompressed(powers.1)]
}

impl<F: Side<N>, const N: usize> Encoded<F, N> {
    #[inline(always)]
    fn new<'a>(bytes: impl Fn(usize) -> &'a [u8; 32]) -> Self {
        let mut words = [[0; 4]; N];
        for (lane, words) in words.iter_mut().enumerate() {
            for (word, eight) in words.iter_mut().zip(bytes(lane).as_chunks::<8>().0) {
                *word = u64::from_le_bytes(*eight);
            }
        }
        let y = F::unpack(|lane| words.get(lane).unwrap_or(&ONE));
        let squared = y.square();
        let u = squared.sub(F::one()).carry();
        let v = F::unpack(|_| &constants().d).mul(squared).add(F::one()).carry();
        Self { words, y, u, v, v3: v.square().mul(v) }
    }

    /// u·v⁷, of which the root takes a power.
    #[inline(always)]
    fn base(&self) -> F {
        self.v3.square().mul(self.v).mul(self.u)
    }

    #[inline(always)]
    fn decompressed(self, power: F) -> Decompressed<F, N> {
        let candidate = self.u.mul(self.v3).mul(power);
        let check = self.v.mul(candidate.square());
        // Its square is u / v, or −u / v and has another root, or there is none.
        let (rest, sum) = (check.sub(self.u).carry().pack(), check.add(self.u).carry().pack());
        let mut is_point = [false; N];
        let mut is_root = [false; N];
        for (((is_point, is_root), rest), sum) in is_point.iter_mut().zip(&mut is_root).zip(rest).zip(sum) {
            *is_root = rest == [0; 4];
            *is_point = *is_root || sum == [0; 4];
        }
        let root = &constants().root_of_minus_one;
        let x = candidate.mul(F::unpack(|lane| if is_root.get(lane) == Some(&true) { &ONE } else { root }));
        let mut is_other = [false; N];
        for ((is_other, x), words) in is_other.iter_mut().zip(x.pack()).zip(&self.words) {
            let ([lowest, ..], [.., highest]) = (x, words);
            *is_other = lowest & 1 != highest >> 63;
        }
        (x.negate_where(|lane| is_other.get(lane) == Some(&true)).carry(), self.y, is_point)
    }
}

impl Affine {
    /// The base point B: y = 4/5 and an even x (RFC 8032 §5.1).
    pub(super) fn base() -> Self {
        let mut bytes = [0x66; 32];
        bytes[0] = 0x58;
        // The constant is on the curve: a test compares it.
        Self::decompress(&bytes).unwrap_or(Self { x: Element::zero(), y: Element::one() })
    }

    /// Reads a point that was found to be on the curve before (RFC 8032 §5.1.3); `None` where it is not.
    pub(super) fn decompress(bytes: &[u8; 32]) -> Option<Self> {
        let (x, y, [is_point]) = decompress::<Element, 1>(|_| bytes);
        is_point.then_some(Self { x, y })
    }

    /// −self.
    pub(super) fn negate(self) -> Self {
        Self { x: self.x.negate().carry(), y: self.y }
    }

    /// With Z = 1.
    pub(super) fn extend(self) -> Point<Element> {
        Point { x: self.x, y: self.y, z: Element::one(), t: self.x.mul(self.y) }
    }

    /// Ready to be added; `twice_d` is 2d.
    pub(super) fn addend(self, twice_d: Element) -> Addend<Element> {
        Addend { sum: self.y.add(self.x), difference: self.y.sub(self.x), product: self.x.mul(self.y).mul(twice_d) }
    }
}

/// The affine coordinates of many points with one inversion between them (Montgomery's trick).
#[inline(always)]
pub(super) fn to_affine<F: Field>(points: &[Point<F>], mut give: impl FnMut(usize, F, F)) {
    if points.is_empty() {
        return;
    }
    let mut products = Vec::with_capacity(points.len());
    let mut product = F::one();
    for point in points {
        products.push(product); // of all before this one
        product = product.mul(point.z);
    }
    let mut inverse = product.invert(); // no Z is zero: the addition is complete
    for (index, (point, before)) in points.iter().zip(&products).enumerate().rev() {
        let own = inverse.mul(*before);
        inverse = inverse.mul(point.z);
        give(index, point.x.mul(own), point.y.mul(own));
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
    use curve25519_dalek::edwards::EdwardsPoint;
    use curve25519_dalek::scalar::Scalar;

    use super::*;

    /// Points of every kind: small order, prime order, both mixed.
    fn samples() -> Vec<EdwardsPoint> {
        let bases = (0..6_u64).map(|number| ED25519_BASEPOINT_POINT * Scalar::from(number * number * number));
        bases.flat_map(|base| EIGHT_TORSION.map(|torsion| base + torsion)).collect()
    }

    fn ours(point: &EdwardsPoint) -> Affine {
        Affine::decompress(point.compress().as_bytes()).unwrap()
    }

    fn compressed(point: Point<Element>) -> [u8; 32] {
        let mut bytes = [0; 32];
        to_affine(&[point], |_, x, y| {
            for (eight, word) in bytes.chunks_mut(8).zip(y.spell()) {
                eight.copy_from_slice(&word.to_le_bytes());
            }
            bytes[31] |= u8::from(x.spell()[0] & 1 == 1) << 7;
        });
        bytes
    }

    #[test]
    fn adding_and_doubling_know_no_exception() {
        let twice_d = Element::read(&constants().twice_d);
        for a in samples() {
            let doubled = compressed(ours(&a).extend().double().extend());
            assert_eq!(doubled, (a + a).compress().0);
            for b in samples() {
                let sum = compressed(ours(&a).extend().add(&ours(&b).addend(twice_d)));
                assert_eq!(sum, (a + b).compress().0);
                let difference = compressed(ours(&a).extend().add(&ours(&b).negate().addend(twice_d)));
                assert_eq!(difference, (a - b).compress().0);
                // Of a point with a Z, and of a sum that is doubled before it has a T.
                let multiple = ours(&b).extend().double().extend().multiple(twice_d);
                let sum = ours(&a).extend().add_multiple(&multiple);
                assert_eq!(compressed(sum.extend()), (a + b + b).compress().0);
                let doubled = sum.projective().double().projective().double().extend();
                assert_eq!(compressed(doubled), ((a + b + b) * Scalar::from(4_u64)).compress().0);
            }
        }
        assert_eq!(compressed(Point::neutral()), EIGHT_TORSION[0].compress().0);
    }

    #[test]
    fn the_base_point_is_that_of_the_curve() {
        assert_eq!(compressed(Affine::base().extend()), ED25519_BASEPOINT_POINT.compress().0);
    }

    #[test]
    fn bytes_that_are_no_point_are_refused() {
        let mut refused = 0;
        for low in 0..=255 {
            let mut bytes = [7; 32];
            bytes[0] = low;
            let theirs = curve25519_dalek::edwards::CompressedEdwardsY(bytes).decompress();
            assert_eq!(Affine::decompress(&bytes).is_some(), theirs.is_some(), "{low}");
            refused += u32::from(theirs.is_none());
        }
        assert!((64..192).contains(&refused), "{refused}");
    }

    #[test]
    fn coordinates_of_many_are_those_of_each() {
        let points: Vec<_> = samples().iter().map(|point| ours(point).extend().double().extend()).collect();
        let mut seen = vec![None; points.len()];

        to_affine(&points, |index, x, y| seen[index] = Some((x.spell(), y.spell())));

        for (point, seen) in points.iter().zip(seen) {
            let inverse = point.z.invert();
            assert_eq!(seen, Some((point.x.mul(inverse).spell(), point.y.mul(inverse).spell())));
        }
    }
}
