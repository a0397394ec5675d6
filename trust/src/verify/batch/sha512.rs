//! SHA-512 (FIPS 180-4) of several messages side by side: the challenges of signatures, most of which are equally long.
//!
//! Public data only. What fills no lanes is hashed alone, by the crate `sha2`, against which the lanes are tested.

mod constants;
#[cfg(test)]
mod tests;

use sha2::{Digest as _, Sha512};

use super::lanes::Turning;
use constants::{ROUNDS, START};

/// What is hashed for one signature: R, A and the message (RFC 8032 §5.1.7).
#[derive(Clone, Copy)]
pub(super) struct Challenge<'a> {
    pub(super) nonce: &'a [u8; 32],
    pub(super) key: &'a [u8; 32],
    pub(super) message: &'a [u8],
}

const BLOCK_BYTES: usize = 128;
/// R and A, with which the first block begins.
const HEAD_BYTES: usize = 64;
/// What ends the last block at least: a byte with one bit, and the length.
const TAIL_BYTES: usize = 17;

impl Challenge<'_> {
    /// The hash value, alone.
    pub(super) fn hash(&self) -> [u8; 64] {
        Sha512::new_with_prefix(self.nonce).chain_update(self.key).chain_update(self.message).finalize().into()
    }

    /// How many blocks it is cut into.
    const fn blocks(&self) -> usize {
        (HEAD_BYTES + self.message.len() + TAIL_BYTES).div_ceil(BLOCK_BYTES)
    }

    /// One block, padded where it is the last (§5.1.2), as words.
    fn block(&self, index: usize) -> [u64; 16] {
        let mut bytes = [0; BLOCK_BYTES];
        let (room, from) = if index == 0 {
            let (nonce, rest) = bytes.split_at_mut(32);
            let (key, room) = rest.split_at_mut(32);
            nonce.copy_from_slice(self.nonce);
            key.copy_from_slice(self.key);
            (room, 0)
        } else {
            (bytes.as_mut_slice(), index * BLOCK_BYTES - HEAD_BYTES)
        };
        if let Some(rest) = self.message.get(from..) {
            let here = rest.len().min(room.len());
            let (filled, free) = room.split_at_mut(here);
            filled.copy_from_slice(rest.get(..here).unwrap_or_default());
            if let Some(end) = free.first_mut() {
                *end = 0x80;
            }
        }
        if index + 1 == self.blocks()
            && let Some(tail) = bytes.last_chunk_mut::<16>()
        {
            let length_bytes = u64::try_from(HEAD_BYTES + self.message.len()).unwrap_or(u64::MAX);
            *tail = (u128::from(length_bytes) * 8).to_be_bytes();
        }
        let mut words = [0; 16];
        for (word, eight) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_be_bytes(*eight);
        }
        words
    }
}

