//! One stream of batches, so many of them unanswered.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use trust_proto::v1;
use trust_proto::v1::verification_client::VerificationClient;

use crate::load::{Load, Measured, histogram, now};
use crate::suite::verify::all_valid;

/// Sends the same batch again and again over one stream; the first message names the key, as a client does it.
///
/// # Errors
/// When the stream ends, or a good signature counts as bad.
pub(super) async fn drive(load: Load, channel: Channel, first: v1::VerifyBatchRequest) -> Result<Measured> {
    let (messages, sent) = mpsc::channel(1);
    let later = v1::VerifyBatchRequest { keys: Vec::new(), ..first.clone() };
    let mut next = first;
    let mut client = VerificationClient::new(channel);
    let mut answers = client.verify_stream(ReceiverStream::new(sent)).await.context("open a stream")?.into_inner();
    let from = now() + load.warm_up;
    let until = from + load.length;
    let mut latency = histogram()?;
    let mut unanswered: VecDeque<Instant> = VecDeque::new();
    while now() < until {
        tokio::select! {
            biased;
            answer = answers.message() => {
                let answer = answer.context("verify a stream")?.context("the stream has ended")?;
                all_valid(&answer)?;
                let (begun, ended) = (unanswered.pop_front().context("more answers than questions")?, now());
                if ended >= from && ended < until {
                    latency.saturating_record(u64::try_from((ended - begun).as_nanos())?);
                }
            }
            place = messages.reserve(), if unanswered.len() < load.in_flight => {
                place.context("the stream is closed")?.send(std::mem::replace(&mut next, later.clone()));
                unanswered.push_back(now());
            }
        }
    }
    drop(messages);
    while answers.message().await.context("end a stream")?.is_some() {}
    Ok(Measured::of(latency, load.length))
}

/// Sends the same batch exactly `batches` times over one stream, at most `in_flight` of them unanswered.
///
/// # Errors
/// When the stream ends, or a good signature counts as bad.
pub(super) async fn send(
    channel: Channel,
    first: v1::VerifyBatchRequest,
    batches: usize,
    in_flight: usize,
) -> Result<()> {
    let (messages, sent) = mpsc::channel(1);
    let later = v1::VerifyBatchRequest { keys: Vec::new(), ..first.clone() };
    let mut next = first;
    let mut client = VerificationClient::new(channel);
    let mut answers = client.verify_stream(ReceiverStream::new(sent)).await.context("open a stream")?.into_inner();
    let (mut asked, mut answered) = (0, 0);
    while answered < batches {
        tokio::select! {
            biased;
            answer = answers.message() => {
                all_valid(&answer.context("verify a stream")?.context("the stream has ended")?)?;
                answered += 1;
            }
            place = messages.reserve(), if asked < batches && asked - answered < in_flight => {
                place.context("the stream is closed")?.send(std::mem::replace(&mut next, later.clone()));
                asked += 1;
            }
        }
    }
    drop(messages);
    while answers.message().await.context("end a stream")?.is_some() {}
    Ok(())
}
