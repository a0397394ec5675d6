//! Changes of a key's two states: may it sign, do its signatures count.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::{Instrument as _, error, info};
use trust::principal::Service;
use trust::{Fault, FaultKind, KeyId, KeyRef, Principal, Sha256Digest, Trust, Use, UseChange};

use super::{Change, ChangeRequest, KeyReceipt, afresh};
use crate::audit::{DistrustBody, IntentLeaf, OutcomeLeaf};
use crate::authorize::{Action, Grounds, RequestFacts};
use crate::custody;
use crate::house::{House, Undone};
use crate::idempotency::{RequestHash, Turn, other_content};
use crate::permit::{Intent, Operation, Permit};
use crate::records::{KeyView, Replay, StateChange, record_fault};

/// Keys that are read at once.
const SCAN: usize = 256;

/// A change that is permitted.
struct Changing {
    key: KeyRef,
    custodian: String,
    change: Change,
    epoch: u64,
    to: StateChange,
    replay: Option<Replayed>,
}

impl Operation for Changing {
    fn describe(&self, leaf: &mut IntentLeaf) {
        leaf.operation = self.change.name();
        leaf.name_key(self.key);
        leaf.custodian = Some(self.custodian.clone());
        leaf.epoch = Some(self.epoch);
        // What `trustd recover` needs to do it again.
        match (self.change, &self.to) {
            (Change::Destroy, StateChange { use_: Use::DestroyScheduled { at_unix_seconds }, .. }) => {
                leaf.destroy_at = Some(*at_unix_seconds);
            }
            (Change::Distrust { reason, since_leaf }, _) => {
                leaf.distrust = Some(DistrustBody { reason: reason.name(), since_leaf });
            }
            _ => {}
        }
    }
}

/// An idempotency key that this request is the first to use; the next one waits until it has ended.
pub(super) struct Replayed {
    turn: Turn,
    request_hash: Sha256Digest,
}

/// What is known of an idempotency key.
pub(super) enum KeyReplay {
    /// The operation was done: its receipt, with the key as it is now.
    Done(KeyReceipt),
    /// It is new, or there is none.
    New(Option<Replayed>),
}

#[derive(Serialize, Deserialize)]
struct Stored {
    id: [u8; 16],
    leaf: u64,
}

impl Replayed {
    /// The row that commits with the effect.
    pub(super) fn to_store(&self, id: KeyId, leaf: u64) -> Replay {
        Replay {
            principal: self.turn.principal().clone(),
            method: self.turn.method().to_owned(),
            key: self.turn.key().as_str().to_owned(),
            request_hash: self.request_hash,
            // Sixteen bytes and a number: this cannot fail.
            response: postcard::to_stdvec(&Stored { id: *id.as_bytes(), leaf }).unwrap_or_default(),
        }
    }
}

impl House {
    /// Changes a key; acknowledged only when no session that began under the older state still runs.
    pub(crate) async fn change_key(self: &Arc<Self>, request: ChangeRequest) -> Result<KeyReceipt, Fault> {
        afresh(|| self.try_to_change(request.clone())).await
    }

    async fn try_to_change(self: &Arc<Self>, request: ChangeRequest) -> Result<KeyReceipt, Fault> {
        let method = request.change.name();
        let turn = self.turn(&request.principal, method, request.idempotency, request.deadline).await?;
        let action = request.change.action();
        let view = self.find_for(&request.principal, &request.key, action).await?;
        let grounds = self.decide(&request.principal, action, &request.key, &view, &RequestFacts::default())?;
        let hash = change_hash(&view, request.change);
        let replay = match self.find_key_replay(turn, hash).await? {
            KeyReplay::Done(receipt) => {
                // It is committed; whoever asked for it first may still wait until it is true.
                self.bring_into_force(&receipt.view).await;
                return Ok(receipt);
            }
            KeyReplay::New(replay) => replay,
        };
        let to = self
            .after(&view, request.change)
            .map_err(|fault| self.refused(&request.principal, &request.key, action, &view, "state", fault))?;
        let (key, custodian) = (newest_of(&view), view.record.custodian().to_owned());
        let changing = Changing { key, custodian, change: request.change, epoch: view.state.epoch, to, replay };
        self.carry_change(changing, grounds, request.principal, request.deadline).await
    }

