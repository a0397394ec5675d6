//! What changes something is on record before it is done, and how it ended after (D12). A signature's end says more, and so
//! does that of what a token may have done although nobody heard: those are written where they are known.

use tokio::sync::OwnedSemaphorePermit;
use trust::Fault;

use super::{House, audit_fault};
use crate::audit::{Ended, OutcomeLeaf};
use crate::permit::{Intent, Operation, Permit};

impl House {
    /// Writes down what is about to be done; when this returns, it is on the disk.
    pub(crate) async fn open_intent<O: Operation>(&self, permit: Permit<O>) -> Result<Intent<O>, Fault> {
        permit.open(self.audit(), self.clock()).await.map_err(audit_fault)
    }

    /// Writes down how it ended: done, with what `more` adds, or failed, with the word for why, if there is one. Gives back
    /// what it was, and its place among the work in flight.
    pub(crate) async fn close_intent<O: Operation, T>(
        &self,
        intent: Intent<O>,
        ended: Result<&T, Option<&'static str>>,
        more: impl FnOnce(&T, &mut OutcomeLeaf),
    ) -> Result<(O, OwnedSemaphorePermit), Fault> {
        let result = if ended.is_ok() { Ended::Done } else { Ended::Failed };
        let mut outcome = OutcomeLeaf::new(self.clock().now_unix_ms(), intent.leaf(), result);
        match ended {
            Ok(done) => more(done, &mut outcome),
            Err(why) => outcome.reason = why.map(str::to_owned),
        }
        self.write_outcome(outcome).await?;
        Ok(intent.close())
    }
}

/// Of what there is no more to say than that it is done.
pub(crate) const fn no_more<T>(_: &T, _: &mut OutcomeLeaf) {}
