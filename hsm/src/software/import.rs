//! Test builds only: known keys, so that a test can look for what is left of them.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use super::key::Plain;
use crate::CustodyError;
use zeroize::Zeroizing;

/// The longest imported key, in bytes.
const BYTES_MAX: usize = 8192;

/// Takes the file `import.key` beside the ring, if it is there: seed, scalar and point, or PKCS#8.
pub(super) fn take(ring: &Path) -> Result<Option<Plain>, CustodyError> {
    let failed = |error: io::Error| CustodyError::failed(format!("import a test key: {error}"));
    let path = ring.with_file_name("import.key");
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut plain = Zeroizing::new(vec![0; BYTES_MAX]);
    let mut length = 0;
    while let Some(room) = plain.get_mut(length..).filter(|room| !room.is_empty()) {
        match file.read(room).map_err(failed)? {
            0 => break,
            read => length = length.saturating_add(read),
        }
    }
    plain.truncate(length);
    fs::remove_file(&path).map_err(failed)?;
    Ok(Some(plain))
}
