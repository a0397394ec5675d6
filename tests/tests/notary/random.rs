//! Choices that a seed makes again.

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// Whether one of so many times it is so.
    pub fn is_one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// Whether there is time for many, and for others each time.
pub fn is_long() -> bool {
    std::env::var_os("TRUSTD_TEST_LONG").is_some()
}

/// The one that is asked for, else always the same, unless there is time for others.
pub fn seed() -> u64 {
    let given = std::env::var("TRUSTD_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = given.unwrap_or_else(|| if is_long() { getrandom::u64().unwrap() } else { 1 });
    println!("TRUSTD_TEST_SEED={seed} sends the same again");
    seed
}
