//! The lanes against `sha2`.

use proptest::prelude::*;

use super::*;
#[cfg(target_arch = "x86_64")]
use crate::verify::batch::ifma;
use crate::verify::batch::lanes::{Lanes, steps};

/// Words that run over, as those of a hash do: those of the field's tests panic there. In the last lane they are turned
/// wrong by `FLAW`.
#[derive(Clone, Copy)]
struct Words<const N: usize, const FLAW: u64 = 0>([u64; N]);

impl<const N: usize, const FLAW: u64> Words<N, FLAW> {
    fn each(self, other: Self, step: impl Fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|lane| step(self.0[lane], other.0[lane])))
    }
}

impl<const N: usize, const FLAW: u64> Lanes<N> for Words<N, FLAW> {
    fn splat(word: u64) -> Self {
        Self([word; N])
    }

    fn gather(word: impl Fn(usize) -> u64) -> Self {
        Self(std::array::from_fn(word))
    }

    fn words(self) -> [u64; N] {
        self.0
    }

    fn add(self, other: Self) -> Self {
        self.each(other, u64::wrapping_add)
    }

    fn sub(self, other: Self) -> Self {
        self.each(other, u64::wrapping_sub)
    }

    fn and(self, other: Self) -> Self {
        self.each(other, |a, b| a & b)
    }

    fn xor(self, other: Self) -> Self {
        self.each(other, |a, b| a ^ b)
    }

    fn shift_up<const BITS: i32>(self) -> Self {
        Self(self.0.map(|word| word << BITS))
    }

    fn shift_down<const BITS: i32>(self) -> Self {
        Self(self.0.map(|word| word >> BITS))
    }
}

impl<const N: usize, const FLAW: u64> Turning<N> for Words<N, FLAW> {
    fn turn_down<const BITS: i32>(self) -> Self {
        let mut turned = self.0.map(|word| word.rotate_right(BITS.unsigned_abs()));
        turned[N - 1] ^= FLAW;
        Self(turned)
    }
}

#[test]
fn wrong_lanes_are_told_from_right_ones() {
    assert!(agrees::<Words<4>, 4>());
    assert!(agrees::<Words<8>, 8>());
    assert!(!agrees::<Words<4, 1>, 4>());
    assert!(!agrees::<Words<8, { 1 << 63 }>, 8>());
}

/// So that what the instructions are tested with was run on machines that have none of them.
#[test]
fn the_steps_of_a_hash_are_those_of_the_standard() {
    steps::edges::<8>(|a, b, c| {
        steps::lanes::<Words<8>, 8>(a, b);
        steps::turning::<Words<8>, 8>(a, b, c);
    });
}

/// Everything that hashes several, and is on this machine.
fn everyone(of: &[Challenge<'_>]) -> Vec<(&'static str, Vec<[u8; 64]>)> {
    let mut all = vec![("three words", hashes::<Words<3>, 3>(of)), ("eight words", hashes::<Words<8>, 8>(of))];
    #[cfg(target_arch = "x86_64")]
    all.extend(ifma::hashes(of).map(|hashes| ("AVX-512", hashes)));
    all
}

fn check(messages: &[Vec<u8>]) {
    let seeds: Vec<_> = (0..messages.len()).map(|number| Sha512::digest(number.to_le_bytes())).collect();
    let of: Vec<_> = messages
        .iter()
        .zip(&seeds)
        .map(|(message, seed)| Challenge {
            nonce: seed.first_chunk().unwrap(),
            key: seed.last_chunk().unwrap(),
            message,
        })
        .collect();
    let expected: Vec<_> = of.iter().map(Challenge::hash).collect();
    for (who, found) in everyone(&of) {
        assert_eq!(found, expected, "{who}");
    }
}

/// Where the padding begins a block of its own, and where it ends one, is among them.
#[test]
fn every_length_is_padded_as_it_has_to_be() {
    for length in 0..=400 {
        check(&vec![vec![0xa5; length]; 9]);
    }
}

#[test]
fn lengths_of_every_kind_come_back_in_their_order() {
    check(&[]);
    check(&(0..300).map(|number| vec![1; number * 7 % 300]).collect::<Vec<_>>());
    check(&(0..17).map(|number| vec![2; number * 1000]).collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn any_messages_hash_as_sha2_has_it(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
        check(&messages);
    }
}
