//! What is remembered, and what is taken over of an earlier `trustctl`.

use trust::format::tuf::RoleName;

use super::super::samples::{key_id, root, timestamp};
use super::*;

const SERVER: &str = "https://notary.example.com";

fn gun() -> Gun {
    "registry.example.com/team/app".parse().unwrap()
}

fn open(state: &Path, pinned: &Pinned) -> Memory {
    Memory::open(state, (SERVER, &gun()), pinned, &Pinned::Nothing).unwrap()
}

fn seen(root: &Document, version: u32, lines: &[u32], end: End) -> Seen {
    let mut roots = Roots::default();
    roots.put(root);
    let files = Repository::of([root.clone(), timestamp(version)]);
    Seen { files, roots, key: None, lines: lines.iter().copied().collect(), end }
}

fn timestamp_of(line: &Line) -> u32 {
    line.files.file(&RoleName::Timestamp).unwrap().version().number()
}

/// As an earlier `trustctl` kept it.
fn kept_before(state: &Path, server: &str, pin: &str, root: &Document, version: u32) -> PathBuf {
    let name = Sha256Digest::of(format!("{server}\n{}\n{pin}", gun()).as_bytes()).to_hex();
    let directory = state.join("trust-data").join(name);
    let files = Repository::of([root.clone(), timestamp(version)]);
    let line = Line { place: 0, has_led: true, roots: Roots::default(), keys: BTreeSet::new(), files };
    line.write(&directory).unwrap();
    directory
}

#[test]
fn what_was_seen_is_gone_on_with_whichever_way_its_root_is_pinned() {
    let state = tempfile::tempdir().unwrap();
    let (old, new, other) = (root(1, 1), root(2, 2), root(1, 3));
    let pinned = Pinned::Root(old.clone());
    let mut first = seen(&new, 7, &[], End::Refreshed);
    first.roots.put(&old);
    first.key = Some(key_id(1));
    open(state.path(), &pinned).keep(first).unwrap();

    for pinned in [Pinned::Nothing, pinned, Pinned::Root(new), Pinned::Key(key_id(1))] {
        let memory = open(state.path(), &pinned);
        assert_eq!(memory.line_for(&pinned, &gun()).map(timestamp_of), Some(7), "{pinned:?}");
    }
    for pinned in [Pinned::Root(other), Pinned::Key(key_id(3))] {
        assert!(open(state.path(), &pinned).line_for(&pinned, &gun()).is_none(), "{pinned:?}");
    }
}

#[test]
fn another_repository_is_remembered_beside_the_first_and_gone_on_with_once_it_is_believed() {
    let state = tempfile::tempdir().unwrap();
    let (one, other) = (root(1, 1), root(1, 2));
    let current = |pinned: &Pinned| open(state.path(), pinned).line_for(pinned, &gun()).map(timestamp_of);
    open(state.path(), &Pinned::Nothing).keep(seen(&one, 7, &[], End::Refreshed)).unwrap();
    let pinned = Pinned::Root(other.clone());

    open(state.path(), &pinned).keep(seen(&other, 3, &[], End::Refused)).unwrap();
    assert_eq!((current(&Pinned::Nothing), current(&pinned)), (Some(7), Some(3)));
    let place = open(state.path(), &pinned).line_of(&other).unwrap().place;
    open(state.path(), &pinned).keep(seen(&other, 4, &[place], End::Refreshed)).unwrap();

    assert_eq!((current(&Pinned::Nothing), current(&pinned)), (Some(4), Some(4)));
    assert_eq!(current(&Pinned::Root(one)), Some(7));
}

#[test]
fn lines_that_have_met_are_one_and_what_an_interruption_left_is_read() {
    let state = tempfile::tempdir().unwrap();
    let (one, other) = (root(1, 1), root(2, 1));
    open(state.path(), &Pinned::Nothing).keep(seen(&one, 7, &[], End::Refreshed)).unwrap();
    open(state.path(), &Pinned::Nothing).keep(seen(&other, 3, &[], End::Refused)).unwrap();
    let memory = open(state.path(), &Pinned::Nothing);
    assert_eq!(memory.lines().len(), 2);

    memory.keep(seen(&other, 8, &[0, 1], End::Refreshed)).unwrap();
    drop(memory);
    let memory = open(state.path(), &Pinned::Nothing);
    let [line] = memory.lines() else { panic!("{:?}", memory.lines()) };
    assert!(timestamp_of(line) == 8 && line.roots.have(&one) && line.roots.have(&other));

    // The files were written, and the record was not.
    std::fs::remove_file(memory.directory().join(RECORD)).unwrap();
    drop(memory);
    let memory = open(state.path(), &Pinned::Nothing);
    assert_eq!(memory.line_for(&Pinned::Nothing, &gun()).map(timestamp_of), Some(8));
    std::fs::write(memory.directory().join(RECORD), "{").unwrap();
    drop(memory);
    let damaged = Memory::open(state.path(), (SERVER, &gun()), &Pinned::Nothing, &Pinned::Nothing);
    assert!(damaged.unwrap_err().what().contains("cannot be read"));
}

