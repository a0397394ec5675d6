//! From numbers to places on an axis.

/// How an axis counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    kind: Kind,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Even,
    Logarithmic,
}

impl Scale {
    /// From zero to a round number that is not below `high`, drawn from `from` to `to`.
    pub(super) fn from_zero(high: f64, from: f64, to: f64) -> Self {
        let step = step(high);
        Self { kind: Kind::Even, low: 0.0, high: (high / step).ceil().max(1.0) * step, from, to }
    }

    /// From `low` to `high`: by factors where these lie far apart and above zero.
    pub(super) fn between(low: f64, high: f64, from: f64, to: f64) -> Self {
        let kind = if low > 0.0 && high / low >= 8.0 { Kind::Logarithmic } else { Kind::Even };
        Self { kind, low, high, from, to }
    }

    /// By factors, from a power of ten below `low` to one above `high`; both must be above zero.
    pub(super) fn by_tens(low: f64, high: f64, from: f64, to: f64) -> Self {
        let low = 10_f64.powf(low.log10().floor());
        let high = 10_f64.powf(high.log10().ceil()).max(low * 10.0);
        Self { kind: Kind::Logarithmic, low, high, from, to }
    }

    /// Where a number is drawn.
    pub(super) fn place(self, value: f64) -> f64 {
        let share = match self.kind {
            Kind::Even => (value - self.low) / (self.high - self.low),
            Kind::Logarithmic => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
        };
        // One number alone stands in the middle.
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.5 };
        self.from + share * (self.to - self.from)
    }

    /// Round numbers along the axis.
    pub(super) fn ticks(self) -> Vec<f64> {
        let mut ticks = Vec::new();
        match self.kind {
            Kind::Even => {
                let step = step(self.high - self.low);
                let mut tick = (self.low / step).ceil() * step;
                while tick <= self.high + step / 1000.0 && ticks.len() < 20 {
                    ticks.push(tick);
                    tick += step;
                }
            }
            Kind::Logarithmic => {
                let mut decade = 10_f64.powf(self.low.log10().floor());
                while decade <= self.high * 1.000_001 && ticks.len() < 40 {
                    for factor in [1.0, 2.0, 5.0] {
                        let tick = decade * factor;
                        if tick >= self.low * 0.999_999 && tick <= self.high * 1.000_001 {
                            ticks.push(tick);
                        }
                    }
                    decade *= 10.0;
                }
            }
        }
        ticks
    }
}

/// A round number that fits four to ten times.
fn step(range: f64) -> f64 {
    if !(range.is_finite() && range > 0.0) {
        return 1.0;
    }
    let decade = 10_f64.powf(range.log10().floor());
    let factor = match range / decade {
        small if small <= 2.0 => 0.25,
        middle if middle <= 5.0 => 0.5,
        _ => 1.0,
    };
    decade * factor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_from_zero_ends_at_a_round_number() {
        let scale = Scale::from_zero(9_300.0, 0.0, 100.0);

        assert_eq!(scale.ticks().first(), Some(&0.0));
        assert_eq!(scale.ticks().last(), Some(&10_000.0));
        assert!((scale.place(5_000.0) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn factors_are_equally_far_apart() {
        let scale = Scale::between(1.0, 64.0, 0.0, 60.0);

        assert!((scale.place(8.0) - 30.0).abs() < 1e-9);
        assert!(scale.place(1.0).abs() < 1e-9 && (scale.place(64.0) - 60.0).abs() < 1e-9);
    }

    #[test]
    fn tens_enclose_what_was_measured() {
        let scale = Scale::by_tens(30.0, 900.0, 0.0, 1.0);

        assert_eq!(scale.ticks(), [10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]);
    }

    #[test]
    fn one_number_alone_and_nothing_have_a_place() {
        assert!((Scale::between(4.0, 4.0, 0.0, 100.0).place(4.0) - 50.0).abs() < 1e-9);
        assert!(Scale::from_zero(0.0, 0.0, 100.0).place(0.0).abs() < 1e-9);
    }
}
