//! The ring's file and its root key: what opens, what is refused, what is left behind.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

mod house;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use house::{House, Mount, STORE};
use tempfile::TempDir;
use trust_hsm::{
    CustodyError, KeyRing as _, Passphrase, PassphraseCost, RootSource, SoftwareCustodian, create_root_file, init_ring,
};

fn file(path: &Path) -> RootSource {
    RootSource::File { path: path.to_owned() }
}

fn passphrase(text: &str) -> RootSource {
    RootSource::Passphrase(Passphrase::take(&mut text.as_bytes().to_vec()).unwrap())
}

fn refusal(outcome: Result<impl Sized, CustodyError>) -> String {
    match outcome.map(drop).unwrap_err() {
        CustodyError::Refused { why } => why,
        other => panic!("not refused: {other}"),
    }
}

#[test]
fn a_loose_root_file_is_refused_with_its_mode() {
    let house = House::open(Mount::InProcess);
    for mode in [0o640, 0o604, 0o660, 0o644, 0o610, 0o777] {
        fs::set_permissions(&house.root_file, Permissions::from_mode(mode)).unwrap();

        let why = refusal(house.unseal());

        assert!(why.contains(&format!("{mode:04o}")), "{why}");
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&house.root_file, Permissions::from_mode(mode)).unwrap();
        assert!(house.unseal().is_ok());
    }
}

#[test]
fn a_root_file_of_somebody_else_is_refused() {
    let house = House::open(Mount::InProcess);
    // Only root can give a file away; anybody else cannot make this case at all.
    if std::os::unix::fs::chown(&house.root_file, Some(12345), None).is_ok() {
        assert!(refusal(house.unseal()).contains("uid 12345"));
    } else {
        assert_ne!(fs::metadata(&house.root_file).unwrap().uid(), 12345);
    }
}

#[test]
fn a_root_file_of_another_length_or_kind_is_refused() {
    let house = House::open(Mount::InProcess);
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("key");
    for length in [0, 31, 33, 4096] {
        fs::write(&path, vec![7; length]).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(refusal(house.ring.unseal(file(&path))).contains(&format!("{length} bytes")));
    }
    fs::remove_file(&path).unwrap();
    assert!(refusal(house.ring.unseal(file(&path))).contains("No such file"));
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(refusal(house.ring.unseal(file(&path))).contains("not a regular file"));
    assert!(refusal(house.ring.unseal(file(directory.path()))).contains("not a regular file"));
}

#[test]
fn a_link_to_a_good_root_file_opens() {
    let house = House::open(Mount::InProcess);
    let link = house.directory.path().join("link");
    symlink(&house.root_file, &link).unwrap();

    assert!(house.ring.unseal(file(&link)).is_ok());
}

