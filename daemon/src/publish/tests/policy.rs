//! What a policy and the bound on keys refuse.

use super::*;

#[tokio::test]
async fn keys_for_trust_data_have_a_bound() {
    let scene = Scene::with("permit (principal, action, resource);", |config| config.limits.trust_keys_max = 1).await;
    scene.key(&RoleName::Timestamp).await;

    let refused = scene.publisher().server_key(ASKER, &GUN_NAME, &RoleName::Snapshot, scene.deadline()).await;

    assert!(matches!(&refused, Err(PublishError::Denied { words: Some(_) })), "{refused:?}");
    scene.key(&RoleName::Timestamp).await;
}

#[tokio::test]
async fn a_policy_refuses_in_its_own_words_before_anything_is_signed() {
    let policy = "permit (principal, action, resource);\n\
         @message(\"targets are frozen until Monday\")\n\
         forbid (principal, action == Action::\"publish\", resource) when { context.role == \"targets\" && !context.is_new };\n\
         forbid (principal == LocalUid::\"7\", action in [Action::\"read-trust\", Action::\"delete-trust\"], resource);";
    let (scene, mut owner) = (Scene::with(policy, |_| {}).await, Owner::new(1));
    let files = first(&scene, &mut owner).await;
    scene.publish(&files).await.unwrap();
    let signed = scene.intents().await.len();

    let refused = scene.publish(&[owner.targets("v2")]).await;
    let stranger = Principal::LocalUid(7);
    let read = scene.publisher().current(&stranger, &GUN_NAME, &RoleName::Root).await;
    let deleted = scene.publisher().delete(Asker::named(&stranger), &GUN_NAME, scene.deadline()).await;

    let Err(PublishError::Denied { words }) = refused else { panic!("{refused:?}") };
    assert_eq!(words.as_deref(), Some("targets are frozen until Monday"));
    assert!(matches!(read, Err(PublishError::NotFound)));
    assert!(matches!(deleted, Err(PublishError::Denied { words: None })));
    assert_eq!(scene.intents().await.len(), signed);
    scene.walk().await;
}

#[tokio::test]
async fn who_waited_while_it_was_deleted_is_asked_about_a_new_one() {
    let policy = "permit (principal, action, resource);\n\
         forbid (principal == LocalUid::\"7\", action == Action::\"publish\", resource) when { context.is_new };";
    let (scene, mut owner) = (Scene::with(policy, |_| {}).await, Owner::new(1));
    let files = first(&scene, &mut owner).await;
    scene.publish(&files).await.unwrap();
    let root = owner.repository.file(&RoleName::Root).unwrap().clone();
    let sent = sent(&[root, owner.targets("v2")]);

    let turn = scene.turn().await;
    let (house, deadline) = (Arc::clone(&scene.house), scene.deadline());
    let waiting = tokio::spawn(async move {
        house.publisher().publish(Asker::named(&Principal::LocalUid(7)), &GUN_NAME, sent, deadline).await
    });
    // Until it waits for its turn.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let mut head = scene.house.records().head(&GUN_NAME).await.unwrap();
    head.bury();
    let (change, anchor) = (Some(ChangeKind::Deletion), scene.house.anchor());
    scene.house.records().publish(&GUN_NAME, head, &[], change, anchor).await.unwrap();
    drop(turn);

    let ended = waiting.await.unwrap();
    assert!(matches!(ended, Err(PublishError::Denied { .. })), "{ended:?}");
    let read = scene.publisher().current(&OWNER, &GUN_NAME, &RoleName::Root).await;
    assert!(matches!(read, Err(PublishError::NotFound)));
}

#[tokio::test]
async fn a_refusal_on_record_names_the_repository() {
    let policy = "permit (principal, action, resource);\n\
         forbid (principal == LocalUid::\"7\", action == Action::\"delete-trust\", resource);";
    let (scene, mut owner) = (Scene::with(policy, |_| {}).await, Owner::new(1));
    let files = first(&scene, &mut owner).await;

    let refused = scene.publisher().delete(Asker::named(&Principal::LocalUid(7)), &GUN_NAME, scene.deadline()).await;
    // Nobody waits for the leaf of a refusal; those that are written after it are waited for.
    scene.publish(&files).await.unwrap();

    assert!(matches!(refused, Err(PublishError::Denied { .. })), "{refused:?}");
    let leaves = scene.leaves().await;
    let refusal = leaves.iter().find(|leaf| leaf["kind"] == "refusal").unwrap();
    assert_eq!((&refusal["action"], &refusal["principal"]), (&"delete-trust".into(), &"uid:7".into()));
    assert_eq!(refusal["repository"], GUN);
}
