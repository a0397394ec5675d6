//! Digests of files of any size, in bounded memory.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use sha2::{Digest as _, Sha256, Sha384};
use trust::{Digest, HashFunction, Sha256Digest};

use crate::context::Context;
use crate::failure::Failure;

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// SHA-256 and length of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileDigest {
    /// Over the whole content.
    pub(crate) sha256: Sha256Digest,
    /// Its length.
    pub(crate) size_bytes: u64,
}

/// Reads a file once, with a progress bar for a large one.
pub(crate) fn digest(context: &Context, path: &Path) -> Result<FileDigest, Failure> {
    let mut hash = Sha256::new();
    let size_bytes = read_through(context, path, |chunk| hash.update(chunk))?;
    Ok(FileDigest { sha256: Sha256Digest::from_bytes(hash.finalize().into()), size_bytes })
}

/// The digest that a scheme with `function` takes.
pub(crate) fn digest_with(context: &Context, path: &Path, function: HashFunction) -> Result<Digest, Failure> {
    match function {
        HashFunction::Sha256 => Ok(Digest::Sha256(*digest(context, path)?.sha256.as_bytes())),
        HashFunction::Sha384 => {
            let mut hash = Sha384::new();
            read_through(context, path, |chunk| hash.update(chunk))?;
            Ok(Digest::Sha384(hash.finalize().into()))
        }
    }
}

fn read_through(context: &Context, path: &Path, mut take: impl FnMut(&[u8])) -> Result<u64, Failure> {
    let unreadable = |error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            return Failure::usage(format!("there is no file {}", path.display()), "is the name right?");
        }
        Failure::other(format!("read {}", path.display()), "may you read it, and is it a file?").because(error)
    };
    // A device never ends, a pipe may never begin.
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(Failure::usage(format!("{} is not a regular file", path.display()), "name a file"));
    }
    let mut file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let bar = context.output.progress(length, &path.display().to_string());
    let mut chunk = vec![0; CHUNK];
    let mut total = 0_u64;
    loop {
        let count = file.read(&mut chunk).map_err(unreadable)?;
        if count == 0 {
            bar.finish_and_clear();
            return Ok(total);
        }
        take(chunk.get(..count).unwrap_or_default());
        let count = u64::try_from(count).unwrap_or(0);
        total = total.saturating_add(count);
        bar.inc(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::tests::context;

    #[test]
    fn a_file_larger_than_a_chunk_has_the_digest_of_its_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("large");
        let bytes = vec![7; CHUNK * 2 + 3];
        std::fs::write(&path, &bytes).unwrap();

        let found = digest(&context(), &path).unwrap();
        let other = digest_with(&context(), &path, HashFunction::Sha384).unwrap();

        assert_eq!(found.sha256, Sha256Digest::of(&bytes));
        assert_eq!(found.size_bytes, u64::try_from(bytes.len()).unwrap());
        assert_eq!(other, Digest::of(HashFunction::Sha384, &bytes));
        assert_eq!(digest(&context(), &directory.path().join("absent")).unwrap_err().exit().code(), 2);
    }

    #[test]
    fn a_device_and_a_directory_are_no_files() {
        for path in ["/dev/zero", "/"] {
            let failure = digest(&context(), Path::new(path)).unwrap_err();

            assert_eq!(failure.exit().code(), 2);
            assert!(failure.what().contains("not a regular file"), "{failure:?}");
        }
    }
}
