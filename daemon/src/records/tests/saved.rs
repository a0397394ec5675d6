//! The file of the index: believed for exactly the rows it was taken of, and for no others.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use super::*;

/// A directory, and the file in it.
fn file() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("index");
    (directory, file)
}

impl Bench {
    /// The records as the next process finds them, with the file.
    async fn reopened_from(&self, file: &Path) -> Result<(Records, Rows), UnsealError> {
        let records = Records::open(self.store.clone(), limits(), self.clock.clone()).await?;
        let rows = records.unseal_from(file, &store_key(1)).await?;
        Ok((records, rows))
    }

    /// Each key as it is after the long way.
    async fn keys(&self) -> Vec<String> {
        texts(&self.reopened().await.unwrap()).await
    }
}

async fn texts(records: &Records) -> Vec<String> {
    records.list(None, 100).await.unwrap().iter().map(|view| format!("{view:?}")).collect()
}

fn log_key() -> LogKey {
    let key = KeyRef { id: id(200), version: KeyVersion::FIRST };
    LogKey { key, public_key: public_key(200), material: material(9), origin: "log.example".to_owned() }
}

fn token() -> TokenName {
    "hsm".parse().unwrap()
}

async fn add_in_token(records: &Records, byte: u8) -> KeyView {
    let key = TokenKey { token: token(), object: KeyObject::Ours(ObjectId::from_bytes([byte; 32])) };
    let first = VersionRecord { materials: vec![Material::Token(key)], ..version(byte, 1, byte.into()) };
    let scope = &["r.example.com/*"];
    let record = KeyRecord { token: Some(token()), ..record(byte, &format!("token/{byte}"), scope) };
    records.create_key(record, first, anchor(byte.into()), None).await.unwrap()
}

/// A store with something of every kind in it.
async fn full_bench() -> Bench {
    let bench = bench().await;
    add(&bench.records, 1, "app/one").await;
    let two = add(&bench.records, 2, "app/two").await;
    let brought = VersionRecord { origin: Origin::Imported, ..version(2, 2, 102) };
    bench.records.add_version(two.state.epoch, brought, anchor(3), None).await.unwrap();
    let three = add(&bench.records, 3, "app/three").await;
    destroyed(&bench.records, three).await;
    for byte in [4, 5] {
        let view = add_in_token(&bench.records, byte).await;
        if byte == 5 {
            destroyed(&bench.records, view).await;
        }
    }
    bench.records.set_log_key_once(log_key()).await.unwrap();
    bench.records.remember_replay(replay(1, "k", b"answer")).await.unwrap();
    bench
}

#[tokio::test]
async fn the_index_comes_back_from_its_file_as_it_was() {
    let bench = full_bench().await;
    let (_directory, file) = file();
    bench.records.save_index(&file, 0).await.unwrap();

    let (records, rows) = bench.reopened_from(&file).await.unwrap();

    assert_eq!(rows, Rows::Unread);
    assert_eq!(texts(&records).await, bench.keys().await);
    assert_eq!(records.anchor(), bench.records.anchor());
    assert_eq!(records.shred_pending(), bench.records.shred_pending());
    assert_eq!(records.log_key().unwrap().unwrap().origin, "log.example");
    let scope = Repository::parse("r.example.com/app").unwrap();
    assert_eq!(records.trusted_for(&scope, Purpose::Image, None, 9).await.unwrap().len(), 5);
    assert_eq!(records.key_by_id(id(4)).await.unwrap().unwrap().record.custodian(), "hsm");
    assert_eq!(records.objects_in(&token()).unwrap().len(), 2);
    assert_eq!(records.object_pending().unwrap()[0].record.id, id(5));
    let kept = records.find_replay(&Principal::LocalUid(1), "create", "k").await.unwrap().unwrap();
    assert_eq!(kept.response, b"answer");
    // The places of the rows came back, too: each kind can be changed.
    let one = records.key_by_name(&name("app/one")).await.unwrap().unwrap();
    let one = change(&records, &one, UseChange::Disable).await.unwrap();
    records.replace_materials(vec![(version(2, 1, 2).key, vec![material(7)])]).await.unwrap();
    records.replace_log_material(material(8)).await.unwrap();
    records.forget_object(version(5, 1, 5).key, anchor(60)).await.unwrap();
    let rows = bench.reopened().await.unwrap().read(|index| index.anchor.sum.rows).unwrap();
    assert_eq!(records.check_rows().await, Ok(Some(rows)));
    assert_eq!(bench.reopened().await.unwrap().state_now(one.record.id).unwrap().use_, Use::Disabled);
}

