//! Whether a row differs by more than chance makes some of very many rows differ: Welch's test (1947) on logarithms.
//!
//! Of rows that did not change an interval of 95 % leaves out some all the same, with three samples a side more than one in
//! twenty where the machine is restless; and a run has hundreds of rows. So the more rows are judged, the surer each has to
//! be: all of them share one chance of a false alarm (Bonferroni).

use std::f64::consts::FRAC_PI_2;

use crate::spread::count;

/// How likely it may be that any row at all is said to have changed where none has, on one side.
const FALSE_ALARM_MAX: f64 = 0.05;
/// Pieces that an area is cut into.
const PIECES: u32 = 512;

/// To which side a row went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Above,
    Below,
}

/// Whether `new` is surely beyond `factor` times `old`, as one of so many rows; each has two samples or more. Of what has no
/// logarithm nothing else is known, and its interval says all there is.
pub(super) fn is_sure(side: Side, factor: f64, old: &[f64], new: &[f64], rows: usize) -> bool {
    let (Some(old), Some(new)) = (Logarithms::of(old), Logarithms::of(new)) else { return true };
    let beyond = match side {
        Side::Above => new.mean - old.mean - factor.ln(),
        Side::Below => old.mean - new.mean + factor.ln(),
    };
    let variance = old.of_mean + new.of_mean;
    if beyond <= 0.0 || variance <= 0.0 {
        return beyond > 0.0;
    }
    let freedom = variance.powi(2) / (old.of_mean.powi(2) / old.freedom + new.of_mean.powi(2) / new.freedom);
    tail(beyond / variance.sqrt(), freedom) * count(rows) < FALSE_ALARM_MAX
}

/// What the logarithms of some samples say.
struct Logarithms {
    mean: f64,
    /// The variance of the mean.
    of_mean: f64,
    /// How many samples there are beside the first one.
    freedom: f64,
}

impl Logarithms {
    /// `None` where one is not above zero.
    fn of(samples: &[f64]) -> Option<Self> {
        let logarithms: Vec<f64> = samples.iter().filter(|sample| **sample > 0.0).map(|sample| sample.ln()).collect();
        let freedom = count(samples.len().checked_sub(1)?);
        if logarithms.len() < samples.len() || freedom < 1.0 {
            return None;
        }
        let mean = logarithms.iter().sum::<f64>() / (freedom + 1.0);
        let squares: f64 = logarithms.iter().map(|logarithm| (logarithm - mean).powi(2)).sum();
        Some(Self { mean, of_mean: squares / freedom / (freedom + 1.0), freedom })
    }
}

/// How likely Student's t is above `t`. With t = √ν · tan θ its density is that of cos^(ν − 1) θ.
fn tail(t: f64, freedom: f64) -> f64 {
    let area_from = |from: f64| {
        let piece = (FRAC_PI_2 - from) / f64::from(PIECES);
        let height = |number: u32| (from + (f64::from(number) + 0.5) * piece).cos().powf(freedom - 1.0);
        (0..PIECES).map(height).sum::<f64>() * piece
    };
    area_from((t / freedom.sqrt()).atan()) / (2.0 * area_from(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: [f64; 5] = [98.0, 99.0, 100.0, 101.0, 102.0];

    #[test]
    fn the_tail_is_that_of_the_tables() {
        for (t, freedom, expected) in
            [(0.0, 3.0, 0.5), (2.920, 2.0, 0.05), (6.965, 2.0, 0.01), (1.860, 8.0, 0.05), (5.041, 8.0, 0.0005)]
        {
            let found = tail(t, freedom);
            assert!((found / expected - 1.0).abs() < 0.005, "{t} {freedom}: {found}");
        }
    }

    #[test]
    fn more_rows_ask_for_more_and_both_sides_are_alike() {
        let ninety = OLD.map(|value| value * 0.92);
        for (rows, is_it) in [(1, true), (300, false)] {
            assert_eq!(is_sure(Side::Below, 0.95, &OLD, &ninety, rows), is_it);
            assert_eq!(is_sure(Side::Above, 1.0 / 0.95, &ninety, &OLD, rows), is_it);
            assert!(!is_sure(Side::Above, 1.0 / 0.95, &OLD, &ninety, rows));
        }
        assert!(is_sure(Side::Below, 0.95, &OLD, &OLD.map(|value| value * 0.8), 300));
    }

    #[test]
    fn what_does_not_vary_is_sure_and_what_has_no_logarithm_is_left_to_its_interval() {
        assert!(is_sure(Side::Above, 1.05, &[2.0; 3], &[4.0; 3], 1000));
        assert!(!is_sure(Side::Above, 2.1, &[2.0; 3], &[4.0; 3], 1000));
        assert!(is_sure(Side::Below, 0.95, &OLD, &[0.0; 3], 1000));
        assert!(is_sure(Side::Above, 1.05, &[-1.0, 1.0], &[2.0, 3.0], 1000));
    }
}
