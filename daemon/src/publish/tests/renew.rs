//! Files that are signed anew, and those that cannot be.

use std::task::Poll;

use super::*;

const OTHER: &str = "registry.example.com/team/other";

#[tokio::test]
async fn a_timestamp_is_signed_anew_each_day_though_nobody_reads_it() {
    let (scene, _) = published().await;
    let before = scene.walk().await;
    assert_eq!(scene.house.renew_timestamps().await.unwrap(), 0);

    scene.clock.advance(DAY);
    assert_eq!(scene.house.renew_timestamps().await.unwrap(), 1);
    assert_eq!(scene.house.renew_timestamps().await.unwrap(), 0);

    let now = scene.walk().await;
    assert_eq!(now.file(&RoleName::Snapshot).unwrap().raw(), before.file(&RoleName::Snapshot).unwrap().raw());
    assert!(now.file(&RoleName::Timestamp).unwrap().renews(before.file(&RoleName::Timestamp).unwrap()));
    let (who, role, ..) = scene.intents().await.pop().unwrap();
    assert_eq!((who.as_str(), role.as_str()), ("service:timestamp", "timestamp"));
}

#[tokio::test]
async fn a_timestamp_of_a_clock_that_was_ahead_is_late() {
    let (scene, _) = published().await;
    let now = scene.house.clock().now_unix_seconds();
    let late_at = |now| scene.house.records().timestamps(now).unwrap().1;

    let day = DAY.as_secs();
    assert_eq!((late_at(now), late_at(now - day), late_at(now - day - 1)), (0, 0, 1));
}

#[tokio::test]
async fn what_has_expired_is_signed_anew_when_it_is_read() {
    let (scene, _) = published().await;
    scene.clock.advance(DAY * 15);
    assert_eq!(scene.house.records().timestamps(scene.house.clock().now_unix_seconds()).unwrap(), (1, 1));

    let timestamp = scene.current(RoleName::Timestamp).await;
    assert_eq!(timestamp.version(), version(2));
    assert_eq!(scene.current(RoleName::Snapshot).await.version(), version(1));
    assert_eq!(scene.house.records().timestamps(scene.house.clock().now_unix_seconds()).unwrap(), (1, 0));

    scene.clock.advance(DAY * 1100);
    let snapshot = scene.current(RoleName::Snapshot).await;
    assert_eq!(snapshot.version(), version(2));
    let timestamp = scene.current(RoleName::Timestamp).await;
    assert_eq!(timestamp.version(), version(3));
    assert!(timestamp.as_timestamp().unwrap().snapshot().is_of(snapshot.raw()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_read_what_has_expired_have_it_signed_once() {
    let (scene, _) = published().await;
    scene.clock.advance(DAY * 15);
    let scene = Arc::new(scene);

    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let scene = Arc::clone(&scene);
            tokio::spawn(async move { scene.current(RoleName::Timestamp).await.version() })
        })
        .collect();

    for task in tasks {
        assert_eq!(task.await.unwrap(), version(2));
    }
}

#[tokio::test]
async fn what_cannot_be_signed_anew_is_shown_as_it_is() {
    let (scene, _) = published().await;
    scene.clock.advance(DAY * 15);
    scene.retire(GUN, trust::Purpose::Timestamp).await;

    assert_eq!(scene.house.renew_timestamps().await.unwrap(), 0);
    assert_eq!(scene.current(RoleName::Timestamp).await.version(), version(1));
}

#[tokio::test]
async fn those_that_cannot_be_signed_anew_hold_up_no_other() {
    let (scene, _) = published().await;
    scene.retire(GUN, trust::Purpose::Timestamp).await;
    scene.clock.advance(Duration::from_secs(60));
    scene.published_to(OTHER).await;
    scene.clock.advance(DAY);

    // The one that fails ends first, and is a page by itself.
    assert_eq!(scene.house.renew_by(1).await.unwrap(), 1);

    let renewed = scene.publisher().current(&OWNER, &gun(OTHER), &RoleName::Timestamp).await.unwrap();
    assert_eq!(renewed.version, version(2));
    assert_eq!(scene.house.renew_by(1).await.unwrap(), 0);
}

#[tokio::test]
async fn a_damaged_head_holds_up_no_other() {
    let (scene, _) = published().await;
    scene.damage(b"h").await;
    scene.clock.advance(Duration::from_secs(60));
    scene.published_to(OTHER).await;
    scene.clock.advance(DAY);

    assert_eq!(scene.house.renew_timestamps().await.unwrap(), 1);

    let renewed = scene.publisher().current(&OWNER, &gun(OTHER), &RoleName::Timestamp).await.unwrap();
    assert_eq!(renewed.version, version(2));
}

#[tokio::test]
async fn one_that_waits_for_its_turn_holds_up_no_other() {
    let (scene, _) = published().await;
    scene.clock.advance(Duration::from_secs(60));
    scene.published_to(OTHER).await;
    scene.clock.advance(DAY);
    // It ends first, and so its turn comes first.
    let turn = scene.turn().await;
    let house = Arc::clone(&scene.house);

    let sweep = tokio::spawn(async move { house.renew_timestamps().await });
    let renewed = async {
        let name = gun(OTHER);
        while scene.publisher().current(&OWNER, &name, &RoleName::Timestamp).await.unwrap().version != version(2) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), renewed).await.expect("it waits for the turn of another");
    drop(turn);

    assert_eq!(sweep.await.unwrap().unwrap(), 2);
    assert_eq!(scene.current(RoleName::Timestamp).await.version(), version(2));
}

