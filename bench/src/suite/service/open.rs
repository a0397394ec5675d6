//! What callers wait who do not wait for each other, at shares of what the daemon does when it is never idle.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{IN_FLIGHT, MTLS, SUITE, Scene, UNIX, case_of_many, median, stream, subject_of_many, verdict};
use crate::load::{Measured, Offer, drive_open};
use crate::report::{Missing, Place, Point, Report, Row, Y};
use crate::spread::{Spread, count};
use crate::suite::Plan;
use crate::suite::verify::{ITEMS, request};

/// In hundredths of the rate with so many in flight as [`IN_FLIGHT`] has at most.
const SHARES: [u32; 4] = [25, 50, 75, 90];
const SHARES_QUICK: [u32; 2] = [50, 90];
/// One number of a measurement.
type Percentile = fn(&Measured) -> f64;
/// More are unanswered only when the daemon has stopped.
const UNANSWERED_MAX: u32 = 4096;
/// Batches that are due in one measurement, at least: of fewer nobody knows a 99th percentile.
const DUE_MIN: f64 = 300.0;
const DUE_MIN_QUICK: f64 = 100.0;
/// But so long a measurement takes at most, however slow the daemon is.
const LENGTH_MAX: Duration = Duration::from_secs(8);

/// Measures the batches of a stream.
///
/// # Errors
/// When the stream ends, or a verdict is wrong.
pub(super) async fn batches(plan: &Plan, scene: &Scene, report: &mut Report) -> Result<()> {
    let (closed, subject) = (case_of_many(), subject_of_many(&format!("VerifyStream, {UNIX}")));
    let Some(items) = report.samples(SUITE, &closed, &subject, "items/s").and_then(Spread::of) else { return Ok(()) };
    let rate = items.median / count(ITEMS);
    let due_min = plan.cases(&[DUE_MIN], &[DUE_MIN_QUICK]).pop().context("no number of batches")?;
    for share in plan.cases(&SHARES, &SHARES_QUICK) {
        let case = format!("VerifyStream, Ed25519, {ITEMS} items a message, open loop, {share} % of the closed one");
        if !case.contains(&plan.case) {
            continue;
        }
        if rate <= 0.0 {
            report.miss(nothing_answered(case, subject.clone()));
            continue;
        }
        let per_second = rate * f64::from(share) / 100.0;
        let enough = Duration::try_from_secs_f64(due_min / per_second).unwrap_or(LENGTH_MAX);
        let length = plan.length.max(enough.min(LENGTH_MAX));
        let offer = Offer { per_second, unanswered_max: UNANSWERED_MAX, warm_up: plan.warm_up, length };
        let mut found = Vec::new();
        for _ in 0..plan.rounds {
            let (_, channel) = scene.doors.first().context("no door")?;
            let measured = stream::drive_when_due(offer, channel.clone(), request(&scene.batch)?);
            found.push(measured.await.with_context(|| case.clone())?);
        }
        let rates = found.iter().map(|measured| measured.per_second * count(ITEMS)).collect();
        report.add(Row::new(SUITE, format!("{case}, answered"), subject.clone(), "items/s", rates));
        let figure = Figure {
            title: format!("VerifyStream, {UNIX}, {ITEMS} items a message: latency of one by offered load"),
            along: ALONG_BATCHES,
            share,
        };
        // A measurement has too few batches for one in a thousand.
        figure.add(report, &case, &subject, percentiles_of(0), &found);
    }
    Ok(())
}

/// Measures verdicts and signatures through the doors, in turn.
///
/// # Errors
/// When a request fails.
pub(super) async fn run(plan: &Plan, scene: &Scene, report: &mut Report) -> Result<()> {
    for method in ["Verify", "Sign"] {
        for share in plan.cases(&SHARES, &SHARES_QUICK) {
            let case = format!("{method}, Ed25519, open loop, {share} % of the closed one");
            if !case.contains(&plan.case) {
                continue;
            }
            let mut doors = Vec::new();
            for door in plan.cases(&[UNIX, MTLS], &[UNIX]) {
                let most = IN_FLIGHT.iter().copied().max().unwrap_or(1);
                match median(report, &format!("{method}, Ed25519, {most} in flight"), door) {
                    Some(rate) if rate >= 1.0 => doors.push((door, rate, Vec::new())),
                    Some(_) => report.miss(nothing_answered(case.clone(), format!("trustd, {door}"))),
                    None => {}
                }
            }
            for round in 0..plan.rounds {
                for place in Plan::order(round, doors.len()) {
                    let Some((door, rate, found)) = doors.get_mut(place) else { continue };
                    let offer = Offer {
                        per_second: *rate * f64::from(share) / 100.0,
                        unanswered_max: UNANSWERED_MAX,
                        warm_up: plan.warm_up,
                        length: plan.length,
                    };
                    found.push(one(scene, method, door, offer).await.with_context(|| case.clone())?);
                }
            }
            for (door, _, found) in &doors {
                add(report, method, door, share, &case, found);
            }
        }
    }
    Ok(())
}

