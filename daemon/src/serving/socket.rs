//! The Unix socket: bound only where nobody else listens, open only to whom the configuration names.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixListener;
use tracing::warn;

use crate::config::UnixConfig;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// The longest file of groups that is read, in bytes.
const GROUPS_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A socket that is ours.
pub(crate) struct Socket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Device and inode: another daemon may have bound the same path after us.
    file: (u64, u64),
}

impl Socket {
    /// Binds the socket, with its mode and group before anybody can connect to it.
    pub(crate) fn bind(config: &UnixConfig) -> Result<Self> {
        let path = &config.path;
        let group = config.group.as_deref().map(group_id).transpose()?;
        parent(path)?;
        let address = SocketAddrUnix::new(path)
            .with_context(|| format!("{} is no path for a socket: at most 107 bytes", path.display()))?;
        clear(path, &address)?;
        let socket = unconnected()?;
        rustix::net::bind(&socket, &address).with_context(|| format!("bind {}", path.display()))?;
        // Until `listen` the kernel refuses every connection, so nobody comes in before mode and group are right.
        // A socket that has its group already is left alone: the unit's filter of system calls has no chown.
        if let Some(group) = group
            && std::fs::symlink_metadata(path).map_or(true, |made| made.gid() != group)
        {
            std::os::unix::fs::chown(path, None, Some(group))
                .with_context(|| format!("give {} to group {group}", path.display()))?;
        }
        std::fs::set_permissions(path, Permissions::from_mode(config.mode))
            .with_context(|| format!("set the mode of {}", path.display()))?;
        rustix::net::listen(&socket, BACKLOG).with_context(|| format!("listen on {}", path.display()))?;
        let listener = UnixListener::from_std(socket.into()).context("serve the Unix socket")?;
        let metadata = std::fs::symlink_metadata(path).with_context(|| format!("look at {}", path.display()))?;
        Ok(Self { listener, path: path.clone(), file: (metadata.dev(), metadata.ino()) })
    }
}

/// Nobody finds a door that nobody answers.
impl Drop for Socket {
    fn drop(&mut self) {
        let ours =
            std::fs::symlink_metadata(&self.path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.file);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            warn!(%error, socket = %self.path.display(), "not removed");
        }
    }
}

/// The directory must exist, and nobody else may put another socket in the place of ours.
fn parent(path: &Path) -> Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let metadata = std::fs::metadata(directory)
        .with_context(|| format!("the directory of the socket, {}: make it first", directory.display()))?;
    if !metadata.is_dir() {
        bail!("{} is not a directory: the socket cannot be there", directory.display());
    }
    let (open_to_all, sticky) = (metadata.mode() & 0o002 != 0, metadata.mode() & 0o1000 != 0);
    if open_to_all && !sticky {
        bail!("{} can be written by everybody: chmod o-w it, or name another socket", directory.display());
    }
    Ok(())
}

/// Takes away a socket that a daemon left behind, and nothing else.
fn clear(path: &Path, address: &SocketAddrUnix) -> Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("look at {}", path.display())),
    };
    if !metadata.file_type().is_socket() {
        bail!("{} is there and no socket: move it away, or name another socket", path.display());
    }
    match rustix::net::connect(unconnected()?, address) {
        // Busy with more connections than it accepts, or not: somebody is there.
        Ok(()) | Err(Errno::AGAIN) => bail!("somebody listens on {} already: stop that daemon first", path.display()),
        Err(Errno::CONNREFUSED) => {
            std::fs::remove_file(path).with_context(|| format!("remove the stale socket {}", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("ask whether somebody listens on {}", path.display())),
    }
}

fn unconnected() -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).context("make a Unix socket")
}

/// The number of a group of /etc/group, or a number.
pub(crate) fn group_id(name: &str) -> Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let file = Path::new("/etc/group");
    let length = std::fs::metadata(file).context("look at /etc/group")?.len();
    if length > GROUPS_BYTES_MAX {
        bail!("/etc/group is longer than {GROUPS_BYTES_MAX} bytes");
    }
    let groups = std::fs::read_to_string(file).context("read /etc/group")?;
    find_group(&groups, name)
        .with_context(|| format!("no group {name} in /etc/group: make it (groupadd --system {name}), or give a number"))
}

/// `name:password:gid:members` (group(5)).
fn find_group(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn config(path: &Path, mode: u32) -> UnixConfig {
        UnixConfig { path: path.to_owned(), mode, group: None }
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_taken_over_and_a_living_one_is_not() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());

        let first = Socket::bind(&config(&path, 0o660)).unwrap();

        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        let refusal = Socket::bind(&config(&path, 0o660)).err().unwrap();
        assert!(refusal.to_string().contains("already"), "{refusal:#}");
        drop(first);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_stays_where_it_is() {
        let directory = TempDir::new().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        std::fs::write(&file, "precious").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();

        for path in [&file, &link] {
            let refusal = Socket::bind(&config(path, 0o600)).err().unwrap();

            assert!(refusal.to_string().contains("no socket"), "{refusal:#}");
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_directory_that_is_absent_or_open_to_all_is_refused() {
        let directory = TempDir::new().unwrap();
        let open = directory.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();

        let absent = Socket::bind(&config(&directory.path().join("absent/s"), 0o600)).err().unwrap();
        let open = Socket::bind(&config(&open.join("s"), 0o600)).err().unwrap();

        assert!(absent.to_string().contains("make it first"), "{absent:#}");
        assert!(open.to_string().contains("everybody"), "{open:#}");
    }

    #[tokio::test]
    async fn another_sockets_file_is_not_removed_at_the_end() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("s");
        let first = Socket::bind(&config(&path, 0o600)).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _second = Socket::bind(&config(&path, 0o600)).unwrap();

        drop(first);

        assert!(path.exists());
    }

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let groups = "root:x:0:\ntrustd-admins:x:990:\ntrustd:x:991:a,b\nbroken:x\n";

        assert_eq!(find_group(groups, "trustd"), Some(991));
        assert_eq!(find_group(groups, "trust"), None);
        assert_eq!(find_group(groups, "broken"), None);
    }
}
