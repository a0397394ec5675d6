//! A token's PIN between its source and the worker, and the memory of one that was wrong (D23).
//!
//! A PIN that has once succeeded is kept, in locked memory, and handed to every new
//! worker. One that the token has refused is wiped and marked on the disk: it is not
//! tried again, across restarts of the daemon either, until its source has another.
//! The mark is an Argon2id hash of the wrong PIN under a salt of its own, so that the
//! same PIN in a file that was merely written anew is still known for what it is.
//!
//! A PIN that an operator gave (`trustctl hsm login`) goes before both and is tried once,
//! whatever is marked. Only when it opened the token it is kept: in memory, never on a disk.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::cipher::random;
use crate::{CustodyError, PassphraseCost, Pin, PinState, TokenName, TokenTrouble, secret_file};

/// What messages call the source.
const WHAT: &str = "PIN file";
/// The only format of a mark: `1 | 16 salt | 32 hash`.
const FORMAT: u8 = 1;
const SALT: usize = 16;
const HASH: usize = 32;

/// Where the PIN comes from, and what is known about it.
pub(super) struct PinKeeper {
    token: TokenName,
    /// The file with it; where there is none, an operator gives it.
    source: Option<PathBuf>,
    mark: PathBuf,
    /// Has opened the token, and where it is from.
    proven: Option<(Pin, Origin)>,
    /// Handed to a worker that has not answered yet, and where it is from.
    offered: Option<(Pin, Origin)>,
    /// The file whose content the token has refused.
    refused: Option<Identity>,
    /// What an operator gave.
    login: Login,
}

/// Where a PIN is from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    File(Identity),
    Operator,
}

/// How far an operator's login is.
enum Login {
    None,
    Waiting(Pin),
    /// A worker has it.
    Tried,
    Ended(Result<(), TokenTrouble>),
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
    pub(super) fn new(token: TokenName, source: Option<PathBuf>, mark: PathBuf) -> Self {
        Self { token, source, mark, proven: None, offered: None, refused: None, login: Login::None }
    }

    /// What is known about the PIN.
    pub(super) fn state(&self) -> PinState {
        match (&self.proven, &self.source, self.refused) {
            (Some(_), ..) => PinState::Proven,
            (None, None, _) => PinState::Missing,
            (None, Some(_), Some(_)) => PinState::Refused,
            (None, Some(_), None) => PinState::Unproven,
        }
    }

    /// Takes an operator's PIN: the next one to be handed out, once.
    ///
    /// # Errors
    /// [`CustodyError::Unavailable`] while another operator's is at work.
    pub(super) fn give(&mut self, pin: Pin) -> Result<(), CustodyError> {
        if matches!(self.login, Login::Waiting(_) | Login::Tried) {
            return Err(CustodyError::unavailable("another login to the token is under way"));
        }
        self.login = Login::Waiting(pin);
        Ok(())
    }

    /// Whether it is known that the operator's PIN did not open the token.
    pub(super) fn has_refusal(&self) -> bool {
        matches!(self.login, Login::Ended(Err(_)))
    }

    /// How the operator's login ended; `None` when it did not. One that still waits is forgotten; what a worker has
    /// may still succeed.
    pub(super) fn end_login(&mut self) -> Option<Result<(), TokenTrouble>> {
        match std::mem::replace(&mut self.login, Login::None) {
            Login::Ended(ended) => Some(ended),
            Login::Tried => {
                self.login = Login::Tried;
                None
            }
            Login::None | Login::Waiting(_) => None,
        }
    }

    /// A PIN that may be tried.
    ///
    /// # Errors
    /// [`TokenTrouble::PinMissing`] where there is none, [`TokenTrouble::PinWrong`] for one that the token has refused
    /// before, [`TokenTrouble::Failed`] for a source that cannot be read.
    pub(super) fn hand_out(&mut self) -> Result<Pin, TokenTrouble> {
        if let Login::Waiting(_) = &self.login
            && let Login::Waiting(pin) = std::mem::replace(&mut self.login, Login::Tried)
        {
            self.offered = Some((pin.duplicate().map_err(failed)?, Origin::Operator));
            return Ok(pin);
        }
        if let Some((pin, _)) = &self.proven {
            return pin.duplicate().map_err(failed);
        }
        let Some(source) = &self.source else {
            return Err(TokenTrouble::PinMissing { token: self.token.to_string() });
        };
        let (pin, identity) = read(source).map_err(failed)?;
        if self.refused == Some(identity) {
            return Err(TokenTrouble::PinWrong);
        }
        if self.is_marked(&pin).map_err(failed)? {
            self.refused = Some(identity);
            return Err(TokenTrouble::PinWrong);
        }
        self.offered = Some((pin.duplicate().map_err(failed)?, Origin::File(identity)));
        Ok(pin)
    }

    /// The PIN that has opened the token, where one has: nothing else may be tried beside the worker that serves.
    pub(super) fn proven(&self) -> Result<Option<Pin>, CustodyError> {
        self.proven.as_ref().map(|(pin, _)| pin.duplicate()).transpose()
    }

    /// Notes that the token took the PIN that was handed out last.
    pub(super) fn succeeded(&mut self) {
        let Some((pin, origin)) = self.offered.take() else { return };
        // A mark that stays behind a file's PIN is of another one. An operator's PIN says nothing about the one in the
        // file, unless it is the same.
        if origin != Origin::Operator || self.is_marked(&pin).unwrap_or(false) {
            self.refused = None;
            let _ = fs::remove_file(&self.mark);
        }
        if origin == Origin::Operator {
            self.login = Login::Ended(Ok(()));
        }
        self.proven = Some((pin, origin));
    }

