//! Four at a time in AVX2 registers: the instructions themselves, and nothing else.
//!
//! The compiler lets them be called only where it knows that the processor has them, and it cannot know that
//! here: so this module is a reasoned exception from `deny(unsafe_code)`. Each function is one instruction on
//! values, without a pointer. [`Four`] is private, and [`is_here`], [`spellings`] and [`are_valid`] are the only ways to make one: they
//! ask the processor first, and everything that they call is inlined into a function that is compiled for AVX2.
//!
//! `make test-asan` runs this module's tests, and all that reach it, under AddressSanitizer.
#![expect(unsafe_code, reason = "instructions that only some processors have")]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi64, _mm256_and_si256, _mm256_mul_epu32, _mm256_set_epi64x, _mm256_set1_epi64x,
    _mm256_slli_epi64, _mm256_srli_epi64, _mm256_sub_epi64, _mm256_xor_si256,
};
use std::sync::LazyLock;

use super::ed25519::{self, Ready};
use super::field;
use super::lanes::{Halves, Lanes};
use super::tenfold::{self, Tenfold};
use super::unprepared::{self, Unprepared};

/// Whether this processor can, and has answered as the portable field does.
pub(super) fn is_here() -> bool {
    #[target_feature(enable = "avx2")]
    fn inside() -> bool {
        field::agrees::<Tenfold<Four, 4>, 4>()
    }
    static AGREES: LazyLock<bool> = LazyLock::new(|| {
        let is_there = std::arch::is_x86_feature_detected!("avx2");
        // SAFETY: the processor has AVX2, as was just asked.
        is_there && unsafe { inside() }
    });
    *AGREES
}

