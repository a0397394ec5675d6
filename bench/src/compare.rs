//! Two runs beside each other: what became faster, what slower, and what is noise.
//!
//! The rule. The ratio of a row is its median in the new run over that in the old one; its interval comes from a
//! bootstrap over the samples of both. A row is worse where the whole interval lies beyond the noise on the bad side.
//! The noise is what the caller says it is, or what the peers' rows say about the machine where that is more: their
//! code is the same in both runs.

mod bootstrap;
mod run;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::report::{TIMES_AS_DEAR, shown};
use crate::spread::Spread;
use bootstrap::{SAMPLES_MIN, interval};
use run::{Kept, Run};

/// What a comparison found.
#[derive(Debug, Clone)]
pub(crate) struct Comparison {
    lines: Vec<Line>,
    /// What is no change, as a share.
    noise: f64,
    /// How far the peers' rows are from where they were, as a share; `None` without such rows.
    drift: Option<f64>,
    only_old: usize,
    only_new: usize,
    /// Rows of ours that the new run has not, though it has their case.
    gone: Vec<Kept>,
}

/// One row of both runs.
#[derive(Debug, Clone)]
struct Line {
    row: Kept,
    old: f64,
    new: f64,
    ratio: Spread,
    verdict: Verdict,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Better,
    /// Fewer than three samples on a side: nothing can be said.
    Few,
    /// A peer's row, or a number that is neither good nor bad.
    Aside,
    Same,
    Worse,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Few => "too few samples",
            Self::Aside => "–",
            Self::Same => "same",
            Self::Worse => "WORSE",
        }
    }
}

/// Which of two numbers is the good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Good {
    High,
    Low,
    Neither,
}

impl Good {
    fn of(unit: &str) -> Self {
        match unit {
            "1/s" | "items/s" | "signatures/s" | "MB/s" | "×" | "signatures per flush" => Self::High,
            "s" | "MB" | TIMES_AS_DEAR => Self::Low,
            unit if unit.starts_with("µs") => Self::Low,
            _ => Self::Neither,
        }
    }
}

/// Whether runs of two machines may be held against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machines {
    Any,
    Same,
}

/// Whether runs with other forced paths may be held against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paths {
    Any,
    Same,
}

/// Reads two runs, each a directory or its `results.json`, and compares the rows that both have.
///
/// # Errors
/// When one cannot be read, is of another machine or by another path, or they have no row in common.
pub(crate) fn compare(old: &Path, new: &Path, noise: f64, machines: Machines, paths: Paths) -> Result<Comparison> {
    let (old, new) = (Run::read(old)?, Run::read(new)?);
    if machines == Machines::Same && old.machine != new.machine {
        bail!(
            "the runs are of two machines ({} and {}): ratios would say nothing about the code\n\
             measure both on one, or name --across-machines",
            old.machine.as_deref().unwrap_or("unknown"),
            new.machine.as_deref().unwrap_or("unknown")
        );
    }
    if paths == Paths::Same && old.path != new.path {
        let named =
            |run: &Run| run.path.as_ref().map_or_else(|| "no --path".to_owned(), |path| format!("--path {path}"));
        bail!(
            "the runs compute in other ways ({} and {}): rows of the same name are not of the same code\n\
             measure both by one path, or name --across-paths to compare the paths on purpose",
            named(&old),
            named(&new)
        );
    }
    Comparison::of(&old, &new, noise).context("the runs have no row in common")
}

impl Comparison {
    fn of(old: &Run, new: &Run, asked: f64) -> Option<Self> {
        let pairs: Vec<(&Kept, &Kept)> =
            new.rows.iter().filter_map(|row| Some((old.rows.iter().find(|was| was.is_like(row))?, row))).collect();
        let drift = drift(&pairs);
        let noise = drift.map_or(asked, |drift| asked.max(drift));
        let lines: Vec<Line> =
            pairs.iter().enumerate().filter_map(|(number, (old, new))| Line::of(number, old, new, noise)).collect();
        if lines.is_empty() {
            return None;
        }
        let (only_old, only_new) = (old.rows.len().saturating_sub(pairs.len()), new.rows.len() - pairs.len());
        let has_case = |was: &Kept| new.rows.iter().any(|row| row.suite == was.suite && row.case == was.case);
        let is_gone = |was: &&Kept| !was.is_peers && has_case(was) && !new.rows.iter().any(|row| row.is_like(was));
        // By another path other rows are made, on purpose.
        let gone = old.rows.iter().filter(|_| old.path == new.path).filter(is_gone).cloned().collect();
        Some(Self { lines, noise, drift, only_old, only_new, gone })
    }

    /// Whether something is worse beyond the noise, or ours is not measured any more where others are.
    pub(crate) fn is_worse(&self) -> bool {
        self.count(Verdict::Worse) > 0 || !self.gone.is_empty()
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.lines.iter().filter(|line| line.verdict == verdict).count()
    }

