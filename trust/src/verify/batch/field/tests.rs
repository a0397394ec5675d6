//! The portable field, held against the slow way of schools.

use proptest::prelude::*;

use super::*;

/// p, and numbers around it and around zero, as words.
fn edges() -> Vec<[u64; 4]> {
    let high = [u64::MAX, u64::MAX, u64::MAX >> 1];
    let near_p = (0xed - 3..=0xff_u64).map(|byte| [!0xff | byte, high[0], high[1], high[2]]);
    near_p.chain((0..4).map(|byte| [byte, 0, 0, 0])).collect()
}

/// The number that a word vector stands for, reduced, by the slow way of schools.
fn slow_product(a: &[u64; 4], b: &[u64; 4]) -> [u64; 4] {
    // Schoolbook by bits: double and add, reducing whenever p is reached.
    let mut result = [0; 4];
    for bit in (0..255).rev() {
        result = slow_sum(&result, &result);
        if b[bit / 64] >> (bit % 64) & 1 == 1 {
            result = slow_sum(&result, a);
        }
    }
    result
}

const P: [u64; 4] = [u64::MAX - 18, u64::MAX, u64::MAX, u64::MAX >> 1];

fn slow_sum(a: &[u64; 4], b: &[u64; 4]) -> [u64; 4] {
    let (mut sum, mut carry) = ([0; 4], 0_u128);
    for i in 0..4 {
        let total = u128::from(a[i]) + u128::from(b[i]) + carry;
        sum[i] = low(total);
        carry = total >> 64;
    }
    assert_eq!(carry, 0);
    while sum.iter().rev().ge(P.iter().rev()) {
        let mut borrow = 0_i128;
        for i in 0..4 {
            let total = i128::from(sum[i]) - i128::from(P[i]) + borrow;
            sum[i] = low(total.cast_unsigned());
            borrow = total >> 64;
        }
    }
    sum
}

fn reduced(words: &[u64; 4]) -> [u64; 4] {
    slow_sum(words, &[0; 4])
}

#[test]
fn the_portable_field_agrees_with_itself_and_a_wrong_one_does_not() {
    #[derive(Clone, Copy)]
    struct Wrong(Element);
    impl Field for Wrong {
        fn zero() -> Self {
            Self(Element::zero())
        }
        fn one() -> Self {
            Self(Element::one())
        }
        fn mul(self, by: Self) -> Self {
            Self(self.0.mul(by.0))
        }
        fn square(self) -> Self {
            Self(self.0.square().add(Element::one()))
        }
        fn add(self, other: Self) -> Self {
            Self(self.0.add(other.0))
        }
        fn sub(self, other: Self) -> Self {
            Self(self.0.sub(other.0))
        }
        fn carry(self) -> Self {
            Self(self.0.carry())
        }
    }
    impl Side<1> for Wrong {
        fn unpack<'a>(words: impl Fn(usize) -> &'a [u64; 4]) -> Self {
            Self(Element::unpack(words))
        }
        fn negate_where(self, negative: impl Fn(usize) -> bool) -> Self {
            Self(self.0.negate_where(negative))
        }
        fn pick<'a>(from: impl Fn(usize) -> &'a Self) -> Self {
            *from(0)
        }
        fn pack(self) -> [[u64; 4]; 1] {
            self.0.pack()
        }
    }

    assert!(agrees::<Element, 1>());
    assert!(!agrees::<Wrong, 1>());
}

#[test]
fn every_spelling_near_p_and_zero_packs_to_the_one_below_p() {
    for words in edges() {
        assert_eq!(Element::read(&words).spell(), reduced(&words), "{words:x?}");
    }
}

#[test]
fn the_largest_limbs_that_the_formulas_make_multiply_right() {
    let top = Element::read(&[u64::MAX, u64::MAX, u64::MAX, u64::MAX >> 1]);
    let product = top.mul(top);
    let sums = [product.add(product), product.sub(product), product.add(product).sub(product), top.add(top)];
    for a in sums {
        for b in sums {
            let expected = slow_product(&reduced(&a.spell()), &b.spell());
            assert_eq!(a.mul(b).spell(), expected);
        }
        assert_eq!(a.square().spell(), slow_product(&a.spell(), &a.spell()));
        assert_eq!(a.carry().spell(), a.spell());
        assert!(a.carry().0.iter().all(|limb| *limb < (1 << BITS) + (1 << 10)), "{a:x?}");
    }
}

fn word() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), Just(0), Just(u64::MAX), Just(LOW), Just(LOW + 1)]
}

fn words() -> impl Strategy<Value = [u64; 4]> {
    [word(), word(), word(), word()].prop_map(|[a, b, c, d]| [a, b, c, d & u64::MAX >> 1])
}

proptest! {
    #[test]
    fn it_is_the_field_of_the_slow_way(a in words(), b in words()) {
        let (x, y) = (Element::read(&a), Element::read(&b));
        let (a, b) = (reduced(&a), reduced(&b));
        let one = |element: Element| element.mul(Element::one());

        prop_assert_eq!(x.mul(y).spell(), slow_product(&a, &b));
        prop_assert_eq!(x.square().spell(), slow_product(&a, &a));
        prop_assert_eq!(one(x).add(one(y)).spell(), slow_sum(&a, &b));
        prop_assert_eq!(one(x).sub(one(y)).add(one(y)).spell(), a);
        let inverse = x.invert().mul(x).spell();
        prop_assert_eq!(inverse, if a == [0; 4] { [0; 4] } else { [1, 0, 0, 0] });
    }
}
