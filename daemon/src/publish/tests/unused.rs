//! Keys that somebody asked for and nobody used.

use trust::format::tuf::plan::Speakers;

use trust::{KeyId, Scope};

use super::scene::nobody;
use super::*;
use crate::keys::NewKey;

const OTHER: &str = "registry.example.com/team/other";
const WEEK: Duration = Duration::from_hours(7 * 24);
const ROLES: [RoleName; 2] = [RoleName::Snapshot, RoleName::Timestamp];

/// Operation and principal of every intent that changed a key.
async fn changes(scene: &Scene) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let leaves = scene.leaves().await.into_iter().filter(|leaf| leaf["kind"] == "intent");
    let all = leaves.map(|leaf| (text(&leaf["operation"]), text(&leaf["principal"])));
    all.filter(|(operation, _)| matches!(operation.as_str(), "retire" | "destroy" | "finish-destroy")).collect()
}

#[tokio::test]
async fn keys_that_nobody_published_with_go_and_make_room_for_others() {
    let scene = Scene::with("permit (principal, action, resource);", |config| config.limits.trust_keys_max = 2).await;
    let snapshot = scene.key(&RoleName::Snapshot).await;
    scene.key(&RoleName::Timestamp).await;
    let other = gun(OTHER);
    let ask = || scene.publisher().server_key(ASKER, &other, &RoleName::Timestamp, scene.deadline());
    assert!(matches!(ask().await, Err(PublishError::Denied { words: Some(_) })));

    scene.clock.advance(WEEK - Duration::from_secs(1));
    assert_eq!(scene.house.discard_unused_keys().await.unwrap(), 0);
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(scene.house.discard_unused_keys().await.unwrap(), 2);
    assert_eq!(scene.house.discard_unused_keys().await.unwrap(), 0);

    ask().await.unwrap();
    assert_eq!(scene.house.records().trust_key_count().unwrap(), (3, 1));
    let service = |operation: &str| (operation.to_owned(), "service:destruction".to_owned());
    let both = [service("retire"), service("destroy")];
    assert_eq!(changes(&scene).await, [both.clone(), both].concat());
    scene.clock.advance(WEEK);
    assert_eq!(scene.house.finish_destructions().await.unwrap(), 2);
    assert_eq!(scene.house.records().trust_key_count().unwrap(), (3, 1));
    // Whoever comes after all gets others.
    assert_ne!(scene.key(&RoleName::Snapshot).await, snapshot);
    let full = scene.publisher().server_key(ASKER, &GUN_NAME, &RoleName::Timestamp, scene.deadline()).await;
    let Err(PublishError::Denied { words: Some(words) }) = full else { panic!("{full:?}") };
    assert!(words.contains("destroys what nobody needs"), "{words}");
}

#[tokio::test]
async fn a_repository_that_has_used_too_many_keys_takes_those_that_are_made_for_it() {
    let (scene, _) = published().await;
    let mut head = scene.house.records().head(&GUN_NAME).await.unwrap();
    head.signers.extend((0..1024_u128).map(|number| KeyId::from_bytes(number.to_be_bytes())));
    scene.house.records().publish(&GUN_NAME, head, &[], None, scene.house.anchor()).await.unwrap();
    let another = || scene.publisher().rotate_key(ASKER, &GUN_NAME, &RoleName::Timestamp, scene.deadline());

    let refused = another().await;

    let Err(PublishError::Denied { words: Some(words) }) = refused else { panic!("{refused:?}") };
    assert!(words.contains("1024 keys") && words.contains("trustctl key create"), "{words}");
    let purpose = trust::Purpose::Timestamp;
    let new = NewKey {
        name: "next".parse().unwrap(),
        purpose,
        algorithm: purpose.default_algorithm(),
        scope: Scope::Gun(GUN_NAME.clone()),
        forms: purpose.forms(purpose.default_algorithm()).to_vec(),
        token: None,
    };
    let made = scene.house.create_key(&OWNER, new, None, scene.deadline()).await.unwrap();
    let key = trust::format::tuf::Key::of(&made.view.newest().unwrap().public_key).unwrap();
    assert_eq!(another().await.unwrap(), key);
}

#[tokio::test]
async fn one_stranger_has_a_share_of_the_keys_and_others_the_rest() {
    let scene = Scene::with("permit (principal, action, resource);", |config| config.limits.trust_keys_max = 8).await;
    let ask = async |name: &str, from: &str| {
        let (gun, stranger) = (gun(&format!("registry.example.com/{name}")), Some(from.parse().unwrap()));
        let asker = Asker { who: &nobody(), stranger };
        scene.publisher().server_key(asker, &gun, &RoleName::Timestamp, scene.deadline()).await
    };
    let first = ask("a", "192.0.2.1").await.unwrap();
    ask("b", "192.0.2.1").await.unwrap();

    let third = ask("c", "192.0.2.1").await;
    assert!(matches!(third, Err(PublishError::Busy)), "{third:?}");
    assert_eq!(ask("a", "192.0.2.1").await.unwrap(), first, "it is there");
    ask("c", "192.0.2.2").await.unwrap();
    scene.key(&RoleName::Timestamp).await;
    assert_eq!(scene.house.records().trust_key_count().unwrap(), (4, 4));
    // In each time after which unused keys go there is another share.
    scene.clock.advance(WEEK / 2);
    ask("d", "192.0.2.1").await.unwrap();
    assert!(ask("e", "192.0.2.1").await.is_err());
}

