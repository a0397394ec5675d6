//! Snapshots that their owner signs from some day on, or no more.

use trust::format::tuf::{Repository, Version};

use super::*;

#[tokio::test]
async fn an_owner_who_takes_the_snapshot_over_follows_the_file_and_the_daemon_its_mark() {
    let (scene, mut owner) = published().await;
    let (snapshot, timestamp) = (scene.key(&RoleName::Snapshot).await, scene.key(&RoleName::Timestamp).await);
    // Versions 2 to 4 are used up, and nothing of them was published.
    for at in [CutOff::Reserved, CutOff::Signed, CutOff::Signed] {
        cut_off(&scene, &owner.targets("lost"), at).await;
    }
    owner.repository = owner.repository.clone().with(scene.current(RoleName::Snapshot).await);

    // As long as a key of the daemon's speaks, too, its mark counts.
    let begun = owner.repository.clone();
    let root = owner.root_with_either_snapshot(snapshot.clone(), timestamp.clone());
    let files = [root, owner.targets("v2"), owner.snapshot(DAY * 30)];
    assert!(is_outdated(&scene.publish(&files).await));
    owner.repository = begun;

    let root = owner.root_with_own_snapshot(timestamp.clone());
    let files = [root, owner.targets("v2"), owner.snapshot(DAY * 30)];
    scene.publish(&files).await.unwrap();
    assert_eq!(scene.walk().await.file(&RoleName::Snapshot).unwrap().version(), version(2));
    let scene = scene.restarted().await;
    let files = [owner.targets("v3"), owner.snapshot(DAY * 30)];
    scene.publish(&files).await.unwrap();
    assert_eq!(scene.walk().await.file(&RoleName::Snapshot).unwrap().version(), version(3));
    assert!(is_outdated(&scene.publish(&files[1..]).await));

    // The daemon goes on behind what it has ever signed.
    let head = scene.house.records().head(&gun(GUN)).await.unwrap();
    assert_eq!(head.marks[&RoleName::Snapshot], version(4));
    scene.publish(&[owner.root(snapshot, timestamp), owner.targets("v4")]).await.unwrap();
    assert_eq!(scene.walk().await.file(&RoleName::Snapshot).unwrap().version(), version(5));
    let intents = scene.intents().await;
    let versions: BTreeSet<_> = intents.iter().map(|(_, role, version, _)| (role, version)).collect();
    assert_eq!(versions.len(), intents.len(), "a version was signed twice: {intents:?}");
}

/// A first publication by somebody new of which the snapshot and the timestamp are signed, and nothing comes.
async fn burned(scene: &Scene, files: &[Document]) {
    let publisher = scene.publisher();
    let asked = Asked::by(&OWNER, &gun(GUN), scene.deadline());
    let head = scene.house.records().head(&asked.gun).await.unwrap();
    let planned = Repository::of(files.to_vec()).with_marks(&head.marks);
    let keys = |role| publisher.signers(&asked.gun, &planned, &role).unwrap();
    let made = |role| (keys(role), ends(i64::try_from(NOW).unwrap(), 1000).unwrap());
    let own = OwnFiles::plan(&planned, Some(made(RoleName::Snapshot)), made(RoleName::Timestamp)).unwrap();
    publisher.reserve(&asked, &head, &own).await.unwrap();
    let warrant = Warrant::Publication(Publication::of(&OWNER, &asked.gun, &sent(files).parts, true));
    publisher.sign_all(&asked, &warrant, &own, &planned).await.unwrap();
}

/// What somebody else begins with whose snapshots are of its own.
async fn begun_by_another(scene: &Scene) -> (Owner, Vec<Document>) {
    let mut owner = Owner::new(2);
    let root = owner.root_with_own_snapshot(scene.key(&RoleName::Timestamp).await);
    let files = vec![root, owner.targets("another's"), owner.snapshot(DAY * 30)];
    (owner, files)
}

async fn is_deleted(scene: &Scene) {
    scene.publisher().delete(ASKER, &gun(GUN), scene.deadline()).await.unwrap();
}

async fn mark_of_snapshots(scene: &Scene) -> Version {
    scene.house.records().head(&gun(GUN)).await.unwrap().marks[&RoleName::Snapshot]
}

#[tokio::test]
async fn a_beginning_that_was_cut_off_keeps_no_daemon_from_its_start_whoever_begins_behind_it() {
    let (scene, _) = published().await;
    is_deleted(&scene).await;
    // Somebody's first publication comes as far as the intents for snapshot and timestamp.
    let mut owner = Owner::new(3);
    let files = first(&scene, &mut owner).await;
    burned(&scene, &files).await;
    let (mut owner, files) = begun_by_another(&scene).await;

    scene.publish(&files).await.unwrap();

    assert_eq!(scene.walk().await.file(&RoleName::Snapshot).unwrap().version(), version(1));
    // The log is held against the store.
    let scene = scene.restarted().await;
    assert_eq!(scene.walk().await.file(&RoleName::Snapshot).unwrap().version(), version(1));
    assert_eq!(mark_of_snapshots(&scene).await, version(2));
    let files = [owner.targets("v2"), owner.snapshot(DAY * 30)];
    scene.publish(&files).await.unwrap();
    assert!(is_outdated(&scene.publish(&files[1..]).await));
    scene.restarted().await.walk().await;
}

#[tokio::test]
async fn under_another_owner_the_daemon_signs_no_version_of_a_snapshot_again() {
    let (scene, mut owner) = published().await;
    let (snapshot, timestamp) = (scene.key(&RoleName::Snapshot).await, scene.key(&RoleName::Timestamp).await);
    for tag in ["v2", "v3"] {
        scene.publish(&[owner.targets(tag)]).await.unwrap();
    }
    is_deleted(&scene).await;

    // Where a key of the daemon's speaks, too, its mark counts.
    let mut either = Owner::new(4);
    let root = either.root_with_either_snapshot(snapshot.clone(), timestamp.clone());
    let files = [root, either.targets("v1"), either.snapshot(DAY * 30)];
    assert!(is_outdated(&scene.publish(&files).await));

    let (mut owner, files) = begun_by_another(&scene).await;
    scene.publish(&files).await.unwrap();
    assert_eq!(scene.walk().await.file(&RoleName::Snapshot).unwrap().version(), version(1));
    assert_eq!(mark_of_snapshots(&scene).await, version(3));
    let scene = scene.restarted().await;
    scene.publish(&[owner.targets("v2"), owner.snapshot(DAY * 30)]).await.unwrap();

    scene.publish(&[owner.root(snapshot, timestamp)]).await.unwrap();

    assert_eq!(scene.walk().await.file(&RoleName::Snapshot).unwrap().version(), version(4));
    let intents = scene.intents().await;
    let versions: BTreeSet<_> = intents.iter().map(|(_, role, version, _)| (role, version)).collect();
    assert_eq!(versions.len(), intents.len(), "a version was signed twice: {intents:?}");
}
