//! What a run leaves: tables and plots for people, and the same rows for programs.

mod csv;
mod figure;
mod html;
mod markdown;
mod number;
mod svg;
mod target;

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::spread::Spread;

pub(crate) use figure::{Place, Point, Y};
pub(crate) use number::{TIMES_AS_DEAR, shown};
pub(crate) use target::{Aim, Bound, Outcome, Target};

/// One line: what was measured, of whom, and what came out.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Which suite.
    pub(crate) suite: &'static str,
    /// Under which conditions.
    pub(crate) case: String,
    /// Of whom.
    pub(crate) subject: String,
    /// `1/s`, `s`, `MB`, `×`, …
    pub(crate) unit: &'static str,
    /// Every measurement, in order.
    pub(crate) samples: Vec<f64>,
    /// How long one operation took in each measurement; empty where that was not asked.
    pub(crate) latencies: Vec<Latency>,
    /// Whether our own code is what was measured.
    pub(crate) whose: Whose,
    /// The figures that show it.
    pub(crate) places: Vec<Place>,
}

/// Whose code a row measures. What others wrote does not change with ours, so it tells how the machine changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Ours.
    Ours,
    /// A peer's, alone.
    Peers,
}

/// How long one operation took, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Latency {
    /// Half of them less than this.
    pub(crate) p50_us: f64,
    /// All but one of a hundred.
    pub(crate) p99_us: f64,
    /// All but one of a thousand.
    pub(crate) p999_us: f64,
}

impl Row {
    /// A line about something without a latency.
    pub(crate) fn new(
        suite: &'static str,
        case: String,
        subject: String,
        unit: &'static str,
        samples: Vec<f64>,
    ) -> Self {
        Self { suite, case, subject, unit, samples, latencies: Vec::new(), whose: Whose::Ours, places: Vec::new() }
    }

    /// The same with how long operations took.
    pub(crate) fn with_latencies(self, latencies: Vec<Latency>) -> Self {
        Self { latencies, ..self }
    }

    /// The same as somebody's.
    pub(crate) fn of(self, whose: Whose) -> Self {
        Self { whose, ..self }
    }

    /// The same in one figure more.
    pub(crate) fn at(mut self, place: Place) -> Self {
        self.places.push(place);
        self
    }

    /// The median over the measurements of one percentile.
    fn percentile(&self, of: impl Fn(&Latency) -> f64) -> Option<f64> {
        self.percentiles(of).map(|spread| spread.median)
    }

    /// How one percentile lies over the measurements.
    fn percentiles(&self, of: impl Fn(&Latency) -> f64) -> Option<Spread> {
        Spread::of(&self.latencies.iter().map(of).collect::<Vec<f64>>())
    }
}

/// What could not be measured here, and why.
#[derive(Debug, Clone)]
pub(crate) struct Missing {
    /// Which suite.
    pub(crate) suite: &'static str,
    /// Under which conditions.
    pub(crate) case: String,
    /// Of whom.
    pub(crate) subject: String,
    /// In words, behind "not measured".
    pub(crate) why: String,
}

/// Everything a run found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    missing: Vec<Missing>,
    targets: Vec<Target>,
    /// How many seconds each suite took.
    took: Vec<(String, f64)>,
}

impl Report {
    /// Adds a line and shows it.
    pub(crate) fn add(&mut self, row: Row) {
        println!("{}", markdown::line(&row));
        self.rows.push(row);
    }

    /// Adds what could not be measured, and shows it.
    pub(crate) fn miss(&mut self, missing: Missing) {
        println!("{}", markdown::missing(&missing));
        self.missing.push(missing);
    }

    /// Adds a target and what came of it.
    pub(crate) fn aim(&mut self, target: Target) {
        self.targets.push(target);
    }

    /// Aims at the median of one line; where the run has not that line, the target says why.
    pub(crate) fn aim_at(&mut self, aim: Aim, why: &str) {
        let Aim { suite, case, subject, unit, bound } = aim;
        let measured = self.samples(suite, &case, &subject, unit).and_then(Spread::of);
        let outcome =
            measured.map_or_else(|| Outcome::NotMeasured(why.to_owned()), |spread| Outcome::Measured(spread.median));
        self.aim(Target { what: format!("{suite}: {case}: {subject}"), outcome, bound, unit });
    }

