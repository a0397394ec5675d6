//! Several ways to do the same, measured in turn: in every round everybody once, so that what slows the machine down
//! for a while meets all alike.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::load::{Load, drive_here};
use crate::plan::Plan;
use crate::report::Whose;

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

/// Turns of each side in one measurement of a duel.
const TURNS: u32 = 8;

/// How many times as fast the one is as the other, in every round. They take turns of a fraction of a measurement, for
/// differences that are smaller than what the machine does from one second to the next.
///
/// # Errors
/// The first that fails.
pub(crate) fn duel(plan: &Plan, mut one: Entrant<'_>, mut other: Entrant<'_>) -> Result<Vec<f64>> {
    let turn = Load { in_flight: 1, warm_up: Duration::ZERO, length: plan.length / TURNS };
    let mut ratios = Vec::with_capacity(plan.rounds);
    // The first turn of each warms up.
    for round in 0..=plan.rounds {
        let (mut of_one, mut of_other) = (0.0, 0.0);
        let turns = if round == 0 { 1 } else { TURNS };
        for number in 0..turns {
            let side = |entrant: &mut Entrant<'_>| (entrant.measure)(turn).with_context(|| entrant.name.clone());
            // Every other turn goes backwards.
            if number.is_multiple_of(2) {
                of_one += side(&mut one)?;
                of_other += side(&mut other)?;
            } else {
                of_other += side(&mut other)?;
                of_one += side(&mut one)?;
            }
        }
        if round > 0 {
            ratios.push(of_one / of_other);
        }
    }
    Ok(ratios)
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
    fn a_duel_takes_turns_and_gives_the_ratio_of_every_round() {
        let order = RefCell::new(String::new());
        let seen = &order;
        let plan = Plan { rounds: 2, warm_up: Duration::ZERO, length: Duration::ZERO, ..Plan::default() };
        let side = |name: &'static str, rate: f64| {
            Entrant::new(name, Whose::Ours, move |_| {
                seen.borrow_mut().push_str(name);
                Ok(rate)
            })
        };

        let ratios = duel(&plan, side("a", 3.0), side("b", 2.0)).unwrap();

        assert_eq!(ratios, [1.5, 1.5]);
        assert_eq!(order.into_inner(), format!("ab{}", "abba".repeat(8)));
    }

    #[test]
    fn one_that_fails_is_named() {
        let plan = Plan { rounds: 1, ..Plan::default() };
        let mut entrants = [Entrant::here("dalek", Whose::Peers, || anyhow::bail!("refused"))];

        let error = contest(&plan, &mut entrants).unwrap_err();

        assert_eq!(format!("{error:#}"), "dalek: refused");
    }
}
