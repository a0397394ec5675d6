//! The field in five limbs of 51 bits, several elements side by side: for vectors that multiply 52 bits.

use super::field::{Element, Field, Side};
use super::lanes::{FiftyTwo, Lanes, lane_of};

/// Elements: Σ limbs[i] · 2^(51 i) in each lane.
///
/// Every limb is below 2⁵¹ + 2¹⁴, of sums and differences, too: the multiplication reads 52 bits and no more, so
/// whatever may grow is carried at once.
#[derive(Clone, Copy)]
pub(super) struct Fivefold<V, const N: usize>([V; 5]);

const BITS: i32 = 51;
const LOW: u64 = (1 << BITS) - 1;
/// The limbs of twice p: added before a subtraction, so that no limb falls below zero.
const TWICE_P_FIRST: u64 = TWICE_P - 36;
const TWICE_P: u64 = 2 * LOW;

/// 2²⁵⁵ is 19, and 19 is 16 + 2 + 1.
#[inline(always)]
fn nineteen<V: Lanes<N>, const N: usize>(limb: V) -> V {
    limb.shift_up::<4>().add(limb.shift_up::<1>()).add(limb)
}

/// One round of carries, of limbs below 2⁶¹: each is cut to 51 bits and takes what is left of the one below it.
#[inline(always)]
fn carried<V: Lanes<N>, const N: usize>(limbs: [V; 5]) -> [V; 5] {
    let low = V::splat(LOW);
    let [l0, l1, l2, l3, l4] = limbs;
    [
        l0.and(low).add(nineteen(l4.shift_down::<BITS>())),
        l1.and(low).add(l0.shift_down::<BITS>()),
        l2.and(low).add(l1.shift_down::<BITS>()),
        l3.and(low).add(l2.shift_down::<BITS>()),
        l4.and(low).add(l3.shift_down::<BITS>()),
    ]
}

/// The lower and the upper 52 bits of some products, added up.
#[inline(always)]
fn sums<V: FiftyTwo<N>, const N: usize, const TERMS: usize>(terms: [(V, V); TERMS]) -> (V, V) {
    let (mut low, mut high) = (V::splat(0), V::splat(0));
    for (f, g) in terms {
        low = low.add_low_product(f, g);
        high = high.add_high_product(f, g);
    }
    (low, high)
}

/// Nine columns of sums, each the lower and the upper parts of products, folded into five limbs and carried.
///
/// An upper part counts 2⁵², which is two of the next column. A column is below 5 · 2⁵² + 2 · 5 · 2⁵¹ < 2⁵⁶, and with
/// 19 times the one five above it below 2⁶⁰·⁴.
#[inline(always)]
fn folded<V: FiftyTwo<N>, const N: usize>(columns: [(V, V); 9]) -> [V; 5] {
    let [(l0, h0), (l1, h1), (l2, h2), (l3, h3), (l4, h4), (l5, h5), (l6, h6), (l7, h7), (l8, h8)] = columns;
    let next = |low: V, high: V| low.add(high).add(high);
    carried([
        l0.add(nineteen(next(l5, h4))),
        next(l1, h0).add(nineteen(next(l6, h5))),
        next(l2, h1).add(nineteen(next(l7, h6))),
        next(l3, h2).add(nineteen(next(l8, h7))),
        next(l4, h3).add(nineteen(h8.add(h8))),
    ])
}

/// The limbs of a product.
#[inline(always)]
pub(super) fn product<V: FiftyTwo<N>, const N: usize>(f: &[V; 5], g: &[V; 5]) -> [V; 5] {
    let ([f0, f1, f2, f3, f4], [g0, g1, g2, g3, g4]) = (*f, *g);
    folded([
        sums([(f0, g0)]),
        sums([(f0, g1), (f1, g0)]),
        sums([(f0, g2), (f1, g1), (f2, g0)]),
        sums([(f0, g3), (f1, g2), (f2, g1), (f3, g0)]),
        sums([(f0, g4), (f1, g3), (f2, g2), (f3, g1), (f4, g0)]),
        sums([(f1, g4), (f2, g3), (f3, g2), (f4, g1)]),
        sums([(f2, g4), (f3, g3), (f4, g2)]),
        sums([(f3, g4), (f4, g3)]),
        sums([(f4, g4)]),
    ])
}

/// The limbs of a square: what is met twice is added up once and doubled, for a doubled limb would have 53 bits.
#[inline(always)]
pub(super) fn square<V: FiftyTwo<N>, const N: usize>(f: &[V; 5]) -> [V; 5] {
    let [f0, f1, f2, f3, f4] = *f;
    let twice = |(low, high): (V, V)| (low.add(low), high.add(high));
    let and_square = |sums: (V, V), f: V| {
        let (low, high) = twice(sums);
        (low.add_low_product(f, f), high.add_high_product(f, f))
    };
    folded([
        sums([(f0, f0)]),
        twice(sums([(f0, f1)])),
        and_square(sums([(f0, f2)]), f1),
        twice(sums([(f0, f3), (f1, f2)])),
        and_square(sums([(f0, f4), (f1, f3)]), f2),
        twice(sums([(f1, f4), (f2, f3)])),
        and_square(sums([(f2, f4)]), f3),
        twice(sums([(f3, f4)])),
        sums([(f4, f4)]),
    ])
}

impl<V: FiftyTwo<N>, const N: usize> Fivefold<V, N> {
    #[inline(always)]
    fn zip(self, other: Self, step: impl Fn(V, V) -> V) -> [V; 5] {
        let ([a0, a1, a2, a3, a4], [b0, b1, b2, b3, b4]) = (self.0, other.0);
        [step(a0, b0), step(a1, b1), step(a2, b2), step(a3, b3), step(a4, b4)]
    }
}

