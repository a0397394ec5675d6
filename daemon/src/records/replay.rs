//! Idempotency (D14): the answer to a request, kept so that the same request gets it again.
//!
//! Kept for a day, bounded for each principal and in all; an answer that belongs to a change is written with it.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trust::{Principal, Sha256Digest};

use super::crypto::Keys;
use super::mutation::{Effect, Plan, RowChange, Scene, create};
use super::stored::Held;
use super::{Inner, Open, RecordError, layout, stored};

/// Bounds of what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplayLimits {
    /// How long an answer is kept.
    pub(crate) keep: Duration,
    /// The most answers kept for one principal.
    pub(crate) per_principal_max: usize,
    /// The most answers kept in all.
    pub(crate) total_max: usize,
}

impl Default for ReplayLimits {
    fn default() -> Self {
        Self { keep: Duration::from_hours(24), per_principal_max: 16_384, total_max: 65_536 }
    }
}

/// An answer to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replay {
    /// Who asked.
    pub(crate) principal: Principal,
    /// What was called: `trust.v1.Keys/CreateKey`.
    pub(crate) method: String,
    /// The caller's idempotency key.
    pub(crate) key: String,
    /// Hash of the request.
    pub(crate) request_hash: Sha256Digest,
    /// The answer, at most [`Replay::RESPONSE_BYTES_MAX`] bytes.
    pub(crate) response: Vec<u8>,
}

impl Replay {
    /// The longest answer that is kept, in bytes.
    pub(crate) const RESPONSE_BYTES_MAX: usize = 500 * 1024;
}

/// An answer that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredReplay {
    /// Hash of the request that was answered: another one under the same key is a conflict.
    pub(crate) request_hash: Sha256Digest,
    /// The answer.
    pub(crate) response: Vec<u8>,
}

/// The row of an answer. Borrowed: what is read of it lies in a buffer that is wiped.
#[derive(Serialize, Deserialize)]
struct StoredRow<'a> {
    principal: [u8; 16],
    made_at_unix_ms: u64,
    request_hash: [u8; 32],
    response: &'a [u8],
}

/// What the index keeps of an answer.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Slot {
    principal: [u8; 16],
    made_at_unix_ms: u64,
}

/// The answers that are kept, without their contents.
#[derive(Debug, Default)]
pub(super) struct Replays {
    slots: HashMap<[u8; 32], (Slot, Held)>,
    by_age: BTreeSet<(u64, [u8; 32])>,
    per_principal: HashMap<[u8; 16], usize>,
}

impl Slot {
    pub(super) fn of(keys: &Keys, replay: &Replay, now_unix_ms: u64) -> Self {
        let hash = keys.hash_name(b'P', &[replay.principal.to_string().as_bytes()]);
        let mut principal = [0; 16];
        principal.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        Self { principal, made_at_unix_ms: now_unix_ms }
    }

    pub(super) fn encode(&self, replay: &Replay) -> Result<Vec<u8>, RecordError> {
        stored::encode(&StoredRow {
            principal: self.principal,
            made_at_unix_ms: self.made_at_unix_ms,
            request_hash: *replay.request_hash.as_bytes(),
            response: &replay.response,
        })
    }

    pub(super) fn decode(plain: &[u8]) -> Option<Self> {
        let row: StoredRow<'_> = stored::decode(plain)?;
        Some(Self { principal: row.principal, made_at_unix_ms: row.made_at_unix_ms })
    }
}

/// The name of the row of this answer.
pub(super) fn tag_of(keys: &Keys, replay: &Replay) -> [u8; 32] {
    tag(keys, &replay.principal, &replay.method, &replay.key)
}

/// The name of an answer's row.
pub(super) fn tag(keys: &Keys, principal: &Principal, method: &str, key: &str) -> [u8; 32] {
    let principal = principal.to_string();
    keys.hash_name(layout::REPLAY, &[principal.as_bytes(), method.as_bytes(), key.as_bytes()])
}

impl Replays {
    pub(super) fn put(&mut self, tag: [u8; 32], slot: Slot, held: Held) {
        self.forget(&tag);
        self.by_age.insert((slot.made_at_unix_ms, tag));
        *self.per_principal.entry(slot.principal).or_default() += 1;
        self.slots.insert(tag, (slot, held));
    }

