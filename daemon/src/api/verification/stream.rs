//! A stream of batches: each message is verified while later ones come in, and answered in its turn.
//!
//! Who asks is looked at for each message (D26), and so are the policy and the keys it names. At most a few messages, and
//! the bytes of one longest one, are at work; then nothing more is read, and the caller's own window stops it. Whatever
//! is refused ends the stream, after the answers to all that came before.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming};
use trust::{Fault, FaultKind};
use trust_proto::v1;

use super::super::{Door, answer, unread_fault};
use super::{read, to_wire};
use crate::house::House;
use crate::identity::Caller;
use crate::metrics::{Answer, OpenStream};
use crate::serving::{Held, Mark};
use crate::telemetry::RequestId;
use crate::verification::BatchKey;

/// Messages of one stream that are at work at once: enough to keep the cores busy while answers are on their way.
const MESSAGES_MAX: usize = 4;
/// Answers that wait for the connection.
const ANSWERS_MAX: usize = 1;
/// When to come back to a daemon that ends: it may be started again.
const RESTART: Duration = Duration::from_secs(1);

/// What the caller reads.
pub(super) type Answers = ReceiverStream<Result<v1::VerifyBatchResponse, Status>>;

/// Begins a stream, and answers it in a task of its own.
pub(super) fn begin(
    door: &Door,
    request: Request<Streaming<v1::VerifyBatchRequest>>,
) -> Result<Response<Answers>, Status> {
    let extensions = request.extensions();
    let (Some(caller), Some(held)) = (extensions.get::<Caller>(), extensions.get::<Arc<Held>>()) else {
        return Err(answer(Fault::internal("a stream without its connection")));
    };
    let (caller, held) = (caller.clone(), Arc::clone(held));
    held.begin_stream();
    let (answers, stream) = mpsc::channel(ANSWERS_MAX);
    let house = Arc::clone(&door.house);
    let open = house.metrics().verifying().open();
    let messages = request.into_inner();
    let task = Stream { house: Arc::clone(&house), caller, held, messages, keys: None, at_work: VecDeque::new(), open };
    // The connection may end, and the task notices; the daemon's end waits for it.
    house.parts.tasks.spawn(RequestId::current().scope(task.serve(answers)));
    Ok(Response::new(ReceiverStream::new(stream)))
}

/// One stream.
struct Stream {
    house: Arc<House>,
    caller: Caller,
    held: Arc<Held>,
    messages: Streaming<v1::VerifyBatchRequest>,
    /// Those of the last message.
    keys: Option<Arc<[BatchKey]>>,
    at_work: VecDeque<Message>,
    open: OpenStream,
}

/// A message at work.
struct Message {
    verdicts: AbortOnDropHandle<Result<v1::VerifyBatchResponse, Fault>>,
    until: Mark,
}

/// What comes next.
enum Next {
    /// The oldest message is done.
    Done(Result<v1::VerifyBatchResponse, Fault>),
    /// Another message.
    Message(v1::VerifyBatchRequest),
    /// No message any more: its sender is done, or something is wrong.
    End(Option<Fault>),
    /// Nobody reads the answers.
    Gone,
}

impl Stream {
    /// Answers until the caller is done or something is wrong.
    async fn serve(mut self, answers: mpsc::Sender<Result<v1::VerifyBatchResponse, Status>>) {
        // How the stream ends, from when nothing more is read.
        let mut end = None;
        let fault = loop {
            if self.at_work.is_empty()
                && let Some(how) = end
            {
                break how;
            }
            match self.next(&answers, end.is_some()).await {
                Next::Done(Ok(verdicts)) => {
                    if answers.send(Ok(verdicts)).await.is_err() {
                        return;
                    }
                }
                Next::Done(Err(fault)) => break Some(fault),
                Next::Message(message) => {
                    // Its keys may have to wait for a core.
                    let taken = tokio::select! {
                        taken = self.take(message) => taken,
                        () = answers.closed() => return,
                    };
                    if let Err(fault) = taken {
                        end = Some(Some(fault));
                    }
                }
                Next::End(how) => end = Some(how),
                Next::Gone => return,
            }
        };
        self.open.end(fault.as_ref().map_or(Answer::Ok, |fault| Answer::Fault(fault.kind())));
        if let Some(fault) = fault {
            // Whoever does not read it has gone, and knows nothing of this stream's end.
            let _ = answers.send(Err(answer(fault))).await;
        }
    }

    /// Waits for what comes next; nothing is lost when it does not wait to the end.
    async fn next(&mut self, answers: &mpsc::Sender<Result<v1::VerifyBatchResponse, Status>>, is_ended: bool) -> Next {
        let silence_max = self.house.limits().request_time_max;
        let has_work = !self.at_work.is_empty();
        let reads = !is_ended && self.at_work.len() < MESSAGES_MAX && !self.held.is_full();
        let oldest = async {
            match self.at_work.front_mut() {
                Some(oldest) => (&mut oldest.verdicts).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = answers.closed() => Next::Gone,
            done = oldest, if has_work => {
                if let Some(message) = self.at_work.pop_front() {
                    self.held.give_back(message.until);
                }
                let ended_early = |error| Err(Fault::internal(format!("a message's task ended early: {error}")));
                Next::Done(done.unwrap_or_else(ended_early))
            }
            () = self.house.parts.drain.cancelled(), if !is_ended => {
                let fault = Fault::new(FaultKind::Unavailable, "the daemon ends: what has no answer is to be sent again");
                Next::End(Some(fault.retry_after(RESTART)))
            }
            message = self.messages.message(), if reads => match message {
                Ok(Some(message)) => Next::Message(message),
                Ok(None) => Next::End(None),
                Err(status) => Next::End(Some(unread_fault(&status))),
            },
            // Whoever waits for an answer may be silent.
            () = tokio::time::sleep(silence_max), if reads && !has_work => {
                let text = format!("no message came for {} ms", silence_max.as_millis());
                Next::End(Some(Fault::new(FaultKind::Late, text)))
            }
        }
    }

    /// Puts a message to work, if whoever is there now may have it verified.
    async fn take(&mut self, message: v1::VerifyBatchRequest) -> Result<(), Fault> {
        let until = self.held.mark();
        let principal = self.house.identify(&self.caller)?;
        self.house.pace(&principal)?;
        let items_max = self.house.limits().verify_items_max;
        let batch = read(&self.house, &principal, message, self.keys.take(), items_max).await?;
        self.keys = Some(Arc::clone(batch.keys()));
        let house = Arc::clone(&self.house);
        let work = async move {
            let verdicts = house.verify_batch(&principal, batch).await?;
            Ok(to_wire(&verdicts))
        };
        let verdicts = AbortOnDropHandle::new(self.house.parts.tasks.spawn(RequestId::current().scope(work)));
        self.at_work.push_back(Message { verdicts, until });
        Ok(())
    }
}
