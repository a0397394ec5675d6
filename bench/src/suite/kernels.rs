//! Verifying many Ed25519 signatures over 32 bytes, in process and on one thread: with prepared keys and without, by
//! every path that this processor has, beside ed25519-dalek in the same seconds.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use trust::verify::batch::{Input, Item, Key, Path, Table, chunk_on};
use trust::{PublicKey, Sha256Digest};

use super::Plan;
use crate::load::drive_threads;
use crate::machine::lacks;
use crate::report::{Bound, Missing, Outcome, Place, Point, Report, Row, Target, Whose, Y};
use crate::spread::{Spread, count, paired};
use crate::zebra;

const SUITE: &str = "verify kernels";
/// Signatures that are made of each mix; a batch is as many of them as its size says, and the next one the next.
const SIGNED: usize = 4096;
const SIZES: [usize; 4] = [8, 64, 1024, 4096];
/// The size at which mixes are seen beside each other.
const BY_MIX: usize = 1024;
const SIZES_QUICK: [usize; 2] = [64, 1024];
const MIXES: [(&str, usize); 3] = [("one key", 1), ("16 keys", 16), ("every item another key", SIGNED)];
const STRICT: &str = "ed25519-dalek, verify_strict";
const ZEBRA: &str = "ed25519-zebra, batch";

/// A key as dalek has it, as we have it, and prepared.
type Known = (VerifyingKey, PublicKey, Option<Table>);

/// Keys, and what they signed: item i is of key i modulo their number.
struct Mix {
    keys: Vec<Known>,
    messages: Vec<[u8; 32]>,
    signatures: Vec<Signature>,
    bytes: Vec<[u8; 64]>,
}

/// Who verifies.
#[derive(Clone, Copy)]
enum Subject {
    Strict,
    /// All or nothing, and another verdict at the edges: the price of a verdict for each item is what lies between.
    DalekBatch,
    Plain(Path),
    Prepared(Path),
    /// All or nothing, too, by rules of its own (ZIP 215); it makes one of all items of a key.
    ZebraBatch,
}

impl Subject {
    fn all(mix: &Mix, plan: &Plan) -> Vec<Self> {
        let mut all = vec![Self::Strict, Self::DalekBatch, Self::Plain(plan.path_or_best())];
        if zebra::IS_HERE {
            all.push(Self::ZebraBatch);
        }
        if mix.keys.iter().all(|(_, _, table)| table.is_some()) {
            let is_wanted = |path: &Path| path.is_here() && plan.path.is_none_or(|forced| forced == *path);
            all.extend(Path::ALL.into_iter().filter(is_wanted).map(Self::Prepared));
        }
        all
    }

    fn name(self) -> String {
        match self {
            Self::Strict => STRICT.to_owned(),
            Self::DalekBatch => "ed25519-dalek, verify_batch".to_owned(),
            Self::Plain(_) => "chunk, keys not prepared".to_owned(),
            Self::Prepared(path) => format!("chunk, keys prepared, {}", format!("{path:?}").to_lowercase()),
            Self::ZebraBatch => ZEBRA.to_owned(),
        }
    }

    const fn whose(self) -> Whose {
        match self {
            Self::Plain(_) | Self::Prepared(_) => Whose::Ours,
            _ => Whose::Peers,
        }
    }

    /// Verifies a batch that begins at an item, and fails where one counts as bad.
    fn verify(self, mix: &Mix, from: usize, size: usize) -> Result<u64> {
        let range = from..from + size;
        let messages = mix.messages.get(range.clone()).context("too few messages")?;
        let keys = || range.clone().map(|place| mix.keys.get(place % mix.keys.len())).collect::<Option<Vec<_>>>();
        let keys = keys().context("too few keys")?;
        let are_valid = match self {
            Self::Strict => {
                let signatures = mix.signatures.get(range).context("too few signatures")?;
                let mut all = keys.iter().zip(messages).zip(signatures);
                all.all(|(((key, ..), message), signature)| key.verify_strict(message, signature).is_ok())
            }
            Self::DalekBatch => {
                let signatures = mix.signatures.get(range).context("too few signatures")?;
                let messages: Vec<&[u8]> = messages.iter().map(<[u8; 32]>::as_slice).collect();
                let keys: Vec<VerifyingKey> = keys.iter().map(|(key, ..)| *key).collect();
                ed25519_dalek::verify_batch(&messages, signatures, &keys).is_ok()
            }
            Self::ZebraBatch => {
                let signatures = mix.signatures.get(range).context("too few signatures")?;
                let items = keys.into_iter().zip(messages).zip(signatures);
                zebra::verify_batch(
                    items.map(|(((key, ..), message), signature)| (key.to_bytes(), *signature, message.as_slice())),
                )?
            }
            Self::Plain(path) | Self::Prepared(path) => {
                let signatures = mix.bytes.get(range).context("too few signatures")?;
                let mut items = Vec::with_capacity(size);
                for (((_, public, table), message), signature) in keys.into_iter().zip(messages).zip(signatures) {
                    let key = match (self, table) {
                        (Self::Prepared(_), Some(table)) => Key::Known(table),
                        _ => Key::Plain(public),
                    };
                    items.push(Item { key, input: Input::Message(message), signature });
                }
                chunk_on(path, &items).iter().all(Result::is_ok)
            }
        };
        ensure!(are_valid, "{}: a good signature counts as bad", self.name());
        Ok(u64::try_from(size)?)
    }
}

