//! What may be changed, and which rows a change writes. Pure: the writer seals and writes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use trust::{KeyId, KeyName, KeyRef, KeyVersion, Sha256Digest, Trust, Use};
use trust_hsm::Material;

use super::crypto::Keys;
use super::index::{Entry, Index};
use super::published::{HeadDraft, Publishing};
use super::replay::{ReplayLimits, Slot};
use super::stored::{self, Held, StoredKey, StoredLogKey, StoredState, Version};
use super::{KeyRecord, KeyState, LogKey, RecordError, Replay, StateChange, VersionRecord, layout};
use crate::store::RowKey;

/// One change, as a caller asked for it.
pub(super) enum Mutation {
    AddVersion { expected_epoch: u64, version: VersionRecord },
    AnswerAgain { tag: [u8; 32], replay: Box<Replay> },
    CreateKey { record: Arc<KeyRecord>, first: VersionRecord },
    FinishShred { ids: Vec<KeyId> },
    ForgetObject { key: KeyRef },
    KeepChunks { rows: Vec<(RowKey, Vec<u8>)> },
    Nothing,
    Publish(Box<Publishing>),
    ReplaceLogMaterial { material: Material },
    ReplaceMaterials { items: Vec<(KeyRef, Vec<Material>)> },
    SetLogKey { log_key: LogKey },
    SetState { id: KeyId, expected_epoch: u64, to: StateChange },
}

/// A row to be written, not yet sealed.
pub(super) enum RowChange {
    Create { key: RowKey, plain: Vec<u8> },
    Replace { key: RowKey, held: Held, plain: Vec<u8> },
    Remove { key: RowKey, held: Held },
}

/// What the index learns once the rows are durable.
pub(super) enum Effect {
    Forget { tag: [u8; 32] },
    Head(Box<HeadDraft>),
    Key(Draft),
    LogKey(LogKey),
    Replay { tag: [u8; 32], slot: Slot, is_new: bool },
}

/// A key as it will be.
pub(super) struct Draft {
    pub(super) record: Arc<KeyRecord>,
    pub(super) state: KeyState,
    pub(super) versions: Vec<Version>,
}

/// What one change writes.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) rows: Vec<RowChange>,
    pub(super) effects: Vec<Effect>,
    pub(super) count: usize,
}

/// What the changes that are merged so far have touched.
#[derive(Default)]
pub(super) struct Group {
    ids: HashSet<KeyId>,
    names: HashSet<KeyName>,
    public_keys: HashMap<Sha256Digest, KeyRef>,
    replays: HashSet<[u8; 32]>,
    pub(super) slots: Vec<Slot>,
    log_key: bool,
    heads: HashSet<[u8; 32]>,
    changes: u64,
}

/// The state of the records against which a change is planned.
pub(super) struct Scene<'a> {
    pub(super) index: &'a Index,
    pub(super) group: &'a Group,
    pub(super) keys: &'a Keys,
    pub(super) limits: &'a ReplayLimits,
    pub(super) now_unix_ms: u64,
}

impl Mutation {
    /// Whether it changes what an earlier change of the group does: it then waits for the next group, because a row
    /// is written once in a group.
    pub(super) fn must_wait(&self, group: &Group) -> bool {
        match self {
            Self::AddVersion { version, .. } => group.ids.contains(&version.key.id),
            Self::AnswerAgain { tag, .. } => group.has_replay(tag),
            Self::CreateKey { record, .. } => group.ids.contains(&record.id),
            Self::ForgetObject { key } => group.ids.contains(&key.id),
            Self::FinishShred { ids } => ids.iter().any(|id| group.ids.contains(id)),
            Self::KeepChunks { .. } | Self::Nothing => false,
            Self::Publish(publishing) => group.heads.contains(&publishing.hash),
            Self::ReplaceLogMaterial { .. } | Self::SetLogKey { .. } => group.log_key,
            Self::ReplaceMaterials { items } => items.iter().any(|(key, _)| group.ids.contains(&key.id)),
            Self::SetState { id, .. } => group.ids.contains(id),
        }
    }
}