    /// Destroys the keys whose wait is over; called from time to time. Answers how many. One that fails is logged
    /// and holds up no other.
    pub(crate) async fn finish_destructions(self: &Arc<Self>) -> Result<usize, Fault> {
        let now = self.clock().now_unix_seconds();
        let mut after = None;
        let mut done = 0;
        loop {
            let views = self.records().list(after.as_ref(), SCAN).await.map_err(record_fault)?;
            let is_last = views.len() < SCAN;
            for view in views {
                after = Some(view.record.name.clone());
                if matches!(view.state.use_, Use::DestroyScheduled { at_unix_seconds } if at_unix_seconds <= now) {
                    match self.finish_destruction(&view).await {
                        Ok(_) => done += 1,
                        Err(fault) => {
                            let key = newest_of(&view);
                            error!(stage = "keys", %key, %fault, "a key whose wait is over was not destroyed");
                        }
                    }
                }
            }
            if is_last {
                return Ok(done);
            }
        }
    }

    /// A person was permitted to schedule this.
    async fn finish_destruction(self: &Arc<Self>, view: &KeyView) -> Result<KeyReceipt, Fault> {
        self.change_by_itself(view, Change::FinishDestroy).await
    }

    /// Retires a key that the daemon made for somebody who never used it, unless it is, and schedules its destruction.
    pub(crate) async fn discard(self: &Arc<Self>, view: &KeyView) -> Result<(), Fault> {
        let retired = match view.state.use_ {
            Use::Retired => view.clone(),
            _ => afresh(|| self.change_by_itself(view, Change::Retire)).await?.view,
        };
        afresh(|| self.change_by_itself(&retired, Change::Destroy)).await.map(|_| ())
    }

    /// A change that nobody is asked about.
    async fn change_by_itself(self: &Arc<Self>, view: &KeyView, change: Change) -> Result<KeyReceipt, Fault> {
        let grounds = Grounds { policies: Vec::new(), revision: self.authorizer().revision() };
        let who = Principal::Service(Service::Destruction);
        let deadline = self.clock().monotonic() + self.config().limits.request_time_max;
        let (epoch, to) = (view.state.epoch, self.after(view, change)?);
        let (key, custodian) = (newest_of(view), view.record.custodian().to_owned());
        let changing = Changing { key, custodian, change, epoch, to, replay: None };
        self.carry_change(changing, grounds, who, deadline).await
    }

    async fn carry_change(
        self: &Arc<Self>,
        changing: Changing,
        grounds: Grounds,
        principal: Principal,
        deadline: Duration,
    ) -> Result<KeyReceipt, Fault> {
        let permit = Permit::grant(principal, changing, grounds, deadline, self.take_flight()?);
        let house = Arc::clone(self);
        self.detached(async move { house.change(permit).await }.in_current_span()).await?
    }

    async fn change(&self, permit: Permit<Changing>) -> Result<KeyReceipt, Fault> {
        let intent = self.open_intent(permit).await?;
        let leaf = intent.leaf();
        let changed = self.commit(&intent).await;
        let ended = changed.as_ref().map_err(Undone::of);
        let more = |view: &KeyView, outcome: &mut OutcomeLeaf| outcome.name_key(newest_of(view), view.state.epoch);
        let (changing, _flight) = self.close_intent(intent, ended, more).await?;
        let view = changed?;
        self.bring_into_force(&view).await;
        info!(stage = "keys", key = %changing.key, change = changing.change.name(), "key changed");
        Ok(KeyReceipt { view, leaf })
    }

    /// A state that is committed is true for everybody once the sessions that began before it have ended (D10).
    async fn bring_into_force(&self, view: &KeyView) {
        let material = view.newest().and_then(|version| version.materials.first());
        self.custodians().settle_for(material).await;
        if !view.state.use_.may_sign() {
            // An opened key of a worker that is gone is gone, too.
            let _ = self.custody().forget(view.record.id).await;
        }
    }

