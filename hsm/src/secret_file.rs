//! Files that hold a secret: whoever else could read or write one would hold what it opens.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::CustodyError;

/// Where systemd puts the credentials of its services.
const CREDENTIALS: &str = "/run/credentials";

/// Opens a regular file of ours or root's that nobody else may read or write; `what` names it in messages.
pub(crate) fn open(what: &str, path: &Path) -> Result<File, CustodyError> {
    let place = path.display();
    // Without O_NONBLOCK a FIFO put there would hold the start for ever.
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path);
    let file = file.map_err(|error| unreadable(what, path, &error))?;
    let metadata = file.metadata().map_err(|error| unreadable(what, path, &error))?;
    if !metadata.is_file() {
        return Err(CustodyError::refused(format!("the {what} {place} is not a regular file")));
    }
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    if mode & 0o077 != 0 && !is_credential(path, mode, owner, metadata.gid()) {
        return Err(CustodyError::refused(format!(
            "the {what} {place} has mode {mode:04o}: others may read or write it; chmod 600 it"
        )));
    }
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(CustodyError::refused(format!("the {what} {place} belongs to uid {owner}, not to us or root")));
    }
    Ok(file)
}

/// Whether systemd made this file for its service alone. It gives the service's user a right to read in the file's
/// access list, whose mask shows where the group's mode stands; the group is root's, and nobody else writes there.
fn is_credential(path: &Path, mode: u32, owner: u32, group: u32) -> bool {
    path.starts_with(CREDENTIALS) && mode == 0o440 && owner == 0 && group == 0
}

/// What is said of a file that cannot be read.
pub(crate) fn unreadable(what: &str, path: &Path, error: &std::io::Error) -> CustodyError {
    CustodyError::refused(format!("read the {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_credential_of_systemd_may_show_a_mask_where_the_group_stands() {
        let credential = Path::new("/run/credentials/trustd.service/root-kek");

        assert!(is_credential(credential, 0o440, 0, 0));
        assert!(!is_credential(credential, 0o444, 0, 0));
        assert!(!is_credential(credential, 0o640, 0, 0));
        assert!(!is_credential(credential, 0o440, 1000, 0));
        assert!(!is_credential(credential, 0o440, 0, 1000));
        assert!(!is_credential(Path::new("/run/credentials2/x"), 0o440, 0, 0));
        assert!(!is_credential(Path::new("/etc/trustd/root.kek"), 0o440, 0, 0));
    }
}
