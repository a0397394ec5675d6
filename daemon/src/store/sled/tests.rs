//! What only a store on a disk can do wrong.

use std::sync::Arc;

use super::*;
use crate::store::{Change, DirectoryLock, Store};

fn options() -> SledOptions {
    SledOptions::default()
}

fn create_row(name: &str, value: &[u8]) -> Vec<Change> {
    vec![Change::Create { key: RowKey::new(name).unwrap(), value: value.to_vec() }]
}

async fn fetch(store: &Store, name: &str) -> Option<Vec<u8>> {
    store.fetch(&RowKey::new(name).unwrap()).await.unwrap().map(|row| row.value)
}

fn opened(directory: &Path) -> Store {
    Store::Sled(Arc::new(SledStore::open(directory, options()).unwrap()))
}

fn created(directory: &Path) -> Store {
    Store::Sled(Arc::new(SledStore::create(directory, options()).unwrap()))
}

#[tokio::test]
async fn rows_and_revisions_go_on_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = created(&path);
    let large = vec![9; Store::VALUE_BYTES_MAX];
    let first = store.write(create_row("a", b"1")).await.unwrap();
    let second = store.write(create_row("large", &large)).await.unwrap();
    drop(store);

    let store = opened(&path);

    assert_eq!(fetch(&store, "a").await.unwrap(), b"1");
    assert_eq!(fetch(&store, "large").await.unwrap(), large);
    let third = store.write(create_row("b", b"2")).await.unwrap();
    assert!(first < second && second < third);
}

#[tokio::test]
async fn nothing_is_made_over_what_is_missing_or_foreign() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    assert!(matches!(SledStore::open(&missing, options()), Err(OpenError::Missing { .. })));
    assert!(!missing.exists());

    let empty = directory.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(matches!(SledStore::open(&empty, options()), Err(OpenError::Missing { .. })));
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);

    let foreign = directory.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("letter"), b"dear").unwrap();
    assert!(matches!(SledStore::open(&foreign, options()), Err(OpenError::Foreign { .. })));
    assert!(matches!(SledStore::create(&foreign, options()), Err(OpenError::NotEmpty { .. })));
    assert_eq!(std::fs::read_dir(&foreign).unwrap().count(), 1);

    let other_sled = directory.path().join("sled");
    drop(::sled::open(&other_sled).unwrap());
    assert!(matches!(SledStore::open(&other_sled, options()), Err(OpenError::Foreign { .. })));
}

#[tokio::test]
async fn a_database_that_lost_its_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    drop(created(&path));
    std::fs::remove_file(path.join("db")).unwrap();

    assert!(matches!(SledStore::open(&path, options()), Err(OpenError::Foreign { .. })));
    assert!(!path.join("db").exists());
}

#[tokio::test]
async fn a_store_is_not_made_over_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    drop(created(&path));

    assert!(matches!(SledStore::create(&path, options()), Err(OpenError::NotEmpty { .. })));
}

#[tokio::test]
async fn a_damaged_or_missing_conf_is_restored() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = created(&path);
    store.write(create_row("a", b"1")).await.unwrap();
    drop(store);
    let good = std::fs::read(path.join("conf")).unwrap();

    for bit in [0, 77, good.len() * 8 - 1] {
        let mut damaged = good.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(path.join("conf"), &damaged).unwrap();
        assert_eq!(fetch(&opened(&path), "a").await.unwrap(), b"1");
        assert_eq!(std::fs::read(path.join("conf")).unwrap(), good);
    }
    std::fs::remove_file(path.join("conf")).unwrap();
    assert_eq!(fetch(&opened(&path), "a").await.unwrap(), b"1");

    // A damaged copy is made anew from an original that opens.
    std::fs::write(path.join("conf.copy"), b"nothing of use").unwrap();
    assert_eq!(fetch(&opened(&path), "a").await.unwrap(), b"1");
    std::fs::write(path.join("conf"), b"").unwrap();
    assert_eq!(fetch(&opened(&path), "a").await.unwrap(), b"1");

    std::fs::remove_file(path.join("conf")).unwrap();
    std::fs::remove_file(path.join("conf.copy")).unwrap();
    assert!(matches!(SledStore::open(&path, options()), Err(OpenError::Foreign { .. })));
}

