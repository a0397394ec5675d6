//! Two runs beside each other: what became faster, what slower, and what is noise.
//!
//! The rule. The ratio of a row is its median in the new run over that in the old one; its interval comes from a
//! bootstrap over the samples of both. A row is worse where the whole interval lies beyond the noise on the bad side, and
//! where that is more than chance does to some of so many rows.
//! The noise is what the caller says it is, or what the peers' rows say about the machine where that is more: their
//! code is the same in both runs.

mod bootstrap;
mod chance;
mod run;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::report::{TIMES_AS_DEAR, shown};
use crate::spread::Spread;
use bootstrap::{SAMPLES_MIN, interval};
use chance::{Side, is_sure};
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
    /// Its interval lies beyond the noise, as some of so many do by chance.
    Unsure,
    Worse,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Few => "too few samples",
            Self::Aside => "–",
            Self::Same => "same",
            Self::Unsure => "unsure",
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
        let rows = pairs.iter().filter(|(old, new)| why_not_judged(old, new).is_none()).count();
        let line = |(number, (old, new)): (usize, &(&Kept, &Kept))| Line::of(number, old, new, (noise, rows));
        let lines: Vec<Line> = pairs.iter().enumerate().filter_map(line).collect();
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
            "\n{} rows: {} worse, {} better, {} unsure, {} the same, {} with too few samples; {} only in the old run, {} only in the new one.",
            self.lines.len(),
            self.count(Verdict::Worse),
            self.count(Verdict::Better),
            self.count(Verdict::Unsure),
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
    /// `noise` is no change, as a share, and so many rows are judged.
    fn of(number: usize, old: &Kept, new: &Kept, (noise, rows): (f64, usize)) -> Option<Self> {
        let (was, is) = (Spread::of(&old.samples)?, Spread::of(&new.samples)?);
        let seed = u64::try_from(number).unwrap_or(0);
        let ratio = interval(&old.samples, &new.samples, seed)?;
        let verdict = why_not_judged(old, new).unwrap_or_else(|| judge((old, new), &ratio, noise, rows));
        Some(Self { row: new.clone(), old: was.median, new: is.median, ratio, verdict })
    }
}

/// Why nothing is said of a row; `None` where something is.
fn why_not_judged(old: &Kept, new: &Kept) -> Option<Verdict> {
    if new.is_peers || Good::of(&new.unit) == Good::Neither {
        Some(Verdict::Aside)
    } else {
        (old.samples.len().min(new.samples.len()) < SAMPLES_MIN).then_some(Verdict::Few)
    }
}

/// What an interval says where a share of `noise` says nothing.
fn judge((old, new): (&Kept, &Kept), ratio: &Spread, noise: f64, rows: usize) -> Verdict {
    // A rate that fell by a tenth takes 1/0.9 as long: the same change on both sides of one.
    let (low, high) = (1.0 - noise, 1.0 / (1.0 - noise));
    let (side, factor) = if ratio.high < low {
        (Side::Below, low)
    } else if ratio.low > high {
        (Side::Above, high)
    } else {
        return Verdict::Same;
    };
    match (Good::of(&new.unit), side) {
        _ if !is_sure(side, factor, &old.samples, &new.samples, rows) => Verdict::Unsure,
        (Good::High, Side::Above) | (Good::Low, Side::Below) => Verdict::Better,
        (Good::High, Side::Below) | (Good::Low, Side::Above) => Verdict::Worse,
        (Good::Neither, _) => Verdict::Aside,
    }
}

/// How far from one the median ratio of the peers' rates is, as a share. Ratios that a run has of two of them stay what they
/// are when the machine changes.
fn drift(pairs: &[(&Kept, &Kept)]) -> Option<f64> {
    let ratios: Vec<f64> = pairs
        .iter()
        .filter(|(_, new)| new.is_peers && new.unit.ends_with("/s"))
        .filter_map(|(old, new)| Some(Spread::of(&new.samples)?.median / Spread::of(&old.samples)?.median))
        .collect();
    let ratio = Spread::of(&ratios)?.median;
    Some(1.0 - if ratio > 1.0 { 1.0 / ratio } else { ratio })
}

#[cfg(test)]
mod tests;