/// What has expired is read while somebody else has the repository's turn.
async fn read_out_of_turn(scene: &Scene, role: RoleName) -> Document {
    let _turn = scene.turn().await;
    tokio::time::timeout(Duration::from_secs(30), scene.current(role)).await.expect("it waits for the turn")
}

#[tokio::test]
async fn what_only_its_owner_can_sign_anew_is_read_without_a_turn() {
    let (scene, mut owner) = (Scene::new().await, Owner::new(1));
    let timestamp = scene.key(&RoleName::Timestamp).await;
    let files = [owner.root_with_own_snapshot(timestamp), owner.targets("v1"), owner.snapshot(DAY * 30)];
    scene.publish(&files).await.unwrap();
    scene.clock.advance(DAY * 31);
    // The timestamp is the daemon's, and is signed anew over the snapshot as it is.
    assert_eq!(scene.current(RoleName::Timestamp).await.version(), version(2));

    assert_eq!(read_out_of_turn(&scene, RoleName::Snapshot).await.raw(), files[2].raw());
    assert_eq!(read_out_of_turn(&scene, RoleName::Timestamp).await.version(), version(2));
}

#[tokio::test]
async fn what_its_owner_wrote_otherwise_is_signed_anew_as_it_is_and_once() {
    let (scene, mut owner) = (Scene::new().await, Owner::new(1));
    let (snapshot, timestamp) = (scene.key(&RoleName::Snapshot).await, scene.key(&RoleName::Timestamp).await);
    let root = owner.root_with_either_snapshot(snapshot, timestamp);
    let by_one_hash = |signed: &mut serde_json::Value| {
        for meta in signed["meta"].as_object_mut().unwrap().values_mut() {
            meta["hashes"].as_object_mut().unwrap().remove("sha512");
        }
    };
    let files = [root, owner.targets("v1"), owner.snapshot_otherwise(Duration::from_secs(5), by_one_hash)];
    scene.publish(&files).await.unwrap();
    scene.clock.advance(Duration::from_secs(6));

    let timestamp = scene.current(RoleName::Timestamp).await;
    let snapshot = scene.current(RoleName::Snapshot).await;

    assert!(snapshot.renews(&files[2]), "{}", String::from_utf8_lossy(snapshot.raw()));
    assert!(timestamp.as_timestamp().unwrap().snapshot().is_of(snapshot.raw()));
    assert_eq!((timestamp.version(), snapshot.version()), (version(2), version(2)));
    // Nothing is due any more, so nothing is used up by whoever reads.
    let head = scene.house.records().head(&gun(GUN)).await.unwrap();
    assert_eq!(head.marks[&RoleName::Snapshot], version(2));
    assert_eq!(scene.walk().await.file(&RoleName::Snapshot).unwrap().raw(), snapshot.raw());
    assert_eq!(scene.house.renew_timestamps().await.unwrap(), 0);
    assert_eq!(scene.house.records().head(&gun(GUN)).await.unwrap(), head);
    scene.clock.advance(DAY);
    assert_eq!(scene.house.renew_timestamps().await.unwrap(), 1);
}

#[tokio::test]
async fn what_could_not_be_written_again_is_read_without_a_turn_and_uses_up_nothing() {
    let (scene, mut owner) = (Scene::new().await, Owner::new(1));
    let (snapshot, timestamp) = (scene.key(&RoleName::Snapshot).await, scene.key(&RoleName::Timestamp).await);
    let root = owner.root_with_either_snapshot(snapshot, timestamp);
    // Each letter takes six when it is written as Go writes it: more than a file may have.
    let long = |signed: &mut serde_json::Value| signed["x-long"] = "<".repeat(3 * 1024 * 1024).into();
    let files = [root, owner.targets("v1"), owner.snapshot_otherwise(Duration::from_secs(5), long)];
    scene.publish(&files).await.unwrap();
    scene.clock.advance(Duration::from_secs(6));
    let head = scene.house.records().head(&gun(GUN)).await.unwrap();

    assert_eq!(read_out_of_turn(&scene, RoleName::Snapshot).await.raw(), files[2].raw());
    assert_eq!(read_out_of_turn(&scene, RoleName::Timestamp).await.version(), version(1));
    assert_eq!(scene.house.records().head(&gun(GUN)).await.unwrap(), head);
    // The timestamp goes on over it.
    scene.clock.advance(DAY);
    assert_eq!(scene.house.renew_timestamps().await.unwrap(), 1);
    assert_eq!(scene.current(RoleName::Timestamp).await.version(), version(2));
}

