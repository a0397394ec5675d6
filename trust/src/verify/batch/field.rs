//! The field of 2²⁵⁵ − 19, for verification: public data only, and not constant-time.
//!
//! Portable: five limbs of 51 bits in 64. Products come out carried; a sum or a difference of two
//! products may go into the next product as it is, which is what the formulas of [`super::point`] do.

/// What the curve's formulas need of a field, or of several side by side.
///
/// A *product* is what a multiplication gives, and zero and one. Sums and differences are not carried: what each
/// function takes is what the formulas hand it, and no more.
pub(super) trait Field: Copy {
    /// Zero.
    fn zero() -> Self;
    /// One.
    fn one() -> Self;

    /// The product, carried, of a product plus or minus at most two products and a product plus or minus one.
    fn mul(self, by: Self) -> Self;
    /// The square, carried, of a product plus or minus one product.
    fn square(self) -> Self;
    /// The sum of two products; of up to five, and the differences among them, where [`Self::carry`] follows.
    fn add(self, other: Self) -> Self;
    /// The difference of a product, or a sum of two, and a product.
    fn sub(self, other: Self) -> Self;
    /// A sum or a difference of at most five products as a product: carried, without a multiplication.
    fn carry(self) -> Self;

    /// Raises to 2²⁵⁰ − 1 and to 11: where the two exponentiations that follow begin.
    #[inline(always)]
    fn pow_2_250_1(self) -> (Self, Self) {
        let squared = self.square();
        let nine = squares(squared, 2).mul(self);
        let eleven = squared.mul(nine);
        let five = eleven.square().mul(nine); // 2⁵ − 1
        let ten = squares(five, 5).mul(five);
        let twenty = squares(ten, 10).mul(ten);
        let forty = squares(twenty, 20).mul(twenty);
        let fifty = squares(forty, 10).mul(ten);
        let hundred = squares(fifty, 50).mul(fifty);
        let two_hundred = squares(hundred, 100).mul(hundred);
        (squares(two_hundred, 50).mul(fifty), eleven)
    }

    /// The inverse of a product, by Fermat: to the power of p − 2 = 2²⁵⁵ − 21. Zero stays zero.
    #[inline(always)]
    fn invert(self) -> Self {
        let (long, eleven) = self.pow_2_250_1();
        squares(long, 5).mul(eleven)
    }

    /// Raises to (p − 5) / 8 = 2²⁵² − 3, from which square roots are had (RFC 8032 §5.1.3).
    #[inline(always)]
    fn pow_p58(self) -> Self {
        let (long, _) = self.pow_2_250_1();
        squares(long, 2).mul(self)
    }
}

/// `N` elements side by side, of which each step is done to all.
pub(super) trait Side<const N: usize>: Field {
    /// Elements from four little-endian words each, below 2²⁵⁵: products.
    fn unpack<'a>(words: impl Fn(usize) -> &'a [u64; 4]) -> Self;
    /// −self where it is said so, of a product; without a branch, because digits have signs like coins.
    fn negate_where(self, negative: impl Fn(usize) -> bool) -> Self;
    /// In each lane what that lane of another has.
    fn pick<'a>(from: impl Fn(usize) -> &'a Self) -> Self
    where
        Self: 'a;
    /// The one spelling below p of each, of products.
    fn pack(self) -> [[u64; 4]; N];
}

/// Whether each lane does what the portable field does, step by step on some fixed elements: asked once of instructions
/// that few processors have, before they decide anything.
#[inline(always)]
pub(super) fn agrees<F: Side<N>, const N: usize>() -> bool {
    const ROUNDS: u64 = 16;
    // Weyl's sequence on the golden ratio: no two words alike, every bit in use.
    let word = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.rotate_left(17);
    let words = |seed: u64| -> [[u64; 4]; N] {
        std::array::from_fn(|lane| std::array::from_fn(|part| word(seed ^ u64_of(lane) << 8 ^ u64_of(part) << 16)))
    };
    let below = |words: [[u64; 4]; N]| words.map(|[w0, w1, w2, w3]| [w0, w1, w2, w3 & u64::MAX >> 1]);
    let is_negative = |lane: usize| lane.is_multiple_of(3);
    let start = below(words(1));
    let mut together = F::unpack(|lane| start.get(lane).unwrap_or(&[0; 4]));
    let mut alone = start.map(|words| Element::read(&words));
    // A loop and no closure: closures are compiled for any processor.
    for round in 2..2 + ROUNDS {
        // Each lane is left out once in five rounds, and never two rounds running.
        let is_picked = |lane: usize| !(u64_of(lane) + round).is_multiple_of(5);
        let next = below(words(round));
        let other = F::unpack(|lane| next.get(lane).unwrap_or(&[0; 4]));
        let product = together.sub(other).mul(together.add(other).square()).negate_where(is_negative).mul(other);
        let carried = together.sub(other).carry();
        together = F::pick(|lane| if is_picked(lane) { &product } else { &carried });
        for (lane, (element, words)) in alone.iter_mut().zip(&next).enumerate() {
            let other = Element::read(words);
            let product = element.sub(other).mul(element.add(other).square());
            let product = product.negate_where(|_| is_negative(lane)).mul(other);
            *element = if is_picked(lane) { product } else { element.sub(other).carry() };
        }
        if together.pack() != alone.map(Element::spell) {
            return false;
        }
    }
    true
}

