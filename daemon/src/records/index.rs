//! Keys in memory: by id, by name, by public key, by scope.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use trust::format::tuf::{self, Gun};
use trust::{
    Algorithm, KeyId, KeyName, KeyRef, KeyVersion, PublicKey, Purpose, Repository, Scope, Sha256Digest, Trust, Use,
};
use trust_hsm::{Material, TokenName};

use super::anchor::Anchor;
use super::published::Published;
use super::replay::Replays;
use super::saved::Taken;
use super::stored::{Held, Version};
use super::{KeyRecord, KeyState, KeyView, LogKey, Provenance, RecordError, SealedVersion, VersionRecord};
use crate::store::Revision;

/// No id is less, and none greater.
const FIRST_ID: KeyId = KeyId::from_bytes([0; 16]);
const LAST_ID: KeyId = KeyId::from_bytes([255; 16]);
/// Keys that are looked at while nobody can write, at most: below a millisecond.
const SCAN_MAX: usize = 4096;

/// One key. Never changes: a change puts another in its place.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Arc<KeyRecord>,
    pub(super) state: KeyState,
    pub(super) state_row: Held,
    /// From the first to the newest, each with its row.
    pub(super) versions: Vec<(Version, Held)>,
    pub(super) parsed: OnceLock<Arc<Vec<VersionRecord>>>,
}

impl Entry {
    /// The key for callers. Public keys are parsed once: at start-up that would cost seconds for 100,000 keys.
    pub(super) fn view(&self) -> Result<KeyView, RecordError> {
        let versions = match self.parsed.get() {
            Some(parsed) => Arc::clone(parsed),
            None => {
                let parsed = Arc::new(self.parse()?);
                Arc::clone(self.parsed.get_or_init(|| parsed))
            }
        };
        Ok(KeyView { record: Arc::clone(&self.record), state: self.state.clone(), versions })
    }

    /// Each version with its number.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (KeyRef, &Version, &Held)> {
        let id = self.record.id;
        let numbers = std::iter::successors(Some(KeyVersion::FIRST), |version| version.next());
        numbers.zip(&self.versions).map(move |(version, (stored, held))| (KeyRef { id, version }, stored, held))
    }

    /// Whether this is one of the materials of the version as they are now.
    pub(super) fn has_material(&self, version: KeyVersion, material: &Material) -> bool {
        let at = usize::try_from(version.number()).ok().and_then(|number| number.checked_sub(1));
        at.and_then(|at| self.versions.get(at)).is_some_and(|(version, _)| version.materials.contains(material))
    }

    /// Whether signatures of it count, as ones of this purpose.
    fn counts_for(&self, purpose: Purpose) -> bool {
        self.record.purpose == purpose && self.state.trust == Trust::Trusted
    }

    /// Whether it is destroyed, or will be unless somebody objects.
    fn has_ended(&self) -> bool {
        matches!(self.state.use_, Use::DestroyScheduled { .. } | Use::Destroyed)
    }

    /// Whether it is destroyed, and a token may still have its objects.
    fn object_pending(&self) -> bool {
        self.state.use_ == Use::Destroyed && self.versions.iter().any(|(version, _)| !version.materials.is_empty())
    }

    fn parse(&self) -> Result<Vec<VersionRecord>, RecordError> {
        self.numbered().map(|(key, version, _)| parse_version(&self.record, key, version)).collect()
    }
}

fn parse_version(record: &KeyRecord, key: KeyRef, version: &Version) -> Result<VersionRecord, RecordError> {
    let public_key = PublicKey::from_spki_der(record.algorithm, &version.spki_der)
        .map_err(|malformed| RecordError::damaged(format!("public key of {key}: {malformed}")))?;
    Ok(VersionRecord {
        key,
        public_key,
        materials: version.materials.clone(),
        created_at_unix_seconds: version.created_at_unix_seconds,
        leaf: version.leaf,
        origin: version.origin,
    })
}

/// Everything that was read at unseal and changed since.
pub(super) struct Index {
    pub(super) anchor: Anchor,
    pub(super) anchor_revision: Revision,
    pub(super) log_key: Option<(LogKey, Held)>,
    pub(super) provenance: Option<Provenance>,
    pub(super) published: Published,
    pub(super) replays: Replays,
    entries: BTreeMap<KeyId, Arc<Entry>>,
    names: BTreeMap<KeyName, KeyId>,
    public_keys: HashMap<Sha256Digest, KeyRef>,
    /// The start of the hash of each word of a scope, with the keys that have it: 32 bytes, where 100,000 sets of
    /// texts would take 50 MB. Whoever is found by it is asked again whether it covers the repository.
    scopes: BTreeSet<([u8; 16], KeyId)>,
    shred_pending: BTreeSet<KeyId>,
    object_pending: BTreeSet<KeyId>,
    /// How many keys are for trust data.
    trust_keys: usize,
    /// How many of them have ended.
    ended_trust_keys: usize,
    /// Their versions, by the ids that metadata has.
    trust_ids: HashMap<Sha256Digest, KeyRef>,
}

