//! Snapshots that their owner signs from some day on, or no more.

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
