//! trust-bench: how fast trustd is, in whole and in parts, beside Debian's notary-signer.
//!
//! Everything runs for real, on this machine's disk and loopback, for a bounded time, and is stopped by its own id.
//! It drives everything; nothing depends on it.

mod bare;
mod certificates;
mod collection;
mod door;
mod load;
mod machine;
mod ours;
mod peer;
mod report;
mod spread;
mod subject;
mod suite;
mod token;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use tempfile::TempDir;

use report::Report;
use suite::Plan;

/// Measures trustd and prints a table; each suite can run alone.
#[derive(Debug, Parser)]
#[command(name = "trust-bench", version, max_term_width = 100)]
struct CommandLine {
    /// Which suite; all where none is named.
    #[arg(long, value_enum, value_name = "NAME")]
    suite: Vec<Suite>,
    /// How often each measurement is made.
    #[arg(long, default_value_t = 5, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// How long one measurement is.
    #[arg(long, default_value_t = 1000, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u64).range(50..=60_000))]
    length_ms: u64,
    /// Only the cases of suites `sign`, `kernels` and `content-trust` whose name contains this, as "Ed25519, 64 in flight".
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// How many keys the daemon of suite `start` has.
    #[arg(long, default_value_t = 100_000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    keys: u32,
    /// Where results.json and results.md go.
    #[arg(long, default_value = "bench-results", value_name = "DIRECTORY")]
    output: PathBuf,
    /// Below which directory everything runs; it must be on the disk that is to be measured.
    #[arg(long, value_name = "DIRECTORY")]
    below: Option<PathBuf>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// One signature per request, beside notary-signer.
    Sign,
    /// 1024 signatures per request.
    Batch,
    /// Batch verification of digests.
    Verify,
    /// Verifying many Ed25519 signatures in process, beside ed25519-dalek.
    Kernels,
    /// The store, the log and the custody worker alone.
    Parts,
    /// Start-up with many keys.
    Start,
    /// Flushes per acknowledged signature, by strace.
    Flush,
    /// Publishing and reading trust data, beside notary-server; docker with each of them.
    ContentTrust,
    /// A token's keys, beside a bare loop over its module.
    Token,
}

fn main() -> ExitCode {
    // A module is told by its environment where its token is, so the bare loop is a process of its own.
    let mut words = std::env::args().skip(1);
    let ran = match words.next() {
        Some(word) if word == bare::WORD => bare::run(words),
        Some(_) | None => run(&CommandLine::parse()),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trust-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(line: &CommandLine) -> Result<()> {
    let directory = match &line.below {
        Some(parent) => TempDir::new_in(parent),
        None => TempDir::new(),
    };
    let directory = directory.context("make a directory to run in")?;
    let machine = machine::describe(directory.path())?;
    ensure!(
        machine.get("file system").and_then(|kind| kind.as_str()) != Some("tmpfs"),
        "{} is in memory, where a flush costs nothing: name a directory on a disk with --below",
        directory.path().display()
    );
    let length = Duration::from_millis(line.length_ms);
    let plan = Plan {
        rounds: line.rounds.into(),
        warm_up: length.min(Duration::from_millis(300)),
        length,
        case: line.case.clone().unwrap_or_default(),
    };
    let suites = if line.suite.is_empty() { Suite::value_variants() } else { &line.suite };
    let mut report = Report::default();
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    for suite in suites {
        let own = directory.path().join(format!("{suite:?}").to_lowercase());
        std::fs::create_dir_all(&own).context("make a suite's directory")?;
        runtime
            .block_on(measure(*suite, line, &plan, &own, &mut report))
            .with_context(|| format!("suite {suite:?}"))?;
    }
    report.write(&line.output, &machine)?;
    println!("\n{}", report.markdown(&machine));
    println!("written to {}", line.output.display());
    Ok(())
}

async fn measure(suite: Suite, line: &CommandLine, plan: &Plan, directory: &Path, report: &mut Report) -> Result<()> {
    match suite {
        Suite::Sign => suite::sign::run(plan, directory, report).await,
        Suite::Batch => suite::batch::run(plan, directory, report).await,
        Suite::Verify => suite::verify::run(plan, directory, report).await,
        Suite::Kernels => tokio::task::block_in_place(|| suite::kernels::run(plan, report)),
        Suite::Parts => suite::parts::run(plan, directory, report).await,
        Suite::Start => suite::start::run(plan, line.keys, directory, report).await,
        Suite::Flush => suite::flush::run(directory, report).await,
        Suite::ContentTrust => suite::content_trust::run(plan, directory, report).await,
        Suite::Token => suite::token::run(plan, directory, report).await,
    }
}
