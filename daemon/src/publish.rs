//! Trust data (TUF): published, read, signed anew, deleted.
//!
//! A publication is checked by the rules of `trust::format::tuf`, then the daemon's own files are planned, their versions
//! reserved, each signed by the stages of every signature, and all put in place in one write: a reader sees one
//! publication or the next. Those who publish to one repository at the same time take turns, and of two that are for
//! the same versions the second is told so. A reserved version is never used again, whatever became of it (decision 16).
//!
//! Deliberately not here: HTTP, and who a caller is (the doors).

mod authorize;
mod delete;
mod error;
mod keys;
mod owner;
mod read;
mod renew;
mod room;
mod shelf;
mod sign;
mod signer;
mod unused;
mod update;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use trust::format::tuf::{Gun, Part, RoleName};
use trust::principal::Service;
use trust::{Fault, FaultKind, Principal};

use crate::authorize::Grounds;
use crate::house::House;
use crate::permit::{Intent, Operation, Permit};

use self::shelf::{Turn, Waiter};

pub(crate) use crate::records::{Change, ChangeKind, Window};

pub(crate) use self::error::PublishError;
pub(crate) use self::owner::{
    Adoption, Beginning, Brought, Changed, DelegateName, Delegating, Rotation, Shown, ShownKey, ShownProposal,
    ShownProposed, ShownQuorum, ShownRole, ShownTarget, Wish,
};

/// Trust data, for a door. Made for one request.
#[derive(Clone, Copy)]
pub(crate) struct Publisher<'a>(&'a Arc<House>);

/// Who asks at the Notary door, or at its signer's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    /// In whose name.
    pub(crate) who: &'a Principal,
    /// Where somebody without a name comes from; none of whoever has one, or is on this machine.
    pub(crate) stranger: Option<IpAddr>,
}

impl<'a> Asker<'a> {
    /// Somebody who has a name.
    pub(crate) const fn named(who: &'a Principal) -> Self {
        Self { who, stranger: None }
    }
}

/// What was sent, with the places that it takes among what is held for all who send: they are given back when the work on
/// it has ended, and not when whoever sent it hangs up.
#[derive(Debug)]
pub(crate) struct Sent {
    /// The files.
    pub(crate) parts: Vec<Part>,
    /// Their places.
    pub(crate) held: Vec<OwnedSemaphorePermit>,
}

/// Who wants what done, and until when, in time of the clock's `monotonic`.
#[derive(Debug, Clone)]
struct Asked {
    who: Principal,
    waiter: Waiter,
    gun: Gun,
    deadline: Duration,
}

impl Asked {
    /// What comes through the daemon's own door.
    fn by(who: &Principal, gun: &Gun, deadline: Duration) -> Self {
        Self { who: who.clone(), waiter: Waiter::Owner(who.clone()), gun: gun.clone(), deadline }
    }

    /// What comes through the Notary door or its signer's.
    fn of(Asker { who, stranger }: Asker<'_>, gun: &Gun, deadline: Duration) -> Self {
        let waiter = match who {
            Principal::Anonymous(_) => Waiter::Stranger(stranger),
            named => Waiter::Named(named.clone()),
        };
        Self { who: who.clone(), waiter, gun: gun.clone(), deadline }
    }

    /// What the daemon does by itself, in the time that a request has.
    fn by_daemon(house: &House, service: Service, waiter: Waiter, gun: &Gun) -> Self {
        let deadline = house.clock().monotonic().saturating_add(house.limits().request_time_max);
        Self { who: Principal::Service(service), waiter, gun: gun.clone(), deadline }
    }

    /// For whoever waits no longer, nothing is begun: no version is used up for it.
    fn in_time(&self, house: &House) -> Result<(), PublishError> {
        if house.clock().monotonic() < self.deadline {
            return Ok(());
        }
        Err(Fault::new(FaultKind::Late, "the time for it was over before its turn came").into())
    }
}

impl Publisher<'_> {
    /// Waits until nobody else changes the repository.
    ///
    /// # Errors
    /// [`PublishError::Busy`] where as many wait as may; [`PublishError::Unavailable`] past the deadline.
    async fn turn(self, asked: &Asked) -> Result<Turn, PublishError> {
        let patience = asked.deadline.saturating_sub(self.0.clock().monotonic());
        let turn = self.0.shelf().turn(&asked.gun, &asked.waiter, patience).await?;
        asked.in_time(self.0)?;
        Ok(turn)
    }

    /// Whether there is trust data now. Nothing is read for it.
    fn is_alive(self, gun: &Gun) -> Result<bool, PublishError> {
        Ok(self.0.records().own_marks(gun)?.is_alive)
    }

    /// Takes a place among the work in flight, and writes down what is about to be done.
    async fn open_intent<O: Operation>(
        self,
        asked: &Asked,
        operation: O,
        grounds: Grounds,
    ) -> Result<Intent<O>, Fault> {
        let permit = Permit::grant(asked.who.clone(), operation, grounds, asked.deadline, self.0.take_flight()?);
        self.0.open_intent(permit).await
    }
}

impl House {
    /// Trust data.
    pub(crate) const fn publisher(self: &Arc<Self>) -> Publisher<'_> {
        Publisher(self)
    }
}

/// The purpose of the daemon's keys for a role; the other roles' keys are their owners'.
const fn purpose_of(role: &RoleName) -> Option<trust::Purpose> {
    match role {
        RoleName::Snapshot => Some(trust::Purpose::Snapshot),
        RoleName::Timestamp => Some(trust::Purpose::Timestamp),
        RoleName::Root | RoleName::Targets | RoleName::Delegation(_) => None,
    }
}

/// Now, as metadata counts it.
fn now_of(house: &House) -> i64 {
    i64::try_from(house.clock().now_unix_seconds()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
