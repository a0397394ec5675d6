//! Targets: what a number should be, and what it is.

use super::shown;

/// What a number should be.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// In words.
    pub(crate) what: String,
    /// What came of it.
    pub(crate) outcome: Outcome,
    /// The bound.
    pub(crate) bound: Bound,
    /// `1/s`, `×`, `s`, `MB`.
    pub(crate) unit: &'static str,
}

/// What came of a target.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// The median.
    Measured(f64),
    /// It was not measured; why, in words.
    NotMeasured(String),
}

/// Which side of a bound is good.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// A target about the median of one row.
#[derive(Debug, Clone)]
pub(crate) struct Aim {
    /// The row's suite, case, subject and unit.
    pub(crate) suite: &'static str,
    pub(crate) case: String,
    pub(crate) subject: String,
    pub(crate) unit: &'static str,
    /// What its median should be.
    pub(crate) bound: Bound,
}

impl Target {
    /// Whether the bound holds; `None` of what was not measured.
    pub(super) fn is_met(&self) -> Option<bool> {
        match (&self.outcome, self.bound) {
            (Outcome::Measured(measured), Bound::AtLeast(bound)) => Some(*measured >= bound),
            (Outcome::Measured(measured), Bound::AtMost(bound)) => Some(*measured <= bound),
            (Outcome::NotMeasured(_), _) => None,
        }
    }

    /// The bound as a person writes it.
    pub(super) fn bound_shown(&self) -> String {
        match self.bound {
            Bound::AtLeast(bound) => format!("≥ {} {}", shown(bound), self.unit),
            Bound::AtMost(bound) => format!("≤ {} {}", shown(bound), self.unit),
        }
    }

    /// What was measured, with its unit, or why nothing was.
    pub(super) fn outcome_shown(&self) -> String {
        match &self.outcome {
            Outcome::Measured(measured) => format!("{} {}", shown(*measured), self.unit),
            Outcome::NotMeasured(why) => format!("not measured: {why}"),
        }
    }

    /// Met, missed, or nothing.
    pub(super) fn verdict(&self) -> &'static str {
        match self.is_met() {
            Some(true) => "met",
            Some(false) => "missed",
            None => "–",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_holds_on_its_own_side() {
        let is_met = |bound| {
            let target = Target { what: String::new(), outcome: Outcome::Measured(2.0), bound, unit: "s" };
            target.is_met().unwrap()
        };

        assert!(is_met(Bound::AtMost(2.0)) && is_met(Bound::AtLeast(2.0)));
        assert!(!is_met(Bound::AtMost(1.9)) && !is_met(Bound::AtLeast(2.1)));
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed_and_says_why() {
        let outcome = Outcome::NotMeasured("no such processor".to_owned());
        let target = Target { what: String::new(), outcome, bound: Bound::AtLeast(12.0), unit: "×" };

        assert_eq!(target.is_met(), None);
        assert_eq!((target.bound_shown().as_str(), target.verdict()), ("≥ 12.0 ×", "–"));
        assert_eq!(target.outcome_shown(), "not measured: no such processor");
    }
}
