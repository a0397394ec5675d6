//! Several 64-bit words side by side: what the processors' vectors have in common.
//!
//! Functions that are made of these take closures by lane and keep away from `map` and `from_fn` of arrays: those
//! are compiled on their own, for any processor, and a vector instruction inside would become a call.

use super::{fivefold, tenfold};

/// `N` words; each step is done to all of them.
pub(super) trait Lanes<const N: usize>: Copy {
    /// One word in every lane.
    fn splat(word: u64) -> Self;
    /// A word for each lane.
    fn gather(word: impl Fn(usize) -> u64) -> Self;
    /// The word of each lane.
    fn words(self) -> [u64; N];
    /// The sum, modulo 2⁶⁴.
    fn add(self, other: Self) -> Self;
    /// The difference, modulo 2⁶⁴.
    fn sub(self, other: Self) -> Self;
    /// Bit by bit: both.
    fn and(self, other: Self) -> Self;
    /// Bit by bit: the one or the other, not both.
    fn xor(self, other: Self) -> Self;
    /// Up by `BITS`, 0 to 63.
    fn shift_up<const BITS: i32>(self) -> Self;
    /// Down by `BITS`, 0 to 63, zeros coming in.
    fn shift_down<const BITS: i32>(self) -> Self;
}

/// The word of one lane, of a vector in memory: the compiler reads that word and no more.
#[inline(always)]
pub(super) fn lane_of<V: Lanes<N>, const N: usize>(vector: &V, lane: usize) -> u64 {
    vector.words().get(lane).copied().unwrap_or(0)
}

/// Lanes that multiply their lower halves, as AVX2 does (`VPMULUDQ`).
pub(super) trait Halves<const N: usize>: Lanes<N> {
    /// The whole product of the lower 32 bits.
    fn multiply(self, by: Self) -> Self;

    /// [`tenfold::product`].
    fn product(f: &[Self; 10], g: &[Self; 10]) -> [Self; 10] {
        tenfold::product(f, g)
    }

    /// [`tenfold::square`].
    fn square(f: &[Self; 10]) -> [Self; 10] {
        tenfold::square(f)
    }
}

/// Lanes that multiply 52 bits and add, as AVX-512 IFMA does (`VPMADD52`).
pub(super) trait FiftyTwo<const N: usize>: Lanes<N> {
    /// Itself and the lower 52 bits of the product of two lower 52 bits, modulo 2⁶⁴.
    fn add_low_product(self, f: Self, g: Self) -> Self;
    /// Itself and the upper 52 bits of that product, modulo 2⁶⁴.
    fn add_high_product(self, f: Self, g: Self) -> Self;

    /// [`fivefold::product`].
    fn product(f: &[Self; 5], g: &[Self; 5]) -> [Self; 5] {
        fivefold::product(f, g)
    }

    /// [`fivefold::square`].
    fn square(f: &[Self; 5]) -> [Self; 5] {
        fivefold::square(f)
    }
}

/// Lanes that turn words, as hash functions do; AVX-512 does it in one instruction (`VPRORQ`), and each of the mixtures
/// of three in another (`VPTERNLOGQ`).
pub(super) trait Turning<const N: usize>: Lanes<N> {
    /// Down by `BITS`, 1 to 63; what falls out below comes in above.
    fn turn_down<const BITS: i32>(self) -> Self;

    /// Bit by bit: an odd number of the three.
    fn xor3(self, second: Self, third: Self) -> Self {
        self.xor(second).xor(third)
    }

    /// Bit by bit: the one where this has a one, else the other.
    fn choose(self, one: Self, other: Self) -> Self {
        self.and(one.xor(other)).xor(other)
    }

    /// Bit by bit: what at least two of the three have.
    fn majority(self, second: Self, third: Self) -> Self {
        self.and(second).xor(third.and(self.xor(second)))
    }
}

