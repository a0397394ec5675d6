//! What the project set itself for a batch in process, with prepared keys of Ed25519: two threads beside one, and one bad
//! item in a thousand beside none. Both in turns of a fraction of a second.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use trust::Algorithm;

use super::super::{LEFT_OUT, Plan};
use super::batch::{Bad, Batch, Input, Way};
use super::{ITEMS, SUITE};
use crate::contest::{Entrant, duel};
use crate::load::drive_threads;
use crate::report::{Aim, Bound, Outcome, Report, Row, Target};
use crate::vault::Vault;

const THREADS: &str = "ed25519, one key, 1024 digests, 2 threads beside 1";
const BAD: &str = "ed25519, one key, 1024 digests, 1 in 1,000 bad beside none";
/// A unit; a bad item must not cost more than its own verdict.
const MORE: &str = "% more time";

/// Measures both.
///
/// # Errors
/// When a key is not made, or a verdict is wrong.
pub(super) fn run(plan: &Plan, vault: &mut Vault, report: &mut Report) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if THREADS.contains(&plan.case) && cores > 1 {
        let batch = Arc::new(Batch::new(vault, Algorithm::Ed25519, 1, ITEMS, Input::Digest)?);
        let ratios = duel(plan, entrant(plan, &batch, 2), entrant(plan, &batch, 1)).context(THREADS)?;
        report.add(row(THREADS, "×", ratios));
    }
    if BAD.contains(&plan.case) {
        let [good, bad] = good_and_bad(vault)?.map(Arc::new);
        let ratios = duel(plan, entrant(plan, &good, 1), entrant(plan, &bad, 1)).context(BAD)?;
        report.add(row(BAD, MORE, ratios.iter().map(|ratio| more_percent(*ratio)).collect()));
    }
    let aim = |case: &str, unit, bound| Aim {
        suite: SUITE,
        case: case.to_owned(),
        subject: Way::Prepared.name().to_owned(),
        unit,
        bound,
    };
    if cores > 1 {
        report.aim_at(aim(THREADS, "×", Bound::AtLeast(1.9)), LEFT_OUT);
    } else {
        let (what, why) =
            (format!("{SUITE}: {THREADS}: {}", Way::Prepared.name()), "this machine has one core".to_owned());
        report.aim(Target { what, outcome: Outcome::NotMeasured(why), bound: Bound::AtLeast(1.9), unit: "×" });
    }
    report.aim_at(aim(BAD, MORE, Bound::AtMost(2.0)), LEFT_OUT);
    Ok(())
}

/// The same items under the same table, none of them bad and one in a thousand: of two tables the one that lies better in
/// memory would win by more than the bound.
fn good_and_bad(vault: &mut Vault) -> Result<[Batch; 2]> {
    let made = Batch::new(vault, Algorithm::Ed25519, 1, ITEMS, Input::Digest)?;
    Ok([Bad::None, Bad::OneInThousand].map(|bad| made.clone().spoiled(bad)))
}

fn row(case: &str, unit: &'static str, samples: Vec<f64>) -> Row {
    Row::new(SUITE, case.to_owned(), Way::Prepared.name().to_owned(), unit, samples)
}

/// How much more time is taken at a rate that is so many times lower.
fn more_percent(ratio: f64) -> f64 {
    (ratio - 1.0) * 100.0
}

fn entrant(plan: &Plan, batch: &Arc<Batch>, threads: usize) -> Entrant<'static> {
    let (batch, path) = (Arc::clone(batch), plan.path_or_best());
    Entrant::new(Way::Prepared.name(), Way::Prepared.whose(), move |load| {
        drive_threads(threads, load, |_| {
            let batch = Arc::clone(&batch);
            Ok(Box::new(move || batch.verify(Way::Prepared, path, ITEMS)))
        })
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn both_are_measured_and_become_targets() {
        let directory = tempfile::tempdir().unwrap();
        let mut vault = Vault::new(directory.path()).unwrap();
        let plan = Plan { rounds: 1, length: Duration::from_millis(8), ..Plan::default() };
        let mut report = Report::default();

        run(&plan, &mut vault, &mut report).unwrap();

        let value = report.json(&serde_json::json!({}));
        let bad = &value["targets"][1];
        assert!(bad["measured"].is_number() && bad["unit"] == MORE, "{bad}");
        assert_eq!(value["targets"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn the_bad_item_stands_among_the_same_items_under_the_same_table() {
        let directory = tempfile::tempdir().unwrap();
        let mut vault = Vault::new(directory.path()).unwrap();

        let [good, bad] = good_and_bad(&mut vault).unwrap();

        assert!(good.shares_tables(&bad));
        assert_eq!((good.bad_items(), bad.bad_items()), (0, 1));
    }

    #[test]
    fn a_target_whose_case_is_left_out_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let mut vault = Vault::new(directory.path()).unwrap();
        let plan = Plan { rounds: 1, case: "P-384".to_owned(), ..Plan::default() };
        let mut report = Report::default();

        run(&plan, &mut vault, &mut report).unwrap();

        let value = report.json(&serde_json::json!({}));
        assert_eq!(value["targets"][1]["not_measured"], LEFT_OUT);
    }

    #[test]
    fn half_the_rate_is_a_hundred_percent_more() {
        assert!((more_percent(2.0) - 100.0).abs() < 1e-9);
        assert!(more_percent(1.0).abs() < 1e-9);
    }
}
