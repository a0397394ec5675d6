//! What was sent counts among what is held until the work on it has ended, and what comes too late begins nothing.

use std::task::Poll;

use tokio::sync::Semaphore;

use super::*;

/// Lets what was begun go on to where it waits.
async fn settled() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_hangs_up_has_its_places_until_the_work_has_ended() {
    let (scene, mut owner) = published().await;
    let (who, name, places) = (OWNER, gun(GUN), Arc::new(Semaphore::new(1)));
    let held = vec![Arc::clone(&places).try_acquire_owned().unwrap()];
    let sent = Sent { held, ..sent(&[owner.targets("v2")]) };
    let turn = scene.turn().await;

    let mut publishing = Box::pin(scene.publisher().publish(Asker::named(&who), &name, sent, scene.deadline()));
    let polled = std::future::poll_fn(|context| Poll::Ready(publishing.as_mut().poll(context).is_ready())).await;
    assert!(!polled, "it waits for its turn");
    drop(publishing);
    settled().await;

    assert_eq!(places.available_permits(), 0);
    drop(turn);
    let _place = places.acquire().await.unwrap();
    assert_eq!(scene.current(RoleName::Targets).await.version(), version(2));
}

#[tokio::test]
async fn a_publication_whose_turn_comes_too_late_uses_up_no_version() {
    let (scene, mut owner) = published().await;
    let (name, file) = (gun(GUN), owner.targets("v2"));
    let before = scene.house.records().head(&name).await.unwrap();
    let turn = scene.turn().await;
    let (house, sent, deadline) = (Arc::clone(&scene.house), sent(std::slice::from_ref(&file)), scene.deadline());
    let waiting = tokio::spawn(async move { house.publisher().publish(ASKER, &gun(GUN), sent, deadline).await });
    settled().await;

    scene.clock.advance(Duration::from_secs(60));
    drop(turn);

    let ended = waiting.await.unwrap();
    assert!(matches!(ended, Err(PublishError::Unavailable(_))), "{ended:?}");
    assert_eq!(scene.house.records().head(&name).await.unwrap(), before);
    scene.publish(&[file]).await.unwrap();
    assert_eq!(scene.walk().await.file(&RoleName::Timestamp).unwrap().version(), version(2));
}

#[tokio::test]
async fn a_reader_whose_turn_comes_too_late_uses_up_no_version() {
    let (scene, _) = published().await;
    scene.clock.advance(DAY * 15);
    let (name, scene) = (gun(GUN), Arc::new(scene));
    let before = scene.house.records().head(&name).await.unwrap();
    let turn = scene.turn().await;
    let reader = Arc::clone(&scene);
    let waiting = tokio::spawn(async move { reader.current(RoleName::Timestamp).await.version() });
    settled().await;

    scene.clock.advance(scene.house.limits().request_time_max);
    drop(turn);

    assert_eq!(waiting.await.unwrap(), version(1));
    assert_eq!(scene.house.records().head(&name).await.unwrap(), before);
    assert_eq!(scene.current(RoleName::Timestamp).await.version(), version(2));
}

#[tokio::test]
async fn an_upload_that_says_nothing_signs_nothing_where_all_is_current() {
    let (scene, mut owner) = published().await;
    let name = gun(GUN);
    let before = scene.house.records().head(&name).await.unwrap();
    let timestamp = scene.current(RoleName::Timestamp).await;
    // It does not wait for its turn, either.
    let turn = scene.turn().await;

    for count in 0..3 {
        scene.publish(&vec![timestamp.clone(); count]).await.unwrap();
    }

    drop(turn);
    assert_eq!(scene.house.records().head(&name).await.unwrap(), before);
    assert_eq!(scene.intents().await.len(), 2);
    // What is due is signed.
    scene.clock.advance(DAY);
    scene.publish(&[]).await.unwrap();
    assert_eq!(scene.current(RoleName::Timestamp).await.version(), version(2));
    assert_eq!(scene.current(RoleName::Snapshot).await.version(), version(2));
    scene.publish(&[owner.targets("v2")]).await.unwrap();
    scene.walk().await;
}

#[tokio::test]
async fn an_upload_that_says_nothing_is_answered_as_ever_where_something_is_missing() {
    let (scene, _) = published().await;
    let nowhere = scene.publish_to("registry.example.com/team/none", &[]).await;
    assert!(matches!(nowhere, Err(PublishError::Refused(Refusal::Validation(_)))), "{nowhere:?}");
    scene.retire(GUN, trust::Purpose::Snapshot).await;
    let unsigned = scene.publish(&[]).await;
    assert!(matches!(unsigned, Err(PublishError::Refused(Refusal::BadHierarchy { .. }))), "{unsigned:?}");
    scene.publisher().delete(ASKER, &gun(GUN), scene.deadline()).await.unwrap();
    assert!(scene.publish(&[]).await.is_err());
}

#[tokio::test]
async fn nothing_is_reserved_for_whoever_waits_no_longer() {
    let (scene, _) = published().await;
    let asked = Asked::by(&OWNER, &gun(GUN), scene.clock.monotonic());
    let held = scene.publisher().generation(&asked.gun).await.unwrap();
    let keys = scene.publisher().signers(&asked.gun, &held.repository, &RoleName::Timestamp).unwrap();
    let own = OwnFiles::plan(&held.repository, None, (keys, ends(0, 1000).unwrap())).unwrap();

    let late = scene.publisher().reserve(&asked, &held.head, &own).await;

    assert!(matches!(late, Err(PublishError::Unavailable(_))), "{late:?}");
    assert_eq!(scene.house.records().head(&asked.gun).await.unwrap(), held.head);
}
