//! Keys that are of the right form and still nobody's secret.
//!
//! RSA by FIPS 186-5 §A.1 (sizes, distance of the primes, size of d), trial division, and the fingerprint of
//! CVE-2017-15361 (ROCA: Nemec, Sys, Svenda, Klinec, Matyas, "The Return of Coppersmith's Attack", 2017, §5).

use super::RsaParts;

/// Trial division goes this far.
const SMALL_FACTOR_MAX: u32 = 10_000;

/// The primes by which the faulty library's moduli are known: behind each, they are powers of 65537.
const ROCA_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// True for a number whose first or last half is one byte over and over: nobody draws such a one.
pub(super) fn is_no_random_number(bytes: &[u8]) -> bool {
    let (first, last) = bytes.split_at_checked(bytes.len() / 2).unwrap_or((bytes, bytes));
    [first, last].into_iter().any(|half| half.windows(2).all(|pair| matches!(pair, [one, other] if one == other)))
}

/// What makes an RSA key of `bits` weak; `None` for one in which nothing was found.
pub(super) fn of_rsa(key: &RsaParts<'_>, bits: usize) -> Option<&'static str> {
    if let Some(weakness) = of_rsa_public(key.modulus, key.public_exponent, bits) {
        return Some(weakness);
    }
    let half = bits / 2;
    if bit_length(key.prime_1) != half || bit_length(key.prime_2) != half {
        return Some("its primes are not half as long as its modulus");
    }
    // FIPS 186-5 §A.1.3: |p − q| > 2^(nlen/2 − 100), or whoever begins at the square root of n finds them (Fermat).
    if distance_bits(key.prime_1, key.prime_2) <= half.saturating_sub(100) {
        return Some("its primes are too near to each other");
    }
    // FIPS 186-5 §A.1.1: a small d is found from the public half (Wiener).
    if bit_length(key.private_exponent) <= half {
        return Some("its private exponent is too small");
    }
    None
}

/// The same of what its public half alone tells.
pub(crate) fn of_rsa_public(modulus: &[u8], exponent: &[u8], bits: usize) -> Option<&'static str> {
    if bit_length(modulus) != bits {
        return Some("its modulus has another size than the algorithm says");
    }
    if exponent != [1, 0, 1] {
        return Some("its public exponent is not 65537");
    }
    if has_small_factor(modulus) {
        return Some("one of its primes is divisible by a small number");
    }
    if is_roca(modulus) {
        return Some("it was made by the library of CVE-2017-15361 (ROCA): its private half can be computed");
    }
    None
}

/// Bits of a big-endian number.
fn bit_length(number: &[u8]) -> usize {
    let mut bytes = number.iter().skip_while(|byte| **byte == 0);
    let Some(first) = bytes.next() else { return 0 };
    let top = usize::try_from(u8::BITS - first.leading_zeros()).unwrap_or(8);
    bytes.count().saturating_mul(8).saturating_add(top)
}

/// Bits of the difference of two big-endian numbers of one length.
fn distance_bits(one: &[u8], other: &[u8]) -> usize {
    let (large, small) = if one >= other { (one, other) } else { (other, one) };
    let (mut borrow, mut bits, mut place) = (0_i16, 0_usize, 0_usize);
    for (a, b) in large.iter().rev().zip(small.iter().rev()) {
        let difference = i16::from(*a) - i16::from(*b) - borrow;
        borrow = i16::from(difference < 0);
        if let Ok(byte @ 1..) = u8::try_from(difference & 0xff) {
            bits = place.saturating_add(bit_length(&[byte]));
        }
        place = place.saturating_add(8);
    }
    bits
}

fn has_small_factor(number: &[u8]) -> bool {
    (2..SMALL_FACTOR_MAX).filter(|divisor| *divisor == 2 || divisor % 2 == 1).any(|d| remainder(number, d) == 0)
}

/// A big-endian number modulo one under 2^24.
fn remainder(number: &[u8], divisor: u32) -> u32 {
    number.iter().fold(0, |rest, byte| ((rest << 8) | u32::from(*byte)) % divisor)
}

/// Whether the modulus is a power of 65537 behind every one of the primes, as one in 2^154 others is.
fn is_roca(modulus: &[u8]) -> bool {
    ROCA_PRIMES.iter().all(|prime| is_power_of_65537(remainder(modulus, *prime), *prime))
}

fn is_power_of_65537(value: u32, prime: u32) -> bool {
    let generator = 65537 % prime;
    let powers = std::iter::successors(Some(1 % prime), |power| Some(power * generator % prime));
    // The group has at most prime − 1 elements.
    powers.take(usize::try_from(prime).unwrap_or(usize::MAX)).any(|power| power == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 65537 to a power, big-endian.
    fn power_of_65537(exponent: usize) -> Vec<u8> {
        let mut number = vec![1_u8];
        for _ in 0..exponent {
            let mut carry = 0_u64;
            for byte in number.iter_mut().rev() {
                let product = u64::from(*byte) * 65537 + carry;
                *byte = u8::try_from(product & 0xff).unwrap();
                carry = product >> 8;
            }
            while carry > 0 {
                number.insert(0, u8::try_from(carry & 0xff).unwrap());
                carry >>= 8;
            }
        }
        number
    }

    #[test]
    fn a_modulus_of_the_faulty_library_is_known_by_its_remainders() {
        // What makes the fingerprint: n is a power of 65537 modulo the product of the primes.
        for exponent in [1, 7, 190, 255] {
            assert!(is_roca(&power_of_65537(exponent)), "{exponent}");
        }
        let mut other = power_of_65537(190);
        *other.last_mut().unwrap() ^= 2;
        assert!(!is_roca(&other));
    }

    #[test]
    fn one_byte_over_and_over_is_no_random_number() {
        for bad in [[0; 32], [0xff; 32]] {
            assert!(is_no_random_number(&bad));
        }
        let mut small = [0; 32];
        small[31] = 7;
        assert!(is_no_random_number(&small));
        let counting: Vec<u8> = (0..32).collect();
        assert!(!is_no_random_number(&counting));
    }

    #[test]
    fn bits_remainders_and_distances_are_those_of_arithmetic() {
        assert_eq!([&[][..], &[0], &[1], &[0, 0x80], &[1, 0]].map(bit_length), [0, 0, 1, 8, 9]);
        assert_eq!(remainder(&[1, 0, 0], 9973), 65536 % 9973);
        assert_eq!(distance_bits(&[1, 0, 0], &[0, 0xff, 0xff]), 1);
        assert_eq!(distance_bits(&[5, 5], &[5, 5]), 0);
        assert_eq!(distance_bits(&[1, 0], &[9, 0]), 12);
        assert!(has_small_factor(&[0x26, 0xf5]), "9973");
        assert!(!has_small_factor(&[0x27, 0x17]), "10007 is prime");
    }
}
