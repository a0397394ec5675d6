//! The life of keys: made, rotated, retired, destroyed.

use super::*;

#[tokio::test]
async fn a_name_and_a_public_key_exist_once() {
    let bench = bench().await;
    let records = &bench.records;
    add(records, 1, "a").await;
    let create = |record, first| records.create_key(record, first, anchor(9), None);

    let same_name = create(record(2, "a", &["r.example.com/*"]), version(2, 1, 2)).await;
    assert_eq!(same_name.unwrap_err(), RecordError::NameTaken);
    let same_public_key = create(record(2, "b", &["r.example.com/*"]), version(2, 1, 1)).await;
    assert_eq!(same_public_key.unwrap_err(), RecordError::PublicKeyTaken { key: version(1, 1, 1).key });
    let same_id = create(record(1, "b", &["r.example.com/*"]), version(1, 1, 2)).await;
    assert!(matches!(same_id.unwrap_err(), RecordError::Refused { .. }));
    let rotated = records.add_version(1, version(1, 2, 1), anchor(9), None).await;
    assert!(matches!(rotated.unwrap_err(), RecordError::PublicKeyTaken { .. }));
    assert_eq!(records.key_count().unwrap(), 1);
    assert_eq!(records.anchor().unwrap(), anchor(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_who_create_the_same_name_one_succeeds() {
    let bench = bench().await;
    let tasks: Vec<_> = (0..1000_u64)
        .map(|n| {
            let records = bench.records.clone();
            let key = KeyRef { id: KeyId::from_bytes(u128::from(n).to_be_bytes()), version: KeyVersion::FIRST };
            let record = KeyRecord { id: key.id, ..record(1, "one", &["r.example.com/*"]) };
            let first = VersionRecord { key, ..version(1, 1, n) };
            tokio::spawn(async move { records.create_key(record, first, anchor(n), None).await })
        })
        .collect();

    let mut winners = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => winners += 1,
            Err(error) => assert_eq!(error, RecordError::NameTaken),
        }
    }

    assert_eq!(winners, 1);
    assert_eq!(bench.reopened().await.unwrap().key_count().unwrap(), 1);
}

#[tokio::test]
async fn rotation_adds_a_version_and_counts_the_epoch() {
    let bench = bench().await;
    let records = &bench.records;
    add(records, 1, "a").await;

    let rotated = records.add_version(1, version(1, 2, 100), anchor(2), None).await.unwrap();
    assert_eq!((rotated.state.epoch, rotated.state.newest.number(), rotated.versions.len()), (2, 2, 2));
    let late = records.add_version(1, version(1, 3, 101), anchor(3), None).await;
    assert_eq!(late.unwrap_err(), RecordError::Moved);
    let gap = records.add_version(2, version(1, 4, 101), anchor(3), None).await;
    assert_eq!(gap.unwrap_err(), RecordError::Moved);

    let records = bench.reopened().await.unwrap();
    assert_eq!(records.key_by_id(id(1)).await.unwrap().unwrap().versions.len(), 2);
    assert!(records.knows_version(version(1, 2, 0).key).unwrap());
    assert!(!records.knows_version(version(1, 3, 0).key).unwrap());
    assert!(records.knows_epoch(id(1), 2).unwrap());
    assert!(!records.knows_epoch(id(1), 3).unwrap());
    assert!(!records.knows_epoch(id(2), 1).unwrap());
}

#[tokio::test]
async fn retirement_distrust_and_destruction_are_final() {
    let bench = bench().await;
    let records = &bench.records;
    let view = add(records, 1, "a").await;
    let set = |epoch, use_, trust| records.set_state(id(1), epoch, StateChange { use_, trust }, anchor(2), None);
    let distrusted = Trust::Distrusted { reason: DistrustReason::KeyCompromise, since_leaf: 3 };

    let stale = set(2, Use::Disabled, Trust::Trusted).await;
    assert_eq!(stale.unwrap_err(), RecordError::Moved);
    let jump = set(1, Use::Destroyed, Trust::Trusted).await;
    assert!(matches!(jump.unwrap_err(), RecordError::Refused { .. }));
    let nothing = set(1, Use::Active, Trust::Trusted).await;
    assert!(matches!(nothing.unwrap_err(), RecordError::Refused { .. }));
    set(1, Use::Active, distrusted.clone()).await.unwrap();
    let trusted_again = set(2, Use::Active, Trust::Trusted).await;
    assert_eq!(trusted_again.unwrap_err(), RecordError::Refused { why: "distrust is final" });
    set(2, Use::Retired, distrusted.clone()).await.unwrap();
    let enabled = set(3, Use::Active, distrusted).await;
    assert!(matches!(enabled.unwrap_err(), RecordError::Refused { .. }));
    let rotated = records.add_version(3, version(1, 2, 100), anchor(3), None).await;
    assert!(matches!(rotated.unwrap_err(), RecordError::Refused { .. }));
    assert_eq!(view.state.epoch, 1);
    assert_eq!(records.state_now(id(1)).unwrap().epoch, 3);
}

#[tokio::test]
async fn destruction_drops_the_material_and_keeps_the_public_key() {
    let bench = bench().await;
    let view = add(&bench.records, 1, "a").await;
    let view = bench.records.add_version(view.state.epoch, version(1, 2, 100), anchor(2), None).await.unwrap();

    let gone = destroyed(&bench.records, view).await;

    assert!(gone.state.shred_pending);
    assert!(gone.versions.iter().all(|version| version.materials.is_empty()));
    assert_eq!(bench.records.shred_pending().unwrap(), [id(1)]);
    assert!(bench.records.sealed_versions(None, 10).await.unwrap().is_empty());
    let late = bench.records.replace_materials(vec![(version(1, 1, 1).key, vec![material(9)])]).await.unwrap();
    assert_eq!(late, 0, "a rewrap that comes late brings nothing back");
    let records = bench.reopened().await.unwrap();
    let read = records.key_by_id(id(1)).await.unwrap().unwrap();
    assert!(read.versions.iter().all(|version| version.materials.is_empty()));
    assert_eq!(read.versions.len(), 2);

    assert_eq!(records.finish_shred(vec![id(1)]).await.unwrap(), 1);
    assert_eq!(records.finish_shred(vec![id(1)]).await.unwrap(), 0);
    assert!(records.shred_pending().unwrap().is_empty());
    assert_eq!(records.state_now(id(1)).unwrap().epoch, gone.state.epoch);
    assert!(bench.reopened().await.unwrap().shred_pending().unwrap().is_empty());
}

#[tokio::test]
async fn a_destroyed_key_names_its_object_in_the_token_until_it_is_gone() {
    let bench = bench().await;
    let token: TokenName = "hsm".parse().unwrap();
    let object = |byte: u8| KeyObject::Ours(ObjectId::from_bytes([byte; 32]));
    let cka_id = |byte: u8| vec![byte; 32];
    let in_token = |byte: u8, version: VersionRecord| VersionRecord {
        materials: vec![Material::Token(TokenKey { token: token.clone(), object: object(byte) })],
        ..version
    };
    let record = KeyRecord { token: Some(token.clone()), ..record(1, "a", &["r.example.com/*"]) };
    let view = bench.records.create_key(record, in_token(7, version(1, 1, 1)), anchor(1), None).await.unwrap();
    let next = in_token(8, version(1, 2, 100));
    let view = bench.records.add_version(view.state.epoch, next, anchor(2), None).await.unwrap();
    let living = bench.records.forget_object(version(1, 1, 1).key, anchor(3)).await;
    assert!(matches!(living.unwrap_err(), RecordError::Refused { .. }));

    let gone = destroyed(&bench.records, view).await;

    assert!(gone.object_pending() && !gone.state.shred_pending, "no store has its secret");
    let records = bench.reopened().await.unwrap();
    assert_eq!(records.object_pending().unwrap().len(), 1);
    assert_eq!(records.objects_in(&token).unwrap(), [cka_id(7), cka_id(8)].into());
    assert!(records.objects_in(&"other".parse().unwrap()).unwrap().is_empty());
    assert_eq!(records.forget_object(version(1, 1, 1).key, anchor(9)).await.unwrap(), 1);
    assert_eq!(records.forget_object(version(1, 1, 1).key, anchor(9)).await.unwrap(), 0);
    assert_eq!(records.objects_in(&token).unwrap(), [cka_id(8)].into());
    assert_eq!(records.forget_object(version(1, 2, 100).key, anchor(10)).await.unwrap(), 1);
    let records = bench.reopened().await.unwrap();
    let read = records.key_by_id(id(1)).await.unwrap().unwrap();
    assert!(!read.object_pending() && records.object_pending().unwrap().is_empty());
    assert_eq!((read.record.custodian(), read.state.epoch), ("hsm", gone.state.epoch), "where it was stays known");
}

#[tokio::test]
async fn materials_are_replaced_page_by_page() {
    let bench = bench().await;
    for byte in 1..=5 {
        add(&bench.records, byte, &format!("k{byte}")).await;
    }
    bench.records.add_version(1, version(3, 2, 100), anchor(9), None).await.unwrap();

    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = bench.records.sealed_versions(after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.version.key);
        let items: Vec<_> = page.iter().map(|sealed| (sealed.version.key, vec![material(200)])).collect();
        seen.extend(items.iter().map(|(key, _)| *key));
        assert_eq!(bench.records.replace_materials(items).await.unwrap(), page.len());
    }

    assert_eq!(seen.len(), 6);
    assert!(seen.is_sorted());
    let records = bench.reopened().await.unwrap();
    for sealed in records.sealed_versions(None, 10).await.unwrap() {
        assert_eq!(sealed.version.materials, [material(200)]);
    }
    assert_eq!(records.state_now(id(3)).unwrap().epoch, 2, "a rewrap is no change of the key");
}
