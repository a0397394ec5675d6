//! A run that was written: the rows of `results.json`, each read as what it must be.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// A run of everything has less than a hundredth of this.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
const ROWS_MAX: usize = 10_000;
const SAMPLES_MAX: usize = 10_000;

/// One run.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// Processor, number of cores and how the runner was built, where it says so.
    pub(super) machine: Option<String>,
    /// By which path what is ours was computed, where one was named.
    pub(super) path: Option<String>,
    pub(super) rows: Vec<Kept>,
}

/// One row of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    pub(super) suite: String,
    pub(super) case: String,
    pub(super) subject: String,
    pub(super) unit: String,
    pub(super) samples: Vec<f64>,
    pub(super) is_peers: bool,
}

impl Kept {
    /// Whether both measure the same.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.suite == other.suite && self.case == other.case && self.subject == other.subject && self.unit == other.unit
    }
}

impl Run {
    /// Of a directory with `results.json` in it, or of such a file.
    ///
    /// # Errors
    /// When it cannot be read, is too large, or is no run.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let file = if path.is_dir() { path.join("results.json") } else { path.to_owned() };
        let mut text = String::new();
        let opened = File::open(&file).with_context(|| format!("open {}", file.display()))?;
        opened
            .take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .with_context(|| format!("read {}", file.display()))?;
        ensure!(u64::try_from(text.len())? <= FILE_BYTES_MAX, "{} is too large to be a run", file.display());
        Self::parse(&text).with_context(|| format!("{} is no run", file.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).context("not JSON")?;
        let rows = value.get("rows").and_then(Value::as_array).context("no rows")?;
        ensure!(rows.len() <= ROWS_MAX, "more than {ROWS_MAX} rows");
        let rows = rows
            .iter()
            .enumerate()
            .map(|(number, row)| kept(row).with_context(|| format!("row {number}")))
            .collect::<Result<Vec<_>>>()?;
        let machine = value.get("machine");
        Ok(Self { machine: machine.and_then(described), path: machine.and_then(forced), rows })
    }
}

fn described(machine: &Value) -> Option<String> {
    let build = machine.get("build").and_then(Value::as_str).unwrap_or("unknown");
    let (processor, cores) = (machine.get("processor")?.as_str()?, machine.get("cores")?.as_u64()?);
    Some(format!("{processor}, {cores} cores, {build} build"))
}

fn forced(machine: &Value) -> Option<String> {
    machine.get(crate::path::FACT)?.as_str().map(str::to_owned)
}

fn kept(row: &Value) -> Result<Kept> {
    let text = |name: &str| -> Result<String> {
        let value = row.get(name).and_then(Value::as_str);
        value.map(|value| value.replace('|', "\\|").replace('\n', " ")).with_context(|| format!("no {name}"))
    };
    let samples = row.get("samples").and_then(Value::as_array).context("no samples")?;
    ensure!(samples.len() <= SAMPLES_MAX, "more than {SAMPLES_MAX} samples");
    let samples: Option<Vec<f64>> = samples.iter().map(Value::as_f64).collect();
    Ok(Kept {
        suite: text("suite")?,
        case: text("case")?,
        subject: text("subject")?,
        unit: text("unit")?,
        samples: samples.context("a sample that is no number")?,
        is_peers: row.get("whose").and_then(Value::as_str) == Some("peers"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn what_a_report_writes_is_read_back() {
        let value = sample().json(&json!({"processor": "this", "cores": 2, (crate::path::FACT): "avx2"}));

        let run = Run::parse(&value.to_string()).unwrap();

        assert_eq!((run.machine.as_deref(), run.path.as_deref()), (Some("this, 2 cores, unknown build"), Some("avx2")));
        assert_eq!(run.rows.len(), 2);
        assert_eq!(run.rows[0].samples, [3000.0, 1000.0, 2000.0]);
        assert_eq!(run.rows[0].subject, "trustd \\| a & b");
    }

    #[test]
    fn what_is_no_run_is_refused_with_the_place() {
        let no_sample = json!({"rows": [{"suite": "", "case": "", "subject": "", "unit": "", "samples": ["1"]}]});

        assert!(Run::parse("{").is_err());
        assert!(Run::parse("{}").is_err());
        let error = Run::parse(&no_sample.to_string()).unwrap_err();
        assert_eq!(format!("{error:#}"), "row 0: a sample that is no number");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Run::read(Path::new("/nowhere/at/all")).unwrap_err();

        assert_eq!(error.to_string(), "open /nowhere/at/all");
    }
}
