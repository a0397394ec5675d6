//! The field in ten limbs of 26 and 25 bits, several elements side by side: for vectors that multiply 32 bits.

use super::field::{Element, Field, Side};
use super::lanes::{Halves, lane_of};

/// Elements: Σ limbs[i] · 2^⌈25.5 i⌉ in each lane.
///
/// Even limbs of a product are below 2²⁶, odd ones below 2²⁵ + 2¹²; `V` is the vector. That no chain of the formulas
/// makes longer ones than the multiplication takes is a test of [`super::unprepared`].
#[derive(Clone, Copy)]
pub(super) struct Tenfold<V, const N: usize>([V; 10]);

const EVEN: i32 = 26;
const ODD: i32 = 25;
/// The limbs of twice p: added before a subtraction, so that no limb falls below zero.
const TWICE_P_FIRST: u64 = TWICE_P_EVEN - 36;
const TWICE_P_EVEN: u64 = 2 * ((1 << EVEN) - 1);
const TWICE_P_ODD: u64 = 2 * ((1 << ODD) - 1);

impl<V: Halves<N>, const N: usize> Tenfold<V, N> {
    #[inline(always)]
    fn zip(self, other: Self, step: impl Fn(V, V) -> V) -> Self {
        let ([a0, a1, a2, a3, a4, a5, a6, a7, a8, a9], [b0, b1, b2, b3, b4, b5, b6, b7, b8, b9]) = (self.0, other.0);
        Self([
            step(a0, b0),
            step(a1, b1),
            step(a2, b2),
            step(a3, b3),
            step(a4, b4),
            step(a5, b5),
            step(a6, b6),
            step(a7, b7),
            step(a8, b8),
            step(a9, b9),
        ])
    }
}

/// Sums of products, carried into limbs.
#[inline(always)]
fn carried<V: Halves<N>, const N: usize>(sums: [V; 10]) -> [V; 10] {
    let (low_even, low_odd) = (V::splat((1 << EVEN) - 1), V::splat((1 << ODD) - 1));
    let [s0, s1, s2, s3, s4, s5, s6, s7, s8, s9] = sums;
    // Two chains that do not wait for each other: from limb 0 and from limb 4.
    let s1 = s1.add(s0.shift_down::<EVEN>());
    let s5 = s5.add(s4.shift_down::<EVEN>());
    let s2 = s2.add(s1.shift_down::<ODD>());
    let s6 = s6.add(s5.shift_down::<ODD>());
    let s3 = s3.add(s2.shift_down::<EVEN>());
    let s7 = s7.add(s6.shift_down::<EVEN>());
    let l4 = s4.and(low_even).add(s3.shift_down::<ODD>());
    let s8 = s8.add(s7.shift_down::<ODD>());
    let s9 = s9.add(s8.shift_down::<EVEN>());
    // 2²⁵⁵ is 19, and 19 is 16 + 2 + 1: what is carried here may be longer than a half.
    let top = s9.shift_down::<ODD>();
    let l0 = s0.and(low_even).add(top.shift_up::<4>()).add(top.shift_up::<1>()).add(top);
    [
        l0.and(low_even),
        s1.and(low_odd).add(l0.shift_down::<EVEN>()),
        s2.and(low_even),
        s3.and(low_odd),
        l4.and(low_even),
        s5.and(low_odd).add(l4.shift_down::<EVEN>()),
        s6.and(low_even),
        s7.and(low_odd),
        s8.and(low_even),
        s9.and(low_odd),
    ]
}

/// The sum of at most ten products of halves.
#[inline(always)]
fn sum<V: Halves<N>, const N: usize, const TERMS: usize>(terms: [(V, V); TERMS]) -> V {
    let mut total = V::splat(0);
    for (f, g) in terms {
        total = total.add(f.multiply(g));
    }
    total
}

