//! The index in a file, so that a start need not read every row.
//!
//! Believed only when it was taken of exactly the rows that the anchor row vouches for: the whole anchor must be the
//! same, and no two states of a store have the same one (see [`super::anchor`]). A file that is missing, older, of
//! another store, cut or altered costs only the time of the long way. Whoever takes the index from here has not
//! read the rows; [`super::recheck`] does, while the daemon serves.
//!
//! Layout: [`MAGIC`], 16 random bytes, then chunks: length (4 bytes, big-endian), nonce, ciphertext with its tag.
//! Each chunk is bound to the store, this file and its number; the first says how much follows.

mod contents;

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::contents::{Chunk, Head, SavedKey, SavedReplay, SavedSlot};
use super::anchor::Anchor;
use super::crypto::{ChunkPlace, Keys};
use super::index::{Entry, Index};
use super::published::HeadSlot;
use super::replay::Slot;
use super::stored::{self, Held};
use super::{LogKey, Provenance, RecordError};
use crate::disk;
use crate::store::Revision;

/// What the file begins with: a word and the format.
const MAGIC: &[u8; 16] = b"trustd index v4\n";
/// A chunk is closed when it has about this many bytes.
const CHUNK_BYTES: usize = 256 * 1024;
/// The longest chunk: a single key with very many versions. One that is longer is not saved.
const CHUNK_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Chunks that wait to be sorted in, or are being opened.
const CHUNKS_MAX: usize = 8;
/// About what a key takes in the file, for a look at the disk before it is written.
const KEY_BYTES: u64 = 1024;
/// The same for the answer to an earlier request, and for a repository's head.
const REPLAY_BYTES: u64 = 128;