async fn one(scene: &Scene, method: &str, door: &str, offer: Offer) -> Result<Measured> {
    let (_, channel) = scene.doors.iter().find(|(name, _)| *name == door).context("no such door")?;
    if method == "Verify" {
        let (channel, request) = (channel.clone(), scene.verify_one()?);
        drive_open(offer, move |_| verdict(channel.clone(), request.clone())).await
    } else {
        let subject = scene.signer(door, channel);
        drive_open(offer, move |_| {
            let subject = subject.clone();
            async move { subject.sign(0, 1).await }
        })
        .await
    }
}

fn add(report: &mut Report, method: &str, door: &str, share: u32, case: &str, found: &[Measured]) {
    let subject = format!("trustd, {door}");
    let rates = found.iter().map(|measured| measured.per_second).collect();
    report.add(Row::new(SUITE, format!("{case}, answered"), subject.clone(), "1/s", rates));
    let title = format!("{method}, {door}: latency by offered load");
    let percentiles = percentiles_of(found.iter().map(Measured::count).min().unwrap_or(0));
    Figure { title, along: ALONG, share }.add(report, case, &subject, percentiles, found);
    for (name, _) in PERCENTILES.iter().skip(percentiles.len()) {
        let (case, subject) = (format!("{case}, {name}"), subject.clone());
        let why = format!("a measurement has fewer than {THOUSANDTH_MIN} requests");
        report.miss(Missing { suite: SUITE, case, subject, why });
    }
}

/// What so many requests say something about: of fewer than a thousand the slowest one would be the 99.9th percentile.
fn percentiles_of(requests: u64) -> &'static [(&'static str, Percentile)] {
    let [rest @ .., _] = &PERCENTILES;
    if requests < THOUSANDTH_MIN { rest } else { &PERCENTILES }
}

fn nothing_answered(case: String, subject: String) -> Missing {
    Missing { suite: SUITE, case, subject, why: "nothing was answered in the closed loop".to_owned() }
}

/// Requests of a measurement from which on one in a thousand is known.
const THOUSANDTH_MIN: u64 = 1000;
/// What is shown of a measurement.
const PERCENTILES: [(&str, Percentile); 3] = [
    ("median", |measured| measured.latency().p50_us),
    ("99th percentile", |measured| measured.latency().p99_us),
    ("99.9th percentile", |measured| measured.latency().p999_us),
];
const ALONG: &str = "offered load (% of the rate with 64 in flight)";
const ALONG_BATCHES: &str = "offered load (% of the rate with 4 messages in flight)";

/// Where latencies are shown.
struct Figure {
    title: String,
    along: &'static str,
    share: u32,
}

impl Figure {
    /// A row for each of these percentiles.
    fn add(
        &self,
        report: &mut Report,
        case: &str,
        subject: &str,
        percentiles: &[(&str, Percentile)],
        found: &[Measured],
    ) {
        for (name, of) in percentiles {
            let samples = found.iter().map(of).collect();
            let title = format!("{} (open loop, Poisson arrivals)", self.title);
            let place = Place::new(title, self.along, Point::Number(f64::from(self.share)), Y::Value);
            let row = Row::new(SUITE, format!("{case}, {name}"), subject.to_owned(), "µs", samples);
            report.add(row.at(place.named(*name)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::BATCHES;
    use super::*;

    #[test]
    fn one_in_a_thousand_is_said_of_a_thousand_and_of_no_fewer() {
        let names = |requests| percentiles_of(requests).iter().map(|(name, _)| *name).collect::<Vec<_>>();

        assert_eq!(names(999), ["median", "99th percentile"]);
        assert_eq!(names(1000), ["median", "99th percentile", "99.9th percentile"]);
    }

    #[test]
    fn the_axes_say_of_which_rate_the_shares_are() {
        assert!(ALONG.contains(&format!("{} in flight", IN_FLIGHT.iter().max().unwrap())));
        assert!(ALONG_BATCHES.contains(&format!("{BATCHES} messages in flight")));
    }
}
