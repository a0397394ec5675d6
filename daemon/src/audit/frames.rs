//! The durable truth of the log: framed entries in append-only segment files.
//!
//! A frame is the entry's length (u32, little endian), CRC-32C over length and
//! entry (u32), and the entry. A write that never ended, at the end of the last
//! segment, is what a power cut leaves: it is cut off and kept aside. Anything
//! else that does not read stops the start and names file and place.

mod frame;
mod scan;

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use self::frame::{HEADER_BYTES, header, read_frame};
use self::scan::{keep_aside, scan};
use super::error::{FramesError, io_error};
use super::files::sync_directory;

/// A segment is closed once it is this long, in bytes.
const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The place of every so many entries is kept in memory.
const SPARSE: u64 = 64;

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

#[cfg(test)]
#[path = "frames/tests.rs"]
mod tests;
