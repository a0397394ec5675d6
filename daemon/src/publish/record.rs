//! Changes of a repository that sign nothing: on record before they are made, and how they ended after.

use tokio::sync::OwnedSemaphorePermit;
use trust::Fault;

use super::{Asked, Publisher};
use crate::audit::{Ended, OutcomeLeaf};
use crate::authorize::Grounds;
use crate::house::audit_fault;
use crate::permit::{Intent, Operation, Permit};

impl Publisher<'_> {
    /// Takes a place among the work in flight, and writes down what is about to be done.
    pub(super) async fn open_intent<O: Operation>(
        self,
        asked: &Asked,
        operation: O,
        grounds: Grounds,
    ) -> Result<Intent<O>, Fault> {
        let permit = Permit::grant(asked.who.clone(), operation, grounds, asked.deadline, self.0.take_flight()?);
        permit.open(self.0.audit(), self.0.clock()).await.map_err(audit_fault)
    }

    /// Writes down how it ended, and where it failed the word for why, if there is one; gives back what it was, and the
    /// place.
    pub(super) async fn close_intent<O: Operation, T>(
        self,
        intent: Intent<O>,
        ended: Result<&T, Option<&'static str>>,
    ) -> Result<(O, OwnedSemaphorePermit), Fault> {
        let result = if ended.is_ok() { Ended::Done } else { Ended::Failed };
        let mut outcome = OutcomeLeaf::new(self.0.clock().now_unix_ms(), intent.leaf(), result);
        outcome.reason = ended.err().flatten().map(str::to_owned);
        self.0.write_outcome(outcome).await?;
        Ok(intent.close())
    }
}
