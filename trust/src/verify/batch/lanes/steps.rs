//! Each step of a processor's lanes against the same step on plain words: what a module of instructions is tested with.

use super::{FiftyTwo, Halves, Lanes, Turning, lane_of};

/// Words in which a mistake about signs, widths or lanes shows: no lane has what another one has.
pub(in super::super) const EDGES: [u64; 16] = [
    0,
    1,
    u64::MAX,
    1 << 63,
    u64::MAX >> 1,
    0xffff_ffff,
    0xffff_ffff_0000_0000,
    0x8000_0000_8000_0000,
    (1 << 51) - 1,
    1 << 51,
    (1 << 52) - 1,
    1 << 52,
    0x0123_4567_89ab_cdef,
    0x5555_5555_5555_5555,
    0xaaaa_aaaa_aaaa_aaaa,
    0x9e37_79b9_7f4a_7c15,
];

const LOW_52: u64 = (1 << 52) - 1;

fn vector<V: Lanes<N>, const N: usize>(words: &[u64; N]) -> V {
    V::gather(|lane| words[lane])
}

fn each<const N: usize>(step: impl Fn(usize) -> u64) -> [u64; N] {
    std::array::from_fn(step)
}

fn shift<V: Lanes<N>, const N: usize, const BITS: i32>(a: [u64; N]) {
    assert_eq!(vector::<V, N>(&a).shift_up::<BITS>().words(), each(|lane| a[lane] << BITS), "{a:x?} up by {BITS}");
    assert_eq!(vector::<V, N>(&a).shift_down::<BITS>().words(), each(|lane| a[lane] >> BITS), "{a:x?} down by {BITS}");
}

/// The steps of all lanes.
pub(in super::super) fn lanes<V: Lanes<N>, const N: usize>(a: [u64; N], b: [u64; N]) {
    let (x, y) = (vector::<V, N>(&a), vector::<V, N>(&b));
    assert_eq!(x.words(), a);
    for (lane, word) in a.into_iter().enumerate() {
        assert_eq!(lane_of(&x, lane), word);
        assert_eq!(V::splat(word).words(), [word; N]);
    }
    assert_eq!(x.add(y).words(), each(|lane| a[lane].wrapping_add(b[lane])), "{a:x?} + {b:x?}");
    assert_eq!(x.sub(y).words(), each(|lane| a[lane].wrapping_sub(b[lane])), "{a:x?} - {b:x?}");
    assert_eq!(x.and(y).words(), each(|lane| a[lane] & b[lane]), "{a:x?} & {b:x?}");
    assert_eq!(x.xor(y).words(), each(|lane| a[lane] ^ b[lane]), "{a:x?} ^ {b:x?}");
    // All by which the fields and the hash shift, and both ends.
    shift::<V, N, 0>(a);
    shift::<V, N, 1>(a);
    shift::<V, N, 4>(a);
    shift::<V, N, 6>(a);
    shift::<V, N, 7>(a);
    shift::<V, N, 12>(a);
    shift::<V, N, 13>(a);
    shift::<V, N, 25>(a);
    shift::<V, N, 26>(a);
    shift::<V, N, 38>(a);
    shift::<V, N, 39>(a);
    shift::<V, N, 51>(a);
    shift::<V, N, 63>(a);
}

/// The product of halves, of whatever the upper ones hold.
pub(in super::super) fn halves<V: Halves<N>, const N: usize>(a: [u64; N], b: [u64; N]) {
    let half = |word: u64| word & 0xffff_ffff;
    let product = vector::<V, N>(&a).multiply(vector(&b)).words();
    assert_eq!(product, each(|lane| half(a[lane]) * half(b[lane])), "{a:x?} * {b:x?}");
}

/// The two parts of a product of 52 bits, of whatever is above these.
pub(in super::super) fn fifty_two<V: FiftyTwo<N>, const N: usize>(sum: [u64; N], a: [u64; N], b: [u64; N]) {
    let product = |lane: usize| u128::from(a[lane] & LOW_52) * u128::from(b[lane] & LOW_52);
    let part = |lane: usize, bits: u32| {
        let part = u64::try_from(product(lane) >> bits & u128::from(LOW_52)).unwrap();
        sum[lane].wrapping_add(part)
    };
    let (f, g) = (vector::<V, N>(&a), vector::<V, N>(&b));
    let low = vector::<V, N>(&sum).add_low_product(f, g).words();
    let high = vector::<V, N>(&sum).add_high_product(f, g).words();
    assert_eq!(low, each(|lane| part(lane, 0)), "{sum:x?} + low of {a:x?} * {b:x?}");
    assert_eq!(high, each(|lane| part(lane, 52)), "{sum:x?} + high of {a:x?} * {b:x?}");
}

fn turn<V: Turning<N>, const N: usize, const BITS: i32>(a: [u64; N]) {
    let bits = BITS.unsigned_abs();
    let turned = vector::<V, N>(&a).turn_down::<BITS>().words();
    assert_eq!(turned, each(|lane| a[lane].rotate_right(bits)), "{a:x?} turned by {BITS}");
}

/// The steps of a hash.
pub(in super::super) fn turning<V: Turning<N>, const N: usize>(a: [u64; N], b: [u64; N], c: [u64; N]) {
    let (x, y, z) = (vector::<V, N>(&a), vector::<V, N>(&b), vector::<V, N>(&c));
    // All by which the hash turns, and both ends.
    turn::<V, N, 1>(a);
    turn::<V, N, 8>(a);
    turn::<V, N, 14>(a);
    turn::<V, N, 18>(a);
    turn::<V, N, 19>(a);
    turn::<V, N, 28>(a);
    turn::<V, N, 34>(a);
    turn::<V, N, 39>(a);
    turn::<V, N, 41>(a);
    turn::<V, N, 61>(a);
    turn::<V, N, 63>(a);
    // FIPS 180-4 §4.1.3, as it is written there.
    let choice = |lane: usize| (a[lane] & b[lane]) ^ (!a[lane] & c[lane]);
    let majority = |lane: usize| (a[lane] & b[lane]) ^ (a[lane] & c[lane]) ^ (b[lane] & c[lane]);
    assert_eq!(x.xor3(y, z).words(), each(|lane| a[lane] ^ b[lane] ^ c[lane]), "{a:x?} {b:x?} {c:x?}");
    assert_eq!(x.choose(y, z).words(), each(choice), "{a:x?} {b:x?} {c:x?}");
    assert_eq!(x.majority(y, z).words(), each(majority), "{a:x?} {b:x?} {c:x?}");
}

/// Every edge in every lane, beside other ones: calls `with` with rows of them.
pub(in super::super) fn edges<const N: usize>(with: impl Fn([u64; N], [u64; N], [u64; N])) {
    let row = |from: usize, step: usize| each::<N>(|lane| EDGES[(from + lane * step) % EDGES.len()]);
    for first in 0..EDGES.len() {
        for second in 0..EDGES.len() {
            with(row(first, 1), row(second, 3), row(first + second, 5));
        }
    }
}