    /// A table in Markdown and what it comes to.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| suite | case | subject | unit | old | new | ratio | 95 % interval | |\n|---|---|---|---|--:|--:|--:|--:|---|\n",
        );
        for Line { row, old, new, ratio, verdict } in &self.lines {
            let Kept { suite, case, subject, unit, .. } = row;
            // A String takes everything, here and below.
            let _ = writeln!(
                text,
                "| {suite} | {case} | {subject} | {unit} | {} | {} | {:.3} | {:.3}–{:.3} | {} |",
                shown(*old),
                shown(*new),
                ratio.median,
                ratio.low,
                ratio.high,
                verdict.word()
            );
        }
        let _ = writeln!(
            text,
            "\n{} rows: {} worse, {} better, {} the same, {} with too few samples; {} only in the old run, {} only in the new one.",
            self.lines.len(),
            self.count(Verdict::Worse),
            self.count(Verdict::Better),
            self.count(Verdict::Same),
            self.count(Verdict::Few),
            self.only_old,
            self.only_new
        );
        for Kept { suite, case, subject, unit, .. } in &self.gone {
            let _ = writeln!(text, "GONE, though its case was measured: {suite}, {case}, {subject} ({unit})");
        }
        let noise = self.noise * 100.0;
        let _ = match self.drift {
            Some(drift) => writeln!(
                text,
                "The peers, whose code is the same, are {:.1} % from where they were; a change of less than {noise:.1} % is noise.",
                drift * 100.0
            ),
            None => writeln!(text, "No peer was measured in both; a change of less than {noise:.1} % is noise."),
        };
        text
    }
}

impl Line {
    fn of(number: usize, old: &Kept, new: &Kept, noise: f64) -> Option<Self> {
        let (was, is) = (Spread::of(&old.samples)?, Spread::of(&new.samples)?);
        let seed = u64::try_from(number).unwrap_or(0);
        let ratio = interval(&old.samples, &new.samples, seed)?;
        let verdict = if new.is_peers {
            Verdict::Aside
        } else if old.samples.len().min(new.samples.len()) < SAMPLES_MIN {
            Verdict::Few
        } else {
            judge(Good::of(&new.unit), &ratio, noise)
        };
        Some(Self { row: new.clone(), old: was.median, new: is.median, ratio, verdict })
    }
}

/// What an interval says where a share of `noise` says nothing.
fn judge(good: Good, ratio: &Spread, noise: f64) -> Verdict {
    // A rate that fell by a tenth takes 1/0.9 as long: the same change on both sides of one.
    let (below, above) = (ratio.high < 1.0 - noise, ratio.low > 1.0 / (1.0 - noise));
    match good {
        Good::High if below => Verdict::Worse,
        Good::High if above => Verdict::Better,
        Good::Low if above => Verdict::Worse,
        Good::Low if below => Verdict::Better,
        Good::High | Good::Low => Verdict::Same,
        Good::Neither => Verdict::Aside,
    }
}