/// [`ed25519::spellings`], four at a time; `None` where the processor cannot.
pub(super) fn spellings(ready: &[Ready<'_>]) -> Option<Vec<[u8; 32]>> {
    #[target_feature(enable = "avx2")]
    fn inside(ready: &[Ready<'_>]) -> Vec<[u8; 32]> {
        ed25519::spellings::<Tenfold<Four, 4>, 4>(ready)
    }
    if !is_here() {
        return None;
    }
    // SAFETY: the processor has AVX2, as was just asked.
    Some(unsafe { inside(ready) })
}

/// [`unprepared::are_valid`], four at a time; `None` where the processor cannot.
pub(super) fn are_valid(items: &[Unprepared<'_>]) -> Option<Vec<bool>> {
    #[target_feature(enable = "avx2")]
    fn inside(items: &[Unprepared<'_>]) -> Vec<bool> {
        unprepared::are_valid::<Tenfold<Four, 4>, 4>(items)
    }
    if !is_here() {
        return None;
    }
    // SAFETY: the processor has AVX2, as was just asked.
    Some(unsafe { inside(items) })
}

/// Four words.
#[derive(Clone, Copy)]
struct Four(__m256i);

// SAFETY of each call below: a `Four` exists only inside of the three functions above, which have asked for AVX2.
impl Lanes<4> for Four {
    #[inline(always)]
    fn splat(word: u64) -> Self {
        // SAFETY: see above the impl.
        Self(unsafe { _mm256_set1_epi64x(word.cast_signed()) })
    }

    #[inline(always)]
    fn gather(word: impl Fn(usize) -> u64) -> Self {
        let [w0, w1, w2, w3] =
            [word(0).cast_signed(), word(1).cast_signed(), word(2).cast_signed(), word(3).cast_signed()];
        // SAFETY: see above the impl. The highest lane comes first.
        Self(unsafe { _mm256_set_epi64x(w3, w2, w1, w0) })
    }

    #[inline(always)]
    fn words(self) -> [u64; 4] {
        // SAFETY: both are 32 bytes in which every value is one, and lane 0 is the lowest.
        unsafe { std::mem::transmute::<__m256i, [u64; 4]>(self.0) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see above the impl.
        Self(unsafe { _mm256_add_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see above the impl.
        Self(unsafe { _mm256_sub_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: see above the impl.
        Self(unsafe { _mm256_and_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: see above the impl.
        Self(unsafe { _mm256_xor_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn shift_up<const BITS: i32>(self) -> Self {
        // SAFETY: see above the impl.
        Self(unsafe { _mm256_slli_epi64::<BITS>(self.0) })
    }

    #[inline(always)]
    fn shift_down<const BITS: i32>(self) -> Self {
        // SAFETY: see above the impl.
        Self(unsafe { _mm256_srli_epi64::<BITS>(self.0) })
    }
}

impl Halves<4> for Four {
    #[inline(always)]
    fn multiply(self, by: Self) -> Self {
        // SAFETY: see above the impl of `Lanes`.
        Self(unsafe { _mm256_mul_epu32(self.0, by.0) })
    }

    // Not inlined on purpose: of limbs that come out of memory the compiler knows nothing. Where it sees how they were
    // made it drops the masks that stand for "the lower half", and later, in another block, takes the multiplication for
    // one of 64 bits: three instructions and their shifts instead of one. And the loops stay in the processor's cache.
    #[inline(never)]
    fn product(f: &[Self; 10], g: &[Self; 10]) -> [Self; 10] {
        #[target_feature(enable = "avx2")]
        fn inside(f: &[Four; 10], g: &[Four; 10]) -> [Four; 10] {
            tenfold::product(f, g)
        }
        // SAFETY: see above the impl of `Lanes`.
        unsafe { inside(f, g) }
    }

    #[inline(never)]
    fn square(f: &[Self; 10]) -> [Self; 10] {
        #[target_feature(enable = "avx2")]
        fn inside(f: &[Four; 10]) -> [Four; 10] {
            tenfold::square(f)
        }
        // SAFETY: see above the impl of `Lanes`.
        unsafe { inside(f) }
    }
}

#[cfg(test)]
mod tests {
    use std::arch::x86_64::_mm256_loadu_si256;
    use std::hint::black_box;

    use proptest::prelude::*;

    use super::super::lanes::steps;
    use super::super::lanes::tests::Words;
    use super::*;

    /// Every step on these words; nothing where the processor has no AVX2.
    fn check(a: [u64; 4], b: [u64; 4]) {
        #[target_feature(enable = "avx2")]
        fn inside(a: [u64; 4], b: [u64; 4]) {
            steps::lanes::<Four, 4>(a, b);
            steps::halves::<Four, 4>(a, b);
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, as was just asked.
            unsafe { inside(a, b) }
        }
    }

    /// A product and a square of limbs, which are compiled apart from what calls them.
    fn check_limbs(f: &[[u64; 4]; 10], g: &[[u64; 4]; 10]) {
        #[target_feature(enable = "avx2")]
        fn inside(f: &[[u64; 4]; 10], g: &[[u64; 4]; 10]) {
            let vectors = |limbs: &[[u64; 4]; 10]| limbs.map(|limb| Four::gather(|lane| limb[lane]));
            let expected = Halves::product(&f.map(Words), &g.map(Words)).map(Words::words);
            assert_eq!(Four::product(&vectors(f), &vectors(g)).map(Four::words), expected);
            let expected = Halves::square(&f.map(Words)).map(Words::words);
            assert_eq!(Four::square(&vectors(f)).map(Four::words), expected);
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, as was just asked.
            unsafe { inside(f, g) }
        }
    }

    #[test]
    fn every_instruction_does_in_every_lane_what_words_do() {
        steps::edges::<4>(|a, b, _| check(a, b));
    }

    #[test]
    fn a_processor_that_has_the_instructions_is_believed() {
        assert_eq!(is_here(), std::arch::is_x86_feature_detected!("avx2"));
    }

    proptest! {
        #[test]
        fn any_words_do(a in any::<[u64; 4]>(), b in any::<[u64; 4]>()) {
            check(a, b);
        }

        // A square takes limbs up to 27 bits, and a product more.
        #[test]
        fn any_limbs_do(f in any::<[[u32; 4]; 10]>(), g in any::<[[u32; 4]; 10]>()) {
            let short = |limbs: [[u32; 4]; 10], bits: u32| limbs.map(|limb| limb.map(|word| u64::from(word >> (32 - bits))));
            check_limbs(&short(f, 26), &short(g, 26));
        }
    }

    /// What AddressSanitizer has to find, so that its silence about the rest says something. `scripts/test_asan.sh` runs it.
    #[test]
    #[ignore = "it reads out of bounds, for AddressSanitizer to find"]
    fn a_read_out_of_bounds_is_found() {
        #[target_feature(enable = "avx2")]
        fn inside(words: &[u64]) -> [u64; 4] {
            // SAFETY: none: of four words it reads the second to the fifth, on purpose.
            Four(unsafe { _mm256_loadu_si256(words.as_ptr().add(1).cast()) }).words()
        }
        let words = black_box(vec![1_u64, 2, 3, 4]);
        assert!(std::arch::is_x86_feature_detected!("avx2"), "this processor has no AVX2");
        // SAFETY: none, see above.
        println!("read {:x?}", black_box(unsafe { inside(&words) }));
    }
}
