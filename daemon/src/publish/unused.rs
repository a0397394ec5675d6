//! Keys for snapshots and timestamps that were made for somebody who then published nothing: they go again.
//!
//! Whoever may publish a repository is told a key for it, which is made when it is first asked for (SPEC §1.3). Names that
//! nobody publishes would fill the daemon with keys until nobody could begin anything. Who is told such a key has half of
//! its time at least: an older one is given to nobody.

use std::sync::Arc;

use tracing::{error, info};
use trust::format::tuf::{Gun, RoleName};
use trust::principal::Service;
use trust::{Fault, KeyName, Purpose, Scope, Use};

use super::keys::is_named_here;
use super::shelf::Waiter;
use super::sign::ServerKey;
use super::{Asked, PublishError, Publisher};
use crate::house::House;
use crate::records::{Head, KeyRecord, KeyState, KeyView, record_fault};

/// How many keys are looked at at once.
const AT_ONCE_MAX: usize = 256;
/// What their names begin with, and the last name before all of them.
const PREFIX: &str = "tuf/";
const BEFORE: &str = "tuf";
/// The epoch of a key whose first change is that it was retired: it is made with 1, and each change is one more.
const RETIRED_FIRST: u64 = 2;

impl House {
    /// Retires the daemon's keys of repositories that were never used in all their time, and schedules their destruction.
    /// Called from time to time. Answers how many were; one that fails is logged, and holds up no other.
    pub(crate) async fn discard_unused_keys(self: &Arc<Self>) -> Result<usize, Fault> {
        let Some(after) = self.config().keys.unused_trust_keys_after else { return Ok(0) };
        let before = self.clock().now_unix_seconds().saturating_sub(after.as_secs());
        let mut last: KeyName = BEFORE.parse().map_err(Fault::internal)?;
        let mut done = 0;
        loop {
            let views = self.records().list(Some(&last), AT_ONCE_MAX).await.map_err(record_fault)?;
            let is_last = views.len() < AT_ONCE_MAX;
            for view in views {
                last = view.record.name.clone();
                let is_old = view.record.created_at_unix_seconds <= before && is_to_go(&view.state);
                let Some((gun, role)) = is_old.then(|| place_of(&view.record)).flatten() else { continue };
                match self.publisher().discard(gun, &role, &view).await {
                    Ok(false) => {}
                    Ok(true) => {
                        done += 1;
                        info!(stage = "publish", repository = %gun, key = %view.record.id, "a key that was never used goes");
                    }
                    Err(fault) => {
                        error!(stage = "publish", repository = %gun, %fault, "a key that was never used did not go");
                    }
                }
            }
            if is_last || (last.as_str() > PREFIX && !last.as_str().starts_with(PREFIX)) {
                return Ok(done);
            }
        }
    }

    /// Whether a key, if it is not used, is in the second half of its time.
    pub(super) fn may_go_soon(&self, record: &KeyRecord) -> bool {
        let half = self.config().keys.unused_trust_keys_after.map(|after| after.as_secs() / 2);
        let age = self.clock().now_unix_seconds().saturating_sub(record.created_at_unix_seconds);
        place_of(record).is_some() && half.is_some_and(|half| age >= half)
    }
}

/// Whether a key is one to look at: it may sign, or its retirement is all that ever happened to it. A sweep that was cut
/// off leaves it so, and it would be counted for good. One whose destruction somebody has cancelled stays.
fn is_to_go(state: &KeyState) -> bool {
    match state.use_ {
        Use::Active => true,
        Use::Retired => state.epoch == RETIRED_FIRST,
        Use::Disabled | Use::DestroyScheduled { .. } | Use::Destroyed => false,
    }
}

/// What a key is for that the daemon named: the repository, and snapshots or timestamps; none of any other key.
fn place_of(record: &KeyRecord) -> Option<(&Gun, RoleName)> {
    let Scope::Gun(gun) = &record.scope else { return None };
    let role = match record.purpose {
        Purpose::Snapshot => RoleName::Snapshot,
        Purpose::Timestamp => RoleName::Timestamp,
        _ => return None,
    };
    is_named_here(&record.name, gun, record.purpose).then_some((gun, role))
}

impl Publisher<'_> {
    /// False where the key has been used, or may be about to be.
    async fn discard(self, gun: &Gun, role: &RoleName, view: &KeyView) -> Result<bool, PublishError> {
        // Most have been used, and this reads no more than the head.
        if self.may_be_used(&self.0.records().head(gun).await?, view) {
            return Ok(false);
        }
        // Whoever publishes the repository, or has files of it signed for another server, has the turn.
        let _turn = self.turn(&Asked::by_daemon(self.0, Service::Destruction, Waiter::Upkeep, gun)).await?;
        let (held, generation) = (ServerKey::newest(view.clone())?, self.generation(gun).await?);
        let authority = generation.repository.authority(role);
        let is_listed = authority.is_some_and(|authority| authority.keys().iter().any(|key| key.id() == held.key.id()));
        if !held.was_made_here() || is_listed || self.may_be_used(&generation.head, view) {
            return Ok(false);
        }
        self.0.discard(view).await?;
        Ok(true)
    }

    /// Whether the key has signed, or a proposal waits that may list it.
    fn may_be_used(self, head: &Head, view: &KeyView) -> bool {
        let now = self.0.clock().now_unix_seconds();
        let waits = head.proposal.as_ref().is_some_and(|proposal| proposal.ends_at_unix_seconds > now);
        waits || head.signers.contains(&view.record.id)
    }
}