/// The hash values, in order; `N` at a time of those that have the same number of blocks.
///
/// Inlined, as is everything below it, for the reason that [`super::ed25519::spellings`] has.
#[inline(always)]
pub(super) fn hashes<V: Turning<N>, const N: usize>(of: &[Challenge<'_>]) -> Vec<[u8; 64]> {
    let mut by_blocks: Vec<(usize, usize)> = of.iter().map(Challenge::blocks).zip(0..).collect();
    by_blocks.sort_unstable();
    let mut hashes = vec![[0; 64]; of.len()];
    let mut group = Vec::with_capacity(N);
    let mut places = by_blocks.iter().peekable();
    while let Some((blocks, place)) = places.next() {
        group.extend(of.get(*place).map(|challenge| (*place, *challenge)));
        let is_last = places.peek().is_none_or(|(next, _)| next != blocks);
        if group.len() < N && !is_last {
            continue;
        }
        // One or two leave most lanes empty, and take longer together than alone.
        if group.len() > 2 {
            let found = together::<V, N>(&group, *blocks);
            for ((place, _), found) in group.drain(..).zip(found) {
                if let Some(hash) = hashes.get_mut(place) {
                    *hash = found;
                }
            }
        } else {
            for (place, challenge) in group.drain(..) {
                if let Some(hash) = hashes.get_mut(place) {
                    *hash = challenge.hash();
                }
            }
        }
    }
    hashes
}

/// The hash values of at most `N`, each of so many blocks; where there are fewer, the other lanes hash zeros.
#[inline(always)]
fn together<V: Turning<N>, const N: usize>(group: &[(usize, Challenge<'_>)], blocks: usize) -> [[u8; 64]; N] {
    let mut state = [V::splat(0); 8];
    for (vector, word) in state.iter_mut().zip(START) {
        *vector = V::splat(word);
    }
    for index in 0..blocks {
        let mut rows = [[0; N]; 16];
        for (lane, (_, challenge)) in group.iter().enumerate() {
            for (row, word) in rows.iter_mut().zip(challenge.block(index)) {
                if let Some(place) = row.get_mut(lane) {
                    *place = word;
                }
            }
        }
        state = compressed(&state, &rows);
    }
    let mut hashes = [[0; 64]; N];
    for (place, vector) in state.iter().enumerate() {
        for (hash, word) in hashes.iter_mut().zip(vector.words()) {
            if let Some(eight) = hash.as_chunks_mut::<8>().0.get_mut(place) {
                *eight = word.to_be_bytes();
            }
        }
    }
    hashes
}

/// The state after a block of each lane (§6.4.2); row i has the i-th word of each.
#[inline(always)]
fn compressed<V: Turning<N>, const N: usize>(state: &[V; 8], rows: &[[u64; N]; 16]) -> [V; 8] {
    let mut words = [V::splat(0); 16];
    for (word, row) in words.iter_mut().zip(rows) {
        *word = V::gather(|lane| row.get(lane).copied().unwrap_or(0));
    }
    let mut turned = *state;
    for (number, constants) in ROUNDS.iter().enumerate() {
        if number > 0 {
            words = scheduled(&words);
        }
        for (words, constants) in words.as_chunks::<8>().0.iter().zip(constants.as_chunks::<8>().0) {
            turned = eight_rounds(turned, words, constants);
        }
    }
    let ([a, b, c, d, e, f, g, h], [s0, s1, s2, s3, s4, s5, s6, s7]) = (turned, *state);
    [s0.add(a), s1.add(b), s2.add(c), s3.add(d), s4.add(e), s5.add(f), s6.add(g), s7.add(h)]
}

/// Eight, after which every word of the state stands where it stood.
#[inline(always)]
fn eight_rounds<V: Turning<N>, const N: usize>(state: [V; 8], words: &[V; 8], constants: &[u64; 8]) -> [V; 8] {
    let ([w0, w1, w2, w3, w4, w5, w6, w7], [k0, k1, k2, k3, k4, k5, k6, k7]) = (*words, *constants);
    let state = one_round(state, w0.add(V::splat(k0)));
    let state = one_round(state, w1.add(V::splat(k1)));
    let state = one_round(state, w2.add(V::splat(k2)));
    let state = one_round(state, w3.add(V::splat(k3)));
    let state = one_round(state, w4.add(V::splat(k4)));
    let state = one_round(state, w5.add(V::splat(k5)));
    let state = one_round(state, w6.add(V::splat(k6)));
    one_round(state, w7.add(V::splat(k7)))
}

/// Step 3 of §6.4.2, with a word of the schedule and its constant added up.
#[inline(always)]
fn one_round<V: Turning<N>, const N: usize>(state: [V; 8], word: V) -> [V; 8] {
    let [a, b, c, d, e, f, g, h] = state;
    let sum_of_e = e.turn_down::<14>().xor3(e.turn_down::<18>(), e.turn_down::<41>());
    let sum_of_a = a.turn_down::<28>().xor3(a.turn_down::<34>(), a.turn_down::<39>());
    let first = h.add(word).add(e.choose(f, g)).add(sum_of_e);
    let second = sum_of_a.add(a.majority(b, c));
    [first.add(second), a, b, c, d.add(first), e, f, g]
}

/// The next sixteen words of the schedule (step 1 of §6.4.2).
#[inline(always)]
fn scheduled<V: Turning<N>, const N: usize>(words: &[V; 16]) -> [V; 16] {
    let [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15] = *words;
    let n0 = next_word(w0, w1, w9, w14);
    let n1 = next_word(w1, w2, w10, w15);
    let n2 = next_word(w2, w3, w11, n0);
    let n3 = next_word(w3, w4, w12, n1);
    let n4 = next_word(w4, w5, w13, n2);
    let n5 = next_word(w5, w6, w14, n3);
    let n6 = next_word(w6, w7, w15, n4);
    let n7 = next_word(w7, w8, n0, n5);
    let n8 = next_word(w8, w9, n1, n6);
    let n9 = next_word(w9, w10, n2, n7);
    let n10 = next_word(w10, w11, n3, n8);
    let n11 = next_word(w11, w12, n4, n9);
    let n12 = next_word(w12, w13, n5, n10);
    let n13 = next_word(w13, w14, n6, n11);
    let n14 = next_word(w14, w15, n7, n12);
    let n15 = next_word(w15, n0, n8, n13);
    [n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, n11, n12, n13, n14, n15]
}

/// A word from those 16, 15, 7 and 2 before it.
#[inline(always)]
fn next_word<V: Turning<N>, const N: usize>(before_16: V, before_15: V, before_7: V, before_2: V) -> V {
    let of_15 = before_15.turn_down::<1>().xor3(before_15.turn_down::<8>(), before_15.shift_down::<7>());
    let of_2 = before_2.turn_down::<19>().xor3(before_2.turn_down::<61>(), before_2.shift_down::<6>());
    before_16.add(of_15).add(before_7).add(of_2)
}

/// Whether the lanes give what `sha2` gives: asked once of instructions that few processors have, as
/// [`super::field::agrees`] is.
#[inline(always)]
pub(super) fn agrees<V: Turning<N>, const N: usize>() -> bool {
    // Of one block and of two, groups that are full and one that is not.
    let samples: Vec<Vec<u8>> =
        (0..5 * N + 3).map(|number| Sha512::digest(number.to_le_bytes()).repeat(2 + number / 16)).collect();
    let challenges: Vec<Challenge<'_>> =
        samples.iter().enumerate().filter_map(|(number, bytes)| sample(bytes, 3 * number)).collect();
    challenges.len() == samples.len()
        && hashes::<V, N>(&challenges).iter().zip(&challenges).all(|(hash, challenge)| *hash == challenge.hash())
}

/// A challenge with a message of so many bytes, all of it out of others.
fn sample(bytes: &[u8], length: usize) -> Option<Challenge<'_>> {
    Some(Challenge { nonce: bytes.first_chunk()?, key: bytes.last_chunk()?, message: bytes.get(..length)? })
}