#[tokio::test]
async fn after_any_change_the_file_is_not_believed() {
    let changes =
        ["disable", "destroy", "distrust", "rotate", "rewrap", "create", "log", "replay", "log key", "forget"];
    for what in changes {
        let bench = bench().await;
        let one = add(&bench.records, 1, "app/one").await;
        bench.records.set_log_key_once(log_key()).await.unwrap();
        let gone = add_in_token(&bench.records, 4).await;
        destroyed(&bench.records, gone).await;
        let (_directory, file) = file();
        bench.records.save_index(&file, 0).await.unwrap();
        let records = &bench.records;

        match what {
            "disable" => drop(change(records, &one, UseChange::Disable).await.unwrap()),
            "destroy" => drop(destroyed(records, one).await),
            "distrust" => {
                let trust = Trust::Distrusted { reason: DistrustReason::KeyCompromise, since_leaf: 1 };
                let to = StateChange { use_: Use::Active, trust };
                records.set_state(one.record.id, one.state.epoch, to, anchor(9), None).await.unwrap();
            }
            "rotate" => drop(records.add_version(one.state.epoch, version(1, 2, 99), anchor(9), None).await.unwrap()),
            "rewrap" => {
                records.replace_materials(vec![(version(1, 1, 1).key, vec![material(7)])]).await.unwrap();
            }
            "create" => drop(add(records, 2, "app/two").await),
            "log" => records.note_log(anchor(9)).await.unwrap(),
            "forget" => {
                records.forget_object(version(4, 1, 4).key, anchor(9)).await.unwrap();
            }
            "replay" => records.remember_replay(replay(1, "k", b"answer")).await.unwrap(),
            _ => records.replace_log_material(material(3)).await.unwrap(),
        }

        let (after, rows) = bench.reopened_from(&file).await.unwrap();
        assert_eq!(rows, Rows::Read, "after {what}");
        assert_eq!(texts(&after).await, texts(records).await, "after {what}");
    }
}

/// The start compares them with the log (D17), whichever way the index came.
#[tokio::test]
async fn the_marks_of_trust_data_come_back_from_the_rows_and_from_the_file() {
    let bench = full_bench().await;
    let gun: Gun = "r.example.com/app".parse().unwrap();
    let mark = |number| trust::format::tuf::Version::new(number).unwrap();
    let mut head = Head::default();
    head.raise(&trust::format::tuf::RoleName::Snapshot, mark(3));
    head.raise(&trust::format::tuf::RoleName::Timestamp, mark(7));
    bench.records.publish(&gun, head, &[], None, anchor(9)).await.unwrap();
    let expected = OwnMarks { snapshot: Some(mark(3)), timestamp: Some(mark(7)), is_alive: false };
    assert_eq!(bench.records.own_marks(&gun).unwrap(), expected);
    let (_directory, file) = file();
    bench.records.save_index(&file, 0).await.unwrap();

    let (by_file, rows) = bench.reopened_from(&file).await.unwrap();
    let by_rows = bench.reopened().await.unwrap();

    assert_eq!(rows, Rows::Unread);
    assert_eq!(by_file.own_marks(&gun).unwrap(), expected);
    assert_eq!(by_rows.own_marks(&gun).unwrap(), expected);
    assert_eq!(by_rows.own_marks(&"r.example.com/other".parse().unwrap()).unwrap(), OwnMarks::default());
}