#[expect(clippy::as_conversions, reason = "a lane's number is small")]
const fn u64_of(number: usize) -> u64 {
    number as u64
}

/// Squares `times` times.
#[inline(always)]
fn squares<F: Field>(of: F, times: u32) -> F {
    let mut value = of;
    for _ in 0..times {
        value = value.square();
    }
    value
}

/// One element: Σ limbs[i] · 2^(51 i), each limb below 2⁵⁴.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element([u64; 5]);

const BITS: u32 = 51;
const LOW: u64 = (1 << BITS) - 1;
/// Twice p, limb by limb: what is added before a subtraction, so that no limb falls below zero.
const TWICE_P: [u64; 5] = [2 * (LOW - 18), 2 * LOW, 2 * LOW, 2 * LOW, 2 * LOW];

impl Field for Element {
    fn zero() -> Self {
        Self([0; 5])
    }

    fn one() -> Self {
        Self([1, 0, 0, 0, 0])
    }

    #[inline(always)]
    fn mul(self, by: Self) -> Self {
        let [a0, a1, a2, a3, a4] = self.0;
        let [b0, b1, b2, b3, b4] = by.0;
        // 2²⁵⁵ is 19: what would stand above the fifth limb comes back from below, times 19.
        let [b1r, b2r, b3r, b4r] = [nineteen(b1), nineteen(b2), nineteen(b3), nineteen(b4)];
        carried([
            sum([wide(a0, b0), wide(a4, b1r), wide(a3, b2r), wide(a2, b3r), wide(a1, b4r)]),
            sum([wide(a1, b0), wide(a0, b1), wide(a4, b2r), wide(a3, b3r), wide(a2, b4r)]),
            sum([wide(a2, b0), wide(a1, b1), wide(a0, b2), wide(a4, b3r), wide(a3, b4r)]),
            sum([wide(a3, b0), wide(a2, b1), wide(a1, b2), wide(a0, b3), wide(a4, b4r)]),
            sum([wide(a4, b0), wide(a3, b1), wide(a2, b2), wide(a1, b3), wide(a0, b4)]),
        ])
    }

    #[inline(always)]
    fn square(self) -> Self {
        let [a0, a1, a2, a3, a4] = self.0;
        let [a3r, a4r] = [nineteen(a3), nineteen(a4)];
        let [a0d, a1d, a2d] = [a0 << 1, a1 << 1, a2 << 1];
        carried([
            sum([wide(a0, a0), wide(a1d, a4r), wide(a2d, a3r)]),
            sum([wide(a0d, a1), wide(a2d, a4r), wide(a3, a3r)]),
            sum([wide(a0d, a2), wide(a1, a1), wide(a3 << 1, a4r)]),
            sum([wide(a0d, a3), wide(a1d, a2), wide(a4, a4r)]),
            sum([wide(a0d, a4), wide(a1d, a3), wide(a2, a2)]),
        ])
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let ([a0, a1, a2, a3, a4], [b0, b1, b2, b3, b4]) = (self.0, other.0);
        let plus = u64::wrapping_add;
        Self([plus(a0, b0), plus(a1, b1), plus(a2, b2), plus(a3, b3), plus(a4, b4)])
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        let [b0, b1, b2, b3, b4] = other.0;
        let [p0, p1, p2, p3, p4] = TWICE_P;
        let minus = u64::wrapping_sub;
        self.add(Self([minus(p0, b0), minus(p1, b1), minus(p2, b2), minus(p3, b3), minus(p4, b4)]))
    }

    #[inline(always)]
    fn carry(self) -> Self {
        Self(carry_narrow(self.0))
    }
}

impl Side<1> for Element {
    #[inline(always)]
    fn unpack<'a>(words: impl Fn(usize) -> &'a [u64; 4]) -> Self {
        Self::read(words(0))
    }

    #[inline(always)]
    fn negate_where(self, negative: impl Fn(usize) -> bool) -> Self {
        let mask = u64::from(negative(0)).wrapping_neg();
        let ([a0, a1, a2, a3, a4], [b0, b1, b2, b3, b4]) = (self.0, self.negate().0);
        let choose = |a: u64, b: u64| a ^ (a ^ b) & mask;
        Self([choose(a0, b0), choose(a1, b1), choose(a2, b2), choose(a3, b3), choose(a4, b4)])
    }

    #[inline(always)]
    fn pick<'a>(from: impl Fn(usize) -> &'a Self) -> Self {
        *from(0)
    }

    fn pack(self) -> [[u64; 4]; 1] {
        [self.spell()]
    }
}

