//! What changes something is on record before it is done, and how it ended after (D12). A signature's end says more, and so
//! does that of what a token may have done although nobody heard: those are written where they are known.

use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;
use trust::Fault;

use super::{House, audit_fault};
use crate::audit::{Ended, OutcomeLeaf};
use crate::permit::{Intent, Operation, Permit};
use crate::records::has_left_nothing;

impl House {
    /// Writes down what is about to be done; when this returns, it is on the disk.
    pub(crate) async fn open_intent<O: Operation>(&self, permit: Permit<O>) -> Result<Intent<O>, Fault> {
        permit.open(self.audit(), self.clock()).await.map_err(audit_fault)
    }

    /// Writes down how it ended: done, with what `more` adds, or failed, with the word for why. Of what is unsure nothing is
    /// written: the next start reads the store anew, and closes the intent by what is there. Gives back what it was, and its
    /// place among the work in flight.
    pub(crate) async fn close_intent<O: Operation, T>(
        &self,
        intent: Intent<O>,
        ended: Result<&T, Undone>,
        more: impl FnOnce(&T, &mut OutcomeLeaf),
    ) -> Result<(O, OwnedSemaphorePermit), Fault> {
        let result = if ended.is_ok() { Ended::Done } else { Ended::Failed };
        let mut outcome = OutcomeLeaf::new(self.clock().now_unix_ms(), intent.leaf(), result);
        match ended {
            Ok(done) => more(done, &mut outcome),
            Err(Undone::Failed(why)) => outcome.reason = Some(why.to_owned()),
            Err(Undone::Unsure) => {
                warn!(stage = "audit", leaf = intent.leaf(), "only the next start can tell how this ended");
                return Ok(intent.close());
            }
        }
        self.write_outcome(outcome).await?;
        Ok(intent.close())
    }
}

/// Why it is not known to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undone {
    /// Nothing came of it; the word for why.
    Failed(&'static str),
    /// A write to the store failed, of which nobody knows how much is on the disk.
    Unsure,
}

impl Undone {
    /// By what the caller is told.
    pub(crate) fn of(fault: &Fault) -> Self {
        Self::named(fault, fault.kind().name())
    }

    /// The same with another word for it.
    pub(crate) fn named(fault: &Fault, why: &'static str) -> Self {
        if has_left_nothing(fault) { Self::Failed(why) } else { Self::Unsure }
    }
}

/// Of what there is no more to say than that it is done.
pub(crate) const fn no_more<T>(_: &T, _: &mut OutcomeLeaf) {}
