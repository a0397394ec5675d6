//! A token's PIN between its source and the worker, and the memory of one that was wrong (D23).
//!
//! A PIN that has once succeeded is kept, in locked memory, and handed to every new
//! worker. One that the token has refused is wiped and marked on the disk: it is not
//! tried again, across restarts of the daemon either, until its source has another.
//! The mark is an Argon2id hash of the wrong PIN under a salt of its own, so that the
//! same PIN in a file that was merely written anew is still known for what it is.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::cipher::random;
use crate::{CustodyError, PassphraseCost, Pin, TokenTrouble, secret_file};

/// What messages call the source.
const WHAT: &str = "PIN file";
/// The only format of a mark: `1 | 16 salt | 32 hash`.
const FORMAT: u8 = 1;
const SALT: usize = 16;
const HASH: usize = 32;

/// Where the PIN comes from, and what is known about it.
pub(super) struct PinKeeper {
    source: PathBuf,
    mark: PathBuf,
    /// Has opened the token, and the file it was read from.
    proven: Option<(Pin, Identity)>,
    /// Handed to a worker that has not answered yet, and the file it was read from.
    offered: Option<(Pin, Identity)>,
    /// The file whose content the token has refused.
    refused: Option<Identity>,
}

/// A file that was not written since has the same.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    changed: (i64, i64),
    modified: (i64, i64),
    length: u64,
}

impl PinKeeper {
    pub(super) fn new(source: PathBuf, mark: PathBuf) -> Self {
        Self { source, mark, proven: None, offered: None, refused: None }
    }

    /// A PIN that may be tried.
    ///
    /// # Errors
    /// [`TokenTrouble::PinWrong`] for one that the token has refused before, [`TokenTrouble::Failed`] for a source
    /// that cannot be read.
    pub(super) fn hand_out(&mut self) -> Result<Pin, TokenTrouble> {
        if let Some((pin, _)) = &self.proven {
            return pin.duplicate().map_err(failed);
        }
        let (pin, identity) = read(&self.source).map_err(failed)?;
        if self.refused == Some(identity) {
            return Err(TokenTrouble::PinWrong);
        }
        if self.is_marked(&pin).map_err(failed)? {
            self.refused = Some(identity);
            return Err(TokenTrouble::PinWrong);
        }
        self.offered = Some((pin.duplicate().map_err(failed)?, identity));
        Ok(pin)
    }

    /// The PIN that has opened the token, where one has: nothing else may be tried beside the worker that serves.
    pub(super) fn proven(&self) -> Result<Option<Pin>, CustodyError> {
        self.proven.as_ref().map(|(pin, _)| pin.duplicate()).transpose()
    }

    /// Notes that the token took the PIN that was handed out last.
    pub(super) fn succeeded(&mut self) {
        if let Some(offered) = self.offered.take() {
            self.proven = Some(offered);
            self.refused = None;
            // A mark that stays behind is of another PIN.
            let _ = fs::remove_file(&self.mark);
        }
    }

    /// Notes that the token refused the PIN that was handed out last, durably.
    pub(super) fn refused(&mut self) {
        // What was refused is what was read then: the file may have another by now, which nobody has tried.
        let tried = self.offered.take().or_else(|| self.proven.take());
        self.proven = None;
        self.refused = tried.as_ref().map(|(_, identity)| *identity);
        let marked = tried.map_or(Ok(()), |(pin, _)| self.write_mark(&pin));
        if let Err(error) = marked {
            tracing::error!(%error, "a PIN that the token refused cannot be marked: a restart would try it again");
        }
    }

    fn is_marked(&self, pin: &Pin) -> Result<bool, CustodyError> {
        let at = |error: &io::Error| CustodyError::failed(format!("read {}: {error}", self.mark.display()));
        let mut bytes = Vec::new();
        match File::open(&self.mark) {
            Ok(file) => file.take(64).read_to_end(&mut bytes).map_err(|error| at(&error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(at(&error)),
        };
        let parts = bytes.split_first_chunk::<1>().and_then(|(format, rest)| {
            let (salt, hash) = rest.split_first_chunk::<SALT>()?;
            (*format == [FORMAT] && hash.len() == HASH).then_some((salt, hash))
        });
        let (salt, hash) = parts.ok_or_else(|| CustodyError::corrupt(format!("the mark {}", self.mark.display())))?;
        Ok(stretch(pin, salt)?.ct_eq(hash).into())
    }

    fn write_mark(&self, pin: &Pin) -> Result<(), CustodyError> {
        let mut salt = [0; SALT];
        random(&mut salt)?;
        let bytes = [&[FORMAT][..], &salt, &stretch(pin, &salt)?[..]].concat();
        let at = |error: io::Error| CustodyError::failed(format!("write {}: {error}", self.mark.display()));
        let new = self.mark.with_extension("new");
        let mut options = File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(at)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(at)?;
        fs::rename(&new, &self.mark).map_err(at)?;
        let directory = self.mark.parent().unwrap_or(Path::new("/"));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(at)
    }
}

/// Says what is wrong with a PIN file, without keeping the PIN.
pub(super) fn examine(path: &Path) -> Result<(), CustodyError> {
    read(path).map(drop)
}

/// The PIN of a file, without the line feed that editors leave behind it.
fn read(path: &Path) -> Result<(Pin, Identity), CustodyError> {
    let file = secret_file::open(WHAT, path)?;
    let metadata = file.metadata().map_err(|error| secret_file::unreadable(WHAT, path, &error))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(Pin::BYTES_MAX + 2));
    let limit = u64::try_from(Pin::BYTES_MAX + 2).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut bytes).map_err(|error| secret_file::unreadable(WHAT, path, &error))?;
    let length = bytes.strip_suffix(b"\n").unwrap_or(&bytes).len();
    let pin = bytes.get_mut(..length).map_or_else(|| Pin::take(&mut []), Pin::take);
    let pin = pin.map_err(|error| CustodyError::refused(format!("the {WHAT} {}: {error}", path.display())))?;
    Ok((pin, Identity::of(&metadata)))
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            length: metadata.len(),
        }
    }
}

