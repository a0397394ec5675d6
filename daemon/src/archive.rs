//! The archive of policies: each text under its hash, whole and durable before a leaf names it (D27).

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use trust::Sha256Digest;

/// Keeps `text` in `directory`; answers the hash that it is kept under. What a full disk or a power cut left of an
/// earlier attempt is replaced.
pub(crate) fn keep(directory: &Path, text: &str) -> io::Result<Sha256Digest> {
    let hash = Sha256Digest::of(text.as_bytes());
    let path = directory.join(hash.to_hex());
    if std::fs::read(&path).is_ok_and(|kept| kept == text.as_bytes()) {
        return Ok(hash);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, &path)?;
    File::open(directory)?.sync_all()?;
    if let Some(parent) = directory.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_under_its_hash_and_a_torn_one_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("policies");
        let hash = keep(&archive, "permit(principal, action, resource);").unwrap();
        let path = archive.join(hash.to_hex());
        std::fs::write(&path, "permit(pri").unwrap();

        assert_eq!(keep(&archive, "permit(principal, action, resource);").unwrap(), hash);

        assert_eq!(std::fs::read_to_string(path).unwrap(), "permit(principal, action, resource);");
        assert_eq!(std::fs::read_dir(archive).unwrap().count(), 1);
    }
}
