//! A scalar as signed digits, one for each row of a table.

/// `ROWS` digits of `WIDTH` bits, each from −2^(WIDTH − 1) to 2^(WIDTH − 1): Σ digit[i] · 2^(WIDTH · i) is the scalar.
///
/// The scalar is little-endian and shorter than `ROWS · WIDTH` bits, or below the group's order where these are 253: the
/// last digit takes what is left, and the order is so little above 2²⁵² that it stays within its row.
#[inline]
pub(super) fn digits<const WIDTH: usize, const ROWS: usize>(scalar: &[u8; 32]) -> [i16; ROWS] {
    const { assert!(WIDTH >= 2 && WIDTH <= 14) };
    let mut words = [0; 5];
    let (eights, _) = scalar.as_chunks::<8>();
    for (word, eight) in words.iter_mut().zip(eights) {
        *word = u64::from_le_bytes(*eight);
    }
    let half = 1_i64 << (WIDTH - 1);
    let mut carry = 0;
    std::array::from_fn(|row| {
        let (word, bit) = (row * WIDTH / 64, row * WIDTH % 64);
        let here = words.get(word).copied().unwrap_or(0) >> bit;
        let above = words.get(word + 1).copied().unwrap_or(0);
        // Two shifts, since one by 64 is none.
        let bits = (here | above << 1 << (63 - bit)) & ((1 << WIDTH) - 1);
        let mut digit = bits.cast_signed() + carry;
        carry = 0;
        if digit > half && row + 1 < ROWS {
            digit -= 2 * half;
            carry = 1;
        }
        i16::try_from(digit).unwrap_or(0) // at most 2^14 in size
    })
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::scalar::Scalar;
    use proptest::prelude::*;

    use super::*;

    fn check<const WIDTH: usize, const ROWS: usize>(scalar: &Scalar) {
        let digits = digits::<WIDTH, ROWS>(scalar.as_bytes());

        let half = 1_i64 << (WIDTH - 1);
        assert!(digits.iter().all(|digit| (-half..=half).contains(&i64::from(*digit))), "{digits:?}");
        let base = Scalar::from(1_u64 << WIDTH);
        let value = digits.iter().rev().fold(Scalar::ZERO, |value, digit| {
            let size = Scalar::from(u64::from(digit.unsigned_abs()));
            value * base + if *digit < 0 { -size } else { size }
        });
        assert_eq!(value, *scalar);
    }

    fn check_all(scalar: &Scalar) {
        check::<8, 32>(scalar);
        check::<7, 37>(scalar);
        check::<9, 29>(scalar);
        check::<10, 26>(scalar);
        check::<11, 23>(scalar);
        check::<12, 22>(scalar);
    }

    #[test]
    fn the_edges_of_every_row_come_back() {
        for bit in 0..253 {
            let power = (0..bit).fold(Scalar::ONE, |power, _| power + power);
            for scalar in [power, power - Scalar::ONE, power + Scalar::ONE, -power] {
                check_all(&scalar);
            }
        }
        check_all(&Scalar::ZERO);
        check_all(&-Scalar::ONE); // the largest
    }

    /// Those of [`super::super::unprepared`], which looks at no row above the one that `bits / 4` names.
    #[test]
    fn a_digit_of_half_a_row_carries_nothing() {
        let mut bytes = [0; 32];
        for bits in 1..=143_usize {
            bytes[(bits - 1) / 8] |= 1 << ((bits - 1) % 8); // all ones

            let digits = digits::<4, 36>(&bytes);

            assert!(digits[bits / 4 + 1..].iter().all(|digit| *digit == 0), "{bits} bits: {digits:?}");
            check::<4, 36>(&Scalar::from_bytes_mod_order(bytes));
        }
        let eights = [0x88; 18].iter().chain(&[0; 14]).copied().collect::<Vec<u8>>().try_into().unwrap();
        assert_eq!(digits::<4, 37>(&eights), std::array::from_fn(|row| if row < 36 { 8 } else { 0 }));
    }

    proptest! {
        #[test]
        fn any_scalar_comes_back(bytes in any::<[u8; 32]>()) {
            check_all(&Scalar::from_bytes_mod_order(bytes));
        }
    }
}
