//! The report as Markdown: the machine, a table for each suite, what was not measured, targets.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Missing, Report, Row, facts, shown};
use crate::spread::Spread;

const HEAD: &str = "\n| suite | case | subject | median | low | high | unit | n | p50, µs | p99, µs | p99.9, µs |\n\
                    |---|---|---|--:|--:|--:|---|--:|--:|--:|--:|\n";

pub(super) fn page(report: &Report, machine: &Value) -> String {
    let mut text = String::from("# Measurements\n\n");
    for (name, value) in facts(report, machine) {
        let _ = writeln!(text, "- {name}: {value}"); // a String takes everything
    }
    for suite in report.suites() {
        let _ = write!(text, "\n## {suite}\n{HEAD}"); // as above
        for row in report.rows.iter().filter(|row| row.suite == suite) {
            text.push_str(&line(row));
            text.push('\n');
        }
        for missing in report.missing.iter().filter(|missing| missing.suite == suite) {
            text.push_str(&self::missing(missing));
            text.push('\n');
        }
    }
    if !report.targets.is_empty() {
        text.push_str("\n## targets\n\n| target | bound | measured | |\n|---|--:|--:|---|\n");
    }
    for target in &report.targets {
        let verdict = if target.is_met() == Some(false) { "**missed**" } else { target.verdict() };
        let (what, bound, outcome) = (cell(&target.what), target.bound_shown(), cell(&target.outcome_shown()));
        let _ = writeln!(text, "| {what} | {bound} | {outcome} | {verdict} |"); // as above
    }
    text
}

/// One row of a table.
pub(super) fn line(row: &Row) -> String {
    let Row { suite, unit, samples, .. } = row;
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
    let (case, subject) = (cell(&row.case), cell(&row.subject));
    format!("| {suite} | {case} | {subject} | {numbers} | {unit} | {} | {percentiles} |", samples.len())
}

/// One row about what has no numbers.
pub(super) fn missing(missing: &Missing) -> String {
    let Missing { suite, why, .. } = missing;
    let (case, subject) = (cell(&missing.case), cell(&missing.subject));
    format!("| {suite} | {case} | {subject} | not measured: {why} | | | | | | | |")
}

/// A cell's text; a bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::sample;

    #[test]
    fn a_report_has_the_machine_a_row_and_a_target() {
        let text = sample().markdown(&json!({"cores": 2}));

        assert!(text.contains("\n- cores: 2\n"), "{text}");
        assert!(
            text.contains(
                "| sign | \"1 in flight\", <Ed25519> | trustd \\| a & b | 2\u{202f}000 | 1\u{202f}000 | 3\u{202f}000 | 1/s | 3 | 7.00 |"
            ),
            "{text}"
        );
        assert!(text.contains("| ed25519-simd | not measured: this processor has no AVX-512 IFMA |"), "{text}");
        assert!(text.contains("| fast | ≥ 2.50 × | 2.00 × | **missed** |"), "{text}");
        assert!(
            text.contains("| faster | ≥ 2.50 × | not measured: this processor has no AVX-512 IFMA | – |"),
            "{text}"
        );
        assert!(text.contains("\n- time of each suite: sign 90 s; together 1.5 min\n"), "{text}");
    }

    #[test]
    fn every_row_has_as_many_cells_as_its_head() {
        let text = sample().markdown(&json!({})).replace("\\|", "");

        let of_suite = text.lines().skip_while(|line| !line.starts_with("| suite")).take_while(|line| !line.is_empty());
        let cells: Vec<usize> = of_suite.map(|line| line.matches('|').count()).collect();
        assert_eq!(cells, [12; 5]);
    }
}
