//! What a run leaves: a table for people, and the same rows for programs.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::spread::Spread;

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
        Self { suite, case, subject, unit, samples, latencies: Vec::new() }
    }

    /// The median over the measurements of one percentile.
    fn percentile(&self, of: impl Fn(&Latency) -> f64) -> Option<f64> {
        let all: Vec<f64> = self.latencies.iter().map(of).collect();
        Spread::of(&all).map(|spread| spread.median)
    }
}

/// What a number should be.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// In words.
    pub(crate) what: String,
    /// The median that was measured; none when that suite did not run.
    pub(crate) measured: f64,
    /// The bound.
    pub(crate) bound: Bound,
    /// `1/s`, `×`, `s`, `MB`.
    pub(crate) unit: &'static str,
}

/// Which side of a bound is good.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtLeast(bound) => self.measured >= bound,
            Bound::AtMost(bound) => self.measured <= bound,
        }
    }
}

/// Everything a run found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    targets: Vec<Target>,
}

impl Report {
    /// Adds a line and shows it.
    pub(crate) fn add(&mut self, row: Row) {
        println!("{}", line(&row));
        self.rows.push(row);
    }

    /// Adds a target and what came of it.
    pub(crate) fn aim(&mut self, target: Target) {
        self.targets.push(target);
    }

    /// The measurements of one line.
    pub(crate) fn samples(&self, suite: &str, case: &str, subject: &str, unit: &str) -> Option<&[f64]> {
        self.rows
            .iter()
            .find(|row| row.suite == suite && row.case == case && row.subject == subject && row.unit == unit)
            .map(|row| row.samples.as_slice())
    }

    /// All of it in Markdown.
    pub(crate) fn markdown(&self, machine: &Value) -> String {
        let mut text = String::from("# Measurements\n\n");
        if let Some(facts) = machine.as_object() {
            for (name, value) in facts {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let _ = writeln!(text, "- {name}: {value}"); // a String takes everything
            }
        }
        text.push_str(
            "\n| suite | case | subject | median | low | high | unit | n |\n|---|---|---|--:|--:|--:|---|--:|\n",
        );
        for row in &self.rows {
            text.push_str(&line(row));
            text.push('\n');
        }
        if !self.targets.is_empty() {
            text.push_str("\n| target | bound | measured | |\n|---|--:|--:|---|\n");
        }
        for target in &self.targets {
            let bound = match target.bound {
                Bound::AtLeast(bound) => format!("≥ {}", shown(bound)),
                Bound::AtMost(bound) => format!("≤ {}", shown(bound)),
            };
            let verdict = if target.is_met() { "met" } else { "**missed**" };
            let (what, unit, measured) = (&target.what, target.unit, shown(target.measured));
            let _ = writeln!(text, "| {what} | {bound} {unit} | {measured} {unit} | {verdict} |"); // as above
        }
        text
    }

    /// All of it as one JSON value.
    pub(crate) fn json(&self, machine: &Value) -> Value {
        let rows = self.rows.iter().filter_map(|row| {
            let spread = Spread::of(&row.samples)?;
            Some(json!({
                "suite": row.suite, "case": row.case, "subject": row.subject, "unit": row.unit,
                "median": spread.median, "low": spread.low, "high": spread.high, "samples": row.samples,
                "p50_us": row.percentile(|latency| latency.p50_us),
                "p99_us": row.percentile(|latency| latency.p99_us),
                "p999_us": row.percentile(|latency| latency.p999_us),
            }))
        });
        let targets = self.targets.iter().map(|target| {
            let (side, bound) = match target.bound {
                Bound::AtLeast(bound) => ("at least", bound),
                Bound::AtMost(bound) => ("at most", bound),
            };
            json!({
                "what": target.what, "side": side, "bound": bound, "measured": target.measured,
                "unit": target.unit, "met": target.is_met(),
            })
        });
        json!({
            "machine": machine,
            "rows": rows.collect::<Vec<_>>(),
            "targets": targets.collect::<Vec<_>>(),
        })
    }

    /// Writes `results.json` and `results.md` into `directory`.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn write(&self, directory: &Path, machine: &Value) -> Result<()> {
        std::fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        let text = serde_json::to_string_pretty(&self.json(machine)).context("write the rows as JSON")?;
        std::fs::write(directory.join("results.json"), text).context("write results.json")?;
        std::fs::write(directory.join("results.md"), self.markdown(machine)).context("write results.md")
    }
}

fn line(row: &Row) -> String {
    let Row { suite, case, subject, unit, samples, .. } = row;
    let numbers = Spread::of(samples).map_or_else(
        || "– | – | –".to_owned(),
        |spread| format!("{} | {} | {}", shown(spread.median), shown(spread.low), shown(spread.high)),
    );
    let percentiles = [
        row.percentile(|latency| latency.p50_us),
        row.percentile(|latency| latency.p99_us),
        row.percentile(|latency| latency.p999_us),
    ]
    .map(|value| value.map(shown).unwrap_or_default())
    .join(" | ");
    format!("| {suite} | {case} | {subject} | {numbers} | {unit} | {} | {percentiles} |", samples.len())
}

/// Three significant digits or more, thousands apart.
fn shown(value: f64) -> String {
    let decimals = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_precisely_as_they_deserve() {
        assert_eq!(shown(1_234_567.8), "1\u{202f}234\u{202f}568");
        assert_eq!(shown(999.6), "1\u{202f}000");
        assert_eq!(shown(12.34), "12.3");
        assert_eq!(shown(0.456), "0.46");
        assert_eq!(shown(-1234.0), "-1\u{202f}234");
    }

    #[test]
    fn a_report_says_the_same_in_both_shapes() {
        let mut report = Report::default();
        report.add(Row {
            suite: "sign",
            case: "1 in flight".to_owned(),
            subject: "trustd".to_owned(),
            unit: "1/s",
            samples: vec![3000.0, 1000.0, 2000.0],
            latencies: [5.0, 9.0, 7.0].map(|p50_us| Latency { p50_us, p99_us: 100.0, p999_us: 1000.0 }).to_vec(),
        });
        report.aim(Target { what: "fast".to_owned(), measured: 2.0, bound: Bound::AtLeast(2.5), unit: "×" });

        let (text, value) = (report.markdown(&json!({"cores": 2})), report.json(&json!({"cores": 2})));

        assert!(
            text.contains("| sign | 1 in flight | trustd | 2\u{202f}000 | 1\u{202f}000 | 3\u{202f}000 | 1/s | 3 |")
        );
        assert!(text.contains("| fast | ≥ 2.50 × | 2.00 × | **missed** |"), "{text}");
        assert_eq!(value["rows"][0]["median"], 2000.0);
        assert_eq!(value["rows"][0]["p50_us"], 7.0);
        assert_eq!(value["targets"][0]["met"], false);
    }

    #[test]
    fn a_bound_holds_on_its_own_side() {
        let target = |bound| Target { what: String::new(), measured: 2.0, bound, unit: "s" };

        assert!(target(Bound::AtMost(2.0)).is_met() && target(Bound::AtLeast(2.0)).is_met());
        assert!(!target(Bound::AtMost(1.9)).is_met() && !target(Bound::AtLeast(2.1)).is_met());
    }
}
