//! The list that `sha256sum -c` reads: `SHA256SUMS`.

use super::{FILES_MAX, FileName, Release};
use crate::{Malformed, Sha256Digest};

/// The name of the list.
pub const NAME: &str = "SHA256SUMS";
/// The longest list, in bytes: a digest, two spaces, a name and a line feed for each file.
pub const BYTES_MAX: usize = FILES_MAX * (64 + 2 + FileName::BYTES_MAX + 1);

/// One line for each file, in the order of their names' bytes: the exact bytes that its signatures cover.
#[must_use]
pub fn write(release: &Release) -> String {
    let lines = release.files().iter().map(|file| format!("{}  {}\n", file.digests().sha256.to_hex(), file.name()));
    lines.collect()
}

/// Reads what [`write()`] writes, and nothing else.
///
/// # Errors
/// [`Malformed`] for more than [`BYTES_MAX`] bytes or 1024 lines, for names out of order, and for a line of any
/// other form: comments, `*`, upper case, a line that does not end.
pub fn read(bytes: &[u8]) -> Result<Vec<(FileName, Sha256Digest)>, Malformed> {
    const EXPECTED: Malformed =
        Malformed::new(NAME, "lines of a SHA-256 digest, two spaces and a file name, in the order of the names");
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= BYTES_MAX).ok_or(EXPECTED)?;
    let mut found: Vec<(FileName, Sha256Digest)> = Vec::new();
    for line in text.strip_suffix('\n').ok_or(EXPECTED)?.split('\n') {
        let (digest, name) = line.split_once("  ").ok_or(EXPECTED)?;
        let (digest, name) = (Sha256Digest::from_hex(digest)?, FileName::parse(name)?);
        if found.len() >= FILES_MAX || found.last().is_some_and(|(last, _)| *last >= name) {
            return Err(EXPECTED);
        }
        found.push((name, digest));
    }
    Ok(found)
}
