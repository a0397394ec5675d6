//! Publications from the door's side inwards, over a store in memory and keys in software custody.

mod adopt;
mod cut_off;
mod delegates;
mod owner;
mod policy;
mod proposals;
mod renew;
mod room;
mod scene;
mod stored;
mod taking_over;
mod unused;
mod uploads;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use trust::format::json::Value;
use trust::format::tuf::publish::Refusal;
use trust::format::tuf::{Document, Part, RoleName};
use trust::{Fault, FaultKind, Principal, Sha256Digest};

use self::scene::{ASKER, GUN, NOW, OWNER, Owner, Scene, first, gun, published, sent, version};
use super::authorize::{Publication, Warrant};
use super::update::{OwnFiles, ends};
use super::*;

const DAY: Duration = Duration::from_hours(24);

fn is_outdated(ended: &Result<(), PublishError>) -> bool {
    matches!(ended, Err(PublishError::Refused(Refusal::Outdated(_))))
}

#[tokio::test]
async fn what_is_published_is_read_whole_and_each_signature_has_its_intent() {
    let (scene, mut owner) = published().await;

    let read = scene.walk().await;

    for role in [RoleName::Root, RoleName::Targets] {
        assert_eq!(read.file(&role).unwrap().raw(), owner.repository.file(&role).unwrap().raw(), "{role}");
    }
    assert_eq!(scene.current(RoleName::Root).await.version(), version(1));
    scene.publish(&[owner.targets("v2")]).await.unwrap();
    let now = scene.walk().await;
    assert_eq!(now.file(&RoleName::Timestamp).unwrap().version(), version(2));
    assert!(now.targets(&RoleName::Targets).unwrap().targets().contains_key("v2"));
    let said = |file: &Document| {
        let digest = Sha256Digest::of(file.signed_bytes()).to_string();
        ("uid:1000".to_owned(), file.role().to_string(), file.version().number().to_string(), digest)
    };
    let roles = [RoleName::Snapshot, RoleName::Timestamp];
    let expected: Vec<_> =
        [&read, &now].into_iter().flat_map(|of| roles.iter().map(|role| said(of.file(role).unwrap()))).collect();
    assert_eq!(scene.intents().await, expected);
}