/// Why the index was not written into its file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SaveError {
    /// The records are sealed, or do not encode.
    #[error("take the index")]
    Records(#[from] RecordError),
    /// The disk has no room beside what others need.
    #[error("too little room on the disk")]
    Full,
    /// A chunk beyond its bound.
    #[error("a key is too large for the file")]
    TooLarge,
    /// The operating system refused a step.
    #[error("{step} {path}")]
    System {
        /// `make`, `write`, `flush`, `rename to`.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Why the file was not believed.
#[derive(Debug)]
pub(super) enum Unusable {
    /// There is none.
    Missing,
    /// It was taken before the last change of the store.
    Older,
    /// It is not whole, or not of this store.
    Damaged(&'static str),
}

/// The index at one instant: shared, not copied, where it is large.
pub(super) struct Taken {
    pub(super) anchor: Anchor,
    pub(super) anchor_revision: Revision,
    pub(super) log_key: Option<(LogKey, Held)>,
    pub(super) provenance: Option<Provenance>,
    pub(super) entries: Vec<Arc<Entry>>,
    pub(super) heads: Vec<([u8; 32], HeadSlot)>,
    pub(super) last_change: u64,
    pub(super) replays: Vec<([u8; 32], Slot, Held)>,
}

/// Writes the file whole or not at all, and durable. Blocks.
pub(super) fn write(path: &Path, keys: &Keys, taken: &Taken, free_bytes_min: u64) -> Result<(), SaveError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    check_room(directory, taken, free_bytes_min)?;
    let new = path.with_extension("new");
    let system = |step, path: &Path| {
        let path = path.to_owned();
        move |source| SaveError::System { step, path, source }
    };
    // What a crash left, or a pipe, which would wait for its reader: the file is always a new one.
    let _ = std::fs::remove_file(&new);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
    let file = file.map_err(system("make", &new))?;
    let written = Writer::begin(file, keys).and_then(|writer| writer.write(taken)).and_then(|file| {
        file.sync_all().map_err(system("flush", &new))?;
        std::fs::rename(&new, path).map_err(system("rename to", path))
    });
    if written.is_err() {
        // Half of it is of no use, and takes what others need.
        let _ = std::fs::remove_file(&new);
    }
    written?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(system("flush", directory))
}

fn check_room(directory: &Path, taken: &Taken, free_bytes_min: u64) -> Result<(), SaveError> {
    let count = |items: usize| u64::try_from(items).unwrap_or(u64::MAX);
    let bytes = count(taken.entries.len()).saturating_mul(KEY_BYTES);
    let small = taken.replays.len().saturating_add(taken.heads.len());
    let bytes = bytes.saturating_add(count(small).saturating_mul(REPLAY_BYTES));
    let free = disk::free_bytes(directory).map_err(|errno| SaveError::System {
        step: "ask for the free space of",
        path: directory.to_owned(),
        source: errno.into(),
    })?;
    if free < bytes.saturating_add(free_bytes_min) { Err(SaveError::Full) } else { Ok(()) }
}

/// The file while it is written.
struct Writer<'a> {
    keys: &'a Keys,
    file: BufWriter<File>,
    place: ChunkPlace,
}

impl<'a> Writer<'a> {
    fn begin(file: File, keys: &'a Keys) -> Result<Self, SaveError> {
        let mut name = [0; 16];
        let unable = || RecordError::Closed { reason: "the system gives no random bytes".into() };
        getrandom::fill(&mut name).map_err(|_| unable())?;
        let mut writer = Self { keys, file: BufWriter::new(file), place: ChunkPlace { file: name, number: 0 } };
        writer.put(MAGIC)?;
        writer.put(&name)?;
        Ok(writer)
    }

    fn write(mut self, taken: &Taken) -> Result<File, SaveError> {
        self.chunk(&Chunk::Head(Box::new(Head::of(taken)?)))?;
        let mut keys = Vec::new();
        let mut bytes = 0_usize;
        for entry in &taken.entries {
            let key = SavedKey::of(entry)?;
            bytes = bytes.saturating_add(key.about_bytes());
            keys.push(key);
            if bytes >= CHUNK_BYTES {
                self.chunk(&Chunk::Keys(std::mem::take(&mut keys)))?;
                bytes = 0;
            }
        }
        if !keys.is_empty() {
            self.chunk(&Chunk::Keys(keys))?;
        }
        for replays in taken.replays.chunks(CHUNK_BYTES / 128) {
            self.chunk(&Chunk::Replays(replays.iter().map(SavedReplay::of).collect()))?;
        }
        for heads in taken.heads.chunks(CHUNK_BYTES / 128) {
            self.chunk(&Chunk::Heads(heads.iter().map(SavedSlot::of).collect()))?;
        }
        self.file.into_inner().map_err(|error| write_error(error.into_error()))
    }

    fn chunk(&mut self, chunk: &Chunk<'_>) -> Result<(), SaveError> {
        let sealed = self.keys.seal_chunk(&self.place, stored::encode(chunk)?)?;
        if sealed.len() > CHUNK_BYTES_MAX {
            return Err(SaveError::TooLarge);
        }
        let length = u32::try_from(sealed.len()).map_err(|_| SaveError::TooLarge)?;
        self.put(&length.to_be_bytes())?;
        self.put(&sealed)?;
        self.place.number = self.place.number.saturating_add(1);
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), SaveError> {
        self.file.write_all(bytes).map_err(write_error)
    }
}

fn write_error(source: io::Error) -> SaveError {
    match source.kind() {
        io::ErrorKind::StorageFull => SaveError::Full,
        _ => SaveError::System { step: "write", path: PathBuf::from("the file of the index"), source },
    }
}

/// Reads the index of the rows that `anchor` vouches for; on all processors, as [`super::load`] does.
pub(super) async fn read(
    path: &Path,
    keys: &Arc<Keys>,
    anchor: Anchor,
    anchor_revision: Revision,
) -> Result<Index, Unusable> {
    let (chunks, mut opening) = mpsc::channel(CHUNKS_MAX);
    let (path, keys) = (path.to_owned(), Arc::clone(keys));
    let reader = tokio::task::spawn_blocking(move || read_chunks(&path, &keys, &chunks));
    let mut index = Index::new(anchor, anchor_revision);
    let mut wanted: Option<(usize, usize, usize)> = None;
    while let Some(opened) = opening.recv().await {
        let opened = opened.await.map_err(|_| Unusable::Damaged("a chunk could not be read"))?;
        match (opened.ok_or(Unusable::Damaged("a chunk does not open"))?, &mut wanted) {
            (Opened::Head(head), None) => {
                if !head.is_of(&anchor, anchor_revision) {
                    return Err(Unusable::Older);
                }
                wanted = Some((head.keys, head.replays, head.heads));
                head.put(&mut index).ok_or(Unusable::Damaged("its head does not read"))?;
            }
            (Opened::Keys(entries), Some((keys, ..))) => {
                *keys = keys.checked_sub(entries.len()).ok_or(Unusable::Damaged("it has too many keys"))?;
                entries.into_iter().for_each(|entry| index.put(Arc::new(entry)));
            }
            (Opened::Heads(heads), Some((.., left))) => {
                *left = left.checked_sub(heads.len()).ok_or(Unusable::Damaged("it has too many repositories"))?;
                index.published.heads.extend(heads);
            }
            (Opened::Replays(replays), Some((_, left, _))) => {
                *left = left.checked_sub(replays.len()).ok_or(Unusable::Damaged("it has too many answers"))?;
                replays.into_iter().for_each(|(tag, slot, held)| index.replays.put(tag, slot, held));
            }
            _ => return Err(Unusable::Damaged("its chunks are not in order")),
        }
    }
    reader.await.map_err(|_| Unusable::Damaged("it could not be read"))??;
    match wanted {
        Some((0, 0, 0)) => Ok(index),
        _ => Err(Unusable::Damaged("it is cut")),
    }
}

/// A chunk that has been opened, away from the file it came from.
enum Opened {
    Head(Box<Head>),
    Keys(Vec<Entry>),
    Heads(Vec<([u8; 32], HeadSlot)>),
    Replays(Vec<([u8; 32], Slot, Held)>),
}

/// Reads one chunk after the other and has each opened, while the next is read. Blocks.
fn read_chunks(
    path: &Path,
    keys: &Arc<Keys>,
    chunks: &mpsc::Sender<JoinHandle<Option<Opened>>>,
) -> Result<(), Unusable> {
    // Asked before it is opened: a pipe would wait for its writer, and the start with it.
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unusable::Missing),
        Ok(_) | Err(_) => return Err(Unusable::Damaged("it is no regular file")),
    }
    let file = File::open(path).map_err(|_| Unusable::Damaged("it does not open"))?;
    let mut file = BufReader::new(file);
    let cut = |_| Unusable::Damaged("it is cut");
    let (mut magic, mut name) = ([0; MAGIC.len()], [0; 16]);
    file.read_exact(&mut magic).map_err(cut)?;
    if magic != *MAGIC {
        return Err(Unusable::Damaged("it is not of this format"));
    }
    file.read_exact(&mut name).map_err(cut)?;
    let mut place = ChunkPlace { file: name, number: 0 };
    loop {
        let mut length = [0; 4];
        let begun = file.read(&mut length).map_err(cut)?;
        if begun == 0 {
            return Ok(());
        }
        file.read_exact(length.get_mut(begun..).unwrap_or_default()).map_err(cut)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > CHUNK_BYTES_MAX {
            return Err(Unusable::Damaged("a chunk is too long"));
        }
        let mut sealed = vec![0; length];
        file.read_exact(&mut sealed).map_err(cut)?;
        let (keys, at) = (Arc::clone(keys), place);
        let opened = tokio::task::spawn_blocking(move || contents::open(&keys, &at, sealed));
        if chunks.blocking_send(opened).is_err() {
            // Whoever wanted them met a fault.
            return Ok(());
        }
        place.number = place.number.saturating_add(1);
    }
}
