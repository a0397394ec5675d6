//! The durable truth of the log: framed entries in append-only segment files.
//!
//! A frame is the entry's length (u32, little endian), CRC-32C over length and
//! entry (u32), and the entry. A write that never ended, at the end of the last
//! segment, is what a power cut leaves: it is cut off and kept aside. Anything
//! else that does not read stops the start and names file and place.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tracing::warn;
use trust::tlog::ENTRY_BYTES_MAX;

/// A segment is closed once it is this long, in bytes.
const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Length and checksum.
const HEADER_BYTES: usize = 8;
/// The place of every so many entries is kept in memory.
const SPARSE: u64 = 64;

/// Why the frames do not open.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FramesError {
    /// A step on a file failed.
    #[error("{step} {path}")]
    Io {
        step: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A frame that is not the last does not read.
    #[error("the log is damaged at byte {offset} of {path}: restore it from a copy")]
    Damaged { path: PathBuf, offset: u64 },
    /// Entries that were durable are gone while the log is open.
    #[error("the log was cut: {path} ends before entries that were flushed. Restore it from a copy")]
    Cut { path: PathBuf },
    /// A segment is missing.
    #[error("the log misses the entries before {path}: restore the missing file")]
    Gap { path: PathBuf },
}

/// The segments of one log, open for appending.
#[derive(Debug)]
pub(crate) struct Frames {
    directory: PathBuf,
    segments: Vec<Segment>,
    file: File,
    /// Bytes of the last segment that hold whole frames.
    length: u64,
    entries: u64,
    places: Vec<Place>,
}

#[derive(Debug, Clone)]
struct Segment {
    first: u64,
    path: PathBuf,
}

/// Where entry `index × SPARSE` begins.
#[derive(Debug, Clone, Copy)]
struct Place {
    segment: usize,
    offset: u64,
}

/// A reader's view: which files, and where to begin. Cheap to make; reads without the writer.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    paths: Vec<PathBuf>,
    offset: u64,
    skip: u64,
}

impl Frames {
    /// Makes the first segment in an existing empty directory.
    pub(crate) fn create(directory: &Path) -> Result<Self, FramesError> {
        let (segment, file) = start_segment(directory, 0)?;
        Ok(Self {
            directory: directory.to_owned(),
            segments: vec![segment],
            file,
            length: 0,
            entries: 0,
            places: Vec::new(),
        })
    }

    /// Opens what is there and hands every entry to `each`, in order. An unfinished last frame is cut off.
    pub(crate) fn open(directory: &Path, mut each: impl FnMut(u64, &[u8])) -> Result<Self, FramesError> {
        let mut segments = list(directory)?;
        let last = segments.pop().ok_or_else(|| FramesError::Gap { path: directory.to_owned() })?;
        let mut entries = 0;
        let mut places = Vec::new();
        for (number, segment) in segments.iter().enumerate() {
            if segment.first != entries {
                return Err(FramesError::Gap { path: segment.path.clone() });
            }
            let read = scan(segment, number, &mut entries, &mut places, &mut each)?;
            if let Some(offset) = read.broken_at {
                return Err(FramesError::Damaged { path: segment.path.clone(), offset });
            }
        }
        if last.first != entries {
            return Err(FramesError::Gap { path: last.path });
        }
        let read = scan(&last, segments.len(), &mut entries, &mut places, &mut each)?;
        if read.broken_at.is_some() && !read.unfinished {
            return Err(FramesError::Damaged { path: last.path, offset: read.whole });
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&last.path)
            .map_err(|source| io_error("open", &last.path, source))?;
        if read.broken_at.is_some() {
            keep_aside(directory, &last, read.whole);
            file.set_len(read.whole).map_err(|source| io_error("cut the unfinished entry off", &last.path, source))?;
        }
        // What was read may never have been flushed: whoever relies on it now must not lose it later.
        file.sync_all().map_err(|source| io_error("flush", &last.path, source))?;
        segments.push(last);
        Ok(Self { directory: directory.to_owned(), segments, file, length: read.whole, entries, places })
    }

