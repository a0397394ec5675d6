//! Verifying many Ed25519 signatures over 32 bytes, in process and on one thread: with prepared keys and without, by
//! every path that this processor has, beside ed25519-dalek in the same seconds, and beside libraries of other builds of
//! this program, where such are named.

mod targets;

use std::cell::RefCell;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use trust::verify::batch::Path;

use super::Plan;
use crate::backend::Backend;
use crate::beside::{Other, Question, Task};
use crate::contest::{Entrant, contest};
use crate::machine::lacks;
use crate::mix::{self, Batches, Mix, Prepared};
use crate::report::{Missing, Place, Point, Report, Row, Whose, Y};
use crate::spread::{count, paired};
use crate::zebra;
use targets::{Builds, beside};

const SUITE: &str = "verify kernels";
/// The size at which mixes are seen beside each other.
const BY_MIX: usize = 1024;
const ONE_KEY: &str = "one key";
const DIFFERENT: &str = "every item another key";
/// Each mix with its number of keys, and the sizes of its batches, all and in haste.
const MIXES: [(&str, usize, &[usize], &[usize]); 3] = [
    (ONE_KEY, 1, &[1, 8, 64, 1024, 4096], &[1, 64, 1024]),
    ("16 keys", 16, &[64, 1024], &[64, 1024]),
    (DIFFERENT, mix::SIGNED, &[64, 1024, 4096], &[64, 1024]),
];
const STRICT: &str = "ed25519-dalek, verify_strict";
/// All or nothing, and another verdict at the edges: the price of a verdict for each item is what lies between.
const DALEK_BATCH: &str = "ed25519-dalek, verify_batch";
const ZEBRA: &str = "ed25519-zebra, batch";
const SIMD: &str = "ed25519-simd, strict";

/// Who of this build verifies.
#[derive(Debug, Clone, Copy)]
enum Subject {
    Strict,
    DalekBatch,
    Plain(Path),
    Prepared(Path),
    ZebraBatch,
}

impl Subject {
    fn all(mix: &Mix, plan: &Plan) -> Vec<Self> {
        let mut all = vec![Self::Strict, Self::DalekBatch];
        if zebra::IS_HERE {
            all.push(Self::ZebraBatch);
        }
        let is_wanted = |path: &Path| path.is_here() && plan.path.is_none_or(|forced| forced == *path);
        let here = Path::ALL.into_iter().filter(is_wanted);
        if mix.is_prepared() {
            all.push(Self::Plain(plan.path_or_best()));
            all.extend(here.map(Self::Prepared));
        } else {
            all.extend(here.map(Self::Plain));
        }
        all
    }

    fn name(self) -> String {
        match self {
            Self::Strict => STRICT.to_owned(),
            Self::DalekBatch => DALEK_BATCH.to_owned(),
            Self::Plain(path) => format!("chunk, keys not prepared, {}", word_of(path)),
            Self::Prepared(path) => format!("chunk, keys prepared, {}", word_of(path)),
            Self::ZebraBatch => ZEBRA.to_owned(),
        }
    }

    const fn whose(self) -> Whose {
        match self {
            Self::Plain(_) | Self::Prepared(_) => Whose::Ours,
            _ => Whose::Peers,
        }
    }

    /// Whether all of a batch are good.
    fn verify(self, mix: &Mix, from: usize, size: usize) -> Result<bool> {
        match self {
            Self::Strict => mix.strict(from, size),
            Self::DalekBatch => mix.dalek_batch(from, size),
            Self::Plain(path) => mix.ours(path, Prepared::No, from, size),
            Self::Prepared(path) => mix.ours(path, Prepared::Yes, from, size),
            Self::ZebraBatch => mix.zebra_batch(from, size),
        }
    }
}

