//! What the project set itself for verifying in process, on one thread: ours over a peer, each measurement with its
//! neighbour of the same seconds.

use trust::verify::batch::Path;

use super::super::{LEFT_OUT, Plan};
use super::{DALEK_BATCH, DIFFERENT, ONE_KEY, SIMD, STRICT, SUITE, Subject, ZEBRA, case, of_build};
use crate::backend::Backend;
use crate::beside::{Other, Task};
use crate::machine::{has_ifma, lacks};
use crate::report::{Aim, Bound, Outcome, Report, Row, Target};
use crate::spread::{Spread, paired};
use crate::zebra;

/// What is said where the processor would do and a build of this program is missing.
const NO_OTHER: &str = "no other build of this program was named (--beside; make bench builds it)";
/// The fastest of those who verify a batch of strangers.
const BEST: &str = "the best batch of others";

/// Beside whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// dalek's `verify_strict`, in the build that people have who set nothing.
    Strict,
    /// dalek's `verify_batch`, in the build for AVX-512.
    Batch,
    Simd,
    /// The fastest batch of strangers.
    Best,
}

impl Peer {
    /// The name of its row, or of the one that would be.
    fn called(self) -> String {
        match self {
            Self::Strict => of_build(STRICT, Backend::Default),
            Self::Batch => of_build(DALEK_BATCH, Backend::Avx512),
            Self::Simd => SIMD.to_owned(),
            Self::Best => BEST.to_owned(),
        }
    }
}

/// Mix, items, our way, beside whom, and what it should be at least.
type Wanted = (&'static str, usize, Subject, Peer, f64);

const WANTED: [Wanted; 5] = [
    (ONE_KEY, 1024, Subject::Prepared(Path::Ifma), Peer::Strict, 12.0),
    (ONE_KEY, 1024, Subject::Prepared(Path::Ifma), Peer::Batch, 2.5),
    (ONE_KEY, 1024, Subject::Prepared(Path::Ifma), Peer::Simd, 1.6),
    (ONE_KEY, 1, Subject::Prepared(Path::Avx2), Peer::Strict, 2.3),
    (ONE_KEY, 1024, Subject::Prepared(Path::Avx2), Peer::Strict, 3.0),
];

/// Which builds were asked.
pub(super) struct Builds {
    others: Vec<(Backend, Vec<Task>)>,
    has_ifma: bool,
}

impl Builds {
    pub(super) fn of<'a>(others: impl Iterator<Item = &'a Other>) -> Self {
        let others = others.map(|other| (other.backend(), other.tasks().to_vec())).collect();
        Self { others, has_ifma: has_ifma() }
    }

    /// The name of a library's row in the build with that choice of arithmetic.
    fn built(&self, name: &str, task: Task, wanted: Backend) -> Result<String, String> {
        if self.others.iter().any(|(backend, tasks)| *backend == wanted && tasks.contains(&task)) {
            return Ok(of_build(name, wanted));
        }
        // Without AVX-512 both builds do the same.
        if Backend::HERE == wanted || !self.has_ifma { Ok(name.to_owned()) } else { Err(NO_OTHER.to_owned()) }
    }

    /// The name of a peer's row, or why there is none.
    fn name(&self, peer: Peer) -> Result<String, String> {
        match peer {
            Peer::Strict => self.built(STRICT, Task::Strict, Backend::Default),
            Peer::Batch => self.built(DALEK_BATCH, Task::Batch, Backend::Avx512),
            Peer::Simd => self.why_no_simd().map_or_else(|| Ok(SIMD.to_owned()), |why| Err(why.to_owned())),
            Peer::Best => Ok(BEST.to_owned()),
        }
    }

    /// Why ed25519-simd is not measured; `None` where it is.
    pub(super) fn why_no_simd(&self) -> Option<&'static str> {
        if self.others.iter().any(|(_, tasks)| tasks.contains(&Task::Simd)) {
            None
        } else if self.has_ifma {
            Some(NO_OTHER)
        } else {
            Some(lacks("avx512ifma"))
        }
    }
}

/// Adds them, and the ratios that they are about.
pub(super) fn add(report: &mut Report, plan: &Plan, builds: &Builds) {
    for wanted in WANTED {
        let (_, _, subject, ..) = wanted;
        let why = match subject {
            Subject::Prepared(path) => why_not(plan, path),
            _ => None,
        };
        aim(report, builds, wanted, why);
    }
    let different = (DIFFERENT, 1024, Subject::Plain(plan.path_or_best()), Peer::Best, 1.0);
    // The best of all that the target names; without one of them it would be too easy.
    let why = builds.why_no_simd().or((!zebra::IS_HERE).then_some(zebra::WITHOUT));
    aim(report, builds, different, why.map(str::to_owned));
}

/// Why a path was not measured.
fn why_not(plan: &Plan, path: Path) -> Option<String> {
    if !path.is_here() {
        return Some(lacks(&Subject::Prepared(path).name()).to_owned());
    }
    plan.path.is_some_and(|forced| forced != path).then(|| "--path names another way".to_owned())
}