impl Element {
    /// An element from limbs of 51 bits, each a little more at most.
    pub(super) const fn from_limbs(limbs: [u64; 5]) -> Self {
        Self(limbs)
    }

    /// The element of a small number.
    pub(super) const fn small(number: u32) -> Self {
        Self([u32_as_u64(number), 0, 0, 0, 0])
    }

    /// −self, of a product.
    #[inline(always)]
    pub(super) fn negate(self) -> Self {
        Self::zero().sub(self)
    }

    /// Four little-endian words below 2²⁵⁵, of which bit 255 is ignored.
    #[inline(always)]
    pub(super) const fn read(words: &[u64; 4]) -> Self {
        let [w0, w1, w2, w3] = *words;
        Self([
            w0 & LOW,
            (w0 >> 51 | w1 << 13) & LOW,
            (w1 >> 38 | w2 << 26) & LOW,
            (w2 >> 25 | w3 << 39) & LOW,
            w3 >> 12 & LOW,
        ])
    }

    /// The one spelling below p, in four little-endian words.
    pub(super) fn spell(self) -> [u64; 4] {
        // Carried twice, every limb is within 51 bits and the value below 2p.
        let [l0, l1, l2, l3, l4] = carry_narrow(carry_narrow(self.0));
        // Adding 19 carries out of bit 255 exactly when the value is p or more.
        let mut excess = (l0 + 19) >> BITS;
        excess = (l1 + excess) >> BITS;
        excess = (l2 + excess) >> BITS;
        excess = (l3 + excess) >> BITS;
        excess = (l4 + excess) >> BITS;
        let [l0, l1, l2, l3, l4] = carry_up([l0 + 19 * excess, l1, l2, l3, l4]);
        let l4 = l4 & LOW;
        [l0 | l1 << 51, l1 >> 13 | l2 << 38, l2 >> 26 | l3 << 25, l3 >> 39 | l4 << 12]
    }
}

#[inline(always)]
const fn nineteen(limb: u64) -> u64 {
    limb.wrapping_mul(19)
}

/// The whole product of two limbs.
#[inline(always)]
fn wide(a: u64, b: u64) -> u128 {
    u128::from(a).wrapping_mul(u128::from(b))
}

/// A sum of products of limbs below 2⁵⁴, which no sum of five lets overflow.
#[inline(always)]
fn sum<const N: usize>(products: [u128; N]) -> u128 {
    products.into_iter().fold(0, u128::wrapping_add)
}

/// Carries sums of products into limbs of 51 bits, the second of them at most a little more.
#[inline(always)]
fn carried(sums: [u128; 5]) -> Element {
    let [s0, s1, s2, s3, s4] = sums;
    let s1 = s1.wrapping_add(s0 >> BITS);
    let s2 = s2.wrapping_add(s1 >> BITS);
    let s3 = s3.wrapping_add(s2 >> BITS);
    let s4 = s4.wrapping_add(s3 >> BITS);
    let top = nineteen(low(s4 >> BITS));
    let l0 = (low(s0) & LOW).wrapping_add(top);
    let l1 = (low(s1) & LOW).wrapping_add(l0 >> BITS);
    Element([l0 & LOW, l1, low(s2) & LOW, low(s3) & LOW, low(s4) & LOW])
}

/// One round of carries, from the top into the bottom, too.
fn carry_narrow(limbs: [u64; 5]) -> [u64; 5] {
    let [l0, l1, l2, l3, l4] = carry_up(limbs);
    [l0 + 19 * (l4 >> BITS), l1, l2, l3, l4 & LOW]
}

/// Carries from each limb into the next one.
fn carry_up(limbs: [u64; 5]) -> [u64; 5] {
    let [l0, l1, l2, l3, l4] = limbs;
    let l1 = l1 + (l0 >> BITS);
    let l2 = l2 + (l1 >> BITS);
    let l3 = l3 + (l2 >> BITS);
    let l4 = l4 + (l3 >> BITS);
    [l0 & LOW, l1 & LOW, l2 & LOW, l3 & LOW, l4]
}

/// The lower half.
#[inline(always)]
#[expect(clippy::as_conversions, reason = "cutting is what is meant; try_from with a mask costs a branch per limb")]
pub(super) const fn low(value: u128) -> u64 {
    value as u64
}

#[expect(clippy::as_conversions, reason = "u64::from is not const")]
const fn u32_as_u64(number: u32) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests;
