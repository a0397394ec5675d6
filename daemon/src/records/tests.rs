//! Records over a store in memory; the store's own contract says that a disk does the same.

use std::time::Duration;

use trust::state::DistrustReason;
use trust::{Algorithm, Form, KeyVersion, Origin, Principal, PublicKey, Scope, Trust, Use, UseChange};
use trust_hsm::{KeyObject, ObjectId, SealedKey, StoreKey, TokenKey};

use super::*;
use crate::store::{Change, RowKey, SledOptions, SledStore, Store};

mod saved;

const START_UNIX_MS: u64 = 1_800_000_000_000;

struct Bench {
    store: Store,
    clock: Clock,
    records: Records,
}

fn store_key(byte: u8) -> StoreKey {
    StoreKey::take(&mut [byte; 32])
}

fn limits() -> RecordLimits {
    let replays = ReplayLimits { per_principal_max: 3, total_max: 5, ..ReplayLimits::default() };
    RecordLimits { replays }
}

async fn bench() -> Bench {
    let (store, clock) = (Store::memory(), Clock::manual(START_UNIX_MS));
    let records = Records::create(store.clone(), [7; 16], &store_key(1), limits(), clock.clone()).await.unwrap();
    Bench { store, clock, records }
}

impl Bench {
    /// The records as the next process finds them.
    async fn reopened(&self) -> Result<Records, UnsealError> {
        let records = Records::open(self.store.clone(), limits(), self.clock.clone()).await?;
        records.unseal(&store_key(1)).await?;
        Ok(records)
    }

    async fn faults(&self) -> Vec<String> {
        match self.reopened().await {
            Err(UnsealError::Tampered { faults }) => faults,
            other => panic!("{:?}", other.map(|_| ())),
        }
    }

    /// Puts a row in by force, as one who owns the disk does.
    async fn put(&self, key: &RowKey, value: Vec<u8>) {
        let change = match self.store.fetch(key).await.unwrap() {
            Some(row) => Change::Replace { key: key.clone(), expected: row.revision, value },
            None => Change::Create { key: key.clone(), value },
        };
        self.store.write(vec![change]).await.unwrap();
    }

    async fn take(&self, key: &RowKey) -> Vec<u8> {
        let row = self.store.fetch(key).await.unwrap().unwrap();
        self.store.write(vec![Change::Remove { key: key.clone(), expected: row.revision }]).await.unwrap();
        row.value
    }

    async fn value(&self, key: &RowKey) -> Vec<u8> {
        self.store.fetch(key).await.unwrap().unwrap().value
    }
}

fn id(byte: u8) -> KeyId {
    KeyId::from_bytes([byte; 16])
}

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

fn anchor(size: u64) -> LogAnchor {
    LogAnchor { size, root: Sha256Digest::of(&size.to_be_bytes()) }
}

fn record(byte: u8, text: &str, scope: &[&str]) -> KeyRecord {
    let patterns = scope.iter().map(|pattern| pattern.parse().unwrap()).collect();
    KeyRecord {
        id: id(byte),
        name: name(text),
        purpose: Purpose::Image,
        algorithm: Algorithm::Ed25519,
        scope: Scope::new(Purpose::Image, patterns).unwrap(),
        forms: vec![Form::Sig, Form::Bundle],
        created_at_unix_seconds: 11,
        token: None,
    }
}

/// Some point of the curve: doubling the base point enough times gives as many keys as a test needs.
fn public_key(seed: u64) -> PublicKey {
    let mut candidate = *Sha256Digest::of(&seed.to_be_bytes()).as_bytes();
    loop {
        match PublicKey::from_ed25519_bytes(&candidate) {
            Ok(key) => return key,
            Err(_) => candidate = *Sha256Digest::of(&candidate).as_bytes(),
        }
    }
}

fn material(byte: u8) -> Material {
    let mut bytes = vec![byte; 300];
    bytes[..5].copy_from_slice(&[1, 1, 0, 0, 0]);
    Material::Sealed(SealedKey::from_bytes(&bytes).unwrap())
}

