//! How sure a ratio of medians is, from the samples alone (Efron 1979).

use crate::random::Random;
use crate::spread::Spread;

/// Fewer samples than these say nothing about their spread.
pub(super) const SAMPLES_MIN: usize = 3;
/// How often samples are drawn anew.
const DRAWS: usize = 2000;
/// Of so many draws, this share lies outside on each side.
const OUTSIDE: f64 = 0.025;

/// The ratio of the medians of `new` and `old`, and between which values it lies with 95 % confidence: each side is
/// drawn anew from its own samples, again and again. The same samples and seed give the same interval.
pub(super) fn interval(old: &[f64], new: &[f64], seed: u64) -> Option<Spread> {
    let median = Spread::of(new)?.median / Spread::of(old)?.median;
    let mut random = Random::new(seed);
    let mut ratios = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        ratios.push(redrawn(new, &mut random)? / redrawn(old, &mut random)?);
    }
    if !median.is_finite() || ratios.iter().any(|ratio| !ratio.is_finite()) {
        return None;
    }
    ratios.sort_by(f64::total_cmp);
    Some(Spread { median, low: quantile(&ratios, OUTSIDE)?, high: quantile(&ratios, 1.0 - OUTSIDE)? })
}

/// The median of as many values, each drawn from the samples.
fn redrawn(samples: &[f64], random: &mut Random) -> Option<f64> {
    let drawn: Option<Vec<f64>> = samples.iter().map(|_| random.choose(samples)).collect();
    Spread::of(&drawn?).map(|spread| spread.median)
}

/// The value below which a share of the sorted values lies.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let bound = crate::spread::count(sorted.len()) * share;
    let mut below = 0.0;
    for value in sorted {
        below += 1.0;
        if below >= bound {
            return Some(*value);
        }
    }
    sorted.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_holds_the_ratio_and_lies_within_the_extremes() {
        let (old, new) = ([90.0, 95.0, 100.0, 105.0, 110.0], [45.0, 48.0, 50.0, 52.0, 55.0]);

        let ratio = interval(&old, &new, 1).unwrap();

        assert!((ratio.median - 0.5).abs() < 1e-12);
        assert!(ratio.low < ratio.median && ratio.median < ratio.high, "{ratio:?}");
        assert!(ratio.low >= 45.0 / 110.0 && ratio.high <= 55.0 / 90.0, "{ratio:?}");
        assert_eq!(interval(&old, &new, 1), Some(ratio));
    }

    #[test]
    fn more_spread_makes_a_wider_interval() {
        let wide = |spread: f64| [-2.0, -1.0, 0.0, 1.0, 2.0].map(|step| 100.0 + step * spread);
        let width = |spread| interval(&wide(spread), &wide(spread), 1).map(|ratio| ratio.high - ratio.low).unwrap();

        assert!(width(10.0) > 3.0 * width(1.0));
        assert!(width(0.0).abs() < 1e-12);
    }

    /// Of samples that were drawn from one distribution, an interval of 95 % holds 1 nearly always.
    #[test]
    fn two_runs_of_the_same_are_told_apart_rarely() {
        let mut random = Random::new(99);
        let mut draw = || -> Vec<f64> { (0..9).map(|_| 100.0 + 10.0 * random.share()).collect() };
        let outside = (0..300)
            .filter(|seed| {
                let ratio = interval(&draw(), &draw(), *seed).unwrap();
                ratio.low > 1.0 || ratio.high < 1.0
            })
            .count();

        assert!(outside <= 30, "{outside} of 300");
    }

    #[test]
    fn nothing_and_a_median_of_zero_have_no_ratio() {
        assert_eq!(interval(&[], &[1.0], 1), None);
        assert_eq!(interval(&[0.0], &[1.0], 1), None);
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();

        assert_eq!(quantile(&sorted, 0.025), Some(3.0));
        assert_eq!(quantile(&sorted, 0.975), Some(98.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
