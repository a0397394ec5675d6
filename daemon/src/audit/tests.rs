use std::collections::BTreeSet;

use ed25519_dalek::{Signer as _, SigningKey};
use trust::tlog::{leaf_hash, verify_consistency, verify_inclusion};
use trust::{Principal, PublicKey};

use super::*;

const STORE: [u8; 16] = [9; 16];
const ORIGIN: &str = "log.example";

fn config(directory: &Path) -> AuditConfig {
    AuditConfig { directory: directory.to_owned(), origin: ORIGIN.to_owned(), waiting_max: 1024, free_bytes_min: 0 }
}

fn create(directory: &Path) {
    Audit::create(directory, InitLeaf::new(1, ORIGIN, &STORE, None)).unwrap();
}

fn open(directory: &Path) -> (Audit, History) {
    Audit::open(Audit::read(config(directory)).unwrap(), &STORE, Clock::manual(1_000)).unwrap()
}

fn signer() -> LogSigner {
    let secret = SigningKey::from_bytes(&[5; 32]);
    let public = PublicKey::from_ed25519_bytes(secret.verifying_key().as_bytes()).unwrap();
    LogSigner {
        key: VerifierKey::new(ORIGIN, public).unwrap(),
        sign: Box::new(move |text| Ok(secret.sign(text).to_bytes())),
    }
}

fn intent() -> Leaf {
    let mut leaf = IntentLeaf::new(2, &Principal::LocalUid(1));
    leaf.operation = "sign";
    Leaf::Intent(leaf)
}

#[tokio::test]
async fn sixty_four_at_once_get_places_of_their_own_in_far_fewer_groups() {
    let directory = tempfile::tempdir().unwrap();
    create(directory.path());
    let (audit, _) = open(directory.path());
    let audit = Arc::new(audit);

    let tasks: Vec<_> = (0..512)
        .map(|_| {
            let audit = Arc::clone(&audit);
            tokio::spawn(async move { audit.append(intent()).await.unwrap() })
        })
        .collect();
    let mut places = BTreeSet::new();
    for task in tasks {
        places.insert(task.await.unwrap());
    }

    assert_eq!(places, (1..=512).collect());
    assert!(audit.groups() < 256, "{} groups", audit.groups());
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_start_and_open_intents_are_named() {
    let directory = tempfile::tempdir().unwrap();
    create(directory.path());
    let (audit, _) = open(directory.path());
    let first = audit.append(intent()).await.unwrap();
    let second = audit.append(intent()).await.unwrap();
    audit.append_soon(Leaf::Outcome(OutcomeLeaf::new(3, first, Ended::Done))).await.unwrap();
    drop(audit);

    let (audit, history) = open(directory.path());

    assert_eq!(history.open().map(|open| open.leaf).collect::<Vec<_>>(), [second]);
    assert_eq!(audit.durable().0, 4);
}

#[tokio::test]
async fn the_log_of_another_store_is_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    create(directory.path());

    let read = Audit::read(config(directory.path())).unwrap();
    let error = Audit::open(read, &[8; 16], Clock::manual(1)).err().unwrap();

    assert!(matches!(error, OpenError::Foreign { .. }));
}

#[tokio::test]
async fn a_leaf_is_proved_in_a_signed_checkpoint_and_the_old_one_in_the_new() {
    let directory = tempfile::tempdir().unwrap();
    create(directory.path());
    let (audit, _) = open(directory.path());
    let audit = Arc::new(audit);
    assert!(matches!(audit.checkpoint().await, Err(AuditError::NoCheckpoint)));
    audit.set_signer(Some(signer()));
    let publisher = tokio::spawn(Arc::clone(&audit).publish());
    let (old, key) = audit.checkpoint().await.unwrap();
    for _ in 0..300 {
        audit.append_soon(intent()).await.unwrap();
    }
    let leaf = audit.append(intent()).await.unwrap();

    let proof = audit.inclusion(leaf).await.unwrap();

    let new = SignedCheckpoint::open(proof.checkpoint.note(), &key).unwrap();
    let (old, new) = (old.checkpoint(), new.checkpoint());
    verify_inclusion(leaf, &leaf_hash(&proof.entry), new.size, &new.root, &proof.hashes).unwrap();
    let consistency = audit.consistency(old.size, new.size).unwrap();
    verify_consistency(old.size, &old.root, new.size, &new.root, &consistency).unwrap();
    let published = std::fs::read_to_string(directory.path().join("checkpoint")).unwrap();
    assert!(SignedCheckpoint::open(&published, &key).unwrap().checkpoint().size >= new.size);
    assert!(directory.path().join("tile/0/000").exists());
    assert!(directory.path().join("tile/entries/000").exists());
    publisher.abort();
}

#[tokio::test]
async fn who_waits_for_a_checkpoint_when_the_log_loses_its_key_waits_no_longer() {
    let directory = tempfile::tempdir().unwrap();
    create(directory.path());
    let (audit, _) = open(directory.path());
    let audit = Arc::new(audit);
    audit.set_signer(Some(signer()));
    // Nobody publishes.
    let waiting = tokio::spawn({
        let audit = Arc::clone(&audit);
        async move { audit.checkpoint().await.map(|_| ()) }
    });
    audit.published.wanted.subscribe().wait_for(|wanted| *wanted > 0).await.unwrap();

    audit.set_signer(None);

    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await;
    assert!(matches!(ended.unwrap().unwrap(), Err(AuditError::NoCheckpoint)));
}

