//! One stream of batches: so many of them unanswered, or each sent when it is due.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;
use trust_proto::v1;
use trust_proto::v1::verification_client::VerificationClient;

use crate::load::{Load, Measured, Offer, drive_open, histogram, now};
use crate::suite::verify::all_valid;

/// Sends the same batch again and again over one stream.
///
/// # Errors
/// When the stream ends, or a good signature counts as bad.
pub(super) async fn drive(load: Load, channel: Channel, batch: v1::VerifyBatchRequest) -> Result<Measured> {
    let (mut batches, mut answers) = open(channel, batch).await?;
    let from = now() + load.warm_up;
    let until = from + load.length;
    let mut latency = histogram()?;
    let mut unanswered: VecDeque<Instant> = VecDeque::new();
    while now() < until {
        tokio::select! {
            biased;
            answer = answer(&mut answers) => {
                answer?;
                let (begun, ended) = (unanswered.pop_front().context("more answers than questions")?, now());
                if ended >= from && ended < until {
                    latency.saturating_record(u64::try_from((ended - begun).as_nanos())?);
                }
            }
            sent = batches.send(), if unanswered.len() < load.in_flight => {
                sent?;
                unanswered.push_back(now());
            }
        }
    }
    drop(batches);
    end(answers).await?;
    Ok(Measured::of(latency, load.length))
}

/// Sends the same batch exactly `count` times over one stream, at most `in_flight` of them unanswered.
///
/// # Errors
/// When the stream ends, or a good signature counts as bad.
pub(super) async fn send(
    channel: Channel,
    batch: v1::VerifyBatchRequest,
    count: usize,
    in_flight: usize,
) -> Result<()> {
    let (mut batches, mut answers) = open(channel, batch).await?;
    let (mut asked, mut answered) = (0, 0);
    while answered < count {
        tokio::select! {
            biased;
            answer = answer(&mut answers) => {
                answer?;
                answered += 1;
            }
            sent = batches.send(), if asked < count && asked - answered < in_flight => {
                sent?;
                asked += 1;
            }
        }
    }
    drop(batches);
    end(answers).await
}

/// Sends the same batch over one stream whenever `offer` has one due, and times each from then until its answer came:
/// where the stream takes no more, those wait here, and their time runs.
///
/// # Errors
/// When the stream ends, or a good signature counts as bad.
pub(super) async fn drive_when_due(offer: Offer, channel: Channel, batch: v1::VerifyBatchRequest) -> Result<Measured> {
    let (due, waiting) = mpsc::channel(usize::try_from(offer.unanswered_max)?);
    let stream = tokio::spawn(answer_in_turn(channel, batch, waiting));
    let measured = drive_open(offer, move |_| {
        let (answered, answer) = oneshot::channel();
        // Here, not in the future: so they go into the stream in the order in which they are due.
        let queued = due.try_send(answered);
        async move {
            queued.map_err(|_| anyhow!("the stream takes nothing any more"))?;
            answer.await.context("the stream has ended before its answer")
        }
    });
    let measured = measured.await;
    // What ended the stream says more than what those missed who waited for it.
    stream.await.map_err(|error| anyhow!("the stream's task panicked: {error}"))??;
    measured
}

/// Sends a batch for each of those who wait, in their order, and tells each of its answer; until nobody comes any more.
async fn answer_in_turn(
    channel: Channel,
    batch: v1::VerifyBatchRequest,
    mut waiting: mpsc::Receiver<oneshot::Sender<()>>,
) -> Result<()> {
    let (mut batches, mut answers) = open(channel, batch).await?;
    let mut unanswered: VecDeque<oneshot::Sender<()>> = VecDeque::new();
    loop {
        tokio::select! {
            biased;
            answer = answer(&mut answers) => {
                answer?;
                // Who has given up does not hear.
                let _ = unanswered.pop_front().context("more answers than questions")?.send(());
            }
            sent = batches.send_for(&mut waiting) => match sent? {
                Some(who) => unanswered.push_back(who),
                None => break,
            },
        }
    }
    drop(batches);
    for who in unanswered {
        answer(&mut answers).await?;
        let _ = who.send(());
    }
    end(answers).await
}

/// The same batch again and again; the first message names the key, as a client does it.
struct Batches {
    messages: mpsc::Sender<v1::VerifyBatchRequest>,
    next: v1::VerifyBatchRequest,
    later: v1::VerifyBatchRequest,
}

type Answers = Streaming<v1::VerifyBatchResponse>;

async fn open(channel: Channel, batch: v1::VerifyBatchRequest) -> Result<(Batches, Answers)> {
    let (messages, sent) = mpsc::channel(1);
    let later = v1::VerifyBatchRequest { keys: Vec::new(), ..batch.clone() };
    let mut client = VerificationClient::new(channel);
    let answers = client.verify_stream(ReceiverStream::new(sent)).await.context("open a stream")?.into_inner();
    Ok((Batches { messages, next: batch, later }, answers))
}

impl Batches {
    /// Sends the next one as soon as there is a place for it; nothing is sent where that is not waited for.
    async fn send(&mut self) -> Result<()> {
        let place = self.messages.reserve().await.context("the stream is closed")?;
        place.send(std::mem::replace(&mut self.next, self.later.clone()));
        Ok(())
    }

    /// The same as soon as there is somebody for whom, too; `None` when nobody comes any more. Nobody is lost where that is
    /// not waited for.
    async fn send_for<T>(&mut self, waiting: &mut mpsc::Receiver<T>) -> Result<Option<T>> {
        let place = self.messages.reserve().await.context("the stream is closed")?;
        let who = waiting.recv().await;
        if who.is_some() {
            place.send(std::mem::replace(&mut self.next, self.later.clone()));
        }
        Ok(who)
    }
}

/// Waits for the next answer, which must be that all is good.
async fn answer(answers: &mut Answers) -> Result<()> {
    all_valid(&answers.message().await.context("verify a stream")?.context("the stream has ended")?)
}

/// Reads to the end.
async fn end(mut answers: Answers) -> Result<()> {
    while answers.message().await.context("end a stream")?.is_some() {}
    Ok(())
}
