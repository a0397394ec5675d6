//! Numbers that look random and are the same in every run: for resampling and for arrival times, never for keys.

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// The sequence of a number.
    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to, and without, 1.
    pub(crate) fn share(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap_or(0)) / 4_294_967_296.0
    }

    /// One of some values, each as likely as any other; `None` of none.
    pub(crate) fn choose(&mut self, values: &[f64]) -> Option<f64> {
        let length = u64::try_from(values.len()).ok()?;
        // As unfair as 2^-60: no sample is that large.
        let place = self.next().checked_rem(length)?;
        values.get(usize::try_from(place).ok()?).copied()
    }

    /// How long until the next of events that know nothing of each other, as a multiple of the mean.
    pub(crate) fn exponential(&mut self) -> f64 {
        -(1.0 - self.share()).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut random = Random::new(1_234_567);

        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn waiting_times_have_their_mean_and_are_not_below_zero() {
        let mut random = Random::new(7);
        let times: Vec<f64> = (0..100_000).map(|_| random.exponential()).collect();

        assert!(times.iter().all(|time| time.is_finite() && *time >= 0.0));
        let mean = times.iter().sum::<f64>() / 100_000.0;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
    }

    #[test]
    fn every_value_is_chosen_and_none_of_none() {
        let mut random = Random::new(7);
        let chosen: Vec<f64> = (0..100).filter_map(|_| random.choose(&[1.0, 2.0, 3.0])).collect();

        assert!([1.0, 2.0, 3.0].iter().all(|value| chosen.contains(value)));
        assert_eq!(random.choose(&[]), None);
    }
}
