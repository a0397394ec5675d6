//! What is in the store: long files, the index, a backup, and what somebody took away.

use super::*;
use crate::records::UnsealError;

#[tokio::test]
async fn a_file_that_is_too_long_for_a_row_is_read_as_it_was_sent() {
    let (scene, mut owner) = published().await;
    let long = owner.targets_saying("long", Some(Value::from("x".repeat(3 * 1024 * 1024))));
    scene.publish(std::slice::from_ref(&long)).await.unwrap();
    scene.publish(&[owner.targets("v3")]).await.unwrap();

    let scene = scene.restarted().await;

    let hash = Sha256Digest::of(long.raw());
    let read = scene.publisher().by_hash(&OWNER, &GUN_NAME, &RoleName::Targets, hash).await.unwrap();
    assert_eq!(read.bytes, long.raw());
    scene.walk().await;
}

#[tokio::test]
async fn of_a_repository_that_is_too_long_for_the_shelf_only_what_is_asked_for_is_read() {
    let (scene, mut owner) = published().await;
    let long = owner.targets_saying("long", Some(Value::from("x".repeat(6 * 1024 * 1024))));
    scene.publish(std::slice::from_ref(&long)).await.unwrap();
    scene.walk().await;
    // Only what is long lies in chunks: whoever reads the targets notices, and nobody else.
    scene.damage(b"b").await;

    let (publisher, name) = (scene.publisher(), &*GUN_NAME);
    let root = scene.current(RoleName::Root).await;
    let by_hash = publisher.by_hash(&OWNER, name, &RoleName::Root, Sha256Digest::of(root.raw())).await.unwrap();
    let by_version = publisher.by_version(&OWNER, name, &RoleName::Targets, version(1)).await.unwrap();

    assert_eq!((&by_hash.bytes[..], by_version.version), (root.raw(), version(1)));
    let timestamp = scene.current(RoleName::Timestamp).await;
    let snapshot = scene.current(RoleName::Snapshot).await;
    assert!(timestamp.as_timestamp().unwrap().snapshot().is_of(snapshot.raw()));
    let damaged = publisher.current(&OWNER, name, &RoleName::Targets).await;
    assert!(matches!(damaged, Err(PublishError::Internal(_))), "{damaged:?}");
}

#[tokio::test]
async fn a_repository_that_is_too_long_for_the_shelf_is_read_for_nobody_who_may_not_change_it() {
    let (scene, mut owner) = published().await;
    let long = owner.targets_saying("long", Some(Value::from("x".repeat(6 * 1024 * 1024))));
    scene.publish(std::slice::from_ref(&long)).await.unwrap();
    let listed = scene.key(&RoleName::Timestamp).await;
    // Whoever reads the targets fails.
    scene.damage(b"b").await;

    let (publisher, name) = (scene.publisher(), &*GUN_NAME);
    assert_eq!(scene.key(&RoleName::Timestamp).await, listed);
    let another = publisher.rotate_key(ASKER, name, &RoleName::Timestamp, scene.deadline()).await.unwrap();
    assert_ne!(another, listed);
    let unread = scene.publish(&[owner.targets("v3")]).await;
    assert!(matches!(unread, Err(PublishError::Internal(_))), "{unread:?}");
    scene.put_policy("permit (principal, action == Action::\"read-trust\", resource);");
    let denied = scene.publish(&[owner.targets("v4")]).await;
    assert!(matches!(denied, Err(PublishError::Denied { .. })), "{denied:?}");
    let wish = Wish::Revoke { name: "long".to_owned() };
    let denied = publisher.change(&OWNER, name, wish, Vec::new(), scene.deadline()).await.unwrap_err();
    assert_eq!(denied.kind(), FaultKind::Forbidden, "{denied:?}");
}

#[tokio::test]
async fn a_repository_that_is_too_long_for_the_shelf_is_signed_anew_when_it_is_read() {
    let (scene, mut owner) = published().await;
    let long = owner.targets_saying("long", Some(Value::from("x".repeat(6 * 1024 * 1024))));
    scene.publish(std::slice::from_ref(&long)).await.unwrap();
    scene.clock.advance(DAY * 15);

    assert_eq!(scene.current(RoleName::Timestamp).await.version(), version(3));
    assert_eq!(scene.current(RoleName::Targets).await.raw(), long.raw());
}

#[tokio::test]
async fn a_backup_brings_the_trust_data_back_and_publications_go_on() {
    let (scene, mut owner) = published().await;
    let long = owner.targets_saying("long", Some(Value::from("x".repeat(200_000))));
    scene.publish(&[long]).await.unwrap();
    let before = scene.walk().await;

    let scene = scene.copied().await;

    let after = scene.walk().await;
    for (role, file) in before.files() {
        assert_eq!(after.file(role).unwrap().raw(), file.raw(), "{role}");
    }
    let old = scene.publisher().by_version(&OWNER, &GUN_NAME, &RoleName::Timestamp, version(1)).await;
    assert!(old.is_ok());
    let feed = Window::After { id: 0, count: 9 };
    assert_eq!(scene.publisher().changes(&OWNER, None, feed).await.unwrap().len(), 2);
    scene.publish(&[owner.targets("v3")]).await.unwrap();
    assert_eq!(scene.walk().await.file(&RoleName::Timestamp).unwrap().version(), version(3));
    assert_eq!(scene.publisher().changes(&OWNER, None, feed).await.unwrap().len(), 3);
}

#[tokio::test]
async fn heads_are_in_the_file_of_the_index() {
    let (scene, mut owner) = published().await;
    scene.house.save_index().await.unwrap();

    let scene = scene.restarted().await;

    scene.walk().await;
    scene.publish(&[owner.targets("v2")]).await.unwrap();
    assert!(scene.house.records().check_rows().await.unwrap().is_some());
    let feed = Window::After { id: 0, count: 9 };
    assert_eq!(scene.publisher().changes(&OWNER, None, feed).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_file_that_was_taken_away_on_the_disk_is_noticed() {
    let (scene, _) = published().await;
    for kind in [*b"m", *b"i", *b"h", *b"c"] {
        let error = scene.without_row(&kind).await;
        assert!(matches!(error, UnsealError::Tampered { .. }), "{error:?}");
    }
}