impl Mix {
    fn new(count: usize) -> Result<Self> {
        let secret = |number: usize| SigningKey::from_bytes(Sha256Digest::of(&number.to_be_bytes()).as_bytes());
        let signing: Vec<SigningKey> = (0..count).map(secret).collect();
        let mut keys = Vec::with_capacity(count);
        for key in &signing {
            let key = key.verifying_key();
            let public = PublicKey::from_ed25519_bytes(key.as_bytes()).context("a public key")?;
            // Nobody prepares a key for one signature.
            let table = if count <= 16 { Table::new(&public) } else { None };
            keys.push((key, public, table));
        }
        let messages: Vec<[u8; 32]> =
            (0..SIGNED).map(|number| *Sha256Digest::of(&number.to_le_bytes()).as_bytes()).collect();
        let signatures: Vec<Signature> =
            signing.iter().cycle().zip(&messages).map(|(key, message)| key.sign(message)).collect();
        let bytes = signatures.iter().map(Signature::to_bytes).collect();
        Ok(Self { keys, messages, signatures, bytes })
    }
}

/// Measures every size of every mix.
///
/// # Errors
/// When a good signature counts as bad.
pub(crate) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    for (what, number) in MIXES {
        let mix = Arc::new(Mix::new(number)?);
        let subjects = Subject::all(&mix, plan);
        for size in plan.cases(&SIZES, &SIZES_QUICK) {
            let case = format!("Ed25519, {what}, {size} items");
            if !case.contains(&plan.case) {
                continue;
            }
            miss(report, &case, number <= 16);
            let mut found = vec![Vec::new(); subjects.len()];
            for round in 0..plan.rounds {
                for place in Plan::order(round, subjects.len()) {
                    let (Some(subject), Some(found)) = (subjects.get(place), found.get_mut(place)) else { continue };
                    found.push(one(plan, *subject, &mix, size)?);
                }
            }
            add(report, &case, (what, size), &subjects, found);
        }
    }
    targets(report);
    Ok(())
}

/// Items per second of one subject.
fn one(plan: &Plan, subject: Subject, mix: &Arc<Mix>, size: usize) -> Result<f64> {
    drive_threads(1, plan.load(1), |_| {
        let mix = Arc::clone(mix);
        let mut from = 0;
        Ok(Box::new(move || {
            let done = subject.verify(&mix, from, size)?;
            from = (from + size) % SIGNED;
            Ok(done)
        }))
    })
}

/// The rates, and each beside its neighbour.
fn add(report: &mut Report, case: &str, (mix, size): (&str, usize), subjects: &[Subject], found: Vec<Vec<f64>>) {
    let strict = found.first().cloned().unwrap_or_default();
    for (subject, samples) in subjects.iter().zip(found) {
        let ratios = paired(&samples, &strict);
        let by_size = format!("Ed25519 on one thread, {mix}: throughput by batch size");
        let mut row = Row::new(SUITE, case.to_owned(), subject.name(), "items/s", samples)
            .of(subject.whose())
            .at(Place::new(by_size, "items of a batch (count)", Point::Number(count(size)), Y::Value));
        if size == BY_MIX {
            let by_mix = format!("Ed25519 on one thread, {size} items: throughput by mix of keys");
            row = row.at(Place::new(by_mix, "", Point::Word(mix.to_owned()), Y::Value));
        }
        report.add(row);
        if !matches!(subject, Subject::Strict) {
            report.add(Row::new(SUITE, case.to_owned(), beside(&subject.name()), "×", ratios));
        }
    }
}

/// Says what this processor or this build has not.
fn miss(report: &mut Report, case: &str, is_prepared: bool) {
    let mut miss = |subject: String, why: &str| {
        report.miss(Missing { suite: SUITE, case: case.to_owned(), subject, why: why.to_owned() });
    };
    if is_prepared {
        for path in Path::ALL.into_iter().filter(|path| !path.is_here()) {
            let name = Subject::Prepared(path).name();
            miss(name.clone(), lacks(&name));
        }
    }
    if !crate::machine::has_ifma() {
        miss("ed25519-simd, batch".to_owned(), lacks("avx512ifma"));
    }
    if !zebra::IS_HERE {
        miss(ZEBRA.to_owned(), zebra::WITHOUT);
    }
}

fn beside(name: &str) -> String {
    format!("{name} ÷ {STRICT}")
}

/// What the project set itself, with AVX-512 and without.
fn targets(report: &mut Report) {
    for (path, size, bound) in [(Path::Ifma, 1024, 12.0), (Path::Avx2, 8, 2.3), (Path::Avx2, 1024, 3.0)] {
        let case = format!("Ed25519, one key, {size} items");
        let subject = beside(&Subject::Prepared(path).name());
        let Some(spread) = report.samples(SUITE, &case, &subject, "×").and_then(Spread::of) else { continue };
        report.aim(Target {
            what: format!("{case}: {subject}"),
            outcome: Outcome::Measured(spread.median),
            bound: Bound::AtLeast(bound),
            unit: "×",
        });
    }
}
