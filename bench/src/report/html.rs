//! The report as one HTML file that needs nothing else: no script, no font, no picture from elsewhere.

use std::fmt::Write as _;

use serde_json::Value;

use super::figure::Figure;
use super::svg::{draw, escaped};
use super::{Missing, Report, Row, facts, shown};
use crate::spread::Spread;

const STYLE: &str = "\
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 900px; margin: 2em auto; padding: 0 1em; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5em; border-bottom: 1px solid #ccc; }
figure { margin: 1.5em 0; } figcaption { font-weight: 600; }
svg { width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: #222; }
svg .grid { stroke: #e2e2e2; } svg .axis { stroke: #555; }
table { border-collapse: collapse; font-size: 13px; margin: 1em 0; width: 100%; }
th, td { padding: 2px 8px; border-bottom: 1px solid #e2e2e2; text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.missing { color: #666; font-style: italic; } .missed { color: #b00020; font-weight: 600; }
summary { cursor: pointer; }
";

pub(super) fn page(report: &Report, machine: &Value) -> String {
    let mut text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>trustd: measurements</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>trustd: measurements</h1>\n\
         <p>Each point or bar is the median of the measurements of one thing; the thin stroke goes from the lowest to the \
         highest. Everybody in one figure was measured in turn, in the same minutes. Numbers are those of this machine \
         on this day.</p>\n"
    );
    text.push_str("<table>\n");
    for (name, value) in facts(report, machine) {
        // A String takes everything, here and below.
        let _ = writeln!(text, "<tr><th>{}</th><td>{}</td></tr>", escaped(&name), escaped(&value));
    }
    text.push_str("</table>\n");
    targets(&mut text, report);
    text.push_str("<p>Suites:");
    for suite in report.suites() {
        let _ = write!(text, " <a href=\"#{}\">{}</a>", anchor(suite), escaped(suite));
    }
    text.push_str("</p>\n");
    for suite in report.suites() {
        section(&mut text, report, suite);
    }
    text.push_str("</body>\n</html>\n");
    text
}

fn targets(text: &mut String, report: &Report) {
    if report.targets.is_empty() {
        return;
    }
    text.push_str(
        "<h2>Targets</h2>\n<table>\n<tr><th>target</th><th class=\"number\">bound</th>\
         <th class=\"number\">measured</th><th></th></tr>\n",
    );
    for target in &report.targets {
        let (of_outcome, of_verdict) = match target.is_met() {
            Some(true) => ("number", "met"),
            Some(false) => ("number", "missed"),
            None => ("missing", "missing"),
        };
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td class=\"number\">{}</td><td class=\"{of_outcome}\">{}</td>\
             <td class=\"{of_verdict}\">{}</td></tr>",
            escaped(&target.what),
            escaped(&target.bound_shown()),
            escaped(&target.outcome_shown()),
            target.verdict(),
        );
    }
    text.push_str("</table>\n");
}

fn section(text: &mut String, report: &Report, suite: &str) {
    let rows = || report.rows.iter().filter(|row| row.suite == suite);
    let _ = writeln!(text, "<h2 id=\"{}\">{}</h2>", anchor(suite), escaped(suite));
    let figures = Figure::all(rows());
    for figure in &figures {
        let _ =
            writeln!(text, "<figure>\n<figcaption>{}</figcaption>\n{}</figure>", escaped(&figure.title), draw(figure));
    }
    let open = if figures.is_empty() { " open" } else { "" };
    let _ = writeln!(text, "<details{open}><summary>All {} rows</summary>", rows().count());
    text.push_str(
        "<table>\n<tr><th>case</th><th>subject</th><th class=\"number\">median</th><th class=\"number\">low</th>\
         <th class=\"number\">high</th><th>unit</th><th class=\"number\">samples</th><th class=\"number\">p50, µs</th>\
         <th class=\"number\">p99, µs</th><th class=\"number\">p99.9, µs</th></tr>\n",
    );
    rows().for_each(|row| line(text, row));
    report.missing.iter().filter(|missing| missing.suite == suite).for_each(|missing| absent(text, missing));
    text.push_str("</table></details>\n");
}

fn line(text: &mut String, row: &Row) {
    let Some(spread) = Spread::of(&row.samples) else { return };
    let _ = write!(text, "<tr><td>{}</td><td>{}</td>", escaped(&row.case), escaped(&row.subject));
    for value in [spread.median, spread.low, spread.high] {
        let _ = write!(text, "<td class=\"number\">{}</td>", shown(value));
    }
    let _ = write!(text, "<td>{}</td><td class=\"number\">{}</td>", escaped(row.unit), row.samples.len());
    for value in [
        row.percentile(|latency| latency.p50_us),
        row.percentile(|latency| latency.p99_us),
        row.percentile(|latency| latency.p999_us),
    ] {
        let _ = write!(text, "<td class=\"number\">{}</td>", value.map(shown).unwrap_or_default());
    }
    text.push_str("</tr>\n");
}

fn absent(text: &mut String, missing: &Missing) {
    let _ = writeln!(
        text,
        "<tr><td>{}</td><td>{}</td><td colspan=\"8\" class=\"missing\">not measured: {}</td></tr>",
        escaped(&missing.case),
        escaped(&missing.subject),
        escaped(&missing.why)
    );
}

/// A suite's name as an address inside the page.
fn anchor(suite: &str) -> String {
    suite.replace(|character: char| !character.is_ascii_alphanumeric(), "-")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::sample;
    use super::*;

    #[test]
    fn a_page_holds_everything_and_loads_nothing() {
        let text = page(&sample(), &json!({"processor": "a <fast> one"}));

        assert_eq!(text.matches("<svg ").count(), 2, "{text}");
        assert!(text.contains("a &lt;fast&gt; one") && text.contains("trustd | a &amp; b"), "{text}");
        assert!(text.contains("not measured: this processor has no AVX-512 IFMA"), "{text}");
        assert!(text.contains("<td class=\"missed\">missed</td>"), "{text}");
        assert!(text.contains("<td class=\"missing\">not measured: this processor"), "{text}");
        assert!(text.contains("sign 90 s; together 1.5 min"), "{text}");
        for loading in ["src=", "url(", "@import", "<script", "<link"] {
            assert!(!text.contains(loading), "{loading}");
        }
        // The name of a namespace is no address that anybody opens.
        assert!(!text.replace("xmlns=\"http://www.w3.org/2000/svg\"", "").contains("http"), "{text}");
    }

    #[test]
    fn every_element_that_is_opened_is_closed() {
        let text = page(&sample(), &json!({"cores": 2}));

        for element in ["table", "tr", "td", "th", "figure", "svg", "text", "title", "details", "h2", "p"] {
            let opened = text.matches(&format!("<{element}>")).count() + text.matches(&format!("<{element} ")).count();
            assert_eq!(opened, text.matches(&format!("</{element}>")).count(), "{element}");
        }
    }
}
