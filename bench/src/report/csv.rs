//! The rows as comma-separated values (RFC 4180), one sample after the other in the last column.

use super::Row;
use crate::spread::Spread;

const HEAD: &str = "suite,case,subject,unit,median,low,high,p50_us,p99_us,p999_us,count,samples\r\n";

pub(super) fn table(rows: &[Row]) -> String {
    let mut text = HEAD.to_owned();
    for row in rows {
        let Some(spread) = Spread::of(&row.samples) else { continue };
        let latency = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let fields = [
            row.suite.to_owned(),
            row.case.clone(),
            row.subject.clone(),
            row.unit.to_owned(),
            spread.median.to_string(),
            spread.low.to_string(),
            spread.high.to_string(),
            latency(row.percentile(|latency| latency.p50_us)),
            latency(row.percentile(|latency| latency.p99_us)),
            latency(row.percentile(|latency| latency.p999_us)),
            row.samples.len().to_string(),
            row.samples.iter().map(f64::to_string).collect::<Vec<_>>().join(" "),
        ];
        text.push_str(&fields.map(|field| quoted(&field)).join(","));
        text.push_str("\r\n");
    }
    text
}

/// A field in quotes where it has something that means something else.
fn quoted(field: &str) -> String {
    if field.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn a_field_with_a_comma_or_quotes_stays_one_field() {
        let text = table(&sample().rows);

        let line = text.lines().nth(1).unwrap();
        assert_eq!(
            line,
            "sign,\"\"\"1 in flight\"\", <Ed25519>\",trustd | a & b,1/s,2000,1000,3000,7,100,1000,3,3000 1000 2000"
        );
        assert_eq!(text.lines().count(), 3);
    }
}
