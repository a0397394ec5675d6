//! Trust data of another server, taken over: here what the daemon itself had published before it was deleted.

use std::collections::BTreeMap;

use trust::format::tuf::{Document, RoleName};
use trust::{Fault, FaultKind, Purpose, Use};

use super::scene::{ASKER, GUN, OWNER, Scene, gun, version};
use crate::publish::{Adoption, Beginning, Changed, PublishError, Rotation};

const EVERYTHING: &str = "permit (principal, action, resource);";
const OWN: [Purpose; 2] = [Purpose::Snapshot, Purpose::Timestamp];

impl Scene {
    async fn adopt(&self, adoption: &Adoption) -> Result<Changed, Fault> {
        self.publisher().adopt(&OWNER, &gun(GUN), adoption.clone(), self.deadline()).await
    }

    /// The current generation as another server would show it.
    async fn shown(&self) -> Adoption {
        let raw = |file: Document| file.raw().to_vec();
        let current = self.current(RoleName::Root).await.version().number();
        let mut roots = Vec::new();
        for number in 1..=current {
            let (name, number) = (gun(GUN), version(u64::from(number)));
            let served = self.publisher().by_version(&OWNER, &name, &RoleName::Root, number).await.unwrap();
            roots.push(served.bytes.to_vec());
        }
        Adoption {
            roots,
            timestamp: raw(self.current(RoleName::Timestamp).await),
            snapshot: raw(self.current(RoleName::Snapshot).await),
            targets: BTreeMap::from([(RoleName::Targets, raw(self.current(RoleName::Targets).await))]),
        }
    }

    async fn delete(&self) {
        self.publisher().delete(ASKER, &gun(GUN), self.deadline()).await.unwrap();
    }
}

/// A repository that was begun, signed in twice, and deleted; and what was there.
async fn gone(policy: &str) -> (Scene, Adoption) {
    let scene = Scene::with(policy, |_| {}).await;
    scene.begin(GUN, Beginning::default()).await.unwrap();
    scene.sign_tag("1.0").await.unwrap();
    scene.sign_tag("2.0").await.unwrap();
    let shown = scene.shown().await;
    scene.delete().await;
    (scene, shown)
}

#[tokio::test]
async fn what_another_server_published_goes_on_behind_its_versions() {
    let (scene, shown) = gone(EVERYTHING).await;

    let adopted = scene.adopt(&shown).await.unwrap();

    assert_eq!(adopted.files, [(RoleName::Root, version(1)), (RoleName::Targets, version(3))]);
    assert!(adopted.leaves.is_empty(), "its keys are held: its root stays");
    assert!(adopted.snapshot_keys.is_empty());
    let scene = scene.restarted().await;
    let whole = scene.walk().await;
    assert_eq!(whole.file(&RoleName::Root).unwrap().raw(), shown.roots[0]);
    assert_eq!(whole.file(&RoleName::Targets).unwrap().raw(), shown.targets[&RoleName::Targets]);
    for role in [RoleName::Snapshot, RoleName::Timestamp] {
        assert_eq!(whole.file(&role).unwrap().version(), version(4), "{role}");
        let old = scene.publisher().by_version(&OWNER, &gun(GUN), &role, version(3)).await.unwrap();
        let expected = if role == RoleName::Snapshot { &shown.snapshot } else { &shown.timestamp };
        assert_eq!(old.bytes.to_vec(), *expected, "{role}");
    }
    let signed = scene.sign_tag("3.0").await.unwrap();
    assert_eq!(signed.files, [(RoleName::Targets, version(4))]);
    let again = scene.adopt(&shown).await.unwrap_err();
    assert_eq!(again.kind(), FaultKind::Refused);
    assert!(again.public().contains("has trust data already"), "{again:?}");
}

#[tokio::test]
async fn what_the_notary_listener_does_not_serve_is_not_taken_over() {
    let shown = gone(EVERYTHING).await.1;
    for (prefix, why) in [("registry.example.com/other/", "gun_prefixes"), ("registry.example.com/", "of root's own")] {
        let scene = Scene::serving(prefix).await;

        let refused = scene.adopt(&shown).await.unwrap_err();

        assert_eq!(refused.kind(), FaultKind::Refused);
        assert!(refused.public().contains(why), "{refused:?}");
    }
}

#[tokio::test]
async fn where_its_keys_are_not_held_a_root_that_lists_ours_follows() {
    let (scene, shown) = gone(EVERYTHING).await;
    for purpose in OWN {
        scene.set_use(purpose, Use::Disabled).await;
    }
    let before = scene.intents().await.len();

    let adopted = scene.adopt(&shown).await.unwrap();

    assert_eq!(adopted.files, [(RoleName::Targets, version(3)), (RoleName::Root, version(2))]);
    assert_eq!(adopted.leaves.len(), 1);
    assert!(adopted.snapshot_keys.is_empty(), "the daemon signs it from now on");
    let roles: Vec<String> = scene.intents().await.drain(before..).map(|(_, role, number, _)| role + &number).collect();
    assert_eq!(roles, ["root2", "snapshot4", "timestamp4"]);
    let whole = scene.walk().await;
    let old = Document::read(&RoleName::Root, &shown.roots[0]).unwrap();
    for role in [RoleName::Snapshot, RoleName::Timestamp] {
        let ids = |root: &trust::format::tuf::Root| root.authority(&role).unwrap().keys()[0].id();
        assert_ne!(ids(whole.root().unwrap()), ids(old.as_root().unwrap()), "{role}");
    }
    // Whoever knows the old root is led to the new one.
    let first = scene.publisher().by_version(&OWNER, &gun(GUN), &RoleName::Root, version(1)).await.unwrap();
    assert_eq!(first.bytes.to_vec(), shown.roots[0]);
    let next = scene.shown().await;
    scene.delete().await;
    let again = scene.adopt(&next).await.unwrap();
    assert_eq!(again.files[0], (RoleName::Root, version(2)), "two roots, one after the other");
}

