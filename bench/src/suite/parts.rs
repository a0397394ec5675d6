//! What one signature is made of, each part alone: the store, the log, and the hop into the custody worker beside the
//! same custodian in this process.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use trust::{Algorithm, KeyId, KeyRef, KeyVersion, Purpose, Sha256Digest, Signable};
use trust_hsm::worker::{Supervisor, WorkerConfig};
use trust_hsm::{
    Custodian, KeyRing, PassphraseCost, RootSource, SealContext, Session, SigningOrder, SoftwareCustodian,
};
use trust_tests::program::ours;
use trustd::measure::{LogAlone, StoreAlone};

use super::Plan;
use crate::load::{drive, drive_threads};
use crate::report::{Report, Row};
use crate::spread::number;
use crate::subject::message;

const SUITE: &str = "parts";
/// Nobody waits for these; the number only has to be larger than any frame takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// Measures them one after the other.
///
/// # Errors
/// When a part does not start or does not do its work.
pub(crate) async fn run(plan: &Plan, directory: &Path, report: &mut Report) -> Result<()> {
    store(plan, &directory.join("store"), report).await?;
    log(plan, &directory.join("log"), report).await?;
    tokio::task::block_in_place(|| custody(plan, directory, report))
}

/// Durable writes of one row each.
async fn store(plan: &Plan, directory: &Path, report: &mut Report) -> Result<()> {
    let store = Arc::new(StoreAlone::create(directory).map_err(|error| anyhow!("make a store: {error}"))?);
    for in_flight in [1, 16, 64] {
        let mut samples = Vec::new();
        for _ in 0..plan.rounds {
            let store = Arc::clone(&store);
            let one = drive(plan.load(in_flight), move |_| {
                let store = Arc::clone(&store);
                async move { store.add_row().await.map_err(|error| anyhow!("write a row: {error}")) }
            });
            samples.push(one.await?.per_second);
        }
        let case = format!("one row of {} bytes, {in_flight} in flight", StoreAlone::ROW_BYTES);
        report.add(Row::new(SUITE, case, "store: durable write".to_owned(), "1/s", samples));
    }
    Ok(())
}

/// Durable leaves; those that wait at the same time share a flush.
async fn log(plan: &Plan, directory: &Path, report: &mut Report) -> Result<()> {
    std::fs::create_dir(directory).context("make the log's directory")?;
    let log = Arc::new(LogAlone::create(directory).map_err(|error| anyhow!("make a log: {error}"))?);
    for in_flight in [1, 16, 64] {
        let mut samples = Vec::new();
        for _ in 0..plan.rounds {
            let log = Arc::clone(&log);
            let one = drive(plan.load(in_flight), move |_| {
                let log = Arc::clone(&log);
                async move { log.append_intent().await.map_err(|error| anyhow!("append a leaf: {error}")) }
            });
            samples.push(one.await?.per_second);
        }
        let case = format!("one intent, {in_flight} in flight");
        report.add(Row::new(SUITE, case, "log: durable leaf".to_owned(), "1/s", samples));
    }
    Ok(())
}