/// The limbs of a product. Of the first factor's even limbs each may reach 2²⁸, and 19 times one of the second's stays below 2³².
#[inline(always)]
pub(super) fn product<V: Halves<N>, const N: usize>(f: &[V; 10], g: &[V; 10]) -> [V; 10] {
    let [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9] = *f;
    let [g0, g1, g2, g3, g4, g5, g6, g7, g8, g9] = *g;
    // Two odd limbs meet half a bit too low, each: their product counts twice.
    let d1 = f1.add(f1);
    let d3 = f3.add(f3);
    let d5 = f5.add(f5);
    let d7 = f7.add(f7);
    let d9 = f9.add(f9);
    let nineteen = V::splat(19);
    let r1 = g1.multiply(nineteen);
    let r2 = g2.multiply(nineteen);
    let r3 = g3.multiply(nineteen);
    let r4 = g4.multiply(nineteen);
    let r5 = g5.multiply(nineteen);
    let r6 = g6.multiply(nineteen);
    let r7 = g7.multiply(nineteen);
    let r8 = g8.multiply(nineteen);
    let r9 = g9.multiply(nineteen);
    carried([
        sum([(f0, g0), (d1, r9), (f2, r8), (d3, r7), (f4, r6), (d5, r5), (f6, r4), (d7, r3), (f8, r2), (d9, r1)]),
        sum([(f0, g1), (f1, g0), (f2, r9), (f3, r8), (f4, r7), (f5, r6), (f6, r5), (f7, r4), (f8, r3), (f9, r2)]),
        sum([(f0, g2), (d1, g1), (f2, g0), (d3, r9), (f4, r8), (d5, r7), (f6, r6), (d7, r5), (f8, r4), (d9, r3)]),
        sum([(f0, g3), (f1, g2), (f2, g1), (f3, g0), (f4, r9), (f5, r8), (f6, r7), (f7, r6), (f8, r5), (f9, r4)]),
        sum([(f0, g4), (d1, g3), (f2, g2), (d3, g1), (f4, g0), (d5, r9), (f6, r8), (d7, r7), (f8, r6), (d9, r5)]),
        sum([(f0, g5), (f1, g4), (f2, g3), (f3, g2), (f4, g1), (f5, g0), (f6, r9), (f7, r8), (f8, r7), (f9, r6)]),
        sum([(f0, g6), (d1, g5), (f2, g4), (d3, g3), (f4, g2), (d5, g1), (f6, g0), (d7, r9), (f8, r8), (d9, r7)]),
        sum([(f0, g7), (f1, g6), (f2, g5), (f3, g4), (f4, g3), (f5, g2), (f6, g1), (f7, g0), (f8, r9), (f9, r8)]),
        sum([(f0, g8), (d1, g7), (f2, g6), (d3, g5), (f4, g4), (d5, g3), (f6, g2), (d7, g1), (f8, g0), (d9, r9)]),
        sum([(f0, g9), (f1, g8), (f2, g7), (f3, g6), (f4, g5), (f5, g4), (f6, g3), (f7, g2), (f8, g1), (f9, g0)]),
    ])
}

/// The limbs of a square; an even limb may reach 2²⁷.
#[inline(always)]
pub(super) fn square<V: Halves<N>, const N: usize>(f: &[V; 10]) -> [V; 10] {
    let [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9] = *f;
    let d0 = f0.add(f0);
    let d1 = f1.add(f1);
    let d2 = f2.add(f2);
    let d3 = f3.add(f3);
    let d4 = f4.add(f4);
    let d5 = f5.add(f5);
    let d6 = f6.add(f6);
    let d7 = f7.add(f7);
    let d8 = f8.add(f8);
    let d9 = f9.add(f9);
    let q1 = d1.add(d1);
    let q3 = d3.add(d3);
    let q5 = d5.add(d5);
    let q7 = d7.add(d7);
    let nineteen = V::splat(19);
    let r5 = f5.multiply(nineteen);
    let r6 = f6.multiply(nineteen);
    let r7 = f7.multiply(nineteen);
    let r8 = f8.multiply(nineteen);
    let r9 = f9.multiply(nineteen);
    carried([
        sum([(f0, f0), (q1, r9), (d2, r8), (q3, r7), (d4, r6), (d5, r5)]),
        sum([(d0, f1), (d2, r9), (d3, r8), (d4, r7), (d5, r6)]),
        sum([(d0, f2), (d1, f1), (q3, r9), (d4, r8), (q5, r7), (f6, r6)]),
        sum([(d0, f3), (d1, f2), (d4, r9), (d5, r8), (d6, r7)]),
        sum([(d0, f4), (q1, f3), (f2, f2), (q5, r9), (d6, r8), (d7, r7)]),
        sum([(d0, f5), (d1, f4), (d2, f3), (d6, r9), (d7, r8)]),
        sum([(d0, f6), (q1, f5), (d2, f4), (d3, f3), (q7, r9), (f8, r8)]),
        sum([(d0, f7), (d1, f6), (d2, f5), (d3, f4), (d8, r9)]),
        sum([(d0, f8), (q1, f7), (d2, f6), (q3, f5), (f4, f4), (d9, r9)]),
        sum([(d0, f9), (d1, f8), (d2, f7), (d3, f6), (d4, f5)]),
    ])
}

