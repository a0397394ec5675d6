use super::*;

fn entries(count: u64) -> Vec<Vec<u8>> {
    (0..count)
        .map(|index| format!("entry {index} {}", "x".repeat(usize::try_from(index % 50).unwrap())).into_bytes())
        .collect()
}

/// A log's directory, and that of its entries: what is cut off goes beside them.
fn log_directory() -> (tempfile::TempDir, PathBuf) {
    let log = tempfile::tempdir().unwrap();
    let entries = log.path().join("entries");
    std::fs::create_dir(&entries).unwrap();
    (log, entries)
}

fn reopen(directory: &Path) -> Result<(Frames, Vec<Vec<u8>>), FramesError> {
    let mut seen = Vec::new();
    let frames = Frames::open(directory, |index, entry| {
        assert_eq!(index, u64::try_from(seen.len()).unwrap());
        seen.push(entry.to_vec());
    })?;
    Ok((frames, seen))
}

fn only_file(directory: &Path) -> PathBuf {
    std::fs::read_dir(directory).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn what_was_appended_is_read_again_in_windows() {
    let (_log, directory) = log_directory();
    let all = entries(300);
    let mut frames = Frames::create(&directory).unwrap();
    for group in all.chunks(7) {
        frames.append(group).unwrap();
    }
    frames.flush().unwrap();

    assert_eq!(frames.window(0).read(300, usize::MAX).unwrap(), all);
    assert_eq!(frames.window(130).read(3, usize::MAX).unwrap(), all[130..133]);
    assert_eq!(frames.window(299).read(1, usize::MAX).unwrap(), all[299..]);
    assert_eq!(frames.window(300).read(0, usize::MAX).unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(frames.window(5).read(9, 1).unwrap(), all[5..6]);
    drop(frames);
    let (frames, seen) = reopen(&directory).unwrap();
    assert_eq!(seen, all);
    assert_eq!(frames.window(257).read(2, usize::MAX).unwrap(), all[257..259]);
}

#[test]
fn entries_that_are_cut_off_under_a_reader_are_an_error_and_not_nothing() {
    let (_log, directory) = log_directory();
    let mut frames = Frames::create(&directory).unwrap();
    frames.append(&entries(100)).unwrap();
    frames.flush().unwrap();
    let file = OpenOptions::new().write(true).open(only_file(&directory)).unwrap();

    for length in [file.metadata().unwrap().len() - 1, 100, 0] {
        file.set_len(length).unwrap();
        let cut = frames.window(0).read(100, usize::MAX);
        assert!(matches!(cut, Err(FramesError::Cut { .. })), "{length}: {cut:?}");
        assert!(frames.window(99).read(1, usize::MAX).is_err(), "{length}");
    }
}

#[test]
fn a_cut_at_any_place_loses_unfinished_entries_only() {
    let (_log, directory) = log_directory();
    let all = entries(4);
    let mut frames = Frames::create(&directory).unwrap();
    frames.append(&all).unwrap();
    drop(frames);
    let path = only_file(&directory);
    let whole = std::fs::read(&path).unwrap();

    for cut in 0..=whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let (mut frames, seen) = reopen(&directory).unwrap();
        assert_eq!(seen, all[..seen.len()], "cut at {cut}");
        frames.append(&[b"next".to_vec()]).unwrap();
        drop(frames);
        let (_, again) = reopen(&directory).unwrap();
        assert_eq!(again.len(), seen.len() + 1);
        assert_eq!(again.last().unwrap(), b"next");
    }
}

#[test]
fn a_tail_of_zeros_is_a_torn_write() {
    let (_log, directory) = log_directory();
    let mut frames = Frames::create(&directory).unwrap();
    frames.append(&entries(2)).unwrap();
    drop(frames);
    let path = only_file(&directory);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(&[0; 4096]);
    std::fs::write(&path, bytes).unwrap();

    assert_eq!(reopen(&directory).unwrap().1, entries(2));
}

#[test]
fn a_flipped_bit_in_the_middle_stops_the_start_and_names_the_place() {
    let (_log, directory) = log_directory();
    let mut frames = Frames::create(&directory).unwrap();
    frames.append(&entries(3)).unwrap();
    drop(frames);
    let path = only_file(&directory);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[HEADER_BYTES + 2] ^= 4;
    std::fs::write(&path, bytes).unwrap();

    let error = reopen(&directory).unwrap_err();

    assert!(matches!(error, FramesError::Damaged { offset: 0, .. }), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()));
}

#[test]
fn a_flipped_bit_in_any_header_but_the_last_stops_the_start_and_cuts_nothing() {
    let (_log, directory) = log_directory();
    let all = entries(20);
    let mut frames = Frames::create(&directory).unwrap();
    frames.append(&all).unwrap();
    drop(frames);
    let path = only_file(&directory);
    let whole = std::fs::read(&path).unwrap();
    let mut at = 0;
    for entry in &all[..19] {
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = whole.clone();
            bytes[at + bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bytes).unwrap();

            let error = reopen(&directory).unwrap_err();

            assert!(matches!(error, FramesError::Damaged { .. }), "bit {bit} of the header at {at}: {error}");
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
        at += HEADER_BYTES + entry.len();
    }
}

#[test]
fn sectors_that_never_reached_the_disk_are_a_torn_write_and_kept_aside() {
    let (log, directory) = log_directory();
    let all = entries(100);
    let mut frames = Frames::create(&directory).unwrap();
    frames.append(&all).unwrap();
    drop(frames);
    let path = only_file(&directory);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1024..2048].fill(0);
    std::fs::write(&path, &bytes).unwrap();

    let (_, seen) = reopen(&directory).unwrap();

    assert_eq!(seen, all[..seen.len()]);
    let mut files = std::fs::read_dir(log.path()).unwrap().map(|entry| entry.unwrap().path());
    let kept = files.find(|path| path.file_name().unwrap().to_string_lossy().starts_with("cut-")).unwrap();
    assert!(bytes.ends_with(&std::fs::read(kept).unwrap()));
}

#[test]
fn a_missing_segment_stops_the_start() {
    let (_log, directory) = log_directory();
    let mut frames = Frames::create(&directory).unwrap();
    frames.append(&entries(2)).unwrap();
    frames.turn_over().unwrap();
    frames.append(&entries(2)).unwrap();
    drop(frames);
    assert_eq!(reopen(&directory).unwrap().1.len(), 4);

    std::fs::remove_file(directory.join("00000000000000000000.frames")).unwrap();

    assert!(matches!(reopen(&directory), Err(FramesError::Gap { .. })));
}
