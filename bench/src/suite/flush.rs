//! That no signature is acknowledged before its intent is on disk: the kernel's own count of flushes, by strace.
//!
//! With one request in flight every acknowledged signature needs a flush of its own; with 64, at most 64 share one.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use trust::Algorithm;
use trust_proto::v1::Purpose;
use trust_tests::process::Running;
use trust_tests::program::tool;

use crate::certificates::Certificates;
use crate::load::drive_count;
use crate::ours::Ours;
use crate::report::{Bound, Outcome, Report, Row, Target};
use crate::spread::number;
use crate::subject::{Subject, Way, message, raw};

const SUITE: &str = "flush";
const SUBJECT: &str = "trustd, Unix socket";
const ATTACH_LIMIT: Duration = Duration::from_secs(20);

/// Counts under both loads.
///
/// # Errors
/// When strace is not there, may not attach, or a request fails.
pub(crate) async fn run(directory: &Path, report: &mut Report) -> Result<()> {
    let certificates = Certificates::make(directory)?;
    let ours = Ours::start(directory, &certificates)?;
    let key = ours.create_key("flush/raw", Purpose::Raw, Algorithm::Ed25519).await?;
    let way = Way::Trustd { request: raw(&key, message()) };
    let subject = Subject { name: SUBJECT.to_owned(), channels: ours.unix(1).await?, way };
    for (in_flight, signatures) in [(1, 1000_u64), (64, 16_000)] {
        let trace = directory.join(format!("trace-{in_flight}"));
        let mut strace = tokio::task::block_in_place(|| attach(ours.daemon.id()?, &trace))?;
        let subject = subject.clone();
        drive_count(in_flight, signatures, move |_| {
            let subject = subject.clone();
            async move { subject.sign(0, 1).await }
        })
        .await?;
        tokio::task::block_in_place(|| strace.stop()).context("stop strace")?;
        let flushes = count(&std::fs::read_to_string(&trace).context("read what strace saw")?);

        let case = format!("{signatures} acknowledged signatures, {in_flight} in flight");
        let row = |unit, sample| Row::new(SUITE, case.clone(), SUBJECT.to_owned(), unit, vec![sample]);
        report.add(row("flushes of the log", number(flushes)));
        report.add(row("signatures per flush", number(signatures) / number(flushes.max(1))));
        let least = signatures.div_ceil(u64::try_from(in_flight)?);
        report.aim(Target {
            what: format!("{case}: one flush per acknowledged group or more"),
            outcome: Outcome::Measured(number(flushes)),
            bound: Bound::AtLeast(number(least)),
            unit: "flushes",
        });
    }
    Ok(())
}

/// Follows every thread of the daemon; returns once it does.
fn attach(id: u32, trace: &Path) -> Result<Running> {
    let strace = tool("strace", "apt-get install strace")?;
    let log = trace.with_extension("log");
    let mut command = Command::new(strace);
    command.args(["-f", "-y", "-e", "trace=fsync,fdatasync", "-p", &id.to_string(), "-o"]).arg(trace);
    let mut running = Running::start(&mut command, &log)?;
    running
        .ready(ATTACH_LIMIT, || std::fs::read_to_string(&log).ok().filter(|text| text.contains("attached")))
        .context("strace needs root, or the daemon's own user and a kernel that lets it")?;
    Ok(running)
}

/// Flushes of the log's own entries that were begun and ended well. A call that another thread's line cuts in two has
/// its path in the first half only.
fn count(trace: &str) -> u64 {
    let of_entries = |line: &&str| line.contains("sync(") && line.contains("/log/entries/");
    let failed = |line: &&str| line.contains("= -1");
    let counted = trace.lines().filter(of_entries).filter(|line| !failed(line)).count();
    u64::try_from(counted).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes_of_the_log_are_told_from_others() {
        let trace = "\
12 fdatasync(9</d/data/log/entries/00000000000000000000.frames>) = 0
13 fdatasync(7</d/data/store/db>) = 0
12 fdatasync(9</d/data/log/entries/00000000000000000000.frames> <unfinished ...>
13 fsync(11</d/data/store>) = 0
12 <... fdatasync resumed>) = 0
12 fdatasync(9</d/data/log/entries/00000000000000000000.frames>) = -1 EIO (Input/output error)
";

        assert_eq!(count(trace), 2);
    }
}