    /// Notes how long a suite took.
    pub(crate) fn took(&mut self, suite: String, seconds: f64) {
        self.took.push((suite, seconds));
    }

    /// How long all suites took together, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.took.iter().map(|(_, seconds)| seconds).sum()
    }

    /// The measurements of one line.
    pub(crate) fn samples(&self, suite: &str, case: &str, subject: &str, unit: &str) -> Option<&[f64]> {
        self.rows
            .iter()
            .find(|row| row.suite == suite && row.case == case && row.subject == subject && row.unit == unit)
            .map(|row| row.samples.as_slice())
    }

    /// The suites, in the order in which they were measured.
    fn suites(&self) -> Vec<&'static str> {
        let mut suites = Vec::new();
        for suite in self.rows.iter().map(|row| row.suite).chain(self.missing.iter().map(|missing| missing.suite)) {
            if !suites.contains(&suite) {
                suites.push(suite);
            }
        }
        suites
    }

    /// All of it as one JSON value.
    pub(crate) fn json(&self, machine: &Value) -> Value {
        let rows = self.rows.iter().filter_map(|row| {
            let spread = Spread::of(&row.samples)?;
            Some(json!({
                "suite": row.suite, "case": row.case, "subject": row.subject, "unit": row.unit,
                "median": spread.median, "low": spread.low, "high": spread.high, "samples": row.samples,
                "whose": match row.whose { Whose::Ours => "ours", Whose::Peers => "peers" },
                "p50_us": row.percentile(|latency| latency.p50_us),
                "p99_us": row.percentile(|latency| latency.p99_us),
                "p999_us": row.percentile(|latency| latency.p999_us),
            }))
        });
        let missing = self.missing.iter().map(|missing| {
            json!({
                "suite": missing.suite, "case": missing.case, "subject": missing.subject, "not_measured": missing.why,
            })
        });
        let targets = self.targets.iter().map(|target| {
            let (side, bound) = match target.bound {
                Bound::AtLeast(bound) => ("at least", bound),
                Bound::AtMost(bound) => ("at most", bound),
            };
            let (measured, why) = match &target.outcome {
                Outcome::Measured(measured) => (Some(*measured), None),
                Outcome::NotMeasured(why) => (None, Some(why.as_str())),
            };
            json!({
                "what": target.what, "side": side, "bound": bound, "measured": measured,
                "not_measured": why, "unit": target.unit, "met": target.is_met(),
            })
        });
        json!({
            "machine": machine,
            "rows": rows.collect::<Vec<_>>(),
            "missing": missing.collect::<Vec<_>>(),
            "targets": targets.collect::<Vec<_>>(),
            "took_s": self.took.iter().map(|(suite, seconds)| json!({"suite": suite, "seconds": seconds})).collect::<Vec<_>>(),
        })
    }

    /// All of it in Markdown.
    pub(crate) fn markdown(&self, machine: &Value) -> String {
        markdown::page(self, machine)
    }

    /// Writes `results.json`, `results.csv`, `report.md` and `report.html` into `directory`.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn write(&self, directory: &Path, machine: &Value) -> Result<()> {
        std::fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        let json = serde_json::to_string_pretty(&self.json(machine)).context("write the rows as JSON")?;
        for (name, text) in [
            ("results.json", json),
            ("results.csv", csv::table(&self.rows)),
            ("report.md", self.markdown(machine)),
            ("report.html", html::page(self, machine)),
        ] {
            std::fs::write(directory.join(name), text).with_context(|| format!("write {name}"))?;
        }
        Ok(())
    }
}