/// Argon2id (RFC 9106 §4, second choice): who has the mark has to guess slowly.
fn stretch(pin: &Pin, salt: &[u8; SALT]) -> Result<[u8; HASH], CustodyError> {
    let PassphraseCost { memory_kib, passes, lanes } = PassphraseCost::FLOOR;
    let slow = |error| CustodyError::failed(format!("stretch a PIN: {error}"));
    let params = Params::new(memory_kib, passes, lanes, Some(HASH)).map_err(slow)?;
    let mut hash = [0; HASH];
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    pin.with(|pin| argon.hash_password_into(pin, salt, &mut hash)).map_err(slow)?;
    Ok(hash)
}

fn failed(error: CustodyError) -> TokenTrouble {
    TokenTrouble::Failed { what: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    struct Scene {
        directory: TempDir,
    }

    impl Scene {
        fn with(pin: &str) -> Self {
            let scene = Self { directory: TempDir::new().unwrap() };
            scene.write(pin);
            scene
        }

        fn source(&self) -> PathBuf {
            self.directory.path().join("pin")
        }

        /// Written anew, as an editor or systemd does it.
        fn write(&self, pin: &str) {
            let new = self.directory.path().join("new");
            fs::write(&new, pin).unwrap();
            fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
            fs::rename(&new, self.source()).unwrap();
        }

        fn keeper(&self) -> PinKeeper {
            PinKeeper::new(self.source(), self.directory.path().join("hsm.wrong-pin"))
        }
    }

    fn is(pin: &Pin, text: &str) -> bool {
        pin.with(|bytes| bytes == text.as_bytes())
    }

    #[test]
    fn a_refused_pin_is_not_handed_out_again_by_any_later_daemon() {
        let scene = Scene::with("1234\n");
        let mut keeper = scene.keeper();
        assert!(is(&keeper.hand_out().unwrap(), "1234"));
        keeper.refused();

        assert_eq!(keeper.hand_out().unwrap_err(), TokenTrouble::PinWrong);
        for _ in 0..3 {
            assert_eq!(scene.keeper().hand_out().unwrap_err(), TokenTrouble::PinWrong);
        }
        scene.write("1234");
        assert_eq!(keeper.hand_out().unwrap_err(), TokenTrouble::PinWrong);
        assert_eq!(scene.keeper().hand_out().unwrap_err(), TokenTrouble::PinWrong);
        scene.write("4321");
        assert!(is(&keeper.hand_out().unwrap(), "4321"));
        keeper.succeeded();
        assert!(is(&scene.keeper().hand_out().unwrap(), "4321"));
    }

    #[test]
    fn a_proven_pin_is_kept_though_its_source_is_gone() {
        let scene = Scene::with("1234");
        let mut keeper = scene.keeper();
        drop(keeper.hand_out().unwrap());
        keeper.succeeded();
        fs::remove_file(scene.source()).unwrap();

        assert!(is(&keeper.hand_out().unwrap(), "1234"));
        keeper.refused();
        assert!(matches!(keeper.hand_out().unwrap_err(), TokenTrouble::Failed { .. }));
        scene.write("1234");
        assert_eq!(keeper.hand_out().unwrap_err(), TokenTrouble::PinWrong);
    }

    #[test]
    fn a_new_pin_in_the_file_is_tried_when_the_token_refuses_the_old_one() {
        let scene = Scene::with("1234");
        let mut keeper = scene.keeper();
        assert!(is(&keeper.hand_out().unwrap(), "1234"));
        keeper.succeeded();

        // Changed in the token, then in the file, as it is done; noticed at the next login only.
        scene.write("5678");
        assert!(is(&keeper.hand_out().unwrap(), "1234"));
        keeper.refused();

        assert!(is(&keeper.hand_out().unwrap(), "5678"));
    }

    #[test]
    fn a_mark_says_nothing_and_a_damaged_one_lets_nothing_through() {
        let scene = Scene::with("1234");
        let mut keeper = scene.keeper();
        drop(keeper.hand_out().unwrap());
        keeper.refused();
        let mark = fs::read(&keeper.mark).unwrap();

        assert_eq!(fs::metadata(&keeper.mark).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!mark.windows(4).any(|window| window == b"1234"));
        fs::write(&keeper.mark, &mark[..20]).unwrap();
        assert!(matches!(scene.keeper().hand_out().unwrap_err(), TokenTrouble::Failed { .. }));
    }

    #[test]
    fn a_loose_missing_empty_or_long_pin_file_is_named() {
        let scene = Scene::with("");
        let refused = |expected: &str| {
            let refused = examine(&scene.source()).unwrap_err().to_string();
            assert!(refused.contains(expected) && refused.contains("PIN file"), "{refused}");
        };

        refused("1 to 255 bytes");
        scene.write(&"1".repeat(256));
        refused("1 to 255 bytes");
        scene.write(&format!("{}\n", "1".repeat(255)));
        examine(&scene.source()).unwrap();
        fs::set_permissions(scene.source(), fs::Permissions::from_mode(0o640)).unwrap();
        refused("mode 0640");
        fs::remove_file(scene.source()).unwrap();
        refused("No such file");
    }
}
