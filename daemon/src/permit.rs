//! Proof, by type, that a thing may be done and that it was written down first.
//!
//! A [`Permit`] is proof of authorization, an [`Intent`] proof of a durable
//! leaf. Each is made in one place, owned by one value, and consumed by the
//! next stage; a stage that is left out or repeated does not compile.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use trust::{Principal, Sha256Digest};

use crate::audit::{Audit, AuditError, IntentLeaf, Leaf, LeafIndex};
use crate::authorize::Grounds;
use crate::clock::Clock;

/// What a permit is for.
pub(crate) trait Operation: Send + 'static {
    /// What its intent leaf says beside principal, time and grounds.
    fn describe(&self, leaf: &mut IntentLeaf);
}

/// Proof of authorization for `operation`, spent once.
#[must_use = "a permit that is not spent leaves no trace"]
pub(crate) struct Permit<O> {
    principal: Principal,
    operation: O,
    grounds: Grounds,
    deadline: Duration,
    flight: OwnedSemaphorePermit,
}

impl<O: Operation> Permit<O> {
    /// Only an authorize stage calls this, with the grounds it got. `deadline` is in time of
    /// [`Clock::monotonic`]; `flight` is a place among the work in flight, taken until the work has ended.
    pub(crate) const fn grant(
        principal: Principal,
        operation: O,
        grounds: Grounds,
        deadline: Duration,
        flight: OwnedSemaphorePermit,
    ) -> Self {
        Self { principal, operation, grounds, deadline, flight }
    }

    /// What is permitted.
    pub(crate) const fn operation(&self) -> &O {
        &self.operation
    }

    /// Writes the intent down; when this returns, it is on disk.
    pub(crate) async fn open(self, audit: &Audit, clock: &Clock) -> Result<Intent<O>, AuditError> {
        let mut leaf = IntentLeaf::new(clock.now_unix_ms(), &self.principal);
        leaf.policies.clone_from(&self.grounds.policies);
        leaf.policy_revision = Some(self.grounds.revision.to_hex());
        self.operation.describe(&mut leaf);
        let index = audit.append(Leaf::Intent(leaf)).await?;
        Ok(Intent { permit: self, leaf: index })
    }
}

/// Proof that the intent is durable.
#[must_use = "an intent is open until its outcome is written"]
pub(crate) struct Intent<O> {
    permit: Permit<O>,
    leaf: LeafIndex,
}

impl<O> Intent<O> {
    /// Where it stands in the log.
    pub(crate) const fn leaf(&self) -> LeafIndex {
        self.leaf
    }

    /// What was permitted.
    pub(crate) const fn operation(&self) -> &O {
        &self.permit.operation
    }

    /// The policy revision that allowed it.
    pub(crate) const fn policy_revision(&self) -> Sha256Digest {
        self.permit.grounds.revision
    }

    /// The time left until the deadline; `None` once it has passed.
    pub(crate) fn time_left(&self, clock: &Clock) -> Option<Duration> {
        self.permit.deadline.checked_sub(clock.monotonic()).filter(|left| !left.is_zero())
    }

    /// Ends it: the operation comes out, and the place in flight is free when the token is dropped.
    pub(crate) fn close(self) -> (O, OwnedSemaphorePermit) {
        (self.permit.operation, self.permit.flight)
    }
}
