//! The one writer: merges the changes that wait into one write of the store.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock, PoisonError, Weak};

use tokio::sync::{mpsc, oneshot};

use super::anchor::{Anchor, RowSum};
use super::crypto::{Keys, RowMark};
use super::index::{Entry, Index};
use super::mutation::{Draft, Effect, Group, Mutation, Plan, RowChange, Scene};
use super::recheck::Recheck;
use super::stored::Held;
use super::{Inner, LogAnchor, Open, RecordError, Replay, layout, stored};
use crate::store::{Change, Revision, RowKey};

/// The most changes that share one write.
const GROUP_MAX: usize = 256;
/// A group is closed when its values have this many bytes; one change alone may have up to the store's bound.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How many expired answers leave with each write.
const EXPIRED_MAX: usize = 64;

/// A change and who waits for it.
pub(super) struct Waiting {
    pub(super) mutation: Mutation,
    pub(super) anchor: Option<LogAnchor>,
    pub(super) replay: Option<Replay>,
    pub(super) answer: oneshot::Sender<Result<usize, RecordError>>,
}

type Answer = (oneshot::Sender<Result<usize, RecordError>>, Result<usize, RecordError>);

/// Writes until the records are dropped.
pub(super) async fn run(inner: Weak<Inner>, mut inbox: mpsc::Receiver<Waiting>) {
    let mut queue = VecDeque::new();
    loop {
        if queue.is_empty() {
            let Some(first) = inbox.recv().await else { return };
            queue.push_back(first);
        }
        while queue.len() < GROUP_MAX {
            let Ok(next) = inbox.try_recv() else { break };
            queue.push_back(next);
        }
        let Some(inner) = inner.upgrade() else { return };
        let answers = write_group(&inner, &mut queue).await;
        // Whoever drops the records after its answer finds the store free.
        drop(inner);
        for (answer, result) in answers {
            // Who has gone away does not hear.
            let _ = answer.send(result);
        }
    }
}

async fn write_group(inner: &Inner, queue: &mut VecDeque<Waiting>) -> Vec<Answer> {
    // Unsealing waits for the write that is under way, or it would read half of it into a new index.
    let _gate = inner.gate.lock().await;
    let open = match inner.opened() {
        Ok(open) => open,
        Err(sealed) => return queue.drain(..).map(|waiting| (waiting.answer, Err(sealed.clone()))).collect(),
    };
    let (group, mut answers) = merge(inner, &open, queue);
    // A refusal may rest on a change that was not durable when it was made: so nobody is answered before.
    if !(group.rows.is_empty() && group.log.is_empty())
        && let Err(error) = write(inner, &open, group).await
    {
        answers.iter_mut().for_each(|(_, result)| *result = Err(error.clone()));
    }
    answers
}

/// What the merged changes write together.
struct Merged {
    rows: Vec<RowChange>,
    effects: Vec<Effect>,
    log: Vec<LogAnchor>,
}

/// Plans the changes at the head of the queue; those that must wait for this group stay in it, in order.
fn merge(inner: &Inner, open: &Open, queue: &mut VecDeque<Waiting>) -> (Merged, Vec<Answer>) {
    let index = open.index.read().unwrap_or_else(PoisonError::into_inner);
    let (limits, now_unix_ms) = (&inner.limits.replays, inner.clock.now_unix_ms());
    let mut group = Group::default();
    let mut merged = Merged { rows: Vec::new(), effects: Vec::new(), log: Vec::new() };
    let (mut answers, mut later, mut bytes) = (Vec::new(), VecDeque::new(), 0_usize);
    while let Some(waiting) = queue.pop_front() {
        if bytes >= GROUP_BYTES_MAX || waiting.mutation.must_wait(&group) {
            later.push_back(waiting);
            continue;
        }
        let scene = Scene { index: &index, group: &group, keys: &open.keys, limits, now_unix_ms };
        let planned = scene.plan(&waiting.mutation, waiting.replay.as_ref()).and_then(check_bytes);
        let count = planned.map(|(plan, plan_bytes)| {
            group.touch(&plan);
            bytes = bytes.saturating_add(plan_bytes);
            merged.rows.extend(plan.rows);
            merged.effects.extend(plan.effects);
            merged.log.extend(waiting.anchor);
            plan.count
        });
        answers.push((waiting.answer, count));
    }
    *queue = later;
    if !merged.rows.is_empty() {
        for (tag, held) in index.replays.expired(now_unix_ms, limits.keep, EXPIRED_MAX) {
            if !group.has_replay(&tag) {
                merged.rows.push(RowChange::Remove { key: layout::replay(tag), held });
                merged.effects.push(Effect::Forget { tag });
            }
        }
    }
    (merged, answers)
}

/// A change that alone is beyond the bound is refused; the others then still fit beside it.
fn check_bytes(plan: Plan) -> Result<(Plan, usize), RecordError> {
    let bytes = plan.rows.iter().map(|row| match row {
        RowChange::Create { plain, .. } | RowChange::Replace { plain, .. } => plain.len().saturating_add(64),
        RowChange::Remove { .. } => 0,
    });
    let bytes = bytes.sum();
    if bytes > GROUP_BYTES_MAX { Err(RecordError::TooLarge) } else { Ok((plan, bytes)) }
}

