//! Proposals that go without having been published.

use super::super::NOW;
use super::*;
use crate::audit::{IntentLeaf, Leaf, SubjectBody};
use crate::records::Head;

/// A proposal that was taken away, as the log has it.
#[derive(Debug, PartialEq, Eq)]
struct Gone {
    operation: String,
    by: String,
    digest: String,
    begun_by: String,
    end: String,
}

impl Scene {
    /// Every proposal that was taken away.
    async fn gone(&self) -> Vec<Gone> {
        let mut gone = Vec::new();
        for (leaf, said) in (0..).zip(self.leaves().await) {
            if said["kind"] != "intent" || said["subject"]["type"] != "tuf-proposal" {
                continue;
            }
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            assert_eq!(said["subject"]["reference"], GUN);
            gone.push(Gone {
                operation: text(&said["operation"]),
                by: text(&said["principal"]),
                digest: text(&said["subject"]["digest"]),
                begun_by: text(&said["subject"]["name"]),
                end: self.end_of(leaf).await,
            });
        }
        gone
    }
}

/// One that is gone, which Alice began.
fn gone(operation: &str, by: &Principal, digest: Sha256Digest) -> Gone {
    Gone {
        operation: operation.to_owned(),
        by: by.to_string(),
        digest: digest.to_string(),
        begun_by: ALICE.to_string(),
        end: "done".to_owned(),
    }
}

#[tokio::test]
async fn it_waits_a_week() {
    let scene = Scene::shared().await;
    let proposed = scene.sign_in(&ALICE, qa(), "1.0").await.unwrap();
    let digest = waiting(&proposed).digest;

    scene.clock.advance(Duration::from_hours(7 * 24));

    is_refused(scene.approve(&BOB, digest).await, FaultKind::Conflict, "its time is over");
    assert!(scene.waits(&BOB).await.is_none());
    let again = scene.sign_in(&ALICE, qa(), "1.0").await.unwrap();
    scene.clock.advance(Duration::from_secs(7 * 24 * 3600 - 1));
    scene.approve(&BOB, waiting(&again).digest).await.unwrap();
}

#[tokio::test]
async fn a_deletion_takes_it_away() {
    let scene = Scene::shared().await;
    let proposed = scene.sign_in(&ALICE, qa(), "1.0").await.unwrap();
    let digest = waiting(&proposed).digest;

    scene.publisher().delete(Asker::named(&ALICE), &gun(GUN), scene.deadline()).await.unwrap();
    is_refused(scene.approve(&BOB, digest).await, FaultKind::Missing, "nothing waits");
    scene.begin(GUN, Beginning::default()).await.unwrap();

    is_refused(scene.approve(&BOB, digest).await, FaultKind::Missing, "nothing waits");
    assert!(scene.waits(&ALICE).await.is_none());
}

#[tokio::test]
async fn whoever_began_it_could_sign_it_or_may_delete_everything_takes_it_back() {
    let scene = Scene::shared().await;
    let digest = waiting(&scene.sign_in(&ALICE, qa(), "1.0").await.unwrap()).digest;

    is_refused(scene.withdraw(&NOBODY, digest).await, FaultKind::Forbidden, "whoever may delete the trust data");
    is_refused(scene.withdraw(&BOB, Sha256Digest::of(b"other")).await, FaultKind::Conflict, "look at it first");
    scene.withdraw(&BOB, digest).await.unwrap();
    is_refused(scene.withdraw(&BOB, digest).await, FaultKind::Missing, "nothing waits");
    is_refused(scene.approve(&BOB, digest).await, FaultKind::Missing, "nothing waits");
    let digest = waiting(&scene.sign_in(&ALICE, qa(), "1.0").await.unwrap()).digest;
    scene.withdraw(&ALICE, digest).await.unwrap();
    // Whose policy gives them no key, and the whole repository.
    let digest = waiting(&scene.sign_in(&ALICE, qa(), "1.0").await.unwrap()).digest;
    is_refused(scene.approve(&ADMIN, digest).await, FaultKind::Forbidden, "");
    is_refused(scene.sign_in(&BOB, qa(), "2.0").await, FaultKind::Refused, "a proposal of uid:1000 for targets/qa");
    scene.withdraw(&ADMIN, digest).await.unwrap();

    assert!(scene.published_by_qa().await.is_none());
    assert_eq!(scene.gone().await.pop().unwrap(), gone("withdraw", &ADMIN, digest), "it says whose it was");
}