/// How far from one the median ratio of the peers' rows is, as a share.
fn drift(pairs: &[(&Kept, &Kept)]) -> Option<f64> {
    let ratios: Vec<f64> = pairs
        .iter()
        .filter(|(_, new)| new.is_peers && Good::of(&new.unit) == Good::High)
        .filter_map(|(old, new)| Some(Spread::of(&new.samples)?.median / Spread::of(&old.samples)?.median))
        .collect();
    let ratio = Spread::of(&ratios)?.median;
    Some(1.0 - if ratio > 1.0 { 1.0 / ratio } else { ratio })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::FACT as PATH;

    fn row(subject: &str, unit: &str, samples: &[f64]) -> Kept {
        Kept {
            suite: "sign".to_owned(),
            case: "1 in flight".to_owned(),
            subject: subject.to_owned(),
            unit: unit.to_owned(),
            samples: samples.to_vec(),
            is_peers: subject.starts_with("peer"),
        }
    }

    fn run(rows: Vec<Kept>) -> Run {
        Run { machine: Some("one".to_owned()), path: None, rows }
    }

    fn verdict(unit: &str, old: &[f64], new: &[f64]) -> Verdict {
        let both = Comparison::of(&run(vec![row("a", unit, old)]), &run(vec![row("a", unit, new)]), 0.05).unwrap();
        both.lines[0].verdict
    }

    const HUNDRED: [f64; 5] = [98.0, 99.0, 100.0, 101.0, 102.0];

    #[test]
    fn a_rate_that_fell_beyond_the_noise_is_worse_and_a_time_that_fell_is_better() {
        let ninety = HUNDRED.map(|value| value * 0.9);

        assert_eq!(verdict("1/s", &HUNDRED, &ninety), Verdict::Worse);
        assert_eq!(verdict("1/s", &ninety, &HUNDRED), Verdict::Better);
        assert_eq!(verdict("s", &HUNDRED, &ninety), Verdict::Better);
        assert_eq!(verdict("µs/item", &ninety, &HUNDRED), Verdict::Worse);
        assert_eq!(verdict(TIMES_AS_DEAR, &ninety, &HUNDRED), Verdict::Worse);
        assert_eq!(verdict("flushes of the log", &HUNDRED, &ninety), Verdict::Aside);
    }

    #[test]
    fn a_change_within_the_noise_or_within_the_spread_is_none() {
        let little = HUNDRED.map(|value| value * 0.97);
        let wide = [60.0, 75.0, 90.0, 105.0, 120.0];

        assert_eq!(verdict("1/s", &HUNDRED, &little), Verdict::Same);
        assert_eq!(verdict("1/s", &HUNDRED, &wide), Verdict::Same);
        assert_eq!(verdict("1/s", &HUNDRED, &HUNDRED), Verdict::Same);
    }

    #[test]
    fn two_samples_say_nothing() {
        assert_eq!(verdict("1/s", &[100.0, 100.0], &[50.0, 50.0]), Verdict::Few);
    }

    #[test]
    fn a_machine_that_became_slower_is_not_held_against_the_code() {
        let slower = HUNDRED.map(|value| value * 0.85);
        let (old, new) = (
            run(vec![row("a", "1/s", &HUNDRED), row("peer", "1/s", &HUNDRED)]),
            run(vec![row("a", "1/s", &slower), row("peer", "1/s", &slower)]),
        );

        let both = Comparison::of(&old, &new, 0.05).unwrap();

        assert!(!both.is_worse());
        assert!((both.noise - 0.15).abs() < 0.01, "{}", both.noise);
        assert!(both.table().contains("2 rows: 0 worse, 0 better, 1 the same"), "{}", both.table());
    }

    #[test]
    fn rows_of_one_run_alone_are_counted_and_no_row_in_common_is_a_fault() {
        let old = run(vec![row("a", "1/s", &HUNDRED), row("gone", "1/s", &HUNDRED)]);
        let new = run(vec![row("a", "1/s", &HUNDRED), row("b", "1/s", &HUNDRED), row("c", "1/s", &HUNDRED)]);

        let both = Comparison::of(&old, &new, 0.05).unwrap();

        assert!(both.table().contains("1 only in the old run, 2 only in the new one"), "{}", both.table());
        assert!(
            both.is_worse() && both.table().contains("GONE, though its case was measured: sign, 1 in flight, gone")
        );
        let elsewhere = Kept { case: "another".to_owned(), ..row("gone", "1/s", &HUNDRED) };
        let old = run(vec![row("a", "1/s", &HUNDRED), row("peer, gone", "1/s", &HUNDRED), elsewhere]);
        assert!(!Comparison::of(&old, &new, 0.05).unwrap().is_worse());
        assert!(Comparison::of(&run(vec![row("x", "1/s", &HUNDRED)]), &new, 0.05).is_none());
    }

    /// A run of one row in a file, of a machine that is described so.
    fn written(directory: &Path, name: &str, machine: serde_json::Value) -> std::path::PathBuf {
        let path = directory.join(name);
        let row = serde_json::json!(
            {"suite": "s", "case": "c", "subject": "a", "unit": "1/s", "whose": "ours", "samples": HUNDRED}
        );
        std::fs::write(&path, serde_json::json!({"machine": machine, "rows": [row]}).to_string()).unwrap();
        path
    }

    #[test]
    fn runs_of_two_machines_are_refused_unless_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str| written(directory.path(), name, serde_json::json!({"processor": name, "cores": 2}));
        let (old, new) = (write("this"), write("that"));

        let error = compare(&old, &new, 0.05, Machines::Same, Paths::Any).unwrap_err();

        assert!(error.to_string().contains("of two machines"), "{error}");
        assert!(!compare(&old, &new, 0.05, Machines::Any, Paths::Same).unwrap().is_worse());
    }

    #[test]
    fn runs_by_two_paths_are_refused_unless_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let by = |path: &str| serde_json::json!({"processor": "this", "cores": 2, (PATH): path});
        let none = written(directory.path(), "none", serde_json::json!({"processor": "this", "cores": 2}));
        let (avx2, again) = (written(directory.path(), "a", by("avx2")), written(directory.path(), "b", by("avx2")));
        let portable = written(directory.path(), "c", by("portable"));

        for (old, new) in [(&avx2, &portable), (&none, &avx2), (&avx2, &none)] {
            let error = compare(old, new, 0.05, Machines::Same, Paths::Same).unwrap_err().to_string();

            assert!(error.contains("--path avx2") && error.lines().count() == 2, "{error}");
            assert!(!compare(old, new, 0.05, Machines::Same, Paths::Any).unwrap().is_worse());
        }
        assert!(compare(&avx2, &again, 0.05, Machines::Same, Paths::Same).is_ok());
        assert!(compare(&none, &none, 0.05, Machines::Same, Paths::Same).is_ok());
    }
}
