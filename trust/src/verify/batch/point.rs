//! Points of edwards25519 in the two forms that adding from a table needs.
//!
//! The addition is complete (Hisil, Wong, Carter, Dawson 2008, §3.1, for a = −1 and a d that is no
//! square): it knows no exception, neither for equal points nor for those of small order.

use super::field::{Element, Field};

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

    /// Doubles (§3.3): four squares and four products.
    pub(super) fn double(self) -> Self {
        let (a, b) = (self.x.square(), self.y.square());
        let c = self.z.square();
        let sum = self.x.add(self.y).square();
        // −(a + b), a − b and 2c, carried where the next difference wants it.
        let h = a.add(b).mul(F::one());
        let e = h.sub(sum);
        let g = a.sub(b).mul(F::one());
        let f = c.add(c).add(g);
        Self { x: f.mul(e), y: g.mul(h), z: f.mul(g), t: e.mul(h) }
    }
}

/// An affine point, of products.
#[derive(Clone, Copy)]
pub(super) struct Affine {
    pub(super) x: Element,
    pub(super) y: Element,
}

/// d = −121665/121666 (RFC 8032 §5.1).
pub(super) fn curve_d() -> Element {
    Element::small(121_665).negate().mul(Element::small(121_666).invert())
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
        let (words, _) = bytes.as_chunks::<8>();
        let [w0, w1, w2, w3] = *words.first_chunk::<4>()?;
        let words = [w0, w1, w2, w3].map(u64::from_le_bytes);
        let is_negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
        let y = Element::read(&words);
        let squared = y.square();
        let (u, v) = (squared.sub(Element::one()), curve_d().mul(squared).add(Element::one()));
        let v3 = v.square().mul(v);
        let candidate = u.mul(v3).mul(u.mul(v3.square().mul(v)).pow_p58());
        let check = v.mul(candidate.square());
        let x = if check.equals(u) {
            candidate
        } else if check.equals(u.mul(Element::one()).negate()) {
            candidate.mul(root_of_minus_one())
        } else {
            return None;
        };
        let x = if x.is_odd() == is_negative { x } else { x.negate().mul(Element::one()) };
        Some(Self { x, y })
    }

    /// −self.
    pub(super) fn negate(self) -> Self {
        Self { x: self.x.negate().mul(Element::one()), y: self.y }
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

/// 2^((p − 1) / 4), whose square is −1.
fn root_of_minus_one() -> Element {
    // (p − 1) / 4 = 2 · (p − 5) / 8 + 1
    let two = Element::small(2);
    two.pow_p58().square().mul(two)
}

/// The affine coordinates of many points with one inversion between them (Montgomery's trick).
#[inline(always)]
pub(super) fn to_affine<F: Field>(points: &[Point<F>], mut give: impl FnMut(usize, F, F)) {
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
            bytes[31] |= u8::from(x.is_odd()) << 7;
        });
        bytes
    }

    #[test]
    fn adding_and_doubling_know_no_exception() {
        let twice_d = curve_d().add(curve_d()).mul(Element::one());
        for a in samples() {
            let doubled = compressed(ours(&a).extend().double());
            assert_eq!(doubled, (a + a).compress().0);
            for b in samples() {
                let sum = compressed(ours(&a).extend().add(&ours(&b).addend(twice_d)));
                assert_eq!(sum, (a + b).compress().0);
                let difference = compressed(ours(&a).extend().add(&ours(&b).negate().addend(twice_d)));
                assert_eq!(difference, (a - b).compress().0);
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
        let points: Vec<_> = samples().iter().map(|point| ours(point).extend().double()).collect();
        let mut seen = vec![None; points.len()];

        to_affine(&points, |index, x, y| seen[index] = Some((x.spell(), y.spell())));

        for (point, seen) in points.iter().zip(seen) {
            let inverse = point.z.invert();
            assert_eq!(seen, Some((point.x.mul(inverse).spell(), point.y.mul(inverse).spell())));
        }
    }
}