#[cfg(test)]
pub(super) mod steps;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The same, word by word, on any machine: what the vectors are held against. Its steps are not inlined, as those of
    /// vectors have to be: the formulas have tens of thousands of them, and every one may panic.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in super::super) struct Words<const N: usize>(pub(in super::super) [u64; N]);

    impl<const N: usize> Words<N> {
        fn each(self, other: Self, step: impl Fn(u64, u64) -> u64) -> Self {
            Self(std::array::from_fn(|lane| step(self.0[lane], other.0[lane])))
        }
    }

    impl<const N: usize> Lanes<N> for Words<N> {
        #[inline(never)]
        fn splat(word: u64) -> Self {
            Self([word; N])
        }

        #[inline(never)]
        fn gather(word: impl Fn(usize) -> u64) -> Self {
            Self(std::array::from_fn(word))
        }

        fn words(self) -> [u64; N] {
            self.0
        }

        #[inline(never)]
        fn add(self, other: Self) -> Self {
            self.each(other, |a, b| a.checked_add(b).unwrap())
        }

        #[inline(never)]
        fn sub(self, other: Self) -> Self {
            self.each(other, |a, b| a.checked_sub(b).unwrap())
        }

        #[inline(never)]
        fn and(self, other: Self) -> Self {
            self.each(other, |a, b| a & b)
        }

        #[inline(never)]
        fn xor(self, other: Self) -> Self {
            self.each(other, |a, b| a ^ b)
        }

        #[inline(never)]
        fn shift_up<const BITS: i32>(self) -> Self {
            Self(self.0.map(|word| word << BITS))
        }

        #[inline(never)]
        fn shift_down<const BITS: i32>(self) -> Self {
            Self(self.0.map(|word| word >> BITS))
        }
    }

    impl<const N: usize> Halves<N> for Words<N> {
        /// Panics where an upper half is not empty: the real one would ignore it, and the formulas may not rely on that.
        #[inline(never)]
        fn multiply(self, by: Self) -> Self {
            self.each(by, |a, b| u64::from(u32::try_from(a).unwrap()) * u64::from(u32::try_from(b).unwrap()))
        }
    }

    /// The least and the most that a word may be, in place of the word: a chain of steps that does not panic does not with any
    /// numbers. What was gathered counts as any word up to it, and as any at all where it is longer than a limb is.
    #[derive(Clone, Copy, Debug)]
    pub(in super::super) struct Bounds {
        least: u64,
        most: u64,
    }

    impl Bounds {
        const fn up_to(most: u64) -> Self {
            Self { least: 0, most }
        }
    }

    impl Lanes<1> for Bounds {
        fn splat(word: u64) -> Self {
            Self { least: word, most: word }
        }

        fn gather(word: impl Fn(usize) -> u64) -> Self {
            let word = word(0);
            Self::up_to(if word < 1 << 56 { word } else { u64::MAX })
        }

        fn words(self) -> [u64; 1] {
            [self.most]
        }

        fn add(self, other: Self) -> Self {
            Self { least: self.least + other.least, most: self.most.checked_add(other.most).unwrap() }
        }

        fn sub(self, other: Self) -> Self {
            let least = self.least.checked_sub(other.most);
            Self { least: least.unwrap(), most: self.most - other.least }
        }

        fn and(self, other: Self) -> Self {
            Self::up_to(self.most.min(other.most))
        }

        /// Of a choice between two, a ^ (a ^ b) & mask, which is all that a field takes it for.
        fn xor(self, other: Self) -> Self {
            Self::up_to(self.most.max(other.most))
        }

        fn shift_up<const BITS: i32>(self) -> Self {
            let most = self.most << BITS;
            // Of words that are unpacked bits fall out; a limb that lost one would be cut and not panic.
            Self::up_to(if most >> BITS == self.most { most } else { u64::MAX })
        }

        fn shift_down<const BITS: i32>(self) -> Self {
            Self { least: self.least >> BITS, most: self.most >> BITS }
        }
    }

    impl Halves<1> for Bounds {
        fn multiply(self, by: Self) -> Self {
            let half = |word: u64| u64::from(u32::try_from(word).unwrap());
            Self::up_to(half(self.most) * half(by.most))
        }
    }

    impl FiftyTwo<1> for Bounds {
        fn add_low_product(self, f: Self, g: Self) -> Self {
            let (low, high) = product_of_52(f.most, g.most);
            self.add(Self::up_to(if high == 0 { low } else { (1 << 52) - 1 }))
        }

        fn add_high_product(self, f: Self, g: Self) -> Self {
            self.add(Self::up_to(product_of_52(f.most, g.most).1))
        }
    }

    /// The lower and the upper 52 bits. Panics where a factor is longer: the real one would ignore that, and the formulas
    /// may not rely on it.
    fn product_of_52(a: u64, b: u64) -> (u64, u64) {
        assert!(a < 1 << 52 && b < 1 << 52, "{a:x} or {b:x} has more than 52 bits");
        let product = u128::from(a) * u128::from(b);
        let low = u64::try_from(product & ((1 << 52) - 1)).unwrap();
        (low, u64::try_from(product >> 52).unwrap())
    }

    impl<const N: usize> FiftyTwo<N> for Words<N> {
        #[inline(never)]
        fn add_low_product(self, f: Self, g: Self) -> Self {
            self.add(f.each(g, |a, b| product_of_52(a, b).0))
        }

        #[inline(never)]
        fn add_high_product(self, f: Self, g: Self) -> Self {
            self.add(f.each(g, |a, b| product_of_52(a, b).1))
        }
    }

    /// So that what the instructions are tested with was run on machines that have none of them.
    #[test]
    fn words_multiply_as_instructions_have_to() {
        steps::edges::<8>(|a, b, c| {
            let short = |words: [u64; 8], bits: u32| words.map(|word| word >> (64 - bits));
            steps::halves::<Words<8>, 8>(short(a, 32), short(b, 32));
            steps::fifty_two::<Words<8>, 8>(short(c, 63), short(a, 52), short(b, 52));
        });
    }
}
