//! Another build of this program beside this one: what was chosen when a library was built, measured in the same seconds.
//!
//! The other build is a process of its own that is asked over its standard input, as the system's C libraries are. It says
//! first which it is, and then answers each line `TASK KEYS SIZE WARM_UP_MS LENGTH_MS` with items per second.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::backend::Backend;
use crate::load::{Load, drive_here};
use crate::mix::{Batches, Mix};
use crate::simd;

/// The first word of such a process' command line.
pub(crate) const WORD: &str = "beside";
/// No line of either side has as many.
const LINE_BYTES_MAX: u64 = 256;
const KEYS_MAX: usize = 4096;
const MILLISECONDS_MAX: u64 = 600_000;

/// What another build is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// dalek's `verify_batch`.
    Batch,
    /// ed25519-simd, of a build for processors with AVX-512 alone.
    Simd,
    /// dalek's `verify_strict`.
    Strict,
}

impl Task {
    const ALL: [Self; 3] = [Self::Batch, Self::Simd, Self::Strict];

    /// What this build is good for: one for AVX-512 alone is no build of dalek that anybody else has.
    const fn here() -> &'static [Self] {
        if simd::IS_HERE { &[Self::Simd] } else { &[Self::Batch, Self::Strict] }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Simd => "simd",
            Self::Strict => "strict",
        }
    }

    fn read(word: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|task| task.word() == word).with_context(|| format!("no task {word:?}"))
    }
}

/// What is measured once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    pub(crate) task: Task,
    /// Of how many keys the signatures are.
    pub(crate) keys: usize,
    /// How many of them are a batch.
    pub(crate) size: usize,
    pub(crate) load: Load,
}

impl Question {
    fn line(&self) -> String {
        let Self { task, keys, size, load } = self;
        format!("{} {keys} {size} {} {}", task.word(), load.warm_up.as_millis(), load.length.as_millis())
    }

    fn read(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [task, keys, size, warm_up, length] = words.as_slice() else { bail!("five words, not {line:?}") };
        let keys = keys.parse().context("a number of keys")?;
        ensure!((1..=KEYS_MAX).contains(&keys), "not so many keys");
        let milliseconds = |text: &str| -> Result<Duration> {
            let milliseconds = text.parse().context("milliseconds")?;
            ensure!(milliseconds <= MILLISECONDS_MAX, "not so long");
            Ok(Duration::from_millis(milliseconds))
        };
        let load = Load { in_flight: 1, warm_up: milliseconds(warm_up)?, length: milliseconds(length)? };
        Ok(Self { task: Task::read(task)?, keys, size: size.parse().context("a size")?, load })
    }
}