#[tokio::test]
async fn what_is_taken_back_and_what_cannot_be_signed_any_more_are_on_record() {
    let scene = Scene::shared().await;
    let withdrawn = waiting(&scene.sign_in(&ALICE, qa(), "1.0").await.unwrap()).digest;
    scene.withdraw(&BOB, withdrawn).await.unwrap();
    let late = waiting(&scene.sign_in(&ALICE, qa(), "2.0").await.unwrap()).digest;
    scene.clock.advance(Duration::from_hours(7 * 24));
    scene.approve(&BOB, late).await.unwrap_err();
    let stale = waiting(&scene.sign_in(&ALICE, qa(), "3.0").await.unwrap()).digest;
    scene.sign_in(&BOTH, qa(), "4.0").await.unwrap();
    let kept = waiting(&scene.sign_in(&BOB, qa(), "5.0").await.unwrap()).digest;

    let expected = [gone("withdraw", &BOB, withdrawn), gone("discard", &BOB, late), gone("discard", &BOB, stale)];
    assert_eq!(scene.gone().await, expected);
    // One that is refused, or published, is not taken away.
    scene.withdraw(&NOBODY, kept).await.unwrap_err();
    scene.approve(&ALICE, kept).await.unwrap();
    assert_eq!(scene.gone().await, expected);
}

/// The intent to take a proposal away, and nothing behind it; its leaf.
async fn is_to_go(scene: &Scene, operation: &'static str, digest: Sha256Digest) -> u64 {
    let mut intent = IntentLeaf::new(NOW * 1000, &ALICE);
    intent.operation = operation;
    intent.subject = Some(SubjectBody::proposal(&gun(GUN), digest, "uid:1000"));
    scene.house.audit().append(Leaf::Intent(intent)).await.unwrap()
}

#[tokio::test]
async fn of_a_withdrawal_that_was_cut_off_the_log_says_that_it_was_not_begun_and_the_proposal_waits() {
    for operation in ["withdraw", "discard"] {
        let scene = Scene::shared().await;
        let digest = waiting(&scene.sign_in(&ALICE, qa(), "1.0").await.unwrap()).digest;
        let leaf = is_to_go(&scene, operation, digest).await;

        let scene = scene.restarted().await;

        assert_eq!(scene.end_of(leaf).await, "not-started");
        assert_eq!(scene.waits(&BOB).await.unwrap().digest, digest);
        scene.approve(&BOB, digest).await.unwrap();
    }
}

#[tokio::test]
async fn a_withdrawal_that_was_made_is_done_though_nobody_could_say_so() {
    let scene = Scene::shared().await;
    let digest = waiting(&scene.sign_in(&ALICE, qa(), "1.0").await.unwrap()).digest;
    let leaf = is_to_go(&scene, "withdraw", digest).await;
    let head = Head { proposal: None, ..scene.house.records().head(&gun(GUN)).await.unwrap() };
    scene.house.records().publish(&gun(GUN), head, &[], None, scene.house.anchor()).await.unwrap();

    let scene = scene.restarted().await;

    assert_eq!(scene.end_of(leaf).await, "done");
    // The same once more is another one: its versions are its own.
    let again = waiting(&scene.sign_in(&ALICE, qa(), "1.0").await.unwrap()).digest;
    assert_ne!(again, digest);
    let scene = scene.restarted().await;
    assert_eq!(scene.end_of(leaf).await, "done");
    scene.approve(&BOB, again).await.unwrap();
}
