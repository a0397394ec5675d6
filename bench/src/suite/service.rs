//! The running daemon under load: verification one by one, in batches and as a stream, through both doors; where the
//! processor's time goes; and what callers wait who do not wait for each other.

mod cost;
mod open;
mod stream;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tonic::transport::Channel;
use trust::Algorithm;
use trust::verify::batch::{Input, Item, Key, Table, chunk};
use trust_proto::v1;
use trust_proto::v1::verification_client::VerificationClient;

use super::Plan;
use super::verify::{Batch, ITEMS, remote, request, sign};
use crate::certificates::Certificates;
use crate::load::{Measured, drive, drive_here, now};
use crate::machine::cpu_us;
use crate::ours::Ours;
use crate::report::{Latency, Place, Point, Report, Row, Y};
use crate::spread::{Spread, count, number};
use crate::subject::{Subject, Way, message, raw};

const SUITE: &str = "service";
const UNIX: &str = "Unix socket";
const MTLS: &str = "mTLS";
/// Batches, or messages of a stream, in flight.
const BATCHES: usize = 4;
/// Requests for one verdict or signature in flight.
const IN_FLIGHT: [usize; 3] = [1, 16, 64];
const IN_FLIGHT_QUICK: [usize; 2] = [1, 64];

/// The daemon, a key in it, and what it signed.
struct Scene {
    ours: Ours,
    key: String,
    batch: Arc<Batch>,
    /// A connection through each door.
    doors: Vec<(&'static str, Channel)>,
}

/// Who is asked, and how.
struct Asked {
    subject: String,
    /// Its name where the figure names the rest.
    short: String,
    channel: Channel,
    is_stream: bool,
}

/// Measures all of it.
///
/// # Errors
/// When the daemon does not start, a request fails, or a verdict is wrong.
pub(crate) async fn run(plan: &Plan, directory: &Path, report: &mut Report) -> Result<()> {
    let certificates = Certificates::make(directory)?;
    let ours = Ours::start(directory, &certificates)?;
    let key = ours.create_key("service/ed25519", v1::Purpose::Raw, Algorithm::Ed25519).await?;
    let unix = ours.unix(1).await?.pop().context("no connection")?;
    let mtls = ours.mtls(1).await?.pop().context("no connection")?;
    let batch = Arc::new(sign(unix.clone(), key.clone(), Algorithm::Ed25519).await?);
    let scene = Scene { ours, key, batch, doors: vec![(UNIX, unix), (MTLS, mtls)] };
    many(plan, &scene, report).await?;
    cost::run(plan, &scene, report).await?;
    open::batches(plan, &scene, report).await?;
    one_by_one(plan, &scene, report).await?;
    open::run(plan, &scene, report).await
}

impl Scene {
    /// Processor time so far: this process, the daemon, its workers.
    fn cpu_us(&self) -> Result<[f64; 3]> {
        let workers = self.ours.daemon.workers()?.into_iter().map(cpu_us).collect::<Result<Vec<_>>>()?;
        Ok([cpu_us(std::process::id())?, cpu_us(self.ours.daemon.id()?)?, workers.iter().sum()])
    }

    /// What one item costs the function alone, under a key that is prepared, in microseconds of the processor.
    fn function_us(&self, plan: &Plan) -> Result<f64> {
        let table = Table::new(&self.batch.public_key).context("a key of Ed25519")?;
        let pairs = self.batch.messages.chunks(32).zip(self.batch.signatures.chunks(64));
        let items: Vec<Item<'_>> = pairs
            .map(|(message, signature)| Item { key: Key::Known(&table), input: Input::Message(message), signature })
            .collect();
        let (before, mut done) = (cpu_us(std::process::id())?, 0_u64);
        drive_here(plan.load(1), &mut || {
            ensure!(chunk(&items).iter().all(Result::is_ok), "a good signature counts as bad");
            let count = u64::try_from(items.len())?;
            done = done.saturating_add(count);
            Ok(count)
        })?;
        // Processor time, as of the daemon: on a busy machine the clock shows more.
        Ok((cpu_us(std::process::id())? - before) / number(done))
    }

    /// How a request for one verdict reads.
    fn verify_one(&self) -> Result<v1::VerifyRequest> {
        let message = self.batch.messages.get(..32).context("no message")?;
        let signature = self.batch.signatures.get(..64).context("no signature")?;
        Ok(v1::VerifyRequest {
            key: self.key.clone(),
            version: 0,
            input: Some(v1::verify_request::Input::Message(Bytes::copy_from_slice(message))),
            signature: Bytes::copy_from_slice(signature),
        })
    }