/// Signatures out of the worker and out of a custodian in this process; nobody verifies them here.
fn custody(plan: &Plan, directory: &Path, report: &mut Report) -> Result<()> {
    let (root_file, ring) = (directory.join("root.key"), directory.join("ring").join("kek.ring"));
    trust_hsm::create_root_file(&root_file).context("make a root key")?;
    std::fs::create_dir(directory.join("ring")).context("make the ring's directory")?;
    let root = || RootSource::File { path: root_file.clone() };
    let store = [3; 16];
    let _ = trust_hsm::init_ring(&ring, store, &root(), PassphraseCost::FLOOR).context("make a ring")?;
    let here = Arc::new(SoftwareCustodian::new(&ring, 64));
    let worker = Supervisor::spawn(WorkerConfig {
        program: ours("trustd")?,
        arguments: vec![OsString::from("custody-worker")],
        ring: ring.clone(),
        root_file: Some(root_file.clone()),
        sessions_max: 4,
        opened_keys_max: 64,
        hang_after: DEADLINE,
    })
    .context("start a custody worker")?;
    let rings: [&dyn KeyRing; 2] = [&*here, &*worker];
    for ring in rings {
        let _ = ring.unseal(root()).context("unseal")?;
    }
    let order = order(here.open()?.as_mut(), store)?;
    let subjects: [(&str, &dyn Custodian); 2] = [("custody: in this process", &*here), ("custody: worker", &*worker)];
    for (case, orders, inputs, threads) in [
        ("Ed25519, 1 order of 1, 1 session", 1, 1, 1),
        ("Ed25519, 1 order of 1, 2 sessions", 1, 1, 2),
        ("Ed25519, 16 orders of 1, 1 session", 16, 1, 1),
        ("Ed25519, 64 orders of 1, 1 session", 64, 1, 1),
        ("Ed25519, 1 order of 1024, 1 session", 1, 1024, 1),
        ("Ed25519, 1 order of 1024, 2 sessions", 1, 1024, 2),
    ] {
        let mut found = vec![Vec::new(); subjects.len()];
        for round in 0..plan.rounds {
            for place in Plan::order(round, subjects.len()) {
                let (Some((_, custodian)), Some(samples)) = (subjects.get(place), found.get_mut(place)) else {
                    continue;
                };
                let order =
                    SigningOrder { inputs: vec![Signable::Message(message().to_vec()); inputs], ..order.clone() };
                let work = vec![order; orders];
                samples.push(drive_threads(threads, plan.load(threads), |_| {
                    let (mut session, work) = (custodian.open()?, work.clone());
                    Ok(Box::new(move || visit(session.as_mut(), &work)))
                })?);
            }
        }
        if let ([here, worker], 1) = (found.as_slice(), threads) {
            let (case, subject) = (case.to_owned(), "custody: what the hop adds to one visit".to_owned());
            report.add(Row::new(
                SUITE,
                case,
                subject,
                "µs",
                hop_us(here, worker, number(u64::try_from(orders * inputs)?)),
            ));
        }
        for ((subject, _), samples) in subjects.iter().zip(found) {
            let (case, subject) = (case.to_owned(), (*subject).to_owned());
            report.add(Row::new(SUITE, case, subject, "signatures/s", samples));
        }
    }
    Ok(())
}

/// The time of a visit to the worker less that of the same visit in this process, each with its neighbour.
fn hop_us(here: &[f64], worker: &[f64], signatures: f64) -> Vec<f64> {
    here.iter().zip(worker).map(|(here, worker)| (signatures / worker - signatures / here) * 1e6).collect()
}

/// A new Ed25519 key and what is needed to use it.
fn order(session: &mut dyn Session, store: [u8; 16]) -> Result<SigningOrder> {
    let context = SealContext {
        store,
        key: KeyRef { id: KeyId::from_bytes([9; 16]), version: KeyVersion::FIRST },
        algorithm: Algorithm::Ed25519,
        purpose: Purpose::Raw,
        scope_hash: Sha256Digest::of(b"bench"),
    };
    let made = session.generate(&context).context("make a key")?;
    Ok(SigningOrder {
        context: Arc::new(context),
        spki_sha256: made.public_key.spki_sha256(),
        material: made.material,
        inputs: Vec::new(),
    })
}

fn visit(session: &mut dyn Session, orders: &[SigningOrder]) -> Result<u64> {
    let mut count: u64 = 0;
    for signed in session.sign(orders, DEADLINE) {
        let signatures = signed.map_err(|error| anyhow!("custody: {error}"))?;
        ensure!(signatures.iter().all(Result::is_ok), "custody did not sign everything");
        count = count.saturating_add(u64::try_from(signatures.len())?);
    }
    Ok(count)
}