#[tokio::test]
async fn what_no_key_is_there_for_is_read_without_a_turn() {
    let (scene, _) = published().await;
    scene.clock.advance(DAY * 15);
    scene.retire(GUN, trust::Purpose::Timestamp).await;

    assert_eq!(read_out_of_turn(&scene, RoleName::Timestamp).await.version(), version(1));
}

#[tokio::test]
async fn whoever_finds_too_many_waiting_reads_what_is_there() {
    let (scene, _) = published().await;
    scene.clock.advance(DAY * 15);
    let (name, shelf) = (gun(GUN), scene.house.shelf());
    let turn = scene.turn().await;
    let mut waiting = Vec::new();
    let refused = loop {
        let mut next = Box::pin(shelf.turn(&name, &Waiter::Reader, DAY));
        let polled = std::future::poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
        match polled {
            Poll::Pending => waiting.push(next),
            Poll::Ready(ended) => break ended.err(),
        }
    };
    assert_eq!(refused.map(|fault| fault.kind()), Some(FaultKind::Busy));

    assert_eq!(scene.current(RoleName::Timestamp).await.version(), version(1));

    drop((waiting, turn));
    assert_eq!(scene.current(RoleName::Timestamp).await.version(), version(2));
}

#[tokio::test]
async fn whoever_reads_while_custody_is_away_uses_up_no_version() {
    let (scene, mut owner) = published().await;
    let file = owner.targets("v2");
    scene.clock.advance(DAY * 1100);
    let head = scene.house.records().head(&gun(GUN)).await.unwrap();
    scene.house.parts.keyring.seal().unwrap();

    for role in [RoleName::Timestamp, RoleName::Snapshot, RoleName::Timestamp] {
        assert_eq!(scene.current(role).await.version(), version(1));
    }
    assert_eq!(scene.house.renew_timestamps().await.unwrap(), 0);
    let ended = scene.publish(&[file]).await;

    assert!(matches!(ended, Err(PublishError::Unavailable(_))), "{ended:?}");
    assert_eq!(scene.house.records().head(&gun(GUN)).await.unwrap(), head);
    scene.unseal_custody();
    assert_eq!(scene.current(RoleName::Timestamp).await.version(), version(2));
}

#[tokio::test]
async fn whoever_reads_what_cannot_be_signed_uses_up_one_version_a_minute() {
    let (scene, _) = published().await;
    scene.clock.advance(DAY * 15);
    // Behind the reservation there is no place for the work itself.
    let flights: Vec<_> = std::iter::from_fn(|| scene.house.take_flight().ok()).collect();

    for _ in 0..3 {
        assert_eq!(scene.current(RoleName::Timestamp).await.version(), version(1));
    }
    drop(flights);
    assert_eq!(scene.current(RoleName::Timestamp).await.version(), version(1));
    let head = scene.house.records().head(&gun(GUN)).await.unwrap();
    assert_eq!(head.marks[&RoleName::Timestamp], version(2));

    scene.clock.advance(Duration::from_secs(60));
    assert_eq!(scene.current(RoleName::Timestamp).await.version(), version(3));
}

#[tokio::test]
async fn a_snapshot_that_was_found_due_is_published_as_it_was_planned_then() {
    let (scene, _) = published().await;
    scene.clock.advance(DAY * 1100);
    let (publisher, name) = (scene.publisher(), gun(GUN));
    let held = publisher.generation(&name).await.unwrap();
    let now = i64::try_from(scene.clock.now_unix_seconds()).unwrap();
    let asked = || Asked::by_daemon(&scene.house, Service::Timestamp, Waiter::Upkeep, &name);
    let find = || publisher.renewal(&name, &held, now).unwrap().unwrap();
    let planned = find().snapshot.unwrap().1.document().signed_bytes().to_vec();
    // It took a while until it had its turn, and so would end later.
    scene.clock.advance(Duration::from_secs(10));

    publisher.renewed(asked(), Some(find())).await.unwrap();

    assert_eq!(scene.current(RoleName::Snapshot).await.signed_bytes(), planned);
    // What was found for another head is nothing now.
    publisher.renewed(asked(), Some(find())).await.unwrap();
    assert_eq!(scene.current(RoleName::Snapshot).await.version(), version(2));
    scene.walk().await;
}
