//! Verifying 1024 signatures in process, as the daemon and the client do it: by algorithm, by mix of keys, by what was
//! signed, by share of bad items, by threads.

mod batch;
mod targets;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use trust::{Algorithm, Scheme};

use super::Plan;
use crate::contest::{Entrant, contest};
use crate::load::drive_threads;
use crate::report::{Missing, Place, Point, Report, Row, Y};
use crate::vault::Vault;
use batch::{Bad, Batch, Input, Way};

const SUITE: &str = "digests";
/// Items of a batch.
const ITEMS: usize = 1024;
/// Signatures that are made of an RSA key; a batch has each several times.
const OF_RSA: usize = 64;

/// One case, and where it is seen.
struct Case {
    name: String,
    batch: Batch,
    ways: Vec<Way>,
    threads: usize,
    place: Place,
}

/// Measures all of it.
///
/// # Errors
/// When a key is not made, or a verdict is wrong.
pub(crate) fn run(plan: &Plan, directory: &Path, report: &mut Report) -> Result<()> {
    let mut vault = Vault::new(directory)?;
    by_algorithm(plan, &mut vault, report)?;
    by_bad_items(plan, &mut vault, report)?;
    by_input(plan, &mut vault, report)?;
    by_threads(plan, &mut vault, report)?;
    targets::run(plan, &mut vault, report)
}

/// What an algorithm is called in a case.
fn called(algorithm: Algorithm) -> String {
    algorithm.name().to_owned()
}

/// Every algorithm, under one key, 16, and another for every item.
fn by_algorithm(plan: &Plan, vault: &mut Vault, report: &mut Report) -> Result<()> {
    let few = [Algorithm::Ed25519, Algorithm::EcdsaP256Sha256];
    for algorithm in plan.cases(&Algorithm::ALL, &few) {
        let is_rsa = matches!(algorithm.scheme(), Scheme::RsaPkcs1 | Scheme::RsaPss);
        // A key of RSA takes a second to make, and nothing is prepared of it.
        let mixes: &[(&str, usize)] = if is_rsa {
            &[("one key", 1)]
        } else {
            &[("one key", 1), ("16 keys", 16), ("every item another key", ITEMS)]
        };
        for (mix, keys) in mixes {
            let name = format!("{}, {mix}, {ITEMS} digests", called(algorithm));
            if !name.contains(&plan.case) {
                continue;
            }
            let signed = if is_rsa { OF_RSA } else { ITEMS };
            let batch = Batch::new(vault, algorithm, *keys, signed, Input::Digest)?;
            let ways = ways(algorithm, *keys);
            let place = Place::new(
                "1024 digests on one thread, by algorithm and mix of keys",
                "",
                Point::Word(format!("{}, {mix}", called(algorithm))),
                Y::Value,
            );
            measure(plan, Case { name, batch, ways, threads: 1, place }, report)?;
        }
    }
    Ok(())
}

/// With none, one in a thousand and half of the items bad, all under the same table.
fn by_bad_items(plan: &Plan, vault: &mut Vault, report: &mut Report) -> Result<()> {
    for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP256Sha256] {
        let shares = [("none bad", Bad::None), ("1 in 1,000 bad", Bad::OneInThousand), ("half bad", Bad::Half)];
        let named = |share: &str| format!("{}, one key, {ITEMS} digests, {share}", called(algorithm));
        let mut shares = shares.map(|(share, bad)| (share, named(share), bad)).to_vec();
        shares.retain(|(_, name, _)| name.contains(&plan.case));
        if shares.is_empty() {
            continue;
        }
        let good = Batch::new(vault, algorithm, 1, ITEMS, Input::Digest)?;
        for (share, name, bad) in shares {
            let batch = good.clone().spoiled(bad);
            let mut ways = ways(algorithm, 1);
            if algorithm == Algorithm::Ed25519 {
                ways.extend(Way::batch_then_each());
                if !Way::ZebraBatchThenEach.is_here() {
                    let (subject, why) = (Way::ZebraBatchThenEach.name().to_owned(), crate::zebra::WITHOUT.to_owned());
                    report.miss(Missing { suite: SUITE, case: name.clone(), subject, why });
                }
            }
            let figure = format!("1024 digests on one thread, by share of bad items, {}", called(algorithm));
            let place = Place::new(figure, "", Point::Word(share.to_owned()), Y::Value);
            measure(plan, Case { name, batch, ways, threads: 1, place }, report)?;
        }
    }
    Ok(())
}

