//! Many signatures in one request: one key, one decision, one durable leaf, each signature verified.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tonic::transport::Channel;
use trust::{Algorithm, PublicKey, Signable, verify};
use trust_proto::v1;
use trust_proto::v1::sign_batch_request::Items;
use trust_proto::v1::sign_batch_response::Items as Answer;
use trust_proto::v1::signing_client::SigningClient;

use super::{LEFT_OUT, Plan};
use crate::certificates::Certificates;
use crate::load::drive;
use crate::ours::Ours;
use crate::report::{Bound, Outcome, Place, Point, Report, Row, Target, Y};
use crate::spread::{Spread, count, number};

const SUITE: &str = "sign batch";
/// Items of a request.
const ITEMS: usize = 1024;
/// Requests in flight.
const CASES: [usize; 3] = [1, 2, 4];
const CASES_QUICK: [usize; 1] = [4];
const UNIX: &str = "trustd, Unix socket";

/// Measures Ed25519 and ECDSA P-256 through both doors.
///
/// # Errors
/// When the daemon does not start, or a request fails.
pub(crate) async fn run(plan: &Plan, directory: &Path, report: &mut Report) -> Result<()> {
    let certificates = Certificates::make(directory)?;
    let ours = Ours::start(directory, &certificates)?;
    let (unix, mtls) = (ours.unix(1).await?, ours.mtls(1).await?);
    let doors = [(UNIX, unix), ("trustd, mTLS", mtls)];
    for (what, algorithm) in [("Ed25519", Algorithm::Ed25519), ("ECDSA P-256", Algorithm::EcdsaP256Sha256)] {
        let key = ours.create_key(&format!("batch/{}", algorithm.name()), v1::Purpose::Raw, algorithm).await?;
        for (_, channels) in &doors {
            prove(channels.first().context("no connection")?.clone(), request(&key)).await?;
        }
        for in_flight in plan.cases(&CASES, &CASES_QUICK) {
            let mut found = vec![(Vec::new(), Vec::new()); doors.len()];
            for round in 0..plan.rounds {
                for place in Plan::order(round, doors.len()) {
                    let (Some((_, channels)), Some((rates, latencies))) = (doors.get(place), found.get_mut(place))
                    else {
                        continue;
                    };
                    let (channel, request) = (channels.first().context("no connection")?.clone(), request(&key));
                    let one = drive(plan.load(in_flight), move |_| {
                        let (channel, request) = (channel.clone(), request.clone());
                        async move { sign(channel, request).await.map(drop) }
                    });
                    let one = one.await?;
                    rates.push(one.per_second * number(u64::try_from(ITEMS)?));
                    latencies.push(one.latency());
                }
            }
            let case = format!("{what}, {ITEMS} items, {in_flight} in flight");
            for ((door, _), (rates, latencies)) in doors.iter().zip(found) {
                let (case, subject) = (case.clone(), (*door).to_owned());
                let figure = format!("SignBatch of {ITEMS}, {what}");
                let point = Point::Number(count(in_flight));
                let place = Place::new(figure, "in flight (requests)", point, Y::Value);
                let row = Row::new(SUITE, case, subject, "signatures/s", rates);
                report.add(row.with_latencies(latencies).at(place));
            }
        }
    }
    target(report);
    Ok(())
}

fn request(key: &str) -> v1::SignBatchRequest {
    let messages: Vec<u8> =
        (0..ITEMS).flat_map(|item| trust::Sha256Digest::of(&item.to_le_bytes()).as_bytes().to_vec()).collect();
    v1::SignBatchRequest {
        key: key.to_owned(),
        items: Some(Items::RawMessages32(Bytes::from(messages))),
        forms: Vec::new(),
        idempotency_key: String::new(),
    }
}

async fn sign(channel: Channel, request: v1::SignBatchRequest) -> Result<v1::SignBatchResponse> {
    // The answer of 1024 signatures of any algorithm fits into the default of 4 MiB.
    Ok(SigningClient::new(channel).sign_batch(request).await.context("sign a batch")?.into_inner())
}

/// Has one batch signed and verifies each item.
async fn prove(channel: Channel, request: v1::SignBatchRequest) -> Result<()> {
    let Some(Items::RawMessages32(messages)) = request.items.clone() else { anyhow::bail!("not a packed batch") };
    let answer = sign(channel, request).await?;
    let algorithm = <Algorithm as trust_proto::words::Word>::from_wire(answer.algorithm).context("an algorithm")?;
    let key = PublicKey::from_spki_der(algorithm, &answer.spki_der).context("a public key")?;
    let Some(Answer::Packed(packed)) = answer.items else { anyhow::bail!("not a packed answer") };
    ensure!(packed.failed.is_empty(), "some items were not signed");
    let mut start = 0;
    for (item, message) in messages.chunks(32).enumerate() {
        let end = match packed.ends.get(item) {
            Some(end) => usize::try_from(*end).context("an end")?,
            None => start + 64,
        };
        let signature = packed.signatures.get(start..end).context("too few signatures")?;
        verify::one(&key, &Signable::Message(message.to_vec()), signature).with_context(|| format!("item {item}"))?;
        start = end;
    }
    ensure!(start == packed.signatures.len(), "more signatures than items");
    Ok(())
}

fn target(report: &mut Report) {
    let best = CASES.iter().filter_map(|in_flight| {
        let case = format!("Ed25519, {ITEMS} items, {in_flight} in flight");
        report.samples(SUITE, &case, UNIX, "signatures/s").and_then(Spread::of).map(|spread| spread.median)
    });
    let outcome =
        best.max_by(f64::total_cmp).map_or_else(|| Outcome::NotMeasured(LEFT_OUT.to_owned()), Outcome::Measured);
    let what = format!("SignBatch of {ITEMS} Ed25519, best of {CASES:?} in flight");
    report.aim(Target { what, outcome, bound: Bound::AtLeast(50_000.0), unit: "signatures/s" });
}
