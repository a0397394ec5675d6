//! A batch under a key of a believed daemon: streamed to it, answered in order.
//!
//! The daemon is asked for its verdicts, so it is one that is believed (D5); `--endpoint` chooses among these, and adds none.
//! What has no answer is kept, so that another stream can ask again: in smaller messages where the daemon takes no such
//! long ones, where the first stream was silent for too long, or later where the daemon has no room now.

mod patience;
mod piece;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use trust_proto::v1::{VerifyBatchRequest, VerifyBatchResponse};

use super::chunk::Chunk;
use super::report::Report;
use crate::connect::Daemon;
use crate::failure::Failure;
use piece::{Piece, Size};

/// Messages without an answer, at most: more than a daemon has at work, so that it never waits for us.
const UNANSWERED_MAX: usize = 8;
/// Without an item for so long a stream is closed, before most daemons lose patience; the next item opens another.
const QUIET: Duration = Duration::from_secs(20);

type Chunks = mpsc::Receiver<Result<Chunk, Failure>>;

/// Has every chunk verified, and reports in their order.
pub(super) async fn verify(daemon: &Daemon, key: &str, chunks: Chunks, report: &mut Report) -> Result<(), Failure> {
    let mut work = Work {
        daemon,
        key,
        chunks,
        report,
        size: Size::WHOLE,
        next: VecDeque::new(),
        unanswered: VecDeque::new(),
        answered: 0,
        stalled: 0,
        end: None,
    };
    loop {
        if !work.next.is_empty() {
            if let Some(status) = work.stream().await? {
                tokio::time::sleep(work.again(status)?).await;
            }
        } else if let Some(end) = work.end {
            return end;
        } else {
            let chunk = work.chunks.recv().await;
            work.take(chunk);
        }
    }
}

/// A batch on its way.
struct Work<'a> {
    daemon: &'a Daemon,
    key: &'a str,
    chunks: Chunks,
    report: &'a mut Report,
    /// What the daemon takes in a message, as far as we know.
    size: Size,
    /// Not sent in this stream.
    next: VecDeque<Piece>,
    /// Sent in this stream, and not answered.
    unanswered: VecDeque<Piece>,
    /// Answers of this stream.
    answered: u64,
    /// Streams in a row that had to wait for the daemon and had no answer since.
    stalled: u32,
    /// How reading the batch ended, once it did.
    end: Option<Result<(), Failure>>,
}

/// What happens to a stream.
enum Event {
    /// An answer, or the end.
    Answer(Result<Option<VerifyBatchResponse>, Status>),
    /// Another chunk, or the end of all.
    Chunk(Option<Result<Chunk, Failure>>),
    /// Whether there was a place for the message that has its turn.
    Sent(bool),
    /// Nothing came for a while.
    Quiet,
}

impl Work<'_> {
    /// One stream, until there is no more for it; or how the daemon ended it before.
    async fn stream(&mut self) -> Result<Option<Status>, Failure> {
        let (requests, sent) = mpsc::channel(1);
        self.answered = 0;
        let mut answers = match self.daemon.verification().verify_stream(ReceiverStream::new(sent)).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return Ok(Some(status)),
        };
        let mut requests = Some(requests);
        loop {
            if self.next.is_empty() && self.end.is_some() {
                requests = None;
            }
            let has_room = requests.is_some() && self.unanswered.len() < UNANSWERED_MAX;
            let sends = has_room && !self.next.is_empty();
            let is_first = self.answered == 0 && self.unanswered.is_empty();
            let message = || self.next.front().map(|piece| piece.request(is_first.then_some(self.key)));
            let reads = has_room && self.next.is_empty();
            let is_idle = reads && self.unanswered.is_empty();
            let event = tokio::select! {
                biased;
                answer = answers.message() => Event::Answer(answer),
                place = send(requests.as_ref(), message), if sends => Event::Sent(place),
                chunk = self.chunks.recv(), if reads => Event::Chunk(chunk),
                () = tokio::time::sleep(QUIET), if is_idle => Event::Quiet,
            };
            match event {
                Event::Answer(Ok(Some(answer))) => self.report(&answer)?,
                Event::Answer(Ok(None)) if requests.is_none() && self.unanswered.is_empty() => return Ok(None),
                Event::Answer(Ok(None)) => return Err(mistaken("fewer answers than questions")),
                Event::Answer(Err(status)) => return Ok(Some(status)),
                Event::Chunk(chunk) => self.take(chunk),
                Event::Sent(true) => self.unanswered.extend(self.next.pop_front()),
                // Where there is no place the stream is over, and its answers say why.
                Event::Sent(false) | Event::Quiet => requests = None,
            }
        }
    }

    /// The next chunk, or how it ended.
    fn take(&mut self, chunk: Option<Result<Chunk, Failure>>) {
        match chunk {
            Some(Ok(chunk)) => self.next.extend(Piece::from(chunk).cut(self.size)),
            Some(Err(failure)) => self.end = Some(Err(failure)),
            None => self.end = Some(Ok(())),
        }
    }

    /// Reports the verdicts of the message whose turn it is.
    fn report(&mut self, answer: &VerifyBatchResponse) -> Result<(), Failure> {
        let asked = self.unanswered.pop_front().ok_or_else(|| mistaken("more answers than questions"))?;
        self.report.add(asked.verdicts(answer)?, asked.read_bytes)?;
        self.answered = self.answered.saturating_add(1);
        Ok(())
    }

    /// Prepares another stream for what has no answer, if one may end otherwise than this one did; how long to wait
    /// before.
    fn again(&mut self, status: Status) -> Result<Duration, Failure> {
        if self.answered > 0 {
            self.stalled = 0;
        }
        let pause = patience::pause(&status, self.stalled);
        match (status.code(), self.unanswered.front()) {
            // It heard nothing from us for too long; each of its answers is one that no other stream has to give.
            (Code::DeadlineExceeded, _) if self.answered > 0 => {}
            (Code::InvalidArgument, Some(refused)) => match self.size.below(refused) {
                Some(size) => self.size = size,
                None if refused.is_long_item() => return Err(self.too_long(refused, status)),
                None => return Err(status.into()),
            },
            _ if pause.is_some() => self.stalled = self.stalled.saturating_add(1),
            _ => return Err(status.into()),
        }
        let kept = self.unanswered.drain(..).chain(self.next.drain(..)).collect::<Vec<_>>();
        self.next = kept.into_iter().flat_map(|piece| piece.cut(self.size)).collect();
        Ok(pause.unwrap_or_default())
    }

    fn too_long(&self, item: &Piece, status: Status) -> Failure {
        let what = format!("item {} is longer than {} takes in one message", item.first, self.daemon.address);
        Failure::usage(what, "verify it with --public-key FILE, or have the daemon's message_kib_max raised")
            .because(status)
    }
}

/// Sends the message that has its turn as soon as there is a place for it, and says whether there was one.
async fn send(
    requests: Option<&mpsc::Sender<VerifyBatchRequest>>,
    message: impl FnOnce() -> Option<VerifyBatchRequest>,
) -> bool {
    let Some(requests) = requests else { return false };
    let Ok(place) = requests.reserve().await else { return false };
    message().map(|message| place.send(message)).is_some()
}

fn mistaken(what: &str) -> Failure {
    Failure::other(format!("the daemon's answer has {what}"), "are trustctl and trustd of the same version?")
}
