//! What one repository may have, and what leaves it for others to have room.

use trust::format::tuf::plan::Change as Planned;

use super::super::room::{BELOW_MAX, NAMES_BYTES_MAX, ROLES_MAX, UNDELEGATED_MAX};
use super::*;

fn roles(names: impl IntoIterator<Item = String>) -> Vec<RoleName> {
    names.into_iter().map(|name| name.parse().unwrap()).collect()
}

/// The next file of `parent`, which lets these roles sign, and a file of each.
fn delegated(owner: &mut Owner, parent: &RoleName, roles: &[RoleName]) -> Vec<Document> {
    let changes: Vec<Planned> = roles.iter().map(|role| owner.delegating(role)).collect();
    let mut files = vec![owner.changed(parent, &changes)];
    files.extend(roles.iter().map(|role| owner.changed(role, &[])));
    files
}

#[track_caller]
fn assert_refused(ended: &Result<(), PublishError>, why: &str) {
    assert!(
        matches!(ended, Err(PublishError::Refused(Refusal::Validation(said))) if said.contains(why)),
        "{ended:?}, not {why:?}"
    );
}

#[tokio::test]
async fn what_nobody_delegates_to_any_more_leaves_when_others_need_the_room() {
    let (scene, mut owner) = published().await;
    let all = roles((0..ROLES_MAX - 4).map(|n| format!("targets/r{n}")));
    let [gone, new] = ["targets/r7", "targets/new"].map(|name| name.parse::<RoleName>().unwrap());
    let files = delegated(&mut owner, &RoleName::Targets, &all);
    scene.publish(&files).await.unwrap();

    // Each of them may sign, so there is no room for another.
    let more = delegated(&mut owner, &RoleName::Targets, std::slice::from_ref(&new));
    assert_refused(&scene.publish(&more).await, "at most 512 roles");
    scene.publish(&more[..1]).await.unwrap();
    assert_refused(&scene.publish(&more[1..]).await, "at most 512 roles");

    // Whoever is let in again goes on with what was signed before.
    scene.publish(&[owner.changed(&RoleName::Targets, &[Planned::Undelegate(gone.clone())])]).await.unwrap();
    assert_eq!(scene.current(gone.clone()).await.version(), version(1));
    scene.publish(&more[1..]).await.unwrap();

    let whole = scene.walk().await;
    assert!(whole.files().len() == ROLES_MAX && whole.file(&new).is_some() && whole.file(&gone).is_none());
    let (publisher, name) = (scene.publisher(), gun(GUN));
    assert!(matches!(publisher.current(&OWNER, &name, &gone).await, Err(PublishError::NotFound)));
    assert!(publisher.by_version(&OWNER, &name, &gone, version(1)).await.is_ok());
    // Its version is used: it does not come twice.
    assert_eq!(scene.house.records().head(&name).await.unwrap().marks[&gone], version(1));
}

#[tokio::test]
async fn one_delegate_does_not_fill_the_head_with_names() {
    let (scene, mut owner) = published().await;
    let [parent, other] = ["targets/a", "targets/b"].map(|name| name.parse::<RoleName>().unwrap());
    let children = roles((0..BELOW_MAX).map(|n| format!("targets/a/c{n}")));
    scene.publish(&delegated(&mut owner, &RoleName::Targets, &[parent.clone(), other.clone()])).await.unwrap();
    scene.publish(&delegated(&mut owner, &parent, &children)).await.unwrap();
    let gone: Vec<Planned> = children[1..].iter().cloned().map(Planned::Undelegate).collect();
    scene.publish(&[owner.changed(&parent, &gone)]).await.unwrap();

    let more = delegated(&mut owner, &parent, &roles(["targets/a/more".to_owned()]));
    assert_refused(&scene.publish(&more).await, "at most 128 roles may ever have been below targets/a");
    let deeper = roles(["targets/a/c0/deep".to_owned()]);
    let deeper = delegated(&mut owner, &children[0], &deeper);
    assert_refused(&scene.publish(&deeper).await, "below targets/a");

    // Those that are there go on, and others have room of their own.
    scene.publish(&[owner.changed(&children[0], &[])]).await.unwrap();
    scene.publish(&delegated(&mut owner, &other, &roles(["targets/b/c".to_owned()]))).await.unwrap();
    scene.walk().await;
}

#[tokio::test]
async fn a_snapshot_that_was_sent_names_few_that_nobody_delegates_to() {
    let (scene, mut owner) = (Scene::new().await, Owner::new(1));
    let timestamp = scene.key(&RoleName::Timestamp).await;
    let files = [owner.root_with_own_snapshot(timestamp), owner.targets("v1"), owner.snapshot(DAY)];
    scene.publish(&files).await.unwrap();
    let all = roles((0..=UNDELEGATED_MAX).map(|n| format!("targets/r{n}")));
    let mut files = delegated(&mut owner, &RoleName::Targets, &all);
    files.push(owner.snapshot(DAY));
    scene.publish(&files).await.unwrap();

    let gone: Vec<Planned> = all.iter().cloned().map(Planned::Undelegate).collect();
    let targets = owner.changed(&RoleName::Targets, &gone);
    let ended = scene.publish(&[targets.clone(), owner.snapshot(DAY)]).await;

    assert!(
        matches!(&ended, Err(PublishError::Refused(Refusal::BadSnapshot(said))) if said.contains("129 roles that nobody")),
        "{ended:?}"
    );
    let shorter = owner.snapshot_otherwise(DAY, |signed| {
        signed["meta"].as_object_mut().unwrap().remove(all[0].as_str()).unwrap();
    });
    scene.publish(&[targets, shorter]).await.unwrap();
    assert_eq!(scene.current(all[1].clone()).await.version(), version(1));
    let left_out = scene.publisher().current(&OWNER, &gun(GUN), &all[0]).await;
    assert!(matches!(left_out, Err(PublishError::NotFound)), "{left_out:?}");
}

#[tokio::test]
async fn the_names_of_all_roles_that_ever_were_have_a_bound() {
    let (scene, mut owner) = published().await;
    let name = gun(GUN);
    let mut head = scene.house.records().head(&name).await.unwrap();
    let long = roles((0..NAMES_BYTES_MAX / 248).map(|n| format!("targets/{n:0>240}")));
    head.marks.extend(long.iter().cloned().map(|role| (role, version(1))));
    scene.house.records().publish(&name, head, &[], None, scene.house.anchor()).await.unwrap();

    let more = delegated(&mut owner, &RoleName::Targets, &roles([format!("targets/{}", "a".repeat(240))]));
    assert_refused(&scene.publish(&more).await, "have at most 256 KiB together");

    // What there is goes on.
    scene.publish(&more[..1]).await.unwrap();
    scene.clock.advance(DAY);
    assert_eq!(scene.house.renew_timestamps().await.unwrap(), 1);
    scene.walk().await;
}