#[tokio::test]
async fn an_older_store_under_a_newer_file_is_read_row_by_row() {
    let bench = full_bench().await;
    let before = bench.store.scan(&[], None, 4096).await.unwrap();
    let one = bench.records.key_by_name(&name("app/one")).await.unwrap().unwrap();
    change(&bench.records, &one, UseChange::Disable).await.unwrap();
    let (_directory, file) = file();
    bench.records.save_index(&file, 0).await.unwrap();

    for (key, row) in before {
        bench.put(&key, row.value).await;
    }

    let (records, rows) = bench.reopened_from(&file).await.unwrap();
    // That all of the store is older shows against the log, as it always did (D17).
    assert_eq!(rows, Rows::Read);
    assert_eq!(records.state_now(one.record.id).unwrap().use_, Use::Active);
}

#[tokio::test]
async fn a_damaged_cut_or_foreign_file_costs_time_only() {
    let bench = full_bench().await;
    let (_directory, file) = file();
    bench.records.save_index(&file, 0).await.unwrap();
    let whole = std::fs::read(&file).unwrap();
    let keys = bench.keys().await;
    let mut wrong: Vec<Vec<u8>> = (0..whole.len()).step_by(41).map(|length| whole[..length].to_vec()).collect();
    for at in (0..whole.len()).step_by(37) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        wrong.push(flipped);
    }
    // Of an earlier format, which had no place for the custodian of a key.
    wrong.push([b"trustd index v1\n", &whole[16..]].concat());
    wrong.push([whole.as_slice(), &whole[32..]].concat());
    wrong.push([whole.as_slice(), &[0; 3]].concat());
    wrong.push([&whole[..32], &u32::MAX.to_be_bytes(), &whole[36..]].concat());
    let other = Records::create(Store::memory(), [8; 16], &store_key(1), limits(), bench.clock.clone()).await.unwrap();
    let elsewhere = file.with_extension("other");
    other.save_index(&elsewhere, 0).await.unwrap();
    wrong.push(std::fs::read(&elsewhere).unwrap());

    for bytes in wrong {
        std::fs::write(&file, &bytes).unwrap();
        let (records, rows) = bench.reopened_from(&file).await.unwrap();
        assert_eq!(rows, Rows::Read, "{} of {} bytes", bytes.len(), whole.len());
        assert_eq!(texts(&records).await, keys);
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(bench.reopened_from(&file).await.unwrap().1, Rows::Read);
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(bench.reopened_from(&file).await.unwrap().1, Rows::Unread);
}

#[tokio::test]
async fn a_pipe_or_a_directory_in_the_places_of_the_file_holds_up_nothing() {
    let bench = full_bench().await;
    let (_directory, file) = file();
    let pipe = |path: &Path| rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RUSR).unwrap();
    pipe(&file);
    pipe(&file.with_extension("new"));

    assert_eq!(bench.reopened_from(&file).await.unwrap().1, Rows::Read);
    bench.records.save_index(&file, 0).await.unwrap();
    assert_eq!(bench.reopened_from(&file).await.unwrap().1, Rows::Unread);

    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert_eq!(bench.reopened_from(&file).await.unwrap().1, Rows::Read);
    let refused = bench.records.save_index(&file, 0).await;
    assert!(matches!(refused, Err(SaveError::System { step: "rename to", .. })), "{refused:?}");
    assert!(!file.with_extension("new").exists());
}

#[tokio::test]
async fn another_key_opens_neither_the_store_nor_the_file() {
    let bench = full_bench().await;
    let (_directory, file) = file();
    bench.records.save_index(&file, 0).await.unwrap();
    let records = Records::open(bench.store.clone(), limits(), bench.clock.clone()).await.unwrap();

    assert_eq!(records.unseal_from(&file, &store_key(2)).await, Err(UnsealError::WrongKey));
    assert!(records.is_sealed());
}