impl<V: FiftyTwo<N>, const N: usize> Field for Fivefold<V, N> {
    #[inline(always)]
    fn zero() -> Self {
        Self([V::splat(0); 5])
    }

    #[inline(always)]
    fn one() -> Self {
        let (one, zero) = (V::splat(1), V::splat(0));
        Self([one, zero, zero, zero, zero])
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
        Self(carried(self.zip(other, V::add)))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        let (first, rest) = (V::splat(TWICE_P_FIRST), V::splat(TWICE_P));
        let room = Self([first, rest, rest, rest, rest]).zip(other, V::sub);
        Self(carried(self.zip(Self(room), V::add)))
    }

    #[inline(always)]
    fn carry(self) -> Self {
        self // it is
    }
}

impl<V: FiftyTwo<N>, const N: usize> Side<N> for Fivefold<V, N> {
    #[inline(always)]
    fn unpack<'a>(words: impl Fn(usize) -> &'a [u64; 4]) -> Self {
        let w0 = V::gather(|lane| words(lane)[0]);
        let w1 = V::gather(|lane| words(lane)[1]);
        let w2 = V::gather(|lane| words(lane)[2]);
        let w3 = V::gather(|lane| words(lane)[3]);
        let low = V::splat(LOW);
        // Limb i begins at bit 51 i; where a word ends inside, the two parts have no bit in common and are put together
        // by the addition.
        Self([
            w0.and(low),
            w0.shift_down::<51>().add(w1.shift_up::<13>().and(low)),
            w1.shift_down::<38>().add(w2.shift_up::<26>().and(low)),
            w2.shift_down::<25>().add(w3.shift_up::<39>().and(low)),
            w3.shift_down::<12>().and(low),
        ])
    }

    #[inline(always)]
    fn negate_where(self, negative: impl Fn(usize) -> bool) -> Self {
        let mask = V::gather(|lane| u64::from(negative(lane)).wrapping_neg());
        Self(self.zip(Self::zero().sub(self), |limb, negated| limb.xor(limb.xor(negated).and(mask))))
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
        ])
    }

    #[inline(always)]
    fn pack(self) -> [[u64; 4]; N] {
        let [m0, m1, m2, m3, m4] = self.0;
        let mut spelled = [[0; 4]; N];
        let lanes = spelled.iter_mut().zip(m0.words()).zip(m1.words()).zip(m2.words()).zip(m3.words()).zip(m4.words());
        for (((((spelled, m0), m1), m2), m3), m4) in lanes {
            *spelled = Element::from_limbs([m0, m1, m2, m3, m4]).spell();
        }
        spelled
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::field::agrees;
    use super::super::lanes::tests::Words;
    use super::*;

    /// Lanes of which a gathered one comes from its neighbour: what [`Side::pick`] may get wrong and the rest does not show.
    #[derive(Clone, Copy)]
    struct Moved(Two);

    impl Field for Moved {
        fn zero() -> Self {
            Self(Two::zero())
        }
        fn one() -> Self {
            Self(Two::one())
        }
        fn mul(self, by: Self) -> Self {
            Self(self.0.mul(by.0))
        }
        fn square(self) -> Self {
            Self(self.0.square())
        }
        fn add(self, other: Self) -> Self {
            Self(self.0.add(other.0))
        }
        fn sub(self, other: Self) -> Self {
            Self(self.0.sub(other.0))
        }
        fn carry(self) -> Self {
            self
        }
    }

    impl Side<2> for Moved {
        fn unpack<'a>(words: impl Fn(usize) -> &'a [u64; 4]) -> Self {
            Self(Two::unpack(words))
        }
        fn negate_where(self, negative: impl Fn(usize) -> bool) -> Self {
            Self(self.0.negate_where(negative))
        }
        fn pick<'a>(from: impl Fn(usize) -> &'a Self) -> Self {
            Self(Two::pick(|lane| &from(1 - lane).0))
        }
        fn pack(self) -> [[u64; 4]; 2] {
            self.0.pack()
        }
    }

    #[test]
    fn lanes_that_pick_from_others_are_not_believed() {
        assert!(agrees::<Two, 2>());
        assert!(!agrees::<Moved, 2>());
    }

    type Two = Fivefold<Words<2>, 2>;

    fn word() -> impl Strategy<Value = u64> {
        prop_oneof![any::<u64>(), Just(0), Just(u64::MAX), Just(LOW), Just(LOW + 1)]
    }

    fn words() -> impl Strategy<Value = [u64; 4]> {
        [word(), word(), word(), word()].prop_map(|[a, b, c, d]| [a, b, c, d & u64::MAX >> 1])
    }

    /// Whatever the formulas make fits into 52 bits, and no sum overflows: [`Words`] watches both.
    #[test]
    fn the_longest_limbs_multiply_right() {
        let limit = (1 << BITS) + (1 << 14) - 1;
        let longest = Two { 0: [Words([limit; 2]); 5] };
        let one = Element::from_limbs([limit; 5]).mul(Element::one());
        assert_eq!(longest.mul(longest).pack(), [one.mul(one).spell(); 2]);
        assert_eq!(longest.square().pack(), [one.square().spell(); 2]);
        assert_eq!(longest.add(longest).mul(longest).pack(), [one.add(one).mul(one).spell(); 2]);
        assert_eq!(Two::zero().sub(longest).square().pack(), [one.square().spell(); 2]);
        for made in [longest.mul(longest), longest.square(), longest.add(longest), Two::zero().sub(longest)] {
            for limb in made.0 {
                assert!(limb.0.iter().all(|word| *word <= limit), "{limb:x?}");
            }
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