/// What is cut off at its end reads as an earlier state, as after a crash: that is for the log to notice (D17).
#[tokio::test]
async fn a_truncated_or_flipped_database_never_reads_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = created(&path);
    store.write(create_row("a", &[5; 4096])).await.unwrap();
    drop(store);
    let good = std::fs::read(path.join("db")).unwrap();
    let step = good.len() / 16;
    let cut = (0..good.len()).step_by(step).map(|at| good[..at].to_vec());
    let flipped = (0..good.len()).step_by(step).map(|at| {
        let mut flipped = good.clone();
        flipped[at + at % 7] ^= 4;
        flipped
    });

    for damaged in cut.chain(flipped) {
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir(copy.path().join("blobs")).unwrap();
        std::fs::copy(path.join("conf"), copy.path().join("conf")).unwrap();
        std::fs::write(copy.path().join("db"), &damaged).unwrap();

        match SledStore::open(copy.path(), options()) {
            Err(OpenError::Damaged { .. } | OpenError::Foreign { .. } | OpenError::System { .. }) => {}
            Err(error) => panic!("{error}"),
            Ok(store) => match Store::Sled(Arc::new(store)).fetch(&RowKey::new("a").unwrap()).await {
                Ok(row) => assert!(row.is_none_or(|row| row.value == [5; 4096])),
                Err(error) => assert!(matches!(error, StoreError::Damaged { .. } | StoreError::Closed { .. })),
            },
        }
    }
}

/// sled 0.34.7 would read it as the newest snapshot and call the database corrupt.
#[tokio::test]
async fn a_snapshot_that_a_kill_or_a_full_disk_cut_off_does_not_keep_the_store_shut() {
    for cut in [0, 1, 12, 40] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let store = created(&path);
        store.write(create_row("a", b"1")).await.unwrap();
        drop(store);
        std::fs::write(path.join("snap.00000000000FFFFF.generating"), vec![7; cut]).unwrap();

        let store = opened(&path);

        assert_eq!(fetch(&store, "a").await.unwrap(), b"1");
        store.write(create_row("b", b"2")).await.unwrap();
    }
}

#[tokio::test]
async fn a_newer_format_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    drop(created(&path));
    let tree = ::sled::open(&path).unwrap();
    tree.insert(b"\0format", &2_u32.to_be_bytes()).unwrap();
    tree.flush().unwrap();
    drop(tree);

    let error = SledStore::open(&path, options()).unwrap_err();

    assert!(matches!(error, OpenError::TooNew { found: 2, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("start a newer trustd"));
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_recovers_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    drop(created(&path));
    // No disk has this much: the floor stands above what is free.
    let full = SledOptions { free_bytes_min: u64::MAX / 4, ..options() };
    let store = Store::Sled(Arc::new(SledStore::open(&path, full).unwrap()));

    assert_eq!(store.write(create_row("a", b"1")).await, Err(StoreError::Full));
    assert_eq!(store.write(create_row("a", b"1")).await, Err(StoreError::Full));
    assert_eq!(fetch(&store, "a").await, None);
    assert_eq!(store.trouble(), Some(StoreTrouble::Full));
    drop(store);

    let store = opened(&path);
    store.write(create_row("a", b"1")).await.unwrap();
    assert_eq!(store.trouble(), None);
}

#[tokio::test]
async fn a_closed_store_stays_closed_and_keeps_its_first_reason() {
    let directory = tempfile::tempdir().unwrap();
    let sled = SledStore::create(&directory.path().join("store"), options()).unwrap();
    sled.shared.close("the first");
    sled.shared.close("the second");
    let store = Store::Sled(Arc::new(sled));

    assert_eq!(store.trouble(), Some(StoreTrouble::Closed));
    let closed = StoreError::Closed { reason: "the first".into() };
    assert_eq!(store.write(create_row("a", b"1")).await, Err(closed.clone()));
    assert_eq!(store.fetch(&RowKey::new("a").unwrap()).await, Err(closed.clone()));
    assert_eq!(store.scan(&[], None, 1).await, Err(closed));
}

#[tokio::test]
async fn two_cannot_have_the_same_store_or_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = created(&path);
    assert!(matches!(SledStore::open(&path, options()), Err(OpenError::Locked { .. })));
    drop(store);

    let held = DirectoryLock::take(directory.path()).unwrap();
    assert!(matches!(DirectoryLock::take(directory.path()), Err(OpenError::Locked { .. })));
    drop(held);
    drop(DirectoryLock::take(directory.path()).unwrap());
    assert!(matches!(DirectoryLock::take(&path.join("missing")), Err(OpenError::Missing { .. })));
}