#[tokio::test]
async fn older_files_stay_readable_by_version_and_by_hash_of_their_own_role_only() {
    let (scene, mut owner) = published().await;
    let old = owner.repository.file(&RoleName::Targets).unwrap().clone();
    scene.publish(&[owner.targets("v2")]).await.unwrap();
    let (publisher, name) = (scene.publisher(), gun(GUN));
    let hash = Sha256Digest::of(old.raw());

    let by_version = publisher.by_version(&OWNER, &name, &RoleName::Targets, version(1)).await.unwrap();
    let by_hash = publisher.by_hash(&OWNER, &name, &RoleName::Targets, hash).await.unwrap();

    assert_eq!((&by_version.bytes[..], by_version.stored_at_unix_seconds), (old.raw(), NOW));
    assert_eq!(by_hash, by_version);
    for missing in [
        publisher.by_hash(&OWNER, &name, &RoleName::Root, hash).await,
        publisher.by_hash(&OWNER, &gun("registry.example.com/team/other"), &RoleName::Targets, hash).await,
        publisher.by_version(&OWNER, &name, &RoleName::Targets, version(3)).await,
        publisher.current(&OWNER, &name, &"targets/releases".parse().unwrap()).await,
    ] {
        assert!(matches!(missing, Err(PublishError::NotFound)), "{missing:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_eight_who_publish_the_same_version_one_wins_and_the_others_are_told() {
    let (scene, owner) = published().await;
    let files: Vec<Document> = (0..8).map(|n| Owner::of(1, &owner.repository).targets(&format!("tag-{n}"))).collect();
    let scene = Arc::new(scene);

    let tasks: Vec<_> = files
        .iter()
        .map(|file| {
            let (scene, file) = (Arc::clone(&scene), file.clone());
            tokio::spawn(async move { scene.publish(&[file]).await })
        })
        .collect();
    let mut won = Vec::new();
    for (task, file) in tasks.into_iter().zip(&files) {
        match task.await.unwrap() {
            Ok(()) => won.push(file),
            ended => assert!(is_outdated(&ended), "{ended:?}"),
        }
    }

    assert_eq!(won.len(), 1);
    let now = scene.walk().await;
    assert_eq!(now.file(&RoleName::Targets).unwrap().raw(), won[0].raw());
    assert_eq!(now.file(&RoleName::Timestamp).unwrap().version(), version(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_while_others_publish_sees_one_generation() {
    let (scene, mut owner) = published().await;
    let (scene, is_over) = (Arc::new(scene), Arc::new(AtomicBool::new(false)));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (scene, is_over) = (Arc::clone(&scene), Arc::clone(&is_over));
            tokio::spawn(async move {
                let (mut seen, mut last) = (BTreeSet::new(), version(1));
                while !is_over.load(Ordering::Relaxed) {
                    let read = scene.walk().await;
                    let now = read.file(&RoleName::Timestamp).unwrap().version();
                    assert!(now >= last, "{now:?} after {last:?}");
                    last = now;
                    seen.insert(now);
                    // Nothing that a reader awaits is ever not ready: those who publish have their turn, too.
                    tokio::task::yield_now().await;
                }
                seen.len()
            })
        })
        .collect();

    for n in 0..40 {
        scene.publish(&[owner.targets(&format!("tag-{n}"))]).await.unwrap();
    }
    is_over.store(true, Ordering::Relaxed);

    for reader in readers {
        assert!(reader.await.unwrap() > 1);
    }
    assert_eq!(scene.walk().await.file(&RoleName::Timestamp).unwrap().version(), version(41));
}

/// How far a publication comes before the process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CutOff {
    Reserved,
    Signed,
}

async fn cut_off(scene: &Scene, file: &Document, at: CutOff) -> Vec<Document> {
    let publisher = scene.publisher();
    let asked = Asked::by(&OWNER, &gun(GUN), scene.deadline());
    let held = publisher.generation(&asked.gun).await.unwrap();
    let now = i64::try_from(NOW).unwrap();
    let planned = held.repository.clone().with(file.clone());
    let keys = |role| publisher.signers(&asked.gun, &planned, &role).unwrap();
    let made = |role| (keys(role), ends(now, 1000).unwrap());
    let own = OwnFiles::plan(&planned, Some(made(RoleName::Snapshot)), made(RoleName::Timestamp)).unwrap();
    publisher.reserve(&asked, &held.head, &own).await.unwrap();
    if at == CutOff::Reserved {
        return Vec::new();
    }
    let part = Part::read(file.role(), file.raw()).unwrap();
    let warrant = Warrant::Publication(Publication::of(&OWNER, &asked.gun, &[part], false));
    publisher.sign_all(&asked, &warrant, &own, &planned).await.unwrap().1
}

#[tokio::test]
async fn versions_that_were_reserved_when_the_process_was_killed_are_never_used_again() {
    let (mut scene, mut owner) = published().await;
    for at in [CutOff::Reserved, CutOff::Signed, CutOff::Signed] {
        let before = scene.walk().await;
        let file = owner.targets(&format!("{at:?}"));
        let burned = cut_off(&scene, &file, at).await;

        scene = scene.restarted().await;

        let after = scene.walk().await;
        for (role, file) in before.files() {
            assert_eq!(after.file(role).unwrap().raw(), file.raw(), "{role} {at:?}");
        }
        for lost in &burned {
            let read = scene.publisher().by_version(&OWNER, &gun(GUN), lost.role(), lost.version()).await;
            assert!(matches!(read, Err(PublishError::NotFound)), "{at:?}");
        }
        scene.publish(&[file]).await.unwrap();
        let now = scene.walk().await;
        for role in [RoleName::Snapshot, RoleName::Timestamp] {
            let (was, is) = (before.file(&role).unwrap().version(), now.file(&role).unwrap().version());
            assert_eq!(Some(is), was.next().unwrap().next(), "{role} {at:?}");
        }
    }
    let intents = scene.intents().await;
    let versions: BTreeSet<_> = intents.iter().map(|(_, role, version, _)| (role, version)).collect();
    assert_eq!(versions.len(), intents.len(), "a version was signed twice: {intents:?}");
}

#[tokio::test]
async fn a_publication_that_the_rules_refuse_changes_nothing() {
    let (scene, mut owner) = published().await;
    let before = scene.house.records().head(&gun(GUN)).await.unwrap();
    let old = owner.repository.file(&RoleName::Targets).unwrap().clone();

    assert!(is_outdated(&scene.publish(&[old]).await));
    let root = owner.repository.file(&RoleName::Root).unwrap().clone();
    assert!(is_outdated(&scene.publish(&[root]).await));
    let stranger = scene.publish(&[Owner::of(2, &owner.repository).targets("v2")]).await;
    assert!(matches!(stranger, Err(PublishError::Refused(Refusal::BadTargets(_)))), "{stranger:?}");
    let snapshot = scene.current(RoleName::Snapshot).await;
    assert!(is_outdated(&scene.publish(&[snapshot]).await));

    assert_eq!(scene.house.records().head(&gun(GUN)).await.unwrap(), before);
    assert_eq!(scene.intents().await.len(), 2);
    scene.publish(&[owner.targets("v2")]).await.unwrap();
}

#[tokio::test]
async fn without_keys_of_the_daemon_in_root_nothing_is_signed() {
    let (scene, mut owner) = (Scene::new().await, Owner::new(1));
    let timestamp = scene.key(&RoleName::Timestamp).await;
    let foreign = trust::format::tuf::Key::new(trust::format::tuf::KeyKind::Ed25519, vec![1; 32]).unwrap();

    let files = [owner.root(foreign.clone(), timestamp.clone()), owner.targets("v1")];
    let no_snapshot = scene.publish(&files).await;
    let mut owner = Owner::new(1);
    let files = [owner.root(scene.key(&RoleName::Snapshot).await, foreign), owner.targets("v1")];
    let no_timestamp = scene.publish(&files).await;

    let missing = RoleName::Snapshot;
    let expected = Refusal::BadHierarchy { missing };
    assert!(matches!(&no_snapshot, Err(PublishError::Refused(refusal)) if *refusal == expected), "{no_snapshot:?}");
    let refused = |ended: &Result<(), PublishError>| matches!(ended, Err(PublishError::Refused(Refusal::BadRoot(_))));
    assert!(refused(&no_timestamp), "{no_timestamp:?}");
    assert!(scene.intents().await.is_empty());
}

#[tokio::test]
async fn a_deleted_repository_goes_on_with_its_owner_behind_the_versions_it_had() {
    let (scene, mut owner) = published().await;
    scene.publish(&[owner.targets("v2")]).await.unwrap();
    let (publisher, name) = (scene.publisher(), gun(GUN));

    publisher.delete(ASKER, &name, scene.deadline()).await.unwrap();
    publisher.delete(ASKER, &name, scene.deadline()).await.unwrap();

    for gone in [
        publisher.current(&OWNER, &name, &RoleName::Root).await,
        publisher.by_version(&OWNER, &name, &RoleName::Root, version(1)).await,
    ] {
        assert!(matches!(gone, Err(PublishError::NotFound)));
    }
    let root = owner.repository.file(&RoleName::Root).unwrap().clone();
    let last = owner.repository.file(&RoleName::Targets).unwrap().clone();
    let scene = scene.restarted().await;
    let twice = scene.publish(&[root.clone(), last.clone()]).await;
    assert!(matches!(twice, Err(PublishError::Refused(Refusal::Outdated(RoleName::Targets)))), "{twice:?}");
    scene.publish(&[root.clone(), owner.targets("v3")]).await.unwrap();
    let now = scene.walk().await;
    assert_eq!(now.file(&RoleName::Timestamp).unwrap().version(), version(3));
    assert_eq!(now.file(&RoleName::Targets).unwrap().version(), version(3));
    let publisher = scene.publisher();
    let by_version = async |role: &RoleName, number| publisher.by_version(&OWNER, &name, role, version(number)).await;
    for (role, numbers) in [(RoleName::Targets, 1..=2), (RoleName::Snapshot, 1..=2), (RoleName::Timestamp, 1..=2)] {
        for number in numbers {
            let old = by_version(&role, number).await;
            assert!(matches!(old, Err(PublishError::NotFound)), "{role} {number}: {old:?}");
        }
    }
    let old = publisher.by_hash(&OWNER, &name, &RoleName::Targets, Sha256Digest::of(last.raw())).await;
    assert!(matches!(old, Err(PublishError::NotFound)), "{old:?}");
    let again = by_version(&RoleName::Root, 1).await.unwrap();
    assert_eq!(again.bytes, *root.raw(), "it was published once more");
    let by_hash = publisher.by_hash(&OWNER, &name, &RoleName::Root, Sha256Digest::of(root.raw())).await.unwrap();
    assert_eq!(by_hash.bytes, *root.raw());
    assert_eq!(
        by_version(&RoleName::Targets, 3).await.unwrap().bytes,
        *owner.repository.file(&RoleName::Targets).unwrap().raw()
    );
}

#[tokio::test]
async fn another_owner_begins_anew_and_is_not_shown_what_was_there() {
    let (scene, owner) = published().await;
    let before = scene.walk().await;
    scene.publisher().delete(ASKER, &gun(GUN), scene.deadline()).await.unwrap();
    let mut next = Owner::new(2);

    let files = first(&scene, &mut next).await;
    scene.publish(&files).await.unwrap();

    let now = scene.walk().await;
    assert_eq!(now.file(&RoleName::Targets).unwrap().version(), version(1));
    // Clients know the daemon's versions, whoever owns the repository.
    assert_eq!(now.file(&RoleName::Timestamp).unwrap().version(), version(2));
    let old = Sha256Digest::of(owner.repository.file(&RoleName::Targets).unwrap().raw());
    let read = scene.publisher().by_hash(&OWNER, &gun(GUN), &RoleName::Targets, old).await;
    assert!(matches!(read, Err(PublishError::NotFound)));
    assert_ne!(now.file(&RoleName::Root).unwrap().raw(), before.file(&RoleName::Root).unwrap().raw());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_made_once_and_another_only_when_the_first_is_in_use() {
    let scene = Arc::new(Scene::new().await);
    let ask = || {
        let scene = Arc::clone(&scene);
        tokio::spawn(async move { scene.key(&RoleName::Timestamp).await.id() })
    };
    let keys: Vec<_> = (0..4).map(|_| ask()).collect();
    let mut ids = BTreeSet::new();
    for key in keys {
        ids.insert(key.await.unwrap());
    }
    assert_eq!(ids.len(), 1);
    let another = || scene.publisher().rotate_key(ASKER, &GUN_NAME, &RoleName::Timestamp, scene.deadline());
    assert_eq!(another().await.unwrap().id(), *ids.first().unwrap(), "one that was never used is given again");

    let mut owner = Owner::new(1);
    let files = first(&scene, &mut owner).await;
    scene.publish(&files).await.unwrap();

    let new = another().await.unwrap();
    assert_ne!(new.id(), *ids.first().unwrap());
    assert_eq!(another().await.unwrap(), new);
    assert_eq!(scene.key(&RoleName::Timestamp).await.id(), *ids.first().unwrap(), "root lists it still");
    let root = owner.root(scene.key(&RoleName::Snapshot).await, new.clone());
    scene.publish(&[root]).await.unwrap();
    assert_eq!(scene.key(&RoleName::Timestamp).await, new);
    scene.walk().await;
    let refused = scene.publisher().server_key(ASKER, &GUN_NAME, &RoleName::Targets, scene.deadline()).await;
    assert!(matches!(refused, Err(PublishError::NotFound)));
}

static GUN_NAME: std::sync::LazyLock<Gun> = std::sync::LazyLock::new(|| gun(GUN));

#[tokio::test]
async fn the_feed_has_each_change_once_of_all_or_of_one() {
    let (scene, mut owner) = published().await;
    scene.publish(&[owner.targets("v2")]).await.unwrap();
    scene.publisher().delete(ASKER, &GUN_NAME, scene.deadline()).await.unwrap();
    let scene = scene.restarted().await;
    let ids = async |gun: Option<&Gun>, window| {
        let changes = scene.publisher().changes(&OWNER, gun, window).await.unwrap();
        changes.iter().map(|change| change.id).collect::<Vec<_>>()
    };

    let all = scene.publisher().changes(&OWNER, None, Window::After { id: 0, count: 100 }).await.unwrap();
    let kinds: Vec<_> = all.iter().map(|change| matches!(change.kind, ChangeKind::Deletion)).collect();
    assert_eq!(kinds, [false, false, true]);
    assert_eq!((all[0].made_at_unix_ms, &all[0].gun), (NOW * 1000, &*GUN_NAME));
    for feed in [None, Some(&*GUN_NAME)] {
        assert_eq!(ids(feed, Window::After { id: 1, count: 1 }).await, [2]);
        assert_eq!(ids(feed, Window::After { id: 3, count: 9 }).await, [0_u64; 0]);
        assert_eq!(ids(feed, Window::Before { id: None, count: 2 }).await, [2, 3]);
        assert_eq!(ids(feed, Window::Before { id: Some(3), count: 9 }).await, [1, 2]);
        assert_eq!(ids(feed, Window::Before { id: Some(1), count: 9 }).await, [0_u64; 0]);
    }
    let other = gun("registry.example.com/team/other");
    assert_eq!(ids(Some(&other), Window::Before { id: None, count: 9 }).await, [0_u64; 0]);
}

#[tokio::test]
async fn a_sealed_daemon_neither_shows_nor_signs() {
    let (scene, mut owner) = published().await;
    let file = owner.targets("v2");
    scene.house.records().seal();

    let read = scene.publisher().current(&OWNER, &GUN_NAME, &RoleName::Timestamp).await;
    let ended = scene.publish(&[file]).await;

    assert!(matches!(read, Err(PublishError::Unavailable(_))), "{read:?}");
    assert!(matches!(ended, Err(PublishError::Unavailable(_))), "{ended:?}");
}

#[test]
fn each_fault_has_an_answer_of_a_door() {
    for (kind, expected) in [
        (FaultKind::Forbidden, "denied"),
        (FaultKind::Busy, "busy"),
        (FaultKind::Conflict, "busy"),
        (FaultKind::Late, "unavailable"),
        (FaultKind::Unavailable, "unavailable"),
        (FaultKind::Refused, "internal"),
        (FaultKind::Internal, "internal"),
    ] {
        assert_eq!(PublishError::from(Fault::new(kind, "words")).name(), expected, "{kind:?}");
    }
}
