//! Rows that somebody changed, moved, put back or took away behind the back of the daemon.

use super::*;

#[tokio::test]
async fn an_older_state_that_is_put_back_is_noticed_and_named() {
    let bench = bench().await;
    let view = add(&bench.records, 1, "a").await;
    add(&bench.records, 2, "b").await;
    let row = layout::state(id(1));
    let older = bench.value(&row).await;
    change(&bench.records, &view, UseChange::Disable).await.unwrap();
    let newer = bench.value(&row).await;

    bench.put(&row, older).await;

    let faults = bench.faults().await;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with(&format!("the state of key {} is an older one", id(1))), "{faults:?}");
    bench.put(&row, newer).await;
    assert_eq!(bench.reopened().await.unwrap().state_now(id(1)).unwrap().use_, Use::Disabled);
}

#[tokio::test]
async fn a_row_that_is_missing_altered_moved_or_put_back_is_named() {
    let bench = bench().await;
    add(&bench.records, 1, "a").await;
    let second = add(&bench.records, 2, "b").await;
    let keyed = store_key(1);
    let keys = Keys::derive(&keyed, [7; 16]);
    let spki = second.newest().unwrap().public_key.spki_sha256();
    let rows = [
        (layout::key(id(2)), "the record of key"),
        (layout::state(id(2)), "the state of key"),
        (layout::version(version(2, 1, 0).key), "key version"),
        (layout::name(&keys, &name("b")), "the name row of key"),
        (layout::public(&keys, spki), "the public key row of"),
    ];

    for (row, word) in &rows {
        let value = bench.take(row).await;
        let faults = bench.faults().await;
        assert!(faults.iter().any(|fault| fault.starts_with("1 rows are missing")), "{faults:?}");
        assert!(faults.iter().any(|fault| fault.starts_with(word)), "{word}: {faults:?}");

        let mut altered = value.clone();
        *altered.last_mut().unwrap() ^= 1;
        bench.put(row, altered).await;
        let faults = bench.faults().await;
        assert!(faults.iter().any(|fault| fault.ends_with("it was altered or moved")), "{faults:?}");
        bench.put(row, value).await;
        bench.reopened().await.unwrap();
    }

    let of_first = bench.value(&layout::state(id(1))).await;
    let of_second = bench.value(&layout::state(id(2))).await;
    bench.put(&layout::state(id(2)), of_first).await;
    assert!(bench.faults().await[0].starts_with(&format!("the state of key {} does not open", id(2))));
    bench.put(&layout::state(id(2)), of_second).await;
    bench.reopened().await.unwrap();
}

#[tokio::test]
async fn a_row_between_two_parts_of_the_store_is_not_overlooked() {
    let bench = bench().await;
    add(&bench.records, 1, "a").await;
    for kind in 0..=u8::MAX {
        let row = layout::single(kind);
        if matches!(kind, layout::ANCHOR | layout::FORMAT) {
            continue;
        }

        bench.put(&row, vec![1; 60]).await;

        let faults = bench.faults().await;
        assert!(faults.iter().any(|fault| fault.ends_with("it was altered or moved")), "{kind}: {faults:?}");
        bench.take(&row).await;
    }
    bench.reopened().await.unwrap();
}

#[tokio::test]
async fn a_replay_row_that_was_removed_and_put_back_is_named() {
    let bench = bench().await;
    bench.records.remember_replay(replay(1, "k", b"answer")).await.unwrap();
    let row =
        layout::replay(replay::tag(&Keys::derive(&store_key(1), [7; 16]), &Principal::LocalUid(1), "create", "k"));
    let expired = bench.value(&row).await;
    bench.clock.advance(Duration::from_hours(24));
    add(&bench.records, 1, "a").await;
    assert!(bench.store.fetch(&row).await.unwrap().is_none(), "expired answers leave with the next write");

    bench.put(&row, expired).await;

    assert_eq!(bench.faults().await, [format!("{} was put back", layout::describe(&row))]);
}

#[tokio::test]
async fn a_missing_or_older_anchor_is_noticed() {
    let bench = bench().await;
    let row = layout::single(layout::ANCHOR);
    add(&bench.records, 1, "a").await;
    let older = bench.value(&row).await;
    add(&bench.records, 2, "b").await;

    bench.put(&row, older).await;
    assert!(!bench.faults().await.is_empty());
    bench.take(&row).await;
    assert_eq!(bench.faults().await, ["the anchor row is missing"]);
}

#[tokio::test]
async fn another_uuid_or_a_newer_format_does_not_unseal() {
    let bench = bench().await;
    let row = layout::single(layout::FORMAT);
    bench.put(&row, load::format_row([8; 16])).await;
    assert_eq!(bench.reopened().await.map(|_| ()).unwrap_err(), UnsealError::WrongKey);

    let mut newer = load::format_row([7; 16]);
    let at = newer.len() - 17;
    newer[at] = 3;
    bench.put(&row, newer).await;
    assert_eq!(bench.reopened().await.map(|_| ()).unwrap_err(), UnsealError::TooNew { found: 3, known: 2 });

    bench.take(&row).await;
    assert_eq!(bench.reopened().await.map(|_| ()).unwrap_err(), UnsealError::Missing);
}

#[tokio::test]
async fn records_are_not_made_over_records() {
    let bench = bench().await;
    let again = Records::create(bench.store.clone(), [9; 16], &store_key(1), limits(), bench.clock.clone()).await;
    assert_eq!(again.map(|_| ()).unwrap_err(), UnsealError::NotEmpty);
}

#[tokio::test]
async fn no_name_is_readable_on_the_disk() {
    let bench = bench().await;
    add(&bench.records, 1, "confidential-name").await;

    for (key, row) in bench.store.scan(&[], None, 100).await.unwrap() {
        let bytes = [key.as_bytes(), &row.value].concat();
        for word in [b"confidential-name".as_slice(), b"r.example.com"] {
            assert!(!bytes.windows(word.len()).any(|window| window == word), "{key}");
        }
    }
}
