//! trust-bench: how fast trustd is, in whole and in parts, beside Debian's notary-signer.
//!
//! Everything runs for real, on this machine's disk and loopback, for a bounded time, and is stopped by its own id.
//! It drives everything; nothing depends on it.

mod backend;
mod bare;
mod beside;
mod certificates;
mod collection;
mod compare;
mod contest;
mod door;
mod library;
mod load;
mod machine;
mod mix;
mod ours;
mod path;
mod peer;
mod plan;
mod random;
mod report;
mod signed;
mod simd;
mod spread;
mod subject;
mod suite;
mod token;
mod vault;
mod zebra;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use tempfile::TempDir;

use compare::{Machines, Paths};
use plan::{Effort, Plan};
use report::{Bound, Outcome, Report, Target};

/// Measures trustd, prints a table and writes a report; each suite can run alone.
#[derive(Debug, Parser)]
#[command(name = "trust-bench", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    /// Which suite; all where none is named.
    #[arg(long, value_enum, value_name = "NAME")]
    suite: Vec<Suite>,
    /// Fewer cases, rounds and keys, and shorter: everything within minutes.
    #[arg(long)]
    quick: bool,
    /// How often each measurement is made; 5, or 3 with --quick.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: Option<u16>,
    /// How long one measurement is; 1000, or 200 with --quick.
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u64).range(50..=60_000))]
    length_ms: Option<u64>,
    /// Only the cases whose name contains this, as "Ed25519, 64 in flight"; suites `batch`, `flush`, `parts`, `start` and
    /// `verify` have all of theirs.
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// How suites `kernels`, `digests` and `verify` compute what is ours of Ed25519 in this process; else in every way that
    /// this processor has, or in the fastest one. The verdicts are the same. A daemon takes the fastest one always.
    #[arg(long, value_enum, value_name = "NAME")]
    path: Option<path::Path>,
    /// Another build of this program, whose libraries suite `kernels` measures beside those of this one; may be named again.
    /// `make bench` makes two where the processor has AVX-512 IFMA.
    #[arg(long, value_name = "PROGRAM")]
    beside: Vec<PathBuf>,
    /// How many keys the daemon of suite `start` has; 100,000, or 2,000 with --quick.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    keys: Option<u32>,
    /// Where results.json, results.csv, report.md and report.html go.
    #[arg(long, alias = "output", default_value = "bench-results", value_name = "DIRECTORY")]
    out: PathBuf,
    /// Below which directory everything runs; it must be on the disk that is to be measured.
    #[arg(long, value_name = "DIRECTORY")]
    below: Option<PathBuf>,
}

/// What is done with runs.
#[derive(Debug, Subcommand)]
enum Command {
    /// Holds two runs against each other; exit code 1: something is worse beyond the noise, 2: they cannot be compared.
    Compare {
        /// The run before: its directory, or its results.json.
        old: PathBuf,
        /// The run after.
        new: PathBuf,
        /// What is no change, in percent; more where the peers' rows say that the machine changed more.
        #[arg(long, default_value_t = 5, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=50))]
        noise: u8,
        /// Also runs of two machines.
        #[arg(long)]
        across_machines: bool,
        /// Also runs that computed in other ways (`--path`).
        #[arg(long)]
        across_paths: bool,
    },
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
    /// Verifying and signing once, by our code and by every library that people would use instead.
    Libraries,
    /// Verifying many Ed25519 signatures in process, beside ed25519-dalek and ed25519-zebra.
    Kernels,
    /// Verifying 1024 signatures in process: by algorithm, mix of keys, share of bad items, threads.
    Digests,
    /// The daemon under load: Verify, VerifyBatch, VerifyStream and Sign, closed and open loops.
    Service,
    /// Hashing a file.
    Files,
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

impl Suite {
    /// Whether something of it is computed by the path that is named.
    const fn takes_path(self) -> bool {
        matches!(self, Self::Digests | Self::Kernels | Self::Verify)
    }

