//! Records over a store in memory; the store's own contract says that a disk does the same.

use std::time::Duration;

use trust::format::tuf::Gun;
use trust::state::DistrustReason;
use trust::{
    Algorithm, Form, KeyName, KeyVersion, Origin, Principal, PublicKey, Purpose, Repository, Scope, Sha256Digest,
    Trust, Use, UseChange,
};
use trust_hsm::{KeyObject, ObjectId, SealedKey, StoreKey, TokenKey};

use super::*;
use crate::store::{Change, RowKey, SledOptions, SledStore, Store};

mod answers;
mod changed_behind;
mod life;
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
    let again = records.create_key(record(2, "b", &["r.example.com/*"]), version(2, 1, 1), anchor(2), None).await;
    assert_eq!(again.unwrap_err(), RecordError::PublicKeyTaken { key: read.key });
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
        ("r.example.com/team/app", &["c", "a", "d"][..]),
        ("r.example.com/team/app/deeper", &["c", "a"]),
        ("r.example.com/teams", &["c"]),
        ("s.example.com/app", &["a", "b"]),
        ("t.example.com/app", &[]),
    ] {
        let repository = Repository::parse(repository).unwrap();
        let trusted = records.trusted_for(&repository, Purpose::Image, None, 9).await.unwrap();
        assert_eq!(names(trusted), expected, "{repository}");
        assert!(records.trusted_for(&repository, Purpose::Raw, None, 9).await.unwrap().is_empty());
        // Page by page, of whatever size, they are the same.
        for size in 1..3 {
            let (mut paged, mut after) = (Vec::new(), None);
            loop {
                let page = records.trusted_for(&repository, Purpose::Image, after, size).await.unwrap();
                assert!(page.len() <= size);
                let Some(last) = page.last() else { break };
                after = Some(last.record.id);
                paged.extend(names(page));
            }
            assert_eq!(paged, expected, "{repository} by {size}");
        }
    }
    let trust = Trust::Distrusted { reason: DistrustReason::Unspecified, since_leaf: 0 };
    records.set_state(id(3), 1, StateChange { use_: Use::Active, trust }, anchor(2), None).await.unwrap();
    let repository = Repository::parse("s.example.com/app").unwrap();
    assert_eq!(names(records.trusted_for(&repository, Purpose::Image, None, 9).await.unwrap()), ["a"]);
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