    /// Appends entries in one write; [`Frames::flush`] makes them durable. When it fails, none of them is there.
    pub(crate) fn append(&mut self, group: &[Vec<u8>]) -> Result<(), FramesError> {
        if self.length >= SEGMENT_BYTES_MAX {
            self.turn_over()?;
        }
        let mut bytes = Vec::with_capacity(group.iter().map(|entry| entry.len() + HEADER_BYTES).sum());
        let mut offsets = Vec::with_capacity(group.len());
        for entry in group {
            offsets.push(self.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX)));
            bytes.extend_from_slice(&header(entry));
            bytes.extend_from_slice(entry);
        }
        if let Err(source) = self.file.write_all_at(&bytes, self.length) {
            // What was written of it would be cut off at the next start, too.
            let cut = self.file.set_len(self.length);
            let path = self.path();
            return Err(match cut {
                Ok(()) => io_error("write", &path, source),
                Err(source) => io_error("cut a failed write off", &path, source),
            });
        }
        let segment = self.segments.len().saturating_sub(1);
        for (index, offset) in (self.entries..).zip(offsets) {
            if index.is_multiple_of(SPARSE) {
                self.places.push(Place { segment, offset });
            }
        }
        self.length = self.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.entries = self.entries.saturating_add(u64::try_from(group.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Makes everything appended durable.
    pub(crate) fn flush(&self) -> Result<(), FramesError> {
        self.file.sync_data().map_err(|source| io_error("flush", &self.path(), source))
    }

    /// A view from entry `first` on.
    pub(crate) fn window(&self, first: u64) -> Window {
        let number = usize::try_from(first / SPARSE).unwrap_or(usize::MAX);
        let place = self.places.get(number).copied();
        let paths = place
            .and_then(|place| self.segments.get(place.segment..))
            .unwrap_or_default()
            .iter()
            .map(|segment| segment.path.clone())
            .collect();
        Window { paths, offset: place.map_or(0, |place| place.offset), skip: first % SPARSE }
    }

    fn path(&self) -> PathBuf {
        self.segments.last().map_or_else(|| self.directory.clone(), |segment| segment.path.clone())
    }

    fn turn_over(&mut self) -> Result<(), FramesError> {
        self.flush()?;
        let (segment, file) = start_segment(&self.directory, self.entries)?;
        self.segments.push(segment);
        self.file = file;
        self.length = 0;
        Ok(())
    }
}

impl Window {
    /// Reads `count` entries, all of which must be durable, or as many as have `bytes_max` (one in any case).
    ///
    /// # Errors
    /// [`FramesError::Cut`] when there are fewer; else what the files said.
    pub(crate) fn read(&self, count: u64, bytes_max: usize) -> Result<Vec<Vec<u8>>, FramesError> {
        let mut entries = Vec::new();
        let (mut skip, mut total, mut offset) = (self.skip, 0_usize, self.offset);
        for path in &self.paths {
            let mut file = File::open(path).map_err(|source| io_error("open", path, source))?;
            file.seek(SeekFrom::Start(offset)).map_err(|source| io_error("read", path, source))?;
            offset = 0;
            let mut reader = io::BufReader::with_capacity(64 * 1024, file);
            while let Some(entry) = read_frame(&mut reader).map_err(|source| io_error("read", path, source))? {
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                total = total.saturating_add(entry.len());
                if u64::try_from(entries.len()).unwrap_or(u64::MAX) >= count
                    || (total > bytes_max && !entries.is_empty())
                {
                    return Ok(entries);
                }
                entries.push(entry);
            }
        }
        match (u64::try_from(entries.len()).unwrap_or(u64::MAX) < count, self.paths.last()) {
            (true, Some(path)) => Err(FramesError::Cut { path: path.clone() }),
            (true, None) | (false, _) => Ok(entries),
        }
    }
}

/// What a scan of one segment found.
struct Scanned {
    /// Bytes of whole frames.
    whole: u64,
    /// Where the first frame begins that does not read.
    broken_at: Option<u64>,
    /// Whether what begins there is a write that never ended.
    unfinished: bool,
}

fn scan(
    segment: &Segment,
    number: usize,
    entries: &mut u64,
    places: &mut Vec<Place>,
    each: &mut impl FnMut(u64, &[u8]),
) -> Result<Scanned, FramesError> {
    let bytes = std::fs::read(&segment.path).map_err(|source| io_error("read", &segment.path, source))?;
    let mut rest = bytes.as_slice();
    let at = |rest: &[u8]| u64::try_from(bytes.len() - rest.len()).unwrap_or(u64::MAX);
    while !rest.is_empty() {
        let offset = at(rest);
        let Some((entry, after)) = split_frame(rest) else {
            let unfinished = is_torn(&bytes, bytes.len().saturating_sub(rest.len()));
            return Ok(Scanned { whole: offset, broken_at: Some(offset), unfinished });
        };
        if entries.is_multiple_of(SPARSE) {
            places.push(Place { segment: number, offset });
        }
        each(*entries, entry);
        *entries = entries.saturating_add(1);
        rest = after;
    }
    Ok(Scanned { whole: at(rest), broken_at: None, unfinished: false })
}

/// The least that a disk writes whole, in bytes.
const SECTOR: usize = 512;

/// What a write that never ended leaves: nothing that reads behind the first frame that does not, or sectors that
/// never reached the disk and are zero. Anything else is damage to what was durable: a flipped bit makes no zeros,
/// and leaves the frames behind it as they were, wherever its own wrong length points.
fn is_torn(bytes: &[u8], broken_at: usize) -> bool {
    let behind = broken_at.saturating_add(1)..bytes.len();
    let next = behind.clone().find(|at| bytes.get(*at..).is_some_and(|rest| split_frame(rest).is_some()));
    let Some(next) = next else { return true };
    let first_sector = broken_at.next_multiple_of(SECTOR);
    let between = bytes.get(first_sector..next).unwrap_or_default();
    between.chunks_exact(SECTOR).any(|sector| sector.iter().all(|byte| *byte == 0))
}

/// Keeps what is cut off beside the entries: a mistake about it must not destroy evidence. A disk that does not
/// take it (it may be full) does not stop the start.
fn keep_aside(directory: &Path, segment: &Segment, whole: u64) {
    let kept = directory.with_file_name(format!("cut-{:020}-{whole}", segment.first));
    let copied = File::open(&segment.path).and_then(|mut file| {
        file.seek(SeekFrom::Start(whole))?;
        let mut copy = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&kept)?;
        let bytes = io::copy(&mut file, &mut copy)?;
        copy.sync_all()?;
        Ok(bytes)
    });
    match copied {
        Ok(bytes) => {
            warn!(stage = "audit", bytes, path = %segment.path.display(), kept = %kept.display(), "an entry that was never finished is cut off and kept aside");
        }
        Err(error) => {
            warn!(stage = "audit", %error, path = %segment.path.display(), "an entry that was never finished is cut off");
        }
    }
}

fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, after) = bytes.split_first_chunk::<4>()?;
    let (checksum, after) = after.split_first_chunk::<4>()?;
    let length_bytes = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if length_bytes == 0 || length_bytes > ENTRY_BYTES_MAX {
        return None;
    }
    let (entry, after) = after.split_at_checked(length_bytes)?;
    (checksum_of(*length, entry).to_le_bytes() == *checksum).then_some((entry, after))
}

fn read_frame(reader: &mut impl io::Read) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; HEADER_BYTES];
    match reader.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let [a, b, c, d, ..] = head;
    let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length > ENTRY_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame that is too long"));
    }
    let mut entry = vec![0; length];
    match reader.read_exact(&mut entry) {
        // The writer is in the middle of this one.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    if header(&entry) == head {
        Ok(Some(entry))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "a damaged frame"))
    }
}

fn header(entry: &[u8]) -> [u8; HEADER_BYTES] {
    let length = u32::try_from(entry.len()).unwrap_or(u32::MAX).to_le_bytes();
    let checksum = checksum_of(length, entry).to_le_bytes();
    let mut header = [0; HEADER_BYTES];
    for (place, byte) in header.iter_mut().zip(length.into_iter().chain(checksum)) {
        *place = byte;
    }
    header
}

fn checksum_of(length: [u8; 4], entry: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), entry)
}

fn start_segment(directory: &Path, first: u64) -> Result<(Segment, File), FramesError> {
    let path = directory.join(format!("{first:020}.frames"));
    // A segment that a full disk or a power cut left empty is begun again; one with entries is never touched.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|source| io_error("make", &path, source))?;
    let length = file.metadata().map_err(|source| io_error("look at", &path, source))?.len();
    if length != 0 {
        return Err(FramesError::Damaged { path, offset: 0 });
    }
    file.sync_all().map_err(|source| io_error("flush", &path, source))?;
    sync_directory(directory)?;
    Ok((Segment { first, path }, file))
}

fn list(directory: &Path) -> Result<Vec<Segment>, FramesError> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|source| io_error("list", directory, source))? {
        let path = entry.map_err(|source| io_error("list", directory, source))?.path();
        let first = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        match first {
            Some(first) if path.extension().is_some_and(|extension| extension == "frames") => {
                segments.push(Segment { first, path });
            }
            _ => return Err(FramesError::Gap { path }),
        }
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

/// Makes new names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), FramesError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(|source| io_error("flush", directory, source))
}

pub(super) fn io_error(step: &'static str, path: &Path, source: io::Error) -> FramesError {
    FramesError::Io { step, path: path.to_owned(), source }
}

/// Writes a derived or content-named file whole or not at all; durable when `durable`.
pub(super) fn replace_file(path: &Path, bytes: &[u8], durable: Durability) -> Result<(), FramesError> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(|source| io_error("make", &temporary, source))?;
    file.write_all(bytes).map_err(|source| io_error("write", &temporary, source))?;
    if durable == Durability::Flushed {
        file.sync_all().map_err(|source| io_error("flush", &temporary, source))?;
    }
    std::fs::rename(&temporary, path).map_err(|source| io_error("rename to", path, source))?;
    match path.parent() {
        Some(parent) if durable == Durability::Flushed => sync_directory(parent),
        _ => Ok(()),
    }
}

/// Whether a file must outlive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// It can be derived again.
    Derived,
    /// It must be there when the call returns.
    Flushed,
}

#[cfg(test)]
mod tests {
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
}