/// Measures every size of every mix; `others` are other builds of this program.
///
/// # Errors
/// When another build does not start, or a good signature counts as bad.
pub(crate) fn run(plan: &Plan, others: &[PathBuf], report: &mut Report) -> Result<()> {
    let others: Vec<Other> = others.iter().map(|program| Other::start(program)).collect::<Result<_>>()?;
    let builds = Builds::of(others.iter());
    let others: Vec<RefCell<Other>> = others.into_iter().map(RefCell::new).collect();
    for (what, keys, sizes, few) in MIXES {
        let mut sizes = plan.cases(sizes, few);
        sizes.retain(|size| case(what, *size).contains(&plan.case));
        if sizes.is_empty() {
            continue;
        }
        let mix = Mix::new(keys)?;
        for size in sizes {
            let case = case(what, size);
            miss(report, &case, keys <= mix::PREPARED_MAX, &builds);
            let mut entrants = here(plan, &mix, size)?;
            entrants.extend(elsewhere(&others, keys, size));
            let found = contest(plan, &mut entrants).with_context(|| case.clone())?;
            add(report, &case, (what, size), &entrants, found);
        }
    }
    targets::add(report, plan, &builds);
    Ok(())
}

/// What rows call a path.
fn word_of(path: Path) -> String {
    format!("{path:?}").to_lowercase()
}

fn case(mix: &str, size: usize) -> String {
    let items = if size == 1 { "1 item".to_owned() } else { format!("{size} items") };
    format!("Ed25519, {mix}, {items}")
}

/// Everybody of this build.
fn here<'a>(plan: &Plan, mix: &'a Mix, size: usize) -> Result<Vec<Entrant<'a>>> {
    let mut entrants = Vec::new();
    for subject in Subject::all(mix, plan) {
        let mut batches = Batches::of(size)?;
        entrants.push(Entrant::here(subject.name(), subject.whose(), move || {
            batches.next(|from, size| subject.verify(mix, from, size))
        }));
    }
    Ok(entrants)
}

/// Everybody of other builds.
fn elsewhere(others: &[RefCell<Other>], keys: usize, size: usize) -> Vec<Entrant<'_>> {
    let mut entrants = Vec::new();
    for other in others {
        let (backend, tasks) = (other.borrow().backend(), other.borrow().tasks().to_vec());
        for task in tasks {
            let name = match task {
                Task::Batch => of_build(DALEK_BATCH, backend),
                Task::Simd => SIMD.to_owned(),
                Task::Strict => of_build(STRICT, backend),
            };
            entrants.push(Entrant::new(name, Whose::Peers, move |load| {
                other.borrow_mut().measure(&Question { task, keys, size, load })
            }));
        }
    }
    entrants
}

/// What the row of a library is called in another build.
fn of_build(name: &str, backend: Backend) -> String {
    format!("{name}, {} build", backend.word())
}

/// The rates, and each beside its neighbour.
fn add(report: &mut Report, case: &str, (mix, size): (&str, usize), entrants: &[Entrant<'_>], found: Vec<Vec<f64>>) {
    let strict = found.first().cloned().unwrap_or_default();
    for (entrant, samples) in entrants.iter().zip(found) {
        let ratios = paired(&samples, &strict);
        let by_size = format!("Ed25519 on one thread, {mix}: throughput by batch size");
        let mut row = Row::new(SUITE, case.to_owned(), entrant.name.clone(), "items/s", samples)
            .of(entrant.whose)
            .at(Place::new(by_size, "items of a batch (count)", Point::Number(count(size)), Y::Value));
        if size == BY_MIX {
            let by_mix = format!("Ed25519 on one thread, {size} items: throughput by mix of keys");
            row = row.at(Place::new(by_mix, "", Point::Word(mix.to_owned()), Y::Value));
        }
        report.add(row);
        if entrant.name != STRICT {
            let ratio = Row::new(SUITE, case.to_owned(), beside(&entrant.name, STRICT), "×", ratios);
            report.add(ratio.of(entrant.whose));
        }
    }
}

/// Says what this processor or this build has not.
fn miss(report: &mut Report, case: &str, is_prepared: bool, builds: &Builds) {
    let mut miss = |subject: String, why: &str| {
        report.miss(Missing { suite: SUITE, case: case.to_owned(), subject, why: why.to_owned() });
    };
    let ours = if is_prepared { Subject::Prepared } else { Subject::Plain };
    for path in Path::ALL.into_iter().filter(|path| !path.is_here()) {
        let name = ours(path).name();
        miss(name.clone(), lacks(&name));
    }
    if let Some(why) = builds.why_no_simd() {
        miss(SIMD.to_owned(), why);
    }
    if !zebra::IS_HERE {
        miss(ZEBRA.to_owned(), zebra::WITHOUT);
    }
}
