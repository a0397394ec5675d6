//! What the numbers were measured on.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::load::now;
use crate::spread::{Spread, number};

/// As long as a small log entry.
const ENTRY_BYTES: usize = 300;
const FLUSHES: u64 = 300;

/// Processor, memory, kernel, file system and the price of one flush in `directory`.
///
/// # Errors
/// When the directory cannot be written.
pub(crate) fn describe(directory: &Path) -> Result<Value> {
    let kernel = rustix::system::uname();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let flush = flush_us(directory)?;
    Ok(json!({
        "processor": proc_field("/proc/cpuinfo", "model name"),
        "cores": cores,
        "processor flags": flags_that_matter(),
        "avx512ifma": has_ifma(),
        "build of curve25519-dalek": Backend::HERE.word(),
        "rustc": env!("TRUST_BENCH_RUSTC"),
        "date": date(),
        "memory": proc_field("/proc/meminfo", "MemTotal"),
        "kernel": kernel.release().to_string_lossy(),
        "file system": file_system(directory),
        "append + fdatasync, median µs": flush.round(),
        // What others do at the same time costs less when this runs before them: nice -n -19.
        "niceness": rustix::process::getpriority_process(None).unwrap_or_default(),
        "build": if cfg!(debug_assertions) { "debug: these numbers say little" } else { "release" },
        "load average before": std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
    }))
}

/// The day and hour of the run, in UTC.
#[expect(clippy::disallowed_methods, reason = "a report says when it was made; nothing is decided by it")]
fn date() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}

fn proc_field(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

/// The type of the mount that holds `directory`: the longest mount point before it.
fn file_system(directory: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let of = |line: &str| {
        let mut fields = line.split(' ');
        let (point, kind) = (fields.nth(1)?.to_owned(), fields.next()?.to_owned());
        directory.starts_with(&point).then_some((point.len(), kind))
    };
    mounts.lines().filter_map(of).max_by_key(|(length, _)| *length).map(|(_, kind)| kind).unwrap_or_default()
}

/// The floor under every durable write here: one append and its fdatasync, in microseconds.
fn flush_us(directory: &Path) -> Result<f64> {
    let path = directory.join("flush");
    let file = File::create(&path).context("make a file to flush")?;
    let mut samples = Vec::new();
    for index in 0..FLUSHES {
        let offset = index.saturating_mul(u64::try_from(ENTRY_BYTES)?);
        let begun = now();
        file.write_all_at(&[7; ENTRY_BYTES], offset).context("write a file to flush")?;
        file.sync_data().context("flush a file")?;
        samples.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(path).context("remove the file that was flushed")?;
    Ok(Spread::of(&samples).map_or(number(0), |spread| spread.median))
}

/// Processor time of a process in clock ticks, from its `/proc/PID/stat`: fields 14 and 15, user and system; zero of one
/// that is gone.
pub(crate) fn ticks(stat: &str) -> u64 {
    // The second field is a name in parentheses, in which anything may stand.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// Processor time of a running process so far, in microseconds.
///
/// # Errors
/// When there is none with that id.
pub(crate) fn cpu_us(id: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).context("read processor time")?;
    Ok(number(ticks(&stat)) * 1e6 / number(rustix::param::clock_ticks_per_second()))
}

/// Whether this processor multiplies eight integers of 52 bits at once.
pub(crate) fn has_ifma() -> bool {
    flags().iter().any(|flag| flag == "avx512ifma")
}

/// Why something for a path of this processor cannot be measured, by the name of the path.
pub(crate) fn lacks(path: &str) -> &'static str {
    if path.contains("512") || path.contains("ifma") {
        "this processor has no AVX-512 IFMA"
    } else {
        "this processor does not have it"
    }
}

/// What this processor says it can, as the kernel names it.
fn flags() -> Vec<String> {
    proc_field("/proc/cpuinfo", "flags").split_whitespace().map(str::to_owned).collect()
}

/// Of what it can, what the arithmetic of signatures and hashes looks for.
fn flags_that_matter() -> String {
    const MATTER: [&str; 9] =
        ["adx", "avx2", "avx512f", "avx512ifma", "bmi2", "pclmulqdq", "sha_ni", "vaes", "vpclmulqdq"];
    let flags = flags();
    MATTER.into_iter().filter(|name| flags.iter().any(|flag| flag == name)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_described_with_all_that_a_reader_asks() {
        let directory = tempfile::tempdir().unwrap();

        let machine = describe(directory.path()).unwrap();

        for name in ["processor", "processor flags", "kernel", "rustc", "date", "memory", "file system"] {
            assert!(machine[name].as_str().is_some_and(|value| !value.is_empty()), "{name}: {machine}");
        }
        assert!(machine["cores"].as_u64().unwrap() > 0);
        assert!(machine["rustc"].as_str().unwrap().starts_with("rustc 1."), "{machine}");
    }

    #[test]
    fn our_own_processor_time_is_known_and_nobodys_is_not() {
        let (id, until) = (std::process::id(), now() + std::time::Duration::from_secs(60));
        let before = cpu_us(id).unwrap();

        // Asking takes some of it.
        while cpu_us(id).unwrap() <= before {
            assert!(now() < until, "{before} µs, and no more");
        }
        assert!(cpu_us(u32::MAX).is_err());
    }

    #[test]
    fn processor_time_is_read_behind_any_name() {
        assert_eq!(ticks("7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0"), 42);
        assert_eq!(ticks(""), 0);
    }
}
