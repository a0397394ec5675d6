//! Reading a segment through at the start, and what is done about its end.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use tracing::warn;

use super::frame::split_frame;
use super::{Place, SPARSE, Segment};
use crate::audit::error::{FramesError, io_error};

/// What a scan of one segment found.
pub(super) struct Scanned {
    /// Bytes of whole frames.
    pub(super) whole: u64,
    /// Where the first frame begins that does not read.
    pub(super) broken_at: Option<u64>,
    /// Whether what begins there is a write that never ended.
    pub(super) unfinished: bool,
}

pub(super) fn scan(
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
pub(super) fn keep_aside(directory: &Path, segment: &Segment, whole: u64) {
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