fn version(byte: u8, number: u32, seed: u64) -> VersionRecord {
    VersionRecord {
        key: KeyRef { id: id(byte), version: KeyVersion::new(number).unwrap() },
        public_key: public_key(seed),
        materials: vec![material(byte)],
        created_at_unix_seconds: 12,
        leaf: 13,
        origin: Origin::Generated,
    }
}

async fn add(records: &Records, byte: u8, text: &str) -> KeyView {
    let first = version(byte, 1, byte.into());
    records.create_key(record(byte, text, &["r.example.com/*"]), first, anchor(byte.into()), None).await.unwrap()
}

fn replay(who: u32, key: &str, response: &[u8]) -> Replay {
    Replay {
        principal: Principal::LocalUid(who),
        method: "create".to_owned(),
        key: key.to_owned(),
        request_hash: Sha256Digest::of(key.as_bytes()),
        response: response.to_vec(),
    }
}

async fn change(records: &Records, view: &KeyView, verb: UseChange) -> Result<KeyView, RecordError> {
    let to = StateChange { use_: view.state.use_.after(verb).unwrap(), trust: view.state.trust.clone() };
    records.set_state(view.record.id, view.state.epoch, to, anchor(50), None).await
}

async fn destroyed(records: &Records, mut view: KeyView) -> KeyView {
    for verb in [UseChange::Retire, UseChange::Destroy { at_unix_seconds: 5 }, UseChange::FinishDestroy] {
        view = change(records, &view, verb).await.unwrap();
    }
    view
}

#[tokio::test]
async fn sealed_records_tell_nothing_but_the_uuid() {
    let bench = bench().await;
    add(&bench.records, 1, "a").await;
    bench.records.seal();

    assert_eq!(bench.records.store_uuid(), [7; 16]);
    assert!(bench.records.is_sealed());
    assert_eq!(bench.records.key_by_name(&name("a")).await.unwrap_err(), RecordError::Sealed);
    assert_eq!(bench.records.state_now(id(1)).unwrap_err(), RecordError::Sealed);
    let refused = bench.records.create_key(record(2, "b", &["r.example.com/*"]), version(2, 1, 2), anchor(1), None);
    assert_eq!(refused.await.unwrap_err(), RecordError::Sealed);

    bench.records.unseal(&store_key(1)).await.unwrap();
    assert!(bench.records.key_by_name(&name("a")).await.unwrap().is_some());
}

#[tokio::test]
async fn another_stores_key_is_refused() {
    let bench = bench().await;
    bench.records.seal();

    assert_eq!(bench.records.unseal(&store_key(2)).await, Err(UnsealError::WrongKey));
    assert!(bench.records.is_sealed());
}

#[tokio::test]
async fn a_key_reads_back_after_reopening_as_it_was_made() {
    let bench = bench().await;
    let made = add(&bench.records, 1, "acme/release").await;
    let records = bench.reopened().await.unwrap();

    let read = records.key_by_name(&name("acme/release")).await.unwrap().unwrap();

    assert_eq!(read.record, made.record);
    assert_eq!(read.state, made.state);
    assert_eq!(read.state.epoch, 1);
    let (read, made) = (read.newest().unwrap(), made.newest().unwrap());
    assert_eq!(read.public_key.spki_der(), made.public_key.spki_der());
    assert_eq!((read.key, read.leaf, read.materials.clone()), (made.key, 13, made.materials.clone()));
    assert_eq!(records.anchor().unwrap(), anchor(1));
    let (key, view) = records.key_by_public_key(read.public_key.spki_sha256()).await.unwrap().unwrap();
    assert_eq!((key, view.record.id), (read.key, id(1)));
}

