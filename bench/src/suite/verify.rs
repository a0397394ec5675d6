//! Batch verification of digests: the function behind it on one thread and on all, and the RPC with packed items.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tonic::transport::Channel;
use trust::verify::batch::{Input, Item, Key, chunk_on};
use trust::{Algorithm, Digest, HashFunction, PublicKey, Sha256Digest};
use trust_proto::v1;
use trust_proto::v1::verification_client::VerificationClient;

use super::Plan;
use crate::certificates::Certificates;
use crate::load::{drive, drive_threads};
use crate::ours::Ours;
use crate::report::{Report, Row};
use crate::spread::number;

const SUITE: &str = "verify batch";
/// Items of a batch.
pub(super) const ITEMS: usize = 1024;
/// Requests in flight.
const CASES: [usize; 2] = [1, 4];
const CASES_QUICK: [usize; 1] = [4];

/// Signed digests of one key, made by the daemon.
pub(super) struct Batch {
    pub(super) public_key: PublicKey,
    pub(super) messages: Bytes,
    pub(super) signatures: Bytes,
    ends: Vec<u32>,
}

/// Who verifies a batch.
enum Who {
    /// The function, on so many threads.
    Here(usize),
    /// The daemon, by one of its doors and with so many requests in flight.
    Daemon(&'static str, Channel, usize),
}

/// Measures Ed25519 and ECDSA P-256.
///
/// # Errors
/// When the daemon does not start, a request fails, or a good signature counts as bad.
pub(crate) async fn run(plan: &Plan, directory: &Path, report: &mut Report) -> Result<()> {
    let certificates = Certificates::make(directory)?;
    let ours = Ours::start(directory, &certificates)?;
    for (what, algorithm) in [("Ed25519", Algorithm::Ed25519), ("ECDSA P-256", Algorithm::EcdsaP256Sha256)] {
        let key = ours.create_key(&format!("verify/{}", algorithm.name()), v1::Purpose::Raw, algorithm).await?;
        let channel = ours.unix(1).await?.pop().context("no connection")?;
        let batch = Arc::new(sign(channel, key, algorithm).await?);
        let mut all = vec![Who::Here(1), Who::Here(2)];
        for (door, channel) in [
            ("trustd, Unix socket", ours.unix(1).await?.pop().context("no connection")?),
            ("trustd, mTLS", ours.mtls(1).await?.pop().context("no connection")?),
        ] {
            let cases = plan.cases(&CASES, &CASES_QUICK).into_iter();
            all.extend(cases.map(|in_flight| Who::Daemon(door, channel.clone(), in_flight)));
        }
        let mut found = vec![Vec::new(); all.len()];
        for round in 0..plan.rounds {
            for place in Plan::order(round, all.len()) {
                let (Some(who), Some(samples)) = (all.get(place), found.get_mut(place)) else { continue };
                samples.push(who.measure(plan, &batch).await?);
            }
        }
        for (who, samples) in all.iter().zip(found) {
            let (how, subject) = match who {
                Who::Here(threads) => (format!("{threads} threads"), "the function"),
                Who::Daemon(door, _, in_flight) => (format!("{in_flight} in flight"), *door),
            };
            let case = format!("{what}, {ITEMS} items, {how}");
            report.add(Row::new(SUITE, case, subject.to_owned(), "items/s", samples));
        }
    }
    Ok(())
}

impl Who {
    /// Items per second.
    async fn measure(&self, plan: &Plan, batch: &Arc<Batch>) -> Result<f64> {
        match self {
            Self::Here(threads) => tokio::task::block_in_place(|| local(plan, *threads, batch)),
            Self::Daemon(_, channel, in_flight) => {
                let (channel, request) = (channel.clone(), request(batch)?);
                let one = drive(plan.load(*in_flight), move |_| {
                    let (channel, request) = (channel.clone(), request.clone());
                    async move { remote(channel, request).await }
                });
                Ok(one.await?.per_second * number(u64::try_from(ITEMS)?))
            }
        }
    }
}

/// Has the daemon sign a batch. For ECDSA the messages are hashed here: the items are digests.
pub(super) async fn sign(channel: Channel, key: String, algorithm: Algorithm) -> Result<Batch> {
    let messages: Vec<u8> =
        (0..ITEMS).flat_map(|item| Sha256Digest::of(&item.to_be_bytes()).as_bytes().to_vec()).collect();
    let messages = Bytes::from(messages);
    let request = v1::SignBatchRequest {
        key,
        items: Some(v1::sign_batch_request::Items::RawMessages32(messages.clone())),
        forms: Vec::new(),
        idempotency_key: String::new(),
    };
    let mut client = v1::signing_client::SigningClient::new(channel);
    let answer = client.sign_batch(request).await.context("sign a batch to verify")?.into_inner();
    let public_key = PublicKey::from_spki_der(algorithm, &answer.spki_der).context("a public key")?;
    let Some(v1::sign_batch_response::Items::Packed(packed)) = answer.items else { anyhow::bail!("not packed") };
    let messages = if algorithm == Algorithm::Ed25519 {
        messages
    } else {
        messages.chunks(32).flat_map(|message| Sha256Digest::of(message).as_bytes().to_vec()).collect()
    };
    Ok(Batch { public_key, messages, signatures: packed.signatures, ends: packed.ends })
}

impl Batch {
    fn items(&self) -> Result<Vec<Item<'_>>> {
        let mut items = Vec::with_capacity(ITEMS);
        let mut start = 0;
        for (number, message) in self.messages.chunks(32).enumerate() {
            let end = self.ends.get(number).map_or(Ok(start + 64), |end| usize::try_from(*end)).context("an end")?;
            let signature = self.signatures.get(start..end).context("too few signatures")?;
            let input = if self.public_key.algorithm() == Algorithm::Ed25519 {
                Input::Message(message)
            } else {
                Input::Digest(Digest::from_bytes(HashFunction::Sha256, message).context("a digest")?)
            };
            items.push(Item { key: Key::Plain(&self.public_key), input, signature });
            start = end;
        }
        Ok(items)
    }
}

