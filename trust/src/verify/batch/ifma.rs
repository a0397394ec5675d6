//! Eight at a time in AVX-512 registers, with IFMA: the instructions themselves, and nothing else.
//!
//! A reasoned exception from `deny(unsafe_code)`, as [`super::avx2`] is, and in the same way: each function is one
//! instruction on values, without a pointer; [`Eight`] is private, and whatever makes one has asked the processor first.
//! On a processor that has them, `make test-asan` runs this, too, under AddressSanitizer.
#![expect(unsafe_code, reason = "instructions that only some processors have")]

use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_rorv_epi64,
    _mm512_set_epi64, _mm512_set1_epi64, _mm512_sllv_epi64, _mm512_srlv_epi64, _mm512_sub_epi64,
    _mm512_ternarylogic_epi64, _mm512_xor_si512,
};
use std::sync::LazyLock;

use super::ed25519::{self, Ready};
use super::field;
use super::fivefold::{self, Fivefold};
use super::lanes::{FiftyTwo, Lanes, Turning};
use super::sha512::{self, Challenge};
use super::unprepared::{self, Unprepared};

/// Whether this processor can, and has answered as the portable field and `sha2` do.
pub(super) fn is_here() -> bool {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn inside() -> bool {
        field::agrees::<Fivefold<Eight, 8>, 8>() && sha512::agrees::<Eight, 8>()
    }
    static AGREES: LazyLock<bool> = LazyLock::new(|| {
        let is_there =
            std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512ifma");
        // SAFETY: the processor has AVX-512 F and IFMA, as was just asked.
        is_there && unsafe { inside() }
    });
    *AGREES
}

/// [`ed25519::spellings`], eight at a time; `None` where the processor cannot.
pub(super) fn spellings(ready: &[Ready<'_>]) -> Option<Vec<[u8; 32]>> {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn inside(ready: &[Ready<'_>]) -> Vec<[u8; 32]> {
        ed25519::spellings::<Fivefold<Eight, 8>, 8>(ready)
    }
    if !is_here() {
        return None;
    }
    // SAFETY: the processor has AVX-512 F and IFMA, as was just asked.
    Some(unsafe { inside(ready) })
}

/// [`unprepared::are_valid`], eight at a time; `None` where the processor cannot, or does not say of known signatures what
/// they are.
pub(super) fn are_valid(items: &[Unprepared<'_>]) -> Option<Vec<bool>> {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn inside(items: &[Unprepared<'_>]) -> Vec<bool> {
        unprepared::are_valid::<Fivefold<Eight, 8>, 8>(items)
    }
    static AGREES: LazyLock<bool> = LazyLock::new(|| {
        // SAFETY: the processor has AVX-512 F and IFMA, as was just asked.
        is_here() && unprepared::agrees(|items| unsafe { inside(items) })
    });
    if !*AGREES {
        return None;
    }
    // SAFETY: the processor has AVX-512 F and IFMA, as was asked before the lanes were tried.
    Some(unsafe { inside(items) })
}

/// [`sha512::hashes`], eight at a time; `None` where the processor cannot.
pub(super) fn hashes(of: &[Challenge<'_>]) -> Option<Vec<[u8; 64]>> {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn inside(of: &[Challenge<'_>]) -> Vec<[u8; 64]> {
        sha512::hashes::<Eight, 8>(of)
    }
    if !is_here() {
        return None;
    }
    // SAFETY: the processor has AVX-512 F and IFMA, as was just asked.
    Some(unsafe { inside(of) })
}

/// Eight words.
#[derive(Clone, Copy)]
struct Eight(__m512i);

// SAFETY of each call below: an `Eight` exists only inside of the four functions above, which have asked for AVX-512 F and IFMA.
impl Lanes<8> for Eight {
    #[inline(always)]
    fn splat(word: u64) -> Self {
        // SAFETY: see above the impl.
        Self(unsafe { _mm512_set1_epi64(word.cast_signed()) })
    }

