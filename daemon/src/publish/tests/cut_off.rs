//! Deletions that a kill cut off: the next start says in the log what became of them.

use super::*;
use crate::audit::{IntentLeaf, Leaf, StartLeaf, SubjectBody};
use crate::records::ChangeKind;

impl Scene {
    /// The intent of a deletion, and nothing behind it; its leaf.
    async fn begins_to_delete(&self) -> u64 {
        let timestamp = self.current(RoleName::Timestamp).await.version();
        let mut intent = IntentLeaf::new(NOW * 1000, &OWNER);
        intent.operation = "delete-trust";
        intent.subject = Some(SubjectBody::deletion(&gun(GUN), Some(timestamp)));
        self.house.audit().append(Leaf::Intent(intent)).await.unwrap()
    }

    /// How an intent ended, as the log has it.
    pub(super) async fn end_of(&self, intent: u64) -> String {
        // Nobody waits for an outcome; those leaves that are written after it are waited for.
        self.house.audit().append(Leaf::Start(StartLeaf::new(NOW * 1000))).await.unwrap();
        let leaves = self.leaves().await;
        let mut ends = leaves.iter().filter(|leaf| leaf["kind"] == "outcome" && leaf["intent"] == intent);
        ends.next().unwrap()["result"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_deletion_that_was_not_begun_is_said_to_be_none() {
    let (scene, _) = published().await;
    let leaf = scene.begins_to_delete().await;

    let scene = scene.restarted().await;

    assert_eq!(scene.end_of(leaf).await, "not-started");
    scene.walk().await;
    // So it is not done at a later start either.
    scene.restarted().await.walk().await;
}

#[tokio::test]
async fn a_deletion_that_was_made_is_done_though_nobody_could_say_so() {
    let (scene, _) = published().await;
    let leaf = scene.begins_to_delete().await;
    let mut head = scene.house.records().head(&gun(GUN)).await.unwrap();
    head.bury();
    let anchor = scene.house.anchor();
    scene.house.records().publish(&gun(GUN), head, &[], Some(ChangeKind::Deletion), anchor).await.unwrap();

    let scene = scene.restarted().await;

    assert_eq!(scene.end_of(leaf).await, "done");
    let read = scene.publisher().current(&OWNER, &gun(GUN), &RoleName::Timestamp).await;
    assert!(matches!(read, Err(PublishError::NotFound)), "{read:?}");
    // From now on an older store is told by it.
    scene.restarted().await;
}
