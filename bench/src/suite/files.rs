//! Hashing a file for its signature, as `trustctl` does it (in pieces, on one core), beside other libraries and the
//! programs that people use. The file is in memory: what is measured is the hash, not the disk.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest;
use sha2::{Digest as _, Sha256, Sha384};
use trust_tests::program::{run as run_program, tool};

use super::Plan;
use crate::contest::{Entrant, contest};
use crate::load::{Load, now};
use crate::random::Random;
use crate::report::{Missing, Place, Point, Report, Row, Whose, Y};
use crate::spread::number;

const SUITE: &str = "files";
/// As `trustctl` reads.
const PIECE: usize = 256 * 1024;
/// Pieces of the file.
const PIECES: u64 = 1024;
const PIECES_QUICK: u64 = 128;

/// A function, and what others call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Sha256,
    Sha384,
}

impl Function {
    const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
        }
    }
}

/// Measures both functions.
///
/// # Errors
/// When the file cannot be written or read, or two digests differ.
pub(crate) fn run(plan: &Plan, directory: &Path, report: &mut Report) -> Result<()> {
    let pieces = plan.cases(&[PIECES], &[PIECES_QUICK]).pop().context("no file")?;
    let (path, bytes) = (directory.join("release.tar"), pieces.saturating_mul(u64::try_from(PIECE)?));
    write(&path, pieces)?;
    for function in [Function::Sha256, Function::Sha384] {
        let case = format!("{}, one file of {} MiB", function.name(), bytes >> 20);
        if !case.contains(&plan.case) {
            continue;
        }
        let mut entrants = entrants(function, &path, bytes, &case, report)?;
        let found = contest(plan, &mut entrants).with_context(|| case.clone())?;
        for (entrant, samples) in entrants.iter().zip(found) {
            let place = Place::new("Hashing a file", "", Point::Word(entrant.name.clone()), Y::Value);
            let row = Row::new(SUITE, case.clone(), entrant.name.clone(), "MB/s", samples);
            report.add(row.of(entrant.whose).at(place.named(function.name())));
        }
    }
    std::fs::remove_file(path).context("remove the file that was hashed")
}

/// Everybody; each has given the same digest before anything counts.
fn entrants<'a>(
    function: Function,
    path: &'a Path,
    bytes: u64,
    case: &str,
    report: &mut Report,
) -> Result<Vec<Entrant<'a>>> {
    let digest = ours(function, path)?;
    ensure!(aws_lc(function, path)? == digest, "aws-lc-rs and sha2 do not agree");
    let mut entrants = vec![
        once("trustctl's way (sha2)", Whose::Ours, bytes, move || ours(function, path).map(drop)),
        once("aws-lc-rs", Whose::Peers, bytes, move || aws_lc(function, path).map(drop)),
    ];
    let word = function.word();
    for (name, arguments, package) in [
        (format!("{word}sum"), Vec::new(), "coreutils"),
        ("openssl".to_owned(), vec!["dgst".to_owned(), format!("-{word}")], "openssl"),
    ] {
        let subject = [vec![name.clone()], arguments.clone()].concat().join(" ");
        match tool(&name, package) {
            Ok(program) => {
                let printed = external(&program, &arguments, path)?;
                ensure!(printed.contains(&digest), "{subject} and sha2 do not agree: {printed}");
                entrants
                    .push(once(&subject, Whose::Peers, bytes, move || external(&program, &arguments, path).map(drop)));
            }
            Err(_) => report.miss(Missing {
                suite: SUITE,
                case: case.to_owned(),
                subject,
                why: format!("{package} is not installed"),
            }),
        }
    }
    Ok(entrants)
}

/// The rate of one pass over the file, whatever length the plan has.
fn once<'a>(name: &str, whose: Whose, bytes: u64, mut pass: impl FnMut() -> Result<()> + 'a) -> Entrant<'a> {
    Entrant::new(name, whose, move |_: Load| {
        let begun = now();
        pass()?;
        // In units of 1024, so that the number stays exact.
        Ok(number(bytes / 1024) * 1024.0 / 1e6 / begun.elapsed().as_secs_f64())
    })
}

fn external(program: &Path, arguments: &[String], path: &Path) -> Result<String> {
    Ok(run_program(Command::new(program).args(arguments).arg(path))?.ok()?.stdout)
}

fn ours(function: Function, path: &Path) -> Result<String> {
    match function {
        Function::Sha256 => {
            let mut hash = Sha256::new();
            read_through(path, |piece| hash.update(piece))?;
            Ok(hex(hash.finalize().as_slice()))
        }
        Function::Sha384 => {
            let mut hash = Sha384::new();
            read_through(path, |piece| hash.update(piece))?;
            Ok(hex(hash.finalize().as_slice()))
        }
    }
}

fn aws_lc(function: Function, path: &Path) -> Result<String> {
    let algorithm = match function {
        Function::Sha256 => &digest::SHA256,
        Function::Sha384 => &digest::SHA384,
    };
    let mut hash = digest::Context::new(algorithm);
    read_through(path, |piece| hash.update(piece))?;
    Ok(hex(hash.finish().as_ref()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_through(path: &Path, mut take: impl FnMut(&[u8])) -> Result<()> {
    let mut file = File::open(path).context("open the file that is hashed")?;
    let mut piece = vec![0; PIECE];
    loop {
        let count = file.read(&mut piece).context("read the file that is hashed")?;
        if count == 0 {
            return Ok(());
        }
        take(piece.get(..count).unwrap_or_default());
    }
}

/// A file in which no page is like another.
fn write(path: &Path, pieces: u64) -> Result<()> {
    let mut file = File::create(path).context("make a file to hash")?;
    let mut random = Random::new(5);
    let mut piece = vec![0; PIECE];
    for _ in 0..pieces {
        for page in piece.chunks_mut(4096) {
            for (place, byte) in page.iter_mut().zip(random.share().to_bits().to_le_bytes()) {
                *place = byte;
            }
        }
        file.write_all(&piece).context("write a file to hash")?;
    }
    file.sync_all().context("write a file to hash")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Effort;

    #[test]
    fn everybody_hashes_the_same_file_to_the_same_digest() {
        let directory = tempfile::tempdir().unwrap();
        let plan = Plan { rounds: 1, effort: Effort::Quick, ..Plan::default() };
        let mut report = Report::default();

        run(&plan, directory.path(), &mut report).unwrap();

        for function in ["SHA-256", "SHA-384"] {
            let case = format!("{function}, one file of 32 MiB");
            for subject in ["trustctl's way (sha2)", "aws-lc-rs"] {
                assert!(report.samples(SUITE, &case, subject, "MB/s").unwrap()[0] > 0.0, "{case} {subject}");
            }
        }
        assert!(std::fs::read_dir(directory.path()).unwrap().next().is_none());
    }
}
