//! Policies that are others by the time of the last signature.

use super::*;

/// The policy as it was, with something besides.
fn policy_and(more: &str) -> String {
    format!("{POLICY} {more}")
}

#[tokio::test]
async fn a_signature_that_the_policy_would_not_allow_now_counts_no_more() {
    let scene = Scene::shared().await;
    let digest = waiting(&scene.sign_in(&ALICE, qa(), "1.0").await.unwrap()).digest;

    for action in ["sign-metadata", "publish"] {
        let without = format!("forbid (principal == LocalUid::\"1000\", action == Action::\"{action}\", resource);");
        scene.put_policy(&policy_and(&without));

        let words = "the signature for targets/qa that uid:1000 has had made counts no more";
        let over = scene.waits(&BOB).await.unwrap().over.unwrap();
        assert!(over.contains(words) && over.contains("withdraw the proposal and begin again"), "{over}");
        is_refused(scene.approve(&BOB, digest).await, FaultKind::Refused, words);
        assert_eq!(scene.signed_for_qa().await.len(), 1, "nobody signs in vain");
    }

    // It is not taken away: a policy may have been loaded by mistake.
    scene.put_policy(POLICY);
    assert!(scene.waits(&BOB).await.unwrap().over.is_none());
    scene.approve(&BOB, digest).await.unwrap();
    assert_eq!(scene.published_by_qa().await, Some((1, vec!["1.0".to_owned()])));
}

/// Alice began it and approves nothing: she is asked about as the one who began it.
#[tokio::test]
async fn a_signature_is_asked_about_in_the_words_of_then() {
    let scene = Scene::shared().await;
    let digest = waiting(&scene.sign_in(&ALICE, qa(), "1.0").await.unwrap()).digest;
    scene.put_policy(&policy_and(
        "forbid (principal == LocalUid::\"1000\", action == Action::\"sign-metadata\", resource)
         when { context.is_approval };
         forbid (principal, action == Action::\"sign-metadata\", resource)
         when { context.operation == \"sign\" && !context.targets.contains(\"1.0\") };",
    ));

    scene.approve(&BOB, digest).await.unwrap();

    assert_eq!(scene.published_by_qa().await, Some((1, vec!["1.0".to_owned()])));
    // Begun by the other, her signature would be an approval.
    let other = waiting(&scene.sign_in(&BOB, qa(), "1.0").await.unwrap()).digest;
    is_refused(scene.approve(&ALICE, other).await, FaultKind::Forbidden, "");
}

#[tokio::test]
async fn a_signature_of_which_nobody_knows_who_had_it_made_counts_no_more() {
    let scene = Scene::shared().await;
    let digest = waiting(&scene.sign_in(&ALICE, qa(), "1.0").await.unwrap()).digest;
    let mut head = scene.house.records().head(&gun(GUN)).await.unwrap();
    head.proposal.as_mut().unwrap().signers.clear();
    scene.house.records().publish(&gun(GUN), head, &[], None, scene.house.anchor()).await.unwrap();

    is_refused(scene.approve(&BOB, digest).await, FaultKind::Refused, "nobody knows who had it made");
    scene.withdraw(&BOB, digest).await.unwrap();
    let again = waiting(&scene.sign_in(&ALICE, qa(), "1.0").await.unwrap()).digest;
    scene.approve(&BOB, again).await.unwrap();
}