#[tokio::test]
async fn a_key_that_a_stranger_rotates_to_is_one_of_its_share() {
    let scene = Scene::with("permit (principal, action, resource);", |config| config.limits.trust_keys_max = 8).await;
    let rotate = async |name: &str, stranger: Option<IpAddr>| {
        let (gun, asker) = (gun(&format!("registry.example.com/{name}")), Asker { who: &nobody(), stranger });
        scene.publisher().rotate_key(asker, &gun, &RoleName::Timestamp, scene.deadline()).await
    };
    let from = Some("192.0.2.1".parse().unwrap());
    rotate("a", from).await.unwrap();
    rotate("b", from).await.unwrap();

    let third = rotate("c", from).await;

    assert!(matches!(third, Err(PublishError::Busy)), "{third:?}");
    assert_eq!(scene.house.records().trust_key_count().unwrap(), (2, 2));
    rotate("c", None).await.unwrap();
}

#[tokio::test]
async fn those_that_have_ended_are_counted_when_they_are_very_many() {
    let scene = Scene::with("permit (principal, action, resource);", |config| config.limits.trust_keys_max = 1).await;
    for _ in 0..10 {
        scene.key(&RoleName::Timestamp).await;
        scene.clock.advance(WEEK);
        assert_eq!(scene.house.discard_unused_keys().await.unwrap(), 1);
    }

    let full = scene.publisher().server_key(ASKER, &GUN_NAME, &RoleName::Timestamp, scene.deadline()).await;

    let Err(PublishError::Denied { words: Some(words) }) = full else { panic!("{full:?}") };
    assert!(words.contains("those that have ended") && words.contains("raises trust_keys_max"), "{words}");
    assert_eq!(scene.house.records().trust_key_count().unwrap(), (10, 0));
    let mut scene = scene.restarted().await;
    assert_eq!(scene.house.records().trust_key_count().unwrap(), (10, 0));
    // What the refusal says to do.
    scene.config.limits.trust_keys_max = 2;
    let scene = scene.restarted().await;
    scene.key(&RoleName::Timestamp).await;
}

#[tokio::test]
async fn what_has_signed_or_is_listed_stays_and_what_nobody_lists_goes() {
    let (scene, mut owner) = published().await;
    let [snapshot, timestamp] = [scene.key(&RoleName::Snapshot).await, scene.key(&RoleName::Timestamp).await];
    let another = || scene.publisher().rotate_key(ASKER, &GUN_NAME, &RoleName::Timestamp, scene.deadline());
    // One that root lists beside the one that signs, and one that it does not list.
    let listed = another().await.unwrap();
    let timestamps = Speakers { keys: vec![timestamp.clone(), listed.clone()], threshold: 1 };
    scene.publish(&[owner.root_of(Speakers::one(snapshot), timestamps)]).await.unwrap();
    let unlisted = another().await.unwrap();
    assert_ne!(unlisted, listed);

    scene.clock.advance(WEEK);
    assert_eq!(scene.house.discard_unused_keys().await.unwrap(), 1);

    assert_ne!(another().await.unwrap(), unlisted);
    scene.publish(&[owner.targets("v2")]).await.unwrap();
    // Which of the two that root lists is told is as their names, which are random, have it.
    assert!([timestamp, listed].contains(&scene.key(&RoleName::Timestamp).await));
    scene.walk().await;
}

#[tokio::test]
async fn whoever_is_told_a_key_has_half_of_its_time_to_publish_with_it() {
    let (scene, mut owner) = (Scene::new().await, Owner::new(1));
    let mut first_keys = Vec::new();
    for role in ROLES {
        first_keys.push(scene.key(&role).await);
    }
    scene.clock.advance(WEEK / 2 - Duration::from_secs(1));
    assert_eq!(scene.key(&RoleName::Timestamp).await, first_keys[1]);
    scene.clock.advance(Duration::from_secs(1));

    let files = first(&scene, &mut owner).await;
    assert_ne!(scene.key(&RoleName::Timestamp).await, first_keys[1]);
    scene.clock.advance(WEEK / 2);
    assert_eq!(scene.house.discard_unused_keys().await.unwrap(), 2);

    scene.publish(&files).await.unwrap();
    scene.clock.advance(WEEK);
    assert_eq!(scene.house.discard_unused_keys().await.unwrap(), 0);
    scene.publish(&[owner.targets("v2")]).await.unwrap();
}

#[tokio::test]
async fn where_the_configuration_says_so_they_stay() {
    let scene = Scene::with("permit (principal, action, resource);", |config| {
        config.keys.unused_trust_keys_after = None;
    })
    .await;
    let key = scene.key(&RoleName::Timestamp).await;

    scene.clock.advance(WEEK * 100);

    assert_eq!(scene.house.discard_unused_keys().await.unwrap(), 0);
    assert_eq!(scene.key(&RoleName::Timestamp).await, key);
}

#[tokio::test]
async fn what_a_sweep_that_was_cut_off_has_retired_goes_and_what_somebody_kept_stays() {
    let scene = Scene::new().await;
    scene.key(&RoleName::Timestamp).await;
    scene.clock.advance(WEEK);
    // The first half of what a sweep does.
    scene.retire(GUN, trust::Purpose::Timestamp).await;
    assert_eq!(scene.house.records().trust_key_count().unwrap(), (1, 1));

    let scene = scene.restarted().await;
    assert_eq!(scene.house.discard_unused_keys().await.unwrap(), 1);

    assert_eq!(scene.house.records().trust_key_count().unwrap(), (1, 0));
    assert_eq!(changes(&scene).await, [("destroy".to_owned(), "service:destruction".to_owned())]);
    // Its destruction is cancelled: somebody wants it.
    scene.retire(GUN, trust::Purpose::Timestamp).await;
    assert_eq!(scene.house.discard_unused_keys().await.unwrap(), 0);
}