fn local(plan: &Plan, threads: usize, batch: &Arc<Batch>) -> Result<f64> {
    let path = plan.path_or_best();
    drive_threads(threads, plan.load(threads), |_| {
        let batch = Arc::clone(batch);
        Ok(Box::new(move || {
            let items = batch.items()?;
            ensure!(chunk_on(path, &items).iter().all(Result::is_ok), "a good signature counts as bad");
            Ok(u64::try_from(items.len())?)
        }))
    })
}

/// The batch as a request.
pub(super) fn request(batch: &Batch) -> Result<v1::VerifyBatchRequest> {
    let kind = v1::batch_key::Kind::PublicKey(v1::PublicKey {
        algorithm: <Algorithm as trust_proto::words::Word>::to_wire(batch.public_key.algorithm()),
        spki_der: Bytes::copy_from_slice(batch.public_key.spki_der()),
    });
    ensure!(batch.messages.len() == ITEMS * 32, "not so many items");
    Ok(v1::VerifyBatchRequest {
        keys: vec![v1::BatchKey { kind: Some(kind) }],
        key_indexes: Vec::new(),
        messages: Some(v1::verify_batch_request::Messages::Items32(batch.messages.clone())),
        signatures: batch.signatures.clone(),
        signature_ends: batch.ends.clone(),
    })
}

/// Asks for the verdicts of a batch.
pub(super) async fn remote(channel: Channel, request: v1::VerifyBatchRequest) -> Result<()> {
    let answer = VerificationClient::new(channel).verify_batch(request).await.context("verify a batch")?.into_inner();
    all_valid(&answer)
}

/// Whether every item of a batch counts as good.
pub(super) fn all_valid(answer: &v1::VerifyBatchResponse) -> Result<()> {
    let valid: u32 = answer.valid.iter().map(|byte| byte.count_ones()).sum();
    ensure!(usize::try_from(valid)? == ITEMS, "a good signature counts as bad: {:?}", answer.failures.first());
    Ok(())
}