#[test]
fn so_many_lines_are_remembered_and_none_that_is_believed_goes_for_one_that_is_not() {
    let state = tempfile::tempdir().unwrap();
    let keep = |seed: u8, end| open(state.path(), &Pinned::Nothing).keep(seen(&root(1, seed), 1, &[], end)).unwrap();
    let has = |seed: u8| open(state.path(), &Pinned::Nothing).line_of(&root(1, seed)).is_some();
    (1..=16).for_each(|seed| keep(seed, End::Refreshed));

    keep(17, End::Refused);
    assert!(!has(17) && (1..=16).all(has));
    keep(18, End::Refreshed);

    assert!(!has(1) && has(2) && has(16) && has(18));
    assert_eq!(open(state.path(), &Pinned::Nothing).lines().len(), LINES_MAX);
}

#[test]
fn memories_of_an_earlier_trustctl_are_taken_over_whatever_is_pinned_now() {
    let (one, two) = (root(1, 1), root(2, 2));
    let file = one.sha256().to_hex();
    let shouted = "https://Notary.Example.com:443";

    for (server, pin, root, pinned) in [
        // The same pin, whatever became of the root, and no pin.
        (SERVER, key_id(1).to_hex(), &two, Pinned::Key(key_id(1))),
        (SERVER, file.clone(), &two, Pinned::Root(one.clone())),
        (SERVER, String::new(), &one, Pinned::Nothing),
        // Another one.
        (SERVER, key_id(1).to_hex(), &one, Pinned::Root(one.clone())),
        (SERVER, key_id(2).to_hex(), &two, Pinned::Root(two.clone())),
        (SERVER, file.clone(), &one, Pinned::Nothing),
        (SERVER, key_id(1).to_hex(), &one, Pinned::Nothing),
        // Another way of writing the server.
        (shouted, String::new(), &one, Pinned::Nothing),
        (shouted, file, &one, Pinned::Nothing),
    ] {
        let state = tempfile::tempdir().unwrap();
        let directory = kept_before(state.path(), server, &pin, root, 7);
        let again = || Memory::open(state.path(), (server, &gun()), &pinned, &Pinned::Nothing).unwrap();

        for _ in 0..2 {
            let memory = again();
            let line = memory.line_for(&pinned, &gun()).unwrap_or_else(|| panic!("{server} {pin} {pinned:?}"));
            assert_eq!((timestamp_of(line), line.has_led), (7, true));
            assert!(directory == memory.directory() || !directory.exists());
            assert_eq!(memory.lines().len(), 1);
        }
    }
}

#[test]
fn what_an_interrupted_takeover_left_behind_is_taken_over_later() {
    let state = tempfile::tempdir().unwrap();
    let before = kept_before(state.path(), SERVER, &key_id(1).to_hex(), &root(1, 1), 7);
    let memory = open(state.path(), &Pinned::Nothing);
    let place = memory.lines()[0].place;
    let directory = memory.directory().to_path_buf();
    drop(memory);
    // The record names a line, and its directory was not moved yet.
    std::fs::rename(directory_of(&directory, place), &before).unwrap();

    for _ in 0..2 {
        let memory = open(state.path(), &Pinned::Nothing);
        assert_eq!(memory.line_for(&Pinned::Nothing, &gun()).map(timestamp_of), Some(7));
        assert_eq!(memory.lines().len(), 1);
    }
    assert!(!before.exists());
}

#[test]
fn what_was_searched_once_is_not_searched_again() {
    let state = tempfile::tempdir().unwrap();
    assert!(open(state.path(), &Pinned::Nothing).lines().is_empty());
    let later = kept_before(state.path(), SERVER, &key_id(1).to_hex(), &root(1, 1), 7);

    assert!(open(state.path(), &Pinned::Nothing).lines().is_empty() && later.exists());
    // Whoever names the pin finds it.
    assert_eq!(open(state.path(), &Pinned::Key(key_id(1))).lines().len(), 1);
}

#[test]
fn what_the_configuration_pins_is_taken_over_where_a_call_pins_another() {
    let state = tempfile::tempdir().unwrap();
    kept_before(state.path(), SERVER, &root(1, 1).sha256().to_hex(), &root(3, 2), 7);

    let (pinned, overruled) = (Pinned::Key(key_id(2)), Pinned::Root(root(1, 1)));
    let memory = Memory::open(state.path(), (SERVER, &gun()), &pinned, &overruled).unwrap();

    let [line] = memory.lines() else { panic!("{:?}", memory.lines()) };
    assert!(line.roots.have(&root(1, 1)) && line.roots.have(&root(3, 2)));
}

#[test]
fn what_was_remembered_of_another_repository_or_server_stays_where_it_is() {
    let state = tempfile::tempdir().unwrap();
    let elsewhere = kept_before(state.path(), "https://elsewhere.example.com", &key_id(1).to_hex(), &root(1, 1), 7);

    let memory = open(state.path(), &Pinned::Key(key_id(1)));

    assert!(memory.lines().is_empty() && elsewhere.join("root.json").exists());
}