impl<V: Halves<N>, const N: usize> Field for Tenfold<V, N> {
    #[inline(always)]
    fn zero() -> Self {
        Self([V::splat(0); 10])
    }

    #[inline(always)]
    fn one() -> Self {
        let (one, zero) = (V::splat(1), V::splat(0));
        Self([one, zero, zero, zero, zero, zero, zero, zero, zero, zero])
    }

    #[inline(always)]
    fn mul(self, by: Self) -> Self {
        Self(V::product(&self.0, &by.0))
    }

    #[inline(always)]
    fn square(self) -> Self {
        Self(V::square(&self.0))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, V::add)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        let (first, even, odd) = (V::splat(TWICE_P_FIRST), V::splat(TWICE_P_EVEN), V::splat(TWICE_P_ODD));
        self.add(Self([first, odd, even, odd, even, odd, even, odd, even, odd]).zip(other, V::sub))
    }

    #[inline(always)]
    fn carry(self) -> Self {
        Self(carried(self.0))
    }
}

impl<V: Halves<N>, const N: usize> Side<N> for Tenfold<V, N> {
    #[inline(always)]
    fn unpack<'a>(words: impl Fn(usize) -> &'a [u64; 4]) -> Self {
        let w0 = V::gather(|lane| words(lane)[0]);
        let w1 = V::gather(|lane| words(lane)[1]);
        let w2 = V::gather(|lane| words(lane)[2]);
        let w3 = V::gather(|lane| words(lane)[3]);
        let (even, odd) = (V::splat((1 << EVEN) - 1), V::splat((1 << ODD) - 1));
        // Limb i begins at bit 0, 26, 51, 77, 102, 128, 153, 179, 204, 230; where a word ends inside, the two parts
        // have no bit in common and are put together by the addition.
        let l2 = w0.shift_down::<51>().add(w1.shift_up::<13>().and(even));
        let l4 = w1.shift_down::<38>();
        let l7 = w2.shift_down::<51>().add(w3.shift_up::<13>().and(odd));
        Self([
            w0.and(even),
            w0.shift_down::<26>().and(odd),
            l2.and(even),
            w1.shift_down::<13>().and(odd),
            l4.and(even),
            w2.and(odd),
            w2.shift_down::<25>().and(even),
            l7.and(odd),
            w3.shift_down::<12>().and(even),
            w3.shift_down::<38>().and(odd),
        ])
    }

    #[inline(always)]
    fn negate_where(self, negative: impl Fn(usize) -> bool) -> Self {
        let mask = V::gather(|lane| u64::from(negative(lane)).wrapping_neg());
        self.zip(Self::zero().sub(self), |limb, negated| limb.xor(limb.xor(negated).and(mask)))
    }

    #[inline(always)]
    fn pick<'a>(from: impl Fn(usize) -> &'a Self) -> Self
    where
        Self: 'a,
    {
        Self([
            V::gather(|lane| lane_of(&from(lane).0[0], lane)),
            V::gather(|lane| lane_of(&from(lane).0[1], lane)),
            V::gather(|lane| lane_of(&from(lane).0[2], lane)),
            V::gather(|lane| lane_of(&from(lane).0[3], lane)),
            V::gather(|lane| lane_of(&from(lane).0[4], lane)),
            V::gather(|lane| lane_of(&from(lane).0[5], lane)),
            V::gather(|lane| lane_of(&from(lane).0[6], lane)),
            V::gather(|lane| lane_of(&from(lane).0[7], lane)),
            V::gather(|lane| lane_of(&from(lane).0[8], lane)),
            V::gather(|lane| lane_of(&from(lane).0[9], lane)),
        ])
    }

    #[inline(always)]
    fn pack(self) -> [[u64; 4]; N] {
        let [l0, l1, l2, l3, l4, l5, l6, l7, l8, l9] = self.0;
        // Two limbs of 26 and 25 bits are one of 51.
        let m0 = l0.add(l1.shift_up::<EVEN>()).words();
        let m1 = l2.add(l3.shift_up::<EVEN>()).words();
        let m2 = l4.add(l5.shift_up::<EVEN>()).words();
        let m3 = l6.add(l7.shift_up::<EVEN>()).words();
        let m4 = l8.add(l9.shift_up::<EVEN>()).words();
        let mut spelled = [[0; 4]; N];
        let lanes = spelled.iter_mut().zip(m0).zip(m1).zip(m2).zip(m3).zip(m4);
        for (((((spelled, m0), m1), m2), m3), m4) in lanes {
            *spelled = Element::from_limbs([m0, m1, m2, m3, m4]).spell();
        }
        spelled
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::lanes::tests::Words;
    use super::*;

    type Two = Tenfold<Words<2>, 2>;

    fn word() -> impl Strategy<Value = u64> {
        prop_oneof![any::<u64>(), Just(0), Just(u64::MAX)]
    }

    fn words() -> impl Strategy<Value = [u64; 4]> {
        [word(), word(), word(), word()].prop_map(|[a, b, c, d]| [a, b, c, d & u64::MAX >> 1])
    }

    /// The most that the formulas hand to a product: no sum and no half may overflow, which [`Words`] watches.
    #[test]
    fn the_longest_limbs_that_the_formulas_make_multiply_right() {
        let most = [u64::MAX, u64::MAX, u64::MAX, u64::MAX >> 1];
        let (top, one) = (Two::unpack(|_| &most), Element::read(&most));
        let longest = |a: Two| a.add(a).sub(Two::zero());
        let (ours, theirs) = (longest(top).mul(top.sub(Two::zero())), one.add(one).mul(one));
        assert_eq!(ours.pack(), [theirs.spell(); 2]);
        let again = longest(ours).mul(ours.sub(Two::zero()));
        assert_eq!(again.pack(), [theirs.add(theirs).mul(theirs).spell(); 2]);
        assert_eq!(top.add(top).square().pack(), [one.add(one).square().spell(); 2]);
        // What a doubling carries: four products and what is added before a difference.
        let carried = top.add(top).add(top.sub(ours)).carry();
        assert_eq!(carried.pack(), [one.add(one).add(one.sub(theirs)).spell(); 2]);
        for (place, limb) in carried.0.iter().enumerate() {
            let bits = if place.is_multiple_of(2) { EVEN } else { ODD };
            assert!(limb.0.iter().all(|word| *word < (1 << bits) + (1 << 10)), "{limb:x?}");
        }
    }

    proptest! {
        #[test]
        fn each_lane_is_the_portable_field(a in [words(), words()], b in [words(), words()], signs in any::<[bool; 2]>()) {
            let side = |words: &[[u64; 4]; 2]| Two::unpack(|lane| &words[lane]);
            let (x, y) = (side(&a), side(&b));
            let each = |step: &dyn Fn(Element, Element) -> Element| {
                std::array::from_fn::<_, 2, _>(|lane| step(Element::read(&a[lane]), Element::read(&b[lane])).spell())
            };

            prop_assert_eq!(x.pack(), each(&|a, _| a));
            prop_assert_eq!(x.mul(y).pack(), each(&Field::mul));
            prop_assert_eq!(x.square().pack(), each(&|a, _| a.square()));
            prop_assert_eq!(x.add(y).pack(), each(&|a, b| a.add(b)));
            prop_assert_eq!(x.sub(y).pack(), each(&|a, b| a.sub(b)));
            prop_assert_eq!(x.sub(y).carry().square().pack(), each(&|a, b| a.sub(b).square()));
            let mixed = Two::pick(|lane| if signs[lane] { &x } else { &y });
            let expected = std::array::from_fn::<_, 2, _>(|lane| Element::read(if signs[lane] { &a[lane] } else { &b[lane] }).spell());
            prop_assert_eq!(mixed.pack(), expected);
            prop_assert_eq!(x.invert().pack(), each(&|a, _| a.invert()));
            let negated = std::array::from_fn::<_, 2, _>(|lane| Element::read(&a[lane]).negate_where(|_| signs[lane]).spell());
            prop_assert_eq!(x.negate_where(|lane| signs[lane]).pack(), negated);
        }
    }
}
