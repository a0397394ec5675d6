//! Memory that never reaches a disk: for KEKs and opened Ed25519 keys.
//!
//! `memfd_secret` where the kernel has it: such pages are in no other process'
//! reach, not even the kernel's own map. Else locked anonymous pages that stay out
//! of dumps and forks. A page that cannot be locked is an error, not a warning.
//! What AWS-LC allocates for ECDSA and RSA keys is not here: it is wiped when
//! freed, and swap is the unit's matter (`MemorySwapMax=0`).
#![expect(unsafe_code, reason = "mapping memory has no safe interface; the whole of it is in this file")]

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap, mmap_anonymous};
use zeroize::Zeroize as _;

use crate::CustodyError;

/// Length of a slot in bytes.
pub(crate) const SLOT: usize = 64;
/// Slots per mapping: 16 KiB, four of which fit the smallest usual `RLIMIT_MEMLOCK`.
const SLOTS: usize = 256;

/// Slots that nobody uses. Mappings are kept for the life of the process.
static FREE: Mutex<Free> = Mutex::new(Free(Vec::new()));

struct Free(Vec<NonNull<[u8; SLOT]>>);

// SAFETY: the pointers are to process-wide mappings that are never unmapped, and each belongs to one owner at a time.
unsafe impl Send for Free {}

/// 64 bytes of locked memory, zero when taken and wiped when given back.
pub(crate) struct Slot(NonNull<[u8; SLOT]>);

// SAFETY: a slot is exclusive to its owner and has no interior mutability, like a `Box<[u8; 64]>`.
unsafe impl Send for Slot {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Slot {}

impl Slot {
    /// Takes a slot.
    pub(crate) fn take() -> Result<Self, CustodyError> {
        let mut free = free();
        if free.0.is_empty() {
            let mapped = map().map_err(|error| {
                CustodyError::failed(format!("lock memory for keys (is RLIMIT_MEMLOCK too small?): {error}"))
            })?;
            free.0.extend(mapped);
        }
        free.0.pop().map(Self).ok_or_else(|| CustodyError::failed("lock memory for keys"))
    }

    pub(crate) fn bytes(&self) -> &[u8; SLOT] {
        // SAFETY: the pointer is to a mapped, initialised slot that belongs to `self` alone.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; SLOT] {
        // SAFETY: as in `bytes`, and `self` is borrowed exclusively.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        free().0.push(self.0);
    }
}

fn free() -> MutexGuard<'static, Free> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Maps another lot of slots, zeroed by the kernel.
fn map() -> io::Result<impl Iterator<Item = NonNull<[u8; SLOT]>>> {
    let start = map_secret().or_else(|_| map_locked())?;
    let slots: NonNull<[u8; SLOT]> = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
    // SAFETY: all offsets are inside the mapping of SLOT * SLOTS bytes.
    Ok((0..SLOTS).map(move |index| unsafe { slots.add(index) }))
}

/// Pages of `memfd_secret(2)`.
fn map_secret() -> io::Result<*mut std::ffi::c_void> {
    // SAFETY: the call takes one integer and makes a descriptor or fails.
    let number = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let number = i32::try_from(number).ok().filter(|number| *number >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the descriptor was made just now and belongs to nobody else.
    let memory = unsafe { OwnedFd::from_raw_fd(number) };
    let length = SLOT * SLOTS;
    rustix::fs::ftruncate(&memory, u64::try_from(length).map_err(io::Error::other)?)?;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice, of a file of that length.
    Ok(unsafe { mmap(ptr::null_mut(), length, protection, MapFlags::SHARED, &memory, 0) }?)
}

/// Anonymous pages, locked, in no dump and no fork.
fn map_locked() -> io::Result<*mut std::ffi::c_void> {
    let length = SLOT * SLOTS;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice; the calls after it are about that mapping only.
    unsafe {
        let start = mmap_anonymous(ptr::null_mut(), length, protection, MapFlags::PRIVATE)?;
        mlock(start, length)?;
        madvise(start, length, Advice::LinuxDontDump)?;
        madvise(start, length, Advice::LinuxWipeOnFork)?;
        Ok(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_zero_apart_and_wiped_when_given_back() {
        let mut taken: Vec<Slot> = (0..SLOTS + 1).map(|_| Slot::take().unwrap()).collect();
        assert!(taken.iter().all(|slot| *slot.bytes() == [0; SLOT]));
        for (slot, number) in taken.iter_mut().zip(0_usize..) {
            slot.bytes_mut().fill(number.to_le_bytes()[0]);
        }

        assert!(taken.iter().zip(0_usize..).all(|(slot, number)| *slot.bytes() == [number.to_le_bytes()[0]; SLOT]));
        drop(taken);

        let again: Vec<Slot> = (0..SLOTS + 1).map(|_| Slot::take().unwrap()).collect();
        assert!(again.iter().all(|slot| *slot.bytes() == [0; SLOT]));
    }

    #[test]
    fn locked_anonymous_pages_serve_where_there_is_no_secret_memory() {
        let start = map_locked().unwrap();

        assert!(!start.is_null());
        assert!(std::fs::read_to_string("/proc/self/smaps").unwrap().lines().any(|line| {
            // "dd" do not dump, "wf" wipe on fork, "lo" locked
            line.starts_with("VmFlags:") && [" lo", " dd", " wf"].iter().all(|flag| line.contains(flag))
        }));
    }
}