#[tokio::test]
async fn who_waits_for_a_checkpoint_that_the_disk_has_no_room_for_hears_it_at_once_and_has_it_when_there_is_some() {
    let directory = tempfile::tempdir().unwrap();
    create(directory.path());
    let (audit, _) = open(directory.path());
    let audit = Arc::new(audit);
    audit.set_signer(Some(signer()));
    let publisher = tokio::spawn(Arc::clone(&audit).publish());
    let limit = std::time::Duration::from_secs(10);
    let (before, _) = audit.checkpoint().await.unwrap();
    // What is written of the next one is refused as by a full disk.
    let temporary = directory.path().join("checkpoint.new");
    std::os::unix::fs::symlink("/dev/full", &temporary).unwrap();
    let leaf = audit.append(intent()).await.unwrap();

    for _ in 0..2 {
        let kept_out = tokio::time::timeout(limit, audit.checkpoint()).await.expect("it waits for room");
        assert!(matches!(kept_out, Err(AuditError::Full)), "{kept_out:?}");
    }
    let unproved = tokio::time::timeout(limit, audit.inclusion(leaf)).await.expect("it waits for room");
    assert!(matches!(unproved, Err(AuditError::Full)), "{unproved:?}");
    std::fs::remove_file(&temporary).unwrap();
    let (after, _) = tokio::time::timeout(limit, audit.checkpoint()).await.expect("there is room").unwrap();

    assert!(before.checkpoint().size < after.checkpoint().size);
    publisher.abort();
}

#[tokio::test]
async fn a_quota_is_a_full_disk_as_long_as_a_leaf_waits_for_it() {
    let directory = tempfile::tempdir().unwrap();
    create(directory.path());
    let (audit, _) = open(directory.path());
    assert!(audit.free_bytes() > FULL_BYTES, "this test needs a disk with room");
    // What the writer does when it is refused a write.
    audit.shared.full.store(true, Ordering::Relaxed);

    let waits = audit.place().await.unwrap();
    assert!(audit.is_full());
    drop(waits);
    assert!(!audit.is_full());
}

/// Appends so many leaves and publishes once.
async fn grow(audit: &Audit, leaves: u64) {
    for _ in 1..leaves {
        audit.append_soon(intent()).await.unwrap();
    }
    audit.append(intent()).await.unwrap();
    audit.published.publish(&audit.shared).unwrap();
}

#[tokio::test]
async fn a_sealed_log_derives_no_bundle_twice_and_looks_after_those_of_an_earlier_run_once_it_signs() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = |name: &str| directory.path().join("tile/entries").join(name);
    create(directory.path());
    let (audit, _) = open(directory.path());
    grow(&audit, 300).await;
    let whole = std::fs::read(bundle("000")).unwrap();
    std::fs::remove_file(bundle("000")).unwrap();
    grow(&audit, 100).await;
    assert!(bundle("001.p/145").exists(), "what grew is derived while it is sealed");
    assert!(!bundle("000").exists(), "what was derived in this run is not derived again");
    audit.set_signer(Some(signer()));
    grow(&audit, 1).await;
    assert!(!bundle("000").exists());
    drop(audit);

    let (audit, _) = open(directory.path());
    grow(&audit, 100).await;
    assert!(bundle("001.p/246").exists());
    assert!(!bundle("000").exists(), "before it signs, nobody waits for the whole log to be read again");
    audit.set_signer(Some(signer()));
    grow(&audit, 1).await;
    assert_eq!(std::fs::read(bundle("000")).unwrap(), whole, "a crash may have lost it: it was never flushed");
    std::fs::remove_file(bundle("000")).unwrap();
    grow(&audit, 1).await;
    assert!(!bundle("000").exists(), "once is enough");
}

#[tokio::test]
async fn what_does_not_exist_is_outside() {
    let directory = tempfile::tempdir().unwrap();
    create(directory.path());
    let (audit, _) = open(directory.path());

    assert!(matches!(audit.inclusion(1).await, Err(AuditError::Outside)));
    assert!(matches!(audit.consistency(0, 1), Err(AuditError::Outside)));
    assert!(matches!(audit.consistency(1, 2), Err(AuditError::Outside)));
    assert!(matches!(audit.root_at(2), Err(AuditError::Outside)));
    assert_eq!(audit.entries(7, 10, 1000).await.unwrap(), Vec::<Vec<u8>>::new());
}

#[tokio::test]
async fn a_leaf_that_is_too_large_is_refused_and_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    create(directory.path());
    let (audit, _) = open(directory.path());
    let mut leaf = IntentLeaf::new(2, &Principal::LocalUid(1));
    leaf.policies = vec!["x".repeat(70_000)];

    let error = audit.append(Leaf::Intent(leaf)).await.unwrap_err();

    assert!(matches!(error, AuditError::TooLarge { .. }));
    assert_eq!(audit.durable().0, 1);
}

#[tokio::test]
async fn a_batch_is_kept_under_the_root_of_its_items() {
    let directory = tempfile::tempdir().unwrap();
    create(directory.path());
    let (audit, _) = open(directory.path());
    let items = vec![b"one".to_vec(), b"two".to_vec()];

    let body = audit.keep_batch(items.clone()).await.unwrap();

    assert_eq!(body.count, 2);
    assert_eq!(body.root, batch_root(items.iter().map(Vec::as_slice)).to_hex());
    let kept = std::fs::read(directory.path().join(BATCHES).join(&body.root)).unwrap();
    assert_eq!(kept, b"\0\0\0\x03one\0\0\0\x03two");
}
