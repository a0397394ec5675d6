//! Digests of many files at once: every file is read once, for all of its hashes.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use blake2::Blake2b512;
use indicatif::ProgressBar;
use sha2::{Digest as _, Sha256, Sha512};
use trust::Sha256Digest;
use trust::format::release::{FileDigests, FileName};

use crate::context::Context;
use crate::failure::Failure;

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;
/// The most threads.
const THREADS_MAX: usize = 16;

/// What was found of each file.
pub(super) type Found = BTreeMap<FileName, FileDigests>;

/// Reads every file, on as many threads as there are processors, with one progress bar for all.
pub(super) fn of_all(context: &Context, files: &BTreeMap<FileName, PathBuf>) -> Result<Found, Failure> {
    let total = files.values().filter_map(|path| path.symlink_metadata().ok()).map(|metadata| metadata.len()).sum();
    let bar = context.output.progress(total, "hashing");
    let waiting = Mutex::new(files.iter());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX).min(files.len());
    let work = || {
        let mut done = BTreeMap::new();
        loop {
            // A thread that ended by a panic held nothing but the place in a list.
            let next = waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
            let Some((name, path)) = next else { return Ok(done) };
            done.insert(name.clone(), of(path, &bar)?);
        }
    };
    let found = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(ended()))).collect::<Vec<_>>()
    });
    bar.finish_and_clear();
    let mut all = BTreeMap::new();
    for part in found {
        all.append(&mut part?);
    }
    Ok(all)
}

fn of(path: &Path, bar: &ProgressBar) -> Result<FileDigests, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::other(format!("read {}", path.display()), "may you read it, and is it a file?").because(error)
    };
    // A link may lead anywhere, a pipe may never begin.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    let before = version(&file).map_err(unreadable)?;
    let (mut sha256, mut sha512, mut blake2b512) = (Sha256::new(), Sha512::new(), Blake2b512::new());
    let mut chunk = vec![0; CHUNK];
    let mut size_bytes = 0_u64;
    loop {
        let count = file.read(&mut chunk).map_err(unreadable)?;
        let read = chunk.get(..count).unwrap_or_default();
        if read.is_empty() {
            break;
        }
        sha256.update(read);
        sha512.update(read);
        blake2b512.update(read);
        let count = u64::try_from(count).unwrap_or(0);
        size_bytes = size_bytes.saturating_add(count);
        bar.inc(count);
    }
    // Half of one build and half of the next is no file that anybody has.
    if before != version(&file).map_err(unreadable)? || before.0 != size_bytes {
        return Err(Failure::refused(
            format!("{} was changed while it was read", path.display()),
            "wait until whoever writes it is done, then run this again",
        ));
    }
    Ok(FileDigests {
        size_bytes,
        sha256: Sha256Digest::from_bytes(sha256.finalize().into()),
        sha512: sha512.finalize().into(),
        blake2b512: blake2b512.finalize().into(),
    })
}

/// Length and last change of an open file.
fn version(file: &File) -> std::io::Result<(u64, i64, i64)> {
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok((metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
    } else {
        Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

fn ended() -> Failure {
    Failure::other("a thread that read files ended", "this is a fault of trustctl")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::tests::context;

    fn one(path: PathBuf) -> BTreeMap<FileName, PathBuf> {
        BTreeMap::from([(FileName::parse("f").unwrap(), path)])
    }

    #[test]
    fn all_digests_of_many_files_come_from_one_reading() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = BTreeMap::new();
        for number in 0..40_usize {
            let path = directory.path().join(number.to_string());
            std::fs::write(&path, vec![7; number * 20_000]).unwrap();
            files.insert(FileName::parse(&number.to_string()).unwrap(), path);
        }
        std::fs::write(directory.path().join("0"), "abc").unwrap();

        let found = of_all(&context(), &files).unwrap();

        assert_eq!(found.len(), 40);
        for (name, digests) in &found {
            let bytes = std::fs::read(&files[name]).unwrap();
            assert_eq!(digests.sha256, Sha256Digest::of(&bytes), "{name}");
            assert_eq!(digests.size_bytes, u64::try_from(bytes.len()).unwrap());
        }
        // RFC 7693 appendix A and FIPS 180-4's example, both of "abc".
        let abc = &found[&FileName::parse("0").unwrap()];
        assert!(
            hex::encode(abc.blake2b512).starts_with("ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1")
        );
        assert!(
            hex::encode(abc.sha512).starts_with("ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a")
        );
    }

    #[test]
    fn links_directories_and_devices_are_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();

        for path in [link, directory.path().to_owned(), PathBuf::from("/dev/zero"), directory.path().join("absent")] {
            assert_eq!(of_all(&context(), &one(path.clone())).unwrap_err().exit().code(), 4, "{}", path.display());
        }
    }
}