/// The machine's description and the time of the run, line by line.
fn facts(report: &Report, machine: &Value) -> Vec<(String, String)> {
    let facts = machine.as_object().into_iter().flatten();
    let mut facts: Vec<(String, String)> = facts
        .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    if !report.took.is_empty() {
        let each: Vec<String> = report.took.iter().map(|(suite, seconds)| format!("{suite} {seconds:.0} s")).collect();
        let all = format!("{}; together {:.1} min", each.join(", "), report.seconds() / 60.0);
        facts.push(("time of each suite".to_owned(), all));
    }
    facts
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One row of everything, with characters that each format has to mind.
    pub(crate) fn sample() -> Report {
        let mut report = Report::default();
        for (count, rate) in [(1.0, 2000.0), (64.0, 9000.0)] {
            let row = Row::new(
                "sign",
                format!("\"{count} in flight\", <Ed25519>"),
                "trustd | a & b".to_owned(),
                "1/s",
                vec![rate + 1000.0, rate - 1000.0, rate],
            );
            report.add(
                row.with_latencies(
                    [5.0, 9.0, 7.0].map(|p50_us| Latency { p50_us, p99_us: 100.0, p999_us: 1000.0 }).to_vec(),
                )
                .at(Place::new("throughput by load", "in flight (requests)", Point::Number(count), Y::Value))
                .at(Place::new(
                    "latency by load",
                    "in flight (requests)",
                    Point::Number(count),
                    Y::P99,
                )),
            );
        }
        report.miss(Missing {
            suite: "sign",
            case: "Ed25519".to_owned(),
            subject: "ed25519-simd".to_owned(),
            why: "this processor has no AVX-512 IFMA".to_owned(),
        });
        let target =
            |what: &str, outcome| Target { what: what.to_owned(), outcome, bound: Bound::AtLeast(2.5), unit: "×" };
        report.aim(target("fast", Outcome::Measured(2.0)));
        report.aim(target("faster", Outcome::NotMeasured("this processor has no AVX-512 IFMA".to_owned())));
        report.took("sign".to_owned(), 90.0);
        report
    }

    #[test]
    fn the_rows_of_a_report_hold_every_sample_and_their_spread() {
        let value = sample().json(&json!({"cores": 2}));

        assert_eq!(value["rows"][0]["median"], 2000.0);
        assert_eq!(value["rows"][0]["samples"], json!([3000.0, 1000.0, 2000.0]));
        assert_eq!(value["rows"][0]["p50_us"], 7.0);
        assert_eq!(value["rows"][0]["whose"], "ours");
        assert_eq!(value["missing"][0]["not_measured"], "this processor has no AVX-512 IFMA");
        assert_eq!((&value["targets"][0]["met"], &value["targets"][0]["measured"]), (&json!(false), &json!(2.0)));
        assert_eq!((&value["targets"][1]["met"], &value["targets"][1]["measured"]), (&json!(null), &json!(null)));
        assert_eq!(value["targets"][1]["not_measured"], "this processor has no AVX-512 IFMA");
        assert_eq!(value["took_s"], json!([{"suite": "sign", "seconds": 90.0}]));
    }

    #[test]
    fn a_target_about_a_line_is_its_median_and_without_the_line_it_says_why() {
        let mut report = sample();
        let aim = |subject: &str| Aim {
            suite: "sign",
            case: "\"64 in flight\", <Ed25519>".to_owned(),
            subject: subject.to_owned(),
            unit: "1/s",
            bound: Bound::AtLeast(9500.0),
        };

        report.aim_at(aim("trustd | a & b"), "left out");
        report.aim_at(aim("nobody"), "left out");

        let outcomes: Vec<&Outcome> = report.targets.iter().rev().take(2).map(|target| &target.outcome).collect();
        assert_eq!(outcomes, [&Outcome::NotMeasured("left out".to_owned()), &Outcome::Measured(9000.0)]);
    }

    #[test]
    fn the_time_of_each_suite_stands_beside_the_machine() {
        let facts = facts(&sample(), &json!({"cores": 2}));

        assert_eq!(facts.last().unwrap().1, "sign 90 s; together 1.5 min");
    }

    #[test]
    fn a_run_leaves_four_files() {
        let directory = tempfile::tempdir().unwrap();

        sample().write(&directory.path().join("new"), &json!({"cores": 2})).unwrap();

        let mut names: Vec<_> = std::fs::read_dir(directory.path().join("new"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["report.html", "report.md", "results.csv", "results.json"]);
    }
}