    /// Notes that the token refused the PIN that was handed out last, durably.
    pub(super) fn refused(&mut self) {
        // What was refused is what was read then: the file may have another by now, which nobody has tried.
        let Some((pin, origin)) = self.offered.take().or_else(|| self.proven.take()) else { return };
        let marked = match origin {
            Origin::File(identity) => {
                self.proven = None;
                self.refused = Some(identity);
                self.write_mark(&pin)
            }
            // The mark of the file's PIN stays; where there is none, the same PIN may come to be in the file.
            Origin::Operator if self.mark.exists() => Ok(()),
            Origin::Operator => self.write_mark(&pin),
        };
        if matches!(self.login, Login::Tried) {
            self.login = Login::Ended(Err(TokenTrouble::PinWrong));
        }
        if let Err(error) = marked {
            tracing::error!(%error, "a PIN that the token refused cannot be marked: a restart would try it again");
        }
    }

    /// Notes that the worker which got the PIN does not serve: an operator's is not tried a second time by itself,
    /// whatever it was that went wrong.
    pub(super) fn not_proven(&mut self, trouble: &TokenTrouble) {
        if matches!(self.login, Login::Tried) {
            self.offered = None;
            self.login = Login::Ended(Err(trouble.clone()));
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
            self.keeper_of(Some(self.source()))
        }

        fn keeper_of(&self, source: Option<PathBuf>) -> PinKeeper {
            PinKeeper::new("hsm".parse().unwrap(), source, self.directory.path().join("hsm.wrong-pin"))
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

    fn pin(text: &str) -> Pin {
        Pin::take(&mut text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn without_a_source_an_operator_gives_the_pin_and_it_is_kept_once_it_succeeded() {
        let scene = Scene::with("unused");
        let mut keeper = scene.keeper_of(None);
        assert_eq!(keeper.hand_out().unwrap_err(), TokenTrouble::PinMissing { token: "hsm".to_owned() });
        assert_eq!(keeper.state(), PinState::Missing);

        keeper.give(pin("1234")).unwrap();
        assert!(matches!(keeper.give(pin("5678")), Err(CustodyError::Unavailable { .. })));
        assert!(is(&keeper.hand_out().unwrap(), "1234"));
        keeper.succeeded();

        assert_eq!(keeper.end_login(), Some(Ok(())));
        assert_eq!(keeper.state(), PinState::Proven);
        for _ in 0..2 {
            assert!(is(&keeper.hand_out().unwrap(), "1234"));
        }
        assert!(scene.keeper_of(None).hand_out().is_err(), "on no disk");
    }

    #[test]
    fn an_operators_pin_is_tried_once_whatever_becomes_of_it() {
        let scene = Scene::with("unused");
        for trouble in [TokenTrouble::PinWrong, TokenTrouble::Failed { what: "the worker died".to_owned() }] {
            let mut keeper = scene.keeper_of(None);
            keeper.give(pin("1234")).unwrap();
            assert!(is(&keeper.hand_out().unwrap(), "1234"));

            if trouble == TokenTrouble::PinWrong {
                keeper.refused();
            }
            keeper.not_proven(&trouble);

            assert!(keeper.has_refusal());
            assert_eq!(keeper.end_login(), Some(Err(trouble)));
            assert!(matches!(keeper.hand_out(), Err(TokenTrouble::PinMissing { .. })));
            keeper.give(pin("1234")).unwrap();
            assert!(is(&keeper.hand_out().unwrap(), "1234"), "asked for again, it is tried again");
        }
    }

    #[test]
    fn a_login_with_the_marked_pin_clears_the_mark_and_one_with_another_does_not() {
        let scene = Scene::with("1234");
        let mut keeper = scene.keeper();
        drop(keeper.hand_out().unwrap());
        keeper.refused();

        keeper.give(pin("5678")).unwrap();
        assert!(is(&keeper.hand_out().unwrap(), "5678"));
        keeper.succeeded();
        assert_eq!(scene.keeper().hand_out().unwrap_err(), TokenTrouble::PinWrong, "the file still has the wrong one");

        let mut keeper = scene.keeper();
        assert_eq!(keeper.hand_out().unwrap_err(), TokenTrouble::PinWrong);
        assert_eq!(keeper.state(), PinState::Refused);
        keeper.give(pin("1234")).unwrap();
        assert!(is(&keeper.hand_out().unwrap(), "1234"));
        keeper.succeeded();
        assert!(is(&scene.keeper().hand_out().unwrap(), "1234"));
    }

    #[test]
    fn an_operators_wrong_pin_leaves_the_files_mark_and_what_was_proven() {
        let scene = Scene::with("1234");
        let mut keeper = scene.keeper();
        drop(keeper.hand_out().unwrap());
        keeper.refused();
        let mark = fs::read(&keeper.mark).unwrap();

        keeper.give(pin("5678")).unwrap();
        drop(keeper.hand_out().unwrap());
        keeper.refused();

        assert_eq!(fs::read(&keeper.mark).unwrap(), mark);
        assert_eq!(keeper.hand_out().unwrap_err(), TokenTrouble::PinWrong);
    }

    #[test]
    fn a_login_that_nobody_waits_for_is_forgotten() {
        let scene = Scene::with("unused");
        let mut keeper = scene.keeper_of(None);
        keeper.give(pin("1234")).unwrap();

        assert_eq!(keeper.end_login(), None);

        assert!(matches!(keeper.hand_out(), Err(TokenTrouble::PinMissing { .. })));
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