#[tokio::test]
async fn a_snapshot_that_the_daemon_cannot_sign_is_said_and_can_become_its_own() {
    let (scene, shown) = gone(EVERYTHING).await;
    scene.set_use(Purpose::Snapshot, Use::Disabled).await;

    let adopted = scene.adopt(&shown).await.unwrap();

    let root = Document::read(&RoleName::Root, &shown.roots[0]).unwrap();
    let listed = root.as_root().unwrap().authority(&RoleName::Snapshot).unwrap().keys()[0].canonical_id();
    assert_eq!(adopted.snapshot_keys.iter().map(|key| key.id).collect::<Vec<_>>(), [listed]);
    let whole = scene.walk().await;
    assert_eq!(whole.file(&RoleName::Snapshot).unwrap().raw(), shown.snapshot, "its owner's stays as it is");
    let refused = scene.sign_tag("3.0").await.unwrap_err();
    assert!(refused.public().contains("snapshot"), "{refused:?}");
    // What the report says to do.
    let snapshot = Rotation { role: RoleName::Snapshot, key: None, old: None, token: None };
    scene.publisher().rotate(&OWNER, &gun(GUN), snapshot, scene.deadline()).await.unwrap();
    scene.sign_tag("3.0").await.unwrap();
    scene.walk().await;
}

#[tokio::test]
async fn without_keys_of_its_root_nothing_is_taken_over() {
    let (scene, shown) = gone(EVERYTHING).await;
    for purpose in [Purpose::Root, Purpose::Snapshot, Purpose::Timestamp] {
        scene.set_use(purpose, Use::Disabled).await;
    }
    let before = scene.intents().await.len();

    let refused = scene.adopt(&shown).await.unwrap_err();

    assert_eq!(refused.kind(), FaultKind::Refused);
    assert!(refused.public().contains("import one or the other first"), "{refused:?}");
    assert_eq!(scene.intents().await.len(), before);
    let nothing = scene.publisher().current(&OWNER, &gun(GUN), &RoleName::Root).await;
    assert!(matches!(nothing, Err(PublishError::NotFound)));
}

#[tokio::test]
async fn what_a_client_would_not_believe_is_not_taken_over() {
    let (scene, shown) = gone(EVERYTHING).await;
    let earlier = {
        let other = Scene::new().await;
        other.begin(GUN, Beginning::default()).await.unwrap();
        other.shown().await
    };
    let flipped = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        bytes
    };
    let named = |role: &str, bytes: &[u8]| {
        let mut targets = shown.targets.clone();
        targets.insert(role.parse().unwrap(), bytes.to_vec());
        targets
    };
    let targets = &shown.targets[&RoleName::Targets];
    let before = scene.intents().await.len();

    for (what, lie) in [
        ("no root", Adoption { roots: Vec::new(), ..shown.clone() }),
        ("a root twice", Adoption { roots: vec![shown.roots[0].clone(); 2], ..shown.clone() }),
        ("another root", Adoption { roots: earlier.roots.clone(), ..shown.clone() }),
        ("a changed root", Adoption { roots: vec![flipped(&shown.roots[0])], ..shown.clone() }),
        ("a changed timestamp", Adoption { timestamp: flipped(&shown.timestamp), ..shown.clone() }),
        ("another timestamp", Adoption { timestamp: earlier.timestamp.clone(), ..shown.clone() }),
        ("another snapshot", Adoption { snapshot: earlier.snapshot.clone(), ..shown.clone() }),
        ("changed targets", Adoption { targets: named("targets", &flipped(targets)), ..shown.clone() }),
        ("no targets", Adoption { targets: BTreeMap::new(), ..shown.clone() }),
        ("a delegation of nobody's", Adoption { targets: named("targets/x", targets), ..shown.clone() }),
    ] {
        let refused = scene.adopt(&lie).await.unwrap_err();
        assert_eq!(refused.kind(), FaultKind::Refused, "{what}: {refused:?}");
        assert!(refused.public().contains("not believed"), "{what}: {refused:?}");
    }
    assert_eq!(scene.intents().await.len(), before);
    scene.adopt(&shown).await.unwrap();
}

#[tokio::test]
async fn whoever_may_not_adopt_publish_or_use_the_root_key_takes_nothing_over() {
    for forbid in [
        "forbid (principal, action == Action::\"adopt-trust\", resource);",
        "forbid (principal, action == Action::\"publish\", resource) when { context.sent.contains(\"root\") && context.version == 3 };",
        "forbid (principal, action == Action::\"sign-metadata\", resource) when { context.operation == \"adopt\" };",
    ] {
        let (scene, shown) = gone(&format!("{EVERYTHING}\n{forbid}")).await;
        for purpose in OWN {
            scene.set_use(purpose, Use::Disabled).await;
        }
        let before = scene.intents().await.len();

        let denied = scene.adopt(&shown).await.unwrap_err();

        assert_eq!(denied.kind(), FaultKind::Forbidden, "{forbid}");
        assert_eq!(scene.intents().await.len(), before, "{forbid}");
    }
}
