//! What callers wait who do not wait for each other, at shares of what the daemon does when it is never idle.

use anyhow::{Context as _, Result};

use super::{IN_FLIGHT, MTLS, SUITE, Scene, UNIX, median, verdict};
use crate::load::{Measured, Offer, drive_open};
use crate::report::{Missing, Place, Point, Report, Row, Y};
use crate::suite::Plan;

/// In hundredths of the rate with so many in flight as [`IN_FLIGHT`] has at most.
const SHARES: [u32; 4] = [25, 50, 75, 90];
const SHARES_QUICK: [u32; 2] = [50, 90];
/// One number of a measurement.
type Percentile = fn(&Measured) -> f64;
/// More are unanswered only when the daemon has stopped.
const UNANSWERED_MAX: u32 = 4096;

/// Measures verdicts and signatures through the doors.
///
/// # Errors
/// When a request fails.
pub(super) async fn run(plan: &Plan, scene: &Scene, report: &mut Report) -> Result<()> {
    for method in ["Verify", "Sign"] {
        for door in plan.cases(&[UNIX, MTLS], &[UNIX]) {
            let most = IN_FLIGHT.iter().copied().max().unwrap_or(1);
            let Some(rate) = median(report, &format!("{method}, Ed25519, {most} in flight"), door) else { continue };
            for share in plan.cases(&SHARES, &SHARES_QUICK) {
                let case = format!("{method}, Ed25519, open loop, {share} % of the closed one");
                if !case.contains(&plan.case) {
                    continue;
                }
                if rate < 1.0 {
                    let why = "nothing was answered in the closed loop".to_owned();
                    report.miss(Missing { suite: SUITE, case, subject: format!("trustd, {door}"), why });
                    continue;
                }
                let mut found = Vec::new();
                for _ in 0..plan.rounds {
                    let offer = Offer {
                        per_second: rate * f64::from(share) / 100.0,
                        unanswered_max: UNANSWERED_MAX,
                        warm_up: plan.warm_up,
                        length: plan.length,
                    };
                    found.push(one(scene, method, door, offer).await.with_context(|| case.clone())?);
                }
                add(report, method, door, share, &case, &found);
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
    let percentiles: [(&str, Percentile); 3] = [
        ("median", |measured| measured.latency().p50_us),
        ("99th percentile", |measured| measured.latency().p99_us),
        ("99.9th percentile", |measured| measured.latency().p999_us),
    ];
    for (name, of) in percentiles {
        let samples = found.iter().map(of).collect();
        let place = Place::new(
            format!("{method}, {door}: latency by offered load (open loop, Poisson arrivals)"),
            "offered load (% of the rate with 64 in flight)",
            Point::Number(f64::from(share)),
            Y::Value,
        );
        let row = Row::new(SUITE, format!("{case}, {name}"), subject.clone(), "µs", samples);
        report.add(row.at(place.named(name)));
    }
}