impl Scene<'_> {
    pub(super) fn plan(&self, mutation: &Mutation, replay: Option<&Replay>) -> Result<Plan, RecordError> {
        let mut plan = match mutation {
            Mutation::AddVersion { expected_epoch, version } => self.add_version(*expected_epoch, version)?,
            Mutation::AnswerAgain { tag, replay } => self.answer_again(*tag, replay)?,
            Mutation::CreateKey { record, first } => self.create_key(record, first)?,
            Mutation::ForgetObject { key } => self.forget_object(*key)?,
            Mutation::FinishShred { ids } => self.finish_shred(ids)?,
            Mutation::KeepChunks { rows } => Self::keep_chunks(rows),
            Mutation::Nothing => Plan::default(),
            Mutation::Publish(publishing) => self.publish(publishing)?,
            Mutation::ReplaceLogMaterial { material } => self.replace_log_material(material)?,
            Mutation::ReplaceMaterials { items } => self.replace_materials(items)?,
            Mutation::SetLogKey { log_key } => self.set_log_key(log_key)?,
            Mutation::SetState { id, expected_epoch, to } => self.set_state(*id, *expected_epoch, to)?,
        };
        if let Some(replay) = replay {
            self.keep(replay, &mut plan)?;
        }
        Ok(plan)
    }

    fn create_key(&self, record: &Arc<KeyRecord>, first: &VersionRecord) -> Result<Plan, RecordError> {
        let key = KeyRef { id: record.id, version: KeyVersion::FIRST };
        if first.key != key || first.public_key.algorithm() != record.algorithm {
            return Err(RecordError::Refused { why: "the first version is not of this key and algorithm" });
        }
        if self.group.names.contains(&record.name) || self.index.by_name(&record.name).is_some() {
            return Err(RecordError::NameTaken);
        }
        if self.index.entry(record.id).is_some() {
            return Err(RecordError::Refused { why: "the key id is in use" });
        }
        let spki = self.check_public_key(first)?;
        let newest = KeyVersion::FIRST;
        let state = KeyState { use_: Use::Active, trust: Trust::Trusted, epoch: 1, newest, shred_pending: false };
        let version = compact(first);
        let rows = vec![
            create(layout::name(self.keys, &record.name), record.id.as_bytes().to_vec()),
            create(layout::public(self.keys, spki), layout::key_ref_bytes(key).to_vec()),
            create(layout::key(record.id), StoredKey::encode(record)?),
            create(layout::version(key), version.encode()?),
            create(layout::state(record.id), stored::encode(&StoredState::of(&state))?),
        ];
        let draft = Draft { record: Arc::clone(record), state, versions: vec![version] };
        Ok(Plan { rows, effects: vec![Effect::Key(draft)], count: 1 })
    }

    fn add_version(&self, expected_epoch: u64, version: &VersionRecord) -> Result<Plan, RecordError> {
        let entry = self.index.entry(version.key.id).ok_or(RecordError::Missing)?;
        if entry.state.epoch != expected_epoch || entry.state.newest.next() != Some(version.key.version) {
            return Err(RecordError::Moved);
        }
        if entry.state.use_ != Use::Active {
            return Err(RecordError::Refused { why: "only an active key gets another version" });
        }
        if version.public_key.algorithm() != entry.record.algorithm {
            return Err(RecordError::Refused { why: "the version is not of the key's algorithm" });
        }
        let spki = self.check_public_key(version)?;
        let mut draft = draft_of(entry);
        draft.state.newest = version.key.version;
        draft.state.epoch = draft.state.epoch.saturating_add(1);
        let compact = compact(version);
        let rows = vec![
            create(layout::public(self.keys, spki), layout::key_ref_bytes(version.key).to_vec()),
            create(layout::version(version.key), compact.encode()?),
            state_row(entry, &draft.state)?,
        ];
        draft.versions.push(compact);
        Ok(Plan { rows, effects: vec![Effect::Key(draft)], count: 1 })
    }

    fn set_state(&self, id: KeyId, expected_epoch: u64, to: &StateChange) -> Result<Plan, RecordError> {
        let entry = self.index.entry(id).ok_or(RecordError::Missing)?;
        if entry.state.epoch != expected_epoch {
            return Err(RecordError::Moved);
        }
        entry.state.check_change(to)?;
        let mut draft = draft_of(entry);
        let was = draft.state.use_;
        draft.state.use_ = to.use_;
        draft.state.trust = to.trust.clone();
        draft.state.epoch = draft.state.epoch.saturating_add(1);
        let mut rows = Vec::new();
        if to.use_ == Use::Destroyed && was != Use::Destroyed {
            // What a token has is no secret: it stays named until its object is gone, too.
            let stays = |material: &Material| matches!(material, Material::Token(_));
            for ((key, _, held), version) in entry.numbered().zip(&mut draft.versions) {
                if !version.materials.iter().all(stays) {
                    draft.state.shred_pending = true;
                    version.materials.retain(stays);
                    rows.push(RowChange::Replace { key: layout::version(key), held: *held, plain: version.encode()? });
                }
            }
        }
        rows.push(state_row(entry, &draft.state)?);
        Ok(Plan { rows, effects: vec![Effect::Key(draft)], count: 1 })
    }

    fn forget_object(&self, key: KeyRef) -> Result<Plan, RecordError> {
        let entry = self.index.entry(key.id).ok_or(RecordError::Missing)?;
        if entry.state.use_ != Use::Destroyed {
            return Err(RecordError::Refused { why: "only a destroyed key forgets its place" });
        }
        // Not a change of what the key may do: the epoch stays.
        let mut draft = draft_of(entry);
        let mut plan = Plan::default();
        for ((numbered, _, held), version) in entry.numbered().zip(&mut draft.versions) {
            if numbered == key && !version.materials.is_empty() {
                version.materials.clear();
                plan.rows.push(RowChange::Replace { key: layout::version(key), held: *held, plain: version.encode()? });
                plan.count = 1;
            }
        }
        if plan.count > 0 {
            plan.effects.push(Effect::Key(draft));
        }
        Ok(plan)
    }

    fn finish_shred(&self, ids: &[KeyId]) -> Result<Plan, RecordError> {
        let mut plan = Plan::default();
        for id in ids.iter().collect::<HashSet<_>>() {
            let entry = self.index.entry(*id).ok_or(RecordError::Missing)?;
            if !entry.state.shred_pending {
                continue;
            }
            let mut draft = draft_of(entry);
            // Not a change of what the key may do: the epoch stays.
            draft.state.shred_pending = false;
            plan.rows.push(state_row(entry, &draft.state)?);
            plan.effects.push(Effect::Key(draft));
            plan.count = plan.count.saturating_add(1);
        }
        Ok(plan)
    }

    fn replace_materials(&self, items: &[(KeyRef, Vec<Material>)]) -> Result<Plan, RecordError> {
        let mut plan = Plan::default();
        let mut drafts: HashMap<KeyId, Draft> = HashMap::new();
        let mut seen = HashSet::new();
        for (key, materials) in items.iter().filter(|(key, _)| seen.insert(*key)) {
            let entry = self.index.entry(key.id).ok_or(RecordError::Missing)?;
            let (at, held, version) = entry
                .numbered()
                .enumerate()
                .find(|(_, (numbered, ..))| numbered == key)
                .map(|(at, (_, version, held))| (at, held, version))
                .ok_or(RecordError::Missing)?;
            // Destroyed since the page was read: it stays destroyed.
            if version.materials.is_empty() || materials.is_empty() {
                continue;
            }
            let draft = drafts.entry(key.id).or_insert_with(|| draft_of(entry));
            let rewrapped = Version { materials: materials.clone(), ..version.clone() };
            plan.rows.push(RowChange::Replace { key: layout::version(*key), held: *held, plain: rewrapped.encode()? });
            if let Some(slot) = draft.versions.get_mut(at) {
                *slot = rewrapped;
            }
            plan.count = plan.count.saturating_add(1);
        }
        plan.effects.extend(drafts.into_values().map(Effect::Key));
        Ok(plan)
    }

    fn set_log_key(&self, log_key: &LogKey) -> Result<Plan, RecordError> {
        if self.index.log_key.is_some() {
            return Err(RecordError::NameTaken);
        }
        let rows = vec![create(layout::single(layout::LOG), stored::encode(&StoredLogKey::of(log_key)?)?)];
        Ok(Plan { rows, effects: vec![Effect::LogKey(log_key.clone())], count: 1 })
    }

    fn replace_log_material(&self, material: &Material) -> Result<Plan, RecordError> {
        let (log_key, held) = self.index.log_key.as_ref().ok_or(RecordError::Missing)?;
        let log_key = LogKey { material: material.clone(), ..log_key.clone() };
        let plain = stored::encode(&StoredLogKey::of(&log_key)?)?;
        let rows = vec![RowChange::Replace { key: layout::single(layout::LOG), held: *held, plain }];
        Ok(Plan { rows, effects: vec![Effect::LogKey(log_key)], count: 1 })
    }

    /// A public key exists once in the whole store (D6).
    fn check_public_key(&self, version: &VersionRecord) -> Result<Sha256Digest, RecordError> {
        let spki = version.public_key.spki_sha256();
        let in_group = self.group.public_keys.get(&spki).copied();
        match in_group.or_else(|| self.index.by_public_key(spki)) {
            Some(key) => Err(RecordError::PublicKeyTaken { key }),
            None => Ok(spki),
        }
    }
}

