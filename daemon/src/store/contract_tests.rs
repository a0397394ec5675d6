//! The promises of a store, over every store.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A fresh store of each kind; the directory lives as long as the test.
fn stores() -> (TempDir, [Store; 2]) {
    let directory = tempfile::tempdir().unwrap();
    let sled = SledStore::create(&directory.path().join("store"), SledOptions::default()).unwrap();
    (directory, [Store::memory(), Store::Sled(Arc::new(sled))])
}

fn key(text: &str) -> RowKey {
    RowKey::new(text).unwrap()
}

fn create(text: &str, value: &[u8]) -> Change {
    Change::Create { key: key(text), value: value.to_vec() }
}

fn replace(text: &str, expected: Revision, value: &[u8]) -> Change {
    Change::Replace { key: key(text), expected, value: value.to_vec() }
}

fn remove(text: &str, expected: Revision) -> Change {
    Change::Remove { key: key(text), expected }
}

#[tokio::test]
async fn a_row_is_created_once() {
    let (_directory, stores) = stores();
    for store in stores {
        let first = store.write(vec![create("a", b"1")]).await.unwrap();

        assert_eq!(store.write(vec![create("a", b"2")]).await, Err(StoreError::Taken { key: key("a") }));
        assert_eq!(store.fetch(&key("a")).await.unwrap(), Some(Row { value: b"1".to_vec(), revision: first }));
        assert_eq!(store.fetch(&key("b")).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_row_that_moved_is_neither_replaced_nor_removed() {
    let (_directory, stores) = stores();
    for store in stores {
        let first = store.write(vec![create("a", b"1")]).await.unwrap();
        let second = store.write(vec![replace("a", first, b"2")]).await.unwrap();
        assert!(second > first);

        let moved = Err(StoreError::Moved { key: key("a") });
        assert_eq!(store.write(vec![replace("a", first, b"3")]).await, moved);
        assert_eq!(store.write(vec![remove("a", first)]).await, moved);
        assert_eq!(store.write(vec![remove("b", first)]).await, Err(StoreError::Moved { key: key("b") }));
        assert_eq!(store.fetch(&key("a")).await.unwrap().unwrap().value, b"2");
    }
}

#[tokio::test]
async fn a_row_made_again_is_not_the_first_one() {
    let (_directory, stores) = stores();
    for store in stores {
        let first = store.write(vec![create("a", b"1")]).await.unwrap();
        store.write(vec![remove("a", first)]).await.unwrap();
        store.write(vec![create("a", b"1")]).await.unwrap();

        assert_eq!(store.write(vec![remove("a", first)]).await, Err(StoreError::Moved { key: key("a") }));
    }
}

#[tokio::test]
async fn all_changes_of_a_write_happen_or_none() {
    let (_directory, stores) = stores();
    for store in stores {
        let first = store.write(vec![create("taken", b"1")]).await.unwrap();

        let changes = vec![create("new", b"2"), remove("taken", first), create("taken", b"3"), create("new", b"4")];
        assert_eq!(store.write(changes).await, Err(StoreError::Taken { key: key("new") }));

        assert_eq!(store.fetch(&key("new")).await.unwrap(), None);
        assert_eq!(store.fetch(&key("taken")).await.unwrap().unwrap().revision, first);
        let changes = vec![remove("taken", first), create("taken", b"3"), create("new", b"4")];
        let second = store.write(changes).await.unwrap();
        assert_eq!(store.fetch(&key("taken")).await.unwrap().unwrap(), Row { value: b"3".to_vec(), revision: second });
    }
}

#[tokio::test]
async fn a_scan_goes_on_where_the_last_page_ended() {
    let (_directory, stores) = stores();
    for store in stores {
        let changes = (0..25).map(|n| create(&format!("p/{n:02}"), &[n])).collect();
        store.write(changes).await.unwrap();
        store.write(vec![create("o", b""), create("p", b""), create("p0", b""), create("q", b"")]).await.unwrap();

        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store.scan(b"p/", after.as_ref(), 10).await.unwrap();
            seen.extend(page.iter().map(|(_, row)| row.value[0]));
            after = page.last().map(|(key, _)| key.clone());
            if page.len() < 10 {
                break;
            }
        }

        assert_eq!(seen, (0..25).collect::<Vec<u8>>());
        assert_eq!(store.scan(b"p/", Some(&key("a")), 1).await.unwrap()[0].0, key("p/00"));
        assert!(store.scan(b"p/", Some(&key("q")), 1).await.unwrap().is_empty());
        assert_eq!(store.scan(&[], None, 100).await.unwrap().len(), 29);
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_what_is_just_small_enough_is_kept() {
    let (_directory, stores) = stores();
    for store in stores {
        let large = vec![7; Store::VALUE_BYTES_MAX];
        store.write(vec![create("large", &large)]).await.unwrap();
        assert_eq!(store.fetch(&key("large")).await.unwrap().unwrap().value, large);

        let larger = vec![7; Store::VALUE_BYTES_MAX + 1];
        assert!(matches!(store.write(vec![create("x", &larger)]).await, Err(StoreError::TooLarge { .. })));
        let many = (0..17).map(|n| create(&format!("m{n}"), &large)).collect();
        assert!(matches!(store.write(many).await, Err(StoreError::TooLarge { what: "write", .. })));
        assert_eq!(store.scan(&[], None, 100).await.unwrap().len(), 1);
    }
    assert!(RowKey::new([7; 256]).is_ok());
    assert!(RowKey::new([7; 257]).is_err());
    assert!(RowKey::new([]).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_who_create_the_same_row_one_succeeds() {
    let (_directory, stores) = stores();
    for store in stores {
        let tasks: Vec<_> = (0..1000_u32)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(async move { store.write(vec![create("name", &n.to_be_bytes())]).await })
            })
            .collect();

        let mut winners = Vec::new();
        for (n, task) in (0..1000_u32).zip(tasks) {
            match task.await.unwrap() {
                Ok(revision) => winners.push((n, revision)),
                Err(error) => assert_eq!(error, StoreError::Taken { key: key("name") }),
            }
        }

        let [(winner, revision)] = winners[..] else { panic!("{winners:?}") };
        let row = Row { value: winner.to_be_bytes().to_vec(), revision };
        assert_eq!(store.fetch(&key("name")).await.unwrap(), Some(row));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_increment_is_lost_between_those_who_read_and_replace() {
    let (_directory, stores) = stores();
    for store in stores {
        store.write(vec![create("0", &[0]), create("1", &[0])]).await.unwrap();
        let tasks: Vec<_> = (0..8_u8)
            .map(|n| {
                let (store, name) = (store.clone(), (n % 2).to_string());
                tokio::spawn(async move {
                    let mut done = 0;
                    while done < 10 {
                        let row = store.fetch(&key(&name)).await.unwrap().unwrap();
                        match store.write(vec![replace(&name, row.revision, &[row.value[0] + 1])]).await {
                            Ok(_) => done += 1,
                            Err(error) => assert_eq!(error, StoreError::Moved { key: key(&name) }),
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }

        for name in ["0", "1"] {
            assert_eq!(store.fetch(&key(name)).await.unwrap().unwrap().value, [40]);
        }
    }
}

/// A change in a test of the model: which row, which verb, and whether the revision is the right one.
fn any_change() -> impl Strategy<Value = (u8, u8, bool, u8)> {
    (0..6_u8, 0..3_u8, prop::bool::weighted(0.8), any::<u8>())
}

type Model = BTreeMap<String, (Vec<u8>, Revision)>;

/// Applies a write to the model as the contract says.
fn apply(model: &Model, changes: &[Change], revision: Revision) -> Option<Model> {
    let mut next = model.clone();
    for change in changes {
        let name = String::from_utf8(change.key().as_bytes().to_vec()).unwrap();
        let present = next.get(&name).map(|(_, revision)| *revision);
        match change {
            Change::Create { value, .. } if present.is_none() => next.insert(name, (value.clone(), revision)),
            Change::Replace { expected, value, .. } if present == Some(*expected) => {
                next.insert(name, (value.clone(), revision))
            }
            Change::Remove { expected, .. } if present == Some(*expected) => next.remove(&name),
            _ => return None,
        };
    }
    Some(next)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_writes_leave_what_a_map_would_hold(
        writes in prop::collection::vec(prop::collection::vec(any_change(), 1..4), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (_directory, stores) = stores();
            for store in stores {
                let mut model = Model::new();
                for write in &writes {
                    let changes: Vec<_> = write.iter().map(|(row, verb, is_right, value)| {
                        let name = format!("row{row}");
                        let right = model.get(&name).map_or(Revision(u64::MAX), |(_, revision)| *revision);
                        let expected = if *is_right { right } else { Revision(0) };
                        match verb {
                            0 => create(&name, &[*value]),
                            1 => replace(&name, expected, &[*value]),
                            _ => remove(&name, expected),
                        }
                    }).collect();
                    let answer = store.write(changes.clone()).await;
                    // The model learns the revision from the answer; a refused write has none.
                    let revision = answer.as_ref().map_or(Revision(u64::MAX - 1), |revision| *revision);
                    match apply(&model, &changes, revision) {
                        Some(next) => { assert!(answer.is_ok(), "{answer:?}"); model = next; }
                        None => assert!(matches!(answer, Err(StoreError::Taken { .. } | StoreError::Moved { .. }))),
                    }
                }
                let rows = store.scan(b"row", None, 100).await.unwrap();
                let held: Model = rows.into_iter()
                    .map(|(key, row)| (String::from_utf8(key.as_bytes().to_vec()).unwrap(), (row.value, row.revision)))
                    .collect();
                assert_eq!(held, model);
            }
        });
    }
}