impl Index {
    pub(super) fn new(anchor: Anchor, anchor_revision: Revision) -> Self {
        Self {
            anchor,
            anchor_revision,
            log_key: None,
            provenance: None,
            published: Published::default(),
            replays: Replays::default(),
            entries: BTreeMap::new(),
            names: BTreeMap::new(),
            public_keys: HashMap::new(),
            scopes: BTreeSet::new(),
            shred_pending: BTreeSet::new(),
            object_pending: BTreeSet::new(),
            trust_keys: 0,
            ended_trust_keys: 0,
            trust_ids: HashMap::new(),
        }
    }

    /// Puts a key in, or in the place of its older self.
    pub(super) fn put(&mut self, entry: Arc<Entry>) {
        let id = entry.record.id;
        for (key, version, _) in entry.numbered() {
            self.public_keys.insert(Sha256Digest::of(&version.spki_der), key);
            if entry.record.purpose.is_of_trust_data()
                && let Some(id) = trust_id(entry.record.algorithm, &version.spki_der)
            {
                self.trust_ids.insert(id, key);
            }
        }
        if entry.state.shred_pending {
            self.shred_pending.insert(id);
        } else {
            self.shred_pending.remove(&id);
        }
        if entry.object_pending() {
            self.object_pending.insert(id);
        } else {
            self.object_pending.remove(&id);
        }
        let older = self.entries.get(&id);
        if entry.record.purpose.is_of_trust_data() {
            let had_ended = usize::from(older.is_some_and(|older| older.has_ended()));
            let has_ended = usize::from(entry.has_ended());
            self.trust_keys = self.trust_keys.saturating_add(usize::from(older.is_none()));
            self.ended_trust_keys = self.ended_trust_keys.saturating_add(has_ended).saturating_sub(had_ended);
        }
        if older.is_none() {
            self.names.insert(entry.record.name.clone(), id);
            for word in entry.record.scope.words() {
                self.scopes.insert((word_hash(&word), id));
            }
        }
        self.entries.insert(id, entry);
    }

    pub(super) fn key_count(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entry(&self, id: KeyId) -> Option<&Arc<Entry>> {
        self.entries.get(&id)
    }

    pub(super) fn by_name(&self, name: &KeyName) -> Option<&Arc<Entry>> {
        self.entries.get(self.names.get(name)?)
    }

    pub(super) fn by_public_key(&self, spki: Sha256Digest) -> Option<KeyRef> {
        self.public_keys.get(&spki).copied()
    }

    pub(super) fn list(&self, after: Option<&KeyName>, limit: usize) -> Vec<Arc<Entry>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let ids = self.names.range::<KeyName, _>((from, Bound::Unbounded)).map(|(_, id)| id);
        ids.filter_map(|id| self.entries.get(id)).take(limit).cloned().collect()
    }

    /// A repository is covered by its own name and by every prefix of it followed by `/*`: look those up. In the order of
    /// their ids, those after `after`.
    pub(super) fn trusted_for(
        &self,
        repository: &Repository,
        purpose: Purpose,
        after: Option<KeyId>,
        limit: usize,
    ) -> Vec<Arc<Entry>> {
        let text = repository.as_str();
        let below = text.match_indices('/').filter_map(|(at, _)| text.get(..at)).map(|prefix| format!("{prefix}/*"));
        let patterns = below.chain(std::iter::once(text.to_owned()));
        let counts = |entry: &&Arc<Entry>| entry.counts_for(purpose) && entry.record.scope.covers(repository);
        let mut found = BTreeMap::new();
        for hash in patterns.map(|pattern| word_hash(&pattern)) {
            let from = after.map_or(Bound::Included((hash, FIRST_ID)), |after| Bound::Excluded((hash, after)));
            let ids = self.scopes.range((from, Bound::Included((hash, LAST_ID)))).map(|(_, id)| id);
            let entries = ids.filter_map(|id| self.entries.get(id)).filter(counts).take(limit);
            found.extend(entries.map(|entry| (entry.record.id, entry)));
        }
        found.into_values().take(limit).cloned().collect()
    }