/// Digests beside what cosign signs, with its hash.
fn by_input(plan: &Plan, vault: &mut Vault, report: &mut Report) -> Result<()> {
    for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP256Sha256] {
        for (what, input) in [("digests", Input::Digest), ("cosign payloads", Input::Cosign)] {
            let name = format!("{}, one key, {ITEMS} {what}, by what was signed", called(algorithm));
            if !name.contains(&plan.case) {
                continue;
            }
            let batch = Batch::new(vault, algorithm, 1, ITEMS, input)?;
            let place = Place::new(
                "1024 items on one thread, by what was signed",
                "",
                Point::Word(format!("{}, {what}", called(algorithm))),
                Y::Value,
            );
            measure(plan, Case { name, batch, ways: ways(algorithm, 1), threads: 1, place }, report)?;
        }
    }
    Ok(())
}

/// On one thread, two, and so on to as many as there are cores.
fn by_threads(plan: &Plan, vault: &mut Vault, report: &mut Report) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP256Sha256] {
        let mut threads = 1;
        loop {
            let counted = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
            let name = format!("{}, one key, {ITEMS} digests, {counted}", called(algorithm));
            if name.contains(&plan.case) {
                let batch = Batch::new(vault, algorithm, 1, ITEMS, Input::Digest)?;
                let figure = format!("1024 digests by threads, {}", called(algorithm));
                let point = Point::Number(crate::spread::count(threads));
                let place = Place::new(figure, "threads (count)", point, Y::Value);
                measure(plan, Case { name, batch, ways: ways(algorithm, 1), threads, place }, report)?;
            }
            if threads >= cores {
                break;
            }
            threads = threads.saturating_mul(2).min(cores);
        }
    }
    Ok(())
}

/// Ours, and for Ed25519 what most people call.
fn ways(algorithm: Algorithm, keys: usize) -> Vec<Way> {
    match algorithm {
        Algorithm::Ed25519 if keys <= Batch::PREPARED_MAX => vec![Way::Plain, Way::Prepared, Way::DalekStrict],
        Algorithm::Ed25519 => vec![Way::Plain, Way::DalekStrict],
        _ => vec![Way::Plain],
    }
}

fn measure(plan: &Plan, case: Case, report: &mut Report) -> Result<()> {
    let Case { name, batch, ways, threads, place } = case;
    let (batch, path) = (Arc::new(batch), plan.path_or_best());
    let mut entrants: Vec<Entrant<'_>> = Vec::new();
    for way in &ways {
        let (batch, way) = (Arc::clone(&batch), *way);
        entrants.push(Entrant::new(way.name(), way.whose(), move |load| {
            drive_threads(threads, load, |_| {
                let batch = Arc::clone(&batch);
                Ok(Box::new(move || batch.verify(way, path, ITEMS)))
            })
        }));
    }
    let found = contest(plan, &mut entrants).with_context(|| name.clone())?;
    for (entrant, samples) in entrants.iter().zip(found) {
        let row = Row::new(SUITE, name.clone(), entrant.name.clone(), "items/s", samples);
        report.add(row.of(entrant.whose).at(place.clone()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::Whose;

    #[test]
    fn a_case_is_measured_for_everybody_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let plan = Plan {
            rounds: 1,
            length: Duration::from_millis(1),
            case: "ed25519, one key, 1024 digests, half bad".to_owned(),
            ..Plan::default()
        };
        let mut report = Report::default();

        run(&plan, directory.path(), &mut report).unwrap();

        for way in ways(Algorithm::Ed25519, 1).into_iter().chain(Way::batch_then_each()) {
            let samples = report.samples(SUITE, &plan.case, way.name(), "items/s").unwrap();
            assert!(samples[0] > 0.0, "{}", way.name());
        }
        assert_eq!(Whose::Peers, Way::DalekStrict.whose());
    }
}
