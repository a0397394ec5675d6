//! How much is measured, for how long and how often.

use std::time::Duration;

use trust::verify::batch::Path;

use crate::load::Load;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Effort {
    /// Some cases of every suite, to see that all is well within minutes.
    Quick,
    /// Every case.
    #[default]
    Whole,
}

/// How long and how often everything is measured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// How often, everybody beside everybody.
    pub(crate) rounds: usize,
    /// Before anything counts.
    pub(crate) warm_up: Duration,
    /// While it counts.
    pub(crate) length: Duration,
    /// What the name of a case must contain; empty for all.
    pub(crate) case: String,
    /// How many cases.
    pub(crate) effort: Effort,
    /// By which path what is ours is verified in process, where one was named.
    pub(crate) path: Option<Path>,
}

impl Plan {
    /// One measurement with so many in flight.
    pub(crate) const fn load(&self, in_flight: usize) -> Load {
        Load { in_flight, warm_up: self.warm_up, length: self.length }
    }

    /// The path that was named, or the fastest.
    pub(crate) fn path_or_best(&self) -> Path {
        self.path.unwrap_or_else(Path::best)
    }

    /// These cases, or in haste only the ones of `few`.
    pub(crate) fn cases<T: Copy>(&self, all: &[T], few: &[T]) -> Vec<T> {
        match self.effort {
            Effort::Quick => few.to_vec(),
            Effort::Whole => all.to_vec(),
        }
    }

    /// The numbers from 0 to `count` in the order of a round: every other round goes backwards, so that nobody always
    /// comes after the same neighbour.
    pub(crate) fn order(round: usize, count: usize) -> Vec<usize> {
        let forwards = 0..count;
        if round.is_multiple_of(2) { forwards.collect() } else { forwards.rev().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_round_goes_backwards() {
        assert_eq!(Plan::order(0, 3), [0, 1, 2]);
        assert_eq!(Plan::order(1, 3), [2, 1, 0]);
        assert_eq!(Plan::order(4, 3), [0, 1, 2]);
    }
}