    async fn commit(&self, intent: &Intent<Changing>) -> Result<KeyView, Fault> {
        let changing = intent.operation();
        let _counted = self.begin_change();
        if intent.policy_revision() != self.authorizer().revision() {
            return Err(custody::NotBegun::Stale.fault());
        }
        let replay = changing.replay.as_ref().map(|replay| replay.to_store(changing.key.id, intent.leaf()));
        self.records()
            .set_state(changing.key.id, changing.epoch, changing.to.clone(), self.anchor(), replay)
            .await
            .map_err(record_fault)
    }

    fn after(&self, view: &KeyView, change: Change) -> Result<StateChange, Fault> {
        let mut to = StateChange { use_: view.state.use_, trust: view.state.trust.clone() };
        let verb = match change {
            Change::CancelDestroy => UseChange::CancelDestroy,
            Change::Destroy => {
                let wait = self.config().keys.destroy_after.as_secs();
                UseChange::Destroy { at_unix_seconds: self.clock().now_unix_seconds().saturating_add(wait) }
            }
            Change::Disable => UseChange::Disable,
            Change::Enable => UseChange::Enable,
            Change::FinishDestroy => UseChange::FinishDestroy,
            Change::Retire => UseChange::Retire,
            Change::Distrust { reason, since_leaf } => {
                if view.state.trust != Trust::Trusted {
                    return Err(Fault::new(FaultKind::Refused, "the key is distrusted already"));
                }
                let (size, _) = self.audit().durable();
                if since_leaf > size {
                    return Err(Fault::new(
                        FaultKind::Malformed,
                        format!("since_leaf: at most {size}, the log's size"),
                    ));
                }
                to.trust = Trust::Distrusted { reason, since_leaf };
                return Ok(to);
            }
        };
        to.use_ =
            view.state.use_.after(verb).map_err(|impossible| Fault::new(FaultKind::Refused, impossible.to_string()))?;
        Ok(to)
    }

    /// Looks up the idempotency key of a key operation.
    pub(super) async fn find_key_replay(
        &self,
        turn: Option<Turn>,
        request_hash: Sha256Digest,
    ) -> Result<KeyReplay, Fault> {
        let Some(turn) = turn else { return Ok(KeyReplay::New(None)) };
        let found = self.records().find_replay(turn.principal(), turn.method(), turn.key().as_str()).await;
        let Some(replay) = found.map_err(record_fault)? else {
            return Ok(KeyReplay::New(Some(Replayed { turn, request_hash })));
        };
        if replay.request_hash != request_hash {
            return Err(other_content());
        }
        let stored: Stored = postcard::from_bytes(&replay.response).map_err(Fault::internal)?;
        let view = self.records().key_by_id(KeyId::from_bytes(stored.id)).await.map_err(record_fault)?;
        let view = view.ok_or_else(|| Fault::internal("a replay of a key that is not there"))?;
        Ok(KeyReplay::Done(KeyReceipt { view, leaf: stored.leaf }))
    }
}

impl Change {
    const fn action(self) -> Action {
        match self {
            Self::CancelDestroy => Action::CancelDestroyKey,
            Self::Destroy | Self::FinishDestroy => Action::DestroyKey,
            Self::Disable => Action::DisableKey,
            Self::Distrust { .. } => Action::DistrustKey,
            Self::Enable => Action::EnableKey,
            Self::Retire => Action::RetireKey,
        }
    }
}

/// The key with the version that signs.
pub(super) fn newest_of(view: &KeyView) -> KeyRef {
    KeyRef { id: view.record.id, version: view.state.newest }
}

/// Which key a request is about, whatever it was called.
pub(super) fn key_hash(view: &KeyView) -> Sha256Digest {
    RequestHash::default().add(view.record.id.as_bytes()).finish()
}

fn change_hash(view: &KeyView, change: Change) -> Sha256Digest {
    let hash = RequestHash::default().add(view.record.id.as_bytes()).add(change.name().as_bytes());
    match change {
        Change::Distrust { reason, since_leaf } => {
            hash.add(reason.name().as_bytes()).add(&since_leaf.to_le_bytes()).finish()
        }
        _ => hash.finish(),
    }
}
