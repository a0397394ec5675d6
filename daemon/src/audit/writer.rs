//! The one thread that writes: what waits is written as one group, flushed once, then acknowledged.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tracing::{error, info};

use super::AuditError;
use super::error::FramesError;
use super::frames::Frames;
use super::hashes::Hashes;

/// Entries that are written as one group, at most.
const GROUP_MAX: usize = 4096;
/// How long outcomes may wait for an intent to be flushed with.
const LAZY_FLUSH_MAX: Duration = Duration::from_millis(5);

/// When to try again what a full disk did not take.
const FULL_RETRY: Duration = Duration::from_millis(50);

/// What the writer, the readers and the publisher share.
pub(super) struct Shared {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    /// Places in the queue.
    pub(super) places: Arc<Semaphore>,
    pub(super) frames: Mutex<Frames>,
    pub(super) hashes: RwLock<Hashes>,
    /// Size of the durable log.
    pub(super) durable: watch::Sender<u64>,
    pub(super) groups: AtomicU64,
    /// The last write met a full disk.
    pub(super) full: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    /// Why nothing is written any more, once a flush failed.
    broken: Option<Arc<str>>,
    closed: bool,
}

/// One entry on its way.
struct Entry {
    bytes: Vec<u8>,
    answer: Option<oneshot::Sender<Result<u64, AuditError>>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Shared {
    pub(super) fn new(frames: Frames, hashes: Hashes, waiting_max: usize) -> Self {
        let size = hashes.size();
        Self {
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            places: Arc::new(Semaphore::new(waiting_max)),
            frames: Mutex::new(frames),
            hashes: RwLock::new(hashes),
            durable: watch::Sender::new(size),
            groups: AtomicU64::new(0),
            full: AtomicBool::new(false),
        }
    }

    /// Puts an entry at the end of the queue.
    pub(super) fn push(
        &self,
        bytes: Vec<u8>,
        answer: Option<oneshot::Sender<Result<u64, AuditError>>>,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<(), AuditError> {
        let mut waiting = self.waiting();
        if let Some(reason) = &waiting.broken {
            return Err(AuditError::Closed { reason: Arc::clone(reason) });
        }
        if waiting.closed {
            return Err(AuditError::Closed { reason: "the daemon is stopping".into() });
        }
        waiting.entries.push_back(Entry { bytes, answer, _place: place });
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// A flush failed, and nothing is written any more.
    pub(super) fn is_broken(&self) -> bool {
        self.waiting().broken.is_some()
    }

    /// Takes no more; what waits is still written.
    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.arrived.notify_all();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next group; `None` when the lazy wait is over, or the log is closed and nothing waits.
    fn take(&self, patience: Option<Duration>) -> Taken {
        let mut waiting = self.waiting();
        loop {
            if !waiting.entries.is_empty() {
                let count = waiting.entries.len().min(GROUP_MAX);
                return Taken::Group(waiting.entries.drain(..count).collect());
            }
            if waiting.closed {
                return Taken::Closed;
            }
            match patience {
                None => waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let (guard, timeout) =
                        self.arrived.wait_timeout(waiting, patience).unwrap_or_else(PoisonError::into_inner);
                    waiting = guard;
                    if timeout.timed_out() && waiting.entries.is_empty() {
                        return Taken::Nothing;
                    }
                }
            }
        }
    }

    /// The disk is full: whoever waits hears it; an outcome has nobody to hear it and is tried again.
    fn give_back(&self, group: Vec<Entry>) {
        let mut waiting = self.waiting();
        let closed = waiting.closed;
        for mut entry in group.into_iter().rev() {
            match entry.answer.take() {
                Some(answer) => drop(answer.send(Err(AuditError::Full))),
                None if !closed => waiting.entries.push_front(entry),
                // Start-up recovery closes its intent.
                None => {}
            }
        }
        drop(waiting);
        if !closed {
            std::thread::sleep(FULL_RETRY);
        }
    }

    fn break_down(&self, reason: &Arc<str>) {
        let mut waiting = self.waiting();
        waiting.broken = Some(Arc::clone(reason));
        for entry in waiting.entries.drain(..) {
            if let Some(answer) = entry.answer {
                // Whoever hung up does not need to hear it.
                drop(answer.send(Err(AuditError::Closed { reason: Arc::clone(reason) })));
            }
        }
    }
}

enum Taken {
    Group(Vec<Entry>),
    Nothing,
    Closed,
}

/// Runs until the log is closed, or broken.
pub(super) fn run(shared: &Shared) {
    // Written, but not flushed: their hashes are not in the tree yet.
    let mut lazy: Vec<Entry> = Vec::new();
    loop {
        let patience = if lazy.is_empty() { None } else { Some(LAZY_FLUSH_MAX) };
        let taken = shared.take(patience);
        let (group, closing) = match taken {
            Taken::Group(group) => (group, false),
            Taken::Nothing => (Vec::new(), false),
            Taken::Closed => (Vec::new(), true),
        };
        if let Err(reason) = write_down(shared, group, &mut lazy) {
            return shared.break_down(&reason);
        }
        if closing {
            return;
        }
    }
}

/// Writes a group, and flushes it with what was `lazy`, unless all of it may wait for an intent to be flushed with.
fn write_down(shared: &Shared, group: Vec<Entry>, lazy: &mut Vec<Entry>) -> Result<(), Arc<str>> {
    let written = write(shared, group)?;
    // Of a group that a full disk did not take nothing was written: what was before it waits no longer, for such
    // groups come again and again as long as the disk is full.
    let is_lazy = !written.is_empty() && written.iter().all(|entry| entry.answer.is_none());
    lazy.extend(written);
    if lazy.is_empty() || (is_lazy && lazy.len() < GROUP_MAX) { Ok(()) } else { flush(shared, lazy) }
}

/// Writes a group and gives it back; a full disk is answered here and gives back nothing.
fn write(shared: &Shared, mut group: Vec<Entry>) -> Result<Vec<Entry>, Arc<str>> {
    if group.is_empty() {
        return Ok(group);
    }
    let bytes: Vec<Vec<u8>> = group.iter_mut().map(|entry| std::mem::take(&mut entry.bytes)).collect();
    let appended = shared.frames.lock().unwrap_or_else(PoisonError::into_inner).append(&bytes);
    match appended {
        Ok(()) => {
            for (entry, bytes) in group.iter_mut().zip(bytes) {
                entry.bytes = bytes;
            }
            if shared.full.swap(false, Ordering::Relaxed) {
                info!(stage = "audit", "the disk of the log has room again");
            }
            Ok(group)
        }
        Err(fault) if is_full(&fault) => {
            if !shared.full.swap(true, Ordering::Relaxed) {
                error!(stage = "audit", error = %chain(&fault), "the disk of the log is full");
            }
            for (entry, bytes) in group.iter_mut().zip(bytes) {
                entry.bytes = bytes;
            }
            shared.give_back(group);
            Ok(Vec::new())
        }
        Err(fault) => {
            let reason: Arc<str> = chain(&fault).into();
            error!(stage = "audit", error = %reason, "the log cannot be written");
            for entry in group {
                if let Some(answer) = entry.answer {
                    drop(answer.send(Err(AuditError::Closed { reason: Arc::clone(&reason) })));
                }
            }
            Err(reason)
        }
    }
}

/// Flushes what was written, adds it to the tree and tells whoever waits.
fn flush(shared: &Shared, written: &mut Vec<Entry>) -> Result<(), Arc<str>> {
    let flushed = shared.frames.lock().unwrap_or_else(PoisonError::into_inner).flush();
    if let Err(fault) = flushed {
        // After a failed fsync nobody knows what is on disk, and a second one may lie (fsyncgate).
        let reason: Arc<str> = chain(&fault).into();
        error!(stage = "audit", error = %reason, "the log cannot be flushed: nothing is signed any more");
        for entry in written.drain(..) {
            if let Some(answer) = entry.answer {
                drop(answer.send(Err(AuditError::Closed { reason: Arc::clone(&reason) })));
            }
        }
        return Err(reason);
    }
    let mut hashes = shared.hashes.write().unwrap_or_else(PoisonError::into_inner);
    let first = hashes.size();
    for entry in written.iter() {
        hashes.append(&entry.bytes);
    }
    let size = hashes.size();
    drop(hashes);
    shared.groups.fetch_add(1, Ordering::Relaxed);
    // Before the answers: whoever has one may ask for its proof at once.
    shared.durable.send_replace(size);
    for (index, entry) in (first..).zip(written.drain(..)) {
        if let Some(answer) = entry.answer {
            drop(answer.send(Ok(index)));
        }
    }
    Ok(())
}

/// A failed flush is never one of a full disk: nobody knows what is there.
fn is_full(fault: &FramesError) -> bool {
    matches!(fault, FramesError::Io { step: "write" | "make", .. }) && fault.is_full()
}

fn chain(fault: &FramesError) -> String {
    match std::error::Error::source(fault) {
        Some(source) => format!("{fault}: {source}"),
        None => fault.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn outcome(bytes: usize) -> Entry {
        Entry { bytes: vec![7; bytes], answer: None, _place: None }
    }

    #[test]
    fn an_outcome_that_is_written_is_flushed_although_a_full_disk_does_not_take_the_next() {
        // A limit to the length of files stands for the disk. It holds for a whole process: one of its own.
        let limited = "trap '' XFSZ; ulimit -f 8; exec \"$0\" --ignored --exact audit::writer::tests::below_a_limit";
        let this = std::env::current_exe().unwrap();

        let ran = Command::new("sh").arg("-c").arg(limited).arg(this).output().unwrap();

        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    }

    #[test]
    #[ignore = "run by the test above, in a process whose files may have a few KiB"]
    fn below_a_limit() {
        let directory = tempfile::tempdir().unwrap();
        let shared = Shared::new(Frames::create(directory.path()).unwrap(), Hashes::new(directory.path()), 8);
        let mut lazy = Vec::new();

        write_down(&shared, vec![outcome(100)], &mut lazy).unwrap();
        assert_eq!((lazy.len(), *shared.durable.borrow()), (1, 0), "it waits for an intent");
        write_down(&shared, vec![outcome(60_000)], &mut lazy).unwrap();

        assert_eq!((lazy.len(), *shared.durable.borrow()), (0, 1));
        assert!(shared.full.load(Ordering::Relaxed), "the disk is full as before");
        assert_eq!(shared.waiting().entries.len(), 1, "what it did not take is tried again");
        write_down(&shared, vec![outcome(100)], &mut lazy).unwrap();
        assert!(!shared.full.load(Ordering::Relaxed), "it took something");
    }
}