impl Group {
    /// Notes what a planned change touches.
    pub(super) fn touch(&mut self, plan: &Plan) {
        for effect in &plan.effects {
            match effect {
                Effect::Forget { tag } => {
                    self.replays.insert(*tag);
                }
                Effect::Head(draft) => {
                    self.heads.insert(draft.hash);
                    self.changes = self.changes.saturating_add(u64::from(draft.is_change));
                }
                Effect::Key(draft) => {
                    self.ids.insert(draft.record.id);
                    self.names.insert(draft.record.name.clone());
                    let id = draft.record.id;
                    if let Some(version) = draft.versions.last() {
                        let key = KeyRef { id, version: draft.state.newest };
                        self.public_keys.insert(Sha256Digest::of(&version.spki_der), key);
                    }
                }
                Effect::LogKey(_) => self.log_key = true,
                Effect::Replay { tag, slot, is_new } => {
                    self.replays.insert(*tag);
                    self.slots.extend(is_new.then_some(*slot));
                }
            }
        }
    }

    /// How many changes of published trust data are written already.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether a row of this answer is written already.
    pub(super) fn has_replay(&self, tag: &[u8; 32]) -> bool {
        self.replays.contains(tag)
    }
}

pub(super) fn create(key: RowKey, plain: Vec<u8>) -> RowChange {
    RowChange::Create { key, plain }
}

fn state_row(entry: &Entry, state: &KeyState) -> Result<RowChange, RecordError> {
    let plain = stored::encode(&StoredState::of(state))?;
    Ok(RowChange::Replace { key: layout::state(entry.record.id), held: entry.state_row, plain })
}

fn draft_of(entry: &Entry) -> Draft {
    Draft {
        record: Arc::clone(&entry.record),
        state: entry.state.clone(),
        versions: entry.versions.iter().map(|(version, _)| version.clone()).collect(),
    }
}

fn compact(version: &VersionRecord) -> Version {
    Version {
        spki_der: version.public_key.spki_der().into(),
        materials: version.materials.clone(),
        created_at_unix_seconds: version.created_at_unix_seconds,
        leaf: version.leaf,
        origin: version.origin,
    }
}