    pub(super) fn forget(&mut self, tag: &[u8; 32]) {
        let Some((slot, _)) = self.slots.remove(tag) else { return };
        self.by_age.remove(&(slot.made_at_unix_ms, *tag));
        if let Some(count) = self.per_principal.get_mut(&slot.principal) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.per_principal.remove(&slot.principal);
            }
        }
    }

    /// The row of an answer, expired ones too.
    pub(super) fn held(&self, tag: &[u8; 32]) -> Option<(Held, u64)> {
        self.slots.get(tag).map(|(slot, held)| (*held, slot.made_at_unix_ms))
    }

    /// Whether one more answer fits, when `pending` others are being written.
    pub(super) fn has_room(&self, slot: &Slot, pending: &[Slot], limits: &ReplayLimits) -> bool {
        let of_principal = self.per_principal.get(&slot.principal).copied().unwrap_or_default();
        let pending_of_principal = pending.iter().filter(|other| other.principal == slot.principal).count();
        of_principal.saturating_add(pending_of_principal) < limits.per_principal_max
            && self.slots.len().saturating_add(pending.len()) < limits.total_max
    }

    /// Every answer that is kept, expired ones too.
    pub(super) fn all(&self) -> Vec<([u8; 32], Slot, Held)> {
        self.slots.iter().map(|(tag, (slot, held))| (*tag, *slot, *held)).collect()
    }

    /// The oldest answers that have expired, at most `limit`.
    pub(super) fn expired(&self, now_unix_ms: u64, keep: Duration, limit: usize) -> Vec<([u8; 32], Held)> {
        let old = self.by_age.iter().take_while(|(made, _)| is_expired(*made, now_unix_ms, keep)).take(limit);
        old.filter_map(|(_, tag)| self.slots.get(tag).map(|(_, held)| (*tag, *held))).collect()
    }
}

impl Scene<'_> {
    /// Keeps an answer under a key that has none.
    pub(super) fn keep(&self, replay: &Replay, plan: &mut Plan) -> Result<(), RecordError> {
        let tag = tag_of(self.keys, replay);
        let is_kept = self.index.replays.held(&tag).is_some_and(|(_, made)| !self.is_expired(made));
        if is_kept { Err(RecordError::ReplayTaken) } else { self.put(tag, replay, plan) }
    }

    /// Keeps an answer in the place of whatever is kept under its key.
    pub(super) fn answer_again(&self, tag: [u8; 32], replay: &Replay) -> Result<Plan, RecordError> {
        let mut plan = Plan::default();
        self.put(tag, replay, &mut plan)?;
        Ok(plan)
    }

    fn put(&self, tag: [u8; 32], replay: &Replay, plan: &mut Plan) -> Result<(), RecordError> {
        if replay.response.len() > Replay::RESPONSE_BYTES_MAX {
            return Err(RecordError::TooLarge);
        }
        if self.group.has_replay(&tag) {
            return Err(RecordError::ReplayTaken);
        }
        let slot = Slot::of(self.keys, replay, self.now_unix_ms);
        let (key, plain) = (layout::replay(tag), slot.encode(replay)?);
        let before = self.index.replays.held(&tag);
        let is_new = before.is_none();
        if is_new && !self.index.replays.has_room(&slot, &self.group.slots, self.limits) {
            return Err(RecordError::ReplaysFull);
        }
        plan.rows.push(match before {
            None => create(key, plain),
            Some((held, _)) => RowChange::Replace { key, held, plain },
        });
        plan.effects.push(Effect::Replay { tag, slot, is_new });
        Ok(())
    }

    fn is_expired(&self, made_at_unix_ms: u64) -> bool {
        is_expired(made_at_unix_ms, self.now_unix_ms, self.limits.keep)
    }
}

/// A clock that was set back does not expire anything.
pub(super) fn is_expired(made_at_unix_ms: u64, now_unix_ms: u64, keep: Duration) -> bool {
    u128::from(now_unix_ms.saturating_sub(made_at_unix_ms)) >= keep.as_millis()
}

/// Reads an answer from the store.
pub(super) async fn find(
    inner: &Inner,
    open: &Open,
    principal: &Principal,
    method: &str,
    key: &str,
) -> Result<Option<StoredReplay>, RecordError> {
    let tag = tag(&open.keys, principal, method, key);
    let held = open.index.read().unwrap_or_else(std::sync::PoisonError::into_inner).replays.held(&tag);
    let Some((held, made)) = held else { return Ok(None) };
    if is_expired(made, inner.clock.now_unix_ms(), inner.limits.replays.keep) {
        return Ok(None);
    }
    let row_key = layout::replay(tag);
    // Gone since: it has expired.
    let Some(row) = inner.store.fetch(&row_key).await? else { return Ok(None) };
    let damaged = || RecordError::damaged(format!("{} does not open", layout::describe(&row_key)));
    let (plain, mark) = open.keys.open(&row_key, row.value).ok_or_else(damaged)?;
    if mark != held.mark {
        return Err(RecordError::damaged(format!("{} is an older one", layout::describe(&row_key))));
    }
    let stored: StoredRow<'_> = stored::decode(&plain).ok_or_else(damaged)?;
    let request_hash = Sha256Digest::from_bytes(stored.request_hash);
    Ok(Some(StoredReplay { request_hash, response: stored.response.to_vec() }))
}