    #[inline(always)]
    fn gather(word: impl Fn(usize) -> u64) -> Self {
        let at = |lane: usize| word(lane).cast_signed();
        let [w0, w1, w2, w3, w4, w5, w6, w7] = [at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)];
        // SAFETY: see above the impl. The highest lane comes first.
        Self(unsafe { _mm512_set_epi64(w7, w6, w5, w4, w3, w2, w1, w0) })
    }

    #[inline(always)]
    fn words(self) -> [u64; 8] {
        // SAFETY: both are 64 bytes in which every value is one, and lane 0 is the lowest.
        unsafe { std::mem::transmute::<__m512i, [u64; 8]>(self.0) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see above the impl.
        Self(unsafe { _mm512_add_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see above the impl.
        Self(unsafe { _mm512_sub_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: see above the impl.
        Self(unsafe { _mm512_and_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: see above the impl.
        Self(unsafe { _mm512_xor_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn shift_up<const BITS: i32>(self) -> Self {
        // SAFETY: see above the impl. The compiler makes one instruction of a shift by a constant.
        Self(unsafe { _mm512_sllv_epi64(self.0, _mm512_set1_epi64(i64::from(BITS))) })
    }

    #[inline(always)]
    fn shift_down<const BITS: i32>(self) -> Self {
        // SAFETY: see above the impl.
        Self(unsafe { _mm512_srlv_epi64(self.0, _mm512_set1_epi64(i64::from(BITS))) })
    }
}

impl Turning<8> for Eight {
    #[inline(always)]
    fn turn_down<const BITS: i32>(self) -> Self {
        // SAFETY: see above the impl of `Lanes`. The compiler makes one instruction of a rotation by a constant.
        Self(unsafe { _mm512_rorv_epi64(self.0, _mm512_set1_epi64(i64::from(BITS))) })
    }

    // The number of a mixture has the answer for a, b, c at bit 4a + 2b + c.
    #[inline(always)]
    fn xor3(self, second: Self, third: Self) -> Self {
        // SAFETY: see above the impl of `Lanes`.
        Self(unsafe { _mm512_ternarylogic_epi64::<0x96>(self.0, second.0, third.0) })
    }

    #[inline(always)]
    fn choose(self, one: Self, other: Self) -> Self {
        // SAFETY: see above the impl of `Lanes`.
        Self(unsafe { _mm512_ternarylogic_epi64::<0xca>(self.0, one.0, other.0) })
    }

    #[inline(always)]
    fn majority(self, second: Self, third: Self) -> Self {
        // SAFETY: see above the impl of `Lanes`.
        Self(unsafe { _mm512_ternarylogic_epi64::<0xe8>(self.0, second.0, third.0) })
    }
}

impl FiftyTwo<8> for Eight {
    #[inline(always)]
    fn add_low_product(self, f: Self, g: Self) -> Self {
        // SAFETY: see above the impl of `Lanes`.
        Self(unsafe { _mm512_madd52lo_epu64(self.0, f.0, g.0) })
    }

    #[inline(always)]
    fn add_high_product(self, f: Self, g: Self) -> Self {
        // SAFETY: see above the impl of `Lanes`.
        Self(unsafe { _mm512_madd52hi_epu64(self.0, f.0, g.0) })
    }

    // Not inlined on purpose: the loops stay in the processor's cache, as in `super::avx2`.
    #[inline(never)]
    fn product(f: &[Self; 5], g: &[Self; 5]) -> [Self; 5] {
        #[target_feature(enable = "avx512f,avx512ifma")]
        fn inside(f: &[Eight; 5], g: &[Eight; 5]) -> [Eight; 5] {
            fivefold::product(f, g)
        }
        // SAFETY: see above the impl of `Lanes`.
        unsafe { inside(f, g) }
    }

    #[inline(never)]
    fn square(f: &[Self; 5]) -> [Self; 5] {
        #[target_feature(enable = "avx512f,avx512ifma")]
        fn inside(f: &[Eight; 5]) -> [Eight; 5] {
            fivefold::square(f)
        }
        // SAFETY: see above the impl of `Lanes`.
        unsafe { inside(f) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::lanes::steps;
    use super::super::lanes::tests::Words;
    use super::*;

    fn is_there() -> bool {
        std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512ifma")
    }

    /// Every step on these words; nothing where the processor has no AVX-512 IFMA.
    fn check(a: [u64; 8], b: [u64; 8], c: [u64; 8]) {
        #[target_feature(enable = "avx512f,avx512ifma")]
        fn inside(a: [u64; 8], b: [u64; 8], c: [u64; 8]) {
            steps::lanes::<Eight, 8>(a, b);
            steps::fifty_two::<Eight, 8>(a, b, c);
            steps::turning::<Eight, 8>(a, b, c);
        }
        if is_there() {
            // SAFETY: the processor has AVX-512 F and IFMA, as was just asked.
            unsafe { inside(a, b, c) }
        }
    }

    /// A product and a square of limbs, which are compiled apart from what calls them.
    fn check_limbs(f: &[[u64; 8]; 5], g: &[[u64; 8]; 5]) {
        #[target_feature(enable = "avx512f,avx512ifma")]
        fn inside(f: &[[u64; 8]; 5], g: &[[u64; 8]; 5]) {
            let vectors = |limbs: &[[u64; 8]; 5]| limbs.map(|limb| Eight::gather(|lane| limb[lane]));
            let expected = FiftyTwo::product(&f.map(Words), &g.map(Words)).map(Words::words);
            assert_eq!(Eight::product(&vectors(f), &vectors(g)).map(Eight::words), expected);
            let expected = FiftyTwo::square(&f.map(Words)).map(Words::words);
            assert_eq!(Eight::square(&vectors(f)).map(Eight::words), expected);
        }
        if is_there() {
            // SAFETY: the processor has AVX-512 F and IFMA, as was just asked.
            unsafe { inside(f, g) }
        }
    }

    #[test]
    fn every_instruction_does_in_every_lane_what_words_do() {
        steps::edges::<8>(check);
    }

    #[test]
    fn a_processor_that_has_the_instructions_is_believed() {
        assert_eq!(is_here(), is_there());
    }

    proptest! {
        #[test]
        fn any_words_do(a in any::<[u64; 8]>(), b in any::<[u64; 8]>(), c in any::<[u64; 8]>()) {
            check(a, b, c);
        }

        #[test]
        fn any_limbs_do(f in any::<[[u64; 8]; 5]>(), g in any::<[[u64; 8]; 5]>()) {
            let short = |limbs: [[u64; 8]; 5]| limbs.map(|limb| limb.map(|word| word >> 13));
            check_limbs(&short(f), &short(g));
        }
    }
}
