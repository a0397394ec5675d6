//! What stands in the memory of a process and in files: how a test looks for what is left of a secret.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::program::needs_root;

/// Bytes that are looked at together; a page is the least that the kernel refuses.
const PIECE: usize = 1 << 20;
const PAGE: usize = 4096;
/// Bytes that must agree: no sixteen random bytes are anywhere by chance.
const SHARD: usize = 16;

/// Shards of secrets, ready to be looked for.
#[derive(Debug)]
pub struct Shards {
    shards: HashSet<Vec<u8>>,
    begins: Vec<bool>,
}

impl Shards {
    /// Every sixteen bytes of each secret, on an eight byte step.
    #[must_use]
    pub fn of<S: AsRef<[u8]>>(secrets: &[S]) -> Self {
        let shards: HashSet<Vec<u8>> = secrets
            .iter()
            .flat_map(|secret| secret.as_ref().windows(SHARD).step_by(SHARD / 2).map(<[u8]>::to_vec))
            .collect();
        let mut begins = vec![false; 1 << 16];
        for begin in shards.iter().filter_map(|shard| place(shard)) {
            if let Some(known) = begins.get_mut(begin) {
                *known = true;
            }
        }
        Self { shards, begins }
    }

    fn count(&self, bytes: &[u8]) -> usize {
        let begins = |window: &&[u8]| place(window).is_some_and(|begin| self.begins.get(begin) == Some(&true));
        bytes.windows(SHARD).filter(begins).filter(|window| self.shards.contains(*window)).count()
    }

    /// How many stand in the readable memory of a process. Pages that even root cannot read do not count.
    ///
    /// # Errors
    /// When the process is not there; needs root.
    pub fn in_process(&self, pid: u32) -> Result<usize> {
        needs_root("reading the memory of a process")?;
        let maps =
            fs::read_to_string(format!("/proc/{pid}/maps")).with_context(|| format!("read the maps of {pid}"))?;
        let memory = File::open(format!("/proc/{pid}/mem")).with_context(|| format!("open the memory of {pid}"))?;
        let mut found = 0;
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let (Some(range), Some(mode)) = (words.next(), words.next()) else { continue };
            // What is mapped from a file and cannot be written holds what the file holds: programs and libraries.
            let is_program = !mode.contains('w') && line.contains(" /");
            if !mode.starts_with('r') || is_program || line.ends_with("[vvar]") || line.ends_with("[vsyscall]") {
                continue;
            }
            let (start, end) = range.split_once('-').context("a line of maps without a range")?;
            found += self.in_range(&memory, u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?);
        }
        Ok(found)
    }

    fn in_range(&self, memory: &File, start: u64, end: u64) -> usize {
        let mut found = 0;
        let mut at = start;
        let mut bytes = vec![0; PIECE];
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            let piece = bytes.get_mut(..length).unwrap_or_default();
            let read = match memory.read_exact_at(piece, at) {
                Ok(()) => length,
                // Secret pages and guard pages cannot be read: that is the point of them.
                Err(_) => readable_pages(memory, piece, at),
            };
            found += self.count(bytes.get(..read).unwrap_or_default());
            // The pieces overlap, so that nothing hides on their seam.
            let step = if read == length && length == PIECE { read - (SHARD - 1) } else { length };
            at += u64::try_from(step).unwrap_or(u64::MAX);
        }
        found
    }

    /// How many stand in the files below a directory, and in which.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn in_files(&self, directory: &Path) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let entries = fs::read_dir(directory).with_context(|| format!("look into {}", directory.display()))?;
        for entry in entries {
            let path = entry.with_context(|| format!("look into {}", directory.display()))?.path();
            let kind = fs::symlink_metadata(&path).with_context(|| format!("look at {}", path.display()))?;
            if kind.is_dir() {
                found.extend(self.in_files(&path)?);
            } else if kind.is_file() {
                let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
                if self.count(&bytes) > 0 {
                    found.push(path.display().to_string());
                }
            }
        }
        Ok(found)
    }
}

/// Reads page by page; what cannot be read stays zero.
fn readable_pages(memory: &File, piece: &mut [u8], start: u64) -> usize {
    let mut at = start;
    for page in piece.chunks_mut(PAGE) {
        if memory.read_exact_at(page, at).is_err() {
            page.fill(0);
        }
        at += u64::try_from(page.len()).unwrap_or_default();
    }
    piece.len()
}

/// Where the first two bytes stand in the table of beginnings.
fn place(bytes: &[u8]) -> Option<usize> {
    bytes.first_chunk::<2>().map(|begin| usize::from(u16::from_le_bytes(*begin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_memory_and_in_a_file_is_found_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        // Made while the test runs, so that it stands in no page of the program itself.
        let secret: Vec<u8> = (0..48_u8).map(|byte| byte.wrapping_mul(37) ^ 0xa5).collect();
        let here = std::hint::black_box(secret.clone());
        let other: Vec<u8> = secret.iter().map(|byte| !byte).collect();
        let file = directory.path().join("below/file");
        fs::create_dir(directory.path().join("below")).unwrap();
        fs::write(&file, [b"before", secret.as_slice(), b"after"].concat()).unwrap();

        let shards = Shards::of(&[&secret]);

        assert!(shards.in_process(std::process::id()).unwrap() > 0, "{here:?}");
        assert_eq!(shards.in_files(directory.path()).unwrap(), [file.display().to_string()]);
        assert_eq!(Shards::of(&[other]).in_files(directory.path()).unwrap(), Vec::<String>::new());
    }
}
