//! The system's C libraries, each in a small program of its own that is asked over its standard input: OpenSSL and
//! libsodium as they are installed, not as a crate brings them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use trust_tests::program::{run, tool};

use crate::load::Load;
use crate::signed::Signed;
use crate::spread::number;

/// The program.
const SOURCE: &str = include_str!("library/peer.c");

/// Which library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    OpenSsl,
    Sodium,
}

/// What it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Sign,
    Verify,
}

impl Task {
    /// The word of it, here and in the report.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::Verify => "verify",
        }
    }
}

impl Which {
    pub(crate) const ALL: [Self; 2] = [Self::OpenSsl, Self::Sodium];

    /// Its name in the report.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OpenSsl => "OpenSSL of the system",
            Self::Sodium => "libsodium of the system",
        }
    }

    const fn header(self) -> &'static str {
        match self {
            Self::OpenSsl => "/usr/include/openssl/evp.h",
            Self::Sodium => "/usr/include/sodium.h",
        }
    }

    const fn file(self) -> &'static str {
        match self {
            Self::OpenSsl => "peer-openssl",
            Self::Sodium => "peer-sodium",
        }
    }

    /// Why it cannot be measured here; `None` where it can.
    pub(crate) fn missing(self) -> Option<String> {
        let package = match self {
            Self::OpenSsl => "libssl-dev",
            Self::Sodium => "libsodium-dev",
        };
        (!Path::new(self.header()).is_file()).then(|| format!("{package} is not installed"))
    }

    /// Builds the program for it in `directory`.
    ///
    /// # Errors
    /// When there is no compiler, or it finds a fault.
    pub(crate) fn build(self, directory: &Path) -> Result<()> {
        let compiler = tool("cc", "apt-get install build-essential")?;
        let (source, flags): (_, &[&str]) = match self {
            Self::OpenSsl => ("openssl.c", &["-lcrypto"]),
            Self::Sodium => ("sodium.c", &["-DSODIUM", "-lsodium"]),
        };
        let source = directory.join(source);
        std::fs::write(&source, SOURCE).context("write the program of a library")?;
        let mut command = Command::new(compiler);
        command.args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"]).arg(directory.join(self.file())).arg(&source);
        run(command.args(flags))?.ok().with_context(|| format!("build the program for {}", self.name()))?;
        Ok(())
    }
}

/// A running program with one key and what it signed. It has verified all of it, and refused one that was changed.
pub(crate) struct Library {
    child: Child,
    // Closed first: its end is the program's end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Library {
    /// Starts the program that [`Which::build`] put into `directory`.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(which: Which, directory: &Path, signed: &Signed) -> Result<Self> {
        let file = directory.join(format!("{}.{}", which.file(), signed.algorithm.name()));
        std::fs::write(&file, told(which, signed)?).context("write what a library is to verify")?;
        let mut command = Command::new(directory.join(which.file()));
        command.arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start the program of {}", which.name()))?;
        let (input, output) = (child.stdin.take(), child.stdout.take().context("no standard output")?);
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    /// Operations per second.
    ///
    /// # Errors
    /// When the program has ended, which it does where a verdict is wrong.
    pub(crate) fn measure(&mut self, task: Task, load: Load) -> Result<f64> {
        if !load.warm_up.is_zero() {
            self.ask(task, load.warm_up.as_millis())?;
        }
        self.ask(task, load.length.as_millis())
    }

    fn ask(&mut self, task: Task, milliseconds: u128) -> Result<f64> {
        let input = self.input.as_mut().context("no standard input")?;
        writeln!(input, "{} {milliseconds}", task.word()).context("ask a library")?;
        input.flush().context("ask a library")?;
        let mut line = String::new();
        self.output.read_line(&mut line).context("hear a library")?;
        rate(&line)
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        drop(self.input.take());
        // It ends by itself; where it does not, it is in the middle of nothing that counts.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Operations and nanoseconds as a rate.
fn rate(line: &str) -> Result<f64> {
    let mut words = line.split_whitespace().map(str::parse::<u64>);
    match (words.next(), words.next(), words.next()) {
        (Some(Ok(done)), Some(Ok(nanoseconds)), None) if nanoseconds > 0 => {
            Ok(number(done) / std::time::Duration::from_nanos(nanoseconds).as_secs_f64())
        }
        _ => bail!("a library's program said {line:?}; what it met stands above"),
    }
}

/// What the program reads.
fn told(which: Which, signed: &Signed) -> Result<Vec<u8>> {
    let (private, public) = match which {
        Which::OpenSsl => (signed.pkcs8.as_slice(), signed.spki.as_slice()),
        Which::Sodium => (signed.seed.as_slice(), signed.raw.as_slice()),
    };
    let length = |length: usize| u32::try_from(length).context("a length").map(u32::to_le_bytes);
    let bits = signed.algorithm.prehash().map_or(0, |function| function.length_bytes().saturating_mul(8));
    let mut file = length(bits)?.to_vec();
    let mut put = |bytes: &[u8]| -> Result<()> {
        file.extend(length(bytes.len())?);
        file.extend(bytes);
        Ok(())
    };
    put(private)?;
    put(public)?;
    file.extend(length(signed.items.len())?);
    for (message, signature) in &signed.items {
        file.extend(length(message.len())?);
        file.extend(message);
        file.extend(length(signature.len())?);
        file.extend(signature);
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use trust::Algorithm;

    use super::*;

    #[test]
    fn what_a_program_says_is_a_rate_or_a_fault() {
        assert!((rate("500 250000000\n").unwrap() - 2000.0).abs() < 1e-9);
        for line in ["", "500", "500 0", "a b", "1 2 3"] {
            assert!(rate(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_systems_openssl_verifies_and_signs_with_each_kind_of_key() {
        let directory = tempfile::tempdir().unwrap();
        Which::OpenSsl.build(directory.path()).unwrap();
        let load = Load { in_flight: 1, warm_up: Duration::ZERO, length: Duration::from_millis(20) };
        for algorithm in [Algorithm::EcdsaP256Sha256, Algorithm::EcdsaP384Sha384, Algorithm::Rsa3072Pkcs1Sha256] {
            let signed = Signed::new(algorithm, 4).unwrap();

            let mut library = Library::start(Which::OpenSsl, directory.path(), &signed).unwrap();

            for task in [Task::Verify, Task::Sign] {
                assert!(library.measure(task, load).unwrap() > 10.0, "{algorithm}");
            }
        }
    }

    #[test]
    fn both_libraries_know_a_good_signature_of_ed25519_from_a_bad_one() {
        let directory = tempfile::tempdir().unwrap();
        let load = Load { in_flight: 1, warm_up: Duration::ZERO, length: Duration::from_millis(20) };
        for which in Which::ALL {
            assert_eq!(which.missing(), None);
            which.build(directory.path()).unwrap();
            let mut signed = Signed::new(Algorithm::Ed25519, 4).unwrap();

            let mut good = Library::start(which, directory.path(), &signed).unwrap();
            signed.items[2].1[40] ^= 1;
            assert!(good.measure(Task::Verify, load).unwrap() > 10.0, "{which:?}");

            let mut bad = Library::start(which, directory.path(), &signed).unwrap();
            assert!(bad.measure(Task::Verify, load).is_err(), "{which:?}");
        }
    }
}