async fn write(inner: &Inner, open: &Open, group: Merged) -> Result<(), RecordError> {
    let (mut anchor, anchor_revision) = {
        let index = open.index.read().unwrap_or_else(PoisonError::into_inner);
        (index.anchor, index.anchor_revision)
    };
    anchor.sequence = anchor.sequence.saturating_add(1);
    group.log.iter().for_each(|log| anchor.reach(*log));
    let mut reread = Reread::of(open);
    let (mut changes, marks) = seal_rows(open, group.rows, &mut anchor, &mut reread)?;
    let key = layout::single(layout::ANCHOR);
    let (value, _) = open.keys.seal(&key, anchor.sequence, &stored::encode(&anchor.stored())?)?;
    changes.push(Change::Replace { key, expected: anchor_revision, value });
    let revision = inner.store.write(changes).await?;
    reread.done(open);
    let mut index = open.index.write().unwrap_or_else(PoisonError::into_inner);
    index.anchor = anchor;
    index.anchor_revision = revision;
    let fresh = Fresh { revision, marks };
    group.effects.into_iter().for_each(|effect| apply(&mut index, &fresh, effect));
    Ok(())
}

fn seal_rows(
    open: &Open,
    rows: Vec<RowChange>,
    anchor: &mut Anchor,
    reread: &mut Reread,
) -> Result<(Vec<Change>, HashMap<RowKey, RowMark>), RecordError> {
    let mut changes = Vec::with_capacity(rows.len().saturating_add(1));
    let mut marks = HashMap::with_capacity(rows.len());
    let keys = &open.keys;
    for row in rows {
        match row {
            RowChange::Create { key, plain } => {
                let (value, mark) = keys.seal(&key, anchor.sequence, &plain)?;
                anchor.sum.add(keys, &key, &mark);
                reread.change(keys, &key, None, Some(&mark));
                marks.insert(key.clone(), mark);
                changes.push(Change::Create { key, value });
            }
            RowChange::Replace { key, held, plain } => {
                let (value, mark) = keys.seal(&key, anchor.sequence, &plain)?;
                anchor.sum.subtract(keys, &key, &held.mark);
                anchor.sum.add(keys, &key, &mark);
                reread.change(keys, &key, Some(&held.mark), Some(&mark));
                marks.insert(key.clone(), mark);
                changes.push(Change::Replace { key, expected: held.revision, value });
            }
            RowChange::Remove { key, held } => {
                anchor.sum.subtract(keys, &key, &held.mark);
                reread.change(keys, &key, Some(&held.mark), None);
                changes.push(Change::Remove { key, expected: held.revision });
            }
        }
    }
    Ok((changes, marks))
}

/// What a write does to rows that [`super::recheck`] has read already: the gate is held from the one to the other.
struct Reread {
    last: Option<RowKey>,
    changed: RowSum,
}

impl Reread {
    fn of(open: &Open) -> Self {
        let recheck = open.recheck.lock().unwrap_or_else(PoisonError::into_inner);
        Self { last: recheck.as_ref().and_then(Recheck::last), changed: RowSum::default() }
    }

    fn change(&mut self, keys: &Keys, key: &RowKey, from: Option<&RowMark>, to: Option<&RowMark>) {
        if self.last.as_ref().is_some_and(|last| key <= last) {
            from.into_iter().for_each(|mark| self.changed.subtract(keys, key, mark));
            to.into_iter().for_each(|mark| self.changed.add(keys, key, mark));
        }
    }

    /// The write is durable.
    fn done(self, open: &Open) {
        if let Some(recheck) = open.recheck.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            recheck.join(&self.changed);
        }
    }
}

/// The rows that were just written.
struct Fresh {
    revision: Revision,
    marks: HashMap<RowKey, RowMark>,
}

impl Fresh {
    fn held(&self, key: &RowKey) -> Option<Held> {
        self.marks.get(key).map(|mark| Held { revision: self.revision, mark: *mark })
    }
}

fn apply(index: &mut Index, fresh: &Fresh, effect: Effect) {
    match effect {
        Effect::Forget { tag } => index.replays.forget(&tag),
        Effect::Head(draft) => {
            if let Some(held) = fresh.held(&layout::head(draft.hash)) {
                index.published.heads.insert(draft.hash, draft.head.slot(held));
                index.published.last_change = index.published.last_change.saturating_add(u64::from(draft.is_change));
            }
        }
        Effect::Key(draft) => {
            let old = index.entry(draft.record.id).cloned();
            if let Some(entry) = settle(draft, old.as_deref(), fresh) {
                index.put(Arc::new(entry));
            }
        }
        Effect::LogKey(log_key) => {
            if let Some(held) = fresh.held(&layout::single(layout::LOG)) {
                index.log_key = Some((log_key, held));
            }
        }
        Effect::Replay { tag, slot, .. } => {
            if let Some(held) = fresh.held(&layout::replay(tag)) {
                index.replays.put(tag, slot, held);
            }
        }
    }
}

/// Gives every row of a key the place where it lies now. Every row was written just now or is an old one, so that
/// there always is an answer.
fn settle(draft: Draft, old: Option<&Entry>, fresh: &Fresh) -> Option<Entry> {
    let id = draft.record.id;
    let state_row = fresh.held(&layout::state(id)).or_else(|| old.map(|old| old.state_row))?;
    let numbers = std::iter::successors(Some(trust::KeyVersion::FIRST), |version| version.next());
    let versions = draft.versions.into_iter().zip(numbers).enumerate().map(|(at, (version, number))| {
        let key = trust::KeyRef { id, version: number };
        let before = old.and_then(|old| old.versions.get(at)).map(|(_, held)| *held);
        fresh.held(&layout::version(key)).or(before).map(|held| (version, held))
    });
    let versions = versions.collect::<Option<Vec<_>>>()?;
    Some(Entry { record: draft.record, state: draft.state, state_row, versions, parsed: OnceLock::new() })
}
