//! Who asks about what, in the words of the policy; remembered, because making them costs more than deciding.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use cedar_policy::{Entities, Entity, EntityUid};
use trust::format::tuf::Gun;
use trust::{KeyId, Principal, Sha256Digest};

use super::{Action, Grounds, KeyFacts, facts};

/// The most scenes of keys, and of repositories, that are remembered; then those are forgotten and begin anew.
const SCENES_MAX: usize = 4096;

/// A principal and a key, a repository, or the daemon.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) who: EntityUid,
    pub(super) what: EntityUid,
    pub(super) entities: Entities,
    /// What was allowed last without a word about the request.
    allowed: ArcSwapOption<(Action, Grounds)>,
}

/// The scenes of principals with keys that are there, and with repositories, which need not be: who asks for many pushes
/// out no scene of a key. What a policy sees of a key is fixed for the key's life (D6), and what it sees of a principal or
/// of a repository is the name: a scene that was right once stays so.
#[derive(Debug, Default)]
pub(super) struct Scenes {
    of_keys: Mutex<Remembered<KeyId>>,
    of_guns: Mutex<Remembered<Gun>>,
}

#[derive(Debug)]
struct Remembered<T> {
    by_principal: HashMap<Principal, HashMap<T, Arc<Scene>>>,
    count: usize,
}

impl Scenes {
    /// The scene; `None` when the schema has no words for it.
    pub(super) fn of(&self, principal: &Principal, key: Option<&KeyFacts<'_>>) -> Option<Arc<Scene>> {
        let Some(KeyFacts::Known(record)) = key else { return Scene::make(principal, key).map(Arc::new) };
        remembered(&self.of_keys, principal, &record.id, || Scene::make(principal, key))
    }

    /// The principal before a repository of trust data.
    pub(super) fn of_gun(&self, principal: &Principal, gun: &Gun) -> Option<Arc<Scene>> {
        remembered(&self.of_guns, principal, gun, || Scene::with(principal, facts::gun(gun)?))
    }
}

/// The scene that is remembered, or else the one that is made now.
fn remembered<T: Clone + Eq + Hash>(
    scenes: &Mutex<Remembered<T>>,
    principal: &Principal,
    what: &T,
    make: impl FnOnce() -> Option<Scene>,
) -> Option<Arc<Scene>> {
    let locked = || scenes.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(scene) = locked().find(principal, what) {
        return Some(scene);
    }
    let scene = Arc::new(make()?);
    let old = locked().keep(principal, what, Arc::clone(&scene));
    // Thousands of them: not while others wait for the lock.
    drop(old);
    Some(scene)
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self { by_principal: HashMap::new(), count: 0 }
    }
}

impl<T: Clone + Eq + Hash> Remembered<T> {
    fn find(&self, principal: &Principal, what: &T) -> Option<Arc<Scene>> {
        self.by_principal.get(principal)?.get(what).cloned()
    }

    /// Gives back what is forgotten for it.
    fn keep(&mut self, principal: &Principal, what: &T, scene: Arc<Scene>) -> Option<Self> {
        let old = (self.count >= SCENES_MAX).then(|| std::mem::take(self));
        if self.by_principal.entry(principal.clone()).or_default().insert(what.clone(), scene).is_none() {
            self.count = self.count.saturating_add(1);
        }
        old
    }
}

impl Scene {
    fn make(principal: &Principal, key: Option<&KeyFacts<'_>>) -> Option<Self> {
        let what = match key {
            Some(key) => facts::key(key)?,
            None => facts::daemon(),
        };
        Self::with(principal, what)
    }

    fn with(principal: &Principal, what: Entity) -> Option<Self> {
        let who = facts::principal(principal)?;
        let (who_uid, what_uid) = (who.uid(), what.uid());
        let entities = Entities::from_entities([who, what], None).ok()?;
        Some(Self { who: who_uid, what: what_uid, entities, allowed: ArcSwapOption::empty() })
    }

    /// On what grounds this was allowed before without a word about the request, by the policy of this revision: the same
    /// question has the same answer.
    pub(super) fn allowed(&self, action: Action, revision: Sha256Digest) -> Option<Grounds> {
        let before = self.allowed.load();
        let (of, grounds) = before.as_deref()?;
        (*of == action && grounds.revision == revision).then(|| grounds.clone())
    }

    /// Remembers it, in the place of what was allowed before.
    pub(super) fn allow(&self, action: Action, grounds: Grounds) {
        self.allowed.store(Some(Arc::new((action, grounds))));
    }
}

#[cfg(test)]
mod tests {
    use trust::{Algorithm, Purpose, Scope};

    use super::*;
    use crate::records::KeyRecord;

    fn record(number: u32) -> KeyRecord {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        KeyRecord {
            id: KeyId::from_bytes(id),
            name: format!("key/{number}").parse().unwrap(),
            purpose: Purpose::Raw,
            algorithm: Algorithm::Ed25519,
            scope: Scope::Unbound,
            forms: Vec::new(),
            created_at_unix_seconds: 0,
            token: None,
        }
    }

    fn count(scenes: &Scenes) -> usize {
        scenes.of_keys.lock().unwrap().count
    }

    #[test]
    fn each_principal_has_a_scene_of_each_key() {
        let scenes = Scenes::default();
        let (alice, bob) = (Principal::LocalUid(1), Principal::LocalUid(2));
        for (principal, number) in [(&alice, 1), (&alice, 2), (&bob, 1), (&alice, 1)] {
            let record = record(number);
            let known = KeyFacts::Known(&record);

            let scene = scenes.of(principal, Some(&known)).unwrap();

            assert_eq!(scene.who, facts::principal(principal).unwrap().uid());
            assert_eq!(scene.what, facts::key(&known).unwrap().uid());
            assert!(scene.entities.get(&scene.who).is_some() && scene.entities.get(&scene.what).is_some());
        }
        assert_eq!(count(&scenes), 3);
    }

    #[test]
    fn a_key_that_is_not_there_is_not_remembered() {
        let scenes = Scenes::default();

        assert!(scenes.of(&Principal::LocalUid(1), Some(&KeyFacts::Unknown("a"))).is_some());
        assert!(scenes.of(&Principal::LocalUid(1), None).is_some());
        let to_be_made = record(1);
        assert!(scenes.of(&Principal::LocalUid(1), Some(&KeyFacts::New(&to_be_made))).is_some());

        assert_eq!(count(&scenes), 0);
    }

    #[test]
    fn repositories_push_out_no_key() {
        let scenes = Scenes::default();
        let (who, record) = (Principal::LocalUid(1), record(1));
        scenes.of(&who, Some(&KeyFacts::Known(&record))).unwrap();
        for number in 0..SCENES_MAX + 10 {
            let gun: Gun = format!("registry.example/{number}").parse().unwrap();

            let scene = scenes.of_gun(&who, &gun).unwrap();

            assert_eq!(scene.what, facts::gun(&gun).unwrap().uid());
            assert!(Arc::ptr_eq(&scene, &scenes.of_gun(&who, &gun).unwrap()));
        }
        assert_eq!(scenes.of_guns.lock().unwrap().count, 10);
        assert_eq!(count(&scenes), 1);
    }

    #[test]
    fn the_memory_is_bounded() {
        let scenes = Scenes::default();
        for number in 0..u32::try_from(SCENES_MAX).unwrap() + 10 {
            let record = record(number);

            scenes.of(&Principal::LocalUid(1), Some(&KeyFacts::Known(&record))).unwrap();
        }

        assert_eq!(count(&scenes), 10);
    }
}
