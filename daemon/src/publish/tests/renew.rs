//! Files that are signed anew, and those that cannot be.

use super::*;

const OTHER: &str = "registry.example.com/team/other";

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
    scene.damage_head().await;
    scene.clock.advance(Duration::from_secs(60));
    scene.published_to(OTHER).await;
    scene.clock.advance(DAY);

    assert_eq!(scene.house.renew_timestamps().await.unwrap(), 1);

    let renewed = scene.publisher().current(&OWNER, &gun(OTHER), &RoleName::Timestamp).await.unwrap();
    assert_eq!(renewed.version, version(2));
}
