use trust_hsm::{SoftwareCustodian, StoreKey};

use super::*;
use crate::records::{RecordLimits, ReplayLimits};
use crate::store::Store;

#[tokio::test]
async fn a_key_is_forgotten_behind_a_queue_that_is_full() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::manual(0);
    let limits = RecordLimits { replays: ReplayLimits::default() };
    let key = StoreKey::take(&mut [1; 32]);
    let records = Records::create(Store::memory(), [7; 16], &key, limits, clock.clone()).await.unwrap();
    let custodian = Arc::new(SoftwareCustodian::new(&directory.path().join("ring"), 1));
    let tables = Arc::new(Tables::new(0, clock.clone()));
    // Without a session nothing is taken out of the queue.
    let limits = CustodyLimits { sessions: 0, waiting_max: 0 };
    let revision = Box::new(|| Sha256Digest::of(b""));
    let custody = Custody::start(custodian, records, clock, tables, limits, revision).unwrap();
    assert!(matches!(custody.objects().await, Err(CustodyError::Unavailable { .. })), "the queue is not full");

    let (forgotten, ()) =
        tokio::join!(custody.forget(KeyId::from_bytes([1; 16])), async { custody.resize(1).unwrap() });

    assert_eq!(forgotten, Ok(()));
}
