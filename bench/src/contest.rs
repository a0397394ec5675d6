//! Several ways to do the same, measured in turn: in every round everybody once, so that what slows the machine down
//! for a while meets all alike.

use anyhow::{Context as _, Result};

use crate::load::{Load, drive_here};
use crate::report::Whose;
use crate::suite::Plan;

/// One way, and how it is measured.
pub(crate) struct Entrant<'a> {
    /// Its name in the report.
    pub(crate) name: String,
    /// Whose code it is.
    pub(crate) whose: Whose,
    measure: Box<dyn FnMut(Load) -> Result<f64> + 'a>,
}

impl<'a> Entrant<'a> {
    /// One that is measured by `measure`, which gives a rate.
    pub(crate) fn new(name: impl Into<String>, whose: Whose, measure: impl FnMut(Load) -> Result<f64> + 'a) -> Self {
        Self { name: name.into(), whose, measure: Box::new(measure) }
    }

    /// One that runs on this thread; its answer is how many it did.
    pub(crate) fn here(name: impl Into<String>, whose: Whose, mut operation: impl FnMut() -> Result<u64> + 'a) -> Self {
        Self::new(name, whose, move |load| drive_here(load, &mut operation))
    }
}

/// The rates of each, in the order of the entrants.
///
/// # Errors
/// The first that fails.
pub(crate) fn contest(plan: &Plan, entrants: &mut [Entrant<'_>]) -> Result<Vec<Vec<f64>>> {
    let mut found = vec![Vec::new(); entrants.len()];
    for round in 0..plan.rounds {
        for place in Plan::order(round, entrants.len()) {
            let (Some(entrant), Some(found)) = (entrants.get_mut(place), found.get_mut(place)) else { continue };
            found.push((entrant.measure)(plan.load(1)).with_context(|| entrant.name.clone())?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use super::*;

    #[test]
    fn everybody_is_measured_once_in_every_round() {
        let order = RefCell::new(String::new());
        let seen = &order;
        let plan = Plan { rounds: 2, warm_up: Duration::ZERO, length: Duration::ZERO, ..Plan::default() };
        let mut entrants: Vec<Entrant<'_>> = ["a", "b", "c"]
            .map(|name| {
                Entrant::new(name, Whose::Ours, move |_| {
                    seen.borrow_mut().push_str(name);
                    Ok(1.0)
                })
            })
            .into_iter()
            .collect();

        let found = contest(&plan, &mut entrants).unwrap();

        assert_eq!(found, [[1.0, 1.0]; 3]);
        drop(entrants);
        assert_eq!(order.into_inner(), "abccba");
    }

    #[test]
    fn one_that_fails_is_named() {
        let plan = Plan { rounds: 1, ..Plan::default() };
        let mut entrants = [Entrant::here("dalek", Whose::Peers, || anyhow::bail!("refused"))];

        let error = contest(&plan, &mut entrants).unwrap_err();

        assert_eq!(format!("{error:#}"), "dalek: refused");
    }
}