#[test]
fn neither_a_root_file_nor_a_ring_is_made_over_something() {
    let house = House::open(Mount::InProcess);
    let (ring, root) = (fs::read(&house.ring_path).unwrap(), fs::read(&house.root_file).unwrap());

    assert!(refusal(create_root_file(&house.root_file)).contains("exists already"));
    let again = init_ring(&house.ring_path, STORE, &file(&house.root_file), PassphraseCost::FLOOR);
    assert!(refusal(again).contains("exists already"));

    assert_eq!(fs::read(&house.ring_path).unwrap(), ring);
    assert_eq!(fs::read(&house.root_file).unwrap(), root);
    for path in [&house.ring_path, &house.root_file] {
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_passphrase_opens_its_ring_and_no_other_word_does() {
    let directory = TempDir::new().unwrap();
    let house = House::with(directory, Mount::InProcess, &passphrase("correct horse"));

    assert!(refusal(house.ring.unseal(passphrase("correct hors"))).contains("wrong passphrase"));
    let key = house.root_file.clone();
    create_root_file(&key).unwrap();
    assert!(refusal(house.ring.unseal(file(&key))).contains("opens with a passphrase"));
    assert!(house.ring.unseal(passphrase("correct horse")).is_ok());
}

#[test]
fn a_ring_with_a_root_file_refuses_a_passphrase() {
    let house = House::open(Mount::InProcess);

    assert!(refusal(house.ring.unseal(passphrase("any"))).contains("root key file"));
}

#[test]
fn an_argon_cost_out_of_bounds_is_refused() {
    let directory = TempDir::new().unwrap();
    let floor = PassphraseCost::FLOOR;
    let costs = [
        PassphraseCost { memory_kib: floor.memory_kib - 1, ..floor },
        PassphraseCost { memory_kib: 1024 * 1024 + 1, ..floor },
        PassphraseCost { passes: 2, ..floor },
        PassphraseCost { passes: 17, ..floor },
        PassphraseCost { lanes: 0, ..floor },
        PassphraseCost { lanes: 17, ..floor },
    ];

    for cost in costs {
        let ring = directory.path().join("kek.ring");
        assert!(refusal(init_ring(&ring, STORE, &passphrase("p"), cost)).contains("Argon2id"), "{cost:?}");
        assert!(!ring.exists());
    }
}

#[test]
fn a_passphrase_is_wiped_where_it_came_from_even_when_refused() {
    let mut good = *b"correct horse";
    let mut long = vec![b'p'; Passphrase::BYTES_MAX + 1];

    assert!(Passphrase::take(&mut good).is_ok());
    assert!(Passphrase::take(&mut long).is_err());
    assert!(Passphrase::take(&mut []).is_err());

    assert!(good.iter().chain(&long).all(|byte| *byte == 0));
}

#[test]
fn a_ring_with_any_byte_changed_does_not_open() {
    let house = House::open(Mount::InProcess);
    let good = fs::read(&house.ring_path).unwrap();
    for index in 0..good.len() {
        let mut bad = good.clone();
        bad[index] ^= 0x41;
        fs::write(&house.ring_path, &bad).unwrap();

        let outcome = SoftwareCustodian::new(&house.ring_path, 1).unseal(file(&house.root_file)).map(drop);

        assert!(matches!(outcome, Err(CustodyError::Refused { .. } | CustodyError::Corrupt { .. })), "byte {index}");
    }
}

#[test]
fn a_ring_cut_short_or_made_longer_does_not_open() {
    let house = House::open(Mount::InProcess);
    let good = fs::read(&house.ring_path).unwrap();
    let longer = [good.as_slice(), &[0]].concat();
    let lengths = (0..good.len()).map(|length| good[..length].to_vec()).chain([longer, vec![7; 2 * 1024 * 1024]]);
    for bad in lengths {
        fs::write(&house.ring_path, &bad).unwrap();

        let outcome = SoftwareCustodian::new(&house.ring_path, 1).unseal(file(&house.root_file)).map(drop);

        assert!(matches!(outcome, Err(CustodyError::Corrupt { .. })), "{} bytes: {outcome:?}", bad.len());
    }
}

#[test]
fn a_missing_ring_is_named() {
    let house = House::open(Mount::InProcess);
    fs::remove_file(&house.ring_path).unwrap();

    assert!(refusal(house.unseal()).contains("kek.ring"));
}

#[test]
fn what_an_interrupted_replacement_left_is_overwritten_at_the_next_opening() {
    let house = House::open(Mount::InProcess);
    let beside = |name: &str| house.ring_path.with_extension(format!("ring.{name}"));
    // After the rename: the older ring under its second name, which a witness keeps readable here.
    fs::write(beside("old"), b"an older ring").unwrap();
    fs::write(beside("new"), b"half a ring").unwrap();
    let witness = house.directory.path().join("witness");
    fs::hard_link(beside("old"), &witness).unwrap();

    let _ = house.unseal().unwrap();

    assert!(!beside("old").exists() && !beside("new").exists());
    assert_eq!(fs::read(&witness).unwrap(), [0; 13]);
}

#[test]
fn a_replacement_that_stopped_before_the_rename_costs_nothing() {
    let house = House::open(Mount::InProcess);
    let old = house.ring_path.with_extension("ring.old");
    fs::hard_link(&house.ring_path, &old).unwrap();

    assert!(house.unseal().is_ok());

    assert!(!old.exists());
    assert!(house.unseal().is_ok());
}

#[test]
fn a_rotation_overwrites_the_older_file() {
    let house = House::open(Mount::InProcess);
    let witness = house.directory.path().join("witness");
    fs::hard_link(&house.ring_path, &witness).unwrap();

    house.ring.begin_rotation().unwrap();

    let left = fs::read(&witness).unwrap();
    assert!(!left.is_empty() && left.iter().all(|byte| *byte == 0));
}

#[test]
fn a_rotation_that_cannot_be_written_changes_nothing() {
    let house = House::open(Mount::InProcess);
    // A directory where the new file would go: neither overwritten nor written through.
    let obstacle = house.ring_path.with_extension("ring.new");
    fs::create_dir(&obstacle).unwrap();

    assert!(matches!(house.ring.begin_rotation(), Err(CustodyError::Failed { .. })));

    assert_eq!(house.ring.list().unwrap().len(), 1);
    fs::remove_dir(&obstacle).unwrap();
    assert_eq!(house.ring.begin_rotation().unwrap().number(), 2);
}