    /// A request for one signature.
    fn signer(&self, door: &str, channel: &Channel) -> Subject {
        let way = Way::Trustd { request: raw(&self.key, message()) };
        Subject { name: door.to_owned(), channels: vec![channel.clone()], way }
    }
}

/// The case of the rows of [`many`].
fn case_of_many() -> String {
    format!("Ed25519, {ITEMS} items, {BATCHES} in flight")
}

/// Who is asked in them, by method and door.
fn subject_of_many(short: &str) -> String {
    format!("trustd, {short}")
}

/// Batches of 1024 as requests and as messages of a stream, through both doors, in turn.
async fn many(plan: &Plan, scene: &Scene, report: &mut Report) -> Result<()> {
    let case = case_of_many();
    if !case.contains(&plan.case) {
        return Ok(());
    }
    let mut asked = Vec::new();
    for (door, channel) in &scene.doors {
        for (method, is_stream) in [("VerifyBatch", false), ("VerifyStream", true)] {
            let (short, channel) = (format!("{method}, {door}"), channel.clone());
            asked.push(Asked { subject: subject_of_many(&short), short, channel, is_stream });
        }
    }
    let mut found = vec![Found::default(); asked.len()];
    for round in 0..plan.rounds {
        for place in Plan::order(round, asked.len()) {
            let (Some(asked), Some(found)) = (asked.get(place), found.get_mut(place)) else { continue };
            let before = scene.cpu_us()?;
            let (begun, load) = (now(), plan.load(BATCHES));
            let measured = if asked.is_stream {
                stream::drive(load, asked.channel.clone(), request(&scene.batch)?).await?
            } else {
                let (channel, request) = (asked.channel.clone(), request(&scene.batch)?);
                drive(load, move |_| {
                    let (channel, request) = (channel.clone(), request.clone());
                    async move { remote(channel, request).await }
                })
                .await?
            };
            // What was verified while it warmed up was as dear.
            let items = measured.per_second * count(ITEMS) * begun.elapsed().as_secs_f64();
            found.take(&measured, before, scene.cpu_us()?, items);
            let function = tokio::task::block_in_place(|| scene.function_us(plan))?;
            found.function.push(function);
        }
    }
    for (asked, found) in asked.iter().zip(found) {
        let place = Place::new(
            format!("VerifyBatch and VerifyStream: {ITEMS} items of Ed25519, {BATCHES} in flight"),
            "",
            Point::Word(asked.short.clone()),
            Y::Value,
        );
        let rates = found.rates.iter().map(|rate| rate * count(ITEMS)).collect();
        let row = Row::new(SUITE, case.clone(), asked.subject.clone(), "items/s", rates);
        report.add(row.with_latencies(found.latencies.clone()).at(place.named("items")));
        split_of_verification(report, &case, asked, &found);
    }
    Ok(())
}

/// What was found of one who was asked.
#[derive(Debug, Clone, Default)]
struct Found {
    rates: Vec<f64>,
    latencies: Vec<Latency>,
    client: Vec<f64>,
    daemon: Vec<f64>,
    workers: Vec<f64>,
    function: Vec<f64>,
}

impl Found {
    fn take(&mut self, measured: &Measured, before: [f64; 3], after: [f64; 3], items: f64) {
        self.rates.push(measured.per_second);
        self.latencies.push(measured.latency());
        let used = before.iter().zip(after).map(|(before, after)| (after - before) / items);
        for (all, used) in [&mut self.client, &mut self.daemon, &mut self.workers].into_iter().zip(used) {
            all.push(used);
        }
    }
}

/// Where the processor's time goes: what the function takes alone, what the daemon takes besides, and the client.
fn split_of_verification(report: &mut Report, case: &str, asked: &Asked, found: &Found) {
    let besides = found.daemon.iter().zip(&found.function).map(|(daemon, function)| daemon - function).collect();
    for (part, samples) in [
        ("the verification itself", found.function.clone()),
        ("the rest of the daemon", besides),
        ("the client", found.client.clone()),
    ] {
        let place = Place::new("Processor time of one item", "", Point::Word(asked.short.clone()), Y::Part);
        let subject = format!("{}: {part}", asked.subject);
        let row = Row::new(SUITE, case.to_owned(), subject, "µs of processor/item", samples);
        report.add(row.at(place.named(part)));
    }
}

/// One verdict and one signature per request, by load.
async fn one_by_one(plan: &Plan, scene: &Scene, report: &mut Report) -> Result<()> {
    for method in ["Verify", "Sign"] {
        for in_flight in plan.cases(&IN_FLIGHT, &IN_FLIGHT_QUICK) {
            let case = format!("{method}, Ed25519, {in_flight} in flight");
            if !case.contains(&plan.case) {
                continue;
            }
            let mut found = vec![Found::default(); scene.doors.len()];
            for round in 0..plan.rounds {
                for place in Plan::order(round, scene.doors.len()) {
                    let (Some((door, channel)), Some(found)) = (scene.doors.get(place), found.get_mut(place)) else {
                        continue;
                    };
                    let (before, begun) = (scene.cpu_us()?, now());
                    let load = plan.load(in_flight);
                    let measured = match method {
                        "Verify" => {
                            let (channel, request) = (channel.clone(), scene.verify_one()?);
                            drive(load, move |_| verdict(channel.clone(), request.clone())).await?
                        }
                        _ => {
                            let subject = scene.signer(door, channel);
                            drive(load, move |_| {
                                let subject = subject.clone();
                                async move { subject.sign(0, 1).await }
                            })
                            .await?
                        }
                    };
                    let items = measured.per_second * begun.elapsed().as_secs_f64();
                    found.take(&measured, before, scene.cpu_us()?, items);
                }
            }
            for ((door, _), found) in scene.doors.iter().zip(found) {
                add_one_by_one(report, method, &case, in_flight, door, &found);
            }
        }
    }
    Ok(())
}

fn add_one_by_one(report: &mut Report, method: &str, case: &str, in_flight: usize, door: &str, found: &Found) {
    let place = |what: &str, y| {
        let point = Point::Number(count(in_flight));
        Place::new(format!("{method}, one item a request: {what} by load"), "in flight (requests)", point, y)
    };
    let subject = format!("trustd, {door}");
    let row = Row::new(SUITE, case.to_owned(), subject.clone(), "1/s", found.rates.clone());
    report.add(
        row.with_latencies(found.latencies.clone())
            .at(place("throughput", Y::Value).named(door))
            .at(place("latency", Y::P50).named(format!("{door}, median")))
            .at(place("latency", Y::P99).named(format!("{door}, 99th percentile"))),
    );
    for (part, samples) in [
        ("the client", found.client.clone()),
        ("the daemon", found.daemon.clone()),
        ("the custody worker", found.workers.clone()),
    ] {
        let figure = "Processor time of one request";
        let place = Place::new(figure, "", Point::Word(format!("{method}, {door}, {in_flight} in flight")), Y::Part);
        let row = Row::new(SUITE, case.to_owned(), format!("{subject}: {part}"), "µs of processor/item", samples);
        report.add(row.at(place.named(part)));
    }
}

async fn verdict(channel: Channel, request: v1::VerifyRequest) -> Result<()> {
    let answer = VerificationClient::new(channel).verify(request).await.context("verify")?.into_inner();
    ensure!(answer.valid, "a good signature counts as bad: {}", answer.reason);
    Ok(())
}

/// The median of the rates of one row.
fn median(report: &Report, case: &str, door: &str) -> Option<f64> {
    report.samples(SUITE, case, &format!("trustd, {door}"), "1/s").and_then(Spread::of).map(|spread| spread.median)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::TIMES_AS_DEAR;
    use crate::suite::Effort;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_way_to_ask_is_measured_and_its_cost_is_split() {
        let directory = tempfile::tempdir().unwrap();
        let plan = Plan { rounds: 1, length: Duration::from_secs(2), effort: Effort::Quick, ..Plan::default() };
        let mut report = Report::default();

        run(&plan, directory.path(), &mut report).await.unwrap();

        let case = format!("Ed25519, {ITEMS} items, {BATCHES} in flight");
        for door in [UNIX, MTLS] {
            for method in ["VerifyBatch", "VerifyStream"] {
                let subject = format!("trustd, {method}, {door}");
                assert!(report.samples(SUITE, &case, &subject, "items/s").unwrap()[0] > 0.0, "{subject}");
            }
        }
        assert!(median(&report, "Sign, Ed25519, 64 in flight", UNIX).unwrap() > 0.0);
        assert!(report.samples(SUITE, cost::CASE, cost::SUBJECT, TIMES_AS_DEAR).unwrap()[0] > 0.0);
        let case = "Sign, Ed25519, open loop, 50 % of the closed one, 99th percentile";
        assert!(report.samples(SUITE, case, "trustd, Unix socket", "µs").unwrap()[0] > 0.0);
        // The half is offered, and the answer to a batch is never there before it was verified.
        let (closed, subject) = (case_of_many(), subject_of_many("VerifyStream, Unix socket"));
        let most = report.samples(SUITE, &closed, &subject, "items/s").unwrap()[0];
        let open = |what: &str, unit| {
            let case =
                format!("VerifyStream, Ed25519, 1024 items a message, open loop, 50 % of the closed one, {what}");
            report.samples(SUITE, &case, &subject, unit).unwrap()[0]
        };
        let (answered, median, of_hundred) =
            (open("answered", "items/s"), open("median", "µs"), open("99th percentile", "µs"));
        assert!(answered > 0.0 && answered < most, "{answered} of {most}");
        assert!(median > 100.0 && median <= of_hundred, "{median} {of_hundred}");
    }
}
