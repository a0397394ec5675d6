//! What several measurements of one thing say: the middle one, and how far they lie apart.

/// Median, lowest and highest of some measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// Half of them are below; of an even number the mean of the middle two.
    pub(crate) median: f64,
    /// The lowest.
    pub(crate) low: f64,
    /// The highest.
    pub(crate) high: f64,
}

impl Spread {
    /// Of at least one measurement, each a finite number; otherwise there is nothing to say.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        if values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(*sorted.get(middle.checked_sub(1)?)?, upper)
        } else {
            upper
        };
        Some(Self { median, low, high })
    }
}

/// The ratio of each measurement of `ours` to the one of `theirs` that was made beside it. What slowed the machine
/// down for a while slowed both, so ratios spread less than rates.
pub(crate) fn paired(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
}

/// A count as a number with a fraction. Counts beyond 2^32 do not occur here and are cut to it.
pub(crate) fn number(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// How many things there are, as a number with a fraction; cut as above.
pub(crate) fn count(things: usize) -> f64 {
    f64::from(u32::try_from(things).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_odd_number_is_the_middle_one_in_any_order() {
        let spread = Spread::of(&[9.0, 1.0, 4.0]).unwrap();

        assert_eq!(spread, Spread { median: 4.0, low: 1.0, high: 9.0 });
    }

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle_two() {
        let spread = Spread::of(&[8.0, 1.0, 2.0, 4.0]).unwrap();

        assert_eq!(spread, Spread { median: 3.0, low: 1.0, high: 8.0 });
    }

    #[test]
    fn one_measurement_is_its_own_spread() {
        assert_eq!(Spread::of(&[5.0]), Some(Spread { median: 5.0, low: 5.0, high: 5.0 }));
    }

    #[test]
    fn nothing_and_what_is_no_number_say_nothing() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[1.0, f64::NAN]), None);
        assert_eq!(Spread::of(&[1.0, f64::INFINITY]), None);
    }

    #[test]
    fn ratios_are_made_of_neighbours() {
        assert_eq!(paired(&[10.0, 30.0], &[5.0, 10.0, 99.0]), [2.0, 3.0]);
    }
}