#[tokio::test]
async fn a_row_that_was_changed_behind_the_file_says_nothing_and_is_noticed() {
    for what in ["altered", "removed", "older", "put in"] {
        let bench = full_bench().await;
        let state = layout::state(id(1));
        let before = bench.value(&state).await;
        let one = bench.records.key_by_name(&name("app/one")).await.unwrap().unwrap();
        change(&bench.records, &one, UseChange::Disable).await.unwrap();
        let (_directory, file) = file();
        bench.records.save_index(&file, 0).await.unwrap();
        match what {
            "altered" => bench.put(&state, vec![1; 80]).await,
            "removed" => drop(bench.take(&state).await),
            "older" => bench.put(&state, before).await,
            _ => bench.put(&layout::state(id(77)), before).await,
        }

        let (records, rows) = bench.reopened_from(&file).await.unwrap();

        assert_eq!(rows, Rows::Unread, "{what}");
        assert_eq!(records.state_now(id(1)).unwrap().use_, Use::Disabled, "{what}");
        let checked = records.check_rows().await;
        assert!(matches!(checked, Err(UnsealError::Tampered { .. })), "{what}: {checked:?}");
    }
}

#[tokio::test]
async fn rows_are_read_while_others_change_them_and_add_up() {
    let bench = bench().await;
    for byte in 1..150 {
        add(&bench.records, byte, &format!("app/{byte}")).await;
    }
    let (_directory, file) = file();
    bench.records.save_index(&file, 0).await.unwrap();
    let (records, _) = bench.reopened_from(&file).await.unwrap();
    let open = records.opened().unwrap();
    let is_read = Cell::new(false);
    let check = async {
        let checked = recheck::run(&records.0, &open, 16).await;
        is_read.set(true);
        checked
    };
    // Before each page and after it: states lie in the middle, so that they are changed ahead of the reader and behind it.
    let changes = async {
        let mut rounds = 0;
        while !is_read.get() {
            for verb in [UseChange::Disable, UseChange::Enable] {
                let view = records.key_by_id(id(75)).await.unwrap().unwrap();
                change(&records, &view, verb).await.unwrap();
            }
            rounds += 1;
        }
        rounds
    };

    let (checked, rounds) = tokio::join!(check, changes);

    assert_eq!(checked, Ok(Some(745)));
    assert!(rounds > 10, "{rounds}");
    assert_eq!(records.check_rows().await, Ok(Some(745)));
    bench.reopened().await.unwrap();
}

#[tokio::test]
async fn what_is_sealed_is_neither_saved_nor_read() {
    let bench = full_bench().await;
    let (_directory, file) = file();
    bench.records.seal();

    let refused = bench.records.save_index(&file, 0).await;

    assert!(matches!(refused, Err(SaveError::Records(RecordError::Sealed))), "{refused:?}");
    assert!(!file.exists());
    assert_eq!(bench.records.check_rows().await, Ok(None));
}

#[tokio::test]
async fn a_full_disk_leaves_the_older_file_and_what_a_crash_left_is_written_over() {
    let bench = full_bench().await;
    let (directory, file) = file();
    bench.records.save_index(&file, 0).await.unwrap();
    let older = std::fs::read(&file).unwrap();
    add(&bench.records, 9, "app/nine").await;

    let refused = bench.records.save_index(&file, u64::MAX).await;

    assert!(matches!(refused, Err(SaveError::Full)), "{refused:?}");
    assert_eq!(std::fs::read(&file).unwrap(), older);
    std::fs::write(file.with_extension("new"), b"half of one").unwrap();
    assert_eq!(bench.reopened_from(&file).await.unwrap().1, Rows::Read);
    bench.records.save_index(&file, 0).await.unwrap();
    assert_eq!(bench.reopened_from(&file).await.unwrap().1, Rows::Unread);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}
