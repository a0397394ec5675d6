//! Answers that are kept for whoever asks again.

use super::*;

#[tokio::test]
async fn an_answer_is_written_with_its_effect_and_found_after_reopening() {
    let bench = bench().await;
    let first = version(1, 1, 1);
    let record = record(1, "a", &["r.example.com/*"]);
    bench.records.create_key(record, first, anchor(1), Some(replay(1, "k", b"answer"))).await.unwrap();

    let records = bench.reopened().await.unwrap();

    let found = records.find_replay(&Principal::LocalUid(1), "create", "k").await.unwrap().unwrap();
    assert_eq!(found, StoredReplay { request_hash: Sha256Digest::of(b"k"), response: b"answer".to_vec() });
    for (who, method, key) in [(2, "create", "k"), (1, "rotate", "k"), (1, "create", "other")] {
        assert_eq!(records.find_replay(&Principal::LocalUid(who), method, key).await.unwrap(), None);
    }
    let again = records.remember_replay(replay(1, "k", b"other")).await;
    assert_eq!(again.unwrap_err(), RecordError::ReplayTaken);
}

#[tokio::test]
async fn an_answer_takes_the_place_of_the_one_before_and_costs_no_more_room() {
    let bench = bench().await;
    for key in ["1", "2", "3"] {
        bench.records.remember_replay(replay(1, key, b"begun")).await.unwrap();
    }

    bench.records.replace_replay(replay(1, "2", b"answer")).await.unwrap();

    let full = bench.records.replace_replay(replay(1, "4", b"")).await;
    assert_eq!(full.unwrap_err(), RecordError::ReplaysFull);
    let records = bench.reopened().await.unwrap();
    for (key, answer) in [("1", &b"begun"[..]), ("2", b"answer")] {
        let found = records.find_replay(&Principal::LocalUid(1), "create", key).await.unwrap().unwrap();
        assert_eq!(found.response, answer);
    }
    // It is as old as its last answer.
    bench.clock.advance(Duration::from_hours(12));
    records.replace_replay(replay(1, "1", b"late")).await.unwrap();
    bench.clock.advance(Duration::from_hours(12));
    assert!(records.find_replay(&Principal::LocalUid(1), "create", "1").await.unwrap().is_some());
    assert_eq!(records.find_replay(&Principal::LocalUid(1), "create", "2").await.unwrap(), None);
}

#[tokio::test]
async fn a_refused_change_keeps_no_answer() {
    let bench = bench().await;
    add(&bench.records, 1, "a").await;

    let taken = bench.records.create_key(
        record(2, "a", &["r.example.com/*"]),
        version(2, 1, 2),
        anchor(2),
        Some(replay(1, "k", b"answer")),
    );

    assert_eq!(taken.await.unwrap_err(), RecordError::NameTaken);
    assert_eq!(bench.records.find_replay(&Principal::LocalUid(1), "create", "k").await.unwrap(), None);
}

#[tokio::test]
async fn answers_are_bounded_and_expire() {
    let bench = bench().await;
    let records = &bench.records;
    for key in ["1", "2", "3"] {
        records.remember_replay(replay(1, key, b"")).await.unwrap();
    }
    let fourth = records.remember_replay(replay(1, "4", b"")).await;
    assert_eq!(fourth.unwrap_err(), RecordError::ReplaysFull, "of one principal");
    records.remember_replay(replay(2, "1", b"")).await.unwrap();
    records.remember_replay(replay(3, "1", b"")).await.unwrap();
    let sixth = records.remember_replay(replay(4, "1", b"")).await;
    assert_eq!(sixth.unwrap_err(), RecordError::ReplaysFull, "in all");
    let long = Replay { response: vec![0; Replay::RESPONSE_BYTES_MAX + 1], ..replay(9, "1", b"") };
    assert_eq!(records.remember_replay(long).await.unwrap_err(), RecordError::TooLarge);

    bench.clock.advance(Duration::from_hours(24));
    assert_eq!(records.find_replay(&Principal::LocalUid(1), "create", "1").await.unwrap(), None);
    records.remember_replay(replay(1, "1", b"again")).await.unwrap();
    records.remember_replay(replay(1, "4", b"")).await.unwrap();
    let found = records.find_replay(&Principal::LocalUid(1), "create", "1").await.unwrap().unwrap();
    assert_eq!(found.response, b"again");
    bench.reopened().await.unwrap();
}