fn aim(report: &mut Report, builds: &Builds, (mix, size, subject, peer, bound): Wanted, why: Option<String>) {
    let (case, ours, bound) = (case(mix, size), subject.name(), Bound::AtLeast(bound));
    let found = builds.name(peer);
    let theirs = found.clone().unwrap_or_else(|_| peer.called());
    let rates = if peer == Peer::Best { best(report, &case) } else { samples(report, &case, &theirs) };
    add_ratio(report, &case, &ours, (&theirs, &rates));
    let subject = beside(&ours, &theirs);
    match why.or(found.err()) {
        None => report.aim_at(Aim { suite: SUITE, case, subject, unit: "×", bound }, LEFT_OUT),
        Some(why) => {
            let what = format!("{SUITE}: {case}: {subject}");
            report.aim(Target { what, outcome: Outcome::NotMeasured(why), bound, unit: "×" });
        }
    }
}

pub(super) fn beside(ours: &str, theirs: &str) -> String {
    format!("{ours} ÷ {theirs}")
}

/// The ratio of ours to theirs, where both were measured, unless it is there.
fn add_ratio(report: &mut Report, case: &str, ours: &str, (name, theirs): (&str, &[f64])) {
    let (subject, ours) = (beside(ours, name), samples(report, case, ours));
    if ours.is_empty() || theirs.is_empty() || report.samples(SUITE, case, &subject, "×").is_some() {
        return;
    }
    report.add(Row::new(SUITE, case.to_owned(), subject, "×", paired(&ours, theirs)));
}

fn samples(report: &Report, case: &str, subject: &str) -> Vec<f64> {
    report.samples(SUITE, case, subject, "items/s").map(<[f64]>::to_vec).unwrap_or_default()
}

/// The rates of the one who has the highest median.
fn best(report: &Report, case: &str) -> Vec<f64> {
    let all = [DALEK_BATCH, ZEBRA, SIMD].map(|name| samples(report, case, name));
    let median = |rates: &Vec<f64>| Spread::of(rates).map_or(0.0, |spread| spread.median);
    all.into_iter().max_by(|one, other| median(one).total_cmp(&median(other))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builds(others: &[(Backend, Task)], has_ifma: bool) -> Builds {
        Builds { others: others.iter().map(|(backend, task)| (*backend, vec![*task])).collect(), has_ifma }
    }

    /// Rates of everybody who can be here, in one case.
    fn report(rates: &[(&str, [f64; 3])]) -> Report {
        let mut report = Report::default();
        for (name, rates) in rates {
            report.add(Row::new(SUITE, case(DIFFERENT, 1024), (*name).to_owned(), "items/s", rates.to_vec()));
        }
        report
    }

    #[test]
    fn strict_is_taken_from_the_default_build_where_that_is_another() {
        let with = builds(&[(Backend::Default, Task::Strict)], true);
        assert_eq!(with.name(Peer::Strict).unwrap(), "ed25519-dalek, verify_strict, default build");

        let without = builds(&[], true);
        let is_this_one = Backend::HERE == Backend::Default;
        assert_eq!(without.name(Peer::Strict).is_ok(), is_this_one);
        assert_eq!(without.name(Peer::Batch).is_ok(), !is_this_one);
        assert_eq!(without.name(Peer::Simd), Err(NO_OTHER.to_owned()));
    }

    #[test]
    fn without_avx_512_both_builds_are_the_same_and_simd_is_not_there() {
        let none = builds(&[], false);

        assert_eq!(none.name(Peer::Strict).unwrap(), STRICT);
        assert_eq!(none.name(Peer::Batch).unwrap(), DALEK_BATCH);
        assert_eq!(none.name(Peer::Simd), Err("this processor has no AVX-512 IFMA".to_owned()));
    }

    #[test]
    fn the_best_of_others_has_the_highest_median_and_each_round_its_neighbour() {
        let ours = Subject::Plain(Path::Portable).name();
        let mut report = report(&[
            (ours.as_str(), [30.0, 30.0, 60.0]),
            (DALEK_BATCH, [10.0, 20.0, 90.0]),
            (ZEBRA, [15.0, 30.0, 30.0]),
        ]);
        let different = (DIFFERENT, 1024, Subject::Plain(Path::Portable), Peer::Best, 1.0);

        aim(&mut report, &builds(&[], true), different, None);

        let subject = beside(&ours, BEST);
        assert_eq!(report.samples(SUITE, &case(DIFFERENT, 1024), &subject, "×").unwrap(), [2.0, 1.0, 2.0]);
    }

    #[test]
    fn every_target_is_there_with_a_reason_where_nothing_was_measured() {
        let mut report = Report::default();

        add(&mut report, &Plan::default(), &builds(&[], false));

        let value = report.json(&serde_json::json!({}));
        let targets = value["targets"].as_array().unwrap();
        assert_eq!(targets.len(), WANTED.len() + 1);
        for target in targets {
            assert!(target["not_measured"].as_str().is_some_and(|why| !why.is_empty()), "{target}");
            assert!(target["met"].is_null() && target["what"].as_str().unwrap().contains(" ÷ "), "{target}");
        }
    }
}