#[tokio::test]
async fn what_was_answered_is_there_when_the_disk_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let (clock, key) = (Clock::manual(START_UNIX_MS), store_key(1));
    let sled = SledStore::create(&path, SledOptions::default()).unwrap();
    let store = Store::Sled(Arc::new(sled));
    drop(Records::create(store, [7; 16], &key, limits(), clock.clone()).await.unwrap());

    for byte in 1..=10 {
        // Opening at once shows that the last answer left nobody in the store.
        let store = Store::Sled(Arc::new(SledStore::open(&path, SledOptions::default()).unwrap()));
        let records = Records::open(store, limits(), clock.clone()).await.unwrap();
        records.unseal(&key).await.unwrap();
        assert_eq!(records.key_count().unwrap(), usize::from(byte) - 1);
        let view = add(&records, byte, &format!("k{byte}")).await;
        change(&records, &view, UseChange::Disable).await.unwrap();
        assert_eq!(records.state_now(id(byte)).unwrap().epoch, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_of_many_at_once_leave_a_store_that_adds_up() {
    let bench = bench().await;
    for byte in 1..=4 {
        add(&bench.records, byte, &format!("k{byte}")).await;
    }
    let tasks: Vec<_> = (0..16_u8)
        .map(|n| {
            let (records, id) = (bench.records.clone(), id(n % 4 + 1));
            tokio::spawn(async move {
                let mut done = 0;
                while done < 10 {
                    let state = records.state_now(id).unwrap();
                    let use_ = if state.use_ == Use::Active { Use::Disabled } else { Use::Active };
                    let to = StateChange { use_, trust: Trust::Trusted };
                    match records.set_state(id, state.epoch, to, anchor(state.epoch), None).await {
                        Ok(view) => {
                            assert!(view.state.epoch > state.epoch);
                            done += 1;
                        }
                        Err(error) => assert_eq!(error, RecordError::Moved),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }

    let records = bench.reopened().await.unwrap();
    for byte in 1..=4 {
        let state = records.state_now(id(byte)).unwrap();
        assert_eq!((state.epoch, state.use_), (41, Use::Active));
    }
    assert_eq!(records.anchor().unwrap(), anchor(40));
}

#[tokio::test]
async fn a_full_disk_is_said_and_nothing_is_believed_that_was_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let (clock, key) = (Clock::manual(START_UNIX_MS), store_key(1));
    let store = Store::Sled(Arc::new(SledStore::create(&path, SledOptions::default()).unwrap()));
    drop(Records::create(store, [7; 16], &key, limits(), clock.clone()).await.unwrap());
    // No disk has this much: the floor stands above what is free.
    let full = SledOptions { free_bytes_min: u64::MAX / 4, ..SledOptions::default() };
    let store = Store::Sled(Arc::new(SledStore::open(&path, full).unwrap()));
    let records = Records::open(store, limits(), clock).await.unwrap();
    records.unseal(&key).await.unwrap();

    let create = || records.create_key(record(1, "a", &["r.example.com/*"]), version(1, 1, 1), anchor(1), None);
    assert_eq!(create().await.unwrap_err(), RecordError::Full);
    assert_eq!(create().await.unwrap_err(), RecordError::Full, "and not that the name is taken");
    assert!(records.key_by_name(&name("a")).await.unwrap().is_none());
    assert_eq!(records.anchor().unwrap(), LogAnchor::empty());
}

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

#[tokio::test]
async fn keys_are_listed_by_name_and_found_by_scope() {
    let bench = bench().await;
    let records = &bench.records;
    for (byte, text, scope) in [
        (1, "c", &["r.example.com/*"][..]),
        (2, "a", &["r.example.com/team/*", "s.example.com/app"]),
        (3, "b", &["s.example.com/*"]),
        (4, "d", &["r.example.com/team/app"]),
    ] {
        let created = records.create_key(record(byte, text, scope), version(byte, 1, byte.into()), anchor(1), None);
        created.await.unwrap();
    }
    let names = |views: Vec<KeyView>| views.iter().map(|view| view.record.name.to_string()).collect::<Vec<_>>();

    assert_eq!(names(records.list(None, 3).await.unwrap()), ["a", "b", "c"]);
    assert_eq!(names(records.list(Some(&name("c")), 3).await.unwrap()), ["d"]);
    for (repository, expected) in [
        ("r.example.com/team/app", &["a", "c", "d"][..]),
        ("r.example.com/team/app/deeper", &["a", "c"]),
        ("r.example.com/teams", &["c"]),
        ("s.example.com/app", &["a", "b"]),
        ("t.example.com/app", &[]),
    ] {
        let repository = Repository::parse(repository).unwrap();
        assert_eq!(names(records.trusted_for(&repository, Purpose::Image).await.unwrap()), expected, "{repository}");
        assert!(records.trusted_for(&repository, Purpose::Raw).await.unwrap().is_empty());
    }
    let trust = Trust::Distrusted { reason: DistrustReason::Unspecified, since_leaf: 0 };
    records.set_state(id(3), 1, StateChange { use_: Use::Active, trust }, anchor(2), None).await.unwrap();
    let repository = Repository::parse("s.example.com/app").unwrap();
    assert_eq!(names(records.trusted_for(&repository, Purpose::Image).await.unwrap()), ["a"]);
}

#[tokio::test]
async fn the_log_key_is_set_once_and_no_key_api_reaches_it() {
    let bench = bench().await;
    let records = &bench.records;
    let of = |byte| LogKey {
        key: KeyRef { id: id(byte), version: KeyVersion::FIRST },
        public_key: public_key(byte.into()),
        material: material(byte),
        origin: "log.example.com".to_owned(),
    };
    assert!(records.log_key().unwrap().is_none());
    assert_eq!(records.replace_log_material(material(1)).await.unwrap_err(), RecordError::Missing);

    records.set_log_key_once(of(9)).await.unwrap();

    assert_eq!(records.set_log_key_once(of(8)).await.unwrap_err(), RecordError::NameTaken);
    records.replace_log_material(material(10)).await.unwrap();
    let records = bench.reopened().await.unwrap();
    let log_key = records.log_key().unwrap().unwrap();
    assert_eq!((log_key.key.id, log_key.material, log_key.origin.as_str()), (id(9), material(10), "log.example.com"));
    assert!(records.key_by_id(id(9)).await.unwrap().is_none());
    assert!(records.sealed_versions(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_snapshot_is_a_whole_store_without_log_key_and_answers() {
    let bench = bench().await;
    let view = add(&bench.records, 1, "a").await;
    add(&bench.records, 2, "b").await;
    change(&bench.records, &view, UseChange::Disable).await.unwrap();
    bench.records.remember_replay(replay(1, "k", b"answer")).await.unwrap();
    let provenance = Provenance { made_at_unix_seconds: 4, checkpoint: "c".to_owned(), ring_sha256: [3; 32] };

    let mut snapshot = bench.records.snapshot().await.unwrap();
    add(&bench.records, 3, "later").await;
    let copy = Store::memory();
    loop {
        snapshot.read_ahead().await.unwrap();
        let Some(rows) = snapshot.next_rows(&provenance).unwrap() else { break };
        copy.write(rows.into_iter().map(|(key, value)| Change::Create { key, value }).collect()).await.unwrap();
    }

    let records = Records::open(copy, limits(), bench.clock.clone()).await.unwrap();
    assert_eq!(records.unseal(&store_key(2)).await, Err(UnsealError::WrongKey));
    records.unseal(&store_key(1)).await.unwrap();
    assert_eq!(records.key_count().unwrap(), 2);
    assert_eq!(records.state_now(id(1)).unwrap().use_, Use::Disabled);
    assert_eq!(records.provenance().unwrap(), Some(provenance));
    assert_eq!(records.anchor().unwrap(), LogAnchor::empty());
    assert!(records.log_key().unwrap().is_none());
    assert_eq!(records.find_replay(&Principal::LocalUid(1), "create", "k").await.unwrap(), None);
    add(&records, 3, "c").await;
}