    /// As it is named on the command line.
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

fn main() -> ExitCode {
    // A module is told by its environment where its token is, so the bare loop is a process of its own.
    let mut words = std::env::args().skip(1);
    let ran = match words.next() {
        Some(word) if word == bare::WORD => bare::run(words),
        Some(word) if word == beside::WORD => beside::serve(),
        Some(_) | None => {
            let line = CommandLine::parse();
            match &line.command {
                Some(Command::Compare { old, new, noise, across_machines, across_paths }) => {
                    let machines = if *across_machines { Machines::Any } else { Machines::Same };
                    let paths = if *across_paths { Paths::Any } else { Paths::Same };
                    return hold_against(old, new, *noise, machines, paths);
                }
                None => {
                    if let Some(refusal) = line.path_refusal() {
                        eprintln!("trust-bench: {refusal}");
                        return ExitCode::from(2);
                    }
                    run(&line)
                }
            }
        }
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trust-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the comparison of two runs; the exit code says what came of it.
fn hold_against(old: &Path, new: &Path, noise_percent: u8, machines: Machines, paths: Paths) -> ExitCode {
    match compare::compare(old, new, f64::from(noise_percent) / 100.0, machines, paths) {
        Ok(comparison) => {
            println!("{}", comparison.table());
            if comparison.is_worse() { ExitCode::from(1) } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            eprintln!("trust-bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(line: &CommandLine) -> Result<()> {
    let directory = match &line.below {
        Some(parent) => TempDir::new_in(parent),
        None => TempDir::new(),
    };
    let directory = directory.context("make a directory to run in")?;
    let mut machine = machine::describe(directory.path())?;
    if let (Some(path), Some(fields)) = (line.path, machine.as_object_mut()) {
        fields.insert(path::FACT.to_owned(), path.name().into());
    }
    ensure!(
        machine.get("file system").and_then(|kind| kind.as_str()) != Some("tmpfs"),
        "{} is in memory, where a flush costs nothing: name a directory on a disk with --below",
        directory.path().display()
    );
    let plan = line.plan();
    let suites = if line.suite.is_empty() { Suite::value_variants() } else { &line.suite };
    let mut report = Report::default();
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    for suite in suites {
        let begun = load::now();
        let own = directory.path().join(format!("{suite:?}").to_lowercase());
        std::fs::create_dir_all(&own).context("make a suite's directory")?;
        runtime
            .block_on(measure(*suite, line, &plan, &own, &mut report))
            .with_context(|| format!("suite {suite:?}"))?;
        let seconds = begun.elapsed().as_secs_f64();
        println!("suite {} took {seconds:.0} s", suite.name());
        report.took(suite.name(), seconds);
    }
    if line.is_everything() {
        let limit = Bound::AtMost(if line.quick { 300.0 } else { 2700.0 });
        let outcome = Outcome::Measured(report.seconds());
        report.aim(Target { what: "all suites together".to_owned(), outcome, bound: limit, unit: "s" });
    }
    report.write(&line.out, &machine)?;
    println!("\n{}", report.markdown(&machine));
    println!("written to {}", line.out.display());
    Ok(())
}

impl CommandLine {
    fn plan(&self) -> Plan {
        let (effort, rounds, length_ms) = if self.quick { (Effort::Quick, 3, 200) } else { (Effort::Whole, 5, 1000) };
        let length = Duration::from_millis(self.length_ms.unwrap_or(length_ms));
        Plan {
            rounds: self.rounds.unwrap_or(rounds).into(),
            warm_up: (length / 2).min(Duration::from_millis(300)),
            length,
            case: self.case.clone().unwrap_or_default(),
            effort,
            path: self.path.map(path::Path::of_batch),
        }
    }

    /// Why `--path` cannot be had, or would change nothing; `None` where neither is so.
    fn path_refusal(&self) -> Option<String> {
        let path = self.path?;
        let is_idle = !self.suite.is_empty() && !self.suite.iter().any(|suite| suite.takes_path());
        let idle =
            "no suite that is named computes by --path\n  kernels, digests and verify do; leave it out for others";
        path.refusal().or_else(|| is_idle.then(|| idle.to_owned()))
    }

    /// Of the daemon of suite `start`.
    fn keys(&self) -> u32 {
        self.keys.unwrap_or(if self.quick { 2_000 } else { suite::start::KEYS })
    }

    /// Whether nothing is left out or made longer.
    fn is_everything(&self) -> bool {
        self.suite.is_empty()
            && self.rounds.is_none()
            && self.length_ms.is_none()
            && self.case.is_none()
            && self.path.is_none()
            && self.keys.is_none()
    }
}

async fn measure(suite: Suite, line: &CommandLine, plan: &Plan, directory: &Path, report: &mut Report) -> Result<()> {
    match suite {
        Suite::Sign => suite::sign::run(plan, directory, report).await,
        Suite::Batch => suite::batch::run(plan, directory, report).await,
        Suite::Verify => suite::verify::run(plan, directory, report).await,
        Suite::Libraries => tokio::task::block_in_place(|| suite::libraries::run(plan, directory, report)),
        Suite::Digests => tokio::task::block_in_place(|| suite::digests::run(plan, directory, report)),
        Suite::Service => suite::service::run(plan, directory, report).await,
        Suite::Files => tokio::task::block_in_place(|| suite::files::run(plan, directory, report)),
        Suite::Kernels => tokio::task::block_in_place(|| suite::kernels::run(plan, &line.beside, report)),
        Suite::Parts => suite::parts::run(plan, directory, report).await,
        Suite::Start => suite::start::run(plan, line.keys(), directory, report).await,
        Suite::Flush => suite::flush::run(directory, report).await,
        Suite::ContentTrust => suite::content_trust::run(plan, directory, report).await,
        Suite::Token => suite::token::run(plan, directory, report).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn haste_is_shorter_in_everything_that_is_not_named() {
        let quick = CommandLine::parse_from(["trust-bench", "--quick", "--rounds", "9"]);
        let whole = CommandLine::parse_from(["trust-bench"]);

        assert_eq!((quick.plan().rounds, quick.plan().effort, quick.keys()), (9, Effort::Quick, 2_000));
        assert!(quick.plan().length < whole.plan().length);
        assert_eq!(whole.plan().path, None);
        assert!(whole.is_everything() && !quick.is_everything());
        assert_eq!((whole.plan().rounds, whole.plan().effort, whole.keys()), (5, Effort::Whole, 100_000));
    }

    #[test]
    fn a_path_is_forced_by_its_name_and_no_other_is_taken() {
        let line = CommandLine::parse_from(["trust-bench", "--suite", "kernels", "--path", "portable"]);

        assert_eq!(line.plan().path, Some(trust::verify::batch::Path::Portable));
        assert!(CommandLine::try_parse_from(["trust-bench", "--path", "sse"]).is_err());
    }

    #[test]
    fn a_path_that_would_change_nothing_is_refused() {
        let refusal = |words: &[&str]| {
            let line = CommandLine::parse_from([&["trust-bench", "--path", "portable"], words].concat());
            line.path_refusal()
        };

        for words in [&[][..], &["--suite", "verify"], &["--suite", "service", "--suite", "kernels"]] {
            assert_eq!(refusal(words), None);
        }
        for suite in ["service", "sign", "libraries"] {
            let refusal = refusal(&["--suite", suite]).unwrap();
            assert!(refusal.contains("kernels") && refusal.lines().count() == 2, "{refusal}");
        }
    }

    #[test]
    fn a_comparison_of_nothing_is_told_from_one_that_found_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = directory.path().join("nowhere");

        assert_eq!(hold_against(&nowhere, &nowhere, 5, Machines::Same, Paths::Same), ExitCode::from(2));
    }
}