    /// Of the next `SCAN_MAX` keys, those without scope whose signatures count, at most `limit`; and after which key to go
    /// on, `None` at the end.
    pub(super) fn trusted_unbound(
        &self,
        purpose: Purpose,
        after: Option<KeyId>,
        limit: usize,
    ) -> (Vec<Arc<Entry>>, Option<KeyId>) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut found, mut seen) = (Vec::new(), 0);
        for (id, entry) in self.entries.range((from, Bound::Unbounded)) {
            if entry.counts_for(purpose) && entry.record.scope == Scope::Unbound {
                found.push(Arc::clone(entry));
            }
            seen += 1;
            if found.len() >= limit || seen >= SCAN_MAX {
                return (found, Some(*id));
            }
        }
        (found, None)
    }

    /// The keys of this purpose for a repository of trust data, the oldest first.
    pub(super) fn of_gun(&self, gun: &Gun, purpose: Purpose) -> Vec<Arc<Entry>> {
        let hash = word_hash(gun.as_str());
        let found = self.scopes.range((hash, FIRST_ID)..=(hash, LAST_ID)).filter_map(|(_, id)| self.entries.get(id));
        let is_of = |entry: &&Arc<Entry>| entry.record.purpose == purpose && entry.record.scope.covers_gun(gun);
        let mut entries: Vec<Arc<Entry>> = found.filter(is_of).cloned().collect();
        entries.sort_by_key(|entry| (entry.record.created_at_unix_seconds, entry.record.id));
        entries
    }

    /// The key for trust data that metadata knows by this id.
    pub(super) fn by_trust_id(&self, id: Sha256Digest) -> Option<(KeyRef, &Arc<Entry>)> {
        let key = self.trust_ids.get(&id)?;
        Some((*key, self.entries.get(&key.id)?))
    }

    /// How many keys are for trust data, and how many of them have not ended.
    pub(super) const fn trust_key_count(&self) -> (usize, usize) {
        (self.trust_keys, self.trust_keys.saturating_sub(self.ended_trust_keys))
    }

    pub(super) fn sealed_versions(
        &self,
        after: Option<KeyRef>,
        limit: usize,
    ) -> Result<Vec<SealedVersion>, RecordError> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Included(after.id));
        let versions = self
            .entries
            .range((from, Bound::Unbounded))
            .flat_map(|(_, entry)| entry.numbered().map(move |(key, version, _)| (entry, key, version)));
        versions
            .filter(|(_, key, version)| after.is_none_or(|after| *key > after) && !version.materials.is_empty())
            .take(limit)
            .map(|(entry, key, version)| {
                let record = Arc::clone(&entry.record);
                parse_version(&record, key, version).map(|version| SealedVersion { record, version })
            })
            .collect()
    }

    pub(super) fn shred_pending(&self) -> Vec<KeyId> {
        self.shred_pending.iter().copied().collect()
    }

    /// The destroyed keys whose objects a token may still have.
    pub(super) fn object_pending(&self, limit: usize) -> Vec<Arc<Entry>> {
        self.object_pending.iter().filter_map(|id| self.entries.get(id)).take(limit).cloned().collect()
    }

    /// The `CKA_ID`s of the objects in a token that a key has or had.
    pub(super) fn objects_in(&self, token: &TokenName) -> HashSet<Vec<u8>> {
        let materials =
            self.entries.values().flat_map(|entry| &entry.versions).flat_map(|(version, _)| &version.materials);
        let object = |material: &Material| match material {
            Material::Token(key) if key.token == *token => Some(key.object.id().to_vec()),
            _ => None,
        };
        materials.filter_map(object).collect()
    }

    /// Everything at this instant, for the file of the index.
    pub(super) fn take(&self) -> Taken {
        Taken {
            anchor: self.anchor,
            anchor_revision: self.anchor_revision,
            log_key: self.log_key.clone(),
            provenance: self.provenance.clone(),
            entries: self.all(),
            heads: self.published.all(),
            last_change: self.published.last_change,
            replays: self.replays.all(),
        }
    }

    /// Every key as it is now; shares, does not copy.
    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        self.entries.values().cloned().collect()
    }
}

/// What metadata calls a public key; none for one that does not read, which whoever looks at it hears of.
fn trust_id(algorithm: Algorithm, spki_der: &[u8]) -> Option<Sha256Digest> {
    let public_key = PublicKey::from_spki_der(algorithm, spki_der).ok()?;
    tuf::Key::of(&public_key).ok().map(|key| key.id())
}

fn word_hash(word: &str) -> [u8; 16] {
    // 32 bytes have 16 at their start.
    Sha256Digest::of(word.as_bytes()).as_bytes().first_chunk().copied().unwrap_or_default()
}