/// What the other build says first: its version, its choice, its tasks.
fn greeting() -> String {
    let tasks: Vec<&str> = Task::here().iter().map(|task| task.word()).collect();
    format!("{} {} {} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), Backend::HERE.word(), tasks.join(" "))
}

fn read_greeting(line: &str) -> Result<(Backend, Vec<Task>)> {
    let mut words = line.split_whitespace();
    ensure!(words.next() == Some(env!("CARGO_PKG_NAME")), "it says {line:?}, and is no build of this program");
    let version = words.next().unwrap_or_default();
    ensure!(
        version == env!("CARGO_PKG_VERSION"),
        "it is of version {version:?}, this one of {}",
        env!("CARGO_PKG_VERSION")
    );
    let word = words.next().unwrap_or_default();
    let backend = Backend::ALL.into_iter().find(|backend| backend.word() == word);
    let tasks = words.map(Task::read).collect::<Result<Vec<_>>>()?;
    Ok((backend.with_context(|| format!("no choice {word:?}"))?, tasks))
}

/// Answers until its input ends, in the process of its own.
///
/// # Errors
/// When a question is none, or a good signature counts as bad.
pub(crate) fn serve() -> Result<()> {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut say = move |line: &str| writeln!(output, "{line}").and_then(|()| output.flush()).context("answer");
    say(&greeting())?;
    let mut known: Option<(usize, Mix)> = None;
    while let Some(line) = read_line(&mut input).context("hear a question")? {
        let question = Question::read(&line)?;
        let mix = match known.take() {
            Some((keys, mix)) if keys == question.keys => mix,
            _ => Mix::new(question.keys)?,
        };
        let rate = answer(&mix, &question)?;
        known = Some((question.keys, mix));
        say(&rate.to_string())?;
    }
    Ok(())
}

fn answer(mix: &Mix, question: &Question) -> Result<f64> {
    let mut batches = Batches::of(question.size)?;
    let mut verifier = simd::Verifier::new(question.keys);
    drive_here(question.load, &mut || match question.task {
        Task::Batch => batches.next(|from, size| mix.dalek_batch(from, size)),
        Task::Simd => batches.next(|from, size| mix.simd(&mut verifier, from, size)),
        Task::Strict => batches.next(|from, size| mix.strict(from, size)),
    })
}

/// The next line; `None` at the end.
fn read_line(input: &mut impl BufRead) -> Result<Option<String>> {
    let mut line = String::new();
    input.take(LINE_BYTES_MAX).read_line(&mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    ensure!(line.ends_with('\n'), "a line without an end");
    Ok(Some(line))
}

/// Another build, running.
pub(crate) struct Other {
    child: Child,
    // Closed first: its end is the program's end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    backend: Backend,
    tasks: Vec<Task>,
}

impl Other {
    /// Starts a program and hears which build it is.
    ///
    /// # Errors
    /// When it does not start, which one for another processor does not, or is no build of this version.
    pub(crate) fn start(program: &Path) -> Result<Self> {
        let name = || format!("start {} beside this program", program.display());
        let mut command = Command::new(program);
        command.arg(WORD).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(name)?;
        let (input, output) = (child.stdin.take(), child.stdout.take().context("no standard output")?);
        let (output, tasks) = (BufReader::new(output), Vec::new());
        let mut other = Self { child, input, output, backend: Backend::Default, tasks };
        let line = read_line(&mut other.output).with_context(name)?;
        let line = line.context("it ended before it said anything").with_context(name)?;
        (other.backend, other.tasks) = read_greeting(&line).with_context(name)?;
        Ok(other)
    }

    /// How its dalek computes.
    pub(crate) const fn backend(&self) -> Backend {
        self.backend
    }

    /// What it may be asked for.
    pub(crate) fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// Items per second.
    ///
    /// # Errors
    /// When the program has ended, which it does where a verdict is wrong.
    pub(crate) fn measure(&mut self, question: &Question) -> Result<f64> {
        let input = self.input.as_mut().context("no standard input")?;
        writeln!(input, "{}", question.line()).and_then(|()| input.flush()).context("ask another build")?;
        let line = read_line(&mut self.output).context("hear another build")?;
        let line = line.context("another build has ended; what it met stands above")?;
        let rate: f64 = line.trim_end().parse().with_context(|| format!("another build said {line:?}"))?;
        ensure!(rate.is_finite() && rate > 0.0, "another build said {line:?}");
        Ok(rate)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.input.take());
        // It ends by itself; where it does not, it is in the middle of nothing that counts.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_as_it_was_asked() {
        let load = Load { in_flight: 1, warm_up: Duration::from_millis(20), length: Duration::from_millis(300) };
        for task in Task::ALL {
            let question = Question { task, keys: 16, size: 1024, load };

            let read = Question::read(&question.line()).unwrap();

            assert_eq!((read.task, read.keys, read.size), (task, 16, 1024));
            assert_eq!((read.load.warm_up, read.load.length), (load.warm_up, load.length));
        }
        for line in ["", "strict 1 8 1", "strict 0 8 1 1", "strict 9999 8 1 1", "sign 1 8 1 1", "strict 1 8 1 600001"] {
            assert!(Question::read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn only_a_build_of_this_version_is_believed() {
        let (backend, tasks) = read_greeting(&greeting()).unwrap();
        assert_eq!((backend, tasks.as_slice()), (Backend::HERE, Task::here()));

        for line in ["", "bench 0.1.0 default strict", "trust-bench 0.0.0 default strict"] {
            assert!(read_greeting(line).is_err(), "{line}");
        }
        let version = env!("CARGO_PKG_VERSION");
        assert!(read_greeting(&format!("trust-bench {version} serial strict")).is_err());
        assert!(read_greeting(&format!("trust-bench {version} default sign")).is_err());
    }

    #[test]
    fn a_line_is_as_long_as_it_may_be_and_the_end_is_none() {
        let mut text = "a b\nc".as_bytes();
        assert_eq!(read_line(&mut text).unwrap().as_deref(), Some("a b\n"));
        assert!(read_line(&mut text).is_err());
        assert_eq!(read_line(&mut text).unwrap(), None);

        assert!(read_line(&mut "x".repeat(1000).as_bytes()).is_err());
    }

    #[test]
    fn everything_that_this_build_is_good_for_is_answered() {
        let mix = Mix::new(2).unwrap();
        let load = Load { in_flight: 1, warm_up: Duration::ZERO, length: Duration::from_millis(1) };
        for task in Task::here() {
            assert!(answer(&mix, &Question { task: *task, keys: 2, size: 64, load }).unwrap() > 0.0);
        }
        assert!(answer(&mix, &Question { task: Task::Strict, keys: 2, size: 1000, load }).is_err());
    }

    #[test]
    fn a_program_that_is_none_of_ours_is_named() {
        for (program, what) in [("/bin/true", "before it said anything"), ("/bin/echo", "no build of this program")] {
            let error = Other::start(Path::new(program)).err().unwrap();

            let error = format!("{error:#}");
            assert!(error.contains(program) && error.contains(what), "{error}");
        }
    }
}
